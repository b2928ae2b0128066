//! A piece of a shard's history, for a watcher that catches up.

use windlass_mvcc::{Change, Shard};
use windlass_types::Revision;
use windlass_types::key::KeyRange;

use super::events::EventsBuilder;
use crate::task::{Changes, ChangesQuery};

/// Changes that one piece goes through, whether they are in its range or not: some hundred microseconds, which the shard's
/// other work can wait.
const WALKED_MAX: usize = 4096;

/// Bytes after which a piece ends though few changes were gone through. One revision is never divided.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// Answers the query as far as the bounds allow.
#[must_use]
pub fn changes(shard: &Shard, query: &ChangesQuery) -> Changes {
    if query.from < shard.compact_revision() {
        return Changes::Compacted(shard.compact_revision());
    }
    let range = KeyRange::new(&query.key, &query.range_end);
    match range {
        KeyRange::Point(key) => {
            let walk = shard.key_changes(key, query.from);
            collect(query, walk.map(|change| (change.version.revision, Some(change))))
        }
        KeyRange::Bounded(..) | KeyRange::From(_) => collect(query, shard.walk_changes(range, query.from)),
    }
}

fn collect<'a>(query: &ChangesQuery, walk: impl Iterator<Item = (Revision, Option<Change<'a>>)>) -> Changes {
    let mut events = EventsBuilder::default();
    let (mut walked, mut last) = (0, None);
    for (revision, change) in walk.take_while(|(revision, _)| *revision <= query.through) {
        if let Some(last) = last.filter(|&last| last < revision)
            && (walked >= WALKED_MAX || events.bytes() >= PIECE_BYTES_MAX)
        {
            return Changes::Found { events: events.finish(), through: last };
        }
        if let Some(change) = change {
            events.push(&change, query.with_previous);
        }
        walked += 1;
        last = Some(revision);
    }
    Changes::Found { events: events.finish(), through: query.through }
}
