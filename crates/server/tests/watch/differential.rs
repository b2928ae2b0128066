//! The same random scripts of writes and watches to a real etcd and to Windlass, each measured by a plain list of all
//! events: every watch must be sent exactly what the list holds for it, in the same shapes.
//!
//! What differs between etcd 3.5.1 and 3.6, which Windlass follows, is not drawn: progress requests while watches are behind
//! or start in the future (3.5.1 answers them), negative start revisions, and watches that start exactly at the compaction
//! revision (3.5.1 loses a delete there).
//!
//! `WINDLASS_WATCH_SEED` and `WINDLASS_WATCH_STEPS` repeat a run or make a longer one.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Instant;

use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RequestOp,
    TxnRequest, WatchCancelRequest, WatchCreateRequest, WatchResponse,
};
use windlass_client::Client;
use windlass_replica::oracle::generate::Random;

use crate::list::{List, Write, shown};
use crate::process::{Launch, Member, REQUEST_TIMEOUT, Scratch, etcd_folder};
use crate::store::put;
use crate::stream::{WatchStream, revision};

const STEPS: usize = 400;
const SEED: u64 = 1;
/// Streams that are open at a time; each is now and then closed and opened anew.
const STREAMS: usize = 6;
const KEYS: [&str; 6] = ["a", "b", "ba", "c", "d", "da"];
/// Keys with values of which three, as the old ones of one event each, are more than one response may have.
const BIG_KEYS: [&str; 3] = ["x", "xa", "xb"];
const BIG_BYTES: u64 = 700 << 10;
/// Writes of a burst: more than etcd sends to a watch that is behind at a time.
const BURST: usize = 1100;

/// One step of a script.
#[derive(Clone, Debug)]
enum Step {
    /// One transaction.
    Write(Vec<Write>),
    /// Many puts of one key.
    Burst(&'static str, usize),
    /// Large values, deleted together.
    Big(Vec<Write>),
    /// Keys with a lease, and its end.
    Leased(Vec<Write>),
    Compact(i64),
    Open(usize),
    Create(usize, WatchCreateRequest),
    Cancel(usize, i64),
    Progress(usize),
}

impl Step {
    /// Whether everything must have arrived before it and is awaited after it: what is behind when one of these comes is a
    /// matter of chance.
    fn settles(&self) -> bool {
        !matches!(self, Self::Write(_) | Self::Burst(..) | Self::Leased(_))
    }

    fn tell(&self, list: &mut List) {
        match self {
            Self::Write(ops) => list.write(ops, 0),
            Self::Burst(key, count) => {
                (0..*count).for_each(|number| list.write(&[(key, Some(number.to_string()))], 0));
            }
            Self::Big(ops) => {
                ops.iter().for_each(|op| list.write(std::slice::from_ref(op), 0));
                let deletes: Vec<_> = ops.iter().map(|(key, _)| (*key, None)).collect();
                list.write(&deletes, 0);
            }
            Self::Leased(ops) => {
                list.write(ops, LEASE);
                list.revoke(LEASE);
            }
            Self::Compact(at) => list.compacted = *at,
            Self::Open(stream) => list.streams[*stream] = Default::default(),
            Self::Create(stream, request) => list.create(*stream, request),
            Self::Cancel(stream, id) => list.cancel(*stream, *id),
            Self::Progress(stream) => list.progress(*stream),
        }
    }
}

/// The id of the lease of [`Step::Leased`].
const LEASE: i64 = 0x77;

/// How the events of one response were divided: the watch, how many there are, and whether more of them follow.
type Shape = (usize, i64, usize, bool);

/// One stream at one of the servers, and what it was sent and nobody has looked at.
struct Heard {
    stream: WatchStream,
    received: BTreeMap<i64, VecDeque<String>>,
    told: i64,
    /// The revision of the last event of each watch, and whether more of it follow.
    last: BTreeMap<i64, (i64, bool)>,
}

/// One of the two servers.
struct Side<'a> {
    member: &'a Member,
    client: Client,
    streams: Vec<Heard>,
    /// Of the responses since the last look.
    shapes: Vec<Shape>,
    name: &'a str,
}

