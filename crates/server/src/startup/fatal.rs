//! Ending the process on purpose, with an exit code that says why.
//!
//! The codes are part of the interface: service managers and scripts act on them. A code never changes its meaning;
//! a new reason gets a new one. `docs/operating/exit-codes.md` is printed from the same table.

use super::logging;
use crate::shard;
use std::{error::Error, fmt::Write as _, io::Write as _, panic, process};
use tracing::error;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The configuration is refused, or something failed that has no reason of its own.
    Failure,
    /// The command line cannot be read.
    Usage,
    /// Another process uses the data folder.
    FolderLocked,
    /// The data folder holds something else.
    FolderForeign,
    /// The data folder was written by a newer version.
    FolderVersion,
    /// The data folder belongs to another member.
    FolderIdentity,
    /// The data folder cannot be created, read or written.
    FolderAccess,
    /// What was acknowledged is damaged or missing.
    Damaged,
    /// The kernel or its sandbox offers no io_uring.
    NoRing,
    /// Too little memory may be locked.
    LockedMemory,
    /// The filesystem offers no O_DIRECT.
    NoDirectIo,
    /// A write or flush failed while running.
    DiskFailed,
    /// No room to start.
    DiskFull,
    /// Another process listens on an address.
    AddressInUse,
    /// An address cannot be listened on for another cause.
    Address,
}

struct Row {
    reason: Reason,
    code: u8,
    meaning: &'static str,
    remedy: &'static str,
}

const fn row(reason: Reason, code: u8, meaning: &'static str, remedy: &'static str) -> Row {
    Row { reason, code, meaning, remedy }
}

/// Every reason with its code. 1 and 2 are etcd's.
const TABLE: &[Row] = &[
    row(
        Reason::Failure,
        1,
        "The configuration is refused, or something failed that has no code of its own.",
        "The message names the flag or the failure.",
    ),
    row(
        Reason::Usage,
        2,
        "The command line cannot be read.",
        "The message names the flag; `windlass --help` lists all.",
    ),
    row(
        Reason::FolderLocked,
        10,
        "Another process uses the data folder.",
        "Stop the process that the message names, or give this one its own `--data-dir`.",
    ),
    row(
        Reason::FolderForeign,
        11,
        "The data folder holds etcd's data, or files that are not Windlass's, or is not a folder.",
        "Give an empty or a new folder as `--data-dir`.",
    ),
    row(
        Reason::FolderVersion,
        12,
        "The data folder was written by a newer version.",
        "Start that version or a later one.",
    ),
    row(
        Reason::FolderIdentity,
        13,
        "The data folder belongs to another member or cluster than the flags describe; or it is empty, and the others know that \
         this member had data (then: remove the member, add it again, and start it with `--initial-cluster-state=existing`).",
        "Correct `--data-dir`, `--name`, `--initial-cluster` or `--initial-cluster-token`; or give \
         `--initial-cluster-state=existing` to start the member that the folder holds.",
    ),
    row(
        Reason::FolderAccess,
        14,
        "The data folder cannot be created, read or written.",
        "Give the user that runs Windlass read and write permission; the message names the path.",
    ),
    row(
        Reason::Damaged,
        15,
        "Data that was acknowledged is damaged or missing. Nothing was changed.",
        "The message names file and offset, and whether the other members or a backup can help.",
    ),
    row(
        Reason::NoRing,
        20,
        "The kernel or its sandbox offers no io_uring.",
        "In a container allow the io_uring system calls (Docker: a seccomp profile with io_uring_setup, \
         io_uring_enter and io_uring_register, or `--security-opt seccomp=unconfined`); else set \
         `kernel.io_uring_disabled=0`; the kernel must be 5.19 or newer.",
    ),
    row(
        Reason::LockedMemory,
        21,
        "The process may lock too little memory for its I/O buffers.",
        "Raise the limit: `LimitMEMLOCK=infinity` in the systemd unit, `--ulimit memlock=-1` for Docker, \
         `ulimit -l unlimited` in a shell.",
    ),
    row(
        Reason::NoDirectIo,
        22,
        "The filesystem of the data folder offers no O_DIRECT, or keeps files in memory (tmpfs).",
        "Put the data folder on ext4 or XFS.",
    ),
    row(
        Reason::DiskFailed,
        30,
        "A write or flush failed while running. What was acknowledged is on the disk.",
        "Look at the kernel's log and the disk's health, then start again.",
    ),
    row(
        Reason::DiskFull,
        31,
        "There is no room for the files that a start needs.",
        "Free space on the filesystem that the message names and start again.",
    ),
    row(
        Reason::AddressInUse,
        40,
        "Another process listens on an address of this member.",
        "Stop it, or correct `--listen-client-urls`, `--listen-peer-urls` or `--listen-metrics-urls`.",
    ),
    row(
        Reason::Address,
        41,
        "An address cannot be listened on.",
        "Correct the URL that the message names: its host must be an address of this machine.",
    ),
];

