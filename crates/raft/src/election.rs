//! Terms, votes and timers: who leads. Source: Raft thesis 3.4, 3.6.1, 9.6 (pre-vote), 6.2 (check-quorum).
//!
//! A member never counts a vote before it is durable, its own included, and never grants two in one term.
//!
//! While a majority is connected there is a leader again within three election timeouts of any one fault. A leader steps
//! down one after it last heard of a quorum. A follower campaigns one to one and a half after it last heard of a leader.
//! Whoever has heard of one since ignores it, and is asked again with each heartbeat interval until it has not. Votes may
//! be split: a candidate that was refused stands again within half a timeout, so that this does not cost a whole one; but
//! once only, for where votes take longer than that to become durable nobody would ever be elected.

use windlass_records::log::EntryKind;
use windlass_types::{LogIndex, MemberId, Term};

use crate::progress::Progress;
use crate::quorum::Outcome;
use crate::raft::Raft;
use crate::{Body, EntryId, Role};

/// A term beyond it is the work of a fault; standing for election stops there rather than overflow.
const TERM_MAX: Term = Term(u64::MAX - 1);

impl Raft {
    pub(crate) fn tick(&mut self) {
        self.election_elapsed = self.election_elapsed.saturating_add(1);
        if self.role == Role::Leader {
            return self.tick_leader();
        }
        self.age_forwarded_reads();
        if self.election_elapsed >= self.election_timeout {
            self.restart_election_timer();
            self.campaign(false);
        } else if self.role == Role::PreCandidate
            && self.election_elapsed.is_multiple_of(self.config.heartbeat_ticks)
        {
            self.ask_for_pre_votes();
        }
    }

    fn tick_leader(&mut self) {
        if self.election_elapsed >= self.config.election_ticks {
            self.election_elapsed = 0;
            self.transferee = MemberId::ZERO;
            if self.is_leaving() {
                self.leave();
            }
        }
        let election_ticks = self.config.election_ticks;
        self.peers.values_mut().for_each(|peer| peer.tick(election_ticks));
        if self.config.check_quorum && !self.hears_quorum() {
            self.become_follower(self.term, MemberId::ZERO);
            return;
        }
        self.heartbeat_elapsed += 1;
        if self.heartbeat_elapsed >= self.config.heartbeat_ticks {
            self.heartbeat_elapsed = 0;
            self.open_read_round();
            self.broadcast_heartbeats();
        }
    }

    /// As leader: whether a quorum was heard of within an election timeout.
    fn hears_quorum(&self) -> bool {
        let (me, election_ticks) = (self.config.id, self.config.election_ticks);
        let is_heard =
            |id| Some(id == me || self.peers.get(&id).is_some_and(|p| !p.is_silent(election_ticks)));
        self.membership.outcome(is_heard) == Outcome::Won
    }

    /// The spread keeps members from standing at the same time. Half a timeout of ticks is enough for that, and what is
    /// more would be waited for by everyone's clients.
    pub(crate) fn restart_election_timer(&mut self) {
        self.election_elapsed = 0;
        self.election_timeout = self.config.election_ticks + self.spread();
    }

    fn spread(&mut self) -> u32 {
        let bound = (self.config.election_ticks / 2).max(1);
        self.random.below(u64::from(bound)) as u32
    }

    /// As a candidate that was refused, or learnt from a voter who else votes: stands again soon, unless it did so already. The
    /// others vote, so they hear of no leader, and who leads by then is heard of before; pre-votes keep this from disturbing
    /// one.
    pub(crate) fn stand_again_soon(&mut self) {
        if std::mem::replace(&mut self.stood_again, true) {
            return;
        }
        let due = self.election_elapsed + 1 + self.spread();
        self.election_timeout = self.election_timeout.min(due);
    }

    /// Stands for election, if this member may. `transfer`: the leader asked for it.
    pub(crate) fn campaign(&mut self, transfer: bool) {
        // Changes that are committed must be in effect first, or the votes would be counted by a membership that is
        // more than one change old.
        let may = self.membership.is_voter(self.config.id)
            && !self.log.has_unhanded_conf_change()
            && self.log.durable() >= self.log.start_index()
            && self.term < TERM_MAX;
        if self.role == Role::Leader || !may {
            return;
        }
        if self.config.pre_vote && !transfer && !self.membership.is_sole_voter(self.config.id) {
            self.become_pre_candidate();
        } else {
            self.become_candidate(transfer);
        }
    }

    fn become_pre_candidate(&mut self) {
        self.role = Role::PreCandidate;
        self.leader = MemberId::ZERO;
        self.drop_reads();
        self.votes.clear();
        self.restart_election_timer();
        self.ask_for_pre_votes();
        // It promises nothing, so it need not be durable.
        self.count_vote(self.config.id, true);
    }

    /// Asks whoever has not answered: who heard of a leader a moment later than this member does not.
    fn ask_for_pre_votes(&mut self) {
        let (last, commit) = (self.log.last(), self.log.committed());
        self.ask_voters(self.term.next(), &Body::PreVote { last, commit });
    }

