//! Which keys are attached to which lease, by the newest version of each key.

use std::collections::{BTreeMap, BTreeSet};

use windlass_types::LeaseId;

use crate::slots::KeyId;

/// The index; a lease without keys is not in it.
#[derive(Default)]
pub(crate) struct Leases {
    keys: BTreeMap<LeaseId, BTreeSet<KeyId>>,
}

impl Leases {
    /// Moves a key from one lease to another; zero is no lease.
    pub(crate) fn change(&mut self, key: KeyId, from: LeaseId, to: LeaseId) {
        if from == to {
            return;
        }
        if let Some(keys) = self.keys.get_mut(&from) {
            keys.remove(&key);
            if keys.is_empty() {
                self.keys.remove(&from);
            }
        }
        if to != LeaseId::ZERO {
            self.keys.entry(to).or_default().insert(key);
        }
    }

    /// The keys of a lease, in no useful order.
    pub(crate) fn keys(&self, lease: LeaseId) -> impl Iterator<Item = KeyId> + '_ {
        self.keys.get(&lease).into_iter().flatten().copied()
    }
}