impl Reason {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        TABLE.iter().find(|row| row.reason == self).expect("every reason has a row").code
    }

    /// The reason for which a folder's disk, or the way to it, does not serve.
    pub fn of_disk(error: &windlass_io_disk::preflight::Error) -> Self {
        use windlass_io_disk::preflight::Error;
        match error {
            Error::NoUring | Error::UringForbidden | Error::Uring(_) => Self::NoRing,
            Error::Memlock { .. } => Self::LockedMemory,
            Error::NoDirect(_) | Error::InMemory(_) => Self::NoDirectIo,
            Error::Folder { .. } => Self::FolderAccess,
        }
    }

    /// The reason for which a Raft log or a shard's log cannot be opened.
    pub fn of_log(error: &windlass_io_log::Error) -> Self {
        use windlass_io_log::Error;
        match error {
            Error::Disk { .. } => Self::FolderAccess,
            Error::NoSpace { .. } => Self::DiskFull,
            Error::Stranger { .. } => Self::FolderForeign,
            Error::Version { .. } => Self::FolderVersion,
            Error::Identity { .. } => Self::FolderIdentity,
            Error::Missing { .. } | Error::Gap { .. } | Error::Beheaded { .. } | Error::Damaged { .. } => {
                Self::Damaged
            }
        }
    }
}

impl Reason {
    /// The reason for which a file or folder cannot be made, read or written at start.
    pub fn of_files(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::FolderAccess,
        }
    }

    /// The reason for which the shards cannot be opened.
    pub fn of_shards(error: &shard::OpenError) -> Self {
        use windlass_replica::shard::Error;
        match error {
            shard::OpenError::Io { source, .. } => Self::of_files(source),
            shard::OpenError::Manifest { .. } | shard::OpenError::NoManifest(_) => Self::Damaged,
            shard::OpenError::Stranger(_) => Self::FolderForeign,
            shard::OpenError::Stream { source: Error::Stream(error), .. } => Self::of_log(error),
            shard::OpenError::Stream { source: Error::Write(_), .. } => Self::DiskFailed,
            shard::OpenError::Stream { source: Error::NoSpace, .. } => Self::DiskFull,
        }
    }

    /// The reason for which a shard's thread does not start, or ended.
    pub fn of_shard(error: &shard::Error) -> Self {
        match error {
            shard::Error::NoRing(_) => Self::NoRing,
            shard::Error::LockedMemory(_) => Self::LockedMemory,
            shard::Error::Disk { .. } => Self::DiskFailed,
            shard::Error::Folder { .. } => Self::FolderAccess,
            shard::Error::Executor(_) | shard::Error::Panicked => Self::Failure,
        }
    }
}

/// Logs why (to stderr where logging does not work yet) and ends the process with the reason's code. Nothing is
/// flushed or cleaned up: whatever must survive is durable before it is acknowledged.
pub fn fatal(reason: Reason, error: impl Into<Box<dyn Error>>) -> ! {
    let text = sentence(&*error.into());
    if tracing::dispatcher::has_been_set() {
        error!(target: logging::FATAL_TARGET, exit_code = reason.code(), "{text}");
    } else {
        let _ = writeln!(std::io::stderr(), "windlass: {text}");
    }
    process::exit(reason.code().into())
}

/// Makes a panic on any thread end the whole process with SIGABRT, after logging it: a bug must never leave a member
/// half alive. To be called once, when logging works.
pub fn abort_on_panic() {
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let message = info.payload_as_str().unwrap_or("a panic without a message");
        error!(target: logging::PANIC_TARGET, place, "{message}");
        default_hook(info);
        process::abort();
    }));
}

/// The error and its sources in one sentence; what a message tells of its source already is not said twice.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The page `docs/operating/exit-codes.md`.
pub fn document() -> String {
    let mut text = "# Exit codes\n\n\
         A member that ends on purpose says why in its last log line (level `fatal`, or plain text before logging\n\
         works) and in its exit code. The codes never change their meaning. This page is printed from the table in\n\
         `crates/server/src/startup/fatal.rs`; a test compares the two (`UPDATE_EXPECT=1` writes the page).\n\n\
         | code | meaning | what to do |\n|---|---|---|\n\
         | 0 | `--help` or `--version` was printed. | |\n"
        .to_owned();
    for Row { code, meaning, remedy, .. } in TABLE {
        let _ = writeln!(text, "| {code} | {meaning} | {remedy} |");
    }
    text += "| 134 | A bug: the process aborted (SIGABRT) after a log line of level `panic`. | Report it with the \
             last log lines. |\n\
             | 143 | SIGTERM, after a graceful stop. | |\n\n\
             Below 30, and with 40 and 41, no data was changed and a restart alone will not help. For systemd:\n\
             `RestartPreventExitStatus=2 10 11 12 13 14 15 20 21 22`.\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, env, fs};

    #[test]
    fn the_page_is_the_table() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating/exit-codes.md");
        if env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(page, document()).unwrap();
        }
        let committed = fs::read_to_string(page).unwrap();
        assert_eq!(committed, document(), "UPDATE_EXPECT=1 cargo test -p windlass writes the page");
    }

    #[test]
    fn codes_are_unique_and_leave_room_for_shells_and_signals() {
        let codes: BTreeSet<u8> = TABLE.iter().map(|row| row.code).collect();
        assert_eq!(codes.len(), TABLE.len());
        assert!(
            codes.iter().all(|code| (1..=100).contains(code)),
            "101 is a panic, 126 and up are the shell's"
        );
    }

    #[test]
    fn a_sentence_says_nothing_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open the log: {0}")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("no such disk"));
        assert_eq!(sentence(&error), "cannot open the log: no such disk");
    }

    #[test]
    fn a_sentence_holds_the_whole_chain() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open the log")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("no such disk"));
        assert_eq!(sentence(&error), "cannot open the log: no such disk");
    }
}
