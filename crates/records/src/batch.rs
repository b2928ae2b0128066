//! A batch of commands: the payload of one normal Raft entry (`schema/batch.fbs`).

mod pool;

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;
use windlass_types::{MemberId, RequestId};

use crate::generated::batch::windlass::batch as wire;
use crate::{Error, TABLE_BYTES_MAX, builder_in, range_in};

pub use pool::Pool;

/// What a command's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// `etcdserverpb.PutRequest`
    Put,
    /// `etcdserverpb.DeleteRangeRequest`
    DeleteRange,
    /// `etcdserverpb.TxnRequest`
    Txn,
    /// `etcdserverpb.CompactionRequest`
    Compaction,
    /// `etcdserverpb.LeaseGrantRequest`, with an id.
    LeaseGrant,
    /// `etcdserverpb.LeaseRevokeRequest`
    LeaseRevoke,
    /// Leases whose time has run out, as their leader says.
    LeaseExpire,
    /// What is left of leases, as their leader says.
    LeaseCheckpoint,
    /// An alarm raised or lifted, by a client or by a member.
    Alarm,
    /// Nothing: authentication is required from here on.
    AuthEnable,
    /// Nothing: authentication is not required any more.
    AuthDisable,
    /// A user who gave the right password.
    Authenticate,
    /// `etcdserverpb.AuthUserAddRequest`, with a hash for a password.
    UserAdd,
    /// `etcdserverpb.AuthUserDeleteRequest`
    UserDelete,
    /// `etcdserverpb.AuthUserChangePasswordRequest`, with a hash for a password.
    UserChangePassword,
    /// `etcdserverpb.AuthUserGrantRoleRequest`
    UserGrantRole,
    /// `etcdserverpb.AuthUserRevokeRoleRequest`
    UserRevokeRole,
    /// `etcdserverpb.AuthRoleAddRequest`
    RoleAdd,
    /// `etcdserverpb.AuthRoleDeleteRequest`
    RoleDelete,
    /// `etcdserverpb.AuthRoleGrantPermissionRequest`
    RoleGrantPermission,
    /// `etcdserverpb.AuthRoleRevokePermissionRequest`
    RoleRevokePermission,
    /// `etcdserverpb.Member`: id, peer URLs, whether it is a learner.
    MemberAdd,
    /// `etcdserverpb.Member`: id.
    MemberRemove,
    /// `etcdserverpb.Member`: id.
    MemberPromote,
    /// `etcdserverpb.Member`: id, peer URLs.
    MemberUpdate,
    /// `etcdserverpb.Member`: id, and what it says of itself, name and client URLs.
    MemberPublish,
    /// `etcdserverpb.Member`: the only one from here on.
    ForceNewCluster,
    /// Nothing: members compare what they wrote since the last one.
    Mark,
}

/// Each kind and what it is on disk and wire.
const KINDS: [(CommandKind, wire::CommandKind); 28] = [
    (CommandKind::Put, wire::CommandKind::Put),
    (CommandKind::DeleteRange, wire::CommandKind::DeleteRange),
    (CommandKind::Txn, wire::CommandKind::Txn),
    (CommandKind::Compaction, wire::CommandKind::Compaction),
    (CommandKind::LeaseGrant, wire::CommandKind::LeaseGrant),
    (CommandKind::LeaseRevoke, wire::CommandKind::LeaseRevoke),
    (CommandKind::LeaseExpire, wire::CommandKind::LeaseExpire),
    (CommandKind::LeaseCheckpoint, wire::CommandKind::LeaseCheckpoint),
    (CommandKind::Alarm, wire::CommandKind::Alarm),
    (CommandKind::AuthEnable, wire::CommandKind::AuthEnable),
    (CommandKind::AuthDisable, wire::CommandKind::AuthDisable),
    (CommandKind::Authenticate, wire::CommandKind::Authenticate),
    (CommandKind::UserAdd, wire::CommandKind::UserAdd),
    (CommandKind::UserDelete, wire::CommandKind::UserDelete),
    (CommandKind::UserChangePassword, wire::CommandKind::UserChangePassword),
    (CommandKind::UserGrantRole, wire::CommandKind::UserGrantRole),
    (CommandKind::UserRevokeRole, wire::CommandKind::UserRevokeRole),
    (CommandKind::RoleAdd, wire::CommandKind::RoleAdd),
    (CommandKind::RoleDelete, wire::CommandKind::RoleDelete),
    (CommandKind::RoleGrantPermission, wire::CommandKind::RoleGrantPermission),
    (CommandKind::RoleRevokePermission, wire::CommandKind::RoleRevokePermission),
    (CommandKind::MemberAdd, wire::CommandKind::MemberAdd),
    (CommandKind::MemberRemove, wire::CommandKind::MemberRemove),
    (CommandKind::MemberPromote, wire::CommandKind::MemberPromote),
    (CommandKind::MemberUpdate, wire::CommandKind::MemberUpdate),
    (CommandKind::MemberPublish, wire::CommandKind::MemberPublish),
    (CommandKind::ForceNewCluster, wire::CommandKind::ForceNewCluster),
    (CommandKind::Mark, wire::CommandKind::Mark),
];

