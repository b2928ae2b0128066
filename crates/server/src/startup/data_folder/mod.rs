//! The data folder: who owns it, who may use it, and whether it may be used at all.
//!
//! Opening has two steps. [`examine`] looks and locks, and refuses whatever is wrong; it writes nothing. Then, when
//! every other check of the start has passed too, [`Examined::prepare`] makes what is missing.

mod identity_file;
#[cfg(test)]
mod tests;

pub use identity_file::Identity;

use super::{
    config::{Bootstrap, ClusterState},
    fatal::Reason,
    flags::settings,
};
use rustix::fs::{Access, FlockOperation, access, flock, major, minor};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use tracing::warn;
use windlass_types::{ClusterId, MemberId};

/// Who the flags say that the member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The identity of a new folder.
    pub identity: Identity,
    /// Whether a folder that says otherwise is a mix-up. Else the folder is right, as with etcd.
    pub must_match: bool,
}

/// Why a data folder cannot be used. Each sentence names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lock is taken.
    #[error(
        "data folder {} is in use by {}: stop that process, or give this one its own --data-dir",
        path.display(),
        owner.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process that holds it, where the kernel tells.
        owner: Option<u32>,
    },
    /// etcd's data.
    #[error(
        "{} is a data folder of etcd: give another --data-dir, made from it or from a snapshot of that etcd by \
         `windlass-utl snapshot restore`",
        path.display()
    )]
    Etcd {
        /// The folder.
        path: PathBuf,
    },
    /// Files that are not ours.
    #[error(
        "{} holds `{found}` and is no data folder of Windlass: give an empty or new folder as --data-dir",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// Not a folder.
    #[error("{} is not a folder: give another --data-dir or --wal-dir", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error(
        "{} has format {format}, this version reads up to {}: start the version that wrote it, or a later one",
        path.display(),
        identity_file::FORMAT
    )]
    Newer {
        /// The identity file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The identity file is damaged.
    #[error(
        "{} is damaged, {what}: bring it back from a copy of this data folder, or remove the member and add it again",
        path.display()
    )]
    Damaged {
        /// The identity file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another member's or cluster's.
    #[error(
        "{} belongs to {found}, but the flags describe {wanted}: correct --data-dir or the flags, or give \
         --initial-cluster-state=existing to start the member that the folder holds",
        path.display()
    )]
    Mismatch {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whom the flags describe.
        wanted: String,
    },
    /// The filesystem refused.
    #[error("cannot {doing} {}: check its owner, its permissions and its filesystem", path.display())]
    Access {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

const IDENTITY_FILE: &str = "identity";
/// Becomes the identity file when it is durable; a crash may leave it.
const IDENTITY_FILE_NEW: &str = "identity.new";
/// Is there while the member has not said who it is with the data in this folder.
const UNPUBLISHED_FILE: &str = "unpublished";
/// A mount point of ext4 has this one in it.
const LOST_AND_FOUND: &str = "lost+found";
/// Certificates made here, as etcd has them.
pub const FIXTURES_FOLDER: &str = "fixtures";
/// etcd's folder within its data folder.
const ETCD_FOLDER: &str = "member";
/// The kernel's list of locks.
const LOCKS: &str = "/proc/locks";
/// Nobody but the owner may look at the data.
const MODE: u32 = 0o700;

impl Expected {
    /// Who a new member with these flags would be.
    pub fn from_flags(name: &str, bootstrap: &Bootstrap) -> Self {
        let begins = bootstrap.state == ClusterState::New;
        Self {
            identity: Identity {
                cluster: bootstrap.cluster_id,
                member: bootstrap.member_id,
                name: name.to_owned(),
                token: bootstrap.token.clone(),
                salt: random(),
            },
            // One that survives alone becomes another cluster, whatever its flags call that.
            must_match: begins && bootstrap.explicit && !bootstrap.force_new,
        }
    }
}

impl Error {
    /// The reason to end the process with.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Locked { .. } => Reason::FolderLocked,
            Self::Etcd { .. } | Self::Foreign { .. } | Self::NotAFolder { .. } => Reason::FolderForeign,
            Self::Newer { .. } => Reason::FolderVersion,
            Self::Damaged { .. } => Reason::Damaged,
            Self::Mismatch { .. } => Reason::FolderIdentity,
            Self::Access { source, .. } => Reason::of_files(source),
        }
    }

    fn access(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotADirectory => Self::NotAFolder { path },
            _ => Self::Access { doing, path, source },
        }
    }
}

/// A data folder that may be used, and to which nothing was done yet.
#[derive(Debug)]
pub struct Examined {
    path: PathBuf,
    /// The locked folder; none where it does not exist yet.
    lock: Option<File>,
    identity: Identity,
    is_new: bool,
}

