//! What the judge knows of leases: which entry granted each, and when, so that it can tell whether one ends early.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use windlass_records::batch::CommandKind;
use windlass_replica::lease::{Expired, LeaseAnswer};
use windlass_replica::oracle::Oracle;
use windlass_types::{LogIndex, Term};

use super::log::{ENCODED, Said};
use crate::agenda::SECOND_NS;
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
    /// When, in nanoseconds.
    at_ns: u64,
    ttl_s: i64,
    /// No earlier may it end by itself.
    lives_until_ns: u64,
}

/// A question about a lease that a client asked.
#[derive(Clone, Copy, Debug)]
pub struct LeaseQuestion {
    /// The lease.
    pub id: i64,
    /// The newest entry that was seen when it was asked,
    pub seen: LogIndex,
    /// and the time, in nanoseconds.
    pub at_ns: u64,
}

/// Whether a command may begin or end a lease of this id.
pub fn concerns_lease(said: &Said, id: i64) -> bool {
    let payload = said.payload.clone();
    match said.kind {
        CommandKind::LeaseGrant => LeaseGrantRequest::decode(payload).expect(ENCODED).id == id,
        CommandKind::LeaseRevoke => LeaseRevokeRequest::decode(payload).expect(ENCODED).id == id,
        CommandKind::LeaseExpire => true,
        _ => false,
    }
}

/// The leases that live, and when others of their ids ended last.
#[derive(Default)]
pub struct Leases {
    granted: BTreeMap<i64, Granted>,
    ended_ns: BTreeMap<i64, u64>,
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
                self.granted.insert(id, Granted { index, at_ns: now_ns, ttl_s: ttl, lives_until_ns });
            }
            CommandKind::LeaseRevoke if succeeded => {
                let LeaseRevokeRequest { id } = LeaseRevokeRequest::decode(payload).expect(ENCODED);
                self.granted.remove(&id);
                self.ended_ns.insert(id, now_ns);
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

    /// A client is told something about a lease.
    ///
    /// # Errors
    /// If that was not so at any time since it asked.
    pub fn told(
        &mut self,
        question: LeaseQuestion,
        answer: LeaseAnswer,
        now_ns: u64,
    ) -> Result<(), Violation> {
        let LeaseQuestion { id, seen, at_ns } = question;
        let lived_on = self.granted.get(&id).copied().filter(|lease| lease.index <= seen);
        let has_lived =
            self.granted.contains_key(&id) || self.ended_ns.get(&id).is_some_and(|&ended| ended >= at_ns);
        let wrong = |what: &str| {
            let text = format!("lease {id} is said to be {answer:?}, and {what}");
            Violation::new(Check::LeaseUntrue, text)
        };
        match answer {
            LeaseAnswer::NotLeader => Ok(()),
            LeaseAnswer::Missing => match lived_on {
                Some(lease) if lease.lives_until_ns > now_ns => Err(wrong("lives")),
                _ => Ok(()),
            },
            LeaseAnswer::Renewed { ttl_s } | LeaseAnswer::Left { ttl_s, .. } => {
                let Some(lease) = lived_on else {
                    return if has_lived { Ok(()) } else { Err(wrong("had ended before")) };
                };
                ensure(lease.ttl_s == ttl_s, Check::LeaseUntrue, || {
                    format!("lease {id} was granted {} s, and is said to be {answer:?}", lease.ttl_s)
                })?;
                if let LeaseAnswer::Renewed { .. } = answer {
                    let until_ns = at_ns + ttl_s.unsigned_abs() * SHORTEST_SECOND_NS;
                    let renewed = self.granted.get_mut(&id).expect("it lives");
                    renewed.lives_until_ns = renewed.lives_until_ns.max(until_ns);
                }
                Ok(())
            }
        }
    }

    /// The leases that have run out for somebody who does not know of renewals, each with the entry that granted it.
    pub fn run_out_unless_renewed(&self, now_ns: u64) -> impl Iterator<Item = (i64, LogIndex)> {
        let over = move |lease: &Granted| lease.at_ns + lease.ttl_s.unsigned_abs() * SECOND_NS <= now_ns;
        self.granted.iter().filter(move |(_, lease)| over(lease)).map(|(&id, lease)| (id, lease.index))
    }

    /// The leases that have run out for somebody who measures like this how much time has passed since a moment, each with
    /// the entry that granted it.
    pub fn run_out_by(&self, passed_ns: impl Fn(u64) -> i64) -> impl Iterator<Item = (i64, LogIndex)> {
        let over = move |lease: &Granted| {
            let ttl_s = lease.ttl_s.unsigned_abs();
            let begun_ns = lease.lives_until_ns - ttl_s * SHORTEST_SECOND_NS;
            passed_ns(begun_ns) >= (ttl_s * SECOND_NS) as i64
        };
        self.granted.iter().filter(move |(_, lease)| over(lease)).map(|(&id, lease)| (id, lease.index))
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
        self.ended_ns.insert(id, place.now_ns);
        oracle.lease_revoke(&LeaseRevokeRequest { id }).expect("it lives");
        Ok(Some(id))
    }
}
