//! Recovery's reading half: finds the live segments, walks their frames in order, and says where the log ends.
//!
//! Writes nothing. What to keep, cut and refuse is decided by the table in [`crate::decision`] alone.

use bytes::Bytes;
use windlass_types::ByteOffset;

use crate::buffer::BLOCK_BYTES;
use crate::decision::{Decision, Found, Later, Place, decide};
use crate::error::{Damage, Error, Repair};
use crate::folder::{Folder, Listing};
use crate::frame::{Fault, Header, Stamp};
use crate::ids::{Epoch, Identity, Nonce, SegmentNumber, Sequence};
use crate::op::FileSlot;
use crate::segment::{BlockZero, FIRST_FRAME_AT, SegmentHeader};

/// How many frames behind a lost segment header are looked at for proof that they were acknowledged: more than any
/// flush depth, so at least one was submitted after the first was durable.
const HEADLESS_FRAMES_MAX: usize = 64;

/// Called with the body of each frame that is kept, in order. Returns the frame's mark ([`LiveSegment::mark`]); an
/// error is the text of [`Damage::FrameContent`].
pub type Visit<'a> = dyn FnMut(Bytes) -> Result<u64, String> + 'a;

/// A slot that holds a segment in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSegment {
    /// The file.
    pub slot: FileSlot,
    /// The segment in it.
    pub number: SegmentNumber,
    /// Its size in bytes.
    pub bytes: usize,
    /// The highest mark of any frame in it: whatever grows with what the log's owner writes, such as a log index.
    /// Zero while there is no frame.
    pub mark: u64,
}

/// Where the log stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Scan {
    /// Segments in use, oldest first; empty for a new log.
    pub live: Vec<LiveSegment>,
    /// Other slots of these sizes in bytes: never used, or no longer needed.
    pub spares: Vec<(FileSlot, usize)>,
    /// Sequence that the next frame takes.
    pub next: Sequence,
    /// Offset in bytes in the last live segment where it goes.
    pub end: usize,
    /// The newest epoch seen; zero for a new log.
    pub epoch: Epoch,
}

/// What recovery looks for.
#[derive(Clone, Copy, Debug)]
pub struct Sought {
    /// Whose log it must be.
    pub identity: Identity,
    /// What to advise on damage.
    pub repair: Repair,
}

/// Reads the whole log.
///
/// # Errors
/// See [`Error`]; the disk is unchanged.
pub fn scan(folder: &mut dyn Folder, sought: Sought, visit: &mut Visit<'_>) -> Result<Scan, Error> {
    let listing = folder.settle().map_err(|source| Error::Disk { doing: "listing", source })?;
    if let Some(name) = listing.strangers.first() {
        return Err(Error::Stranger { name: name.clone() });
    }
    let mut slots = Slots::read(folder, &listing, sought)?;
    let mut scanner = Scanner { folder, sought, position: Position::default(), bytes: Vec::new() };
    if let Some(newest) = slots.used.last().copied() {
        let oldest = scanner.oldest_segment(newest)?;
        slots.retire_below(oldest, sought)?;
        scanner.walk_all(&mut slots.used, visit)?;
    }
    scanner.check_headless(&slots)?;
    Ok(scanner.finish(slots))
}

#[derive(Clone, Copy)]
struct Used {
    slot: FileSlot,
    header: SegmentHeader,
    mark: u64,
}

impl Used {
    fn bytes(&self) -> usize {
        self.header.blocks as usize * BLOCK_BYTES
    }
}

/// The folder's slots by what their block 0 says.
struct Slots {
    /// In order of segment number.
    used: Vec<Used>,
    spares: Vec<(FileSlot, usize)>,
}

impl Slots {
    fn read(folder: &mut dyn Folder, listing: &Listing, sought: Sought) -> Result<Self, Error> {
        let mut slots = Self { used: Vec::new(), spares: Vec::new() };
        for &(slot, size) in &listing.slots {
            let mut block = vec![0; BLOCK_BYTES.min(size.0 as usize)];
            read_at(folder, slot, 0, &mut block)?;
            match BlockZero::read(&block) {
                BlockZero::Unused => slots.spares.push((slot, size.0 as usize)),
                BlockZero::Bad(Fault::Version(found)) => {
                    return Err(Error::Version { file: slot.name(), found });
                }
                BlockZero::Bad(fault) => {
                    return Err(damaged(slot, 0, Damage::SegmentHeader(fault), sought));
                }
                BlockZero::Header(header) => slots.used.push(check_used(slot, size, header, sought)?),
            }
        }
        slots.used.sort_by_key(|u| u.header.number);
        Ok(slots)
    }

