//! The service of one net arbiter: what every event leads to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Addr;
use prost::Message;
use windlass_api::etcdserverpb::RangeRequest;
use windlass_records::batch::BatchBuilder;
use windlass_replica::shard::View;
use windlass_rpc::{CallId, Code, Event, Meta, Net};
use windlass_types::RequestError;

use super::actor::NetActor;
use super::auth::Passwords;
use super::calls::{ArbiterId, Calls};
use super::header::Headers;
use super::info::{HealthWatches, MemberInfo};
use super::lease::LeaseCalls;
use super::range_stream::RangeStream;
use super::reads::{Reads, Ticket};
use super::recipe::Recipes;
use super::routes::Method;
use super::tally::Tally;
use super::tasks::Tasks;
use super::watch::{Watch, WatchOptions};
use crate::auth::{Authority, Caller};
use crate::consensus::{ConsensusActor, FromArbiter};
use crate::metrics::Metrics;
use crate::published::Published;
use crate::shard::Senders;
use crate::startup::Waiting;
use crate::waiting::Awake;

/// Bounds on requests, from the flags.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Most bytes of one request.
    pub request_bytes_max: usize,
    /// Most operations of one transaction.
    pub txn_ops_max: usize,
    /// Size of the store above which writes are refused; none if there is no quota.
    pub quota_bytes: Option<u64>,
    /// How long a request may take before it is answered with etcd's timeout.
    pub timeout: Duration,
    /// Shortest time to live of a lease in seconds, whatever is asked for.
    pub lease_ttl_s_min: i64,
}

/// One net arbiter.
pub struct Arbiter {
    pub(super) net: Net,
    pub(super) consensus: Addr<ConsensusActor>,
    pub(super) shards: Senders<Ticket>,
    /// For short reads; in the order of the shards' numbers.
    pub(super) views: Vec<View>,
    pub(super) published: Arc<Published>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) info: Arc<MemberInfo>,
    pub(super) limits: RequestLimits,
    pub(super) headers: Headers,
    pub(super) calls: Calls,
    pub(super) reads: Reads,
    pub(super) leases: LeaseCalls,
    pub(super) passwords: Passwords,
    pub(super) authority: Arc<Authority>,
    /// Who makes the call under way. Nobody between calls, and while nobody has to say who they are.
    pub(super) caller: Caller,
    /// Who made the streams that said so.
    pub(super) stream_callers: HashMap<CallId, Caller>,
    /// Where threads answer to.
    pub(super) own: Option<Addr<NetActor>>,
    /// Commands of this turn.
    pub(super) batch: BatchBuilder,
    /// Memory for the batches of later turns.
    pub(super) spare: Vec<BatchBuilder>,
    /// Streams that wait until their client has taken more.
    pub(super) paused: Vec<RangeStream>,
    /// Calls that nobody waits for any more, as of this turn.
    cancelled: HashSet<CallId>,
    pub(super) watch: Watch,
    pub(super) tasks: Tasks,
    pub(super) recipes: Recipes,
    pub(super) health: HealthWatches,
    pub(super) awake: Awake,
    tally: Tally,
    /// An event of this turn has come.
    in_turn: bool,
    /// Time at the start of the turn: close enough for the timeouts of its calls.
    pub(super) now: Instant,
}

/// What an arbiter is made of.
pub struct Wiring {
    /// Which one it is.
    pub id: ArbiterId,
    /// Its network.
    pub net: Net,
    /// The consensus actor.
    pub consensus: Addr<ConsensusActor>,
    /// The mailboxes of the shards.
    pub shards: Senders<Ticket>,
    /// A look at each of them.
    pub views: Vec<View>,
    /// What everyone sees.
    pub published: Arc<Published>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What makes and reads tokens.
    pub authority: Arc<Authority>,
    /// Who this member is.
    pub info: Arc<MemberInfo>,
    /// Bounds on requests.
    pub limits: RequestLimits,
    /// How watches are served.
    pub watch: WatchOptions,
    /// How the thread waits for work.
    pub waiting: Waiting,
    /// Where the ids of leases begin that this arbiter chooses: a number that no other arbiter of the cluster has.
    pub lease_seed: u64,
}

