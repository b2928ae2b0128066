//! Random requests of every kind, legal and not, over few keys so that they meet each other's traces.
//!
//! What is sensible depends on the store's revisions, which the generator follows from the answers.

use bytes::Bytes;
use windlass_api::etcdserverpb::compare::TargetUnion;
use windlass_api::etcdserverpb::request_op::Request as Operation;
use windlass_api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use crate::random::Random;
use crate::request::{Answer, Request};

/// Keys that requests name. Some are prefixes of others, some are at the ends of the order of bytes.
const KEYS: &[&[u8]] = &[
    b"\0",
    b"\0\0",
    b"a",
    b"a\0",
    b"a/",
    b"a/1",
    b"a/10",
    b"a/2",
    b"a/3",
    b"a\xff",
    b"b",
    b"b/1",
    b"b/2",
    b"c",
    b"d",
    b"d/1",
    b"d/2",
    b"d/3",
    b"d/4",
    b"e",
    b"f",
    b"g",
    b"h",
    b"key-of-more-than-sixteen-bytes",
    b"m",
    b"n",
    b"z",
    b"\x7f",
    b"\xc3\xa4",
    b"\xff",
    b"\xff\xff",
    b"\xff\xff\xff",
];
/// Most values: few, so that they are equal and compares hit.
const VALUES: &[&[u8]] = &[b"", b"0", b"1", b"2", b"10", b"\xff"];
/// How many keys `l/000`, `l/001`, ... there are, so that some ranges are long.
const LONG_RANGE_KEYS: usize = 300;
/// etcd's default bound on the operations of a txn.
pub const TXN_OPS_MAX: usize = 128;
/// How deep txns are nested.
const TXN_DEPTH_MAX: usize = 3;
/// etcd's default bound on a request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 1_572_864;
/// Where gRPC itself refuses a message, in bytes: 512 KiB above etcd's bound.
pub const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + (512 << 10);
/// The key of large values. It is deleted at once, or every long read would carry them.
const LARGE_KEY: &[u8] = b"large";

/// The source of requests.
pub struct Generator {
    random: Random,
    /// The store's revision and the last compacted one, from the answers.
    current: i64,
    compacted: i64,
    /// Requests that must come next.
    queued: Vec<Request>,
}

