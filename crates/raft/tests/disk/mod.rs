//! What one member of a test cluster has on disk. Writes become durable in order; a crash loses those under way.

use std::collections::VecDeque;

use windlass_raft::{Membership, Persist, PersistId, Restored, SnapshotMeta};
use windlass_records::log::{Entry, HardState};
use windlass_types::{LogIndex, MemberId, Term};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    hard_state: HardState,
    start: (LogIndex, Term),
    entries: Vec<Entry>,
    /// The state machine's own durable state: how far it is, and the membership there.
    applied: LogIndex,
    membership: Membership,
    under_way: VecDeque<Persist>,
}

#[allow(dead_code)] // each of the tests that share it uses a part
impl Disk {
    /// A founding member's disk, or with an empty membership that of one which is to join.
    pub fn new(membership: Membership) -> Self {
        let Restored { hard_state, start_index, start_term, entries, applied, membership, .. } =
            if membership.voters.is_empty() { Restored::default() } else { Restored::founding(membership) };
        Self {
            hard_state,
            start: (start_index, start_term),
            entries,
            applied,
            membership,
            under_way: VecDeque::new(),
        }
    }

    pub fn submit(&mut self, persist: Persist) {
        self.under_way.push_back(persist);
    }

    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Makes the oldest `count` writes durable. Returns the last one's id, and a snapshot among them.
    pub fn complete(&mut self, count: usize) -> (Option<PersistId>, Option<SnapshotMeta>) {
        let (mut id, mut snapshot) = (None, None);
        for persist in self.under_way.drain(..count.min(self.under_way.len())).collect::<Vec<_>>() {
            id = Some(persist.id);
            snapshot = persist.snapshot.clone().or(snapshot);
            self.write(persist);
        }
        (id, snapshot)
    }

    fn write(&mut self, persist: Persist) {
        if let Some(snapshot) = persist.snapshot {
            self.start = (snapshot.index, snapshot.term);
            self.entries.clear();
            self.applied = snapshot.index;
            self.membership = snapshot.membership;
        }
        for entry in persist.entries {
            assert!(entry.index > self.start.0, "a cut entry is written");
            let at = (entry.index.0 - self.start.0.0 - 1) as usize;
            assert!(at <= self.entries.len(), "a gap in the log");
            self.entries.truncate(at);
            self.entries.push(entry);
        }
        if let Some(hard_state) = persist.hard_state {
            assert!(hard_state.term >= self.hard_state.term, "a term goes back");
            assert!(hard_state.commit <= self.last(), "a commit index is ahead of the log");
            self.hard_state = hard_state;
        }
    }

    pub fn start(&self) -> LogIndex {
        self.start.0
    }

    pub fn last(&self) -> LogIndex {
        LogIndex(self.start.0.0 + self.entries.len() as u64)
    }

    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The state machine is durable up to here, where the membership is this.
    pub fn apply(&mut self, applied: LogIndex, membership: Membership) {
        assert!(applied >= self.applied && applied <= self.last(), "what is applied is on disk");
        self.applied = applied;
        self.membership = membership;
    }

    /// Whether the entry is here, or was before it was cut.
    pub fn holds(&self, index: LogIndex, term: Option<Term>) -> bool {
        index <= self.start.0 || self.entry(index).map(|e| e.term) == term.filter(|_| index <= self.last())
    }

    /// Cuts the log, which only what is applied may be.
    pub fn compact(&mut self, index: LogIndex) {
        assert!(index <= self.applied && index >= self.start.0);
        let term = self.entry(index).map_or(self.start.1, |e| e.term);
        self.entries.drain(..(index.0 - self.start.0.0) as usize);
        self.start = (index, term);
    }

    fn entry(&self, index: LogIndex) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.0.checked_sub(self.start.0.0 + 1)?).ok()?)
    }

    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Loses what is under way.
    pub fn crash(&mut self) {
        self.under_way.clear();
    }

    /// What a disk that lies does.
    pub fn forget_vote(&mut self) {
        self.hard_state.vote = MemberId::ZERO;
    }

    /// The same with entries.
    pub fn forget_entries(&mut self) {
        self.entries.clear();
        self.hard_state.commit = self.start.0;
    }

    pub fn restored(&self) -> Restored {
        Restored {
            hard_state: self.hard_state,
            start_index: self.start.0,
            start_term: self.start.1,
            entries: self.entries.clone(),
            applied: self.applied,
            membership: self.membership.clone(),
            ..Restored::default()
        }
    }
}
