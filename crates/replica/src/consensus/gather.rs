//! From clients' commands to proposals: gathered while a flush is under way, proposed by a leader, sent to it by others.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use windlass_raft::{DropReason, Role};
use windlass_records::batch::{Batch, BatchBuilder, Origin, Pool};
use windlass_records::log::EntryKind;
use windlass_types::{MemberId, RequestError, RequestId, Term};

use super::api::{
    BATCH_COMMANDS_MAX, CATCH_UP_RETRY_NS, Error, FORWARDED_BYTES_MAX, GATHERED_BYTES_MAX, HANDED_BYTES_MAX,
    Linger, Output,
};
use super::{Consensus, refuse};
use crate::membership::is_member_change;

/// Commands that wait to be proposed.
#[derive(Default)]
pub(super) struct Gathered {
    /// Those of this member's clients.
    pub commands: BatchBuilder,
    /// Since when the first of them waits.
    since_ns: Option<u64>,
    /// When the last flush of commands began.
    flushed_ns: Option<u64>,
    /// How many of them there were when the last flush began.
    pub offered: usize,
    /// The last builder that was taken in, without its commands.
    pub emptied: Option<BatchBuilder>,
    /// As leader: batches of other members, in order of arrival, and their bytes.
    forwarded: VecDeque<Batch>,
    forwarded_bytes: usize,
    /// Memory of entries.
    pool: Pool,
}

impl Gathered {
    /// How many commands the next batch holds.
    fn count(&self, bytes_max: usize) -> usize {
        self.commands.fitting(bytes_max).min(BATCH_COMMANDS_MAX)
    }

    /// Bytes of the next batch that is proposed, at most.
    fn next_bytes_max(&self, bytes_max: usize) -> usize {
        match self.forwarded.front() {
            Some(batch) => batch.data().len(),
            None => self.own_bytes_max(bytes_max),
        }
    }

    /// Bytes of the next batch of this member's commands, at most.
    fn own_bytes_max(&self, bytes_max: usize) -> usize {
        self.commands.front_bytes_max(self.count(bytes_max))
    }

    /// The next batch of this member's commands.
    fn next(&mut self, origin: Origin, bytes_max: usize) -> Bytes {
        let count = self.count(bytes_max);
        self.commands.finish_front(origin, count, &self.pool)
    }

    /// Refuses everything that waits.
    pub fn refuse_all(&mut self, error: RequestError, out: &mut Vec<Output>) {
        if !self.commands.is_empty() {
            refuse(self.commands.request_ids(), error, out);
            self.commands = BatchBuilder::default();
        }
        self.since_ns = None;
        for batch in self.forwarded.drain(..) {
            out.push(refuse_batch(&batch, error));
        }
        self.forwarded_bytes = 0;
    }

    /// Drops commands that nobody waits for.
    pub fn withdraw(&mut self, ids: &HashSet<RequestId>) {
        self.commands.withdraw(ids);
        if self.is_empty() {
            self.since_ns = None;
        }
    }

    /// Commands of all members.
    pub fn waiting(&self) -> usize {
        self.commands.len() + self.forwarded.iter().map(Batch::len).sum::<usize>()
    }

    fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.forwarded.is_empty()
    }
}

impl Consensus {
    /// Takes in this member's commands.
    pub(super) fn gather(&mut self, mut commands: BatchBuilder, out: &mut Vec<Output>) {
        let is_full = self.is_full();
        let gathered = &mut self.gathered;
        let refusal = if is_full {
            Some(RequestError::NoSpace)
        } else if gathered.commands.payload_bytes() + commands.payload_bytes() > GATHERED_BYTES_MAX {
            Some(RequestError::TooManyRequests)
        } else {
            None
        };
        match refusal {
            Some(error) => refuse(commands.request_ids(), error, out),
            None => gathered.commands.append(&mut commands),
        }
        gathered.emptied = Some(commands);
    }

    /// Takes in a batch that another member gathered for the leader of a term. It keeps its origin, which answers its clients
    /// itself when it numbers the entry.
    pub(super) fn take_forwarded(
        &mut self,
        (from, term): (MemberId, Term),
        data: Bytes,
        out: &mut Vec<Output>,
    ) {
        let bytes = data.len();
        // What its origin encoded parses; a peer that sends something else learns nothing.
        let Ok(batch) = Batch::parse(data) else { return };
        let changes = batch.commands().filter(|command| is_member_change(command.kind)).count();
        if batch.origin().member != from || batch.is_empty() || !(changes == 0 || changes == batch.len()) {
            return;
        }
        let refusal = if self.raft.role() != Role::Leader || self.raft.term() != term {
            Some(RequestError::LeaderChanged)
        } else if self.is_full() {
            Some(RequestError::NoSpace)
        } else if self.gathered.forwarded_bytes + bytes > FORWARDED_BYTES_MAX {
            Some(RequestError::TooManyRequests)
        } else {
            None
        };
        if let Some(error) = refusal {
            out.push(refuse_batch(&batch, error));
        } else if changes > 0 {
            self.queue_changes(&batch, out);
        } else {
            self.gathered.forwarded_bytes += bytes;
            self.gathered.forwarded.push_back(batch);
        }
    }

