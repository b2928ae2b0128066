//! Whether one linearizable store can have answered as the history says.
//!
//! Every answer carries the store's revision, and watches over everything tell what each revision changed: so the order of all
//! changes is given, no order has to be searched for, and each answer is held against its place in it. The order itself is
//! held against real time: whatever was known to anyone before a call began must be before it. Beside that an order is searched
//! for that needs neither revisions nor watches ([`search`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::{Call, Change, Event, Found, History, Moment, Operation, Outcome};
use crate::order::Order;
use crate::search::search;

/// What the judge found.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Promises that were broken, in words.
    pub broken: Vec<String>,
    /// The newest revision.
    pub revision: i64,
    /// Writes whose client never heard how they ended, and which took effect.
    pub late: usize,
    /// Keys for which an order was found without the help of watches and revisions, and for which the search gave up.
    pub searched: (usize, usize),
}

/// Judges a history.
pub fn judge(history: &History) -> Judgement {
    let mut broken: Vec<String> = history.streams.iter().flat_map(|stream| stream.broken.clone()).collect();
    let order = Order::of(&history.streams, &mut broken);
    let places = places(&order, &mut broken);
    let mut late = 0;
    for operation in &history.operations {
        let checked = match &operation.outcome {
            Outcome::Done { revision, succeeded, found } => {
                let answer = Answer { revision: *revision, succeeded: *succeeded, found };
                check_answer(&operation.call, &answer, &order)
            }
            Outcome::Refused(_) => check_refused(operation, &places),
            Outcome::Unknown(_) => check_unknown(operation, &order, &places).map(|happened| {
                late += usize::from(happened);
            }),
        };
        broken.extend(checked.err().map(|why| format!("{why}: {operation:?}")));
    }
    check_origins(history, &order, &mut broken);
    check_real_time(history, &places, &mut broken);
    check_own_reads(&history.operations, &mut broken);
    crate::leases::check(history, &order, &mut broken);
    let searched = search(history);
    broken.extend(searched.broken);
    Judgement { broken, revision: order.last(), late, searched: (searched.linearizable, searched.undecided) }
}

struct Answer<'a> {
    revision: i64,
    succeeded: bool,
    found: &'a [Found],
}

/// The revision that wrote each value.
fn places(order: &Order, broken: &mut Vec<String>) -> HashMap<String, i64> {
    let mut places = HashMap::new();
    for (revision, events) in order.revisions() {
        for now in events.iter().filter_map(|event| event.now.as_ref()) {
            if let Some(before) = places.insert(now.value.clone(), revision) {
                broken
                    .push(format!("{:?} was written twice, as revisions {before} and {revision}", now.value));
            }
        }
    }
    places
}

/// Whether revision `at` is just these changes. A delete of a key that was not there changes nothing.
fn is_change(at: i64, changes: &[Change], order: &Order) -> bool {
    let real = changes.iter().filter(|change| match change {
        Change::Put { .. } => true,
        Change::Delete { key } => order.newest(key, at - 1).is_some(),
    });
    let real: BTreeMap<&str, &Change> = real.map(|change| (change.key(), change)).collect();
    let same = |event: &Event| match (real.get(event.key.as_str()), &event.now) {
        (Some(Change::Put { value, lease, .. }), Some(now)) => (value, lease) == (&now.value, &now.lease),
        (Some(Change::Delete { .. }), None) => true,
        _ => false,
    };
    let events = order.at(at);
    events.len() == real.len() && events.iter().all(same)
}

fn holds(compares: &[(String, i64)], at: i64, order: &Order) -> bool {
    compares
        .iter()
        .all(|(key, revision)| order.newest(key, at).map_or(0, |found| found.revision) == *revision)
}

fn equal(found: &[Found], expected: &[&Found]) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a == *b)
}

/// Whether the store can have given this answer, at the revision that it names.
fn check_answer(call: &Call, answer: &Answer<'_>, order: &Order) -> Result<(), String> {
    let &Answer { revision, succeeded, found } = answer;
    if revision > order.last() {
        return Err(format!("there are only {} revisions", order.last()));
    }
    let check = |ok: bool, expected: Vec<&Found>| {
        if ok && equal(found, &expected) {
            return Ok(());
        }
        Err(format!("at that revision there are {expected:?}, and it is {:?}", order.at(revision)))
    };
    match call {
        Call::Put { key, value, lease } => {
            let put = Change::Put { key: key.clone(), value: value.clone(), lease: *lease };
            let before = order.newest(key, revision - 1);
            check(is_change(revision, &[put], order), before.into_iter().collect())
        }
        Call::Delete { key } if found.is_empty() => check(order.newest(key, revision).is_none(), Vec::new()),
        Call::Delete { key } => {
            let before = order.newest(key, revision - 1);
            let delete = Change::Delete { key: key.clone() };
            check(is_change(revision, &[delete], order), before.into_iter().collect())
        }
        Call::Txn { compares, then, .. } if succeeded => {
            let ok = holds(compares, revision - 1, order) && is_change(revision, then, order);
            check(ok, Vec::new())
        }
        Call::Txn { compares, otherwise, .. } => {
            let expected = otherwise.iter().filter_map(|key| order.newest(key, revision)).collect();
            check(!holds(compares, revision, order), expected)
        }
        Call::Read { key, prefix, at, .. } => {
            let as_of = if *at == 0 { revision } else { *at };
            let one = || order.newest(key, as_of).into_iter().collect();
            check(as_of <= revision, if *prefix { order.all(key, as_of) } else { one() })
        }
    }
}

