//! The shard's state machine.

use std::collections::BTreeMap;
use std::ops::Deref;

use bytes::Bytes;
use windlass_io_log::journal::Fatal;
use windlass_io_log::op::Completion;
use windlass_io_log::stream::{Request, ShardStream};
use windlass_mvcc::{Cursor, Shard};
use windlass_records::wal;
use windlass_types::{LogIndex, Revision, ShardId};

use super::followers::{FollowerId, Followers, Now};
use super::records::Records;
use super::restore::Content;
use super::snapshot::{Chunk, Share};
use super::sums::Marks;
use super::view::View;
use crate::perform::perform;
use crate::read::read;
use crate::task::{ReadAnswer, ReadTask, ShardAnswer, ShardTask, SnapshotId, SystemRecords};
use crate::watch::{Follow, FollowNews};

/// Changes that one slice of compaction goes through: some tens of microseconds, which a read can wait.
const COMPACT_SLICE_CHANGES: usize = 128;

/// Versions that one slice of a checkpoint hands over, for the same reason.
const CHECKPOINT_SLICE_VERSIONS: usize = 128;

/// Bytes after which a slice of a checkpoint ends though few versions were handed over.
const CHECKPOINT_SLICE_BYTES: usize = 128 << 10;

/// Everything that can wake a shard. `R` tells the shell whom a read answers.
#[derive(Debug)]
pub enum Input<R> {
    /// Work from the sequencer.
    Task(ShardTask),
    /// A question. Answered by exactly one [`Output::Read`].
    Read(ReadTask, R),
    /// A follower of the shard's changes says something. Answered by [`Output::Follow`].
    Follow(FollowerId, Follow),
    /// An operation ended.
    Disk(Completion),
    /// The next chunk of a snapshot that a task began is wanted. Answered by one [`Output::Chunk`], or by nothing if the
    /// snapshot has ended.
    NextChunk(SnapshotId),
    /// No more of this snapshot is wanted.
    EndSnapshot(SnapshotId),
    /// Every stream of the member has everything up to here.
    Stable(LogIndex),
    /// The time in nanoseconds of any monotonic clock. Wanted after each group of other inputs, and at
    /// [`ShardCore::deadline_ns`].
    Tick(u64),
}

/// What a shard asks for, to be carried out in order.
#[derive(Debug)]
pub enum Output<R> {
    /// For the sequencer.
    Answer(ShardAnswer),
    /// For whom asked.
    Read(R, ReadAnswer),
    /// For a follower, in order.
    Follow(FollowerId, FollowNews),
    /// Start this operation.
    Disk(Request),
    /// Every effect up to here would survive a power failure.
    Durable(LogIndex),
    /// A piece of a snapshot.
    Chunk(Chunk),
    /// Whether new writes should be refused, because the disk has no room and the buffer is full.
    Full(bool),
}

/// One shard.
pub struct ShardCore<R> {
    id: ShardId,
    /// The keys, and up to where they are complete.
    view: View,
    records: Records,
    stream: ShardStream,
    /// Up to which revision the keys are complete; zero until the first entry of this process.
    complete: Revision,
    followers: Followers,
    news: Vec<(FollowerId, FollowNews)>,
    marks: Marks,
    /// Reads that wait for the watermark. Bounded by what those who ask may have in flight.
    parked: BTreeMap<LogIndex, Vec<(ReadTask, R)>>,
    /// Whether compaction has something to do.
    compacting: bool,
    /// The entry of the newest compaction. It may be gone through before the shard is complete up to here.
    compacted: LogIndex,
    /// Entries whose compaction somebody waits for. Bounded by the compactions that a client has in flight.
    compact_answers: Vec<LogIndex>,
    walk: Walk,
    /// Snapshots under way, one for each member that needs one. Nothing is compacted while there are any.
    shares: Vec<Share>,
    reported_durable: LogIndex,
    reported_full: bool,
    requests: Vec<Request>,
}

