//! The members of the cluster, as the log says, and etcd's rules for changing them.
//!
//! Who votes is Raft's business and follows from this ([`Members::voting`]). Every change is decided twice by the same
//! rules: by the leader before it proposes it, for the client's sake, and in log order by everyone. Source: etcd
//! `api/membership/cluster.go`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::Member;
use windlass_raft::{Change, Membership};
use windlass_records::batch::CommandKind;
use windlass_types::{MemberId, RequestError};

use crate::system::{MEMBER, REMOVED, System};

/// The members at one place of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    members: BTreeMap<MemberId, Member>,
    /// Ids that were members and must never be again: their disks may have forgotten what they promised.
    removed: BTreeSet<MemberId>,
}

impl Members {
    /// From the system records.
    #[must_use]
    pub fn of(system: &System) -> Self {
        let member = |value: &Bytes| Member::decode(&value[..]).expect("the sequencer wrote it");
        let members = system.with_prefix(MEMBER).map(|(_, value)| member(value));
        let removed = system.with_prefix(REMOVED).map(|(name, _)| id_in(name));
        Self { members: members.map(|m| (MemberId(m.id), m)).collect(), removed: removed.collect() }
    }

    /// All members, by ascending id.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One member.
    #[must_use]
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Whether the id was a member and is none any more.
    #[must_use]
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    /// The ids that were members, ascending.
    pub fn removed(&self) -> impl Iterator<Item = MemberId> {
        self.removed.iter().copied()
    }

    /// Who votes and who learns, as Raft takes it.
    #[must_use]
    pub fn voting(&self) -> Membership {
        let (learners, voters): (Vec<&Member>, Vec<&Member>) = self.iter().partition(|m| m.is_learner);
        let ids = |members: Vec<&Member>| members.into_iter().map(|m| MemberId(m.id)).collect::<Vec<_>>();
        let mut membership = Membership::of_voters(ids(voters));
        membership.learners.extend(ids(learners));
        membership
    }

    /// Whether the change may be made now, as etcd decides when it applies one.
    ///
    /// # Errors
    /// etcd's.
    pub fn check(&self, kind: CommandKind, member: &Member, learners_max: usize) -> Result<(), RequestError> {
        let id = MemberId(member.id);
        if self.is_removed(id) {
            return Err(RequestError::MemberNotFound);
        }
        let known = self.get(id);
        match kind {
            CommandKind::MemberAdd => {
                if known.is_some() {
                    return Err(RequestError::MemberExist);
                }
                self.check_urls(member)?;
                let learners = self.iter().filter(|m| m.is_learner).count();
                if member.is_learner && learners >= learners_max {
                    return Err(RequestError::TooManyLearners);
                }
                Ok(())
            }
            CommandKind::MemberPromote if known.is_some_and(|m| !m.is_learner) => {
                Err(RequestError::MemberNotLearner)
            }
            CommandKind::MemberUpdate if known.is_some() => self.check_urls(member),
            CommandKind::ForceNewCluster => Ok(()),
            _ => known.map(|_| ()).ok_or(RequestError::MemberNotFound),
        }
    }

    fn check_urls(&self, member: &Member) -> Result<(), RequestError> {
        let taken = |m: &Member| m.peer_ur_ls.iter().any(|url| member.peer_ur_ls.contains(url));
        if self.iter().any(|m| m.id != member.id && taken(m)) {
            return Err(RequestError::PeerUrlExist);
        }
        Ok(())
    }

    /// Makes a change that [`check`](Self::check) allows, and writes it down.
    pub fn apply(&mut self, kind: CommandKind, member: Member, system: &mut System) {
        let id = MemberId(member.id);
        match kind {
            CommandKind::MemberAdd => self.put(member, system),
            CommandKind::MemberRemove => self.remove(id, system),
            CommandKind::ForceNewCluster => {
                let others: Vec<_> = self.members.keys().copied().filter(|&other| other != id).collect();
                others.into_iter().for_each(|other| self.remove(other, system));
                self.removed.remove(&id);
                system.delete(&name(REMOVED, id));
                self.put(Member { is_learner: false, ..member }, system);
            }
            _ => {
                let Some(mut known) = self.members.get(&id).cloned() else { return };
                match kind {
                    CommandKind::MemberPromote => known.is_learner = false,
                    CommandKind::MemberUpdate => known.peer_ur_ls = member.peer_ur_ls,
                    _ => (known.name, known.client_ur_ls) = (member.name, member.client_ur_ls),
                }
                self.put(known, system);
            }
        }
    }

    fn put(&mut self, member: Member, system: &mut System) {
        let id = MemberId(member.id);
        system.put(name(MEMBER, id), member.encode_to_vec().into());
        self.members.insert(id, member);
    }

    fn remove(&mut self, id: MemberId, system: &mut System) {
        self.members.remove(&id);
        self.removed.insert(id);
        system.delete(&name(MEMBER, id));
        system.put(name(REMOVED, id), Bytes::new());
    }

    /// Whether a change leaves a majority of voters that have started, by etcd's count. A member has started when it
    /// has told its name.
    ///
    /// # Errors
    /// [`RequestError::MemberNotEnoughStarted`].
    pub fn check_started(&self, kind: CommandKind, member: &Member) -> Result<(), RequestError> {
        let voters = || self.iter().filter(|m| !m.is_learner);
        let (counted, started) = match kind {
            CommandKind::MemberAdd if !member.is_learner => {
                let started = voters().filter(|m| !m.name.is_empty()).count();
                // The one way from one member to two.
                if started == 1 && voters().count() == 1 {
                    return Ok(());
                }
                (voters().count() + 1, started)
            }
            CommandKind::MemberRemove if self.get(MemberId(member.id)).is_some_and(|m| !m.is_learner) => {
                let rest = || voters().filter(|m| m.id != member.id);
                if rest().next().is_none() {
                    return Err(RequestError::MemberNotEnoughStarted);
                }
                (rest().count(), rest().filter(|m| !m.name.is_empty()).count())
            }
            CommandKind::MemberPromote => {
                (voters().count() + 1, voters().filter(|m| !m.name.is_empty()).count() + 1)
            }
            _ => return Ok(()),
        };
        if started < counted / 2 + 1 { Err(RequestError::MemberNotEnoughStarted) } else { Ok(()) }
    }
}

