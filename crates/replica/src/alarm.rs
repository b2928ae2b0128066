//! Alarms: what keeps the whole cluster from taking certain writes until it is lifted. Replicated, and durable as system
//! records.
//!
//! [`AlarmType::Nospace`] stops what makes the store larger. [`AlarmType::Corrupt`] stops every write if a person raised it; if
//! a comparison of the members did, the member that it names serves no more, and the others, who agree, go on. What is refused
//! is decided here, in log order, so that all members refuse the same. Source: etcd `etcdserver/api/v3alarm`,
//! `apply/uber_apply.go`.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::alarm_request::AlarmAction;
use windlass_api::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};
use windlass_types::{MemberId, RequestError};

use crate::system::{ALARM, System};
use crate::txn::{Op, Transaction};

/// What a put costs the store beside its key and value, in bytes. Source: etcd `storage/quota.go` `kvOverhead`.
pub const PUT_BYTES: usize = 256;

/// What a lease costs the store, in bytes. Source: etcd `storage/quota.go` `leaseOverhead`.
pub const LEASE_BYTES: usize = 64;

/// How far below its quota, in percent of it, a store must have fallen before the alarm that the quota raised is lifted:
/// enough that the next puts do not raise it again at once.
const ROOM_PERCENT: u64 = 5;

/// The payload of an `Alarm` command.
#[derive(Clone, PartialEq, Message)]
pub struct AlarmCommand {
    /// What is to be done.
    #[prost(message, required, tag = "1")]
    pub request: AlarmRequest,
    /// The members ask by themselves, and no person: for a quota, or because they differ. They lift only what they raised.
    #[prost(bool, tag = "2")]
    pub by_itself: bool,
}

/// The alarms that are raised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    raised: BTreeMap<Name, Cause>,
}

/// Which alarm, and of which member. Sorted by the kind, as etcd lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: i32,
    member: MemberId,
}

/// Who raised an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The members themselves: a quota, whose alarm goes when there is room again, or a comparison of their states.
    Itself,
    /// A person: only a person lifts it.
    Told,
}

/// The value of an alarm's record.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(message, required, tag = "1")]
    alarm: AlarmMember,
    #[prost(bool, tag = "2")]
    by_itself: bool,
}

/// Whether a store of so many bytes has room for `cost` more. `None` is no quota.
#[must_use]
pub fn has_room(store_bytes: u64, cost: usize, quota_bytes: Option<u64>) -> bool {
    quota_bytes.is_none_or(|quota| store_bytes.saturating_add(cost as u64) < quota)
}

/// Whether a store of so many bytes is far enough below its quota for the alarm to be lifted.
#[must_use]
pub fn has_room_again(store_bytes: u64, quota_bytes: Option<u64>) -> bool {
    quota_bytes.is_none_or(|quota| store_bytes < quota - quota / 100 * ROOM_PERCENT)
}

impl Alarms {
    /// From the system records. Panics on one that no version wrote: what is read was verified by its checksum.
    #[must_use]
    pub fn load(system: &System) -> Self {
        let raised = system.with_prefix(ALARM).map(|(_, value)| {
            let Record { alarm, by_itself } =
                Record::decode(value.clone()).expect("the record of an alarm decodes");
            let cause = if by_itself { Cause::Itself } else { Cause::Told };
            (Name { kind: alarm.alarm, member: MemberId(alarm.member_id) }, cause)
        });
        Self { raised: raised.collect() }
    }

    /// The alarms of a kind, or all of them for [`AlarmType::None`].
    #[must_use]
    pub fn of_kind(&self, kind: i32) -> Vec<AlarmMember> {
        let all = kind == AlarmType::None as i32;
        self.raised.keys().filter(|name| all || name.kind == kind).map(|name| name.alarm()).collect()
    }

    /// All alarms.
    pub fn iter(&self) -> impl Iterator<Item = AlarmMember> {
        self.raised.keys().map(|name| name.alarm())
    }

    /// Whether some member has an alarm of this kind.
    #[must_use]
    pub fn any(&self, kind: AlarmType) -> bool {
        self.raised.keys().any(|name| name.kind == kind as i32)
    }

    /// Whether this member has an alarm of this kind.
    #[must_use]
    pub fn has(&self, member: MemberId, kind: AlarmType) -> bool {
        self.raised.contains_key(&Name { kind: kind as i32, member })
    }

    /// The members whose quota raised an alarm.
    pub fn by_quota(&self) -> impl Iterator<Item = MemberId> {
        let is_space = |name: &Name| name.kind == AlarmType::Nospace as i32;
        let raised =
            self.raised.iter().filter(move |(name, cause)| is_space(name) && **cause == Cause::Itself);
        raised.map(|(name, _)| name.member)
    }

