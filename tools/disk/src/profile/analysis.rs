//! Which stage takes the time, and what the slow flushes have in common. Pure.

use serde::Serialize;
use windlass_report::units::{ns, thousands};

use super::block::Holder;
use super::commits::{BEFORE_ANSWER, Flush, STAGES, Timeline};
use super::evidence::{Cause, Finding, View};
use super::world::Moment;

/// Of all flushes, the slowest so many are looked at: one in so many.
const SLOW_ONE_IN: usize = 50;
/// A slow flush takes so many times the median, or there is nothing to explain.
const SLOW_TIMES: f64 = 2.0;
pub(super) const DEVICE_WRITE: usize = 3;
const QUEUE: usize = 0;
const QUORUM: usize = 4;

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

/// Analyses; `holder` is who was seen to hold back writes to the disk.
#[must_use]
pub fn analyse(timeline: &Timeline, moments: &[Moment], holder: Holder) -> Analysis {
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
    let words =
        words(&all, (median_ns, slow_ns), &largest_stage, &slow_stage, slow.len(), (&findings, holder));
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

pub(super) fn most_common_stage(slow: &[&Flush]) -> (String, f64) {
    let count = |stage: usize| slow.iter().filter(|flush| slowest_stage(flush) == stage).count();
    let stage = (0..BEFORE_ANSWER).max_by_key(|&stage| count(stage)).unwrap_or(0);
    (STAGES[stage].to_owned(), count(stage) as f64 / slow.len().max(1) as f64)
}

fn words(
    all: &[&Flush],
    (median_ns, slow_ns): (u64, u64),
    largest: &(String, f64),
    slow_stage: &(String, f64),
    slow: usize,
    (findings, holder): (&[Finding], Holder),
) -> Vec<String> {
    let commands: u64 = all.iter().map(|flush| flush.commands).sum();
    let (count, share) = (thousands(all.len() as f64), largest.1 * 100.0);
    let (median, stage) = (ns(median_ns), &largest.0);
    let mut words = vec![match commands {
        0 => format!(
            "{count} writes of what the leader decides. Half of them were durable within {median}; {stage} takes {share:.0} % of that time."
        ),
        _ => format!(
            "{count} flushes with {} commands. Half of them were answered within {median} of their oldest command; {stage} takes {share:.0} % of that time.",
            thousands(commands as f64),
        ),
    }];
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
        words.push(format!("{which}: {}", culprit(&finding.cause, holder)));
        words.push(finding.words.clone());
    }
    if findings.is_empty() {
        words.push(advice(&slow_stage.0, holder).to_owned());
    }
    words
}

fn culprit(cause: &Cause, holder: Holder) -> String {
    match cause {
        Cause::ForeignWriter(name) => format!(
            "another process writes to the disk: {name}. Give the log a disk of its own (--wal-dir), or the other a limit."
        ),
        Cause::ForeignReader(name) => format!(
            "another process reads from the disk: {name}. Give the log a disk of its own (--wal-dir), or the other a limit."
        ),
        Cause::Work(work) => format!(
            "the member's own {work}. More --shards make each one shorter; a log on a disk of its own (--wal-dir) keeps out of its way."
        ),
        Cause::CpuPressure => {
            "too few CPUs: tasks wait for one. Use fewer --net-threads and --shards, or move others away."
                .to_owned()
        }
        Cause::Stage(stage) => advice(stage, holder).to_owned(),
    }
}

/// What to do about a stage where nothing beside it explains it.
fn advice(stage: &str, holder: Holder) -> &'static str {
    let place = STAGES.iter().position(|known| *known == stage);
    match place {
        Some(DEVICE_WRITE) => match holder {
            Holder::Unknown => {
                "Nothing that was seen beside them explains it: the device itself pauses, or somebody uses it who is seen by root alone. windlass-disk probe shows whether it does so alone."
            }
            Holder::Disk => {
                "Nothing that was seen beside them explains it: the device itself pauses. windlass-disk probe shows whether it does so alone."
            }
            Holder::Above => {
                "Nothing that was seen beside them explains it, and the disk does not either: look at what is between it and the member. windlass-disk probe in the log's folder shows whether writes wait there without the member."
            }
        },
        Some(QUEUE) => {
            "Commands wait because a flush is under way or the consensus thread is busy: windlass-disk tune tries other depths and batches."
        }
        Some(QUORUM) => "The other members, or the network to them, take the time: profile a follower.",
        _ => "The consensus thread takes the time: it lacks CPU, or the batches are very large.",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::commits::Activity;
    use super::*;

    pub const MS: u64 = 1_000_000;

    /// A flush a millisecond; those in which `slow` holds take 20 times as long on the device.
    pub fn flushes(slow: impl Fn(u64) -> bool) -> Vec<Flush> {
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

    pub fn moments(others: impl Fn(u64) -> u64) -> Vec<Moment> {
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
        let analysis =
            analyse(&timeline, &moments(|n| if writes(n) { 50_000_000 } else { 1_000 }), Holder::Unknown);
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
        let analysis = analyse(&timeline, &moments(|_| 50_000_000), Holder::Unknown);
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
        let analysis = analyse(&timeline, &moments, Holder::Unknown);
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
        let analysis = analyse(&timeline, &moments, Holder::Unknown);
        let named: Vec<_> = analysis.findings.iter().map(|finding| finding.cause.clone()).collect();
        assert!(
            matches!(&named[..], [Cause::ForeignWriter(name)] if name.starts_with("cp (process 3)")),
            "{named:?}"
        );
    }

    #[test]
    fn a_followers_writes_answer_nobody() {
        let mut flushes = flushes(|_| false);
        flushes.iter_mut().for_each(|flush| flush.commands = 0);
        let words = analyse(&Timeline { flushes, ..Timeline::default() }, &[], Holder::Unknown).words;
        assert!(
            words[0].starts_with("10,000 writes of what the leader decides. Half of them were durable"),
            "{words:?}"
        );
    }

    #[test]
    fn what_nothing_explains_is_not_blamed_on_anybody() {
        let timeline = Timeline { flushes: flushes(|ms| ms.is_multiple_of(40)), ..Timeline::default() };
        let analysis = analyse(&timeline, &moments(|_| 0), Holder::Unknown);
        assert!(analysis.findings.is_empty(), "{analysis:?}");
        assert!(
            analysis.words.iter().any(|words| words.contains("the device itself pauses")),
            "{analysis:?}"
        );
        let even = Timeline { flushes: flushes(|_| false), ..Timeline::default() };
        let words = analyse(&even, &[], Holder::Unknown).words;
        assert!(words.iter().any(|words| words.contains("nothing to explain")), "{words:?}");
    }
}
