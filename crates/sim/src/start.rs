//! From disks to a process that runs: the functions that the server uses, in its order.

use windlass_io_disk::sim::SimDisk;
use windlass_io_log::folder::Folder;
use windlass_io_log::ids::Identity;
use windlass_io_log::raft_log::{RaftLog, Recovered};
use windlass_io_log::stream::manifest::Generation;
use windlass_io_log::stream::{Options, ShardHistory, StateHistory, StateStream};
use windlass_raft::{Config, Membership, Raft, Restored};
use windlass_records::batch::Origin;
use windlass_records::state::State;
use windlass_replica::consensus::{Consensus, Parts, RestoreError, check_restore};
use windlass_replica::shard::{Content, ShardCore, redistribute, restore, seed, stable_state, system_of};
use windlass_types::{MemberId, ShardId};

use crate::bug::Bug;
use crate::check::Violation;
use crate::disks::Layout;
use crate::env::Env;
use crate::member::{Ticket, hash_of};
use crate::profile::Profile;
use crate::report::Count;

/// The only member.
pub const MEMBER: MemberId = MemberId(1);

/// What a start makes.
pub struct Started {
    /// The core of consensus.
    pub core: Consensus,
    /// The shards.
    pub shards: Vec<ShardCore<Ticket>>,
    /// The sequencer's stream.
    pub state: StateStream,
}

