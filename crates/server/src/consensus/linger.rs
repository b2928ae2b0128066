//! `--batch-linger=adaptive`: when the next flush begins, while commands come one after the other.
//!
//! Where the disk has time for it, a flush *beside* the one in flight hides its latency. Where it takes only so many writes
//! a second, or one at a time, the second makes both late, and each of them half as full: then flushes go *one by one*, or
//! *paced*, further apart than the disk needs, so that each finds the disk idle and the whole crowd gathered. Which is best
//! is measured, by how long commands take from their coming until they are durable; see
//! `docs/adr/0014-adaptive-linger.md` and `docs/adr/0017-a-pace-that-is-kept-up.md`.

use std::time::Duration;

use windlass_io_log::op::Ticket;
use windlass_replica::consensus::Linger;
use windlass_types::nanoseconds;

use super::trials::Flush;
use super::ways::{Choice, Way};
use crate::startup::config::BatchLinger;

/// Decides before each flush.
#[derive(Debug)]
pub struct Lingering {
    asked: BatchLinger,
    choice: Choice,
    waiting: Waiting,
    /// The flush that is about to begin.
    cut: Option<Cut>,
    /// Commands of the last one.
    last: usize,
    /// Those in flight.
    flights: Vec<(Ticket, Cut)>,
}

/// What a flush takes along.
#[derive(Clone, Copy, Debug)]
struct Cut {
    way: Way,
    commands: usize,
    /// How long they have waited, on average.
    waited_ns: u64,
}

/// Commands that no flush has taken yet.
#[derive(Debug, Default)]
struct Waiting {
    commands: usize,
    /// When they came, on average.
    came_ns: u64,
}

impl Waiting {
    /// There are so many now.
    fn are(&mut self, commands: usize, now_ns: u64) {
        if let Some(new) = commands.checked_sub(self.commands).filter(|new| *new > 0) {
            let age_ns = now_ns.saturating_sub(self.came_ns);
            let part = u128::from(age_ns) * self.commands as u128 / (self.commands + new) as u128;
            self.came_ns = now_ns - u64::try_from(part).unwrap_or(age_ns);
        }
        self.commands = commands;
    }
}

impl Lingering {
    /// Nothing is known of the disk.
    pub fn new(asked: BatchLinger) -> Self {
        Self {
            asked,
            choice: Choice::default(),
            waiting: Waiting::default(),
            cut: None,
            last: 0,
            flights: Vec::new(),
        }
    }

    /// What the core is to do now that `commands` wait.
    pub fn now(&mut self, commands: usize, now_ns: u64) -> Linger {
        if let BatchLinger::Fixed(time) = self.asked {
            return Linger::For(nanoseconds(time));
        }
        self.waiting.are(commands, now_ns);
        match self.choice.way() {
            Way::Beside => Linger::For(0),
            Way::OneByOne => Linger::WhileFlushing,
            // A client that waits for each answer has nobody to wait for.
            Way::Paced if commands <= 1 && self.last <= 1 => Linger::For(0),
            Way::Paced => Linger::Paced(self.choice.pace_ns()),
        }
    }

    /// A flush is about to begin, which left so many commands waiting.
    pub fn cut(&mut self, left: usize, now_ns: u64) {
        let commands = self.waiting.commands.saturating_sub(left);
        let waited_ns = now_ns.saturating_sub(self.waiting.came_ns);
        self.cut = Some(Cut { way: self.choice.way(), commands, waited_ns });
        self.last = commands;
        self.waiting.are(left, now_ns);
    }

    /// A write of the log begins.
    pub fn begin(&mut self, ticket: Ticket) {
        if let Some(cut) = self.cut.take()
            && self.asked == BatchLinger::Adaptive
        {
            self.flights.push((ticket, cut));
        }
    }

