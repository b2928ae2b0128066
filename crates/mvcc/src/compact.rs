//! Compaction: forgetting versions that no reader may ask for any more, in bounded slices.
//!
//! The newest version at or below the compaction revision stays, unless it is a tombstone below that revision, and so does
//! everything at exactly that revision: a watcher may start there.
//! Reads below the revision are refused from the first moment, so that no reader sees a slice half done.

use windlass_types::Revision;

use crate::revision_log::Change;
use crate::shard::{Shard, cost};

/// Versions of a key that one change in the revision log may drop: its own, and one that was kept by an earlier
/// compaction and is in the log no more.
const DROPPED_PER_CHANGE_MAX: usize = 2;

/// How far compaction is.
pub(crate) struct Compaction {
    revision: Revision,
    done: bool,
    /// Changes at exactly `revision` that were gone through; they stay in the log, for watchers that start there.
    kept: usize,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { revision: Revision(-1), done: true, kept: 0 }
    }
}

impl Shard {
    /// Starts to compact at `revision`; nothing happens if that is not above the last one. Work is left to
    /// [`compact_step`](Self::compact_step).
    pub fn compact(&mut self, revision: Revision) {
        if revision > self.compaction.revision {
            self.compaction = Compaction { revision, done: false, kept: 0 };
        }
    }

    /// Reads below this revision must be refused; -1 before the first compaction.
    #[must_use]
    pub fn compact_revision(&self) -> Revision {
        self.compaction.revision
    }

    /// Goes through at most `budget` changes; says whether compaction is done.
    pub fn compact_step(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            if self.compaction.done {
                break;
            }
            match self.log.get(self.compaction.kept) {
                Some(change) if change.revision < self.compaction.revision => {
                    self.compact_change(change);
                    self.log.pop();
                }
                Some(change) if change.revision == self.compaction.revision => {
                    self.compact_change(change);
                    self.compaction.kept += 1;
                }
                _ => self.compaction.done = true,
            }
        }
        self.compaction.done
    }

    fn compact_change(&mut self, change: Change) {
        let Change { key: id, revision, sub } = change;
        let compact = self.compaction.revision;
        // Where one revision wrote a key twice the first version may be gone, and with it the key and its slot.
        if self.slots.find(id).is_none_or(|slot| slot.chain.find((revision, sub)).is_none()) {
            return;
        }
        let slot = self.slots.get_mut(id);
        for _ in 0..DROPPED_PER_CHANGE_MAX {
            let Some(record) = slot.chain.pop_compacted(compact) else { break };
            self.forgotten.add(&record.to_wal(slot.key.as_slice()));
            self.usage.versions -= 1;
            self.usage.bytes -= cost(slot.key.as_slice(), record.value.len());
            self.totals.compacted += 1;
        }
        if slot.chain.is_spent(compact) {
            self.forgotten.add(&slot.chain.newest().to_wal(slot.key.as_slice()));
            self.usage.versions -= 1;
            self.usage.bytes -= cost(slot.key.as_slice(), 0);
            self.totals.compacted += 1;
            let path = self.tree.locate(&self.slots, self.slots.key(id));
            self.tree.remove(&self.slots, &path);
            self.slots.remove(id);
        }
    }
}