/// A data folder of this process alone, until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    identity: Identity,
    is_new: bool,
    /// Locked while it is open.
    lock: File,
}

/// Looks at the folder, locks it where it exists, and refuses whatever is wrong. Writes nothing.
pub fn examine(path: &Path, expected: &Expected) -> Result<Examined, Error> {
    let lock = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check_can_create(path)?;
            None
        }
        Err(error) => return Err(Error::access("look at", path)(error)),
        Ok(metadata) if !metadata.is_dir() => return Err(Error::NotAFolder { path: path.to_owned() }),
        Ok(_) => Some(lock(path)?),
    };
    let found = if lock.is_some() { read_identity(path)? } else { None };
    let is_new = found.is_none();
    let identity = found.unwrap_or_else(|| expected.identity.clone());
    if expected.must_match && !identity.is_same_member(&expected.identity) {
        return Err(mismatch(path, &identity, &expected.identity));
    }
    Ok(Examined { path: path.to_owned(), lock, identity, is_new })
}

impl Examined {
    /// A folder that exists on the filesystem that the data will be on, for probes that leave nothing behind.
    pub fn probe_path(&self) -> &Path {
        nearest_existing(&self.path)
    }

    /// The folder, which may not be there yet.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose data the folder holds or will hold.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the folder holds nothing yet.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The folder is to hold the data of this member, which joins a cluster that exists.
    pub fn join_as(&mut self, cluster: ClusterId, member: MemberId) {
        assert!(self.is_new, "who a member is never changes");
        (self.identity.cluster, self.identity.member) = (cluster, member);
    }

    /// Makes the folder (mode 0700) and its identity file where they are missing, all of it durable.
    pub fn prepare(self) -> Result<DataFolder, Error> {
        self.prepare_filled(|_| Ok(()))
    }

    /// As [`prepare`](Self::prepare), but a new folder gets what `fill` puts there before it says whose it is: one that holds
    /// only half of that is refused by every start.
    pub fn prepare_filled(self, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<DataFolder, Error> {
        let lock = match self.lock {
            Some(lock) => lock,
            None => create(&self.path)?,
        };
        warn_of_open_permissions(&self.path, &lock);
        if self.is_new {
            fill(&self.path).map_err(Error::access("fill", &self.path))?;
            write_identity(&self.path, &self.identity, &lock)?;
        }
        Ok(DataFolder { path: self.path, identity: self.identity, is_new: self.is_new, lock })
    }
}

impl DataFolder {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose data it holds.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether this start made it. A crash before the logs were made leaves a folder that is not new, but empty.
    pub fn is_new(&self) -> bool {
        self.is_new
    }
}

/// The note that the member whose folder this is has not yet asked the log to say who it is: see
/// `windlass_replica::amnesia`.
#[derive(Debug)]
pub struct Unpublished {
    folder: PathBuf,
}

impl DataFolder {
    /// Notes it, durably: the folder holds no data yet, whatever it held before.
    pub fn set_unpublished(&self) -> Result<(), Error> {
        let path = self.path.join(UNPUBLISHED_FILE);
        let make = || {
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?.sync_all()?;
            self.lock.sync_all()
        };
        make().map_err(Error::access("write", &path))
    }

    /// Whether it was noted, and is still true.
    pub fn unpublished(&self) -> Option<Unpublished> {
        let folder = self.path.clone();
        self.path.join(UNPUBLISHED_FILE).exists().then_some(Unpublished { folder })
    }
}

impl Unpublished {
    /// It is not true any more from now on, durably.
    pub fn end(self) -> Result<(), Error> {
        let path = self.folder.join(UNPUBLISHED_FILE);
        let remove = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            File::open(&self.folder)?.sync_all()
        };
        remove().map_err(Error::access("remove", &path))
    }
}

/// The path itself, or its nearest ancestor that exists: for checks of the filesystem that it will be on.
pub fn nearest_existing(path: &Path) -> &Path {
    let mut named = path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty());
    named.find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."))
}

/// Whether a folder that is not there can be made, as far as can be told without trying.
pub fn check_can_create(path: &Path) -> Result<(), Error> {
    let parent = nearest_existing(path);
    if !parent.is_dir() {
        return Err(Error::NotAFolder { path: parent.to_owned() });
    }
    access(parent, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|errno| Error::access("create a folder within", parent)(errno.into()))
}

