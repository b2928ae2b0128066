//! The reads of one net arbiter: those that wait for their place in history, and those that shards work on.
//!
//! All linearizable reads of one loop turn share one question to the consensus actor. Nothing here sends or answers;
//! the arbiter does.

use std::collections::VecDeque;
use std::time::Instant;

use slab::Slab;
use tokio::sync::oneshot;
use windlass_api::etcdserverpb::LeaseTimeToLiveResponse;
use windlass_raft::ReadId;
use windlass_replica::reading::{ReadRequest, Reading, Snapshot};
use windlass_replica::watch::ReadId as HistoryId;
use windlass_rpc::CallId;
use windlass_types::{LeaseId, RequestError, RequestId};

use super::auth::Ask;
use super::calls::ArbiterId;
use super::get::{Get, Gets};
use super::lease::LeaseList;
use super::permit::Again;
use super::range_stream::RangeStream;
use crate::auth::Caller;

/// Most reads of one arbiter in progress. At the bound new ones get etcd's `too many requests`.
pub const READS_MAX: usize = 1 << 16;

/// Lists of one arbiter that shards work on at once; further ones wait. A shard does one after the other, so that with more
/// only more answers would lie about.
const LISTS_MAX: usize = 8;

/// Turns whose memory is kept: as many questions are mostly under way at once.
const SPARE_TURNS_MAX: usize = 4;

/// Memory for so many reads of a kind is kept in each of them, and what is beyond given back.
pub const KEPT_READS: usize = 1024;

/// How often a read that a compaction overtook is begun anew before the client hears of it. A snapshot is only
/// overtaken if a compaction runs between the question and the shard, so twice in a row is already unlikely.
pub const ATTEMPTS_MAX: u8 = 4;

/// Who wants the result of a read.
#[derive(Debug)]
pub enum Reader {
    /// A unary call.
    Call(CallId),
    /// A stream; the read is its next chunk.
    Stream(Box<RangeStream>),
    /// A call that wants to know the members as of the read's place in the log.
    Members(CallId),
    /// A call that wants to know the alarms of a kind as of the read's place in the log.
    Alarms(CallId, i32),
    /// A call that wants to know of users and roles as of the read's place in the log.
    Auth(CallId, Box<Ask>),
    /// A call that waits for the read's place in the log, to be carried out then.
    Again(Box<Again>),
    /// A renewal of a lease; the read finds its keys.
    Renewal(CallId, RequestId, LeaseId),
    /// The list of leases; the read finds the keys of the next one.
    Leases(CallId, Box<LeaseList>),
    /// A call that wants a hash of the store.
    Hash(CallId),
    /// The time to live of a lease; the read finds its keys.
    Lease(CallId, Box<LeaseTimeToLiveResponse>),
    /// A health check.
    Check(oneshot::Sender<Result<(), RequestError>>),
}

/// A read that is not answered yet.
#[derive(Debug)]
pub struct Read {
    /// Who wants it.
    pub reader: Reader,
    /// What is read.
    pub request: ReadRequest,
    /// Who makes the call.
    pub caller: Caller,
    /// The revision of users and roles as of which it was permitted; 0 if nobody had to say who they are.
    pub permitted_at: u64,
    /// How often it was begun.
    pub attempts: u8,
    /// Since when somebody waits for it.
    pub since: Instant,
}

impl Read {
    /// Whether the request itself names the revision that it wants.
    #[must_use]
    pub fn names_revision(&self) -> bool {
        matches!(&self.request, ReadRequest::Range(range) if range.revision > 0)
    }

    /// Whether its answer may be of any size. A stream bounds its own chunks.
    fn is_list(&self) -> bool {
        !matches!(self.reader, Reader::Stream(_)) && self.request.is_list()
    }
}

/// A read that shards work on.
#[derive(Debug)]
pub struct Active {
    /// The read itself.
    pub read: Read,
    /// How far it is.
    pub reading: Reading,
}

/// Names a read in a shard's answer. Never valid twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The arbiter that asked.
    pub arbiter: ArbiterId,
    of: TicketOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TicketOf {
    /// An `Active` read.
    Read { slot: u32, generation: u32 },
    /// A read of history for a watcher.
    Watch(HistoryId),
}

impl Ticket {
    /// Names a watcher's read of history.
    #[must_use]
    pub fn of_watch(arbiter: ArbiterId, id: HistoryId) -> Self {
        Self { arbiter, of: TicketOf::Watch(id) }
    }

    /// The watcher's read, if it is one.
    #[must_use]
    pub fn watch(self) -> Option<HistoryId> {
        match self.of {
            TicketOf::Watch(id) => Some(id),
            TicketOf::Read { .. } => None,
        }
    }

