//! An entry is applied: for the first time, which says that it is committed, or by one member more.

use std::rc::Rc;

use windlass_records::batch::CommandKind;
use windlass_records::state::State;
use windlass_replica::membership::{Members, is_member_change};
use windlass_types::LogIndex;

use super::answers::Expected;
use super::leases::Place;
use super::log::{Logged, Said};
use super::model::{Effects, model_answer, replay};
use super::rules::Rules;
use super::{Answer, Asked, Checker, Mark, OWN_REQUEST};
use crate::check::{Check, Violation, ensure};
use crate::env::site_of;
use crate::report::{Count, Totals};

impl Checker {
    /// A sequencer has numbered an entry.
    ///
    /// # Errors
    /// If its state is not the model's.
    pub fn applied_entry(
        &mut self,
        at: usize,
        state: State,
        now_ns: u64,
        totals: &mut Totals,
    ) -> Result<(), Violation> {
        let index = state.index;
        let site = &mut self.sites[at];
        ensure(index == site.applied.next(), Check::State, || {
            format!("entry {index} is applied after entry {}", site.applied)
        })?;
        site.applied = index;
        if index <= site.applied_ever {
            totals.count(Count::EntriesReplayed);
        }
        site.applied_ever = site.applied_ever.max(index);
        let Some(entry) = site.log.get(index).cloned() else {
            return Err(Violation::new(
                Check::State,
                format!("entry {index} is applied and was never written"),
            ));
        };
        if index > self.applied() {
            self.advance(index, entry, now_ns)?;
            totals.add(Count::LeasesEnded, self.effects[index.0 as usize - 1].ended.len() as u64);
            self.sites[at].oracle = Rc::clone(&self.oracle);
        } else {
            self.follow(at, index, &entry)?;
        }
        let mark = self.marks[index.0 as usize].state;
        ensure(state == mark, Check::State, || {
            format!("the state after entry {index} is {state:?} instead of {mark:?}")
        })
    }

    /// A member applies an entry that another one has applied before.
    pub(super) fn follow(&mut self, at: usize, index: LogIndex, entry: &Logged) -> Result<(), Violation> {
        let known = &self.committed[index.0 as usize - 1];
        ensure(entry == known, Check::Diverged, || {
            format!("entry {index} is {entry:?} at one member and {known:?} at another")
        })?;
        if index == self.applied() {
            self.sites[at].oracle = Rc::clone(&self.oracle);
            return Ok(());
        }
        let oracle = Rc::make_mut(&mut self.sites[at].oracle);
        replay(oracle, entry, &self.effects[index.0 as usize - 1]);
        Ok(())
    }

    /// Applies the next entry to the model: it is committed.
    pub(super) fn advance(&mut self, index: LogIndex, entry: Logged, now_ns: u64) -> Result<(), Violation> {
        ensure(index == self.applied().next(), Check::State, || {
            format!("entry {index} is applied, and {} was the last that anybody applied", self.applied())
        })?;
        self.check_quorum(index, &entry)?;
        let place = Place { index, term: entry.term, now_ns };
        let mut effects = Effects::default();
        for (ordinal, said) in entry.commands().into_iter().enumerate() {
            let answer = self.decide(&said, ordinal, place, &mut effects)?;
            let Some(answer) = answer else { continue };
            let Said { asked, kind, .. } = said;
            let Some(asked) = asked.filter(|asked| asked.id != OWN_REQUEST) else { continue };
            self.note_done(asked, index)?;
            let asker = self.askers.remove(&asked).filter(|asker| *asker != said.who.user);
            ensure(asker.is_none(), Check::Permission, || {
                format!("{asked:?} of {asker:?} is in entry {index} as one of {:?}", said.who)
            })?;
            if self.sites[asked.site].life == asked.life {
                self.expected.insert(asked, Expected { index, kind, answer });
            }
        }
        let (revision, compact_revision) = (self.oracle.revision(), self.oracle.compact_revision());
        let state = State { index, term: entry.term, revision, compact_revision };
        let rules = Rc::clone(&self.rules);
        self.marks.push(Mark { state, hash: self.oracle.hash(), system: None, rules });
        self.committed.push(entry);
        self.effects.push(effects);
        Ok(())
    }

