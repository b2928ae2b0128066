//! Random logs, run with 1, 2, 3 and 8 shards whose answers come in random order, against the sequential model: equal
//! responses and equal hashes.
//!
//! A failure prints the command that repeats it.

mod users;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::alarm_request::AlarmAction;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, LeaseRevokeRequest, PutResponse, RangeRequest,
    ResponseHeader, TxnRequest,
};
use windlass_mvcc::{HashScan, HashSum, Shard, Usage};
use windlass_records::batch::{BatchBuilder, CommandKind, Origin};
use windlass_records::state::State;
use windlass_records::wal;
use windlass_replica::alarm::AlarmCommand;
use windlass_replica::install::Journal;
use windlass_replica::lease::{Expired, LeaseRef, Leases};
use windlass_replica::oracle::Oracle;
use windlass_replica::oracle::generate::{Command, Generator, Random};
use windlass_replica::perform::perform;
use windlass_replica::read::read;
use windlass_replica::reading::{Progress, ReadRequest, Reading, Snapshot};
use windlass_replica::sequencer::{Input, News, Output, Response, Sequencer};
use windlass_replica::system::System;
use windlass_replica::task::{ReadTask, ShardAnswer, ShardTask};
use windlass_replica::txn::Transaction;
use windlass_types::key::shard_of;
use windlass_types::{LeaseId, LogIndex, MemberId, RequestError, RequestId, Revision, ShardId, Term};

use users::ModelUsers;

const US: Origin = Origin { member: MemberId(7), incarnation: 1 };
const OTHER: Origin = Origin { member: MemberId(8), incarnation: 1 };
const TERM: Term = Term(3);
const SEEDS: u64 = 100;
const ENTRIES: u64 = 60;

type Reply = Result<Response, RequestError>;

/// Names the run when a test fails in it.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat with: WINDLASS_SEED={} cargo test -p windlass-replica --test oracle", self.0);
        }
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("WINDLASS_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..SEEDS).collect(),
    }
}

/// Keeps what was written, to rebuild the shard from.
#[derive(Default)]
struct Memory(wal::FrameBuilder, usize, HashSum);

impl Journal for Memory {
    fn append(&mut self, version: &wal::Version<'_>) {
        self.0.push(version);
        self.1 += 1;
        self.2.add(version);
    }
}

/// One shard with the tasks that wait for it and the answers that wait for the sequencer.
struct Node {
    shard: Shard,
    journal: Memory,
    watermark: LogIndex,
    tasks: VecDeque<ShardTask>,
    answers: VecDeque<ShardAnswer>,
    compactions: VecDeque<LogIndex>,
    reads: Vec<(usize, ReadTask)>,
}

struct Running {
    reading: Reading,
    request: ReadOf,
    /// The store as it must see it.
    oracle: Oracle,
}

/// A random log and what the model makes of it.
struct Log {
    seed: u64,
    /// The entries' data, from index 1.
    entries: Vec<Bytes>,
    /// The model before the first entry and after each.
    oracles: Vec<Oracle>,
    /// What our clients must be answered.
    replies: BTreeMap<RequestId, Reply>,
}

