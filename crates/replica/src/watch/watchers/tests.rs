//! Watchers against a plain list of all events: any order of writes, deliveries, slow clients and compactions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use prost::Message;
use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{
    ResponseHeader, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use windlass_api::mvccpb;
use windlass_mvcc::{Shard, Stamp};
use windlass_types::key::shard_of;
use windlass_types::{LeaseId, LogIndex};

use super::*;
use crate::oracle::generate::Random;
use crate::shard::followers::{Followers, Now as ShardNow};
use crate::task::{Changes, ChangesQuery};
use crate::watch::changes;

const STREAMS: u64 = 4;
const KEYS: u64 = 6;
const FRAGMENT_BYTES: usize = 200;

/// One event of the list.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    revision: i64,
    sub: u32,
    key: Vec<u8>,
    /// `None` is a delete.
    value: Option<Vec<u8>>,
    previous: Option<Vec<u8>>,
}

enum ToShard {
    Write(Vec<Known>),
    Complete(Revision),
    Compact(Revision),
    Follow(Follow),
    Read(ReadId, ChangesQuery),
}

enum FromShard {
    News(FollowNews),
    Answer(ReadId, Changes),
}

#[derive(Default)]
struct Node {
    shard: Shard,
    complete: Revision,
    followers: Followers,
    inbox: VecDeque<ToShard>,
    outbox: VecDeque<FromShard>,
}

/// What a client of one stream has.
#[derive(Default)]
struct Client {
    /// How many responses it takes before it is slow.
    room: u64,
    wants_word: bool,
    received: Vec<WatchResponse>,
}

#[derive(Default)]
struct Clients(BTreeMap<u64, Client>);

impl Sink<u64> for Clients {
    fn send(&mut self, stream: u64, response: &Response<'_>) -> bool {
        let mut bytes = Vec::new();
        response.encode(&ResponseHeader::default(), &mut bytes);
        let client = self.0.entry(stream).or_default();
        client.received.push(WatchResponse::decode(&*bytes).unwrap());
        client.room = client.room.saturating_sub(1);
        client.wants_word |= client.room == 0;
        client.room > 0
    }
}

struct World {
    random: Random,
    nodes: Vec<Node>,
    watchers: Watchers<u64>,
    clients: Clients,
    events: Vec<Known>,
    live: BTreeMap<Vec<u8>, Vec<u8>>,
    revision: i64,
    compacted: i64,
    ns: u64,
    created: Vec<(u64, WatchCreateRequest)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shards = 1 + random.below(3) as u16;
        let mut watchers = Watchers::new(shards, FRAGMENT_BYTES);
        let mut clients = Clients::default();
        for stream in 0..STREAMS {
            watchers.open(stream, 50, 0);
            clients.0.entry(stream).or_default().room = 1 + random.below(9);
        }
        let nodes = (0..shards).map(|_| Node { complete: Revision(1), ..Node::default() }).collect();
        Self {
            random,
            nodes,
            watchers,
            clients,
            events: Vec::new(),
            live: BTreeMap::new(),
            revision: 1,
            compacted: -1,
            ns: 0,
            created: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { revision: Revision(self.revision), compact_revision: Revision(self.compacted), ns: self.ns }
    }

    fn act(&mut self) {
        match self.random.below(20) {
            0..=4 => self.write(),
            5 => self.compact(),
            6..=7 => self.request(),
            8..=11 => {
                let shard = self.random.below(self.nodes.len() as u64) as usize;
                self.shard_turn(shard);
            }
            12..=16 => self.hear(),
            17 => {
                self.ns += self.random.below(40);
                let now = self.now();
                self.watchers.tick(now, &mut self.clients);
            }
            18 => {
                let now = self.now();
                self.watchers.work(now, &mut self.clients);
            }
            _ => self.take(),
        }
        self.carry_out();
    }

    fn key(&mut self) -> Vec<u8> {
        vec![b'a' + self.random.below(KEYS) as u8]
    }

