//! The stream of one shard: versions as they are installed, and checkpoints of all of them.
//!
//! A checkpoint goes into the same journal as the versions that are installed meanwhile. It starts at some frame and
//! some index; when the last of its chunks is durable, later frames name it as the base, and when `stable` has
//! reached its index too, what lies before it is recycled. Until then a start uses the base before it. Versions are
//! facts that may be read twice, so chunks and data need no order among each other; but from the first to the last
//! chunk the shard must not forget versions, or a chunk would lack what another frame no longer has. System records are
//! no such facts, as a new one takes the place of the old: their owner hands over those of the checkpoint's index.

use std::collections::VecDeque;

use windlass_records::wal::{FrameBuilder, SystemRecord, Version};
use windlass_types::LogIndex;

use super::preamble::{Base, Kind};
use super::writer::{Draft, Flight, Writer};
use super::{BUFFER_BYTES_MAX, Options, Request};
use crate::frame::frame_bytes;
use crate::journal::Fatal;
use crate::op::Completion;

/// Segments beyond twice the live data that a WAL may take before a checkpoint: small shards are left alone.
const SLACK_SEGMENTS: u64 = 2;

/// A shard's stream, open for writing.
pub struct ShardStream {
    options: Options,
    writer: Writer,
    /// Appended and not yet in a draft.
    builder: FrameBuilder,
    /// Drafts in order of writing.
    queue: VecDeque<Draft>,
    queue_bytes: usize,
    /// Everything up to here was appended.
    complete: LogIndex,
    /// What the newest draft says.
    queued: LogIndex,
    durable: LogIndex,
    stable: LogIndex,
    /// Since when something waits to be flushed.
    waiting_since_ns: Option<u64>,
    /// A frame is wanted though nothing was appended.
    forced: bool,
    base: Base,
    /// Whether what lies before `base` is still kept because of `stable`.
    base_is_new: bool,
    checkpoint: Option<Checkpoint>,
    /// Bytes of frames since `base`.
    written_bytes: u64,
    /// Until its first checkpoint is complete, this stream has nothing of what is in memory.
    seeding: bool,
    /// Where the seed is complete; zero for a stream that was not seeded.
    seed: LogIndex,
}

/// A checkpoint being written.
struct Checkpoint {
    base: Base,
    builder: FrameBuilder,
    /// A chunk for which there was no room.
    draft: Option<Draft>,
    /// The owner has handed over the last version.
    walked: bool,
    written_bytes: u64,
}

impl Checkpoint {
    fn new(base: Base) -> Self {
        Self { base, builder: FrameBuilder::default(), draft: None, walked: false, written_bytes: 0 }
    }

    /// The next chunk, if one is full or the last.
    fn next_draft(&mut self, full_bytes: usize) -> Option<Draft> {
        let ready = self.walked || self.builder.len_bytes() >= full_bytes;
        if self.draft.is_none() && ready && !self.builder.is_empty() {
            // A chunk says nothing about the index.
            self.draft = Some(Draft::finish(&mut self.builder, Vec::new(), Kind::Chunk, LogIndex::ZERO));
        }
        self.draft.take()
    }

    /// Whether nothing of it is left to be submitted.
    fn is_submitted(&self) -> bool {
        self.walked && self.builder.is_empty() && self.draft.is_none()
    }
}