    /// Carries out a command on the models; its answer, if anybody may wait for one.
    fn decide(
        &mut self,
        said: &Said,
        ordinal: usize,
        place: Place,
        effects: &mut Effects,
    ) -> Result<Option<Answer>, Violation> {
        let Said { kind, who, payload, .. } = said;
        if is_member_change(*kind) {
            return Ok(Some(self.membership.change(*kind, payload, place.index)));
        }
        if Rules::are_changed_by(*kind) {
            let rules = Rc::make_mut(&mut self.rules);
            return Ok(Some(rules.change(who, *kind, payload, self.oracle.revision())));
        }
        let (rules, oracle) = (&self.rules, Rc::make_mut(&mut self.oracle));
        if *kind == CommandKind::LeaseExpire && !rules.let_leases_end() {
            return Ok(None);
        }
        let is_clients = !matches!(kind, CommandKind::LeaseExpire | CommandKind::LeaseCheckpoint);
        if is_clients && let Some(error) = rules.refuse(who, *kind, payload, oracle) {
            return Ok(Some(Err(error)));
        }
        let answer = model_answer(oracle, *kind, payload.clone());
        effects.done.extend(answer.is_some().then_some(ordinal));
        let succeeded = answer.as_ref().is_some_and(Result::is_ok);
        let over = self.leases.follow(oracle, *kind, payload.clone(), succeeded, place)?;
        effects.ended.extend(over.into_iter().map(|id| (ordinal, id)));
        self.history.follow(oracle);
        Ok(answer)
    }

    fn note_done(&mut self, asked: Asked, index: LogIndex) -> Result<(), Violation> {
        if let Some(before) = self.done.insert(asked, index) {
            let text = format!("{asked:?} is in entry {before} and in entry {index}");
            return Err(Violation::new(Check::Repeated, text));
        }
        ensure(!self.refused.contains(&asked) && !self.void.contains(&asked), Check::RefusedHadEffect, || {
            format!("{asked:?} was refused, and is applied")
        })
    }

    /// A majority of the voters must have an entry for good before anybody applies it, and that or a later one in that
    /// one's own term: what a leader finds on a majority of an earlier term may still be replaced. Source: Raft thesis 3.6.2.
    fn check_quorum(&self, index: LogIndex, entry: &Logged) -> Result<(), Violation> {
        // The founders' first entries are committed from the start.
        if self.sites.len() > 1 && index.0 <= self.founders as u64 {
            return Ok(());
        }
        let keeps = |site: usize| self.keeper(site).keeps(index, entry);
        let keepers: Vec<usize> = (0..self.sites.len()).filter(|&site| keeps(site)).collect();
        let last = (0..self.sites.len()).map(|site| self.keeper(site).log.last()).max().unwrap_or_default();
        let commits = |at: u64| keepers.iter().any(|&of| self.is_committed_by(LogIndex(at), of, &keepers));
        ensure((index.0..=last.0).any(commits), Check::NoQuorum, || {
            format!(
                "entry {index} is applied, and only the members at {keepers:?} keep it, or no later one in its term"
            )
        })
    }

    /// Whether a majority, of these members, has for good and got in its term what is at this place at the member `of`.
    fn is_committed_by(&self, at: LogIndex, of: usize, keepers: &[usize]) -> bool {
        let Some(entry) = self.keeper(of).log.get(at) else { return false };
        let got = |site: usize| self.keeper(site).keeps(at, entry) && self.keeper(site).log.is_in_term(at);
        let got: Vec<usize> = keepers.iter().copied().filter(|&site| got(site)).collect();
        let is_quorum = |members: &Members| {
            let voters: Vec<usize> = match members.voting().voters.len() {
                0 => (0..self.founders).collect(),
                _ => members.voting().voters.iter().map(|&id| site_of(id)).collect(),
            };
            voters.iter().filter(|voter| got.contains(voter)).count() > voters.len() / 2
        };
        // A change of the members takes effect when its entry is applied, and this one may be committed by then.
        is_quorum(&self.membership.members) || is_quorum(&self.membership.before)
    }
}