    /// One transaction of one to three operations.
    fn write(&mut self) {
        let revision = self.revision + 1;
        let before = self.live.clone();
        let (mut made, mut touched) = (Vec::new(), BTreeSet::new());
        for sub in 0..1 + self.random.below(3) as u32 {
            let key = self.key();
            if !touched.insert(key.clone()) {
                continue;
            }
            let previous = before.get(&key).cloned();
            let value = (self.random.below(3) > 0).then(|| vec![b'v'; self.random.below(60) as usize]);
            match &value {
                Some(value) => drop(self.live.insert(key.clone(), value.clone())),
                None if self.live.remove(&key).is_none() => continue,
                None => {}
            }
            made.push(Known { revision, sub, key, value, previous });
        }
        if made.is_empty() {
            return;
        }
        self.revision = revision;
        let shards = self.nodes.len() as u16;
        for (number, node) in (0..).zip(&mut self.nodes) {
            let mine = made.iter().filter(|e| shard_of(&e.key, shards).0 == number).cloned().collect();
            node.inbox.push_back(ToShard::Write(mine));
            node.inbox.push_back(ToShard::Complete(Revision(revision)));
        }
        self.events.extend(made);
    }

    fn compact(&mut self) {
        let at = self.revision - self.random.below(8) as i64;
        if at > self.compacted && at > 0 {
            self.compacted = at;
            self.nodes.iter_mut().for_each(|n| n.inbox.push_back(ToShard::Compact(Revision(at))));
        }
    }

    fn request(&mut self) {
        let stream = self.random.below(STREAMS);
        let union = match self.random.below(6) {
            0 => RequestUnion::ProgressRequest(WatchProgressRequest {}),
            1 => {
                let watch_id = self.random.below(4) as i64;
                RequestUnion::CancelRequest(WatchCancelRequest { watch_id })
            }
            _ => {
                let create = self.create();
                self.created.push((stream, create.clone()));
                RequestUnion::CreateRequest(create)
            }
        };
        let request = WatchRequest { request_union: Some(union) };
        let now = self.now();
        self.watchers.request(stream, request, now, &mut self.clients);
    }

    fn create(&mut self) -> WatchCreateRequest {
        let end = match self.random.below(4) {
            0 => vec![],
            1 => vec![0],
            _ => self.key(),
        };
        let start_revision = match self.random.below(3) {
            0 => 0,
            1 => self.revision + 3 - self.random.below(6) as i64,
            _ => self.random.below(self.revision as u64 + 1) as i64,
        };
        WatchCreateRequest {
            key: self.key().into(),
            range_end: end.into(),
            start_revision,
            progress_notify: self.random.below(2) == 0,
            filters: (0..2).filter(|_| self.random.below(5) == 0).collect(),
            prev_kv: self.random.below(2) == 0,
            watch_id: 0,
            fragment: self.random.below(2) == 0,
        }
    }

    fn shard_turn(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let mut news = Vec::new();
        for _ in 0..self.random.below(6) {
            let Some(message) = node.inbox.pop_front() else { break };
            let now = ShardNow { shard: &node.shard, complete: node.complete };
            match message {
                ToShard::Write(events) => events.iter().for_each(|event| apply(&mut node.shard, event)),
                ToShard::Complete(revision) => node.complete = revision,
                ToShard::Compact(revision) => {
                    if self.random.below(4) == 0 {
                        node.followers.lose(&mut news);
                    }
                    node.followers.before_compaction(now, &mut news);
                    node.shard.compact(revision);
                }
                ToShard::Follow(follow) => node.followers.take(now, 0, follow, &mut news),
                ToShard::Read(id, query) => {
                    node.outbox.extend(news.drain(..).map(|(_, news)| FromShard::News(news)));
                    node.outbox.push_back(FromShard::Answer(id, changes(&node.shard, &query)));
                }
            }
        }
        node.shard.compact_step(self.random.below(5) as usize);
        node.followers.send(ShardNow { shard: &node.shard, complete: node.complete }, &mut news);
        node.outbox.extend(news.into_iter().map(|(_, news)| FromShard::News(news)));
    }

    fn hear(&mut self) {
        let shard = self.random.below(self.nodes.len() as u64) as u16;
        let now = self.now();
        match self.nodes[usize::from(shard)].outbox.pop_front() {
            Some(FromShard::News(news)) => {
                self.watchers.followed(ShardId(shard), news, now, &mut self.clients);
            }
            Some(FromShard::Answer(id, changes)) => {
                self.watchers.answered(id, ShardId(shard), changes, now, &mut self.clients);
            }
            None => {}
        }
    }