impl Log {
    fn new(seed: u64) -> Self {
        let mut generator = Generator::new(seed);
        let mut oracle = Oracle::default();
        let (mut entries, mut oracles, mut replies) = (Vec::new(), vec![oracle.clone()], BTreeMap::new());
        let mut granted = BTreeMap::new();
        let mut id = 0;
        let has_alarms = generator.random().one_in(3);
        let mut alarms = ModelAlarms::default();
        let mut users = match generator.random().one_in(3) {
            true => Some(ModelUsers::new(generator.random(), &mut id, &mut entries)),
            false => None,
        };
        oracles.extend(entries.iter().map(|_| oracle.clone()));
        for _ in 0..ENTRIES {
            let origin = if generator.random().one_in(6) { OTHER } else { US };
            let mut batch = BatchBuilder::default();
            // Some entries are plain puts alone, some hold a long run of them, some nothing.
            let plain = generator.random().one_in(4);
            let long = generator.random().one_in(8);
            let count = if long { 60 } else { generator.random().below(9) };
            for i in 0..count {
                let run = plain || (long && !(20..25).contains(&i));
                let command = if run { generator.plain_put() } else { generator.command() };
                let caller = users.as_mut().map(|users| users.caller(generator.random()));
                let refusal = alarms.refusal(&command);
                let refusal =
                    refusal.or_else(|| users.as_ref()?.refusal(caller.as_ref()?, &command, &oracle));
                let reply = match refusal {
                    Some(error) => Err(error),
                    None => command.apply_to(&mut oracle),
                };
                if let (Command::LeaseGrant(grant), Ok(_)) = (&command, &reply) {
                    granted.insert(grant.id, entries.len() as u64 + 1);
                }
                generator.revision = oracle.revision();
                id += 1;
                let credential = caller.map_or_else(Vec::new, |caller| caller.encode());
                batch.push_as(RequestId(id), command.kind(), &credential, &command.payload());
                if origin == US {
                    replies.insert(RequestId(id), reply);
                }
                if has_alarms && generator.random().one_in(10) {
                    id += 1;
                    let (payload, listed) = alarms.random(generator.random());
                    let credential = users.as_ref().map_or_else(Vec::new, |users| users.root().encode());
                    batch.push_as(RequestId(id), CommandKind::Alarm, &credential, &payload);
                    if origin == US {
                        let revision = oracle.revision().0;
                        let header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
                        let response = AlarmResponse { header, alarms: listed };
                        replies.insert(RequestId(id), Ok(Response::Alarm { response, by_quota: false }));
                    }
                }
            }
            if generator.random().one_in(4) {
                id += 1;
                let payload = expire(&mut generator, &mut oracle, &granted, alarms.corrupt());
                batch.push(RequestId(id), CommandKind::LeaseExpire, &payload);
            }
            entries.push(if batch.is_empty() { Bytes::new() } else { batch.finish(origin) });
            oracles.push(oracle.clone());
        }
        Self { seed, entries, oracles, replies }
    }
}

/// Some leases whose time is over, as a leader of this term or an earlier one says: of leases that live, or of others that
/// had their ids.
fn expire(
    generator: &mut Generator,
    oracle: &mut Oracle,
    granted: &BTreeMap<i64, u64>,
    is_corrupt: bool,
) -> Vec<u8> {
    let random = generator.random();
    let term = TERM.0 - random.below(2);
    let leases: Vec<_> = granted
        .iter()
        .map(|(&id, &granted)| LeaseRef { id, granted: granted - u64::from(random.one_in(4)) })
        .collect();
    let takes_effect = term == TERM.0 && !is_corrupt;
    for lease in leases.iter().filter(|lease| takes_effect && granted[&lease.id] == lease.granted) {
        // It may have been revoked before.
        let _ = oracle.lease_revoke(&LeaseRevokeRequest { id: lease.id });
    }
    Expired { term, leases }.encode_to_vec()
}

/// The alarms of the model: kind and member.
#[derive(Default)]
struct ModelAlarms(BTreeSet<(i32, u64)>);

impl ModelAlarms {
    /// A random command of a person, and the alarms that its answer lists.
    fn random(&mut self, random: &mut Random) -> (Vec<u8>, Vec<AlarmMember>) {
        // Lifted more often than raised, so that most commands are carried out.
        let action = if random.one_in(4) { AlarmAction::Activate } else { AlarmAction::Deactivate };
        let (alarm, member_id) = (1 + random.below(2) as i32, random.below(2));
        let was_raised = self.0.contains(&(alarm, member_id));
        let listed = match action {
            AlarmAction::Activate => self.0.insert((alarm, member_id)) || was_raised,
            _ => self.0.remove(&(alarm, member_id)),
        };
        let request = AlarmRequest { action: action as i32, member_id, alarm };
        let payload = AlarmCommand { request, by_itself: false }.encode_to_vec();
        (payload, if listed { vec![AlarmMember { member_id, alarm }] } else { Vec::new() })
    }

    fn has(&self, kind: AlarmType) -> bool {
        self.0.iter().any(|alarm| alarm.0 == kind as i32)
    }

    fn corrupt(&self) -> bool {
        self.has(AlarmType::Corrupt)
    }

    fn refusal(&self, command: &Command) -> Option<RequestError> {
        let grows = match command {
            Command::Put(_) | Command::LeaseGrant(_) => true,
            Command::Txn(txn) => has_put(txn),
            Command::Delete(_) | Command::Compaction(_) | Command::LeaseRevoke(_) => false,
        };
        if self.corrupt() {
            Some(RequestError::Corrupt)
        } else {
            (grows && self.has(AlarmType::Nospace)).then_some(RequestError::NoSpace)
        }
    }
}

fn has_put(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(nested)) => has_put(nested),
        _ => false,
    })
}

