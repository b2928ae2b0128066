//! Follows each flush of the log through its stages. It only looks: nothing here takes part in a decision.

use std::collections::VecDeque;
use std::sync::Arc;

use windlass_io_log::op::Ticket;
use windlass_types::LogIndex;

use crate::stages::{Flush, Stage, Stages, UNTIMED, clock_ns};

/// Flushes that are followed at a time. Those beyond are forgotten, oldest first: only entries that are never committed,
/// after a change of leaders, stay so long.
const OPEN_MAX: usize = 128;
/// A commit that takes longer is logged.
const SLOW_NS: u64 = 100_000_000;
/// Between two such lines; what comes meanwhile is counted in the next.
const SLOW_LOG_INTERVAL_NS: u64 = 1_000_000_000;

/// Flushes under way.
pub struct Timing {
    stages: Arc<Stages>,
    /// When the oldest command came that no flush has taken.
    gathered_ns: Option<u64>,
    open: VecDeque<Open>,
    /// Answered, and not held by every shard yet.
    installing: VecDeque<Open>,
    slow: Slow,
}

/// A flush, and the time at which its last stage ended.
#[derive(Debug, Default)]
struct Open {
    flush: Flush,
    /// The write, once it has begun.
    ticket: Option<Ticket>,
    at_ns: u64,
    done: Done,
}

/// How far a flush is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    #[default]
    Built,
    Started,
    Submitted,
    Written,
    Committed,
    Numbered,
}

/// What bounds the lines on slow commits.
#[derive(Default)]
struct Slow {
    logged_ns: Option<u64>,
    unlogged: u64,
}

impl Open {
    /// The stage ends now.
    fn end(&mut self, stage: Stage, done: Done, now_ns: u64) {
        self.flush.stages_ns[stage as usize] = now_ns.saturating_sub(self.at_ns);
        (self.at_ns, self.done) = (now_ns, done);
    }
}

impl Timing {
    /// Nothing is under way.
    pub fn new(stages: Arc<Stages>) -> Self {
        let (open, installing) = (VecDeque::new(), VecDeque::new());
        Self { stages, gathered_ns: None, open, installing, slow: Slow::default() }
    }

    /// Commands came.
    pub fn gathered(&mut self) {
        if UNTIMED {
            return;
        }
        self.gathered_ns.get_or_insert_with(clock_ns);
    }

    /// A flush that began at `began_ns` took `commands` of the gathered commands and left `rest`. `last_index` is the
    /// log's, if it grew by them; otherwise they went to another member, and are followed there.
    pub fn cut(&mut self, began_ns: u64, commands: usize, rest: usize, last_index: Option<LogIndex>) {
        if UNTIMED {
            return;
        }
        let oldest_ns = if rest == 0 { self.gathered_ns.take() } else { self.gathered_ns };
        let Some(index) = last_index else { return };
        let oldest_ns = oldest_ns.unwrap_or(began_ns).min(began_ns);
        let flush =
            Flush { began_ns: oldest_ns, index: index.0, commands: commands as u64, ..Flush::default() };
        let mut open = Open { flush, at_ns: oldest_ns, ..Open::default() };
        open.end(Stage::Queue, Done::Built, began_ns);
        open.end(Stage::Batch, Done::Built, clock_ns());
        self.add(open);
    }

    fn add(&mut self, open: Open) {
        if self.open.len() == OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back(open);
    }

    /// A write of `bytes` begins.
    pub fn started(&mut self, ticket: Ticket, bytes: usize) {
        if UNTIMED {
            return;
        }
        let built = self.open.iter().position(|open| open.done == Done::Built);
        let place = built.unwrap_or_else(|| {
            let now_ns = clock_ns();
            let flush = Flush { began_ns: now_ns, ..Flush::default() };
            self.add(Open { flush, at_ns: now_ns, ..Open::default() });
            self.open.len() - 1
        });
        let open = &mut self.open[place];
        (open.ticket, open.done, open.flush.bytes) = (Some(ticket), Done::Started, bytes as u64);
    }

