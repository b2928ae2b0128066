//! The watchers of one net arbiter: what each of them has been sent, and what it is sent next.
//!
//! A watcher is *synced* when it was sent everything up to the newest batch; the next batch reaches it through the index.
//! Otherwise it is *behind*, and the index passes it over until it has caught up (`catch_up.rs`).

mod catch_up;
mod deliver;
mod progress;
mod request;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use bytes::Bytes;
use slab::Slab;
use windlass_types::key::KeyRange;
use windlass_types::{Revision, ShardId};

use super::follow::{Follow, FollowNews, Follower};
use super::index::{Index, Place, WatcherKey};
use super::response::{Kind, Response};
use super::ring::Ring;
use crate::shard_set::ShardSet;
use crate::task::ChangesQuery;
use catch_up::Reading;

/// Most watchers of one arbiter, and ids of former ones. At the bound further ones are refused with etcd's `too many requests`.
const WATCHERS_MAX: usize = 1 << 20;

/// How long an arbiter without watchers goes on following, in nanoseconds: clients that reconnect find it warm.
const IDLE_NS: u64 = 5_000_000_000;

/// Where responses go: gRPC streams, or whatever else a service serves.
pub trait Sink<S> {
    /// Sends a response. False if the stream should be sent no more for now: [`Watchers::writable`] is to be called when
    /// its client has taken some. What is sent nevertheless is not lost.
    fn send(&mut self, stream: S, response: &Response<'_>) -> bool;
}

/// What the world is like at the time of a step.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The newest revision that this member has numbered.
    pub revision: Revision,
    /// The compaction revision; -1 before the first compaction.
    pub compact_revision: Revision,
    /// The time in nanoseconds of any monotonic clock.
    pub ns: u64,
}

/// What is to be done, in this order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Tell one shard, or all of them.
    Follow(Option<ShardId>, Follow),
    /// Ask these shards for history.
    Read {
        /// To be named with the answers.
        id: ReadId,
        /// Which shards.
        shards: ShardSet,
        /// What.
        query: ChangesQuery,
    },
}

/// Names a read of history. Never valid twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadId {
    slot: u32,
    serial: u32,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams that are open.
    pub streams: usize,
    /// Watchers on them.
    pub watchers: usize,
    /// Those that are behind.
    pub behind: usize,
    /// Events sent since the start.
    pub events_sent: u64,
    /// Events that arrived and are not released yet.
    pub held_events: usize,
}

/// The watchers of one net arbiter, on streams that the shell names `S`.
pub struct Watchers<S> {
    shards: u16,
    /// Responses of fragmenting watchers are divided at this size.
    fragment_bytes: usize,
    streams: Slab<Stream<S>>,
    by_name: HashMap<S, u32>,
    watchers: Slab<Watcher>,
    index: Index,
    follower: Option<Follower>,
    ring: Ring,
    /// Numbers what must not be mistaken for what was there before: epochs, watchers, streams, reads.
    serial: u32,
    /// Watchers that wait until following has begun in the form that they need.
    starting: Vec<WatcherRef>,
    /// Watchers that are behind and can go on.
    ready: VecDeque<WatcherRef>,
    /// Watchers that wait for one of the reads to end.
    hungry: VecDeque<WatcherRef>,
    reads: Slab<Reading>,
    /// Streams whose client asked for progress. Each is here once.
    asking: Vec<StreamRef>,
    now: Now,
    /// When the last watcher went.
    idle_since_ns: Option<u64>,
    behind: usize,
    /// Ids on all streams that stand for no watcher any more.
    spent: usize,
    events_sent: u64,
    actions: Vec<Action>,
    /// Watchers and positions of their events in a batch; kept for its memory.
    hits: Vec<(WatcherKey, u32)>,
}

/// One client's stream.
struct Stream<S> {
    name: S,
    serial: u32,
    /// Its watchers by their ids.
    ids: HashMap<i64, WatcherKey>,
    /// Ids of watches that a compaction ended: as in etcd they stay taken until the client cancels them.
    spent: HashSet<i64>,
    next_id: i64,
    /// It takes no more until its client has taken some.
    is_full: bool,
    /// Watchers that are behind and wait for that. Bounded by the watchers.
    waiting: Vec<WatcherRef>,
    /// How many of its watchers are behind, and how many of those only wait for following to begin.
    behind: usize,
    starting: usize,
    asked: progress::Asked,
    /// When its watchers are told their progress next, and how long after that.
    due_ns: u64,
    interval_ns: u64,
}

