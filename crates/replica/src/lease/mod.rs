//! Leases: what is replicated of them, and what their leader knows of time.
//!
//! 1. [`Leases`] is replicated state: which leases there are, what they were granted, and how much was left of them when
//!    their leader last wrote that down. It changes in log order alone and is kept as system records.
//! 2. [`Lessor`] is the leader's: deadlines on its own clock, renewals, and what it proposes when time has passed. It is
//!    lost with the leadership, and made anew from the first.
//! 3. [`LeaseAsk`] is what a member asks the leader, [`LeaseAnswer`] what it hears.
//!
//! Invariant: a lease is never revoked before its time to live has passed since its last renewal that a leader
//! acknowledged. `docs/adr/0005-leases.md` says why.

mod ask;
mod lessor;
mod proposal;
mod reign;
mod table;
#[cfg(test)]
mod tests;
mod wheel;

pub use ask::{Asker, LeaseAnswer, LeaseAsk};
pub use lessor::{Action, Lessor, Options};
pub use proposal::{Checkpoints, Expired, LeaseLeft, LeaseRef};
pub use table::{Lease, LeaseEvent, Leases, TTL_S_MAX, check_grant, ttl_s_min};

pub(crate) use proposal::INTERNAL;
