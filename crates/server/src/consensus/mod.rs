//! The consensus actor: the thin shell around [`windlass_replica::consensus`].
//!
//! It runs on the first net arbiter, feeds the core with what arbiters, shards and the log's ring say, and carries out
//! what the core wants. It must never decide anything itself, and never block.

mod alarms;
mod asked;
mod backup;
mod carry_out;
mod chunks;
mod cluster;
mod damage;
mod hand_over;
mod latency;
mod leases;
mod linger;
mod links;
mod live;
mod lone;
mod outgoing;
mod pace;
mod timing;
mod trials;
mod wakes;
mod ways;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, StreamHandler};
use prost::Message as _;
use tokio::sync::oneshot;
use windlass_api::etcdserverpb::CompactionRequest;
use windlass_io_disk::uring::Uring;
use windlass_io_log::op::{Completion, Op};
use windlass_records::batch::{BatchBuilder, CommandKind};
use windlass_replica::compactor::{Compactor, Retention};
use windlass_replica::consensus::{Consensus, Error, Input, Output};

use crate::auth::{Authority, SWEEP_INTERVAL};
use crate::metrics::Metrics;
use crate::net::{ArbiterId, NetActor, Ticket, ToArbiter, Told};
use crate::published::Published;
use crate::shard::Senders;
use crate::stages::clock_ns;
use crate::startup::{Reason, fatal};
use alarms::Quota;
use backup::Backups;
use cluster::{Cluster, OWN_REQUEST};
use damage::Comparing;
use hand_over::{HOLD_MAX, HandOver};
use latency::WriteLatency;
use leases::PeerAsks;
use linger::Lingering;
use live::Live;
use lone::Lone;
use pace::Pace;
use timing::Timing;
use wakes::{Alarm, AlarmRang, DiskReady, wakes};
use windlass_types::nanoseconds;

pub use asked::{Arbiters, FromArbiter, FromShard, FromShards};
pub use backup::{BackupReply, NoBackup};
pub use cluster::{Setup, StepDown};
pub use links::{ASK_SNAPSHOT, Links};
pub use live::{AskSettings, Change, LogSettings, Shown, TRIAL_MAX};

/// How often the figures of the links to other members go to the metrics.
const PEER_METRICS_INTERVAL: Duration = Duration::from_secs(1);

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
    /// Ends the linger under way.
    alarm: Alarm,
    /// Whether a timer will hand over what is held.
    holding: bool,
    clock: Instant,
    latency: WriteLatency,
    timing: Timing,
    lone: Lone,
    pace: Pace,
    lingering: Lingering,
    live: Live,
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
    /// How the log is flushed, as the member starts.
    pub settings: LogSettings,
    /// Whether CPUs may be kept from deep sleep.
    pub hold_cpus: bool,
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
        let Wiring { retention, quota_bytes, settings, hold_cpus, authority, cluster, .. } = wiring;
        let Wiring { backup_folder, ready, .. } = wiring;
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
            alarm: Alarm::new().unwrap_or_else(|error| fatal(Reason::Failure, error)),
            holding: false,
            clock: Instant::now(),
            latency: WriteLatency::default(),
            timing,
            lone: Lone::default(),
            pace: Pace::new(hold_cpus),
            lingering: settings.lingering(),
            live: Live::new(settings),
            outputs: Vec::new(),
            completions: Vec::new(),
            told: Vec::new(),
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
            self.flush();
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
        if self.shards.is_due(self.published.is_followed()) {
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
        nanoseconds(self.clock.elapsed())
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

    fn flush(&mut self) {
        let (complete, complete_ns) = self.published.complete_since();
        self.timing.installed(complete, complete_ns);
        self.feed(Input::Complete(complete));
        let (last_index, began_ns) = (self.core.raft().last_index(), clock_ns());
        let now_ns = self.now_ns();
        self.core.set_linger(self.lingering.now(self.core.waiting(), now_ns));
        let wake_at_ns = survive(self.core.flush(now_ns, &mut self.outputs));
        let taken = self.core.taken();
        if taken > 0 {
            self.metrics.batch_commands.observe(taken as f64);
        }
        let grown = Some(self.core.raft().last_index()).filter(|index| *index > last_index);
        if taken > 0 || grown.is_some() {
            self.timing.cut(began_ns, taken, self.core.gathered(), grown);
        }
        if grown.is_some() {
            self.lingering.cut(self.core.waiting(), now_ns);
        }
        if let Some(at_ns) = wake_at_ns {
            self.alarm.set(at_ns, now_ns).unwrap_or_else(|error| fatal(Reason::Failure, error));
        }
    }

    fn start(&mut self, op: Op) {
        let at_once = self.latency.is_idle() && self.has_no_peers() && self.lone.takes(&op);
        if let Op::WriteDurable { ticket, buffer, .. } = &op {
            failpoint!("raftBeforeSave");
            self.metrics.wal_write_bytes.inc_by(buffer.bytes().len() as u64);
            let now = Instant::now();
            if self.latency.is_idle() && self.follows() {
                self.pace.begins(now);
            }
            self.latency.begin(*ticket, now);
            self.lingering.begin(*ticket);
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

    /// Whether another member decides what is written.
    fn follows(&self) -> bool {
        self.core.raft().leader() != self.core.raft().id()
    }

    /// Feeds the operations that ended.
    fn complete(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            if let Some(took) = self.latency.end(completion.ticket, &self.metrics.wal_fsync_seconds) {
                failpoint!("raftAfterSave");
                if self.latency.is_idle() && self.follows() {
                    self.pace.ends(Instant::now());
                }
                let now_ns = self.now_ns();
                self.lone.observe(took, now_ns);
                self.lingering.end(completion.ticket, took, now_ns);
                self.timing.written(completion.ticket);
            }
            self.feed(Input::Disk(completion));
        }
        self.completions = completions;
    }

    fn tell(&mut self, arbiter: ArbiterId, message: ToArbiter) {
        self.told[usize::from(arbiter.0)].push(message);
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
        match wakes::<DiskReady>(self.disk.eventfd()) {
            Ok(stream) => drop(context.add_stream(stream)),
            Err(error) => fatal(Reason::Failure, error),
        }
        match wakes::<AlarmRang>(self.alarm.fd()) {
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
        self.pace.spawn();
        self.connect(context);
        Self::set_marks(context);
        Self::watch_room(context);
        context.run_interval(SWEEP_INTERVAL, |actor, _| actor.authority.sweep());
        survive(self.core.begin(&mut self.outputs));
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

impl StreamHandler<AlarmRang> for ConsensusActor {
    fn handle(&mut self, _: AlarmRang, context: &mut Self::Context) {
        self.alarm.rang();
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
