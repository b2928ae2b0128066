//! The log from leader to followers, and the commit index. Source: Raft thesis 3.5, 3.6.2, 10.2.1, 10.2.2.
//!
//! A leader commits by counting only entries of its own term, and counts itself only for what is durable at it.

use std::collections::BTreeMap;

use windlass_records::log::{Entry, EntryKind};
use windlass_types::{LogIndex, MemberId, Term};

use crate::log::{Log, entry_bytes};
use crate::persist::Outbox;
use crate::progress::{PeerState, Progress};
use crate::raft::Raft;
use crate::trace::View;
use crate::{Action, Body, Config, Fault, Membership, Message, ReadContext, Role};

/// What sending to a peer needs beside the peer.
struct Sending<'a> {
    config: &'a Config,
    term: Term,
    log: &'a Log,
    membership: &'a Membership,
    outbox: &'a mut Outbox,
}

impl Sending<'_> {
    /// Sends the next append, if the peer may get one. `even_empty`: also without entries, to probe or to tell the
    /// commit index. Tells whether it sent.
    fn append(&mut self, to: MemberId, peer: &mut Progress, even_empty: bool) -> bool {
        if peer.is_paused() {
            return false;
        }
        if self.log.term(LogIndex(peer.next.0 - 1)).is_none() && !peer.ask_at(self.log.start_index()) {
            self.need_snapshot(to, peer);
            return false;
        }
        let prev_index = LogIndex(peer.next.0 - 1);
        let prev_term = self.log.term(prev_index).expect("the last one that was cut, or one behind it");
        let bytes_max = self.config.append_bytes_max;
        let entries = if peer.has_room() { self.log.batch(peer.next, bytes_max) } else { Vec::new() };
        if entries.is_empty() && !even_empty {
            return false;
        }
        let commit = self.log.commit();
        peer.append_sent(entries.last().map(|e| e.index), commit);
        self.send(to, Body::Append { prev_index, prev_term, commit, entries });
        true
    }

    /// Sends all that the window takes.
    fn appends(&mut self, to: MemberId, peer: &mut Progress, mut even_empty: bool) {
        while self.append(to, peer, even_empty) {
            even_empty = false;
        }
    }

    fn heartbeat(&mut self, to: MemberId, peer: &mut Progress, read: Option<ReadContext>) {
        // What the peer did not acknowledge it may not have, or have differently.
        let commit = peer.matched.min(self.log.commit());
        peer.heartbeat_sent(commit);
        self.send(to, Body::Heartbeat { commit, read });
    }

    fn need_snapshot(&mut self, to: MemberId, peer: &mut Progress) {
        // Nobody takes a snapshot for a member that is away.
        if peer.is_active() {
            peer.await_snapshot();
            self.outbox.actions.push(Action::SnapshotNeeded { to });
        }
    }

    fn send(&mut self, to: MemberId, body: Body) {
        let (me, term) = (self.config.id, self.term);
        let message = Message { from: me, to, term, body };
        if let Some(trace) = &mut self.outbox.trace {
            // Who leads voted for itself.
            let (log, membership) = (self.log, self.membership);
            trace.sent(View { id: me, term, vote: me, role: Role::Leader, log, membership }, &message);
        }
        self.outbox.send(message);
    }
}

/// As leader.
impl Raft {
    fn sending(&mut self) -> (&mut BTreeMap<MemberId, Progress>, Sending<'_>) {
        let sending = Sending {
            config: &self.config,
            term: self.term,
            log: &self.log,
            membership: &self.membership,
            outbox: &mut self.outbox,
        };
        (&mut self.peers, sending)
    }

    pub(crate) fn broadcast_appends(&mut self, even_empty: bool) {
        let (peers, mut sending) = self.sending();
        for (&to, peer) in peers {
            sending.appends(to, peer, even_empty);
        }
    }

