//! Transactions, flattened. Every command that is not a plain put is one: a put or a delete is a transaction with one
//! operation and no compare.
//!
//! Flattening numbers the nested transactions, compares and operations of both branches in pre-order, so that the
//! sequencer and the shards can speak of them by ordinal. Nothing here may look at a shard.

use windlass_api::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest};

/// A flattened transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    nodes: Vec<Node>,
    compares: Vec<Compare>,
    ops: Vec<Op>,
}

/// One transaction of the nest; the first is the outermost.
#[derive(Clone, Debug, PartialEq)]
struct Node {
    compares: std::ops::Range<usize>,
    success: Vec<Item>,
    failure: Vec<Item>,
}

/// One operation of a branch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Item {
    Op(usize),
    Node(usize),
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
}

/// Which branches a transaction takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// For each transaction of the nest, in pre-order, whether its compares hold.
    pub succeeded: Vec<bool>,
    /// Whether anything changes.
    pub writes: bool,
}

/// What one shard knows that matters for a transaction's path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// One for each compare.
    pub compares: Vec<CompareReport>,
    /// One for each operation: whether the put's key exists, or the delete matches a key, on this shard.
    pub present: Vec<bool>,
}

/// How the keys of one shard stand to a compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareReport {
    /// No key that the compare covers exists here.
    Absent,
    /// It holds for every key here, and there is one.
    Holds,
    /// It does not hold for some key here.
    Fails,
}

impl Transaction {
    /// The operations of all branches, in pre-order.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }
}
