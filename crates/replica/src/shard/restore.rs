//! From the streams that a start finds to shards that run, over any kind of folder. Blocking; before any shard runs.
//!
//! 1. [`stable_state`]: where all streams can be cut.
//! 2. The same number of shards as before: [`restore`] each, in any order or at once.
//! 3. Another number: [`redistribute`] the old streams, then [`seed`] new ones. The old ones are not changed.

use windlass_io_log::folder::Folder;
use windlass_io_log::journal::Fatal;
use windlass_io_log::op::{Completion, Op};
use windlass_io_log::stream::{ShardHistory, StateHistory, stable_at};
use windlass_mvcc::Shard;
use windlass_records::state::State;
use windlass_types::ShardId;
use windlass_types::key::shard_of;

use super::{Input, Output, ShardCore};

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
    let mut shard = Shard::default();
    history.load(folder, state.index, &mut |version| shard.load(version))?;
    shard.finish_load(state.compact_revision);
    let stream = history.start(folder, state.index)?;
    Ok(ShardCore::new(id, shard, stream, state.index))
}

/// Loads the streams of any number of shards into `count` new ones, as they were at `state`.
///
/// # Errors
/// See [`Error`].
pub fn redistribute<'a>(
    old: impl Iterator<Item = (&'a ShardHistory, &'a mut dyn Folder)>,
    count: u16,
    state: &State,
) -> Result<Vec<Shard>, Error> {
    let mut shards: Vec<_> = (0..count).map(|_| Shard::default()).collect();
    for (history, folder) in old {
        history.load(folder, state.index, &mut |version| {
            shards[usize::from(shard_of(version.key, count).0)].load(version);
        })?;
    }
    shards.iter_mut().for_each(|shard| shard.finish_load(state.compact_revision));
    Ok(shards)
}

/// Writes all of `shard` to a new stream; when this returns it is durable.
///
/// # Errors
/// See [`Error`].
pub fn seed<R>(
    id: ShardId,
    shard: Shard,
    new: ShardHistory,
    folder: &mut dyn Folder,
    state: &State,
) -> Result<ShardCore<R>, Error> {
    let mut stream = new.start(folder, windlass_types::LogIndex::ZERO)?;
    stream.seed(state.index);
    let mut core = ShardCore::new(id, shard, stream, state.index);
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
