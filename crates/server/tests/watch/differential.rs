//! The same random scripts of writes and watches to a real etcd and to Windlass, each measured by a plain list of all
//! events: every watch must be sent exactly what the list holds for it, in the same shapes.
//!
//! What differs between etcd 3.5.1 and 3.6, which Windlass follows, is not drawn: progress requests (3.5.1 answers them
//! though watches are behind), negative start revisions, and watches that start exactly at the compaction revision
//! (3.5.1 loses a delete there).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, RequestOp, TxnRequest, WatchCancelRequest, WatchCreateRequest,
    WatchResponse,
};
use windlass_api::mvccpb;
use windlass_client::Client;
use windlass_replica::oracle::generate::Random;
use windlass_types::key::KeyRange;

use crate::process::{Launch, Member, Scratch, etcd_folder};
use crate::store::put;
use crate::stream::{WatchStream, revision};

const STEPS: usize = 400;
const SEED: u64 = 1;
const KEYS: [&str; 6] = ["a", "b", "ba", "c", "d", "da"];

/// One step of a script.
#[derive(Clone, Debug)]
enum Step {
    /// Keys and their new values; `None` deletes.
    Write(Vec<(&'static str, Option<String>)>),
    Compact(i64),
    Create(WatchCreateRequest),
    Cancel(i64),
}

/// What is known without asking anyone.
#[derive(Default)]
struct List {
    revision: i64,
    compacted: i64,
    live: BTreeMap<&'static str, mvccpb::KeyValue>,
    events: Vec<mvccpb::Event>,
    next_id: i64,
    /// Watches by id that were not ended, and from which revision on.
    open: BTreeMap<i64, (WatchCreateRequest, i64)>,
    /// Ids of watches that a compaction ended: they are taken until they are cancelled.
    spent: BTreeSet<i64>,
    /// What each watch must have been sent.
    wanted: BTreeMap<i64, Vec<String>>,
}

impl List {
    fn new() -> Self {
        Self { revision: 1, ..Self::default() }
    }

    fn write(&mut self, ops: &[(&'static str, Option<String>)]) {
        let revision = self.revision + 1;
        let before = self.live.clone();
        let mut made = Vec::new();
        for (key, value) in ops {
            let old = before.get(key).cloned();
            let event = match value {
                None if old.is_none() => continue,
                None => {
                    self.live.remove(key);
                    let kv = mvccpb::KeyValue {
                        key: (*key).into(),
                        mod_revision: revision,
                        ..mvccpb::KeyValue::default()
                    };
                    mvccpb::Event { r#type: 1, kv: Some(kv), prev_kv: old }
                }
                Some(value) => {
                    let kv = mvccpb::KeyValue {
                        key: (*key).into(),
                        value: value.clone().into(),
                        mod_revision: revision,
                        create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
                        version: old.as_ref().map_or(1, |old| old.version + 1),
                        lease: 0,
                    };
                    self.live.insert(key, kv.clone());
                    mvccpb::Event { r#type: 0, kv: Some(kv), prev_kv: old }
                }
            };
            made.push(event);
        }
        self.revision += i64::from(!made.is_empty());
        for (id, (request, from)) in &self.open {
            let events = made.iter().filter(|event| wants(request, *from, event));
            self.wanted
                .entry(*id)
                .or_default()
                .extend(events.map(|event| show(request, event, self.compacted)));
        }
        self.events.extend(made);
    }

    fn create(&mut self, request: &WatchCreateRequest) {
        let range = KeyRange::new(&request.key, &request.range_end);
        let is_empty = matches!(range, KeyRange::Bounded(start, end) if start >= end);
        if is_empty || (request.watch_id != 0 && self.has_id(request.watch_id)) {
            let reason = if is_empty {
                "mvcc: watcher range is empty"
            } else {
                "mvcc: duplicate watch ID provided on the WatchStream"
            };
            let text = format!("created canceled {} {reason}", self.revision);
            return self.wanted.entry(-1).or_default().push(text);
        }
        let id = match request.watch_id {
            0 => {
                while self.has_id(self.next_id) {
                    self.next_id += 1;
                }
                self.next_id += 1;
                self.next_id - 1
            }
            id => id,
        };
        let wanted = self.wanted.entry(id).or_default();
        wanted.push(format!("created {}", self.revision));
        let from = if request.start_revision == 0 { self.revision + 1 } else { request.start_revision };
        if from < self.compacted {
            wanted.push(format!("canceled 0 compacted {}", self.compacted));
            self.spent.insert(id);
            return;
        }
        let events = self.events.iter().filter(|event| wants(request, from, event));
        wanted.extend(events.map(|event| show(request, event, self.compacted)));
        self.open.insert(id, (request.clone(), from));
    }

    fn has_id(&self, id: i64) -> bool {
        self.open.contains_key(&id) || self.spent.contains(&id)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write(ops) => self.write(ops),
            Step::Compact(at) => self.compacted = *at,
            Step::Create(request) => self.create(request),
            Step::Cancel(id) => {
                if self.open.remove(id).is_some() || self.spent.remove(id) {
                    self.wanted.entry(*id).or_default().push(format!("canceled {}", self.revision));
                }
            }
        }
    }
}

fn wants(request: &WatchCreateRequest, from: i64, event: &mvccpb::Event) -> bool {
    let kv = event.kv.as_ref().expect("every event has a pair");
    let range = KeyRange::new(&request.key, &request.range_end);
    kv.mod_revision >= from && range.contains(&kv.key) && !request.filters.contains(&event.r#type)
}

/// What the watch is sent of an event, if what is below the compaction revision is gone.
fn show(request: &WatchCreateRequest, event: &mvccpb::Event, compacted: i64) -> String {
    let mut event = event.clone();
    let is_gone = event.kv.as_ref().is_some_and(|kv| kv.mod_revision - 1 < compacted);
    if !request.prev_kv || is_gone {
        event.prev_kv = None;
    }
    format!("{event:?}")
}

/// One of the two servers, and what its stream was sent, by watch.
struct Side<'a> {
    client: Client,
    stream: WatchStream,
    received: BTreeMap<i64, Vec<String>>,
    name: &'a str,
}

impl<'a> Side<'a> {
    fn new(member: &Member, name: &'a str) -> Self {
        let stream = WatchStream::open(member.endpoint(), &[]);
        Self { client: member.client(), stream, received: BTreeMap::new(), name }
    }

    fn act(&mut self, step: &Step) {
        match step {
            Step::Write(ops) => {
                let op = |(key, value): &(&'static str, Option<String>)| RequestOp {
                    request: Some(match value {
                        Some(value) => Request::RequestPut(put(*key, value.as_str())),
                        None => Request::RequestDeleteRange(DeleteRangeRequest {
                            key: (*key).into(),
                            ..DeleteRangeRequest::default()
                        }),
                    }),
                };
                let txn = TxnRequest { success: ops.iter().map(op).collect(), ..TxnRequest::default() };
                self.client.txn(&txn).expect("written");
            }
            Step::Compact(revision) => {
                let request = CompactionRequest { revision: *revision, physical: true };
                self.client.compact(&request).expect("compacted");
            }
            Step::Create(request) => self.stream.request(RequestUnion::CreateRequest(request.clone())),
            Step::Cancel(watch_id) => {
                let request = WatchCancelRequest { watch_id: *watch_id };
                self.stream.request(RequestUnion::CancelRequest(request));
            }
        }
    }

    fn hear(&mut self) -> std::io::Result<()> {
        let response = self.stream.try_next()?;
        let heard = self.received.entry(response.watch_id).or_default();
        heard.extend(shown(&response));
        Ok(())
    }

    /// Waits until so much has come as is wanted, which must then be the same.
    fn check(&mut self, list: &List) -> Result<(), String> {
        for (id, wanted) in &list.wanted {
            while self.received.get(id).map_or(0, Vec::len) < wanted.len() {
                if let Err(error) = self.hear() {
                    let got = self.received.get(id);
                    return Err(format!(
                        "{}, watch {id}: {error}; {got:#?} instead of {wanted:#?}",
                        self.name
                    ));
                }
            }
            let got = &self.received[id];
            if let Some(at) = (0..got.len()).find(|&at| wanted.get(at) != Some(&got[at])) {
                let want = wanted.get(at);
                return Err(format!("{}, watch {id}, {at}: {} instead of {want:?}", self.name, got[at]));
            }
        }
        Ok(())
    }
}

/// A response in words: one for each event.
fn shown(response: &WatchResponse) -> Vec<String> {
    let header = revision(response);
    let mut words = Vec::new();
    if response.created {
        words.push("created".to_owned());
    }
    if response.canceled {
        words.push("canceled".to_owned());
    }
    if !words.is_empty() {
        words.push(header.to_string());
    }
    if response.compact_revision != 0 {
        words.push(format!("compacted {}", response.compact_revision));
    }
    if !response.cancel_reason.is_empty() {
        words.push(response.cancel_reason.clone());
    }
    let control = (!words.is_empty()).then(|| words.join(" "));
    control.into_iter().chain(response.events.iter().map(|event| format!("{event:?}"))).collect()
}

fn draw(random: &mut Random, list: &List) -> Step {
    let key = |random: &mut Random| KEYS[random.below(KEYS.len() as u64) as usize];
    match random.below(12) {
        0 => {
            let at = list.revision - random.below(10) as i64;
            if at > list.compacted && at > 1 { Step::Compact(at) } else { Step::Cancel(77) }
        }
        1 => Step::Cancel(random.below(6) as i64),
        2..=4 => {
            let end = match random.below(5) {
                0 => String::new(),
                1 => "\0".to_owned(),
                _ => key(random).to_owned(),
            };
            let past = list.compacted - 3 + random.below(12) as i64;
            let start = [0, past.max(1), list.revision + random.below(4) as i64][random.below(3) as usize];
            Step::Create(WatchCreateRequest {
                key: if random.one_in(8) { "".into() } else { key(random).into() },
                range_end: end.into(),
                start_revision: if start == list.compacted { 0 } else { start },
                filters: (0..2).filter(|_| random.one_in(6)).collect(),
                prev_kv: random.one_in(2),
                fragment: random.one_in(2),
                watch_id: if random.one_in(4) { random.below(8) as i64 } else { 0 },
                progress_notify: random.one_in(2),
            })
        }
        _ => {
            let mut ops: BTreeMap<&'static str, Option<String>> = BTreeMap::new();
            for _ in 0..1 + random.below(3) {
                let value = (!random.one_in(3)).then(|| format!("v{}", random.below(1000)));
                ops.insert(key(random), value);
            }
            Step::Write(ops.into_iter().collect())
        }
    }
}

/// Runs a script on both. `spoil` changes what the list holds, for the canary.
fn run(seed: u64, members: [(&Member, &str); 2], spoil: impl Fn(usize, &mut List)) -> Result<(), String> {
    let (mut random, mut list) = (Random::new(seed), List::new());
    let mut sides = members.map(|(member, name)| Side::new(member, name));
    for number in 0..STEPS {
        let step = draw(&mut random, &list);
        // What is behind when a compaction comes, or a cancellation, is a matter of chance.
        let settles =
            matches!(step, Step::Compact(_) | Step::Cancel(_) | Step::Create(_)) || random.one_in(20);
        if settles {
            sides.iter_mut().try_for_each(|side| side.check(&list))?;
        }
        sides.iter_mut().for_each(|side| side.act(&step));
        list.take(&step);
        spoil(number, &mut list);
        if settles {
            let context = |error| format!("after step {number}, {step:?}: {error}");
            sides.iter_mut().try_for_each(|side| side.check(&list)).map_err(context)?;
        }
    }
    sides.iter_mut().try_for_each(|side| side.check(&list))
}

fn with_both(test: impl FnOnce([(&Member, &str); 2])) {
    let Some(etcd) = etcd_folder() else { return };
    let folders = [Scratch::new(), Scratch::new()];
    let start = |folder: &Scratch, program: &Path| Launch::new(folder.path()).program(program).member();
    let etcd = start(&folders[0], &etcd.join("etcd"));
    let windlass = Launch::new(folders[1].path()).flag("--shards=3").member();
    test([(&etcd, "etcd"), (&windlass, "windlass")]);
}

#[test]
fn watches_are_sent_what_etcd_sends() {
    with_both(|members| {
        let seed =
            std::env::var("WINDLASS_WATCH_SEED").ok().map_or(SEED, |text| text.parse().expect("a number"));
        let outcome = run(seed, members, |_, _| ());
        let again =
            format!("WINDLASS_WATCH_SEED={seed} cargo test -p windlass --test watch watches_are_sent");
        outcome.unwrap_or_else(|error| panic!("{error}\nrepeat it with: {again}"));
    });
}

/// The canary: a response that the list does not hold must be noticed.
#[test]
fn a_difference_is_found() {
    with_both(|members| {
        let outcome = run(SEED, members, |number, list| {
            if number == STEPS / 2 {
                list.wanted.values_mut().for_each(|wanted| drop(wanted.pop()));
            }
        });
        assert!(outcome.is_err(), "one response too many was not noticed");
    });
}
