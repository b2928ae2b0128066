//! From disks to a process that runs: the functions that the server uses, in its order.
//!
//! A snapshot that waits to be installed is installed first, as `crates/server/src/member/recovery.rs` does: the shards
//! are replaced, then the log, then the snapshot is forgotten.

use bytes::Bytes;
use windlass_io_disk::sim::SimDisk;
use windlass_io_log::folder::Folder;
use windlass_io_log::ids::Identity;
use windlass_io_log::raft_log::{RaftLog, Recovered};
use windlass_io_log::stream::manifest::Generation;
use windlass_io_log::stream::{Options, ShardHistory, StateHistory, StateStream};
use windlass_raft::{Config, Raft};
use windlass_records::state::State;
use windlass_records::wal;
use windlass_replica::consensus::{Consensus, Parts, RestoreError, check_restore};
use windlass_replica::founding::{Installs, founding, installs, restored};
use windlass_replica::shard::{
    Content, Distribution, ShardCore, redistribute, restore, seed, stable_state, system_of,
};
use windlass_replica::system::{ALARM, System};
use windlass_types::{LogIndex, MemberId, ShardId};

use crate::bug::Bug;
use crate::check::Violation;
use crate::disks::Layout;
use crate::env::{Env, member_of};
use crate::member::{Ticket, hash_of};
use crate::profile::Profile;
use crate::report::Count;
use crate::transfer::Arrived;

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
    /// The process was killed.
    #[error("killed")]
    Killed,
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
    /// Whether something of the shards is damaged or missing.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        use windlass_io_log::Error as Stream;
        use windlass_replica::shard::Error as Shards;
        matches!(
            self,
            Self::Shards(Shards::Stream(
                Stream::Damaged { .. } | Stream::Missing { .. } | Stream::Beheaded { .. }
            )) | Self::Restore(RestoreError::Gap { .. })
        )
    }

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
            Self::Killed => true,
            Self::Restore(_) | Self::Violated(_) => false,
        }
    }
}

/// Starts with `count` shards.
///
/// # Errors
/// See [`Error`]; what is on the disks is as after a crash then.
pub fn start(count: u16, env: &mut Env) -> Result<Started, Error> {
    let at = env.at;
    let (mut log, mut recovered) = open_log(env)?;
    let arrived = env.site().arrived.clone();
    let mut replaced = false;
    if let Some(arrived) = &arrived {
        let damaged = read(&recovered, env).err().is_some_and(|error| error.is_damage());
        match installs(&arrived.state, &recovered, damaged) {
            Installs::Nothing if damaged => env.site_mut().arrived = None,
            Installs::Nothing => {}
            Installs::Shards => {
                install(count, arrived, env)?;
                if env.strikes(Bug::RepairedInPart, 1) {
                    let (start_index, start_term) = (arrived.state.index, arrived.state.term);
                    recovered = Recovered { start_index, start_term, entries: Vec::new(), ..recovered };
                    (recovered.hard_state.commit, recovered.hard_state.vote) = (start_index, MemberId::ZERO);
                    replaced = true;
                }
            }
            Installs::All(log) => {
                install(count, arrived, env)?;
                (recovered, replaced) = (log, true);
                if damaged && env.strikes(Bug::RepairedInPart, 1) {
                    recovered.hard_state.vote = MemberId::ZERO;
                }
            }
        }
    }
    let (histories, states, state) = read(&recovered, env)?;
    let is_empty = recovered == Recovered::default() && state.index == LogIndex::ZERO;
    if is_empty && env.site().founds && env.profile.members > 1 {
        recovered = founding((0..env.profile.founders).map(|site| (member_of(site), urls_of(site))));
    }
    if replaced || is_empty {
        log.replace(&recovered);
        env.checker.begins_with(at, &recovered)?;
    }
    // Nothing was written so far: a start that is refused leaves everything as it was.
    log.start(&mut env.sites[at].disks.log).map_err(Error::Log)?;
    if arrived.is_some() {
        interrupted(env)?;
        env.site_mut().arrived = None;
        env.totals.add(Count::SnapshotsInstalled, u64::from(replaced));
    }
    let (shards, stream) = if env.site().disks.layout.count() == count {
        load(histories, states, &state, env)?
    } else {
        relayout(count, &histories, &state, env)?
    };
    let hash = hash_of(shards.iter().map(ShardCore::shard), &state);
    env.checker.restored(at, &state, hash)?;
    env.tell(|| {
        let (start, last) = (recovered.start_index, log.last_index());
        format!("starts with {count} shards at entry {}; the log holds {start} to {last}", state.index)
    });
    let mut system = system_of(shards.iter());
    if env.strikes(Bug::ForgottenAlarms, 1) {
        forget_alarms(&mut system);
    }
    // A sole member has no records of itself in this simulator, and votes all the same.
    let alone = env.profile.members == 1;
    let raft = Raft::new(config(env), restored(env.member(), recovered, &state, &system, alone));
    let parts = Parts { raft, log, state, system, shards: count };
    let core = Consensus::new(env.us(), env.profile.consensus, parts);
    Ok(Started { core, shards, state: stream })
}

