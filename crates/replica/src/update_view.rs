//! A look over an encoded `TxnRequest`, for the form in which Kubernetes and many others write: one compare, and in each branch
//! at most one operation, a plain put or a get of one key.
//!
//! As [`put_view`](crate::put_view), it steps back (`None`) from whatever else it meets, and must never accept what
//! [`check_txn`](crate::checks::check_txn) would refuse.

use crate::fields::{bytes, varint};
use crate::get::GetView;
use crate::put_view::PutView;

/// Keys of fields of a `TxnRequest`, all length-delimited.
const COMPARE: u8 = 0x0a; // field 1
const SUCCESS: u8 = 0x12; // field 2
const FAILURE: u8 = 0x1a; // field 3

/// Keys of fields of a `Compare`.
const COMPARE_KEY: u8 = 0x1a; // field 3, length-delimited
const COMPARE_VALUE: u8 = 0x3a; // field 7, length-delimited
/// `result`, `target`, `version`, `create_revision`, `mod_revision`, `lease`: varints.
const COMPARE_NUMBERS: [u8; 6] = [0x08, 0x10, 0x20, 0x28, 0x30, 0x40];

/// Keys of fields of a `RequestOp`, both length-delimited.
const REQUEST_RANGE: u8 = 0x0a; // field 1
const REQUEST_PUT: u8 = 0x12; // field 2

/// What is to be known of a transaction with one put, or one in each branch, and nothing wrong by itself as long as a
/// branch may have one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateView {
    /// Bytes of key and value of the larger put.
    pub put_bytes: usize,
}

/// An operation.
enum Op {
    Get,
    /// Of so many bytes.
    Put(usize),
}

impl UpdateView {
    /// Reads `request`; `None` if it is anything else.
    #[must_use]
    pub fn scan(request: &[u8]) -> Option<Self> {
        let (mut compares, mut success, mut failure) = (0, None, None);
        let mut at = 0;
        while let Some(&tag) = request.get(at) {
            at += 1;
            let part = bytes(request, &mut at)?.of(request);
            match tag {
                COMPARE if compares == 0 && is_compare(part) => compares = 1,
                SUCCESS if success.is_none() => success = Some(Op::scan(part)?),
                FAILURE if failure.is_none() => failure = Some(Op::scan(part)?),
                _ => return None,
            }
        }
        let put_bytes = [success, failure].into_iter().flatten().filter_map(|op| op.put_bytes()).max()?;
        Some(Self { put_bytes })
    }
}

impl Op {
    fn scan(op: &[u8]) -> Option<Self> {
        let (&tag, mut at) = (op.first()?, 1);
        let request = bytes(op, &mut at)?.of(op);
        // What comes after it would be merged with it, or replace it.
        if at < op.len() {
            return None;
        }
        match tag {
            REQUEST_RANGE => GetView::scan(request).map(|_| Self::Get),
            REQUEST_PUT => PutView::scan(request).map(|put| Self::Put(put.key().len() + put.value().len())),
            _ => None,
        }
    }

    fn put_bytes(&self) -> Option<usize> {
        match self {
            Self::Get => None,
            Self::Put(bytes) => Some(*bytes),
        }
    }
}

