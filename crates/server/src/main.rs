//! The daemon `windlass`: reads its configuration and runs a member until it is told to stop.

use windlass::{member, startup};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    member::run(startup::configure());
}
