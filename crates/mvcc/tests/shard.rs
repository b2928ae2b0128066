//! A shard against a naive map of histories: random writes, compactions in slices, and every way to read.

use std::collections::BTreeMap;

use proptest::prelude::*;
use windlass_mvcc::{Change, Cursor, Shard, Stamp, VERSION_BYTES};
use windlass_records::wal;
use windlass_types::key::KeyRange;
use windlass_types::{LeaseId, LogIndex, Revision};

/// (revision, sub) and, unless it is a tombstone, (create revision, version, lease, value).
type Version = ((i64, u32), Option<(i64, i64, i64, Vec<u8>)>);

#[derive(Default)]
struct Model {
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
}

impl Model {
    fn at(&self, key: &[u8], revision: i64) -> Option<&(i64, i64, i64, Vec<u8>)> {
        self.keys.get(key)?.iter().rev().find(|v| v.0.0 <= revision)?.1.as_ref()
    }

    fn put(&mut self, key: &[u8], order: (i64, u32), lease: i64, value: &[u8]) {
        let (create, version) = self.at(key, i64::MAX).map_or((order.0, 1), |old| (old.0, old.1 + 1));
        let live = Some((create, version, lease, value.to_vec()));
        self.keys.entry(key.to_vec()).or_default().push((order, live));
    }

    fn delete(&mut self, key: &[u8], order: (i64, u32)) -> bool {
        let lives = self.at(key, i64::MAX).is_some();
        if lives {
            self.keys.get_mut(key).expect("it lives").push((order, None));
        }
        lives
    }

    fn compact(&mut self, at: i64) {
        for versions in self.keys.values_mut() {
            let newest = versions.iter().rev().find(|v| v.0.0 <= at).map(|v| v.0);
            versions.retain(|v| v.0.0 >= at || (Some(v.0) == newest && v.1.is_some()));
        }
        self.keys.retain(|_, versions| !versions.is_empty());
    }
}

#[derive(Clone, Debug)]
enum Action {
    Put {
        key: u8,
        lease: i64,
        value: u8,
    },
    Delete {
        key: u8,
    },
    /// Put and delete, or delete and put, within one revision.
    Twice {
        key: u8,
        put_first: bool,
    },
    Compact {
        back: i64,
    },
    Slice {
        budget: usize,
    },
    Read {
        from: u8,
        to: u8,
        back: i64,
    },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (any::<u8>(), 0_i64..3, any::<u8>()).prop_map(|(key, lease, value)| Action::Put { key, lease, value }),
        3 => any::<u8>().prop_map(|key| Action::Delete { key }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(key, put_first)| Action::Twice { key, put_first }),
        1 => (0_i64..20).prop_map(|back| Action::Compact { back }),
        3 => (1_usize..8).prop_map(|budget| Action::Slice { budget }),
        3 => (any::<u8>(), any::<u8>(), 0_i64..20).prop_map(|(from, to, back)| Action::Read { from, to, back }),
    ]
}

fn name(key: u8) -> Vec<u8> {
    format!("/some/prefix/that/keys/share/{:02}", key % 24).into_bytes()
}

struct Both {
    shard: Shard,
    model: Model,
    revision: i64,
}

impl Both {
    fn stamp(&self, sub: u32) -> Stamp {
        Stamp { index: LogIndex(self.revision as u64), revision: Revision(self.revision), sub }
    }

    fn put(&mut self, key: &[u8], sub: u32, lease: i64, value: &[u8]) {
        let live = self.shard.put(self.stamp(sub), key, value, LeaseId(lease));
        self.model.put(key, (self.revision, sub), lease, value);
        let want = self.model.at(key, i64::MAX).expect("just put");
        assert_eq!((live.create_revision.0, live.version, live.lease.0), (want.0, want.1, want.2));
    }

