//! The parts of the caller's contract that scripts do not show: nothing is copied, and a broken contract panics.

use bytes::Bytes;
use windlass_raft::{Action, Config, Input, Membership, PersistId, Raft, Restored};
use windlass_records::log::{Entry, EntryKind, HardState};
use windlass_types::{LogIndex, MemberId, Term};

const ID: MemberId = MemberId(1);

fn leader() -> Raft {
    let mut raft = Raft::new(Config::new(ID, 1, 1), Restored::founding(Membership::of_voters([ID])));
    let mut actions = Vec::new();
    raft.step(Input::Campaign, &mut actions);
    raft.step(Input::Persisted(PersistId(1)), &mut actions);
    raft.step(Input::Persisted(PersistId(2)), &mut actions);
    raft.step(Input::Applied(LogIndex(2)), &mut actions);
    assert!(raft.is_leader_ready());
    raft
}

#[test]
fn data_are_never_copied() {
    let mut raft = leader();
    let data = Bytes::from(vec![7; 1000]);
    let mut actions = Vec::new();
    raft.step(Input::Propose { kind: EntryKind::Normal, data: data.clone() }, &mut actions);
    let [Action::Persist(persist)] = &actions[..] else { panic!("a write and nothing else: {actions:?}") };
    assert_eq!(persist.entries[0].data.as_ptr(), data.as_ptr());
    let id = persist.id;
    actions.clear();
    raft.step(Input::Persisted(id), &mut actions);
    let [Action::Apply(entries)] = &actions[..] else { panic!("the entry and nothing else: {actions:?}") };
    assert_eq!(entries[0].data.as_ptr(), data.as_ptr());
}

#[test]
fn actions_are_added_to_what_the_caller_has() {
    let mut raft = leader();
    let mut actions = Vec::new();
    for _ in 0..3 {
        raft.step(Input::Propose { kind: EntryKind::Normal, data: Bytes::new() }, &mut actions);
    }
    assert_eq!(actions.len(), 3);
    assert_eq!(raft.persists_under_way(), 3);
}

#[test]
#[should_panic(expected = "never asked for")]
fn reporting_an_unknown_write_panics() {
    leader().step(Input::Persisted(PersistId(9)), &mut Vec::new());
}

#[test]
#[should_panic(expected = "not handed out")]
fn reporting_what_was_not_handed_out_panics() {
    leader().step(Input::Applied(LogIndex(9)), &mut Vec::new());
}

#[test]
#[should_panic(expected = "still needed")]
fn cutting_what_is_not_applied_panics() {
    leader().step(Input::Compact(LogIndex(9)), &mut Vec::new());
}

fn restored(index: u64, term: u64, hard_state: HardState) -> Restored {
    let kind = EntryKind::Normal;
    let entry = Entry { index: LogIndex(index), term: Term(term), kind, data: Bytes::new() };
    Restored { hard_state, entries: vec![entry], ..Restored::founding(Membership::of_voters([ID])) }
}

#[test]
#[should_panic(expected = "consecutive")]
fn a_gap_in_what_was_restored_panics() {
    let hard_state = HardState { term: Term(1), ..HardState::default() };
    let _ = Raft::new(Config::new(ID, 1, 1), restored(3, 1, hard_state));
}

#[test]
#[should_panic(expected = "beyond the restored log")]
fn a_lost_commit_panics() {
    let hard_state = HardState { term: Term(1), commit: LogIndex(3), ..HardState::default() };
    let _ = Raft::new(Config::new(ID, 1, 1), restored(2, 1, hard_state));
}

#[test]
#[should_panic(expected = "never entered")]
fn a_lost_term_panics() {
    let hard_state = HardState { term: Term(1), ..HardState::default() };
    let _ = Raft::new(Config::new(ID, 1, 1), restored(2, 2, hard_state));
}
