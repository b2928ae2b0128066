//! Writes under way and the messages that wait for them.
//!
//! Everything a member says is as if it had said it at the moment it decided, over a network that is slow by the
//! time of the write. That is sound because writes become durable in order: whenever a held message leaves,
//! everything its member knew when it spoke is durable. A message held for a write leaves also if its term is over.

use std::collections::VecDeque;

use windlass_records::log::HardState;
use windlass_types::{LogIndex, Term};

use crate::message::Gate;
use crate::trace::Trace;
use crate::{Action, Message, PersistId};

/// Most writes under way plus messages held for them before a member that does not lead stops listening to its peers,
/// who repeat themselves. Proposals are bounded by their bytes instead.
const UNDER_WAY_MAX: usize = 16 * 1024;

/// What the step under way has to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    /// The step's actions; the caller's vector while a step runs.
    pub(crate) actions: Vec<Action>,
    /// Messages that wait for this step's write, or else for the last one under way.
    held: Vec<Message>,
    /// What is noted of all steps since it was taken, if anything is.
    pub(crate) trace: Option<Trace>,
}

impl Outbox {
    /// Nothing to say; `traced`: what happens is noted.
    pub(crate) fn new(traced: bool) -> Self {
        Self { trace: traced.then(Trace::default), ..Self::default() }
    }

    pub(crate) fn send(&mut self, message: Message) {
        match message.body.gate() {
            Gate::AtOnce => self.actions.push(Action::Send(message)),
            Gate::AfterPersist => self.held.push(message),
        }
    }
}

/// One write under way.
#[derive(Clone, Debug)]
struct Pending {
    id: PersistId,
    /// Entries up to here are durable with it, as they are in memory. `None` if it wrote none that still stand.
    durable_to: Option<LogIndex>,
    /// The candidacy whose own vote is durable with it.
    candidacy: Option<Term>,
    held: Vec<Message>,
}

/// What a report of durability brings about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable {
    pub(crate) durable_to: Option<LogIndex>,
    pub(crate) candidacy: Option<Term>,
}

/// All writes under way, in order.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    last_id: PersistId,
    /// The newest hard state handed out to be written.
    pub(crate) hard_state: HardState,
    queue: VecDeque<Pending>,
    held_len: usize,
}

impl Pipeline {
    pub(crate) fn new(hard_state: HardState) -> Self {
        Self { last_id: PersistId(0), hard_state, queue: VecDeque::new(), held_len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() + self.held_len >= UNDER_WAY_MAX
    }

    /// Opens a write.
    pub(crate) fn push(&mut self, durable_to: Option<LogIndex>, candidacy: Option<Term>) -> PersistId {
        self.last_id = PersistId(self.last_id.0 + 1);
        self.queue.push_back(Pending { id: self.last_id, durable_to, candidacy, held: Vec::new() });
        self.last_id
    }

    /// Lets the outbox's promises wait for the last write under way; with none, everything is durable.
    pub(crate) fn hold(&mut self, outbox: &mut Outbox) {
        match self.queue.back_mut() {
            Some(last) => {
                self.held_len += outbox.held.len();
                last.held.append(&mut outbox.held);
            }
            None => outbox.actions.extend(outbox.held.drain(..).map(Action::Send)),
        }
    }

    /// A leader replaces the log after `last`: what is being written there will be overwritten by a later write, and
    /// its report must not count for the new entries.
    pub(crate) fn truncated(&mut self, last: LogIndex) {
        for pending in &mut self.queue {
            pending.durable_to = pending.durable_to.map(|to| to.min(last));
        }
    }

    /// A snapshot replaces the log: no write before it says anything about what comes.
    pub(crate) fn replaced(&mut self) {
        for pending in &mut self.queue {
            pending.durable_to = None;
        }
    }

    /// Closes all writes up to `id` and releases their messages.
    pub(crate) fn persisted(&mut self, id: PersistId, outbox: &mut Outbox) -> Durable {
        assert!(id <= self.last_id, "a write that was never asked for is reported as durable");
        let mut durable = Durable::default();
        while self.queue.front().is_some_and(|p| p.id <= id) {
            let pending = self.queue.pop_front().expect("there is a front");
            durable.durable_to = durable.durable_to.max(pending.durable_to);
            durable.candidacy = pending.candidacy.or(durable.candidacy);
            self.held_len -= pending.held.len();
            outbox.actions.extend(pending.held.into_iter().map(Action::Send));
        }
        durable
    }
}
