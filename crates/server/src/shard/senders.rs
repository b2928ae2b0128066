//! The sending side of the shards' mailboxes.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use windlass_records::state::State;
use windlass_replica::shard::FollowerId;
use windlass_replica::task::{ReadTask, ShardTask, SnapshotId};
use windlass_replica::watch::Follow;
use windlass_types::{LogIndex, ShardId};

use crate::mailbox::{Receiver, Sender, TrySendError, channel};

/// Messages in one shard's mailbox: about a second of work at full load. When it is full, messages wait on the
/// sender's side, in order; how many that can be is bounded by the bytes that consensus hands out ahead of the slowest
/// shard, and by the reads that arbiters have in progress.
const MAILBOX_CAPACITY: usize = 1 << 16;

/// What a shard is told.
#[derive(Debug)]
pub enum ToShard<T> {
    /// Work from the sequencer, in order.
    Task(ShardTask),
    /// A question.
    Read(T, ReadTask),
    /// The next chunk of a snapshot is wanted.
    NextChunk(SnapshotId),
    /// No more of a snapshot is wanted.
    EndSnapshot(SnapshotId),
    /// Reclaim the stream's space soon rather than when it pays.
    Hasten,
    /// A follower says something.
    Follow(FollowerId, Follow),
    /// The sequencer's newest state; to shard 0, which keeps its stream.
    State(State),
    /// Every stream has everything up to here.
    Stable(LogIndex),
    /// No more will come: make durable what there is, and end.
    Stop,
}

/// A shard's mailbox, for its thread.
pub struct Inbox<T>(pub(super) Receiver<ToShard<T>>);

/// One thread's senders to all shards. A clone is for another thread: it has an overflow of its own.
pub struct Senders<T> {
    lanes: Box<[Lane<T>]>,
}

struct Lane<T> {
    sender: Sender<ToShard<T>>,
    overflow: Arc<Mutex<Overflow<T>>>,
}

/// What the mailbox had no room for.
struct Overflow<T> {
    /// In order. Bounded by what the sender has committed, which it stops adding to.
    queue: VecDeque<ToShard<T>>,
    /// Whether a task is moving it into the mailbox; until it is done nobody may overtake it.
    is_moving: bool,
}

impl<T> Default for Overflow<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), is_moving: false }
    }
}

/// The mailboxes of `shards` shards.
#[must_use]
pub fn mailboxes<T: Send>(shards: u16) -> (Senders<T>, Vec<Inbox<T>>) {
    let (lanes, inboxes) = (0..shards)
        .map(|_| {
            let (sender, receiver) = channel(MAILBOX_CAPACITY);
            (Lane { sender, overflow: Arc::default() }, Inbox(receiver))
        })
        .unzip::<_, _, Vec<_>, _>();
    (Senders { lanes: lanes.into() }, inboxes)
}

impl<T: Send + 'static> Senders<T> {
    /// Number of shards.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::try_from(self.lanes.len()).expect("made from a u16")
    }

    /// Hands a task to a shard.
    pub fn task(&self, shard: ShardId, task: ShardTask) {
        self.lanes[usize::from(shard.0)].send(ToShard::Task(task));
    }

    /// Asks a shard; it answers `ticket`.
    pub fn read(&self, shard: ShardId, ticket: T, task: ReadTask) {
        self.lanes[usize::from(shard.0)].send(ToShard::Read(ticket, task));
    }

    /// Asks a shard for the next chunk of a snapshot that a task began.
    pub fn next_chunk(&self, shard: ShardId, id: SnapshotId) {
        self.lanes[usize::from(shard.0)].send(ToShard::NextChunk(id));
    }

    /// Tells every shard that no more of a snapshot is wanted.
    pub fn end_snapshot(&self, id: SnapshotId) {
        self.lanes.iter().for_each(|lane| lane.send(ToShard::EndSnapshot(id)));
    }

    /// Tells a shard something as a follower of it.
    pub fn follow(&self, shard: ShardId, id: FollowerId, follow: Follow) {
        self.lanes[usize::from(shard.0)].send(ToShard::Follow(id, follow));
    }

    /// Asks every shard to reclaim the space of its stream soon.
    pub fn hasten(&self) {
        self.lanes.iter().for_each(|lane| lane.send(ToShard::Hasten));
    }

    /// Hands over the sequencer's newest state.
    pub fn state(&self, state: State) {
        self.lanes[0].send(ToShard::State(state));
    }

    /// Tells every shard that all streams have everything up to `index`.
    pub fn stable(&self, index: LogIndex) {
        self.lanes.iter().for_each(|lane| lane.send(ToShard::Stable(index)));
    }

    /// Asks every shard to make durable what it was told so far, and to end.
    pub fn stop(&self) {
        self.lanes.iter().for_each(|lane| lane.send(ToShard::Stop));
    }
}

impl<T> Clone for Senders<T> {
    fn clone(&self) -> Self {
        let lane = |lane: &Lane<T>| Lane { sender: lane.sender.clone(), overflow: Arc::default() };
        Self { lanes: self.lanes.iter().map(lane).collect() }
    }
}

impl<T: Send + 'static> Lane<T> {
    fn send(&self, message: ToShard<T>) {
        let mut overflow = self.overflow.lock();
        if overflow.is_moving {
            return overflow.queue.push_back(message);
        }
        match self.sender.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => {
                overflow.queue.push_back(message);
                overflow.is_moving = true;
                actix_rt::spawn(move_overflow(self.sender.clone(), Arc::clone(&self.overflow)));
            }
            // The shard has ended, and with it, very soon, the process.
            Err(TrySendError::Closed(_)) => {}
        }
    }
}

/// Moves what waits into the mailbox, in order, as it gets room.
async fn move_overflow<T: Send>(sender: Sender<ToShard<T>>, overflow: Arc<Mutex<Overflow<T>>>) {
    while let Some(message) = next(&overflow) {
        // A closed mailbox takes and drops everything.
        let _ = sender.send(message).await;
    }
}

fn next<T>(overflow: &Mutex<Overflow<T>>) -> Option<ToShard<T>> {
    let mut overflow = overflow.lock();
    let message = overflow.queue.pop_front();
    overflow.is_moving = message.is_some();
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether some mailbox is full, so that messages wait on the sender's side.
    fn is_backed_up<T>(senders: &Senders<T>) -> bool {
        senders.lanes.iter().any(|lane| lane.overflow.lock().is_moving)
    }

    #[test]
    fn a_full_mailbox_loses_and_reorders_nothing() {
        let (sender, mut receiver) = channel(2);
        let senders = Senders::<u32> { lanes: [Lane { sender, overflow: Arc::default() }].into() };
        let told = 20;
        actix_rt::System::new().block_on(async {
            (0..told).for_each(|i| senders.stable(LogIndex(i)));
            assert!(is_backed_up(&senders));
            let mut got = Vec::new();
            while got.len() < told as usize {
                receiver.recv_all(&mut got).await.unwrap();
                actix_rt::task::yield_now().await;
            }
            let indexes = got.iter().map(|m| match m {
                ToShard::Stable(index) => index.0,
                other => panic!("{other:?}"),
            });
            assert!(indexes.eq(0..told));
            assert!(!is_backed_up(&senders));
        });
    }
}
