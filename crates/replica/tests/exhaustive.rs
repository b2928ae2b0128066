//! A small scope, exhaustively: three entries on two shards, in every order in which the sequencer and the shards can
//! take what waits for them, and in every state a crash: the shards are cut at every index that they are complete up to,
//! and the log is applied from there.
//!
//! How many states and crashes there were, and how deep, is printed (`--nocapture`).

use std::collections::{BTreeMap, HashSet, VecDeque};

use bytes::Bytes;
use windlass_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RequestOp, TxnRequest,
};
use windlass_mvcc::{HashScan, HashSum, Shard};
use windlass_records::batch::{BatchBuilder, Origin};
use windlass_records::state::State;
use windlass_records::wal;
use windlass_replica::install::Journal;
use windlass_replica::oracle::Oracle;
use windlass_replica::oracle::generate::Command;
use windlass_replica::perform::perform;
use windlass_replica::sequencer::{Input, Output, Response, Sequencer};
use windlass_replica::system::System;
use windlass_replica::task::{ShardAnswer, ShardTask};
use windlass_types::key::shard_of;
use windlass_types::{LeaseId, LogIndex, MemberId, RequestError, RequestId, Revision, ShardId, Term};

const SHARDS: u16 = 2;
const TERM: Term = Term(1);
const US: Origin = Origin { member: MemberId(1), incarnation: 1 };

/// Two keys of different shards, and one more.
const KEYS: [&str; 3] = ["a", "b", "c"];

type Reply = Result<Response, RequestError>;

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// The next entry is committed.
    Commit,
    /// A shard performs what waits for it first.
    Perform(usize),
    /// The sequencer takes the first of a shard's answers.
    Deliver(usize),
}

/// The entries, and what the model makes of them.
struct Log {
    entries: Vec<Bytes>,
    /// Before the first entry and after each.
    oracles: Vec<Oracle>,
    replies: BTreeMap<RequestId, Reply>,
}

impl Log {
    fn new(entries: &[Vec<Command>]) -> Self {
        let mut oracle = Oracle::default();
        let mut log = Self { entries: Vec::new(), oracles: vec![oracle.clone()], replies: BTreeMap::new() };
        for commands in entries {
            let mut batch = BatchBuilder::default();
            for command in commands {
                let id = RequestId(log.replies.len() as u64 + 1);
                batch.push(id, command.kind(), &command.payload());
                log.replies.insert(id, command.apply_to(&mut oracle));
            }
            log.entries.push(batch.finish(US));
            log.oracles.push(oracle.clone());
        }
        log
    }

    fn state(&self, index: usize) -> State {
        let oracle = &self.oracles[index];
        let term = if index == 0 { Term::ZERO } else { TERM };
        let (revision, compact_revision) = (oracle.revision(), oracle.compact_revision());
        State { index: LogIndex(index as u64), term, revision, compact_revision }
    }
}

/// What a shard's stream holds of one version.
struct Written {
    index: LogIndex,
    revision: Revision,
    sub: u32,
    key: Vec<u8>,
    live: Option<(Revision, i64, LeaseId, Vec<u8>)>,
}

#[derive(Default)]
struct Stream {
    versions: Vec<Written>,
    records: Vec<(LogIndex, Bytes, Option<Bytes>)>,
}

impl Journal for Stream {
    fn append(&mut self, version: &wal::Version<'_>) {
        let wal::Version { index, revision, sub, key, live } = *version;
        let live = live.map(|l| (l.create_revision, l.version, l.lease, l.value.to_vec()));
        self.versions.push(Written { index, revision, sub, key: key.to_vec(), live });
    }
}

impl Stream {
    /// What a start finds of it, cut at an index.
    fn cut(&self, at: LogIndex, compact_revision: Revision) -> Shard {
        let mut shard = Shard::default();
        for written in self.versions.iter().filter(|written| written.index <= at) {
            let live = written.live.as_ref().map(|(create_revision, version, lease, value)| wal::Live {
                create_revision: *create_revision,
                version: *version,
                lease: *lease,
                value,
            });
            let Written { index, revision, sub, ref key, .. } = *written;
            shard.load(&wal::Version { index, revision, sub, key, live });
        }
        shard.finish_load(compact_revision);
        shard
    }
}

#[derive(Default)]
struct Node {
    shard: Shard,
    stream: Stream,
    watermark: LogIndex,
    tasks: VecDeque<ShardTask>,
    answers: VecDeque<ShardAnswer>,
    performed: usize,
}

struct Member {
    sequencer: Sequencer,
    nodes: Vec<Node>,
    committed: usize,
    replies: BTreeMap<RequestId, Reply>,
    /// Which shards' answers were taken, in order.
    taken: Vec<usize>,
}

