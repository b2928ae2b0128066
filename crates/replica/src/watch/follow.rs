//! Following: how a net arbiter gets all events of all shards as they happen, in one order.
//!
//! A follower begins with every shard at once. From its answer on, a shard sends all its changes, in order, each time with
//! the revision up to which it is complete; what all shards are complete up to is released. Nothing is missed where
//! following begins, because the shard says after which revision it sends, and what is at or below is read from history.
//!
//! A shard sends a follower no more than [`UNACKED_BYTES_MAX`] ahead, so a slow follower costs no memory: the shard's own
//! history holds the rest until it has caught up.

use std::collections::VecDeque;
use std::sync::Arc;

use windlass_types::{Revision, ShardId};

use super::batch::{Batch, Part};
use super::events::Events;

/// Bytes of events that a shard sends ahead of what the follower acknowledged. At the bound it waits; the follower falls
/// behind, and catches up through it.
pub const UNACKED_BYTES_MAX: usize = 8 << 20;

/// Bytes that a follower consumes before it acknowledges them: seldom enough that it costs no wakes, often enough that
/// the shard need not wait.
const ACK_BYTES: usize = 1 << 20;

/// What a follower tells a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Send what changes from now on. If the follower follows already, go on without a gap.
    Begin {
        /// Named in the answer.
        epoch: u32,
        /// Whether the replaced pairs are wanted.
        with_previous: bool,
    },
    /// This much of what was sent is consumed.
    Ack {
        /// In [`Events::bytes`].
        bytes: usize,
    },
    /// Send no more.
    End,
}

/// What a shard tells a follower, in order.
#[derive(Clone, Debug)]
pub enum FollowNews {
    /// Answer to [`Follow::Begin`]: all changes after this revision follow, in the form that it asked for.
    Begun {
        /// The question's.
        epoch: u32,
        /// The revision.
        after: Revision,
    },
    /// Changes.
    Changed {
        /// In order; maybe none.
        events: Arc<Events>,
        /// With them, every change up to this revision was sent.
        through: Revision,
    },
    /// The follower was so far behind when a compaction came that it is dropped.
    Lost,
}

/// What the follower keeps of one shard.
#[derive(Debug, Default)]
struct Lane {
    /// Sends since; `None` until it answered.
    after: Option<Revision>,
    /// Sends replaced pairs too since.
    previous_after: Option<Revision>,
    through: Revision,
    /// What is not released yet. Bounded by what the shard sends ahead.
    queue: VecDeque<Arc<Events>>,
    /// How much of the first is released.
    released: usize,
    consumed_bytes: usize,
}

/// The events of all shards, put in order.
#[derive(Debug)]
pub struct Follower {
    lanes: Box<[Lane]>,
    epoch: u32,
    previous_epoch: Option<u32>,
    /// Everything up to here was released, or is from before the beginning; `None` until that is known.
    through: Option<Revision>,
}

impl Follower {
    /// A follower of so many shards, which are to be asked to [`Follow::Begin`] like this.
    #[must_use]
    pub fn new(shards: u16, epoch: u32, with_previous: bool) -> Self {
        let lanes = (0..shards).map(|_| Lane::default()).collect();
        Self { lanes, epoch, previous_epoch: with_previous.then_some(epoch), through: None }
    }

    /// The shards are asked to begin anew with replaced pairs, under this epoch.
    pub fn want_previous(&mut self, epoch: u32) {
        self.previous_epoch = Some(epoch);
    }

    /// Whether replaced pairs were asked for.
    #[must_use]
    pub fn wants_previous(&self) -> bool {
        self.previous_epoch.is_some()
    }

    /// Everything after the beginning and up to here was released.
    #[must_use]
    pub fn through(&self) -> Option<Revision> {
        self.through
    }

    /// The revision after which events come with replaced pairs, if that is known.
    #[must_use]
    pub fn previous_after(&self) -> Option<Revision> {
        self.lanes.iter().map(|lane| lane.previous_after).try_fold(Revision::ZERO, |max, r| Some(max.max(r?)))
    }

    /// Takes what a shard says; false if the follower was dropped and must begin anew.
    pub fn take(&mut self, shard: ShardId, news: FollowNews) -> bool {
        let lane = &mut self.lanes[usize::from(shard.0)];
        match news {
            FollowNews::Begun { epoch, after } => {
                if epoch == self.epoch {
                    lane.after = Some(after);
                }
                if Some(epoch) == self.previous_epoch {
                    lane.previous_after = Some(after);
                }
            }
            FollowNews::Changed { events, through } if lane.after.is_some() => {
                lane.through = lane.through.max(through);
                if !events.is_empty() {
                    lane.queue.push_back(events);
                }
            }
            FollowNews::Lost if lane.after.is_some() => return false,
            // Meant for the follower that was here before.
            FollowNews::Changed { .. } | FollowNews::Lost => {}
        }
        true
    }

    /// What every shard is complete up to and was not released yet. The first batch is empty: it says where following
    /// begins.
    pub fn release(&mut self) -> Option<Batch> {
        let through = self.lanes.iter().map(|lane| lane.through).min()?;
        let Some(before) = self.through else {
            let after =
                self.lanes.iter().map(|l| l.after).try_fold(Revision::ZERO, |max, r| Some(max.max(r?)))?;
            if through < after {
                return None;
            }
            // Not all shards sent what is before that.
            self.drain(after).for_each(drop);
            self.through = Some(after);
            return Some(Batch::merge([], after));
        };
        if through <= before {
            return None;
        }
        self.through = Some(through);
        let parts: Vec<Part> = self.drain(through).collect();
        Some(Batch::merge(parts, through))
    }

    /// How much to acknowledge to which shards now.
    pub fn acks(&mut self) -> impl Iterator<Item = (ShardId, usize)> {
        (0..)
            .map(ShardId)
            .zip(&mut self.lanes)
            .filter(|(_, lane)| lane.consumed_bytes >= ACK_BYTES)
            .map(|(shard, lane)| (shard, std::mem::take(&mut lane.consumed_bytes)))
    }

    /// Number of events that wait for shards which are behind.
    #[must_use]
    pub fn held(&self) -> usize {
        self.lanes.iter().map(|l| l.queue.iter().map(|e| e.len()).sum::<usize>() - l.released).sum()
    }

    /// Takes out what is at or below `through`.
    fn drain(&mut self, through: Revision) -> impl Iterator<Item = Part> {
        self.lanes.iter_mut().flat_map(move |lane| std::iter::from_fn(move || lane.pop(through)))
    }
}

impl Lane {
    fn pop(&mut self, through: Revision) -> Option<Part> {
        let first = self.queue.front()?;
        let (start, end) = (self.released, first.position_after(through));
        if start == end {
            return None;
        }
        let events = Arc::clone(first);
        if end == events.len() {
            self.queue.pop_front();
            self.released = 0;
            self.consumed_bytes += events.bytes();
        } else {
            self.released = end;
        }
        Some((events, start..end))
    }
}
