//! The Watch service: the shell around [`Watchers`]. It opens and closes streams, hands over requests and what shards
//! say, and sends responses. It must never decide what a watcher is sent.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use prost::Message;
use tokio::sync::Notify;
use windlass_api::etcdserverpb::WatchRequest;
use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_replica::auth::Need;
use windlass_replica::shard::FollowerId;
use windlass_replica::task::{Changes, Query, ReadTask};
use windlass_replica::watch::{Action, Counts, Follow, FollowNews, Now, Response, Sink, Watchers};
use windlass_rpc::{CallId, Code, Meta, Net};
use windlass_types::{LogIndex, RequestError, Revision, ShardId, nanoseconds};

use super::arbiter::{Arbiter, check_meta};
use super::calls::ArbiterId;
use super::header::Headers;
use super::reads::Ticket;
use crate::consensus::FromArbiter;
use crate::metrics::{Metrics, WatchTimes, WatchWork};
use crate::startup::data_folder::random;

/// Unsent bytes of one stream above which its watchers are sent no more until their client has taken some. They read on
/// from history then, so this is all that a slow client costs. It is above the network's own mark, below which a stream
/// is reported writable again.
const QUEUED_BYTES_MAX: usize = 512 << 10;

/// What gRPC's framing adds to the largest request; etcd divides responses at that size for clients that allow it.
const FRAGMENT_OVERHEAD_BYTES: usize = 512 << 10;

/// Election timeouts without a leader after which a stream that asked for one is ended. Source: etcd
/// `v3rpc/interceptor.go`.
const LEADERLESS_TIMEOUTS: u32 = 3;

/// Part of the interval by which progress is told later at most, by chance, so that not all streams are due at once.
/// Source: etcd `v3rpc/watch.go`.
const JITTER_PARTS: u64 = 10;

/// What the flags say of watches.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// How often those who want it are told their progress.
    pub progress_interval: Duration,
    /// Time without a leader until an election.
    pub election_timeout: Duration,
}

/// The watch streams of one arbiter.
pub struct Watch {
    options: WatchOptions,
    watchers: Watchers<CallId>,
    outlet: Outlet,
    /// Streams that want to be ended when there is no leader.
    need_leader: HashSet<CallId>,
    leaderless_since: Option<Instant>,
    clock: Instant,
    /// Wakes the task that lets watchers catch up.
    work: Rc<Notify>,
    told: Figures,
    times: WatchTimes,
}

/// Where responses go.
struct Outlet {
    net: Net,
    headers: Headers,
    /// Bytes of all responses so far: with the number of events, the size of one.
    sent_bytes: u64,
}

/// What the metrics were told last.
#[derive(Default)]
struct Figures {
    counts: Counts,
    pending: i64,
}

impl Sink<CallId> for Outlet {
    fn send(&mut self, stream: CallId, response: &Response<'_>) -> bool {
        failpoint!("beforeSendWatchResponse");
        let header = self.headers.at(Revision::ZERO);
        let mut len = 0;
        let queued = self.net.stream_send_with(stream, |out| {
            let before = out.len();
            response.encode(&header, out);
            len = out.len() - before;
        });
        self.sent_bytes += len as u64;
        // Of a stream that is gone the network tells in an event of its own.
        queued.is_none_or(|queued| queued <= QUEUED_BYTES_MAX)
    }
}

impl Watch {
    /// No streams.
    #[must_use]
    pub fn new(
        options: WatchOptions,
        shards: u16,
        request_bytes_max: usize,
        net: Net,
        headers: Headers,
    ) -> Self {
        Self {
            options,
            watchers: Watchers::new(shards, request_bytes_max + FRAGMENT_OVERHEAD_BYTES),
            outlet: Outlet { net, headers, sent_bytes: 0 },
            need_leader: HashSet::new(),
            leaderless_since: None,
            clock: Instant::now(),
            work: Rc::default(),
            told: Figures::default(),
            times: WatchTimes::default(),
        }
    }

    fn ns(&self) -> u64 {
        nanoseconds(self.clock.elapsed())
    }