fn check_refused(operation: &Operation, places: &HashMap<String, i64>) -> Result<(), String> {
    match operation.values().into_iter().find_map(|value| places.get(value)) {
        Some(revision) => Err(format!("it was refused, and is revision {revision}")),
        None => Ok(()),
    }
}

/// Whether it happened; an error if it happened in part.
fn check_unknown(
    operation: &Operation,
    order: &Order,
    places: &HashMap<String, i64>,
) -> Result<bool, String> {
    let Some(&revision) = operation.values().into_iter().find_map(|value| places.get(value)) else {
        return Ok(false);
    };
    let whole = match &operation.call {
        Call::Put { key, value, lease } => {
            let put = Change::Put { key: key.clone(), value: value.clone(), lease: *lease };
            is_change(revision, &[put], order)
        }
        Call::Txn { compares, then, .. } => {
            holds(compares, revision - 1, order) && is_change(revision, then, order)
        }
        Call::Delete { .. } | Call::Read { .. } => unreachable!("they write no value"),
    };
    if whole {
        Ok(true)
    } else {
        Err(format!("revision {revision} is another change: {:?}", order.at(revision)))
    }
}

/// Every value was written by somebody, and every delete of a key without a lease asked for by somebody.
fn check_origins(history: &History, order: &Order, broken: &mut Vec<String>) {
    let values: BTreeSet<&str> = history.operations.iter().flat_map(Operation::values).collect();
    let mut known = BTreeSet::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for operation in &history.operations {
        match (&operation.call, &operation.outcome) {
            (_, Outcome::Done { revision, .. }) => drop(known.insert(*revision)),
            (Call::Delete { key }, Outcome::Unknown(_)) => *open.entry(key).or_default() += 1,
            _ => {}
        }
    }
    for (revision, events) in order.revisions() {
        let wrote = events.iter().any(|event| event.now.is_some());
        for event in events {
            if let Some(now) = &event.now
                && !values.contains(now.value.as_str())
            {
                broken.push(format!("nobody wrote what revision {revision} did: {event:?}"));
            }
            let leased = event.before.as_ref().is_some_and(|before| before.lease != 0);
            if event.now.is_some() || wrote || leased || known.contains(&revision) {
                continue;
            }
            match open.get_mut(event.key.as_str()).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => broken.push(format!("nobody deleted what revision {revision} did: {event:?}")),
            }
        }
    }
}

/// What began after something was known must be newer: writes get a higher revision, linearizable reads see it.
fn check_real_time(history: &History, places: &HashMap<String, i64>, broken: &mut Vec<String>) {
    let mut known_at: Vec<(Moment, i64)> = history
        .streams
        .iter()
        .flat_map(|s| s.arrived.iter().map(|(revision, at)| (*at, *revision)))
        .collect();
    for operation in &history.operations {
        if let Outcome::Done { revision, .. } = operation.outcome {
            known_at.push((operation.ended, revision));
        }
    }
    known_at.sort_unstable();
    let mut known_at = known_at.into_iter().peekable();
    let mut by_begin: Vec<&Operation> = history.operations.iter().collect();
    by_begin.sort_by_key(|operation| operation.begun);
    let mut known = 0;
    for operation in by_begin {
        while let Some((_, revision)) = known_at.next_if(|(at, _)| *at < operation.begun) {
            known = known.max(revision);
        }
        let written = operation.values().into_iter().find_map(|value| places.get(value));
        let stale = match (&operation.call, &operation.outcome, written) {
            (_, _, Some(&revision)) => revision <= known,
            (Call::Read { serializable: true, .. }, ..) => false,
            (Call::Delete { .. }, Outcome::Done { revision, found, .. }, _) if !found.is_empty() => {
                *revision <= known
            }
            (_, Outcome::Done { revision, .. }, None) => *revision < known,
            _ => false,
        };
        if stale {
            broken.push(format!("stale: revision {known} was known before: {operation:?}"));
        }
    }
}

/// A client of one member sees no less than it saw before, also with serializable reads, until its connection breaks.
fn check_own_reads(operations: &[Operation], broken: &mut Vec<String>) {
    let mut known: HashMap<usize, i64> = HashMap::new();
    let mut by_begin: Vec<&Operation> = operations.iter().collect();
    by_begin.sort_by_key(|operation| operation.begun);
    for operation in by_begin {
        let known = known.entry(operation.client).or_default();
        match operation.outcome {
            Outcome::Done { revision, .. } if revision < *known => {
                broken.push(format!("the client knew revision {known} before: {operation:?}"));
            }
            Outcome::Done { revision, .. } => *known = revision,
            Outcome::Refused(_) | Outcome::Unknown(_) => *known = 0,
        }
    }
}

#[cfg(test)]
mod tests;
