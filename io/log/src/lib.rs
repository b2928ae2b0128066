//! Append-only logs over fixed-size segment files, pure: they emit disk operations and take their completions.

pub mod buffer;
pub mod decision;
pub mod error;
pub mod folder;
pub mod frame;
mod header;
pub mod ids;
pub mod journal;
pub mod op;
pub mod raft_log;
mod replay;
pub mod scan;
pub mod segment;
mod slots;
pub mod stream;

pub use error::Error;