    /// The kernel has all writes that began.
    pub fn submitted(&mut self) {
        if self.open.iter().any(|open| open.done == Done::Started) {
            let now_ns = clock_ns();
            let started = self.open.iter_mut().filter(|open| open.done == Done::Started);
            started.for_each(|open| open.end(Stage::LogSubmit, Done::Submitted, now_ns));
        }
    }

    /// A write is durable.
    pub fn written(&mut self, ticket: Ticket) {
        let Some(place) = self.open.iter().position(|open| open.ticket == Some(ticket)) else { return };
        let now_ns = clock_ns();
        let open = &mut self.open[place];
        open.end(Stage::DeviceWrite, Done::Written, now_ns);
        if open.flush.index == 0 {
            let open = self.open.remove(place).expect("was found");
            self.stages.written(open.flush);
        }
    }

    /// The time, if some flush waits for a quorum: before the step that may bring it.
    pub fn before_quorum(&self) -> Option<u64> {
        self.open.iter().any(|open| open.done == Done::Written).then(clock_ns)
    }

    /// The log is committed up to `commit`, since a step that began at `at_ns`.
    pub fn committed(&mut self, commit: LogIndex, at_ns: u64) {
        let written = self.open.iter_mut().filter(|open| open.done == Done::Written);
        for open in written.filter(|open| open.flush.index <= commit.0) {
            let at_ns = at_ns.max(open.at_ns);
            open.end(Stage::Quorum, Done::Committed, at_ns);
        }
    }

    /// Everything up to `index` is numbered.
    pub fn numbered(&mut self, index: LogIndex) {
        if self.open.iter().any(|open| open.done == Done::Committed) {
            let now_ns = clock_ns();
            let committed = self.open.iter_mut().filter(|open| open.done == Done::Committed);
            let numbered = committed.filter(|open| open.flush.index <= index.0);
            numbered.for_each(|open| open.end(Stage::Numbering, Done::Numbered, now_ns));
        }
    }

    /// The answers of a step have left.
    pub fn answered(&mut self) {
        while let Some(mut open) = self.open.pop_front_if(|open| open.done == Done::Numbered) {
            open.end(Stage::Reply, Done::Numbered, clock_ns());
            self.stages.answered(&open.flush);
            self.slow.look(&open.flush, open.at_ns);
            if self.installing.len() == OPEN_MAX {
                self.end_install(u64::MAX, open.at_ns);
            }
            self.installing.push_back(open);
        }
    }

    /// Every shard holds what is up to `complete`, the last of them since `at_ns`.
    pub fn installed(&mut self, complete: LogIndex, at_ns: u64) {
        while self.installing.front().is_some_and(|open| open.flush.index <= complete.0) {
            self.end_install(complete.0, at_ns);
        }
    }

    fn end_install(&mut self, complete: u64, at_ns: u64) {
        if let Some(mut open) = self.installing.pop_front_if(|open| open.flush.index <= complete) {
            let at_ns = at_ns.max(open.at_ns);
            open.end(Stage::ShardInstall, Done::Numbered, at_ns);
            self.stages.installed(open.flush);
        }
    }

    /// Another member leads, or this one does anew: what is under way may never be committed here.
    pub fn leader_changed(&mut self) {
        self.open.retain(|open| open.flush.index == 0);
    }
}

