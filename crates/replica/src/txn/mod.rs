//! Transactions, flattened. Every command that is not a plain put is one: a put or a delete is a transaction with one
//! operation and no compare.
//!
//! Flattening numbers the nested transactions, the compares and the operations of both branches in pre-order, so that
//! the sequencer and the shards can speak of them by ordinal. Nothing here may look at a shard: what shards know
//! comes as a [`Probe`].

mod compare;
mod parts;
mod respond;

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use windlass_api::etcdserverpb::compare::TargetUnion;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use windlass_types::key::KeyRange;
use windlass_types::{LeaseId, RequestError, Revision};

pub use compare::{Facts, compare_holds};
pub use respond::Response;
pub(crate) use respond::header;

use self::parts::Parts;
use crate::auth::Keys;
use crate::shard_set::ShardSet;

/// What is kept of each compare, operation or nested transaction. Most transactions have few of them, which cost no allocation.
pub type Few<T> = SmallVec<[T; 8]>;

/// A flattened transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    shape: Shape,
    /// The nest; the first is the outermost.
    nodes: SmallVec<[Node; 1]>,
    compares: SmallVec<[Compare; 1]>,
    ops: SmallVec<[Op; 2]>,
    /// The leases that it names and that do not exist when it is its turn.
    missing_leases: Vec<i64>,
    /// The keys that all those must be among which are attached to the leases that it names; none if any will do.
    guard: Option<Arc<Keys>>,
}

/// What the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Put,
    Delete,
    Txn,
    Revoke,
}

/// One transaction of the nest.
#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    compares: std::ops::Range<usize>,
    success: Branch,
    failure: Branch,
}

/// The operations of a branch.
type Branch = SmallVec<[Item; 2]>;

/// One operation of a branch: an ordinal of `ops` or of `nodes`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Item {
    Op(u32),
    Node(u32),
}

/// An operation that is not a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Read.
    Range(RangeRequest),
    /// Write one key.
    Put(PutRequest),
    /// Delete keys.
    Delete(DeleteRangeRequest),
    /// Delete the keys that are attached to a lease.
    Revoke(LeaseId),
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// For each transaction of the nest, in pre-order, whether its compares hold.
    pub succeeded: Few<bool>,
    /// Whether anything changes.
    pub writes: bool,
}

/// What shards know that matters for a transaction's path, before it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// One for each compare.
    pub compares: Few<CompareReport>,
    /// One for each operation: whether the put's key exists, or the delete matches a key.
    pub present: Few<bool>,
    /// Whether a key is attached to one of its leases that whoever asks may not write.
    pub denied: bool,
}

/// How keys stand to a compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompareReport {
    /// No key that the compare covers exists.
    Absent,
    /// It holds for every key, and there is one.
    Holds,
    /// It does not hold for some key.
    Fails,
}

/// The store's revisions before a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revisions {
    /// The newest revision.
    pub current: Revision,
    /// The compaction revision; -1 before the first compaction.
    pub compact: Revision,
}

impl Op {
    /// The keys it is about.
    #[must_use]
    pub fn range(&self) -> KeyRange<'_> {
        match self {
            Self::Range(range) => KeyRange::new(&range.key, &range.range_end),
            Self::Put(put) => KeyRange::Point(&put.key),
            Self::Delete(delete) => KeyRange::new(&delete.key, &delete.range_end),
            // They may lie anywhere.
            Self::Revoke(_) => KeyRange::From(b"\0"),
        }
    }
}

impl Op {
    fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Put(put) if put.lease != 0 => Some(LeaseId(put.lease)),
            Self::Revoke(lease) => Some(*lease),
            _ => None,
        }
    }
}

impl Transaction {
    /// A put as a transaction.
    pub fn from_put(put: PutRequest) -> Result<Self, RequestError> {
        Self::single(Shape::Put, Op::Put(put))
    }

    /// A delete as a transaction.
    pub fn from_delete(delete: DeleteRangeRequest) -> Result<Self, RequestError> {
        Self::single(Shape::Delete, Op::Delete(delete))
    }

    /// Flattens `request`. Refuses what cannot be executed: an empty key or operation. Everything else that is wrong
    /// with a request is found before it is proposed ([`check_txn`](crate::checks::check_txn)).
    pub fn from_txn(request: TxnRequest) -> Result<Self, RequestError> {
        let TxnRequest { compare, success, failure } = request;
        Self::flattened(compare, success, failure)
    }