    /// The interval of a new stream.
    fn interval_ns(&self) -> u64 {
        let interval_ns = nanoseconds(self.options.progress_interval).min(u64::MAX / 2);
        interval_ns.saturating_add(random() % (interval_ns / JITTER_PARTS).max(1))
    }

    /// Events on streams whose clients have not taken them: their bytes, by the mean size of an event.
    fn queued_events(&self) -> u64 {
        let events = self.watchers.counts().events_sent;
        if events == 0 {
            return 0;
        }
        let queued: usize = self.watchers.streams().map(|stream| self.outlet.net.queued_bytes(stream)).sum();
        (queued as u64).saturating_mul(events) / self.outlet.sent_bytes.max(1)
    }
}

impl Arbiter {
    /// A `Watch.Watch` stream begins.
    pub(super) fn watch_open(&mut self, call: CallId, meta: &Meta) {
        if let Err(error) = check_meta(meta, &self.published) {
            return self.net.stream_end(call, error.code(), error.text());
        }
        if meta.require_leader {
            self.watch.need_leader.insert(call);
        }
        let (interval_ns, now_ns) = (self.watch.interval_ns(), self.watch.ns());
        self.watch.watchers.open(call, interval_ns, now_ns);
    }

    /// Its client asks for something.
    pub(super) fn watch_message(&mut self, call: CallId, message: &[u8]) {
        match WatchRequest::decode(message) {
            Ok(request) => {
                let now = self.watch_now();
                if let Some(RequestUnion::CreateRequest(create)) = &request.request_union
                    && let Err(error) = self.permit(&self.caller, Need::of_watch(create))
                {
                    // In the words of the Go error that etcd makes a string of.
                    let reason = format!("rpc error: code = {:?} desc = {}", error.code(), error.text());
                    self.watch.watchers.refuse(call, &reason, now, &mut self.watch.outlet);
                    return self.watch_carry_out();
                }
                self.watch.timed(WatchWork::Control, |watchers, outlet| {
                    watchers.request(call, request, now, outlet);
                });
                self.watch_carry_out();
            }
            Err(error) => {
                let text = format!("grpc: error unmarshalling request: {error}");
                self.watch_end(call, Code::Internal, &text);
            }
        }
    }

    /// It is gone.
    pub(super) fn watch_close(&mut self, call: CallId) {
        self.watch.need_leader.remove(&call);
        self.watch.watchers.close(call);
    }

    /// Its client has taken what was queued.
    pub(super) fn watch_writable(&mut self, call: CallId) {
        let now = self.watch_now();
        self.watch.watchers.writable(call, now, &mut self.watch.outlet);
        self.watch_carry_out();
    }

    /// A shard that is followed says something.
    pub(super) fn watch_followed(&mut self, shard: ShardId, news: FollowNews) {
        let now = self.watch_now();
        self.watch.timed(WatchWork::Events, |watchers, outlet| watchers.followed(shard, news, now, outlet));
        self.watch_carry_out();
    }

    /// A shard answered a read of history.
    pub(super) fn watch_answered(
        &mut self,
        id: windlass_replica::watch::ReadId,
        shard: ShardId,
        changes: Changes,
    ) {
        let now = self.watch_now();
        self.watch.watchers.answered(id, shard, changes, now, &mut self.watch.outlet);
        self.watch_carry_out();
    }

    /// What wakes when [`watch_work`](Self::watch_work) is to be called.
    pub(super) fn watch_waker(&self) -> Rc<Notify> {
        Rc::clone(&self.watch.work)
    }

    /// Lets watchers that are behind go on for a while.
    pub(super) fn watch_work(&mut self) {
        let now = self.watch_now();
        self.watch.watchers.work(now, &mut self.watch.outlet);
        self.watch_carry_out();
    }

    /// Does what is due now and then.
    pub(super) fn watch_sweep(&mut self, now: Instant) {
        let at = self.watch_now();
        self.watch.timed(WatchWork::Progress, |watchers, outlet| watchers.tick(at, outlet));
        self.watch_carry_out();
        self.watch_leader(now);
        self.watch.tell_figures(&self.metrics);
    }

