//! From the streams that a start finds to shards that run, over any kind of folder. Blocking; before any shard runs.
//!
//! 1. [`stable_state`]: where all streams can be cut.
//! 2. The same number of shards as before: [`restore`] each, in any order or at once.
//! 3. Another number: [`redistribute`] the old streams, then [`seed`] new ones. The old ones are not changed.

use bytes::Bytes;
use windlass_io_log::folder::Folder;
use windlass_io_log::journal::Fatal;
use windlass_io_log::op::{Completion, Op};
use windlass_io_log::stream::{ShardHistory, StateHistory, stable_at};
use windlass_mvcc::Shard;
use windlass_records::state::State;
use windlass_records::wal::Record;
use windlass_types::ShardId;
use windlass_types::key::shard_of;

use super::{Input, Output, Records, ShardCore};
use crate::system::System;

/// Why shards cannot be had from their streams.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A stream cannot be read or written.
    #[error(transparent)]
    Stream(#[from] windlass_io_log::Error),
    /// A write of a new stream failed.
    #[error(transparent)]
    Write(#[from] Fatal),
    /// There is no room for the new streams. The old ones are as they were.
    #[error("no room to lay the shards out anew; free space, or start with the number of shards as before")]
    NoSpace,
}

/// What a shard holds.
#[derive(Default)]
pub struct Content {
    /// Its keys.
    pub shard: Shard,
    /// Its system records.
    pub records: Records,
}

impl Content {
    /// Adds one record as it was read from a stream, in any order.
    pub fn load(&mut self, record: &Record<'_>) {
        match record {
            Record::Version(version) => self.shard.load(version),
            Record::System(record) => self.records.load(record),
        }
    }

    /// Ends loading, as of `state`.
    pub fn finish_load(&mut self, state: &State) {
        self.shard.finish_load(state.compact_revision);
        self.records.finish_load();
    }
}

/// Records from anywhere, dealt out to shards.
pub struct Distribution {
    shards: Vec<Content>,
}

impl Distribution {
    /// For `count` shards, at least 1.
    #[must_use]
    pub fn new(count: u16) -> Self {
        Self { shards: (0..count).map(|_| Content::default()).collect() }
    }

    /// Adds one record, in any order.
    pub fn load(&mut self, record: &Record<'_>) {
        let name = match record {
            Record::Version(version) => version.key,
            Record::System(record) => record.name,
        };
        let count = u16::try_from(self.shards.len()).expect("made from a u16");
        self.shards[usize::from(shard_of(name, count).0)].load(record);
    }

    /// What each shard holds, as of `state`.
    #[must_use]
    pub fn finish(mut self, state: &State) -> Vec<Content> {
        self.shards.iter_mut().for_each(|shard| shard.finish_load(state));
        self.shards
    }
}

/// The sequencer's state at the stable index, which is that of the store at a start.
#[must_use]
pub fn stable_state(shards: &[ShardHistory], states: &StateHistory) -> State {
    let shards = shards.iter().map(ShardHistory::durable_index).min().unwrap_or_default();
    let known = states.states().iter().map(|s| s.index);
    let stable = stable_at(known, shards);
    states.states().iter().rfind(|s| Some(s.index) == stable).copied().unwrap_or(State::EMPTY)
}

/// Loads one shard as it was at `state`, and cuts its stream there.
///
/// # Errors
/// See [`Error`].
pub fn restore<R>(
    id: ShardId,
    history: ShardHistory,
    folder: &mut dyn Folder,
    state: &State,
) -> Result<ShardCore<R>, Error> {
    let mut content = Content::default();
    history.load(folder, state.index, &mut |record| content.load(record))?;
    content.finish_load(state);
    let stream = history.start(folder, state.index)?;
    Ok(ShardCore::new(id, content, stream, state.index))
}

/// Loads the streams of any number of shards into `count` new ones, as they were at `state`.
///
/// # Errors
/// See [`Error`].
pub fn redistribute<'a>(
    old: impl Iterator<Item = (&'a ShardHistory, &'a mut dyn Folder)>,
    count: u16,
    state: &State,
) -> Result<Vec<Content>, Error> {
    let mut distribution = Distribution::new(count);
    for (history, folder) in old {
        history.load(folder, state.index, &mut |record| distribution.load(record))?;
    }
    Ok(distribution.finish(state))
}

/// Writes all of `content` to a new stream; when this returns it is durable.
///
/// # Errors
/// See [`Error`].
pub fn seed<R>(
    id: ShardId,
    content: Content,
    new: ShardHistory,
    folder: &mut dyn Folder,
    state: &State,
) -> Result<ShardCore<R>, Error> {
    let mut stream = new.start(folder, windlass_types::LogIndex::ZERO)?;
    stream.seed(state.index);
    let mut core = ShardCore::new(id, content, stream, state.index);
    let mut out = Vec::new();
    while core.is_seeding() {
        core.work(&mut out);
        core.step(Input::Tick(0), &mut out)?;
        while let Some(output) = out.pop() {
            if let Output::Disk(request) = output {
                core.step(Input::Disk(execute(folder, request.op)), &mut out)?;
            }
        }
        if core.is_starved() {
            return Err(Error::NoSpace);
        }
    }
    assert_eq!(core.durable_index(), state.index, "seeded up to the state's index");
    Ok(core)
}

/// The system records of all `shards`, once they are restored or seeded.
#[must_use]
pub fn system_of<'a, R: 'a>(shards: impl Iterator<Item = &'a ShardCore<R>>) -> System {
    System::new(shards.flat_map(|shard| shard.records().iter()).map(|record| {
        let value = record.value.expect("only what is there is listed");
        (Bytes::copy_from_slice(record.name), Bytes::copy_from_slice(value))
    }))
}

/// Executes one operation of a new stream, which removes nothing.
fn execute(folder: &mut dyn Folder, op: Op) -> Completion {
    match op {
        Op::Prepare { ticket, slot, size } => {
            Completion { ticket, buffer: None, result: folder.prepare(slot, size) }
        }
        Op::WriteDurable { ticket, slot, offset, buffer } => {
            let result = folder.write_durable(slot, offset, buffer.bytes());
            Completion { ticket, buffer: Some(buffer), result }
        }
        Op::Remove { .. } => unreachable!("a new stream has nothing to remove"),
    }
}
