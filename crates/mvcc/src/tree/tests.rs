//! The tree against a naive map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use windlass_types::{LogIndex, Revision};

use super::*;
use crate::slots::Slot;
use crate::versions::{Chain, Record, Stamp};

/// The tree and the naive map that it must agree with.
#[derive(Default)]
struct Both {
    slots: Slots,
    tree: Tree,
    model: BTreeMap<Vec<u8>, bool>,
}

impl Both {
    fn set(&mut self, key: &[u8], live: bool) {
        let path = self.tree.locate(&self.slots, key);
        if path.found().is_some() {
            self.tree.set_live(&path, live);
        } else {
            let stamp = Stamp { index: LogIndex(1), revision: Revision(2), sub: 0 };
            let slot = Slot { key: Key::new(key), chain: Chain::new(Record::tombstone(stamp)) };
            let id = self.slots.insert(slot);
            self.tree.insert(&self.slots, &path, id, live);
        }
        self.model.insert(key.to_vec(), live);
    }

    fn remove(&mut self, key: &[u8]) {
        let path = self.tree.locate(&self.slots, key);
        assert_eq!(path.found().is_some(), self.model.remove(key).is_some());
        if let Some(id) = path.found() {
            self.tree.remove(&self.slots, &path);
            self.slots.remove(id);
        }
    }

    fn check(&self, probe: &[u8]) {
        let got: Vec<_> =
            self.tree.iter_from(&self.slots, probe).map(|id| self.slots.key(id).to_vec()).collect();
        let want: Vec<_> = self.model.range(probe.to_vec()..).map(|(k, _)| k.clone()).collect();
        assert_eq!(got, want);
        let live = |map: &mut dyn Iterator<Item = (&Vec<u8>, &bool)>| map.filter(|e| *e.1).count() as u64;
        assert_eq!(self.tree.rank(&self.slots, probe), live(&mut self.model.range(..probe.to_vec())));
        assert_eq!(self.tree.live(), live(&mut self.model.iter()));
    }
}

fn key(n: u32) -> Vec<u8> {
    // Some keys are longer than what is kept inline.
    if n.is_multiple_of(3) {
        format!("/registry/some/long/prefix/{n:06}").into_bytes()
    } else {
        n.to_be_bytes().to_vec()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn agrees_with_a_map(ops in prop::collection::vec((0_u32..3000, 0_u8..10), 1..6000)) {
        let mut both = Both::default();
        // Phases of growth and of decay, so that nodes split and merge.
        for (i, (n, what)) in ops.iter().enumerate() {
            let decay = (i / 1000) % 2 == 1;
            match what {
                0..=1 => both.set(&key(*n), false),
                2..=5 if !decay => both.set(&key(*n), true),
                _ if decay => both.remove(&key(*n)),
                _ => both.set(&key(*n), true),
            }
            if i % 500 == 0 {
                both.check(&key(*n));
            }
        }
        both.check(b"");
        let keys: Vec<_> = both.model.keys().cloned().collect();
        for (i, key) in keys.iter().enumerate() {
            both.remove(key);
            if i % 300 == 0 {
                both.check(key);
            }
        }
        both.check(b"");
        prop_assert_eq!(both.tree.height, 0);
    }
}

#[test]
fn keys_in_order_fill_their_leaves() {
    let mut both = Both::default();
    for n in 0..20_000_u32 {
        both.set(&n.to_be_bytes(), true);
    }
    both.check(&7_000_u32.to_be_bytes());
    assert!(both.tree.leaves.len() <= 20_000 / leaf::LEAF_KEYS + 2);
    for n in 0..20_000_u32 {
        both.remove(&n.to_be_bytes());
    }
    both.check(b"");
}
