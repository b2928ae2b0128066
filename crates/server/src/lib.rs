//! The daemon `windlass`: what turns the pure crates into a running member. Threads, actors and wiring live here;
//! rules of the store do not.

/// A place where a test can crash this process or hold it up, in builds with the feature `failpoints`; in others it is not
/// there. With `else`, what is done in place of what follows, where the test wants that left out.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoints::hit($name);
    };
    ($name:literal, else $instead:expr) => {
        #[cfg(feature = "failpoints")]
        if $crate::failpoints::hit($name) {
            $instead
        }
    };
}

pub mod auth;
pub mod backup;
pub mod consensus;
#[cfg(feature = "failpoints")]
pub mod failpoints;
pub mod local_cluster;
pub mod mailbox;
pub mod member;
pub mod metrics;
pub mod net;
pub mod published;
pub mod restore;
pub mod shard;
pub mod sink;
pub mod snapshot;
pub mod stages;
pub mod startup;
pub mod waiting;
