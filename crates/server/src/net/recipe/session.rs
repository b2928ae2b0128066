//! The lease that a recipe's key is attached to.

use std::convert::Infallible;
use std::time::Duration;

use prost::Message;
use windlass_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseRevokeResponse,
    PutRequest,
};
use windlass_api::method::lease;
use windlass_rpc::Answer;
use windlass_types::LeaseId;

use super::store::{Failure, Store, delete_if};

/// What a lease is granted for that a client leaves to the server. Source: etcd `concurrency/session.go`.
const TTL_S: i64 = 60;

/// Renewals come this many times in the life of a lease, so that one may fail.
const RENEWALS_PER_TTL: u64 = 3;

/// A lease, and whose it is.
#[derive(Clone, Copy)]
pub struct Session {
    /// Its id.
    pub lease: LeaseId,
    is_own: bool,
}

impl Session {
    /// The client's lease; one that is granted now if it has none.
    pub async fn of(store: &Store, lease: i64) -> Result<Self, Failure> {
        if lease != 0 {
            return Ok(Self { lease: LeaseId(lease), is_own: false });
        }
        let request = LeaseGrantRequest { ttl: TTL_S, id: 0 };
        let granted: LeaseGrantResponse = store.call(lease::LEASE_GRANT, &request).await?;
        Ok(Self { lease: LeaseId(granted.id), is_own: true })
    }

    /// The key of this session under a prefix.
    pub fn key(self, prefix: &[u8]) -> Vec<u8> {
        let sign = if self.lease.0 < 0 { "-" } else { "" };
        [prefix, format!("{sign}{:x}", self.lease.0.unsigned_abs()).as_bytes()].concat()
    }

    /// Puts a key that goes with the lease.
    pub fn put(self, key: &[u8], value: &[u8]) -> PutRequest {
        PutRequest {
            key: key.to_vec().into(),
            value: value.to_vec().into(),
            lease: self.lease.0,
            ..PutRequest::default()
        }
    }

    /// Does `work`, which may take long, and keeps a lease alive meanwhile that only this call knows. The lease of a
    /// client is the client's to renew.
    pub async fn during<T>(self, store: &Store, work: impl Future<Output = T>) -> T {
        if !self.is_own {
            return work.await;
        }
        tokio::select! {
            biased;
            done = work => done,
            never = self.renew(store) => match never {},
        }
    }

    /// Takes back what an unsuccessful call put: its key, and the lease if nobody else knows it. What fails here goes
    /// with the lease, later.
    pub async fn leave(self, store: &Store, key: &[u8], revision: i64) {
        let left = match self.is_own {
            true => self.revoke(store).await,
            false => store.txn(delete_if(key, revision)).await.map(|_| ()),
        };
        if let Err(Failure::Refused { text, .. }) = left {
            tracing::debug!(%text, "a key is left to its lease");
        }
    }

    /// Takes back a lease that nobody else knows, with what may have been put.
    pub async fn abandon(self, store: &Store) {
        if self.is_own {
            // It would end by itself.
            let _ = self.revoke(store).await;
        }
    }

    async fn revoke(self, store: &Store) -> Result<(), Failure> {
        let request = LeaseRevokeRequest { id: self.lease.0 };
        store.call::<LeaseRevokeResponse>(lease::LEASE_REVOKE, &request).await.map(|_| ())
    }

    async fn renew(self, store: &Store) -> Infallible {
        let pause = Duration::from_secs(TTL_S.unsigned_abs() / RENEWALS_PER_TTL);
        loop {
            tokio::time::sleep(pause).await;
            let mut call = store.open(lease::LEASE_KEEP_ALIVE);
            call.send(&LeaseKeepAliveRequest { id: self.lease.0 }.encode_to_vec());
            if let Answer::End(_, text) = call.next().await {
                tracing::debug!(%text, "a lease was not renewed");
            }
        }
    }
}
