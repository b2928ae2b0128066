//! One member's streams, their disks, and everything that may happen to them.

use std::collections::BTreeSet;

use windlass_io_disk::sim::SimDisk;
use windlass_io_log::ids::Identity;
use windlass_io_log::op::{Failure, Op};
use windlass_io_log::stream::{
    Options, Request, ShardHistory, ShardStream, Stable, StateHistory, StateStream, stable_at,
};
use windlass_records::state::State;
use windlass_types::splitmix::SplitMix64;
use windlass_types::{ByteOffset, LogIndex, ShardId, key::shard_of};

use crate::model::{Log, Owned, compact};

const SEGMENT_BYTES: usize = 32 << 10;
const FLUSH_BYTES: usize = 3000;
const FLUSH_AGE_NS: u64 = 1000;
const ROOM_BYTES: usize = 100 << 20;

/// A run's chance.
pub struct Rng(SplitMix64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.bits() % bound
    }
}

/// How often things happened, so that a test that tests nothing is seen.
#[derive(Debug, Default)]
pub struct Totals {
    starts: u64,
    checkpoints: u64,
    recycled: u64,
    new_layouts: u64,
    full: u64,
    failed: u64,
    cut: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.starts += other.starts;
        self.checkpoints += other.checkpoints;
        self.recycled += other.recycled;
        self.new_layouts += other.new_layouts;
        self.full += other.full;
        self.failed += other.failed;
        self.cut += other.cut;
    }

    pub fn assert_all_happened(&self) {
        let Self { starts, checkpoints, recycled, new_layouts, full, failed, cut } = self;
        for (what, n) in [
            ("starts", starts),
            ("checkpoints", checkpoints),
            ("recycled", recycled),
            ("new layouts", new_layouts),
            ("full disks", full),
            ("failed writes", failed),
            ("cuts below what was written", cut),
        ] {
            assert!(*n > 50, "{what}: {n}");
        }
    }
}

/// One shard: what is in memory, and its stream.
struct Shard {
    id: ShardId,
    disk: SimDisk,
    stream: ShardStream,
    memory: BTreeSet<Owned>,
    /// Compactions that wait for the end of a checkpoint's walk.
    compact: windlass_types::Revision,
    /// Last version that the checkpoint's walk handed over.
    walked: Option<Owned>,
}

pub struct World {
    rng: Rng,
    now_ns: u64,
    log: Log,
    /// Applied up to here.
    applied: LogIndex,
    shards: Vec<Shard>,
    state_disk: SimDisk,
    state: StateStream,
    stable: Stable,
    requests: Vec<Request>,
    totals: Totals,
}

fn options(stream: usize) -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        flush_bytes: FLUSH_BYTES,
        flush_age_ns: FLUSH_AGE_NS,
        ..Options::shard(Identity(stream as u64))
    }
}

