//! Lists: all pairs of a range in key order, encoded by the shards that hold them.
//!
//! A list is the most that a client can ask for at once. On its way from the tree to the answer nothing is made for a pair
//! but its bytes there: each shard encodes its pairs as fields of the response, and the arbiter puts the shards' shares
//! together by looking at keys alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use prost::Message;
use windlass_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use windlass_api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use windlass_mvcc::{Pair, Shard};
use windlass_types::Revision;
use windlass_types::key::KeyRange;

use crate::merge::is_filtered;
use crate::watch::PairView;
use crate::wire;

/// Bytes after which a share goes on in a further buffer: one that grew with the list would be copied again and again.
const CHUNK_BYTES: usize = 256 << 10;

/// Whether `range` asks for all of its pairs, or their keys, in key order, and for nothing else.
#[must_use]
pub fn is_plain(range: &RangeRequest) -> bool {
    let in_key_order =
        range.sort_target == SortTarget::Key as i32 && range.sort_order != SortOrder::Descend as i32;
    let is_range = !range.range_end.is_empty() && !range.count_only;
    is_range && in_key_order && !is_filtered(range) && range.limit <= 0
}

/// A shard's share of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPart {
    /// The pairs in key order, each a field of a `RangeResponse`. None goes from one buffer into the next.
    chunks: Vec<Vec<u8>>,
    count: u64,
}

impl ListPart {
    /// The share of `shard` at `revision`.
    pub(crate) fn of(shard: &Shard, range: &RangeRequest, revision: Revision) -> Self {
        let mut part = Self::default();
        for pair in shard.range(KeyRange::new(&range.key, &range.range_end), revision) {
            part.push(&pair, !range.keys_only);
        }
        part
    }

    fn push(&mut self, pair: &Pair<'_>, with_value: bool) {
        let value = if with_value { pair.value } else { &[] };
        let view = PairView::of_pair(&Pair { value, ..*pair });
        let chunk = match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_BYTES => chunk,
            // A short list has a short buffer.
            None => self.chunks.push_mut(Vec::new()),
            Some(_) => self.chunks.push_mut(Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 16)),
        };
        view.encode(wire::RANGE_KVS, chunk);
        self.count += 1;
    }

    fn bytes(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    /// The keys and the fields that they stand in.
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.chunks.iter().flat_map(|chunk| {
            let mut rest = &chunk[..];
            std::iter::from_fn(move || {
                let field = wire::first_field(rest)?;
                let (whole, after) = rest.split_at(field.end);
                rest = after;
                // Every pair begins with its key, which is not empty.
                let pair = &whole[field.start..];
                let key = wire::first_field(pair).expect("a pair has a key");
                Some((&pair[key.start..key.end], whole))
            })
        })
    }
}

/// The answer to a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    parts: Vec<ListPart>,
    revision: Revision,
}

impl List {
    /// Of all shards' shares; `revision` is the store's, for the header.
    #[must_use]
    pub(crate) fn new(parts: Vec<ListPart>, revision: Revision) -> Self {
        Self { parts, revision }
    }

    /// Appends the `etcdserverpb.RangeResponse`; `header` is the rest of the header.
    pub fn encode(&self, header: &ResponseHeader, out: &mut Vec<u8>) {
        let header = ResponseHeader { revision: self.revision.0, ..*header };
        let bytes: usize = self.parts.iter().map(ListPart::bytes).sum();
        out.reserve(bytes + header.encoded_len() + 4 * wire::VARINT_BYTES_MAX);
        wire::message_field(wire::RESPONSE_HEADER, header.encoded_len(), out);
        header.encode(out).expect("a vector takes any length");
        match &self.parts[..] {
            [only] => only.chunks.iter().for_each(|chunk| out.extend_from_slice(chunk)),
            several => merge(several, out),
        }
        let count = self.parts.iter().map(|part| part.count).sum();
        wire::varint_field(wire::RANGE_COUNT, count, out);
    }

    /// The same as a message, with nothing but the revision in its header: for who looks into it.
    #[must_use]
    pub fn to_response(&self) -> RangeResponse {
        let mut bytes = Vec::new();
        self.encode(&ResponseHeader::default(), &mut bytes);
        RangeResponse::decode(&*bytes).expect("it was just encoded")
    }
}

