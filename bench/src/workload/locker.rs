//! What a software transaction of etcd's benchmark may be wrapped in (`--stm-locker`): a lock that all of them share.

use prost::Message;
use windlass_api::etcdserverpb::{LeaseGrantRequest, LeaseGrantResponse};
use windlass_api::method;
use windlass_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest};

use super::{PREFIX_BYTES, frame};

/// Time to live of a client's lease, in seconds: longer than any run, because nothing renews it. It is left to expire.
const LEASE_TTL_S: i64 = 24 * 3_600;
/// etcd's benchmark's.
const LOCK_NAME: &[u8] = b"stmlock";

/// What transactions are wrapped in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Locker {
    /// Nothing: conflicts are found when they commit.
    #[default]
    Stm,
    /// A lock of the server's Lock service.
    LockRpc,
}

/// The lock of one client, as far as it has it.
#[derive(Clone, Debug, Default)]
pub struct Lock {
    /// Of the client, from its first transaction on.
    lease: Option<i64>,
    /// Of the lock while it is held.
    key: Option<Vec<u8>>,
}

impl Lock {
    /// Whether it is held.
    pub fn is_held(&self) -> bool {
        self.key.is_some()
    }

    /// The next request towards holding it, or towards giving it back: path and frame.
    pub fn step(&self) -> (&'static str, Vec<u8>) {
        match (self.lease, &self.key) {
            (None, _) => (method::lease::LEASE_GRANT, frame(&LeaseGrantRequest { ttl: LEASE_TTL_S, id: 0 })),
            (Some(lease), None) => {
                (method::lock::LOCK, frame(&LockRequest { name: LOCK_NAME.to_vec().into(), lease }))
            }
            (_, Some(key)) => (method::lock::UNLOCK, frame(&UnlockRequest { key: key.clone().into() })),
        }
    }

    /// Takes the answer to that request.
    ///
    /// # Errors
    /// The request failed. A lease that is lost is asked for anew next time.
    pub fn follow(&mut self, answer: Result<Vec<u8>, String>) -> Result<(), String> {
        let answer = answer.inspect_err(|_| *self = Self::default())?;
        let message = answer.get(PREFIX_BYTES..).unwrap_or_default();
        let odd = |error: prost::DecodeError| format!("the answer is not a message: {error}");
        match (self.lease, &self.key) {
            (None, _) => self.lease = Some(LeaseGrantResponse::decode(message).map_err(odd)?.id),
            (_, None) => self.key = Some(LockResponse::decode(message).map_err(odd)?.key.to_vec()),
            (_, Some(_)) => self.key = None,
        }
        Ok(())
    }
}