    pub(crate) fn append_to(&mut self, to: MemberId, even_empty: bool) {
        let (peers, mut sending) = self.sending();
        if let Some(peer) = peers.get_mut(&to) {
            sending.appends(to, peer, even_empty);
        }
    }

    pub(crate) fn broadcast_heartbeats(&mut self) {
        let read = self.reads.newest_round(self.term);
        let (peers, mut sending) = self.sending();
        for (&to, peer) in peers {
            sending.heartbeat(to, peer, read);
        }
    }

    /// Moves the commit index if a quorum allows, and tells everyone.
    pub(crate) fn commit_and_tell(&mut self) -> bool {
        let (me, durable) = (self.config.id, self.log.durable());
        let matched =
            |id| if id == me { durable } else { self.peers.get(&id).map_or(LogIndex::ZERO, |p| p.matched) };
        let index = LogIndex(self.membership.reached(|id| matched(id).0));
        // An entry of an earlier term may be on a quorum and still be replaced. Source: Raft thesis 3.6.2.
        if self.log.term(index) != Some(self.term) || !self.log.commit_to(index) {
            return false;
        }
        self.note_commit();
        self.broadcast_appends(true);
        self.open_read_round_if_none();
        true
    }

    pub(crate) fn accepted(&mut self, from: MemberId, index: LogIndex) -> Result<(), Fault> {
        if index > self.log.last_index() {
            return Err(Fault::BeyondLog);
        }
        let start = self.log.start_index();
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        peer.heard();
        let was_paused = peer.is_paused();
        if !peer.accepted(index) {
            return Ok(());
        }
        match peer.state {
            PeerState::Probe => peer.replicate(),
            PeerState::Snapshot { .. } if peer.matched >= start => peer.replicate(),
            PeerState::Snapshot { .. } | PeerState::Replicate => {}
        }
        let wants_commit = peer.wants_commit(self.log.commit());
        if !self.commit_and_tell() {
            self.append_to(from, was_paused || wants_commit);
        }
        self.go_on_with_transfer(from);
        Ok(())
    }

    pub(crate) fn rejected(
        &mut self,
        from: MemberId,
        prev_index: LogIndex,
        hint: (LogIndex, Term),
    ) -> Result<(), Fault> {
        if hint.0 > prev_index || prev_index > self.log.last_index() {
            return Err(Fault::Malformed);
        }
        // Logs that differ at the hint differ in their whole terms: skip this log's entries of later terms.
        let (hint, _) = if hint.1 == Term::ZERO { hint } else { self.log.last_not_above(hint.0, hint.1) };
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        peer.heard();
        if peer.rejected(prev_index, hint) {
            self.append_to(from, true);
        }
        Ok(())
    }

    pub(crate) fn heartbeat_answered(
        &mut self,
        from: MemberId,
        read: Option<ReadContext>,
    ) -> Result<(), Fault> {
        let last = self.log.last_index();
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        peer.heard();
        peer.resume();
        if let Some(context) = read.filter(|c| self.reads.is_own(*c, self.term)) {
            peer.read_confirmed = peer.read_confirmed.max(context.sequence);
            self.release_reads();
        }
        // What is under way may be lost: an append, empty at worst, finds out.
        let peer = &self.peers[&from];
        if peer.matched < last || peer.state == PeerState::Probe {
            self.append_to(from, true);
        }
        Ok(())
    }

    /// Forgets entries up to `index` but for what followers still need. How much that can be is bounded by
    /// [`Config::retained_bytes_max`], which forgets whatever is applied.
    pub(crate) fn compact(&mut self, index: LogIndex) {
        let sole = self.membership.members().iter().all(|&id| id == self.config.id);
        let keep_bytes = if sole { 0 } else { self.config.retained_bytes_min };
        let needed = self.peers.values().filter_map(Progress::needed_from);
        let floor = needed.min().unwrap_or(index);
        self.log.compact(index.min(floor), keep_bytes);
    }

