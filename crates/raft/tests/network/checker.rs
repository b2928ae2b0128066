//! What Raft promises, watched from outside by one who sees everything. Source: Raft thesis figure 3.2.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use windlass_raft::{Body, EntryId, Membership, Message, Raft, ReadId};
use windlass_records::log::{Entry, HardState};
use windlass_types::{LogIndex, MemberId, Term};

use crate::disk::Disk;

/// All that was ever decided in one run.
#[derive(Debug, Default)]
pub struct Checker {
    leaders: HashMap<Term, MemberId>,
    /// Every entry that was ever written, with the term of the one before it.
    written: HashMap<(LogIndex, Term), (Entry, Option<Term>)>,
    /// Terms of the committed entries, from the first.
    committed: BTreeMap<LogIndex, Term>,
    reads: HashMap<(MemberId, ReadId), LogIndex>,
    pub reads_done: u64,
}

impl Checker {
    /// Founders begin with entry 1 decided.
    pub fn new() -> Self {
        Self { committed: BTreeMap::from([(LogIndex(1), Term(1))]), ..Self::default() }
    }

    /// The highest index that anybody knew to be committed.
    pub fn commit(&self) -> LogIndex {
        self.committed.last_key_value().map_or(LogIndex::ZERO, |(&index, _)| index)
    }

    /// Election safety: one leader a term. Leader completeness: it has all that was committed.
    pub fn leads(&mut self, raft: &Raft) {
        let first = *self.leaders.entry(raft.term()).or_insert(raft.id());
        assert_eq!(first, raft.id(), "two leaders in term {}", raft.term());
        for (&index, &term) in self.committed.range(raft.start_index()..) {
            assert_eq!(raft.term_at(index), Some(term), "the leader of {} lacks entry {index}", raft.term());
        }
    }

    /// Log matching, by induction: equal index and term means equal entry and equal predecessor.
    pub fn written(&mut self, entry: &Entry, prev_term: Option<Term>) {
        let known =
            self.written.entry((entry.index, entry.term)).or_insert_with(|| (entry.clone(), prev_term));
        assert_eq!(&known.0, entry, "two entries at {} in term {}", entry.index, entry.term);
        assert_eq!(known.1, prev_term, "two predecessors of {} in term {}", entry.index, entry.term);
    }

    /// State machine safety: nobody commits anything else. `from` is what this member knew before.
    pub fn commits(&mut self, raft: &Raft, from: LogIndex) {
        for index in (from.0 + 1..=raft.commit().0).map(LogIndex) {
            let Some(term) = raft.term_at(index) else { continue };
            let known = *self.committed.entry(index).or_insert(term);
            assert_eq!(known, term, "member {} commits another entry at {index}", raft.id());
        }
        let holes = self.committed.len() as u64 != self.commit().0;
        assert!(!holes, "a commit index ran ahead of the entries");
    }

    pub fn applies(&self, entry: &Entry) {
        assert_eq!(
            self.committed.get(&entry.index),
            Some(&entry.term),
            "an entry is applied that is not committed"
        );
    }

    pub fn installs(&self, index: LogIndex, term: Term) {
        assert_eq!(self.committed.get(&index), Some(&term), "a snapshot holds what is not committed");
    }

    /// A newly committed entry is on a quorum of disks, by one of the memberships.
    pub fn is_durable(&self, index: LogIndex, holders: &[MemberId], memberships: [&Membership; 2]) {
        let is_majority = |voters: &BTreeSet<MemberId>| {
            voters.is_empty() || holders.iter().filter(|id| voters.contains(id)).count() > voters.len() / 2
        };
        let is_quorum = |m: &Membership| is_majority(&m.voters) && is_majority(&m.voters_outgoing);
        let is_durable = memberships.into_iter().any(is_quorum);
        assert!(
            is_durable,
            "entry {index} is committed, but on the disks of {holders:?} only: {memberships:?}"
        );
    }

    pub fn read_asked(&mut self, member: MemberId, id: ReadId) {
        let commit = self.commit();
        self.reads.insert((member, id), commit);
    }

    /// Linearizable reads: nothing that was committed when it was asked is missing.
    pub fn read_ready(&mut self, member: MemberId, id: ReadId, index: LogIndex) {
        let asked_at = self.reads.remove(&(member, id)).expect("a read is answered once");
        assert!(index >= asked_at, "a read is stale: {index} is below {asked_at}");
        self.reads_done += 1;
    }

    pub fn read_dropped(&mut self, member: MemberId, id: ReadId) {
        self.reads.remove(&(member, id)).expect("a read is answered once");
    }

    /// What a member promises it has on disk.
    pub fn promises(&self, message: &Message, disk: &Disk) {
        let HardState { term, vote, .. } = disk.hard_state();
        match message.body {
            Body::VoteReply { granted: true, .. } => {
                assert!(
                    term > message.term || (term == message.term && vote == message.to),
                    "a vote that is not durable"
                );
            }
            Body::Vote { .. } => {
                assert!(
                    term > message.term || (term == message.term && vote == message.from),
                    "own vote not durable"
                );
            }
            Body::AppendAccepted { index } => {
                assert!(term >= message.term, "an acknowledgement in a term that is not durable");
                // In a later term the entries may have been replaced meanwhile.
                assert!(
                    term > message.term || disk.last() >= index,
                    "entry {index} is acknowledged and not durable"
                );
            }
            _ => {}
        }
    }
}

mod canaries {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        let kind = windlass_records::log::EntryKind::Normal;
        Entry { index: LogIndex(index), term: Term(term), kind, data: bytes::Bytes::new() }
    }

    #[test]
    #[should_panic(expected = "two predecessors")]
    fn broken_log_matching_is_noticed() {
        let mut checker = Checker::new();
        checker.written(&entry(3, 2), Some(Term(1)));
        checker.written(&entry(3, 2), Some(Term(2)));
    }

    #[test]
    #[should_panic(expected = "not committed")]
    fn applying_too_early_is_noticed() {
        Checker::new().applies(&entry(2, 1));
    }

    #[test]
    #[should_panic(expected = "disks of")]
    fn committing_without_a_quorum_of_disks_is_noticed() {
        let membership = Membership::of_voters((1..4).map(MemberId));
        Checker::new().is_durable(LogIndex(2), &[MemberId(1), MemberId(4)], [&membership, &membership]);
    }

    #[test]
    #[should_panic(expected = "stale")]
    fn a_stale_read_is_noticed() {
        let mut checker = Checker::new();
        checker.read_asked(MemberId(1), ReadId(1));
        checker.read_ready(MemberId(1), ReadId(1), LogIndex::ZERO);
    }

    #[test]
    #[should_panic(expected = "not durable")]
    fn an_early_promise_is_noticed() {
        let (from, to, term) = (MemberId(1), MemberId(2), Term(5));
        let commit = EntryId { index: LogIndex(1), term: Term(1) };
        let message = Message { from, to, term, body: Body::VoteReply { granted: true, commit } };
        Checker::new().promises(&message, &Disk::new(Membership::default()));
    }
}