impl CommandKind {
    fn to_wire(self) -> u32 {
        let of_kind = KINDS.iter().find(|(kind, _)| *kind == self);
        u32::from(of_kind.expect("the table has every kind").1.0)
    }

    fn from_wire(kind: u32) -> Option<Self> {
        let wire = wire::CommandKind(u8::try_from(kind).ok()?);
        KINDS.iter().find(|(_, known)| *known == wire).map(|(kind, _)| *kind)
    }
}

/// Whose clients wait for the answers to a batch: one run of one member, for request ids begin anew with each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The member.
    pub member: MemberId,
    /// Distinguishes its run from all others of that member.
    pub incarnation: u64,
}

/// One command of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The request at the batch's origin member.
    pub id: RequestId,
    /// What the payload is.
    pub kind: CommandKind,
    /// Where the payload lies in [`Batch::data`].
    pub payload: Range<usize>,
    /// Bytes just before the payload that say who asked; 0 if nobody said.
    pub credential_len: u32,
}

impl Command {
    /// Where in [`Batch::data`] it says who asked; empty if nobody did.
    #[must_use]
    pub fn credential(&self) -> Range<usize> {
        self.payload.start - self.credential_len as usize..self.payload.start
    }
}

/// Gathers commands until a flush slot is free. Reused: [`finish`](Self::finish) leaves it empty with its memory.
#[derive(Default)]
pub struct BatchBuilder {
    commands: Vec<wire::Command>,
    /// What the commands point into.
    payload: Vec<u8>,
    /// The bytes of `payload` that were those of commands at the front, which are finished.
    gone: usize,
}

impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (commands, bytes) = (self.commands.len(), self.payload_bytes());
        f.debug_struct("BatchBuilder").field("commands", &commands).field("payload_bytes", &bytes).finish()
    }
}

impl BatchBuilder {
    /// Appends a command; `payload` is its protobuf request. The caller bounds the batch: in all less than 4 GiB.
    pub fn push(&mut self, id: RequestId, kind: CommandKind, payload: &[u8]) {
        self.push_as(id, kind, &[], payload);
    }

    /// As [`push`](Self::push), for a command of which `credential` says who asked.
    pub fn push_as(&mut self, id: RequestId, kind: CommandKind, credential: &[u8], payload: &[u8]) {
        let (offset, said) = (u32_len(self.payload.len()), u32_len(credential.len()));
        let length = said + u32_len(payload.len());
        self.commands.push(wire::Command::new(id.0, offset, length, kind.to_wire(), said));
        self.payload.extend_from_slice(credential);
        self.payload.extend_from_slice(payload);
    }

