//! What the judge knows of one member: its log, what of it is durable, and what it promised to others.

use std::rc::Rc;

use windlass_io_log::op::Ticket;
use windlass_io_log::raft_log::Recovered;
use windlass_raft::{Body, Message};
use windlass_replica::oracle::Oracle;
use windlass_types::{LogIndex, MemberId, Revision, Term};

use super::log::{Log, Logged, Replaced};
use crate::check::{Check, Violation, ensure};

/// One member.
#[derive(Default)]
pub struct Site {
    /// Its log.
    pub log: Log,
    /// Number of its process's present life.
    pub life: u32,
    /// The store as its process has it.
    pub oracle: Rc<Oracle>,
    /// The newest entry that its process has applied,
    pub applied: LogIndex,
    /// and that any of its processes has.
    pub applied_ever: LogIndex,
    /// The newest entry whose effects a client of this life has seen.
    pub seen: LogIndex,
    /// Where all of its streams could be cut.
    pub stable: LogIndex,
    /// Where its log began when a start found it.
    pub found_start: LogIndex,
    /// The last entry that is on its disk for good.
    pub durable: LogIndex,
    /// Writes under way, and the last entry of each.
    writing: Vec<(Ticket, LogIndex)>,
    /// What those that are not known to be durable replace, in order.
    replaced: Vec<(Ticket, Replaced)>,
    /// The last entry that it told a leader it has.
    promised: LogIndex,
    /// The newest term in which it voted, and for whom.
    vote: (Term, MemberId),
}

impl Site {
    /// Its process died.
    pub fn died(&mut self) {
        self.life += 1;
        self.seen = LogIndex::ZERO;
        self.writing.clear();
    }

    /// The same member with empty disks.
    pub fn emptied(&self) -> Self {
        Self { life: self.life, ..Self::default() }
    }

    /// Its process writes to the log; index of the first entry, if there is one.
    pub fn submitted(
        &mut self,
        ticket: Ticket,
        bytes: &[u8],
        begins: bool,
    ) -> Result<Option<LogIndex>, Violation> {
        let written = self.log.submit(bytes, begins)?;
        let first = written.as_ref().map(|(first, _)| *first);
        self.replaced.extend(written.map(|(_, replaced)| (ticket, replaced)));
        if let Some(first) = first {
            let before = LogIndex(first.0 - 1);
            self.durable = self.durable.min(before);
            self.promised = self.promised.min(before);
            self.writing.iter_mut().for_each(|write| write.1 = write.1.min(before));
            ensure(first > self.applied_ever, Check::Missing, || {
                format!("entry {first} is replaced after it was applied")
            })?;
        }
        self.writing.push((ticket, self.log.last()));
        Ok(first)
    }

    /// A write to the log is durable.
    pub fn completed(&mut self, ticket: Ticket) {
        if let Some(at) = self.writing.iter().position(|write| write.0 == ticket) {
            let (_, last) = self.writing.swap_remove(at);
            self.durable = self.durable.max(last);
        }
        self.replaced.retain(|(of, _)| *of != ticket);
    }

    /// Its process sends a message.
    pub fn sends(&mut self, message: &Message) {
        match message.body {
            Body::AppendAccepted { index } => self.promised = self.promised.max(index),
            Body::Vote { .. } => self.votes(message.term, message.from),
            Body::VoteReply { granted: true, .. } => self.votes(message.term, message.to),
            _ => {}
        }
    }

    fn votes(&mut self, term: Term, whom: MemberId) {
        if term > self.vote.0 {
            self.vote = (term, whom);
        }
    }

    /// A start found this log; number of entries that are lost.
    pub fn recovered(&mut self, found: &Recovered) -> Result<u64, Violation> {
        let last = found.entries.last().map_or(found.start_index, |e| e.index);
        let known = self.applied_ever.max(self.promised);
        ensure(last >= known, Check::Missing, || {
            format!("the log ends at {last}, but entry {known} was acknowledged or applied")
        })?;
        let (term, vote) = self.vote;
        let kept =
            found.hard_state.term > term || (found.hard_state.term, found.hard_state.vote) == (term, vote);
        ensure(kept || term == Term::ZERO, Check::VoteForgotten, || {
            format!("voted for {vote} in term {term}, and knows only of {:?}", found.hard_state)
        })?;
        (self.durable, self.found_start) = (last, found.start_index);
        let replaced = self.replaced.drain(..).map(|(_, replaced)| replaced).collect();
        self.log.recover(found, replaced)
    }

    /// A start begins with this in place of what it found.
    pub fn begins_with(&mut self, content: &Recovered) -> Result<(), Violation> {
        let start = content.start_index;
        let goes_on = self.log.get(start).is_some_and(|entry| entry.term == content.start_term);
        ensure(!goes_on || self.promised <= start, Check::Missing, || {
            format!("the log begins anew at {start}, but entry {} was acknowledged", self.promised)
        })?;
        self.log = Log::begun(content);
        self.replaced.clear();
        self.durable = self.log.last();
        self.promised = self.promised.min(self.log.last());
        Ok(())
    }

    /// Whether it has this entry for good.
    pub fn keeps(&self, index: LogIndex, entry: &Logged) -> bool {
        index <= self.log.start() || (index <= self.durable && self.log.get(index) == Some(entry))
    }

    /// The highest revision that may be compacted by now: a shard hears of it before the entry is applied whole.
    pub fn newest_compaction(&self) -> Revision {
        let under_way = self.log.from(self.applied.next()).flat_map(Logged::compactions).max();
        self.oracle.compact_revision().max(under_way.unwrap_or_default())
    }
}