impl Arbiter {
    /// An arbiter without calls.
    #[must_use]
    pub fn new(wiring: Wiring) -> Self {
        let Wiring { id, net, consensus, shards, published, metrics, info, limits, .. } = wiring;
        let Wiring { views, authority, watch, waiting, lease_seed, .. } = wiring;
        let headers = Headers::new(Arc::clone(&published));
        let watch = Watch::new(watch, shards.count(), limits.request_bytes_max, net.clone(), headers.clone());
        Self {
            net,
            consensus,
            shards,
            views,
            headers,
            published,
            metrics,
            info,
            limits,
            calls: Calls::new(id),
            reads: Reads::new(id),
            leases: LeaseCalls::new(lease_seed),
            passwords: Passwords::default(),
            authority,
            caller: Caller::Nobody,
            stream_callers: HashMap::new(),
            own: None,
            batch: BatchBuilder::default(),
            spare: Vec::new(),
            paused: Vec::new(),
            cancelled: HashSet::new(),
            watch,
            tasks: Tasks::default(),
            recipes: Recipes::default(),
            health: HealthWatches::default(),
            awake: Awake::new(waiting),
            tally: Tally::default(),
            in_turn: false,
            now: Instant::now(),
        }
    }

    /// Deals with an event of the network.
    pub fn event(&mut self, event: Event<'_>) {
        if !std::mem::replace(&mut self.in_turn, true) {
            self.now = Instant::now();
        }
        match event {
            Event::Unary { call, route, meta, message } => {
                self.tally.count_request(meta, false);
                self.awake.called(self.now);
                let method = Method::of_route(route);
                let may = check_place(method, message, &self.published);
                if let Err(error) = may.and_then(|()| check_meta(meta, &self.published)) {
                    return self.refuse(call, error);
                }
                match method.is_recipe() {
                    true => self.recipe(call, method, meta, message),
                    false if self.published.is_auth_enabled() => {
                        self.guarded_unary(call, method, meta, message);
                    }
                    false => self.unary(call, method, message),
                }
            }
            Event::StreamMessage { call, route, message } => match Method::of_route(route) {
                // Its stream was refused when it was opened, or is ended by the next sweep.
                method if check_place(method, message, &self.published).is_err() => {}
                method if self.published.is_auth_enabled() => self.guarded_message(call, method, message),
                method => self.stream_message(call, method, message),
            },
            Event::StreamOpen { call, route, meta } => {
                self.tally.count_request(meta, true);
                if let Err(error) = check_place(Method::of_route(route), &[], &self.published) {
                    return self.net.stream_end(call, error.code(), error.text());
                }
                self.stream_opened(call, meta);
                match Method::of_route(route) {
                    Method::Watch => self.watch_open(call, meta),
                    Method::LeaseKeepAlive => self.leases.opened(call),
                    Method::Observe => self.recipes.opened(call, meta),
                    _ => {}
                }
            }
            // As in etcd, a watch goes on though its client asks for nothing more.
            Event::StreamHalfClosed { call } => self.keep_alive_half_closed(call),
            Event::Cancelled { call } => {
                self.paused.retain(|stream| stream.call != call);
                self.leases.cancelled(call);
                self.watch_close(call);
                self.recipes.cancelled(call);
                self.tasks.cancelled(call);
                self.stream_callers.remove(&call);
                self.health.closed(call);
                self.cancelled.insert(call);
            }
            Event::Writable { call } => {
                self.resume(call);
                self.watch_writable(call);
                self.tasks.writable(call);
            }
            Event::TurnEnd => self.end_turn(),
        }
    }

    pub(super) fn stream_message(&mut self, call: CallId, method: Method, message: &[u8]) {
        match method {
            Method::RangeStream => self.range_stream(call, message),
            Method::HealthWatch => self.health_watch(call, message),
            Method::Watch => self.watch_message(call, message),
            Method::LeaseKeepAlive => self.keep_alive(call, message),
            Method::Observe => self.observe(call, message),
            Method::Snapshot => self.take_backup(call, message),
            method => unreachable!("the table says that {method:?} is unary"),
        }
    }

    pub(super) fn unary(&mut self, call: CallId, method: Method, message: &[u8]) {
        match method {
            Method::Put => self.put(call, message),
            Method::DeleteRange => self.delete_range(call, message),
            Method::Txn => self.txn(call, message),
            Method::Compact => self.compact(call, message),
            Method::Range => self.range(call, message),
            Method::MemberList => self.member_list(call, message),
            Method::MemberAdd => self.member_add(call, message),
            Method::MemberRemove => self.member_remove(call, message),
            Method::MemberUpdate => self.member_update(call, message),
            Method::MemberPromote => self.member_promote(call, message),
            Method::MoveLeader => self.move_leader(call, message),
            Method::Defragment => self.defragment(call),
            Method::Hash => self.hash(call),
            Method::HashKv => self.hash_kv(call, message),
            Method::Status => self.status(call),
            Method::Downgrade => self.downgrade(call, message),
            Method::Alarm => self.alarm(call, message),
            Method::HealthCheck => self.health_check(call, message),
            Method::HealthList => self.health_list(call),
            Method::LeaseGrant => self.lease_grant(call, message),
            Method::LeaseRevoke => self.lease_revoke(call, message),
            Method::LeaseTimeToLive => self.lease_time_to_live(call, message),
            Method::LeaseLeases => self.lease_leases(call),
            Method::Auth(method) => self.auth(call, method, message),
            method => unreachable!("the table says that {method:?} is a stream, or a recipe"),
        }
    }