impl Member {
    fn new() -> Self {
        let nodes = (0..SHARDS).map(|_| Node::default()).collect();
        let sequencer = Sequencer::new(US, SHARDS, State::EMPTY, System::default());
        Self { sequencer, nodes, committed: 0, replies: BTreeMap::new(), taken: Vec::new() }
    }

    /// What a start makes of this one's streams, all of them cut at an index.
    fn restarted(&self, log: &Log, at: usize) -> Self {
        let state = log.state(at);
        let node = |node: &Node| Node {
            shard: node.stream.cut(state.index, state.compact_revision),
            watermark: state.index,
            ..Node::default()
        };
        let mut records = BTreeMap::new();
        for (_, name, value) in
            self.nodes.iter().flat_map(|n| &n.stream.records).filter(|r| r.0 <= state.index)
        {
            records.insert(name.clone(), value.clone());
        }
        let system = System::new(records.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let run = Origin { incarnation: 2, ..US };
        Self {
            sequencer: Sequencer::new(run, SHARDS, state, system),
            nodes: self.nodes.iter().map(node).collect(),
            committed: at,
            replies: BTreeMap::new(),
            taken: Vec::new(),
        }
    }

    fn steps(&self, log: &Log) -> Vec<Step> {
        let commit = (self.committed < log.entries.len()).then_some(Step::Commit);
        let of_shards = (0..self.nodes.len()).flat_map(|n| {
            let node = &self.nodes[n];
            let perform = (!node.tasks.is_empty()).then_some(Step::Perform(n));
            perform.into_iter().chain((!node.answers.is_empty()).then_some(Step::Deliver(n)))
        });
        commit.into_iter().chain(of_shards).collect()
    }

    fn take(&mut self, step: Step, log: &Log) {
        match step {
            Step::Commit => {
                let data = log.entries[self.committed].clone();
                self.committed += 1;
                self.feed(Input::Committed { index: LogIndex(self.committed as u64), term: TERM, data });
            }
            Step::Perform(n) => self.perform(n),
            Step::Deliver(n) => {
                let answer = self.nodes[n].answers.pop_front().expect("it was there");
                self.taken.push(n);
                self.feed(Input::FromShard { shard: ShardId(n as u16), answer });
            }
        }
    }

    fn perform(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let task = node.tasks.pop_front().expect("it was there");
        node.performed += 1;
        node.answers.extend(perform(&mut node.shard, ShardId(n as u16), &task, &mut node.stream));
        match &task {
            ShardTask::System(system) => {
                let of =
                    system.records.iter().map(|(name, value)| (system.index, name.clone(), value.clone()));
                node.stream.records.extend(of);
            }
            ShardTask::Compact(_) => while !node.shard.compact_step(usize::MAX) {},
            _ => {}
        }
        if let Some((index, _)) = task.completes() {
            node.watermark = index;
        }
    }

    fn feed(&mut self, input: Input) {
        let mut out = Vec::new();
        self.sequencer.step(input, &mut out).expect("the entries decode");
        for output in out {
            match output {
                Output::ToShard { shard, task } => self.nodes[usize::from(shard.0)].tasks.push_back(task),
                Output::Reply { id, result } => {
                    let twice = self.replies.insert(id, result.map(|response| *response));
                    assert!(twice.is_none(), "one answer for each request");
                }
                Output::PutReplies { .. } => unreachable!("each entry has something else in front"),
                _ => {}
            }
        }
    }

    /// Shards are compared where they stand at one index.
    fn hash(&self, state: &State) -> HashSum {
        let of = |node: &Node| {
            let scan = HashScan::new(state.revision, state.compact_revision).step(&node.shard, usize::MAX);
            scan.expect("in one step")
        };
        self.nodes.iter().fold(HashSum::default(), |sum, node| sum.and(of(node)))
    }

    /// Everything that determines what follows.
    fn key(&self) -> (usize, Vec<usize>, Vec<usize>) {
        (self.committed, self.nodes.iter().map(|node| node.performed).collect(), self.taken.clone())
    }

    fn check(&self, log: &Log) -> Result<(), String> {
        for (id, reply) in &self.replies {
            let want = &log.replies[id];
            if reply != want {
                return Err(format!("request {id} is told {reply:?} instead of {want:?}"));
            }
        }
        let [first, second] = [0, 1].map(|n| self.nodes[n].watermark);
        let idle = self.nodes.iter().all(|node| node.tasks.is_empty());
        if first == second && idle && self.steps(log).iter().all(|step| *step == Step::Commit) {
            let at = first.0 as usize;
            if self.hash(&log.state(at)) != log.oracles[at].hash() {
                return Err(format!("other content than the model's after entry {at}"));
            }
        }
        Ok(())
    }

    /// Goes on to the end in one order.
    fn finish(mut self, log: &Log) -> Result<(), String> {
        while let Some(&step) = self.steps(log).last() {
            self.take(step, log);
        }
        let last = log.entries.len();
        if self.sequencer.state() != log.state(last) {
            return Err(format!("ends at {:?} instead of {:?}", self.sequencer.state(), log.state(last)));
        }
        self.check(log)
    }
}

#[derive(Debug, Default)]
struct Seen {
    states: usize,
    crashes: usize,
    depth: usize,
}

/// Every state, and in each every crash. With `beyond` shards are cut one entry too late, for the canary.
fn explore(log: &Log, beyond: u64) -> Result<Seen, String> {
    let (mut known, mut seen, mut paths) = (HashSet::new(), Seen::default(), vec![Vec::new()]);
    while let Some(path) = paths.pop() {
        let mut member = Member::new();
        path.iter().for_each(|&step| member.take(step, log));
        if !known.insert(member.key()) {
            continue;
        }
        seen.states += 1;
        seen.depth = seen.depth.max(path.len());
        let after = |why: String| format!("{why}\nafter {path:?}");
        member.check(log).map_err(after)?;
        let complete = member.nodes.iter().map(|node| node.watermark.0).min().expect("two shards") + beyond;
        for at in 0..=complete.min(log.entries.len() as u64) {
            seen.crashes += 1;
            let restarted = member.restarted(log, at as usize);
            if restarted.hash(&log.state(at as usize)) != log.oracles[at as usize].hash() {
                return Err(after(format!("a start at entry {at} finds other content than the model's")));
            }
            restarted.finish(log).map_err(|why| after(format!("{why}\nafter a start at entry {at}")))?;
        }
        let steps = member.steps(log);
        if steps.is_empty() && member.replies.len() < log.replies.len() {
            return Err(after("some requests are not answered".into()));
        }
        paths.extend(steps.into_iter().map(|step| [&path[..], &[step]].concat()));
    }
    Ok(seen)
}

fn put(key: &'static str, value: &'static str, prev_kv: bool) -> Command {
    Command::Put(PutRequest { key: key.into(), value: value.into(), prev_kv, ..PutRequest::default() })
}

fn put_with_lease(key: &'static str) -> Command {
    Command::Put(PutRequest { key: key.into(), lease: 7, prev_kv: true, ..PutRequest::default() })
}

/// If the value of one key is this, the other one gets it; if not, it goes.
fn txn(compared: &'static str, value: &'static str, written: &'static str) -> Command {
    let compare = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Value as i32,
        key: compared.into(),
        target_union: Some(TargetUnion::Value(value.into())),
        ..Compare::default()
    };
    let op = |request| vec![RequestOp { request: Some(request) }];
    let put = PutRequest { key: written.into(), value: value.into(), ..PutRequest::default() };
    let delete = DeleteRangeRequest { key: written.into(), ..DeleteRangeRequest::default() };
    Command::Txn(TxnRequest {
        compare: vec![compare],
        success: op(Request::RequestPut(put)),
        failure: op(Request::RequestDeleteRange(delete)),
    })
}

