//! Versions in order of revision, whatever their number: sorted in memory run by run, then merged from the disk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use windlass_records::wal::{Live, Version};
use windlass_types::{LeaseId, LogIndex, Revision};

/// Bytes of versions that are sorted in memory. Beyond them a run goes to the disk.
const RUN_BYTES: usize = 64 << 20;

/// Bytes that all runs together are read ahead by, as long as each gets [`READ_BYTES_MIN`].
const MERGE_BYTES: usize = 16 << 20;

/// Bytes that one run is read ahead by at least.
const READ_BYTES_MIN: usize = 4 << 10;

/// Bytes of a record before its key and value.
const HEAD_BYTES: usize = 45;

/// What versions are sorted by: revision, ordinal, key.
type Order<'a> = (i64, u32, &'a [u8]);

/// Gathers versions in any order.
pub struct Sorter {
    file: File,
    file_bytes: u64,
    run_bytes: usize,
    /// Records, one after another.
    arena: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
    /// In the file.
    runs: Vec<Range<u64>>,
}

impl Sorter {
    /// Runs go to `file`, which is empty.
    pub fn new(file: File) -> Self {
        Self::with_runs_of(RUN_BYTES, file)
    }

    fn with_runs_of(run_bytes: usize, file: File) -> Self {
        Self { file, file_bytes: 0, run_bytes, arena: Vec::new(), starts: Vec::new(), runs: Vec::new() }
    }

    /// Takes a version.
    ///
    /// # Errors
    /// If a run cannot be written.
    pub fn push(&mut self, version: &Version<'_>) -> io::Result<()> {
        self.starts.push(self.arena.len());
        encode(version, &mut self.arena);
        if self.arena.len() + self.starts.len() * size_of::<usize>() >= self.run_bytes {
            self.write_run()?;
        }
        Ok(())
    }

    /// Hands out all of them in order.
    ///
    /// # Errors
    /// If a run cannot be read, or `each` fails.
    pub fn merge(mut self, mut each: impl FnMut(&Version<'_>) -> io::Result<()>) -> io::Result<()> {
        self.sort();
        let read_bytes = (MERGE_BYTES / (self.runs.len() + 1)).max(READ_BYTES_MIN);
        let runs = std::mem::take(&mut self.runs);
        let mut cursors: Vec<Run<'_>> =
            runs.into_iter().map(|at| Run::OnDisk(Ahead::new(&self.file, at, read_bytes))).collect();
        cursors.push(Run::InMemory { arena: &self.arena, starts: self.starts.iter() });
        let mut heads = BinaryHeap::new();
        for (number, run) in cursors.iter_mut().enumerate() {
            heads.extend(run.next()?.map(|record| Reverse(Head { record, number })));
        }
        while let Some(Reverse(Head { record, number })) = heads.pop() {
            each(&decode(&record))?;
            heads.extend(cursors[number].next()?.map(|record| Reverse(Head { record, number })));
        }
        Ok(())
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        self.starts.sort_unstable_by(|&a, &b| order(&arena[a..]).cmp(&order(&arena[b..])));
    }

    fn write_run(&mut self) -> io::Result<()> {
        self.sort();
        let begin = self.file_bytes;
        let mut out = BufWriter::with_capacity(1 << 20, &self.file);
        for &start in &self.starts {
            let record = &self.arena[start..][..record_len(&self.arena[start..])];
            out.write_all(record)?;
            self.file_bytes += record.len() as u64;
        }
        out.flush()?;
        drop(out);
        self.runs.push(begin..self.file_bytes);
        self.arena.clear();
        self.starts.clear();
        Ok(())
    }
}

/// A run that is being merged.
enum Run<'a> {
    OnDisk(Ahead<'a>),
    InMemory { arena: &'a [u8], starts: std::slice::Iter<'a, usize> },
}

impl Run<'_> {
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::OnDisk(ahead) => ahead.next(),
            Self::InMemory { arena, starts } => {
                let record = |&start: &usize| arena[start..][..record_len(&arena[start..])].to_vec();
                Ok(starts.next().map(record))
            }
        }
    }
}

/// A run on the disk, read ahead.
struct Ahead<'a> {
    file: &'a File,
    /// What was not read.
    rest: Range<u64>,
    read_bytes: usize,
    bytes: Vec<u8>,
    used: usize,
}

impl<'a> Ahead<'a> {
    fn new(file: &'a File, rest: Range<u64>, read_bytes: usize) -> Self {
        Self { file, rest, read_bytes, bytes: Vec::new(), used: 0 }
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.bytes.len() == self.used && self.rest.is_empty() {
            return Ok(None);
        }
        self.need(HEAD_BYTES)?;
        let len = record_len(&self.bytes[self.used..]);
        self.need(len)?;
        let record = self.bytes[self.used..][..len].to_vec();
        self.used += len;
        Ok(Some(record))
    }

