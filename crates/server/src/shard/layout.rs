//! The shards' folder: manifest, generations, and how a start gets from there to shards. Blocking, before any shard
//! runs; the shards are read and loaded at once, a thread each.
//!
//! A crash at any point leaves one valid layout: the one that the manifest names. Only what it does not name is ever
//! removed (`docs/formats/shard-wal.md`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use windlass_io_disk::files::DiskFolder;
use windlass_io_log::folder::{Absent, Folder};
use windlass_io_log::ids::Identity;
use windlass_io_log::stream::manifest::{self, Generation, MANIFEST_NAME, Manifest};
use windlass_io_log::stream::{self, ShardHistory, StateHistory, StateStream};
use windlass_records::state::State;
use windlass_replica::shard::{Content, ShardCore, redistribute, restore, seed, stable_state};
use windlass_types::ShardId;

/// Name of the folder of the sequencer's stream.
const STATE_NAME: &str = "state";
/// Number of the sequencer's stream in identities; shards have theirs below.
const STATE_STREAM: u16 = u16::MAX;
/// Least size of a segment; a multiple of the block size.
const SEGMENT_BYTES_MIN: usize = 16 << 20;
/// What a frame holds beside versions, with room to spare.
const FRAME_EXTRA_BYTES: usize = 1 << 20;

/// What is to be opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The shards' folder; made if it is not there. Its parent exists.
    pub folder: PathBuf,
    /// Hash of cluster and member: segments of others are refused.
    pub identity: u64,
    /// Number of shards, 1 to [`SHARDS_MAX`](windlass_types::key::SHARDS_MAX). If it is not what it was, everything is
    /// laid out anew.
    pub shards: u16,
    /// Buffered bytes that start a flush.
    pub flush_bytes: usize,
    /// Age that starts a flush, in nanoseconds.
    pub flush_age_ns: u64,
    /// Largest key and value together, in bytes.
    pub version_bytes_max: usize,
    /// Whether other members have the same data; changes what errors advise.
    pub has_peers: bool,
}

/// All shards, as they were at `state`.
pub struct Opened<T> {
    /// The sequencer's state; entries up to its index are in the shards.
    pub state: State,
    /// In order of their numbers.
    pub shards: Vec<OpenedShard<T>>,
    /// The sequencer's stream.
    pub state_stream: StateStream,
    /// Its folder.
    pub state_folder: PathBuf,
}

/// One shard, loaded.
pub struct OpenedShard<T> {
    /// The shard.
    pub core: ShardCore<T>,
    /// Folder of its stream.
    pub folder: PathBuf,
}

/// Why the shards cannot be opened. The manifest and what it names were not changed, but for torn tails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filesystem refused.
    #[error("{path}: {doing} failed; check its owner, its permissions and its filesystem")]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest cannot be read.
    #[error("{path} cannot be read; put the file back, or restore the member")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        source: manifest::Error,
    },
    /// There are shards, but nothing says which are valid.
    #[error("{0}: there are shards but no manifest; put the file back, or restore the member")]
    NoManifest(PathBuf),
    /// Something that no member makes.
    #[error("{0} does not belong into the shards' folder; move it away")]
    Stranger(PathBuf),
    /// A stream cannot be read or written.
    #[error("{folder} cannot be used")]
    Stream {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        source: windlass_replica::shard::Error,
    },
}

/// The shards as a start finds them; nothing was changed on the disk yet.
pub struct Found {
    options: Options,
    /// None of a folder that nothing was put into yet.
    manifest: Option<Manifest>,
    histories: Vec<ShardHistory>,
    states: StateHistory,
    /// The sequencer's newest state that every shard has.
    state: State,
}

