//! What clients did and were told, and whether a linearizable store can have told them that.
//!
//! Every answer carries the store's revision, which names the answer's place in one order of all writes. So no search for
//! an order is needed, as it would be for a register without revisions: the order is given, and is checked against real
//! time and against every value that was read.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// One call of one client.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who called; a client does one thing at a time.
    pub client: usize,
    pub key: String,
    pub kind: Kind,
    /// When it was sent, since some moment that all clients share.
    pub begun: Duration,
    /// When it was answered.
    pub ended: Duration,
    pub outcome: Outcome,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Write a value that no other operation writes.
    Put(String),
    /// The same, if the key's newest revision is still this one, zero for a key that does not exist; else read it.
    Swap(String, i64),
    /// A linearizable read.
    Read,
    /// A read of what the member has.
    SerializableRead,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Written, as this revision.
    Written(i64),
    /// What was read, as of a revision.
    Seen { at: i64, found: Option<Version> },
    /// An error: a write may have happened or not.
    Failed(String),
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub value: String,
    /// The revision that wrote it.
    pub revision: i64,
}

/// All calls of a test.
#[derive(Default)]
pub struct History {
    pub operations: Vec<Operation>,
    /// When the machine itself stood still, from when to when.
    pub stalls: Vec<(Duration, Duration)>,
}

/// Versions of every key, by revision.
#[derive(Default)]
struct Versions(HashMap<String, BTreeMap<i64, String>>);

impl Versions {
    /// Of everything that was acknowledged or seen.
    fn of(operations: &[Operation]) -> Result<Self, String> {
        let mut versions = Self::default();
        let mut owners: HashMap<i64, (String, String)> = HashMap::new();
        for operation in operations {
            let (value, revision) = match (&operation.kind, &operation.outcome) {
                (Kind::Put(value) | Kind::Swap(value, _), Outcome::Written(revision)) => (value, *revision),
                (_, Outcome::Seen { found: Some(found), .. }) => (&found.value, found.revision),
                _ => continue,
            };
            let owner = (operation.key.clone(), value.clone());
            let before = owners.entry(revision).or_insert_with(|| owner.clone());
            if *before != owner {
                return Err(format!("revision {revision} is both {before:?} and {owner:?}"));
            }
            versions.0.entry(owner.0).or_default().insert(revision, owner.1);
        }
        Ok(versions)
    }

    /// The newest version of a key as of a revision.
    fn newest(&self, key: &str, at: i64) -> Option<Version> {
        let (revision, value) = self.0.get(key)?.range(..=at).next_back()?;
        Some(Version { value: value.clone(), revision: *revision })
    }
}

impl History {
    /// Whether one order of all writes explains every answer.
    ///
    /// # Errors
    /// The first answer that it cannot explain.
    pub fn check(&self) -> Result<(), String> {
        let versions = Versions::of(&self.operations)?;
        self.check_values_are_written_once()?;
        self.check_real_time()?;
        self.check_own_reads()?;
        self.operations.iter().try_for_each(|operation| check_value(operation, &versions))
    }

    /// No acknowledged value was written again under another revision, and nothing was read that nobody wrote.
    fn check_values_are_written_once(&self) -> Result<(), String> {
        let mut places: HashMap<&str, Option<i64>> = HashMap::new();
        for operation in &self.operations {
            if let Kind::Put(value) | Kind::Swap(value, _) = &operation.kind {
                let written = match operation.outcome {
                    Outcome::Written(revision) => Some(revision),
                    _ => None,
                };
                places.insert(value, written);
            }
        }
        for operation in &self.operations {
            let Outcome::Seen { found: Some(found), .. } = &operation.outcome else { continue };
            let Some(place) = places.get_mut(found.value.as_str()) else {
                return Err(format!("nobody wrote what was read: {operation:?}"));
            };
            let place = *place.get_or_insert(found.revision);
            if place != found.revision {
                return Err(format!("written twice, as revision {place} too: {operation:?}"));
            }
        }
        Ok(())
    }

