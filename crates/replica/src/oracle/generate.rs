//! Random requests over few keys and few values, so that they collide: for tests against the oracle and against a
//! real etcd.
//!
//! What is made passes its checks, and depends on nothing but the seed.

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::compare::TargetUnion;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, RequestOp, TxnRequest,
};
use windlass_records::batch::CommandKind;
use windlass_types::splitmix::SplitMix64;
use windlass_types::{RequestError, Revision};

use super::Oracle;
use crate::checks::{check_put, check_txn, is_read_only};
use crate::sequencer::Response;

/// Transactions nest at most so deep.
const DEPTH_MAX: u32 = 3;

/// etcd's default `--max-txn-ops`.
const TXN_OPS_MAX: usize = 128;

/// Leases have ids from 1 to this.
const LEASES: u64 = 3;

/// Seconds of every lease: none expires by itself while a test runs.
const TTL_S: i64 = 1000;

const KEYS: [&str; 8] = ["b", "a", "bb", "b\0", "c", "/a/key/too/long/to/be/kept/inline", "d", "z"];

/// A small deterministic generator of random numbers.
#[derive(Clone, Debug)]
pub struct Random(SplitMix64);

impl Random {
    /// Starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0.bits()
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A command that goes through the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A put.
    Put(PutRequest),
    /// A delete.
    Delete(DeleteRangeRequest),
    /// A transaction that is not read-only.
    Txn(TxnRequest),
    /// A compaction.
    Compaction(CompactionRequest),
    /// The grant of a lease.
    LeaseGrant(LeaseGrantRequest),
    /// The end of a lease.
    LeaseRevoke(LeaseRevokeRequest),
}

impl Command {
    /// What the model answers to it.
    ///
    /// # Errors
    /// The model refuses it, with etcd's error.
    pub fn apply_to(&self, oracle: &mut Oracle) -> Result<Response, RequestError> {
        match self {
            Self::Put(put) => oracle.put(put).map(Response::Put),
            Self::Delete(delete) => Ok(Response::DeleteRange(oracle.delete(delete))),
            Self::Txn(txn) => oracle.txn(txn).map(Response::Txn),
            Self::Compaction(compaction) => oracle.compact(compaction).map(Response::Compaction),
            Self::LeaseGrant(grant) => oracle.lease_grant(grant).map(Response::LeaseGrant),
            Self::LeaseRevoke(revoke) => oracle.lease_revoke(revoke).map(Response::LeaseRevoke),
        }
    }

    /// What its payload is.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::Put(_) => CommandKind::Put,
            Self::Delete(_) => CommandKind::DeleteRange,
            Self::Txn(_) => CommandKind::Txn,
            Self::Compaction(_) => CommandKind::Compaction,
            Self::LeaseGrant(_) => CommandKind::LeaseGrant,
            Self::LeaseRevoke(_) => CommandKind::LeaseRevoke,
        }
    }

    /// It as a client would send it.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        match self {
            Self::Put(put) => put.encode_to_vec(),
            Self::Delete(delete) => delete.encode_to_vec(),
            Self::Txn(txn) => txn.encode_to_vec(),
            Self::Compaction(compaction) => compaction.encode_to_vec(),
            Self::LeaseGrant(grant) => grant.encode_to_vec(),
            Self::LeaseRevoke(revoke) => revoke.encode_to_vec(),
        }
    }
}

/// Makes requests around a store's revision.
#[derive(Clone, Debug)]
pub struct Generator {
    random: Random,
    /// How many different keys it uses, from one run to the next few or many.
    keys: u64,
    /// Roughly where the store is: revisions named by requests lie around it.
    pub revision: Revision,
}

