//! The judge: the logs as they were written, the sequential model over what was committed, and what clients were told.
//!
//! It sees every frame of every Raft log when it is submitted, so it knows the logs without asking the code under test.
//! The first member that applies an entry says that it is committed: from then on every member must apply the same one
//! at its place, every leader must have it, and what was told to a client must be what the model says there.

mod answers;
mod apply;
mod leases;
mod log;
mod model;
mod rules;
mod site;
mod watch;
mod wiped;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use windlass_io_log::op::Ticket;
use windlass_io_log::raft_log::Recovered;
use windlass_mvcc::HashSum;
use windlass_raft::Message;
use windlass_records::state::State;
use windlass_replica::lease::LeaseAnswer;
use windlass_replica::oracle::Oracle;
use windlass_replica::system::System;
use windlass_types::{LogIndex, MemberId, Revision, Term};

use crate::check::{Check, Violation, ensure};
use crate::env::member_of;
use crate::report::{Count, Totals};
use answers::Expected;
use leases::concerns_lease;
use log::Logged;
use model::{Effects, Membership, replay};
use site::Site;

pub use answers::{Answer, Asked, Heard, OWN_REQUEST, is_refusal};
pub use leases::{LeaseQuestion, Leases};
pub use rules::{Identity, Rules};
pub use watch::{History, Watched, revision_of};

/// The store after an entry, as the model has it.
#[derive(Clone, PartialEq)]
struct Mark {
    state: State,
    hash: HashSum,
    /// The system records, once some member has shown them.
    system: Option<System>,
    /// What alarms and users forbid.
    rules: Rc<Rules>,
}

/// The judge.
pub struct Checker {
    sites: Vec<Site>,
    /// Members that lost their disks, as they were before: what they helped to commit is committed.
    lost: BTreeMap<usize, Site>,
    /// The entries that some member has applied, from 1.
    committed: Vec<Logged>,
    oracle: Rc<Oracle>,
    /// What watches are told.
    history: History,
    membership: Membership,
    leases: Leases,
    rules: Rc<Rules>,
    /// For each committed entry.
    effects: Vec<Effects>,
    /// How many members found the cluster: those vote until the log says more.
    founders: usize,
    /// The store after each committed entry, from 0.
    marks: Vec<Mark>,
    /// Who led which term.
    leaders: BTreeMap<Term, MemberId>,
    /// The newest entry that a client has seen the effects of.
    seen: LogIndex,
    /// Revisions that clients were told their puts made.
    revisions: BTreeSet<Revision>,
    /// Writes without an answer, and what was seen when they began.
    open: BTreeMap<Asked, LogIndex>,
    /// Who asked, by name.
    askers: BTreeMap<Asked, String>,
    /// Those whose clients do not wait any more.
    given_up: BTreeMap<Asked, LogIndex>,
    expected: BTreeMap<Asked, Expected>,
    /// Writes that are in no log, as their clients were told.
    refused: BTreeSet<Asked>,
    /// Writes that are in no log or in the log of a leader that lost its place, and never will be applied.
    void: BTreeSet<Asked>,
    /// Requests in committed entries.
    done: BTreeMap<Asked, LogIndex>,
}

impl Checker {
    /// The judge of `sites` members, of whom the first `founders` found the cluster.
    #[must_use]
    pub fn new(sites: usize, founders: usize) -> Self {
        let oracle = Oracle::default();
        let mark = Mark { state: State::EMPTY, hash: oracle.hash(), system: None, rules: Rc::default() };
        Self {
            sites: (0..sites).map(|_| Site::default()).collect(),
            lost: BTreeMap::new(),
            committed: Vec::new(),
            oracle: Rc::new(oracle),
            history: History::default(),
            membership: Membership::default(),
            leases: Leases::default(),
            rules: Rc::default(),
            effects: Vec::new(),
            founders,
            marks: vec![mark],
            leaders: BTreeMap::new(),
            seen: LogIndex::ZERO,
            revisions: BTreeSet::new(),
            open: BTreeMap::new(),
            askers: BTreeMap::new(),
            given_up: BTreeMap::new(),
            expected: BTreeMap::new(),
            refused: BTreeSet::new(),
            void: BTreeSet::new(),
            done: BTreeMap::new(),
        }
    }