    fn read(self) -> (u32, u32) {
        match self.of {
            TicketOf::Read { slot, generation } => (slot, generation),
            TicketOf::Watch(id) => unreachable!("{id:?} is a watcher's"),
        }
    }
}

/// Linearizable reads of one turn: they share a question.
#[derive(Debug, Default)]
pub struct Turn {
    /// Gets.
    pub gets: Gets,
    /// All others, and gets that a compaction overtook.
    pub reads: Vec<Read>,
}

impl Turn {
    fn len(&self) -> usize {
        self.gets.len() + self.reads.len()
    }

    fn is_empty(&self) -> bool {
        self.gets.is_empty() && self.reads.is_empty()
    }

    /// Since when somebody waits for its first read.
    pub fn since(&self) -> Option<Instant> {
        let read = self.reads.first().map(|read| read.since);
        let get = self.gets.iter().next().map(|get| get.since);
        read.into_iter().chain(get).min()
    }
}

/// The reads of one arbiter.
pub struct Reads {
    arbiter: ArbiterId,
    /// Those of this turn that want an index.
    turn: Turn,
    /// Those whose question is with the consensus actor, by question.
    asked: VecDeque<(ReadId, Turn)>,
    /// Memory for the reads of a later turn.
    spare: Vec<Turn>,
    active: Slab<(u32, Active)>,
    /// Active reads that are lists; at most [`LISTS_MAX`].
    lists: usize,
    /// Lists that wait for others to be done.
    waiting: VecDeque<(Read, Snapshot)>,
    next_question: u64,
    generation: u32,
}

impl Reads {
    /// No reads.
    #[must_use]
    pub fn new(arbiter: ArbiterId) -> Self {
        Self {
            arbiter,
            turn: Turn::default(),
            asked: VecDeque::new(),
            spare: Vec::new(),
            active: Slab::new(),
            lists: 0,
            waiting: VecDeque::new(),
            next_question: 0,
            generation: 0,
        }
    }

    /// Whether a further read would pass [`READS_MAX`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        let asked: usize = self.asked.iter().map(|(_, turn)| turn.len()).sum();
        self.turn.len() + asked + self.waiting.len() + self.active.len() >= READS_MAX
    }

    /// Reads whose place in history is known: the shards work on them, or will.
    #[must_use]
    pub fn active(&self) -> usize {
        self.waiting.len() + self.active.len()
    }

    /// Whether there is no read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turn.is_empty() && self.asked.is_empty() && self.active() == 0
    }

    /// Lets a linearizable read wait for the end of the turn.
    pub fn push(&mut self, read: Read) {
        self.turn.reads.push(read);
    }

    /// As [`push`](Self::push), of a get.
    pub fn push_get(&mut self, get: Get<'_>) {
        self.turn.gets.push(get);
    }

    /// The question that this turn's reads share, if there are any.
    pub fn ask(&mut self) -> Option<ReadId> {
        if self.turn.is_empty() {
            return None;
        }
        self.next_question += 1;
        let id = ReadId(u64::from(self.arbiter.0) << QUESTION_BITS | self.next_question);
        let next = self.spare.pop().unwrap_or_default();
        self.asked.push_back((id, std::mem::replace(&mut self.turn, next)));
        Some(id)
    }

    /// The reads that share a question, when it is answered; to be [given back](Self::done) when they are begun.
    pub fn answered(&mut self, id: ReadId) -> Turn {
        let at = self.asked.iter().position(|(asked, _)| *asked == id);
        at.and_then(|at| self.asked.remove(at)).map_or_else(Turn::default, |(_, turn)| turn)
    }

    /// Keeps the memory of a turn whose reads are begun.
    pub fn done(&mut self, mut turn: Turn) {
        if self.spare.len() < SPARE_TURNS_MAX {
            turn.gets.clear();
            turn.reads.clear();
            turn.reads.shrink_to(KEPT_READS);
            self.spare.push(turn);
        }
    }

    /// Takes out every get that `is_over`, by its call and since when it waits.
    pub fn take_over_gets(&mut self, is_over: impl Fn(CallId, Instant) -> bool) -> Vec<CallId> {
        let turns = self.asked.iter_mut().map(|(_, turn)| turn).chain([&mut self.turn]);
        turns.flat_map(|turn| turn.gets.take_over(&is_over)).collect()
    }

    /// Takes out every read that `is_over`: shards that still work on it find that nobody waits.
    pub fn take_over(&mut self, is_over: impl Fn(&Read) -> bool) -> Vec<Read> {
        let mut over: Vec<Read> = self.turn.reads.extract_if(.., |read| is_over(read)).collect();
        for (_, turn) in &mut self.asked {
            over.extend(turn.reads.extract_if(.., |read| is_over(read)));
        }
        self.asked.retain(|(_, turn)| !turn.is_empty());
        let slots: Vec<usize> = self
            .active
            .iter()
            .filter(|(_, (_, active))| is_over(&active.read))
            .map(|(slot, _)| slot)
            .collect();
        over.extend(slots.into_iter().map(|slot| self.remove(slot)));
        let mut kept = VecDeque::with_capacity(self.waiting.len());
        for (read, snapshot) in self.waiting.drain(..) {
            if is_over(&read) {
                over.push(read);
            } else {
                kept.push_back((read, snapshot));
            }
        }
        self.waiting = kept;
        over
    }

    /// The read, if it may begin; a list for which there is no room waits.
    pub fn admit(&mut self, read: Read, snapshot: Snapshot) -> Option<Read> {
        if self.lists < LISTS_MAX || !read.is_list() {
            return Some(read);
        }
        self.waiting.push_back((read, snapshot));
        None
    }

    /// The list that waits longest, if there is room for it.
    pub fn next_list(&mut self) -> Option<(Read, Snapshot)> {
        if self.lists < LISTS_MAX { self.waiting.pop_front() } else { None }
    }

    /// Keeps a read that shards work on.
    pub fn activate(&mut self, active: Active) -> Ticket {
        self.generation = self.generation.wrapping_add(1);
        self.lists += usize::from(active.read.is_list());
        let slot = self.active.insert((self.generation, active));
        let slot = u32::try_from(slot).expect("bounded by READS_MAX");
        Ticket { arbiter: self.arbiter, of: TicketOf::Read { slot, generation: self.generation } }
    }

    /// The read of a ticket, if it is still in progress.
    pub fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Active> {
        let (slot, wanted) = ticket.read();
        let (generation, active) = self.active.get_mut(slot as usize)?;
        (*generation == wanted).then_some(active)
    }

    /// Takes a read out that is done.
    pub fn finish(&mut self, ticket: Ticket) -> Read {
        self.remove(ticket.read().0 as usize)
    }

    fn remove(&mut self, slot: usize) -> Read {
        let read = self.active.remove(slot).1.read;
        self.lists -= usize::from(read.is_list());
        read
    }
}

