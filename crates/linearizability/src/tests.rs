//! Histories that can have happened, histories that cannot, and the same verdict as trying every order.

use super::*;
use crate::key::{Change, Found, Key, Operation};

const STEPS: u64 = 100_000;

fn call(begun: u64, ended: Option<u64>, operation: Operation) -> Call<Operation> {
    Call { begun, ended, operation }
}

fn version(value: u64, revision: i64) -> Found {
    Found { value, lease: 0, revision, created: 1, version: revision }
}

fn put(value: u64, revision: Option<i64>) -> Operation {
    let change = Some(Change::Put { value, lease: 0 });
    Operation::Write { compared: None, before: None, change, revision }
}

fn verdict(calls: &[Call<Operation>]) -> Verdict {
    check(&Key, None, calls, STEPS)
}

#[test]
fn one_after_the_other() {
    let calls = [
        call(0, Some(1), Operation::Read(None)),
        call(2, Some(3), put(7, Some(1))),
        call(4, Some(5), Operation::Read(Some(version(7, 1)))),
    ];
    assert_eq!(verdict(&calls), Verdict::Linearizable);
    let stale = [calls[1].clone(), call(4, Some(5), Operation::Read(None))];
    assert_eq!(verdict(&stale), Verdict::Impossible(vec![1]));
}

#[test]
fn at_the_same_time_both_orders_are_possible() {
    let calls = [
        call(0, Some(10), put(7, Some(1))),
        call(1, Some(2), Operation::Read(None)),
        call(3, Some(4), Operation::Read(Some(version(7, 1)))),
    ];
    assert_eq!(verdict(&calls), Verdict::Linearizable);
    let back = [
        calls[0].clone(),
        call(1, Some(2), calls[2].operation.clone()),
        call(3, Some(4), Operation::Read(None)),
    ];
    assert!(matches!(verdict(&back), Verdict::Impossible(_)));
}

#[test]
fn a_call_without_an_answer_happens_late_or_never() {
    let unknown = call(0, None, put(7, None));
    let read = |at, found| call(at, Some(at + 1), Operation::Read(found));
    assert_eq!(
        verdict(&[unknown.clone(), read(5, None), read(9, Some(version(7, 1)))]),
        Verdict::Linearizable
    );
    assert_eq!(verdict(&[unknown.clone(), read(5, None), read(9, None)]), Verdict::Linearizable);
    let twice = [unknown, read(5, Some(version(7, 1))), read(9, None)];
    assert!(matches!(verdict(&twice), Verdict::Impossible(_)));
}

#[test]
fn what_was_compared_must_hold() {
    let swap = |compared| Operation::Write {
        compared: Some(compared),
        before: None,
        change: Some(Change::Put { value: 8, lease: 0 }),
        revision: Some(2),
    };
    let calls = |compared| [call(0, Some(1), put(7, Some(1))), call(2, Some(3), swap(compared))];
    assert_eq!(verdict(&calls(1)), Verdict::Linearizable);
    assert!(matches!(verdict(&calls(0)), Verdict::Impossible(_)));
}

#[test]
fn a_lease_ends_what_is_under_it() {
    let leased = Operation::Write {
        compared: None,
        before: None,
        change: Some(Change::Put { value: 7, lease: 5 }),
        revision: Some(1),
    };
    let expire = |lease| {
        let change = Some(Change::Expire(lease));
        call(1, None, Operation::Write { compared: None, before: None, change, revision: None })
    };
    let calls =
        |lease| [call(0, Some(1), leased.clone()), expire(lease), call(5, Some(6), Operation::Read(None))];
    assert_eq!(verdict(&calls(5)), Verdict::Linearizable);
    assert!(matches!(verdict(&calls(6)), Verdict::Impossible(_)));
}

#[test]
fn it_gives_up_at_its_bound() {
    let calls: Vec<_> = (0..10).map(|value| call(0, Some(100), put(value, None))).collect();
    let never = call(200, Some(201), Operation::Read(Some(version(99, 99))));
    let calls = [calls, vec![never]].concat();
    assert_eq!(check(&Key, None, &calls, 50), Verdict::Undecided);
}

/// Random numbers below a bound.
fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |bound| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    }
}

/// What a key was told by many clients at once, some of whom never heard whether their write took effect.
fn long_history(calls: u64) -> Vec<Call<Operation>> {
    let mut below = numbers(7);
    let mut now: Option<Found> = None;
    let mut history = Vec::new();
    for number in 0..calls {
        let at = 100 + 10 * number;
        let (begun, ended) = (at - below(60), at + below(60));
        let change = match below(10) {
            0..5 => None,
            5..8 => Some(Change::Put { value: number, lease: 0 }),
            _ => Some(Change::Delete),
        };
        let Some(change) = change else {
            history.push(call(begun, Some(ended), Operation::Read(now)));
            continue;
        };
        let (answered, happened) = (below(50) > 0, below(2) == 0);
        let revision = answered.then_some(number.cast_signed());
        let before = answered.then_some(now);
        let operation = Operation::Write { compared: None, before, change: Some(change), revision };
        history.push(call(begun, answered.then_some(ended), operation));
        if answered || happened {
            let revision = number.cast_signed();
            now = match change {
                Change::Put { value, lease } => {
                    let (created, version) = now.map_or((revision, 1), |old| (old.created, old.version + 1));
                    Some(Found { value, lease, revision, created, version })
                }
                Change::Delete | Change::Expire(_) => None,
            };
        }
    }
    history
}

/// Of some hundred writes nobody hears what became of them, and the search goes on without trying all that may have become of
/// them.
#[test]
fn a_long_history_takes_a_few_steps_for_each_call() {
    let history = long_history(20_000);
    assert_eq!(check(&Key, None, &history, 5 * 20_000), Verdict::Linearizable);
}

/// Small histories, each also judged by trying every order and every choice of what took effect.
#[test]
fn the_verdict_is_that_of_trying_everything() {
    let mut below = numbers(1);
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..4000 {
        let calls: Vec<_> = (0..1 + below(5))
            .map(|_| {
                let begun = below(8);
                let ended = (below(5) > 0).then(|| begun + below(6));
                let found = (below(3) > 0).then(|| version(below(3), 1 + below(3).cast_signed()));
                let operation = if below(2) == 0 { put(below(3), None) } else { Operation::Read(found) };
                call(begun, ended, operation)
            })
            .collect();
        let possible = any_order(&calls, &mut vec![false; calls.len()], None);
        assert_eq!(verdict(&calls) == Verdict::Linearizable, possible, "{calls:?}");
        *if possible { &mut right } else { &mut wrong } += 1;
    }
    assert!(right > 300 && wrong > 300, "{right} {wrong}");
}

fn any_order(calls: &[Call<Operation>], done: &mut Vec<bool>, state: Option<key::Version>) -> bool {
    if (0..calls.len()).all(|at| done[at] || calls[at].ended.is_none()) {
        return true;
    }
    for at in 0..calls.len() {
        let waits =
            |other: usize| !done[other] && calls[other].ended.is_some_and(|end| end < calls[at].begun);
        if done[at] || (0..calls.len()).any(waits) {
            continue;
        }
        if let Some(next) = Key.step(&state, &calls[at].operation) {
            done[at] = true;
            if any_order(calls, done, next) {
                return true;
            }
            done[at] = false;
        }
    }
    false
}
