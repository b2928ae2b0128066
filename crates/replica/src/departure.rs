//! When the process of a removed member ends. Pure, so that the simulator's members end by the same rules.
//!
//! One that learns of it from its own log lives on until a member that stays says so, too, and a while longer: of two
//! voters the one that stays needs the other's vote for as long as it has not heard that the other is gone. One that was
//! away when it was removed never gets that log, and is told by the others. A single one is not believed, for it may be
//! wrong about more than that: a majority of the voters must say so, or the entry that removes this member must be in its
//! log already.

use std::collections::BTreeSet;

use windlass_raft::Role;
use windlass_types::MemberId;

use crate::consensus::Consensus;

/// Election timeouts after which a removed member ends although nobody that stays has said that it knows. Whoever does not by
/// then is away itself, and asks again when this member is started again.
const UNHEARD_TIMEOUTS_MAX: u32 = 30;

/// What a member knows of its end.
#[derive(Debug)]
pub struct Departure {
    election_ticks: u32,
    /// Members that say that this one was removed.
    said: BTreeSet<MemberId>,
    /// Ticks since this member's own log says so,
    known_ticks: u32,
    /// and since another member says so as well.
    heard_ticks: u32,
}

impl Departure {
    /// Of a member that is one, as far as it knows.
    #[must_use]
    pub fn new(election_ticks: u32) -> Self {
        Self { election_ticks, said: BTreeSet::new(), known_ticks: 0, heard_ticks: 0 }
    }

    /// A member says that this one was removed.
    pub fn said(&mut self, by: MemberId) {
        self.said.insert(by);
    }

    /// With each tick: whether the process is to end.
    pub fn tick(&mut self, core: &Consensus) -> bool {
        let raft = core.raft();
        if !core.members().is_removed(raft.id()) {
            return self.is_believed(core);
        }
        self.known_ticks += 1;
        self.heard_ticks += u32::from(!self.said.is_empty());
        // As leader it hands over to one that stays.
        let has_left = raft.role() != Role::Leader && self.heard_ticks >= self.election_ticks;
        has_left || self.known_ticks >= self.election_ticks.saturating_mul(UNHEARD_TIMEOUTS_MAX)
    }

    /// Whether what others say is enough without this member's own log.
    fn is_believed(&self, core: &Consensus) -> bool {
        let (raft, said) = (core.raft(), &self.said);
        let is_majority = |voters: &BTreeSet<MemberId>| said.intersection(voters).count() > voters.len() / 2;
        let membership = raft.membership();
        is_majority(&membership.voters) || (!said.is_empty() && raft.may_be_removed())
    }
}