/// Where the checkpoint's walk is.
#[derive(Debug)]
enum Walk {
    /// Among the system records, behind this one.
    Records(Option<Bytes>),
    /// Among the versions; `None` before the first.
    Versions(Option<Cursor>),
}

impl<R> ShardCore<R> {
    /// Joins content and stream; the content is complete up to `index`, and so is the stream, or is about to be.
    #[must_use]
    pub fn new(id: ShardId, content: Content, stream: ShardStream, index: LogIndex) -> Self {
        let Content { shard, mut records } = content;
        if stream.is_walking() {
            records.freeze();
        }
        Self {
            id,
            marks: Marks::new(&shard),
            view: View::new(shard, index),
            records,
            stream,
            complete: Revision::ZERO,
            followers: Followers::default(),
            news: Vec::new(),
            parked: BTreeMap::new(),
            // What a start loaded may have to be compacted again.
            compacting: true,
            compacted: index,
            compact_answers: Vec::new(),
            walk: Walk::Records(None),
            shares: Vec::new(),
            reported_durable: index,
            reported_full: false,
            requests: Vec::new(),
        }
    }

    /// Takes one input.
    ///
    /// # Errors
    /// The disk failed; the process must end.
    pub fn step(&mut self, input: Input<R>, out: &mut Vec<Output<R>>) -> Result<(), Fatal> {
        match input {
            Input::Task(task) => self.perform(&task, out),
            Input::Read(task, whom) => self.read(task, whom, out),
            Input::Follow(id, follow) => self.follow(id, follow, out),
            Input::Disk(completion) => {
                self.stream.complete(completion, &mut self.requests)?;
                self.report(out);
            }
            Input::NextChunk(id) => {
                let share = self.shares.iter_mut().find(|share| share.id() == id);
                out.extend(share.map(|share| Output::Chunk(share.next(&self.view.shard()))));
            }
            Input::EndSnapshot(id) => self.shares.retain(|share| share.id() != id),
            Input::Stable(index) => self.stream.set_stable(index),
            Input::Tick(now_ns) => {
                self.tell_followers(out);
                self.stream.tick(now_ns, &mut self.requests);
                self.report(out);
            }
        }
        Ok(())
    }

    /// Does one slice of background work; whether more is to be done now. A tick is wanted after it.
    pub fn work(&mut self, out: &mut Vec<Output<R>>) -> bool {
        if self.stream.is_walking() {
            self.checkpoint_slice();
        } else if self.wants_checkpoint() {
            self.begin_checkpoint();
        } else if self.may_compact() {
            self.compact_slice(out);
        }
        self.has_work()
    }

    /// Whether the next [`work`](Self::work) is a slice of compaction.
    #[must_use]
    pub fn will_compact(&self) -> bool {
        !self.stream.is_walking() && !self.wants_checkpoint() && self.may_compact()
    }

    /// Whether a compaction is not ended yet.
    #[must_use]
    pub fn is_compacting(&self) -> bool {
        self.compacting
    }

    /// Whether [`work`](Self::work) has something to do now.
    #[must_use]
    pub fn has_work(&self) -> bool {
        if self.stream.is_walking() {
            return self.stream.takes_checkpoint();
        }
        self.may_compact() || self.wants_checkpoint()
    }

    /// Begins a checkpoint although the stream is not long yet, if one may begin: it hastens what would come anyway.
    pub fn hasten_checkpoint(&mut self) {
        if self.stream.may_checkpoint() && self.may_checkpoint() {
            self.begin_checkpoint();
        }
    }

    /// Whether a checkpoint is being taken.
    #[must_use]
    pub fn is_checkpointing(&self) -> bool {
        self.stream.is_walking()
    }

    /// Flushes with the next tick.
    pub fn flush(&mut self) {
        self.stream.flush();
    }

