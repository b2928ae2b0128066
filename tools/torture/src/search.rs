//! The history once more, judged without what watches told: for each key an order of the calls that concern it is searched
//! for, by nothing but when they were made and what they were told. See `windlass_linearizability`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use windlass_linearizability::key::{self, Key};
use windlass_linearizability::{Call as Timed, Verdict, check};

use crate::history::{Call, Change, Found, History, Operation, Outcome};

/// Steps of the search for one key at most; where they do not suffice the key stays undecided.
const STEPS_MAX: u64 = 2_000_000;

/// What the search found.
#[derive(Debug, Default)]
pub struct Searched {
    /// Keys without a possible order, in words.
    pub broken: Vec<String>,
    /// Keys with one.
    pub linearizable: usize,
    /// Keys for which the search gave up.
    pub undecided: usize,
}

/// Searches for an order for each key.
pub fn search(history: &History) -> Searched {
    let names = Names::of(history);
    let mut calls: BTreeMap<&str, (Vec<Timed<key::Operation>>, Vec<&Operation>)> = BTreeMap::new();
    for operation in &history.operations {
        for (key, told) in names.told(operation) {
            let ended = match operation.outcome {
                Outcome::Done { .. } => Some(operation.ended.0),
                Outcome::Refused(_) | Outcome::Unknown(_) => None,
            };
            let (calls, of) = calls.entry(key).or_default();
            // From then on its lease may end.
            let expires = expiry(&told);
            calls.push(Timed { begun: operation.begun.0, ended, operation: told });
            of.push(operation);
            if let Some(expires) = expires {
                calls.push(Timed { begun: operation.begun.0, ended: None, operation: expires });
                of.push(operation);
            }
        }
    }
    let mut searched = Searched::default();
    for (key, (calls, of)) in calls {
        match check(&Key, None, &calls, STEPS_MAX) {
            Verdict::Linearizable => searched.linearizable += 1,
            Verdict::Undecided => searched.undecided += 1,
            Verdict::Impossible(stuck) => {
                let stuck: Vec<&Operation> = stuck.into_iter().map(|at| of[at]).collect();
                searched.broken.push(format!(
                    "no order is possible for key {key:?}, none of these can be next: {stuck:?}"
                ));
            }
        }
    }
    searched
}

/// Numbers for values, all keys, and what was ever told of each value.
struct Names<'a> {
    values: HashMap<&'a str, u64>,
    keys: BTreeSet<&'a str>,
    seen: HashMap<&'a str, &'a Found>,
}

impl<'a> Names<'a> {
    fn of(history: &'a History) -> Self {
        let mut this = Self { values: HashMap::new(), keys: BTreeSet::new(), seen: HashMap::new() };
        for operation in &history.operations {
            let found = match &operation.outcome {
                Outcome::Done { found, .. } => &found[..],
                Outcome::Refused(_) | Outcome::Unknown(_) => &[],
            };
            this.seen.extend(found.iter().map(|found| (found.value.as_str(), found)));
            this.keys.extend(found.iter().map(|found| found.key.as_str()));
            this.keys.extend(keys_of(&operation.call));
            for value in operation.values().into_iter().chain(found.iter().map(|found| found.value.as_str()))
            {
                let next = this.values.len() as u64;
                this.values.entry(value).or_insert(next);
            }
        }
        this
    }

    /// What a call was told of each key that it concerns, or did to it.
    fn told(&self, operation: &'a Operation) -> Vec<(&'a str, key::Operation)> {
        match &operation.outcome {
            Outcome::Refused(_) => Vec::new(),
            Outcome::Unknown(_) => self.unanswered(&operation.call),
            Outcome::Done { revision, succeeded, found } => {
                self.answered(&operation.call, *revision, *succeeded, found)
            }
        }
    }

