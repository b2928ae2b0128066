//! A batch on its way to the watchers that are synced.

use std::hash::Hash;
use std::sync::Arc;

use windlass_types::Revision;

use super::super::batch::Batch;
use super::super::events::Event;
use super::super::response::{Kind, Response, event_len, fragment_len};
use super::{Sink, State, Watcher, WatcherKey, Watchers};

/// Bytes of events in one response, if it has more than one revision's: what a client takes in one piece, and what may be
/// queued on a stream beyond its budget.
const RESPONSE_BYTES_MAX: usize = 512 << 10;

impl<S: Copy + Eq + Hash> Watchers<S> {
    /// Takes the next batch, in order.
    pub(super) fn deliver(&mut self, batch: Batch, sink: &mut impl Sink<S>) {
        let batch = Arc::new(batch);
        self.ring.push(Arc::clone(&batch));
        self.fan_out(&batch, sink);
        self.end_starts();
        self.answer_progress(sink);
    }

    fn fan_out(&mut self, batch: &Batch, sink: &mut impl Sink<S>) {
        let mut hits = std::mem::take(&mut self.hits);
        for at in 0..batch.len() {
            self.index.watching(batch.get(at).key, |watcher| hits.push((watcher, at as u32)));
        }
        if batch.len() > 1 {
            // By watcher, and for each the events in their order.
            hits.sort_unstable();
        }
        let mut events = Vec::new();
        for of_one in hits.chunk_by(|a, b| a.0 == b.0) {
            let key = of_one[0].0;
            let watcher = &self.watchers[key as usize];
            if watcher.state != State::Synced {
                continue;
            }
            events.clear();
            let all = of_one.iter().map(|&(_, at)| batch.get(at as usize));
            events.extend(all.filter(|event| watcher.wants(event)));
            self.send_or_wait(key, &events, batch.through(), sink);
        }
        hits.clear();
        self.hits = hits;
    }

    /// Sends events to a watcher that was synced before them.
    fn send_or_wait(
        &mut self,
        key: WatcherKey,
        events: &[Event<'_>],
        through: Revision,
        sink: &mut impl Sink<S>,
    ) {
        if let Some(next) = self.send_events(key, events, through, sink) {
            self.watchers[key as usize].next = next;
            self.set_state(key, State::Behind);
            self.wait_for_stream(key);
        }
    }

    /// Sends a watcher the events that it wants, all that there are up to `through`. If its stream takes no more, the
    /// revision from which on nothing was sent.
    pub(super) fn send_events(
        &mut self,
        key: WatcherKey,
        mut events: &[Event<'_>],
        through: Revision,
        sink: &mut impl Sink<S>,
    ) -> Option<Revision> {
        let watcher = &mut self.watchers[key as usize];
        let stream = &mut self.streams[watcher.stream as usize];
        while let Some(first) = events.first() {
            if stream.is_full {
                return Some(first.revision);
            }
            let (now, later) = events.split_at(response_len(events, watcher.with_previous));
            // What a header says is taken for granted by clients that resume, so it must not be ahead of what follows.
            let revision = if later.is_empty() { through } else { now[now.len() - 1].revision };
            let takes_more = send_response(watcher, stream.name, now, revision, self.fragment_bytes, sink);
            stream.is_full = !takes_more;
            watcher.sent = true;
            self.events_sent += now.len() as u64;
            events = later;
        }
        None
    }

    pub(super) fn wait_for_stream(&mut self, key: WatcherKey) {
        let reference = self.reference(key);
        let stream = self.watchers[key as usize].stream;
        self.streams[stream as usize].waiting.push(reference);
    }
}

/// How many of the events go in one response: at least those of one revision.
fn response_len(events: &[Event<'_>], with_previous: bool) -> usize {
    let mut bytes = 0;
    for (at, event) in events.iter().enumerate() {
        let begins_revision = at > 0 && events[at - 1].revision != event.revision;
        if begins_revision && bytes >= RESPONSE_BYTES_MAX {
            return at;
        }
        bytes += event_len(event, with_previous);
    }
    events.len()
}

/// Sends one response, in fragments if the watcher allows it and it is large.
fn send_response<S: Copy>(
    watcher: &Watcher,
    stream: S,
    mut events: &[Event<'_>],
    revision: Revision,
    fragment_bytes: usize,
    sink: &mut impl Sink<S>,
) -> bool {
    let Watcher { id, with_previous, fragment, .. } = *watcher;
    loop {
        let len = if fragment { fragment_len(events, with_previous, fragment_bytes) } else { events.len() };
        let (now, later) = events.split_at(len);
        let kind = Kind::Events { events: now, with_previous, fragment: !later.is_empty() };
        let takes_more = sink.send(stream, &Response { revision, watch_id: id, kind });
        if later.is_empty() {
            return takes_more;
        }
        events = later;
    }
}
