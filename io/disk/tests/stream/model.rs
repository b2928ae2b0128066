//! What a store holds: every version that was ever written, and the rule by which compaction forgets.

use std::collections::{BTreeMap, BTreeSet};

use windlass_records::state::State;
use windlass_records::wal::{Live, Record, Version};
use windlass_types::{LeaseId, LogIndex, Revision, ShardId, Term, key::shard_of};

use crate::world::Rng;

/// One version, owned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owned {
    pub key: Vec<u8>,
    pub revision: Revision,
    pub index: LogIndex,
    pub value: Option<Vec<u8>>,
}

impl Owned {
    pub fn of(record: &Record<'_>) -> Self {
        let Record::Version(v) = record else { panic!("{record:?} was never written") };
        let value = v.live.map(|live| live.value.to_vec());
        Self { key: v.key.to_vec(), revision: v.revision, index: v.index, value }
    }

    pub fn version(&self) -> Version<'_> {
        let live = self.value.as_ref().map(|value| Live {
            create_revision: self.revision,
            version: 1,
            lease: LeaseId(0),
            value,
        });
        Version { index: self.index, revision: self.revision, sub: 0, key: &self.key, live }
    }
}

/// The effects of one log entry.
pub struct Entry {
    pub versions: Vec<Owned>,
    pub state: State,
}

/// The whole log, from index 1; every member that applies it gets the same.
#[derive(Default)]
pub struct Log {
    pub entries: Vec<Entry>,
}

impl Log {
    pub fn state(&self, index: LogIndex) -> State {
        index.0.checked_sub(1).map_or(State::EMPTY, |at| self.entries[at as usize].state)
    }

    pub fn last(&self) -> LogIndex {
        LogIndex(self.entries.len() as u64)
    }

    /// The entry at `index`, made up if the log does not reach it yet.
    pub fn entry(&mut self, index: LogIndex, rng: &mut Rng) -> &Entry {
        while self.last() < index {
            let entry = self.invent(rng);
            self.entries.push(entry);
        }
        &self.entries[index.0 as usize - 1]
    }

    /// What `shard` of `shards` holds at `index`.
    pub fn held(&self, shard: ShardId, shards: u16, index: LogIndex) -> BTreeSet<Owned> {
        let mut held: BTreeSet<_> = self.entries[..index.0 as usize]
            .iter()
            .flat_map(|e| &e.versions)
            .filter(|v| shard_of(&v.key, shards) == shard)
            .cloned()
            .collect();
        compact(&mut held, self.state(index).compact_revision);
        held
    }

    fn invent(&self, rng: &mut Rng) -> Entry {
        let before = self.state(self.last());
        let index = before.index.next();
        let mut state = State { index, term: Term(1 + index.0 / 50), ..before };
        let mut versions = Vec::new();
        if rng.below(12) == 0 && state.revision > state.compact_revision {
            let above = state.revision.0 - state.compact_revision.0;
            state.compact_revision.0 += 1 + rng.below(above as u64) as i64;
        } else {
            for _ in 0..rng.below(4) {
                state.revision = state.revision.next();
                let key = format!("key{}", rng.below(24)).into_bytes();
                let value = (rng.below(4) > 0).then(|| vec![index.0 as u8; rng.below(1500) as usize]);
                versions.push(Owned { key, revision: state.revision, index, value });
            }
        }
        Entry { versions, state }
    }
}

/// Forgets what a compaction at `revision` takes away: what a newer version at or below it hides, and tombstones.
pub fn compact(held: &mut BTreeSet<Owned>, revision: Revision) {
    let mut newest = BTreeMap::new();
    for v in held.iter().filter(|v| v.revision <= revision) {
        newest.insert(v.key.clone(), v.revision);
    }
    held.retain(|v| v.revision > revision || (newest[&v.key] == v.revision && v.value.is_some()));
}
