//! From committed entries to the sequencer, the shards and the readers.

use std::collections::VecDeque;

use bytes::Bytes;
use windlass_raft::{ConfChange, READS_MAX, ReadId, SnapshotMeta};
use windlass_records::log::{Entry, EntryKind};
use windlass_records::state::State;
use windlass_types::{LogIndex, MemberId, RequestError, ShardId};

use super::api::{Error, HANDED_BYTES_MAX, Output};
use super::{Consensus, refuse};
use crate::sequencer;
use crate::task::{ShardTask, SnapshotId};

/// Committed entries on their way into the shards.
#[derive(Default)]
pub(super) struct Applying {
    /// Those that wait because the shards are behind. Bounded by what Raft keeps in memory: an entry that waits here is
    /// not reported as applied, and a leader is told when Raft's bound is reached.
    waiting: VecDeque<Entry>,
    /// Those that some shard has not performed, with their size, and the sum of those.
    handed: VecDeque<(LogIndex, usize)>,
    handed_bytes: usize,
}

impl Applying {
    /// Bytes of entries that some shard has not performed.
    pub fn handed_bytes(&self) -> usize {
        self.handed_bytes
    }
}

impl Consensus {
    pub(super) fn apply(&mut self, entries: Vec<Entry>, out: &mut Vec<Output>) -> Result<(), Error> {
        if self.applying.waiting.is_empty() {
            let mut entries = entries.into_iter();
            while self.applying.handed_bytes < HANDED_BYTES_MAX {
                let Some(entry) = entries.next() else { return Ok(()) };
                self.apply_entry(entry, out)?;
            }
            self.applying.waiting.extend(entries);
        } else {
            self.applying.waiting.extend(entries);
        }
        Ok(())
    }

    /// Every shard holds every effect up to `index`: there is room for more.
    pub(super) fn shards_complete(&mut self, index: LogIndex, out: &mut Vec<Output>) -> Result<(), Error> {
        while let Some((_, bytes)) = self.applying.handed.pop_front_if(|entry| entry.0 <= index) {
            self.applying.handed_bytes -= bytes;
        }
        while self.applying.handed_bytes < HANDED_BYTES_MAX {
            let Some(entry) = self.applying.waiting.pop_front() else { break };
            self.apply_entry(entry, out)?;
        }
        self.tell_what_was_applied(out)
    }

    fn apply_entry(&mut self, entry: Entry, out: &mut Vec<Output>) -> Result<(), Error> {
        if self.terms.back().is_none_or(|&(_, term)| term != entry.term) {
            self.terms.push_back((entry.index, entry.term));
        }
        let data = match entry.kind {
            EntryKind::Normal => entry.data.clone(),
            // Raft itself acts on it; for the store it is the command that asked for it.
            EntryKind::ConfChange => context_of(&entry.data),
        };
        for void in self.unsettled.applied(&entry, &data) {
            refuse(void.commands().map(|command| command.id), RequestError::LeaderChanged, out);
        }
        self.applying.handed.push_back((entry.index, data.len()));
        self.applying.handed_bytes += data.len();
        let input = sequencer::Input::Committed { index: entry.index, term: entry.term, data };
        self.take_sequenced(input, out)
    }

    /// Feeds the sequencer from outside of a step of Raft.
    pub(super) fn sequence(&mut self, input: sequencer::Input, out: &mut Vec<Output>) -> Result<(), Error> {
        self.take_sequenced(input, out)?;
        self.tell_what_was_applied(out)
    }

    /// Raft hears what the sequencer finished, for which a step of it must not be under way.
    pub(super) fn tell_what_was_applied(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        self.drain_to_raft(out)?;
        self.submit_persists(out);
        Ok(())
    }

    fn take_sequenced(&mut self, input: sequencer::Input, out: &mut Vec<Output>) -> Result<(), Error> {
        let mut sequenced = std::mem::take(&mut self.scratch.sequenced);
        let outcome = self.sequencer.step(input, &mut sequenced);
        for output in sequenced.drain(..) {
            match output {
                sequencer::Output::ToShard { shard, task } => out.push(Output::ToShard { shard, task }),
                sequencer::Output::Reply { id, result } => out.push(Output::Reply { id, result }),
                sequencer::Output::PutReplies { batch, commands, first_revision } => {
                    out.push(Output::PutReplies { batch, commands, first_revision });
                }
                sequencer::Output::Lease(event) => self.lease_event(event),
                sequencer::Output::News(news) => out.push(Output::News(news)),
                sequencer::Output::Applied(state) => self.applied(state, out),
            }
        }
        self.scratch.sequenced = sequenced;
        outcome.map_err(|e| Error::Entry { index: self.numbered.index.next(), why: e.to_string() })
    }