    pub(crate) fn unreachable(&mut self, peer: MemberId) {
        if let Some(peer) = self.peers.get_mut(&peer).filter(|p| p.state == PeerState::Replicate) {
            peer.probe();
        }
    }
}

/// As follower.
impl Raft {
    /// Takes a leader's entries. The sender is the leader of the present term.
    pub(crate) fn append_asked(
        &mut self,
        from: MemberId,
        prev: (LogIndex, Term),
        commit: LogIndex,
        entries: Vec<Entry>,
    ) -> Result<(), Fault> {
        assert_ne!(self.role, Role::Leader, "a leader has no leader");
        check_entries(prev, self.term, &entries)?;
        if prev.0 < self.log.commit() {
            // Out of date: what is committed is equal, and saying so is all that can help.
            self.send(from, Body::AppendAccepted { index: self.log.commit() });
            return Ok(());
        }
        if self.log.term(prev.0) != Some(prev.1) {
            if prev.0 == self.log.commit() {
                return Err(Fault::ConflictsWithCommitted);
            }
            let (hint_index, hint_term) = self.log.last_not_above(prev.0.min(self.log.last_index()), prev.1);
            self.send(from, Body::AppendRejected { prev_index: prev.0, hint_index, hint_term });
            return Ok(());
        }
        if self.membership.voters.is_empty() && !self.begins_with_membership(&entries) {
            return Err(Fault::NoMembership);
        }
        let equal_to = self.take_entries(prev.0, entries);
        self.log.commit_to(commit.min(equal_to));
        self.send(from, Body::AppendAccepted { index: equal_to });
        Ok(())
    }

    /// Whether a member without a membership may follow these entries: its log, or they, hold it from the very first
    /// entry on. A log that begins later must come with a snapshot.
    fn begins_with_membership(&self, entries: &[Entry]) -> bool {
        let first = self.log.batch(LogIndex(1), 0).into_iter().next();
        let is_founding = |e: &Entry| e.index == LogIndex(1) && e.kind == EntryKind::ConfChange;
        entries.is_empty() || first.as_ref().or(entries.first()).is_some_and(is_founding)
    }

    /// Appends what is new. Returns up to where the log equals the leader's now.
    fn take_entries(&mut self, prev_index: LogIndex, entries: Vec<Entry>) -> LogIndex {
        let mut equal_to = prev_index;
        for entry in entries {
            let index = entry.index;
            if self.log.term(index) != Some(entry.term) {
                if index <= self.log.last_index() {
                    self.log.truncate(index);
                    self.pipeline.truncated(equal_to);
                }
                let fits = self.log.make_room(entry_bytes(entry.data.len()), self.config.retained_bytes_max);
                // Full of entries that only wait to be applied, it will have room later. Full of entries that are not
                // committed it must not refuse: it may be the one that commits them.
                if !fits && self.log.applied() < self.log.commit() {
                    break;
                }
                self.log.append(entry);
            }
            equal_to = index;
        }
        equal_to
    }

    pub(crate) fn heartbeat_asked(
        &mut self,
        from: MemberId,
        commit: LogIndex,
        read: Option<ReadContext>,
    ) -> Result<(), Fault> {
        // A leader tells only what this member acknowledged. If it is not here, this disk forgot.
        if commit > self.log.last_index() {
            return Err(Fault::BeyondLog);
        }
        self.log.commit_to(commit);
        self.send(from, Body::HeartbeatReply { read });
        Ok(())
    }
}

/// Whether the entries follow `prev` and each other, with terms that a leader of `term` can have.
fn check_entries(prev: (LogIndex, Term), term: Term, entries: &[Entry]) -> Result<(), Fault> {
    let (mut index, mut last_term) = prev;
    for entry in entries {
        if index.0.checked_add(1) != Some(entry.index.0) || entry.term < last_term {
            return Err(Fault::Malformed);
        }
        (index, last_term) = (entry.index, entry.term);
    }
    if last_term > term { Err(Fault::Malformed) } else { Ok(()) }
}
