//! Gets: reads of one key as it is now, which most reads are.
//!
//! Nothing is made for one but the bytes of its answer: its request is read where it lies, and the answer is encoded straight
//! from the shard. Whatever else a read asks for, and whatever has to wait for a shard, goes the way of all reads
//! ([`reading`](crate::reading)), with the same answer.

use windlass_api::etcdserverpb::ResponseHeader;
use windlass_mvcc::Pair;
use windlass_types::key::shard_of;

use crate::fields::bytes;
use crate::reading::Snapshot;
use crate::shard::View;
use crate::watch::PairView;
use crate::wire;

const KEY: u8 = 0x0a; // field 1, length-delimited
const RANGE_END: u8 = 0x12; // field 2, length-delimited
const SERIALIZABLE: u8 = 0x38; // field 7, varint

/// The other fields, from `limit` to `max_create_revision`: all varints.
const OTHERS: [u8; 10] = [0x18, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x58, 0x60, 0x68];

/// A borrowed view of an encoded `RangeRequest` that asks for one key as it is now.
///
/// As [`PutView`](crate::put_view::PutView), it must never accept bytes that a full decoding would read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetView<'a> {
    /// The key; never empty.
    pub key: &'a [u8],
    /// Whether the member that is asked may answer from what it has.
    pub serializable: bool,
}

impl<'a> GetView<'a> {
    /// Reads `request`; `None` if it asks for anything else.
    #[must_use]
    pub fn scan(request: &'a [u8]) -> Option<Self> {
        let mut get = Self { key: &[], serializable: false };
        let mut at = 0;
        while let Some(&tag) = request.get(at) {
            at += 1;
            match tag {
                KEY => get.key = bytes(request, &mut at)?.of(request),
                RANGE_END if *request.get(at)? == 0 => at += 1,
                SERIALIZABLE if *request.get(at)? <= 1 => {
                    get.serializable = request[at] == 1;
                    at += 1;
                }
                tag if OTHERS.contains(&tag) && *request.get(at)? == 0 => at += 1,
                _ => return None,
            }
        }
        (!get.key.is_empty()).then_some(get)
    }
}

