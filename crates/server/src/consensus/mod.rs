//! The consensus actor: the thin shell around [`windlass_replica::consensus`].
//!
//! It runs on the first net arbiter, feeds the core with what arbiters, shards and the log's ring say, and carries out
//! what the core wants. It must never decide anything itself, and never block.

mod alarms;
mod backup;
mod chunks;
mod cluster;
mod damage;
mod disk_ready;
mod hand_over;
mod latency;
mod leases;
mod links;
mod lone;
mod outgoing;
mod timing;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, StreamHandler};
use prost::Message as _;
use tokio::sync::oneshot;
use windlass_api::etcdserverpb::{CompactionRequest, Member};
use windlass_io_disk::uring::Uring;
use windlass_io_log::op::{Completion, Op};
use windlass_peer::Frame;
use windlass_raft::ReadId;
use windlass_records::batch::{Batch, BatchBuilder, CommandKind};
use windlass_replica::auth::{Auth, Invalid};
use windlass_replica::compactor::{Compactor, Retention};
use windlass_replica::consensus::{Consensus, Error, Input, Output};
use windlass_replica::lease::{Asker, LeaseAsk};
use windlass_replica::reading::Snapshot;
use windlass_replica::shard::Chunk;
use windlass_replica::task::ShardAnswer;
use windlass_types::{LogIndex, MemberId, RequestId, Revision, ShardId};

use crate::auth::{Authority, SWEEP_INTERVAL};
use crate::metrics::Metrics;
use crate::net::{ArbiterId, NetActor, Ticket, ToArbiter, Told, arbiter_of, asker};
use crate::published::Published;
use crate::shard::Senders;
use crate::stages::clock_ns;
use crate::startup::{Reason, fatal};
use alarms::Quota;
use backup::Backups;
use cluster::{Cluster, OWN_READ, OWN_REQUEST, Place};
use damage::Comparing;
use disk_ready::{DiskReady, disk_ready};
use hand_over::{HOLD_MAX, HandOver};
use latency::WriteLatency;
use leases::PeerAsks;
use lone::Lone;
use timing::Timing;

pub use backup::{BackupReply, NoBackup};
pub use cluster::{Setup, StepDown};
pub use links::{ASK_SNAPSHOT, Links};

/// How often the figures of the links to other members go to the metrics.
const PEER_METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// How often a log without room looks for some.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What arbiters ask.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum FromArbiter {
    /// The checked commands of one turn.
    Propose(BatchBuilder),
    /// The same; it is a single command, and the arbiter has no other call open.
    ProposeAlone(BatchBuilder),
    /// Nobody waits for these any more.
    Withdraw(HashSet<RequestId>),
    /// Where do the linearizable reads of this turn look?
    Read(ReadId),
    /// What do the leases of these requests have left, or renew them.
    Lease(Vec<(RequestId, LeaseAsk)>),
    /// Which leases are there?
    Leases(RequestId),
    /// A read waits for what the shards were not handed yet.
    HandOver,
    /// A client wants the members changed.
    Change {
        /// Its request.
        id: RequestId,
        /// What is to change.
        kind: CommandKind,
        /// How.
        member: Box<Member>,
    },
    /// A client wants another leader.
    MoveLeader {
        /// Its request.
        id: RequestId,
        /// Who is to lead.
        to: MemberId,
    },
    /// A client wants a snapshot.
    Backup(BackupReply),
}

/// What a shard said in one of its turns.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FromShards(pub Vec<FromShard>);

/// What shards say.
#[derive(Debug)]
pub enum FromShard {
    /// An answer to a task.
    Answer(ShardId, ShardAnswer),
    /// A stream is durable up to here: the shards' are `0..shards`, the sequencer's is the last.
    Durable {
        /// Which.
        stream: usize,
        /// Up to where.
        index: LogIndex,
    },
    /// Whether the shard's disk has no room for what it must write.
    Full(ShardId, bool),
    /// A piece of a snapshot.
    Chunk(ShardId, Chunk),
}

/// The arbiters to answer, in the order of their ids; to be sent once, before any question.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Arbiters(pub Vec<Addr<NetActor>>);

