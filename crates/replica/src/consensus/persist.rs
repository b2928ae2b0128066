//! Between Raft, its log and the disk: what waits for the log becomes one write, what is durable is reported.

use windlass_io_log::op::Completion;
use windlass_raft::{Persist, PersistId};
use windlass_records::log::Entry;
use windlass_types::{LogIndex, Term};

use super::Consensus;
use super::api::{Error, Output};

impl Consensus {
    pub(super) fn disk_done(&mut self, completion: Completion, out: &mut Vec<Output>) -> Result<(), Error> {
        let mut durable = std::mem::take(&mut self.scratch.durable);
        self.log.complete(completion, &mut self.scratch.ops, &mut durable).map_err(Error::Log)?;
        self.hand_out_ops(out);
        // One report covers all earlier ones, so Raft need only hear of the last.
        let newest = durable.drain(..).next_back();
        self.scratch.durable = durable;
        if let Some(id) = newest {
            self.changes.log_moved();
            self.tell_raft(windlass_raft::Input::Persisted(PersistId(id)), out)?;
        }
        self.submit_persists(out);
        self.report_full(out);
        Ok(())
    }

    pub(super) fn stream_durable(
        &mut self,
        stream: usize,
        index: LogIndex,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        let Some(stable) = self.stable.advance(stream, index) else { return Ok(()) };
        let term = self.term_of(stable);
        self.log.cut(stable, term, &mut self.scratch.ops);
        self.hand_out_ops(out);
        out.push(Output::Stable(stable));
        self.tell_raft(windlass_raft::Input::Compact(stable), out)
    }

    /// Gives the log what waits: all of it in one write, as far as it fits, so that a follower that got many appends
    /// during a flush makes them durable with the next.
    pub(super) fn submit_persists(&mut self, out: &mut Vec<Output>) {
        if !self.persists.is_empty() && !self.log.can_flush() {
            self.log.make_room(&mut self.scratch.ops);
        }
        while !self.persists.is_empty() && self.log.can_flush() {
            let count = self.group();
            let group = self.persists.iter().take(count);
            let id = self.persists[count - 1].id.0;
            let hard_state = group.clone().rev().find_map(|p| p.hard_state);
            let appended = if let [entries] = &group.clone().map(|p| &p.entries[..]).collect::<Vec<_>>()[..] {
                self.log.append(id, hard_state, entries, &mut self.scratch.ops)
            } else {
                let entries: Vec<Entry> = group.flat_map(|p| p.entries.iter().cloned()).collect();
                self.log.append(id, hard_state, &entries, &mut self.scratch.ops)
            };
            if appended.is_err() {
                // No room: it stays, in order, until a retry finds some.
                break;
            }
            self.persists.drain(..count);
        }
        self.hand_out_ops(out);
    }

    /// How many of the waiting writes are the next one: those whose entries follow each other, up to the bytes of an
    /// entry; at least one.
    fn group(&self) -> usize {
        let (mut bytes, mut last) = (0, None);
        let joins = |persist: &&Persist| {
            assert!(persist.snapshot.is_none(), "a snapshot is installed by a start");
            bytes += persist.entries.iter().map(|e| e.data.len()).sum::<usize>();
            let follows = match (last, persist.entries.first()) {
                (Some(last), Some(first)) => LogIndex::next(last) == first.index,
                _ => true,
            };
            last = persist.entries.last().map(|e| e.index).or(last);
            follows && bytes <= self.options.batch_bytes_max
        };
        self.persists.iter().take_while(joins).count().max(1)
    }

    fn hand_out_ops(&mut self, out: &mut Vec<Output>) {
        out.extend(self.scratch.ops.drain(..).map(Output::Disk));
    }

    /// Term of an entry between the stable index and the last applied one.
    fn term_of(&mut self, index: LogIndex) -> Term {
        while self.terms.len() > 1 && self.terms[1].0 <= index {
            self.terms.pop_front();
        }
        self.terms[0].1
    }
}
