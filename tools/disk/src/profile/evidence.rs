//! What slow flushes have in common: what went on beside them, and whether that is evidence. Pure.

use serde::Serialize;
use windlass_report::units::{bytes, ns};

use super::analysis::{DEVICE_WRITE, most_common_stage};
use super::commits::{Activity, Flush, STAGES};
use super::world::{Moment, Movers};

/// A condition is a cause where flushes are slow so many times as often while it holds.
const LIFT_MIN: f64 = 2.0;
/// And where so many of the slow ones fall into it.
const COVER_MIN: f64 = 0.3;
/// Bytes per second of others that count as writing, or as reading: less no disk notices.
const FOREIGN_BYTES_PER_S: f64 = 4e6;
/// Share of the time that tasks wait for a CPU from which on it counts as scarce.
const CPU_PRESSURE_MIN: f64 = 0.3;
/// Causes that are named.
const FINDINGS_MAX: usize = 4;
/// Slow flushes that a cause leaves over need another one from so many on; fewer are chance.
const REST_MIN: usize = 5;
/// Writers, and readers, that are looked at one by one.
const OTHERS_MAX: usize = 8;

/// What slow flushes have in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Other processes wrote: the largest of them.
    ForeignWriter(String),
    /// Other processes read: the largest of them.
    ForeignReader(String),
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
    /// Whether it is what all other processes did together, and the cause only the largest of them.
    is_sum: bool,
    /// For each flush, whether it did.
    holds: Vec<bool>,
}

impl Condition {
    /// Whether it has been named, or processes one by one, which leaves nothing to be said of their sum.
    fn is_among(&self, findings: &[Finding]) -> bool {
        let is_of_kind = |cause: &Cause| std::mem::discriminant(cause) == std::mem::discriminant(&self.cause);
        findings.iter().any(|one| one.cause == self.cause || self.is_sum && is_of_kind(&one.cause))
    }
}

/// How flushes that a condition holds in stand to those of what is named already.
enum Standing {
    /// It explains what the others leave over.
    OfTheRest,
    /// It goes on at the same time, and flushes beside both are slow more often.
    Adds,
    /// It goes on at the same time, and hardly either of them ever goes on alone.
    Inseparable,
}