    /// Sees to it that so many bytes are there.
    fn need(&mut self, len: usize) -> io::Result<()> {
        if self.bytes.len() - self.used >= len {
            return Ok(());
        }
        self.bytes.drain(..self.used);
        self.used = 0;
        let wanted = len.max(self.read_bytes) - self.bytes.len();
        let wanted = wanted.min(usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX));
        let had = self.bytes.len();
        self.bytes.resize(had + wanted, 0);
        self.file.read_exact_at(&mut self.bytes[had..], self.rest.start)?;
        self.rest.start += wanted as u64;
        Ok(())
    }
}

/// The next record of a run.
struct Head {
    record: Vec<u8>,
    number: usize,
}

impl Head {
    fn order(&self) -> Order<'_> {
        order(&self.record)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

fn encode(version: &Version<'_>, out: &mut Vec<u8>) {
    let nothing = Live { create_revision: Revision::ZERO, version: 0, lease: LeaseId::ZERO, value: &[] };
    let live = version.live.unwrap_or(nothing);
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("keys and values are far below 4 GiB");
    out.extend_from_slice(&version.revision.0.to_le_bytes());
    out.extend_from_slice(&version.sub.to_le_bytes());
    out.push(u8::from(version.live.is_some()));
    for number in [live.create_revision.0, live.version, live.lease.0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for bytes in [version.key, live.value] {
        out.extend_from_slice(&len(bytes).to_le_bytes());
    }
    out.extend_from_slice(version.key);
    out.extend_from_slice(live.value);
}

/// Reads the numbers of a record that this module wrote.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(*self.0[at..].first_chunk().expect("a whole head"))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(*self.0[at..].first_chunk().expect("a whole head"))
    }
}

fn record_len(record: &[u8]) -> usize {
    let numbers = Numbers(record);
    HEAD_BYTES + numbers.u32(37) as usize + numbers.u32(41) as usize
}

fn order(record: &[u8]) -> Order<'_> {
    let numbers = Numbers(record);
    (numbers.i64(0), numbers.u32(8), &record[HEAD_BYTES..][..numbers.u32(37) as usize])
}

fn decode(record: &[u8]) -> Version<'_> {
    let numbers = Numbers(record);
    let (revision, sub, key) = order(record);
    let live = Live {
        create_revision: Revision(numbers.i64(13)),
        version: numbers.i64(21),
        lease: LeaseId(numbers.i64(29)),
        value: &record[HEAD_BYTES + key.len()..],
    };
    let live = (record[12] != 0).then_some(live);
    // Which entry wrote it does not travel.
    Version { index: LogIndex::ZERO, revision: Revision(revision), sub, key, live }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Revision, ordinal, key and value.
    type Found = (i64, u32, Vec<u8>, Option<Vec<u8>>);

    fn sorted(run_bytes: usize, count: u64) -> Vec<Found> {
        let mut sorter = Sorter::with_runs_of(run_bytes, tempfile::tempfile().expect("a file"));
        for n in 0..count {
            // Any order: the multiplier has no factor in common with the count.
            let n = (n * 7919) % count;
            let (key, value) = (n.to_be_bytes(), vec![7; (n % 600) as usize]);
            let live =
                Live { create_revision: Revision(1), version: n as i64, lease: LeaseId(-1), value: &value };
            let version = Version {
                index: LogIndex(9),
                revision: Revision(2 + (n / 4) as i64),
                sub: (n / 2 % 2) as u32,
                key: &key,
                live: (!n.is_multiple_of(5)).then_some(live),
            };
            sorter.push(&version).expect("written");
        }
        let mut found = Vec::new();
        let all = sorter.merge(|v| {
            assert!(
                v.live.is_none_or(|live| live.lease == LeaseId(-1) && live.create_revision == Revision(1))
            );
            found.push((v.revision.0, v.sub, v.key.to_vec(), v.live.map(|live| live.value.to_vec())));
            Ok(())
        });
        all.expect("read");
        found
    }

    #[test]
    fn runs_on_the_disk_give_what_memory_gives() {
        let in_memory = sorted(1 << 30, 10_001);
        assert_eq!(in_memory.len(), 10_001);
        assert!(in_memory.is_sorted_by(|a, b| (a.0, a.1, &a.2) < (b.0, b.1, &b.2)));
        for run_bytes in [1, 1000, 100_000] {
            let count = if run_bytes == 1 { 101 } else { 10_001 };
            assert!(sorted(run_bytes, count) == sorted(1 << 30, count), "runs of {run_bytes} bytes");
        }
        assert!(sorted(1000, 1).len() == 1);
    }
}