impl<'a> Side<'a> {
    fn new(member: &'a Member, name: &'a str) -> Self {
        let streams = (0..STREAMS).map(|_| Heard::open(member)).collect();
        Self { member, client: member.client(), streams, shapes: Vec::new(), name }
    }

    fn act(&mut self, step: &Step) {
        match step {
            Step::Write(ops) => self.write(ops, 0),
            Step::Burst(key, count) => self.burst(key, *count),
            Step::Big(ops) => {
                // To a watch that is behind etcd sends revisions together.
                self.wait_until_none_is_behind();
                ops.iter().for_each(|op| self.write(std::slice::from_ref(op), 0));
                let deletes: Vec<_> = ops.iter().map(|(key, _)| (*key, None)).collect();
                self.write(&deletes, 0);
            }
            Step::Leased(ops) => {
                let grant = LeaseGrantRequest { ttl: 600, id: LEASE };
                self.client.lease_grant(&grant).expect("granted");
                self.write(ops, LEASE);
                self.client.lease_revoke(&LeaseRevokeRequest { id: LEASE }).expect("revoked");
            }
            Step::Compact(revision) => {
                self.wait_until_none_is_behind();
                let request = CompactionRequest { revision: *revision, physical: true };
                self.client.compact(&request).expect("compacted");
            }
            Step::Open(stream) => self.streams[*stream] = Heard::open(self.member),
            Step::Create(stream, request) => {
                self.streams[*stream].stream.request(RequestUnion::CreateRequest(request.clone()));
            }
            Step::Cancel(stream, watch_id) => {
                let request = WatchCancelRequest { watch_id: *watch_id };
                self.streams[*stream].stream.request(RequestUnion::CancelRequest(request));
            }
            Step::Progress(stream) => self.streams[*stream].stream.ask_progress(),
        }
    }

    fn write(&mut self, ops: &[Write], lease: i64) {
        let op = |(key, value): &Write| RequestOp {
            request: Some(match value {
                Some(value) => Request::RequestPut(PutRequest { lease, ..put(*key, value.as_str()) }),
                None => Request::RequestDeleteRange(DeleteRangeRequest {
                    key: (*key).into(),
                    ..Default::default()
                }),
            }),
        };
        let txn = TxnRequest { success: ops.iter().map(op).collect(), ..TxnRequest::default() };
        self.client.txn(&txn).expect("written");
    }

    /// A watch that is behind is ended by a compaction, and which one is, is not told to clients where it has no events.
    fn wait_until_none_is_behind(&self) {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        while self.member.metric("etcd_debugging_mvcc_slow_watcher_total") > 0.0 {
            assert!(Instant::now() < deadline, "{}: a watch stays behind", self.name);
        }
    }

    /// One after the other: etcd may take those that come at once in any order.
    fn burst(&mut self, key: &str, count: usize) {
        for number in 0..count {
            self.client.put(&put(key, number.to_string())).expect("written");
        }
    }

    /// Waits until so much has come as is wanted, which must then be the same.
    fn check(&mut self, list: &List) -> Result<(), String> {
        for (number, wanted) in list.streams.iter().map(|stream| &stream.wanted).enumerate() {
            for (id, wanted) in wanted {
                self.check_watch(number, *id, wanted)?;
            }
            let heard = &self.streams[number];
            if let Some((id, rest)) = heard.received.iter().find(|(_, rest)| !rest.is_empty()) {
                return Err(format!("{}, stream {number}, watch {id}: {rest:#?} too many", self.name));
            }
        }
        Ok(())
    }

    fn check_watch(&mut self, number: usize, id: i64, wanted: &VecDeque<String>) -> Result<(), String> {
        let name = self.name;
        for wanted in wanted {
            let got = loop {
                let heard = &mut self.streams[number];
                if let Some(got) = heard.received.get_mut(&id).and_then(VecDeque::pop_front) {
                    break got;
                }
                let shape = heard.hear().map_err(|error| {
                    format!("{name}, stream {number}, watch {id}: {error} instead of {wanted}")
                })?;
                self.shapes.extend(shape.map(|(id, events, more)| (number, id, events, more)));
            };
            if got != *wanted {
                return Err(format!("{name}, stream {number}, watch {id}: {got} instead of {wanted}"));
            }
        }
        Ok(())
    }