    /// Whether a comparison found that this member differs from the others: it must not serve.
    #[must_use]
    pub fn is_damaged(&self, member: MemberId) -> bool {
        let name = Name { kind: AlarmType::Corrupt as i32, member };
        self.raised.get(&name) == Some(&Cause::Itself)
    }

    /// Whether an alarm of this kind concerns this member: one that only says that another member differs does not.
    #[must_use]
    pub fn concerns(&self, alarm: &AlarmMember, member: MemberId) -> bool {
        alarm.member_id == member.0 || !self.is_damaged(MemberId(alarm.member_id)) || !is_corrupt(alarm.alarm)
    }

    /// Does what a command says, and writes it down. Returns what its answer lists. Source: etcd `apply.go` `Alarm`.
    pub fn change(&mut self, command: &AlarmCommand, system: &mut System) -> Vec<AlarmMember> {
        let AlarmRequest { action, member_id, alarm } = command.request;
        let name = Name { kind: alarm, member: MemberId(member_id) };
        match AlarmAction::try_from(action) {
            Ok(AlarmAction::Get) => self.of_kind(alarm),
            Ok(AlarmAction::Activate) if alarm != AlarmType::None as i32 => {
                self.raise(name, command.by_itself, system);
                vec![name.alarm()]
            }
            Ok(AlarmAction::Deactivate) if self.lift(name, command.by_itself, system) => vec![name.alarm()],
            _ => Vec::new(),
        }
    }

    fn raise(&mut self, name: Name, by_itself: bool, system: &mut System) {
        let known = self.raised.get(&name).copied();
        // What a person raised, members neither raise nor lift.
        let cause = if by_itself && known != Some(Cause::Told) { Cause::Itself } else { Cause::Told };
        if known != Some(cause) {
            self.raised.insert(name, cause);
            let record = Record { alarm: name.alarm(), by_itself: cause == Cause::Itself };
            system.put(name.record(), record.encode_to_vec().into());
        }
    }

    fn lift(&mut self, name: Name, by_itself: bool, system: &mut System) -> bool {
        let cause = self.raised.get(&name).copied();
        let may = cause.is_some_and(|cause| cause == Cause::Itself || !by_itself);
        if may {
            self.raised.remove(&name);
            system.delete(&name.record());
        }
        may
    }

    /// Whether nothing is refused.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.check_growth().is_ok()
    }

    /// Whether something that writes keys may be carried out.
    ///
    /// # Errors
    /// etcd's.
    pub fn check(&self, transaction: &Transaction) -> Result<(), RequestError> {
        let puts = |op: &Op| matches!(op, Op::Put(_));
        self.check_write()?;
        if transaction.ops().iter().any(puts) { self.check_growth() } else { Ok(()) }
    }

    /// Whether something that makes the store larger may be carried out.
    ///
    /// # Errors
    /// etcd's.
    pub fn check_growth(&self) -> Result<(), RequestError> {
        self.check_write()?;
        if self.any(AlarmType::Nospace) { Err(RequestError::NoSpace) } else { Ok(()) }
    }

    /// Whether something may be written at all.
    ///
    /// # Errors
    /// etcd's.
    pub fn check_write(&self) -> Result<(), RequestError> {
        let stops = |(name, cause): (&Name, &Cause)| is_corrupt(name.kind) && *cause == Cause::Told;
        if self.raised.iter().any(stops) { Err(RequestError::Corrupt) } else { Ok(()) }
    }
}

fn is_corrupt(kind: i32) -> bool {
    kind == AlarmType::Corrupt as i32
}

impl Name {
    fn alarm(self) -> AlarmMember {
        AlarmMember { member_id: self.member.0, alarm: self.kind }
    }

    fn record(self) -> Bytes {
        let Self { kind, member } = self;
        [ALARM, format!("{kind:08x}/{:016x}", member.0).as_bytes()].concat().into()
    }
}

/// An alarm in the words of a Go server's log: etcd's status lists them so. Source: `proto.CompactTextString`.
#[must_use]
pub fn text(alarm: &AlarmMember) -> String {
    let member = match alarm.member_id {
        0 => String::new(),
        id => format!("memberID:{id} "),
    };
    let kind = match alarm.alarm {
        0 => String::new(),
        _ => format!("alarm:{} ", kind_name(alarm.alarm)),
    };
    member + &kind
}