    /// When a tick is wanted at the latest.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        self.stream.deadline_ns()
    }

    /// The shard holds every effect up to here.
    #[must_use]
    pub fn watermark(&self) -> LogIndex {
        self.view.read().watermark
    }

    /// Every effect up to here would survive a power failure.
    #[must_use]
    pub fn durable_index(&self) -> LogIndex {
        self.stream.durable_index()
    }

    /// Whether the disk had no room for what waits to be written.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.stream.is_starved()
    }

    /// The keys.
    #[must_use]
    pub fn shard(&self) -> impl Deref<Target = Shard> + '_ {
        self.view.shard()
    }

    /// A look at the keys for other threads.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Logical bytes of all that it holds: keys, values and system records.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.view.shard().usage().bytes + self.records.bytes()
    }

    /// The system records: the newest of each name.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Whether its new stream does not hold it yet.
    pub(super) fn is_seeding(&self) -> bool {
        self.stream.is_seeding()
    }

    fn perform(&mut self, task: &ShardTask, out: &mut Vec<Output<R>>) {
        if let ShardTask::Compact(_) = task {
            let now = Now { shard: &self.view.shard(), complete: self.complete };
            self.followers.before_compaction(now, &mut self.news);
            out.extend(self.news.drain(..).map(|(id, news)| Output::Follow(id, news)));
            out.extend(self.marks.compaction_begins().map(Output::Answer));
        }
        let completed = task.completes();
        {
            let mut held = self.view.write();
            out.extend(perform(&mut held.shard, self.id, task, &mut self.stream).map(Output::Answer));
            if let Some((index, _)) = completed {
                let before = std::mem::replace(&mut held.watermark, index);
                assert!(index >= before, "the watermark fell from {before} to {index}");
            }
        }
        match task {
            ShardTask::Compact(compact) => {
                self.compacting = true;
                self.compacted = compact.index;
                self.compact_answers.extend(compact.answer.then_some(compact.index));
            }
            ShardTask::System(system) => self.write_records(system),
            ShardTask::Mark(index) => self.mark(*index, out),
            ShardTask::Snapshot(id) => self.shares.push(Share::begin(*id, self.watermark(), &self.records)),
            _ => {}
        }
        if let Some((index, revision)) = completed {
            self.complete = revision;
            self.stream.advance(index);
            self.unpark(index, out);
        }
    }

    fn mark(&mut self, index: LogIndex, out: &mut Vec<Output<R>>) {
        let overtaken = self.marks.mark(index, &self.view.shard(), self.records.sum());
        let at_rest = (!self.compacting).then(|| self.marks.at_rest(&self.view.shard())).flatten();
        out.extend(overtaken.into_iter().chain(at_rest).map(Output::Answer));
    }

    fn write_records(&mut self, system: &SystemRecords) {
        let index = system.index;
        for (name, value) in &system.records {
            self.stream.append_system(&wal::SystemRecord { index, name, value: value.as_deref() });
            self.records.write(index, name.clone(), value.clone());
        }
    }

    fn read(&mut self, task: ReadTask, whom: R, out: &mut Vec<Output<R>>) {
        let held = self.view.read();
        if task.min_index <= held.watermark {
            out.push(Output::Read(whom, read(&held.shard, &task)));
        } else {
            self.parked.entry(task.min_index).or_default().push((task, whom));
        }
    }

    fn unpark(&mut self, watermark: LogIndex, out: &mut Vec<Output<R>>) {
        while let Some(first) = self.parked.first_entry().filter(|e| *e.key() <= watermark) {
            let shard = self.view.shard();
            for (task, whom) in first.remove() {
                out.push(Output::Read(whom, read(&shard, &task)));
            }
        }
    }

    fn may_compact(&self) -> bool {
        self.compacting && self.shares.is_empty()
    }

    fn follow(&mut self, id: FollowerId, follow: Follow, out: &mut Vec<Output<R>>) {
        let now = Now { shard: &self.view.shard(), complete: self.complete };
        self.followers.take(now, id, follow, &mut self.news);
        out.extend(self.news.drain(..).map(|(id, news)| Output::Follow(id, news)));
    }

    fn tell_followers(&mut self, out: &mut Vec<Output<R>>) {
        let now = Now { shard: &self.view.shard(), complete: self.complete };
        self.followers.send(now, &mut self.news);
        out.extend(self.news.drain(..).map(|(id, news)| Output::Follow(id, news)));
    }

    fn wants_checkpoint(&self) -> bool {
        self.may_checkpoint() && self.stream.wants_checkpoint(self.bytes())
    }

    /// A checkpoint stands for the index up to which the shard is complete, so it must not lack what an entry above
    /// that took away.
    fn may_checkpoint(&self) -> bool {
        self.compacted <= self.watermark()
    }

    fn begin_checkpoint(&mut self) {
        self.walk = Walk::Records(None);
        self.records.freeze();
        self.stream.begin_checkpoint();
    }

    fn compact_slice(&mut self, out: &mut Vec<Output<R>>) {
        if self.view.write().shard.compact_step(COMPACT_SLICE_CHANGES) {
            self.compacting = false;
            let answers = self.compact_answers.drain(..);
            out.extend(answers.map(|index| Output::Answer(ShardAnswer::Compacted { index })));
            out.extend(self.marks.at_rest(&self.view.shard()).map(Output::Answer));
        }
    }

    fn checkpoint_slice(&mut self) {
        match std::mem::replace(&mut self.walk, Walk::Records(None)) {
            Walk::Records(last) => self.walk = self.checkpoint_records(last),
            Walk::Versions(cursor) => {
                let next = self.checkpoint_versions(cursor.as_ref());
                self.walk = Walk::Versions(next.or(cursor));
            }
        }
    }

    /// Hands over system records behind `last`. They come first, as nothing else is held up by them.
    fn checkpoint_records(&mut self, mut last: Option<Bytes>) -> Walk {
        let mut bytes = 0;
        let mut through = false;
        let mut records = self.records.walk(last.as_ref());
        let mut newest = None;
        for _ in 0..CHECKPOINT_SLICE_VERSIONS {
            if !self.stream.takes_checkpoint() || bytes >= CHECKPOINT_SLICE_BYTES {
                break;
            }
            let Some((name, record)) = records.next() else {
                through = true;
                break;
            };
            bytes += record.name.len() + record.value.map_or(0, <[u8]>::len);
            self.stream.checkpoint_system(&record);
            newest = Some(name.clone());
        }
        drop(records);
        if through {
            self.records.thaw();
            return Walk::Versions(None);
        }
        if newest.is_some() {
            last = newest;
        }
        Walk::Records(last)
    }

    /// Hands over versions behind `cursor`; the last of them, if there was any.
    fn checkpoint_versions(&mut self, cursor: Option<&Cursor>) -> Option<Cursor> {
        let mut bytes = 0;
        let mut last = None;
        let shard = self.view.shard();
        let mut versions = shard.versions(cursor);
        for _ in 0..CHECKPOINT_SLICE_VERSIONS {
            if !self.stream.takes_checkpoint() || bytes >= CHECKPOINT_SLICE_BYTES {
                break;
            }
            let Some(version) = versions.next() else {
                self.stream.end_checkpoint();
                break;
            };
            bytes += version.key.len() + version.live.map_or(0, |live| live.value.len());
            self.stream.checkpoint(&version);
            last = Some(version);
        }
        last.map(|version| Cursor::after(&version))
    }

    fn report(&mut self, out: &mut Vec<Output<R>>) {
        out.extend(self.requests.drain(..).map(Output::Disk));
        let durable = self.stream.durable_index();
        if durable > self.reported_durable {
            self.reported_durable = durable;
            out.push(Output::Durable(durable));
        }
        let full = self.stream.is_full();
        if full != self.reported_full {
            self.reported_full = full;
            out.push(Output::Full(full));
        }
    }
}
