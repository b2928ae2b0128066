//! One member's storage plane, and everything that may happen to it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;

use bytes::Bytes;
use windlass_api::etcdserverpb::RangeRequest;
use windlass_api::mvccpb::KeyValue;
use windlass_io_disk::sim::SimDisk;
use windlass_io_log::folder::Folder;
use windlass_io_log::ids::Identity;
use windlass_io_log::stream::{Options, RETRY_NS, Request, ShardHistory, Stable, StateHistory, StateStream};
use windlass_mvcc::{HashScan, HashSum};
use windlass_records::state::State;
use windlass_replica::answer::RangeAnswer;
use windlass_replica::lease::Leases;
use windlass_replica::oracle::generate::Random;
use windlass_replica::sequencer::{self, Sequencer};
use windlass_replica::shard::{
    Input, Output, ShardCore, redistribute, restore, seed, stable_state, system_of,
};
use windlass_replica::system::System;
use windlass_replica::task::{Query, ReadAnswer, ReadTask, ShardTask, SystemRecords};
use windlass_types::{LogIndex, Revision, ShardId, Term};

use crate::log::{Log, US};

const ROOM_BYTES: usize = 1 << 30;
const STATE: u64 = 1000;

/// How often things happened, so that a test that tests nothing is seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    starts: u64,
    new_layouts: u64,
    checkpoint_slices: u64,
    reads: u64,
    full: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.starts += other.starts;
        self.new_layouts += other.new_layouts;
        self.checkpoint_slices += other.checkpoint_slices;
        self.reads += other.reads;
        self.full += other.full;
    }
}

impl Totals {
    pub fn assert_all_happened(&self) {
        let Self { starts, new_layouts, checkpoint_slices, reads, full } = *self;
        for n in [starts, new_layouts, checkpoint_slices, reads, full] {
            assert!(n > 100, "{self:?}");
        }
    }
}

type Records = BTreeMap<Bytes, Bytes>;

/// Names a read: the index that it wants, and its number.
pub type Ticket = (LogIndex, u64);

struct Node {
    core: ShardCore<Ticket>,
    disk: SimDisk,
    /// Handed out by the sequencer, not yet arrived.
    tasks: VecDeque<ShardTask>,
}

pub struct Plane {
    random: Random,
    log: Log,
    sequencer: Sequencer,
    /// Newest entry that the sequencer was given.
    given: LogIndex,
    /// The system records before the first entry, and after each that was given.
    records: Vec<Records>,
    nodes: Vec<Node>,
    state: StateStream,
    state_disk: SimDisk,
    stable: Stable,
    now_ns: u64,
    reads: BTreeMap<Ticket, Vec<ReadAnswer>>,
    next_read: u64,
    totals: Totals,
}

fn options(stream: u64) -> Options {
    // Small, so that a short history has flushes, checkpoints and recycled segments.
    Options {
        segment_bytes: 40 << 10,
        flush_bytes: 1500,
        flush_age_ns: 1000,
        ..Options::shard(Identity(stream))
    }
}

fn history(shard: ShardId, disk: &mut SimDisk) -> ShardHistory {
    ShardHistory::open(options(shard.0.into()), disk).unwrap()
}

/// A shard that holds nothing.
pub fn empty_core() -> ShardCore<Ticket> {
    let mut disk = SimDisk::new(0, ROOM_BYTES);
    restore(ShardId(0), history(ShardId(0), &mut disk), &mut disk, &State::EMPTY).unwrap()
}

