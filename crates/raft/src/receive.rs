//! The way of a peer's message: what cannot be true is rejected, what is of another term is settled, the rest goes
//! to the module that it concerns.
//!
//! Whatever arrives here must not be able to panic the core or to break what it promised. A peer that lies
//! consistently within the protocol is beyond Raft.

use windlass_types::{MemberId, Term};

use crate::raft::Raft;
use crate::{Action, Body, Fault, Message, Role};

/// How far a message's term may be ahead. Real members would need centuries of elections; without the bound one wrong
/// message could use up all terms.
const TERM_JUMP_MAX: u64 = 1 << 32;

impl Raft {
    pub(crate) fn receive(&mut self, message: Message) {
        // A lost message is always allowed, memory without bound is not.
        if self.role != Role::Leader && self.pipeline.is_full() {
            return;
        }
        let from = message.from;
        if let Err(fault) = self.process(message) {
            self.unnote_received();
            self.outbox.actions.push(Action::MessageRejected { from, fault });
        }
    }

    fn process(&mut self, message: Message) -> Result<(), Fault> {
        let me = self.config.id;
        if message.to != me || message.from == me || message.from == MemberId::ZERO {
            return Err(Fault::Misaddressed);
        }
        if message.term.0.saturating_sub(self.term.0) > TERM_JUMP_MAX {
            return Err(Fault::TermJump);
        }
        if self.ignores(&message) {
            return Ok(());
        }
        self.note_received(&message);
        if message.term < self.term {
            self.answer_stale(&message);
            return Ok(());
        }
        if message.term > self.term {
            self.enter_term_of(&message);
        }
        self.dispatch(message)
    }

    /// Its sender missed an election. What leads or wants to lead in an old term must hear of it: pre-vote and leases
    /// keep it from finding out by an election of its own.
    fn answer_stale(&mut self, message: &Message) {
        match message.body {
            Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot(_) => {
                self.send(message.from, Body::StaleTerm);
            }
            Body::PreVote { .. } => {
                let commit = self.log.committed();
                self.send(message.from, Body::PreVoteReply { granted: false, commit });
            }
            _ => {}
        }
    }

    /// Whether somebody wants to be elected to a later term while there is a leader that lives.
    fn ignores(&self, message: &Message) -> bool {
        let is_transfer = matches!(message.body, Body::Vote { transfer: true, .. });
        let asks = matches!(message.body, Body::PreVote { .. } | Body::Vote { .. });
        message.term > self.term && asks && !is_transfer && self.has_live_leader()
    }

    /// Settles a later term.
    fn enter_term_of(&mut self, message: &Message) {
        match message.body {
            // Both speak of a term that may come.
            Body::PreVote { .. } | Body::PreVoteReply { granted: true, .. } => {}
            _ if is_from_leader(&message.body) => self.become_follower(message.term, message.from),
            _ => self.become_follower(message.term, MemberId::ZERO),
        }
    }

    /// Takes a message of the present term (or, of pre-votes and their grants, a later one).
    fn dispatch(&mut self, message: Message) -> Result<(), Fault> {
        let Message { from, term, body, .. } = message;
        if is_from_leader(&body) {
            self.follow(from)?;
        } else if is_for_leader(&body) && !self.peers.contains_key(&from) {
            // This member leads no more, or the sender was removed.
            return Ok(());
        }
        match body {
            Body::Append { prev_index, prev_term, commit, entries } => {
                self.append_asked(from, (prev_index, prev_term), commit, entries)
            }
            Body::AppendAccepted { index } => self.accepted(from, index),
            Body::AppendRejected { prev_index, hint_index, hint_term } => {
                self.rejected(from, prev_index, (hint_index, hint_term))
            }
            Body::Heartbeat { commit, read } => self.heartbeat_asked(from, commit, read),
            Body::HeartbeatReply { read } => self.heartbeat_answered(from, read),
            Body::Snapshot(meta) => self.snapshot_asked(from, meta),
            Body::ReadIndex(context) => {
                self.read_asked(from, context);
                Ok(())
            }
            Body::ReadIndexReply { context, index } => {
                self.read_answered(context, index);
                Ok(())
            }
            Body::TimeoutNow => {
                self.campaign(true);
                Ok(())
            }
            Body::PreVote { last, commit } => {
                self.learn_commit(commit);
                self.pre_vote_asked(from, term, last);
                Ok(())
            }
            Body::Vote { last, commit, .. } => {
                self.learn_commit(commit);
                self.vote_asked(from, last);
                Ok(())
            }
            Body::PreVoteReply { granted, commit } => {
                self.learn_commit(commit);
                self.vote_answered(from, Role::PreCandidate, granted && term == Term(self.term.0 + 1));
                Ok(())
            }
            Body::VoteReply { granted, commit } => {
                self.learn_commit(commit);
                self.vote_answered(from, Role::Candidate, granted);
                Ok(())
            }
            Body::StaleTerm => Ok(()),
        }
    }

    /// The sender leads the present term.
    fn follow(&mut self, from: MemberId) -> Result<(), Fault> {
        let is_second = self.leader != MemberId::ZERO && self.leader != from;
        if self.role == Role::Leader || is_second {
            return Err(Fault::SecondLeader);
        }
        if self.role != Role::Follower {
            self.become_follower(self.term, from);
        }
        self.leader = from;
        self.election_elapsed = 0;
        self.stood_again = false;
        Ok(())
    }

    fn vote_answered(&mut self, from: MemberId, asked_as: Role, granted: bool) {
        if self.role == asked_as && self.membership.is_voter(from) {
            self.count_vote(from, granted);
            if asked_as == Role::Candidate && !granted && self.role != Role::Leader {
                self.stand_again_soon();
            }
        }
    }
}

/// Whether only the leader of its term can have sent it.
fn is_from_leader(body: &Body) -> bool {
    matches!(
        body,
        Body::Append { .. }
            | Body::Heartbeat { .. }
            | Body::Snapshot(_)
            | Body::TimeoutNow
            | Body::ReadIndexReply { .. }
    )
}

/// Whether only a leader can use it.
fn is_for_leader(body: &Body) -> bool {
    matches!(
        body,
        Body::AppendAccepted { .. }
            | Body::AppendRejected { .. }
            | Body::HeartbeatReply { .. }
            | Body::ReadIndex(_)
    )
}
