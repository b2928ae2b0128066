//! What clients ask: to watch, to watch no more, to be told how far they are. Source: etcd `v3rpc/watch.go` and
//! `mvcc/watcher.go`.

use std::hash::Hash;

use bytes::Bytes;
use windlass_api::etcdserverpb::watch_create_request::FilterType;
use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{WatchCreateRequest, WatchRequest};
use windlass_types::key::KeyRange;
use windlass_types::{RequestError, Revision};

use super::super::response::{Kind, NO_WATCH, Response};
use super::{Now, Sink, State, Stream, WATCHERS_MAX, Watcher, WatcherKey, Watchers};
use crate::watch::index::Place;

/// etcd's word for a range whose end is not after its start.
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";

/// etcd's word for an id that another watch of the stream has.
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";

impl<S: Copy + Eq + Hash> Watchers<S> {
    /// The client of a stream asks for something. A request of an unknown kind is passed over.
    pub fn request(&mut self, name: S, request: WatchRequest, now: Now, sink: &mut impl Sink<S>) {
        self.now = now;
        let Some(&stream) = self.by_name.get(&name) else { return };
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(stream, request, sink),
            Some(RequestUnion::CancelRequest(request)) => self.cancel(stream, request.watch_id, sink),
            Some(RequestUnion::ProgressRequest(_)) => self.ask_progress(stream, sink),
            None => {}
        }
        self.work(now, sink);
    }

    /// Tells a client that it may not watch, though the request is well-formed; the stream stays.
    pub fn refuse(&mut self, name: S, reason: &str, now: Now, sink: &mut impl Sink<S>) {
        self.now = now;
        if let Some(&stream) = self.by_name.get(&name) {
            self.refuse_on(stream, reason, sink);
        }
    }

    fn create(&mut self, stream: u32, mut request: WatchCreateRequest, sink: &mut impl Sink<S>) {
        if request.key.is_empty() {
            // The smallest key.
            request.key = Bytes::from_static(&[0]);
        }
        let refusal = if request.start_revision < 0 {
            Some(RequestError::Compacted.text())
        } else if is_empty(KeyRange::new(&request.key, &request.range_end)) {
            Some(EMPTY_RANGE)
        } else if request.watch_id != 0 && self.streams[stream as usize].has_id(request.watch_id) {
            Some(DUPLICATE_ID)
        } else if self.watchers.len() + self.spent >= WATCHERS_MAX {
            Some(RequestError::TooManyRequests.text())
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.refuse_on(stream, reason, sink);
        }
        let key = self.insert(stream, request);
        self.respond_to(key, self.now.revision, Kind::Created, sink);
        self.start(key);
    }

    fn refuse_on(&mut self, stream: u32, reason: &str, sink: &mut impl Sink<S>) {
        let (revision, kind) = (self.now.revision, Kind::Refused(reason));
        self.respond(stream, &Response { revision, watch_id: NO_WATCH, kind }, sink);
    }

    fn insert(&mut self, stream: u32, request: WatchCreateRequest) -> WatcherKey {
        let id = self.assign_id(stream, request.watch_id);
        let filters: Vec<_> = request.filters().collect();
        let wanted = Revision(request.start_revision);
        let start = if wanted == Revision::ZERO { self.now.revision } else { wanted };
        let watcher = Watcher {
            serial: self.next_serial(),
            stream,
            id,
            key: request.key,
            range_end: request.range_end,
            place: Place::default(),
            start,
            next: if wanted == Revision::ZERO { start.next() } else { start },
            no_put: filters.contains(&FilterType::Noput),
            no_delete: filters.contains(&FilterType::Nodelete),
            with_previous: request.prev_kv,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            sent: false,
            state: State::Synced,
        };
        let key = WatcherKey::try_from(self.watchers.insert(watcher)).expect("watchers are bounded");
        let watcher = &mut self.watchers[key as usize];
        watcher.place = self.index.insert(KeyRange::new(&watcher.key, &watcher.range_end), key);
        let stream = &mut self.streams[stream as usize];
        stream.ids.insert(id, key);
        // Who asked before for progress is not told less than what the new watch was told.
        stream.asked_least(self.now.revision);
        self.idle_since_ns = None;
        key
    }

    /// The client's choice, or the next that is free.
    fn assign_id(&mut self, stream: u32, wanted: i64) -> i64 {
        let stream = &mut self.streams[stream as usize];
        if wanted != 0 {
            return wanted;
        }
        while stream.has_id(stream.next_id) {
            stream.next_id += 1;
        }
        stream.next_id += 1;
        stream.next_id - 1
    }

    fn cancel(&mut self, stream: u32, id: i64, sink: &mut impl Sink<S>) {
        let of = &mut self.streams[stream as usize];
        if of.spent.remove(&id) {
            self.spent -= 1;
            let (revision, kind) = (self.now.revision, Kind::Canceled);
            return self.respond(stream, &Response { revision, watch_id: id, kind }, sink);
        }
        let Some(&key) = of.ids.get(&id) else { return };
        self.respond_to(key, self.now.revision, Kind::Canceled, sink);
        self.remove(key);
    }
}

impl<S> Stream<S> {
    fn has_id(&self, id: i64) -> bool {
        self.ids.contains_key(&id) || self.spent.contains(&id)
    }
}

fn is_empty(range: KeyRange<'_>) -> bool {
    matches!(range, KeyRange::Bounded(start, end) if start >= end)
}
