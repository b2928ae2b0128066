//! A change of membership as the data of a log entry.
//!
//! ```text
//! byte 0      version, 1
//! byte 1      transition: 0 auto, 1 joint implicit, 2 joint explicit
//! byte 2      number of changes, 0..=64
//! 9 each      kind (0 voter, 1 learner, 2 remove), member (u64, little endian)
//! the rest    context, the caller's
//! ```
//! Decoding takes bytes from outside and must never panic. The entry's own checksum is the log's.

use bytes::{BufMut, Bytes, BytesMut};
use windlass_types::MemberId;

use crate::membership::MEMBERS_MAX;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 3;
const CHANGE_BYTES: usize = 9;
/// Changes in one entry are as bounded as the members they concern.
const CHANGES_MAX: usize = MEMBERS_MAX;
const _: () = assert!(CHANGES_MAX <= u8::MAX as usize);

/// How a change of several members at once is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transition {
    /// A single change directly, several through a joint membership that the leader ends by itself.
    #[default]
    Auto,
    /// Through a joint membership that the leader ends by itself.
    JointImplicit,
    /// Through a joint membership that ends with a change that is [`ConfChange::leave`].
    JointExplicit,
}

/// One member's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make it a voter, from a learner or from nothing.
    AddVoter(MemberId),
    /// Make it a learner, from a voter or from nothing.
    AddLearner(MemberId),
    /// Make it nothing.
    Remove(MemberId),
}

/// A change of membership. Without changes it ends a joint membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfChange {
    /// How it is made.
    pub transition: Transition,
    /// What is made, in order; at most 64.
    pub changes: Vec<Change>,
    /// The caller's: the core carries it.
    pub context: Bytes,
}

/// The bytes are no change of a version that this code knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError;

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a membership change of a known version")
    }
}

impl std::error::Error for DecodeError {}

impl ConfChange {
    /// A change of one member.
    #[must_use]
    pub fn single(change: Change) -> Self {
        Self { changes: vec![change], ..Self::default() }
    }

    /// The end of a joint membership.
    #[must_use]
    pub fn leave() -> Self {
        Self::default()
    }

    /// The entry's data. Panics with more than 64 changes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        assert!(self.changes.len() <= CHANGES_MAX, "a membership change is larger than a membership");
        let mut data =
            BytesMut::with_capacity(HEAD_BYTES + self.changes.len() * CHANGE_BYTES + self.context.len());
        data.put_u8(VERSION);
        data.put_u8(self.transition as u8);
        data.put_u8(self.changes.len() as u8);
        for &change in &self.changes {
            let (kind, id) = match change {
                Change::AddVoter(id) => (0, id),
                Change::AddLearner(id) => (1, id),
                Change::Remove(id) => (2, id),
            };
            data.put_u8(kind);
            data.put_u64_le(id.0);
        }
        data.put_slice(&self.context);
        data.freeze()
    }

    /// Reads an entry's data; the context shares its memory.
    pub fn decode(data: &Bytes) -> Result<Self, DecodeError> {
        let [VERSION, transition, count, ..] = data[..] else { return Err(DecodeError) };
        let transition = match transition {
            0 => Transition::Auto,
            1 => Transition::JointImplicit,
            2 => Transition::JointExplicit,
            _ => return Err(DecodeError),
        };
        let end = HEAD_BYTES + usize::from(count) * CHANGE_BYTES;
        if usize::from(count) > CHANGES_MAX || data.len() < end {
            return Err(DecodeError);
        }
        let changes =
            data[HEAD_BYTES..end].chunks_exact(CHANGE_BYTES).map(decode_change).collect::<Result<_, _>>()?;
        Ok(Self { transition, changes, context: data.slice(end..) })
    }
}

fn decode_change(bytes: &[u8]) -> Result<Change, DecodeError> {
    let (&kind, id) = bytes.split_first().ok_or(DecodeError)?;
    let id = MemberId(u64::from_le_bytes(id.try_into().map_err(|_| DecodeError)?));
    match kind {
        _ if id == MemberId::ZERO => Err(DecodeError),
        0 => Ok(Change::AddVoter(id)),
        1 => Ok(Change::AddLearner(id)),
        2 => Ok(Change::Remove(id)),
        _ => Err(DecodeError),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_change() -> impl Strategy<Value = Change> {
        (0..3, 1_u64..).prop_map(|(kind, id)| match kind {
            0 => Change::AddVoter(MemberId(id)),
            1 => Change::AddLearner(MemberId(id)),
            _ => Change::Remove(MemberId(id)),
        })
    }

    fn any_conf_change() -> impl Strategy<Value = ConfChange> {
        let transition = prop::sample::select(vec![
            Transition::Auto,
            Transition::JointImplicit,
            Transition::JointExplicit,
        ]);
        let changes = prop::collection::vec(any_change(), 0..=CHANGES_MAX);
        (transition, changes, any::<Vec<u8>>()).prop_map(|(transition, changes, context)| ConfChange {
            transition,
            changes,
            context: context.into(),
        })
    }

    proptest! {
        #[test]
        fn round_trip(change in any_conf_change()) {
            prop_assert_eq!(ConfChange::decode(&change.encode()), Ok(change));
        }

        #[test]
        fn no_bytes_can_panic(change in any_conf_change(), at: prop::sample::Index, with: u8, noise: Vec<u8>) {
            let mut data = change.encode().to_vec();
            let at = at.index(data.len());
            data[at] = with;
            let _ = ConfChange::decode(&Bytes::from(data.clone()));
            data.truncate(at);
            let _ = ConfChange::decode(&Bytes::from(data));
            let _ = ConfChange::decode(&Bytes::from(noise));
        }
    }

    #[test]
    fn version_1_is_these_bytes() {
        let change = ConfChange {
            transition: Transition::JointExplicit,
            changes: vec![Change::AddVoter(MemberId(0x0102)), Change::Remove(MemberId(3))],
            context: Bytes::from_static(b"url"),
        };
        let want = b"\x01\x02\x02\x00\x02\x01\0\0\0\0\0\0\x02\x03\0\0\0\0\0\0\0url";
        assert_eq!(&change.encode()[..], want);
    }
}