    fn answered(
        &self,
        call: &'a Call,
        revision: i64,
        succeeded: bool,
        found: &[Found],
    ) -> Vec<(&'a str, key::Operation)> {
        let before = |key: &str| found.iter().find(|found| found.key == key).map(|found| self.found(found));
        let read = |key: &'a str| (key, key::Operation::Read(before(key)));
        match call {
            Call::Put { key, .. } | Call::Delete { key } => {
                let mut changes = self.changes(call, Some(revision));
                if let Some((_, key::Operation::Write { before: told, .. })) = changes.first_mut() {
                    *told = Some(before(key));
                }
                // A delete of nothing changes nothing, and has no revision of its own.
                if matches!(call, Call::Delete { .. }) && found.is_empty() {
                    vec![read(key)]
                } else {
                    changes
                }
            }
            Call::Txn { .. } if succeeded => self.changes(call, Some(revision)),
            Call::Txn { otherwise, .. } => otherwise.iter().map(|key| read(key)).collect(),
            // What is read as of a revision, or at one member, may be old.
            Call::Read { serializable: true, .. } => Vec::new(),
            Call::Read { at, .. } if *at != 0 => Vec::new(),
            Call::Read { key, prefix: false, .. } => vec![read(key)],
            Call::Read { key, .. } => {
                let all = self.keys.range(key.as_str()..).take_while(|other| other.starts_with(key.as_str()));
                all.map(|key| read(key)).collect()
            }
        }
    }

    /// A call without an answer; if it took effect and somebody read that, its revision is known.
    fn unanswered(&self, call: &'a Call) -> Vec<(&'a str, key::Operation)> {
        let revision = written(call).and_then(|value| self.seen.get(value)).map(|found| found.revision);
        self.changes(call, revision)
    }

    fn changes(&self, call: &'a Call, revision: Option<i64>) -> Vec<(&'a str, key::Operation)> {
        let write = |compared, change| key::Operation::Write { compared, before: None, change, revision };
        match call {
            Call::Put { key, value, lease } => {
                vec![(key, write(None, Some(self.put(value, *lease))))]
            }
            Call::Delete { key } => vec![(key, write(None, Some(key::Change::Delete)))],
            Call::Txn { compares, then, .. } => {
                let change = |key: &str| then.iter().find(|change| change.key() == key);
                let change = |key: &str| {
                    change(key).map(|change| match change {
                        Change::Put { value, lease, .. } => self.put(value, *lease),
                        Change::Delete { .. } => key::Change::Delete,
                    })
                };
                compares.iter().map(|(key, at)| (key.as_str(), write(Some(*at), change(key)))).collect()
            }
            Call::Read { .. } => Vec::new(),
        }
    }

    fn put(&self, value: &str, lease: i64) -> key::Change {
        key::Change::Put { value: self.values[value], lease }
    }

    fn found(&self, found: &Found) -> key::Found {
        let Found { value, lease, revision, created, version, .. } = found;
        let value = self.values[value.as_str()];
        key::Found { value, lease: *lease, revision: *revision, created: *created, version: *version }
    }
}

/// The end of the lease under which something is put.
fn expiry(told: &key::Operation) -> Option<key::Operation> {
    let key::Operation::Write { change: Some(key::Change::Put { lease, .. }), .. } = *told else {
        return None;
    };
    let change = Some(key::Change::Expire(lease));
    (lease != 0).then_some(key::Operation::Write { compared: None, before: None, change, revision: None })
}

/// The value by which it is known when a call took effect.
fn written(call: &Call) -> Option<&str> {
    match call {
        Call::Put { value, .. } => Some(value),
        Call::Txn { then, .. } => then.iter().find_map(|change| match change {
            Change::Put { value, .. } => Some(value.as_str()),
            Change::Delete { .. } => None,
        }),
        Call::Delete { .. } | Call::Read { .. } => None,
    }
}

fn keys_of(call: &Call) -> Vec<&str> {
    match call {
        Call::Put { key, .. } | Call::Delete { key } | Call::Read { key, prefix: false, .. } => vec![key],
        Call::Read { .. } => Vec::new(),
        Call::Txn { compares, .. } => compares.iter().map(|(key, _)| key.as_str()).collect(),
    }
}
