//! A Raft log on the simulated disk beside a model of what it may hold after a crash.

use bytes::Bytes;
use windlass_io_disk::sim::SimDisk;
use windlass_io_log::Error;
use windlass_io_log::buffer::BLOCK_BYTES;
use windlass_io_log::error::Repair;
use windlass_io_log::ids::Identity;
use windlass_io_log::op::{Completion, Op};
use windlass_io_log::raft_log::{Fatal, Options, RaftLog, Recovered};
use windlass_records::log::{Entry, EntryKind, HardState};
use windlass_types::splitmix::SplitMix64;
use windlass_types::{LogIndex, MemberId, Term};

pub const IDENTITY: Identity = Identity(0x51ab);

pub fn options(flush_depth: usize) -> Options {
    Options {
        segment_bytes: 16 * BLOCK_BYTES,
        flush_depth,
        frame_bytes_max: 3 * BLOCK_BYTES,
        reserve_bytes: 2 * BLOCK_BYTES,
        repair: Repair::FromBackup,
    }
}

/// A run's chance.
pub struct Random(SplitMix64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed ^ 0x5eed))
    }

    /// In `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.bits() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

enum Event {
    Append(Option<HardState>, Vec<Entry>),
    Cut(LogIndex, Term),
}

/// One life of the log: from a recovery to the next crash.
pub struct Life {
    pub disk: SimDisk,
    pub log: RaftLog,
    base: Recovered,
    events: Vec<Event>,
    /// Position in `events` of the last acknowledged append, plus one.
    acknowledged: usize,
    /// As the log sees it, after all events.
    now: Recovered,
}

impl Life {
    /// Recovers; where the disk is too full for that, it gets room.
    pub fn start(mut disk: SimDisk, options: Options) -> Result<Self, Error> {
        let mut outcome = RaftLog::recover(&mut disk, options, IDENTITY);
        if let Err(Error::NoSpace { .. }) = outcome {
            disk.set_capacity(1 << 30);
            outcome = RaftLog::recover(&mut disk, options, IDENTITY);
        }
        let (log, base) = outcome?;
        let now = base.clone();
        Ok(Self { disk, log, base, events: Vec::new(), acknowledged: 0, now })
    }

    /// A recovery whose result nobody uses.
    pub fn start_on(disk: &mut SimDisk, options: Options) -> Result<(), Error> {
        RaftLog::recover(disk, options, IDENTITY).map(|_| ())
    }

    pub fn cut_to(&mut self, index: u64, ops: &mut Vec<Op>) {
        if let Some(at) = self.now.entries.iter().find(|e| e.index.0 == index) {
            let event = Event::Cut(at.index, at.term);
            self.log.cut(at.index, at.term, ops);
            apply(&mut self.now, &event);
            self.events.push(event);
        }
    }

    pub fn recovered(&self) -> &Recovered {
        &self.base
    }

    /// One random step. A failed operation ends the life.
    pub fn step(&mut self, random: &mut Random) -> Result<(), Fatal> {
        let mut ops = Vec::new();
        match random.below(10) {
            0..=4 if self.log.can_flush() => self.append_random(random, &mut ops),
            5 => self.cut_random(random, &mut ops),
            6 if random.one_in(2) => self.log.settle(&mut ops),
            6 => self.log.retry(&mut ops),
            _ => return self.complete(),
        }
        self.disk.submit(ops);
        Ok(())
    }

    /// Completes one operation.
    pub fn complete(&mut self) -> Result<(), Fatal> {
        let completion = self.disk.complete();
        self.take(completion)
    }

    /// Completes this operation of those in flight.
    pub fn complete_at(&mut self, at: usize) -> Result<(), Fatal> {
        let completion = self.disk.complete_at(at);
        self.take(completion)
    }

    fn take(&mut self, completion: Option<Completion>) -> Result<(), Fatal> {
        let (mut ops, mut durable) = (Vec::new(), Vec::new());
        if let Some(completion) = completion {
            self.log.complete(completion, &mut ops, &mut durable)?;
        }
        for id in durable {
            let appends = &self.events[self.acknowledged..];
            let next =
                appends.iter().position(|e| matches!(e, Event::Append(..))).expect("an append was reported");
            assert_eq!(id as usize, self.acknowledged + next, "reported out of order");
            self.acknowledged = id as usize + 1;
        }
        self.disk.submit(ops);
        Ok(())
    }

    pub fn complete_all(&mut self) -> Result<(), Fatal> {
        while self.disk.in_flight() > 0 {
            self.complete()?;
        }
        Ok(())
    }