impl Slow {
    fn look(&mut self, flush: &Flush, now_ns: u64) {
        let took_ns = flush.answered_ns();
        if took_ns < SLOW_NS {
            return;
        }
        if self.logged_ns.is_some_and(|logged_ns| now_ns < logged_ns + SLOW_LOG_INTERVAL_NS) {
            self.unlogged += 1;
            return;
        }
        let (stage, stage_ns) = flush.slowest();
        let ms = |ns: u64| ns as f64 / 1e6;
        tracing::warn!(
            took_ms = ms(took_ns),
            stage = stage.name(),
            stage_ms = ms(stage_ns),
            commands = flush.commands,
            bytes = flush.bytes,
            others = self.unlogged,
            "a commit was slow"
        );
        (self.logged_ns, self.unlogged) = (Some(now_ns), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing() -> Timing {
        Timing::new(Arc::default())
    }

    fn newest(timing: &Timing) -> Vec<Flush> {
        timing.stages.recent.since(0).1
    }

    /// A flush from its commands' arrival to its numbering.
    fn commit(timing: &mut Timing, index: u64) {
        timing.gathered();
        timing.cut(clock_ns(), 3, 0, Some(LogIndex(index)));
        timing.started(Ticket(index), 4096);
        timing.submitted();
        timing.written(Ticket(index));
        let at_ns = timing.before_quorum().expect("one waits");
        timing.committed(LogIndex(index), at_ns);
        timing.numbered(LogIndex(index));
        timing.answered();
    }

    #[test]
    fn a_flush_is_followed_to_the_shards() {
        let mut timing = timing();
        commit(&mut timing, 7);
        assert!(newest(&timing).is_empty(), "shards do not have it yet");
        timing.installed(LogIndex(6), clock_ns());
        assert!(newest(&timing).is_empty());
        timing.installed(LogIndex(7), clock_ns());
        let [flush] = newest(&timing)[..] else { panic!("one flush") };
        assert_eq!((flush.index, flush.commands, flush.bytes), (7, 3, 4096));
        let sum: u64 = flush.stages_ns.iter().sum();
        assert!(flush.began_ns + sum <= clock_ns() && flush.answered_ns() > 0);
        let (counts, _) = timing.stages.histograms.read(Stage::Reply as usize);
        assert_eq!(counts.iter().sum::<u64>(), 1);
    }

    #[test]
    fn a_followers_write_has_only_its_own_stages() {
        let mut timing = timing();
        timing.started(Ticket(1), 512);
        timing.submitted();
        timing.written(Ticket(1));
        let [flush] = newest(&timing)[..] else { panic!("one flush") };
        assert_eq!((flush.index, flush.commands, flush.bytes), (0, 0, 512));
        assert!(timing.open.is_empty());
    }

    #[test]
    fn what_is_never_committed_is_forgotten() {
        let mut timing = timing();
        timing.gathered();
        timing.cut(clock_ns(), 1, 0, None);
        assert!(timing.open.is_empty() && timing.gathered_ns.is_none(), "it went to another member");
        timing.cut(clock_ns(), 1, 0, Some(LogIndex(1)));
        timing.started(Ticket(1), 512);
        timing.leader_changed();
        timing.written(Ticket(1));
        assert!(timing.open.is_empty() && newest(&timing).is_empty());
        (0..1_000).for_each(|index| timing.cut(clock_ns(), 1, 0, Some(LogIndex(index))));
        assert_eq!(timing.open.len(), OPEN_MAX);
    }

    #[test]
    fn the_quorum_is_waited_for_after_the_own_write() {
        let mut timing = timing();
        timing.cut(clock_ns(), 1, 0, Some(LogIndex(5)));
        timing.started(Ticket(1), 512);
        timing.submitted();
        assert_eq!(timing.before_quorum(), None, "the own write is not durable");
        timing.written(Ticket(1));
        let at_ns = timing.before_quorum().expect("waits");
        timing.committed(LogIndex(4), at_ns);
        assert!(timing.before_quorum().is_some(), "another index was committed");
        timing.committed(LogIndex(5), at_ns);
        assert_eq!(timing.before_quorum(), None);
    }

    #[test]
    fn slow_commits_are_logged_at_intervals() {
        let mut slow = Slow::default();
        let mut flush = Flush::default();
        flush.stages_ns[Stage::DeviceWrite as usize] = SLOW_NS;
        slow.look(&flush, 1);
        slow.look(&flush, 2);
        assert_eq!((slow.logged_ns, slow.unlogged), (Some(1), 1));
        slow.look(&flush, 1 + SLOW_LOG_INTERVAL_NS);
        assert_eq!((slow.logged_ns, slow.unlogged), (Some(1 + SLOW_LOG_INTERVAL_NS), 0));
        slow.look(&Flush::default(), u64::MAX);
        assert_eq!(slow.unlogged, 0);
    }
}