#[derive(Clone, Debug)]
enum ReadOf {
    Range(RangeRequest),
    Txn(TxnRequest),
}

struct Member {
    sequencer: Sequencer,
    nodes: Vec<Node>,
    random: Random,
    replies: BTreeMap<RequestId, Reply>,
    applied: State,
    reads: Vec<Option<Running>>,
    reads_done: usize,
    /// The model after each entry of the whole log.
    oracles: Vec<Oracle>,
    newest_compaction: Revision,
}

impl Member {
    fn new(shards: u16, log: &Log) -> Self {
        let node = |_| Node {
            shard: Shard::default(),
            journal: Memory::default(),
            watermark: LogIndex(0),
            tasks: VecDeque::new(),
            answers: VecDeque::new(),
            compactions: VecDeque::new(),
            reads: Vec::new(),
        };
        Self {
            sequencer: Sequencer::new(US, shards, State::EMPTY, System::default()),
            nodes: (0..shards).map(node).collect(),
            random: Random::new(log.seed ^ u64::from(shards)),
            replies: BTreeMap::new(),
            applied: State::EMPTY,
            reads: Vec::new(),
            reads_done: 0,
            newest_compaction: log.oracles.last().expect("there is one").compact_revision(),
            oracles: log.oracles.clone(),
        }
    }

    fn feed(&mut self, input: Input) {
        let mut out = Vec::new();
        self.sequencer.step(input, &mut out).unwrap();
        for output in out {
            match output {
                Output::ToShard { shard, task } => self.nodes[usize::from(shard.0)].tasks.push_back(task),
                Output::Reply { id, result } => self.reply(id, result.map(|r| *r)),
                Output::PutReplies { batch, commands, first_revision } => {
                    let (first, ids) = (first_revision.0, batch.commands().map(|c| c.id));
                    for (i, id) in ids.skip(commands.start).take(commands.len()).enumerate() {
                        let revision = first + i as i64;
                        let header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
                        let put = PutResponse { header, prev_kv: None };
                        self.reply(id, Ok(Response::Put(put)));
                    }
                }
                Output::News(News::Members(_) | News::Marked { .. }) => {
                    unreachable!("no command asks for it")
                }
                Output::Lease(_) | Output::News(_) => {}
                Output::Applied(state) => self.applied = state,
            }
        }
    }

    fn reply(&mut self, id: RequestId, reply: Reply) {
        assert!(self.replies.insert(id, reply).is_none(), "one answer for each request");
    }

    /// Does one random thing that can be done; false if there is none.
    fn turn(&mut self) -> bool {
        let first = self.random.below(self.nodes.len() as u64) as usize;
        let count = self.nodes.len();
        for n in (0..count).map(|i| (first + i) % count) {
            let actions: [fn(&mut Self, usize) -> bool; 4] =
                [Self::perform, Self::deliver, Self::serve_read, Self::compact];
            let start = self.random.below(4) as usize;
            if (0..4).any(|i| actions[(start + i) % 4](self, n)) {
                return true;
            }
        }
        false
    }

    fn perform(&mut self, n: usize) -> bool {
        let node = &mut self.nodes[n];
        let Some(task) = node.tasks.pop_front() else { return false };
        if let ShardTask::Compact(compact) = &task
            && compact.answer
        {
            node.compactions.push_back(compact.index);
        }
        if let Some((index, _)) = task.completes() {
            assert!(index > node.watermark, "watermarks rise");
            node.watermark = index;
        }
        let answer = perform(&mut node.shard, ShardId(n as u16), &task, &mut node.journal);
        node.answers.extend(answer);
        true
    }

    fn deliver(&mut self, n: usize) -> bool {
        let Some(answer) = self.nodes[n].answers.pop_front() else { return false };
        self.feed(Input::FromShard { shard: ShardId(n as u16), answer });
        true
    }

    fn compact(&mut self, n: usize) -> bool {
        let node = &mut self.nodes[n];
        let done = node.shard.compact_step(1 + self.random.below(3) as usize);
        if !done {
            return true;
        }
        let answered = !node.compactions.is_empty();
        node.answers.extend(node.compactions.drain(..).map(|index| ShardAnswer::Compacted { index }));
        answered
    }

