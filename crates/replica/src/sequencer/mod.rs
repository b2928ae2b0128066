//! The sequencer: gives committed commands their revisions and tells the shards what to do.
//!
//! Pure. Entries take effect strictly in log order, one at a time:
//!
//! 1. A run of unconditional puts at the front is numbered at once and goes to the shards as [`ShardTask::Puts`].
//! 2. What follows, up to a compaction, a command about leases, alarms or users, or a barrier, is a wave: the shards evaluate it, each its part.
//! 3. Their verdicts say which commands write; revisions are the prefix sum of that.
//! 4. The shards install the wave. The sequencer does not wait for that, only their results are collected for replies.
//! 5. When the entry has no commands left, every shard learns that it is complete, and the next one begins.
//!
//! What an entry does must depend on nothing but the log: not on the number of shards, nor on when they answer.

mod alarm;
mod auth;
mod entry;
mod lease;
mod mark;
mod member;
mod news;
#[cfg(test)]
mod tests;
mod wave;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use windlass_records::batch::{Batch, Origin};
use windlass_records::state::State;
use windlass_types::key::SHARDS_MAX;
use windlass_types::{LogIndex, RequestError, RequestId, Revision, ShardId, Term};

pub use crate::txn::Response;
pub use news::News;

use crate::alarm::Alarms;
use crate::auth::Auth;
use crate::lease::{LeaseEvent, Leases};
use crate::membership::Members;
use crate::shard_set::ShardSet;
use crate::system::System;
use crate::task::{ShardAnswer, ShardTask};
use entry::{Entry, PendingCompaction};
use mark::PendingMark;
use wave::PendingWave;

/// Everything that can move the sequencer.
#[derive(Clone, Debug)]
pub enum Input {
    /// The next committed entry of the log. Entries that are not normal ones come without data.
    Committed {
        /// Its index, above that of the previous one.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// A [`Batch`], or nothing.
        data: Bytes,
    },
    /// A shard answered.
    FromShard {
        /// Which.
        shard: ShardId,
        /// Its answer.
        answer: ShardAnswer,
    },
}

/// What the sequencer wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Hand this task to the shard.
    ToShard {
        /// Which.
        shard: ShardId,
        /// The task.
        task: ShardTask,
    },
    /// Answer one of this member's clients.
    Reply {
        /// The request.
        id: RequestId,
        /// Its answer; boxed because outputs travel in vectors and most are small.
        result: Result<Box<Response>, RequestError>,
    },
    /// Answer a run of this member's clients, all of whom put a key without asking for the old one: the i-th command
    /// of `commands` made revision `first_revision + i`, and that is all its response holds.
    PutReplies {
        /// The entry.
        batch: Batch,
        /// Which of its commands.
        commands: Range<usize>,
        /// The revision of the first of them.
        first_revision: Revision,
    },
    /// Something happened to a lease.
    Lease(LeaseEvent),
    /// Make this known on this member.
    News(News),
    /// The entry is numbered and all its tasks are handed out; this is the state after it. It precedes every reply to
    /// a command of the entry, so that a client reads what was acknowledged to it.
    Applied(State),
}

/// The sequencer of one member.
pub struct Sequencer {
    /// Only for what this run of this member proposed does a client wait here.
    us: Origin,
    shards: u16,
    /// After the last entry that is numbered whole.
    applied: State,
    /// Revisions after the last command that is numbered, within the entry under way.
    revision: Revision,
    compact_revision: Revision,
    /// The replicated state that is not keys.
    system: System,
    leases: Leases,
    /// The alarms, as the system records have them.
    alarms: Arc<Alarms>,
    /// Who may do what, as the system records have it.
    auth: Arc<Auth>,
    /// The members, as the system records have them.
    members: Arc<Members>,
    /// The entry under way, which waits for shards to evaluate.
    current: Option<Entry>,
    /// Entries behind it. Bounded by how far Raft lets applying fall behind.
    queue: VecDeque<(LogIndex, Term, Bytes)>,
    /// Waves that are installed and for whose results clients wait, by id. A shard answers an install before it
    /// evaluates anything later, so this is bounded by the shards' mailboxes.
    pending_waves: VecDeque<PendingWave>,
    /// Compactions for whose end a client waits: at most one for each such client.
    pending_compactions: Vec<PendingCompaction>,
    /// Marks for whose sums shards were asked; bounded by the shards' mailboxes.
    pending_marks: VecDeque<PendingMark>,
    /// Whether this run has gone through a mark, so that the next stretch is whole.
    has_marked: bool,
    next_wave: u64,
}

