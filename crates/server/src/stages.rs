//! Where commits spend their time, stage by stage: histograms for `/metrics`, and the newest flushes one by one for
//! `/debug/commits`, which `windlass-disk profile` reads.
//!
//! The consensus thread records (`consensus::timing`), whoever scrapes reads. Nothing here may wait on the path of a
//! commit: histograms are atomics with one writer, and the list's lock is held for a copy.

mod histogram;
mod page;
mod process;
mod recent;
mod sums;

use std::sync::OnceLock;
use std::time::Instant;

use prometheus_client::registry::Registry;
use windlass_types::nanoseconds;

pub use histogram::{BUCKETS, StageHistograms, bucket_starts_ns};
pub use page::commits;
pub use recent::{Activity, Recent, Work};
pub use sums::Sums;

/// A build that leaves all of this out, to show what it costs: no flush is followed, and no clock is asked.
pub const UNTIMED: bool = cfg!(feature = "untimed");

/// Number of stages.
pub const STAGES: usize = 8;

/// What a commit goes through, in order. Each begins where the one before ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// The oldest command of a flush waits in the consensus thread's gathering, a linger included.
    Queue,
    /// Commands become entries, and these a frame.
    Batch,
    /// The write waits for the step's end, and the kernel takes it.
    LogSubmit,
    /// The device makes it durable.
    DeviceWrite,
    /// A quorum has it; nothing on a member that is alone.
    Quorum,
    /// The sequencer numbers it; where it holds conditions, shards evaluate them first.
    Numbering,
    /// Answers are handed to the threads that serve connections.
    Reply,
    /// Every shard has it, beside the clients' path but for transactions and deletes, whose answers wait for it.
    ShardInstall,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; STAGES] = [
        Self::Queue,
        Self::Batch,
        Self::LogSubmit,
        Self::DeviceWrite,
        Self::Quorum,
        Self::Numbering,
        Self::Reply,
        Self::ShardInstall,
    ];

    /// As in the metric's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Batch => "batch",
            Self::LogSubmit => "log_submit",
            Self::DeviceWrite => "device_write",
            Self::Quorum => "quorum",
            Self::Numbering => "numbering",
            Self::Reply => "reply",
            Self::ShardInstall => "shard_install",
        }
    }
}

/// One flush of the Raft log and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// When its oldest command came, by [`clock_ns`].
    pub began_ns: u64,
    /// Last log index in it; 0 if it was not this member's to commit, as on a follower.
    pub index: u64,
    /// Commands in it.
    pub commands: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Nanoseconds by stage.
    pub stages_ns: [u64; STAGES],
}

impl Flush {
    /// From the oldest command's arrival until the answers left, in nanoseconds: what a client of that one waited here.
    #[must_use]
    pub fn answered_ns(&self) -> u64 {
        self.stages_ns[..Stage::ShardInstall as usize].iter().sum()
    }

    /// The stage before the answer that took longest.
    #[must_use]
    pub fn slowest(&self) -> (Stage, u64) {
        let before_answer = &Stage::ALL[..Stage::ShardInstall as usize];
        let longest = before_answer.iter().max_by_key(|&&stage| self.stages_ns[stage as usize]);
        longest.map(|&stage| (stage, self.stages_ns[stage as usize])).expect("there are stages")
    }
}

/// What is known of commits.
#[derive(Debug, Default)]
pub struct Stages {
    /// How long each stage takes.
    pub histograms: StageHistograms,
    /// The newest flushes, and what else went on.
    pub recent: Recent,
}

impl Stages {
    /// Shows the histograms.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Seconds of a commit in each of its stages";
        registry.register("windlass_commit_stage_seconds", help, self.histograms.clone());
    }

    /// Counts a flush whose answers have left; its last stage follows with [`Self::installed`].
    pub fn answered(&self, flush: &Flush) {
        let stages = flush.stages_ns[..Stage::ShardInstall as usize].iter().enumerate();
        stages.for_each(|(stage, &ns)| self.histograms.record(stage, ns));
    }

    /// Counts the end of a flush.
    pub fn installed(&self, flush: Flush) {
        let stage = Stage::ShardInstall as usize;
        self.histograms.record(stage, flush.stages_ns[stage]);
        self.recent.push(flush);
    }

    /// Counts a write that was not this member's to commit.
    pub fn written(&self, flush: Flush) {
        for stage in [Stage::LogSubmit, Stage::DeviceWrite] {
            self.histograms.record(stage as usize, flush.stages_ns[stage as usize]);
        }
        self.recent.push(flush);
    }
}

/// Nanoseconds since the process first asked: one clock for all threads.
#[must_use]
pub fn clock_ns() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    if UNTIMED {
        return 0;
    }
    let began = *BEGAN.get_or_init(Instant::now);
    nanoseconds(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_stage_is_one_that_clients_wait_for() {
        let flush = Flush { stages_ns: [1, 2, 3, 40, 5, 6, 7, 1_000], ..Flush::default() };
        assert_eq!((flush.slowest(), flush.answered_ns()), ((Stage::DeviceWrite, 40), 64));
    }

    #[test]
    fn names_are_in_the_order_of_the_stages() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place, "{}", stage.name());
        }
    }
}
