//! System records: the replicated state that is not keys. Members, leases, alarms, users and roles are kept as records of
//! a name and a value.
//!
//! The sequencer decides them in log order and holds all of them; they are durable in the shards, beside the keys, each
//! in the shard that its name hashes to. So they are flushed, cut, checkpointed, laid out anew and sent to followers
//! like keys, without a format or a recovery of their own. Clients never see them.

use std::collections::BTreeMap;

use bytes::Bytes;
use windlass_types::key::shard_of;
use windlass_types::{LogIndex, Revision, ShardId};

use crate::task::SystemRecords;

/// First bytes of the names of records about members.
pub const MEMBER: &[u8] = b"member/";

/// First bytes of the names of records about members that were removed.
pub const REMOVED: &[u8] = b"removed/";

/// First bytes of the names of records about leases.
pub const LEASE: &[u8] = b"lease/";

/// First bytes of the names of records about alarms.
pub const ALARM: &[u8] = b"alarm/";

/// First bytes of the names of records about authentication as a whole.
pub const AUTH: &[u8] = b"auth/";

/// First bytes of the names of records about users.
pub const USER: &[u8] = b"user/";

/// First bytes of the names of records about roles.
pub const ROLE: &[u8] = b"role/";

/// All system records of a member, and what the entry under way changes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    records: BTreeMap<Bytes, Bytes>,
    /// What the shards were not told of yet; `None` deletes.
    unsent: BTreeMap<Bytes, Option<Bytes>>,
}

impl System {
    /// From what the shards held at a start, in any order.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = (Bytes, Bytes)>) -> Self {
        Self { records: records.into_iter().collect(), unsent: BTreeMap::new() }
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Bytes> {
        self.records.get(name)
    }

    /// The records whose names begin with `prefix`, in order of their names.
    pub fn with_prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> {
        let from =
            self.records.range::<[u8], _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// Writes a record; it becomes durable with the entry under way. Only while an entry is applied.
    pub fn put(&mut self, name: Bytes, value: Bytes) {
        assert!(!name.is_empty(), "a record has a name");
        self.records.insert(name.clone(), value.clone());
        self.unsent.insert(name, Some(value));
    }

    /// Deletes a record, if it is there. Only while an entry is applied.
    pub fn delete(&mut self, name: &[u8]) {
        if let Some((name, _)) = self.records.remove_entry(name) {
            self.unsent.insert(name, None);
        }
    }

    /// Whether the shards know every record.
    #[must_use]
    pub(crate) fn is_sent(&self) -> bool {
        self.unsent.is_empty()
    }

    /// What each of `shards` shards is to be told of the entry at `index`, which leaves the store at `revision`. Each name once, however often the entry
    /// wrote it: records are durable by whole entries.
    pub(crate) fn take_unsent(
        &mut self,
        index: LogIndex,
        revision: Revision,
        shards: u16,
    ) -> BTreeMap<ShardId, SystemRecords> {
        let mut tasks = BTreeMap::new();
        for (name, value) in std::mem::take(&mut self.unsent) {
            let empty = || SystemRecords { index, revision, records: Vec::new() };
            let task = tasks.entry(shard_of(&name, shards)).or_insert_with(empty);
            task.records.push((name, value));
        }
        tasks
    }
}