    /// Moves all commands of `other` to the end of this builder.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        let (base, gone) = (u32_len(self.payload.len()), u32_len(other.gone));
        for mut command in other.commands.drain(..) {
            command.set_payload_offset(base + command.payload_offset() - gone);
            self.commands.push(command);
        }
        self.payload.extend_from_slice(&other.payload[other.gone..]);
        other.clear();
    }

    /// Takes these requests out, wherever they stand; the others keep their order.
    pub fn withdraw(&mut self, ids: &HashSet<RequestId>) {
        let stays = |command: &wire::Command| !ids.contains(&RequestId(command.request_id()));
        if self.commands.iter().all(stays) {
            return;
        }
        let before = std::mem::take(self);
        for mut command in before.commands.into_iter().filter(stays) {
            let begin = command.payload_offset() as usize;
            let end = begin + command.payload_length() as usize;
            command.set_payload_offset(u32_len(self.payload.len()));
            self.payload.extend_from_slice(&before.payload[begin..end]);
            self.commands.push(command);
        }
    }

    /// Number of leading commands whose payloads together stay within `bytes`; at least 1 if there is any.
    #[must_use]
    pub fn fitting(&self, bytes: usize) -> usize {
        if self.payload_bytes() <= bytes {
            return self.commands.len();
        }
        let end = self.gone + bytes;
        let ends = |c: &wire::Command| c.payload_offset() as usize + c.payload_length() as usize <= end;
        self.commands.partition_point(ends).max(1)
    }

    /// The requests in this builder, in order.
    pub fn request_ids(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.commands.iter().map(|c| RequestId(c.request_id()))
    }

    /// Number of commands.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is no command.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Bytes of payload.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.payload.len() - self.gone
    }

    /// The finished record; the builder is empty afterwards.
    #[must_use]
    pub fn finish(&mut self, origin: Origin) -> Bytes {
        self.finish_front(origin, self.len(), &Pool::default())
    }

    /// A bound of the size of [`finish_front`](Self::finish_front)'s record, in bytes.
    #[must_use]
    pub fn front_bytes_max(&self, count: usize) -> usize {
        self.front_vectors_bytes(count) + TABLE_BYTES_MAX
    }

    fn front_vectors_bytes(&self, count: usize) -> usize {
        let commands = &self.commands[..count.min(self.len())];
        self.end_of_front(count) - self.gone + size_of_val(commands)
    }

    /// Where the payload of the first `count` commands ends.
    fn end_of_front(&self, count: usize) -> usize {
        self.commands.get(count).map_or(self.payload.len(), |next| next.payload_offset() as usize)
    }

    /// The record of the first `count` commands, at most all of them, in memory of `pool`; the others stay.
    #[must_use]
    pub fn finish_front(&mut self, origin: Origin, count: usize, pool: &Pool) -> Bytes {
        let (end, vectors_bytes) = (self.end_of_front(count), self.front_vectors_bytes(count));
        let count = count.min(self.len());
        let (front, payload) = (&mut self.commands[..count], &self.payload[self.gone..end]);
        for command in &mut *front {
            command.set_payload_offset(command.payload_offset() - u32_len(self.gone));
        }
        let mut fbb = builder_in(pool.take(vectors_bytes + TABLE_BYTES_MAX), vectors_bytes);
        let payload = fbb.create_vector(payload);
        let commands = fbb.create_vector(front);
        let args = wire::BatchArgs {
            origin: origin.member.0,
            incarnation: origin.incarnation,
            commands: Some(commands),
            payload: Some(payload),
        };
        let root = wire::Batch::create(&mut fbb, &args);
        fbb.finish(root, None);
        self.commands.drain(..count);
        self.gone = end;
        self.forget_gone();
        let (buffer, head) = fbb.collapse();
        pool.lend(buffer).slice(head..)
    }

    /// Gives back what is finished, once that is most of the payload: so that fewer bytes are moved than are finished.
    fn forget_gone(&mut self) {
        if self.is_empty() {
            self.clear();
        } else if self.gone > self.payload_bytes() {
            let gone = u32_len(self.gone);
            self.payload.drain(..std::mem::take(&mut self.gone));
            for command in &mut self.commands {
                command.set_payload_offset(command.payload_offset() - gone);
            }
        }
    }

    fn clear(&mut self) {
        self.commands.clear();
        self.payload.clear();
        self.gone = 0;
    }
}

/// A verified batch. Cloning it is cheap: it shares `data`.
#[derive(Clone, Debug)]
pub struct Batch {
    data: Bytes,
    origin: Origin,
    commands: Range<usize>,
    payload: Range<usize>,
}

const COMMAND_BYTES: usize = size_of::<wire::Command>();

