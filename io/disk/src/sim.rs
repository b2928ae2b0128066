//! A simulated disk: executes [`Op`]s deterministically from a seed, and shows what a power failure leaves.
//!
//! The fault model, and the only faults there are:
//! - A write in flight may have reached the disk in part. The unit is a sector of 512 bytes: at [`SimDisk::crash`]
//!   each of its sectors is independently old or new. Writes in flight complete in any order.
//! - What a completed durable write or [`Folder::settle`] covered survives. After [`SimDisk::kill`] (the process
//!   died, the machine did not) writes that were in flight may be readable without being durable.
//! - A file being prepared exists whole or not at all after a crash; so does one being removed.
//! - An operation may fail ([`SimDisk::fail_after`]); a failed write leaves its sectors old or new.
//! - There may be no room ([`SimDisk::set_capacity`]).
//! - A stored bit may flip ([`SimDisk::flip`]).
//!
//! Not modelled: a sector torn within itself, a write that goes astray.

use std::collections::BTreeMap;

use windlass_io_log::buffer::{BLOCK_BYTES, Buffer};
use windlass_io_log::folder::{Folder, Listing};
use windlass_io_log::op::{Completion, Failure, FileSlot, Op};
use windlass_types::ByteOffset;
use windlass_types::splitmix::SplitMix64;

/// What a power failure leaves whole, in bytes.
pub const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    /// What a read sees.
    live: Vec<u8>,
    /// What a power failure leaves.
    synced: Vec<u8>,
}

