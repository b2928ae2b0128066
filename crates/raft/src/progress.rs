//! What a leader knows of one peer, and how it sends entries to it. Source: etcd raft `tracker/progress.go`.
//!
//! A peer is *probed* (one append at a time, until a place where the logs agree is found), then *replicated* to
//! (appends are pipelined, `next` runs ahead of what is acknowledged), or waits for a *snapshot* (nothing is sent).
//! This module sends nothing and knows no log.

use std::collections::VecDeque;

use windlass_types::{LogIndex, MemberId};

/// Election timeouts for which the log is kept for a peer that was sent a snapshot and is not heard of. After that it may be
/// cut, and such a peer needs another snapshot.
const EXPECTED_TIMEOUTS_MAX: u32 = 120;

/// How entries are sent to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// One append at a time.
    Probe,
    /// Pipelined.
    Replicate,
    /// Nothing until the snapshot has arrived.
    Snapshot {
        /// Index of the snapshot, once it is taken.
        index: Option<LogIndex>,
    },
}

/// What a leader tells about one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// The peer.
    pub id: MemberId,
    /// Its log is known to equal the leader's up to here, durably.
    pub matched: LogIndex,
    /// The next entry to send.
    pub next: LogIndex,
    /// How.
    pub state: PeerState,
    /// Whether it was heard of within an election timeout.
    pub is_active: bool,
}

/// No log gets here.
const UNKNOWN: LogIndex = LogIndex(u64::MAX);

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// The peer's log equals the leader's up to here, durably. Never moves back.
    pub(crate) matched: LogIndex,
    /// The next entry to send; above `matched`.
    pub(crate) next: LogIndex,
    pub(crate) state: PeerState,
    /// The peer said that its log equals the leader's at most up to here. The highest index there is while it has said
    /// nothing, or may have got more since it did: with a snapshot of which the leader heard nothing.
    pub(crate) at_most: LogIndex,
    /// Whether it was heard of, within an election timeout.
    is_active: bool,
    /// Ticks since it was heard of, or since there was nothing to hear it for.
    silent_ticks: u32,
    /// Index of the newest snapshot on its way to it; of use while above `matched`. Zero when it has been waited for in
    /// vain.
    expected: LogIndex,
    /// Ticks since that snapshot was taken.
    expected_ticks: u32,
    /// The newest round of reads that it confirmed.
    pub(crate) read_confirmed: u64,
    /// The commit index it was told, as far as its log is known to go.
    sent_commit: LogIndex,
    /// No append is sent until something is heard.
    is_paused: bool,
    /// Last indices of the appends under way.
    inflight: VecDeque<LogIndex>,
    inflight_max: usize,
}

impl Progress {
    pub(crate) fn new(next: LogIndex, inflight_max: usize, is_active: bool) -> Self {
        Self {
            matched: LogIndex::ZERO,
            next,
            state: PeerState::Probe,
            at_most: UNKNOWN,
            is_active,
            silent_ticks: 0,
            expected: LogIndex::ZERO,
            expected_ticks: 0,
            read_confirmed: 0,
            sent_commit: LogIndex::ZERO,
            is_paused: false,
            inflight: VecDeque::new(),
            inflight_max,
        }
    }

    pub(crate) fn describe(&self, id: MemberId) -> PeerProgress {
        PeerProgress {
            id,
            matched: self.matched,
            next: self.next,
            state: self.state,
            is_active: self.is_active(),
        }
    }

    /// The entry after which it needs all of the log; none if nothing is kept for it.
    ///
    /// One that installs a snapshot is not heard of meanwhile. Without what follows the snapshot it would need the next
    /// one as soon as it is back, and so on for as long as there are writes.
    pub(crate) fn needed_from(&self) -> Option<LogIndex> {
        (self.is_active || self.expected > self.matched).then(|| self.matched.max(self.expected))
    }

    /// Something was heard of it.
    pub(crate) fn heard(&mut self) {
        self.is_active = true;
        self.silent_ticks = 0;
    }

    /// A tick passed: whoever is silent for an election timeout counts as away.
    pub(crate) fn tick(&mut self, election_ticks: u32) {
        self.silent_ticks = self.silent_ticks.saturating_add(1);
        self.is_active &= !self.is_silent(election_ticks);
        self.expected_ticks = self.expected_ticks.saturating_add(1);
        if self.expected_ticks > EXPECTED_TIMEOUTS_MAX.saturating_mul(election_ticks) {
            self.expected = LogIndex::ZERO;
        }
    }

