//! What `lock` and `elect` do: recipes over keys, leases and watches, as etcd's Go client has them, so that both wait in
//! one line with its users.
//!
//! Nobody but the cluster decides; a place in the line lasts as long as its lease.

mod keeper;
mod line;
mod stop;

pub use keeper::Keeper;
pub use line::{Line, Place};
pub use stop::Stop;

use std::time::Duration;

/// How often signals and lost leases are looked for while nothing else happens.
const LOOK: Duration = Duration::from_millis(100);