    /// A slow client takes what it was sent.
    fn take(&mut self) {
        let stream = self.random.below(STREAMS);
        let client = self.clients.0.get_mut(&stream).unwrap();
        client.room = 1 + self.random.below(9);
        if std::mem::take(&mut client.wants_word) {
            let now = self.now();
            self.watchers.writable(stream, now, &mut self.clients);
        }
    }

    fn carry_out(&mut self) {
        for action in self.watchers.actions() {
            match action {
                Action::Follow(shard, follow) => {
                    for (number, node) in (0..).map(ShardId).zip(&mut self.nodes) {
                        if shard.is_none_or(|shard| shard == number) {
                            node.inbox.push_back(ToShard::Follow(follow));
                        }
                    }
                }
                Action::Read { id, shards, query } => {
                    for shard in shards.iter() {
                        let read = ToShard::Read(id, query.clone());
                        self.nodes[usize::from(shard.0)].inbox.push_back(read);
                    }
                }
            }
        }
    }

    /// Until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..1000 {
            for shard in 0..self.nodes.len() {
                self.shard_turn(shard);
                self.hear();
            }
            self.take();
            let now = self.now();
            self.watchers.work(now, &mut self.clients);
            self.carry_out();
        }
        let counts = self.watchers.counts();
        assert_eq!((counts.behind, counts.held_events), (0, 0), "everyone has caught up");
    }

    fn check(&self) {
        let mut created = self.created.clone();
        for (&stream, client) in &self.clients.0 {
            let mut requests = created.extract_if(.., |(of, _)| *of == stream).map(|(_, request)| request);
            let mut open: BTreeMap<i64, Watch<'_>> = BTreeMap::new();
            let mut spent = BTreeSet::new();
            for response in &client.received {
                if response.created {
                    let request = requests.next().expect("one response to each request");
                    if !response.canceled {
                        open.insert(response.watch_id, Watch::new(request, response, &self.events));
                    }
                } else if response.canceled {
                    match open.remove(&response.watch_id) {
                        Some(watch) => watch.check_end(response),
                        None => assert!(spent.remove(&response.watch_id), "it was open, or compacted"),
                    }
                    if response.compact_revision > 0 {
                        spent.insert(response.watch_id);
                    }
                } else if response.events.is_empty() {
                    let revision = response.header.unwrap().revision;
                    let all = response.watch_id == -1;
                    assert!(!all || !open.is_empty(), "progress of nothing");
                    open.iter()
                        .filter(|(id, _)| all || **id == response.watch_id)
                        .for_each(|(_, watch)| watch.check_progress(revision));
                } else {
                    open.get_mut(&response.watch_id).expect("it is open").take(response, self.compacted);
                }
            }
            open.values().for_each(Watch::check_complete);
        }
    }
}

fn apply(shard: &mut Shard, event: &Known) {
    let stamp = Stamp { index: LogIndex(1), revision: Revision(event.revision), sub: event.sub };
    match &event.value {
        Some(value) => drop(shard.put(stamp, &event.key, value, LeaseId(0))),
        None => assert!(shard.delete(stamp, &event.key)),
    }
}

/// What one watch must be sent.
struct Watch<'a> {
    request: WatchCreateRequest,
    rest: VecDeque<&'a Known>,
    start: i64,
    within: bool,
}

impl<'a> Watch<'a> {
    fn new(request: WatchCreateRequest, created: &WatchResponse, events: &'a [Known]) -> Self {
        let start = match request.start_revision {
            0 => created.header.unwrap().revision + 1,
            start => start,
        };
        let range = KeyRange::new(&request.key, &request.range_end);
        let rest = events
            .iter()
            .filter(|e| e.revision >= start && range.contains(&e.key))
            .filter(|e| !request.filters.contains(&i32::from(e.value.is_none())))
            .collect();
        Self { rest, start, within: false, request: request.clone() }
    }

