//! What the judge knows of leases: which entry granted each, and when, so that it can tell whether one ends early.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use windlass_records::batch::CommandKind;
use windlass_replica::lease::Expired;
use windlass_replica::oracle::Oracle;
use windlass_types::{LogIndex, Term};

use super::log::ENCODED;
use crate::check::{Check, Violation, ensure};

/// One second by the fastest clock of a member, in nanoseconds.
const SHORTEST_SECOND_NS: u64 = 900_000_000;

/// Where and when an entry is applied for the first time.
#[derive(Clone, Copy)]
pub struct Place {
    /// The entry.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The time.
    pub now_ns: u64,
}

/// A lease that lives.
#[derive(Clone, Copy)]
struct Granted {
    index: LogIndex,
    /// No earlier may it end by itself.
    lives_until_ns: u64,
}

/// The leases that live.
#[derive(Default)]
pub struct Leases {
    granted: BTreeMap<i64, Granted>,
}

impl Leases {
    /// A command was applied to the model; it follows what becomes of leases. Those that have run out end here. Returns
    /// which.
    pub fn follow(
        &mut self,
        oracle: &mut Oracle,
        kind: CommandKind,
        payload: Bytes,
        succeeded: bool,
        place: Place,
    ) -> Result<Vec<i64>, Violation> {
        let Place { index, term, now_ns } = place;
        match kind {
            CommandKind::LeaseGrant if succeeded => {
                let LeaseGrantRequest { id, ttl } = LeaseGrantRequest::decode(payload).expect(ENCODED);
                let lives_until_ns = now_ns + ttl.unsigned_abs() * SHORTEST_SECOND_NS;
                self.granted.insert(id, Granted { index, lives_until_ns });
            }
            CommandKind::LeaseRevoke if succeeded => {
                self.granted.remove(&LeaseRevokeRequest::decode(payload).expect(ENCODED).id);
            }
            CommandKind::LeaseExpire => {
                let expired = Expired::decode(payload).expect("the core encodes what it proposes");
                let meant = expired.leases.into_iter().filter(|_| expired.term == term.0);
                let mut ended = Vec::new();
                for lease in meant {
                    ended.extend(self.end(oracle, lease.id, LogIndex(lease.granted), place)?);
                }
                return Ok(ended);
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn end(
        &mut self,
        oracle: &mut Oracle,
        id: i64,
        granted: LogIndex,
        place: Place,
    ) -> Result<Option<i64>, Violation> {
        let Some(lease) = self.granted.get(&id).copied().filter(|lease| lease.index == granted) else {
            return Ok(None);
        };
        ensure(lease.lives_until_ns <= place.now_ns, Check::LeaseEndedEarly, || {
            let early_ms = (lease.lives_until_ns - place.now_ns) / 1_000_000;
            format!("entry {} ends lease {id} {early_ms} ms before its time", place.index)
        })?;
        self.granted.remove(&id);
        oracle.lease_revoke(&LeaseRevokeRequest { id }).expect("it lives");
        Ok(Some(id))
    }
}