/// Reads the shards; whatever is not there is empty. Writes nothing, so that a start which is refused for another reason
/// leaves the folder as it was.
///
/// # Errors
/// See [`Error`].
pub fn read(options: Options) -> Result<Found, Error> {
    let manifest = read_manifest(&options.folder)?;
    let layout = Layout::of(&options, manifest);
    let (histories, states) = layout.read()?;
    let state = stable_state(&histories, &states);
    for (shard, history) in (0..).zip(&histories) {
        history.check(state.index).map_err(in_folder(&layout.shard_folder(shard)))?;
    }
    Ok(Found { options, manifest, histories, states, state })
}

impl Found {
    /// The sequencer's newest state that every shard has: [`start`](Self::start) begins from there.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What the shards hold as of `state`, which is not newer than [`state`](Self::state). Writes nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(&self, state: &State) -> Result<Vec<Content>, Error> {
        let layout = Layout::of(&self.options, self.manifest);
        let folders = (0..layout.manifest.shards).map(|shard| look_into(&layout.shard_folder(shard)));
        let mut folders = folders.collect::<Result<Vec<_>, _>>()?;
        let mut sources: Vec<(&ShardHistory, &mut dyn Folder)> = Vec::new();
        for (history, folder) in self.histories.iter().zip(&mut folders) {
            sources.push((history, &mut **folder));
        }
        let loaded = redistribute(sources.into_iter(), layout.manifest.shards, state);
        loaded.map_err(in_folder(&layout.folder()))
    }

    /// Loads the shards, in the number that is asked for, and opens their streams for writing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start<T: Send>(self) -> Result<Opened<T>, Error> {
        let Self { options, manifest, histories, states, state } = self;
        let folder = &options.folder;
        let old = Layout::of(&options, manifest);
        make_folder(folder)?;
        if manifest.is_none() {
            write_manifest(folder, old.manifest)?;
        }
        remove_other_generations(folder, old.manifest.generation)?;
        old.make_folders()?;
        if old.manifest.shards == options.shards {
            return old.restore(histories, states, state);
        }
        let next = Manifest { generation: old.manifest.generation.next(), shards: options.shards };
        let opened = Layout { options: &options, manifest: next }.seed(&old, &histories, state)?;
        failpoint!("layoutBeforeManifest");
        write_manifest(folder, next)?;
        failpoint!("layoutAfterManifest");
        remove_other_generations(folder, next.generation)?;
        Ok(opened)
    }
}

/// Replaces all shards, damaged ones too, by ones with this content, one for each shard that is asked for. A crash leaves the
/// old ones or the new ones.
///
/// # Errors
/// See [`Error`].
pub fn replace(options: &Options, contents: Vec<Content>, state: State) -> Result<(), Error> {
    let folder = &options.folder;
    make_folder(folder)?;
    let generation = match read_manifest(folder) {
        Ok(None) => Generation(1),
        Ok(Some(manifest)) => {
            remove_other_generations(folder, manifest.generation)?;
            manifest.generation.next()
        }
        // Nothing says which one is valid. All of them stay until the new one is.
        Err(Error::Manifest { .. } | Error::NoManifest(_)) => {
            let newest = generations(folder)?.into_iter().max_by_key(|generation| generation.0);
            newest.map_or(Generation(1), Generation::next)
        }
        Err(error) => return Err(error),
    };
    let next = Manifest { generation, shards: options.shards };
    let layout = Layout { options, manifest: next };
    layout.fill::<()>(contents, state)?;
    failpoint!("layoutBeforeManifest");
    write_manifest(folder, next)?;
    failpoint!("layoutAfterManifest");
    remove_other_generations(folder, generation)
}

/// One generation.
#[derive(Clone, Copy)]
struct Layout<'a> {
    options: &'a Options,
    manifest: Manifest,
}

impl<'a> Layout<'a> {
    /// The one that `manifest` names, else the first.
    fn of(options: &'a Options, manifest: Option<Manifest>) -> Self {
        let first = Manifest { generation: Generation(1), shards: options.shards };
        Self { options, manifest: manifest.unwrap_or(first) }
    }
}

