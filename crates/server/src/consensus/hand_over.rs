//! Tasks on their way to the shards, held back for company.
//!
//! An acknowledged put does not wait for a shard, so its task need not wake the shard's thread at once: a wake costs
//! more than the put itself. What nobody waits for is held until there is enough of it, until somebody waits, or for
//! [`HOLD_MAX`]. While anybody watches nothing is held: an event leaves as soon as its put is answered. The order of each
//! shard's tasks never changes.

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
    state: Option<State>,
    held: Held,
}

/// What is known of the tasks that are held. Pure.
#[derive(Debug, Default)]
struct Held {
    tasks: usize,
    bytes: usize,
    /// Whether some task has somebody waiting.
    urgent: bool,
}

impl Held {
    fn note(&mut self, task: &ShardTask) {
        self.tasks += 1;
        match task {
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
    }

    /// Whether it is to go now; `followed` says whether anybody watches.
    fn is_due(&self, followed: bool) -> bool {
        followed || self.urgent || self.tasks >= HELD_MAX || self.bytes >= HELD_BYTES_MAX
    }
}

impl HandOver {
    /// Hands over to `senders`.
    #[must_use]
    pub fn new(senders: Senders<Ticket>) -> Self {
        Self { senders, tasks: Vec::new(), state: None, held: Held::default() }
    }

    /// Takes a task.
    pub fn task(&mut self, shard: ShardId, task: ShardTask) {
        self.held.note(&task);
        self.tasks.push((shard, task));
    }

    /// Takes the sequencer's newest state; an older one that is still held is not needed any more.
    pub fn state(&mut self, state: State) {
        self.state = Some(state);
    }

    /// Somebody waits for what is held.
    pub fn hurry(&mut self) {
        self.held.urgent = true;
    }

    /// Whether what is held is to go now; `followed` says whether anybody watches.
    #[must_use]
    pub fn is_due(&self, followed: bool) -> bool {
        self.held.is_due(followed)
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
        self.held = Held::default();
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use windlass_replica::task::PutRun;
    use windlass_types::Revision;

    use super::*;

    fn puts(bytes: usize) -> ShardTask {
        let data = Bytes::from(vec![0; bytes]);
        ShardTask::Puts(PutRun { index: LogIndex(1), last: Some(Revision(2)), data, puts: Vec::new() })
    }

    fn held(tasks: &[ShardTask]) -> Held {
        let mut held = Held::default();
        tasks.iter().for_each(|task| held.note(task));
        held
    }

    #[test]
    fn a_put_that_nobody_watches_waits_for_company() {
        assert!(!held(&[puts(300)]).is_due(false));
        assert!(!held(&vec![puts(300); HELD_MAX - 1]).is_due(false));
        assert!(held(&vec![puts(300); HELD_MAX]).is_due(false));
        assert!(held(&[puts(HELD_BYTES_MAX)]).is_due(false));
    }

    #[test]
    fn a_watched_put_waits_for_nothing() {
        assert!(held(&[puts(300)]).is_due(true));
    }

    #[test]
    fn what_somebody_waits_for_takes_along_what_is_before_it() {
        assert!(held(&[puts(300), ShardTask::Mark(LogIndex(2))]).is_due(false));
    }
}
