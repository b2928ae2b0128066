//! Which stage takes the time, and what the slow flushes have in common. Pure.

use serde::Serialize;
use windlass_report::units::{bytes, ns, thousands};

use super::commits::{Activity, BEFORE_ANSWER, Flush, STAGES, Timeline};
use super::world::Moment;

/// Of all flushes, the slowest so many are looked at: one in so many.
const SLOW_ONE_IN: usize = 50;
/// A condition is a cause where flushes are slow so many times as often while it holds.
const LIFT_MIN: f64 = 2.0;
/// And where so many of the slow ones fall into it.
const COVER_MIN: f64 = 0.3;
/// Bytes per second of others that count as writing: less no disk notices.
const FOREIGN_BYTES_PER_S: f64 = 4e6;
/// Share of the time that tasks wait for a CPU from which on it counts as scarce.
const CPU_PRESSURE_MIN: f64 = 0.3;
/// A slow flush takes so many times the median, or there is nothing to explain.
const SLOW_TIMES: f64 = 2.0;
/// Causes that are named.
const FINDINGS_MAX: usize = 3;
/// Slow flushes that a cause leaves over need another one from so many on; fewer are chance.
const REST_MIN: usize = 5;
/// Writers that are looked at one by one.
const WRITERS_MAX: usize = 8;
const DEVICE_WRITE: usize = 3;
const QUEUE: usize = 0;
const QUORUM: usize = 4;

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

/// What was found out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Analysis {
    /// The stage with most of the time before the answer, and its share.
    pub largest_stage: (String, f64),
    /// From when on a flush counts as slow, in nanoseconds.
    pub slow_ns: u64,
    /// The stage that most of the slow flushes spent their time in, and in how many of them.
    pub slow_stage: (String, f64),
    /// Causes, strongest first.
    pub findings: Vec<Finding>,
    /// The outcome, in sentences.
    pub words: Vec<String>,
}

/// Analyses.
#[must_use]
pub fn analyse(timeline: &Timeline, moments: &[Moment]) -> Analysis {
    let own: Vec<&Flush> = timeline.flushes.iter().filter(|flush| flush.commands > 0).collect();
    // A follower has no commits of its own: its writes are what there is to look at.
    let all: Vec<&Flush> = if own.is_empty() { timeline.flushes.iter().collect() } else { own };
    if all.is_empty() {
        return Analysis::default();
    }
    let mut times: Vec<_> = all.iter().map(|flush| flush.answered_ns()).collect();
    times.sort_unstable();
    let median_ns = times[times.len() / 2];
    let slow_ns = times[times.len() - 1 - (times.len() / SLOW_ONE_IN).min(times.len() - 1)];
    let slow_ns = slow_ns.max((median_ns as f64 * SLOW_TIMES) as u64);
    let largest_stage = largest(&all);
    let slow: Vec<&Flush> = all.iter().copied().filter(|flush| flush.answered_ns() >= slow_ns).collect();
    let slow_stage = most_common_stage(&slow);
    let view = View { all: &all, slow_ns, moments, activities: &timeline.activities };
    let findings = if slow.is_empty() { Vec::new() } else { view.findings() };
    let words = words(&all, (median_ns, slow_ns), &largest_stage, &slow_stage, slow.len(), &findings);
    Analysis { largest_stage, slow_ns, slow_stage, findings, words }
}

fn largest(all: &[&Flush]) -> (String, f64) {
    let sum = |stage: usize| all.iter().map(|flush| flush.stages_ns[stage] as f64).sum::<f64>();
    let total: f64 = (0..BEFORE_ANSWER).map(sum).sum();
    let stage = (0..BEFORE_ANSWER).max_by(|one, two| sum(*one).total_cmp(&sum(*two))).unwrap_or(0);
    (STAGES[stage].to_owned(), sum(stage) / total.max(1.0))
}

fn slowest_stage(flush: &Flush) -> usize {
    (0..BEFORE_ANSWER).max_by_key(|&stage| flush.stages_ns[stage]).unwrap_or(0)
}

fn most_common_stage(slow: &[&Flush]) -> (String, f64) {
    let count = |stage: usize| slow.iter().filter(|flush| slowest_stage(flush) == stage).count();
    let stage = (0..BEFORE_ANSWER).max_by_key(|&stage| count(stage)).unwrap_or(0);
    (STAGES[stage].to_owned(), count(stage) as f64 / slow.len().max(1) as f64)
}