    /// What began after something was known must be newer: writes get a higher revision, linearizable reads see it.
    fn check_real_time(&self) -> Result<(), String> {
        let mut by_begin: Vec<&Operation> = self.operations.iter().collect();
        let mut by_end = by_begin.clone();
        by_begin.sort_by_key(|operation| operation.begun);
        by_end.sort_by_key(|operation| operation.ended);
        let mut ended = by_end.into_iter().peekable();
        let mut known = 0;
        for operation in by_begin {
            while let Some(before) = ended.next_if(|before| before.ended < operation.begun) {
                match before.outcome {
                    Outcome::Written(at) | Outcome::Seen { at, .. } => known = known.max(at),
                    Outcome::Failed(_) => {}
                }
            }
            match (&operation.kind, &operation.outcome) {
                (_, Outcome::Written(revision)) if *revision <= known => {
                    return Err(format!("revision {known} was known before: {operation:?}"));
                }
                (Kind::Read, Outcome::Seen { at, .. }) if *at < known => {
                    return Err(format!("stale: revision {known} was known before: {operation:?}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A client of one member sees no less than it saw before, also with serializable reads, until its connection breaks.
    fn check_own_reads(&self) -> Result<(), String> {
        let mut known: HashMap<usize, i64> = HashMap::new();
        let mut by_begin: Vec<&Operation> = self.operations.iter().collect();
        by_begin.sort_by_key(|operation| operation.begun);
        for operation in by_begin {
            let known = known.entry(operation.client).or_default();
            match operation.outcome {
                Outcome::Written(at) | Outcome::Seen { at, .. } if at < *known => {
                    return Err(format!("the client knew revision {known} before: {operation:?}"));
                }
                Outcome::Written(at) | Outcome::Seen { at, .. } => *known = at,
                Outcome::Failed(_) => *known = 0,
            }
        }
        Ok(())
    }

    /// Acknowledged writes.
    pub fn written(&self) -> impl Iterator<Item = (&str, Version)> {
        self.operations.iter().filter_map(|operation| match (&operation.kind, &operation.outcome) {
            (Kind::Put(value) | Kind::Swap(value, _), &Outcome::Written(revision)) => {
                Some((operation.key.as_str(), Version { value: value.clone(), revision }))
            }
            _ => None,
        })
    }

    /// How many calls failed, by what they were told.
    pub fn failures(&self) -> BTreeMap<&str, usize> {
        let mut failures = BTreeMap::new();
        for operation in &self.operations {
            if let Outcome::Failed(text) = &operation.outcome {
                *failures.entry(text.as_str()).or_default() += 1;
            }
        }
        failures
    }

    /// The longest time without an acknowledged write that begins within `window` after `moment`.
    pub fn silence_after(&self, moment: Duration, window: Duration) -> Duration {
        let ends = self.ends_of_writes();
        let first = ends.partition_point(|&end| end < moment);
        let from = [moment].into_iter().chain(ends[first..].iter().copied());
        let pairs = from.zip(&ends[first..]).take_while(|(from, _)| *from < moment + window);
        pairs.map(|(from, to)| *to - from).max().unwrap_or(Duration::MAX)
    }

    /// The longest time between two acknowledgements of writes.
    pub fn longest_silence(&self) -> Duration {
        self.ends_of_writes().windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    fn ends_of_writes(&self) -> Vec<Duration> {
        let written = self.operations.iter().filter(|o| matches!(o.outcome, Outcome::Written(_)));
        let mut ends: Vec<Duration> = written.map(|o| o.ended).collect();
        ends.sort();
        ends
    }
}

/// Whether what was read is the newest version as of the revision of the answer, and a swap hit what it expected.
fn check_value(operation: &Operation, versions: &Versions) -> Result<(), String> {
    match (&operation.kind, &operation.outcome) {
        (_, Outcome::Seen { at, found }) => {
            let newest = versions.newest(&operation.key, *at);
            if newest != *found {
                return Err(format!("as of revision {at} the key is {newest:?}: {operation:?}"));
            }
        }
        (Kind::Swap(_, expected), Outcome::Written(revision)) => {
            let before = versions.newest(&operation.key, revision - 1).map_or(0, |version| version.revision);
            if before != *expected {
                return Err(format!("the key was at revision {before}: {operation:?}"));
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(client: usize, times: (u64, u64), kind: Kind, outcome: Outcome) -> Operation {
        let (begun, ended) = (Duration::from_secs(times.0), Duration::from_secs(times.1));
        Operation { client, key: "k".into(), kind, begun, ended, outcome }
    }

    fn put(times: (u64, u64), value: &str, revision: i64) -> Operation {
        operation(0, times, Kind::Put(value.into()), Outcome::Written(revision))
    }

    fn seen(at: i64, value: &str, revision: i64) -> Outcome {
        Outcome::Seen { at, found: Some(Version { value: value.into(), revision }) }
    }

    fn check(operations: &[Operation]) -> Result<(), String> {
        History { operations: operations.to_vec(), stalls: Vec::new() }.check()
    }

    #[test]
    fn what_can_have_happened_passes() {
        let lost = operation(1, (1, 9), Kind::Put("b".into()), Outcome::Failed("timeout".into()));
        let swap = operation(1, (12, 13), Kind::Swap("c".into(), 3), Outcome::Written(4));
        let reads = [
            operation(2, (1, 3), Kind::Read, Outcome::Seen { at: 1, found: None }),
            operation(2, (4, 5), Kind::SerializableRead, seen(2, "a", 2)),
            operation(2, (10, 11), Kind::Read, seen(3, "b", 3)),
        ];
        let all = [&[put((1, 2), "a", 2), lost, swap][..], &reads].concat();
        assert_eq!(check(&all), Ok(()));
    }

    #[test]
    fn each_kind_of_lie_is_found() {
        let read = |times, outcome| operation(2, times, Kind::Read, outcome);
        let (first, second) = (put((1, 2), "a", 2), put((3, 4), "b", 3));
        let lies = [
            ("stale", vec![first.clone(), second.clone(), read((5, 6), seen(2, "a", 2))]),
            ("as of", vec![first.clone(), second.clone(), read((5, 6), seen(3, "a", 2))]),
            ("as of", vec![first.clone(), read((5, 6), Outcome::Seen { at: 2, found: None })]),
            ("both", vec![first.clone(), put((3, 4), "b", 2)]),
            ("known before", vec![put((1, 2), "a", 3), put((3, 4), "b", 2)]),
            ("nobody wrote", vec![read((5, 6), seen(2, "a", 2))]),
            ("written twice", vec![first.clone(), read((5, 6), seen(3, "a", 3))]),
            (
                "the key was",
                vec![first, second, operation(1, (5, 6), Kind::Swap("c".into(), 2), Outcome::Written(4))],
            ),
        ];
        for (text, operations) in lies {
            let found = check(&operations).expect_err(text);
            assert!(found.contains(text), "{found}");
        }
        let serializable = |times, outcome| operation(2, times, Kind::SerializableRead, outcome);
        let (early, late) = (Outcome::Seen { at: 1, found: None }, seen(2, "a", 2));
        let back = [put((1, 2), "a", 2), serializable((3, 4), late), serializable((5, 6), early)];
        assert!(check(&back).expect_err("goes back").contains("the client knew"));
    }
}