    /// Moves what is below `oldest` to the spares, and checks that the rest is complete.
    fn retire_below(&mut self, oldest: SegmentNumber, sought: Sought) -> Result<(), Error> {
        let live = self.used.partition_point(|u| u.header.number < oldest);
        self.spares.extend(self.used.drain(..live).map(|u| (u.slot, u.bytes())));
        let last = self.used.last().expect("oldest is at most the newest").header.number;
        let mut want = oldest;
        for u in &self.used {
            if u.header.number < want {
                return Err(damaged(u.slot, 0, Damage::SegmentTwice(u.header.number), sought));
            }
            if u.header.number > want {
                return Err(Error::Missing { number: want, last, repair: sought.repair });
            }
            want = want.next();
        }
        Ok(())
    }
}

fn check_used(
    slot: FileSlot,
    size: ByteOffset,
    header: SegmentHeader,
    sought: Sought,
) -> Result<Used, Error> {
    if header.identity != sought.identity {
        return Err(Error::Identity { file: slot.name(), found: header.identity, expected: sought.identity });
    }
    let used = Used { slot, header, mark: 0 };
    let (found, expected) = (size.0, used.bytes() as u64);
    if found != expected {
        return Err(damaged(slot, 0, Damage::FileLength { found, expected }, sought));
    }
    Ok(used)
}

/// How far the walk has come, over all segments.
#[derive(Clone, Copy, Default)]
struct Position {
    next: Sequence,
    epoch: Epoch,
    /// Offset in the current segment.
    offset: usize,
    oldest: SegmentNumber,
    /// Highest epoch on any whole frame, also those that are not kept.
    epoch_seen: Epoch,
}

struct Scanner<'a> {
    folder: &'a mut dyn Folder,
    sought: Sought,
    position: Position,
    /// The segment being walked.
    bytes: Vec<u8>,
}

