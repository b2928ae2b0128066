//! The replicated state machine of one member, pure: what a committed log means.
//!
//! The [`sequencer`] gives each command its revision, the shards evaluate and install, readers ask the shards. The
//! result of a log must not depend on the number of shards. Nothing here may do I/O, read a clock or start a thread.

pub mod alarm;
pub mod amnesia;
pub mod answer;
pub mod auth;
pub mod backup;
pub mod checks;
pub mod compactor;
pub mod consensus;
pub mod damage;
pub mod departure;
pub mod evaluate;
mod fields;
pub mod founding;
pub mod get;
pub mod install;
pub mod lease;
pub mod list;
pub mod membership;
pub mod merge;
pub mod oracle;
pub mod perform;
pub mod put_view;
pub mod read;
pub mod reading;
pub mod sequencer;
pub mod shard;
pub mod shard_set;
pub mod system;
pub mod task;
pub mod txn;
pub mod update_view;
pub mod watch;
mod wire;