    /// As [`from_txn`](Self::from_txn), of an encoded `TxnRequest`. One that does not decode is corrupt.
    pub fn decode_txn(request: Bytes) -> Result<Self, RequestError> {
        let Parts { compare, success, failure } =
            Parts::decode(request).map_err(|_| RequestError::Corrupt)?;
        Self::flattened(compare, success, failure)
    }

    fn flattened(
        compare: impl IntoIterator<Item = Compare>,
        success: impl IntoIterator<Item = RequestOp>,
        failure: impl IntoIterator<Item = RequestOp>,
    ) -> Result<Self, RequestError> {
        let mut this = Self::empty(Shape::Txn);
        this.flatten(compare, success, failure)?;
        if this.compares.iter().any(|compare| compare.key.is_empty()) {
            return Err(RequestError::EmptyKey);
        }
        Ok(this)
    }

    /// The end of a lease as a transaction: its keys are deleted. No transaction of its wave may attach a key to it.
    pub fn from_revoke(lease: LeaseId) -> Self {
        Self::single(Shape::Revoke, Op::Revoke(lease)).expect("its range begins with a key")
    }

    /// Finds out which of the leases that it names are missing; `exists` must speak of the moment of its turn. To be
    /// called before it is asked what it does.
    pub fn resolve_leases(&mut self, exists: impl Fn(LeaseId) -> bool) {
        let named = self.ops.iter().filter_map(|op| match op {
            Op::Put(put) if put.lease != 0 => Some(put.lease),
            _ => None,
        });
        self.missing_leases = named.filter(|&lease| !exists(LeaseId(lease))).collect();
    }

    fn empty(shape: Shape) -> Self {
        let (nodes, compares, ops) = (SmallVec::new(), SmallVec::new(), SmallVec::new());
        Self { shape, nodes, compares, ops, missing_leases: Vec::new(), guard: None }
    }

    /// Lets it be carried out only if all keys that are attached to the leases which it names are among these. Every shard
    /// is asked, so it is a barrier.
    pub fn guard(&mut self, writable: Arc<Keys>) {
        self.guard = Some(writable);
    }

    /// What [`guard`](Self::guard) was told, if the keys of leases decide about it.
    #[must_use]
    pub fn guarded(&self) -> Option<&Keys> {
        self.guard.as_deref()
    }

    /// The leases that it names, in all branches.
    pub fn leases(&self) -> impl Iterator<Item = LeaseId> {
        self.ops.iter().filter_map(Op::lease)
    }

    /// The lease that it ends, if that is what it is.
    #[must_use]
    pub fn revoked_lease(&self) -> Option<LeaseId> {
        match self.ops[..] {
            [Op::Revoke(lease)] => Some(lease),
            _ => None,
        }
    }

    fn lacks_lease(&self, put: &PutRequest) -> bool {
        put.lease != 0 && self.missing_leases.contains(&put.lease)
    }

    fn single(shape: Shape, op: Op) -> Result<Self, RequestError> {
        let mut this = Self::empty(shape);
        let item = this.push_op(op)?;
        this.nodes.push(Node { success: [item].into_iter().collect(), ..Node::default() });
        Ok(this)
    }

    /// Recursion ends at the depth to which the protobuf decoder follows nested messages.
    fn flatten(
        &mut self,
        compare: impl IntoIterator<Item = Compare>,
        success: impl IntoIterator<Item = RequestOp>,
        failure: impl IntoIterator<Item = RequestOp>,
    ) -> Result<usize, RequestError> {
        let node = self.nodes.len();
        let first = self.compares.len();
        self.compares.extend(compare);
        self.nodes.push(Node { compares: first..self.compares.len(), ..Node::default() });
        self.nodes[node].success = self.flatten_branch(success)?;
        self.nodes[node].failure = self.flatten_branch(failure)?;
        Ok(node)
    }

    fn flatten_branch(
        &mut self,
        branch: impl IntoIterator<Item = RequestOp>,
    ) -> Result<Branch, RequestError> {
        branch.into_iter().map(|op| self.flatten_op(op)).collect()
    }

