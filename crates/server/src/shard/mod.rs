//! The storage plane: one thread with a glommio executor for each shard.
//!
//! A start goes through four steps, so that whoever needs something has it:
//!
//! 1. [`read`] reads the streams and finds the stable index, [`FoundShards::start`] loads every shard. Blocking, on plain
//!    threads.
//! 2. [`mailboxes`] makes the senders that consensus and net arbiters get.
//! 3. The caller makes one [`Sink`] for each shard: where its answers go.
//! 4. [`ShardThread::spawn`] runs each shard until [`Senders::stop`], then [`ShardThread::join`].
//!
//! Invariant: a shard's keys are changed by its thread alone; others look at them through a
//! [`View`](windlass_replica::shard::View). Nothing here decides what a task does; that is
//! `windlass_replica`'s. A shard waits for no other thread but for the length of one such look.

mod host;
mod layout;
mod placement;
mod senders;
mod thread;
mod turn;
mod watchdog;

pub use layout::{
    Error as OpenError, Found as FoundShards, Opened as OpenedShards, OpenedShard, Options as OpenOptions,
    read, replace,
};
pub use placement::place;
pub use senders::{Inbox, Senders, ToShard, mailboxes};
pub use thread::{Error, Options, ShardThread, Stopped};
pub use watchdog::{Pulse, Watched, watch};

use std::time::Duration;

use windlass_mvcc::Totals;
use windlass_replica::shard::{Chunk, FollowerId, ShardCore};
use windlass_replica::task::{ReadAnswer, ShardAnswer};
use windlass_replica::watch::FollowNews;
use windlass_types::{LogIndex, ShardId};

use crate::stages::Work;

/// What a shard holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Logical bytes of keys, values and system records.
    pub bytes: u64,
    /// Keys that live at the newest revision.
    pub live_keys: u64,
    /// What was done to it in this run.
    pub totals: Totals,
}

impl Holdings {
    fn of<R>(core: &ShardCore<R>) -> Self {
        let shard = core.shard();
        Self { bytes: core.bytes(), live_keys: shard.live_keys(), totals: shard.totals() }
    }
}

/// Where one shard's answers go. Called on the shard's thread; must not block.
pub trait Sink: Send + 'static {
    /// Names a read to whoever asked.
    type Ticket: Send + 'static;

    /// For the sequencer; in the order in which they must arrive.
    fn answer(&mut self, shard: ShardId, answer: ShardAnswer);

    /// For whoever asked.
    fn read(&mut self, shard: ShardId, ticket: Self::Ticket, answer: ReadAnswer);

    /// A piece of a snapshot, for whoever asked for it.
    fn chunk(&mut self, shard: ShardId, chunk: Chunk);

    /// For a follower.
    fn follow(&mut self, shard: ShardId, follower: FollowerId, news: FollowNews);

    /// A stream is durable up to here: the shards' are `0..shards`, the sequencer's is `shards`.
    fn durable(&mut self, stream: usize, index: LogIndex);

    /// Whether new writes should be refused, because the shard's disk has no room and its buffer is full.
    fn full(&mut self, shard: ShardId, full: bool);

    /// The shard holds every effect up to here.
    fn complete(&mut self, shard: ShardId, index: LogIndex);

    /// What the shard holds now.
    fn holds(&mut self, shard: ShardId, holdings: Holdings);

    /// Background work of the shard began, or ended.
    fn works(&mut self, shard: ShardId, work: Work, goes_on: bool);

    /// A flush of one of the shard's streams took this long.
    fn flushed(&mut self, took: Duration);

    /// The shard applied what it was handed at once.
    fn applied(&mut self, took: Duration);

    /// A slice of compaction took `pause`; if it was the last one, all of them `whole`.
    fn compacted(&mut self, pause: Duration, whole: Option<Duration>);

    /// The end of a turn: what was gathered is to be delivered.
    fn flush(&mut self);

    /// The shard cannot go on; the process must end. Its thread ends after this call.
    fn failed(&mut self, error: &Error);
}
