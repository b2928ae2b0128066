//! What watchers read: changes with what they replaced, in order of revision.

use windlass_records::wal;
use windlass_types::Revision;
use windlass_types::key::KeyRange;

use crate::revision_log::Change as Logged;
use crate::shard::{Pair, Shard};
use crate::slots::Slot;
use crate::versions::Record;

/// One change, and the pair that it replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The change.
    pub version: wal::Version<'a>,
    /// The pair as it was one revision before, for a change that did not create it; `None` too if that is compacted.
    pub previous: Option<Pair<'a>>,
}

impl Shard {
    /// The newest revision that changed a key here; zero if all is compacted or nothing ever did.
    #[must_use]
    pub fn newest_change(&self) -> Revision {
        self.log.back().map_or(Revision::ZERO, |change| change.revision)
    }

    /// Goes through the changes of `from` and later: each item is a change's revision and, if its key is in `range` and
    /// it is not compacted, the change. Items without a change are what the walk costs.
    pub fn walk_changes<'a>(
        &'a self,
        range: KeyRange<'a>,
        from: Revision,
    ) -> impl Iterator<Item = (Revision, Option<Change<'a>>)> {
        self.log.from(from).map(move |logged| (logged.revision, self.find_change(range, logged)))
    }

    /// The changes of one key, of `from` and later, that are not compacted. Costs what it gives.
    pub fn key_changes<'a>(&'a self, key: &'a [u8], from: Revision) -> impl Iterator<Item = Change<'a>> {
        let slot = self.tree.locate(&self.slots, key).found().map(|id| self.slots.get(id));
        let before = (Revision(from.0 - 1), u32::MAX);
        slot.into_iter()
            .flat_map(move |slot| slot.chain.after(Some(before)).map(move |record| (slot, record)))
            .filter(|(slot, record)| self.is_kept(slot, record))
            .map(|(slot, record)| self.change(slot, record))
    }

    fn find_change<'a>(&'a self, range: KeyRange<'a>, logged: &Logged) -> Option<Change<'a>> {
        let slot = self.slots.find(logged.key)?;
        if !range.contains(slot.key.as_slice()) {
            return None;
        }
        let record = slot.chain.find((logged.revision, logged.sub))?;
        self.is_kept(slot, record).then(|| self.change(slot, record))
    }

    /// What compaction is about to drop is gone for watchers, however far it has come.
    fn is_kept(&self, slot: &Slot, record: &Record) -> bool {
        let compact = self.compact_revision();
        record.stamp.revision >= compact
            || slot.chain.at(compact).is_some_and(|newest| newest.order() == record.order())
    }

    fn change<'a>(&self, slot: &'a Slot, record: &'a Record) -> Change<'a> {
        let revision = record.stamp.revision;
        let before = Revision(revision.0 - 1);
        let is_create = record.is_live() && record.create_revision == revision;
        let previous = if is_create || before < self.compact_revision() {
            None
        } else {
            slot.chain.at(before).filter(|old| old.is_live()).map(|old| old.pair(slot.key.as_slice()))
        };
        Change { version: record.to_wal(slot.key.as_slice()), previous }
    }
}