/// The actor.
pub struct ConsensusActor {
    core: Consensus,
    disk: Uring,
    shards: HandOver,
    arbiters: Vec<Addr<NetActor>>,
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    heartbeat: Duration,
    ticked_at: Instant,
    /// Expired leases that the metrics know of.
    expired_told: u64,
    cluster: Cluster,
    backups: Backups,
    peer_asks: PeerAsks,
    comparing: Comparing,
    quota: Quota,
    authority: Arc<Authority>,
    compactor: Option<Compactor>,
    /// Told once, when the member has caught up with its own log.
    ready: Option<oneshot::Sender<()>>,
    shards_full: Vec<bool>,
    retrying: bool,
    lingering: bool,
    /// Whether a timer will hand over what is held.
    holding: bool,
    clock: Instant,
    latency: WriteLatency,
    timing: Timing,
    lone: Lone,
    outputs: Vec<Output>,
    completions: Vec<Completion>,
    /// For each arbiter, what it is to be told at the end of this step.
    told: Vec<Vec<ToArbiter>>,
}

/// What the actor is made of.
pub struct Wiring {
    /// The core, restored.
    pub core: Consensus,
    /// The ring of the log that the core holds.
    pub disk: Uring,
    /// The mailboxes of the shards.
    pub shards: Senders<Ticket>,
    /// What everyone sees.
    pub published: Arc<Published>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What history to keep; none keeps all of it.
    pub retention: Option<Retention>,
    /// Size of the store above which it takes no more; none if there is no quota.
    pub quota_bytes: Option<u64>,
    /// What makes and reads tokens.
    pub authority: Arc<Authority>,
    /// Time of one tick.
    pub heartbeat: Duration,
    /// Who this member is, and how it reaches the others.
    pub cluster: cluster::Setup,
    /// Where snapshots for clients lie until they are sent.
    pub backup_folder: PathBuf,
    /// Told when the member serves.
    pub ready: oneshot::Sender<()>,
}

impl ConsensusActor {
    /// An actor that campaigns when it starts.
    #[must_use]
    pub fn new(wiring: Wiring) -> Self {
        let Wiring { core, disk, shards, published, metrics, heartbeat, .. } = wiring;
        let Wiring { retention, quota_bytes, authority, cluster, backup_folder, ready, .. } = wiring;
        let quota = Quota::new(quota_bytes, published.complete());
        let timing = Timing::new(Arc::clone(&metrics.stages));
        Self {
            core,
            disk,
            shards_full: vec![false; usize::from(shards.count())],
            shards: HandOver::new(shards),
            arbiters: Vec::new(),
            published,
            metrics,
            heartbeat,
            ticked_at: Instant::now(),
            expired_told: 0,
            cluster: Cluster::new(cluster),
            backups: Backups::new(backup_folder),
            peer_asks: PeerAsks::default(),
            comparing: Comparing::default(),
            quota,
            authority,
            compactor: retention.map(|retention| Compactor::new(retention, 0)),
            ready: Some(ready),
            retrying: false,
            lingering: false,
            holding: false,
            clock: Instant::now(),
            latency: WriteLatency::default(),
            timing,
            lone: Lone::default(),
            outputs: Vec::new(),
            completions: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Feeds an arbiter's commands, and gives it their memory back.
    fn propose(&mut self, commands: BatchBuilder, alone: bool) {
        let proposer = commands.request_ids().next().map(arbiter_of);
        if let Some(arbiter) = proposer {
            self.lone.proposes(arbiter, alone);
        }
        self.timing.gathered();
        self.feed(Input::Propose(commands));
        if let (Some(arbiter), Some(emptied)) = (proposer, self.core.take_emptied()) {
            self.tell(arbiter, ToArbiter::Emptied(emptied));
        }
    }

    fn feed(&mut self, input: Input) {
        let before_quorum = self.timing.before_quorum();
        survive(self.core.step(input, &mut self.outputs));
        if let Some(at_ns) = before_quorum {
            self.timing.committed(self.core.raft().commit(), at_ns);
        }
    }

    /// Ends a step: lets the core flush, and carries out all that it wants with one system call for the disk and one
    /// message for each arbiter.
    fn end_step(&mut self, context: &mut Context<Self>) {
        self.ask_place();
        loop {
            self.flush(context);
            let mut outputs = std::mem::take(&mut self.outputs);
            for output in outputs.drain(..) {
                self.carry_out(output, context);
            }
            self.outputs = outputs;
            if self.completions.is_empty() {
                break;
            }
            // What was carried out at once has ended by now.
            self.complete();
        }
        if let Err(failure) = self.disk.flush() {
            fatal(Reason::DiskFailed, failure);
        }
        self.timing.submitted();
        self.published.set_committed(self.core.raft().commit());
        self.hand_over(context);
        for (arbiter, told) in self.arbiters.iter().zip(&mut self.told) {
            if !told.is_empty() {
                failpoint!("replyBeforeSend");
                arbiter.do_send(Told(std::mem::take(told)));
            }
        }
        self.timing.answered();
        self.announce_ready();
    }

    /// Hands the shards what they are to have now, and sees to it that the rest follows soon.
    fn hand_over(&mut self, context: &mut Context<Self>) {
        if self.published.is_followed() {
            self.shards.hurry();
        }
        if self.shards.is_due() {
            self.hand_over_now();
        } else if !self.shards.is_empty() && !self.holding {
            self.holding = true;
            context.run_later(HOLD_MAX, |actor, _| {
                actor.holding = false;
                actor.hand_over_now();
            });
        }
    }

    fn hand_over_now(&mut self) {
        if let Some(index) = self.shards.flush() {
            self.published.set_handed(index);
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).expect("a run shorter than 584 years")
    }

    /// Compacts by itself, as far as the flags ask for it.
    fn compact_if_due(&mut self) {
        let now_ns = self.now_ns();
        let (newest, leads) = (self.core.numbered().revision, self.core.raft().is_leader_ready());
        let due = self.compactor.as_mut().and_then(|compactor| compactor.tick(now_ns, newest, leads));
        if let Some(revision) = due {
            tracing::info!(%revision, "compacting what is older than it is to be kept");
            let request = CompactionRequest { revision: revision.0, physical: false };
            let mut compaction = BatchBuilder::default();
            compaction.push(OWN_REQUEST, CommandKind::Compaction, &request.encode_to_vec());
            self.feed(Input::Propose(compaction));
        }
    }

    /// A tick is a heartbeat where this member leads others. Source: etcd `etcdserver/raft.go`, "leader failed to send out
    /// heartbeat on time".
    fn note_tick(&mut self) {
        let (now, heartbeat) = (Instant::now(), self.heartbeat);
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.ticked_at, now));
        let leads_others = self.core.raft().leader() == self.core.raft().id() && !self.has_no_peers();
        if leads_others && passed > 2 * heartbeat {
            self.metrics.late_heartbeats.inc();
        }
        self.metrics.leases.set(i64::try_from(self.core.lease_count()).unwrap_or(i64::MAX));
        let expired = self.core.expired_leases();
        self.metrics.leases_expired.inc_by(expired - std::mem::replace(&mut self.expired_told, expired));
    }

