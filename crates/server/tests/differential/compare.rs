//! When two servers' answers to one request are equal.
//!
//! All fields count, with two exceptions: ids and terms, of which only the presence counts, and the order of pairs
//! that the asked-for order leaves open. etcd sorts with an unstable sort, so that pairs with equal sort keys come in
//! any order, and a limit may cut any of them off.

use bytes::Bytes;
use windlass_api::etcdserverpb::range_request::SortTarget;
use windlass_api::etcdserverpb::request_op::Request as Operation;
use windlass_api::etcdserverpb::response_op::Response as OperationAnswer;
use windlass_api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse};
use windlass_api::mvccpb::KeyValue;

use crate::request::{Answer, Request};

/// `answer` with everything removed that may differ between two correct servers.
pub fn comparable(request: &Request, answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    match (request, &mut answer) {
        (Request::Range(request) | Request::Stream(request), Answer::Range(response)) => {
            range(request, response)
        }
        (Request::Txn(request), Answer::Txn(response)) => txn(request, response),
        (
            _,
            Answer::Range(RangeResponse { header: head, .. }) | Answer::Txn(TxnResponse { header: head, .. }),
        ) => {
            header(head);
        }
        (_, Answer::Put(response)) => header(&mut response.header),
        (_, Answer::Delete(response)) => header(&mut response.header),
        (_, Answer::Compact(response)) => header(&mut response.header),
        (_, Answer::Refused(..)) => {}
    }
    answer
}

/// Ids and terms differ, but both servers must set them, or both leave them out.
fn header(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        header.cluster_id = header.cluster_id.min(1);
        header.member_id = header.member_id.min(1);
        header.raft_term = header.raft_term.min(1);
    }
}

fn txn(request: &TxnRequest, response: &mut TxnResponse) {
    header(&mut response.header);
    let branch = if response.succeeded { &request.success } else { &request.failure };
    for (operation, answer) in branch.iter().zip(&mut response.responses) {
        match (operation.request.as_ref(), answer.response.as_mut()) {
            (Some(Operation::RequestRange(request)), Some(OperationAnswer::ResponseRange(response))) => {
                range(request, response);
            }
            (Some(Operation::RequestTxn(request)), Some(OperationAnswer::ResponseTxn(response))) => {
                txn(request, response);
            }
            // The headers of the others hold a revision only, which is compared as it is.
            _ => {}
        }
    }
}

fn range(request: &RangeRequest, response: &mut RangeResponse) {
    header(&mut response.header);
    match request.sort_target() {
        // No two keys are equal.
        SortTarget::Key => return,
        // They were sorted by values that were not sent.
        SortTarget::Value if request.keys_only => return unordered(&mut response.kvs, response.more),
        _ => {}
    }
    let mut rest = response.kvs.as_mut_slice();
    while let Some(first) = rest.first() {
        let key = sort_key(request, first);
        let len = rest.iter().take_while(|kv| sort_key(request, kv) == key).count();
        let (ties, others) = rest.split_at_mut(len);
        unordered(ties, response.more && others.is_empty());
        rest = others;
    }
}

/// Leaves only the set of the ties to compare; if a limit cut some of them off, only their number.
fn unordered(ties: &mut [KeyValue], is_cut: bool) {
    ties.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    if is_cut {
        ties.fill(KeyValue::default());
    }
}

#[derive(PartialEq)]
enum SortKey {
    Number(i64),
    Bytes(Bytes),
}