    /// As leader: proposes what waits, as far as the log can flush it.
    pub(super) fn propose_due(&mut self, now_ns: u64, out: &mut Vec<Output>) -> Result<Option<u64>, Error> {
        // While leadership is handed over Raft takes nothing; that ends within an election timeout.
        while !self.gathered.is_empty()
            && self.persists.is_empty()
            && self.log.can_flush()
            && self.raft.transferee().is_none()
            // As a flush is waited for, so is what is under way to be committed.
            && self.raft.has_room_for(self.gathered.next_bytes_max(self.options.batch_bytes_max))
        {
            if self.applying.handed_bytes() >= HANDED_BYTES_MAX {
                return Ok(Some(now_ns + CATCH_UP_RETRY_NS));
            }
            let bytes = self.gathered.commands.payload_bytes() + self.gathered.forwarded_bytes;
            if bytes < self.options.batch_bytes_max {
                match self.options.linger {
                    // Its end calls again.
                    Linger::WhileFlushing | Linger::Paced(_) if !self.log.is_idle() => return Ok(None),
                    Linger::WhileFlushing => {}
                    Linger::For(linger_ns) => {
                        let due = *self.gathered.since_ns.get_or_insert(now_ns) + linger_ns;
                        if now_ns < due {
                            return Ok(Some(due));
                        }
                    }
                    Linger::Paced(pace_ns) => {
                        let due = self.gathered.flushed_ns.map_or(0, |flushed_ns| flushed_ns + pace_ns);
                        if now_ns < due {
                            return Ok(Some(due));
                        }
                    }
                }
            }
            self.gathered.since_ns = None;
            self.gathered.flushed_ns = Some(now_ns);
            self.propose_group(out)?;
        }
        Ok(None)
    }

    /// Proposes what shares one flush: batches of other members, and one of this one.
    fn propose_group(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        let (mut bytes, bytes_max) = (0, self.options.batch_bytes_max);
        while let Some(batch) = self.gathered.forwarded.front() {
            let data = batch.data().clone();
            let fits = bytes == 0 || bytes + data.len() <= bytes_max;
            if !fits || !self.raft.has_room_for(data.len()) {
                break;
            }
            bytes += data.len();
            self.gathered.forwarded.pop_front();
            self.gathered.forwarded_bytes -= data.len();
            self.propose(EntryKind::Normal, data, out)?;
        }
        if !self.gathered.commands.is_empty()
            && bytes < bytes_max
            && self.raft.has_room_for(self.gathered.own_bytes_max(bytes_max))
        {
            let data = self.gathered.next(self.us, bytes_max);
            self.unsettled.push(self.raft.term(), data.clone());
            self.propose(EntryKind::Normal, data, out)?;
        }
        self.submit_persists(out);
        Ok(())
    }

    pub(super) fn propose(
        &mut self,
        kind: EntryKind,
        data: Bytes,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        self.feed_raft(windlass_raft::Input::Propose { kind, data }, out)
    }

    /// As follower: sends what waits to the leader.
    pub(super) fn forward(&mut self, leader: MemberId, out: &mut Vec<Output>) {
        self.gathered.since_ns = None;
        let (term, bytes_max) = (self.raft.term(), self.options.batch_bytes_max);
        while !self.gathered.commands.is_empty() {
            let ids = self.gathered.commands.request_ids().take(self.gathered.count(bytes_max)).collect();
            let data = self.gathered.next(self.us, bytes_max);
            self.unsettled.push(term, data.clone());
            out.push(Output::Forward { to: leader, term, data, ids });
        }
    }

    /// Without a leader: commands wait for one, not for ever. Returns when that ends.
    pub(super) fn wait_for_leader(&mut self, now_ns: u64, out: &mut Vec<Output>) -> Option<u64> {
        if self.gathered.is_empty() {
            return None;
        }
        let due = *self.gathered.since_ns.get_or_insert(now_ns) + self.options.leaderless_ns;
        if now_ns < due {
            return Some(due);
        }
        self.gathered.refuse_all(RequestError::TimeoutLeaderFail, out);
        None
    }

    /// Whoever led before, what other members sent to it is not this member's any more.
    pub(super) fn role_changed(&mut self, role: Role, out: &mut Vec<Output>) {
        if role == Role::Leader {
            return;
        }
        for batch in self.gathered.forwarded.drain(..) {
            out.push(refuse_batch(&batch, RequestError::LeaderChanged));
        }
        self.gathered.forwarded_bytes = 0;
        self.changes.refuse_forwarded(self.us, RequestError::LeaderChanged, out);
    }

    /// Answers the commands of a proposal that Raft did not take: they are in no log.
    pub(super) fn proposal_dropped(
        &mut self,
        kind: EntryKind,
        data: Bytes,
        reason: DropReason,
        out: &mut Vec<Output>,
    ) {
        let error = match reason {
            DropReason::NotLeader | DropReason::Transferring => RequestError::LeaderChanged,
            DropReason::TooManyUncommitted | DropReason::LogFull => RequestError::TooManyRequests,
            DropReason::ConfChangePending | DropReason::ConfChangeInvalid => RequestError::Unhealthy,
        };
        let data = match kind {
            EntryKind::Normal => data,
            EntryKind::ConfChange => {
                windlass_raft::ConfChange::decode(&data).map(|change| change.context).unwrap_or_default()
            }
        };
        self.unsettled.forget(&data);
        // A joint membership ends without a command.
        let Ok(batch) = Batch::parse(data) else { return };
        if batch.origin() == self.us {
            refuse(batch.commands().map(|c| c.id), error, out);
        } else {
            out.push(refuse_batch(&batch, error));
        }
    }
}

/// Tells the member that gathered a batch that it is in no log.
fn refuse_batch(batch: &Batch, error: RequestError) -> Output {
    let ids: Vec<RequestId> = batch.commands().map(|c| c.id).collect();
    Output::RefuseForwarded { to: batch.origin(), ids, error }
}
