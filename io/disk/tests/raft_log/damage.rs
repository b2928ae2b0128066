//! Damage to a log at rest: what was acknowledged is never cut silently, and the error says where to look.

use flatbuffers::FlatBufferBuilder;
use windlass_io_disk::sim::SimDisk;
use windlass_io_log::Error;
use windlass_io_log::buffer::BLOCK_BYTES;
use windlass_io_log::decision::{Decision, Found, Later, Place, decide};
use windlass_io_log::error::Damage;
use windlass_io_log::frame::{self, HEADER_BYTES, Header, Stamp, frame_bytes};
use windlass_io_log::ids::{Epoch, Identity, Nonce, SegmentNumber, Sequence};
use windlass_io_log::op::FileSlot;
use windlass_io_log::raft_log::RaftLog;
use windlass_io_log::segment::SegmentHeader;
use windlass_records::log::Frame;
use windlass_types::{ByteOffset, Term};

use crate::model::{IDENTITY, Life, Random, entry, options};

const BLOCKS: usize = 16;

/// Writes segments by hand: each frame is one block and holds the entry whose index is its sequence.
struct Segment {
    number: SegmentNumber,
    bytes: Vec<u8>,
    end: usize,
}

impl Segment {
    fn new(number: u64, first: u64) -> Self {
        let mut bytes = vec![0; BLOCKS * BLOCK_BYTES];
        let header = SegmentHeader {
            identity: IDENTITY,
            number: SegmentNumber(number),
            first: Sequence(first),
            oldest_segment: SegmentNumber(1),
            epoch: Epoch(1),
            blocks: BLOCKS as u32,
        };
        header.seal(&mut bytes);
        Self { number: SegmentNumber(number), bytes, end: BLOCK_BYTES }
    }