    /// Whether it had an election timeout to be heard in, and was not.
    pub(crate) fn is_silent(&self, election_ticks: u32) -> bool {
        self.silent_ticks >= election_ticks
    }

    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused || matches!(self.state, PeerState::Snapshot { .. })
    }

    /// Whether an append may carry entries.
    pub(crate) fn has_room(&self) -> bool {
        self.state != PeerState::Replicate || self.inflight.len() < self.inflight_max
    }

    /// Whether telling it the commit index would be news that it can use.
    pub(crate) fn wants_commit(&self, commit: LogIndex) -> bool {
        commit > self.sent_commit && self.sent_commit.next() < self.next
    }

    /// An append left, with entries up to `last` if any.
    pub(crate) fn append_sent(&mut self, last: Option<LogIndex>, commit: LogIndex) {
        self.sent_commit = self.sent_commit.max(commit);
        match (self.state, last) {
            (PeerState::Replicate, last) => {
                if let Some(last) = last {
                    self.next = last.next();
                    self.inflight.push_back(last);
                }
                self.is_paused = !self.has_room();
            }
            (PeerState::Probe, _) => self.is_paused = true,
            (PeerState::Snapshot { .. }, _) => {
                unreachable!("nothing is appended while a snapshot is under way")
            }
        }
    }

    /// A heartbeat left.
    pub(crate) fn heartbeat_sent(&mut self, commit: LogIndex) {
        self.sent_commit = self.sent_commit.max(commit);
    }

    /// Something was heard: an append may be tried again.
    pub(crate) fn resume(&mut self) {
        self.is_paused = false;
    }

    /// It acknowledged everything up to `index`. False if that says nothing new.
    pub(crate) fn accepted(&mut self, index: LogIndex) -> bool {
        let is_new = index > self.matched || (index == self.matched && self.state == PeerState::Probe);
        if is_new {
            self.matched = index;
            self.next = self.next.max(index.next());
            self.is_paused = false;
            let acknowledged = self.inflight.iter().take_while(|&&last| last <= index).count();
            self.inflight.drain(..acknowledged);
        }
        is_new
    }

    /// It does not hold `prev_index`; the logs may be equal up to `hint`. False if that is out of date.
    pub(crate) fn rejected(&mut self, prev_index: LogIndex, hint: LogIndex) -> bool {
        match self.state {
            PeerState::Replicate if prev_index > self.matched => self.probe(),
            PeerState::Probe if self.next == prev_index.next() => {
                self.at_most = hint.min(LogIndex(prev_index.0.saturating_sub(1)));
                self.next = prev_index.min(hint.next()).max(self.matched.next());
                self.sent_commit = self.sent_commit.min(LogIndex(self.next.0 - 1));
                self.is_paused = false;
            }
            _ => return false,
        }
        true
    }

    /// What the log still has begins behind `start`. Asks there before a snapshot is sent, unless the peer has said that it
    /// does not hold `start`: it may have installed a snapshot that the leader takes for lost. Whether to ask.
    pub(crate) fn ask_at(&mut self, start: LogIndex) -> bool {
        let asks = self.at_most >= start;
        if asks {
            self.become_state(PeerState::Probe);
            self.next = start.next();
            self.sent_commit = self.sent_commit.min(start);
        }
        asks
    }

    /// Falls back to probing, after the snapshot if one was sent.
    pub(crate) fn probe(&mut self) {
        let known = match self.state {
            PeerState::Snapshot { index: Some(index) } => self.matched.max(index),
            _ => self.matched,
        };
        self.next = known.next();
        self.sent_commit = self.sent_commit.min(known);
        self.become_state(PeerState::Probe);
    }

    pub(crate) fn replicate(&mut self) {
        self.next = self.matched.next();
        self.become_state(PeerState::Replicate);
    }

    pub(crate) fn await_snapshot(&mut self) {
        self.become_state(PeerState::Snapshot { index: None });
    }

    /// The snapshot was taken and is on its way.
    pub(crate) fn snapshot_taken(&mut self, index: LogIndex) {
        assert_eq!(self.state, PeerState::Snapshot { index: None }, "a snapshot was awaited");
        self.state = PeerState::Snapshot { index: Some(index) };
        self.expects(index);
    }

    /// A snapshot is on its way to it; what follows is kept.
    pub(crate) fn expects(&mut self, index: LogIndex) {
        (self.expected, self.expected_ticks) = (index, 0);
    }

    /// The transfer ended. Nothing is sent before the peer is heard of, for it may not have got it yet.
    pub(crate) fn snapshot_sent(&mut self, delivered: bool) {
        if !delivered {
            self.state = PeerState::Snapshot { index: None };
        }
        // However that ended, it may be there.
        self.at_most = UNKNOWN;
        self.probe();
        self.is_paused = true;
    }

    fn become_state(&mut self, state: PeerState) {
        self.state = state;
        self.is_paused = false;
        self.inflight.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(next: u64) -> Progress {
        Progress::new(LogIndex(next), 2, true)
    }

    #[test]
    fn a_probe_waits_for_an_answer_and_follows_the_hint() {
        let mut peer = progress(10);
        peer.append_sent(Some(LogIndex(12)), LogIndex::ZERO);
        assert!(peer.is_paused() && peer.next == LogIndex(10));
        assert!(!peer.rejected(LogIndex(4), LogIndex(3)), "an answer to another probe");
        assert!(peer.rejected(LogIndex(9), LogIndex(5)));
        assert!(!peer.is_paused() && peer.next == LogIndex(6));
        assert!(peer.rejected(LogIndex(5), LogIndex(5)), "a hint above what was sent");
        assert_eq!(peer.next, LogIndex(5));
    }

    #[test]
    fn the_window_closes_and_opens() {
        let mut peer = progress(1);
        assert!(peer.accepted(LogIndex::ZERO));
        peer.replicate();
        peer.append_sent(Some(LogIndex(1)), LogIndex::ZERO);
        assert!(!peer.is_paused());
        peer.append_sent(Some(LogIndex(2)), LogIndex::ZERO);
        assert!(peer.is_paused() && !peer.has_room());
        assert!(peer.accepted(LogIndex(1)));
        assert!(!peer.is_paused() && peer.has_room());
        assert!(!peer.accepted(LogIndex(1)), "said before");
        assert!(!peer.rejected(LogIndex(1), LogIndex(0)), "acknowledged meanwhile");
        assert!(peer.rejected(LogIndex(2), LogIndex(1)));
        assert_eq!((peer.state, peer.next), (PeerState::Probe, LogIndex(2)));
    }

    #[test]
    fn a_peer_is_asked_once_before_a_snapshot_is_sent() {
        let mut peer = progress(1);
        assert!(peer.ask_at(LogIndex(7)) && peer.next == LogIndex(8));
        assert!(peer.rejected(LogIndex(7), LogIndex(0)));
        assert!(!peer.ask_at(LogIndex(7)), "it said that it lacks entry 7");
        peer.await_snapshot();
        peer.snapshot_taken(LogIndex(9));
        peer.snapshot_sent(false);
        assert!(peer.ask_at(LogIndex(9)), "it may have come all the same");
    }

    #[test]
    fn the_log_is_kept_for_whoever_is_heard_of_and_for_whoever_installs_a_snapshot() {
        let mut peer = progress(5);
        assert!(peer.accepted(LogIndex(4)));
        assert_eq!(peer.needed_from(), Some(LogIndex(4)));
        assert!(!peer.is_silent(1));
        peer.tick(1);
        assert!(peer.is_silent(1) && !peer.is_active());
        assert_eq!(peer.needed_from(), None, "it is away");
        peer.await_snapshot();
        peer.snapshot_taken(LogIndex(9));
        peer.snapshot_sent(true);
        assert_eq!(peer.needed_from(), Some(LogIndex(9)), "it is not heard of while it installs");
        (1..EXPECTED_TIMEOUTS_MAX).for_each(|_| peer.tick(1));
        assert_eq!(peer.needed_from(), Some(LogIndex(9)));
        (0..2).for_each(|_| peer.tick(1));
        assert_eq!(peer.needed_from(), None, "it does not come back");
        for delivered in [false, true] {
            peer.await_snapshot();
            peer.snapshot_taken(LogIndex(12));
            peer.snapshot_sent(delivered);
            assert_eq!(peer.needed_from(), Some(LogIndex(12)), "it may be there all the same");
        }
        assert!(peer.accepted(LogIndex(12)));
        assert_eq!(peer.needed_from(), None, "it has all of the snapshot");
    }

    #[test]
    fn a_snapshot_that_failed_is_not_counted() {
        for (delivered, next) in [(true, 8), (false, 1)] {
            let mut peer = progress(1);
            peer.await_snapshot();
            peer.snapshot_taken(LogIndex(7));
            assert!(peer.is_paused());
            peer.snapshot_sent(delivered);
            assert_eq!((peer.state, peer.next), (PeerState::Probe, LogIndex(next)));
            assert!(peer.is_paused(), "until it is heard of");
        }
    }
}
