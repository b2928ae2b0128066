//! Limits of the process: raised where that is allowed, refused where they are too low to run.
//!
//! Nothing is written here. What a disk must offer (io_uring, O_DIRECT) is checked by `windlass_io_disk::preflight`.

use super::fatal::Reason;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Memory that one executor locks: the buffers that it registers with its rings, twice over. The rings themselves are
/// not counted against the limit since Linux 5.12.
pub const LOCKED_BYTES_PER_EXECUTOR: u64 = 128 << 10;
/// Descriptors without which a member cannot hold its files and a useful number of connections.
const DESCRIPTORS_MIN: u64 = 512;

/// Why the process's limits are too low. Each sentence names the remedy.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// RLIMIT_MEMLOCK.
    #[error(
        "{needed_kib} KiB of memory must be locked, but the limit is {limit_kib} KiB: raise it with \
         LimitMEMLOCK=infinity in the systemd unit, --ulimit memlock=-1 for Docker, or `ulimit -l unlimited`; \
         a smaller --flush-depth or --batch-bytes (flag, or line of windlass.settings in the data folder) needs less"
    )]
    LockedMemory {
        /// Needed, in KiB.
        needed_kib: u64,
        /// Allowed, in KiB.
        limit_kib: u64,
    },
    /// RLIMIT_NOFILE.
    #[error(
        "at least {DESCRIPTORS_MIN} open files are needed, but the limit is {limit}: raise it with \
         LimitNOFILE= in the systemd unit, --ulimit nofile= for Docker, or `ulimit -n`"
    )]
    Descriptors {
        /// Allowed.
        limit: u64,
    },
}

impl Error {
    /// The reason to end the process with.
    pub fn reason(&self) -> Reason {
        match self {
            Self::LockedMemory { .. } => Reason::LockedMemory,
            Self::Descriptors { .. } => Reason::Failure,
        }
    }
}

/// Makes sure that `executors` rings and `registered_bytes` of registered buffers can be locked, and raises the number
/// of open files as far as it goes.
pub fn raise_limits(executors: usize, registered_bytes: u64) -> Result<(), Error> {
    let needed = executors as u64 * LOCKED_BYTES_PER_EXECUTOR + registered_bytes;
    if let Err(limit) = raise(Resource::Memlock, needed) {
        return Err(Error::LockedMemory { needed_kib: needed.div_ceil(1024), limit_kib: limit / 1024 });
    }
    raise(Resource::Nofile, DESCRIPTORS_MIN).map_err(|limit| Error::Descriptors { limit })
}

/// Raises the soft limit to the hard one, or both to `needed` where the process is privileged to. The error is the
/// limit that remains.
fn raise(resource: Resource, needed: u64) -> Result<(), u64> {
    for wanted in candidates(&getrlimit(resource), needed) {
        if setrlimit(resource, wanted).is_ok() {
            break;
        }
    }
    match getrlimit(resource).current {
        Some(limit) if limit < needed => Err(limit),
        _ => Ok(()),
    }
}

/// The limits to try to set, the best first. A limit of none is infinite.
fn candidates(limit: &Rlimit, needed: u64) -> Vec<Rlimit> {
    let to_the_hard_one = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.maximum.is_some_and(|hard| hard < needed) {
        return vec![Rlimit { current: Some(needed), maximum: Some(needed) }, to_the_hard_one];
    }
    if limit.current == limit.maximum { Vec::new() } else { vec![to_the_hard_one] }
}

/// The reason and the sentence for a listener that would not bind.
pub fn bind_refused(url: &str, error: &io::Error) -> (Reason, String) {
    match error.kind() {
        io::ErrorKind::AddrInUse => (
            Reason::AddressInUse,
            format!("another process listens on {url}: stop it, or give this member another listen URL"),
        ),
        io::ErrorKind::AddrNotAvailable => {
            (Reason::Address, format!("{url} is no address of this machine: correct the listen URL"))
        }
        io::ErrorKind::PermissionDenied => (
            Reason::Address,
            format!(
                "not allowed to listen on {url}: take a port from 1024 up, or grant CAP_NET_BIND_SERVICE"
            ),
        ),
        _ => (Reason::Address, format!("cannot listen on {url}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(current: Option<u64>, maximum: Option<u64>) -> Rlimit {
        Rlimit { current, maximum }
    }

    fn tried(current: Option<u64>, maximum: Option<u64>, needed: u64) -> Vec<(Option<u64>, Option<u64>)> {
        let list = candidates(&limit(current, maximum), needed);
        list.iter().map(|limit| (limit.current, limit.maximum)).collect()
    }

    #[test]
    fn the_soft_limit_is_raised_as_far_as_it_goes() {
        assert_eq!(tried(None, None, 100), []);
        assert_eq!(tried(Some(50), None, 100), [(None, None)]);
        assert_eq!(tried(Some(50), Some(200), 100), [(Some(200), Some(200))]);
        assert_eq!(tried(Some(200), Some(200), 100), []);
        assert_eq!(tried(Some(50), Some(80), 100), [(Some(100), Some(100)), (Some(80), Some(80))]);
    }

    #[test]
    fn a_need_that_nobody_can_have_is_refused_with_the_figures() {
        let infinite = getrlimit(Resource::Memlock).maximum.is_none();
        match raise_limits(2, u64::MAX / 2) {
            Ok(()) => assert!(infinite || getrlimit(Resource::Memlock).current >= Some(u64::MAX / 2)),
            Err(error) => {
                assert_eq!(error.reason(), Reason::LockedMemory);
                assert!(error.to_string().contains("LimitMEMLOCK"), "{error}");
            }
        }
    }

    #[test]
    fn a_listener_that_will_not_bind_names_cause_and_remedy() {
        let bind = |kind: io::ErrorKind| bind_refused("http://127.0.0.1:1", &kind.into());
        assert_eq!(bind(io::ErrorKind::AddrInUse).0, Reason::AddressInUse);
        assert_eq!(bind(io::ErrorKind::AddrNotAvailable).0, Reason::Address);
        assert!(bind(io::ErrorKind::PermissionDenied).1.contains("http://127.0.0.1:1"));
    }
}