    /// A write took this long.
    pub fn end(&mut self, ticket: Ticket, took: Duration, now_ns: u64) {
        let Some(place) = self.flights.iter().position(|(known, _)| *known == ticket) else { return };
        let (_, cut) = self.flights.swap_remove(place);
        // A client that is alone says nothing of any way.
        let is_alone = cut.commands == 1 && self.flights.is_empty() && self.waiting.commands == 0;
        if cut.commands > 0 && !is_alone {
            let took_ns = nanoseconds(took);
            let (commands, waited_ns) = (cut.commands as u64, cut.waited_ns);
            let flush = Flush { commands, took_ns, waited_ns, late_ns: 0 };
            self.choice.observe(cut.way, flush, now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn adaptive() -> Lingering {
        Lingering::new(BatchLinger::Adaptive)
    }

    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;

    #[derive(Clone, Copy, Debug)]
    struct Disk {
        /// Another write can begin this long after one began,
        apart_ns: u64,
        /// and takes this long.
        took_ns: u64,
        /// So many writes can begin at once, if none did for as long as they are apart together.
        burst: u64,
        /// When the last of a burst might have begun at the latest.
        free_ns: u64,
    }

    impl Disk {
        fn new(apart_us: u64, took_us: u64, burst: u64) -> Self {
            Self { apart_ns: apart_us * US, took_ns: took_us * US, burst, free_ns: 0 }
        }

        /// When a write ends that is asked for now.
        fn write(&mut self, now_ns: u64) -> u64 {
            // As the kernel rations: what a slice of time has is given at once, and then nothing until the next slice.
            let slice_ns = self.burst * self.apart_ns;
            self.free_ns = self.free_ns.max(now_ns / slice_ns * slice_ns) + self.apart_ns;
            let begins_ns = (self.free_ns - 1) / slice_ns * slice_ns;
            begins_ns.max(now_ns) + self.took_ns
        }
    }

    /// Clients of which each sends its next command when the last one is answered, and a disk.
    struct Model {
        lingering: Lingering,
        disk: Disk,
        now_ns: u64,
        /// When clients and server are done with what they have: they need some time for each command.
        busy_ns: u64,
        /// When commands come, in order.
        coming: VecDeque<u64>,
        waiting: usize,
        /// Ticket, begin, end and commands of flushes.
        flights: VecDeque<(Ticket, u64, u64, usize)>,
        flushed_ns: Option<u64>,
        done: usize,
    }

    impl Model {
        fn new(lingering: Lingering, clients: usize, disk: Disk) -> Self {
            let coming = VecDeque::from(vec![0; clients]);
            let (now_ns, busy_ns, waiting, done) = (0, 0, 0, 0);
            let (flights, flushed_ns) = (VecDeque::new(), None);
            Self { lingering, disk, now_ns, busy_ns, coming, waiting, flights, flushed_ns, done }
        }

        /// Runs for a time; how many commands are done in it.
        fn run(&mut self, ms: u64) -> usize {
            let (until_ns, before) = (self.now_ns + ms * MS, self.done);
            while self.now_ns < until_ns {
                let due_ns = self.flush();
                let ends_ns = self.flights.front().map(|flight| flight.2);
                let next_ns = [self.coming.front().copied(), ends_ns, due_ns].into_iter().flatten().min();
                self.now_ns = next_ns.expect("somebody waits, or comes").max(self.now_ns);
                while self.coming.pop_front_if(|at_ns| *at_ns <= self.now_ns).is_some() {
                    self.waiting += 1;
                }
                while let Some(flight) = self.flights.pop_front_if(|flight| flight.2 <= self.now_ns) {
                    self.end(flight);
                }
            }
            self.done - before
        }

        /// Begins what can begin; when to look again.
        fn flush(&mut self) -> Option<u64> {
            let linger = self.lingering.now(self.waiting, self.now_ns);
            if self.waiting == 0 || self.flights.len() == 2 {
                return None;
            }
            let due_ns = match linger {
                Linger::For(0) => self.now_ns,
                Linger::WhileFlushing | Linger::Paced(_) if !self.flights.is_empty() => return None,
                Linger::WhileFlushing => self.now_ns,
                Linger::Paced(pace_ns) => self.flushed_ns.map_or(0, |flushed_ns| flushed_ns + pace_ns),
                Linger::For(_) => unreachable!("adaptive waits for no fixed time"),
            };
            if due_ns > self.now_ns {
                return Some(due_ns);
            }
            let ticket = Ticket(self.now_ns);
            self.flights.push_back((ticket, self.now_ns, self.disk.write(self.now_ns), self.waiting));
            self.lingering.cut(0, self.now_ns);
            self.lingering.begin(ticket);
            self.flushed_ns = Some(self.now_ns);
            self.waiting = 0;
            None
        }

        fn end(&mut self, (ticket, began_ns, ended_ns, commands): (Ticket, u64, u64, usize)) {
            let took = Duration::from_nanos(ended_ns - began_ns);
            self.lingering.end(ticket, took, self.now_ns);
            self.done += commands;
            for _ in 0..commands {
                self.busy_ns = self.busy_ns.max(self.now_ns) + 5 * US;
                self.coming.push_back(self.busy_ns);
            }
        }
    }

    #[test]
    fn waits_are_those_of_the_commands() {
        let mut waiting = Waiting::default();
        waiting.are(1, 100);
        waiting.are(3, 400);
        assert_eq!((waiting.commands, waiting.came_ns), (3, 300));
        waiting.are(1, 500);
        waiting.are(0, 600);
        waiting.are(2, 1000);
        assert_eq!((waiting.commands, waiting.came_ns), (2, 1000));
    }

    /// Commands a second on a disk, once what can be found out has been.
    fn rate(lingering: Lingering, clients: usize, disk: Disk) -> usize {
        let mut model = Model::new(lingering, clients, disk);
        model.run(2000);
        model.run(4000) / 4
    }

    #[test]
    fn no_way_is_better_by_a_sixth_on_any_disk_for_any_crowd() {
        let cases = [
            // Rationed evenly, and in slices of a tenth of a second.
            (Disk::new(2000, 500, 1), [10, 100]),
            (Disk::new(2000, 300, 50), [10, 1000]),
            (Disk::new(500, 300, 200), [10, 100]),
            // One at a time, and two.
            (Disk::new(8000, 8000, 1), [10, 1000]),
            (Disk::new(300, 300, 1), [10, 100]),
            (Disk::new(1000, 2000, 1), [10, 100]),
            (Disk::new(50, 100, 1), [10, 50]),
        ];
        for (clients, disk) in cases.into_iter().flat_map(|(disk, clients)| clients.map(|n| (n, disk))) {
            let always = |way| {
                let choice = Choice::always(way, disk.apart_ns.max(disk.took_ns));
                rate(Lingering { choice, ..adaptive() }, clients, disk)
            };
            let all = [Way::Beside, Way::OneByOne, Way::Paced].map(always);
            let best = all.into_iter().max().expect("three");
            let found = rate(adaptive(), clients, disk);
            assert!(found * 6 >= best * 5, "{clients} clients, {disk:?}: {found}, {all:?} a second");
        }
    }

    #[test]
    fn what_was_before_holds_no_crowd_up() {
        let disks = [Disk::new(2000, 300, 50), Disk::new(8000, 8000, 1), Disk::new(300, 300, 1)];
        for to in disks {
            let fresh = rate(adaptive(), 100, to);
            let reaches = |mut model: Model, before: &str| {
                model.run(20_000);
                let found = model.run(4000) / 4;
                assert!(
                    found * 6 >= fresh * 5,
                    "{before}, then {to:?}: {found} a second, {fresh} without that"
                );
            };
            for from in disks {
                let mut model = Model::new(adaptive(), 100, from);
                model.run(10_000);
                model.disk = Disk { free_ns: model.now_ns, ..to };
                reaches(model, &format!("{from:?}"));
            }
            let mut model = Model::new(adaptive(), 1, to);
            model.run(10_000);
            model.coming.extend(vec![model.now_ns; 99]);
            model.coming.make_contiguous().sort_unstable();
            reaches(model, "one client");
        }
    }

    #[test]
    fn a_rationed_disk_is_given_whole_crowds() {
        let rate = rate(adaptive(), 10, Disk::new(2000, 500, 1));
        assert!((4000..4500).contains(&rate), "{rate} a second, of 444 flushes of 10");
    }

    #[test]
    fn a_client_that_is_alone_never_waits() {
        let mut model = Model::new(adaptive(), 1, Disk::new(2000, 500, 1));
        model.run(3000);
        assert_eq!(model.lingering.now(1, model.now_ns), Linger::For(0));
        assert_eq!(model.lingering.choice.way(), Way::Beside);
    }

    #[test]
    fn what_was_asked_for_is_kept() {
        let mut fixed = Lingering::new(BatchLinger::Fixed(Duration::from_micros(50)));
        assert_eq!(fixed.now(10, 2000 * MS), Linger::For(50_000));
    }
}