    fn flush(&mut self, context: &mut Context<Self>) {
        let (complete, complete_ns) = self.published.complete_since();
        self.timing.installed(complete, complete_ns);
        self.feed(Input::Complete(complete));
        let (last_index, began_ns) = (self.core.raft().last_index(), clock_ns());
        let now_ns = self.now_ns();
        let wake_at_ns = survive(self.core.flush(now_ns, &mut self.outputs));
        let taken = self.core.taken();
        if taken > 0 {
            self.metrics.batch_commands.observe(taken as f64);
        }
        let grown = Some(self.core.raft().last_index()).filter(|index| *index > last_index);
        if taken > 0 || grown.is_some() {
            self.timing.cut(began_ns, taken, self.core.gathered(), grown);
        }
        if let Some(at_ns) = wake_at_ns
            && !self.lingering
        {
            self.lingering = true;
            context.run_later(Duration::from_nanos(at_ns - now_ns), |actor, context| {
                actor.lingering = false;
                actor.end_step(context);
            });
        }
    }

    fn carry_out(&mut self, output: Output, context: &mut Context<Self>) {
        match output {
            Output::Disk(op) => self.start(op),
            Output::Send(message) => self.send(message),
            Output::Forward { to, term, data, ids } => {
                self.forward(to, Frame::Forward { term, batch: data }, ids, context);
            }
            Output::RefuseForwarded { to, ids, error } => self.refuse_forwarded(to, ids, error),
            Output::Marked { index, sums } => self.own_sums(index, sums),
            Output::Auth { auth, invalid } => self.auth_changed(auth, &invalid),
            Output::Token { token, user } => self.authority.assigned(&token, &user),
            Output::Alarms(alarms) => self.alarms_changed(alarms),
            Output::Members(members) => self.members_changed(members),
            Output::Snapshot { to, id, state } => self.send_snapshot(to, id, state, context),
            Output::Backup { id, state } => self.begin_backup(id, state, context),
            Output::Rejected { from, fault } => {
                tracing::warn!(peer = %from, ?fault, "dropped a message that cannot be true");
            }
            Output::ToShard { shard, task } => self.shards.task(shard, task),
            Output::Reply { id: OWN_REQUEST, result } => self.own_change_ended(result),
            Output::Reply { id, result } => self.tell(arbiter_of(id), ToArbiter::Reply { id, result }),
            Output::PutReplies { batch, commands, first_revision } => {
                self.put_replies(&batch, commands, first_revision);
            }
            Output::Applied(state) => {
                self.published.set_last_index(self.core.raft().last_index());
                self.published.set_state(state);
                self.timing.numbered(state.index);
                self.shards.state(state);
            }
            Output::ReadReady { id: OWN_READ, .. } => self.cluster.place = Place::Reached,
            Output::ReadDropped(OWN_READ) => self.cluster.place = Place::Unknown,
            Output::ReadReady { id, index, revision } => {
                self.shards.hurry();
                let compact_revision = self.core.numbered().compact_revision;
                let snapshot = Some(Snapshot { index, revision, compact_revision });
                self.tell(asker(id), ToArbiter::Snapshot { id, snapshot });
            }
            Output::LeaseAnswer { asker: Asker::Peer { id, .. }, answer } => self.lease_answered(id, answer),
            Output::LeaseAnswer { asker: Asker::Local(id), answer } => self.tell_lease(id, answer),
            Output::ReadDropped(id) => self.tell(asker(id), ToArbiter::Snapshot { id, snapshot: None }),
            Output::Stable(index) => {
                failpoint!("raftAfterWALRelease");
                self.metrics.stable_index.set(index.0);
                self.shards.stable(index);
            }
            Output::RoleChanged { role, term, leader } => {
                tracing::info!(%role, %term, %leader, "role changed");
                if leader != self.published.leader() {
                    self.metrics.leader_changes.inc();
                }
                self.published.set_leader(term, leader);
                self.timing.leader_changed();
                self.leader_changed(leader);
            }
            Output::Full(full) => self.set_full(full, context),
        }
    }

