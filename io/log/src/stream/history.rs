//! What a start finds of a shard's stream: how far it reaches, and its records up to where all streams reach.

use windlass_records::wal::{Frame, Record};
use windlass_types::LogIndex;

use super::preamble::{Base, Kind, Ordinal, PREAMBLE_BYTES, Preamble};
use super::writer::{Draft, Writer, open_journal};
use super::{Options, ShardStream};
use crate::error::Error;
use crate::folder::Folder;
use crate::frame::frame_bytes;
use crate::journal::Journal;
use crate::scan::scan;

/// A shard's stream as a start finds it; nothing was changed on the disk yet.
pub struct ShardHistory {
    options: Options,
    journal: Journal,
    outline: Outline,
}

/// What the preambles say, without the versions.
#[derive(Default)]
struct Outline {
    first: Ordinal,
    last: Ordinal,
    /// What the newest frame is complete up to.
    durable: LogIndex,
    /// Every checkpoint that some frame calls complete, oldest first.
    bases: Vec<Base>,
    /// Where and at which index earlier starts cut.
    cuts: Vec<(Ordinal, LogIndex)>,
    /// Size in bytes of each frame.
    sizes: Vec<(Ordinal, u64)>,
}

impl ShardHistory {
    /// Reads the stream in `folder`, which may be empty.
    ///
    /// # Errors
    /// See [`Error`]; damage names file and offset.
    pub fn open(options: Options, folder: &mut dyn Folder) -> Result<Self, Error> {
        let mut outline = Outline::default();
        let journal = open_journal(&options, folder, &mut |preamble, record| {
            outline.add(&preamble, frame_bytes(PREAMBLE_BYTES + record.len()) as u64)
        })?;
        Ok(Self { options, journal, outline })
    }

    /// Every effect up to here is in the stream.
    #[must_use]
    pub fn durable_index(&self) -> LogIndex {
        self.outline.durable
    }

    /// Whether everything is there that [`load`](Self::load) needs. The newest frame may say that what is before some
    /// checkpoint is not needed any more, and be damaged after that was given up: it looks like a torn write then.
    ///
    /// # Errors
    /// [`Error::Beheaded`].
    pub fn check(&self, stable: LogIndex) -> Result<(), Error> {
        let (needed, first) = (self.outline.base(stable).frame.0.max(1), self.outline.first.0);
        let repair = self.options.sought().repair;
        if first > needed { Err(Error::Beheaded { needed, first, repair }) } else { Ok(()) }
    }

    /// Hands every record up to `stable` to `load`, in no particular order and some of them twice. Versions that a
    /// compaction at or below `stable` took away may be among them, and system records that others supersede.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(
        &self,
        folder: &mut dyn Folder,
        stable: LogIndex,
        load: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), Error> {
        assert!(stable <= self.outline.durable, "stable is the least of all durable indexes");
        let base = self.outline.base(stable);
        scan(folder, self.options.sought(), &mut |body| {
            let preamble = Preamble::decode(&body)?;
            if preamble.ordinal >= base.frame && preamble.kind != Kind::Boot {
                let frame = Frame::parse(body.slice(PREAMBLE_BYTES..)).map_err(|e| e.to_string())?;
                let limit = self.outline.limit(preamble.ordinal).min(stable);
                frame.records().filter(|r| r.index() <= limit).for_each(|r| load(&r));
            }
            Ok(preamble.ordinal.0)
        })?;
        Ok(())
    }

    /// Cuts the stream at `stable` and opens it for writing. What was beyond is void from now on.
    ///
    /// # Errors
    /// [`Error::NoSpace`] or [`Error::Disk`].
    pub fn start(self, folder: &mut dyn Folder, stable: LogIndex) -> Result<ShardStream, Error> {
        let base = self.outline.base(stable);
        let boot = Draft::new(Kind::Boot, stable, &[]);
        let next = Ordinal(self.outline.last.0 + 1);
        let written_bytes = self.outline.bytes_since(base);
        let writer = Writer::boot(self.journal, folder, next, base, boot)?;
        Ok(ShardStream::new(self.options, writer, base, stable, written_bytes))
    }
}

impl Outline {
    fn add(&mut self, preamble: &Preamble, bytes: u64) -> Result<(), String> {
        let Preamble { kind, ordinal, index, base } = *preamble;
        if self.last != Ordinal(0) && ordinal.0 != self.last.0 + 1 {
            return Err(format!("frame {} of the stream follows frame {}", ordinal.0, self.last.0));
        }
        if self.first == Ordinal(0) {
            self.first = ordinal;
        }
        self.last = ordinal;
        self.sizes.push((ordinal, bytes));
        match kind {
            Kind::Boot => {
                self.durable = index;
                self.cuts.push((ordinal, index));
            }
            Kind::Data if index < self.durable => return Err("the stream's index falls".into()),
            Kind::Data => self.durable = index,
            Kind::Chunk => {}
        }
        if self.bases.last() != Some(&base) {
            self.bases.push(base);
        }
        Ok(())
    }

    /// The newest checkpoint from which the state at `stable` can be had. One that a cut made void is never found: the
    /// boot frame of the cut names an earlier one, later in this list, that every later `stable` allows.
    fn base(&self, stable: LogIndex) -> Base {
        self.bases.iter().rev().find(|b| b.index <= stable).copied().unwrap_or(Base::START)
    }

    fn bytes_since(&self, base: Base) -> u64 {
        self.sizes.iter().filter(|(ordinal, _)| *ordinal >= base.frame).map(|(_, bytes)| bytes).sum()
    }

    /// Versions above this index in the frame at `ordinal` are void.
    fn limit(&self, ordinal: Ordinal) -> LogIndex {
        let later = self.cuts.iter().filter(|(at, _)| *at > ordinal).map(|&(_, index)| index);
        later.min().unwrap_or(LogIndex(u64::MAX))
    }
}