    fn flatten_op(&mut self, op: RequestOp) -> Result<Item, RequestError> {
        match op.request.ok_or(RequestError::KeyNotFound)? {
            Request::RequestRange(range) => self.push_op(Op::Range(range)),
            Request::RequestPut(put) => self.push_op(Op::Put(put)),
            Request::RequestDeleteRange(delete) => self.push_op(Op::Delete(delete)),
            Request::RequestTxn(txn) => {
                let node = self.flatten(txn.compare, txn.success, txn.failure)?;
                Ok(Item::Node(node as u32))
            }
        }
    }

    fn push_op(&mut self, op: Op) -> Result<Item, RequestError> {
        if op.range().start().is_empty() {
            return Err(RequestError::EmptyKey);
        }
        self.ops.push(op);
        Ok(Item::Op(self.ops.len() as u32 - 1))
    }

    /// The operations of all branches, in pre-order.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The compares of all transactions of the nest, in pre-order.
    #[must_use]
    pub fn compares(&self) -> &[Compare] {
        &self.compares
    }

    /// The shards that hold keys which its compares and operations may touch.
    #[must_use]
    pub fn shards(&self, shards: u16) -> ShardSet {
        if self.guard.is_some() {
            // Keys of a lease may lie anywhere.
            return ShardSet::all(shards);
        }
        let touched = |op: &Op| ShardSet::touched(op.range(), shards);
        self.ops.iter().fold(self.shards_compared(shards), |set, op| set.or(touched(op)))
    }

    /// The shards that hold keys which its compares cover.
    #[must_use]
    pub fn shards_compared(&self, shards: u16) -> ShardSet {
        let touched = |c: &Compare| ShardSet::touched(KeyRange::new(&c.key, &c.range_end), shards);
        self.compares.iter().fold(ShardSet::default(), |set, compare| set.or(touched(compare)))
    }

    /// The shards that have something to do on its path; none, if it neither changes nor reads anything.
    #[must_use]
    pub fn shards_on_path(&self, decision: &Decision, shards: u16) -> ShardSet {
        let path = self.path(decision);
        let reads = |&op: &u32| matches!(self.ops[op as usize], Op::Range(_));
        if !decision.writes && !path.iter().any(reads) {
            return ShardSet::default();
        }
        let touched = |op: u32| ShardSet::touched(self.ops[op as usize].range(), shards);
        path.into_iter().fold(ShardSet::default(), |set, op| set.or(touched(op)))
    }

    /// The ordinals of the operations that run, in the order in which they run.
    #[must_use]
    pub fn path(&self, decision: &Decision) -> Few<u32> {
        let mut path = Few::with_capacity(self.ops.len());
        self.walk(0, decision, &mut path);
        path
    }

    fn walk(&self, node: usize, decision: &Decision, path: &mut Few<u32>) {
        for item in self.branch(node, decision) {
            match *item {
                Item::Op(op) => path.push(op),
                Item::Node(nested) => self.walk(nested as usize, decision, path),
            }
        }
    }

    fn branch(&self, node: usize, decision: &Decision) -> &[Item] {
        let Node { success, failure, .. } = &self.nodes[node];
        if decision.succeeded[node] { success } else { failure }
    }

    /// What it does if that is known without asking anyone: it compares nothing, and every operation succeeds.
    #[must_use]
    pub fn unconditional(&self) -> Option<Decision> {
        let certain = |op: &Op| match op {
            Op::Range(range) => range.revision == 0,
            Op::Put(put) => !put.ignore_value && !put.ignore_lease && !self.lacks_lease(put),
            Op::Delete(_) | Op::Revoke(_) => false,
        };
        if self.guard.is_some() || !self.compares.is_empty() || !self.ops.iter().all(certain) {
            return None;
        }
        let succeeded = Few::from_elem(true, self.nodes.len());
        let mut decision = Decision { succeeded, writes: false };
        let puts = |op: u32| matches!(self.ops[op as usize], Op::Put(_));
        decision.writes = self.path(&decision).into_iter().any(puts);
        Some(decision)
    }

