//! What the store must be, from what clients were told.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use windlass_api::etcdserverpb::RangeRequest;
use windlass_api::mvccpb::KeyValue;
use windlass_client::Client;

use crate::writer::{Change, Report};

/// Every change whose fate is known, by revision, and those of the last round whose fate is not.
#[derive(Default)]
pub struct History {
    changes: BTreeMap<i64, Change>,
    unknown: Vec<Change>,
}

impl History {
    /// Adds what a writer did. No revision may have been given out before.
    pub fn add(&mut self, report: Report) {
        let mut last = 0;
        for (revision, change) in report.acknowledged {
            assert!(revision > last, "revisions of one client rise: {last}, then {revision}");
            last = revision;
            let before = self.changes.insert(revision, change.clone());
            assert_eq!(before, None, "revision {revision} was given out twice, now to {change:?}");
        }
        self.unknown.extend(report.unknown);
    }

    /// Whether a key exists.
    pub fn is_present(&self, key: &str) -> bool {
        let newest = self.changes.values().rev().find(|change| change.key == key);
        newest.is_some_and(|change| change.value.is_some())
    }

    /// Settles the unknown changes by looking, then compares the whole store with a replay.
    pub fn check(&mut self, client: &mut Client) {
        for change in std::mem::take(&mut self.unknown) {
            self.settle(client, change);
        }
        let (current, kvs) = read_all(client);
        let newest = self.changes.keys().next_back().copied().unwrap_or(1);
        assert_eq!(current, newest, "the store's revision is that of the newest change");
        let store: Vec<(String, String, i64)> = kvs.iter().map(as_text).collect();
        let replay = self.replay();
        for (found, want) in store.iter().zip(&replay) {
            assert_eq!(found, want, "the store differs from the replay of its history");
        }
        assert_eq!(hash(&store), hash(&replay), "the store's hash differs from the replay's");
    }

    /// Reads every acknowledged revision of every key back.
    pub fn check_every_revision(&self, client: &mut Client) {
        for (&revision, change) in &self.changes {
            let request = RangeRequest {
                key: change.key.clone().into_bytes().into(),
                revision,
                ..RangeRequest::default()
            };
            let response = client.range(&request).expect("nothing was compacted");
            let found = response.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
            assert_eq!(found, change.value, "{} at revision {revision}", change.key);
        }
    }

    /// A change whose answer was lost happened if one of the revisions that nobody was told of holds it. There are no more of
    /// those than writers, for all that earlier rounds left open are settled.
    fn settle(&mut self, client: &mut Client, change: Change) {
        let (current, _) = read_all(client);
        let holds = |revision: i64, client: &mut Client| {
            let key = change.key.clone().into_bytes().into();
            let at = RangeRequest { key, revision, ..RangeRequest::default() };
            client.range(&at).expect("nothing was compacted").kvs.first().map(as_text)
        };
        for revision in 2..=current {
            if self.changes.contains_key(&revision) {
                continue;
            }
            let (now, before) = (holds(revision, client), holds(revision - 1, client));
            let happened = match (&change.value, &now) {
                (Some(value), Some((_, found, at))) => value == found && *at == revision,
                (None, None) => before.is_some(),
                _ => false,
            };
            if happened {
                self.changes.insert(revision, change);
                return;
            }
        }
    }

    fn replay(&self) -> Vec<(String, String, i64)> {
        let mut keys: HashMap<&str, (&str, i64)> = HashMap::new();
        for (&revision, change) in &self.changes {
            match &change.value {
                Some(value) => keys.insert(&change.key, (value, revision)),
                None => keys.remove(change.key.as_str()),
            };
        }
        let mut all: Vec<_> =
            keys.into_iter().map(|(key, (value, at))| (key.to_owned(), value.to_owned(), at)).collect();
        all.sort();
        all
    }
}

fn read_all(client: &mut Client) -> (i64, Vec<KeyValue>) {
    let request = RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..RangeRequest::default() };
    let response = client.range(&request).expect("the member answers");
    assert_eq!(response.count as usize, response.kvs.len());
    (response.header.expect("every response has a header").revision, response.kvs)
}

fn as_text(kv: &KeyValue) -> (String, String, i64) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&kv.key), text(&kv.value), kv.mod_revision)
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
