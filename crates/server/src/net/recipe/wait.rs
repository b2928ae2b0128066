//! Waiting for one's turn: until all keys of a prefix that were created before are gone.

use windlass_api::etcdserverpb::WatchCreateRequest;
use windlass_api::etcdserverpb::range_request::SortOrder;
use windlass_api::etcdserverpb::watch_create_request::FilterType;
use windlass_api::mvccpb::event::EventType;

use super::store::{Failure, Store, created};

/// Waits until no key under `prefix` has a create revision of at most `max_create_revision`. Only the newest of them is
/// watched, so the end of one call wakes one other.
pub async fn deletes(store: &Store, prefix: &[u8], max_create_revision: i64) -> Result<(), Failure> {
    let newest = created(prefix, SortOrder::Descend, max_create_revision);
    loop {
        let found = store.range(&newest).await?;
        let Some(kv) = found.kvs.first() else { return Ok(()) };
        delete(store, &kv.key, found.header.map_or(0, |header| header.revision)).await?;
    }
}

/// Waits until a key that was there at `revision` is deleted, or may have been.
async fn delete(store: &Store, key: &[u8], revision: i64) -> Result<(), Failure> {
    let mut watching = store.watch(WatchCreateRequest {
        key: key.to_vec().into(),
        start_revision: revision,
        filters: vec![FilterType::Noput as i32],
        ..WatchCreateRequest::default()
    });
    loop {
        // After a compaction it is looked at anew.
        let Some(response) = watching.next().await? else { return Ok(()) };
        if response.events.iter().any(|event| event.r#type() == EventType::Delete) {
            return Ok(());
        }
    }
}