impl View<'_> {
    /// The strongest cause first. Each further one explains what those before it leave over, or has as much evidence as
    /// they and goes on at the same time.
    pub fn findings(&self) -> Vec<Finding> {
        let conditions = self.conditions();
        // For each flush, whether something that is named holds.
        let mut taken = vec![false; self.all.len()];
        let mut findings: Vec<Finding> = Vec::new();
        while findings.len() < FINDINGS_MAX {
            let unnamed = conditions.iter().filter(|one| !one.is_among(&findings));
            let found = unnamed.filter_map(|one| Some((self.finding(one, &taken)?, one)));
            let best = found.max_by(|((_, one), _), ((_, two), _)| one.total_cmp(two));
            let Some(((finding, _), condition)) = best else { break };
            taken.iter_mut().zip(&condition.holds).for_each(|(taken, holds)| *taken |= holds);
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
        conditions.extend(self.movers(|moment| &moment.others, Cause::ForeignWriter));
        conditions.extend(self.movers(|moment| &moment.readers, Cause::ForeignReader));
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

    /// What others wrote, or read: all of them together by the name of the largest, and each by itself.
    fn movers(&self, of: fn(&Moment) -> &Movers, cause: fn(String) -> Cause) -> Vec<Condition> {
        let largest = self.largest(of);
        let cause = |(name, sum): &(&str, u64)| cause(format!("{name} with {}", bytes(*sum)));
        let together = |flush: &Flush| {
            self.moments_of(flush).any(|moment| moment.per_s(of(moment)) > FOREIGN_BYTES_PER_S)
        };
        let sum = |first| Condition { is_sum: true, ..self.condition(cause(first), together) };
        let mut conditions: Vec<_> = largest.first().map(sum).into_iter().collect();
        for one in largest.iter().take(OTHERS_MAX) {
            let moves = |flush: &Flush| {
                self.moments_of(flush).any(|moment| moment.per_s_of(one.0, of(moment)) > FOREIGN_BYTES_PER_S)
            };
            conditions.push(self.condition(cause(one), moves));
        }
        conditions
    }

    fn condition(&self, cause: Cause, holds: impl Fn(&Flush) -> bool) -> Condition {
        Condition { cause, is_sum: false, holds: self.all.iter().map(|flush| holds(flush)).collect() }
    }

    /// The moments that a flush falls into: mostly one.
    fn moments_of(&self, flush: &Flush) -> impl Iterator<Item = &Moment> {
        let end_ns = flush.began_ns + flush.answered_ns();
        let first = self.moments.partition_point(|moment| moment.ended_ns <= flush.began_ns);
        self.moments[first..].iter().take_while(move |moment| moment.began_ns < end_ns)
    }

    /// A condition and its weight, if there is evidence for it.
    fn finding(&self, condition: &Condition, taken: &[bool]) -> Option<(Finding, f64)> {
        let (rest, is_first) = (self.groups(condition, |place| !taken[place]), !taken.contains(&true));
        let has_rest = is_first || rest.iter().map(|group| group.slow).sum::<usize>() >= REST_MIN;
        if has_rest && self.can_cause(condition, |place| !taken[place]) && is_evidence(&rest) {
            return Some(self.found(condition, &rest, (!is_first).then_some(Standing::OfTheRest)));
        }
        // That tasks wait for CPUs is a symptom of what runs.
        if is_first || condition.cause == Cause::CpuPressure {
            return None;
        }
        let whole = self.groups(condition, |_| true);
        let named = self.groups(condition, |place| taken[place]);
        let standing = is_evidence(&whole).then(|| beside(&named, &rest)).flatten()?;
        Some(self.found(condition, &whole, Some(standing)))
    }

    /// A disk does not wait for CPUs.
    fn can_cause(&self, condition: &Condition, is_open: impl Fn(usize) -> bool) -> bool {
        let slow =
            || self.all.iter().enumerate().filter(|(place, flush)| is_open(*place) && self.is_slow(flush));
        condition.cause != Cause::CpuPressure
            || most_common_stage(&slow().map(|(_, flush)| *flush).collect::<Vec<_>>()).0
                != STAGES[DEVICE_WRITE]
    }

    /// Of these flushes, those in which a condition holds and the others.
    fn groups(&self, condition: &Condition, is_open: impl Fn(usize) -> bool) -> [Group; 2] {
        let mut groups = [Group::default(), Group::default()];
        for (place, flush) in self.all.iter().enumerate().filter(|(place, _)| is_open(*place)) {
            groups[usize::from(!condition.holds[place])].add(flush.answered_ns(), self.slow_ns);
        }
        groups
    }

    fn found(
        &self,
        condition: &Condition,
        groups: &[Group; 2],
        standing: Option<Standing>,
    ) -> (Finding, f64) {
        let [within, beside] = groups;
        let slow = within.slow + beside.slow;
        let of_slow = within.slow as f64 / slow.max(1) as f64;
        let fast = (within.count - within.slow, beside.count - beside.slow);
        let of_others = fast.0 as f64 / (fast.0 + fast.1).max(1) as f64;
        let (cause, mean_ns) = (condition.cause.clone(), (within.mean_ns(), beside.mean_ns()));
        let whose = match standing {
            Some(Standing::OfTheRest) => format!("the other {slow} slow flushes"),
            _ => "the slow flushes".to_owned(),
        };
        let mut words = sentence(&cause, &whose, (of_slow, of_others), mean_ns);
        words += match standing {
            Some(Standing::Adds) => {
                " At the same time as what is named before more were slow than beside that alone."
            }
            Some(Standing::Inseparable) => {
                " That was at the same time as what is named before: which of them it was cannot be told."
            }
            _ => "",
        };
        let lift = lift(groups);
        let all_slow = self.all.iter().filter(|flush| self.is_slow(flush)).count();
        let weight = lift * within.slow as f64 / all_slow.max(1) as f64;
        (Finding { cause, of_slow, of_others, lift, mean_ns, words }, weight)
    }

    /// Who wrote, or read, beside the slow flushes, most first, with their sums there.
    fn largest(&self, of: fn(&Moment) -> &Movers) -> Vec<(&str, u64)> {
        let mut beside_slow = vec![false; self.moments.len()];
        for flush in self.all.iter().filter(|flush| self.is_slow(flush)) {
            let first = self.moments.partition_point(|moment| moment.ended_ns <= flush.began_ns);
            let count = self.moments_of(flush).count();
            beside_slow[first..first + count].fill(true);
        }
        let mut sums: Vec<(&str, u64)> = Vec::new();
        let moments = self.moments.iter().zip(beside_slow).filter(|(_, is_beside)| *is_beside);
        for (name, bytes) in moments.flat_map(|(moment, _)| of(moment)) {
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
        Cause::ForeignReader(name) => format!("while other processes read, most of all {name}"),
        Cause::Work(work) => format!("beside a {work} of the member itself"),
        Cause::CpuPressure => "while tasks waited for a CPU".to_owned(),
        Cause::Stage(stage) => format!("in {stage}"),
    };
    format!("{slow} of {whose}, but {others} of those that were not slow, happened {while_what}: {times}.")
}

/// How many times as often flushes are slow within a condition as beside it.
fn lift([within, beside]: &[Group; 2]) -> f64 {
    // Half a slow one beside it where there was none: a lift is a number.
    let rate = |group: &Group| (group.slow as f64).max(0.5) / group.count.max(1) as f64;
    rate(within) / rate(beside)
}

/// Whether a condition has enough of the slow flushes, often enough.
fn is_evidence(groups: &[Group; 2]) -> bool {
    let [within, beside] = groups;
    let of_slow = within.slow as f64 / (within.slow + beside.slow).max(1) as f64;
    within.slow > 0 && beside.count > 0 && lift(groups) >= LIFT_MIN && of_slow >= COVER_MIN
}

/// Whether a condition with evidence of its own has a part in the flushes that something else was named for, as what each
/// of them does alone tells it. `named` are those flushes with the condition and without, `rest` all others.
fn beside([both, without]: &[Group; 2], [alone, _]: &[Group; 2]) -> Option<Standing> {
    if both.slow < REST_MIN {
        return None;
    }
    let rate = both.slow as f64 / both.count as f64;
    // Were what is named as bad by itself, so many would be slow without the condition too.
    if without.count as f64 * rate >= REST_MIN as f64 {
        return (both.odds() >= LIFT_MIN * without.odds()).then_some(Standing::Adds);
    }
    // The condition went on by itself for as long, and did little.
    if alone.count >= both.count && both.odds() >= LIFT_MIN * alone.odds() {
        return None;
    }
    Some(Standing::Inseparable)
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

    /// Slow ones for each that was not.
    fn odds(&self) -> f64 {
        (self.slow as f64).max(0.5) / ((self.count - self.slow) as f64).max(0.5)
    }

    fn mean_ns(&self) -> f64 {
        self.sum_ns / self.count.max(1) as f64
    }
}

fn overlaps(activity: &Activity, flush: &Flush) -> bool {
    let end_ns = flush.began_ns + flush.answered_ns();
    activity.began_ns < end_ns && activity.ended_ns.is_none_or(|ended| ended > flush.began_ns)
}

#[cfg(test)]
mod tests {
    use super::super::analysis::analyse;
    use super::super::analysis::tests::{MS, flushes, moments};
    use super::super::block::Holder;
    use super::super::commits::Timeline;
    use super::*;

    /// What is named for flushes of which those in `slow` are, beside one checkpoint and a writer in these milliseconds.
    fn named(
        slow: impl Fn(u64) -> bool,
        checkpoint: std::ops::Range<u64>,
        writes: impl Fn(u64) -> bool,
    ) -> Vec<Finding> {
        let checkpoint = Activity {
            work: "checkpoint".into(),
            shard: 0,
            began_ns: checkpoint.start * MS,
            ended_ns: Some(checkpoint.end * MS),
        };
        let timeline = Timeline { flushes: flushes(slow), activities: vec![checkpoint], missed: 0 };
        let moments = moments(|moment| if writes(moment * 100) { 30_000_000 } else { 1_000 });
        analyse(&timeline, &moments, Holder::Unknown).findings
    }

    fn is_writer(finding: &Finding) -> bool {
        matches!(&finding.cause, Cause::ForeignWriter(name) if name.starts_with("dd (process 9)"))
    }

    #[test]
    fn a_reader_is_named_where_nobody_wrote() {
        let reads = |ms: u64| (6_000..8_000).contains(&ms);
        let timeline =
            Timeline { flushes: flushes(|ms| reads(ms) && ms.is_multiple_of(10)), ..Timeline::default() };
        let mut moments = moments(|_| 1_000);
        for moment in moments.iter_mut().filter(|moment| reads(moment.began_ns / MS)) {
            // Each of many that come and go has few of the slow flushes.
            let n = moment.began_ns / (100 * MS);
            moment.readers = vec![(format!("grep (process {n})"), 5_000_000 + n)];
        }
        let analysis = analyse(&timeline, &moments, Holder::Unknown);
        let named: Vec<_> = analysis.findings.iter().map(|finding| finding.cause.clone()).collect();
        assert!(
            matches!(&named[..], [Cause::ForeignReader(name)] if name.starts_with("grep (process 79) with 4")),
            "{named:?}"
        );
        assert!(
            analysis.words.iter().any(|words| words.contains("another process reads from the disk: grep"))
        );
    }

    fn is_checkpoint(finding: &Finding) -> bool {
        finding.cause == Cause::Work("checkpoint".to_owned())
    }

    #[test]
    fn two_that_go_on_at_once_are_both_named() {
        let during = |ms: u64| (2_000..2_300).contains(&ms);
        let found = named(|ms| during(ms) && ms.is_multiple_of(2), 2_000..2_300, during);
        assert!(found.iter().any(is_writer) && found.iter().any(is_checkpoint), "{found:?}");
        assert!(found.len() == 2 && found[1].words.contains("cannot be told"), "{found:?}");
        assert!(found.iter().all(|one| one.lift >= LIFT_MIN && one.of_slow >= COVER_MIN), "{found:?}");
    }

    #[test]
    fn a_writer_that_makes_a_checkpoint_slow_is_named_beside_it() {
        // Neither does much alone; the writer goes on in the middle of the checkpoint and after it.
        let (checkpoint, writes) = (2_000..4_000, |ms: u64| (3_000..5_000).contains(&ms));
        let both = |ms: u64| (3_000..4_000).contains(&ms);
        let found =
            named(|ms| both(ms) && ms.is_multiple_of(5) || ms.is_multiple_of(397), checkpoint, writes);
        assert!(found.iter().any(is_writer) && found.iter().any(is_checkpoint), "{found:?}");
        assert!(found[1].words.contains("than beside that alone"), "{found:?}");
    }

    #[test]
    fn who_writes_beside_a_checkpoint_and_changes_nothing_is_not_named() {
        let during = |ms: u64| (2_000..3_000).contains(&ms);
        // In every other moment of it: as many flushes are slow in those between.
        let writes = |ms: u64| during(ms) && (ms / 100).is_multiple_of(2);
        let found = named(|ms| during(ms) && ms.is_multiple_of(5), 2_000..3_000, writes);
        assert!(found.len() == 1 && is_checkpoint(&found[0]), "{found:?}");
    }

    #[test]
    fn who_writes_as_long_without_a_checkpoint_and_does_nothing_then_is_not_named() {
        let during = |ms: u64| (2_000..2_300).contains(&ms);
        let writes = |ms: u64| during(ms) || (6_000..6_600).contains(&ms);
        let found = named(|ms| during(ms) && ms.is_multiple_of(2), 2_000..2_300, writes);
        assert!(found.len() == 1 && is_checkpoint(&found[0]), "{found:?}");
    }

    #[test]
    fn one_process_is_named_once() {
        let writes = |ms: u64| (6_000..8_000).contains(&ms);
        let found = named(|ms| writes(ms) && ms.is_multiple_of(10), 0..100, writes);
        assert!(found.len() == 1 && is_writer(&found[0]), "{found:?}");
    }
}
