//! The leader's clock over the leases, and those who ask for it. Pure: time is an input.
//!
//! 1. A question waits until Raft has confirmed, after it came, that this member still leads, and until everything that
//!    was committed by then is applied: as a linearizable read does, and one round for all that came together. A leader
//!    that was deposed without knowing it must not acknowledge a renewal.
//! 2. The reign begins when an entry of the leader's own term is applied: what leaders before it proposed is then
//!    either applied or lost.
//! 3. With time, what is left of leases is written down and what has run out is proposed to be revoked.

use std::collections::VecDeque;

use prost::Message;
use windlass_raft::ReadId;
use windlass_records::batch::CommandKind;
use windlass_types::{LeaseId, Term};

use super::ask::{Asker, LeaseAnswer, LeaseAsk};
use super::reign::{Reign, Renewal};
use super::table::{LeaseEvent, Leases};

/// Questions of a lessor have this in their topmost byte; arbiters have their number there, which is lower.
const QUESTION: u64 = 0xff << 56;

/// How a lessor behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What every lease gets on top when a leader takes it over, in nanoseconds: the election timeout, as in etcd. For
    /// so long at most a renewal can be on its way that the leader before acknowledged.
    pub extension_ns: u64,
}

/// What a lessor wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Tell this.
    Answer(Asker, LeaseAnswer),
    /// Propose this, as a command that nobody waits for.
    Propose(CommandKind, Vec<u8>),
}

/// A group of questions, and what they wait for.
struct Asked {
    id: ReadId,
    asks: Vec<(Asker, LeaseAsk)>,
}

/// What a member knows of leases beyond what is replicated.
pub struct Lessor {
    options: Options,
    reign: Option<Reign>,
    /// A reign that begins with the next turn, which knows the time.
    begins: Option<Term>,
    /// Came since the last turn. Bounded by what those who ask may have in flight.
    pending: Vec<(Asker, LeaseAsk)>,
    /// Wait for Raft's word.
    asked: VecDeque<Asked>,
    /// Have it, and are answered in the next turn.
    confirmed: Vec<(Asker, LeaseAsk)>,
    /// Of the log, for the next turn.
    events: Vec<LeaseEvent>,
    next_question: u64,
    expired: u64,
}

