//! Who asks, what an operation needs, and whether that is granted.

use std::sync::Arc;

use windlass_api::etcdserverpb::{RangeRequest, WatchCreateRequest};
use windlass_types::key::KeyRange;
use windlass_types::{LeaseId, RequestError};

use super::{Auth, Keys};
use crate::txn::{Op, Transaction};

/// Who asks for something, as a command of the log says it: the revision of the users and roles at which the name was
/// found to be right, eight bytes, and the name. Nobody is no bytes at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asker<'a> {
    /// The user; empty is nobody.
    pub user: &'a str,
    /// The revision of users and roles at which the token or the certificate was looked at; above zero for a user.
    pub revision: u64,
}

impl<'a> Asker<'a> {
    /// Somebody without a name.
    pub const NOBODY: Self = Self { user: "", revision: 0 };

    /// Reads what [`encode`](Self::encode) wrote; what it cannot have written is nobody.
    #[must_use]
    pub fn decode(credential: &'a [u8]) -> Self {
        let parts = credential.split_first_chunk::<8>();
        let parts = parts.and_then(|(revision, name)| Some((revision, std::str::from_utf8(name).ok()?)));
        parts.map_or(Self::NOBODY, |(revision, user)| Self { user, revision: u64::from_le_bytes(*revision) })
    }

    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if *self != Self::NOBODY {
            out.extend(self.revision.to_le_bytes());
            out.extend(self.user.as_bytes());
        }
    }

    fn is_nobody(&self) -> bool {
        self.user.is_empty() || self.revision == 0
    }
}

/// Something that an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// To read all of these keys.
    Read(KeyRange<'a>),
    /// To write all of these keys.
    Write(KeyRange<'a>),
    /// To write every key that is attached to a lease, which only the shards know.
    WriteAttached(LeaseId),
    /// To be some user.
    User,
    /// To have the role root.
    Root,
    /// To be this user, or to have the role root.
    Be(&'a str),
    /// To have this role, or the role root.
    Have(&'a str),
}

impl<'a> Need<'a> {
    /// Of a range.
    #[must_use]
    pub fn of_range(range: &'a RangeRequest) -> Self {
        Self::Read(KeyRange::new(&range.key, &range.range_end))
    }

    /// Of a watch. Without a key it begins at the smallest one.
    #[must_use]
    pub fn of_watch(watch: &'a WatchCreateRequest) -> Self {
        let key: &[u8] = if watch.key.is_empty() { &[0] } else { &watch.key };
        Self::Read(KeyRange::new(key, &watch.range_end))
    }

    /// Of a transaction: of both branches, whichever runs, of those nested in it, and of what it compares. A put or a delete
    /// by itself is one.
    pub fn of_transaction(transaction: &'a Transaction) -> impl Iterator<Item = Self> {
        let compared = transaction.compares().iter();
        let compared = compared.map(|compare| Self::Read(KeyRange::new(&compare.key, &compare.range_end)));
        compared.chain(transaction.ops().iter().flat_map(Self::of_op))
    }

    fn of_op(op: &'a Op) -> impl Iterator<Item = Self> {
        let range = op.range();
        let needs = match op {
            Op::Range(_) => [Some(Self::Read(range)), None, None],
            Op::Put(put) => [
                Some(Self::Write(range)),
                put.prev_kv.then_some(Self::Read(range)),
                // Who attaches a key to a lease makes it likelier that the lease goes on, or may end it.
                (put.lease != 0).then_some(Self::WriteAttached(LeaseId(put.lease))),
            ],
            Op::Delete(delete) => {
                [Some(Self::Write(range)), delete.prev_kv.then_some(Self::Read(range)), None]
            }
            Op::Revoke(lease) => [Some(Self::User), Some(Self::WriteAttached(*lease)), None],
        };
        needs.into_iter().flatten()
    }
}

impl Auth {
    /// Whether whoever asks may have what an operation needs. Of the keys of a lease it says whether it is known without
    /// looking at them; if not, the answer is an `Ok` of the keys that they must be among.
    ///
    /// # Errors
    /// etcd's, in its order.
    pub fn check(&self, asker: Asker<'_>, need: Need<'_>) -> Result<Option<Arc<Keys>>, RequestError> {
        if !self.is_enabled() {
            return Ok(None);
        }
        match need {
            Need::Read(range) => self.check_keys(asker, |access| access.read.covers(range)),
            Need::Write(range) => self.check_keys(asker, |access| access.write.covers(range)),
            Need::WriteAttached(_) => return self.check_attached(asker),
            Need::User if asker.is_nobody() => Err(RequestError::UserEmpty),
            Need::User => self.user(asker.user).map(|_| ()).ok_or(RequestError::PermissionDenied),
            Need::Root => self.check_root(asker),
            Need::Be(name) => self.check_root(asker).or_else(|error| {
                let is_self = !asker.is_nobody() && asker.user == name;
                if is_self { Ok(()) } else { Err(error) }
            }),
            Need::Have(role) => self.check_root(asker).or_else(|error| {
                let user = self.user(asker.user).filter(|_| !asker.is_nobody());
                if user.is_some_and(|user| user.has(role)) { Ok(()) } else { Err(error) }
            }),
        }
        .map(|()| None)
    }

    /// Whether a transaction may be carried out. Where that depends on the keys of leases, it is told so, and the shards
    /// look ([`Transaction::guard`]).
    ///
    /// # Errors
    /// etcd's.
    pub fn admit(&self, asker: Asker<'_>, transaction: &mut Transaction) -> Result<(), RequestError> {
        if !self.is_enabled() {
            return Ok(());
        }
        let mut writable = None;
        for need in Need::of_transaction(transaction) {
            writable = self.check(asker, need)?.or(writable);
        }
        if let Some(writable) = writable {
            transaction.guard(writable);
        }
        Ok(())
    }

    fn check_keys(
        &self,
        asker: Asker<'_>,
        permits: impl FnOnce(&super::store::Access) -> bool,
    ) -> Result<(), RequestError> {
        self.check_revision(asker)?;
        let access = self.user(asker.user).map(|user| &user.access);
        let permitted = access.is_some_and(|access| access.is_root || permits(access));
        if permitted { Ok(()) } else { Err(RequestError::PermissionDenied) }
    }

    fn check_attached(&self, asker: Asker<'_>) -> Result<Option<Arc<Keys>>, RequestError> {
        // As in etcd, root may at any revision.
        if self.is_root(asker.user) {
            return Ok(None);
        }
        self.check_revision(asker)?;
        let user = self.user(asker.user).ok_or(RequestError::PermissionDenied)?;
        let write = &user.access.write;
        Ok((!write.is_everything()).then(|| Arc::clone(write)))
    }

    fn check_revision(&self, asker: Asker<'_>) -> Result<(), RequestError> {
        if asker.is_nobody() {
            return Err(RequestError::UserEmpty);
        }
        if asker.revision < self.revision() { Err(RequestError::AuthOldRevision) } else { Ok(()) }
    }

    /// As in etcd, at any revision.
    fn check_root(&self, asker: Asker<'_>) -> Result<(), RequestError> {
        if asker.is_nobody() {
            return Err(RequestError::UserEmpty);
        }
        let user = self.user(asker.user).ok_or(RequestError::UserNotFound)?;
        if user.access.is_root { Ok(()) } else { Err(RequestError::PermissionDenied) }
    }
}