    fn start(&mut self, op: Op) {
        let at_once = self.latency.is_idle() && self.has_no_peers() && self.lone.takes(&op);
        if let Op::WriteDurable { ticket, buffer, .. } = &op {
            failpoint!("raftBeforeSave");
            self.metrics.wal_write_bytes.inc_by(buffer.bytes().len() as u64);
            self.latency.begin(*ticket);
            self.timing.started(*ticket, buffer.bytes().len());
        }
        if at_once {
            self.timing.submitted();
            self.completions.push(self.disk.write_now(op));
        } else {
            self.disk.submit([op]);
        }
    }

    /// Whether this member leads and nobody waits for its messages.
    fn has_no_peers(&self) -> bool {
        let raft = self.core.raft();
        raft.leader() == raft.id() && raft.peers().next().is_none()
    }

    /// Feeds the operations that ended.
    fn complete(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            if let Some(took) = self.latency.end(completion.ticket, &self.metrics.wal_fsync_seconds) {
                failpoint!("raftAfterSave");
                self.lone.observe(took);
                self.timing.written(completion.ticket);
            }
            self.feed(Input::Disk(completion));
        }
        self.completions = completions;
    }

    /// Gives each arbiter the runs of commands that are its own; commands of one arbiter mostly stand together.
    fn put_replies(&mut self, batch: &Batch, commands: std::ops::Range<usize>, first_revision: Revision) {
        let mut begin = commands.start;
        let mut owners =
            batch.commands().skip(begin).take(commands.len()).map(|c| arbiter_of(c.id)).peekable();
        while let Some(owner) = owners.next() {
            let mut end = begin + 1;
            while owners.next_if_eq(&owner).is_some() {
                end += 1;
            }
            let offset = i64::try_from(begin - commands.start).expect("an entry holds few commands");
            let first_revision = Revision(first_revision.0 + offset);
            let (batch, commands) = (batch.clone(), begin..end);
            self.told[usize::from(owner.0)].push(ToArbiter::Puts { batch, commands, first_revision });
            begin = end;
        }
    }

    fn tell(&mut self, arbiter: ArbiterId, message: ToArbiter) {
        self.told[usize::from(arbiter.0)].push(message);
    }

    fn auth_changed(&self, auth: Arc<Auth>, invalid: &Invalid) {
        let was_enabled = self.published.is_auth_enabled();
        match (was_enabled, auth.is_enabled()) {
            (false, true) => tracing::info!("authentication is enabled"),
            (true, false) => tracing::info!("authentication is disabled"),
            _ => {}
        }
        self.published.set_auth(auth);
        self.authority.invalidate(invalid);
    }

    fn set_full(&mut self, full: bool, context: &mut Context<Self>) {
        self.published.set_full(full);
        if full {
            tracing::error!("the disk is full: writes are refused until there is room, reads go on");
        } else {
            tracing::info!("the disk has room again: writes are accepted");
        }
        if full && !self.retrying {
            self.retrying = true;
            self.retry_later(context);
        }
    }

    fn retry_later(&mut self, context: &mut Context<Self>) {
        context.run_later(RETRY_INTERVAL, |actor, context| {
            actor.feed(Input::RetrySpace);
            actor.end_step(context);
            if actor.published.is_full() {
                actor.retry_later(context);
            } else {
                actor.retrying = false;
            }
        });
    }

    fn announce_ready(&mut self) {
        if self.ready.is_none() {
            return;
        }
        if self.has_caught_up() {
            self.published.set_serving();
            let ready = self.ready.take().expect("checked above");
            // The one who waits ends with the process only.
            let _ = ready.send(());
        }
    }
}