/// Opens the log; known bugs are in what it finds.
fn open_log(env: &mut Env) -> Result<(RaftLog, Recovered), Error> {
    let at = env.at;
    let options = env.profile.log(&mut env.scheduling);
    let identity = Identity(1 + 10_000 * at as u64);
    let opened = RaftLog::open(&mut env.sites[at].disks.log, options, identity);
    let (log, mut recovered) = opened.map_err(Error::Log)?;
    if recovered.hard_state.vote != MemberId::ZERO && env.strikes(Bug::ForgottenVote, 2) {
        recovered.hard_state.vote = MemberId::ZERO;
    }
    if !recovered.entries.is_empty() && env.strikes(Bug::TruncatedFrame, 2) {
        recovered.entries.pop();
    }
    env.checker.recovered(at, &recovered, &mut env.totals)?;
    Ok((log, recovered))
}

/// A known bug.
fn forget_alarms(system: &mut System) {
    let raised: Vec<Bytes> = system.with_prefix(ALARM).map(|(name, _)| name.clone()).collect();
    raised.iter().for_each(|name| system.delete(name));
}

/// Where a member is reached.
#[must_use]
pub fn urls_of(site: usize) -> Vec<String> {
    vec![format!("http://{}", member_of(site))]
}

fn config(env: &mut Env) -> Config {
    let mut config = Config::new(env.member(), u64::from(env.life()), env.scheduling.number());
    env.profile.raft.set(&mut config);
    config.trace = env.trace.is_some();
    config
}

/// Sometimes the process is killed right here.
fn interrupted(env: &mut Env) -> Result<(), Error> {
    if !env.calm && env.scheduling.one_in(8) { Err(Error::Killed) } else { Ok(()) }
}

/// Replaces all shards by those of a snapshot. A crash leaves the old ones or the new ones.
fn install(count: u16, arrived: &Arrived, env: &mut Env) -> Result<(), Error> {
    let part = env.strikes(Bug::InstalledInPart, 1);
    let mut distribution = Distribution::new(count);
    for (at, frame) in arrived.frames.iter().enumerate() {
        if part && at == 0 {
            continue;
        }
        let frame = wal::Frame::parse(frame.clone()).expect("a shard made it");
        frame.records().for_each(|record| distribution.load(&record));
    }
    interrupted(env)?;
    lay_out(count, distribution.finish(&arrived.state), &arrived.state, env)?;
    env.tell(|| format!("installs a snapshot of entry {}", arrived.state.index));
    interrupted(env)
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
    let layout = &mut env.site_mut().disks.layout;
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

/// Reads the shards, which must go with the log.
fn read(log: &Recovered, env: &mut Env) -> Result<(Vec<ShardHistory>, StateHistory, State), Error> {
    let at = env.at;
    let (histories, states) = read_layout(&mut env.sites[at].disks.layout, &env.profile)?;
    let state = stable_state(&histories, &states);
    histories.iter().try_for_each(|history| history.check(state.index))?;
    let last = log.entries.last().map_or(log.start_index, |entry| entry.index);
    check_restore(log.start_index, last, state.index)?;
    Ok((histories, states, state))
}

fn read_layout(layout: &mut Layout, profile: &Profile) -> Result<(Vec<ShardHistory>, StateHistory), Error> {
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
    let old = env.site_mut().disks.layout.shards.iter_mut().map(|disk| disk as &mut dyn Folder);
    let loaded = redistribute(histories.iter().zip(old), count, state)?;
    let opened = lay_out(count, loaded, state, env)?;
    env.totals.count(Count::Layouts);
    Ok(opened)
}

/// Writes this content to new streams, which the manifest names from then on.
fn lay_out(count: u16, contents: Vec<Content>, state: &State, env: &mut Env) -> Result<Opened, Error> {
    let Env { sites, at, profile, scheduling, .. } = env;
    let disks = &mut sites[*at].disks;
    let mut layout = Layout::empty(disks.layout.generation.next(), count, disks.full, scheduling);
    if disks.failing && scheduling.one_in(2) {
        layout.shards[0].fail_after(1 + scheduling.below(8));
    }
    let (new, states) = read_layout(&mut layout, profile)?;
    let mut shards = Vec::new();
    for (((id, keys), history), disk) in (0..).map(ShardId).zip(contents).zip(new).zip(&mut layout.shards) {
        shards.push(seed(id, keys, history, disk, state)?);
    }
    let stream = states.start(&mut layout.state, *state)?;
    // The manifest names it from now on.
    disks.layout = layout;
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
