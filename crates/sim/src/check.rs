//! What is checked, and how a broken promise is reported.

use std::fmt;

/// A promise that the simulator checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// What was acknowledged or seen by a reader is in the log after any restart.
    Missing,
    /// No two acknowledged writes have one revision.
    RevisionReused,
    /// Every answer equals the sequential model's at its place in the log.
    Answer,
    /// Revisions and hash of the store equal the sequential model's.
    State,
    /// A read sees everything that was acknowledged before it began.
    Stale,
    /// A write comes, in the log, after everything that was acknowledged before it began.
    Order,
    /// With disks that work every request is answered in time.
    Unanswered,
    /// A client is answered once, and only what it asked.
    Unasked,
    /// A refused write has no effect.
    RefusedHadEffect,
    /// A write is refused for want of room only if there was no room, and for no other reason.
    RefusedWithoutReason,
    /// A member starts, unless a disk fails or is full.
    CannotStart,
    /// A member ends only if a disk failed.
    EndedWithoutReason,
    /// With disks that work everything becomes durable in the shards, and the log is cut.
    NotReclaimed,
    /// No lease ends by itself before its time.
    LeaseEndedEarly,
    /// What a client is told about a lease was so at some time since it asked.
    LeaseUntrue,
    /// Nobody has anything done, or reads anything, that the log does not permit at its place, or in another's name.
    Permission,
    /// No term has two leaders.
    TwoLeaders,
    /// All members apply the same entry at the same place.
    Diverged,
    /// No command is in two entries.
    Repeated,
    /// Before anybody applies an entry, that or a later one is on the disks of a majority, who got it in its own term.
    NoQuorum,
    /// A member remembers for whom it voted.
    VoteForgotten,
    /// Nobody hears one that lost its disks and is started under its old identity.
    Amnesia,
    /// A watch is told of every event that it wants.
    EventMissing,
    /// A watch is told of each event once, in order.
    EventRepeated,
    /// A watch is told of what happened, with what that replaced, and of nothing else.
    EventWrong,
    /// The events of one revision come together.
    RevisionDivided,
    /// A watch that is told how far it is has been told of everything until there.
    ProgressUntrue,
    /// A watch is ended by a compaction only if that took away what it wants.
    CompactedWithoutReason,
    /// With disks that work every watch is told of everything, and how far it is.
    WatchSilent,
    /// The code's own assertions hold.
    Panic,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub check: Check,
    /// What was found instead.
    pub text: String,
}

impl Violation {
    /// A broken promise.
    #[must_use]
    pub fn new(check: Check, text: impl Into<String>) -> Self {
        Self { check, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.check, self.text)
    }
}

impl std::error::Error for Violation {}

/// Fails the check with a text made only then, unless `holds`.
///
/// # Errors
/// If it does not hold.
pub fn ensure(holds: bool, check: Check, text: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::new(check, text())) }
}
