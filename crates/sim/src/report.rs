//! What happened in a run: counts for a summary, and lines for a person who replays it.

use std::ops::AddAssign;

use crate::agenda::MICROSECOND_NS;

/// How often things happened, so that a run that tests nothing is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    counts: [u64; Count::ALL.len()],
    /// Virtual time in nanoseconds.
    pub simulated_ns: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self { counts: [0; Count::ALL.len()], simulated_ns: 0 }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Events carried out.
    Events,
    /// Writes that were asked for.
    Writes,
    /// Writes that were acknowledged.
    WritesAcknowledged,
    /// Writes whose fate the client never learned.
    WritesUnknown,
    /// Writes refused for want of room.
    WritesRefused,
    /// Reads that were answered.
    ReadsAnswered,
    /// Reads that were begun anew because a compaction overtook them.
    ReadsOvertaken,
    /// Starts that succeeded.
    Starts,
    /// Starts that ended with an error, as a disk failed or was full.
    StartsFailed,
    /// Starts with another number of shards.
    Layouts,
    /// Power failures.
    PowerFailures,
    /// Kills of the process.
    Kills,
    /// Disk operations that failed.
    FailedOperations,
    /// Episodes without room.
    FullEpisodes,
    /// Segments that were asked for and for which there was no room.
    RefusedSegments,
    /// Writes to disks.
    DiskWrites,
    /// Segments of the Raft log that began in a file that held another one.
    LogRecycled,
    /// The same in the sequencer's stream.
    StateRecycled,
    /// The same in the streams of shards, which takes a checkpoint.
    ShardRecycled,
    /// Entries lost by a failure, none of which was acknowledged.
    EntriesLost,
    /// Entries applied again after a start.
    EntriesReplayed,
    /// Cuts of the Raft log.
    Cuts,
    /// Leases whose time was over.
    LeasesEnded,
    /// Messages between members.
    Messages,
    /// Those of them that were lost.
    MessagesLost,
    /// Batches of commands sent to a leader.
    Forwards,
    /// Times that a member became leader.
    Elections,
    /// Times that the network was cut somewhere.
    Partitions,
    /// Snapshots whose transfer began.
    SnapshotsBegun,
    /// Snapshots that were installed.
    SnapshotsInstalled,
    /// Requests whose client gave up.
    TimedOut,
    /// Changes of the members that were made.
    MemberChanges,
    /// Moves of leadership that were asked for.
    Transfers,
    /// Bits that rotted.
    Rotted,
    /// Members that began to be repaired by the others.
    Repairs,
    /// Streams of clients that watch.
    WatchStreams,
    /// Events that they were told of.
    WatchEvents,
    /// Times that a stream took no more.
    WatchStalls,
    /// Watches that went on where another stream had left them.
    WatchesResumed,
    /// Watches that a compaction ended.
    WatchesCompacted,
    /// Times that a client was told how far its watches are.
    ProgressTold,
    /// Changes of alarms, users and roles that were asked for.
    Rules,
    /// Reads that were not permitted.
    ReadsForbidden,
    /// Questions about leases that were answered.
    LeaseAnswers,
    /// Times that a clock on the wall jumped.
    ClockJumps,
    /// Times that a clock began to go faster or slower.
    ClockRates,
    /// Members whose disks were lost.
    Wiped,
    /// Starts of such members to which nobody said that they had been there.
    WipedUnseen,
    /// Such members that were told so, and ended.
    WipedRefused,
    /// Members that an operator added in place of such ones.
    Replaced,
}

impl Count {
    /// Every count.
    pub const ALL: [Self; 50] = [
        Self::Events,
        Self::Writes,
        Self::WritesAcknowledged,
        Self::WritesUnknown,
        Self::WritesRefused,
        Self::ReadsAnswered,
        Self::ReadsOvertaken,
        Self::Starts,
        Self::StartsFailed,
        Self::Layouts,
        Self::PowerFailures,
        Self::Kills,
        Self::FailedOperations,
        Self::FullEpisodes,
        Self::RefusedSegments,
        Self::DiskWrites,
        Self::LogRecycled,
        Self::StateRecycled,
        Self::ShardRecycled,
        Self::EntriesLost,
        Self::EntriesReplayed,
        Self::Cuts,
        Self::LeasesEnded,
        Self::Messages,
        Self::MessagesLost,
        Self::Forwards,
        Self::Elections,
        Self::Partitions,
        Self::SnapshotsBegun,
        Self::SnapshotsInstalled,
        Self::TimedOut,
        Self::MemberChanges,
        Self::Transfers,
        Self::Rotted,
        Self::Repairs,
        Self::WatchStreams,
        Self::WatchEvents,
        Self::WatchStalls,
        Self::WatchesResumed,
        Self::WatchesCompacted,
        Self::ProgressTold,
        Self::Rules,
        Self::ReadsForbidden,
        Self::LeaseAnswers,
        Self::ClockJumps,
        Self::ClockRates,
        Self::Wiped,
        Self::WipedUnseen,
        Self::WipedRefused,
        Self::Replaced,
    ];
}

impl Totals {
    /// Counts one.
    pub fn count(&mut self, what: Count) {
        self.add(what, 1);
    }

    /// Counts some.
    pub fn add(&mut self, what: Count, number: u64) {
        self.counts[what as usize] += number;
    }

    /// How often.
    #[must_use]
    pub fn of(&self, what: Count) -> u64 {
        self.counts[what as usize]
    }
}

impl AddAssign<&Self> for Totals {
    fn add_assign(&mut self, other: &Self) {
        for (mine, more) in self.counts.iter_mut().zip(other.counts) {
            *mine += more;
        }
        self.simulated_ns += other.simulated_ns;
    }
}

/// What is wanted of a run beside its verdict.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Its story.
    pub story: bool,
    /// What clients asked and were told.
    pub record: bool,
    /// What the Raft cores did, for the trace specification of etcd-io/raft.
    pub trace: bool,
}

/// The lines of a run, if somebody wants them.
#[derive(Debug, Default)]
pub struct Story {
    lines: Option<Vec<String>>,
}

impl Story {
    /// A story that is told.
    #[must_use]
    pub fn told() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    /// Adds a line, made only if somebody wants it.
    pub fn tell(&mut self, now_ns: u64, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let now_us = now_ns / MICROSECOND_NS;
            lines.push(format!("{:6}.{:06} {}", now_us / 1_000_000, now_us % 1_000_000, line()));
        }
    }

    /// The lines.
    #[must_use]
    pub fn lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
