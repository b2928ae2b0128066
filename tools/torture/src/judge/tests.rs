//! A history that can have happened passes, and each kind of lie in it is found.

use std::collections::BTreeMap;

use super::*;
use crate::history::{Lease, Stream};

fn version(key: &str, value: &str, revision: i64, created: i64, version: i64) -> Found {
    Found { key: key.into(), value: value.into(), lease: 0, revision, created, version }
}

fn event(before: Option<Found>, now: Option<Found>) -> Event {
    let key = now.as_ref().or(before.as_ref()).expect("a key").key.clone();
    Event { now, key, before }
}

fn operation(client: usize, times: (u64, u64), call: Call, outcome: Outcome) -> Operation {
    let (begun, ended) = (Moment(times.0), Moment(times.1));
    Operation { client, member: 0, call, begun, ended, outcome }
}

fn done(revision: i64, found: &[Found]) -> Outcome {
    Outcome::Done { revision, succeeded: true, found: found.to_vec() }
}

fn put(key: &str, value: &str) -> Call {
    Call::Put { key: key.into(), value: value.into(), lease: 0 }
}

fn read(key: &str) -> Call {
    Call::Read { key: key.into(), prefix: false, serializable: false, at: 0 }
}

/// Two clients put, swap, read and delete; one write has no answer, and one is refused.
fn truth() -> History {
    let (a1, a2) = (version("k/a", "a1", 2, 2, 1), version("k/a", "a2", 3, 2, 2));
    let b1 = version("k/b", "b1", 3, 3, 1);
    let c1 = version("k/c", "c1", 5, 5, 1);
    let revisions = BTreeMap::from([
        (2, vec![event(None, Some(a1.clone()))]),
        (3, vec![event(Some(a1.clone()), Some(a2.clone())), event(None, Some(b1.clone()))]),
        (4, vec![event(Some(b1.clone()), None)]),
        (5, vec![event(None, Some(c1.clone()))]),
    ]);
    let arrived = BTreeMap::from([(2, 20), (3, 40), (4, 60), (5, 95)].map(|(r, at)| (r, Moment(at))));
    let stream = Stream { revisions, arrived, ..Stream::default() };
    let change = |key: &str, value: &str| Change::Put { key: key.into(), value: value.into(), lease: 0 };
    let swap = Call::Txn {
        compares: vec![("k/a".into(), 2), ("k/b".into(), 0)],
        then: vec![change("k/a", "a2"), change("k/b", "b1")],
        otherwise: vec!["k/a".into(), "k/b".into()],
    };
    let prefix = Call::Read { key: "k/".into(), prefix: true, serializable: false, at: 0 };
    let operations = vec![
        operation(0, (0, 10), put("k/a", "a1"), done(2, &[])),
        operation(1, (21, 30), read("k/a"), done(2, std::slice::from_ref(&a1))),
        operation(0, (31, 39), swap, done(3, &[])),
        operation(1, (41, 45), prefix, done(3, &[a2.clone(), b1.clone()])),
        operation(0, (50, 55), Call::Delete { key: "k/b".into() }, done(4, &[b1])),
        operation(1, (56, 58), read("k/b"), done(4, &[])),
        operation(1, (61, 70), put("k/c", "c1"), Outcome::Unknown("timeout".into())),
        operation(0, (71, 72), put("k/c", "c2"), Outcome::Refused("no space".into())),
        operation(1, (96, 99), read("k/c"), done(5, &[c1])),
    ];
    History { operations, streams: vec![stream.clone(), Stream { member: 1, ..stream }], leases: Vec::new() }
}

fn broken(change: impl FnOnce(&mut History)) -> String {
    let mut history = truth();
    change(&mut history);
    judge(&history).broken.join("\n")
}

fn set_outcome(at: usize, outcome: Outcome) -> impl FnOnce(&mut History) {
    move |history| history.operations[at].outcome = outcome
}

#[test]
fn what_can_have_happened_passes() {
    let judgement = judge(&truth());
    assert_eq!((judgement.broken, judgement.revision, judgement.late), (Vec::new(), 5, 1));
    assert_eq!(judgement.searched, (3, 0));
}