impl Actor for ConsensusActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // Everyone who sends here bounds what it has unanswered: arbiters their calls, shards their mailboxes.
        context.set_mailbox_capacity(1 << 16);
        match disk_ready(self.disk.eventfd()) {
            Ok(stream) => drop(context.add_stream(stream)),
            Err(error) => fatal(Reason::Failure, error),
        }
        context.run_interval(self.heartbeat, |actor, context| {
            actor.metrics.proposals_pending.set(i64::try_from(actor.core.gathered()).unwrap_or(i64::MAX));
            actor.note_tick();
            actor.feed(Input::Tick);
            actor.tick_cluster();
            actor.compact_if_due();
            actor.end_step(context);
        });
        context.run_interval(PEER_METRICS_INTERVAL, |actor, _| {
            if let Some(peers) = &actor.cluster.peers {
                actor.metrics.peers.tell(actor.published.member, peers.stats());
            }
        });
        self.published.set_members(Arc::new(self.core.members().clone()));
        self.published.set_alarms(Arc::clone(self.core.alarms()));
        self.connect(context);
        Self::set_marks(context);
        Self::watch_room(context);
        context.run_interval(SWEEP_INTERVAL, |actor, _| actor.authority.sweep());
        survive(self.core.begin(&mut self.outputs));
        self.end_step(context);
    }
}

impl Handler<Arbiters> for ConsensusActor {
    type Result = ();

    fn handle(&mut self, Arbiters(arbiters): Arbiters, _: &mut Self::Context) {
        self.told = arbiters.iter().map(|_| Vec::new()).collect();
        self.arbiters = arbiters;
    }
}

impl Handler<FromArbiter> for ConsensusActor {
    type Result = ();

    fn handle(&mut self, message: FromArbiter, context: &mut Self::Context) {
        match message {
            FromArbiter::Propose(commands) => self.propose(commands, false),
            FromArbiter::ProposeAlone(commands) => self.propose(commands, true),
            FromArbiter::Withdraw(ids) => self.feed(Input::Withdraw(ids)),
            FromArbiter::Lease(asks) => {
                self.ask_leases(asks, context);
            }
            FromArbiter::Leases(id) => {
                let leases = self.core.leases();
                self.tell(arbiter_of(id), ToArbiter::Leases { id, leases });
            }
            FromArbiter::Read(id) => {
                self.lone.disturb();
                self.feed(Input::Read(id));
            }
            FromArbiter::HandOver => self.shards.hurry(),
            FromArbiter::Change { id, kind, member } => self.feed(Input::Change { id, kind, member }),
            FromArbiter::MoveLeader { id, to } => self.move_leader(id, to),
            FromArbiter::Backup(reply) => self.backup_asked(reply),
        }
        self.end_step(context);
    }
}

impl Handler<FromShards> for ConsensusActor {
    type Result = ();

    fn handle(&mut self, FromShards(messages): FromShards, context: &mut Self::Context) {
        for message in messages {
            let input = match message {
                FromShard::Chunk(shard, chunk) => {
                    self.cluster.chunk(shard, chunk);
                    continue;
                }
                FromShard::Answer(shard, answer) => Input::Shard { shard, answer },
                FromShard::Durable { stream, index } => Input::Durable { stream, index },
                FromShard::Full(shard, full) => {
                    self.shards_full[usize::from(shard.0)] = full;
                    Input::ShardsFull(self.shards_full.contains(&true))
                }
            };
            self.feed(input);
        }
        self.end_step(context);
    }
}

impl StreamHandler<DiskReady> for ConsensusActor {
    fn handle(&mut self, _: DiskReady, context: &mut Self::Context) {
        self.disk.reap(&mut self.completions);
        self.complete();
        self.end_step(context);
    }
}

/// Ends the process where the core cannot go on: a half-alive core would be worse than none.
fn survive<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| match error {
        Error::Log(_) => fatal(Reason::DiskFailed, error),
        Error::Entry { .. } => fatal(Reason::Damaged, error),
    })
}
