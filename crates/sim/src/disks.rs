//! The disks of one member: one folder for the Raft log, one for each stream. They outlive the process; what they do
//! with its writes when it dies is the simulated disk's business.

use windlass_io_disk::sim::SimDisk;
use windlass_io_log::frame::HEADER_BYTES;
use windlass_io_log::op::{Completion, Failure, FileSlot, Op};
use windlass_io_log::segment::FIRST_FRAME_AT;
use windlass_io_log::stream::manifest::Generation;
use windlass_types::ByteOffset;

use crate::random::Random;
use crate::report::{Count, Totals};

/// Room of each disk in bytes, when it is not full: never a limit.
const ROOM_BYTES: usize = 64 << 20;

/// A folder of the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskId {
    /// The Raft log's.
    Log,
    /// That of a shard's stream.
    Shard(u16),
    /// That of the sequencer's stream.
    State,
}

/// The streams' folders of one number of shards.
pub struct Layout {
    /// Which one it is; a manifest names the valid one.
    pub generation: Generation,
    /// Of each shard.
    pub shards: Vec<SimDisk>,
    /// Of the sequencer.
    pub state: SimDisk,
}

impl Layout {
    /// Empty folders.
    #[must_use]
    pub fn empty(generation: Generation, shards: u16, full: bool, random: &mut Random) -> Self {
        let capacity = if full { 0 } else { ROOM_BYTES };
        let mut disk = || SimDisk::new(random.number(), capacity);
        Self { generation, shards: (0..shards).map(|_| disk()).collect(), state: disk() }
    }

    /// Number of shards.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::try_from(self.shards.len()).expect("few shards")
    }
}

/// All of them.
pub struct Disks {
    /// The Raft log's.
    pub log: SimDisk,
    /// The valid layout's.
    pub layout: Layout,
    /// Whether there is no room at present.
    pub full: bool,
    /// Whether some operation failed, or will, since the process died last.
    pub failing: bool,
}

impl Disks {
    /// Empty disks.
    #[must_use]
    pub fn new(shards: u16, random: &mut Random) -> Self {
        let log = SimDisk::new(random.number(), ROOM_BYTES);
        let layout = Layout::empty(Generation(1), shards, false, random);
        Self { log, layout, full: false, failing: false }
    }

    /// One disk.
    pub fn get(&mut self, id: DiskId) -> &mut SimDisk {
        match id {
            DiskId::Log => &mut self.log,
            DiskId::Shard(shard) => &mut self.layout.shards[usize::from(shard)],
            DiskId::State => &mut self.layout.state,
        }
    }

    /// All of it is gone; there are empty ones in their place.
    pub fn lose(&mut self, shards: u16, random: &mut Random) {
        let full = self.full;
        *self = Self::new(shards, random);
        self.set_full(full);
    }

    fn any(&self, random: &mut Random) -> DiskId {
        match random.below(u64::from(self.layout.count()) + 3) {
            0 | 1 => DiskId::Log,
            2 => DiskId::State,
            shard => DiskId::Shard((shard - 3) as u16),
        }
    }

    /// Starts an operation.
    pub fn submit(&mut self, id: DiskId, op: Op, totals: &mut Totals) {
        let disk = self.get(id);
        if let Op::WriteDurable { slot, offset, .. } = &op {
            totals.count(Count::DiskWrites);
            let recycled = || disk.files().any(|(found, bytes)| found == *slot && bytes[0] != 0);
            if *offset == ByteOffset(0) && recycled() {
                totals.count(match id {
                    DiskId::Log => Count::LogRecycled,
                    DiskId::State => Count::StateRecycled,
                    DiskId::Shard(_) => Count::ShardRecycled,
                });
            }
        }
        disk.submit([op]);
    }

    /// Completes some operation of a disk.
    pub fn complete(&mut self, id: DiskId, totals: &mut Totals) -> Option<Completion> {
        let completion = self.get(id).complete()?;
        match &completion.result {
            Ok(()) => {}
            Err(Failure::NoSpace) => totals.count(Count::RefusedSegments),
            Err(Failure::Io(_)) => totals.count(Count::FailedOperations),
        }
        Some(completion)
    }

    /// The `operations`-th operation from now on some disk fails.
    pub fn fail_after(&mut self, operations: u64, random: &mut Random) {
        let id = self.any(random);
        self.get(id).fail_after(operations);
        self.failing = true;
    }

    /// No operation fails any more.
    pub fn heal(&mut self) {
        let Self { log, layout, .. } = self;
        for disk in layout.shards.iter_mut().chain([log, &mut layout.state]) {
            disk.fail_after(u64::MAX);
        }
    }

    /// The process dies, and with it perhaps the machine.
    pub fn die(&mut self, power: bool) {
        let fate = |disk: &mut SimDisk| {
            let old = std::mem::replace(disk, SimDisk::new(0, 0));
            *disk = if power { old.crash() } else { old.kill() };
        };
        fate(&mut self.log);
        self.layout.shards.iter_mut().for_each(fate);
        fate(&mut self.layout.state);
        self.failing = false;
    }

    /// A bit of some stream of the shards rots. Not of a segment's header: a bit of its version makes it one of another
    /// version, which nobody repairs.
    pub fn rot(&mut self, random: &mut Random) -> bool {
        let at = random.below(u64::from(self.layout.count()) + 1) as usize;
        let Layout { shards, state, .. } = &mut self.layout;
        let disk = shards.get_mut(at).unwrap_or(state);
        let files: Vec<(FileSlot, usize)> = disk.files().map(|(slot, bytes)| (slot, bytes.len())).collect();
        if files.is_empty() {
            return false;
        }
        let (slot, size) = files[random.below(files.len() as u64) as usize];
        if size <= FIRST_FRAME_AT {
            return false;
        }
        // Much of a segment is unused; its first frame is not.
        let range = if random.one_in(3) { size - FIRST_FRAME_AT } else { HEADER_BYTES };
        let offset = FIRST_FRAME_AT + random.below(range as u64) as usize;
        disk.flip(slot, offset, random.below(8) as u8);
        true
    }

    /// No disk has room for a further file, or all have again.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
        let Self { log, layout, .. } = self;
        for disk in layout.shards.iter_mut().chain([log, &mut layout.state]) {
            let capacity = if full { disk.used() } else { ROOM_BYTES };
            disk.set_capacity(capacity);
        }
    }
}