/// The name of a kind of alarm; its number if it has none.
#[must_use]
pub fn kind_name(kind: i32) -> String {
    AlarmType::try_from(kind).map_or_else(|_| kind.to_string(), |kind| kind.as_str_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);

    fn command(action: AlarmAction, kind: AlarmType, by_itself: bool) -> AlarmCommand {
        let request = AlarmRequest { action: action as i32, member_id: A.0, alarm: kind as i32 };
        AlarmCommand { request, by_itself }
    }

    #[test]
    fn a_start_finds_the_alarms_of_before() {
        let (mut alarms, mut system) = (Alarms::default(), System::default());
        for (kind, by_itself) in [(AlarmType::Nospace, true), (AlarmType::Corrupt, false)] {
            let raised = alarms.change(&command(AlarmAction::Activate, kind, by_itself), &mut system);
            assert_eq!(raised, [AlarmMember { member_id: 1, alarm: kind as i32 }]);
        }
        assert_eq!(Alarms::load(&system), alarms);
        assert_eq!(alarms.of_kind(AlarmType::None as i32).len(), 2);
        assert_eq!(alarms.of_kind(AlarmType::Corrupt as i32).len(), 1);
        for kind in [AlarmType::Nospace, AlarmType::Corrupt] {
            assert_eq!(alarms.change(&command(AlarmAction::Deactivate, kind, false), &mut system).len(), 1);
            assert!(alarms.change(&command(AlarmAction::Deactivate, kind, false), &mut system).is_empty());
        }
        assert!(alarms.is_silent());
        assert_eq!(Alarms::load(&system), Alarms::default());
    }

    #[test]
    fn a_quota_lifts_only_what_a_quota_raised() {
        for (first, second) in [(false, true), (true, false), (false, false)] {
            let (mut alarms, mut system) = (Alarms::default(), System::default());
            alarms.change(&command(AlarmAction::Activate, AlarmType::Nospace, first), &mut system);
            alarms.change(&command(AlarmAction::Activate, AlarmType::Nospace, second), &mut system);
            assert_eq!(alarms.by_quota().count(), 0);
            let lift = command(AlarmAction::Deactivate, AlarmType::Nospace, true);
            assert!(alarms.change(&lift, &mut system).is_empty());
            assert_eq!(Alarms::load(&system), alarms);
        }
        let (mut alarms, mut system) = (Alarms::default(), System::default());
        alarms.change(&command(AlarmAction::Activate, AlarmType::Nospace, true), &mut system);
        assert_eq!(alarms.by_quota().collect::<Vec<_>>(), [A]);
        let lift = command(AlarmAction::Deactivate, AlarmType::Nospace, true);
        assert_eq!(alarms.change(&lift, &mut system).len(), 1);
    }

    #[test]
    fn a_member_that_differs_stops_alone_and_a_person_stops_all() {
        let (mut alarms, mut system) = (Alarms::default(), System::default());
        alarms.change(&command(AlarmAction::Activate, AlarmType::Corrupt, true), &mut system);
        assert!(alarms.is_damaged(A) && !alarms.is_damaged(B) && alarms.is_silent());
        assert!(alarms.any(AlarmType::Corrupt) && alarms.by_quota().next().is_none());
        let raised = alarms.iter().next().expect("one is raised");
        assert!(alarms.concerns(&raised, A) && !alarms.concerns(&raised, B));
        assert_eq!(Alarms::load(&system), alarms);
        alarms.change(&command(AlarmAction::Activate, AlarmType::Corrupt, false), &mut system);
        assert!(!alarms.is_damaged(A) && alarms.concerns(&raised, B));
        assert_eq!(alarms.check_write(), Err(RequestError::Corrupt));
        let lift = command(AlarmAction::Deactivate, AlarmType::Corrupt, true);
        assert!(alarms.change(&lift, &mut system).is_empty(), "only a person lifts it");
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        let (mut alarms, mut system) = (Alarms::default(), System::default());
        assert!(
            alarms.change(&command(AlarmAction::Activate, AlarmType::None, false), &mut system).is_empty()
        );
        let unknown = AlarmRequest { action: 9, member_id: 1, alarm: 1 };
        assert!(alarms.change(&AlarmCommand { request: unknown, by_itself: false }, &mut system).is_empty());
        assert_eq!(system, System::default());
    }

    #[test]
    fn an_alarm_is_lifted_below_the_quota_only() {
        assert!(has_room(99, 0, Some(100)) && !has_room(99, 1, Some(100)) && has_room(u64::MAX, 9, None));
        let quota = Some(1000);
        assert!(has_room_again(949, quota) && !has_room_again(950, quota) && has_room_again(7, None));
        assert!(!has_room_again(0, Some(0)) && has_room_again(u64::MAX / 2, Some(u64::MAX)));
    }

    #[test]
    fn alarms_are_told_as_go_tells_them() {
        let alarm = |member_id, alarm| text(&AlarmMember { member_id, alarm });
        assert_eq!(alarm(7, 1), "memberID:7 alarm:NOSPACE ");
        assert_eq!(alarm(0, 2), "alarm:CORRUPT ");
        assert_eq!(alarm(7, 5), "memberID:7 alarm:5 ");
    }
}