impl Batch {
    /// Verifies `data`, every command included.
    pub fn parse(data: Bytes) -> Result<Self, Error> {
        let root = wire::root_as_batch(&data)?;
        let commands = root.commands().ok_or(Error::Invalid("batch without commands"))?;
        let payload = root.payload().ok_or(Error::Invalid("batch without payload"))?;
        for command in commands {
            let end = u64::from(command.payload_offset()) + u64::from(command.payload_length());
            if end > payload.len() as u64 {
                return Err(Error::Invalid("command payload out of bounds"));
            }
            if command.credential_length() > command.payload_length() {
                return Err(Error::Invalid("credential longer than its command"));
            }
            CommandKind::from_wire(command.kind()).ok_or(Error::Invalid("unknown command kind"))?;
        }
        let origin = Origin { member: MemberId(root.origin()), incarnation: root.incarnation() };
        let (commands, payload) = (range_in(&data, commands.bytes()), range_in(&data, payload.bytes()));
        Ok(Self { origin, commands, payload, data })
    }

    /// Whose clients wait for the answers.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The whole record; [`Command::payload`] points into it.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Number of commands.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len() / COMMAND_BYTES
    }

    /// Whether there is no command.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The commands, in the order in which they take effect.
    pub fn commands(&self) -> impl ExactSizeIterator<Item = Command> + '_ {
        self.data[self.commands.clone()].chunks_exact(COMMAND_BYTES).map(|bytes| {
            let wire = wire::Command(bytes.try_into().expect("chunk of the struct's size"));
            let start = self.payload.start + wire.payload_offset() as usize;
            Command {
                id: RequestId(wire.request_id()),
                kind: CommandKind::from_wire(wire.kind()).expect("checked by parse"),
                payload: start + wire.credential_length() as usize..start + wire.payload_length() as usize,
                credential_len: wire.credential_length(),
            }
        })
    }
}