impl Sequencer {
    /// The sequencer of the run `us`, which goes on from `state` and the system records of that index, with `shards`
    /// shards (1..=[`SHARDS_MAX`]) that stand at the same index.
    #[must_use]
    pub fn new(us: Origin, shards: u16, state: State, system: System) -> Self {
        assert!((1..=SHARDS_MAX).contains(&shards), "number of shards out of range: {shards}");
        Self {
            us,
            shards,
            applied: state,
            revision: state.revision,
            compact_revision: state.compact_revision,
            leases: Leases::load(&system),
            alarms: Arc::new(Alarms::load(&system)),
            auth: Arc::new(Auth::load(&system)),
            members: Arc::new(Members::of(&system)),
            system,
            current: None,
            queue: VecDeque::new(),
            pending_waves: VecDeque::new(),
            pending_compactions: Vec::new(),
            pending_marks: VecDeque::new(),
            has_marked: false,
            next_wave: 0,
        }
    }

    /// The state after the last entry that is numbered whole.
    #[must_use]
    pub fn state(&self) -> State {
        self.applied
    }

    /// The system records after the last command that is decided.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.system
    }

    /// The leases after the last command that is decided.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The alarms after the last command that is decided.
    #[must_use]
    pub fn alarms(&self) -> &Arc<Alarms> {
        &self.alarms
    }

    /// Who may do what after the last command that is decided.
    #[must_use]
    pub fn auth(&self) -> &Arc<Auth> {
        &self.auth
    }

    /// As [`system`](Self::system), for whoever decides them in log order: what is written becomes durable with the
    /// entry under way, or with the next one.
    pub fn system_mut(&mut self) -> &mut System {
        &mut self.system
    }

    /// The members after the last command that is decided.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// Number of entries that wait for shards.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.current.is_some())
    }

    /// Takes one input and appends what follows from it to `out`. An error means that a committed entry is not what
    /// it should be: the member must stop.
    pub fn step(&mut self, input: Input, out: &mut Vec<Output>) -> Result<(), windlass_records::Error> {
        match input {
            Input::Committed { index, term, data } => {
                let newest = self.queue.back().map(|e| e.0).or(self.current.as_ref().map(Entry::index));
                assert!(index > newest.unwrap_or(self.applied.index), "entries come in order");
                self.queue.push_back((index, term, data));
            }
            Input::FromShard { shard, answer } => self.take_answer(shard, answer, out),
        }
        self.advance(out)
    }

    fn take_answer(&mut self, shard: ShardId, answer: ShardAnswer, out: &mut Vec<Output>) {
        match answer {
            ShardAnswer::Evaluated { wave, verdicts } => self.evaluated(shard, wave, verdicts, out),
            ShardAnswer::Installed { wave, results } => self.installed(shard, wave, results, out),
            ShardAnswer::Marked { index, sums } => self.marked(shard, index, sums, out),
            ShardAnswer::Compacted { index } => self.compacted(shard, index, out),
        }
    }

    fn advance(&mut self, out: &mut Vec<Output>) -> Result<(), windlass_records::Error> {
        loop {
            if self.current.is_none() {
                let Some((index, term, data)) = self.queue.pop_front() else { return Ok(()) };
                if data.is_empty() {
                    self.finish(index, term, ShardSet::default(), out);
                    continue;
                }
                self.begin(index, term, Batch::parse(data)?, out);
            }
            if self.current.is_some() && !self.run_entry(out) {
                return Ok(());
            }
        }
    }

    /// The entry is numbered: tells the shards that do not know it yet that it is complete, and what system records
    /// it writes there.
    fn finish(&mut self, index: LogIndex, term: Term, told: ShardSet, out: &mut Vec<Output>) {
        let mut records = self.system.take_unsent(index, self.revision, self.shards);
        for shard in ShardSet::all(self.shards).iter().filter(|&shard| !told.contains(shard)) {
            let advance = ShardTask::Advance { index, revision: self.revision };
            let task = records.remove(&shard).map_or(advance, ShardTask::System);
            out.push(Output::ToShard { shard, task });
        }
        assert!(records.is_empty(), "a shard was told that an entry is complete before it had its records");
        self.applied =
            State { index, term, revision: self.revision, compact_revision: self.compact_revision };
        out.push(Output::Applied(self.applied));
    }
}