/// Something in flight that a power failure finds done or not, by itself.
enum Open<'a> {
    /// A file that is made or removed.
    Whole(&'a Op),
    /// A sector that is written.
    Sector { slot: FileSlot, at: usize, bytes: &'a [u8] },
}

impl Open<'_> {
    fn reach(&self, files: &mut BTreeMap<FileSlot, File>) {
        match *self {
            Self::Whole(Op::Prepare { slot, size, .. }) => {
                files.insert(*slot, File::zeroed(size.0 as usize));
            }
            Self::Whole(Op::Remove { slot, .. }) => drop(files.remove(slot)),
            Self::Whole(Op::WriteDurable { .. }) => unreachable!("written sector by sector"),
            Self::Sector { slot, at, bytes } => {
                let file = files.get_mut(&slot).expect("a write to a file that exists");
                file.live[at..at + bytes.len()].copy_from_slice(bytes);
                file.synced[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl File {
    fn zeroed(size: usize) -> Self {
        Self { live: vec![0; size], synced: vec![0; size] }
    }
}

/// The disk under one folder.
pub struct SimDisk {
    files: BTreeMap<FileSlot, File>,
    in_flight: Vec<Op>,
    capacity: usize,
    /// Operations until one fails.
    fail_after: Option<u64>,
    random: Random,
}

impl SimDisk {
    /// An empty disk with room for `capacity` bytes of files. Equal seeds and calls give equal outcomes.
    #[must_use]
    pub fn new(seed: u64, capacity: usize) -> Self {
        Self {
            files: BTreeMap::new(),
            in_flight: Vec::new(),
            capacity,
            fail_after: None,
            random: Random(SplitMix64::new(seed)),
        }
    }

    /// Starts operations.
    ///
    /// # Panics
    /// If one breaks the contract of [`Op`]: an unaligned write, one past the file's end, a slot that is or is not there.
    pub fn submit(&mut self, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            self.check(&op);
            self.in_flight.push(op);
        }
    }

    /// Number of operations that have not completed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Completes one operation in flight, any of them; `None` if there is none.
    pub fn complete(&mut self) -> Option<Completion> {
        if self.in_flight.is_empty() {
            return None;
        }
        let at = self.random.below(self.in_flight.len() as u64) as usize;
        self.complete_at(at)
    }

    /// Completes this operation of those in flight; `None` if there is none.
    pub fn complete_at(&mut self, at: usize) -> Option<Completion> {
        let op = (at < self.in_flight.len()).then(|| self.in_flight.swap_remove(at))?;
        Some(self.execute(op))
    }

    /// The `operations`-th operation from now fails (1: the next).
    pub fn fail_after(&mut self, operations: u64) {
        self.fail_after = Some(operations);
    }

    /// Sets how many bytes of files there is room for; files that exist stay.
    pub fn set_capacity(&mut self, bytes: usize) {
        self.capacity = bytes;
    }

    /// Bytes of files.
    #[must_use]
    pub fn used(&self) -> usize {
        self.files.values().map(|f| f.live.len()).sum()
    }

    /// The disk as found after a power failure now.
    #[must_use]
    pub fn crash(mut self) -> Self {
        self.apply_in_flight();
        for file in self.files.values_mut() {
            let sectors = file.live.chunks(SECTOR_BYTES).zip(file.synced.chunks_mut(SECTOR_BYTES));
            for (live, synced) in sectors.filter(|(live, synced)| live != synced) {
                if self.random.coin() {
                    synced.copy_from_slice(live);
                }
            }
            file.live.clone_from(&file.synced);
        }
        self.fail_after = None;
        self
    }

    /// Every disk that may be found after a power failure now. `None` if more than `open_max` sectors and operations may
    /// be there or not: each of them doubles the number.
    #[must_use]
    pub fn crashes(&self, open_max: u32) -> Option<Vec<Self>> {
        let open: Vec<Open<'_>> = self.in_flight.iter().flat_map(|op| self.open(op)).collect();
        if open.len() > open_max as usize {
            return None;
        }
        let outcome = |reached: u32| {
            let mut disk =
                Self { files: self.files.clone(), in_flight: Vec::new(), ..Self::new(0, self.capacity) };
            disk.files.values_mut().for_each(|file| file.live.clone_from(&file.synced));
            let done = (0_u32..).zip(&open).filter(|(at, _)| reached >> at & 1 == 1);
            done.for_each(|(_, open)| open.reach(&mut disk.files));
            disk
        };
        Some((0..1_u32 << open.len()).map(outcome).collect())
    }

    /// What of an operation in flight may have been done by itself.
    fn open<'a>(&'a self, op: &'a Op) -> Vec<Open<'a>> {
        let Op::WriteDurable { slot, offset, buffer, .. } = op else { return vec![Open::Whole(op)] };
        let at = offset.0 as usize;
        let old = self.files[slot].synced[at..].chunks(SECTOR_BYTES);
        let sectors = (at..).step_by(SECTOR_BYTES).zip(buffer.bytes().chunks(SECTOR_BYTES)).zip(old);
        let differ = sectors.filter(|((_, new), old)| new != old);
        differ.map(|((at, bytes), _)| Open::Sector { slot: *slot, at, bytes }).collect()
    }

    /// The files, and for each operation in flight what it does: disks that are equal in this behave alike.
    #[must_use]
    pub fn describe(&self) -> Vec<(FileSlot, usize, &[u8])> {
        let files = self.files.iter().map(|(&slot, file)| (slot, 0, &file.live[..]));
        let in_flight = self.in_flight.iter().map(|op| match op {
            Op::Prepare { slot, size, .. } => (*slot, size.0 as usize, &[][..]),
            Op::Remove { slot, .. } => (*slot, 0, &[][..]),
            Op::WriteDurable { slot, offset, buffer, .. } => (*slot, offset.0 as usize, buffer.bytes()),
        });
        files.chain(in_flight).collect()
    }

    /// The disk as found after the process died now: what was in flight was done or not, but nothing is torn.
    #[must_use]
    pub fn kill(mut self) -> Self {
        self.apply_in_flight();
        self.fail_after = None;
        self
    }

    /// Flips one bit of a file.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn flip(&mut self, slot: FileSlot, offset: usize, bit: u8) {
        let file = self.files.get_mut(&slot).expect("a file");
        file.live[offset] ^= 1 << bit;
        file.synced[offset] ^= 1 << bit;
    }

    /// Replaces a file's bytes, or makes a file of them.
    pub fn put(&mut self, slot: FileSlot, bytes: Vec<u8>) {
        self.files.insert(slot, File { live: bytes.clone(), synced: bytes });
    }

    /// Takes a file away.
    pub fn delete(&mut self, slot: FileSlot) {
        self.files.remove(&slot);
    }

    /// The files and their bytes.
    pub fn files(&self) -> impl Iterator<Item = (FileSlot, &[u8])> {
        self.files.iter().map(|(&slot, file)| (slot, &file.live[..]))
    }

    /// Each operation in flight may have reached the disk's cache.
    fn apply_in_flight(&mut self) {
        for op in std::mem::take(&mut self.in_flight) {
            if self.random.coin() {
                self.apply(&op);
            }
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Prepare { slot, size, .. } => {
                self.files.insert(*slot, File::zeroed(size.0 as usize));
            }
            Op::Remove { slot, .. } => {
                self.files.remove(slot);
            }
            Op::WriteDurable { slot, offset, buffer, .. } => {
                let file = self.files.get_mut(slot).expect("checked at submission");
                let at = offset.0 as usize;
                file.live[at..at + buffer.bytes().len()].copy_from_slice(buffer.bytes());
            }
        }
    }

    fn execute(&mut self, op: Op) -> Completion {
        let result = self.outcome(&op);
        match &result {
            Ok(()) => self.apply(&op),
            Err(_) => self.apply_torn(&op),
        }
        let (ticket, buffer) = match op {
            Op::Prepare { ticket, .. } | Op::Remove { ticket, .. } => (ticket, None),
            Op::WriteDurable { ticket, slot, offset, buffer } => {
                if result.is_ok() {
                    self.sync(slot, offset.0 as usize, &buffer);
                }
                (ticket, Some(buffer))
            }
        };
        Completion { ticket, buffer, result }
    }

    fn outcome(&mut self, op: &Op) -> Result<(), Failure> {
        if self.fails_now() {
            return Err(Failure::Io("simulated failure".into()));
        }
        match op {
            Op::Prepare { size, .. } if self.used() + size.0 as usize > self.capacity => {
                Err(Failure::NoSpace)
            }
            _ => Ok(()),
        }
    }

    fn fails_now(&mut self) -> bool {
        let Some(left) = &mut self.fail_after else { return false };
        *left = left.saturating_sub(1);
        *left == 0
    }

    /// A failed write leaves each sector old or new.
    fn apply_torn(&mut self, op: &Op) {
        let Op::WriteDurable { slot, offset, buffer, .. } = op else { return };
        let file = self.files.get_mut(slot).expect("checked at submission");
        let at = offset.0 as usize;
        let old = &mut file.live[at..at + buffer.bytes().len()];
        for (old, new) in old.chunks_mut(SECTOR_BYTES).zip(buffer.bytes().chunks(SECTOR_BYTES)) {
            if self.random.coin() {
                old.copy_from_slice(new);
            }
        }
    }

    fn sync(&mut self, slot: FileSlot, at: usize, buffer: &Buffer) {
        let file = self.files.get_mut(&slot).expect("checked at submission");
        file.synced[at..at + buffer.bytes().len()].copy_from_slice(buffer.bytes());
    }

    fn check(&self, op: &Op) {
        match op {
            Op::Prepare { slot, size, .. } => {
                assert!(!self.files.contains_key(slot), "{slot:?} exists");
                assert!((size.0 as usize).is_multiple_of(BLOCK_BYTES));
            }
            Op::Remove { slot, .. } => assert!(self.files.contains_key(slot), "{slot:?} does not exist"),
            Op::WriteDurable { slot, offset, buffer, .. } => {
                let file = self.files.get(slot).expect("a write to a file that does not exist");
                let (at, length) = (offset.0 as usize, buffer.bytes().len());
                assert!(at.is_multiple_of(BLOCK_BYTES) && length > 0 && at + length <= file.live.len());
                assert!(!self.in_flight.iter().any(|other| overlap(other, *slot, at, length)));
            }
        }
    }
}

impl Folder for SimDisk {
    fn settle(&mut self) -> Result<Listing, Failure> {
        for file in self.files.values_mut() {
            file.synced.clone_from(&file.live);
        }
        let slots = self.files.iter().map(|(&slot, f)| (slot, ByteOffset(f.live.len() as u64))).collect();
        Ok(Listing { slots, strangers: Vec::new() })
    }

    fn read(&mut self, slot: FileSlot, offset: ByteOffset, into: &mut [u8]) -> Result<(), Failure> {
        let file = self.files.get(&slot).ok_or_else(|| Failure::Io("no such file".into()))?;
        let at = offset.0 as usize;
        into.copy_from_slice(&file.live[at..at + into.len()]);
        Ok(())
    }

    fn write_durable(&mut self, slot: FileSlot, offset: ByteOffset, blocks: &[u8]) -> Result<(), Failure> {
        let failed = self.fails_now();
        let file = self.files.get_mut(&slot).ok_or_else(|| Failure::Io("no such file".into()))?;
        let range = offset.0 as usize..offset.0 as usize + blocks.len();
        assert!(range.start.is_multiple_of(BLOCK_BYTES) && range.end.is_multiple_of(BLOCK_BYTES));
        if failed {
            for (at, sector) in range.step_by(SECTOR_BYTES).zip(blocks.chunks(SECTOR_BYTES)) {
                if self.random.coin() {
                    file.live[at..at + sector.len()].copy_from_slice(sector);
                }
            }
            return Err(Failure::Io("simulated failure".into()));
        }
        file.live[range.clone()].copy_from_slice(blocks);
        file.synced[range].copy_from_slice(blocks);
        Ok(())
    }

    fn prepare(&mut self, slot: FileSlot, size: ByteOffset) -> Result<(), Failure> {
        assert!(!self.files.contains_key(&slot), "{slot:?} exists");
        if self.fails_now() {
            return Err(Failure::Io("simulated failure".into()));
        }
        if self.used() + size.0 as usize > self.capacity {
            return Err(Failure::NoSpace);
        }
        self.files.insert(slot, File::zeroed(size.0 as usize));
        Ok(())
    }
}

fn overlap(op: &Op, slot: FileSlot, at: usize, length: usize) -> bool {
    match op {
        Op::WriteDurable { slot: other, offset, buffer, .. } => {
            let (start, end) = (offset.0 as usize, offset.0 as usize + buffer.bytes().len());
            *other == slot && start < at + length && at < end
        }
        Op::Remove { slot: other, .. } => *other == slot,
        Op::Prepare { .. } => false,
    }
}

/// What the disk leaves to chance.
struct Random(SplitMix64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.bits() % bound
    }

    fn coin(&mut self) -> bool {
        self.0.bits() & 1 == 1
    }
}