    fn applied(&mut self, state: State, out: &mut Vec<Output>) {
        self.numbered = state;
        self.lease_applied(state);
        out.push(Output::Applied(state));
        self.scratch.to_raft.push_back(windlass_raft::Input::Applied(state.index));
        while let Some(&(index, id)) = self.reads.front()
            && index <= state.index
        {
            self.reads.pop_front();
            if !self.lease_confirmed(id) {
                out.push(Output::ReadReady { id, index: state.index, revision: state.revision });
            }
        }
        self.begin_snapshots(out);
    }

    pub(super) fn read_ready(&mut self, id: ReadId, index: LogIndex, out: &mut Vec<Output>) {
        let State { index: numbered, revision, .. } = self.numbered;
        if index > numbered {
            self.reads.push_back((index, id));
        } else if !self.lease_confirmed(id) {
            out.push(Output::ReadReady { id, index: numbered, revision });
        }
    }

    /// Raft could not answer a read, and asks nobody for it any more: it is asked anew when there is a leader.
    pub(super) fn read_dropped(&mut self, id: ReadId, out: &mut Vec<Output>) {
        if self.leaderless_reads.len() >= READS_MAX {
            out.push(Output::ReadDropped(id));
        } else {
            let until = self.changes.now_ticks() + self.options.leaderless_ticks;
            self.leaderless_reads.push_back((id, until));
        }
    }

    /// With each tick: asks for reads that found no leader, and gives up those that waited too long.
    pub(super) fn ask_again(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        let has_leader = self.raft.leader() != MemberId::ZERO;
        for (id, until) in std::mem::take(&mut self.leaderless_reads) {
            if self.changes.now_ticks() >= until {
                out.push(Output::ReadDropped(id));
                continue;
            }
            self.leaderless_reads.push_back((id, until));
        }
        if has_leader {
            for (id, until) in std::mem::take(&mut self.leaderless_reads) {
                let waiting = self.leaderless_reads.len();
                self.tell_raft(windlass_raft::Input::ReadIndex(id), out)?;
                // One that is dropped again keeps its time.
                self.leaderless_reads.range_mut(waiting..).for_each(|read| read.1 = until);
            }
        }
        Ok(())
    }

    /// A follower needs a snapshot. It is begun where an entry is numbered whole and the next one has not begun: there,
    /// and nowhere else, do all shards and the sequencer stand at one index.
    pub(super) fn snapshot_needed(&mut self, to: MemberId, out: &mut Vec<Output>) {
        self.snapshots_due.push(to);
        if self.sequencer.waiting() == 0 {
            self.begin_snapshots(out);
        }
    }

    /// A client wants a snapshot, of whatever this member has. It is begun as those for followers are.
    pub(super) fn backup_wanted(&mut self, out: &mut Vec<Output>) {
        self.backups_due += 1;
        if self.sequencer.waiting() == 0 {
            self.begin_snapshots(out);
        }
    }

    fn begin_snapshots(&mut self, out: &mut Vec<Output>) {
        for _ in 0..std::mem::take(&mut self.backups_due) {
            let id = self.begin_shares(out);
            out.push(Output::Backup { id, state: self.numbered });
        }
        for to in std::mem::take(&mut self.snapshots_due) {
            let State { index, term, .. } = self.numbered;
            let membership = self.raft.membership().clone();
            let meta = SnapshotMeta { index, term, membership };
            self.scratch.to_raft.push_back(windlass_raft::Input::SnapshotTaken { to, meta });
            let id = self.begin_shares(out);
            out.push(Output::Snapshot { to, id, state: self.numbered });
        }
    }

    fn begin_shares(&mut self, out: &mut Vec<Output>) -> SnapshotId {
        self.next_snapshot = self.next_snapshot.next();
        let id = self.next_snapshot;
        for shard in (0..self.sequencer.shards()).map(ShardId) {
            out.push(Output::ToShard { shard, task: ShardTask::Snapshot(id) });
        }
        id
    }
}

/// The command that asked for a change of membership; none for the end of a joint one.
fn context_of(data: &Bytes) -> Bytes {
    ConfChange::decode(data).map(|change| change.context).unwrap_or_default()
}
