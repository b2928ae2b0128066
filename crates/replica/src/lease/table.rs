//! The replicated part: which leases there are. Changed in log order alone, never by a clock.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use windlass_types::{LeaseId, LogIndex, RequestError};

use super::proposal::{LeaseLeft, LeaseRef};
use crate::system::{LEASE, System};

/// The longest time to live in seconds that may be asked for. Source: etcd `lessor.go` `MaxLeaseTTL`.
pub const TTL_S_MAX: i64 = 9_000_000_000;

/// One lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its time to live in seconds, at least 1.
    pub ttl_s: i64,
    /// The entry that granted it, which tells it from an earlier lease with its id.
    pub granted: LogIndex,
    /// Milliseconds that were left of it at its last checkpoint. None: it may have been renewed just now, and whoever
    /// becomes its leader must take it for whole.
    pub left_ms: Option<u64>,
}

/// What the log did to a lease, for its leader's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// It was granted.
    Granted(LeaseId, Lease),
    /// It is no more.
    Revoked(LeaseId),
    /// What is left of it was written down, as its leader's proposal of this number said.
    Checkpointed(LeaseId, Lease, u64),
}

/// All leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    leases: BTreeMap<LeaseId, Lease>,
}

/// The value of a lease's record.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(int64, tag = "1")]
    ttl_s: i64,
    #[prost(uint64, tag = "2")]
    granted: u64,
    #[prost(uint64, optional, tag = "3")]
    left_ms: Option<u64>,
}

/// The shortest time to live in seconds, whatever is asked for: long enough that a change of leaders does not outlast
/// it. Source: etcd `server.go` `minTTL`.
#[must_use]
pub fn ttl_s_min(election_timeout_ms: u64) -> i64 {
    let ttl_ms = election_timeout_ms.saturating_mul(3).div_ceil(2);
    i64::try_from(ttl_ms.div_ceil(1000)).unwrap_or(TTL_S_MAX).max(1)
}

/// Checks a time to live in seconds.
pub fn check_grant(ttl_s: i64) -> Result<(), RequestError> {
    if ttl_s > TTL_S_MAX { Err(RequestError::LeaseTtlTooLarge) } else { Ok(()) }
}

impl Leases {
    /// From the system records. Panics on one that no version wrote: what is read was verified by its checksum.
    #[must_use]
    pub fn load(system: &System) -> Self {
        let leases = system.with_prefix(LEASE).map(|(name, value)| {
            let id = id_of(name).expect("the name of a lease's record holds its id");
            let Record { ttl_s, granted, left_ms } =
                Record::decode(value.clone()).expect("the record of a lease decodes");
            (id, Lease { ttl_s, granted: LogIndex(granted), left_ms })
        });
        Self { leases: leases.collect() }
    }

    /// One lease.
    #[must_use]
    pub fn get(&self, id: LeaseId) -> Option<Lease> {
        self.leases.get(&id).copied()
    }

    /// Whether there is such a lease.
    #[must_use]
    pub fn contains(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.leases.len()
    }

    /// The leases behind `after`, in order of their ids.
    pub fn iter_from(&self, after: Option<LeaseId>) -> impl Iterator<Item = (LeaseId, Lease)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.leases.range((from, std::ops::Bound::Unbounded)).map(|(&id, &lease)| (id, lease))
    }

    /// Grants a lease. Source of the order of checks: etcd `lessor.Grant`.
    pub fn grant(
        &mut self,
        id: LeaseId,
        ttl_s: i64,
        index: LogIndex,
        system: &mut System,
    ) -> Result<LeaseEvent, RequestError> {
        if id == LeaseId::ZERO {
            return Err(RequestError::LeaseNotFound);
        }
        check_grant(ttl_s)?;
        if self.contains(id) {
            return Err(RequestError::LeaseExist);
        }
        let lease = Lease { ttl_s: ttl_s.max(1), granted: index, left_ms: None };
        self.write(id, lease, system);
        Ok(LeaseEvent::Granted(id, lease))
    }

    /// Takes a lease away; whoever calls deletes its keys.
    pub fn revoke(&mut self, id: LeaseId, system: &mut System) -> Result<LeaseEvent, RequestError> {
        if self.leases.remove(&id).is_none() {
            return Err(RequestError::LeaseNotFound);
        }
        system.delete(&name_of(id));
        Ok(LeaseEvent::Revoked(id))
    }

    /// Whether this is the lease that is meant, and not a later one with its id.
    #[must_use]
    pub fn is(&self, lease: &LeaseRef) -> bool {
        self.get(LeaseId(lease.id)).is_some_and(|known| known.granted == LogIndex(lease.granted))
    }

    /// Writes down what is left of a lease, if it is still there, as its leader's proposal of that number says.
    pub fn checkpoint(&mut self, left: &LeaseLeft, proposal: u64, system: &mut System) -> Option<LeaseEvent> {
        if !self.is(&left.lease) {
            return None;
        }
        let id = LeaseId(left.lease.id);
        let lease = Lease { left_ms: left.left_ms, ..self.leases[&id] };
        self.write(id, lease, system);
        Some(LeaseEvent::Checkpointed(id, lease, proposal))
    }

    fn write(&mut self, id: LeaseId, lease: Lease, system: &mut System) {
        let Lease { ttl_s, granted, left_ms } = lease;
        let record = Record { ttl_s, granted: granted.0, left_ms };
        system.put(name_of(id), record.encode_to_vec().into());
        self.leases.insert(id, lease);
    }
}

fn name_of(id: LeaseId) -> Bytes {
    [LEASE, format!("{:016x}", id.0).as_bytes()].concat().into()
}

fn id_of(name: &[u8]) -> Option<LeaseId> {
    let hex = std::str::from_utf8(name.strip_prefix(LEASE)?).ok()?;
    u64::from_str_radix(hex, 16).ok().map(|id| LeaseId(id.cast_signed()))
}