/// Why a start fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be opened.
    #[error("the log: {0}")]
    Log(#[source] windlass_io_log::Error),
    /// A stream cannot be opened.
    #[error("the shards: {0}")]
    Shards(#[from] windlass_replica::shard::Error),
    /// Log and streams do not belong together.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A promise is broken.
    #[error(transparent)]
    Violated(#[from] Violation),
}

impl From<windlass_io_log::Error> for Error {
    fn from(error: windlass_io_log::Error) -> Self {
        Self::Shards(error.into())
    }
}

impl Error {
    /// Whether the disks' faults explain it: one failed, or has no room.
    #[must_use]
    pub fn is_explained(&self, full: bool, failing: bool) -> bool {
        use windlass_io_log::Error as Stream;
        use windlass_replica::shard::Error as Shards;
        match self {
            Self::Log(error) | Self::Shards(Shards::Stream(error)) => match error {
                Stream::NoSpace { .. } => full,
                Stream::Disk { .. } => failing,
                _ => false,
            },
            Self::Shards(Shards::NoSpace) => full,
            Self::Shards(Shards::Write(_)) => failing,
            Self::Restore(_) | Self::Violated(_) => false,
        }
    }
}

/// Starts with `count` shards.
///
/// # Errors
/// See [`Error`]; what is on the disks is as after a crash then.
pub fn start(count: u16, env: &mut Env) -> Result<Started, Error> {
    let options = env.profile.log(&mut env.scheduling);
    let (mut log, recovered) = RaftLog::open(&mut env.disks.log, options, Identity(1)).map_err(Error::Log)?;
    env.checker.recovered(&recovered, &mut env.totals)?;
    let (histories, states) = read(&mut env.disks.layout, &env.profile)?;
    let state = stable_state(&histories, &states);
    check_restore(recovered.start_index, log.last_index(), state.index)?;
    // Nothing was written so far: a start that is refused leaves everything as it was.
    log.start(&mut env.disks.log).map_err(Error::Log)?;
    let (shards, stream) = if env.disks.layout.count() == count {
        load(histories, states, &state, env)?
    } else {
        relayout(count, &histories, &state, env)?
    };
    let hash = hash_of(shards.iter().map(ShardCore::shard), &state);
    env.checker.restored(&state, hash)?;
    env.tell(|| {
        let (start, last) = (recovered.start_index, log.last_index());
        format!("starts with {count} shards at entry {}; the log holds {start} to {last}", state.index)
    });
    let raft = Raft::new(config(env), restored(recovered, &state));
    let system = system_of(shards.iter());
    let parts = Parts { raft, log, state, system, shards: count };
    let us = Origin { member: MEMBER, incarnation: u64::from(env.life) };
    let core = Consensus::new(us, env.profile.consensus, parts);
    Ok(Started { core, shards, state: stream })
}

fn config(env: &mut Env) -> Config {
    Config::new(MEMBER, u64::from(env.life), env.scheduling.number())
}

fn restored(recovered: Recovered, state: &State) -> Restored {
    let Recovered { mut hard_state, start_index, start_term, entries } = recovered;
    // As in the server: the commit index on disk is a hint that may lag; what a shard holds was committed.
    hard_state.commit = hard_state.commit.max(state.index);
    let membership = Membership::of_voters([MEMBER]);
    Restored { hard_state, start_index, start_term, entries, applied: state.index, membership }
}

type Opened = (Vec<ShardCore<Ticket>>, StateStream);

/// Opens the valid layout.
fn load(
    histories: Vec<ShardHistory>,
    states: StateHistory,
    state: &State,
    env: &mut Env,
) -> Result<Opened, Error> {
    let beyond = env.strikes(Bug::LoadedBeyondStable, 1);
    let layout = &mut env.disks.layout;
    let mut shards = Vec::new();
    for ((id, history), disk) in (0..).map(ShardId).zip(histories).zip(&mut layout.shards) {
        let load = if beyond { load_beyond } else { restore_from };
        shards.push(load(id, history, disk, state)?);
    }
    Ok((shards, states.start(&mut layout.state, *state)?))
}

fn restore_from(
    id: ShardId,
    history: ShardHistory,
    disk: &mut SimDisk,
    state: &State,
) -> Result<ShardCore<Ticket>, Error> {
    Ok(restore(id, history, disk, state)?)
}

fn read(layout: &mut Layout, profile: &Profile) -> Result<(Vec<ShardHistory>, StateHistory), Error> {
    let generation = layout.generation;
    let mut histories = Vec::new();
    for (shard, disk) in (0..).zip(&mut layout.shards) {
        let options = of_generation(profile.shard_stream(shard), generation);
        histories.push(ShardHistory::open(options, disk)?);
    }
    let options = of_generation(profile.state_stream(), generation);
    Ok((histories, StateHistory::open(options, &mut layout.state)?))
}

/// Lays everything out anew. A crash before the end leaves the old layout.
fn relayout(count: u16, histories: &[ShardHistory], state: &State, env: &mut Env) -> Result<Opened, Error> {
    let Env { disks, profile, scheduling, .. } = env;
    let old = disks.layout.shards.iter_mut().map(|disk| disk as &mut dyn Folder);
    let loaded = redistribute(histories.iter().zip(old), count, state)?;
    let mut layout = Layout::empty(disks.layout.generation.next(), count, disks.full, scheduling);
    if disks.failing && scheduling.one_in(2) {
        layout.shards[0].fail_after(1 + scheduling.below(8));
    }
    let (new, states) = read(&mut layout, profile)?;
    let mut shards = Vec::new();
    for (((id, keys), history), disk) in (0..).map(ShardId).zip(loaded).zip(new).zip(&mut layout.shards) {
        shards.push(seed(id, keys, history, disk, state)?);
    }
    let stream = states.start(&mut layout.state, *state)?;
    // The manifest names it from now on.
    disks.layout = layout;
    env.totals.count(Count::Layouts);
    Ok((shards, stream))
}

fn of_generation(options: Options, generation: Generation) -> Options {
    Options { identity: Identity(options.identity.0 + 1000 * u64::from(generation.0)), ..options }
}

/// As [`restore_from`], but everything that the stream holds is loaded: a bug.
fn load_beyond(
    id: ShardId,
    history: ShardHistory,
    disk: &mut SimDisk,
    state: &State,
) -> Result<ShardCore<Ticket>, Error> {
    let mut content = Content::default();
    history.load(disk, history.durable_index(), &mut |record| content.load(record))?;
    content.finish_load(state);
    let stream = history.start(disk, state.index)?;
    Ok(ShardCore::new(id, content, stream, state.index))
}
