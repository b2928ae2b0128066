//! An etcd backend as the store of a new cluster. What it holds of the old cluster, its members and its place in the log, is
//! left out, and so are alarms, which name members that are no more.

use bytes::Bytes;
use prost::Message;
use windlass_api::authpb::{Role, User};
use windlass_api::etcdserverpb::Member;
use windlass_api::mvccpb::KeyValue;
use windlass_bbolt::{Reader, Source};
use windlass_records::batch::CommandKind;
use windlass_records::state::State;
use windlass_records::wal;
use windlass_types::{LeaseId, LogIndex, Revision, Term};

use super::schema::{self, Place};
use crate::auth::Auth;
use crate::lease::Leases;
use crate::membership::Members;
use crate::system::{ROLE, System, USER};

/// The entry that everything of an import counts as written by. A log that begins behind it is a new one.
const INDEX: LogIndex = LogIndex(1);

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no sound bbolt file.
    #[error(transparent)]
    File(#[from] windlass_bbolt::Error),
    /// It is one, but not etcd's.
    #[error("is no backend of etcd: bucket `{bucket}` {what}")]
    Schema {
        /// The bucket.
        bucket: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// What is made of it cannot be written.
    #[error("cannot be written out")]
    Write(#[from] std::io::Error),
}

/// An etcd backend.
pub struct Backend<'a, S: ?Sized> {
    reader: Reader<'a, S>,
}

impl<'a, S: Source + ?Sized> Backend<'a, S> {
    /// Looks at the file's meta pages alone.
    ///
    /// # Errors
    /// If it is no bbolt file.
    pub fn open(source: &'a S) -> Result<Self, Error> {
        Ok(Self { reader: Reader::open(source)? })
    }

    /// The file itself.
    #[must_use]
    pub fn reader(&self) -> &Reader<'a, S> {
        &self.reader
    }

    /// Hands out every version, by ascending revision; the newest revision that there is.
    ///
    /// # Errors
    /// If the file is damaged, or `each` fails.
    pub fn versions(
        &self,
        each: &mut dyn FnMut(&wal::Version<'_>) -> std::io::Result<()>,
    ) -> Result<Revision, Error> {
        let wrong = |what| Error::Schema { bucket: "key", what };
        let mut cursor = self.reader.bucket(schema::KEY)?.ok_or_else(|| wrong("is missing"))?;
        let mut newest = Revision(1);
        while let Some((key, value)) = cursor.next_pair()? {
            let place = Place::decode(&key).ok_or_else(|| wrong("holds what is no revision"))?;
            newest = place.revision;
            // A restore that bumps the revision leaves one without a pair.
            if value.is_empty() {
                continue;
            }
            let pair = KeyValue::decode(&value[..]).map_err(|_| wrong("holds what is no pair"))?;
            each(&version(place, &pair).ok_or_else(|| wrong("holds a pair that cannot be"))?)?;
        }
        Ok(newest)
    }

    /// The revision that was compacted last; -1 if none was.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn compact_revision(&self) -> Result<Revision, Error> {
        let mut compacted = Revision(-1);
        let Some(mut cursor) = self.reader.bucket(schema::META)? else { return Ok(compacted) };
        while let Some((key, value)) = cursor.next_pair()? {
            if [schema::SCHEDULED_COMPACT, schema::FINISHED_COMPACT].contains(&&key[..]) {
                let what = "holds a compaction that is no revision";
                // One that was begun counts: etcd ends it at its next start.
                let place = Place::decode(&value).ok_or(Error::Schema { bucket: "meta", what })?;
                compacted = compacted.max(place.revision);
            }
        }
        Ok(compacted)
    }

    /// The system records of a new cluster of these members, with the backend's leases.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn system(&self, new_members: Vec<Member>) -> Result<System, Error> {
        let mut system = System::default();
        let mut members = Members::default();
        for member in new_members {
            members.apply(CommandKind::MemberAdd, member, &mut system);
        }
        self.leases(&mut system)?;
        self.auth(&mut system)?;
        self.named(schema::AUTH_USERS, USER, &mut system, |value| {
            User::decode(value).ok().map(|user| user.name)
        })?;
        self.named(schema::AUTH_ROLES, ROLE, &mut system, |value| {
            Role::decode(value).ok().map(|role| role.name)
        })?;
        Ok(system)
    }

    fn auth(&self, system: &mut System) -> Result<(), Error> {
        let Some(mut cursor) = self.reader.bucket(schema::AUTH)? else { return Ok(()) };
        let (mut enabled, mut revision) = (false, 0);
        while let Some((key, value)) = cursor.next_pair()? {
            match (&key[..], value.first_chunk()) {
                (schema::AUTH_ENABLED, _) => enabled = value == [1],
                (schema::AUTH_REVISION, Some(bytes)) => revision = u64::from_be_bytes(*bytes),
                _ => {}
            }
        }
        Auth::import_state(enabled, revision, system);
        Ok(())
    }

    /// Users or roles. What they say is taken as it is, but for the name, which must be that of their key.
    fn named(
        &self,
        bucket: &[u8],
        prefix: &[u8],
        system: &mut System,
        name_in: impl Fn(&[u8]) -> Option<Bytes>,
    ) -> Result<(), Error> {
        let Some(mut cursor) = self.reader.bucket(bucket)? else { return Ok(()) };
        while let Some((key, value)) = cursor.next_pair()? {
            let is_sound = !key.is_empty()
                && std::str::from_utf8(&key).is_ok()
                && name_in(&value).is_some_and(|name| name == key);
            if !is_sound {
                return Err(Error::Schema { bucket: "authUsers or authRoles", what: "holds what cannot be" });
            }
            system.put([prefix, &key].concat().into(), value.into());
        }
        Ok(())
    }

    fn leases(&self, system: &mut System) -> Result<(), Error> {
        let wrong = |what| Error::Schema { bucket: "lease", what };
        let Some(mut cursor) = self.reader.bucket(schema::LEASE)? else { return Ok(()) };
        let mut leases = Leases::default();
        while let Some((_, value)) = cursor.next_pair()? {
            let lease = schema::Lease::decode(&value[..]).map_err(|_| wrong("holds what is no lease"))?;
            // Begun anew, as etcd begins them after a restore.
            let granted = leases.grant(LeaseId(lease.id), lease.ttl_s, INDEX, system);
            granted.map_err(|_| wrong("holds a lease that cannot be"))?;
        }
        Ok(())
    }
}

/// The state of a store that was imported.
#[must_use]
pub fn imported_state(revision: Revision, compact_revision: Revision) -> State {
    State { index: INDEX, term: Term(1), revision, compact_revision }
}

/// The version of a pair; none if they do not fit each other.
fn version(place: Place, pair: &KeyValue) -> Option<wal::Version<'_>> {
    let Place { revision, sub, is_tombstone } = place;
    let live = wal::Live {
        create_revision: Revision(pair.create_revision),
        version: pair.version,
        lease: LeaseId(pair.lease),
        value: &pair.value,
    };
    let is_possible = is_tombstone
        || (pair.mod_revision == revision.0
            && (1..=revision.0).contains(&pair.create_revision)
            && pair.version >= 1);
    (is_possible && !pair.key.is_empty()).then_some(wal::Version {
        index: INDEX,
        revision,
        sub,
        key: &pair.key,
        live: (!is_tombstone).then_some(live),
    })
}