    /// Whether what one shard knows at revision `base`, and what commands between `base` and this one do there, is
    /// not enough for it to decide its part alone.
    #[must_use]
    pub fn is_barrier(&self, base: Revision, shards: u16) -> bool {
        // Revisions above `base` are not given yet, so nothing can be compared with them.
        let unknown = |compare: &Compare| match compare.target_union {
            Some(TargetUnion::CreateRevision(r) | TargetUnion::ModRevision(r)) => r > base.0,
            _ => false,
        };
        let future = |op: &Op| matches!(op, Op::Range(range) if range.revision > base.0);
        let may_fail = |op: &Op| match op {
            Op::Range(range) => range.revision != 0,
            Op::Put(put) => put.ignore_value || put.ignore_lease || self.lacks_lease(put),
            Op::Delete(_) | Op::Revoke(_) => false,
        };
        let fallible = !self.compares.is_empty() || self.ops.iter().any(may_fail);
        self.guard.is_some()
            || self.compares.iter().any(unknown)
            || self.ops.iter().any(future)
            || (fallible && self.shards(shards).len() > 1)
    }

    /// Whether its response holds nothing that a shard has to say: a put that does not ask for the old pair, or the end
    /// of a lease.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        match &self.ops[..] {
            [Op::Put(put)] => self.shape == Shape::Put && !put.prev_kv,
            _ => self.shape == Shape::Revoke,
        }
    }

    /// A probe of a store without keys, or of no shard at all.
    #[must_use]
    pub fn empty_probe(&self) -> Probe {
        Probe {
            compares: Few::from_elem(CompareReport::Absent, self.compares.len()),
            present: Few::from_elem(false, self.ops.len()),
            denied: false,
        }
    }

    /// Chooses the path and checks the operations on it, in their order. `probe` must cover every shard that matters;
    /// everything is judged by the state before the transaction. Source: etcd `compareToPath`, `checkTxn`.
    pub fn decide(&self, probe: &Probe, revisions: Revisions) -> Result<Decision, RequestError> {
        if probe.denied {
            return Err(RequestError::PermissionDenied);
        }
        let holds = |at: usize| match probe.compares[at] {
            CompareReport::Holds => true,
            CompareReport::Fails => false,
            CompareReport::Absent => compare::holds_without_keys(&self.compares[at]),
        };
        let succeeded = self.nodes.iter().map(|node| node.compares.clone().all(holds)).collect();
        let mut decision = Decision { succeeded, writes: false };
        for op in self.path(&decision) {
            let present = probe.present[op as usize];
            decision.writes |= self.check_op(&self.ops[op as usize], present, revisions)?;
        }
        Ok(decision)
    }

    /// Whether the operation writes.
    fn check_op(&self, op: &Op, present: bool, revisions: Revisions) -> Result<bool, RequestError> {
        match op {
            Op::Range(range) => check_revision(range.revision, revisions).map(|()| false),
            Op::Delete(_) | Op::Revoke(_) => Ok(present),
            Op::Put(put) => {
                let missing = (put.ignore_value || put.ignore_lease) && !present;
                let faults = [
                    (missing, RequestError::KeyNotFound),
                    (self.lacks_lease(put), RequestError::LeaseNotFound),
                ];
                // A put by itself looks for its lease first, one in a transaction for its key.
                let first = usize::from(self.shape == Shape::Put);
                let fault = [faults[first], faults[1 - first]].into_iter().find(|(wrong, _)| *wrong);
                fault.map_or(Ok(true), |(_, error)| Err(error))
            }
        }
    }
}

/// Checks the revision that a range within a transaction names. Source: etcd `checkRange`.
fn check_revision(revision: i64, revisions: Revisions) -> Result<(), RequestError> {
    if revision == 0 {
        Ok(())
    } else if revision > revisions.current.0 {
        Err(RequestError::FutureRevision)
    } else if revision < revisions.compact.0 {
        // Also for negative ones, which elsewhere mean the newest.
        Err(RequestError::Compacted)
    } else {
        Ok(())
    }
}

impl Probe {
    /// Adds what another shard knows about the same transaction.
    pub fn merge(&mut self, other: &Self) {
        self.denied |= other.denied;
        for (mine, theirs) in self.compares.iter_mut().zip(&other.compares) {
            // One failure decides, and an absent key says nothing where another is present.
            *mine = (*mine).max(*theirs);
        }
        for (mine, theirs) in self.present.iter_mut().zip(&other.present) {
            *mine |= theirs;
        }
    }
}