    fn delete(&mut self, key: &[u8], sub: u32) {
        let stamp = self.stamp(sub);
        assert_eq!(self.shard.delete(stamp, key), self.model.delete(key, (self.revision, sub)));
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Put { key, lease, value } => {
                self.revision += 1;
                self.put(&name(key), 0, lease, &vec![value; usize::from(value % 9)]);
            }
            Action::Delete { key } => {
                self.revision += 1;
                self.delete(&name(key), 0);
            }
            Action::Twice { key, put_first } => {
                self.revision += 1;
                for (sub, put) in [(0, put_first), (1, !put_first)] {
                    if put { self.put(&name(key), sub, 1, b"twice") } else { self.delete(&name(key), sub) }
                }
            }
            Action::Compact { back } => {
                let at = self.revision - back;
                if at > self.shard.compact_revision().0 {
                    self.shard.compact(Revision(at));
                    self.model.compact(at);
                }
            }
            Action::Slice { budget } => {
                self.shard.compact_step(budget);
            }
            Action::Read { from, to, back } => {
                let at = (self.revision - back).max(self.shard.compact_revision().0).max(1);
                self.check(&name(from), &name(to), at);
            }
        }
    }

    fn check(&self, from: &[u8], to: &[u8], at: i64) {
        for range in [KeyRange::Bounded(from, to), KeyRange::From(from), KeyRange::Point(from)] {
            let want: Vec<_> = self
                .model
                .keys
                .keys()
                .filter(|key| range.contains(key))
                .filter_map(|key| Some((key.clone(), self.model.at(key, at)?.clone())))
                .collect();
            let got: Vec<_> = self
                .shard
                .range(range, Revision(at))
                .map(|p| (p.key.to_vec(), (p.create_revision.0, p.version, p.lease.0, p.value.to_vec())))
                .collect();
            assert_eq!(got, want, "{range:?} at {at}");
            assert_eq!(self.shard.count(range, Revision(at)), want.len() as u64, "{range:?} at {at}");
        }
        for lease in 1..3 {
            let holds = |key: &&Vec<u8>| self.model.at(key, i64::MAX).is_some_and(|live| live.2 == lease);
            let want: Vec<_> = self.model.keys.keys().filter(holds).map(Vec::as_slice).collect();
            assert_eq!(self.shard.lease_keys(LeaseId(lease)), want);
        }
        let mut want: Vec<_> = Vec::new();
        for (key, versions) in &self.model.keys {
            want.extend(versions.iter().filter(|v| v.0.0 >= at).map(|v| (v.0, key.clone())));
        }
        want.sort();
        let changes: Vec<_> = self
            .shard
            .walk_changes(KeyRange::From(b""), Revision(at))
            .filter_map(|(_, change)| change)
            .collect();
        let order = |c: &Change<'_>| ((c.version.revision.0, c.version.sub), c.version.key.to_vec());
        assert_eq!(changes.iter().map(order).collect::<Vec<_>>(), want, "changes from {at}");
        for change in &changes {
            self.check_previous(change);
        }
        for key in self.model.keys.keys() {
            let of_key = changes.iter().filter(|c| c.version.key == key.as_slice()).copied();
            assert!(self.shard.key_changes(key, Revision(at)).eq(of_key), "changes of {key:?} from {at}");
        }
    }

    fn check_previous(&self, change: &Change<'_>) {
        let wal::Version { key, revision, live, .. } = change.version;
        let is_create = live.is_some_and(|live| live.create_revision == revision);
        let is_kept = revision.0 > self.shard.compact_revision().0;
        let want = self.model.at(key, revision.0 - 1).filter(|_| is_kept && !is_create);
        let got = change.previous.map(|p| (p.create_revision.0, p.version, p.lease.0, p.value.to_vec()));
        assert_eq!(got.as_ref(), want, "what {change:?} replaced");
    }

    /// Every version, by pieces of a few.
    fn scan(&self, piece: usize) -> Vec<Version> {
        let (mut all, mut cursor) = (Vec::new(), None::<Cursor>);
        loop {
            let versions: Vec<_> = self.shard.versions(cursor.as_ref()).take(piece).collect();
            let Some(last) = versions.last() else { return all };
            let next = Cursor::after(last);
            all.extend(versions.iter().map(flat));
            cursor = Some(next);
        }
    }
}

fn flat(v: &wal::Version<'_>) -> Version {
    let live = v.live.map(|l| (l.create_revision.0, l.version, l.lease.0, l.value.to_vec()));
    ((v.revision.0, v.sub), live)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn agrees_with_a_map_of_histories(actions in prop::collection::vec(action(), 1..300), piece in 1_usize..5) {
        let mut both = Both { shard: Shard::default(), model: Model::default(), revision: 1 };
        for action in &actions {
            both.act(action);
        }
        while !both.shard.compact_step(2) {}
        both.check(b"", &name(12), both.revision);
        let want: Vec<_> = both.model.keys.values().flatten().cloned().collect();
        prop_assert_eq!(both.scan(piece), want.clone());
        let usage = both.shard.usage();
        prop_assert_eq!(usage.versions, want.len() as u64);
        let bytes = |v: &Version| VERSION_BYTES + name(0).len() as u64 + v.1.as_ref().map_or(0, |l| l.3.len() as u64);
        prop_assert_eq!(usage.bytes, want.iter().map(bytes).sum::<u64>());
        prop_assert_eq!(both.shard.keys(), both.model.keys.len() as u64);
        let live = both.model.keys.keys().filter(|key| both.model.at(key, i64::MAX).is_some()).count();
        prop_assert_eq!(both.shard.live_keys(), live as u64);
    }
}
