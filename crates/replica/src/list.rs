//! Lists: the pairs of a range in key order, encoded by the shards that hold them.
//!
//! A list is the most that a client can ask for at once. On its way from the tree to the answer nothing is made for a pair
//! but its bytes there: each shard encodes its pairs as fields of the response, and the arbiter puts the shards' shares
//! together by looking at keys alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use windlass_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use windlass_api::etcdserverpb::{RangeRequest, RangeResponse};
use windlass_mvcc::{Pair, Shard};
use windlass_types::Revision;
use windlass_types::key::KeyRange;

use crate::merge::is_filtered;
use crate::watch::PairView;
use crate::wire;

/// Bytes after which a share goes on in a further buffer: one that grew with the list would be copied again and again.
const CHUNK_BYTES: usize = 256 << 10;

/// By how many times its bytes a short list's buffer grows.
const GROWTH: usize = 7;

/// Whether `range` takes its pairs as they come in key order: all of them, or the first.
#[must_use]
pub fn is_plain(range: &RangeRequest) -> bool {
    let in_key_order =
        range.sort_target == SortTarget::Key as i32 && range.sort_order != SortOrder::Descend as i32;
    in_key_order && !is_filtered(range)
}

/// Most pairs that the answer to a [plain](is_plain) range has.
fn pairs_max(range: &RangeRequest) -> usize {
    match range.limit {
        _ if range.count_only => 0,
        ..=0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

/// A shard's share of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPart {
    /// The pairs in key order, each a field of a `RangeResponse`. None goes from one buffer into the next.
    chunks: Vec<Vec<u8>>,
    /// Where the last pair's field begins in the last buffer.
    last_start: usize,
    /// Pairs.
    len: usize,
    /// Keys in the range on this shard, without limit.
    count: u64,
}

impl ListPart {
    /// The share of `shard` at `revision`.
    pub(crate) fn of(shard: &Shard, range: &RangeRequest, revision: Revision) -> Self {
        let (keys, pairs_max) = (KeyRange::new(&range.key, &range.range_end), pairs_max(range));
        let mut part = Self::default();
        if let KeyRange::Point(key) = keys {
            let found = shard.get(key, revision);
            part.count = u64::from(found.is_some());
            if let Some(pair) = found.filter(|_| pairs_max > 0) {
                part.push(&pair, !range.keys_only);
            }
            return part;
        }
        for pair in shard.range(keys, revision).take(pairs_max) {
            part.push(&pair, !range.keys_only);
        }
        // A walk that the limit did not end has met every key.
        part.count = if part.len < pairs_max { part.len as u64 } else { shard.count(keys, revision) };
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
        self.last_start = chunk.len();
        if chunk.capacity() - chunk.len() < view.bytes_max() {
            // Each growth copies what is there: few of them lead to a full buffer.
            chunk.reserve((GROWTH * chunk.len()).min(CHUNK_BYTES));
        }
        view.encode(wire::RANGE_KVS, chunk);
        self.len += 1;
    }

    fn bytes(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    fn last_key(&self) -> Option<&[u8]> {
        let (key, _) = first_pair(&self.chunks.last()?[self.last_start..])?;
        Some(key)
    }

    /// The keys and the fields that they stand in.
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.chunks.iter().flat_map(|chunk| {
            let mut rest = &chunk[..];
            std::iter::from_fn(move || {
                let (key, field) = first_pair(rest)?;
                rest = &rest[field.len()..];
                Some((key, field))
            })
        })
    }
}

/// The key of the pair that `fields` begin with, and the field that it stands in; none if there are no fields.
fn first_pair(fields: &[u8]) -> Option<(&[u8], &[u8])> {
    let content = wire::first_field(fields)?;
    let field = &fields[..content.end];
    // Every pair begins with its key, which is not empty.
    let pair = &field[content.start..];
    let key = wire::first_field(pair).expect("a pair has a key");
    Some((&pair[key], field))
}

/// All shards' shares of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    parts: Vec<ListPart>,
    /// No more are taken of them.
    pairs_max: usize,
}

impl List {
    /// What is answered to `range`, of the shares of all shards that it touches.
    #[must_use]
    pub(crate) fn new(range: &RangeRequest, parts: Vec<ListPart>) -> Self {
        Self { parts, pairs_max: pairs_max(range) }
    }