impl Lessor {
    /// One that leads nothing.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            reign: None,
            begins: None,
            pending: Vec::new(),
            asked: VecDeque::new(),
            confirmed: Vec::new(),
            events: Vec::new(),
            next_question: 0,
            expired: 0,
        }
    }

    /// The term in which this member is known to lead.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.begins.or(self.reign.as_ref().map(|reign| reign.term))
    }

    /// This member leads in `term`, and an entry of that term is applied.
    pub fn begin(&mut self, term: Term) {
        if self.term() != Some(term) {
            self.begins = Some(term);
        }
    }

    /// This member does not lead, or no longer in the term in which it did.
    pub fn end(&mut self, out: &mut Vec<Action>) {
        self.begins = None;
        let waiting = self.reign.take().into_iter().flat_map(Reign::into_waiting);
        let asked = self.asked.drain(..).flat_map(|asked| asked.asks);
        let asks = asked.chain(self.pending.drain(..)).chain(self.confirmed.drain(..));
        let askers = asks.map(|(asker, _)| asker).chain(waiting);
        out.extend(askers.map(|asker| Action::Answer(asker, LeaseAnswer::NotLeader)));
        self.events.clear();
    }

    /// Somebody asks. `leads` says whether this member leads as far as it knows; its reign may still have to begin.
    pub fn ask(&mut self, asker: Asker, ask: LeaseAsk, leads: bool, out: &mut Vec<Action>) {
        if leads {
            self.pending.push((asker, ask));
        } else {
            out.push(Action::Answer(asker, LeaseAnswer::NotLeader));
        }
    }

    /// What Raft is to be asked for those who asked since the last time.
    pub fn take_question(&mut self) -> Option<ReadId> {
        if self.pending.is_empty() {
            return None;
        }
        self.next_question += 1;
        let id = ReadId(QUESTION | self.next_question);
        self.asked.push_back(Asked { id, asks: std::mem::take(&mut self.pending) });
        Some(id)
    }

    /// Whether a question of Raft's is a lessor's.
    #[must_use]
    pub fn is_question(id: ReadId) -> bool {
        id.0 & QUESTION == QUESTION
    }

    /// Raft confirmed a question, and what was committed by then is applied.
    pub fn confirm(&mut self, id: ReadId) {
        // One of an earlier reign was answered with its end.
        if let Some(at) = self.asked.iter().position(|asked| asked.id == id) {
            self.confirmed.extend(self.asked.remove(at).expect("just found").asks);
        }
    }

    /// Raft has no answer to a question.
    pub fn drop_question(&mut self, id: ReadId, out: &mut Vec<Action>) {
        if let Some(at) = self.asked.iter().position(|asked| asked.id == id) {
            let asks = self.asked.remove(at).expect("just found").asks;
            out.extend(asks.into_iter().map(|(asker, _)| Action::Answer(asker, LeaseAnswer::NotLeader)));
        }
    }

    /// The log did something to a lease.
    pub fn event(&mut self, event: LeaseEvent) {
        if self.term().is_some() {
            self.events.push(event);
        }
    }

    /// Takes the time, in nanoseconds of a monotonic clock, and does what is due. `leases` is the replicated state,
    /// with all events. To be called after each group of other calls, and some times a second.
    pub fn turn(&mut self, leases: &Leases, now_ns: u64, can_propose: bool, out: &mut Vec<Action>) {
        if let Some(term) = self.begins.take() {
            self.reign = Some(Reign::new(term, now_ns, self.options.extension_ns));
        }
        let Some(reign) = &mut self.reign else { return };
        for event in self.events.drain(..) {
            take_event(reign, event, now_ns, out);
        }
        for (asker, ask) in self.confirmed.drain(..) {
            if let Some(answer) = answer(reign, asker, ask, leases, now_ns) {
                out.push(Action::Answer(asker, answer));
            }
        }
        let due = reign.due(leases, now_ns, can_propose);
        for checkpoints in due.checkpoints {
            out.push(Action::Propose(CommandKind::LeaseCheckpoint, checkpoints.encode_to_vec()));
        }
        for expired in due.expired {
            self.expired += expired.leases.len() as u64;
            out.push(Action::Propose(CommandKind::LeaseExpire, expired.encode_to_vec()));
        }
    }

    /// Leases whose end this member proposed because their time was over.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// All leases, those that expire first in front as far as this member knows. Source: etcd `lessor.Leases`.
    #[must_use]
    pub fn by_expiry(&self, leases: &Leases) -> Vec<LeaseId> {
        let deadline = |id| self.reign.as_ref().and_then(|reign| reign.deadline_ns(id)).unwrap_or(u64::MAX);
        let mut all: Vec<_> = leases.iter_from(None).map(|(id, _)| (deadline(id), id)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }
}

fn take_event(reign: &mut Reign, event: LeaseEvent, now_ns: u64, out: &mut Vec<Action>) {
    match event {
        LeaseEvent::Granted(id, lease) => reign.granted(id, lease, now_ns),
        LeaseEvent::Revoked(id) => {
            let waiting = reign.revoked(id).into_iter();
            out.extend(waiting.map(|asker| Action::Answer(asker, LeaseAnswer::Missing)));
        }
        LeaseEvent::Checkpointed(id, lease, proposal) => {
            let (waiting, ttl_s) = reign.checkpointed(id, lease, proposal, now_ns);
            let answers = waiting.into_iter();
            out.extend(answers.map(|asker| Action::Answer(asker, LeaseAnswer::Renewed { ttl_s })));
        }
    }
}

/// The answer, unless it waits for the log.
fn answer(
    reign: &mut Reign,
    asker: Asker,
    ask: LeaseAsk,
    leases: &Leases,
    now_ns: u64,
) -> Option<LeaseAnswer> {
    match ask {
        LeaseAsk::KeepAlive(id) => match reign.renew(id, asker, leases, now_ns) {
            Renewal::Done(ttl_s) => Some(LeaseAnswer::Renewed { ttl_s }),
            Renewal::Waits => None,
            Renewal::Missing => Some(LeaseAnswer::Missing),
        },
        LeaseAsk::TimeToLive(id) => Some(match reign.left(id, leases, now_ns) {
            Some((left_s, ttl_s)) => LeaseAnswer::Left { left_s, ttl_s },
            None => LeaseAnswer::Missing,
        }),
    }
}
