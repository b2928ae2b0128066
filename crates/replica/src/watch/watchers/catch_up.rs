//! Watchers that are behind, on their way to the others.
//!
//! One that waits for nothing is *ready*. When its turn comes it is sent what the newest batches hold of its keys, or has
//! the shards read an older piece of history, until it has everything up to the newest batch. A stream that takes no more
//! stops it there; nothing that was read is kept.

use std::hash::Hash;
use std::sync::Arc;

use windlass_types::{Revision, ShardId};

use super::super::batch::Batch;
use super::super::follow::{Follow, Follower};
use super::super::response::Kind;
use super::{Action, Now, ReadId, Sink, State, Stream, Watcher, WatcherKey, WatcherRef, Watchers};
use crate::shard_set::ShardSet;
use crate::task::{Changes, ChangesQuery};
use crate::watch::Events;

/// Reads of history that one arbiter has under way. Each holds a piece of each shard's at most.
const READS_MAX: usize = 16;

/// Events that watchers which catch up look at in one step; then others have their turn.
const STEP_EVENTS: usize = 32 << 10;

/// What a watcher's turn costs, in events, though there are none.
const TURN_EVENTS: usize = 16;

/// A read of history.
pub(super) struct Reading {
    serial: u32,
    watcher: WatcherRef,
    waiting: ShardSet,
    parts: Vec<Arc<Events>>,
    /// All parts are complete up to here.
    through: Revision,
    compacted: Option<Revision>,
}

impl<S: Copy + Eq + Hash> Watchers<S> {
    /// Lets watchers that are behind go on, for a bounded time. True if there is more to do now: call it again soon.
    pub fn work(&mut self, now: Now, sink: &mut impl Sink<S>) -> bool {
        self.now = now;
        let mut budget = STEP_EVENTS;
        while budget > 0 {
            let Some(watcher) = self.ready.pop_front() else { break };
            if self.is_there(watcher) {
                let cost = TURN_EVENTS + self.advance(watcher.key, sink);
                budget = budget.saturating_sub(cost);
            }
        }
        self.answer_progress(sink);
        self.has_work()
    }

    /// Whether [`work`](Self::work) has something to do.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A shard answered a read of history.
    pub fn answered(
        &mut self,
        id: ReadId,
        shard: ShardId,
        changes: Changes,
        now: Now,
        sink: &mut impl Sink<S>,
    ) {
        self.now = now;
        let Some(reading) = self.reads.get_mut(id.slot as usize).filter(|r| r.serial == id.serial) else {
            return;
        };
        reading.waiting.remove(shard);
        match changes {
            Changes::Found { events, through } => {
                reading.parts.push(Arc::new(events));
                reading.through = reading.through.min(through);
            }
            Changes::Compacted(revision) => reading.compacted = reading.compacted.max(Some(revision)),
        }
        if reading.waiting.is_empty() {
            let reading = self.reads.remove(id.slot as usize);
            if self.is_there(reading.watcher) {
                self.give(reading, sink);
            }
            self.feed_hungry();
        }
        self.work(now, sink);
    }

    /// A new watcher begins.
    pub(super) fn start(&mut self, key: WatcherKey) {
        let with_previous = self.watchers[key as usize].with_previous;
        match &mut self.follower {
            None => self.begin(with_previous),
            Some(follower) if with_previous && !follower.wants_previous() => {
                let epoch = self.serial.wrapping_add(1);
                self.serial = epoch;
                follower.want_previous(epoch);
                self.actions.push(Action::Follow(None, Follow::Begin { epoch, with_previous }));
            }
            Some(_) => {}
        }
        self.set_state(key, State::Starting);
        self.starting.push(self.reference(key));
        self.end_starts();
    }

    /// Lets those go on for whom following has begun.
    pub(super) fn end_starts(&mut self) {
        if self.starting.is_empty() {
            return;
        }
        let Some(through) = self.through() else { return };
        let with_previous =
            self.follower.as_ref().and_then(Follower::previous_after).is_some_and(|r| r <= through);
        let mut starting = std::mem::take(&mut self.starting);
        starting.retain(|&watcher| {
            if !self.is_there(watcher) {
                return false;
            }
            let Watcher { with_previous: needs_previous, next, .. } = self.watchers[watcher.key as usize];
            if needs_previous && !with_previous {
                return true;
            }
            if next > through {
                self.set_state(watcher.key, State::Synced);
            } else {
                self.set_state(watcher.key, State::Behind);
                self.ready.push_back(watcher);
            }
            false
        });
        self.starting = starting;
    }