    /// Pairs of the answer.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.found().min(self.pairs_max)
    }

    /// What the response holds beside the pairs, without a header.
    #[must_use]
    pub fn totals(&self) -> RangeResponse {
        let count = self.parts.iter().map(|part| part.count).sum::<u64>();
        RangeResponse {
            more: self.pairs_max > 0 && count > self.pairs_max as u64,
            count: i64::try_from(count).expect("keys fit into memory"),
            ..RangeResponse::default()
        }
    }

    /// Roughly the bytes that [`encode`](Self::encode) appends.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bytes: usize = self.parts.iter().map(ListPart::bytes).sum();
        match self.found() {
            0 => 0,
            found => bytes * self.taken() / found,
        }
    }

    /// Appends a `RangeResponse` with these pairs and everything else as in `others`. Returns the last pair's key.
    pub fn encode(&self, others: &RangeResponse, out: &mut Vec<u8>) -> Option<&[u8]> {
        out.reserve(self.bytes() + OTHERS_BYTES_MAX);
        if let Some(header) = &others.header {
            wire::message(wire::RESPONSE_HEADER, header, out);
        }
        let last_key = match &self.parts[..] {
            [only] => {
                only.chunks.iter().for_each(|chunk| out.extend_from_slice(chunk));
                only.last_key()
            }
            several => merge(several, self.pairs_max, out),
        };
        wire::varint_field(wire::RANGE_MORE, u64::from(others.more), out);
        wire::varint_field(wire::RANGE_COUNT, others.count as u64, out);
        last_key
    }

    /// As [`encode`](Self::encode), for a `RangeStreamResponse`.
    pub fn encode_chunk(&self, others: &RangeResponse, out: &mut Vec<u8>) -> Option<&[u8]> {
        let start = out.len();
        let last_key = self.encode(others, out);
        wire::enclose([wire::CHUNK_RANGE], start, out);
        last_key
    }

    /// Pairs that the shards found: as many as there are, or each as many as could be needed.
    fn found(&self) -> usize {
        self.parts.iter().map(|part| part.len).sum()
    }
}

/// Most bytes of a response beside its pairs: the header's four numbers and its front, and two numbers.
const OTHERS_BYTES_MAX: usize = 7 * (1 + wire::VARINT_BYTES_MAX);

/// Appends the first pairs of all shares in key order. Returns the last one's key.
fn merge<'a>(parts: &'a [ListPart], pairs_max: usize, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut fields: Vec<_> = parts.iter().map(ListPart::fields).collect();
    let mut firsts: BinaryHeap<_> =
        fields.iter_mut().enumerate().filter_map(|(n, fields)| Some(Reverse((fields.next()?, n)))).collect();
    let mut last_key = None;
    for _ in 0..pairs_max {
        let Some(Reverse(((key, field), n))) = firsts.pop() else { break };
        out.extend_from_slice(field);
        last_key = Some(key);
        firsts.extend(fields[n].next().map(|next| Reverse((next, n))));
    }
    last_key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use windlass_api::etcdserverpb::RangeStreamResponse;
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

    /// All, bounded, none, and one key that may be there.
    const RANGES: [(&str, &str); 4] = [("\0", "\0"), ("ab", "c"), ("b", "b"), ("ab", "")];

    proptest! {
        #[test]
        fn a_list_is_the_message_that_a_range_gives(
            keys in prop::collection::vec(("[abc]{1,3}", prop_oneof![0..300_usize, Just(CHUNK_BYTES), Just(CHUNK_BYTES / 3)]), 0..40),
            shards in 1..4_usize,
            range in prop::sample::select(&RANGES),
            keys_only: bool,
            count_only: bool,
            limit in -1..30_i64,
            revision in 1..50_i64,
        ) {
            let store = store(&keys, shards);
            let range = RangeRequest {
                key: range.0.into(),
                range_end: range.1.into(),
                keys_only,
                count_only,
                limit,
                ..RangeRequest::default()
            };
            prop_assert!(is_plain(&range));
            let revision = Revision(revision);
            let list = List::new(&range, store.iter().map(|shard| ListPart::of(shard, &range, revision)).collect());
            let parts = store.iter().map(|shard| range_part(shard, &range, revision)).collect();
            let want = merge_range(&range, parts, Revision(99));
            prop_assert_eq!(list.taken(), want.kvs.len());
            let totals = RangeResponse { header: want.header, ..list.totals() };
            let mut bytes = b"before".to_vec();
            let last_key = list.encode(&totals, &mut bytes);
            prop_assert_eq!(last_key, want.kvs.last().map(|kv| &kv.key[..]));
            prop_assert_eq!(&bytes[..6], b"before");
            prop_assert!(bytes[6..] == want.encode_to_vec());
            let mut bytes = b"before".to_vec();
            list.encode_chunk(&totals, &mut bytes);
            let want = RangeStreamResponse { range_response: Some(want) };
            prop_assert!(bytes[6..] == want.encode_to_vec());
        }
    }

    #[test]
    fn what_asks_for_another_order_or_some_revisions_is_not_plain() {
        let plain = || RangeRequest { key: "a".into(), range_end: "b".into(), ..RangeRequest::default() };
        assert!(is_plain(&plain()));
        assert!(is_plain(&RangeRequest {
            sort_order: SortOrder::Ascend.into(),
            revision: 7,
            limit: 5,
            ..plain()
        }));
        let others = [
            RangeRequest { sort_order: SortOrder::Descend.into(), ..plain() },
            RangeRequest { sort_target: SortTarget::Mod.into(), ..plain() },
            RangeRequest { min_mod_revision: 1, ..plain() },
            RangeRequest { max_create_revision: 1, ..plain() },
        ];
        assert!(!others.iter().any(is_plain));
    }
}