    /// The newest entry that any member has applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.committed.len() as u64)
    }

    /// Whether this is a member after that entry.
    #[must_use]
    pub fn is_member(&self, site: usize) -> bool {
        let members = &self.membership.members;
        if members.iter().next().is_none() {
            site < self.founders
        } else {
            members.get(member_of(site)).is_some()
        }
    }

    /// The model after the newest entry that this member has applied.
    #[must_use]
    pub fn oracle(&self, site: usize) -> Rc<Oracle> {
        Rc::clone(&self.sites[site].oracle)
    }

    /// What alarms and users forbid after the newest entry that any member has applied.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The same after an entry that some member has applied.
    #[must_use]
    pub fn rules_at(&self, index: LogIndex) -> &Rules {
        &self.marks[index.0 as usize].rules
    }

    /// What the judge knows of leases.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// A client is told something about a lease.
    ///
    /// # Errors
    /// If that was not so at any time since it asked.
    pub fn lease_told(
        &mut self,
        question: LeaseQuestion,
        answer: LeaseAnswer,
        now_ns: u64,
    ) -> Result<(), Violation> {
        // A leader knows of an entry that is not applied whole, and the judge does not.
        let under_way = |site: &Site| {
            let mut commands = site.log.from(site.applied.next()).flat_map(Logged::commands);
            commands.any(|said| concerns_lease(&said, question.id))
        };
        if self.sites.iter().any(under_way) { Ok(()) } else { self.leases.told(question, answer, now_ns) }
    }

    /// Every event of the committed entries.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The compaction revision after the newest entry that any member has applied.
    #[must_use]
    pub fn compact_revision(&self) -> Revision {
        self.oracle.compact_revision()
    }

    /// The highest revision that some member may have compacted by now.
    #[must_use]
    pub fn compacted_anywhere(&self) -> Revision {
        self.sites.iter().map(Site::newest_compaction).max().unwrap_or_default()
    }

    /// The highest revision that this member may have compacted by now.
    #[must_use]
    pub fn newest_compaction(&self, site: usize) -> Revision {
        self.sites[site].newest_compaction()
    }

    /// The newest entry that a client has seen the effects of: of all members, or of this one in its present life.
    #[must_use]
    pub fn seen(&self, of: Option<usize>) -> LogIndex {
        of.map_or(self.seen, |site| self.sites[site].seen)
    }

    /// A client of this member sees the effects of everything up to here.
    pub fn see(&mut self, site: usize, index: LogIndex) {
        self.seen = self.seen.max(index);
        let seen = &mut self.sites[site].seen;
        *seen = (*seen).max(index);
    }

    /// Number of this member's writes without an answer.
    #[must_use]
    pub fn open(&self, site: usize) -> usize {
        self.open.keys().filter(|asked| asked.site == site).count()
    }

    /// A process died: what was not answered never will be.
    pub fn died(&mut self, site: usize, totals: &mut Totals) {
        totals.add(Count::WritesUnknown, self.open(site) as u64);
        self.sites[site].died();
        self.open.retain(|asked, _| asked.site != site);
        self.given_up.retain(|asked, _| asked.site != site);
        self.expected.retain(|asked, _| asked.site != site);
    }

    /// A process submits a write to its Raft log.
    ///
    /// # Errors
    /// If it holds what must not be in the log.
    pub fn submitted(
        &mut self,
        site: usize,
        ticket: Ticket,
        bytes: &[u8],
        begins_segment: bool,
    ) -> Result<(), Violation> {
        let first = self.sites[site].submitted(ticket, bytes, begins_segment)?;
        let Some(first) = first else { return Ok(()) };
        if self.refused.is_empty() {
            return Ok(());
        }
        for entry in self.sites[site].log.from(first) {
            for asked in entry.requests() {
                ensure(!self.refused.contains(&asked), Check::RefusedHadEffect, || {
                    format!("{asked:?} was refused, and is in the log")
                })?;
            }
        }
        Ok(())
    }

    /// A write to a Raft log is durable.
    pub fn completed(&mut self, site: usize, ticket: Ticket) {
        self.sites[site].completed(ticket);
    }

    /// A process sends a message.
    pub fn sends(&mut self, site: usize, message: &Message) {
        self.sites[site].sends(message);
    }

    /// A process says that it leads.
    ///
    /// # Errors
    /// If another one led this term, or it lacks what was committed before.
    pub fn leads(&mut self, site: usize, term: Term) -> Result<(), Violation> {
        let member = member_of(site);
        let known = *self.leaders.entry(term).or_insert(member);
        ensure(known == member, Check::TwoLeaders, || format!("{known} and {member} lead term {term}"))?;
        let log = &self.sites[site].log;
        for (index, entry) in (1..).map(LogIndex).zip(&self.committed) {
            let has = entry.term >= term || index <= log.start() || log.get(index) == Some(entry);
            ensure(has, Check::Missing, || {
                format!("{member} leads term {term} without entry {index}, which is committed")
            })?;
        }
        Ok(())
    }

    /// A start found this log.
    ///
    /// # Errors
    /// If something is missing.
    pub fn recovered(
        &mut self,
        site: usize,
        found: &Recovered,
        totals: &mut Totals,
    ) -> Result<(), Violation> {
        let lost = self.sites[site].recovered(found)?;
        totals.add(Count::EntriesLost, lost);
        Ok(())
    }

    /// A start begins with this log in place of what it found: the first one of a founder, or one after a snapshot.
    ///
    /// # Errors
    /// If that forgets what the member acknowledged.
    pub fn begins_with(&mut self, site: usize, content: &Recovered) -> Result<(), Violation> {
        self.sites[site].begins_with(content)
    }

    /// The shards were loaded as of `state`, and have this hash.
    ///
    /// # Errors
    /// If the model has another one.
    pub fn restored(&mut self, site: usize, state: &State, hash: HashSum) -> Result<(), Violation> {
        let stable = self.sites[site].stable;
        ensure(state.index >= stable, Check::Missing, || {
            format!("the shards start at {}, but {stable} was stable", state.index)
        })?;
        self.compare(state, hash)?;
        let oracle =
            if state.index == self.applied() { Rc::clone(&self.oracle) } else { self.model_at(state.index) };
        let site = &mut self.sites[site];
        (site.oracle, site.applied) = (oracle, state.index);
        site.applied_ever = site.applied_ever.max(state.index);
        Ok(())
    }

    /// Something of a member's shards rotted: they may start anywhere.
    pub fn rotted(&mut self, site: usize) {
        self.sites[site].stable = LogIndex::ZERO;
    }

    /// Where a member's log begins.
    #[must_use]
    pub fn log_start(&self, site: usize) -> LogIndex {
        self.sites[site].found_start
    }

    /// How many members vote.
    #[must_use]
    pub fn voters(&self) -> usize {
        self.membership.members.voting().voters.len()
    }

    fn model_at(&self, index: LogIndex) -> Rc<Oracle> {
        let mut oracle = Oracle::default();
        for (entry, effects) in self.committed.iter().zip(&self.effects).take(index.0 as usize) {
            replay(&mut oracle, entry, effects);
        }
        Rc::new(oracle)
    }

    /// A member's log was cut here.
    pub fn cut(&mut self, site: usize, index: LogIndex) {
        let stable = &mut self.sites[site].stable;
        *stable = (*stable).max(index);
    }

    /// Whether a member's log is cut at its end.
    #[must_use]
    pub fn is_cut(&self, site: usize) -> bool {
        let site = &self.sites[site];
        site.stable.max(site.log.start()) == site.log.last()
    }

    /// The system records of a member after an entry.
    ///
    /// # Errors
    /// If another one had others.
    pub fn system(&mut self, index: LogIndex, system: &System) -> Result<(), Violation> {
        let known = self.marks[index.0 as usize].system.get_or_insert_with(|| system.clone());
        ensure(known == system, Check::State, || {
            format!("the system records after entry {index} are {system:?} instead of {known:?}")
        })
    }

    /// The shards of a member are at rest after the last entry, and have this hash.
    ///
    /// # Errors
    /// If the model has another one.
    pub fn at_rest(&self, site: usize, state: &State, hash: HashSum) -> Result<(), Violation> {
        let last = self.sites[site].log.last();
        ensure(state.index == last, Check::State, || format!("at rest at {}, not at {last}", state.index))?;
        self.compare(state, hash)
    }

    /// The shards of a member after an entry.
    ///
    /// # Errors
    /// If the model has another state or another hash.
    pub fn compare(&self, state: &State, hash: HashSum) -> Result<(), Violation> {
        let index = state.index;
        let Some(mark) = self.marks.get(index.0 as usize) else {
            return Err(Violation::new(
                Check::State,
                format!("a state of entry {index}, which was never applied"),
            ));
        };
        ensure(*state == mark.state, Check::State, || format!("{state:?} instead of {:?}", mark.state))?;
        ensure(hash == mark.hash, Check::State, || {
            format!("the shards' hash at {index} is {hash:?} instead of {:?}", mark.hash)
        })
    }
}
