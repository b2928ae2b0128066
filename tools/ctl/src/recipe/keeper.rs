//! A lease that lives as long as this program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest};
use windlass_client::Client;

use super::{LOOK, Stop};
use crate::exit::Failure;

/// A lease and the thread that renews it.
pub struct Keeper {
    lease: i64,
    is_lost: Arc<AtomicBool>,
}

impl Keeper {
    /// Grants a lease of `ttl_s` seconds through `client`, and renews it through the same from a thread of its own.
    ///
    /// # Errors
    /// As all requests.
    pub fn new(mut client: Client, ttl_s: i64) -> Result<Self, Failure> {
        let granted = client.lease_grant(&LeaseGrantRequest { ttl: ttl_s, id: 0 })?;
        let is_lost = Arc::new(AtomicBool::new(false));
        let (lease, lost) = (granted.id, Arc::clone(&is_lost));
        std::thread::spawn(move || {
            renew(&mut client, lease, granted.ttl);
            lost.store(true, Ordering::Relaxed);
        });
        Ok(Self { lease, is_lost })
    }

    /// The lease.
    pub fn lease(&self) -> i64 {
        self.lease
    }

    /// Whether the lease is no more, as far as this program knows.
    pub fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// Waits until there is a signal (true) or the lease is lost (false).
    pub fn wait(&self, stop: &Stop) -> bool {
        while !self.is_lost() {
            if stop.is_asked() {
                return true;
            }
            std::thread::sleep(LOOK);
        }
        false
    }

    /// Ends the lease at once, with what hangs on it: nobody needs to wait for its end.
    ///
    /// # Errors
    /// As all requests.
    pub fn end(&self, client: &mut Client) -> Result<(), Failure> {
        client.lease_revoke(&LeaseRevokeRequest { id: self.lease })?;
        Ok(())
    }
}

/// Renews until the lease is no more, or nobody could be asked for as long as it lives.
fn renew(client: &mut Client, lease: i64, mut ttl_s: i64) {
    let mut renewed_at = Instant::now();
    loop {
        let ttl = Duration::from_secs(ttl_s.unsigned_abs());
        if renewed_at.elapsed() >= ttl {
            return;
        }
        std::thread::sleep(ttl / 3);
        let asked_at = Instant::now();
        match client.lease_keep_alive(&LeaseKeepAliveRequest { id: lease }) {
            Ok(answer) if answer.ttl <= 0 => return,
            Ok(answer) => (ttl_s, renewed_at) = (answer.ttl, asked_at),
            // Another member may answer the next time.
            Err(_) => {}
        }
    }
}