/// One watch.
struct Watcher {
    serial: u32,
    stream: u32,
    id: i64,
    key: Bytes,
    range_end: Bytes,
    place: Place,
    /// What it is told of begins here, or after this if the client asked for "from now on". It is told no progress below it.
    start: Revision,
    /// It was sent everything below this; while it is synced it may have been sent more.
    next: Revision,
    no_put: bool,
    no_delete: bool,
    with_previous: bool,
    fragment: bool,
    progress_notify: bool,
    /// Events were sent since its progress was due.
    sent: bool,
    state: State,
}

/// Whether the index finds a watcher, and if not, what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Synced,
    /// For following to begin.
    Starting,
    /// For its turn, for its stream, or for shards.
    Behind,
}

/// Names a watcher where it may be gone already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WatcherRef {
    key: WatcherKey,
    serial: u32,
}

/// Names a stream where it may be gone already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StreamRef {
    key: u32,
    serial: u32,
}

impl Watcher {
    fn range(&self) -> KeyRange<'_> {
        KeyRange::new(&self.key, &self.range_end)
    }

    fn wants(&self, event: &super::Event<'_>) -> bool {
        event.revision >= self.next && !(if event.is_delete { self.no_delete } else { self.no_put })
    }
}

impl<S: Copy + Eq + Hash> Watchers<S> {
    /// No watchers of a store with `shards` shards. Responses of clients who allow it are divided at `fragment_bytes`.
    #[must_use]
    pub fn new(shards: u16, fragment_bytes: usize) -> Self {
        Self {
            shards,
            fragment_bytes,
            streams: Slab::new(),
            by_name: HashMap::new(),
            watchers: Slab::new(),
            index: Index::default(),
            follower: None,
            ring: Ring::default(),
            serial: 0,
            starting: Vec::new(),
            ready: VecDeque::new(),
            hungry: VecDeque::new(),
            reads: Slab::new(),
            asking: Vec::new(),
            now: Now { revision: Revision::ZERO, compact_revision: Revision(-1), ns: 0 },
            idle_since_ns: None,
            behind: 0,
            spent: 0,
            events_sent: 0,
            actions: Vec::new(),
            hits: Vec::new(),
        }
    }

    /// A stream begins. Its watchers that want it are told their progress each `interval_ns`.
    pub fn open(&mut self, name: S, interval_ns: u64, now_ns: u64) {
        let serial = self.next_serial();
        let key = self.streams.insert(Stream {
            name,
            serial,
            ids: HashMap::new(),
            spent: HashSet::new(),
            next_id: 0,
            is_full: false,
            waiting: Vec::new(),
            behind: 0,
            starting: 0,
            asked: progress::Asked::default(),
            due_ns: now_ns.saturating_add(interval_ns),
            interval_ns,
        });
        self.by_name.insert(name, u32::try_from(key).expect("streams are bounded"));
    }

    /// A stream is gone, and its watchers with it.
    pub fn close(&mut self, name: S) {
        let Some(key) = self.by_name.remove(&name) else { return };
        let ids = self.streams[key as usize].ids.iter();
        let mut watchers: Vec<(i64, WatcherKey)> = ids.map(|(&id, &watcher)| (id, watcher)).collect();
        // Who gets whose place in the table follows from what clients asked, not from the seed of a hash.
        watchers.sort_unstable();
        for (_, watcher) in watchers {
            self.remove(watcher);
        }
        self.spent -= self.streams.remove(key as usize).spent.len();
    }

    /// The client of a stream has taken what it was sent.
    pub fn writable(&mut self, name: S, now: Now, sink: &mut impl Sink<S>) {
        let Some(&key) = self.by_name.get(&name) else { return };
        let stream = &mut self.streams[key as usize];
        stream.is_full = false;
        self.ready.extend(stream.waiting.drain(..));
        self.work(now, sink);
    }

    /// A shard that is followed says something.
    pub fn followed(&mut self, shard: ShardId, news: FollowNews, now: Now, sink: &mut impl Sink<S>) {
        self.now = now;
        let Some(follower) = &mut self.follower else { return };
        if !follower.take(shard, news) {
            return self.begin_anew();
        }
        let mut had_begun = follower.through().is_some();
        while let Some(batch) = self.follower.as_mut().and_then(Follower::release) {
            if !std::mem::replace(&mut had_begun, true) {
                self.ring.reset(batch.through());
            }
            self.deliver(batch, sink);
        }
        // A shard that goes on in another form does so without news.
        self.end_starts();
        if let Some(follower) = &mut self.follower {
            let acks = follower.acks().map(|(shard, bytes)| (Some(shard), Follow::Ack { bytes }));
            self.actions.extend(acks.map(|(shard, ack)| Action::Follow(shard, ack)));
        }
        self.work(now, sink);
    }

