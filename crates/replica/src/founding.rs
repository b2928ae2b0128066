//! How a member's log begins: that of a new cluster's founder, that of one which installs a snapshot, and what Raft is
//! told of either at a start. Pure, so that whoever starts a member, on true disks or not, begins from the same.

use prost::Message;
use windlass_api::etcdserverpb::Member;
use windlass_io_log::raft_log::Recovered;
use windlass_raft::{Change, ConfChange, Membership, Restored};
use windlass_records::batch::{Batch, BatchBuilder, CommandKind, Origin};
use windlass_records::log::{Entry, EntryKind, HardState};
use windlass_records::state::State;
use windlass_types::{LogIndex, MemberId, RequestId, Term};

use crate::membership::Members;
use crate::system::System;

/// The log of a founding member of a new cluster: one entry for each founder, the same in all of their logs, committed
/// from the start because all of them have it. `founders` are ids and peer URLs, in one order everywhere. Source: etcd
/// `bootstrap.go`, which does the same.
#[must_use]
pub fn founding(founders: impl IntoIterator<Item = (MemberId, Vec<String>)>) -> Recovered {
    let entries: Vec<Entry> = (1..)
        .zip(founders)
        .map(|(index, (id, peer_ur_ls))| {
            let member = Member { id: id.0, peer_ur_ls, ..Member::default() };
            let mut batch = BatchBuilder::default();
            batch.push(RequestId::ZERO, CommandKind::MemberAdd, &member.encode_to_vec());
            // Nobody waits for it.
            let context = batch.finish(Origin { member: MemberId::ZERO, incarnation: 0 });
            let change = ConfChange { context, ..ConfChange::single(Change::AddVoter(id)) };
            let (term, index) = (Term(1), LogIndex(index));
            Entry { term, index, kind: EntryKind::ConfChange, data: change.encode() }
        })
        .collect();
    let commit = LogIndex(entries.len() as u64);
    let hard_state = HardState { term: Term(1), vote: MemberId::ZERO, commit };
    Recovered { hard_state, start_index: LogIndex::ZERO, start_term: Term::ZERO, entries }
}

/// Whether a snapshot of `state` that arrived is to replace what a start found. Not if the log has all of it: the member may
/// have got the entries while the snapshot was on its way, and others behind them, which it has acknowledged and which
/// would be lost.
fn is_needed(state: &State, found: &Recovered) -> bool {
    let Recovered { hard_state, start_index, entries, .. } = found;
    let has_entry = || entries.iter().any(|entry| (entry.index, entry.term) == (state.index, state.term));
    state.index > hard_state.commit.max(*start_index) && !has_entry()
}

/// What becomes of a snapshot that waits to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installs {
    /// It is forgotten: the member has all of it, or more than it.
    Nothing,
    /// The shards become its, and the log goes on: it holds the snapshot's place, and what it has behind that was acknowledged.
    Shards,
    /// The shards become its, and the log begins there.
    All(Recovered),
}

/// Whether a snapshot of `state` takes the place of what a start found. `damaged`: the shards cannot be read.
#[must_use]
pub fn installs(state: &State, found: &Recovered, damaged: bool) -> Installs {
    if !damaged {
        let replaces = is_needed(state, found);
        return if replaces { Installs::All(begun_at(state, found.hard_state)) } else { Installs::Nothing };
    }
    let place = (state.index, state.term);
    let is_in_log = place == (found.start_index, found.start_term)
        || found.entries.iter().any(|entry| (entry.index, entry.term) == place);
    if is_in_log {
        Installs::Shards
    } else if is_needed(state, found) {
        Installs::All(begun_at(state, found.hard_state))
    } else {
        // Between it and the log's first entry some are missing.
        Installs::Nothing
    }
}

/// A log that begins after a snapshot. What this member had beyond it differs from the leader's log, or it would not have
/// needed a snapshot; its vote still stands.
fn begun_at(state: &State, mut hard_state: HardState) -> Recovered {
    if hard_state.term < state.term {
        (hard_state.term, hard_state.vote) = (state.term, MemberId::ZERO);
    }
    hard_state.commit = state.index;
    Recovered { hard_state, start_index: state.index, start_term: state.term, entries: Vec::new() }
}

/// What Raft of the member `us` begins with: the log, and the shards' `state` and `system` records. `alone` makes the
/// member the only voter, whatever the records say.
#[must_use]
pub fn restored(us: MemberId, recovered: Recovered, state: &State, system: &System, alone: bool) -> Restored {
    let forced = forced_at(us, &recovered.entries);
    // One that is to be alone from this start on will say so behind all that it has.
    let last = recovered.entries.last().map_or(recovered.start_index, |entry| entry.index);
    let void_to = if alone { last } else { forced };
    let alone = alone || forced > state.index;
    let membership = membership(us, &Members::of(system), &recovered, alone);
    let Recovered { mut hard_state, start_index, start_term, entries } = recovered;
    // The commit index on disk is a hint that may lag; what a shard holds was committed.
    hard_state.commit = hard_state.commit.max(state.index).max(forced);
    Restored {
        hard_state,
        start_index,
        start_term,
        entries,
        applied: state.index,
        membership,
        forced: void_to,
    }
}