#[test]
fn lies_in_answers_are_found() {
    let old = version("k/a", "a1", 2, 2, 1);
    let lies: Vec<(&str, String)> = vec![
        ("other value", broken(set_outcome(1, done(2, &[version("k/a", "a2", 2, 2, 1)])))),
        ("nothing", broken(set_outcome(1, done(2, &[])))),
        ("part of a range", broken(set_outcome(3, done(3, &[version("k/a", "a2", 3, 2, 2)])))),
        ("torn range", broken(set_outcome(3, done(3, &[old.clone(), version("k/b", "b1", 3, 3, 1)])))),
        ("stale read", broken(set_outcome(3, done(2, &[old])))),
        ("deleted key", broken(set_outcome(5, done(4, &[version("k/b", "b1", 3, 3, 1)])))),
        ("other revision of a put", broken(set_outcome(0, done(3, &[])))),
        ("future", broken(set_outcome(8, done(6, &[])))),
        ("refused with an effect", broken(set_outcome(0, Outcome::Refused("no space".into())))),
    ];
    for (what, why) in lies {
        assert!(!why.is_empty(), "{what}");
    }
    let compared = broken(|history| {
        let Call::Txn { compares, .. } = &mut history.operations[2].call else { panic!("a transaction") };
        compares[0].1 = 1;
    });
    assert!(!compared.is_empty(), "a transaction whose compare does not hold");
}

/// Without what watches told, and whatever revisions say of each other.
#[test]
fn lies_are_found_by_search() {
    let searched = |change: &dyn Fn(&mut History)| {
        let mut history = truth();
        history.streams.clear();
        change(&mut history);
        search(&history).broken.join("\n")
    };
    assert_eq!(searched(&|_| {}), "");
    let old = version("k/a", "a1", 2, 2, 1);
    let stale = searched(&|history| history.operations[3].outcome = done(2, std::slice::from_ref(&old)));
    assert!(stale.contains("k/a"), "{stale}");
    let back = searched(&|history| {
        let deleted = version("k/b", "b1", 3, 3, 1);
        history.operations[5].outcome = done(4, &[deleted]);
    });
    assert!(back.contains("k/b"), "{back}");
    let early = searched(&|history| {
        history.operations.push(operation(
            1,
            (11, 12),
            read("k/c"),
            done(5, &[version("k/c", "c1", 5, 5, 1)]),
        ));
    });
    assert!(early.contains("k/c"), "{early}");
    let refused = searched(&|history| history.operations[0].outcome = Outcome::Refused("no space".into()));
    assert!(refused.contains("k/a"), "{refused}");
}

#[test]
fn lies_in_time_are_found() {
    let early = broken(|history| history.operations[6].begun = Moment(96));
    assert!(early.contains("stale"), "a write before it was asked for: {early}");
    let known = broken(|history| {
        let at = Call::Read { key: "k/a".into(), prefix: false, serializable: true, at: 0 };
        let found = version("k/a", "a1", 2, 2, 1);
        history.operations.push(operation(1, (100, 101), at, done(2, &[found])));
    });
    assert!(known.contains("the client knew"), "{known}");
}

#[test]
fn lies_of_watches_are_found() {
    let missing = broken(|history| drop(history.streams[1].revisions.remove(&3)));
    assert!(missing.contains("was never told"), "{missing}");
    let gap = broken(|history| history.streams.iter_mut().for_each(|s| drop(s.revisions.remove(&4))));
    assert!(gap.contains("no revision between"), "{gap}");
    let torn = broken(|history| {
        history.streams.iter_mut().for_each(|s| drop(s.revisions.get_mut(&3).expect("there").pop()));
    });
    assert!(!torn.is_empty(), "half of a transaction");
    let before = broken(|history| {
        history.streams.iter_mut().for_each(|s| s.revisions.get_mut(&3).expect("there")[0].before = None);
    });
    assert!(before.contains("before it there was"), "{before}");
    let nobody = broken(|history| drop(history.operations.remove(6)));
    assert!(nobody.contains("nobody wrote"), "{nobody}");
    let deleted = broken(|history| {
        history.operations.retain(|o| {
            !matches!(o.call, Call::Delete { .. }) && o.begun < Moment(56) || o.begun > Moment(60)
        });
    });
    assert!(deleted.contains("nobody deleted"), "{deleted}");
}

#[test]
fn leases_that_end_too_early_are_found() {
    let ended = |renewed: u64, revoked: Option<u64>| {
        broken(|history| {
            let leased = Found { lease: 7, ..version("l/0", "l1", 6, 6, 1) };
            for stream in &mut history.streams {
                stream.revisions.insert(6, vec![event(None, Some(leased.clone()))]);
                stream.revisions.insert(7, vec![event(Some(leased.clone()), None)]);
                stream.arrived.insert(6, Moment(200));
                stream.arrived.insert(7, Moment(2_000_300));
            }
            let call = Call::Put { key: "l/0".into(), value: "l1".into(), lease: 7 };
            history.operations.push(operation(2, (110, 120), call, done(6, &[])));
            let renewed = vec![Moment(100), Moment(renewed)];
            let (key, revoked) = ("l/0".to_owned(), revoked.map(Moment));
            history.leases.push(Lease { id: 7, key, ttl_s: 2, renewed, revoked, gone: None });
        })
    };
    assert_eq!(ended(250, None), "");
    assert!(ended(400, None).contains("too early"));
    assert_eq!(ended(400, Some(500)), "");
}