    /// Some time has passed: tells progress where it is due, and ends what nobody needs.
    pub fn tick(&mut self, now: Now, sink: &mut impl Sink<S>) {
        self.now = now;
        self.tell_progress(sink);
        if self.idle_since_ns.is_some_and(|since_ns| now.ns.saturating_sub(since_ns) >= IDLE_NS) {
            self.idle_since_ns = None;
            if self.follower.take().is_some() {
                self.ring.reset(Revision::ZERO);
                self.actions.push(Action::Follow(None, Follow::End));
            }
        }
        self.work(now, sink);
    }

    /// Takes out what is to be done.
    pub fn actions(&mut self) -> std::vec::Drain<'_, Action> {
        self.actions.drain(..)
    }

    /// Whether shards are followed, so that they should be handed their tasks without delay.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.follower.is_some()
    }

    /// Names of all open streams.
    pub fn streams(&self) -> impl Iterator<Item = S> {
        self.streams.iter().map(|(_, stream)| stream.name)
    }

    /// Figures for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            streams: self.streams.len(),
            watchers: self.watchers.len(),
            behind: self.behind,
            events_sent: self.events_sent,
            held_events: self.follower.as_ref().map_or(0, Follower::held),
        }
    }

    /// Events sent so far.
    #[must_use]
    pub fn events_sent(&self) -> u64 {
        self.events_sent
    }

    /// Everything up to here was delivered to those that are synced; `None` before following has begun.
    fn through(&self) -> Option<Revision> {
        self.follower.as_ref().and_then(Follower::through)
    }

    /// The shards dropped this follower: everyone is behind from here on, and following begins anew.
    fn begin_anew(&mut self) {
        let Some(follower) = self.follower.take() else { return };
        let next = follower.through().unwrap_or(Revision::ZERO).next();
        self.actions.push(Action::Follow(None, Follow::End));
        self.begin(follower.wants_previous());
        let keys: Vec<WatcherKey> = self.watchers.iter().map(|(key, _)| key as WatcherKey).collect();
        for key in keys {
            let watcher = &mut self.watchers[key as usize];
            if watcher.state == State::Synced {
                watcher.next = watcher.next.max(next);
                self.set_state(key, State::Starting);
                self.starting.push(self.reference(key));
            }
        }
    }

    fn begin(&mut self, with_previous: bool) {
        let epoch = self.next_serial();
        self.follower = Some(Follower::new(self.shards, epoch, with_previous));
        self.actions.push(Action::Follow(None, Follow::Begin { epoch, with_previous }));
    }

    /// Takes a watcher out everywhere; references to it lead nowhere from now on.
    fn remove(&mut self, key: WatcherKey) {
        self.set_state(key, State::Synced);
        let watcher = self.watchers.remove(key as usize);
        if let Some((moved, place)) = self.index.remove(watcher.range(), watcher.place) {
            self.watchers[moved as usize].place = place;
        }
        self.streams[watcher.stream as usize].ids.remove(&watcher.id);
        if self.watchers.is_empty() {
            self.idle_since_ns = Some(self.now.ns);
        }
    }

    /// The only place where states change, so that the counts are right.
    fn set_state(&mut self, key: WatcherKey, state: State) {
        let watcher = &mut self.watchers[key as usize];
        let stream = &mut self.streams[watcher.stream as usize];
        let was = std::mem::replace(&mut watcher.state, state);
        let count = |counter: &mut usize, before: bool, after: bool| {
            *counter = *counter + usize::from(after) - usize::from(before);
        };
        let is_behind = |state| state != State::Synced;
        count(&mut stream.behind, is_behind(was), is_behind(state));
        count(&mut self.behind, is_behind(was), is_behind(state));
        count(&mut stream.starting, was == State::Starting, state == State::Starting);
    }

    fn reference(&self, key: WatcherKey) -> WatcherRef {
        WatcherRef { key, serial: self.watchers[key as usize].serial }
    }

    fn is_there(&self, watcher: WatcherRef) -> bool {
        self.watchers.get(watcher.key as usize).is_some_and(|w| w.serial == watcher.serial)
    }

    fn respond(&mut self, stream: u32, response: &Response<'_>, sink: &mut impl Sink<S>) {
        let stream = &mut self.streams[stream as usize];
        stream.is_full |= !sink.send(stream.name, response);
    }

    fn respond_to(&mut self, key: WatcherKey, revision: Revision, kind: Kind<'_>, sink: &mut impl Sink<S>) {
        let Watcher { stream, id, .. } = self.watchers[key as usize];
        self.respond(stream, &Response { revision, watch_id: id, kind }, sink);
    }

    fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }
}
