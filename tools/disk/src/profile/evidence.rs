//! What slow flushes have in common: what went on beside them, and whether that is evidence. Pure.

use serde::Serialize;
use windlass_report::units::{bytes, ns};

use super::analysis::{DEVICE_WRITE, most_common_stage};
use super::commits::{Activity, Flush, STAGES};
use super::world::Moment;

/// A condition is a cause where flushes are slow so many times as often while it holds.
const LIFT_MIN: f64 = 2.0;
/// And where so many of the slow ones fall into it.
const COVER_MIN: f64 = 0.3;
/// Bytes per second of others that count as writing: less no disk notices.
const FOREIGN_BYTES_PER_S: f64 = 4e6;
/// Share of the time that tasks wait for a CPU from which on it counts as scarce.
const CPU_PRESSURE_MIN: f64 = 0.3;
/// Causes that are named.
const FINDINGS_MAX: usize = 3;
/// Slow flushes that a cause leaves over need another one from so many on; fewer are chance.
const REST_MIN: usize = 5;
/// Writers that are looked at one by one.
const WRITERS_MAX: usize = 8;

/// What slow flushes have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Other processes wrote: the largest of them.
    ForeignWriter(String),
    /// The member's own background work.
    Work(String),
    /// Tasks waited for a CPU.
    CpuPressure,
    /// Nothing that was seen: the stage alone.
    Stage(String),
}

/// A cause and its figures.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What.
    pub cause: Cause,
    /// Share of the slow flushes that fall into it.
    pub of_slow: f64,
    /// Share of the other flushes that do.
    pub of_others: f64,
    /// How many times as often flushes are slow while it holds.
    pub lift: f64,
    /// Mean of the answer's time in it and beside it, in nanoseconds.
    pub mean_ns: (f64, f64),
    /// In a sentence.
    pub words: String,
}

/// Flushes, and what went on beside them.
pub(super) struct View<'a> {
    pub all: &'a [&'a Flush],
    pub slow_ns: u64,
    pub moments: &'a [Moment],
    pub activities: &'a [Activity],
}

/// Something that went on beside some flushes.
struct Condition {
    cause: Cause,
    /// For each flush, whether it did.
    holds: Vec<bool>,
}

