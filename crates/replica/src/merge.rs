//! From the shards' shares of a range to its response: filters, order, limit and counts as etcd has them. Source: etcd
//! `server/etcdserver/txn/range.go`.
//!
//! Nothing here may look at a shard.

use windlass_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use windlass_api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use windlass_api::mvccpb::KeyValue;
use windlass_types::Revision;

use crate::task::RangePart;

/// How many keys, in key order, are enough to answer `request`; `None` if all are needed.
#[must_use]
pub fn keys_needed(request: &RangeRequest) -> Option<usize> {
    // A target without an order is sorted too, and yet etcd fetches no more than the first keys for it.
    let in_key_order = match order(request) {
        SortOrder::None => true,
        SortOrder::Ascend => target(request) == SortTarget::Key,
        SortOrder::Descend => false,
    };
    if is_filtered(request) || !in_key_order || request.limit <= 0 {
        return None;
    }
    // One more than asked for tells whether there are more.
    Some(usize::try_from(request.limit).map_or(usize::MAX, |limit| limit.saturating_add(1)))
}

/// Whether `request` has filters that a pair must pass.
pub(crate) fn is_filtered(request: &RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

/// Whether a pair passes the filters of `request`.
#[must_use]
pub fn passes(request: &RangeRequest, mod_revision: i64, create_revision: i64) -> bool {
    let within = |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(create_revision, request.min_create_revision, request.max_create_revision)
}

/// Whether the shards must send values.
#[must_use]
pub fn needs_values(request: &RangeRequest) -> bool {
    !request.keys_only || target(request) == SortTarget::Value
}

/// Puts the shards' shares together. `revision` is the store's, for the header.
#[must_use]
pub fn merge_range(request: &RangeRequest, parts: Vec<RangePart>, revision: Revision) -> RangeResponse {
    let count = parts.iter().map(|part| part.count).sum::<u64>();
    let mut kvs = match <[RangePart; 1]>::try_from(parts) {
        Ok([only]) => only.kvs,
        Err(parts) => merge_by_key(parts.into_iter().map(|part| part.kvs).collect()),
    };
    if let Some(enough) = keys_needed(request) {
        kvs.truncate(enough);
    }
    sort(&mut kvs, request);
    let limit = usize::try_from(request.limit).ok().filter(|&limit| limit > 0);
    let more = limit.is_some_and(|limit| kvs.len() > limit);
    kvs.truncate(limit.unwrap_or(usize::MAX));
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value.clear());
    }
    let header = Some(ResponseHeader { revision: revision.0, ..ResponseHeader::default() });
    RangeResponse { header, kvs, more, count: i64::try_from(count).expect("keys fit into memory") }
}

/// Merges runs that are each in key order.
#[must_use]
pub fn merge_by_key(mut runs: Vec<Vec<KeyValue>>) -> Vec<KeyValue> {
    if runs.len() == 1 {
        return runs.remove(0);
    }
    let mut all: Vec<KeyValue> = runs.into_iter().flatten().collect();
    // The standard sort finds the ascending runs and merges them.
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all
}

/// Ties stay in key order, whatever the direction: that is what etcd's sort does on short lists, and on long ones its
/// order is unspecified.
fn sort(kvs: &mut [KeyValue], request: &RangeRequest) {
    type Compare = fn(&KeyValue, &KeyValue) -> std::cmp::Ordering;
    let compare: Compare = match target(request) {
        SortTarget::Key => |a, b| a.key.cmp(&b.key),
        SortTarget::Version => |a, b| a.version.cmp(&b.version),
        SortTarget::Create => |a, b| a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => |a, b| a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => |a, b| a.value.cmp(&b.value),
    };
    match (target(request), order(request)) {
        (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => {}
        (_, SortOrder::None | SortOrder::Ascend) => kvs.sort_by(compare),
        (_, SortOrder::Descend) => kvs.sort_by(|a, b| compare(b, a)),
    }
}

/// Values that the enum does not know are refused before they come here.
fn order(request: &RangeRequest) -> SortOrder {
    SortOrder::try_from(request.sort_order).unwrap_or(SortOrder::None)
}

fn target(request: &RangeRequest) -> SortTarget {
    SortTarget::try_from(request.sort_target).unwrap_or(SortTarget::Key)
}
