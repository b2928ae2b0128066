//! What is wrong with a request by itself, before anything is asked of the store. To be called before it is proposed
//! or read. Source: etcd `server/etcdserver/api/v3rpc/key.go`, in its order, so that a request with two faults gets
//! the same answer.
//!
//! Nothing here may depend on the store or on time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use windlass_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use windlass_types::RequestError;

/// Checks the size of an encoded request, in bytes (etcd's `--max-request-bytes`).
pub fn check_size(bytes: usize, bytes_max: usize) -> Result<(), RequestError> {
    if bytes > bytes_max { Err(RequestError::RequestTooLarge) } else { Ok(()) }
}

/// Checks a range.
pub fn check_range(request: &RangeRequest) -> Result<(), RequestError> {
    if request.key.is_empty() {
        return Err(RequestError::EmptyKey);
    }
    if SortOrder::try_from(request.sort_order).is_err() || SortTarget::try_from(request.sort_target).is_err()
    {
        return Err(RequestError::InvalidSortOption);
    }
    Ok(())
}

/// Checks a put.
pub fn check_put(request: &PutRequest) -> Result<(), RequestError> {
    if request.key.is_empty() {
        return Err(RequestError::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(RequestError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(RequestError::LeaseProvided);
    }
    Ok(())
}

/// Checks a delete.
pub fn check_delete(request: &DeleteRangeRequest) -> Result<(), RequestError> {
    if request.key.is_empty() { Err(RequestError::EmptyKey) } else { Ok(()) }
}

/// Checks a transaction; `ops_max` is etcd's `--max-txn-ops`.
pub fn check_txn(request: &TxnRequest, ops_max: usize) -> Result<(), RequestError> {
    check_ops(request, ops_max)?;
    // Only after the number of operations is known to be sane.
    Writes::of(&request.success)?;
    Writes::of(&request.failure)?;
    Ok(())
}

/// Whether every operation of both branches is a range, so that the transaction needs no log entry. A transaction
/// without operations is; one that nests another is not.
#[must_use]
pub fn is_read_only(request: &TxnRequest) -> bool {
    let is_range = |op: &RequestOp| matches!(op.request, Some(Request::RequestRange(_)));
    request.success.iter().chain(&request.failure).all(is_range)
}

/// Whether a read-only transaction may be answered from this member alone. Vacuously true without operations, as in
/// etcd, although compares may then be stale.
#[must_use]
pub fn is_serializable(request: &TxnRequest) -> bool {
    let serializable =
        |op: &RequestOp| matches!(&op.request, Some(Request::RequestRange(r)) if r.serializable);
    request.success.iter().chain(&request.failure).all(serializable)
}

fn check_ops(request: &TxnRequest, ops_max: usize) -> Result<(), RequestError> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    // What a transaction uses up is missing from the budget of those nested in it.
    let budget = ops_max.checked_sub(ops).ok_or(RequestError::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(RequestError::EmptyKey);
    }
    request.success.iter().chain(&request.failure).try_for_each(|op| check_op(op, budget))
}

fn check_op(op: &RequestOp, ops_max: usize) -> Result<(), RequestError> {
    match &op.request {
        Some(Request::RequestRange(range)) => check_range(range),
        Some(Request::RequestPut(put)) => check_put(put),
        Some(Request::RequestDeleteRange(delete)) => check_delete(delete),
        Some(Request::RequestTxn(txn)) => check_ops(txn, ops_max),
        // Not the fitting error, but etcd's.
        None => Err(RequestError::KeyNotFound),
    }
}

/// The keys that a branch puts, and those that it deletes.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Bytes>,
    deletes: Intervals,
}

impl Writes {
    /// Refuses a branch that may put a key twice, or put a key that it deletes, unless the delete comes later and in
    /// another nested transaction. Source: etcd `checkIntervals`.
    fn of(branch: &[RequestOp]) -> Result<Self, RequestError> {
        let mut all = Self::default();
        for op in branch {
            if let Some(Request::RequestDeleteRange(delete)) = &op.request {
                all.deletes.insert_request(delete);
            }
        }
        for op in branch {
            if let Some(Request::RequestTxn(nested)) = &op.request {
                all.add_nested(Self::of(&nested.success)?, Self::of(&nested.failure)?)?;
            }
        }
        for op in branch {
            if let Some(Request::RequestPut(put)) = &op.request {
                all.check_put(&put.key, &BTreeSet::new())?;
                all.puts.insert(put.key.clone());
            }
        }
        Ok(all)
    }

    fn add_nested(&mut self, success: Self, failure: Self) -> Result<(), RequestError> {
        success.puts.iter().try_for_each(|key| self.check_put(key, &BTreeSet::new()))?;
        self.puts.extend(success.puts.iter().cloned());
        // Only one of the two branches runs, so both may put a key.
        failure.puts.iter().try_for_each(|key| self.check_put(key, &success.puts))?;
        self.puts.extend(failure.puts);
        self.deletes.extend(success.deletes);
        self.deletes.extend(failure.deletes);
        Ok(())
    }

    fn check_put(&self, key: &Bytes, allowed: &BTreeSet<Bytes>) -> Result<(), RequestError> {
        let twice = self.puts.contains(key) && !allowed.contains(key);
        if twice || self.deletes.contains(key) { Err(RequestError::DuplicateKey) } else { Ok(()) }
    }
}

/// Half-open intervals of keys, disjoint and in order.
#[derive(Default)]
struct Intervals(BTreeMap<Bytes, Bytes>);

impl Intervals {
    fn insert_request(&mut self, delete: &DeleteRangeRequest) {
        let end = match &delete.range_end[..] {
            [] => Bytes::from([&delete.key[..], &[0]].concat()),
            // etcd does not see the open end "\0" here, so such a delete collides with nothing: the interval is empty.
            _ => delete.range_end.clone(),
        };
        self.insert(delete.key.clone(), end);
    }

    fn insert(&mut self, mut start: Bytes, mut end: Bytes) {
        if start >= end {
            return;
        }
        while let Some((other, other_end)) = self.touching(&start, &end) {
            self.0.remove(&other);
            start = start.min(other);
            end = end.max(other_end);
        }
        self.0.insert(start, end);
    }

    fn extend(&mut self, other: Self) {
        other.0.into_iter().for_each(|(start, end)| self.insert(start, end));
    }

    fn contains(&self, key: &Bytes) -> bool {
        let upto = (Bound::Unbounded, Bound::Included(key));
        self.0.range::<Bytes, _>(upto).next_back().is_some_and(|(_, end)| key < end)
    }

    /// An interval that overlaps `start..end`, or meets it.
    fn touching(&self, start: &Bytes, end: &Bytes) -> Option<(Bytes, Bytes)> {
        let upto = (Bound::Unbounded, Bound::Included(end));
        let (other, other_end) = self.0.range::<Bytes, _>(upto).next_back()?;
        (other_end >= start).then(|| (other.clone(), other_end.clone()))
    }
}
