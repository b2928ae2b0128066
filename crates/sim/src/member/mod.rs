//! One process of a member: the real cores, and in place of the server's threads a few mailboxes.
//!
//! This is glue, as thin as the server's: it carries out what the cores want and must not decide anything. Where it
//! does something else, that is a known bug that was asked for ([`Bug`]).

mod consensus;
mod net;
mod peers;
mod probe;
mod shards;
mod snapshots;
mod watch;

use std::sync::Arc;

use windlass_io_log::op::Failure;
use windlass_raft::Role;
use windlass_replica::auth::Auth;
use windlass_replica::consensus::Consensus;
use windlass_replica::departure::Departure;
use windlass_types::{LogIndex, ShardId};

use crate::bug::Bug;
use crate::disks::DiskId;
use crate::env::{Env, Event, Stop, Thread, member_of};
use crate::mailbox::{Mailbox, Sender};
use crate::start::Started;
use consensus::{ConsensusThread, ToConsensus};
use net::{NetThread, ToNet};
use probe::Probe;
use shards::{ShardThread, StateSide, ToShard};
use snapshots::Snapshots;
use watch::{WatchInput, WatchSide};

pub use shards::hash_of;

/// Names a read in what goes to and fro about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// A client's read of this number.
    Read(u64),
    /// A watch catches up.
    Watch(windlass_replica::watch::ReadId),
}

/// One life of the process.
pub struct Member {
    consensus: ConsensusThread,
    net: NetThread,
    shards: Vec<ShardThread>,
    state: StateSide,
    snapshots: Snapshots,
    watch: WatchSide,
    /// Who may do what, as the thread of connections knows it.
    auth: Arc<Auth>,
    probe: Probe,
    departure: Departure,
    /// What an earlier read was told, for a bug.
    old_read: Option<LogIndex>,
    /// Whether clients are let in.
    serving: bool,
}

impl Member {
    /// Runs what a start made.
    ///
    /// # Errors
    /// As [`wake`](Self::wake).
    pub fn run(started: Started, env: &mut Env) -> Result<Self, Stop> {
        let Started { core, shards, state } = started;
        let (shards_count, auth) = (shards.len() as u16, Arc::clone(core.auth()));
        let mut member = Self {
            consensus: ConsensusThread::new(core, shards.len()),
            net: NetThread::default(),
            shards: shards.into_iter().map(ShardThread::new).collect(),
            watch: WatchSide::new(shards_count, env.profile.fragment_bytes),
            auth,
            state: StateSide::new(state),
            snapshots: Snapshots::default(),
            probe: Probe::default(),
            departure: Departure::new(env.profile.consensus.stalled_ticks),
            old_read: None,
            serving: false,
        };
        env.after(0, Event::Tick(env.life()));
        for shard in 0..member.shards.len() {
            env.wake(Thread::Shard(shard as u16));
        }
        member.begin(env)?;
        env.begin_to_connect();
        Ok(member)
    }

    /// Whether no client waits for anything.
    #[must_use]
    pub fn is_idle(&self, env: &Env) -> bool {
        self.serving && env.checker.open(env.at) == 0 && self.net.in_flight() == 0
    }

    /// A thread takes its turn.
    ///
    /// # Errors
    /// If the process ends, or a promise is broken.
    pub fn wake(&mut self, thread: Thread, env: &mut Env) -> Result<(), Stop> {
        match thread {
            Thread::Net => self.net_turn(env),
            Thread::Consensus => self.consensus_turn(env),
            Thread::Shard(shard) => self.shard_turn(shard, env),
        }
    }

    /// Some operation of a disk ends.
    pub fn disk(&mut self, disk: DiskId, env: &mut Env) {
        let completed = env.sites[env.at].disks.complete(disk, &mut env.totals);
        let Some(mut completion) = completed else { return };
        if disk == DiskId::Log && completion.result.is_ok() {
            env.checker.completed(env.at, completion.ticket);
        }
        if completion.result == Err(Failure::NoSpace) && env.strikes(Bug::FullTakenForBroken, 1) {
            completion.result = Err(Failure::Io("said to be broken".into()));
        }
        if let Err(failure) = &completion.result {
            env.tell(|| format!("disk {disk:?}: {failure}"));
        }
        match disk {
            DiskId::Log if self.consensus.was_reported(completion.ticket) => {}
            DiskId::Log => self.tell_consensus(Sender::Disk, ToConsensus::Disk(completion), env),
            DiskId::Shard(shard) => self.tell_shard(shard, Sender::Disk, ToShard::Disk(completion), env),
            DiskId::State => self.tell_shard(0, Sender::Disk, ToShard::StateDisk(completion), env),
        }
    }

    /// One tick of the election clock.
    ///
    /// # Errors
    /// If the process ends.
    pub fn tick(&mut self, env: &mut Env) -> Result<(), Stop> {
        if self.departure.tick(&self.consensus.core) {
            return Err(Stop::Removed);
        }
        self.tell_consensus(Sender::Clock, ToConsensus::Tick, env);
        if env.audience.len() > 0 {
            self.tell_net(Sender::Clock, ToNet::Watch(WatchInput::Sweep), env);
        }
        self.publish(env);
        self.judge_time_of_others(env);
        self.judge_time_by_wall(env);
        Ok(())
    }

    /// A member says that this one was removed.
    pub fn said_removed(&mut self, by: usize) {
        self.departure.said(member_of(by));
    }

    /// Whether the member leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.consensus.core.raft().role() == Role::Leader
    }

    /// The core, for whoever only looks.
    #[must_use]
    pub fn core(&self) -> &Consensus {
        &self.consensus.core
    }

    /// A log without room looks for some.
    pub fn retry(&mut self, env: &mut Env) {
        self.tell_consensus(Sender::Clock, ToConsensus::Retry, env);
    }

    fn tell_consensus(&mut self, from: Sender, message: ToConsensus, env: &mut Env) {
        post(&mut self.consensus.mail, from, message, Thread::Consensus, env);
    }

    fn tell_net(&mut self, from: Sender, message: ToNet, env: &mut Env) {
        post(&mut self.net.mail, from, message, Thread::Net, env);
    }

    fn tell_shard(&mut self, shard: u16, from: Sender, message: ToShard, env: &mut Env) {
        post(&mut self.shards[usize::from(shard)].mail, from, message, Thread::Shard(shard), env);
    }

    /// The shards' numbers.
    fn shard_ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards.len() as u16).map(ShardId)
    }
}

fn post<M>(mail: &mut Mailbox<M>, from: Sender, message: M, thread: Thread, env: &mut Env) {
    mail.push(from, message);
    if !mail.waking {
        mail.waking = true;
        env.wake(thread);
    }
}

/// The messages of one turn of a thread; wakes it again if some are left.
fn take_turn<M>(mail: &mut Mailbox<M>, thread: Thread, env: &mut Env) -> Vec<M> {
    let count = env.turn_messages();
    let taken = (0..count).map_while(|_| mail.take(&mut env.scheduling)).collect();
    mail.waking = !mail.is_empty();
    if mail.waking {
        env.wake(thread);
    }
    taken
}
