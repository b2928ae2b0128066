//! The newest batches, so that whoever is only a little behind need not ask the shards.

use std::collections::VecDeque;
use std::sync::Arc;

use windlass_types::Revision;

use super::batch::Batch;

/// Bytes of events that are kept. What is older is read from the shards.
const BYTES_MAX: usize = if cfg!(test) { 1 << 10 } else { 16 << 20 };

/// Batches that are kept, however small.
const BATCHES_MAX: usize = 16 << 10;

/// Batches without a gap between them.
#[derive(Debug, Default)]
pub(super) struct Ring {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// It holds every event after this.
    after: Revision,
}

impl Ring {
    /// Forgets everything: what follows is after `after`.
    pub fn reset(&mut self, after: Revision) {
        *self = Self { after, ..Self::default() };
    }

    /// Adds what follows.
    pub fn push(&mut self, batch: Arc<Batch>) {
        if batch.is_empty() {
            return;
        }
        self.bytes += batch.bytes();
        self.batches.push_back(batch);
        while self.bytes > BYTES_MAX || self.batches.len() > BATCHES_MAX {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.after = oldest.through();
        }
    }

    /// It holds every event after this.
    pub fn after(&self) -> Revision {
        self.after
    }

    /// The first batch that may have events of `from` or later.
    pub fn find(&self, from: Revision) -> Option<Arc<Batch>> {
        let at = self.batches.partition_point(|batch| batch.through() < from);
        self.batches.get(at).cloned()
    }
}
