//! Messages that no honest member sends, at members in every state: nothing may panic, and what the core asks of its
//! disk must stay consistent (the disk asserts it).
//!
//! `SEED=17 cargo test -p windlass-raft --test noise` runs one seed alone.

mod disk;
#[path = "network/random.rs"]
mod random;

use bytes::Bytes;
use disk::Disk;
use random::Random;
use windlass_raft::{
    Action, Body, Change, ConfChange, Config, EntryId, Input, Membership, Message, Raft, ReadContext, ReadId,
    Restored, SnapshotMeta,
};
use windlass_records::log::{Entry, EntryKind};
use windlass_types::{LogIndex, MemberId, Term};

const EVENTS: usize = 600;
const SEEDS: u64 = 400;

struct Noise {
    random: Random,
    raft: Raft,
    disk: Disk,
}

impl Noise {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let disk = match random.below(3) {
            0 => Disk::new(Membership::default()),
            1 => Disk::new(Membership::of_voters([MemberId(1)])),
            _ => Disk::new(Membership::of_voters((1..4).map(MemberId))),
        };
        let restored: Restored = disk.restored();
        let config = Config {
            pre_vote: random.percent(50),
            check_quorum: random.percent(50),
            retained_bytes_max: 1000,
            uncommitted_bytes_max: 500,
            ..Config::new(MemberId(1), 1, seed)
        };
        Self { random, raft: Raft::new(config, restored), disk }
    }

    /// A number that is near enough to be believed, or far out.
    fn number(&mut self, near: u64) -> u64 {
        match self.random.below(10) {
            0 => u64::MAX - self.random.below(2) as u64,
            1 => (1 << 62) + 1 - self.random.below(3) as u64,
            2 => 0,
            _ => (near + self.random.below(5) as u64).saturating_sub(2),
        }
    }

    fn index(&mut self) -> LogIndex {
        let near =
            [self.raft.commit(), self.raft.last_index(), self.raft.start_index()][self.random.below(3)];
        LogIndex(self.number(near.0))
    }

    fn term(&mut self) -> Term {
        Term(self.number(self.raft.term().0))
    }

    fn member(&mut self) -> MemberId {
        MemberId(self.random.below(5) as u64)
    }

    /// Often the true one, so that more gets past the first check.
    fn entry_id(&mut self) -> EntryId {
        let index = self.index();
        let term = self.term();
        let term = self.raft.term_at(index).filter(|_| self.random.percent(80)).unwrap_or(term);
        EntryId { index, term }
    }

    fn entries(&mut self, after: EntryId) -> Vec<Entry> {
        let (mut index, mut term) = (after.index.0, after.term);
        let count = self.random.below(4);
        let mut entries = Vec::new();
        for _ in 0..count {
            index = if self.random.percent(97) { index.wrapping_add(1) } else { self.index().0 };
            term = if self.random.percent(80) { term } else { self.term() };
            let kind = if self.random.percent(80) { EntryKind::Normal } else { EntryKind::ConfChange };
            let data = self.data(kind);
            entries.push(Entry { term, index: LogIndex(index), kind, data });
        }
        entries
    }

    fn data(&mut self, kind: EntryKind) -> Bytes {
        if kind == EntryKind::Normal || self.random.percent(20) {
            return Bytes::from(vec![1; self.random.below(60)]);
        }
        let (one, other) = (self.member().next(), self.member().next());
        let changes =
            [Change::AddVoter(one), Change::Remove(other), Change::AddLearner(one), Change::Remove(one)];
        let changes = changes[..self.random.below(changes.len())].to_vec();
        ConfChange { changes, ..ConfChange::default() }.encode()
    }

    fn context(&mut self) -> ReadContext {
        let sequence = self.number(3);
        ReadContext { term: self.term(), incarnation: self.random.below(2) as u64, sequence }
    }

    fn body(&mut self) -> Body {
        let (id, other, index) = (self.entry_id(), self.entry_id(), self.index());
        let flag = self.random.percent(50);
        match self.random.below(14) {
            0 => Body::PreVote { last: id, commit: other },
            1 => Body::PreVoteReply { granted: flag, commit: id },
            2 => Body::Vote { last: id, commit: other, transfer: flag },
            3 => Body::VoteReply { granted: flag, commit: id },
            4 | 5 => {
                let entries = self.entries(id);
                Body::Append { prev_index: id.index, prev_term: id.term, commit: index, entries }
            }
            6 => Body::AppendAccepted { index },
            7 => Body::AppendRejected { prev_index: index, hint_index: id.index, hint_term: id.term },
            8 => Body::Heartbeat { commit: index, read: flag.then(|| self.context()) },
            9 => Body::HeartbeatReply { read: flag.then(|| self.context()) },
            10 => {
                let membership = Membership::of_voters((0..self.random.below(4)).map(|_| self.member()));
                Body::Snapshot(SnapshotMeta { index: id.index, term: id.term, membership })
            }
            11 => Body::ReadIndex(self.context()),
            12 => Body::ReadIndexReply { context: self.context(), index },
            _ if flag => Body::TimeoutNow,
            _ => Body::StaleTerm,
        }
    }

    fn input(&mut self) -> Input {
        match self.random.below(20) {
            0 => Input::Tick,
            1 => Input::Campaign,
            2 => {
                let kind = if self.random.percent(50) { EntryKind::Normal } else { EntryKind::ConfChange };
                let data = self.data(kind);
                Input::Propose { kind, data }
            }
            3 => Input::ReadIndex(ReadId(1)),
            4 => Input::TransferLeader(self.member()),
            5 => Input::ReportUnreachable(self.member()),
            6 => Input::SnapshotSent { to: self.member(), delivered: true },
            7 => match self.disk.complete(1).0 {
                Some(id) => Input::Persisted(id),
                None => Input::Tick,
            },
            _ => {
                let term = if self.random.percent(70) { self.raft.term() } else { self.term() };
                let to = if self.random.percent(98) { MemberId(1) } else { self.member() };
                Input::Receive(Message { from: self.member(), to, term, body: self.body() })
            }
        }
    }

    fn run(&mut self) {
        let mut actions = Vec::new();
        for _ in 0..EVENTS {
            let input = self.input();
            self.raft.step(input, &mut actions);
            for action in actions.drain(..) {
                match action {
                    Action::Persist(persist) => self.disk.submit(persist),
                    Action::Apply(entries) => {
                        let last = entries.last().expect("never nothing").index;
                        self.raft.step(Input::Applied(last), &mut Vec::new());
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn no_message_can_panic() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => seed.parse().map(|seed: u64| seed..seed + 1).expect("a number"),
        Err(_) => 0..SEEDS,
    };
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| Noise::new(seed).run());
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("failed with SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
