//! The part of the log that is in memory, and the marks on it.
//!
//! ```text
//! start_index <= applied <= handed <= min(commit, durable)    commit <= last    durable <= written <= last
//! ```
//! (While a snapshot is on its way to disk `durable` alone is behind `start_index`.) This module knows nothing of
//! roles, peers or terms beyond those in the entries. It must never give up an entry that is not applied.

use std::collections::VecDeque;

use windlass_records::log::{Entry, EntryKind};
use windlass_types::{LogIndex, Term};

use crate::EntryId;

/// What an entry costs in memory beside its data, in bytes, about. It keeps empty entries from being free.
const ENTRY_BYTES: usize = 64;

pub(crate) fn entry_bytes(data_len: usize) -> usize {
    ENTRY_BYTES + data_len
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// Entries at or below it are not here. Moves up by compaction and snapshots.
    start_index: LogIndex,
    /// Term of the entry at `start_index`.
    start_term: Term,
    /// Consecutive from `start_index + 1`; their terms never decrease.
    entries: VecDeque<Entry>,
    /// Handed out to be written. Moves back when a leader replaces the tail.
    written: LogIndex,
    /// On disk, and equal to what is here. Moves back when a leader replaces the tail.
    durable: LogIndex,
    /// Known to be committed. Never moves back.
    commit: LogIndex,
    /// Handed out to be applied. Never moves back.
    handed: LogIndex,
    /// In the state machine. Never moves back.
    applied: LogIndex,
    /// Cost of all entries here.
    retained_bytes: usize,
    /// Cost of those above `commit`.
    uncommitted_bytes: usize,
}

impl Log {
    /// The log as restored: all of it durable. Panics if the parts do not fit: reading the disk has to find that.
    pub(crate) fn new(
        start: (LogIndex, Term),
        entries: Vec<Entry>,
        commit: LogIndex,
        applied: LogIndex,
    ) -> Self {
        let (start_index, start_term) = start;
        let mut log = Self {
            start_index,
            start_term,
            entries: VecDeque::with_capacity(entries.len()),
            written: start_index,
            durable: start_index,
            commit: start_index,
            handed: start_index,
            applied: start_index,
            retained_bytes: 0,
            uncommitted_bytes: 0,
        };
        entries.into_iter().for_each(|e| log.append(e));
        let last = log.last_index();
        assert!(start_index <= applied && applied <= last, "the applied index is outside the restored log");
        assert!(commit <= last, "the restored commit index is beyond the restored log");
        (log.written, log.durable) = (last, last);
        log.commit_to(commit.max(applied));
        (log.handed, log.applied) = (applied, applied);
        log
    }

    pub(crate) fn start_index(&self) -> LogIndex {
        self.start_index
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        LogIndex(self.start_index.0 + self.entries.len() as u64)
    }

    pub(crate) fn last_term(&self) -> Term {
        self.entries.back().map_or(self.start_term, |e| e.term)
    }

    pub(crate) fn durable(&self) -> LogIndex {
        self.durable
    }

    pub(crate) fn commit(&self) -> LogIndex {
        self.commit
    }

    pub(crate) fn handed(&self) -> LogIndex {
        self.handed
    }

    pub(crate) fn applied(&self) -> LogIndex {
        self.applied
    }