fn sort_key(request: &RangeRequest, kv: &KeyValue) -> SortKey {
    match request.sort_target() {
        SortTarget::Key => SortKey::Bytes(kv.key.clone()),
        SortTarget::Version => SortKey::Number(kv.version),
        SortTarget::Create => SortKey::Number(kv.create_revision),
        SortTarget::Mod => SortKey::Number(kv.mod_revision),
        SortTarget::Value => SortKey::Bytes(kv.value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use windlass_api::etcdserverpb::range_request::SortOrder;

    use super::*;

    fn pair(key: &'static str, version: i64) -> KeyValue {
        KeyValue { key: key.into(), version, value: "v".into(), ..Default::default() }
    }

    fn answer(kvs: &[KeyValue], more: bool) -> Answer {
        let header = Some(ResponseHeader { cluster_id: 7, member_id: 8, revision: 9, raft_term: 2 });
        Answer::Range(RangeResponse { header, kvs: kvs.to_vec(), more, count: 3 })
    }

    fn equal(request: &RangeRequest, a: &Answer, b: &Answer) -> bool {
        let request = Request::Range(request.clone());
        comparable(&request, a) == comparable(&request, b)
    }

    fn by_version(order: SortOrder) -> RangeRequest {
        RangeRequest {
            sort_target: SortTarget::Version.into(),
            sort_order: order.into(),
            ..Default::default()
        }
    }

    #[test]
    fn ties_may_come_in_any_order() {
        let (a, b, c) = (pair("a", 1), pair("b", 1), pair("c", 2));
        let one = answer(&[a.clone(), b.clone(), c.clone()], false);
        let other = answer(&[b.clone(), a.clone(), c.clone()], false);
        assert!(equal(&by_version(SortOrder::Ascend), &one, &other));
        assert!(!equal(&RangeRequest::default(), &one, &other), "by key there are no ties");
        let wrong = answer(&[c, a, b], false);
        assert!(!equal(&by_version(SortOrder::Ascend), &one, &wrong), "ties only");
    }

    #[test]
    fn a_limit_may_cut_any_of_the_last_ties_off() {
        let (a, b, c) = (pair("a", 1), pair("b", 2), pair("c", 2));
        let one = answer(&[a.clone(), b.clone()], true);
        let other = answer(&[a.clone(), c.clone()], true);
        assert!(equal(&by_version(SortOrder::Ascend), &one, &other));
        assert!(equal(&by_version(SortOrder::None), &one, &other));
        assert!(!equal(&by_version(SortOrder::Ascend), &one, &answer(&[a], true)), "but not more of them");
        let not_cut = (answer(&[b], false), answer(&[c], false));
        assert!(!equal(&by_version(SortOrder::Ascend), &not_cut.0, &not_cut.1));
    }

    /// The canary: every field of every answer, changed, must be seen.
    #[test]
    fn any_other_change_is_seen() {
        let original = RangeResponse {
            header: Some(ResponseHeader { cluster_id: 7, member_id: 8, revision: 9, raft_term: 2 }),
            kvs: vec![pair("a", 1), pair("b", 2)],
            more: false,
            count: 2,
        };
        let changes: [fn(&mut RangeResponse); 13] = [
            |r| r.header = None,
            |r| r.header.as_mut().expect("set").revision += 1,
            |r| r.header.as_mut().expect("set").cluster_id = 0,
            |r| r.header.as_mut().expect("set").raft_term = 0,
            |r| r.more = true,
            |r| r.count += 1,
            |r| r.kvs.swap(0, 1),
            |r| drop(r.kvs.pop()),
            |r| r.kvs[0].lease = 1,
            |r| r.kvs[0].value = "w".into(),
            |r| r.kvs[0].key = "z".into(),
            |r| r.kvs[1].mod_revision += 1,
            |r| r.kvs[1].create_revision += 1,
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut changed = original.clone();
            change(&mut changed);
            let (a, b) = (Answer::Range(original.clone()), Answer::Range(changed));
            for request in [RangeRequest::default(), by_version(SortOrder::Descend)] {
                assert!(!equal(&request, &a, &b), "change {index}");
            }
        }
        let mut other_ids = original.clone();
        other_ids.header.as_mut().expect("set").cluster_id = 1234;
        assert!(equal(&RangeRequest::default(), &Answer::Range(original), &Answer::Range(other_ids)));
    }

    #[test]
    fn refusals_compare_by_code_and_text() {
        let refused = |code: &str, text: &str| Answer::Refused(code.into(), text.into());
        let request = RangeRequest::default();
        assert!(equal(&request, &refused("NotFound", "x"), &refused("NotFound", "x")));
        assert!(!equal(&request, &refused("NotFound", "x"), &refused("NotFound", "y")));
        assert!(!equal(&request, &refused("Unknown", "x"), &refused("NotFound", "x")));
        assert!(!equal(&request, &refused("NotFound", "x"), &answer(&[], false)));
    }
}
