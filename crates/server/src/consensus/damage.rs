//! Comparing what the members write and hold ([`windlass_replica::damage`]): the leader sets marks, the others hand in
//! their sums, and for a member that differs the alarm is raised.

use std::time::Duration;

use actix::{AsyncContext, Context};
use bytes::Bytes;
use windlass_mvcc::HashSum;
use windlass_peer::{Ask, Reply};
use windlass_raft::Role;
use windlass_records::batch::{BatchBuilder, CommandKind};
use windlass_replica::consensus::Input;
use windlass_replica::damage::{Reports, Sums};
use windlass_types::{Code, LogIndex, MemberId};

use super::ConsensusActor;
use super::cluster::OWN_REQUEST;
use super::links::FromPeer;

/// Time between marks. Sums cost each shard some nanoseconds a write, and a mark the log one small command.
const MARK_INTERVAL: Duration = Duration::from_secs(10);

/// How long another member has to take a sum. The next mark brings another chance.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// What members ask each other about sums.
pub(super) const ASK_SUM: u16 = 2;

/// An index, a word that says which sums there are (bit 0 what was written, bit 1 what is held), and both, little-endian.
const SUM_WORDS: usize = 4;

/// What the actor keeps for it.
#[derive(Default)]
pub(super) struct Comparing {
    reports: Reports,
    /// The last index when the last mark was proposed; zero if another is due though nothing was written.
    marked: LogIndex,
}

impl Comparing {
    /// A member is connected, maybe after a start with what its disk held.
    pub fn connected(&mut self) {
        self.marked = LogIndex::ZERO;
    }
}

/// A question of another member.
#[derive(Debug)]
pub(super) enum Question {
    /// Its sums at a mark.
    Sums(LogIndex, Sums),
}

fn encode(index: LogIndex, sums: Sums) -> Bytes {
    let Sums { written, held } = sums;
    let which = u64::from(written.is_some()) | u64::from(held.is_some()) << 1;
    let bits = |sum: Option<HashSum>| sum.unwrap_or_default().to_bits();
    let words: [u64; SUM_WORDS] = [index.0, which, bits(written), bits(held)];
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn decode(payload: &[u8]) -> Option<(LogIndex, Sums)> {
    let (words, []) = payload.as_chunks::<8>() else { return None };
    let words: [u64; SUM_WORDS] =
        words.iter().map(|b| u64::from_le_bytes(*b)).collect::<Vec<_>>().try_into().ok()?;
    let [index, which, written, held] = words;
    let sum = |bit: u64, bits| (which & bit != 0).then_some(HashSum::from_bits(bits));
    Some((LogIndex(index), Sums { written: sum(1, written), held: sum(2, held) }))
}

/// Reads a question and answers that it was heard.
pub(super) fn heard(ask: &Ask, reply: Reply) -> Option<Question> {
    let sums = Some(&ask.payload).filter(|_| ask.kind == ASK_SUM).and_then(|payload| decode(payload));
    let question = sums.map(|(index, sums)| Question::Sums(index, sums));
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

    /// This member's own sums are there.
    pub(super) fn own_sums(&mut self, index: LogIndex, sums: Sums) {
        let (me, leader) = (self.published.member, self.core.raft().leader());
        if leader == me {
            return self.judge(me, index, sums);
        }
        self.ask(leader, ASK_SUM, encode(index, sums));
    }

    /// A member's question.
    pub(super) fn questioned(&mut self, from: MemberId, question: &Question) {
        match *question {
            Question::Sums(index, sums) if self.core.raft().role() == Role::Leader => {
                self.judge(from, index, sums);
            }
            Question::Sums(..) => {}
        }
    }

    fn judge(&mut self, member: MemberId, index: LogIndex, sums: Sums) {
        let membership = self.core.raft().membership().clone();
        let verdict = self.comparing.reports.add(index, member, sums, &membership);
        for named in verdict.differ {
            if self.core.alarms().is_damaged(named) {
                continue;
            }
            tracing::error!(
                member = %named, %index,
                "the state of a member differs from that of the others: remove it, empty its data folder, add it again, \
                 then disarm the alarm"
            );
            self.raise_corrupt(named);
        }
        if verdict.is_split {
            tracing::error!(%index, "the states of the members differ, and no majority of them agrees");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_travel() {
        let sum = |n| Some(HashSum::from_bits(n));
        for (written, held) in [(None, None), (sum(0), None), (None, sum(7)), (sum(u64::MAX), sum(1))] {
            let sums = Sums { written, held };
            let payload = encode(LogIndex(9), sums);
            assert_eq!(decode(&payload), Some((LogIndex(9), sums)));
            (0..payload.len()).for_each(|len| assert_eq!(decode(&payload[..len]), None));
        }
    }
}
