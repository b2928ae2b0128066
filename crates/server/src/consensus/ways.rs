//! How flushes can follow each other, which of these ways is taken, and at what pace.

use super::trials::{Flush, Judged, Trials};

/// How a flush is begun while commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// At once, as many at a time as the log takes.
    Beside,
    /// When the one before has ended.
    OneByOne,
    /// Some time after the one before began, and not before it has ended.
    Paced,
}

/// In the order in which they are tried: how flushes do one by one says which pace to try.
const WAYS: &[Way] = &[Way::Beside, Way::OneByOne, Way::Paced];

/// The way that is taken, and its pace.
#[derive(Debug)]
pub struct Choice {
    trials: Trials<Way>,
    /// How long a flush takes that goes alone; 0 if that is not known.
    alone_ns: u64,
    pace: Pace,
}

/// How far apart paced flushes begin: no further than the disk needs to be quick.
///
/// A disk whose writes are rationed is quick as long as a share is left over. Then each flush waits for its own, or, where
/// shares are given for a slice of time, one of them does until the slice ends: it is late, and so are those after it. So the
/// pace is quickened, by ever larger steps, until too much time is lost like that. Then it is taken back to what the disk has
/// just been seen to keep up, beside the writes of others.
#[derive(Debug, Default)]
struct Pace {
    ns: u64,
    /// It is quickened next by one part in this many.
    step: u64,
    /// What a flush takes when the disk is quick.
    quick_ns: u64,
}

/// The pace is at least as long as a flush and one part in this many, in which commands gather, and at first as much longer
/// than a flush takes that goes alone.
const PACE_SPARE: u64 = 8;

/// It is taken back to one part in this many more than the disk has kept up, and to no more than so many times what a flush takes
/// that goes alone: time in which nobody wanted a flush counts as time that the disk needed.
const PACE_BACK: u64 = 16;
const PACE_ALONE_MAX: u64 = 2;

/// Its first step, and its largest.
const PACE_STEP_MIN: u64 = 512;
const PACE_STEP_MAX: u64 = 8;

/// Too much is lost if flushes are late for one part in this many of the time,
const LATE_SHARE: u64 = 16;

/// or for this little, if they take so many times as long as when the disk is quick,
const LATE_SHARE_SLOW: u64 = 64;
const PACE_SLOW: u64 = 2;

/// which is forgotten by one part in this many: a disk may have become slower for good.
const QUICK_FORGOTTEN: u64 = 16;

impl Pace {
    /// For a disk on which a flush takes this long that goes alone.
    fn new(alone_ns: u64) -> Self {
        Self { ns: alone_ns + alone_ns / PACE_SPARE, step: PACE_STEP_MIN, quick_ns: u64::MAX }
    }

    /// Flushes went so; `alone_ns` is as for a new one.
    fn observe(&mut self, judged: Judged, alone_ns: u64) {
        let Judged { took_ns, late_ns, apart_ns } = judged;
        self.quick_ns = self.quick_ns.saturating_add(self.quick_ns / QUICK_FORGOTTEN).min(took_ns);
        let is_slow = took_ns / PACE_SLOW > self.quick_ns;
        let share = if is_slow { LATE_SHARE_SLOW } else { LATE_SHARE };
        if late_ns > apart_ns / share {
            let kept_up_ns = self.ns.max(apart_ns);
            self.ns = (kept_up_ns + kept_up_ns / PACE_BACK).min(alone_ns * PACE_ALONE_MAX);
            self.step = PACE_STEP_MIN;
        } else {
            self.ns -= self.ns / self.step;
            self.step = (self.step / 2).max(PACE_STEP_MAX);
        }
        self.ns = self.ns.max(self.quick_ns + self.quick_ns / PACE_SPARE);
    }
}

impl Default for Choice {
    /// Beside, until more is known.
    fn default() -> Self {
        Self { trials: Trials::new(WAYS), alone_ns: 0, pace: Pace::default() }
    }
}

impl Choice {
    /// One way for all time.
    #[cfg(test)]
    pub fn always(way: Way, alone_ns: u64) -> Self {
        Self { trials: Trials::always(WAYS, way), alone_ns, pace: Pace::new(alone_ns) }
    }

    /// The way to go now.
    pub fn way(&self) -> Way {
        self.trials.way()
    }

    /// How far apart paced flushes begin.
    pub fn pace_ns(&self) -> u64 {
        self.pace.ns
    }

