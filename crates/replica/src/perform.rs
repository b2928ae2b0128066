//! One task on one shard: the door through which a shard's shell comes in.
//!
//! The shell keeps the watermark ([`ShardTask::completes`]) and the system records, parks reads, and compacts in slices;
//! none of that is here.

use windlass_mvcc::Shard;
use windlass_types::ShardId;

use crate::evaluate::evaluate;
use crate::install::{Journal, install, install_puts};
use crate::task::{ShardAnswer, ShardTask};

/// Performs `task` on `shard`, which is number `id`, and writes every change to `journal`. The answer, if one is due
/// at once: a compaction is only begun, and answered by the shell when [`Shard::compact_step`] says that it is done.
pub fn perform(
    shard: &mut Shard,
    id: ShardId,
    task: &ShardTask,
    journal: &mut impl Journal,
) -> Option<ShardAnswer> {
    match task {
        ShardTask::Puts(run) => install_puts(shard, run, journal),
        ShardTask::Evaluate(task) => return Some(evaluate(shard, id, task)),
        ShardTask::Install(task) => return install(shard, id, task, journal),
        ShardTask::Compact(task) => shard.compact(task.revision),
        // These change no keys; the shell has to do with them.
        ShardTask::System(_) | ShardTask::Mark(_) | ShardTask::Snapshot(_) | ShardTask::Advance { .. } => {}
    }
    None
}
