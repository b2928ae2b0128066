//! A member's disks are lost, and it is started again under its old identity, by whoever starts it always.
//!
//! It asks the others, as the server's start does (`server::member::join`), and ends if one of them knows that it served.
//! If nobody answers, one that founded the cluster begins, and one that joined does not. Whoever knows it takes no connection
//! of it then (`replica::amnesia`). When it has ended an operator removes it, and puts another machine in its place.
//!
//! It happens to one member at a time, to one whose having served lies in every other's shards: nobody can tell it from a new
//! one else. And to none that founded a cluster of one: nobody is asked there, and that begins anew.

use windlass_replica::amnesia::{has_forgotten, has_served};

use super::World;
use crate::agenda::{MILLISECOND_NS, SECOND_NS};
use crate::bug::Bug;
use crate::check::{Check, ensure};
use crate::env::{Event, Fault, Stop, member_of};
use crate::operator;
use crate::report::Count;

/// Longest time between two looks whether some member's disks may be lost now, in nanoseconds.
const LOOK_NS_MAX: u64 = SECOND_NS;

/// How long an operator waits until it asks once more for a lost member's removal, in nanoseconds.
const REMOVE_NS: u64 = SECOND_NS;

/// Longest time that nobody can tell it, in nanoseconds.
const UNHEARD_NS_MAX: u64 = 12 * SECOND_NS;

/// How long after somebody last wanted the members changed no disk is lost, in nanoseconds: requests wait no longer.
const UNCHANGED_NS: u64 = 10 * SECOND_NS;

impl World {
    pub(super) fn plan_wipe(&mut self) {
        if self.wipes_left > 0 {
            let site = self.wiping.below(self.members.len() as u64) as usize;
            let delay = 1 + self.wiping.below(LOOK_NS_MAX);
            self.env.agenda.after(delay, (site, Event::Fault(Fault::Wipe)));
        }
    }

    /// The disks here are lost, if that is allowed.
    pub(super) fn wipe(&mut self) {
        if self.may_be_wiped() {
            self.wipes_left -= 1;
            self.env.totals.count(Count::Wiped);
            self.env.tell(|| "all disks of this machine are lost".into());
            self.die(true);
            let Self { env, wiping, shards, .. } = self;
            let at = env.at;
            env.checker.wiped(at);
            let site = env.site_mut();
            site.disks.lose(shards[at], wiping);
            (site.arrived, site.rotten, site.is_empty) = (None, false, true);
            site.wiped = Some(site.life);
            if wiping.one_in(2) {
                env.cut_off(wiping);
                let length = wiping.below(UNHEARD_NS_MAX);
                env.after(length, Event::Fault(Fault::Heal));
            }
        }
        self.plan_wipe();
    }

    fn may_be_wiped(&self) -> bool {
        let Self { env, .. } = self;
        let (checker, now_ns) = (&env.checker, env.agenda.now_ns());
        let others_are_well =
            !env.sites.iter().any(|site| site.rotten || (site.wiped.is_some() && !site.gone));
        let is_at_rest =
            !checker.changes_members() && env.changed_ns.is_none_or(|at| at + UNCHANGED_NS < now_ns);
        env.profile.founders > 1 && others_are_well && is_at_rest && checker.may_be_wiped(env.at)
    }

    /// A member without data asks the others before it begins; whether it does.
    pub(super) fn may_begin(&mut self) -> bool {
        let Self { env, members, .. } = self;
        let here = env.member();
        env.site_mut().unpublished = true;
        if env.strikes(Bug::WipedTakesPart, 1) {
            env.site_mut().unpublished = false;
            return true;
        }
        let answers = (0..members.len()).filter(|&peer| env.can_ask(peer));
        let answers: Vec<_> = answers.filter_map(|peer| members[peer].as_ref()).collect();
        if answers.iter().any(|other| other.core().members().get(here).is_some_and(has_served)) {
            self.has_forgotten();
            return false;
        }
        let begins = env.site().founds || !answers.is_empty();
        if begins {
            env.totals.count(Count::WipedUnseen);
            env.tell(|| "begins anew: nobody says that it was here".into());
        } else {
            env.tell(|| "nobody tells it who is in the cluster".into());
            let delay = 1 + self.wiping.below(self.env.profile.down_ns_max);
            self.env.after(delay, Event::Start);
        }
        begins
    }

    /// Whether the process here, which connects, is known by that member to have lost its data.
    ///
    /// # Errors
    /// If it has not.
    pub(super) fn is_forgotten_by(&self, peer: usize) -> Result<bool, Stop> {
        let site = self.env.site();
        let knows = self.members[peer]
            .as_ref()
            .is_some_and(|other| has_forgotten(other.core().members(), self.env.member(), site.unpublished));
        ensure(!knows || site.wiped.is_some(), Check::CannotStart, || {
            format!("{} is taken for one that lost its data", self.env.member())
        })?;
        Ok(knows)
    }

    /// The process here is told that it lost its data, and ends. It is not started any more.
    pub(super) fn has_forgotten(&mut self) {
        let Self { env, members, .. } = self;
        env.tell(|| "has been here before and lost its data: it ends".into());
        env.totals.count(Count::WipedRefused);
        members[env.at] = None;
        if env.site().up {
            env.ended(false);
        }
        env.site_mut().lost = true;
        env.after(1, Event::Replace);
    }

    /// An operator removes the member here, which lost its data, and then lets another one join in its place.
    pub(super) fn replace(&mut self) {
        let Self { env, members, wiping, .. } = self;
        let lost = env.at;
        if !env.checker.is_member(lost) {
            env.site_mut().gone = true;
        }
        let serving: Vec<usize> = (0..members.len()).filter(|&at| env.sites[at].serves).collect();
        let is_removed = env.sites[lost].gone;
        if !serving.is_empty() {
            env.at = serving[wiping.below(serving.len() as u64) as usize];
            let member = members[env.at].as_mut().expect("it serves");
            if is_removed {
                operator::put_in_place(member, wiping, env);
            } else {
                operator::remove(member_of(lost), member, wiping, env);
            }
            env.at = lost;
        }
        if !is_removed {
            env.after(REMOVE_NS + wiping.below(MILLISECOND_NS), Event::Replace);
        }
    }
}
