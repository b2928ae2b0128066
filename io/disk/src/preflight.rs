//! What must hold before a log is opened, and the sentence an operator reads where it does not.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Resource;

use crate::uring::{SyncMode, Uring};

/// Filesystem types that keep files in memory. Source: `linux/magic.h`.
const MEMORY_FILESYSTEMS: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// What stands in the way.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel is too old, or built without it.
    #[error("this kernel has no io_uring: Linux 5.19 or newer is needed, built with CONFIG_IO_URING")]
    NoUring,
    /// Forbidden.
    #[error(
        "io_uring is forbidden here: in a container run with a seccomp profile that allows it (Docker: --security-opt \
         seccomp=unconfined, or a profile with io_uring_setup, io_uring_enter and io_uring_register); otherwise set \
         `sysctl kernel.io_uring_disabled=0`"
    )]
    UringForbidden,
    /// `RLIMIT_MEMLOCK`.
    #[error(
        "too little memory may be locked for io_uring: the limit for all processes of this user together is {limit_bytes} \
         bytes; raise it (`ulimit -l unlimited`, systemd: LimitMEMLOCK=infinity, Docker: --ulimit memlock=-1)"
    )]
    Memlock {
        /// `RLIMIT_MEMLOCK`.
        limit_bytes: u64,
    },
    /// No direct I/O.
    #[error("the filesystem of {} has no direct I/O (O_DIRECT); put the data folder on ext4, XFS or another that has", .0.display())]
    NoDirect(PathBuf),
    /// Nothing survives there.
    #[error("{} is on a filesystem in memory (tmpfs); put the data folder on a disk", .0.display())]
    InMemory(PathBuf),
    /// The folder cannot be used.
    #[error("cannot use the folder {}", path.display())]
    Folder {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// io_uring itself failed in another way.
    #[error("io_uring cannot be set up")]
    Uring(#[source] io::Error),
}

impl Error {
    pub(crate) fn uring(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSYS | libc::EINVAL) => Self::NoUring,
            Some(libc::EPERM | libc::EACCES) => Self::UringForbidden,
            Some(libc::ENOMEM) => {
                let limit_bytes = rustix::process::getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
                Self::Memlock { limit_bytes }
            }
            _ => Self::Uring(error),
        }
    }

    pub(crate) fn folder(path: &Path, source: io::Error) -> Self {
        Self::Folder { path: path.to_owned(), source }
    }

    pub(crate) fn direct(path: &Path, error: Errno) -> Self {
        match error {
            Errno::INVAL | Errno::OPNOTSUPP => Self::NoDirect(path.to_owned()),
            other => Self::folder(path, other.into()),
        }
    }
}

/// Checks that a log could run in `folder`, which exists. Leaves nothing behind.
///
/// # Errors
/// The first thing that stands in the way.
pub fn check(folder: &Path) -> Result<(), Error> {
    let kind = rustix::fs::statfs(folder).map_err(|e| Error::folder(folder, e.into()))?.f_type;
    if MEMORY_FILESYSTEMS.contains(&(kind as u64)) {
        return Err(Error::InMemory(folder.to_owned()));
    }
    // A file without a name; where the filesystem has no such thing, opening the segments will tell.
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR) => {}
        Err(error) => return Err(Error::direct(folder, error)),
    }
    Uring::open(folder, SyncMode::Dsync, &[]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_its_remedy() {
        let says = |code, remedy: &str| {
            let text = Error::uring(io::Error::from_raw_os_error(code)).to_string();
            assert!(text.contains(remedy), "{text}");
        };
        says(libc::ENOSYS, "Linux 5.19");
        says(libc::EPERM, "seccomp");
        says(libc::EPERM, "kernel.io_uring_disabled");
        says(libc::ENOMEM, "LimitMEMLOCK");
        let direct = Error::direct(Path::new("/x"), Errno::INVAL).to_string();
        assert!(direct.contains("/x") && direct.contains("O_DIRECT"), "{direct}");
    }
}