/// Appends the pairs of all shares in key order.
fn merge(parts: &[ListPart], out: &mut Vec<u8>) {
    let mut fields: Vec<_> = parts.iter().map(ListPart::fields).collect();
    let mut firsts: BinaryHeap<_> =
        fields.iter_mut().enumerate().filter_map(|(n, fields)| Some(Reverse((fields.next()?, n)))).collect();
    while let Some(Reverse(((_, field), n))) = firsts.pop() {
        out.extend_from_slice(field);
        firsts.extend(fields[n].next().map(|next| Reverse((next, n))));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use windlass_mvcc::Stamp;
    use windlass_types::{LeaseId, LogIndex};

    use super::*;
    use crate::merge::merge_range;
    use crate::read::range_part;

    /// As many shards as `shards`, with keys of a few letters and values that may be longer than a buffer.
    fn store(keys: &[(String, usize)], shards: usize) -> Vec<Shard> {
        let mut store: Vec<Shard> = (0..shards).map(|_| Shard::default()).collect();
        for (revision, (key, len)) in (2..).zip(keys) {
            let shard = &mut store[key.bytes().map(usize::from).sum::<usize>() % shards];
            let stamp = Stamp { index: LogIndex(1), revision: Revision(revision), sub: 0 };
            match len % 5 {
                0 => drop(shard.delete(stamp, key.as_bytes())),
                _ => drop(shard.put(stamp, key.as_bytes(), &vec![7; *len], LeaseId((*len % 2) as i64))),
            }
        }
        store
    }

    proptest! {
        #[test]
        fn a_list_is_the_message_that_a_range_gives(
            keys in prop::collection::vec(("[abc]{1,3}", prop_oneof![0..300_usize, Just(CHUNK_BYTES), Just(CHUNK_BYTES / 3)]), 0..40),
            shards in 1..4_usize,
            keys_only: bool,
            all: bool,
            revision in 1..50_i64,
        ) {
            let store = store(&keys, shards);
            let (key, range_end) = if all { ("\0", "\0") } else { ("ab", "c") };
            let range = RangeRequest { key: key.into(), range_end: range_end.into(), keys_only, ..RangeRequest::default() };
            prop_assert!(is_plain(&range));
            let revision = Revision(revision);
            let parts = store.iter().map(|shard| ListPart::of(shard, &range, revision)).collect();
            let list = List::new(parts, Revision(99));
            let parts = store.iter().map(|shard| range_part(shard, &range, revision)).collect();
            let want = merge_range(&range, parts, Revision(99));
            prop_assert_eq!(list.to_response(), want.clone());
            let header = ResponseHeader { cluster_id: 1, member_id: 2, revision: 0, raft_term: 300 };
            let mut bytes = b"before".to_vec();
            list.encode(&header, &mut bytes);
            let want = RangeResponse { header: Some(ResponseHeader { revision: 99, ..header }), ..want };
            prop_assert_eq!(&bytes[..6], b"before");
            prop_assert!(bytes[6..] == want.encode_to_vec());
        }
    }

    #[test]
    fn what_asks_for_more_than_pairs_in_key_order_is_no_list() {
        let plain = || RangeRequest { key: "a".into(), range_end: "b".into(), ..RangeRequest::default() };
        assert!(is_plain(&plain()));
        assert!(is_plain(&RangeRequest { sort_order: SortOrder::Ascend.into(), revision: 7, ..plain() }));
        let others = [
            RangeRequest { range_end: "".into(), ..plain() },
            RangeRequest { count_only: true, ..plain() },
            RangeRequest { limit: 5000, ..plain() },
            RangeRequest { sort_order: SortOrder::Descend.into(), ..plain() },
            RangeRequest { sort_target: SortTarget::Mod.into(), ..plain() },
            RangeRequest { min_mod_revision: 1, ..plain() },
            RangeRequest { max_create_revision: 1, ..plain() },
        ];
        assert!(!others.iter().any(is_plain));
    }
}