    /// Ends all streams, for a reason that all have in common. Their clients go on elsewhere.
    pub(super) fn watch_stop(&mut self, error: RequestError) {
        let streams: Vec<CallId> = self.watch.watchers.streams().collect();
        streams.into_iter().for_each(|stream| self.watch_end(stream, error.code(), error.text()));
    }

    /// Ends the streams that want a leader if there was none for too long.
    fn watch_leader(&mut self, now: Instant) {
        if self.published.leader().0 != 0 {
            self.watch.leaderless_since = None;
            return;
        }
        let since = *self.watch.leaderless_since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.watch.options.election_timeout * LEADERLESS_TIMEOUTS {
            return;
        }
        let error = RequestError::NoLeader;
        for stream in std::mem::take(&mut self.watch.need_leader) {
            self.watch_end(stream, error.code(), error.text());
        }
    }

    fn watch_end(&mut self, call: CallId, code: Code, text: &str) {
        self.net.stream_end(call, code, text);
        self.watch_close(call);
    }

    fn watch_now(&self) -> Now {
        // In this order: what is compacted is then not above the revision.
        let compact_revision = self.published.compact_revision();
        Now { revision: self.published.revision(), compact_revision, ns: self.watch.ns() }
    }

    fn watch_carry_out(&mut self) {
        let arbiter = self.calls.arbiter();
        for action in self.watch.watchers.actions() {
            match action {
                Action::Follow(shard, follow) => {
                    match follow {
                        // What was numbered is to reach the shards soon, now and from now on.
                        Follow::Begin { .. } => self.published.set_following(arbiter, true),
                        Follow::End => self.published.set_following(arbiter, false),
                        Follow::Ack { .. } => {}
                    }
                    let whom =
                        (0..self.shards.count()).map(ShardId).filter(|s| shard.is_none_or(|only| only == *s));
                    whom.for_each(|shard| self.shards.follow(shard, follower_of(arbiter), follow));
                    if matches!(follow, Follow::Begin { .. }) {
                        self.consensus.do_send(FromArbiter::HandOver);
                    }
                }
                Action::Read { id, shards, query } => {
                    let ticket = Ticket::of_watch(arbiter, id);
                    for shard in shards.iter() {
                        // The shards hold what is asked for: it was announced by them.
                        let (min_index, revision) = (LogIndex::ZERO, query.through);
                        let query = Query::Changes(query.clone());
                        self.shards.read(shard, ticket, ReadTask { min_index, revision, query });
                    }
                }
            }
        }
        if self.watch.watchers.has_work() {
            self.watch.work.notify_one();
        }
    }
}

/// An arbiter's name as a follower of shards.
fn follower_of(arbiter: ArbiterId) -> FollowerId {
    FollowerId::from(arbiter.0)
}

impl Watch {
    /// Has the watchers do something, and notes how long it took.
    fn timed(&mut self, work: WatchWork, act: impl FnOnce(&mut Watchers<CallId>, &mut Outlet)) {
        let (begun, before) = (Instant::now(), self.watchers.events_sent());
        act(&mut self.watchers, &mut self.outlet);
        self.times.note(work, begun.elapsed(), self.watchers.events_sent() - before);
    }

    fn tell_figures(&mut self, metrics: &Metrics) {
        let now = self.watchers.counts();
        let told = std::mem::replace(&mut self.told.counts, now);
        let change = |gauge: &prometheus_client::metrics::gauge::Gauge, now: usize, told: usize| {
            gauge.inc_by(now as i64 - told as i64);
        };
        change(&metrics.watch_streams, now.streams, told.streams);
        change(&metrics.watchers, now.watchers, told.watchers);
        change(&metrics.slow_watchers, now.behind, told.behind);
        metrics.watch_events.inc_by(now.events_sent - told.events_sent);
        metrics.watches.add(&mut self.times);
        let pending = i64::try_from(self.queued_events() + now.held_events as u64).unwrap_or(i64::MAX);
        metrics.pending_events.inc_by(pending - std::mem::replace(&mut self.told.pending, pending));
    }
}