/// The newest entry by which this member made itself the only one; zero if there is none. It decided that alone, so the entry
/// is committed since it is durable, and what the shards say of who votes holds only if they have seen it.
fn forced_at(us: MemberId, entries: &[Entry]) -> LogIndex {
    let forces = |entry: &&Entry| {
        let Ok(batch) = Batch::parse(entry.data.clone()) else { return false };
        batch.commands().any(|command| {
            let payload = batch.data().slice(command.payload);
            command.kind == CommandKind::ForceNewCluster
                && Member::decode(payload).is_ok_and(|member| member.id == us.0)
        })
    };
    let mut normal = entries.iter().rev().filter(|entry| entry.kind == EntryKind::Normal);
    normal.find(forces).map_or(LogIndex::ZERO, |entry| entry.index)
}

/// Who votes, as of the state that the shards hold, or, if this member is `alone`, since then.
fn membership(us: MemberId, members: &Members, recovered: &Recovered, alone: bool) -> Membership {
    let is_empty = members.iter().next().is_none();
    // The log says it from its first entry on, or a leader will send it.
    let is_to_come = recovered.entries.first().is_none_or(|e| e.kind == EntryKind::ConfChange);
    if alone || (is_empty && !is_to_come) {
        return Membership::of_voters([us]);
    }
    if is_empty { Membership::default() } else { members.voting() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_forced_a_new_cluster_and_crashed_is_alone_and_nobody_else_is() {
        let forced_by = |id: u64| {
            let mut batch = BatchBuilder::default();
            let member = Member { id, ..Member::default() };
            batch.push(RequestId::ZERO, CommandKind::ForceNewCluster, &member.encode_to_vec());
            let data = batch.finish(Origin { member: MemberId(id), incarnation: 1 });
            let entry = Entry { term: Term(2), index: LogIndex(4), kind: EntryKind::Normal, data };
            let founders = (1..=3).map(|id| (MemberId(id), Vec::new()));
            let mut found = founding(founders);
            found.entries.push(entry);
            found
        };
        let start = |by, index| {
            let state = State { index: LogIndex(index), term: Term(1), ..State::EMPTY };
            restored(MemberId(1), forced_by(by), &state, &System::default(), false)
        };
        let own = start(1, 3);
        assert!(own.membership.is_sole_voter(MemberId(1)) && own.hard_state.commit == LogIndex(4));
        assert!(!start(1, 4).membership.is_sole_voter(MemberId(1)), "the shards know it better");
        assert_eq!((own.forced, start(1, 4).forced), (LogIndex(4), LogIndex(4)), "what was before is void");
        let other = start(2, 3);
        assert_eq!(other.forced, LogIndex::ZERO);
        assert!(!other.membership.is_sole_voter(MemberId(1)) && other.hard_state.commit == LogIndex(3));
    }

    /// Simulated cluster, seed 175: a member installed a snapshot that arrived late, and forgot entries behind it that it
    /// had acknowledged.
    #[test]
    fn a_snapshot_never_takes_the_place_of_a_log_that_has_all_of_it() {
        let entry = |index, term| Entry {
            term: Term(term),
            index: LogIndex(index),
            kind: EntryKind::Normal,
            data: bytes::Bytes::new(),
        };
        let state = |index, term| State { index: LogIndex(index), term: Term(term), ..State::EMPTY };
        let hard_state = HardState { term: Term(3), vote: MemberId::ZERO, commit: LogIndex(5) };
        let entries = vec![entry(5, 1), entry(6, 2), entry(7, 2)];
        let found = Recovered { hard_state, start_index: LogIndex(4), start_term: Term(1), entries };
        assert!(!is_needed(&state(4, 1), &found) && !is_needed(&state(5, 1), &found));
        assert!(!is_needed(&state(6, 2), &found), "the log has it");
        assert!(is_needed(&state(6, 3), &found), "the log has another entry there");
        assert!(is_needed(&state(8, 3), &found));
        assert!(!is_needed(&state(8, 3), &begun_at(&state(8, 3), hard_state)), "it was installed before");
        let repairs = |index, term| installs(&state(index, term), &found, true);
        assert_eq!(repairs(3, 1), Installs::Nothing, "entry 4 is nowhere");
        assert_eq!([(4, 1), (5, 1), (7, 2)].map(|(i, t)| repairs(i, t)), [(); 3].map(|()| Installs::Shards));
        for (index, term) in [(6, 3), (8, 3)] {
            let all = Installs::All(begun_at(&state(index, term), hard_state));
            assert_eq!(
                (repairs(index, term), installs(&state(index, term), &found, false)),
                (all.clone(), all)
            );
        }
    }
}
