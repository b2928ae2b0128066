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
    check_branch(&request.success)?;
    check_branch(&request.failure)
}

/// Refuses a branch that would write a key twice. One operation alone cannot.
fn check_branch(branch: &[RequestOp]) -> Result<(), RequestError> {
    match branch {
        [] => Ok(()),
        [only] if !matches!(only.request, Some(Request::RequestTxn(_))) => Ok(()),
        _ => Writes::of(branch).map(drop),
    }
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

#[cfg(test)]
mod tests {
    use windlass_api::etcdserverpb::Compare;

    use super::*;

    const OPS_MAX: usize = 4;

    fn op(request: Request) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    fn put(key: &'static str) -> RequestOp {
        op(Request::RequestPut(PutRequest { key: key.into(), ..PutRequest::default() }))
    }

    fn delete(key: &'static str, range_end: &'static str) -> RequestOp {
        let request = DeleteRangeRequest {
            key: key.into(),
            range_end: range_end.into(),
            ..DeleteRangeRequest::default()
        };
        op(Request::RequestDeleteRange(request))
    }

    fn range(key: &'static str) -> RequestOp {
        op(Request::RequestRange(RangeRequest { key: key.into(), ..RangeRequest::default() }))
    }

    fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        op(Request::RequestTxn(TxnRequest { success, failure, ..TxnRequest::default() }))
    }

    fn success(ops: Vec<RequestOp>) -> Result<(), RequestError> {
        let alone = TxnRequest { success: ops.clone(), ..TxnRequest::default() };
        let otherwise = TxnRequest { failure: ops, ..TxnRequest::default() };
        assert_eq!(check_txn(&alone, OPS_MAX), check_txn(&otherwise, OPS_MAX), "both branches alike");
        check_txn(&alone, OPS_MAX)
    }

    const DUPLICATE: Result<(), RequestError> = Err(RequestError::DuplicateKey);

    #[test]
    fn a_branch_puts_a_key_once() {
        assert_eq!(success(vec![put("a"), put("b")]), Ok(()));
        assert_eq!(success(vec![put("a"), put("a")]), DUPLICATE);
        assert_eq!(success(vec![put("a"), nested(vec![put("a")], vec![])]), DUPLICATE);
        assert_eq!(success(vec![nested(vec![put("a")], vec![]), nested(vec![], vec![put("a")])]), DUPLICATE);
        let both = TxnRequest { success: vec![put("a")], failure: vec![put("a")], ..TxnRequest::default() };
        assert_eq!(check_txn(&both, OPS_MAX), Ok(()));
    }

    #[test]
    fn the_two_branches_of_one_nested_transaction_may_put_the_same_key() {
        assert_eq!(success(vec![nested(vec![put("a")], vec![put("a")])]), Ok(()));
        let failure_after_sibling =
            vec![nested(vec![put("a")], vec![]), nested(vec![put("b")], vec![put("a")])];
        assert_eq!(success(failure_after_sibling), DUPLICATE);
    }

    #[test]
    fn a_branch_does_not_put_what_it_deletes() {
        assert_eq!(success(vec![put("a"), delete("a", "")]), DUPLICATE);
        assert_eq!(success(vec![delete("a", "c"), put("b")]), DUPLICATE);
        assert_eq!(success(vec![delete("a", "c"), put("c")]), Ok(()));
        assert_eq!(success(vec![delete("a", "c"), delete("b", "d"), put("c")]), DUPLICATE);
        assert_eq!(success(vec![nested(vec![put("b")], vec![]), delete("a", "c")]), DUPLICATE);
        assert_eq!(success(vec![put("b"), nested(vec![], vec![delete("a", "c")])]), DUPLICATE);
    }

    #[test]
    fn deletes_overlap_freely_and_follow_puts_of_other_nested_transactions() {
        assert_eq!(success(vec![delete("a", "c"), delete("b", ""), delete("a", "c")]), Ok(()));
        let put_first = vec![nested(vec![put("b")], vec![]), nested(vec![delete("a", "c")], vec![])];
        assert_eq!(success(put_first), Ok(()));
        let delete_first = vec![nested(vec![delete("a", "c")], vec![]), nested(vec![put("b")], vec![])];
        assert_eq!(success(delete_first), DUPLICATE);
    }

    #[test]
    fn etcd_overlooks_deletes_with_an_open_or_inverted_range() {
        assert_eq!(success(vec![delete("a", "\0"), put("b")]), Ok(()));
        assert_eq!(success(vec![delete("c", "a"), put("b")]), Ok(()));
    }

    #[test]
    fn operations_are_counted_down_the_nest() {
        let two = || vec![range("a"), range("b")];
        assert_eq!(success(vec![nested(two(), vec![]), range("c")]), Ok(()));
        let three = vec![range("a"), range("b"), range("c")];
        assert_eq!(success(vec![nested(three.clone(), vec![]), range("c")]), Err(RequestError::TooManyOps));
        let compares = vec![Compare { key: "a".into(), ..Compare::default() }; 5];
        let request = TxnRequest { compare: compares, ..TxnRequest::default() };
        assert_eq!(check_txn(&request, OPS_MAX), Err(RequestError::TooManyOps));
    }

    #[test]
    fn faults_get_etcds_errors_in_etcds_order() {
        assert_eq!(success(vec![RequestOp { request: None }]), Err(RequestError::KeyNotFound));
        assert_eq!(success(vec![put("a"), put("a"), range("")]), Err(RequestError::EmptyKey));
        let nameless = TxnRequest { compare: vec![Compare::default()], ..TxnRequest::default() };
        assert_eq!(check_txn(&nameless, OPS_MAX), Err(RequestError::EmptyKey));
        let sorted = |sort_order, sort_target| RangeRequest {
            key: "a".into(),
            sort_order,
            sort_target,
            ..RangeRequest::default()
        };
        assert_eq!(check_range(&sorted(2, 4)), Ok(()));
        assert_eq!(check_range(&sorted(3, 0)), Err(RequestError::InvalidSortOption));
        assert_eq!(check_range(&sorted(0, 5)), Err(RequestError::InvalidSortOption));
        let put = PutRequest { key: "a".into(), value: "v".into(), lease: 1, ..PutRequest::default() };
        let both = PutRequest { ignore_value: true, ignore_lease: true, ..put.clone() };
        assert_eq!(check_put(&both), Err(RequestError::ValueProvided));
        assert_eq!(check_put(&PutRequest { ignore_lease: true, ..put }), Err(RequestError::LeaseProvided));
        assert_eq!(check_delete(&DeleteRangeRequest::default()), Err(RequestError::EmptyKey));
        assert_eq!(check_size(9, 8), Err(RequestError::RequestTooLarge));
        assert_eq!(check_size(8, 8), Ok(()));
    }

    #[test]
    fn only_ranges_are_read_only() {
        let txn = |success: Vec<RequestOp>| TxnRequest { success, ..TxnRequest::default() };
        assert!(is_read_only(&txn(vec![])) && is_serializable(&txn(vec![])));
        assert!(is_read_only(&txn(vec![range("a")])) && !is_serializable(&txn(vec![range("a")])));
        assert!(!is_read_only(&txn(vec![range("a"), delete("a", "")])));
        assert!(!is_read_only(&txn(vec![nested(vec![], vec![])])));
    }
}