impl ShardStream {
    pub(super) fn new(
        options: Options,
        writer: Writer,
        base: Base,
        stable: LogIndex,
        written_bytes: u64,
    ) -> Self {
        Self {
            options,
            writer,
            builder: FrameBuilder::default(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            complete: stable,
            queued: stable,
            durable: stable,
            stable,
            waiting_since_ns: None,
            forced: false,
            base,
            base_is_new: true,
            checkpoint: None,
            written_bytes,
            seeding: false,
            seed: LogIndex::ZERO,
        }
    }

    /// Declares that memory holds everything up to `index` and this stream nothing of it. A checkpoint begins; when
    /// it is complete, [`durable_index`](Self::durable_index) becomes `index`. Only for a stream that was just made.
    pub fn seed(&mut self, index: LogIndex) {
        assert!(
            self.complete == LogIndex::ZERO && self.builder.is_empty(),
            "a stream is seeded first of all"
        );
        (self.complete, self.seed) = (index, index);
        self.seeding = true;
        self.begin_checkpoint();
    }

    /// Takes a version that was just installed.
    pub fn append(&mut self, version: &Version<'_>) {
        debug_assert!(version.index > self.complete, "a version of an entry that was complete");
        self.builder.push(version);
        self.draft_if_large();
    }

    /// Takes a system record that was just written.
    pub fn append_system(&mut self, record: &SystemRecord<'_>) {
        debug_assert!(record.index > self.complete, "a record of an entry that was complete");
        self.builder.push_system(record);
        self.draft_if_large();
    }

    /// Every version up to `index` was appended.
    pub fn advance(&mut self, index: LogIndex) {
        debug_assert!(index >= self.complete, "log indexes rise");
        self.complete = index;
    }

    /// Every stream has everything up to `index`.
    pub fn set_stable(&mut self, index: LogIndex) {
        self.stable = self.stable.max(index);
    }

    /// Flushes with the next [`tick`](Self::tick), whatever its age.
    pub fn flush(&mut self) {
        self.forced |= self.durable < self.complete;
    }

    /// Takes the time and starts what is due. Call after each group of other calls, and at
    /// [`deadline_ns`](Self::deadline_ns).
    pub fn tick(&mut self, now_ns: u64, out: &mut Vec<Request>) {
        self.writer.tick(now_ns, out);
        let dirty = !self.builder.is_empty() || self.complete > self.queued;
        if dirty || self.forced {
            let since = *self.waiting_since_ns.get_or_insert(now_ns);
            let due = now_ns.saturating_sub(since) >= self.options.flush_age_ns;
            // Behind a draft that waits, further changes share one frame.
            if self.forced || (due && self.queue.is_empty()) {
                self.draft();
            }
        }
        self.pump(out);
    }

    /// Takes the end of one operation.
    ///
    /// # Errors
    /// The disk failed; the process must end.
    pub fn complete(&mut self, completion: Completion, out: &mut Vec<Request>) -> Result<(), Fatal> {
        if let Some(Flight { kind, index, .. }) = self.writer.complete(completion, out)?
            && kind == Kind::Data
        {
            assert!(index >= self.durable, "the durable index fell from {} to {index}", self.durable);
            self.durable = index;
        }
        self.pump(out);
        Ok(())
    }

    /// Every effect up to here would survive a power failure.
    #[must_use]
    pub fn durable_index(&self) -> LogIndex {
        self.durable
    }

    /// When [`tick`](Self::tick) is wanted at the latest; `None` while there is nothing to wait for.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        let flush = self.waiting_since_ns.filter(|_| self.queue.is_empty());
        let flush = flush.map(|since| since + self.options.flush_age_ns);
        [flush, self.writer.retry_at_ns()].into_iter().flatten().min()
    }