    fn serve_read(&mut self, n: usize) -> bool {
        let node = &mut self.nodes[n];
        let ready = node.reads.iter().position(|(_, task)| task.min_index <= node.watermark);
        let Some(at) = ready else { return false };
        let (id, task) = node.reads.swap_remove(at);
        let answer = read(&node.shard, &task);
        // A read that is over already is no more interested.
        let Some(running) = &mut self.reads[id] else { return true };
        let mut tasks = Vec::new();
        let progress = running.reading.answer(ShardId(n as u16), answer, &mut tasks);
        self.send_reads(id, tasks);
        self.judge(id, progress);
        true
    }

    fn start_read(&mut self, request: ReadOf) {
        let State { index, revision, compact_revision, .. } = self.applied;
        let snapshot = Snapshot { index, revision, compact_revision };
        let mut tasks = Vec::new();
        let asked = match &request {
            ReadOf::Range(range) => ReadRequest::Range(range.clone().into()),
            ReadOf::Txn(txn) => ReadRequest::Txn(Arc::new(Transaction::from_txn(txn.clone()).unwrap())),
        };
        let (reading, progress) = Reading::begin(&asked, self.nodes.len() as u16, snapshot, &mut tasks);
        let id = self.reads.len();
        let oracle = self.oracles[index.0 as usize].clone();
        self.reads.push(Some(Running { reading, request, oracle }));
        self.send_reads(id, tasks);
        self.judge(id, progress);
    }

    fn send_reads(&mut self, id: usize, tasks: Vec<(ShardId, ReadTask)>) {
        for (shard, task) in tasks {
            self.nodes[usize::from(shard.0)].reads.push((id, task));
        }
    }

    fn judge(&mut self, id: usize, progress: Progress) {
        if matches!(progress, Progress::Waiting) {
            return;
        }
        self.reads_done += 1;
        let Running { request, mut oracle, .. } = self.reads[id].take().expect("a read ends once");
        match (&request, progress) {
            (ReadOf::Range(range), Progress::Compacted) => {
                let revision = if range.revision > 0 { Revision(range.revision) } else { oracle.revision() };
                assert!(revision < self.newest_compaction, "{range:?}");
            }
            (ReadOf::Txn(_), Progress::Compacted) => {
                assert!(oracle.compact_revision() < self.newest_compaction);
            }
            (ReadOf::Range(range), Progress::Range(answer)) => {
                let want = oracle.range(range).expect("answered");
                assert_eq!(want, answer.to_response());
                assert_encodes_to(&want, |out| answer.encode(&ResponseHeader::default(), out));
            }
            (ReadOf::Range(range), Progress::Refused(error)) => assert_eq!(oracle.range(range), Err(error)),
            (ReadOf::Txn(txn), Progress::Txn(answer)) => {
                let want = oracle.txn(txn).expect("answered");
                assert_eq!(want, answer.to_response());
                assert_encodes_to(&want, |out| answer.encode(&ResponseHeader::default(), out));
            }
            (ReadOf::Txn(txn), Progress::Refused(error)) => assert_eq!(oracle.txn(txn), Err(error)),
            (request, progress) => panic!("{progress:?} to {request:?}"),
        }
    }

    /// What a mark at the end of the log would ask for.
    fn written(&self) -> HashSum {
        self.nodes.iter().fold(HashSum::default(), |sum, node| {
            assert_eq!(node.shard.written_sum(), node.journal.2);
            sum.and(node.journal.2)
        })
    }

    /// What its shards hold, by the sums that are kept up to date. Compaction must be at rest.
    fn held(&self) -> HashSum {
        self.nodes.iter().fold(HashSum::default(), |sum, node| sum.and(held(&node.shard)))
    }

    fn hash(&self) -> HashSum {
        let State { revision, compact_revision, .. } = self.applied;
        self.nodes.iter().fold(HashSum::default(), |sum, node| {
            let mut scan = HashScan::new(revision, compact_revision);
            loop {
                if let Some(part) = scan.step(&node.shard, 3) {
                    break sum.and(part);
                }
            }
        })
    }
}

