//! Many watches over a few connections, in one thread: creates them, and counts what they are sent and how late it is.

mod message;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{WatchCreateRequest, WatchRequest};
use windlass_api::method;
use windlass_client::Endpoint;
use windlass_http2::StreamRef;

use crate::access::Access;
use crate::connection::Clock;
use crate::link::Link;
use crate::tally::Tally;
use crate::workload::frame;
use message::{Seen, look};

/// A server that says nothing for so long while it owes creations or events has lost them.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Bytes read from a connection in one turn.
const READ_BYTES: usize = 256 << 10;
const EVENTS_MAX: usize = 256;
/// How long a wait lasts before it is looked whether the run is over.
const LOOK: Duration = Duration::from_millis(20);

/// Which watches.
#[derive(Clone, Debug)]
pub struct Watches {
    /// Connections are dealt to them in turn.
    pub endpoints: Vec<Endpoint>,
    /// Connections.
    pub conns: usize,
    /// Streams, dealt to the connections.
    pub streams: usize,
    /// Watches of each stream.
    pub per_stream: usize,
    /// The watched keys, dealt to the watches.
    pub keys: Vec<Vec<u8>>,
    /// Where they begin; 0 for now.
    pub start_revision: i64,
    /// Whether events are to carry the value before.
    pub prev_kv: bool,
    /// Whom to trust and as whom to ask.
    pub access: Access,
}

impl Watches {
    /// Watches in all.
    pub fn count(&self) -> usize {
        self.streams * self.per_stream
    }

    /// Watches of the key with this place.
    pub fn of_key(&self, place: usize) -> usize {
        let (all, keys) = (self.count(), self.keys.len());
        all / keys + usize::from(place < all % keys)
    }

    /// Events of `puts` puts that go over the keys in turn.
    pub fn events_of(&self, puts: u64) -> u64 {
        let keys = self.keys.len() as u64;
        let rest = (puts % keys) as usize;
        let whole = (puts / keys) * self.count() as u64;
        whole + (0..rest).map(|place| self.of_key(place) as u64).sum::<u64>()
    }
}

/// Open watches.
pub struct Watchers {
    epoll: OwnedFd,
    /// Those that are connected.
    links: Vec<Watched>,
    /// Why the first that is not any more is lost.
    lost: Option<String>,
    input: Vec<u8>,
    heard: Instant,
}

/// A connection with its streams.
struct Watched {
    /// As its events name it.
    number: u64,
    link: Link,
    streams: HashMap<StreamRef, Stream>,
}

#[derive(Default)]
struct Stream {
    /// Requests for the watches that are not created yet.
    to_create: Vec<Vec<u8>>,
    /// When the one was asked for that is under way.
    asked_ns: Option<u64>,
    body: Vec<u8>,
}

/// What is counted, and as which class; `None` for what is only counted.
#[derive(Clone, Copy, Debug)]
pub struct Classes {
    /// Creations.
    pub created: usize,
    /// Events, by the time in their values.
    pub events: Option<usize>,
}