fn delete_all() -> Command {
    let all = DeleteRangeRequest { key: "a".into(), range_end: "\0".into(), prev_kv: true };
    Command::Delete(all)
}

fn look_at(name: &str, entries: &[Vec<Command>], states_min: usize) {
    assert_ne!(shard_of(KEYS[0].as_bytes(), SHARDS), shard_of(KEYS[1].as_bytes(), SHARDS));
    let log = Log::new(entries);
    let seen = explore(&log, 0).unwrap_or_else(|why| panic!("{name}: {why}"));
    eprintln!("{name}: {} states, depth {}, {} crashes", seen.states, seen.depth, seen.crashes);
    assert!(seen.states >= states_min, "only {} states", seen.states);
}

#[test]
fn evaluated_numbered_and_installed_in_every_order() {
    let entries = [
        vec![put("a", "x", true), put("b", "x", true)],
        vec![txn("a", "x", "b"), delete_all()],
        vec![put("b", "y", true), txn("b", "y", "a"), put("c", "z", true)],
    ];
    look_at("writes and barriers", &entries, 300);
}

#[test]
fn compactions_and_leases_in_every_order() {
    let grant = Command::LeaseGrant(LeaseGrantRequest { id: 7, ttl: 100 });
    let compact = Command::Compaction(CompactionRequest { revision: 3, physical: false });
    let entries = [
        vec![grant, put_with_lease("a"), put_with_lease("b")],
        vec![compact, txn("a", "", "b")],
        vec![Command::LeaseRevoke(LeaseRevokeRequest { id: 7 }), put("a", "y", true)],
    ];
    look_at("compactions and leases", &entries, 300);
}

/// The canary: were shards kept one entry beyond what all of them are complete up to, this would be seen.
#[test]
fn a_start_beyond_what_is_complete_is_found() {
    let log =
        Log::new(&[vec![put("a", "x", true), put("b", "x", true)], vec![delete_all(), put("a", "y", true)]]);
    assert!(explore(&log, 1).is_err());
}