    /// A watcher's turn; returns how many events were looked at.
    fn advance(&mut self, key: WatcherKey, sink: &mut impl Sink<S>) -> usize {
        let Watcher { next, stream, .. } = self.watchers[key as usize];
        if self.streams[stream as usize].is_full {
            self.wait_for_stream(key);
            return 0;
        }
        if next < self.now.compact_revision {
            self.end_compacted(key, self.now.compact_revision, sink);
            return 0;
        }
        let Some(through) = self.through() else {
            self.set_state(key, State::Starting);
            self.starting.push(self.reference(key));
            return 0;
        };
        if next > through {
            self.set_state(key, State::Synced);
            return 0;
        }
        if next > self.kept_after(key) {
            return self.advance_in_ring(key, through, sink);
        }
        self.hungry.push_back(self.reference(key));
        self.feed_hungry();
        0
    }

    /// The ring holds every event after this in the form that the watcher needs.
    fn kept_after(&self, key: WatcherKey) -> Revision {
        if !self.watchers[key as usize].with_previous {
            return self.ring.after();
        }
        let previous_after = self.follower.as_ref().and_then(Follower::previous_after);
        previous_after.map_or(Revision(i64::MAX), |after| after.max(self.ring.after()))
    }

    /// Sends what the next batch of the ring holds, and lets the watcher go on with the one after that later.
    fn advance_in_ring(&mut self, key: WatcherKey, through: Revision, sink: &mut impl Sink<S>) -> usize {
        let watcher = &self.watchers[key as usize];
        let Some(batch) = self.ring.find(watcher.next) else {
            self.watchers[key as usize].next = through.next();
            self.set_state(key, State::Synced);
            return 0;
        };
        let mut looked = 0;
        let range = watcher.range();
        let all = batch.iter_from(watcher.next).inspect(|_| looked += 1);
        let events: Vec<_> = all.filter(|e| range.contains(e.key) && watcher.wants(e)).collect();
        self.send_and_go_on(key, &events, batch.through(), sink);
        looked
    }

    /// Sends all that there is for the watcher up to `through`, and lets it go on when it can.
    fn send_and_go_on(
        &mut self,
        key: WatcherKey,
        events: &[crate::watch::Event<'_>],
        through: Revision,
        sink: &mut impl Sink<S>,
    ) {
        let stopped = self.send_events(key, events, through, sink);
        self.watchers[key as usize].next = stopped.unwrap_or(through.next());
        match stopped {
            Some(_) => self.wait_for_stream(key),
            None => self.ready.push_back(self.reference(key)),
        }
    }

    /// Starts as many reads as may be under way.
    fn feed_hungry(&mut self) {
        while self.reads.len() < READS_MAX {
            let Some(watcher) = self.hungry.pop_front() else { return };
            if self.is_there(watcher) {
                self.read(watcher);
            }
        }
    }

    fn read(&mut self, watcher: WatcherRef) {
        let Some(through) = self.through() else {
            self.ready.push_back(watcher);
            return;
        };
        let serial = self.next_serial();
        let Watcher { key, range_end, next, with_previous, .. } = &self.watchers[watcher.key as usize];
        let query = ChangesQuery {
            key: key.clone(),
            range_end: range_end.clone(),
            from: *next,
            through,
            with_previous: *with_previous,
        };
        let shards = ShardSet::touched(self.watchers[watcher.key as usize].range(), self.shards);
        let reading =
            Reading { serial, watcher, waiting: shards, parts: Vec::new(), through, compacted: None };
        let slot = u32::try_from(self.reads.insert(reading)).expect("reads are bounded");
        self.actions.push(Action::Read { id: ReadId { slot, serial }, shards, query });
    }

    /// The shards have answered.
    fn give(&mut self, reading: Reading, sink: &mut impl Sink<S>) {
        let Reading { watcher, parts, through, compacted, .. } = reading;
        if let Some(revision) = compacted {
            return self.end_compacted(watcher.key, revision, sink);
        }
        let Stream { is_full, .. } = self.streams[self.watchers[watcher.key as usize].stream as usize];
        if is_full {
            // It is read again when there is room.
            return self.wait_for_stream(watcher.key);
        }
        let parts = parts.into_iter().map(|part| {
            let len = part.position_after(through);
            (part, 0..len)
        });
        let batch = Batch::merge(parts, through);
        let of = &self.watchers[watcher.key as usize];
        let events: Vec<_> = batch.iter_from(of.next).filter(|event| of.wants(event)).collect();
        self.send_and_go_on(watcher.key, &events, through, sink);
    }

    /// What the watcher needs is gone.
    fn end_compacted(&mut self, key: WatcherKey, revision: Revision, sink: &mut impl Sink<S>) {
        self.respond_to(key, Revision::ZERO, Kind::Compacted(revision), sink);
        let Watcher { stream, id, .. } = self.watchers[key as usize];
        self.remove(key);
        self.streams[stream as usize].spent.insert(id);
        self.spent += 1;
    }
}
