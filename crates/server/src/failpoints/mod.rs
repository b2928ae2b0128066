//! Fail points: named places where a test can crash the process, hold it up, or leave something out. Only in builds with the
//! feature `failpoints`; in others not even a branch is left of them.
//!
//! The names, the syntax and the HTTP interface are those of etcd's gofail where there is the same, so that tools made for
//! etcd work. `docs/operating/failpoints.md` says how to use them. Everything else of the process must be as without them: they
//! allocate nothing and take no lock while nobody has set them.

mod http;
mod terms;

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};

use crate::startup::data_folder::random;
use terms::{Action, Terms};

/// What fail points are set in, as `name=terms;name=terms`.
const SETTINGS: &str = "GOFAIL_FAILPOINTS";

/// The address to serve them at, `host:port`.
const ADDRESS: &str = "GOFAIL_HTTP";

/// One place.
struct Point {
    name: &'static str,
    /// Where it is.
    place: &'static str,
    /// Whether there are terms: all that a pass looks at while there are none.
    is_set: AtomicBool,
    terms: Mutex<Option<Terms>>,
}

const fn point(name: &'static str, place: &'static str) -> Point {
    Point { name, place, is_set: AtomicBool::new(false), terms: Mutex::new(None) }
}

/// All of them, by name.
static POINTS: [Point; 27] = [
    point("afterCommit", "a shard's flush is durable, and the shard has not heard of it"),
    point("applyBeforeOpenSnapshot", "a start is about to lay out the shards of a snapshot that arrived"),
    point("beforeApplyOneConfChange", "a change of the members is committed, and not made known"),
    point("beforeApplyOneEntryNormal", "a shard is about to carry out its part of an entry"),
    point("beforeCommit", "a shard is about to flush"),
    point("beforeSendWatchResponse", "a response is about to go to a watch"),
    point("compactAfterCommitBatch", "a shard has compacted a slice"),
    point("compactBeforeCommitBatch", "a shard is about to compact a slice"),
    point("compactBeforeSetFinishedCompact", "a shard has compacted all, and has not said so"),
    point("defragBeforeCopy", "a shard is about to begin a checkpoint that Defragment asked for"),
    point("layoutAfterManifest", "other shards are valid, and the old ones are still there"),
    point("layoutBeforeManifest", "other shards are durable, and not valid yet"),
    point("raftAfterApplySnap", "a start has put log and shards to a snapshot, and has not removed it"),
    point("raftAfterSave", "a write of the Raft log is durable, and Raft has not heard of it"),
    point("raftAfterSaveSnap", "a snapshot that arrives is whole and durable, and nobody has heard of it"),
    point("raftAfterWALRelease", "all streams are durable up to some index, and the log was cut there"),
    point(
        "raftBeforeApplySnap",
        "a snapshot has arrived, and the process is about to begin anew to install it",
    ),
    point("raftBeforeFollowerSend", "a follower is about to send a message of Raft; `return` drops it"),
    point("raftBeforeLeaderSend", "the leader is about to send a message of Raft; `return` drops it"),
    point("raftBeforeSave", "the Raft log is about to be written"),
    point("raftBeforeSaveSnap", "a snapshot has arrived, and is not durable"),
    point("replyBeforeSend", "something is committed or refused, and its client is about to be told"),
    point("snapDBRenameBeforeDirSync", "a snapshot that arrived has its name, and its folder is not synced"),
    point("snapshotBeforeSend", "a snapshot is about to be sent to another member"),
    point("startAfterLog", "a start has begun in the Raft log, and not in the shards"),
    point("startAfterShards", "a start has begun in the log and the shards"),
    point("stateBeforeCommit", "the sequencer's stream is about to be flushed"),
];

/// Why a fail point cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of this name.
    #[error("failpoint: failpoint does not exist")]
    NoSuch,
    /// It is not set.
    #[error("failpoint: failpoint is disabled")]
    Disabled,
    /// Its terms cannot be read.
    #[error("failpoint: could not parse terms: {0}")]
    Terms(String),
    /// They cannot be served.
    #[error("failpoint: cannot listen on {0}")]
    Address(String, #[source] std::io::Error),
}

