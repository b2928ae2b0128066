//! The daemon `windlass`: what turns the pure crates into a running member. Threads, actors and wiring live here;
//! rules of the store do not.

pub mod mailbox;
