//! What waits for one thread: first in, first out for each sender, in any order between senders, as between real
//! threads.

use std::collections::{BTreeMap, VecDeque};

use crate::random::Random;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// The thread of connections.
    Net,
    /// The consensus thread.
    Consensus,
    /// A shard's thread.
    Shard(u16),
    /// The kernel: ends of disk operations.
    Disk,
    /// A timer.
    Clock,
    /// The connection from another member.
    Peer(usize),
    /// The stream of a client that watches.
    Viewer(u64),
}

/// The mailbox of one thread.
pub struct Mailbox<M> {
    queues: BTreeMap<Sender, VecDeque<M>>,
    /// Whether the thread is about to look.
    pub waking: bool,
}

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        Self { queues: BTreeMap::new(), waking: false }
    }
}

impl<M> Mailbox<M> {
    /// Puts a message in.
    pub fn push(&mut self, from: Sender, message: M) {
        self.queues.entry(from).or_default().push_back(message);
    }

    /// The newest message of a sender overtakes its others: what a mailbox must never allow, for a canary.
    pub fn last_becomes_first(&mut self, from: Sender) {
        if let Some(queue) = self.queues.get_mut(&from) {
            queue.rotate_right(1);
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Takes the first message of any sender.
    pub fn take(&mut self, random: &mut Random) -> Option<M> {
        if self.queues.is_empty() {
            return None;
        }
        let at = random.below(self.queues.len() as u64) as usize;
        let sender = *self.queues.keys().nth(at).expect("below the length");
        let queue = self.queues.get_mut(&sender).expect("its key was just seen");
        let message = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&sender);
        }
        message
    }
}
