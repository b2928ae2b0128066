//! What the judge makes of a member whose disks are lost.

use windlass_replica::membership::is_member_change;

use super::log::Logged;
use super::{Checker, Site};
use crate::env::member_of;

impl Checker {
    /// All disks of this member are lost: nothing more is expected of it, and it must not take part any more.
    pub fn wiped(&mut self, site: usize) {
        let empty = self.sites[site].emptied();
        let before = std::mem::replace(&mut self.sites[site], empty);
        self.lost.insert(site, before);
    }

    /// The member as it counts for majorities.
    pub(super) fn keeper(&self, site: usize) -> &Site {
        self.lost.get(&site).unwrap_or(&self.sites[site])
    }

    /// Whether the disks of this member may be lost: the others are a majority without it, and all of them know from their
    /// shards that it was there.
    #[must_use]
    pub fn may_be_wiped(&self, site: usize) -> bool {
        let members = &self.membership.members;
        let Some(member) = members.get(member_of(site)) else { return false };
        let Some(&published) = self.membership.published.get(&member_of(site)) else { return false };
        let mut others = (0..self.sites.len()).filter(|&other| other != site && self.is_member(other));
        (member.is_learner || self.voters() > 2) && others.all(|other| self.sites[other].stable >= published)
    }

    /// Whether a change of the members is in some log and not applied yet.
    #[must_use]
    pub fn changes_members(&self) -> bool {
        let begun = |site: &Site| site.log.from(self.applied().next()).any(changes_members);
        self.sites.iter().any(begun)
    }
}

fn changes_members(entry: &Logged) -> bool {
    entry.commands().iter().any(|said| is_member_change(said.kind))
}
