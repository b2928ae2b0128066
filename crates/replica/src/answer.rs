//! Answers to reads of ranges: what a shard finds, and the response's bytes.

use prost::Message;
use windlass_api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader, TxnResponse};
use windlass_mvcc::Shard;
use windlass_types::Revision;

use crate::list::{List, ListPart, is_plain};
use crate::merge::merge_range;
use crate::read::range_part;
use crate::task::RangePart;
use crate::txn::{Decision, Op, Transaction};
use crate::wire;

/// A shard's share of a range that is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Of one that [is plain](is_plain): encoded.
    List(ListPart),
    /// Of one that is yet to be sorted.
    Pairs(RangePart),
}

impl Found {
    /// The share of `shard` at `revision`.
    #[must_use]
    pub fn of(shard: &Shard, range: &RangeRequest, revision: Revision) -> Self {
        if is_plain(range) {
            Self::List(ListPart::of(shard, range, revision))
        } else {
            Self::Pairs(range_part(shard, range, revision))
        }
    }

    fn into_list(self) -> ListPart {
        match self {
            Self::List(part) => part,
            Self::Pairs(_) => unreachable!("every shard looks at the same request"),
        }
    }

    fn into_pairs(self) -> RangePart {
        match self {
            Self::Pairs(part) => part,
            Self::List(_) => unreachable!("every shard looks at the same request"),
        }
    }
}

/// A shard's share of one range of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundFor {
    /// Ordinal of the operation within its transaction ([`Transaction::ops`]).
    pub op: u32,
    /// The share.
    pub found: Found,
}

/// The answer to a range that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeAnswer {
    /// The store's, for the header.
    revision: Revision,
    body: Body,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    List(List),
    /// Without a header.
    Message(RangeResponse),
}

impl RangeAnswer {
    /// Puts the shards' shares together. `revision` is the store's, for the header.
    #[must_use]
    pub fn new(range: &RangeRequest, found: Vec<Found>, revision: Revision) -> Self {
        let body = if is_plain(range) {
            Body::List(List::new(range, found.into_iter().map(Found::into_list).collect()))
        } else {
            let parts = found.into_iter().map(Found::into_pairs).collect();
            Body::Message(RangeResponse { header: None, ..merge_range(range, parts, revision) })
        };
        Self { revision, body }
    }

    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The pairs, if they were not sorted.
    #[must_use]
    pub fn list(&self) -> Option<&List> {
        match &self.body {
            Body::List(list) => Some(list),
            Body::Message(_) => None,
        }
    }

    /// Appends the `etcdserverpb.RangeResponse`; `header` is the rest of the header.
    pub fn encode(&self, header: &ResponseHeader, out: &mut Vec<u8>) {
        let header = ResponseHeader { revision: self.revision.0, ..*header };
        match &self.body {
            Body::List(list) => {
                list.encode(&RangeResponse { header: Some(header), ..list.totals() }, out);
            }
            Body::Message(response) => {
                wire::message(wire::RESPONSE_HEADER, &header, out);
                response.encode(out).expect("a vector takes any length");
            }
        }
    }

    /// The same as a message, with nothing but the revision in its header: for who looks into it.
    #[must_use]
    pub fn to_response(&self) -> RangeResponse {
        let mut bytes = Vec::new();
        self.encode(&ResponseHeader::default(), &mut bytes);
        RangeResponse::decode(&*bytes).expect("it was just encoded")
    }
}

impl From<RangeResponse> for RangeAnswer {
    /// Of an answer that came about in another way.
    fn from(mut response: RangeResponse) -> Self {
        let revision = response.header.take().map_or(Revision::ZERO, |header| Revision(header.revision));
        Self { revision, body: Body::Message(response) }
    }
}

/// The answer to a transaction all of whose operations are ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct TxnAnswer {
    /// The store's, for the header.
    revision: Revision,
    succeeded: bool,
    ranges: Vec<RangeAnswer>,
}

impl TxnAnswer {
    /// Puts together what all shards that the path touches found, in any order. `revision` is the store's, for the header.
    pub(crate) fn new(
        transaction: &Transaction,
        decision: &Decision,
        found: Vec<FoundFor>,
        revision: Revision,
    ) -> Self {
        let mut by_op = vec![Vec::new(); transaction.ops().len()];
        for FoundFor { op, found } in found {
            by_op[op as usize].push(found);
        }
        let answer = |op: u32| {
            let Op::Range(range) = &transaction.ops()[op as usize] else { unreachable!("not a range") };
            RangeAnswer::new(range, std::mem::take(&mut by_op[op as usize]), revision)
        };
        let ranges = transaction.path(decision).into_iter().map(answer).collect();
        Self { revision, succeeded: decision.succeeded[0], ranges }
    }

    /// Appends the `etcdserverpb.TxnResponse`; `header` is the rest of the header.
    pub fn encode(&self, header: &ResponseHeader, out: &mut Vec<u8>) {
        wire::message(wire::RESPONSE_HEADER, &ResponseHeader { revision: self.revision.0, ..*header }, out);
        wire::varint_field(wire::TXN_SUCCEEDED, u64::from(self.succeeded), out);
        for range in &self.ranges {
            let start = out.len();
            // etcd sets no more than the revision there.
            range.encode(&ResponseHeader::default(), out);
            wire::enclose([wire::OP_RANGE, wire::TXN_RESPONSES], start, out);
        }
    }

    /// The same as a message, with nothing but revisions in its headers: for who looks into it.
    #[must_use]
    pub fn to_response(&self) -> TxnResponse {
        let mut bytes = Vec::new();
        self.encode(&ResponseHeader::default(), &mut bytes);
        TxnResponse::decode(&*bytes).expect("it was just encoded")
    }
}