    pub(crate) fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }

    pub(crate) fn uncommitted_bytes(&self) -> usize {
        self.uncommitted_bytes
    }

    /// Term of the entry at `index`, if it is known here.
    pub(crate) fn term(&self, index: LogIndex) -> Option<Term> {
        if index == self.start_index {
            return Some(self.start_term);
        }
        self.entries.get(self.offset(index)?).map(|e| e.term)
    }

    fn offset(&self, index: LogIndex) -> Option<usize> {
        usize::try_from(index.0.checked_sub(self.start_index.0)?.checked_sub(1)?).ok()
    }

    /// Clones of the entries in `(after, to]`, all of which must be here.
    fn cloned(&self, after: LogIndex, to: LogIndex) -> Vec<Entry> {
        if to <= after {
            return Vec::new();
        }
        let from = (after.0 - self.start_index.0) as usize;
        let end = (to.0 - self.start_index.0) as usize;
        self.entries.range(from..end).cloned().collect()
    }

    /// Entries from `from` on, up to `bytes_max` bytes of data but at least one, for a peer.
    pub(crate) fn batch(&self, from: LogIndex, bytes_max: usize) -> Vec<Entry> {
        let Some(start) = self.offset(from).filter(|&o| o < self.entries.len()) else { return Vec::new() };
        let mut bytes = 0;
        let fitting = |e: &&Entry| {
            bytes += e.data.len();
            bytes <= bytes_max
        };
        let count = self.entries.range(start..).take_while(fitting).count().max(1);
        self.entries.range(start..start + count).cloned().collect()
    }

    pub(crate) fn last(&self) -> EntryId {
        EntryId { index: self.last_index(), term: self.last_term() }
    }

    /// The last entry that is known to be committed.
    pub(crate) fn committed(&self) -> EntryId {
        let term = self.term(self.commit).expect("nothing above the commit index is cut");
        EntryId { index: self.commit, term }
    }

    pub(crate) fn contains(&self, id: EntryId) -> bool {
        self.term(id.index) == Some(id.term)
    }

    /// Whether a candidate with this last entry may be voted for. Source: Raft thesis 3.6.1.
    pub(crate) fn is_up_to_date(&self, last: EntryId) -> bool {
        (last.term, last.index) >= (self.last_term(), self.last_index())
    }

    /// The highest index at or below `index` whose term is at most `term`, and its term: the place up to which a log
    /// with an entry (`index`, `term`) may be equal to this one. The term is zero where it is not known here.
    pub(crate) fn last_not_above(&self, index: LogIndex, term: Term) -> (LogIndex, Term) {
        let count = self.entries.partition_point(|e| e.term <= term) as u64;
        if count == 0 && self.start_term > term {
            return (LogIndex(self.start_index.0.saturating_sub(1)).min(index), Term::ZERO);
        }
        let found = LogIndex(self.start_index.0 + count).min(index);
        (found, self.term(found).unwrap_or(Term::ZERO))
    }

    /// Whether an entry that is committed but not handed out changes the membership.
    pub(crate) fn has_unhanded_conf_change(&self) -> bool {
        let from = (self.handed.0 - self.start_index.0) as usize;
        let end = (self.commit.0 - self.start_index.0) as usize;
        self.entries.range(from..end).any(|e| e.kind == EntryKind::ConfChange)
    }

    /// The changes of the membership that were not handed out.
    pub(crate) fn unhanded_conf_changes(&self) -> impl Iterator<Item = &Entry> {
        let from = (self.handed.0 - self.start_index.0) as usize;
        self.entries.range(from..).filter(|entry| entry.kind == EntryKind::ConfChange)
    }

    /// Adds the next entry.
    pub(crate) fn append(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last_index().next(), "entries are consecutive");
        assert!(entry.term >= self.last_term(), "terms never decrease along the log");
        let bytes = entry_bytes(entry.data.len());
        self.retained_bytes += bytes;
        self.uncommitted_bytes += bytes;
        self.entries.push_back(entry);
    }

    /// Forgets `from` and all after it, which a leader replaces.
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.commit, "a committed entry is never replaced");
        let keep = self.offset(from).expect("what is above the commit index is above the start");
        for entry in self.entries.drain(keep..) {
            let bytes = entry_bytes(entry.data.len());
            self.retained_bytes -= bytes;
            self.uncommitted_bytes -= bytes;
        }
        let last = self.last_index();
        self.written = self.written.min(last);
        self.durable = self.durable.min(last);
    }

    /// The entries to write, once.
    pub(crate) fn take_unwritten(&mut self) -> Vec<Entry> {
        let entries = self.cloned(self.written, self.last_index());
        self.written = self.last_index();
        entries
    }

    /// Entries up to `index` are on disk as they are here. False if that was known.
    pub(crate) fn durable_to(&mut self, index: LogIndex) -> bool {
        assert!(index <= self.written, "what was not written cannot be durable");
        let advances = index > self.durable;
        self.durable = self.durable.max(index);
        advances
    }

    /// Entries up to `index` are committed. False if that was known.
    pub(crate) fn commit_to(&mut self, index: LogIndex) -> bool {
        if index <= self.commit {
            return false;
        }
        assert!(index <= self.last_index(), "what is not in the log cannot be committed");
        let from = (self.commit.0 - self.start_index.0) as usize;
        let end = (index.0 - self.start_index.0) as usize;
        let bytes: usize = self.entries.range(from..end).map(|e| entry_bytes(e.data.len())).sum();
        self.uncommitted_bytes -= bytes;
        self.commit = index;
        true
    }

    /// The entries that may be applied by now, once.
    pub(crate) fn take_applicable(&mut self) -> Vec<Entry> {
        let to = self.commit.min(self.durable);
        if to <= self.handed {
            return Vec::new();
        }
        let entries = self.cloned(self.handed, to);
        self.handed = to;
        entries
    }

    pub(crate) fn applied_to(&mut self, index: LogIndex) {
        assert!(index <= self.handed, "what was not handed out cannot be applied");
        self.applied = self.applied.max(index);
    }

    /// Forgets entries up to `index`, as long as more than `keep_bytes` remain.
    pub(crate) fn compact(&mut self, index: LogIndex, keep_bytes: usize) {
        assert!(index <= self.applied, "what is not applied is still needed");
        while self.start_index < index && self.retained_bytes > keep_bytes {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let entry = self.entries.pop_front().expect("an entry above the start");
        self.retained_bytes -= entry_bytes(entry.data.len());
        (self.start_index, self.start_term) = (entry.index, entry.term);
    }

    /// Forgets as many applied entries as it takes to hold `bytes` more within `bytes_max`. Tells whether they fit;
    /// into an empty log anything fits.
    pub(crate) fn make_room(&mut self, bytes: usize, bytes_max: usize) -> bool {
        while self.retained_bytes.saturating_add(bytes) > bytes_max && self.start_index < self.applied {
            self.forget_first();
        }
        self.entries.is_empty() || self.retained_bytes.saturating_add(bytes) <= bytes_max
    }

    /// Starts anew after a snapshot that is above the commit index. It counts as applied from here on, and as
    /// durable when its write is.
    pub(crate) fn restart(&mut self, index: LogIndex, term: Term) {
        assert!(index > self.commit, "a snapshot never takes back what is committed");
        self.durable = self.durable.min(self.commit);
        self.entries.clear();
        (self.retained_bytes, self.uncommitted_bytes) = (0, 0);
        (self.start_index, self.start_term) = (index, term);
        (self.written, self.commit, self.handed, self.applied) = (index, index, index, index);
    }

    /// The bounds in the module's picture, and the byte counts by counting.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self) {
        assert!(
            self.start_index <= self.applied && self.applied <= self.handed && self.handed <= self.commit
        );
        assert!(self.handed <= self.durable || self.durable < self.start_index);
        assert!(self.commit <= self.last_index());
        assert!(self.durable <= self.written && self.written <= self.last_index());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry {
            term: Term(term),
            index: LogIndex(index),
            kind: EntryKind::Normal,
            data: Bytes::from(vec![0; index as usize]),
        }
    }

    fn log(terms: &[u64]) -> Log {
        let entries = terms.iter().zip(1..).map(|(&term, index)| entry(index, term)).collect();
        Log::new((LogIndex::ZERO, Term::ZERO), entries, LogIndex::ZERO, LogIndex::ZERO)
    }

    #[test]
    fn byte_counts_follow_the_entries() {
        let mut log = log(&[1, 1, 2, 2]);
        assert_eq!(log.retained_bytes(), 4 * ENTRY_BYTES + 10);
        log.commit_to(LogIndex(2));
        assert_eq!(log.uncommitted_bytes(), 2 * ENTRY_BYTES + 7);
        log.truncate(LogIndex(4));
        assert_eq!(log.uncommitted_bytes(), ENTRY_BYTES + 3);
        assert_eq!(log.take_applicable().len(), 2);
        log.applied_to(LogIndex(2));
        log.compact(LogIndex(1), 0);
        assert_eq!(log.retained_bytes(), 2 * ENTRY_BYTES + 5);
        log.check();
    }

    #[test]
    fn hints_name_the_last_place_that_may_be_equal() {
        let log = log(&[1, 1, 3, 3, 5]);
        assert_eq!(log.last_not_above(LogIndex(5), Term(4)), (LogIndex(4), Term(3)));
        assert_eq!(log.last_not_above(LogIndex(3), Term(9)), (LogIndex(3), Term(3)));
        assert_eq!(log.last_not_above(LogIndex(5), Term(2)), (LogIndex(2), Term(1)));
        assert_eq!(log.last_not_above(LogIndex(5), Term(0)), (LogIndex(0), Term(0)));
    }

    #[test]
    fn room_is_made_from_applied_entries_only() {
        let mut log = log(&[1, 1, 1]);
        let bound = log.retained_bytes();
        assert!(!log.make_room(1, bound));
        log.commit_to(LogIndex(2));
        let _ = log.take_applicable();
        log.applied_to(LogIndex(1));
        assert!(log.make_room(1, bound));
        assert_eq!((log.start_index(), log.last_index()), (LogIndex(1), LogIndex(3)));
        assert!(!log.make_room(bound, bound));
    }

    #[test]
    fn a_batch_holds_at_least_one_entry() {
        let log = log(&[1, 1, 1]);
        assert_eq!(log.batch(LogIndex(1), 0).len(), 1);
        assert_eq!(log.batch(LogIndex(1), 3).len(), 2);
        assert_eq!(log.batch(LogIndex(4), 9).len(), 0);
        assert_eq!(log.batch(LogIndex(u64::MAX), 9).len(), 0);
    }

    #[test]
    #[should_panic(expected = "never replaced")]
    fn committed_entries_are_never_replaced() {
        let mut log = log(&[1, 1]);
        log.commit_to(LogIndex(2));
        log.truncate(LogIndex(2));
    }
}
