//! The table of calls whose answer is still to come, one for each net arbiter.
//!
//! A request that goes through the log is known elsewhere only by its [`RequestId`]; here it is tied to the row of the
//! connection that waits. An id is never valid twice, so that an answer that comes too late finds nothing.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use slab::Slab;
use windlass_rpc::CallId;
use windlass_types::RequestId;

/// Most calls of one arbiter that wait for an answer. At the bound new ones get etcd's `too many requests`.
pub const CALLS_MAX: usize = 1 << 17;

/// A net arbiter of this process, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArbiterId(pub u8);

/// The arbiter that made an id.
#[must_use]
pub fn arbiter_of(id: RequestId) -> ArbiterId {
    ArbiterId((id.0 >> ARBITER_SHIFT) as u8)
}

const ARBITER_SHIFT: u32 = 56;
const GENERATION_SHIFT: u32 = 32;
const GENERATION_MASK: u32 = (1 << (ARBITER_SHIFT - GENERATION_SHIFT)) - 1;

/// What is to be done with the answer.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Who waits.
    pub call: CallId,
    /// What the request is called elsewhere.
    pub id: RequestId,
    begun: Instant,
    generation: u32,
}

/// The calls of one arbiter.
pub struct Calls {
    arbiter: ArbiterId,
    rows: Slab<Pending>,
    generation: u32,
}

impl Calls {
    /// An empty table.
    #[must_use]
    pub fn new(arbiter: ArbiterId) -> Self {
        Self { arbiter, rows: Slab::new(), generation: 0 }
    }

    /// Whose they are.
    #[must_use]
    pub fn arbiter(&self) -> ArbiterId {
        self.arbiter
    }

    /// Notes a call; `None` at [`CALLS_MAX`].
    pub fn insert(&mut self, call: CallId, begun: Instant) -> Option<RequestId> {
        if self.rows.len() >= CALLS_MAX {
            return None;
        }
        self.generation = (self.generation + 1) & GENERATION_MASK;
        let id = self.id(self.rows.vacant_key(), self.generation);
        self.rows.insert(Pending { call, id, begun, generation: self.generation });
        Some(id)
    }

    fn id(&self, slot: usize, generation: u32) -> RequestId {
        let arbiter = u64::from(self.arbiter.0) << ARBITER_SHIFT;
        RequestId(arbiter | u64::from(generation) << GENERATION_SHIFT | slot as u64)
    }

    /// Number of calls that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no call waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes the call out, if it still waits.
    pub fn take(&mut self, id: RequestId) -> Option<Pending> {
        let slot = (id.0 & u64::from(u32::MAX)) as usize;
        let generation = (id.0 >> GENERATION_SHIFT) as u32 & GENERATION_MASK;
        let waits = self.rows.get(slot).is_some_and(|row| row.generation == generation);
        (waits && arbiter_of(id) == self.arbiter).then(|| self.rows.remove(slot))
    }

    /// Takes out these calls, as far as they still wait. Returns what their requests were called.
    pub fn withdraw(&mut self, calls: &HashSet<CallId>) -> HashSet<RequestId> {
        let gone: Vec<usize> =
            self.rows.iter().filter(|(_, row)| calls.contains(&row.call)).map(|(slot, _)| slot).collect();
        let mut ids = HashSet::new();
        for slot in gone {
            ids.insert(self.rows.remove(slot).id);
        }
        ids
    }

    /// Takes out every call that has waited longer than `limit`.
    pub fn take_overdue(&mut self, now: Instant, limit: Duration) -> Vec<Pending> {
        let overdue: Vec<usize> = self
            .rows
            .iter()
            .filter(|(_, row)| now.saturating_duration_since(row.begun) > limit)
            .map(|(slot, _)| slot)
            .collect();
        overdue.into_iter().map(|slot| self.rows.remove(slot)).collect()
    }
}