/// Whether it is a compare of one key that is not empty.
fn is_compare(compare: &[u8]) -> bool {
    let scan = || {
        let (mut has_key, mut at) = (false, 0);
        while let Some(&tag) = compare.get(at) {
            at += 1;
            match tag {
                COMPARE_KEY => has_key = bytes(compare, &mut at)?.len > 0,
                COMPARE_VALUE => drop(bytes(compare, &mut at)?),
                tag if COMPARE_NUMBERS.contains(&tag) => drop(varint(compare, &mut at)?),
                _ => return None,
            }
        }
        Some(has_key)
    };
    scan() == Some(true)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message;
    use windlass_api::etcdserverpb::compare::TargetUnion;
    use windlass_api::etcdserverpb::request_op::Request;
    use windlass_api::etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    };

    use super::*;
    use crate::checks;

    fn put(value: impl Into<Bytes>) -> RequestOp {
        let put = PutRequest { key: "k".into(), value: value.into(), ..PutRequest::default() };
        RequestOp { request: Some(Request::RequestPut(put)) }
    }

    fn get() -> RequestOp {
        let get = RangeRequest { key: "k".into(), ..RangeRequest::default() };
        RequestOp { request: Some(Request::RequestRange(get)) }
    }

    fn unchanged(target_union: TargetUnion) -> Compare {
        Compare { target: 3, key: "k".into(), target_union: Some(target_union), ..Compare::default() }
    }

    /// As Kubernetes updates an object.
    fn update() -> TxnRequest {
        let compare = vec![unchanged(TargetUnion::ModRevision(7))];
        TxnRequest { compare, success: vec![put("value")], failure: vec![get()] }
    }

    fn scan(request: &TxnRequest) -> Option<usize> {
        UpdateView::scan(&request.encode_to_vec()).map(|view| view.put_bytes)
    }

    /// What is accepted decodes, and is found right by the checks.
    fn assert_right(bytes: &[u8]) {
        let Some(view) = UpdateView::scan(bytes) else { return };
        let request = TxnRequest::decode(bytes).expect("it decodes");
        assert_eq!(checks::check_txn(&request, 1), Ok(()), "{request:?}");
        assert!(!checks::is_read_only(&request), "{request:?}");
        let puts = request.success.iter().chain(&request.failure).filter_map(|op| match &op.request {
            Some(Request::RequestPut(put)) => Some(put.key.len() + put.value.len()),
            _ => None,
        });
        assert_eq!(Some(view.put_bytes), puts.max(), "{request:?}");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_right(
            request in prop::sample::select(vec![
                update(),
                TxnRequest { failure: vec![put("longer value")], ..update() },
                TxnRequest { compare: vec![unchanged(TargetUnion::Value("v".into()))], ..update() },
            ]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), 0..0x43_u8]), 0..4),
            len: prop::sample::Index,
        ) {
            let mut bytes = request.encode_to_vec();
            for (at, byte) in changes {
                *at.get_mut(&mut bytes) = byte;
            }
            bytes.truncate(1 + len.index(2 * bytes.len()));
            assert_right(&bytes);
        }

        #[test]
        fn of_any_bytes_too(
            bytes in prop::collection::vec(
                prop::sample::select(vec![0_u8, 1, 2, 3, 5, 0x08, 0x0a, 0x0b, 0x12, 0x1a, 0x30, 0x3a, 0x40, 0x80, 0xff]),
                0..24,
            ),
        ) {
            assert_right(&bytes);
        }
    }

    #[test]
    fn updates_are_recognized() {
        assert_eq!(scan(&update()), Some(6));
        assert_eq!(scan(&TxnRequest { failure: vec![put("longer value")], ..update() }), Some(13));
        assert_eq!(scan(&TxnRequest { compare: vec![], failure: vec![], ..update() }), Some(6));
        assert_eq!(scan(&TxnRequest { success: vec![], failure: vec![put("v")], ..update() }), Some(2));
        let unions = [
            TargetUnion::Version(0),
            TargetUnion::CreateRevision(i64::MAX),
            TargetUnion::Value("v".into()),
            TargetUnion::Lease(1),
        ];
        for union in unions {
            assert_eq!(scan(&TxnRequest { compare: vec![unchanged(union)], ..update() }), Some(6));
        }
    }

    #[test]
    fn others_are_left_alone() {
        let delete = DeleteRangeRequest { key: "k".into(), ..DeleteRangeRequest::default() };
        let delete = RequestOp { request: Some(Request::RequestDeleteRange(delete)) };
        let nested = RequestOp { request: Some(Request::RequestTxn(update())) };
        let keyless = Compare { key: "".into(), ..unchanged(TargetUnion::Version(1)) };
        let ranged = Compare { range_end: "l".into(), ..unchanged(TargetUnion::Version(1)) };
        let others = [
            TxnRequest { success: vec![get()], ..update() },
            TxnRequest { success: vec![], ..update() },
            TxnRequest { success: vec![put("a"), get()], ..update() },
            TxnRequest { success: vec![delete], ..update() },
            TxnRequest { success: vec![nested], ..update() },
            TxnRequest { success: vec![RequestOp { request: None }], ..update() },
            TxnRequest { compare: vec![keyless], ..update() },
            TxnRequest { compare: vec![ranged], ..update() },
            TxnRequest { compare: vec![unchanged(TargetUnion::Version(1)); 2], ..update() },
        ];
        for other in others {
            assert_eq!(scan(&other), None, "{other:?}");
        }
    }
}