const STATE: usize = 1000;

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let count = 1 + rng.below(3);
        let shards = (0..count).map(|i| Shard::empty(ShardId(i as u16), &mut rng)).collect();
        let mut state_disk = SimDisk::new(rng.below(u64::MAX), ROOM_BYTES);
        let state = StateHistory::open(options(STATE), &mut state_disk).unwrap();
        let state = state.start(&mut state_disk, State::EMPTY).unwrap();
        Self {
            rng,
            now_ns: 0,
            log: Log::default(),
            applied: LogIndex(0),
            shards,
            state_disk,
            state,
            stable: Stable::new(count as usize + 1, LogIndex(0)),
            requests: Vec::new(),
            totals: Totals::default(),
        }
    }

    pub fn step(&mut self) {
        match self.rng.below(100) {
            0..30 => self.apply(),
            30..45 => self.now_ns += self.rng.below(900),
            45..75 => (0..6).for_each(|_| self.complete_one()),
            75..90 => {
                let i = self.rng.below(self.shards.len() as u64) as usize;
                self.totals.checkpoints += u64::from(self.shards[i].checkpoint(&mut self.rng));
            }
            90..93 => self.change_room(),
            93..95 => {
                let i = self.rng.below(self.shards.len() as u64) as usize;
                self.shards[i].stream.flush();
                self.state.flush();
            }
            95 => {
                let i = self.rng.below(self.shards.len() as u64) as usize;
                self.shards[i].disk.fail_after(1 + self.rng.below(8));
            }
            96..99 => {}
            _ => return self.crash(),
        }
        self.tick();
    }

    /// Ends with room, time and no more crashes: everything must become durable, and be there after a start.
    pub fn finish(mut self) -> Totals {
        // A power failure forgets faults that were to come.
        self.crash();
        self.shards.iter_mut().for_each(|s| s.disk.set_capacity(ROOM_BYTES));
        self.apply();
        self.settle();
        assert_eq!(self.stable.index(), self.applied, "with room and time everything becomes durable");
        self.crash();
        assert!(self.applied >= self.stable.index());
        self.totals
    }

    fn apply(&mut self) {
        self.applied = self.applied.next();
        let count = self.shards.len() as u16;
        let entry = self.log.entry(self.applied, &mut self.rng);
        for shard in &mut self.shards {
            for version in entry.versions.iter().filter(|v| shard_of(&v.key, count) == shard.id) {
                shard.memory.insert(version.clone());
                shard.stream.append(&version.version());
            }
            shard.compact = entry.state.compact_revision;
            shard.stream.advance(self.applied);
        }
        self.state.append(entry.state);
    }

    fn tick(&mut self) {
        for shard in &mut self.shards {
            if !shard.stream.is_walking() {
                compact(&mut shard.memory, shard.compact);
            }
            shard.stream.tick(self.now_ns, &mut self.requests);
            self.totals.recycled += shard.submit(&mut self.requests);
        }
        self.state.tick(self.now_ns, &mut self.requests);
        self.state_disk.submit(self.requests.drain(..).map(|r| r.op));
    }

    fn complete_one(&mut self) {
        let i = self.rng.below(self.shards.len() as u64 + 1) as usize;
        let durable = match self.shards.get_mut(i) {
            Some(shard) => {
                let Some(done) = shard.disk.complete() else { return };
                self.totals.full += u64::from(done.result == Err(Failure::NoSpace));
                if shard.stream.complete(done, &mut self.requests).is_err() {
                    self.totals.failed += 1;
                    return self.crash();
                }
                self.totals.recycled += shard.submit(&mut self.requests);
                shard.stream.durable_index()
            }
            None => {
                let Some(done) = self.state_disk.complete() else { return };
                self.state.complete(done, &mut self.requests).unwrap();
                self.state_disk.submit(self.requests.drain(..).map(|r| r.op));
                self.state.durable_index()
            }
        };
        if let Some(stable) = self.stable.advance(i, durable) {
            self.shards.iter_mut().for_each(|s| s.stream.set_stable(stable));
            self.state.set_stable(stable);
        }
    }

    fn change_room(&mut self) {
        for shard in &mut self.shards {
            let full = self.rng.below(2) == 0;
            shard.disk.set_capacity(if full { shard.disk.used() } else { ROOM_BYTES });
        }
    }

    /// Time passes until nothing is to be done any more.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.now_ns += windlass_io_log::stream::RETRY_NS;
            self.tick();
            (0..20 * self.shards.len()).for_each(|_| self.complete_one());
        }
    }

    fn fail(disk: SimDisk, power: bool) -> SimDisk {
        if power { disk.crash() } else { disk.kill() }
    }

    fn crash(&mut self) {
        let power = self.rng.below(2) == 0;
        for shard in &mut self.shards {
            let disk = std::mem::replace(&mut shard.disk, SimDisk::new(0, 0));
            shard.disk = Self::fail(disk, power);
        }
        let disk = std::mem::replace(&mut self.state_disk, SimDisk::new(0, 0));
        self.state_disk = Self::fail(disk, power);
        self.start();
    }

    /// A start: find the stable index, load, compare, cut. It may be interrupted and begin again.
    fn start(&mut self) {
        self.totals.starts += 1;
        let histories: Vec<_> = self.shards.iter_mut().map(|s| s.open()).collect();
        let states = StateHistory::open(options(STATE), &mut self.state_disk).unwrap();
        let shards_have = histories.iter().map(ShardHistory::durable_index).min().unwrap();
        let known = states.states().iter().map(|s| s.index);
        let stable = stable_at(known, shards_have).unwrap_or(LogIndex(0));
        assert!(stable >= self.stable.index(), "stable fell from {} to {stable}", self.stable.index());
        self.totals.cut += histories.iter().filter(|h| h.durable_index() > stable).count() as u64;
        let state = states.states().iter().rfind(|s| s.index == stable).copied().unwrap_or(State::EMPTY);
        assert_eq!(state, self.log.state(stable));

        let count = self.shards.len() as u16;
        for (shard, history) in self.shards.iter_mut().zip(&histories) {
            shard.load(history, &state);
            let want = self.log.held(shard.id, count, stable);
            assert!(
                shard.memory == want,
                "shard {} at {stable}: {}",
                shard.id,
                difference(&shard.memory, &want)
            );
        }
        // The disk may be full at a start; the reserve of each segment is for that, but it is not endless.
        for shard in &mut self.shards {
            shard.disk.set_capacity(ROOM_BYTES);
        }
        for (shard, history) in self.shards.iter_mut().zip(histories) {
            if self.rng.below(20) == 0 {
                return self.start();
            }
            shard.stream = history.start(&mut shard.disk, stable).unwrap();
        }
        self.state = states.start(&mut self.state_disk, state).unwrap();
        self.applied = stable;
        if self.rng.below(2) == 0 {
            // A log never forks, but a folder may be restored under another one: what was cut must not come back.
            self.log.entries.truncate(stable.0 as usize);
        }
        self.stable = Stable::new(self.shards.len() + 1, stable);
        if self.rng.below(4) == 0 {
            self.change_layout(state);
        }
    }

    /// Moves everything to another number of shards; a crash before the end leaves the old layout.
    fn change_layout(&mut self, state: State) {
        let count = 1 + self.rng.below(4) as u16;
        let mut shards: Vec<_> = (0..count).map(|i| Shard::empty(ShardId(i), &mut self.rng)).collect();
        for version in self.shards.iter().flat_map(|s| &s.memory) {
            let shard = &mut shards[usize::from(shard_of(&version.key, count).0)];
            shard.memory.insert(version.clone());
        }
        for shard in &mut shards {
            shard.compact = state.compact_revision;
            shard.stream.seed(state.index);
            while shard.stream.is_seeding() {
                assert_eq!(shard.stream.durable_index(), LogIndex(0), "half a checkpoint claims nothing");
                if self.rng.below(200) == 0 {
                    return;
                }
                self.now_ns += self.rng.below(900);
                shard.walk(3);
                shard.stream.tick(self.now_ns, &mut self.requests);
                self.totals.recycled += shard.submit(&mut self.requests);
                if let Some(done) = shard.disk.complete() {
                    shard.stream.complete(done, &mut self.requests).unwrap();
                    self.totals.recycled += shard.submit(&mut self.requests);
                }
            }
            assert_eq!(shard.stream.durable_index(), state.index);
        }
        self.totals.new_layouts += 1;
        self.shards = shards;
        self.stable = Stable::new(usize::from(count) + 1, state.index);
        self.crash();
    }
}

