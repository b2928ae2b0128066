//! Telling clients how far they are though nothing happens. Source: etcd `mvcc/watchable_store.go` (`progressIfSync`) and
//! `v3rpc/watch.go`.
//!
//! Invariant: a progress response follows all events up to its revision on its stream.

use std::hash::Hash;

use windlass_types::Revision;

use super::super::response::{Kind, NO_WATCH, Response};
use super::{Sink, State, Stream, StreamRef, WatcherKey, Watchers};

/// Requests for progress of one stream that wait to be answered. At the bound further ones are passed over, as etcd does.
const ASKED_MAX: u32 = 128;

/// What a stream's client wants to be told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// How often it asked.
    times: u32,
    /// What it must be told at least: the store's revision when it asked.
    least: Revision,
}

impl<S> Stream<S> {
    /// Its client is told this at least if it asked how far it is.
    pub(super) fn asked_least(&mut self, revision: Revision) {
        self.asked.least = self.asked.least.max(revision);
    }
}

impl<S: Copy + Eq + Hash> Watchers<S> {
    /// A client asks how far all its watchers are. It is told nothing if some are behind, or if there are none.
    pub(super) fn ask_progress(&mut self, key: u32, sink: &mut impl Sink<S>) {
        let stream = &mut self.streams[key as usize];
        // Those that only wait for following to begin are not behind in etcd's sense.
        if stream.ids.is_empty() || stream.behind > stream.starting || stream.asked.times >= ASKED_MAX {
            return;
        }
        stream.asked.times += 1;
        stream.asked.least = self.now.revision;
        if stream.asked.times == 1 {
            self.asking.push(StreamRef { key, serial: stream.serial });
        }
        self.answer_progress(sink);
    }

    /// Answers those who asked, as far as everything that they must see before was delivered.
    pub(super) fn answer_progress(&mut self, sink: &mut impl Sink<S>) {
        if self.asking.is_empty() {
            return;
        }
        let Some(through) = self.through() else { return };
        let mut asking = std::mem::take(&mut self.asking);
        asking.retain(|asker| {
            let Some(stream) = self.streams.get(asker.key as usize).filter(|s| s.serial == asker.serial)
            else {
                return false;
            };
            if stream.asked.least > through || stream.starting > 0 {
                return true;
            }
            let times = stream.asked.times;
            let all_begun = stream.ids.values().all(|&w| self.has_begun(w, through));
            let told = stream.behind == 0 && !stream.ids.is_empty() && all_begun;
            self.streams[asker.key as usize].asked = Asked::default();
            for _ in 0..if told { times } else { 0 } {
                let response = Response { revision: through, watch_id: NO_WATCH, kind: Kind::Progress };
                self.respond(asker.key, &response, sink);
            }
            false
        });
        self.asking = asking;
    }

    /// Tells those their progress that want it now and then and have heard nothing since the last time.
    pub(super) fn tell_progress(&mut self, sink: &mut impl Sink<S>) {
        let through = self.through();
        let due: Vec<u32> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.due_ns <= self.now.ns)
            .map(|(key, _)| key as u32)
            .collect();
        for key in due {
            let stream = &mut self.streams[key as usize];
            stream.due_ns = self.now.ns.saturating_add(stream.interval_ns);
            let mut watchers: Vec<(i64, WatcherKey)> =
                stream.ids.iter().map(|(&id, &key)| (id, key)).collect();
            watchers.sort_unstable();
            for (_, watcher) in watchers {
                self.tell_one(watcher, through, sink);
            }
        }
    }

    fn tell_one(&mut self, key: WatcherKey, through: Option<Revision>, sink: &mut impl Sink<S>) {
        let watcher = &mut self.watchers[key as usize];
        let heard = std::mem::take(&mut watcher.sent);
        if !watcher.progress_notify || heard || watcher.state != State::Synced {
            return;
        }
        let is_full = self.streams[watcher.stream as usize].is_full;
        if let Some(through) = through.filter(|&through| !is_full && self.has_begun(key, through)) {
            self.respond_to(key, through, Kind::Progress, sink);
        }
    }

    /// Whether what a watcher asked to start with has come.
    fn has_begun(&self, key: WatcherKey, through: Revision) -> bool {
        self.watchers[key as usize].start <= through
    }
}