/// Looks a key up as of `snapshot`, if that is possible now, and gives `found` what there is; `views` in the order of the
/// shards' numbers. False if it is to be read as any other read: its shard must be asked, or has compacted the revision.
pub fn look_up(
    views: &[View],
    key: &[u8],
    snapshot: Snapshot,
    found: impl FnOnce(Option<&Pair<'_>>),
) -> bool {
    let shards = u16::try_from(views.len()).expect("shards are bounded by SHARDS_MAX");
    let Some(shard) = views[usize::from(shard_of(key, shards).0)].look(snapshot.index) else { return false };
    let is_kept = snapshot.revision >= shard.compact_revision();
    if is_kept {
        found(shard.get(key, snapshot.revision).as_ref());
    }
    is_kept
}

/// Appends the `etcdserverpb.RangeResponse` to a get that found `pair`.
pub fn encode(pair: Option<&Pair<'_>>, header: &ResponseHeader, out: &mut Vec<u8>) {
    wire::message(wire::RESPONSE_HEADER, header, out);
    if let Some(pair) = pair {
        PairView::of_pair(pair).encode(wire::RANGE_KVS, out);
        wire::varint_field(wire::RANGE_COUNT, 1, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use windlass_api::etcdserverpb::{RangeRequest, RangeResponse};
    use windlass_mvcc::{Shard, Stamp};
    use windlass_types::{LeaseId, LogIndex, Revision};

    use super::*;
    use crate::merge::merge_range;
    use crate::read::range_part;

    proptest! {
        #[test]
        fn gets_are_read(key: Vec<u8>, serializable: bool) {
            let request = RangeRequest { key: key.clone().into(), serializable, ..RangeRequest::default() };
            let view = GetView { key: &key, serializable };
            let encoded = request.encode_to_vec();
            prop_assert_eq!(GetView::scan(&encoded), (!key.is_empty()).then_some(view));
        }

        #[test]
        fn agrees_with_prost_on_any_bytes(
            request in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![0_u8, 1, 2, 3, KEY, RANGE_END, SERIALIZABLE, 0x80, 0xff]),
                    prop::sample::select(OTHERS.to_vec()),
                    // A group and its end; a number of no field.
                    prop::sample::select(vec![0x0b_u8, 0x0c, 0x78]),
                ],
                0..24,
            ),
        ) {
            if let Some(GetView { key, serializable }) = GetView::scan(&request) {
                let full = RangeRequest::decode(&request[..]).unwrap();
                let want = RangeRequest { key: key.to_vec().into(), serializable, ..RangeRequest::default() };
                prop_assert_eq!(full, want);
            }
        }

        #[test]
        fn a_get_is_answered_as_a_range_of_one_key(
            puts in prop::collection::vec(("[ab]", ".{0,3}", 0..2_i64), 0..6),
            key in "[abc]",
            revision in 1..9_i64,
        ) {
            let mut shard = Shard::default();
            for (revision, (key, value, lease)) in (2..).zip(&puts) {
                let stamp = Stamp { index: LogIndex(1), revision: Revision(revision), sub: 0 };
                match value.len() {
                    3 => drop(shard.delete(stamp, key.as_bytes())),
                    _ => drop(shard.put(stamp, key.as_bytes(), value.as_bytes(), LeaseId(*lease))),
                }
            }
            let request = RangeRequest { key: key.clone().into(), ..RangeRequest::default() };
            let part = range_part(&shard, &request, Revision(revision));
            let header = ResponseHeader { cluster_id: 1, member_id: 2, revision, raft_term: 300 };
            let want = RangeResponse { header: Some(header), ..merge_range(&request, vec![part], Revision(0)) };
            let mut answer = b"before".to_vec();
            encode(shard.get(key.as_bytes(), Revision(revision)).as_ref(), &header, &mut answer);
            prop_assert_eq!(answer, [b"before", &want.encode_to_vec()[..]].concat());
        }
    }

    #[test]
    fn what_asks_for_more_is_no_get() {
        let get = || RangeRequest { key: "k".into(), ..RangeRequest::default() };
        let others = [
            RangeRequest { key: "".into(), ..get() },
            RangeRequest { range_end: "l".into(), ..get() },
            RangeRequest { limit: 1, ..get() },
            RangeRequest { revision: 1, ..get() },
            RangeRequest { sort_order: 1, ..get() },
            RangeRequest { sort_target: 1, ..get() },
            RangeRequest { keys_only: true, ..get() },
            RangeRequest { count_only: true, ..get() },
            RangeRequest { min_mod_revision: 1, ..get() },
            RangeRequest { max_mod_revision: 1, ..get() },
            RangeRequest { min_create_revision: 1, ..get() },
            RangeRequest { max_create_revision: 1, ..get() },
        ];
        assert!(others.iter().all(|other| GetView::scan(&other.encode_to_vec()).is_none()));
    }

    #[test]
    fn what_must_wait_or_is_compacted_is_read_as_any_other() {
        let mut shard = Shard::default();
        for revision in [2, 3] {
            let stamp = Stamp { index: LogIndex(7), revision: Revision(revision), sub: 0 };
            shard.put(stamp, b"key", b"value", LeaseId::ZERO);
        }
        shard.compact(Revision(3));
        let views = [View::new(shard, LogIndex(7))];
        let look = |index, revision| {
            let compact_revision = Revision(-1);
            let snapshot =
                Snapshot { index: LogIndex(index), revision: Revision(revision), compact_revision };
            let mut seen = None;
            let done = look_up(&views, b"key", snapshot, |pair| seen = pair.map(|pair| pair.mod_revision.0));
            (done, seen)
        };
        assert_eq!(look(7, 3), (true, Some(3)));
        assert_eq!(look(8, 3), (false, None));
        assert_eq!(look(7, 2), (false, None));
    }
}