impl Watchers {
    /// Connects, and opens the streams.
    ///
    /// # Errors
    /// A connection cannot be made, or takes no more streams.
    pub fn open(watches: &Watches) -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut links = Vec::new();
        for place in 0..watches.conns {
            let endpoint = &watches.endpoints[place % watches.endpoints.len()];
            let link = Link::dial(endpoint, &watches.access)?;
            let socket = link.socket().expect("just connected");
            epoll::add(&epoll, socket, EventData::new_u64(place as u64), EventFlags::IN)?;
            links.push(Watched { number: place as u64, link, streams: HashMap::new() });
        }
        for stream in 0..watches.streams {
            let Watched { link, streams, .. } = &mut links[stream % watches.conns];
            let opened = link.with_head(method::watch::WATCH, |session, head| session.request(head, true))?;
            let watchers = (0..watches.per_stream).rev().map(|watcher| {
                let key = &watches.keys[(stream * watches.per_stream + watcher) % watches.keys.len()];
                create_request(key, watches)
            });
            streams.insert(opened, Stream { to_create: watchers.collect(), ..Stream::default() });
        }
        Ok(Self { epoll, links, lost: None, input: vec![0; READ_BYTES], heard: Instant::now() })
    }

    /// Creates the watches; each stream waits for one before it asks for the next.
    ///
    /// # Errors
    /// A watch was refused, or the server says nothing.
    pub fn create(&mut self, clock: Clock, classes: Classes, tally: &mut Tally) -> Result<u64> {
        let now_ns = clock.ns(Instant::now());
        for Watched { link, streams, .. } in &mut self.links {
            streams.iter_mut().for_each(|(id, stream)| stream.ask(*id, link, now_ns));
        }
        let is_done = |watched: &Watched| {
            watched.streams.values().all(|stream| stream.asked_ns.is_none() && stream.to_create.is_empty())
        };
        let (mut events, mut canceled) = (0, 0);
        self.heard = Instant::now();
        while !self.links.iter().all(is_done) {
            let seen = self.turn(clock, classes, tally)?;
            if let Some(why) = &self.lost {
                bail!("{why}");
            }
            events += seen.events;
            canceled += seen.canceled;
            if self.heard.elapsed() > SILENCE_MAX {
                bail!("the server created no watch for {SILENCE_MAX:?}");
            }
        }
        tally.failed("watch canceled by the server", canceled);
        Ok(events)
    }

    /// Receives until there were `expected()` events more than `before`, or, once that is known, nothing comes any more.
    /// Events that a lost connection or an ended stream did not bring are failures; the other connections go on.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn receive(
        &mut self,
        clock: Clock,
        classes: Classes,
        tally: &mut Tally,
        before: u64,
        expected: impl Fn() -> Option<u64>,
    ) -> Result<u64> {
        let (mut events, mut canceled) = (before, 0);
        self.heard = Instant::now();
        loop {
            match expected() {
                Some(expected) if events >= expected => break,
                Some(expected) if self.links.is_empty() || self.heard.elapsed() > SILENCE_MAX => {
                    tally.failed(&self.why_missing(), expected - events);
                    break;
                }
                None if self.heard.elapsed() > SILENCE_MAX => self.heard = Instant::now(),
                _ => {}
            }
            let seen = self.turn(clock, classes, tally)?;
            events += seen.events;
            canceled += seen.canceled;
        }
        tally.failed("watch canceled by the server", canceled);
        Ok(events)
    }

    fn why_missing(&self) -> String {
        let why = self.lost.as_ref().map(|why| format!(": {why}"));
        format!("event that did not come{}", why.unwrap_or_default())
    }

    /// Waits a little, reads what there is, and writes what is to be written.
    fn turn(&mut self, clock: Clock, classes: Classes, tally: &mut Tally) -> Result<Seen> {
        for Watched { link, .. } in &mut self.links {
            link.flush();
        }
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        let wait = if self.links.iter().any(|watched| watched.link.is_blocked) {
            Duration::from_millis(1)
        } else {
            LOOK
        };
        let wait = Timespec::try_from(wait).expect("short");
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut all = Seen::default();
        for event in events {
            self.heard = Instant::now();
            let Some(watched) = self.links.iter_mut().find(|one| one.number == event.data.u64()) else {
                continue;
            };
            let now_ns = clock.ns(watched.link.receive(&mut self.input));
            let (seen, end) = watched.collect(now_ns, classes, tally);
            all.add(seen);
            if let Some(why) = end {
                // Its socket goes with it.
                self.links.retain(|one| one.number != event.data.u64());
                self.lost.get_or_insert(why);
            }
        }
        Ok(all)
    }
}

impl Watched {
    /// Takes what came; and why nothing more will.
    fn collect(&mut self, now_ns: u64, classes: Classes, tally: &mut Tally) -> (Seen, Option<String>) {
        let mut all = Seen::default();
        while let Some(ready) = self.link.session.next_ready() {
            let Some(stream) = self.streams.get_mut(&ready.stream) else { continue };
            if let Some(body) = self.link.session.body(ready.stream) {
                stream.body.extend_from_slice(body);
                let len = body.len();
                self.link.session.consume_body(ready.stream, len);
            }
            let late = |stamp_ns: u64| {
                if let Some(class) = classes.events {
                    tally.answered(class, now_ns, now_ns.saturating_sub(stamp_ns));
                }
            };
            let seen = match look(&mut stream.body, late) {
                Ok(seen) => seen,
                Err(why) => return (all, Some(why)),
            };
            for _ in 0..seen.created {
                let asked_ns = stream.asked_ns.take().unwrap_or(now_ns);
                tally.answered(classes.created, now_ns, now_ns.saturating_sub(asked_ns));
                stream.ask(ready.stream, &mut self.link, now_ns);
            }
            all.add(seen);
            if let Some(reset) = ready.closed {
                let why =
                    self.link.outcome(&ready, reset).err().unwrap_or_else(|| "without an error".to_owned());
                return (all, Some(format!("the server ended a watch stream: {why}")));
            }
        }
        let lost = self.link.lost().map(str::to_owned);
        (all, lost)
    }
}

impl Stream {
    /// Asks for the next watch, if there is one to create.
    fn ask(&mut self, id: StreamRef, link: &mut Link, now_ns: u64) {
        if let Some(request) = self.to_create.pop() {
            link.session.push(id, &request);
            self.asked_ns = Some(now_ns);
        }
    }
}

fn create_request(key: &[u8], watches: &Watches) -> Vec<u8> {
    let create = WatchCreateRequest {
        key: key.to_vec().into(),
        start_revision: watches.start_revision,
        prev_kv: watches.prev_kv,
        ..WatchCreateRequest::default()
    };
    frame(&WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_events_are_those_of_each_keys_watches() {
        let watches = Watches {
            endpoints: Vec::new(),
            conns: 1,
            streams: 2,
            per_stream: 5,
            keys: vec![vec![1], vec![2], vec![3]],
            start_revision: 0,
            prev_kv: false,
            access: Access::default(),
        };
        assert_eq!([0, 1, 2].map(|place| watches.of_key(place)), [4, 3, 3]);
        assert_eq!([0, 1, 2, 3, 7].map(|puts| watches.events_of(puts)), [0, 4, 7, 10, 24]);
    }
}
