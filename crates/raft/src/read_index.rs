//! Linearizable reads without a log entry. Source: Raft thesis 6.4.
//!
//! A leader takes its commit index and asks, with a heartbeat, whether it still leads; a quorum's answers to that
//! round confirm it. Reads that come while a round is open share the next one, so that there are few rounds however
//! many the reads. A follower asks its leader, again one question for many reads. A sole voter need not ask anyone.
//!
//! A read is never confirmed by an answer to a question asked before it: see [`ReadContext`].

use std::collections::VecDeque;

use windlass_types::{LogIndex, MemberId, Term};

use crate::raft::Raft;
use crate::{Action, Body, ReadContext, ReadId, Role};

/// Most reads that wait here, questions of other members counted as one each. At the bound a read is dropped at once,
/// and a member's question is ignored: it drops its reads after an election timeout.
pub const READS_MAX: usize = 16 * 1024;

/// Who wants an index.
#[derive(Clone, Debug)]
enum Asker {
    Here(ReadId),
    Member(MemberId, ReadContext),
}

/// As leader: reads whose index is taken.
#[derive(Clone, Debug)]
struct Round {
    sequence: u64,
    index: LogIndex,
    askers: Vec<Asker>,
}

/// As follower: reads whose question is on its way.
#[derive(Clone, Debug)]
struct Question {
    sequence: u64,
    ids: Vec<ReadId>,
    age_ticks: u32,
}

/// All reads that wait here.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    incarnation: u64,
    /// The newest sequence made in this incarnation, for rounds and questions alike.
    sequence: u64,
    /// As leader: for the next round.
    next_round: Vec<Asker>,
    rounds: VecDeque<Round>,
    /// As follower: for the next question.
    next_question: Vec<ReadId>,
    questions: VecDeque<Question>,
    len: usize,
}

impl Reads {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            sequence: 0,
            next_round: Vec::new(),
            rounds: VecDeque::new(),
            next_question: Vec::new(),
            questions: VecDeque::new(),
            len: 0,
        }
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn context(&self, term: Term, sequence: u64) -> ReadContext {
        ReadContext { term, incarnation: self.incarnation, sequence }
    }

    /// The newest open round, whose confirmation confirms all.
    pub(crate) fn newest_round(&self, term: Term) -> Option<ReadContext> {
        self.rounds.back().map(|round| self.context(term, round.sequence))
    }

    /// Whether this member made the context, in this term and run.
    pub(crate) fn is_own(&self, context: ReadContext, term: Term) -> bool {
        context.term == term && context.incarnation == self.incarnation && context.sequence <= self.sequence
    }

    /// Takes what waits, as a list of the reads asked here.
    fn drain_ids(&mut self) -> impl Iterator<Item = ReadId> {
        let askers = self.rounds.drain(..).flat_map(|round| round.askers).chain(self.next_round.drain(..));
        let here: Vec<ReadId> = askers
            .filter_map(|asker| match asker {
                Asker::Here(id) => Some(id),
                Asker::Member(..) => None,
            })
            .collect();
        self.len = 0;
        let asked = self.questions.drain(..).flat_map(|question| question.ids);
        let asked: Vec<ReadId> = asked.chain(self.next_question.drain(..)).collect();
        here.into_iter().chain(asked)
    }
}

impl Raft {
    /// A read asked here.
    pub(crate) fn read(&mut self, id: ReadId) {
        match self.role {
            Role::Leader if self.is_confirmed_leader() => {
                self.outbox.actions.push(Action::ReadReady { id, index: self.log.commit() });
            }
            _ if self.reads.len >= READS_MAX => self.outbox.actions.push(Action::ReadDropped { id }),
            Role::Leader => self.wait_for_round(Asker::Here(id)),
            Role::Follower if self.leader != MemberId::ZERO => {
                self.reads.len += 1;
                self.reads.next_question.push(id);
                if self.reads.questions.is_empty() {
                    self.ask_leader();
                }
            }
            _ => self.outbox.actions.push(Action::ReadDropped { id }),
        }
    }

    /// As leader: a member's question.
    pub(crate) fn read_asked(&mut self, from: MemberId, context: ReadContext) {
        if self.is_confirmed_leader() {
            self.send(from, Body::ReadIndexReply { context, index: self.log.commit() });
        } else if self.reads.len < READS_MAX {
            self.wait_for_round(Asker::Member(from, context));
        }
    }

