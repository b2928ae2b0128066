//! One shard of this member, pure: its keys, its system records, its stream, and the reads that wait for it.
//!
//! 1. [`Input::Task`]s are performed in order; each change goes to the keys and to the stream at once.
//! 2. A read is answered when the shard is complete up to the read's index, and parked until then.
//! 3. Followers are told what changed at the end of each turn (`Input::Tick`); without followers this costs nothing.
//! 4. A snapshot for another member is walked chunk by chunk as it is asked for.
//! 5. Compaction and checkpoints are done in [slices](ShardCore::work) between tasks, and never both at once, nor
//!    compaction during a snapshot: neither must miss what compaction takes away.
//!
//! It must never touch a disk, a clock or a thread: disk operations go out, their completions come in. It never waits but for
//! a short look of another thread at its keys ([`View`]).

mod core;
pub(crate) mod followers;
mod records;
mod restore;
mod snapshot;
mod sums;
mod view;

pub use self::core::{Input, Output, ShardCore};
pub use followers::FollowerId;
pub use records::Records;
pub use restore::{Content, Distribution, Error, redistribute, restore, seed, stable_state, system_of};
pub use snapshot::Chunk;
pub use view::View;
