//! `--batch-linger=adaptive`: whether commands that come while a flush is in flight wait for its end, or are flushed beside it
//! as far as `--flush-depth` allows.
//!
//! Where the disk has time for both, two flushes at once hide its latency. Where it takes only so many writes a second,
//! or one at a time, the second makes both late, and each of them half as full. So both ways are timed, by flushes that
//! others wait behind, and the cheaper one is taken; see `docs/adr/0014-adaptive-linger.md`.

use std::time::Duration;

use windlass_io_log::op::Ticket;
use windlass_replica::consensus::Linger;

use super::trials::Trials;
use crate::startup::config::BatchLinger;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As many flushes at once as the log takes.
    Beside,
    /// One at a time.
    OneByOne,
}

/// Decides before each flush.
#[derive(Debug)]
pub struct Lingering {
    asked: BatchLinger,
    /// Most flushes in flight.
    depth: u32,
    trials: Trials<Way>,
    /// Those in flight.
    flights: Vec<(Ticket, Way)>,
}

impl Lingering {
    /// Up to `depth` flushes are in flight, from 1.
    pub fn new(asked: BatchLinger, depth: usize) -> Self {
        let depth = u32::try_from(depth).unwrap_or(u32::MAX);
        Self { asked, depth, trials: Trials::new(Way::Beside, Way::OneByOne), flights: Vec::new() }
    }

    /// What the core is to do until this is asked again.
    pub fn now(&self) -> Linger {
        match self.asked {
            BatchLinger::Fixed(time) => Linger::For(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            BatchLinger::Adaptive => match self.trials.way() {
                Way::Beside => Linger::For(0),
                Way::OneByOne => Linger::WhileFlushing,
            },
        }
    }

    /// A write of the log begins.
    pub fn begin(&mut self, ticket: Ticket) {
        if self.asked == BatchLinger::Adaptive && self.depth > 1 {
            self.flights.push((ticket, self.trials.way()));
        }
    }

    /// A write took this long; `waiting` commands are not in flight yet.
    pub fn end(&mut self, ticket: Ticket, took: Duration, waiting: usize) {
        let Some(place) = self.flights.iter().position(|(known, _)| *known == ticket) else { return };
        let (_, way) = self.flights.swap_remove(place);
        // One that nobody waits behind says nothing of either way.
        let counts = match way {
            Way::Beside => !self.flights.is_empty(),
            Way::OneByOne => waiting > 0,
        };
        if counts {
            self.trials.observe(way, self.cost(way, took));
        }
    }

    /// How long a command takes from its coming until it is durable, if each flush takes `took`: flushes begin `took` / depth
    /// apart, it comes anywhere between two of them, and then is in flight itself. One by one counts for a quarter more: where
    /// CPUs are busy flushes take one time or another, and what is hardly cheaper is not worth a change.
    fn cost(&self, way: Way, took: Duration) -> Duration {
        match way {
            Way::Beside => took + took / (2 * self.depth),
            Way::OneByOne => (took + took / 2) * 5 / 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crowd's flushes on a disk on which one takes this long alone, and two at once that long; how many went one by one.
    fn flushes(lingering: &mut Lingering, count: u64, alone_us: u64, beside_us: u64) -> u64 {
        let mut one_by_one = 0;
        lingering.begin(Ticket(0));
        for number in 1..=count {
            let before = lingering.now();
            let took = if before == Linger::WhileFlushing { alone_us } else { beside_us };
            one_by_one += u64::from(before == Linger::WhileFlushing);
            lingering.begin(Ticket(number));
            lingering.end(Ticket(number - 1), Duration::from_micros(took), 9);
        }
        one_by_one
    }

    fn adaptive() -> Lingering {
        Lingering::new(BatchLinger::Adaptive, 2)
    }

    #[test]
    fn a_disk_with_time_for_two_is_given_two() {
        let one_by_one = flushes(&mut adaptive(), 10_000, 100, 110);
        assert!((1..300).contains(&one_by_one), "{one_by_one} of 10,000 for trials");
    }

    #[test]
    fn a_disk_that_takes_one_at_a_time_is_given_one() {
        let one_by_one = flushes(&mut adaptive(), 10_000, 2000, 4000);
        assert!((9_700..10_000).contains(&one_by_one), "{one_by_one} of 10,000, the rest for trials");
    }

    #[test]
    fn a_disk_that_changes_is_judged_anew() {
        let mut lingering = adaptive();
        flushes(&mut lingering, 1000, 100, 110);
        flushes(&mut lingering, 1000, 2000, 4000);
        assert_eq!(lingering.now(), Linger::WhileFlushing);
        flushes(&mut lingering, 4000, 100, 110);
        assert_eq!(lingering.now(), Linger::For(0));
    }

    #[test]
    fn flushes_that_nobody_waits_behind_decide_nothing() {
        let mut lingering = adaptive();
        for number in 0..1000 {
            lingering.begin(Ticket(number));
            lingering.end(Ticket(number), Duration::from_micros(1), 0);
        }
        assert_eq!(lingering.now(), Linger::For(0));
        assert!(lingering.flights.is_empty());
    }

    #[test]
    fn what_was_asked_for_is_kept() {
        let mut fixed = Lingering::new(BatchLinger::Fixed(Duration::from_micros(50)), 2);
        flushes(&mut fixed, 100, 2000, 4000);
        assert_eq!(fixed.now(), Linger::For(50_000));
        let mut single = Lingering::new(BatchLinger::Adaptive, 1);
        flushes(&mut single, 100, 100, 110);
        assert_eq!(single.now(), Linger::For(0), "with a depth of one there is nothing to choose");
    }
}