/// Whether commands of this kind change the members.
#[must_use]
pub fn is_member_change(kind: CommandKind) -> bool {
    matches!(
        kind,
        CommandKind::MemberAdd
            | CommandKind::MemberRemove
            | CommandKind::MemberPromote
            | CommandKind::MemberUpdate
            | CommandKind::MemberPublish
            | CommandKind::ForceNewCluster
    )
}

/// What a change means to Raft; `None` if nothing.
#[must_use]
pub fn raft_change(kind: CommandKind, member: &Member) -> Option<Change> {
    let id = MemberId(member.id);
    match kind {
        CommandKind::MemberAdd if member.is_learner => Some(Change::AddLearner(id)),
        CommandKind::MemberAdd | CommandKind::MemberPromote => Some(Change::AddVoter(id)),
        CommandKind::MemberRemove => Some(Change::Remove(id)),
        _ => None,
    }
}

fn name(prefix: &[u8], id: MemberId) -> Bytes {
    [prefix, format!("{:016x}", id.0).as_bytes()].concat().into()
}

fn id_in(name: &[u8]) -> MemberId {
    let digits = std::str::from_utf8(&name[REMOVED.len()..]).expect("the sequencer wrote it");
    MemberId(u64::from_str_radix(digits, 16).expect("the sequencer wrote it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str) -> Member {
        let peer_ur_ls = vec![format!("http://127.0.0.1:{id}")];
        Member { id, name: name.into(), peer_ur_ls, ..Member::default() }
    }

    fn cluster(names: &[&str]) -> (Members, System) {
        let (mut members, mut system) = (Members::default(), System::default());
        for (id, name) in (1..).zip(names) {
            members.apply(CommandKind::MemberAdd, member(id, name), &mut system);
        }
        (members, system)
    }

    #[test]
    fn records_hold_all_of_it() {
        let (mut members, mut system) = cluster(&["a", "b", "c"]);
        members.apply(CommandKind::MemberAdd, Member { is_learner: true, ..member(9, "") }, &mut system);
        members.apply(CommandKind::MemberRemove, member(2, ""), &mut system);
        assert_eq!(Members::of(&system), members);
        assert!(members.is_removed(MemberId(2)) && members.voting().learners.contains(&MemberId(9)));
        members.apply(CommandKind::MemberPromote, member(9, ""), &mut system);
        let publish = Member { client_ur_ls: vec!["http://c".into()], ..member(9, "d") };
        members.apply(CommandKind::MemberPublish, publish, &mut system);
        assert_eq!(Members::of(&system), members);
        let nine = members.get(MemberId(9)).expect("it was added");
        assert_eq!((nine.name.as_str(), nine.is_learner), ("d", false));
        members.apply(CommandKind::ForceNewCluster, member(9, "d"), &mut system);
        assert_eq!(Members::of(&system), members);
        assert_eq!(members.iter().count(), 1);
    }

    #[test]
    fn wrong_changes_get_etcds_errors() {
        let (mut members, mut system) = cluster(&["a", "b"]);
        let check = |members: &Members, kind, m: &Member| members.check(kind, m, 1);
        let kind = CommandKind::MemberAdd;
        assert_eq!(check(&members, kind, &member(1, "")), Err(RequestError::MemberExist));
        let same_url = Member { id: 7, ..member(2, "") };
        assert_eq!(check(&members, kind, &same_url), Err(RequestError::PeerUrlExist));
        let learner = |id| Member { is_learner: true, ..member(id, "") };
        members.apply(kind, learner(3), &mut system);
        assert_eq!(check(&members, kind, &learner(4)), Err(RequestError::TooManyLearners));
        let kind = CommandKind::MemberPromote;
        assert_eq!(check(&members, kind, &member(1, "")), Err(RequestError::MemberNotLearner));
        assert_eq!(check(&members, kind, &member(5, "")), Err(RequestError::MemberNotFound));
        assert_eq!(check(&members, CommandKind::MemberUpdate, &same_url), Err(RequestError::MemberNotFound));
        members.apply(CommandKind::MemberRemove, member(3, ""), &mut system);
        assert_eq!(
            check(&members, CommandKind::MemberRemove, &member(3, "")),
            Err(RequestError::MemberNotFound)
        );
        assert_eq!(check(&members, CommandKind::MemberAdd, &learner(3)), Err(RequestError::MemberNotFound));
    }

    #[test]
    fn a_quorum_must_have_started() {
        let enough = |names: &[&str], kind, m: &Member| cluster(names).0.check_started(kind, m).is_ok();
        let add = CommandKind::MemberAdd;
        assert!(enough(&["a"], add, &member(9, "")), "one may become two");
        assert!(
            !enough(&["a", ""], add, &member(9, "")),
            "two of which one has started may not become three"
        );
        assert!(enough(&["a", "b"], add, &member(9, "")));
        assert!(!enough(&["a"], CommandKind::MemberRemove, &member(1, "")), "the last one stays");
        assert!(!enough(&["a", "b", ""], CommandKind::MemberRemove, &member(1, "")));
        assert!(enough(&["a", "b", ""], CommandKind::MemberRemove, &member(3, "")));
    }
}