impl Generator {
    /// Starts from `seed`, which also says how many keys there are.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut this = Self::for_etcd(seed);
        if this.random.one_in(2) {
            this.keys = KEYS.len() as u64;
        }
        this
    }

    /// As [`new`](Self::new), but with so few keys that the sort of every etcd is stable: that of one built with Go
    /// before 1.19 is not from seven pairs on.
    #[must_use]
    pub fn for_etcd(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let keys = 1 + random.below(6);
        Self { random, keys, revision: Revision(1) }
    }

    /// The numbers it draws from.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Any command.
    pub fn command(&mut self) -> Command {
        match self.random.below(23) {
            20..=21 => Command::LeaseGrant(LeaseGrantRequest { id: self.lease(), ttl: TTL_S }),
            22 => Command::LeaseRevoke(LeaseRevokeRequest { id: self.lease() }),
            0..=7 => Command::Put(self.put()),
            8..=9 => self.plain_put(),
            10..=12 => Command::Delete(self.delete()),
            13..=18 => Command::Txn(self.write_txn()),
            _ => Command::Compaction(self.compaction()),
        }
    }

    /// A put without any flag.
    pub fn plain_put(&mut self) -> Command {
        Command::Put(PutRequest { key: self.key(), value: self.value(), ..PutRequest::default() })
    }

    /// Any range.
    pub fn range(&mut self) -> RangeRequest {
        let (key, range_end) = self.keys();
        let revision = if self.random.one_in(3) { self.near_revision() } else { 0 };
        let mut request = RangeRequest { key, range_end, revision, ..RangeRequest::default() };
        if self.random.one_in(3) {
            request.limit = self.random.below(5) as i64 - 1;
        }
        if self.random.one_in(3) {
            request.sort_order = self.random.below(3) as i32;
            request.sort_target = self.random.below(5) as i32;
        }
        if self.random.one_in(8) {
            request.min_mod_revision = self.near_revision();
            request.max_create_revision = self.near_revision();
        }
        if self.random.one_in(8) {
            request.max_mod_revision = self.near_revision();
            request.min_create_revision = self.near_revision();
        }
        request.keys_only = self.random.one_in(8);
        request.count_only = self.random.one_in(8);
        request.serializable = self.random.one_in(8);
        request
    }

    /// A put that passes its check.
    pub fn put(&mut self) -> PutRequest {
        loop {
            let request = PutRequest {
                key: self.key(),
                value: self.value(),
                lease: if self.random.one_in(5) { self.lease() } else { 0 },
                prev_kv: self.random.one_in(3),
                ignore_value: self.random.one_in(6),
                ignore_lease: self.random.one_in(6),
            };
            if check_put(&request).is_ok() {
                return request;
            }
        }
    }

    /// Any delete.
    pub fn delete(&mut self) -> DeleteRangeRequest {
        let (key, range_end) = self.keys();
        DeleteRangeRequest { key, range_end, prev_kv: self.random.one_in(2) }
    }

    /// A transaction that passes its check and goes through the log.
    pub fn write_txn(&mut self) -> TxnRequest {
        loop {
            let request = self.txn(0, false);
            if check_txn(&request, TXN_OPS_MAX).is_ok() && !is_read_only(&request) {
                return request;
            }
        }
    }

    /// A transaction all of whose operations are ranges.
    pub fn read_txn(&mut self) -> TxnRequest {
        self.txn(0, true)
    }

    /// Any compaction.
    pub fn compaction(&mut self) -> CompactionRequest {
        CompactionRequest { revision: self.near_revision(), physical: self.random.one_in(2) }
    }

    fn txn(&mut self, depth: u32, read_only: bool) -> TxnRequest {
        let compare = (0..self.random.below(3)).map(|_| self.compare()).collect();
        let mut branch =
            || -> Vec<RequestOp> { (0..self.random.below(4)).map(|_| self.op(depth, read_only)).collect() };
        let (success, failure) = (branch(), branch());
        TxnRequest { compare, success, failure }
    }

    fn op(&mut self, depth: u32, read_only: bool) -> RequestOp {
        let kinds = match (read_only, depth < DEPTH_MAX) {
            (true, _) => 1,
            (false, false) => 3,
            (false, true) => 4,
        };
        let request = match self.random.below(kinds) {
            0 => Request::RequestRange(self.range()),
            1 => Request::RequestPut(self.put()),
            2 => Request::RequestDeleteRange(self.delete()),
            _ => Request::RequestTxn(self.txn(depth + 1, false)),
        };
        RequestOp { request: Some(request) }
    }

    fn compare(&mut self) -> Compare {
        let (key, range_end) = if self.random.one_in(3) { self.keys() } else { (self.key(), Bytes::new()) };
        let union = match self.random.below(6) {
            0 => TargetUnion::Version(self.random.below(3) as i64),
            1 => TargetUnion::CreateRevision(self.near_revision()),
            2 => TargetUnion::ModRevision(self.near_revision()),
            3 => TargetUnion::Value(self.value()),
            4 => TargetUnion::Lease(self.random.below(LEASES + 1) as i64),
            _ => TargetUnion::CreateRevision(0),
        };
        let fitting = match union {
            TargetUnion::Version(_) => 0,
            TargetUnion::CreateRevision(_) => 1,
            TargetUnion::ModRevision(_) => 2,
            TargetUnion::Value(_) => 3,
            TargetUnion::Lease(_) => 4,
        };
        // Now and then the target is not of the kind that is named.
        let target = if self.random.one_in(16) { self.random.below(5) as i32 } else { fitting };
        let target_union = (!self.random.one_in(16)).then_some(union);
        Compare { result: self.random.below(4) as i32, target, key, range_end, target_union }
    }

    fn key(&mut self) -> Bytes {
        Bytes::from_static(KEYS[self.random.below(self.keys) as usize].as_bytes())
    }

    /// A key and a range end of any kind, in any order.
    fn keys(&mut self) -> (Bytes, Bytes) {
        match self.random.below(6) {
            0..=1 => (self.key(), Bytes::new()),
            2 => (self.key(), Bytes::from_static(b"\0")),
            3 => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            _ => (self.key(), self.key()),
        }
    }

    fn lease(&mut self) -> i64 {
        1 + self.random.below(LEASES) as i64
    }

    fn value(&mut self) -> Bytes {
        const VALUES: [&str; 4] = ["", "x", "y", "a value of some length"];
        Bytes::from_static(VALUES[self.random.below(4) as usize].as_bytes())
    }

    /// Mostly a revision of the recent past, sometimes one that is compacted, negative or in the future.
    fn near_revision(&mut self) -> i64 {
        let back = match self.random.below(8) {
            0 => 40,
            1..=2 => 12,
            _ => 5,
        };
        self.revision.0 + 2 - self.random.below(back + 2) as i64
    }
}
