//! Where etcd 3.5.1, the version at hand, differs from 3.6, which Windlass follows.

use windlass_api::etcdserverpb::request_op::Request as Operation;
use windlass_api::etcdserverpb::{RangeRequest, TxnRequest};
use windlass_types::RequestError;
use windlass_types::key::KeyRange;

use crate::request::{Answer, Request};

/// One difference between the versions.
pub struct Difference {
    /// What differs and why, for those who read a run's summary.
    pub reason: &'static str,
    /// How it is dealt with.
    pub treatment: Treatment,
}

/// What to do about a difference.
pub enum Treatment {
    /// The requests it concerns never reach etcd. Who follows 3.6 must answer them with this refusal, if it is the
    /// same for all of them.
    NotSent(fn(&Request) -> bool, Option<RequestError>),
    /// Two different refusals, etcd's first, are both right.
    Excused(fn(&Request, RequestError, RequestError) -> bool),
}

/// All of them; the first that fits counts.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "a sort order or target that does not exist: 3.5.1 ignores the order and dies of the target (a nil \
                 dereference), later versions refuse both before they do anything else",
        treatment: Treatment::NotSent(has_unknown_sort, Some(RequestError::InvalidSortOption)),
    },
    Difference {
        reason: "the same with an empty key or inside a txn, where other faults may be found first",
        treatment: Treatment::NotSent(has_unknown_sort_somewhere, None),
    },
    Difference {
        reason: "a put that keeps the value or lease of a key that its own txn may have deleted before: etcd checks \
                 the key before the txn and dies when it is gone then, in all versions",
        treatment: Treatment::NotSent(keeps_what_it_deletes, None),
    },
    Difference {
        reason: "a txn with a wrong put and a range of a wrong revision: 3.5.1 looks at all puts and then at all \
                 ranges, 3.6 at the operations in their order (`checkTxn`)",
        treatment: Treatment::Excused(|request, etcd, tested| {
            let of_put = [RequestError::KeyNotFound, RequestError::LeaseNotFound];
            let of_range = [RequestError::Compacted, RequestError::FutureRevision];
            matches!(request, Request::Txn(_)) && of_put.contains(&etcd) && of_range.contains(&tested)
        }),
    },
];

/// The difference that keeps `request` from etcd: 3.6's answer, if it is known.
pub fn not_sent(request: &Request) -> Option<Option<Answer>> {
    DIFFERENCES.iter().find_map(|difference| match difference.treatment {
        Treatment::NotSent(concerns, refusal) if concerns(request) => Some(refusal.map(Answer::from)),
        _ => None,
    })
}

/// Whether a difference explains that `tested` is not `etcd`.
pub fn is_excused(request: &Request, etcd: &Answer, tested: &Answer) -> bool {
    let (Some(etcd), Some(tested)) = (etcd.error(), tested.error()) else {
        return false;
    };
    DIFFERENCES.iter().any(|difference| match difference.treatment {
        Treatment::Excused(is_excused) => is_excused(request, etcd, tested),
        Treatment::NotSent(..) => false,
    })
}

fn has_unknown_sort(request: &Request) -> bool {
    match request {
        Request::Range(range) | Request::Stream(range) => !range.key.is_empty() && is_unknown_sort(range),
        _ => false,
    }
}

fn has_unknown_sort_somewhere(request: &Request) -> bool {
    match request {
        Request::Range(range) | Request::Stream(range) => is_unknown_sort(range),
        Request::Txn(txn) => any_range(txn, &is_unknown_sort),
        _ => false,
    }
}

fn is_unknown_sort(range: &RangeRequest) -> bool {
    !(0..=2).contains(&range.sort_order) || !(0..=4).contains(&range.sort_target)
}

fn any_range(txn: &TxnRequest, is_wanted: &impl Fn(&RangeRequest) -> bool) -> bool {
    any_operation(txn, &|operation| matches!(operation, Operation::RequestRange(range) if is_wanted(range)))
}

fn keeps_what_it_deletes(request: &Request) -> bool {
    let Request::Txn(txn) = request else {
        return false;
    };
    any_operation(txn, &|put| match put {
        Operation::RequestPut(put) if put.ignore_value || put.ignore_lease => any_operation(txn, &|delete| {
            let Operation::RequestDeleteRange(delete) = delete else {
                return false;
            };
            KeyRange::new(&delete.key, &delete.range_end).contains(&put.key)
        }),
        _ => false,
    })
}

/// Whether an operation of the txn, in whichever branch and however deep, is `wanted`.
fn any_operation(txn: &TxnRequest, is_wanted: &dyn Fn(&Operation) -> bool) -> bool {
    txn.success.iter().chain(&txn.failure).filter_map(|operation| operation.request.as_ref()).any(
        |operation| {
            is_wanted(operation)
                || matches!(operation, Operation::RequestTxn(txn) if any_operation(txn, is_wanted))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_excused() {
        let txn = Request::Txn(TxnRequest::default());
        let [put, range, other] =
            [RequestError::KeyNotFound, RequestError::FutureRevision, RequestError::DuplicateKey]
                .map(Answer::from);
        assert!(is_excused(&txn, &put, &range));
        assert!(!is_excused(&txn, &range, &put), "3.6 does not look at puts first");
        assert!(!is_excused(&txn, &put, &other));
        assert!(!is_excused(&Request::Range(RangeRequest::default()), &put, &range));
        assert_eq!(not_sent(&txn), None);
    }
}