    fn frame(&mut self, sequence: u64, index: u64, durable_below: u64) {
        let mut small = entry(index, Term(1), &mut Random::new(index));
        small.data.truncate(1000);
        let mut fbb = FlatBufferBuilder::new();
        Frame { entries: vec![small], ..Frame::default() }.encode(&mut fbb);
        let body = fbb.finished_data();
        assert_eq!(frame_bytes(body.len()), BLOCK_BYTES);
        let stamp = Stamp {
            nonce: Nonce::of(IDENTITY, self.number),
            sequence: Sequence(sequence),
            durable_below: Sequence(durable_below),
            oldest_segment: SegmentNumber(1),
            epoch: Epoch(1),
            boot: false,
        };
        let memory = &mut self.bytes[self.end..self.end + BLOCK_BYTES];
        memory[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(body);
        self.end += frame::seal(memory, &stamp, body.len());
    }
}

/// Frames 1 and 2, then the place in question, then what is later.
fn construct(found: Found, later: Later, place: Place) -> (SimDisk, usize) {
    let mut segment = Segment::new(1, 1);
    segment.frame(1, 1, 1);
    segment.frame(2, 2, 2);
    let at = segment.end;
    segment.frame(if found == Found::OutOfOrder { 7 } else { 3 }, 3, 3);
    match found {
        Found::NoHeader => segment.bytes[at + 20] ^= 1,
        Found::TornBody => segment.bytes[at + HEADER_BYTES + 30] ^= 1,
        Found::Whole | Found::OutOfOrder => {}
    }
    match later {
        Later::Nothing => {}
        Later::Unproven => segment.frame(4, 4, 3),
        Later::Proven => segment.frame(4, 4, 4),
    }
    let mut disk = SimDisk::new(1, 1 << 30);
    disk.put(FileSlot(5), segment.bytes);
    if place == Place::Earlier {
        let first = if later == Later::Nothing { 4 } else { 5 };
        let mut newer = Segment::new(2, first);
        newer.frame(first, first, first);
        disk.put(FileSlot(3), newer.bytes);
    }
    (disk, at)
}

#[test]
fn every_combination_of_the_decision_table() {
    for found in [Found::NoHeader, Found::TornBody, Found::Whole, Found::OutOfOrder] {
        for later in [Later::Nothing, Later::Unproven, Later::Proven] {
            for place in [Place::Last, Place::Earlier] {
                check_combination(found, later, place);
            }
        }
    }
}

fn check_combination(found: Found, later: Later, place: Place) {
    let (mut disk, at) = construct(found, later, place);
    let combination = format!("{found:?} {later:?} {place:?}");
    let outcome =
        RaftLog::recover(&mut disk, options(1), IDENTITY).map(|(_, found)| found.entries.len() as u64);
    let whole = 3 + u64::from(later != Later::Nothing) + u64::from(place == Place::Earlier);
    match (decide(found, later, place), outcome) {
        (Decision::Keep, Ok(count)) => assert_eq!(count, whole, "{combination}"),
        (Decision::Cut, Ok(count)) => {
            assert_eq!(count, 2, "{combination}");
            let (_, again) = RaftLog::recover(&mut disk, options(1), IDENTITY).expect("sound after a cut");
            assert_eq!(again.entries.len(), 2, "{combination}: what was cut came back");
        }
        (Decision::Repair | Decision::Refuse, Err(Error::Damaged { file, offset, .. })) => {
            assert_eq!((file.as_str(), offset), ("000005.seg", ByteOffset(at as u64)), "{combination}");
        }
        (decision, outcome) => panic!("{combination}: {decision:?} but {outcome:?}"),
    }
}

/// A log with `count` acknowledged appends, one flush at a time.
fn filled(count: u64) -> Life {
    let mut random = Random::new(count);
    let mut life = Life::start(SimDisk::new(3, 1 << 30), options(1)).expect("an empty disk");
    for index in 1..=count {
        let mut ops = Vec::new();
        assert!(life.append(None, vec![entry(index, Term(1), &mut random)], &mut ops));
        life.disk.submit(ops);
        life.complete_all().expect("no failure");
    }
    life
}

fn recover(life: &mut Life) -> Result<u64, Error> {
    RaftLog::recover(&mut life.disk, options(1), IDENTITY).map(|(_, found)| found.entries.len() as u64)
}

/// Every whole frame of the log: file, offset, header.
fn frames(disk: &SimDisk) -> Vec<(FileSlot, usize, Header)> {
    let mut frames = Vec::new();
    for (slot, bytes) in disk.files() {
        let mut at = BLOCK_BYTES;
        while let Some(header) = bytes.get(at..).and_then(|rest| Header::read(rest).ok()) {
            frames.push((slot, at, header));
            at += header.frame_bytes();
        }
    }
    frames.sort_by_key(|(_, _, header)| header.stamp.sequence);
    frames
}

#[test]
fn a_flipped_bit_in_an_acknowledged_frame_is_refused_and_located() {
    let mut random = Random::new(9);
    for _ in 0..300 {
        let mut life = filled(30);
        let mut frames = frames(&life.disk);
        let last = frames.pop().expect("frames");
        let (slot, at, header) = frames[random.below(frames.len() as u64) as usize];
        let byte = random.below((HEADER_BYTES + header.body_bytes()) as u64) as usize;
        life.disk.flip(slot, at + byte, random.below(8) as u8);
        match recover(&mut life) {
            Err(Error::Damaged { file, offset, .. }) => {
                assert_eq!((file, offset), (slot.name(), ByteOffset(at as u64)));
            }
            other => panic!("frame {:?} of {:?}: {other:?}", header.stamp.sequence, last.2.stamp.sequence),
        }
    }
}

/// The one place where damage and an interrupted write look alike: the last frame, until something follows it.
#[test]
fn damage_to_the_last_frame_looks_like_a_torn_write() {
    let mut life = filled(30);
    let (slot, at, _) = *frames(&life.disk).last().expect("frames");
    life.disk.flip(slot, at + HEADER_BYTES + 20, 3);
    assert_eq!(recover(&mut life).expect("cut"), 29);
    // `settle` and a start are frames that follow: from then on the same damage is seen.
    let mut life = filled(30);
    let (slot, at, _) = *frames(&life.disk).last().expect("frames");
    for expected in [1, 0] {
        let mut ops = Vec::new();
        life.log.settle(&mut ops);
        assert_eq!(ops.len(), expected, "one frame, once");
        life.disk.submit(ops);
        life.complete_all().expect("no failure");
    }
    life.disk.flip(slot, at + HEADER_BYTES + 20, 3);
    assert!(matches!(recover(&mut life), Err(Error::Damaged { what: Damage::FrameBody, .. })));
    let mut life = filled(30);
    let (slot, at, _) = *frames(&life.disk).last().expect("frames");
    recover(&mut life).expect("sound");
    life.disk.flip(slot, at + HEADER_BYTES + 20, 3);
    assert!(matches!(recover(&mut life), Err(Error::Damaged { what: Damage::FrameBody, .. })));
}

#[test]
fn rot_anywhere_loses_at_most_what_was_in_the_last_flight() {
    let mut refused = 0;
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let depth = 1 + random.below(4) as usize;
        let mut life = Life::start(SimDisk::new(seed, 1 << 30), options(depth)).expect("an empty disk");
        for _ in 0..80 {
            life.step(&mut random).expect("no failure");
        }
        life.complete_all().expect("no failure");
        let files: Vec<_> = life.disk.files().map(|(slot, bytes)| (slot, bytes.len())).collect();
        let (slot, length) = files[random.below(files.len() as u64) as usize];
        life.disk.flip(slot, random.below(length as u64) as usize, random.below(8) as u8);
        match RaftLog::recover(&mut life.disk, options(depth), IDENTITY) {
            Ok((_, found)) => assert!(life.explains(&found, life.before_last_appends(depth)), "seed {seed}"),
            Err(Error::Damaged { .. }) => refused += 1,
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    assert!(refused > 50, "only {refused} refused");
}

#[test]
fn a_lost_or_damaged_segment_is_refused() {
    let newest = |life: &Life| frames(&life.disk).last().expect("frames").0;
    let oldest = |life: &Life| frames(&life.disk)[0].0;

    let mut life = filled(40);
    let slot = frames(&life.disk)[15].0;
    assert!(slot != newest(&life) && slot != oldest(&life), "a segment in the middle");
    life.disk.delete(slot);
    assert!(matches!(recover(&mut life), Err(Error::Missing { .. })));

    let mut life = filled(40);
    let slot = newest(&life);
    life.disk.flip(slot, 17, 0);
    assert!(matches!(recover(&mut life), Err(Error::Damaged { what: Damage::SegmentHeader(_), .. })));

    let has_two = |life: &Life| frames(&life.disk).iter().filter(|f| f.0 == newest(life)).count() > 1;
    let mut life = (40..60).map(filled).find(has_two).expect("one whose newest segment holds two frames");
    let slot = newest(&life);
    let mut bytes = bytes_of(&life, slot);
    bytes[..BLOCK_BYTES].fill(0);
    life.disk.put(slot, bytes);
    assert!(matches!(recover(&mut life), Err(Error::Damaged { what: Damage::SegmentHeaderLost(_), .. })));

    let mut life = filled(40);
    let slot = oldest(&life);
    let mut bytes = bytes_of(&life, slot);
    bytes.truncate(5 * BLOCK_BYTES);
    life.disk.put(slot, bytes);
    assert!(matches!(recover(&mut life), Err(Error::Damaged { what: Damage::FileLength { .. }, .. })));

    let mut life = filled(40);
    let bytes = bytes_of(&life, newest(&life));
    life.disk.put(FileSlot(99), bytes);
    assert!(matches!(recover(&mut life), Err(Error::Damaged { what: Damage::SegmentTwice(_), .. })));
}

fn bytes_of(life: &Life, slot: FileSlot) -> Vec<u8> {
    life.disk.files().find(|f| f.0 == slot).expect("the file").1.to_vec()
}

#[test]
fn files_that_are_not_this_logs_are_named() {
    let mut life = filled(3);
    life.disk.put(FileSlot(8), b"a letter to Santa".repeat(300));
    let error = recover(&mut life).expect_err("garbage");
    assert!(error.to_string().starts_with("000008.seg at byte 0: the segment header is damaged"), "{error}");

    let mut life = filled(3);
    let error = RaftLog::recover(&mut life.disk, options(1), Identity(1)).map(|_| ()).expect_err("another's");
    assert!(matches!(error, Error::Identity { expected: Identity(1), found: IDENTITY, .. }), "{error}");

    let mut life = filled(3);
    let slot = frames(&life.disk)[0].0;
    let mut bytes = bytes_of(&life, slot);
    bytes[4] = 2;
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
    life.disk.put(slot, bytes);
    let error = recover(&mut life).expect_err("another version's");
    assert!(matches!(error, Error::Version { found: 2, .. }), "{error}");
}