    /// A flush that began in this way ended.
    pub fn observe(&mut self, way: Way, flush: Flush, now_ns: u64) {
        let late_ns = if way == Way::Paced { flush.took_ns.saturating_sub(self.pace.ns) } else { 0 };
        let Some(judged) = self.trials.observe(way, Flush { late_ns, ..flush }, now_ns) else { return };
        match way {
            Way::Beside => {}
            Way::OneByOne => self.alone_ns = judged.took_ns.max(1),
            Way::Paced => self.pace.observe(judged, self.alone_ns),
        }
        if way != Way::Paced && self.trials.tries(Way::Paced) {
            self.pace = Pace::new(self.alone_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trials::tests::run;
    use super::*;

    const US: u64 = 1_000;

    /// What a flush takes and a command waits for it, in microseconds, if flushes go this way.
    type Disk = fn(Way, u64) -> (u64, u64);

    /// There is time for two at once.
    fn fast(way: Way, _: u64) -> (u64, u64) {
        match way {
            Way::Beside => (110, 30),
            Way::OneByOne => (100, 60),
            Way::Paced => (100, 80),
        }
    }

    /// One at a time, two milliseconds each.
    fn single(way: Way, _: u64) -> (u64, u64) {
        match way {
            Way::Beside => (4000, 2000),
            Way::OneByOne => (2000, 1500),
            Way::Paced => (2000, 2000),
        }
    }

    /// A write every two milliseconds, and quick if there was none for as long.
    fn rationed(way: Way, pace_us: u64) -> (u64, u64) {
        match way {
            Way::Paced if pace_us > 2000 => (500, pace_us / 2),
            Way::Beside => (4000, 2000),
            Way::OneByOne | Way::Paced => (2000, 2000),
        }
    }

    /// Disks, and the way that is best on each.
    const CASES: [(Disk, Way); 3] = [(rationed, Way::Paced), (fast, Way::Beside), (single, Way::OneByOne)];

    /// A flush on this disk that begins now; its way, and how many microseconds it took.
    fn flush(choice: &mut Choice, disk: Disk, now_ns: u64) -> (Way, u64) {
        let used = choice.way();
        let (took_us, waited_us) = disk(used, choice.pace_ns() / US);
        let flush = Flush { commands: 10, took_ns: took_us * US, waited_ns: waited_us * US, late_ns: 0 };
        choice.observe(used, flush, now_ns + took_us * US);
        (used, took_us)
    }

    #[test]
    fn the_best_way_is_found_and_the_others_are_tried_ever_less_often() {
        for (disk, best) in CASES {
            let mut choice = Choice::default();
            let (now_ns, _) = run(0, 3000, best, |now_ns| flush(&mut choice, disk, now_ns));
            let (_, share) = run(now_ns, 60_000, best, |now_ns| flush(&mut choice, disk, now_ns));
            assert!((700..1000).contains(&share), "{best:?} {share} of 1000, the rest for trials");
        }
    }

    #[test]
    fn a_disk_that_changes_is_judged_anew() {
        let mut choice = Choice::default();
        let mut now_ns = 0;
        for (disk, best) in CASES {
            (now_ns, _) = run(now_ns, 20_000, best, |now_ns| flush(&mut choice, disk, now_ns));
            assert_eq!(choice.trials.best(), best);
        }
    }

    /// A window of flushes at this pace that all take so long.
    fn window(pace: &Pace, took_us: u64) -> Judged {
        let took_ns = took_us * US;
        Judged { took_ns, late_ns: took_ns.saturating_sub(pace.ns), apart_ns: took_ns.max(pace.ns) }
    }

    /// Paced windows one after the other on a disk whose flushes take so many microseconds at this pace.
    fn pace_us(alone_us: u64, windows: usize, took_us: impl Fn(u64) -> u64) -> u64 {
        let mut pace = Pace::new(alone_us * US);
        for _ in 0..windows {
            pace.observe(window(&pace, took_us(pace.ns / US)), alone_us * US);
        }
        pace.ns / US
    }

    #[test]
    fn the_pace_is_quickened_until_flushes_become_slow() {
        // One at a time, quick if there was none for two milliseconds.
        let rationed = |pace_us| if pace_us > 2000 { 500 } else { 2000 };
        for windows in 190..200 {
            let found = pace_us(2500, windows, rationed);
            assert!((1700..2300).contains(&found), "{found} us");
        }
        // Always as quick: no further apart than a flush and what gathers meanwhile.
        let found = pace_us(2500, 200, |_| 500);
        assert_eq!(found, 562);
    }

    #[test]
    fn where_shares_are_given_for_a_slice_of_time_the_pace_is_what_is_kept_up() {
        // So many flushes in each tenth of a second, of 300 us; the last one waits for its end.
        for (left, alone_us) in [(40, 2000), (40, 2700), (25, 3900), (10, 6000)] {
            let mut pace = Pace::new(alone_us * US);
            let slice_ns = 100_000 * US;
            for windows in 0..100 {
                let flushes = (slice_ns / pace.ns).clamp(1, left);
                let waits_ns = (slice_ns - flushes * pace.ns) * u64::from(flushes == left);
                let took_ns = 300 * US + waits_ns / flushes;
                let late_ns = (300 * US + waits_ns).saturating_sub(pace.ns) / flushes;
                pace.observe(Judged { took_ns, late_ns, apart_ns: slice_ns / flushes }, alone_us * US);
                let kept_up_ns = slice_ns / left;
                let is_near = pace.ns > kept_up_ns * 4 / 5 && pace.ns < kept_up_ns * 9 / 8;
                assert!(windows < 8 || is_near, "{left} a slice, window {windows}: {} ns", pace.ns);
            }
        }
    }

    #[test]
    fn the_pace_of_a_disk_that_became_slower_for_good_follows() {
        let mut pace = Pace::new(100 * US);
        (0..100).for_each(|_| pace.observe(window(&pace, 100), 100 * US));
        (0..100).for_each(|_| pace.observe(window(&pace, 1000), 1000 * US));
        assert!((1000 * US..2001 * US).contains(&pace.ns), "{} ns", pace.ns);
    }

    #[test]
    fn a_pace_is_tried_once_it_is_known_how_flushes_do_alone() {
        let mut choice = Choice::default();
        for n in 0..100_000 {
            let way = choice.way();
            assert!(way != Way::Paced || choice.pace_ns() > 0);
            let took_ns = if way == Way::Paced { 500 * US } else { 2000 * US };
            choice.observe(way, Flush { commands: 10, took_ns, waited_ns: 0, late_ns: 0 }, n * 2000 * US);
        }
        assert_eq!(choice.way(), Way::Paced);
    }
}