impl Shard {
    fn empty(id: ShardId, rng: &mut Rng) -> Self {
        let mut disk = SimDisk::new(rng.below(u64::MAX), ROOM_BYTES);
        let history = ShardHistory::open(options(id.0.into()), &mut disk).unwrap();
        let stream = history.start(&mut disk, LogIndex(0)).unwrap();
        Self {
            id,
            disk,
            stream,
            memory: BTreeSet::new(),
            compact: windlass_types::Revision(-1),
            walked: None,
        }
    }

    /// Hands the requests to the disk; how many of them begin a segment in a slot that held another one.
    fn submit(&mut self, requests: &mut Vec<Request>) -> u64 {
        let mut recycled = 0;
        for Request { op, .. } in requests.drain(..) {
            if let Op::WriteDurable { slot, offset: ByteOffset(0), .. } = &op {
                let (_, bytes) = self.disk.files().find(|(s, _)| s == slot).expect("a prepared slot");
                recycled += u64::from(bytes[0] != 0);
            }
            self.disk.submit([op]);
        }
        recycled
    }

    fn open(&mut self) -> ShardHistory {
        ShardHistory::open(options(self.id.0.into()), &mut self.disk).unwrap()
    }

    fn load(&mut self, history: &ShardHistory, state: &State) {
        self.memory.clear();
        let Self { memory, disk, .. } = self;
        history.load(disk, state.index, &mut |r| _ = memory.insert(Owned::of(r))).unwrap();
        compact(memory, state.compact_revision);
        self.compact = state.compact_revision;
        self.walked = None;
    }

    /// Begins a checkpoint or takes it further; whether one ended.
    fn checkpoint(&mut self, rng: &mut Rng) -> bool {
        if self.stream.is_walking() {
            self.walk(1 + rng.below(40) as usize);
            return !self.stream.is_walking();
        }
        let live_bytes = self.memory.iter().map(|v| 64 + v.value.as_ref().map_or(0, Vec::len) as u64).sum();
        if self.stream.wants_checkpoint(live_bytes) || (rng.below(8) == 0 && self.stream.may_checkpoint()) {
            self.walked = None;
            self.stream.begin_checkpoint();
        }
        false
    }

    fn walk(&mut self, versions: usize) {
        for _ in 0..versions {
            if !self.stream.takes_checkpoint() {
                return;
            }
            let next = match &self.walked {
                None => self.memory.first(),
                Some(last) => self.memory.iter().find(|v| *v > last),
            };
            match next.cloned() {
                Some(version) => {
                    self.stream.checkpoint(&version.version());
                    self.walked = Some(version);
                }
                None => return self.stream.end_checkpoint(),
            }
        }
    }
}

fn difference(found: &BTreeSet<Owned>, want: &BTreeSet<Owned>) -> String {
    let brief =
        |v: &Owned| format!("{}@{} of entry {}", String::from_utf8_lossy(&v.key), v.revision, v.index);
    let missing: Vec<_> = want.difference(found).map(brief).collect();
    let extra: Vec<_> = found.difference(want).map(brief).collect();
    format!("missing {missing:?}, too much {extra:?}")
}