    /// Hands over what the turn gathered.
    pub(super) fn end_turn(&mut self) {
        self.withdraw_cancelled();
        if !self.batch.is_empty() {
            // As many are under way as there are turns between proposing and hearing back: one or two.
            let next = self.spare.pop().unwrap_or_default();
            let commands = std::mem::replace(&mut self.batch, next);
            let alone = self.calls.len() == 1 && self.reads.is_empty() && self.paused.is_empty();
            self.consensus.do_send(match alone {
                true => FromArbiter::ProposeAlone(commands),
                false => FromArbiter::Propose(commands),
            });
        }
        if let Some(id) = self.reads.ask() {
            self.consensus.do_send(FromArbiter::Read(id));
        }
        self.in_turn = false;
        let asks = self.leases.take_asks();
        if !asks.is_empty() {
            self.consensus.do_send(FromArbiter::Lease(asks));
        }
        self.turn_done();
    }

    /// Decides how the thread waits for what comes next.
    pub(super) fn turn_done(&mut self) {
        let is_settled = self.calls.is_empty() && self.reads.is_empty();
        self.awake.turn_done(is_settled);
    }

    /// Drops the commands of cancelled calls, as far as they are in no entry yet. Those that are take effect.
    fn withdraw_cancelled(&mut self) {
        if self.cancelled.is_empty() {
            return;
        }
        let ids = self.calls.withdraw(&self.cancelled);
        self.cancelled.clear();
        self.leases.withdrawn(&ids);
        self.passwords.withdrawn(&ids);
        if !ids.is_empty() {
            self.batch.withdraw(&ids);
            self.consensus.do_send(FromArbiter::Withdraw(ids));
        }
    }

    /// Brings the metrics up to date with what this arbiter's network counted.
    pub(super) fn tell_counters(&mut self) {
        self.tally.add(&self.net, self.reads.active(), &self.metrics);
    }

    /// Does what is due now and then: answers calls that waited too long, whose commands may still take effect, as the
    /// text says, and tells the counters.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.tell_counters();
        if self.published.is_damaged() {
            self.watch_stop(RequestError::Corrupt);
            self.end_all_keep_alives(RequestError::Corrupt);
        }
        self.health_sweep();
        self.watch_sweep(now);
        for overdue in self.calls.take_overdue(now, self.limits.timeout) {
            self.leases.forget(&overdue);
            self.passwords.forget(overdue.id);
            self.refuse(overdue.call, RequestError::Timeout);
        }
        self.sweep_reads(now);
        self.sweep_callers();
    }

    /// Answers a call with an error.
    pub(super) fn refuse(&self, call: CallId, error: RequestError) {
        self.net.fail(call, error.code(), error.text());
    }

    /// Answers a call whose message does not decode, in grpc-go's words.
    pub(super) fn refuse_message(&self, call: CallId, error: &prost::DecodeError) {
        let text = format!("grpc: error unmarshalling request: {error}");
        self.net.fail(call, Code::Internal, &text);
    }

    /// Answers a unary call with a message.
    pub(super) fn reply(&self, call: CallId, message: &impl prost::Message) {
        self.net.reply_with(call, |out| message.encode(out).expect("a vector takes any length"));
    }
}

/// Source: etcd `v3rpc/interceptor.go`: a client that asks for a leader is refused while there is none.
pub(super) fn check_meta(meta: &Meta, published: &Published) -> Result<(), RequestError> {
    if meta.require_leader && published.leader().0 == 0 {
        return Err(RequestError::NoLeader);
    }
    Ok(())
}

/// Whether this member may answer, being what it is.
///
/// It may have been removed, and live on only until those that stay know it: then it answers nothing, with etcd's error that
/// makes clients turn to another member. Its state may differ from that of the others: then it answers what does not rest on it, or is asked to find out why. Or it
/// may be a learner, which may be behind: it answers only what is asked of this very member. Source of that: etcd
/// `v3rpc/interceptor.go` `isRPCSupportedForLearner`.
fn check_place(method: Method, message: &[u8], published: &Published) -> Result<(), RequestError> {
    if published.is_removed() {
        return Err(RequestError::Stopped);
    }
    if published.is_damaged() && !method.is_about_members() {
        return Err(RequestError::Corrupt);
    }
    if !published.is_learner() {
        return Ok(());
    }
    match method {
        Method::Status | Method::Snapshot => Ok(()),
        // What does not decode is refused with the reason.
        Method::Range if RangeRequest::decode(message).map_or(true, |range| range.serializable) => Ok(()),
        _ => Err(RequestError::NotSupportedForLearner),
    }
}