fn u32_len(len: usize) -> u32 {
    u32::try_from(len).expect("batches are bounded far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const US: Origin = Origin { member: MemberId(7), incarnation: 3 };

    fn builder(payloads: &[Vec<u8>], first_id: u64) -> BatchBuilder {
        let mut b = BatchBuilder::default();
        for (i, p) in payloads.iter().enumerate() {
            b.push(RequestId(first_id + i as u64), CommandKind::Put, p);
        }
        b
    }

    fn contents(batch: &Batch) -> Vec<(u64, Vec<u8>)> {
        batch.commands().map(|c| (c.id.0, batch.data()[c.payload].to_vec())).collect()
    }

    proptest! {
        #[test]
        fn a_builder_is_a_queue(steps in prop::collection::vec((0..4_u8, prop::collection::vec(0..300_usize, 0..8)), 0..20)) {
            let (mut queue, mut want, mut next) = (BatchBuilder::default(), VecDeque::new(), 0);
            for (step, sizes) in steps {
                let some: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![size as u8; size]).collect();
                let numbered = (next..).zip(some.iter().cloned());
                match step {
                    0 => {
                        want.extend(numbered);
                        queue.append(&mut builder(&some, next));
                        next += some.len() as u64;
                    }
                    1 => {
                        let count = queue.fitting(sizes.iter().sum());
                        let got = contents(&Batch::parse(queue.finish_front(US, count, &Pool::default())).unwrap());
                        let front: Vec<_> = want.drain(..count).collect();
                        prop_assert_eq!(got, front);
                    }
                    2 => {
                        let mut other = builder(&some, next);
                        let taken = Batch::parse(other.finish_front(US, 2, &Pool::default())).unwrap();
                        prop_assert_eq!(taken.len(), some.len().min(2));
                        want.extend(numbered.skip(2));
                        queue.append(&mut other);
                        next += some.len() as u64;
                    }
                    _ => {
                        queue.withdraw(&want.iter().step_by(2).map(|(id, _)| RequestId(*id)).collect());
                        want = want.into_iter().skip(1).step_by(2).collect();
                    }
                }
                let bytes = want.iter().map(|(_, payload)| payload.len()).sum();
                prop_assert_eq!((queue.len(), queue.payload_bytes()), (want.len(), bytes));
            }
            prop_assert_eq!(contents(&Batch::parse(queue.finish(US)).unwrap()), Vec::from(want));
        }

        #[test]
        fn memory_may_hold_anything(payloads: Vec<Vec<u8>>) {
            let pool = Pool::default();
            drop(builder(&[vec![0xaa; 4000]], 0).finish_front(US, 1, &pool));
            let nobody = Origin { member: MemberId::ZERO, incarnation: 0 };
            let count = payloads.len();
            let batch = Batch::parse(builder(&payloads, 0).finish_front(nobody, count, &pool)).unwrap();
            prop_assert_eq!(batch.origin(), nobody);
            prop_assert_eq!(contents(&batch), (0..).zip(payloads).collect::<Vec<_>>());
        }

        #[test]
        fn credentials_stay_with_their_commands(commands: Vec<(Vec<u8>, Vec<u8>)>, cut in 0_usize..20) {
            let mut rest = BatchBuilder::default();
            for (i, (credential, payload)) in commands.iter().enumerate() {
                rest.push_as(RequestId(i as u64), CommandKind::Put, credential, payload);
            }
            let front = rest.finish_front(US, cut, &Pool::default());
            let mut got = Vec::new();
            for batch in [front, rest.finish(US)].map(|data| Batch::parse(data).unwrap()) {
                got.extend(batch.commands().map(|c| {
                    (batch.data()[c.credential()].to_vec(), batch.data()[c.payload].to_vec())
                }));
            }
            prop_assert_eq!(got, commands);
        }

        #[test]
        fn withdrawn_requests_are_gone_and_the_others_stay(payloads: Vec<(Vec<u8>, bool)>) {
            let (bytes, gone): (Vec<_>, Vec<_>) = payloads.into_iter().unzip();
            let number = |i: usize| i as u64;
            let ids = gone.iter().enumerate().filter(|(_, gone)| **gone).map(|(i, _)| RequestId(number(i)));
            let mut rest = builder(&bytes, 0);
            rest.withdraw(&ids.collect());
            let stays = bytes.iter().cloned().enumerate().filter(|(i, _)| !gone[*i]);
            let want: Vec<_> = stays.map(|(i, payload)| (number(i), payload)).collect();
            prop_assert_eq!(rest.payload_bytes(), want.iter().map(|(_, p)| p.len()).sum::<usize>());
            prop_assert_eq!(contents(&Batch::parse(rest.finish(US)).unwrap()), want);
        }

        #[test]
        fn memory_is_used_again_and_never_shared(batches: Vec<(Vec<Vec<u8>>, bool)>) {
            let (pool, mut kept) = (Pool::default(), Vec::new());
            for (payloads, keep) in &batches {
                let batch = Batch::parse(builder(payloads, 0).finish_front(US, usize::MAX, &pool)).unwrap();
                if *keep {
                    kept.push((payloads, batch));
                }
            }
            for (payloads, batch) in &kept {
                let want: Vec<_> = payloads.iter().cloned().enumerate().map(|(i, p)| (i as u64, p)).collect();
                prop_assert_eq!(contents(batch), want);
            }
            drop(kept);
            let spare = pool.kept();
            prop_assert!(spare <= pool::SPARE_MAX && (spare > 0 || batches.is_empty()));
        }

        #[test]
        fn fitting_stays_within(payloads: Vec<Vec<u8>>, bytes in 0_usize..400) {
            let b = builder(&payloads, 0);
            let n = b.fitting(bytes);
            let total: usize = payloads[..n].iter().map(Vec::len).sum();
            prop_assert!(total <= bytes || n == 1);
            prop_assert!(n >= usize::from(!payloads.is_empty()));
        }

        #[test]
        fn no_bytes_can_panic(data: Vec<u8>) {
            if let Ok(batch) = Batch::parse(Bytes::from(data)) {
                contents(&batch);
            }
        }

        #[test]
        fn flipped_bits_cannot_panic(payloads: Vec<Vec<u8>>, at: prop::sample::Index, bit in 0_u8..8) {
            let mut data = builder(&payloads, 1).finish(US).to_vec();
            let at = at.index(data.len());
            data[at] ^= 1 << bit;
            if let Ok(batch) = Batch::parse(Bytes::from(data)) {
                contents(&batch);
            }
        }
    }
}