/// Sets what the environment asks for, and serves them where it says. Before anything else of the process.
///
/// # Errors
/// See [`Error`].
pub fn begin() -> Result<(), Error> {
    let settings = std::env::var(SETTINGS).unwrap_or_default();
    for setting in settings.split(';').filter(|setting| !setting.is_empty()) {
        let (name, text) = setting.split_once('=').ok_or_else(|| Error::Terms(setting.to_owned()))?;
        set(name, text)?;
    }
    match std::env::var(ADDRESS) {
        Ok(address) if !address.is_empty() => {
            http::serve(&address).map_err(|source| Error::Address(address, source))
        }
        _ => Ok(()),
    }
}

fn find(name: &str) -> Result<&'static Point, Error> {
    POINTS.iter().find(|point| point.name == name).ok_or(Error::NoSuch)
}

/// Sets one, in place of what it was.
///
/// # Errors
/// See [`Error`].
pub fn set(name: &str, text: &str) -> Result<(), Error> {
    let point = find(name)?;
    let terms = Terms::parse(text).map_err(|why| Error::Terms(why.to_owned()))?;
    *point.terms.lock() = Some(terms);
    point.is_set.store(true, Ordering::Release);
    Ok(())
}

/// Ends one.
///
/// # Errors
/// See [`Error`].
pub fn delete(name: &str) -> Result<(), Error> {
    let point = find(name)?;
    point.is_set.store(false, Ordering::Release);
    point.terms.lock().take().map(drop).ok_or(Error::Disabled)
}

/// What one is set to, and how often it did something.
///
/// # Errors
/// See [`Error`].
pub fn status(name: &str) -> Result<(String, u64), Error> {
    let terms = find(name)?.terms.lock();
    let terms = terms.as_ref().ok_or(Error::Disabled)?;
    Ok((terms.text().to_owned(), terms.count()))
}

/// The names, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    POINTS.iter().map(|point| point.name)
}

/// The table for `docs/operating/failpoints.md`.
#[must_use]
pub fn markdown() -> String {
    let rows = POINTS.iter().map(|point| format!("| `{}` | {} |\n", point.name, point.place));
    std::iter::once("| name | where |\n|---|---|\n".to_owned()).chain(rows).collect()
}

/// Passes a place; whether what follows is to be left out.
///
/// # Panics
/// If it is set to, and if there is no place of this name.
pub fn hit(name: &str) -> bool {
    let point = find(name).unwrap_or_else(|_| panic!("{name} is not in the table of fail points"));
    if !point.is_set.load(Ordering::Acquire) {
        return false;
    }
    // The lock is not held while something happens: a sleep must not keep anybody from ending it.
    let action = point.terms.lock().as_mut().and_then(|terms| terms.next(&mut random));
    match action {
        None | Some(Action::Off) => false,
        Some(Action::Return) => true,
        Some(Action::Sleep(time)) => {
            std::thread::sleep(time);
            false
        }
        Some(Action::Print) => {
            tracing::info!(name, "failpoint print");
            false
        }
        Some(Action::Panic) => panic!("failpoint panic: {name}"),
        Some(Action::Kill) => {
            // As from outside: nothing of this process runs any more.
            let _ = kill_process(getpid(), Signal::KILL);
            unreachable!("the process was killed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_documented() {
        let names: Vec<_> = names().collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
        let page = include_str!("../../../../docs/operating/failpoints.md");
        assert!(page.contains(&markdown()), "put this into docs/operating/failpoints.md:\n{}", markdown());
    }

    #[test]
    fn points_are_set_counted_and_deleted() {
        assert!(matches!(set("none", "off"), Err(Error::NoSuch)));
        assert!(matches!(status("beforeCommit"), Err(Error::Disabled)));
        assert!(matches!(set("beforeCommit", "explode"), Err(Error::Terms(_))));
        assert!(!hit("beforeCommit"));
        set("beforeCommit", "2*return->off").expect("terms");
        assert_eq!([(); 3].map(|()| hit("beforeCommit")), [true, true, false]);
        assert_eq!(status("beforeCommit").expect("set"), ("2*return->off".to_owned(), 3));
        delete("beforeCommit").expect("set");
        assert!(!hit("beforeCommit"));
        assert!(matches!(delete("beforeCommit"), Err(Error::Disabled)));
    }
}