    /// Whether the disk had no room for what waits to be written; tried again at [`deadline_ns`](Self::deadline_ns).
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.writer.retry_at_ns().is_some()
    }

    /// Whether so much is buffered, because the disk has no room, that new writes should be refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue_bytes + self.builder.len_bytes() >= BUFFER_BYTES_MAX
    }

    /// Whether the stream has grown beyond about twice `live_bytes`, the size of what is in memory.
    #[must_use]
    pub fn wants_checkpoint(&self, live_bytes: u64) -> bool {
        let slack = SLACK_SEGMENTS * self.options.segment_bytes as u64;
        self.may_checkpoint() && self.written_bytes > 2 * live_bytes + slack
    }

    /// Whether a checkpoint may begin: none is being written, and the last one is in use.
    #[must_use]
    pub fn may_checkpoint(&self) -> bool {
        self.checkpoint.is_none() && !self.base_is_new
    }

    /// Whether versions of a checkpoint are still to be handed over: the shard must not forget any.
    #[must_use]
    pub fn is_walking(&self) -> bool {
        self.checkpoint.as_ref().is_some_and(|c| !c.walked)
    }

    /// Whether the stream holds nothing of what is in memory yet; see [`seed`](Self::seed).
    #[must_use]
    pub fn is_seeding(&self) -> bool {
        self.seeding || self.durable < self.seed
    }

    /// Begins a checkpoint of what is in memory now.
    pub fn begin_checkpoint(&mut self) {
        assert!(self.checkpoint.is_none(), "one checkpoint at a time");
        let base = Base { frame: self.writer.next(), index: self.complete };
        self.checkpoint = Some(Checkpoint::new(base));
    }

    /// Whether the checkpoint takes more versions now.
    #[must_use]
    pub fn takes_checkpoint(&self) -> bool {
        let takes = |c: &Checkpoint| !c.walked && c.builder.len_bytes() < self.options.flush_bytes;
        self.checkpoint.as_ref().is_some_and(takes)
    }

    /// Takes one version of the checkpoint, in any order.
    pub fn checkpoint(&mut self, version: &Version<'_>) {
        let checkpoint = self.checkpoint.as_mut().expect("a checkpoint was begun");
        checkpoint.builder.push(version);
    }

    /// Takes one system record of the checkpoint, in any order. Of each name that existed at the index at which the
    /// checkpoint [began](Self::begin_checkpoint), the record that was the newest then must be handed over: one that
    /// replaced it since may lie above the index at which the next start cuts.
    pub fn checkpoint_system(&mut self, record: &SystemRecord<'_>) {
        let checkpoint = self.checkpoint.as_mut().expect("a checkpoint was begun");
        debug_assert!(record.index <= checkpoint.base.index, "a record of before the checkpoint");
        checkpoint.builder.push_system(record);
    }

    /// Every version and system record that is in memory was handed over.
    pub fn end_checkpoint(&mut self) {
        self.checkpoint.as_mut().expect("a checkpoint was begun").walked = true;
    }

    fn draft_if_large(&mut self) {
        if self.builder.len_bytes() >= self.options.flush_bytes {
            self.draft();
        }
    }

    fn draft(&mut self) {
        // While seeding there is no index at which the stream is complete.
        let index = if self.seeding { LogIndex::ZERO } else { self.complete };
        let memory = self.writer.take_spare();
        let draft = Draft::finish(&mut self.builder, memory, Kind::Data, index);
        self.queue_bytes += draft.bytes();
        self.queue.push_back(draft);
        self.queued = self.complete;
        self.forced = false;
        self.waiting_since_ns = None;
    }

    /// Starts the write that comes next, if one can start.
    fn pump(&mut self, out: &mut Vec<Request>) {
        if self.writer.is_writing() {
            return;
        }
        self.finish_checkpoint();
        self.retire();
        if self.forced && self.queue.is_empty() {
            self.draft();
        }
        if let Some(draft) = self.queue.pop_front() {
            let bytes = draft.bytes();
            match self.writer.submit(draft, self.base, out) {
                Ok(()) => {
                    self.queue_bytes -= bytes;
                    self.count(bytes);
                }
                Err(draft) => self.queue.push_front(draft),
            }
        } else {
            self.submit_chunk(out);
        }
    }

    fn submit_chunk(&mut self, out: &mut Vec<Request>) {
        let Some(checkpoint) = &mut self.checkpoint else { return };
        let Some(draft) = checkpoint.next_draft(self.options.flush_bytes) else { return };
        let bytes = draft.bytes();
        match self.writer.submit(draft, self.base, out) {
            Ok(()) => self.count(bytes),
            Err(draft) => checkpoint.draft = Some(draft),
        }
    }

    fn count(&mut self, body_bytes: usize) {
        // As they lie on the disk: a small record takes a whole block.
        let bytes = frame_bytes(body_bytes) as u64;
        self.written_bytes += bytes;
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.written_bytes += bytes;
        }
    }

    /// One write in flight: when the last chunk is not in flight any more, the checkpoint is durable.
    fn finish_checkpoint(&mut self) {
        if let Some(done) = self.checkpoint.take_if(|c| c.is_submitted()) {
            self.base = done.base;
            self.base_is_new = true;
            self.written_bytes = done.written_bytes;
            self.seeding = false;
            self.forced = true;
        }
    }

    fn retire(&mut self) {
        if self.base_is_new && self.base.index <= self.stable {
            self.base_is_new = false;
            self.forced |= self.writer.retire_before(self.base.frame);
        }
    }
}
