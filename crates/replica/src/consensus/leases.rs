//! Leases in the core: joins the lessor with Raft, which confirms that this member leads, and with the log, through which
//! what follows from time takes effect.

use windlass_raft::{ReadId, Role};
use windlass_records::state::State;
use windlass_types::{LeaseId, Term};

use super::Consensus;
use super::api::{Error, Output};
use crate::lease::{Action, Asker, INTERNAL, LeaseAsk, LeaseEvent, Lessor};

impl Consensus {
    /// All leases, those that expire first in front as far as this member knows.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseId> {
        self.lessor.by_expiry(self.sequencer.leases())
    }

    /// How many leases there are.
    #[must_use]
    pub fn lease_count(&self) -> usize {
        self.sequencer.leases().count()
    }

    /// Leases whose end this member proposed because their time was over.
    #[must_use]
    pub fn expired_leases(&self) -> u64 {
        self.lessor.expired()
    }

    /// Somebody asks about a lease.
    pub(super) fn lease_asked(&mut self, asker: Asker, ask: LeaseAsk, out: &mut Vec<Output>) {
        let mut actions = std::mem::take(&mut self.scratch.lease_actions);
        let leads = self.raft.role() == Role::Leader;
        self.lessor.ask(asker, ask, leads, &mut actions);
        self.carry_out_leases(actions, out);
    }

    /// The log did something to a lease.
    pub(super) fn lease_event(&mut self, event: LeaseEvent) {
        self.lessor.event(event);
    }

    /// An entry is applied: with the first one of its own term, a leader answers for leases.
    pub(super) fn lease_applied(&mut self, state: State) {
        if self.raft.role() == Role::Leader && self.raft.term() == state.term {
            self.lessor.begin(state.term);
        }
    }

    /// Role or term changed.
    pub(super) fn lease_role_changed(&mut self, role: Role, term: Term, out: &mut Vec<Output>) {
        if role == Role::Leader && self.lessor.term() == Some(term) {
            return;
        }
        let mut actions = std::mem::take(&mut self.scratch.lease_actions);
        self.lessor.end(&mut actions);
        self.carry_out_leases(actions, out);
    }

    /// A read may be served; whether it was a question of the lessor's.
    pub(super) fn lease_confirmed(&mut self, id: ReadId) -> bool {
        let is_question = Lessor::is_question(id);
        if is_question {
            self.lessor.confirm(id);
        }
        is_question
    }

    /// Raft has no answer for the lessor.
    pub(super) fn lease_dropped(&mut self, id: ReadId, out: &mut Vec<Output>) {
        let mut actions = std::mem::take(&mut self.scratch.lease_actions);
        self.lessor.drop_question(id, &mut actions);
        self.carry_out_leases(actions, out);
    }

    /// Takes the time and does what is due: asks Raft for those who asked, answers, proposes.
    pub(super) fn lease_turn(&mut self, now_ns: u64, out: &mut Vec<Output>) -> Result<(), Error> {
        if let Some(id) = self.lessor.take_question() {
            self.tell_raft(windlass_raft::Input::ReadIndex(id), out)?;
        }
        let mut actions = std::mem::take(&mut self.scratch.lease_actions);
        let can_propose = !self.is_full();
        self.lessor.turn(self.sequencer.leases(), now_ns, can_propose, &mut actions);
        self.carry_out_leases(actions, out);
        Ok(())
    }

    fn carry_out_leases(&mut self, mut actions: Vec<Action>, out: &mut Vec<Output>) {
        for action in actions.drain(..) {
            match action {
                Action::Answer(asker, answer) => out.push(Output::LeaseAnswer { asker, answer }),
                // If it is lost on its way, the lessor proposes it again.
                Action::Propose(kind, payload) => self.gathered.commands.push(INTERNAL, kind, &payload),
            }
        }
        self.scratch.lease_actions = actions;
    }
}
