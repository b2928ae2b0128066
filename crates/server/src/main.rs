//! The daemon `windlass`: reads its configuration and runs a member until it is told to stop.

use windlass::startup::Reason;
use windlass::{local_cluster, member, startup};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    #[cfg(feature = "failpoints")]
    windlass::failpoints::begin().unwrap_or_else(|error| startup::fatal(Reason::Failure, error));
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if local_cluster::is_asked_for(&arguments) {
        return local_cluster::run(&arguments).unwrap_or_else(|error| startup::fatal(Reason::Failure, error));
    }
    member::run(startup::configure());
}
