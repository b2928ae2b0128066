//! Comparing what the members write ([`windlass_replica::damage`]): the leader sets marks, the others hand in their
//! sums, and for a member that differs the alarm is raised.

use std::time::Duration;

use actix::{AsyncContext, Context};
use bytes::Bytes;
use windlass_mvcc::HashSum;
use windlass_peer::{Ask, Reply};
use windlass_raft::Role;
use windlass_records::batch::{BatchBuilder, CommandKind};
use windlass_replica::consensus::Input;
use windlass_replica::damage::Reports;
use windlass_types::{Code, LogIndex, MemberId};

use super::ConsensusActor;
use super::cluster::OWN_REQUEST;
use super::links::FromPeer;

/// Time between marks. A stretch costs each shard some nanoseconds a write and the log one small command.
const MARK_INTERVAL: Duration = Duration::from_secs(10);

/// How long another member has to take a sum. The next mark brings another chance.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// What members ask each other about sums.
pub(super) const ASK_SUM: u16 = 2;

/// An index and a sum.
const SUM_BYTES: usize = 16;

/// What the actor keeps for it.
#[derive(Default)]
pub(super) struct Comparing {
    reports: Reports,
    /// The last index when the last mark was proposed.
    marked: LogIndex,
}

/// A question of another member.
#[derive(Debug)]
pub(super) enum Question {
    /// Its sum up to a mark.
    Sum(LogIndex, HashSum),
}

/// Reads a question and answers that it was heard.
pub(super) fn heard(ask: &Ask, reply: Reply) -> Option<Question> {
    let word = |at: usize| {
        ask.payload.get(at..at + 8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
    };
    let question = match (ask.kind, word(0), word(8)) {
        (ASK_SUM, Some(index), Some(sum)) => Some(Question::Sum(LogIndex(index), HashSum::from_bits(sum))),
        _ => None,
    };
    match question {
        Some(_) => reply.answer(Bytes::new()),
        None => reply.fail(Code::InvalidArgument as u32, format!("no such question: {}", ask.kind)),
    }
    question
}

impl ConsensusActor {
    /// Sets a mark now and then, while this member leads others.
    pub(super) fn set_marks(context: &mut Context<Self>) {
        context.run_interval(MARK_INTERVAL, |actor, context| {
            let raft = actor.core.raft();
            let is_due = raft.role() == Role::Leader
                && raft.membership().members().len() > 1
                && raft.last_index() > actor.comparing.marked;
            if is_due {
                let mut mark = BatchBuilder::default();
                mark.push(OWN_REQUEST, CommandKind::Mark, &[]);
                // The mark itself is no reason for the next one.
                actor.comparing.marked = raft.last_index().next();
                actor.feed(Input::Propose(mark));
                actor.end_step(context);
            }
        });
    }

    /// This member's own sum is there.
    pub(super) fn own_sum(&mut self, index: LogIndex, sum: HashSum) {
        let (me, leader) = (self.published.member, self.core.raft().leader());
        if leader == me {
            return self.judge(me, index, sum);
        }
        let mut payload = Vec::with_capacity(SUM_BYTES);
        payload.extend(index.0.to_le_bytes());
        payload.extend(sum.to_bits().to_le_bytes());
        self.ask(leader, ASK_SUM, payload.into());
    }

    /// A member's question.
    pub(super) fn questioned(&mut self, from: MemberId, question: &Question) {
        match *question {
            Question::Sum(index, sum) if self.core.raft().role() == Role::Leader => {
                self.judge(from, index, sum)
            }
            Question::Sum(..) => {}
        }
    }

    fn judge(&mut self, member: MemberId, index: LogIndex, sum: HashSum) {
        let membership = self.core.raft().membership().clone();
        for named in self.comparing.reports.add(index, member, sum, &membership) {
            tracing::error!(
                member = %named, %index,
                "the state of a member differs from that of the others: remove it, empty its data folder, add it again, \
                 then disarm the alarm"
            );
            self.raise_corrupt(named);
        }
    }

    fn ask(&self, to: MemberId, kind: u16, payload: Bytes) {
        let Some(peers) = self.cluster.peers.clone() else { return };
        actix_rt::spawn(async move {
            if let Err(error) = peers.ask(to, kind, payload, ASK_TIMEOUT).await {
                tracing::debug!(peer = %to, %error, "a sum was not compared");
            }
        });
    }
}

impl FromPeer {
    /// What another member asks, if it can be read.
    pub(super) fn question(from: MemberId, ask: &Ask, reply: Reply) -> Option<Self> {
        heard(ask, reply).map(|question| Self::Question(from, question))
    }
}
