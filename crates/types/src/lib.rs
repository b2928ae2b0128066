//! The vocabulary of Windlass: identifiers, units and etcd's error catalogue.
//!
//! This crate depends on nothing and must never do I/O. Every public signature elsewhere uses these types rather
//! than bare integers.

mod error;
mod ids;
pub mod key;

pub use error::{Code, RequestError};
pub use ids::{ByteOffset, ClusterId, LeaseId, LogIndex, MemberId, RequestId, Revision, ShardId, Term};
