//! What changed, in order of revision: for watchers that catch up, for compaction, and for counts in the past.
//!
//! It holds ids, not keys and values: a change is looked up in its key's versions, and one that is gone from there
//! was compacted.

use windlass_types::Revision;

use crate::chunked::Chunked;
use crate::slots::{KeyId, Slots};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) revision: Revision,
    pub(crate) sub: u32,
    pub(crate) key: KeyId,
}

const _: () = assert!(size_of::<Change>() == 16);

/// Changes in order of (revision, sub, key).
#[derive(Default)]
pub(crate) struct RevisionLog {
    changes: Chunked<Change>,
    /// Whether changes were loaded in any order and are not sorted yet.
    unsorted: bool,
}

impl RevisionLog {
    /// Appends the newest change.
    pub(crate) fn push(&mut self, change: Change) {
        debug_assert!(!self.unsorted, "loading ends before changes are made");
        debug_assert!(
            self.changes.back().is_none_or(|b| (b.revision, b.sub) <= (change.revision, change.sub))
        );
        self.changes.push_back(change);
    }

    /// Adds a change anywhere; [`sort`](Self::sort) must follow.
    pub(crate) fn load(&mut self, change: Change) {
        self.unsorted = true;
        self.changes.push_back(change);
    }

    /// Ends loading.
    pub(crate) fn sort(&mut self, slots: &Slots) {
        if std::mem::take(&mut self.unsorted) {
            let order = |c: &Change| (c.revision, c.sub);
            self.changes
                .sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| slots.key(a.key).cmp(slots.key(b.key))));
        }
    }

    /// The changes of `revision` and later.
    pub(crate) fn from(
        &self,
        revision: Revision,
    ) -> impl ExactSizeIterator<Item = &Change> + DoubleEndedIterator {
        let start = self.changes.partition_point(|c| c.revision < revision);
        self.changes.range_from(start)
    }

    /// The newest change.
    pub(crate) fn back(&self) -> Option<&Change> {
        self.changes.back()
    }

    /// The change at `position`, counted from the oldest.
    pub(crate) fn get(&self, position: usize) -> Option<Change> {
        self.changes.get(position).copied()
    }

    /// Drops the oldest change.
    pub(crate) fn pop(&mut self) {
        self.changes.pop_front();
    }
}