    fn take(&mut self, response: &WatchResponse, compacted: i64) {
        assert!(!response.fragment || self.request.fragment);
        for event in &response.events {
            let want = self.rest.pop_front().expect("an event that happened, once");
            let kv = event.kv.as_ref().unwrap();
            assert_eq!((&kv.key[..], kv.mod_revision), (&want.key[..], want.revision));
            let is_delete = event.r#type == mvccpb::event::EventType::Delete as i32;
            assert_eq!(is_delete, want.value.is_none());
            assert_eq!(&kv.value[..], want.value.as_deref().unwrap_or_default());
            let previous = event.prev_kv.as_ref().map(|kv| kv.value.to_vec());
            if self.request.prev_kv {
                assert!(previous == want.previous || (previous.is_none() && want.revision <= compacted));
            } else {
                assert_eq!(previous, None);
            }
        }
        let last = response.events.last().unwrap().kv.as_ref().unwrap().mod_revision;
        assert!(response.header.unwrap().revision >= last);
        self.within = response.fragment;
        if !response.fragment {
            assert!(self.rest.front().is_none_or(|next| next.revision > last), "a revision is never divided");
        }
    }

    fn check_progress(&self, revision: i64) {
        let from_now_on = self.request.start_revision == 0;
        assert!(self.start - i64::from(from_now_on) <= revision, "progress below the start");
        assert!(self.rest.front().is_none_or(|next| next.revision > revision), "progress overtook events");
    }

    fn check_end(&self, response: &WatchResponse) {
        assert!(!self.within);
        if response.compact_revision > 0 {
            let next = self.rest.front().map_or(i64::MAX, |event| event.revision);
            assert!(self.start.min(next) < response.compact_revision, "nothing that it needs is gone");
        }
    }

    fn check_complete(&self) {
        assert!(self.rest.is_empty() && !self.within, "lost {:?}", self.rest);
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..4 {
        for _ in 0..100 {
            world.act();
        }
        world.settle();
    }
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn watchers_are_sent_what_happened(seed: u64) {
        run(seed);
    }
}

/// What a watch of a key is told, without shards: ids, refusals and ends.
#[test]
fn creations_and_cancellations_have_etcds_shapes() {
    let mut watchers = Watchers::new(1, FRAGMENT_BYTES);
    let mut clients = Clients::default();
    clients.0.entry(1).or_default().room = 1000;
    watchers.open(1, 1000, 0);
    let now = Now { revision: Revision(9), compact_revision: Revision(5), ns: 0 };
    let create = |watch_id, start_revision, end: &[u8]| {
        RequestUnion::CreateRequest(WatchCreateRequest {
            key: "k".into(),
            range_end: end.to_vec().into(),
            watch_id,
            start_revision,
            ..WatchCreateRequest::default()
        })
    };
    let cancel = |watch_id| RequestUnion::CancelRequest(WatchCancelRequest { watch_id });
    let mut ask = |union| {
        let request = WatchRequest { request_union: Some(union) };
        watchers.request(1, request, now, &mut clients);
        std::mem::take(&mut clients.0.get_mut(&1).unwrap().received)
    };
    let told = |id, reason: &str, created, canceled| {
        let header = Some(ResponseHeader { revision: 9, ..ResponseHeader::default() });
        let cancel_reason = reason.to_owned();
        vec![WatchResponse {
            header,
            watch_id: id,
            created,
            canceled,
            cancel_reason,
            ..WatchResponse::default()
        }]
    };
    assert_eq!(ask(create(0, 0, b"")), told(0, "", true, false));
    assert_eq!(ask(create(1, 0, b"l")), told(1, "", true, false));
    assert_eq!(ask(create(0, 0, b"\0")), told(2, "", true, false));
    let duplicate = "mvcc: duplicate watch ID provided on the WatchStream";
    assert_eq!(ask(create(1, 0, b"")), told(-1, duplicate, true, true));
    assert_eq!(ask(create(0, 0, b"k")), told(-1, "mvcc: watcher range is empty", true, true));
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(ask(create(0, -1, b"")), told(-1, compacted, true, true));
    assert_eq!(ask(cancel(1)), told(1, "", false, true));
    assert_eq!(ask(cancel(1)), []);
    assert_eq!(ask(create(1, 0, b"")), told(1, "", true, false));
    assert_eq!(ask(cancel(77)), []);
}
