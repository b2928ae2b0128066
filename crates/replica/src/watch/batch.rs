//! Events of all shards in one order.

use std::ops::Range;
use std::sync::Arc;

use windlass_types::Revision;

use super::events::{Event, Events};

/// Some of a shard's events.
pub type Part = (Arc<Events>, Range<usize>);

/// All events from one revision to another, of every key or of a range of keys, in order of revision, sub-revision and
/// key: whole revisions only.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    parts: Vec<Arc<Events>>,
    /// Part and position within it.
    order: Vec<(u32, u32)>,
    bytes: usize,
    through: Revision,
}

impl Batch {
    /// Merges parts, each of which is in order. There are no other events up to `through`, and none of these is after it.
    #[must_use]
    pub fn merge(parts: impl IntoIterator<Item = Part>, through: Revision) -> Self {
        let mut batch = Self { through, ..Self::default() };
        for (part, range) in parts {
            let number = batch.parts.len() as u32;
            batch.bytes += part.bytes() + range.len() * size_of::<(u32, u32)>();
            batch.order.extend(range.map(|at| (number, at as u32)));
            batch.parts.push(part);
        }
        if batch.parts.len() > 1 {
            batch.sort();
        }
        batch
    }

    /// The standard sort finds the parts, which are in order already, and merges them.
    fn sort(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        order.sort_by(|&a, &b| {
            let (a, b) = (self.at(a), self.at(b));
            (a.revision, a.sub).cmp(&(b.revision, b.sub)).then_with(|| a.key.cmp(b.key))
        });
        self.order = order;
    }

    /// Number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// What it occupies in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The revision up to which it is complete.
    #[must_use]
    pub fn through(&self) -> Revision {
        self.through
    }

    /// The event at a position below [`len`](Self::len).
    #[must_use]
    pub fn get(&self, at: usize) -> Event<'_> {
        self.at(self.order[at])
    }

    /// The events of `from` and later.
    pub fn iter_from(&self, from: Revision) -> impl Iterator<Item = Event<'_>> {
        let start = self.order.partition_point(|&place| self.at(place).revision < from);
        self.order[start..].iter().map(|&place| self.at(place))
    }

    fn at(&self, (part, at): (u32, u32)) -> Event<'_> {
        self.parts[part as usize].get(at as usize)
    }
}
