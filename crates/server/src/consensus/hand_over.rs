//! Tasks on their way to the shards, held back for company.
//!
//! An acknowledged put does not wait for a shard, so its task need not wake the shard's thread at once: a wake costs
//! more than the put itself. What nobody waits for is held until there is enough of it, until somebody waits, or for
//! [`HOLD_MAX`]. The order of each shard's tasks never changes.

use std::time::Duration;

use windlass_records::state::State;
use windlass_replica::task::{ShardTask, SnapshotId};
use windlass_types::{LogIndex, ShardId};

use crate::net::Ticket;
use crate::shard::Senders;

/// How long a task is held at most. A crash loses nothing by it: the log has the entry.
pub const HOLD_MAX: Duration = Duration::from_millis(4);

/// Tasks that are handed over at once: enough to pay for the wake.
const HELD_MAX: usize = 64;

/// Bytes of entries that are handed over at once.
const HELD_BYTES_MAX: usize = 256 << 10;

/// Tasks and the sequencer's newest state, held back.
pub struct HandOver {
    senders: Senders<Ticket>,
    tasks: Vec<(ShardId, ShardTask)>,
    bytes: usize,
    state: Option<State>,
    /// Whether some task has somebody waiting.
    urgent: bool,
}

impl HandOver {
    /// Hands over to `senders`.
    #[must_use]
    pub fn new(senders: Senders<Ticket>) -> Self {
        Self { senders, tasks: Vec::new(), bytes: 0, state: None, urgent: false }
    }

    /// Takes a task.
    pub fn task(&mut self, shard: ShardId, task: ShardTask) {
        match &task {
            ShardTask::Puts(run) => self.bytes += run.data.len(),
            ShardTask::System(system) => self.bytes += system.bytes(),
            ShardTask::Advance { .. } => {}
            // Somebody waits for these.
            ShardTask::Evaluate(_)
            | ShardTask::Install(_)
            | ShardTask::Compact(_)
            | ShardTask::Mark(_)
            | ShardTask::Snapshot(_) => self.urgent = true,
        }
        self.tasks.push((shard, task));
    }

    /// Takes the sequencer's newest state; an older one that is still held is not needed any more.
    pub fn state(&mut self, state: State) {
        self.state = Some(state);
    }

    /// Somebody waits for what is held.
    pub fn hurry(&mut self) {
        self.urgent = true;
    }

    /// Whether what is held is to go now.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.urgent || self.tasks.len() >= HELD_MAX || self.bytes >= HELD_BYTES_MAX
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.state.is_none()
    }

    /// Hands over everything; the index up to which shards now have all tasks, if that moved.
    pub fn flush(&mut self) -> Option<LogIndex> {
        for (shard, task) in self.tasks.drain(..) {
            self.senders.task(shard, task);
        }
        self.bytes = 0;
        self.urgent = false;
        let state = self.state.take()?;
        self.senders.state(state);
        Some(state.index)
    }

    /// Asks a shard for the next chunk of a snapshot.
    pub fn next_chunk(&self, shard: ShardId, id: SnapshotId) {
        self.senders.next_chunk(shard, id);
    }

    /// Tells every shard that no more of a snapshot is wanted.
    pub fn end_snapshot(&self, id: SnapshotId) {
        self.senders.end_snapshot(id);
    }

    /// Number of shards.
    pub fn shards(&self) -> u16 {
        self.senders.count()
    }

    /// Tells every shard that all streams have everything up to `index`.
    pub fn stable(&self, index: LogIndex) {
        self.senders.stable(index);
    }
}
