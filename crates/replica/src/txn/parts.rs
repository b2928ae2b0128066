//! A `TxnRequest`, decoded without a vector for each of its parts: mostly there is one compare, and one operation in a branch.

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, message, skip_field};
use prost::{DecodeError, Message};
use smallvec::SmallVec;
use windlass_api::etcdserverpb::{Compare, RequestOp};

/// The parts of a transaction's request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parts {
    pub compare: SmallVec<[Compare; 1]>,
    pub success: SmallVec<[RequestOp; 1]>,
    pub failure: SmallVec<[RequestOp; 1]>,
}

impl Parts {
    /// Reads `request` as `TxnRequest::decode` does, of whose steps these are the outermost.
    pub fn decode(mut request: Bytes) -> Result<Self, DecodeError> {
        let mut parts = Self::default();
        while request.has_remaining() {
            let (tag, wire_type) = decode_key(&mut request)?;
            match tag {
                1 => parts.compare.push(part(wire_type, &mut request)?),
                2 => parts.success.push(part(wire_type, &mut request)?),
                3 => parts.failure.push(part(wire_type, &mut request)?),
                _ => skip_field(wire_type, tag, &mut request, DecodeContext::default())?,
            }
        }
        Ok(parts)
    }
}

fn part<M: Message + Default>(wire_type: WireType, request: &mut Bytes) -> Result<M, DecodeError> {
    let mut part = M::default();
    message::merge(wire_type, &mut part, request, DecodeContext::default())?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use windlass_api::etcdserverpb::compare::TargetUnion;
    use windlass_api::etcdserverpb::request_op::Request;
    use windlass_api::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest};

    use super::*;

    fn op(kind: u8, key: Vec<u8>) -> RequestOp {
        let key = key.into();
        let request = match kind {
            0 => None,
            1 => Some(Request::RequestRange(RangeRequest { key, ..RangeRequest::default() })),
            2 => Some(Request::RequestPut(PutRequest { key, lease: -7, ..PutRequest::default() })),
            3 => Some(Request::RequestDeleteRange(DeleteRangeRequest {
                key,
                prev_kv: true,
                ..DeleteRangeRequest::default()
            })),
            _ => {
                let inner =
                    Compare { key, target_union: Some(TargetUnion::Version(0)), ..Compare::default() };
                let nested = TxnRequest { compare: vec![inner], ..TxnRequest::default() };
                Some(Request::RequestTxn(nested))
            }
        };
        RequestOp { request }
    }

    fn ops() -> impl Strategy<Value = Vec<RequestOp>> {
        prop::collection::vec((0..5_u8, any::<Vec<u8>>()).prop_map(|(kind, key)| op(kind, key)), 0..4)
    }

    fn requests() -> impl Strategy<Value = TxnRequest> {
        let compare =
            (any::<Vec<u8>>(), -1..5_i32, any::<i64>()).prop_map(|(key, target, revision)| Compare {
                key: key.into(),
                target,
                target_union: Some(TargetUnion::ModRevision(revision)),
                ..Compare::default()
            });
        (prop::collection::vec(compare, 0..3), ops(), ops())
            .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
    }

    fn of(request: TxnRequest) -> Parts {
        let TxnRequest { compare, success, failure } = request;
        Parts { compare: compare.into(), success: success.into(), failure: failure.into() }
    }

    /// Both read the same, or refuse it.
    fn assert_agreement(bytes: &[u8]) {
        let full = TxnRequest::decode(bytes).ok().map(of);
        assert_eq!(Parts::decode(Bytes::copy_from_slice(bytes)).ok(), full, "{bytes:?}");
    }

    proptest! {
        #[test]
        fn a_request_is_read_as_prost_reads_it(request in requests()) {
            let parts = Parts::decode(request.encode_to_vec().into()).unwrap();
            prop_assert_eq!(parts, of(request));
        }

        #[test]
        fn damaged_requests_too(
            request in requests(),
            at: prop::sample::Index,
            byte in prop_oneof![any::<u8>(), prop::sample::select(vec![0x0a_u8, 0x0b, 0x0c, 0x12, 0x1a, 0x7b, 0x7c])],
            len: prop::sample::Index,
        ) {
            let mut bytes = request.encode_to_vec();
            if !bytes.is_empty() {
                *at.get_mut(&mut bytes) = byte;
                bytes.truncate(1 + len.index(2 * bytes.len()));
                assert_agreement(&bytes);
            }
        }

        #[test]
        fn and_any_bytes(
            bytes in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![0_u8, 1, 2, 3, 4, 0x08, 0x0a, 0x0b, 0x0c, 0x12, 0x1a, 0x22, 0x23, 0x24, 0x80, 0xff]),
                    any::<u8>(),
                ],
                0..32,
            ),
        ) {
            assert_agreement(&bytes);
        }
    }

    #[test]
    fn groups_nest_as_deep_as_prost_lets_them() {
        // Within a compare, and beside it.
        let groups = |depth: usize| [vec![0x7b; depth], vec![0x7c; depth]].concat();
        for depth in 90..110 {
            assert_agreement(&groups(depth));
            let len = u8::try_from(2 * depth).unwrap();
            let front = if len < 0x80 { vec![0x0a, len] } else { vec![0x0a, len, 1] };
            assert_agreement(&[front, groups(depth)].concat());
        }
    }
}