struct View<'a> {
    all: &'a [&'a Flush],
    slow_ns: u64,
    moments: &'a [Moment],
    activities: &'a [Activity],
}

/// Something that went on beside some flushes.
struct Condition {
    cause: Cause,
    /// For each flush, whether it did.
    holds: Vec<bool>,
}

impl View<'_> {
    /// The strongest cause first. Each further one explains what those before it leave over.
    fn findings(&self) -> Vec<Finding> {
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

fn words(
    all: &[&Flush],
    (median_ns, slow_ns): (u64, u64),
    largest: &(String, f64),
    slow_stage: &(String, f64),
    slow: usize,
    findings: &[Finding],
) -> Vec<String> {
    let commands: u64 = all.iter().map(|flush| flush.commands).sum();
    let mut words = vec![format!(
        "{} flushes with {} commands. Half of them were answered within {} of their oldest command; {} takes {:.0} % of that time.",
        thousands(all.len() as f64),
        thousands(commands as f64),
        ns(median_ns),
        largest.0,
        largest.1 * 100.0,
    )];
    if slow == 0 {
        words.push(format!("None was slower than {}: there is nothing to explain.", ns(slow_ns)));
        return words;
    }
    words.push(format!(
        "{} were slow: {} and more. {:.0} % of these spent most of it in {}.",
        thousands(slow as f64),
        ns(slow_ns),
        slow_stage.1 * 100.0,
        slow_stage.0,
    ));
    for (place, finding) in findings.iter().enumerate() {
        let which = if place == 0 { "Culprit" } else { "Besides" };
        words.push(format!("{which}: {}", culprit(&finding.cause)));
        words.push(finding.words.clone());
    }
    if findings.is_empty() {
        words.push(advice(&slow_stage.0).to_owned());
    }
    words
}

fn culprit(cause: &Cause) -> String {
    match cause {
        Cause::ForeignWriter(name) => format!(
            "another process writes to the disk: {name}. Give the log a disk of its own (--wal-dir), or the other a limit."
        ),
        Cause::Work(work) => format!(
            "the member's own {work}. More --shards make each one shorter; a log on a disk of its own (--wal-dir) keeps out of its way."
        ),
        Cause::CpuPressure => {
            "too few CPUs: tasks wait for one. Use fewer --net-threads and --shards, or move others away."
                .to_owned()
        }
        Cause::Stage(stage) => advice(stage).to_owned(),
    }
}

/// What to do about a stage where nothing beside it explains it.
fn advice(stage: &str) -> &'static str {
    let place = STAGES.iter().position(|known| *known == stage);
    match place {
        Some(DEVICE_WRITE) => {
            "Nothing that was seen beside them explains it: the device itself pauses. windlass-disk probe shows whether it does so alone."
        }
        Some(QUEUE) => {
            "Commands wait because a flush is under way or the consensus thread is busy: windlass-disk tune tries other depths and batches."
        }
        Some(QUORUM) => "The other members, or the network to them, take the time: profile a follower.",
        _ => "The consensus thread takes the time: it lacks CPU, or the batches are very large.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A flush a millisecond; those in which `slow` holds take 20 times as long on the device.
    fn flushes(slow: impl Fn(u64) -> bool) -> Vec<Flush> {
        let one = |ms: u64| {
            let device_ns = if slow(ms) { 600_000 } else { 30_000 };
            Flush {
                began_ns: ms * MS,
                commands: 5,
                bytes: 4096,
                stages_ns: [2_000, 1_000, 1_000, device_ns, 0, 500, 500, 9_000_000],
            }
        };
        (0..10_000).map(one).collect()
    }

    fn moments(others: impl Fn(u64) -> u64) -> Vec<Moment> {
        let moment = |n: u64| Moment {
            began_ns: n * 100 * MS,
            ended_ns: (n + 1) * 100 * MS,
            others: vec![("dd (process 9)".to_owned(), others(n))],
            ..Moment::default()
        };
        (0..100).map(moment).collect()
    }

    #[test]
    fn a_foreign_writer_is_named() {
        // It writes in every tenth moment, and a third of the flushes then are slow.
        let writes = |moment: u64| moment.is_multiple_of(10);
        let timeline = Timeline {
            flushes: flushes(|ms| writes(ms / 100) && ms.is_multiple_of(3)),
            ..Timeline::default()
        };
        let analysis = analyse(&timeline, &moments(|n| if writes(n) { 50_000_000 } else { 1_000 }));
        assert_eq!(analysis.slow_stage.0, "device_write");
        assert!(
            matches!(&analysis.findings[0].cause, Cause::ForeignWriter(name) if name.starts_with("dd (process 9) with 4")),
            "{analysis:?}"
        );
        assert!(
            analysis.words.iter().any(|words| words.starts_with("Culprit: another process")),
            "{analysis:?}"
        );
    }

    #[test]
    fn a_checkpoint_is_named_and_a_steady_writer_is_not() {
        let checkpoint = |began_ms: u64| Activity {
            work: "checkpoint".into(),
            shard: 0,
            began_ns: began_ms * MS,
            ended_ns: Some((began_ms + 300) * MS),
        };
        let during = |ms: u64| (2_000..2_300).contains(&ms) || (7_000..7_300).contains(&ms);
        let activities = vec![checkpoint(2_000), checkpoint(7_000)];
        let timeline =
            Timeline { flushes: flushes(|ms| during(ms) && ms.is_multiple_of(2)), activities, missed: 0 };
        let analysis = analyse(&timeline, &moments(|_| 50_000_000));
        assert_eq!(analysis.findings.len(), 1, "{analysis:?}");
        assert_eq!(analysis.findings[0].cause, Cause::Work("checkpoint".to_owned()));
        assert!(analysis.findings[0].of_slow > 0.99 && analysis.findings[0].lift > 10.0);
    }

    #[test]
    fn a_checkpoint_and_a_foreign_writer_are_told_apart_in_one_profile() {
        // A checkpoint for 0.3 s, and later a foreign writer for two; somebody else writes a little all the time.
        let checkpoint = Activity {
            work: "checkpoint".into(),
            shard: 0,
            began_ns: 2_000 * MS,
            ended_ns: Some(2_300 * MS),
        };
        let copies = |ms: u64| (6_000..8_000).contains(&ms);
        let slow = |ms: u64| (2_000..2_300).contains(&ms) || copies(ms);
        let activities = vec![checkpoint];
        let timeline =
            Timeline { flushes: flushes(|ms| slow(ms) && ms.is_multiple_of(11)), activities, missed: 0 };
        let mut moments = moments(|_| 1_000_000);
        for moment in moments.iter_mut().filter(|moment| copies(moment.began_ns / MS)) {
            moment.others.insert(0, ("cp (process 3)".to_owned(), 30_000_000));
        }
        let analysis = analyse(&timeline, &moments);
        let named: Vec<_> = analysis.findings.iter().map(|finding| finding.cause.clone()).collect();
        let [Cause::ForeignWriter(writer), Cause::Work(work)] = &named[..] else { panic!("{named:?}") };
        assert!(writer.starts_with("cp (process 3)") && work == "checkpoint", "{named:?}");
        let words = analysis.words.join("\n");
        assert!(
            words.contains("\nCulprit: another") && words.contains("\nBesides: the member's own"),
            "{words}"
        );
    }

    #[test]
    fn the_writer_beside_slow_flushes_is_named_and_not_the_one_that_wrote_most() {
        let copies = |moment: u64| moment.is_multiple_of(25);
        let timeline = Timeline {
            flushes: flushes(|ms| copies(ms / 100) && ms.is_multiple_of(3)),
            ..Timeline::default()
        };
        let mut moments = moments(|_| 60_000_000);
        for (_, moment) in moments.iter_mut().enumerate().filter(|(n, _)| copies(*n as u64)) {
            moment.others.push(("cp (process 3)".to_owned(), 20_000_000));
        }
        let analysis = analyse(&timeline, &moments);
        let named: Vec<_> = analysis.findings.iter().map(|finding| finding.cause.clone()).collect();
        assert!(
            matches!(&named[..], [Cause::ForeignWriter(name)] if name.starts_with("cp (process 3)")),
            "{named:?}"
        );
    }

    #[test]
    fn what_nothing_explains_is_not_blamed_on_anybody() {
        let timeline = Timeline { flushes: flushes(|ms| ms.is_multiple_of(40)), ..Timeline::default() };
        let analysis = analyse(&timeline, &moments(|_| 0));
        assert!(analysis.findings.is_empty(), "{analysis:?}");
        assert!(
            analysis.words.iter().any(|words| words.contains("the device itself pauses")),
            "{analysis:?}"
        );
        let even = Timeline { flushes: flushes(|_| false), ..Timeline::default() };
        let words = analyse(&even, &[]).words;
        assert!(words.iter().any(|words| words.contains("nothing to explain")), "{words:?}");
    }
}
