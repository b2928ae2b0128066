//! Clients that hold leases, and whether a lease ended when it may: not before its time after the last renewal that was
//! acknowledged, unless it was revoked.

use std::time::Duration;

use windlass_api::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest};
use windlass_client::Client;
use windlass_replica::oracle::generate::Random;

use crate::history::{Call, History, Lease, Moment};
use crate::load::{Load, Worker, client_of};
use crate::order::Order;

/// Shortest and longest time to live that is asked for, in seconds.
const TTL_S: std::ops::Range<u64> = 2..6;

/// Most renewals of one lease.
const RENEWALS_MAX: u64 = 6;

/// Between two looks whether a renewal is due or the run is over.
const LOOK: Duration = Duration::from_millis(50);

/// Grants leases, puts a key under each, and renews, revokes or forgets them.
pub struct Holder {
    client: Client,
    worker: Worker,
    random: Random,
    leases: Vec<Lease>,
}

impl Holder {
    pub fn new(worker: Worker, endpoint: &str, seed: u64) -> Self {
        Self { client: client_of(endpoint), worker, random: Random::new(seed), leases: Vec::new() }
    }

    /// Until the run is over.
    pub fn run(mut self, load: &Load) -> History {
        while load.goes_on() {
            if let Some(lease) = self.hold(load) {
                self.leases.push(lease);
            } else {
                std::thread::sleep(LOOK);
            }
        }
        History { operations: self.worker.operations, leases: self.leases, streams: Vec::new() }
    }

    /// One lease from its grant to its end, or until it is forgotten. None if it was not granted, or got no key.
    fn hold(&mut self, load: &Load) -> Option<Lease> {
        let ttl = (TTL_S.start + self.random.below(TTL_S.end - TTL_S.start)).cast_signed();
        let granted_at = load.now();
        let granted = self.client.lease_grant(&LeaseGrantRequest { ttl, id: 0 }).ok()?;
        let (id, ttl_s) = (granted.id, granted.ttl.unsigned_abs());
        let number = self.worker.operations.len();
        let key = format!("l/{}/{number:06}", self.worker.client);
        let value = self.worker.value(0);
        let put = Call::Put { key: key.clone(), value, lease: id };
        let is_put = self.worker.call(&mut self.client, load, put);
        let mut lease = Lease { id, key, ttl_s, renewed: vec![granted_at], revoked: None, gone: None };
        let renewals = self.random.below(RENEWALS_MAX + 1);
        for _ in 0..renewals {
            self.wait(load, Duration::from_millis(1000 * ttl_s / 3));
            let sent = load.now();
            match self.client.lease_keep_alive(&LeaseKeepAliveRequest { id }) {
                Ok(answer) if answer.ttl > 0 => lease.renewed.push(sent),
                Ok(_) => {
                    lease.gone = Some(load.now());
                    break;
                }
                Err(_) => {}
            }
        }
        if lease.gone.is_none() && self.random.one_in(3) {
            lease.revoked = Some(load.now());
            // Whether it arrived does not matter: from here on the lease may end at any time.
            let _ = self.client.lease_revoke(&LeaseRevokeRequest { id });
        }
        is_put.then_some(lease)
    }

    fn wait(&self, load: &Load, time: Duration) {
        let until = load.now() + time;
        while load.now() < until && load.goes_on() {
            std::thread::sleep(LOOK);
        }
    }
}

/// Checks that no lease ended too early.
pub fn check(history: &History, order: &Order, broken: &mut Vec<String>) {
    let seen = |revision| history.streams.iter().filter_map(|s| s.arrived.get(&revision)).min().copied();
    let mut ends = std::collections::HashMap::new();
    for (revision, events) in order.revisions() {
        for event in events.iter().filter(|event| event.now.is_none() && event.key.starts_with("l/")) {
            ends.insert(event.key.as_str(), revision);
        }
    }
    for lease in &history.leases {
        let Some(&revision) = ends.get(lease.key.as_str()) else { continue };
        let Some(ended) = seen(revision) else { continue };
        let last = lease.renewed.last().copied().unwrap_or(Moment(0));
        let lives_until = last + Duration::from_secs(lease.ttl_s);
        let revoked = lease.revoked.is_some_and(|at| at < ended);
        if ended < lives_until && !revoked {
            broken.push(format!("it ended as revision {revision}, at {ended:?}, too early: {lease:?}"));
        }
    }
}