/// To the byte: what is equal as a message may be encoded in other ways.
fn assert_encodes_to(want: &impl Message, encode: impl Fn(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    assert_eq!(want.encode_to_vec(), bytes);
}

fn held(shard: &Shard) -> HashSum {
    shard.written_sum().without(shard.forgotten_sum())
}

/// Runs the whole log and checks every answer; the member at rest.
fn run(log: &Log, shards: u16) -> Member {
    let mut member = Member::new(shards, log);
    let mut reads = Generator::new(log.seed + 1);
    for (i, data) in log.entries.iter().enumerate() {
        let index = LogIndex(i as u64 + 1);
        member.feed(Input::Committed { index, term: TERM, data: data.clone() });
        for _ in 0..member.random.below(30) {
            reads.revision = member.applied.revision;
            if member.random.one_in(3) {
                member.start_read(ReadOf::Range(reads.range()));
            }
            if member.random.one_in(12) {
                member.start_read(ReadOf::Txn(reads.read_txn()));
            }
            member.turn();
        }
        if member.random.one_in(3) {
            while member.turn() {}
            let oracle = &log.oracles[index.0 as usize];
            let State { index: applied, revision, compact_revision, .. } = member.applied;
            assert_eq!(applied, index);
            assert_eq!((revision, compact_revision), (oracle.revision(), oracle.compact_revision()));
            assert_eq!(member.hash(), oracle.hash(), "after entry {index}");
            assert_eq!(member.held(), oracle.hash(), "after entry {index}");
            check_leases(&member, oracle);
        }
    }
    while member.turn() {}
    assert_eq!(member.sequencer.waiting(), 0);
    assert_eq!(member.reads_done, member.reads.len(), "every read ends");
    for (id, want) in &log.replies {
        assert_eq!(member.replies.get(id), Some(want), "request {id} with {shards} shards");
    }
    assert_eq!(member.replies.len(), log.replies.len());
    let oracle = log.oracles.last().unwrap();
    assert_eq!(member.hash(), oracle.hash());
    let usages = member.nodes.iter().map(|node| node.shard.usage());
    let usage = usages.reduce(|a, b| Usage { versions: a.versions + b.versions, bytes: a.bytes + b.bytes });
    assert_eq!(usage, Some(oracle.usage()), "compaction leaves what it must and no more");
    member
}

fn check_leases(member: &Member, oracle: &Oracle) {
    let leases: BTreeMap<_, _> =
        member.sequencer.leases().iter_from(None).map(|(id, lease)| (id.0, lease.ttl_s)).collect();
    assert_eq!(&leases, oracle.leases());
    for &lease in leases.keys() {
        let held = member.nodes.iter().flat_map(|node| node.shard.lease_keys(LeaseId(lease)));
        let mut held: Vec<_> = held.map(<[u8]>::to_vec).collect();
        held.sort();
        assert_eq!(held, oracle.lease_keys(lease));
    }
    assert_eq!(&Leases::load(member.sequencer.system()), member.sequencer.leases());
}

#[test]
fn any_number_of_shards_equals_the_model() {
    for seed in seeds() {
        let _seed = Seed(seed);
        let log = Log::new(seed);
        let written = [1, 2, 3, 8].map(|shards| run(&log, shards).written());
        assert!(written.windows(2).all(|w| w[0] == w[1]), "members compare what they wrote: {written:?}");
    }
}

/// What was journalled, in any order and cut at any index, gives the same store on any number of shards.
#[test]
fn journals_rebuild_the_store() {
    for seed in seeds() {
        let _seed = Seed(seed);
        let log = Log::new(seed);
        let mut member = run(&log, 3);
        let frames: Vec<_> = member
            .nodes
            .iter_mut()
            .map(|node| Bytes::copy_from_slice(node.journal.0.finish(LogIndex(ENTRIES))))
            .map(|data| wal::Frame::parse(data).unwrap())
            .collect();
        let mut versions: Vec<_> = frames.iter().flat_map(wal::Frame::versions).collect();
        for i in (1..versions.len()).rev() {
            versions.swap(i, member.random.below(i as u64 + 1) as usize);
        }
        let cut = LogIndex(member.random.below(ENTRIES + 1));
        let oracle = &log.oracles[cut.0 as usize];
        let (revision, compact_revision) = (oracle.revision(), oracle.compact_revision());
        let mut shards: Vec<_> = (0..2).map(|_| Shard::default()).collect();
        // Twice, as a checkpoint and a WAL overlap.
        for version in versions.iter().chain(&versions).filter(|v| v.index <= cut) {
            shards[usize::from(shard_of(version.key, 2).0)].load(version);
        }
        let (mut sum, mut kept) = (HashSum::default(), HashSum::default());
        for shard in &mut shards {
            shard.finish_load(compact_revision);
            while !shard.compact_step(5) {}
            kept = kept.and(held(shard));
            let mut scan = HashScan::new(revision, compact_revision);
            sum = sum.and(scan.step(shard, usize::MAX).expect("in one step"));
        }
        assert_eq!(sum, oracle.hash());
        assert_eq!(kept, oracle.hash(), "a start finds the sum of before");
    }
}