    fn become_candidate(&mut self, transfer: bool) {
        self.enter_term(self.term.next());
        self.role = Role::Candidate;
        self.vote = self.config.id;
        self.note_candidate();
        self.note_own_vote();
        let (last, commit) = (self.log.last(), self.log.committed());
        self.ask_voters(self.term, &Body::Vote { last, commit, transfer });
    }

    fn ask_voters(&mut self, term: Term, body: &Body) {
        for id in self.membership.members() {
            if id != self.config.id && self.membership.is_voter(id) && !self.votes.contains_key(&id) {
                self.send_in_term(id, term, body.clone());
            }
        }
    }

    /// Leaves everything of the present term behind.
    fn enter_term(&mut self, term: Term) {
        assert!(term >= self.term, "terms never go back");
        if term > self.term {
            self.term = term;
            self.vote = MemberId::ZERO;
        }
        self.leader = MemberId::ZERO;
        self.transferee = MemberId::ZERO;
        self.conf_change_index = LogIndex::ZERO;
        self.heartbeat_elapsed = 0;
        self.restart_election_timer();
        self.drop_reads();
        self.votes.clear();
        self.peers.clear();
    }

    pub(crate) fn become_follower(&mut self, term: Term, leader: MemberId) {
        // To whoever reads a trace a pre-candidate is a follower.
        let is_new = term != self.term || matches!(self.role, Role::Candidate | Role::Leader);
        self.enter_term(term);
        self.role = Role::Follower;
        self.leader = leader;
        if is_new {
            self.note_follower();
        }
    }

    fn become_leader(&mut self) {
        assert_eq!(self.role, Role::Candidate, "only a candidate wins an election");
        self.enter_term(self.term);
        self.role = Role::Leader;
        self.leader = self.config.id;
        self.stood_again = false;
        self.note_leader();
        let next = self.log.last_index().next();
        for id in self.membership.members() {
            if id != self.config.id {
                self.peers.insert(id, Progress::new(next, self.config.inflight_appends_max, false));
            }
        }
        // The tail may hold a change that is not known to be committed.
        self.conf_change_index = self.log.last_index();
        // Entries of earlier terms commit only under one of this term. Source: Raft thesis 3.6.2.
        self.append_own(EntryKind::Normal, bytes::Bytes::new());
        self.broadcast_appends(false);
    }

    /// Counts an answer as a candidate of either kind; only the first one of a member counts.
    pub(crate) fn count_vote(&mut self, from: MemberId, granted: bool) {
        self.votes.entry(from).or_insert(granted);
        match self.membership.outcome(|id| self.votes.get(&id).copied()) {
            Outcome::Open => {}
            Outcome::Lost => self.become_follower(self.term, MemberId::ZERO),
            Outcome::Won if self.role == Role::PreCandidate => self.become_candidate(false),
            Outcome::Won => self.become_leader(),
        }
    }

    /// Takes note of what a candidate or voter knows to be committed.
    ///
    /// Changes of membership take effect when they are committed, so a member that missed that may ask voters who left
    /// and refuse to vote, while those who could win think they need it: without this, for ever. Source: raft-rs
    /// "commit by vote".
    pub(crate) fn learn_commit(&mut self, commit: EntryId) {
        if self.role == Role::Leader || !self.log.contains(commit) {
            return;
        }
        if self.log.commit_to(commit.index) {
            self.note_commit();
        }
        if self.role != Role::Follower && self.log.has_unhanded_conf_change() {
            self.become_follower(self.term, MemberId::ZERO);
            // The term has no leader yet, and nobody else may know that it began.
            self.stand_again_soon();
        }
    }

    /// Whether a leader was heard of so lately that nobody may be elected. Source: Raft thesis 4.2.3.
    pub(crate) fn has_live_leader(&self) -> bool {
        self.config.check_quorum
            && self.leader != MemberId::ZERO
            && (self.role == Role::Leader || self.election_elapsed < self.config.election_ticks)
    }

    fn is_free_to_vote_for(&self, candidate: MemberId) -> bool {
        self.vote == candidate || (self.vote == MemberId::ZERO && self.leader == MemberId::ZERO)
    }

    /// Answers a pre-vote; its term is not entered.
    pub(crate) fn pre_vote_asked(&mut self, from: MemberId, term: Term, last: EntryId) {
        let is_free = term > self.term || self.is_free_to_vote_for(from);
        let granted = is_free && self.log.is_up_to_date(last);
        let term = if granted { term } else { self.term };
        self.send_in_term(from, term, Body::PreVoteReply { granted, commit: self.log.committed() });
    }

    /// Answers a vote request of the present term.
    pub(crate) fn vote_asked(&mut self, from: MemberId, last: EntryId) {
        let granted = self.is_free_to_vote_for(from) && self.log.is_up_to_date(last);
        if granted {
            self.vote = from;
            self.election_elapsed = 0;
        }
        self.send(from, Body::VoteReply { granted, commit: self.log.committed() });
    }
}
