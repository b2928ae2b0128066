//! The watch caches of API servers: streams of whole resources, each checked to be sent every event once, in order, with
//! what was before it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use windlass_api::method::watch::WATCH;
use windlass_api::mvccpb::Event;
use windlass_client::{Call, Connection};

use crate::RESOURCES;
use crate::apiserver::{key, prefix, prefix_end};
use crate::process::{Member, REQUEST_TIMEOUT};

/// Streams of one connection.
const STREAMS_OF_CONNECTION: usize = 50;
/// Between two requests for progress: the API server's.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How long all streams may take to be sent everything.
const PATIENCE: Duration = Duration::from_secs(120);
/// How late a lease's keys may go.
const LATE_MAX: Duration = Duration::from_secs(10);

/// One stream with one watch, of a whole resource.
struct Stream {
    connection: usize,
    call: Call,
    resource: usize,
    /// Of the newest event.
    seen: i64,
    /// Of the newest progress response.
    told: i64,
}

/// All streams.
pub struct Watches {
    connections: Vec<Connection>,
    streams: Vec<Stream>,
}

impl Watches {
    /// Begins `count` streams, from a revision on.
    pub fn start(member: &Member, count: usize, revision: i64) -> Self {
        let connections = (0..count.div_ceil(STREAMS_OF_CONNECTION)).map(|_| member.connect()).collect();
        let mut watches = Self { connections, streams: Vec::new() };
        for number in 0..count {
            let (connection, resource) = (number / STREAMS_OF_CONNECTION, number % RESOURCES.len());
            let call = begin(&mut watches.connections[connection], RESOURCES[resource], revision);
            watches.streams.push(Stream { connection, call, resource, seen: 0, told: 0 });
        }
        for number in 0..count {
            let created = watches.next(number, Instant::now() + PATIENCE);
            assert!(created.created && !created.canceled, "{created:?}");
        }
        watches
    }

    /// The next response of a stream.
    fn next(&mut self, number: usize, deadline: Instant) -> WatchResponse {
        let stream = &mut self.streams[number];
        let connection = &mut self.connections[stream.connection];
        let response = connection.next::<WatchResponse>(&stream.call, deadline);
        let response = response.expect("no error").expect("the stream goes on");
        stream.note(&response);
        response
    }

