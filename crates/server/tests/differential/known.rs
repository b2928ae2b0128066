//! Where etcd 3.5.1, the version at hand, differs from 3.6, which Windlass follows. Such requests never reach etcd;
//! where 3.6's answer is known from its source, Windlass is asked and must give it.

use windlass_api::etcdserverpb::request_op::Request as Operation;
use windlass_api::etcdserverpb::{RangeRequest, TxnRequest};

use crate::request::{Answer, Request};

/// One difference between the versions.
pub struct Difference {
    /// What differs and why, for those who read a run's summary.
    pub reason: &'static str,
    /// Which requests it concerns.
    pub concerns: fn(&Request) -> bool,
    /// The refusal of 3.6, as code and text, if it is the same for all of them.
    pub refusal: Option<(&'static str, &'static str)>,
}

impl Difference {
    /// 3.6's answer, if it is known.
    pub fn answer(&self) -> Option<Answer> {
        self.refusal.map(|(code, text)| Answer::Refused(code.to_owned(), text.to_owned()))
    }
}

/// All of them. The first that concerns a request counts.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "a sort order or target that does not exist: 3.5.1 ignores the order and dies of the target (a nil \
                 dereference), later versions refuse both before they do anything else",
        concerns: |request| match request {
            Request::Range(range) | Request::Stream(range) => {
                !range.key.is_empty() && has_unknown_sort(range)
            }
            _ => false,
        },
        refusal: Some(("InvalidArgument", "etcdserver: invalid sort option")),
    },
    Difference {
        reason: "the same with an empty key or inside a txn, where other faults may be found first",
        concerns: |request| match request {
            Request::Range(range) | Request::Stream(range) => has_unknown_sort(range),
            Request::Txn(txn) => any_range(txn, &has_unknown_sort),
            _ => false,
        },
        refusal: None,
    },
];

fn has_unknown_sort(range: &RangeRequest) -> bool {
    !(0..=2).contains(&range.sort_order) || !(0..=4).contains(&range.sort_target)
}

fn any_range(txn: &TxnRequest, is_wanted: &impl Fn(&RangeRequest) -> bool) -> bool {
    txn.success.iter().chain(&txn.failure).any(|operation| match &operation.request {
        Some(Operation::RequestRange(range)) => is_wanted(range),
        Some(Operation::RequestTxn(txn)) => any_range(txn, is_wanted),
        _ => false,
    })
}
