//! The one order of all changes, as watches over everything told it, and the store at every revision of it.

use std::collections::BTreeMap;

use crate::history::{Event, Found, Stream};

/// What every revision changed, and every key as of every revision.
#[derive(Debug, Default)]
pub struct Order {
    revisions: BTreeMap<i64, Vec<Event>>,
    /// For each key what it was from which revision on, in order.
    versions: BTreeMap<String, Vec<(i64, Option<Found>)>>,
}

impl Order {
    /// Of what watches were told. What they contradict each other or themselves in goes to `broken`.
    pub fn of(streams: &[Stream], broken: &mut Vec<String>) -> Self {
        let mut order = Self::default();
        for stream in streams {
            for (&revision, events) in &stream.revisions {
                let known = order.revisions.entry(revision).or_insert_with(|| events.clone());
                if known != events {
                    let m = stream.member;
                    broken.push(format!(
                        "revision {revision} is {known:?}, but a watch of member {m} was told {events:?}"
                    ));
                }
            }
        }
        let gaps = order.revisions.keys().zip(order.revisions.keys().skip(1)).filter(|(a, b)| *a + 1 != **b);
        broken.extend(gaps.map(|(a, b)| format!("there is no revision between {a} and {b}")));
        let missed = |stream: &Stream| {
            let missing = order.revisions.keys().filter(|at| !stream.revisions.contains_key(at));
            let missing: Vec<_> = missing.collect();
            let first = missing.first()?;
            let (member, count) = (stream.member, missing.len());
            Some(format!("the watch of member {member} was never told of {count} revisions, first {first}"))
        };
        broken.extend(streams.iter().filter_map(missed));
        order.replay(broken);
        order
    }

    /// Plays all changes and checks what each says of its key before and after.
    fn replay(&mut self, broken: &mut Vec<String>) {
        for (&revision, events) in &self.revisions {
            for event in events {
                let versions = self.versions.entry(event.key.clone()).or_default();
                let before = versions.last().and_then(|(_, found)| found.as_ref());
                if versions.last().is_some_and(|(at, _)| *at == revision) {
                    broken.push(format!("revision {revision} changes a key twice: {events:?}"));
                }
                if event.before.as_ref() != before {
                    broken.push(format!("revision {revision}: before it there was {before:?}: {event:?}"));
                }
                let counted = |now: &Found| {
                    let (created, version) = before.map_or((revision, 1), |b| (b.created, b.version + 1));
                    (now.revision, now.created, now.version) == (revision, created, version)
                        && now.key == event.key
                };
                if event.now.as_ref().is_some_and(|now| !counted(now)) {
                    broken.push(format!("revision {revision}: after {before:?} that cannot be: {event:?}"));
                }
                if event.now.is_none() && before.is_none() {
                    broken.push(format!("revision {revision} deletes what is not there: {event:?}"));
                }
                versions.push((revision, event.now.clone()));
            }
        }
    }

    /// All revisions and their changes, in order.
    pub fn revisions(&self) -> impl Iterator<Item = (i64, &[Event])> {
        self.revisions.iter().map(|(&revision, events)| (revision, &events[..]))
    }

    /// What one revision changed; nothing if there is none.
    pub fn at(&self, revision: i64) -> &[Event] {
        self.revisions.get(&revision).map_or(&[], |events| &events[..])
    }

    /// A key as of a revision.
    pub fn newest(&self, key: &str, at: i64) -> Option<&Found> {
        let versions = self.versions.get(key)?;
        let count = versions.partition_point(|(revision, _)| *revision <= at);
        versions[..count].last()?.1.as_ref()
    }

    /// All keys that begin so, as of a revision.
    pub fn all(&self, prefix: &str, at: i64) -> Vec<&Found> {
        let keys = self.versions.range(prefix.to_owned()..).map(|(key, _)| key);
        keys.take_while(|key| key.starts_with(prefix)).filter_map(|key| self.newest(key, at)).collect()
    }

    /// The last revision.
    pub fn last(&self) -> i64 {
        self.revisions.keys().next_back().copied().unwrap_or(1)
    }
}