impl Layout<'_> {
    fn shard_folder(&self, shard: u16) -> PathBuf {
        self.folder().join(shard.to_string())
    }

    fn state_folder(&self) -> PathBuf {
        self.folder().join(STATE_NAME)
    }

    fn folder(&self) -> PathBuf {
        self.options.folder.join(self.manifest.generation.to_string())
    }

    fn stream_options(&self, stream: u16) -> stream::Options {
        let Options { flush_bytes, flush_age_ns, has_peers, .. } = *self.options;
        let number = u64::from(self.manifest.generation.0) << 16 | u64::from(stream);
        let identity = Identity(self.options.identity ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if stream == STATE_STREAM {
            return stream::Options { flush_age_ns, has_peers, ..stream::Options::state(identity) };
        }
        // A flush may run over by a quarter, see `stream::Options`.
        let frame_bytes = flush_bytes + flush_bytes / 4 + self.options.version_bytes_max + FRAME_EXTRA_BYTES;
        let segment_bytes = SEGMENT_BYTES_MIN.max(frame_bytes.next_multiple_of(FRAME_EXTRA_BYTES));
        stream::Options { identity, segment_bytes, flush_bytes, flush_age_ns, has_peers }
    }

    /// Reads all streams.
    fn read(&self) -> Result<(Vec<ShardHistory>, StateHistory), Error> {
        let states = self.read_states()?;
        let histories = each((0..self.manifest.shards).collect(), |shard| self.read_history(shard))?;
        Ok((histories, states))
    }

    fn read_history(&self, shard: u16) -> Result<ShardHistory, Error> {
        let path = self.shard_folder(shard);
        ShardHistory::open(self.stream_options(shard), &mut *look_into(&path)?).map_err(in_folder(&path))
    }

    fn read_states(&self) -> Result<StateHistory, Error> {
        let path = self.state_folder();
        StateHistory::open(self.stream_options(STATE_STREAM), &mut *look_into(&path)?)
            .map_err(in_folder(&path))
    }

    fn make_folders(&self) -> Result<(), Error> {
        make_folder(&self.folder())?;
        make_folder(&self.state_folder())?;
        (0..self.manifest.shards).try_for_each(|shard| make_folder(&self.shard_folder(shard)))
    }

    fn restore<T: Send>(
        &self,
        histories: Vec<ShardHistory>,
        states: StateHistory,
        state: State,
    ) -> Result<Opened<T>, Error> {
        let shards = each((0..).zip(histories).collect(), |(shard, history)| {
            let folder = self.shard_folder(shard);
            let restored = restore(ShardId(shard), history, &mut open_folder(&folder)?, &state);
            Ok(OpenedShard { core: restored.map_err(in_folder(&folder))?, folder })
        })?;
        self.opened(shards, states, state)
    }

    /// Writes what `old` holds into this generation, which is not valid yet.
    fn seed<T: Send>(
        &self,
        old: &Self,
        histories: &[ShardHistory],
        state: State,
    ) -> Result<Opened<T>, Error> {
        let mut folders = Vec::new();
        for shard in 0..old.manifest.shards {
            folders.push(open_folder(&old.shard_folder(shard))?);
        }
        let sources = histories.iter().zip(folders.iter_mut().map(|f| f as &mut dyn Folder));
        let loaded = redistribute(sources, self.manifest.shards, &state).map_err(in_folder(&old.folder()))?;
        self.fill(loaded, state)
    }

    /// Writes contents into this generation, which is not valid yet.
    fn fill<T: Send>(&self, contents: Vec<Content>, state: State) -> Result<Opened<T>, Error> {
        self.make_folders()?;
        let shards = each((0..).zip(contents).collect(), |(shard, keys)| {
            let history = self.read_history(shard)?;
            let folder = self.shard_folder(shard);
            let seeded = seed(ShardId(shard), keys, history, &mut open_folder(&folder)?, &state);
            Ok(OpenedShard { core: seeded.map_err(in_folder(&folder))?, folder })
        })?;
        self.opened(shards, self.read_states()?, state)
    }

    fn opened<T>(
        &self,
        shards: Vec<OpenedShard<T>>,
        states: StateHistory,
        state: State,
    ) -> Result<Opened<T>, Error> {
        let state_folder = self.state_folder();
        let started = states.start(&mut open_folder(&state_folder)?, state);
        let state_stream = started.map_err(in_folder(&state_folder))?;
        Ok(Opened { state, shards, state_stream, state_folder })
    }
}