impl Plane {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let count = 1 + random.below(3) as u16;
        let disks = (0..count).map(|_| SimDisk::new(random.number(), ROOM_BYTES));
        let nodes = (0..).map(ShardId).zip(disks).map(|(id, mut disk)| {
            let core = restore(id, history(id, &mut disk), &mut disk, &State::EMPTY).unwrap();
            Node { core, disk, tasks: VecDeque::new() }
        });
        let nodes = nodes.collect();
        let mut state_disk = SimDisk::new(random.number(), ROOM_BYTES);
        let states = StateHistory::open(options(STATE), &mut state_disk).unwrap();
        let state = states.start(&mut state_disk, State::EMPTY).unwrap();
        Self {
            random,
            log: Log::new(seed),
            sequencer: Sequencer::new(US, count, State::EMPTY, System::default()),
            given: LogIndex(0),
            records: vec![Records::new()],
            nodes,
            state,
            state_disk,
            stable: Stable::new(usize::from(count) + 1, LogIndex(0)),
            now_ns: 0,
            reads: BTreeMap::new(),
            next_read: 0,
            totals: Totals::default(),
        }
    }

    pub fn step(&mut self) {
        match self.random.below(100) {
            0..12 => self.commit(),
            12..50 => self.deliver(),
            50..75 => self.complete_one(),
            75..85 => self.work(),
            85..92 => self.now_ns += self.random.below(700),
            92..96 => self.read(),
            96..98 => self.change_room(),
            98 if self.random.one_in(3) => return self.crash(),
            _ => {}
        }
        self.tick();
    }

    /// Ends with room and time and no more failures.
    pub fn finish(mut self) -> Totals {
        self.nodes.iter_mut().for_each(|n| n.disk.set_capacity(ROOM_BYTES));
        for _ in 0..3 {
            self.commit();
        }
        self.settle();
        assert_eq!(self.sequencer.state().index, self.given);
        assert_eq!(self.stable.index(), self.given, "with room and time everything becomes durable");
        self.check(self.sequencer.state());
        let want = self.log.oracle(self.given).usage();
        let held = self.nodes.iter().map(|n| n.core.shard().usage());
        let held = held.fold((0, 0), |(versions, bytes), u| (versions + u.versions, bytes + u.bytes));
        assert_eq!(held, (want.versions, want.bytes), "what was compacted is gone");
        assert!(self.reads.is_empty(), "every read is answered");
        self.crash();
        self.totals
    }

    fn commit(&mut self) {
        self.given = self.given.next();
        let data = self.log.entry(self.given);
        let index = self.given;
        self.write_records();
        self.sequence(sequencer::Input::Committed { index, term: Term(1), data });
    }

    /// Writes some system records with the entry that is to be committed.
    fn write_records(&mut self) {
        let mut records = self.records[self.records.len() - 1].clone();
        // What is written now belongs to the oldest entry that is not numbered: there must be no other.
        let count = if self.sequencer.waiting() == 0 { self.random.below(4) } else { 0 };
        for _ in 0..count {
            let name = Bytes::from(format!("test/{}", self.random.below(12)));
            if self.random.one_in(3) {
                records.remove(&name);
                self.sequencer.system_mut().delete(&name);
            } else {
                let value = Bytes::from(vec![self.given.0 as u8; self.random.below(600) as usize]);
                records.insert(name.clone(), value.clone());
                self.sequencer.system_mut().put(name, value);
            }
        }
        self.records.push(records);
    }

    fn sequence(&mut self, input: sequencer::Input) {
        let mut out = Vec::new();
        self.sequencer.step(input, &mut out).unwrap();
        for output in out {
            match output {
                sequencer::Output::ToShard { shard, task } => {
                    self.nodes[usize::from(shard.0)].tasks.push_back(task);
                }
                sequencer::Output::Applied(state) => self.state.append(state),
                sequencer::Output::Lease(_)
                | sequencer::Output::Reply { .. }
                | sequencer::Output::PutReplies { .. }
                | sequencer::Output::News(_) => {}
            }
        }
    }

    fn pick(&mut self) -> usize {
        self.random.below(self.nodes.len() as u64) as usize
    }

    /// One shard takes the task that was handed to it first.
    fn deliver(&mut self) {
        let at = self.pick();
        if let Some(task) = self.nodes[at].tasks.pop_front() {
            self.feed(at, Input::Task(task));
        }
    }

    fn feed(&mut self, at: usize, input: Input<Ticket>) {
        let mut out = Vec::new();
        self.nodes[at].core.step(input, &mut out).unwrap();
        self.carry_out(at, out);
    }

    fn carry_out(&mut self, at: usize, out: Vec<Output<Ticket>>) {
        for output in out {
            match output {
                Output::Answer(answer) => {
                    self.sequence(sequencer::Input::FromShard { shard: ShardId(at as u16), answer });
                }
                Output::Read(ticket, answer) => self.answered(ticket, answer),
                Output::Disk(request) => self.nodes[at].disk.submit([request.op]),
                Output::Durable(index) => self.durable(at, index),
                Output::Full(_) | Output::Chunk(_) => {}
                Output::Follow(..) => unreachable!("nobody follows"),
            }
        }
    }

    fn durable(&mut self, stream: usize, index: LogIndex) {
        let Some(stable) = self.stable.advance(stream, index) else { return };
        (0..self.nodes.len()).for_each(|at| self.feed(at, Input::Stable(stable)));
        self.state.set_stable(stable);
    }

    fn complete_one(&mut self) {
        let at = self.random.below(self.nodes.len() as u64 + 1) as usize;
        if let Some(node) = self.nodes.get_mut(at) {
            let Some(done) = node.disk.complete() else { return };
            self.totals.full += u64::from(done.result.is_err());
            return self.feed(at, Input::Disk(done));
        }
        let Some(done) = self.state_disk.complete() else { return };
        let mut requests = Vec::new();
        self.state.complete(done, &mut requests).unwrap();
        self.submit_state(requests);
        self.durable(at, self.state.durable_index());
    }

    fn submit_state(&mut self, requests: Vec<Request>) {
        self.state_disk.submit(requests.into_iter().map(|r| r.op));
    }

    fn work(&mut self) {
        let at = self.pick();
        let mut out = Vec::new();
        if self.random.one_in(6) {
            self.nodes[at].core.hasten_checkpoint();
        }
        self.totals.checkpoint_slices += u64::from(self.nodes[at].core.is_checkpointing());
        self.nodes[at].core.work(&mut out);
        self.carry_out(at, out);
    }

    fn tick(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.feed(at, Input::Tick(self.now_ns)));
        let mut requests = Vec::new();
        self.state.tick(self.now_ns, &mut requests);
        self.submit_state(requests);
    }

    fn change_room(&mut self) {
        for node in &mut self.nodes {
            let full = self.random.one_in(2);
            node.disk.set_capacity(if full { node.disk.used() } else { ROOM_BYTES });
        }
    }

    /// Everything at an index that the shards may not have reached yet.
    fn read(&mut self) {
        let index = LogIndex(self.random.below(self.sequencer.state().index.0 + 1));
        let ticket = (index, self.next_read);
        self.next_read += 1;
        self.reads.insert(ticket, Vec::new());
        let revision = self.log.oracle(index).revision();
        for at in 0..self.nodes.len() {
            let task = ReadTask { min_index: index, revision, query: Query::Range(everything().into()) };
            self.feed(at, Input::Read(task, ticket));
        }
    }

    fn answered(&mut self, ticket: Ticket, answer: ReadAnswer) {
        let answers = self.reads.get_mut(&ticket).expect("a read is answered once by each shard");
        answers.push(answer);
        if answers.len() < self.nodes.len() {
            return;
        }
        self.totals.reads += 1;
        let mut found: Vec<KeyValue> = Vec::new();
        for answer in self.reads.remove(&ticket).expect("just seen") {
            match answer {
                ReadAnswer::Range(part) => {
                    let answer = RangeAnswer::new(&everything(), vec![part], Revision::ZERO);
                    found.extend(answer.to_response().kvs);
                }
                // A later compaction may have reached this shard before the read.
                ReadAnswer::Compacted => return,
                other => panic!("{other:?}"),
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        let want = self.log.oracle(ticket.0).range(&everything()).unwrap().kvs;
        assert_eq!(found, want, "a read at {}", ticket.0);
    }

    /// Time passes until nothing is to be done any more.
    fn settle(&mut self) {
        for _ in 0..60 {
            self.now_ns += RETRY_NS;
            for _ in 0..20 * self.nodes.len() {
                self.deliver();
                self.complete_one();
                self.work();
            }
            self.tick();
        }
    }

    fn crash(&mut self) {
        let power = self.random.one_in(2);
        let fail = |disk: &mut SimDisk| {
            let old = std::mem::replace(disk, SimDisk::new(0, 0));
            *disk = if power { old.crash() } else { old.kill() };
            // A start needs some room.
            disk.set_capacity(ROOM_BYTES);
        };
        self.nodes.iter_mut().for_each(|n| fail(&mut n.disk));
        fail(&mut self.state_disk);
        self.start();
    }

    fn start(&mut self) {
        self.totals.starts += 1;
        let mut disks: Vec<_> = self.nodes.drain(..).map(|n| n.disk).collect();
        let histories: Vec<_> = (0..).map(ShardId).zip(&mut disks).map(|(id, d)| history(id, d)).collect();
        let states = StateHistory::open(options(STATE), &mut self.state_disk).unwrap();
        let state = stable_state(&histories, &states);
        assert!(state.index >= self.stable.index(), "stable fell");
        self.nodes = if self.random.one_in(4) {
            self.totals.new_layouts += 1;
            let count = 1 + self.random.below(4) as u16;
            Self::lay_out(&histories, &mut disks, count, &state, &mut self.random)
        } else {
            let shards = (0..).map(ShardId).zip(histories).zip(disks);
            let node = |((id, history), mut disk): ((_, _), SimDisk)| {
                let core = restore(id, history, &mut disk, &state).unwrap();
                Node { core, disk, tasks: VecDeque::new() }
            };
            shards.map(node).collect()
        };
        self.state = states.start(&mut self.state_disk, state).unwrap();
        self.check(state);
        let count = self.nodes.len() as u16;
        let system = system_of(self.nodes.iter().map(|n| &n.core));
        self.sequencer = Sequencer::new(US, count, state, system);
        self.records.truncate(state.index.0 as usize + 1);
        self.given = state.index;
        self.stable = Stable::new(usize::from(count) + 1, state.index);
        self.reads.clear();
    }

    fn lay_out(
        histories: &[ShardHistory],
        disks: &mut [SimDisk],
        count: u16,
        state: &State,
        random: &mut Random,
    ) -> Vec<Node> {
        let old = histories.iter().zip(disks.iter_mut().map(|d| d as &mut dyn Folder));
        let loaded = redistribute(old, count, state).unwrap();
        let node = |(id, shard)| {
            let mut disk = SimDisk::new(random.number(), ROOM_BYTES);
            let core = seed(id, shard, history(id, &mut disk), &mut disk, state).unwrap();
            Node { core, disk, tasks: VecDeque::new() }
        };
        (0..).map(ShardId).zip(loaded).map(node).collect()
    }

    /// The shards together hold what the model holds.
    fn check(&self, state: State) {
        let oracle = self.log.oracle(state.index);
        assert_eq!((state.revision, state.compact_revision), (oracle.revision(), oracle.compact_revision()));
        let hash = self.nodes.iter().map(|n| {
            let mut scan = HashScan::new(state.revision, state.compact_revision);
            scan.step(&n.core.shard(), usize::MAX).expect("all keys at once")
        });
        let hash = hash.fold(HashSum::default(), HashSum::and);
        assert_eq!(hash, oracle.hash(), "at {}", state.index);
        let system = system_of(self.nodes.iter().map(|n| &n.core));
        let found: Records = system.with_prefix(b"test/").map(|(n, v)| (n.clone(), v.clone())).collect();
        assert_eq!(found, self.records[state.index.0 as usize], "at {}", state.index);
        let leases = Leases::load(&system);
        let leases: BTreeMap<_, _> = leases.iter_from(None).map(|(id, lease)| (id.0, lease.ttl_s)).collect();
        assert_eq!(&leases, oracle.leases(), "at {}", state.index);
    }
}

/// See the test of the same name.
pub fn overwrite_during_checkpoint() {
    let id = ShardId(0);
    let mut disk = SimDisk::new(0, ROOM_BYTES);
    let mut core = restore::<Ticket>(id, history(id, &mut disk), &mut disk, &State::EMPTY).unwrap();
    let write = |core: &mut ShardCore<Ticket>, index, value: &'static str| {
        let records = vec![("name".into(), Some(value.into()))];
        let task = ShardTask::System(SystemRecords { index, revision: Revision(1), records });
        core.step(Input::Task(task), &mut Vec::new()).unwrap();
    };
    write(&mut core, LogIndex(1), "old");
    run_until(&mut core, &mut disk, |core| core.durable_index() == LogIndex(1));
    core.step(Input::Stable(LogIndex(1)), &mut Vec::new()).unwrap();
    core.hasten_checkpoint();
    assert!(core.is_checkpointing());
    write(&mut core, LogIndex(2), "new");
    run_until(&mut core, &mut disk, |core| core.durable_index() == LogIndex(2) && !core.has_work());

    let state = State { index: LogIndex(1), term: Term(1), ..State::EMPTY };
    let core = restore::<Ticket>(id, history(id, &mut disk), &mut disk, &state).unwrap();
    assert_eq!(system_of([&core].into_iter()).get(b"name").unwrap(), "old");
}

fn run_until(core: &mut ShardCore<Ticket>, disk: &mut SimDisk, done: impl Fn(&ShardCore<Ticket>) -> bool) {
    let mut out = Vec::new();
    for now_ms in 1..1000 {
        core.work(&mut out);
        core.step(Input::Tick(now_ms * 1_000_000), &mut out).unwrap();
        for output in out.drain(..) {
            if let Output::Disk(request) = output {
                disk.submit([request.op]);
            }
        }
        if let Some(completion) = disk.complete() {
            core.step(Input::Disk(completion), &mut out).unwrap();
        } else if done(core) {
            return;
        }
    }
    panic!("the shard does not come to rest");
}

fn everything() -> RangeRequest {
    let zero = Bytes::from_static(b"\0");
    RangeRequest { key: zero.clone(), range_end: zero, revision: Revision::ZERO.0, ..RangeRequest::default() }
}