impl View<'_> {
    /// The strongest cause first. Each further one explains what those before it leave over.
    pub fn findings(&self) -> Vec<Finding> {
        let conditions = self.conditions();
        let mut open: Vec<usize> = (0..self.all.len()).collect();
        let mut findings: Vec<Finding> = Vec::new();
        while findings.len() < FINDINGS_MAX {
            let slow: Vec<&Flush> =
                open.iter().map(|&place| self.all[place]).filter(|one| self.is_slow(one)).collect();
            let is_first = findings.is_empty();
            if !is_first && slow.len() < REST_MIN {
                break;
            }
            // A disk does not wait for CPUs.
            let waits_for_disk = most_common_stage(&slow).0 == STAGES[DEVICE_WRITE];
            let possible = conditions.iter().filter(|one| one.cause != Cause::CpuPressure || !waits_for_disk);
            let found = possible.filter_map(|one| Some((self.finding(one, &open, is_first)?, one)));
            let score = |finding: &Finding| finding.lift * finding.of_slow;
            let best = found.max_by(|(one, _), (two, _)| score(one).total_cmp(&score(two)));
            let Some((finding, condition)) = best else { break };
            open.retain(|&place| !condition.holds[place]);
            findings.push(finding);
        }
        findings
    }

    fn is_slow(&self, flush: &Flush) -> bool {
        flush.answered_ns() >= self.slow_ns
    }

    /// Whatever went on. Where two explain the same, the later one is the better word for it.
    fn conditions(&self) -> Vec<Condition> {
        let pressed =
            |flush: &Flush| self.moments_of(flush).any(|moment| moment.cpu_pressure > CPU_PRESSURE_MIN);
        let mut conditions = vec![self.condition(Cause::CpuPressure, pressed)];
        let foreign =
            |flush: &Flush| self.moments_of(flush).any(|moment| moment.others_per_s() > FOREIGN_BYTES_PER_S);
        let writers = self.largest_writers();
        if let Some((name, sum)) = writers.first() {
            let cause = Cause::ForeignWriter(format!("{name} with {}", bytes(*sum)));
            conditions.push(self.condition(cause, foreign));
        }
        for (name, sum) in writers.iter().take(WRITERS_MAX) {
            let writes = |flush: &Flush| {
                self.moments_of(flush).any(|moment| moment.per_s_of(name) > FOREIGN_BYTES_PER_S)
            };
            let cause = Cause::ForeignWriter(format!("{name} with {}", bytes(*sum)));
            conditions.push(self.condition(cause, writes));
        }
        let mut works: Vec<&str> = self.activities.iter().map(|activity| activity.work.as_str()).collect();
        works.sort_unstable();
        works.dedup();
        for work in works {
            let beside =
                |flush: &Flush| self.activities.iter().any(|one| one.work == work && overlaps(one, flush));
            conditions.push(self.condition(Cause::Work(work.to_owned()), beside));
        }
        conditions
    }

    fn condition(&self, cause: Cause, holds: impl Fn(&Flush) -> bool) -> Condition {
        Condition { cause, holds: self.all.iter().map(|flush| holds(flush)).collect() }
    }

    /// The moments that a flush falls into: mostly one.
    fn moments_of(&self, flush: &Flush) -> impl Iterator<Item = &Moment> {
        let end_ns = flush.began_ns + flush.answered_ns();
        let first = self.moments.partition_point(|moment| moment.ended_ns <= flush.began_ns);
        self.moments[first..].iter().take_while(move |moment| moment.began_ns < end_ns)
    }

    /// A condition, if it explains slow ones of these flushes.
    fn finding(&self, condition: &Condition, open: &[usize], is_first: bool) -> Option<Finding> {
        let (mut within, mut beside) = (Group::default(), Group::default());
        for &place in open {
            let group = if condition.holds[place] { &mut within } else { &mut beside };
            group.add(self.all[place].answered_ns(), self.slow_ns);
        }
        let slow = within.slow + beside.slow;
        let of_slow = within.slow as f64 / slow.max(1) as f64;
        let fast = (within.count - within.slow, beside.count - beside.slow);
        let of_others = fast.0 as f64 / (fast.0 + fast.1).max(1) as f64;
        // Half a slow one beside it where there was none: a lift is a number.
        let rate = |group: &Group| (group.slow as f64).max(0.5) / group.count.max(1) as f64;
        let lift = rate(&within) / rate(&beside);
        if within.slow == 0 || beside.count == 0 || lift < LIFT_MIN || of_slow < COVER_MIN {
            return None;
        }
        let (cause, mean_ns) = (condition.cause.clone(), (within.mean_ns(), beside.mean_ns()));
        let whose =
            if is_first { "the slow flushes".to_owned() } else { format!("the other {slow} slow flushes") };
        let words = sentence(&cause, &whose, (of_slow, of_others), mean_ns);
        Some(Finding { cause, of_slow, of_others, lift, mean_ns, words })
    }

    /// Who wrote beside the slow flushes, most first, with their sums there.
    fn largest_writers(&self) -> Vec<(&str, u64)> {
        let mut beside_slow = vec![false; self.moments.len()];
        for flush in self.all.iter().filter(|flush| self.is_slow(flush)) {
            let first = self.moments.partition_point(|moment| moment.ended_ns <= flush.began_ns);
            let count = self.moments_of(flush).count();
            beside_slow[first..first + count].fill(true);
        }
        let mut sums: Vec<(&str, u64)> = Vec::new();
        let moments = self.moments.iter().zip(beside_slow).filter(|(_, is_beside)| *is_beside);
        for (name, bytes) in moments.flat_map(|(moment, _)| &moment.others) {
            match sums.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += bytes,
                None => sums.push((name, *bytes)),
            }
        }
        sums.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
        sums
    }
}

fn sentence(cause: &Cause, whose: &str, (of_slow, of_others): (f64, f64), mean_ns: (f64, f64)) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let (slow, others) = (percent(of_slow), percent(of_others));
    let times = format!("{} on average then, {} otherwise", ns(mean_ns.0 as u64), ns(mean_ns.1 as u64));
    let while_what = match cause {
        Cause::ForeignWriter(name) => format!("while other processes wrote, most of all {name}"),
        Cause::Work(work) => format!("beside a {work} of the member itself"),
        Cause::CpuPressure => "while tasks waited for a CPU".to_owned(),
        Cause::Stage(stage) => format!("in {stage}"),
    };
    format!("{slow} of {whose}, but {others} of those that were not slow, happened {while_what}: {times}.")
}

#[derive(Default)]
struct Group {
    count: usize,
    slow: usize,
    sum_ns: f64,
}

impl Group {
    fn add(&mut self, took_ns: u64, slow_ns: u64) {
        self.count += 1;
        self.slow += usize::from(took_ns >= slow_ns);
        self.sum_ns += took_ns as f64;
    }

    fn mean_ns(&self) -> f64 {
        self.sum_ns / self.count.max(1) as f64
    }
}

fn overlaps(activity: &Activity, flush: &Flush) -> bool {
    let end_ns = flush.began_ns + flush.answered_ns();
    activity.began_ns < end_ns && activity.ended_ns.is_none_or(|ended| ended > flush.began_ns)
}