impl Scanner<'_> {
    /// The oldest segment that is needed, as the newest segment tells it.
    fn oldest_segment(&mut self, mut newest: Used) -> Result<SegmentNumber, Error> {
        self.load(&newest)?;
        self.position = Position { next: newest.header.first, ..Position::default() };
        self.walk(&mut newest, None, &mut |_| Ok(0))?;
        Ok(self.position.oldest)
    }

    fn walk_all(&mut self, live: &mut [Used], visit: &mut Visit<'_>) -> Result<(), Error> {
        let seen = self.position.epoch_seen;
        self.position = Position { next: live[0].header.first, epoch_seen: seen, ..Position::default() };
        let ends: Vec<_> = live.iter().skip(1).map(|next| Some(next.header.first)).chain([None]).collect();
        for (segment, end) in live.iter_mut().zip(ends) {
            assert_eq!(
                segment.header.first, self.position.next,
                "the segment before ends where this one begins"
            );
            self.load(segment)?;
            self.walk(segment, end, visit)?;
        }
        Ok(())
    }

    /// Walks one segment: up to `end`, or, the newest, up to where the log ends.
    fn walk(
        &mut self,
        segment: &mut Used,
        end: Option<Sequence>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let header = segment.header;
        self.position.offset = FIRST_FRAME_AT;
        self.position.epoch = self.position.epoch.max(header.epoch);
        self.position.oldest = self.position.oldest.max(header.oldest_segment);
        let place = if end.is_some() { Place::Earlier } else { Place::Last };
        while end != Some(self.position.next) {
            let view = View { bytes: &self.bytes, nonce: header.nonce(), at: self.position };
            let (found, frame) = view.found();
            let later = view.later(found, frame.as_ref(), &mut self.position.epoch_seen);
            match decide(found, later, place) {
                Decision::Keep => self.keep(segment, &frame.expect("a whole frame has a header"), visit)?,
                Decision::Cut => return Ok(()),
                Decision::Repair | Decision::Refuse => {
                    return Err(damaged(segment.slot, self.position.offset, blame(found), self.sought));
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, segment: &mut Used, frame: &Header, visit: &mut Visit<'_>) -> Result<(), Error> {
        let (at, stamp) = (self.position.offset, &frame.stamp);
        let body = frame.body(&self.bytes[at..]).expect("the frame is whole");
        let mark = visit(Bytes::copy_from_slice(body))
            .map_err(|why| damaged(segment.slot, at, Damage::FrameContent(why), self.sought))?;
        if stamp.oldest_segment > segment.header.number {
            return Err(damaged(segment.slot, at, Damage::FrameOrder, self.sought));
        }
        segment.mark = segment.mark.max(mark);
        let p = &mut self.position;
        p.next = stamp.sequence.next();
        p.epoch = stamp.epoch;
        p.oldest = p.oldest.max(stamp.oldest_segment);
        p.offset += frame.frame_bytes();
        Ok(())
    }

    /// A header that was acknowledged and is gone again leaves a slot that looks spare. Its frames give it away.
    fn check_headless(&mut self, slots: &Slots) -> Result<(), Error> {
        let number = slots.used.last().map_or(SegmentNumber(1), |u| u.header.number.next());
        let nonce = Nonce::of(self.sought.identity, number);
        for &(slot, bytes) in &slots.spares {
            let mut offset = FIRST_FRAME_AT;
            let mut first = None;
            for _ in 0..HEADLESS_FRAMES_MAX {
                let Some(stamp) = self.whole_frame(slot, bytes, &mut offset, nonce)? else { break };
                if stamp.epoch < self.position.epoch {
                    break;
                }
                if stamp.durable_below > *first.get_or_insert(stamp.sequence) {
                    return Err(damaged(slot, 0, Damage::SegmentHeaderLost(number), self.sought));
                }
            }
        }
        Ok(())
    }

    fn whole_frame(
        &mut self,
        slot: FileSlot,
        bytes: usize,
        offset: &mut usize,
        nonce: Nonce,
    ) -> Result<Option<Stamp>, Error> {
        if *offset + BLOCK_BYTES > bytes {
            return Ok(None);
        }
        self.bytes.resize(BLOCK_BYTES, 0);
        read_at(self.folder, slot, *offset, &mut self.bytes)?;
        let Ok(header) = Header::read(&self.bytes) else { return Ok(None) };
        if header.stamp.nonce != nonce || *offset + header.frame_bytes() > bytes {
            return Ok(None);
        }
        self.bytes.resize(header.frame_bytes(), 0);
        read_at(self.folder, slot, *offset, &mut self.bytes)?;
        *offset += header.frame_bytes();
        Ok(header.body(&self.bytes).map(|_| header.stamp))
    }

    fn load(&mut self, segment: &Used) -> Result<(), Error> {
        self.bytes.resize(segment.bytes(), 0);
        read_at(self.folder, segment.slot, 0, &mut self.bytes)
    }

    fn finish(self, slots: Slots) -> Scan {
        let live = slots.used.iter();
        Scan {
            live: live
                .map(|u| LiveSegment {
                    slot: u.slot,
                    number: u.header.number,
                    bytes: u.bytes(),
                    mark: u.mark,
                })
                .collect(),
            spares: slots.spares,
            next: self.position.next.max(Sequence(1)),
            end: self.position.offset,
            epoch: self.position.epoch.max(self.position.epoch_seen),
        }
    }
}

/// A segment's bytes and the place in it where the next frame should begin.
struct View<'a> {
    bytes: &'a [u8],
    nonce: Nonce,
    at: Position,
}

impl View<'_> {
    fn found(&self) -> (Found, Option<Header>) {
        let rest = &self.bytes[self.at.offset..];
        let Some(header) = self.header(rest) else { return (Found::NoHeader, None) };
        let stamp = &header.stamp;
        let found = if stamp.sequence != self.at.next || (stamp.epoch > self.at.epoch && !stamp.boot) {
            Found::OutOfOrder
        } else if header.body(rest).is_none() {
            Found::TornBody
        } else {
            Found::Whole
        };
        (found, Some(header))
    }

    /// A header of this segment and of an epoch that no cut has ended.
    fn header(&self, bytes: &[u8]) -> Option<Header> {
        let header = Header::read(bytes).ok()?;
        (header.stamp.nonce == self.nonce && header.stamp.epoch >= self.at.epoch).then_some(header)
    }

    fn later(&self, found: Found, frame: Option<&Header>, epoch_seen: &mut Epoch) -> Later {
        let mut offset = match (found, frame) {
            (Found::NoHeader, _) => self.at.offset + BLOCK_BYTES,
            (Found::TornBody, Some(frame)) => self.at.offset + frame.frame_bytes(),
            _ => return Later::Nothing,
        };
        let mut later = Later::Nothing;
        while let Some(rest) = self.bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            let whole =
                self.header(rest).filter(|h| h.stamp.sequence > self.at.next && h.body(rest).is_some());
            offset += whole.as_ref().map_or(BLOCK_BYTES, Header::frame_bytes);
            let Some(whole) = whole else { continue };
            *epoch_seen = whole.stamp.epoch.max(*epoch_seen);
            if whole.stamp.durable_below > self.at.next {
                return Later::Proven;
            }
            later = Later::Unproven;
        }
        later
    }
}

fn blame(found: Found) -> Damage {
    match found {
        Found::NoHeader => Damage::FrameHeader,
        Found::TornBody => Damage::FrameBody,
        Found::OutOfOrder | Found::Whole => Damage::FrameOrder,
    }
}

fn damaged(slot: FileSlot, offset: usize, what: Damage, sought: Sought) -> Error {
    Error::Damaged { file: slot.name(), offset: ByteOffset(offset as u64), what, repair: sought.repair }
}

fn read_at(folder: &mut dyn Folder, slot: FileSlot, offset: usize, into: &mut [u8]) -> Result<(), Error> {
    folder
        .read(slot, ByteOffset(offset as u64), into)
        .map_err(|source| Error::Disk { doing: "reading", source })
}
