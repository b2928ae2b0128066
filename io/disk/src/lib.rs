//! What executes the disk operations that the pure logs ask for: raw io_uring, glommio, and a simulator.

pub mod files;
pub mod glommio;
pub mod interrupt;
pub mod preflight;
pub mod probe;
pub mod sim;
pub mod uring;