    /// Asks again until there is an answer: 3.6 gives none while a watch is behind, and this says when none is any more.
    fn press_for_progress(&mut self, stream: usize) {
        let heard = &mut self.streams[stream];
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        while heard.received.get(&-1).is_none_or(VecDeque::is_empty) && Instant::now() < deadline {
            heard.stream.ping();
            if heard.stream.arrived() > 0 {
                heard.hear().expect("it has arrived");
            } else {
                heard.stream.ask_progress();
            }
        }
    }
}

impl Heard {
    fn open(member: &Member) -> Self {
        let stream = WatchStream::open(member.endpoint(), &[]);
        Self { stream, received: BTreeMap::new(), told: 0, last: BTreeMap::new() }
    }

    /// Waits for the next response, and notes it. Returns its shape if it has events.
    fn hear(&mut self) -> Result<Option<(i64, usize, bool)>, String> {
        let response = self.stream.try_next().map_err(|error| error.to_string())?;
        let id = response.watch_id;
        if id == -1 && !response.created {
            // Whoever asks twice may be told twice.
            if revision(&response) <= self.told {
                return Ok(None);
            }
            self.told = revision(&response);
        }
        self.check_whole(&response)?;
        let heard = self.received.entry(id).or_default();
        heard.extend(shown(&response));
        let events = response.events.len();
        Ok((events > 0).then_some((id, events, response.fragment)))
    }

    /// Events of one revision come in one response, or in pieces that say so.
    fn check_whole(&mut self, response: &WatchResponse) -> Result<(), String> {
        let id = response.watch_id;
        let mods = || response.events.iter().filter_map(|event| Some(event.kv.as_ref()?.mod_revision));
        let (Some(first), Some(last)) = (mods().next(), mods().last()) else {
            self.last.remove(&id);
            return Ok(());
        };
        let before = self.last.insert(id, (last, response.fragment));
        if before.is_some_and(|(revision, is_fragment)| revision >= first && !is_fragment) {
            return Err(format!("watch {id} was sent revision {first} in two responses, or again"));
        }
        Ok(())
    }
}

fn draw(random: &mut Random, list: &List) -> Step {
    let key = |random: &mut Random| KEYS[random.below(KEYS.len() as u64) as usize];
    let stream = random.below(STREAMS as u64) as usize;
    match random.below(100) {
        0 if random.one_in(4) => Step::Burst(key(random), BURST),
        1..=2 => {
            let value = |random: &mut Random| "v".repeat((BIG_BYTES + random.below(BIG_BYTES / 4)) as usize);
            Step::Big(BIG_KEYS.iter().map(|key| (*key, Some(value(random)))).collect())
        }
        3..=5 => Step::Open(stream),
        6..=9 => Step::Leased(ops(random, |random| Some(random.below(9).to_string()))),
        10..=15 => {
            let at = list.revision - random.below(10) as i64;
            if at > list.compacted && at > 1 { Step::Compact(at) } else { Step::Cancel(stream, 77) }
        }
        16..=24 => Step::Cancel(stream, random.below(6) as i64),
        25..=30 if list.tells_progress(stream) => Step::Progress(stream),
        31..=54 => Step::Create(stream, creation(random, list)),
        _ => {
            Step::Write(ops(random, |random| (!random.one_in(3)).then(|| format!("v{}", random.below(1000)))))
        }
    }
}

/// One to four different keys.
fn ops(random: &mut Random, mut value: impl FnMut(&mut Random) -> Option<String>) -> Vec<Write> {
    let mut ops: BTreeMap<&'static str, Option<String>> = BTreeMap::new();
    for _ in 0..1 + random.below(4) {
        let key = KEYS[random.below(KEYS.len() as u64) as usize];
        ops.insert(key, value(random));
    }
    ops.into_iter().collect()
}