    /// Appends; `false` if the log is full.
    pub fn append(&mut self, hard_state: Option<HardState>, entries: Vec<Entry>, ops: &mut Vec<Op>) -> bool {
        let id = self.events.len() as u64;
        if self.log.append(id, hard_state, &entries, ops).is_err() {
            return false;
        }
        self.events.push(Event::Append(hard_state, entries));
        apply(&mut self.now, self.events.last().expect("just pushed"));
        true
    }

    fn append_random(&mut self, random: &mut Random, ops: &mut Vec<Op>) {
        let term = Term(self.now.hard_state.term.0.max(1) + u64::from(random.one_in(5)));
        let hard_state = HardState { term, vote: MemberId(random.below(3)), commit: self.now.start_index };
        let hard_state = random.one_in(3).then_some(hard_state);
        let last = self.log.last_index().0;
        let first = if random.one_in(6) {
            last + 1 - random.below(last - self.now.start_index.0 + 1)
        } else {
            last + 1
        };
        let count = if random.one_in(4) { 0 } else { random.below(6) };
        let entries = (0..count).map(|i| entry(first + i, term, random)).collect();
        let _full = self.append(hard_state, entries, ops);
    }

    fn cut_random(&mut self, random: &mut Random, ops: &mut Vec<Op>) {
        let acknowledged = self.state(self.acknowledged);
        let (start, last) = (self.now.start_index.0, self.log.last_index().0);
        let snapshot = random.one_in(12) && self.disk.in_flight() == 0;
        let (index, term) = if snapshot {
            (last + 1 + random.below(5), self.now.hard_state.term)
        } else {
            // Only what is durable and will not be replaced is cut.
            let durable = acknowledged.entries.iter().filter(|e| self.now.entries.contains(e));
            let durable: Vec<_> = durable.filter(|e| e.index.0 > start).collect();
            if durable.is_empty() {
                return;
            }
            let at = durable[random.below(durable.len() as u64) as usize];
            (at.index.0, at.term)
        };
        self.log.cut(LogIndex(index), term, ops);
        self.events.push(Event::Cut(LogIndex(index), term));
        apply(&mut self.now, self.events.last().expect("just pushed"));
    }

    fn state(&self, events: usize) -> Recovered {
        let mut state = self.base.clone();
        self.events[..events].iter().for_each(|e| apply(&mut state, e));
        state
    }

    /// Whether a recovery after this life, in which everything up to event `from` was durable, may find `found`.
    pub fn explains(&self, found: &Recovered, from: usize) -> bool {
        let mut state = self.state(from);
        if same(&state, found, &self.now) {
            return true;
        }
        for event in &self.events[from..] {
            if let Event::Append(_, entries) = event {
                for some in 1..entries.len() {
                    let mut partly = state.clone();
                    apply(&mut partly, &Event::Append(None, entries[..some].to_vec()));
                    if same(&partly, found, &self.now) {
                        return true;
                    }
                }
            }
            apply(&mut state, event);
            if same(&state, found, &self.now) {
                return true;
            }
        }
        false
    }

    /// Position in the events before which all but the last `count` appends lie.
    pub fn before_last_appends(&self, count: usize) -> usize {
        let mut appends = (0..self.events.len()).filter(|&i| matches!(self.events[i], Event::Append(..)));
        appends.nth_back(count - 1).unwrap_or(0)
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    pub fn now(&self) -> &Recovered {
        &self.now
    }

    /// Counts appends as acknowledged that are not: the canary.
    pub fn lie(&mut self) {
        self.acknowledged = self.events.len();
    }
}

pub fn entry(index: u64, term: Term, random: &mut Random) -> Entry {
    let data = vec![random.below(256) as u8; random.below(5000) as usize];
    Entry { term, index: LogIndex(index), kind: EntryKind::Normal, data: Bytes::from(data) }
}

/// The naive log.
fn apply(state: &mut Recovered, event: &Event) {
    match event {
        Event::Append(hard_state, entries) => {
            state.hard_state = hard_state.unwrap_or(state.hard_state);
            if let Some(first) = entries.first() {
                state.entries.retain(|e| e.index < first.index);
                state.entries.extend(entries.iter().cloned());
            }
        }
        Event::Cut(index, term) => {
            (state.start_index, state.start_term) = (*index, *term);
            state.entries.retain(|e| e.index > *index);
        }
    }
}

/// Equal but for the start, which a frame of any later moment may have moved on up to `latest`.
fn same(model: &Recovered, found: &Recovered, latest: &Recovered) -> bool {
    let start = found.start_index;
    let entries = model.entries.iter().filter(|e| e.index > start);
    model.hard_state == found.hard_state
        && (model.start_index..=latest.start_index).contains(&start)
        && entries.eq(&found.entries)
}