const QUESTION_BITS: u32 = 56;

/// The arbiter that asked a question.
#[must_use]
pub fn asker(id: ReadId) -> ArbiterId {
    ArbiterId((id.0 >> QUESTION_BITS) as u8)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windlass_api::etcdserverpb::RangeRequest;
    use windlass_types::{LogIndex, Revision};

    use super::*;

    const SNAPSHOT: Snapshot =
        Snapshot { index: LogIndex::ZERO, revision: Revision(1), compact_revision: Revision(-1) };

    fn read(range_end: &str, limit: i64) -> Read {
        let range = RangeRequest {
            key: "a".into(),
            range_end: range_end.to_owned().into(),
            limit,
            ..RangeRequest::default()
        };
        let (done, _) = oneshot::channel();
        Read {
            reader: Reader::Check(done),
            request: ReadRequest::Range(Arc::new(range)),
            caller: Caller::Member,
            permitted_at: 0,
            attempts: 0,
            since: Instant::now(),
        }
    }

    fn begin(reads: &mut Reads, read: Read) -> Option<Ticket> {
        let read = reads.admit(read, SNAPSHOT)?;
        let (reading, _) = Reading::begin(&read.request, 2, SNAPSHOT, &mut Vec::new());
        Some(reads.activate(Active { read, reading }))
    }

    #[test]
    fn lists_wait_for_one_another_and_other_reads_do_not() {
        let mut reads = Reads::new(ArbiterId(0));
        let begun: Vec<_> = (0..LISTS_MAX).map(|_| begin(&mut reads, read("b", 0)).expect("room")).collect();
        assert!(begin(&mut reads, read("b", 0)).is_none());
        assert!(begin(&mut reads, read("b", 1 << 20)).is_none());
        assert!(begin(&mut reads, read("", 0)).is_some() && begin(&mut reads, read("b", 10)).is_some());
        assert_eq!((reads.active(), reads.next_list().is_none()), (LISTS_MAX + 4, true));
        reads.finish(begun[0]);
        let (next, snapshot) = reads.next_list().expect("one is done");
        assert!(begin(&mut reads, next).is_some() && snapshot == SNAPSHOT);
        assert!(reads.next_list().is_none());
        // Whoever waits can be given up, and makes room for nobody; who works does.
        assert_eq!(reads.take_over(|read| read.is_list()).len(), LISTS_MAX + 1);
        assert!(begin(&mut reads, read("b", 0)).is_some() && reads.next_list().is_none());
    }
}