impl Generator {
    /// Equal seeds and equal answers give equal requests.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), current: 1, compacted: -1, queued: Vec::new() }
    }

    /// The next requests: one, or several reads, whose order does not matter.
    pub fn batch(&mut self) -> Vec<Request> {
        if let Some(request) = self.queued.pop() {
            return vec![request];
        }
        if self.random.one_in(50) {
            return vec![self.at_a_bound()];
        }
        if self.random.one_in(8) {
            let len = 2 + self.random.below(14);
            return (0..len).map(|_| self.read()).collect();
        }
        vec![match self.random.below(100) {
            0..30 => self.read(),
            30..58 => Request::Put(self.put()),
            58..68 => Request::Delete(self.delete()),
            68..99 => Request::Txn(self.txn(0)),
            _ => Request::Compact(self.compaction()),
        }]
    }

    /// A request as large as is allowed, or larger.
    fn at_a_bound(&mut self) -> Request {
        let put =
            |len| PutRequest { key: LARGE_KEY.into(), value: vec![b'v'; len].into(), ..Default::default() };
        let ranges = |len| {
            let range = Operation::RequestRange(RangeRequest { key: LARGE_KEY.into(), ..Default::default() });
            vec![RequestOp { request: Some(range) }; len]
        };
        let delete = DeleteRangeRequest { key: LARGE_KEY.into(), ..Default::default() };
        self.queued.push(Request::Delete(delete));
        match self.random.below(6) {
            0 => Request::Put(put(REQUEST_BYTES_MAX - 100)),
            1 => Request::Put(put(REQUEST_BYTES_MAX + 1)),
            2 => Request::Put(put(MESSAGE_BYTES_MAX)),
            3 => Request::Txn(TxnRequest { success: ranges(TXN_OPS_MAX), ..Default::default() }),
            4 => Request::Txn(TxnRequest { failure: ranges(TXN_OPS_MAX + 1), ..Default::default() }),
            _ => {
                let half = RequestOp { request: Some(Operation::RequestPut(put(REQUEST_BYTES_MAX / 2))) };
                Request::Txn(TxnRequest {
                    success: vec![half.clone()],
                    failure: vec![half],
                    ..Default::default()
                })
            }
        }
    }

    /// Reads of everything there is now, for the end of a run.
    pub fn last_batch(&mut self) -> Vec<Request> {
        let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
        let first = self.compacted.max(1);
        let revisions = (0..8).map(|_| self.random.between(first, self.current)).chain([0]);
        let at = |revision| RangeRequest {
            key: key.clone(),
            range_end: range_end.clone(),
            revision,
            ..Default::default()
        };
        revisions.map(|revision| Request::Range(at(revision))).collect()
    }

    /// Follows the store's revisions.
    pub fn observe(&mut self, request: &Request, answer: &Answer) {
        if let Some(header) = answer.header() {
            self.current = self.current.max(header.revision);
            if let Request::Compact(request) = request {
                self.compacted = request.revision;
            }
        }
    }

    fn read(&mut self) -> Request {
        let range = self.range();
        if self.random.chance(10) {
            Request::Stream(self.without_custom_order(range))
        } else {
            Request::Range(range)
        }
    }

    /// `RangeStream` takes no order and no bounds on revisions.
    fn without_custom_order(&self, range: RangeRequest) -> RangeRequest {
        RangeRequest {
            sort_order: 0,
            sort_target: 0,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
            ..range
        }
    }

    fn range(&mut self) -> RangeRequest {
        let (key, range_end) = self.key_range();
        let mut request = RangeRequest { key, range_end, revision: self.revision(), ..Default::default() };
        request.limit = match self.random.below(10) {
            0..5 => 0,
            5..9 => self.random.between(1, 12),
            _ => *self.random.pick(&[-1, i64::MIN, i64::MAX, 100]),
        };
        if self.random.chance(40) {
            request.sort_order = self.sometimes_unknown(2);
            request.sort_target = self.sometimes_unknown(4);
        }
        request.serializable = self.random.chance(20);
        request.keys_only = self.random.chance(15);
        request.count_only = self.random.chance(15);
        if self.random.chance(20) {
            request.min_mod_revision = self.bound();
            request.max_mod_revision = self.bound();
            request.min_create_revision = self.bound();
            request.max_create_revision = self.bound();
        }
        request
    }

    /// A number of an enum from 0 to `max`, seldom one that does not exist.
    fn sometimes_unknown(&mut self, max: i64) -> i32 {
        let number = if self.random.one_in(50) {
            *self.random.pick(&[-1, max + 1])
        } else {
            self.random.between(0, max)
        };
        i32::try_from(number).expect("enums are small")
    }

    fn bound(&mut self) -> i64 {
        if self.random.chance(60) { 0 } else { self.random.between(-1, self.current + 2) }
    }

    /// Mostly the newest, often one that exists, seldom one that does not.
    fn revision(&mut self) -> i64 {
        match self.random.below(20) {
            0..11 => 0,
            11..18 => self.random.between(self.compacted.max(1), self.current),
            18 => self.random.between(-3, self.compacted),
            _ => self.current + self.random.between(0, 3),
        }
    }

    fn key(&mut self) -> Bytes {
        match self.random.below(200) {
            0 => Bytes::new(),
            1..40 => format!("l/{:03}", self.random.below(LONG_RANGE_KEYS)).into(),
            _ => Bytes::from_static(self.random.pick::<&[u8]>(KEYS)),
        }
    }

    fn key_range(&mut self) -> (Bytes, Bytes) {
        let key = self.key();
        let end = match self.random.below(20) {
            0..8 => Bytes::new(),
            8..11 => prefix_end(&key),
            11..14 => return (Bytes::from_static(b"l/"), Bytes::from_static(b"l0")),
            14 => Bytes::from_static(b"\0"),
            15 => return (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            16 => key.clone(),
            _ => self.key(),
        };
        (key, end)
    }

    fn value(&mut self) -> Bytes {
        let len = match self.random.below(1000) {
            0 => 20_000,
            1..100 => self.random.below(1000),
            _ => return Bytes::from_static(self.random.pick::<&[u8]>(VALUES)),
        };
        let byte = self.random.bits() as u8;
        vec![byte; len].into()
    }

    fn put(&mut self) -> PutRequest {
        let (ignore_value, ignore_lease) = (self.random.chance(8), self.random.chance(8));
        let has_value = !ignore_value || self.random.chance(10);
        PutRequest {
            key: self.key(),
            value: if has_value { self.value() } else { Bytes::new() },
            lease: if self.random.chance(if ignore_lease { 10 } else { 3 }) {
                *self.random.pick(&[-1, 1, 123, i64::MAX])
            } else {
                0
            },
            prev_kv: self.random.chance(25),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let (key, range_end) = self.key_range();
        // Whole deletions are seldom, or there would be nothing to read.
        let is_long = range_end == "\0" || key == "l/";
        let range_end = if is_long && self.random.chance(90) { Bytes::new() } else { range_end };
        DeleteRangeRequest { key, range_end, prev_kv: self.random.chance(40) }
    }

    fn compaction(&mut self) -> CompactionRequest {
        let revision = match self.random.below(10) {
            0 => self.random.between(-1, self.compacted),
            1 => self.current + self.random.between(0, 2),
            // Not far, so that there is a history to read.
            _ => self.random.between(self.compacted + 1, (self.compacted + self.current) / 2),
        };
        CompactionRequest { revision, physical: self.random.chance(20) }
    }

    fn txn(&mut self, depth: usize) -> TxnRequest {
        let is_read_only = self.random.chance(15);
        let compare = (0..self.random.below(4)).map(|_| self.compare()).collect();
        let mut branch = || self.branch(depth, is_read_only);
        let (success, failure) = (branch(), branch());
        TxnRequest { compare, success, failure }
    }

    fn branch(&mut self, depth: usize, is_read_only: bool) -> Vec<RequestOp> {
        let len = self.random.below(5);
        let mut written = Vec::new();
        (0..len).map(|_| self.operation(depth, is_read_only, &mut written)).collect()
    }

    /// One operation; `written` are the keys that the branch puts so far.
    fn operation(&mut self, depth: usize, is_read_only: bool, written: &mut Vec<Bytes>) -> RequestOp {
        let kind = if is_read_only { 0 } else { self.random.below(300) };
        let request = match kind {
            0..90 => Some(Operation::RequestRange(self.range())),
            90..190 => {
                let mut put = self.put();
                // A key put twice fails the whole txn, which must not happen to most of them.
                if written.contains(&put.key) && self.random.chance(95) {
                    put.key = format!("t/{depth}/{}", written.len()).into();
                }
                written.push(put.key.clone());
                Some(Operation::RequestPut(put))
            }
            190..230 => {
                let mut delete = self.delete();
                if !delete.range_end.is_empty() && self.random.chance(70) {
                    delete.range_end = Bytes::new();
                }
                if written.contains(&delete.key) && self.random.chance(90) {
                    delete.key = Bytes::from_static(b"never-put");
                }
                Some(Operation::RequestDeleteRange(delete))
            }
            230..299 if depth < TXN_DEPTH_MAX => Some(Operation::RequestTxn(self.txn(depth + 1))),
            299 => None,
            _ => Some(Operation::RequestRange(self.range())),
        };
        RequestOp { request }
    }

    fn compare(&mut self) -> Compare {
        let (key, range_end) =
            if self.random.chance(20) { self.key_range() } else { (self.key(), Bytes::new()) };
        let target = self.sometimes_unknown(4);
        // Seldom the value of another kind, or none.
        let kind =
            if self.random.one_in(30) { self.random.below(6) } else { usize::try_from(target).unwrap_or(5) };
        let target_union = match kind {
            0 => Some(TargetUnion::Version(self.random.between(0, 3))),
            1 => Some(TargetUnion::CreateRevision(self.compared_revision())),
            2 => Some(TargetUnion::ModRevision(self.compared_revision())),
            3 => Some(TargetUnion::Value(self.value())),
            4 => Some(TargetUnion::Lease(self.random.between(0, 1))),
            _ => None,
        };
        Compare { result: self.sometimes_unknown(3), target, key, target_union, range_end }
    }

    fn compared_revision(&mut self) -> i64 {
        if self.random.chance(30) { 0 } else { self.random.between(self.current - 50, self.current + 1) }
    }
}

/// The end of the range of all keys that begin with `prefix`.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let Some(last) = prefix.iter().rposition(|&byte| byte < 0xff) else {
        return Bytes::from_static(b"\0");
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end.into()
}