    /// Whether nobody else could lead, and the commit index is current.
    fn is_confirmed_leader(&self) -> bool {
        self.membership.is_sole_voter(self.config.id) && self.is_leader_ready()
    }

    fn wait_for_round(&mut self, asker: Asker) {
        self.reads.len += 1;
        self.reads.next_round.push(asker);
        self.open_read_round_if_none();
    }

    pub(crate) fn open_read_round_if_none(&mut self) {
        if self.reads.rounds.is_empty() && self.open_read_round() {
            self.broadcast_heartbeats();
            self.release_reads();
        }
    }

    /// Gives the waiting reads their index and opens a round for them; the caller tells it to the members. Before the
    /// first commit of its term a leader's commit index may be old, so they wait on.
    pub(crate) fn open_read_round(&mut self) -> bool {
        if self.reads.next_round.is_empty() || !self.is_leader_ready() {
            return false;
        }
        let round = Round {
            sequence: self.reads.next_sequence(),
            index: self.log.commit(),
            askers: std::mem::take(&mut self.reads.next_round),
        };
        self.reads.rounds.push_back(round);
        true
    }

    /// Answers the rounds that a quorum confirmed, and opens the next.
    pub(crate) fn release_reads(&mut self) {
        let me = self.config.id;
        let confirmed =
            |id| if id == me { u64::MAX } else { self.peers.get(&id).map_or(0, |p| p.read_confirmed) };
        let sequence = self.membership.reached(confirmed);
        while self.reads.rounds.front().is_some_and(|round| round.sequence <= sequence) {
            let round = self.reads.rounds.pop_front().expect("there is a front");
            self.reads.len -= round.askers.len();
            for asker in round.askers {
                self.answer(asker, round.index);
            }
        }
        self.open_read_round_if_none();
    }

    fn answer(&mut self, asker: Asker, index: LogIndex) {
        match asker {
            Asker::Here(id) => self.outbox.actions.push(Action::ReadReady { id, index }),
            Asker::Member(to, context) => self.send(to, Body::ReadIndexReply { context, index }),
        }
    }

    /// As follower: asks the leader for all reads that wait.
    fn ask_leader(&mut self) {
        if self.reads.next_question.is_empty() {
            return;
        }
        let sequence = self.reads.next_sequence();
        let ids = std::mem::take(&mut self.reads.next_question);
        self.reads.questions.push_back(Question { sequence, ids, age_ticks: 0 });
        let context = self.reads.context(self.term, sequence);
        self.send(self.leader, Body::ReadIndex(context));
    }

    /// As follower: the leader's answer, which also answers every earlier question.
    pub(crate) fn read_answered(&mut self, context: ReadContext, index: LogIndex) {
        if !self.reads.is_own(context, self.term) {
            return;
        }
        while self.reads.questions.front().is_some_and(|q| q.sequence <= context.sequence) {
            let question = self.reads.questions.pop_front().expect("there is a front");
            self.reads.len -= question.ids.len();
            let ready = question.ids.into_iter().map(|id| Action::ReadReady { id, index });
            self.outbox.actions.extend(ready);
        }
        if self.reads.questions.is_empty() {
            self.ask_leader();
        }
    }

    /// As follower: a question may be lost. Later reads do not wait for it, and its own are given up after an
    /// election timeout.
    pub(crate) fn age_forwarded_reads(&mut self) {
        self.reads.questions.iter_mut().for_each(|q| q.age_ticks += 1);
        while self.reads.questions.front().is_some_and(|q| q.age_ticks >= self.config.election_ticks) {
            let question = self.reads.questions.pop_front().expect("there is a front");
            self.reads.len -= question.ids.len();
            self.outbox.actions.extend(question.ids.into_iter().map(|id| Action::ReadDropped { id }));
        }
        let is_overdue = |q: &Question| q.age_ticks >= self.config.heartbeat_ticks;
        if self.reads.questions.back().is_none_or(is_overdue) {
            self.ask_leader();
        }
    }

    /// The leader that could answer is gone, or this one is none any more.
    pub(crate) fn drop_reads(&mut self) {
        let dropped = self.reads.drain_ids().map(|id| Action::ReadDropped { id });
        self.outbox.actions.extend(dropped);
    }
}