/// Opens and locks an existing folder. The lock is on the folder itself, so that it leaves no trace.
fn lock(path: &Path) -> Result<File, Error> {
    let folder = File::open(path).map_err(Error::access("open", path))?;
    access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|errno| Error::access("write to", path)(errno.into()))?;
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(folder),
        Err(errno) if errno == rustix::io::Errno::WOULDBLOCK => {
            Err(Error::Locked { path: path.to_owned(), owner: holder(&folder) })
        }
        Err(errno) => Err(Error::access("lock", path)(errno.into())),
    }
}

/// The process that holds the folder's lock, by the kernel's list; none where it runs in another PID namespace, or where
/// the filesystem shows other device numbers than the kernel uses.
fn holder(folder: &File) -> Option<u32> {
    let metadata = folder.metadata().ok()?;
    let (device, inode) = (metadata.dev(), metadata.ino());
    let wanted = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:131072 0 EOF
    let holder_of = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, _, pid, file, ..] if file == wanted => pid.parse().ok().filter(|pid| *pid > 0),
        _ => None,
    };
    fs::read_to_string(LOCKS).ok()?.lines().find_map(holder_of)
}

/// The identity of an existing folder; none of one that is as good as empty.
fn read_identity(path: &Path) -> Result<Option<Identity>, Error> {
    let file_path = path.join(IDENTITY_FILE);
    match File::open(&file_path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(identity_file::BYTES_MAX)
                .read_to_end(&mut bytes)
                .map_err(Error::access("read", &file_path))?;
            // What is not text fails the checksum.
            Identity::decode(&String::from_utf8_lossy(&bytes), &file_path).map(Some)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => check_empty(path).map(|()| None),
        Err(error) => Err(Error::access("read", &file_path)(error)),
    }
}

fn check_empty(path: &Path) -> Result<(), Error> {
    if path.join(ETCD_FOLDER).is_dir() {
        return Err(Error::Etcd { path: path.to_owned() });
    }
    for entry in fs::read_dir(path).map_err(Error::access("list", path))? {
        let name = entry.map_err(Error::access("list", path))?.file_name();
        // Certificates and settings are made before the folder is.
        let ours = [IDENTITY_FILE_NEW, LOST_AND_FOUND, FIXTURES_FOLDER, settings::FILE_NAME];
        if !ours.iter().any(|known| name == *known) {
            let found = name.to_string_lossy().into_owned();
            return Err(Error::Foreign { path: path.to_owned(), found });
        }
    }
    Ok(())
}

/// A number that nobody can guess.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Fails only for lengths and flags that are not used here.
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    assert_eq!(filled, Ok(bytes.len()), "the kernel gives random bytes");
    u64::from_ne_bytes(bytes)
}

fn mismatch(path: &Path, found: &Identity, wanted: &Identity) -> Error {
    let describe = |identity: &Identity| {
        format!(
            "member {:x} (`{}`) of cluster {:x} (token `{}`)",
            identity.member.0, identity.name, identity.cluster.0, identity.token
        )
    };
    Error::Mismatch { path: path.to_owned(), found: describe(found), wanted: describe(wanted) }
}

/// Creates and locks a folder that was not there when it was examined.
fn create(path: &Path) -> Result<File, Error> {
    make_private(path)?;
    let folder = lock(path)?;
    // Another process may have been as quick.
    if read_identity(path)?.is_some() {
        return Err(Error::Locked { path: path.to_owned(), owner: None });
    }
    Ok(folder)
}

/// Makes a folder that nobody but the owner may look into, with those above it that are missing; all of it durable.
pub fn make_private(path: &Path) -> Result<(), Error> {
    let above = nearest_existing(path).to_owned();
    DirBuilder::new().recursive(true).mode(MODE).create(path).map_err(Error::access("create", path))?;
    for parent in path.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(Error::access("sync", parent))?;
        if parent == above {
            break;
        }
    }
    Ok(())
}

/// Writes the identity file whole or not at all.
fn write_identity(path: &Path, identity: &Identity, folder: &File) -> Result<(), Error> {
    let (new, file) = (path.join(IDENTITY_FILE_NEW), path.join(IDENTITY_FILE));
    let write = || {
        let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        target.write_all(identity.encode().as_bytes())?;
        target.sync_all()?;
        fs::rename(&new, &file)?;
        folder.sync_all()
    };
    write().map_err(Error::access("write", &file))
}

/// etcd warns too, and goes on: some volume drivers know no permissions.
fn warn_of_open_permissions(path: &Path, folder: &File) {
    let mode = folder.metadata().map_or(MODE, |metadata| metadata.mode() & 0o777);
    if mode & 0o077 != 0 {
        warn!(
            path = %path.display(), permission = format!("{mode:o}"), recommended = format!("{MODE:o}"),
            "data folder is open to other users"
        );
    }
}