    /// So many of the next events of a stream.
    fn events(&mut self, number: usize, count: usize, deadline: Instant) -> Vec<Event> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.extend(self.next(number, deadline).events);
        }
        assert_eq!(events.len(), count, "no event is sent that nobody made");
        events
    }

    /// Every stream is told of all objects of its resource.
    pub fn expect_creations(&mut self, objects: usize) {
        let deadline = Instant::now() + PATIENCE;
        for number in 0..self.streams.len() {
            let resource = self.streams[number].resource;
            let expected = (0..objects).filter(|object| object % RESOURCES.len() == resource);
            let count = expected.clone().count();
            let events = self.events(number, count, deadline);
            let mut created = BTreeSet::new();
            for event in events {
                let kv = event.kv.expect("a pair");
                assert!(event.prev_kv.is_none() && kv.create_revision == kv.mod_revision, "{kv:?}");
                created.insert(kv.key);
            }
            assert!(created.iter().eq(expected.map(key).collect::<BTreeSet<_>>().iter()), "stream {number}");
        }
    }

    /// Every stream is told of the updates in its resource, with what was before.
    pub fn expect_updates(&mut self, updated: &[(usize, i64)]) {
        self.expect_changes(updated, |event| {
            event.r#type == 0 && event.kv.as_ref().is_some_and(|kv| kv.value == "updated" && kv.version == 2)
        });
    }

    /// Every stream is told of the deletions in its resource; between come the visitors of the lists.
    pub fn expect_deletions(&mut self, deleted: &[(usize, i64)]) {
        self.expect_changes(deleted, |event| {
            event.r#type == 1 && event.prev_kv.as_ref().is_some_and(|kv| kv.value == "updated")
        });
    }

    fn expect_changes(&mut self, changed: &[(usize, i64)], is_right: impl Fn(&Event) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        for number in 0..self.streams.len() {
            let resource = self.streams[number].resource;
            let mut rest =
                changed.iter().filter(|(object, _)| object % RESOURCES.len() == resource).peekable();
            while rest.peek().is_some() {
                for event in self.next(number, deadline).events {
                    let kv = event.kv.as_ref().expect("a pair");
                    if kv.key.ends_with(b"/visitor") {
                        continue;
                    }
                    let (object, revision) = rest.next().expect("one that was made");
                    assert_eq!((&kv.key[..], kv.mod_revision), (key(*object).as_bytes(), *revision));
                    assert!(event.prev_kv.is_some() && is_right(&event), "{event:?}");
                }
            }
        }
    }

    /// The streams of events are told of these keys, and then that they are gone: not before `due`, and soon after it.
    pub fn expect_expiry(&mut self, keys: &[String], due: Instant) {
        let deadline = due + LATE_MAX;
        let events = RESOURCES.iter().position(|resource| *resource == "events");
        let of_events = |stream: &Stream| Some(stream.resource) == events;
        for number in
            (0..self.streams.len()).filter(|&number| of_events(&self.streams[number])).collect::<Vec<_>>()
        {
            let made = self.events(number, keys.len(), deadline);
            assert!(made.iter().all(|event| event.kv.as_ref().is_some_and(|kv| kv.lease != 0)));
            let gone = self.events(number, keys.len(), deadline);
            assert!(Instant::now() >= due, "a lease must not end before its time");
            let revisions: Vec<_> =
                gone.iter().map(|event| event.kv.as_ref().expect("a pair").mod_revision).collect();
            assert!(revisions.iter().all(|revision| *revision == revisions[0]), "{revisions:?}");
            for (event, key) in gone.iter().zip(keys) {
                assert!(event.r#type == 1 && event.prev_kv.is_some(), "{event:?}");
                assert_eq!(event.kv.as_ref().expect("a pair").key, *key);
            }
        }
    }

    /// Every stream that asks, again and again, is told that it has been sent all up to a revision.
    pub fn expect_progress(&mut self, revision: i64) {
        let deadline = Instant::now() + PATIENCE;
        for number in 0..self.streams.len() {
            while self.streams[number].told < revision {
                assert!(Instant::now() < deadline, "stream {number} is not told");
                let Stream { connection, call, .. } = &self.streams[number];
                let connection = &mut self.connections[*connection];
                let ask = RequestUnion::ProgressRequest(WatchProgressRequest {});
                let ask = WatchRequest { request_union: Some(ask) };
                connection.push(call, &ask, Instant::now() + REQUEST_TIMEOUT).expect("it is taken");
                self.listen(number, PROGRESS_INTERVAL);
            }
        }
    }

    /// Every stream is told now and then, without asking, that it has been sent all up to a revision.
    pub fn expect_bookmarks(&mut self, revision: i64) {
        let deadline = Instant::now() + PATIENCE;
        for number in 0..self.streams.len() {
            while self.streams[number].told < revision {
                assert!(Instant::now() < deadline, "stream {number} gets no bookmark");
                self.listen(number, PROGRESS_INTERVAL);
            }
        }
    }

    /// Takes what comes on a stream within a time; nothing but progress may.
    fn listen(&mut self, number: usize, wait: Duration) {
        let stream = &mut self.streams[number];
        let connection = &mut self.connections[stream.connection];
        match connection.next::<WatchResponse>(&stream.call, Instant::now() + wait) {
            Ok(response) => stream.note(&response.expect("the stream goes on")),
            Err(windlass_client::Error::DeadlineExceeded { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// A watch that would begin at a revision that is gone is told so.
    pub fn expect_gone(member: &Member, revision: i64) {
        let mut connection = member.connect();
        let deadline = Instant::now() + PATIENCE;
        let call = begin(&mut connection, RESOURCES[0], revision);
        let mut next = || {
            let response = connection.next::<WatchResponse>(&call, deadline);
            response.expect("no error").expect("the stream goes on")
        };
        let created = next();
        assert!(created.created && !created.canceled, "{created:?}");
        let canceled = next();
        assert!(canceled.canceled && canceled.compact_revision > revision, "{canceled:?}");
    }
}

impl Stream {
    fn note(&mut self, response: &WatchResponse) {
        let header = response.header.as_ref().expect("a header").revision;
        for event in &response.events {
            let revision = event.kv.as_ref().expect("a pair").mod_revision;
            assert!(revision >= self.seen, "events come in order");
            assert!(revision > self.told, "an event at {revision} comes behind progress at {}", self.told);
            self.seen = revision;
        }
        if response.events.is_empty() && !response.created {
            assert!(!response.canceled, "{response:?}");
            self.told = header;
        }
    }
}

fn begin(connection: &mut Connection, resource: &str, start_revision: i64) -> Call {
    let (key, range_end) = (prefix(resource), prefix_end(&prefix(resource)));
    let create = WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        start_revision,
        prev_kv: true,
        progress_notify: true,
        ..WatchCreateRequest::default()
    };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    connection.begin_stream_with(&[("hasleader", "true")], WATCH, &request, deadline).expect("it is taken")
}
