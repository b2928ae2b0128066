//! The vocabulary of Windlass: identifiers, units, etcd's error catalogue, and the numbers that stand for chance.
//!
//! This crate depends on nothing and must never do I/O. Every public signature elsewhere uses these types rather
//! than bare integers.

mod duration;
mod error;
mod ids;
pub mod key;
pub mod splitmix;

pub use duration::nanoseconds;
pub use error::{Code, RequestError};
pub use ids::{ByteOffset, ClusterId, LeaseId, LogIndex, MemberId, RequestId, Revision, ShardId, Term};