fn creation(random: &mut Random, list: &List) -> WatchCreateRequest {
    let key = |random: &mut Random| match random.below(8) {
        0 => "",
        1 => BIG_KEYS[0],
        _ => KEYS[random.below(KEYS.len() as u64) as usize],
    };
    let end = match random.below(5) {
        0 | 1 => "",
        2 => "\0",
        3 => "y",
        _ => key(random),
    };
    let near = (list.compacted - 3 + random.below(12) as i64).max(1);
    let anywhere =
        list.compacted + random.below((list.revision - list.compacted).max(1).cast_unsigned()) as i64;
    let future = list.revision + random.below(4) as i64;
    let start = [0, 0, near, anywhere, future][random.below(5) as usize];
    WatchCreateRequest {
        key: key(random).into(),
        range_end: end.into(),
        start_revision: if start == list.compacted { 0 } else { start },
        filters: (0..2).filter(|_| random.one_in(6)).collect(),
        prev_kv: random.one_in(2),
        fragment: random.one_in(2),
        watch_id: if random.one_in(4) { random.below(8) as i64 } else { 0 },
        progress_notify: random.one_in(2),
    }
}

/// Runs a script on both. `spoil` changes what the list holds, for the canary.
fn run(
    seed: u64,
    steps: usize,
    members: [(&Member, &str); 2],
    spoil: impl Fn(usize, &mut List),
) -> Result<(), String> {
    let (mut random, mut list) = (Random::new(seed), List::new(STREAMS));
    let mut sides = members.map(|(member, name)| Side::new(member, name));
    for number in 0..steps {
        let step = draw(&mut random, &list);
        let settles = step.settles() || random.one_in(20);
        if settles {
            check(&mut sides, &mut list)?;
            sides.iter_mut().for_each(|side| side.shapes.clear());
        }
        sides.iter_mut().for_each(|side| side.act(&step));
        if let Step::Progress(stream) = step {
            sides[1].press_for_progress(stream);
        }
        step.tell(&mut list);
        spoil(number, &mut list);
        if settles {
            check(&mut sides, &mut list).map_err(|error| {
                let step: String = format!("{step:?}").chars().take(500).collect();
                format!("after step {number}, {step}: {error}")
            })?;
        }
        let [etcd, windlass] = sides.each_mut().map(|side| {
            side.shapes.sort_unstable();
            std::mem::take(&mut side.shapes)
        });
        if matches!(step, Step::Big(_)) && etcd != windlass {
            return Err(format!("after step {number}: etcd divided {etcd:?}, windlass {windlass:?}"));
        }
    }
    check(&mut sides, &mut list)
}

fn check(sides: &mut [Side<'_>; 2], list: &mut List) -> Result<(), String> {
    sides.iter_mut().try_for_each(|side| side.check(list))?;
    list.streams.iter_mut().for_each(|stream| stream.wanted.clear());
    Ok(())
}

fn with_both(test: impl FnOnce([(&Member, &str); 2])) {
    let Some(etcd) = etcd_folder() else { return };
    let folders = [Scratch::new(), Scratch::new()];
    let start = |folder: &Scratch, program: &Path| Launch::new(folder.path()).program(program).member();
    let etcd = start(&folders[0], &etcd.join("etcd"));
    let windlass = Launch::new(folders[1].path()).flag("--shards=3").member();
    test([(&etcd, "etcd"), (&windlass, "windlass")]);
}

fn from_env<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn watches_are_sent_what_etcd_sends() {
    with_both(|members| {
        let seed = from_env("WINDLASS_WATCH_SEED").unwrap_or(SEED);
        let steps = from_env("WINDLASS_WATCH_STEPS").unwrap_or(STEPS);
        let outcome = run(seed, steps, members, |_, _| ());
        let again = format!(
            "WINDLASS_WATCH_SEED={seed} WINDLASS_WATCH_STEPS={steps} \
             cargo test -p windlass --test watch watches_are_sent"
        );
        outcome.unwrap_or_else(|error| panic!("{error}\nrepeat it with: {again}"));
    });
}

/// The canary: a response that the list does not hold must be noticed.
#[test]
fn a_difference_is_found() {
    with_both(|members| {
        let steps = 200;
        let outcome = run(SEED, steps, members, |number, list| {
            if number == steps / 2 {
                list.write(&[("a", Some("not written".to_owned()))], 0);
                list.revision -= 1;
            }
        });
        assert!(outcome.is_err(), "an event that did not come was not noticed");
    });
}
