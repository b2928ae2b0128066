//! A member that lost its data and comes back under its old name and addresses. Pure, so that the simulator's members find
//! out by the same rules.
//!
//! It has forgotten whom it voted for and what it acknowledged, so it must never take part under that identity again: an
//! operator removes it, and adds it anew under another id. Three things keep it out.
//!
//! 1. One that starts without data asks the others. Who knows that it served refuses it.
//! 2. Silence is no reason to refuse: the others may be about to start as well. So each member keeps beside its data that
//!    it is *unpublished*, from its first start until just before it first asks the log to say where clients reach it, which
//!    it does when the leader has taken a connection of it.
//!    Whoever connects says so, and who knows from the log that it served refuses it then.
//! 3. A member serves no client before the log says who it is, so what clients were told by one is known by others.
//!
//! Nobody can tell it from a new member where none of those who know that it served can be asked.

use windlass_api::etcdserverpb::Member;
use windlass_types::MemberId;

use crate::membership::Members;

/// Whether a member has said where clients reach it, which it does once it has data and before it serves them. Source: etcd
/// `bootstrap.go` `isMemberBootstrapped`.
#[must_use]
pub fn has_served(member: &Member) -> bool {
    !member.client_ur_ls.is_empty()
}

/// Whether the member `id`, which says that it is `unpublished`, lost its data, as far as `members` tell.
#[must_use]
pub fn has_forgotten(members: &Members, id: MemberId, unpublished: bool) -> bool {
    unpublished && members.get(id).is_some_and(has_served)
}

#[cfg(test)]
mod tests {
    use windlass_records::batch::CommandKind;

    use super::*;
    use crate::system::System;

    #[test]
    fn only_who_has_served_and_does_not_know_it_has_forgotten() {
        let (mut members, mut system) = (Members::default(), System::default());
        let id = MemberId(7);
        assert!(!has_forgotten(&members, id, true), "it is no member");
        members.apply(CommandKind::MemberAdd, Member { id: id.0, ..Member::default() }, &mut system);
        assert!(!has_forgotten(&members, id, true), "it is new");
        let client_ur_ls = vec!["http://m7:2379".to_owned()];
        let published = Member { id: id.0, client_ur_ls, ..Member::default() };
        members.apply(CommandKind::MemberPublish, published, &mut system);
        assert!(has_forgotten(&members, id, true));
        assert!(!has_forgotten(&members, id, false), "it has its data");
    }
}