/// Does `work` for each item, on a thread each; in the order of the items. Shards are few.
fn each<I: Send, O: Send>(
    items: Vec<I>,
    work: impl Fn(I) -> Result<O, Error> + Sync,
) -> Result<Vec<O>, Error> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        // All of them are waited for, whoever fails first.
        let ended: Vec<_> = threads.into_iter().map(|t| t.join().expect("a bug ends the process")).collect();
        ended.into_iter().collect()
    })
}

fn make_folder(path: &Path) -> Result<(), Error> {
    match fs::create_dir(path) {
        Ok(()) => sync_folder(path.parent().expect("it has a name")),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(at(path, "making the folder")(error)),
    }
}

fn open_folder(path: &Path) -> Result<DiskFolder, Error> {
    DiskFolder::open(path).map_err(at(path, "opening the folder"))
}

/// For reading; one that is not there is empty.
fn look_into(path: &Path) -> Result<Box<dyn Folder>, Error> {
    match DiskFolder::open(path) {
        Ok(folder) => Ok(Box::new(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(Absent)),
        Err(error) => Err(at(path, "opening the folder")(error)),
    }
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(at(path, "syncing the folder"))
}

fn read_manifest(folder: &Path) -> Result<Option<Manifest>, Error> {
    let path = folder.join(MANIFEST_NAME);
    match fs::read(&path) {
        Ok(content) => {
            Manifest::decode(&content).map(Some).map_err(|source| Error::Manifest { path, source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Without the file only a folder that nothing was put into yet is new.
            if generations(folder)?.is_empty() { Ok(None) } else { Err(Error::NoManifest(path)) }
        }
        Err(error) => Err(at(&path, "reading")(error)),
    }
}

fn write_manifest(folder: &Path, manifest: Manifest) -> Result<(), Error> {
    let (path, new) = (folder.join(MANIFEST_NAME), folder.join(new_manifest_name()));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(manifest.encode().as_bytes())?;
        file.sync_all()
    });
    written.map_err(at(&new, "writing"))?;
    fs::rename(&new, &path).map_err(at(&path, "renaming"))?;
    sync_folder(folder)
}

fn new_manifest_name() -> String {
    format!("{MANIFEST_NAME}.new")
}

/// The generations that have a folder.
fn generations(folder: &Path) -> Result<Vec<Generation>, Error> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(at(folder, "listing"))?,
    };
    for entry in entries {
        let entry = entry.map_err(at(folder, "listing"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.parse::<u32>().ok().filter(|n| n.to_string() == name);
        match number.filter(|_| entry.path().is_dir()) {
            Some(number) => found.push(Generation(number)),
            None if name == MANIFEST_NAME || name == new_manifest_name() => {}
            None => return Err(Error::Stranger(entry.path())),
        }
    }
    Ok(found)
}

fn remove_other_generations(folder: &Path, valid: Generation) -> Result<(), Error> {
    for other in generations(folder)?.into_iter().filter(|&g| g != valid) {
        let path = folder.join(other.to_string());
        fs::remove_dir_all(&path).map_err(at(&path, "removing an invalid generation"))?;
    }
    sync_folder(folder)
}

fn at(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}

fn in_folder<E: Into<windlass_replica::shard::Error>>(folder: &Path) -> impl FnOnce(E) -> Error {
    let folder = folder.to_owned();
    move |source| Error::Stream { folder, source: source.into() }
}
