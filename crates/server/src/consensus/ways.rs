//! Which way of flushing is the best one on this disk under this load, found out while it is used.
//!
//! The way that proved best is taken. Now and then another one is tried for a while, ever more seldom while that does not
//! pay, so that a disk or a load that changes is judged anew, and a bad way costs little.

/// How a flush is begun while commands wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// At once, as many at a time as the log takes.
    #[default]
    Beside,
    /// When the one before has ended.
    OneByOne,
    /// Some time after the one before began, and not before it has ended.
    Paced,
}

/// A way is used for a time before it is judged: what was rationed and left over is used up by then, and what the way before
/// left behind is done. That time is so many times what a command costs, within bounds: the kernel rations writes in slices
/// of a tenth of a second.
const SETTLE_COSTS: u64 = 64;
const SETTLE_NS_MIN: u64 = 15_000_000;
const SETTLE_NS_MAX: u64 = 100_000_000;

/// Then it is judged by what happens in this many times as long,
const WINDOW_SETTLES: u64 = 2;

/// or by this many flushes, if they take longer.
const WINDOW_FLUSHES: u64 = 8;

/// How long the best way is taken before another one is tried; doubled by each trial that does not pay.
const BETWEEN_NS_MIN: u64 = 300_000_000;
const BETWEEN_NS_MAX: u64 = 9_600_000_000;

/// Time without a flush in flight counts as no more than this.
const PAUSE_NS_MAX: u64 = 20_000_000;

/// One way is better than another if it costs less by one part in this many: what is hardly cheaper is not worth a change.
const MARGIN: u64 = 8;

/// A flush counts as no longer than this, nor a wait for one: what is longer is not how the disk usually is.
const STALL_NS: u64 = 250_000_000;

/// The ways, and what is known of them.
#[derive(Debug)]
pub struct Choice {
    /// The best way, as far as is known.
    best: Way,
    /// What a command costs by it.
    usual_ns: Option<u64>,
    /// The way that is being tried.
    trial: Option<Way>,
    /// What was tried last.
    tried: Way,
    /// How long a flush takes that goes alone; 0 if that is not known.
    alone_ns: u64,
    pace: Pace,
    between_ns: u64,
    /// How long the present way has been taken.
    spent_ns: u64,
    /// When that was found last.
    at_ns: u64,
    window: Window,
}

/// A flush that ended.
#[derive(Clone, Copy, Debug)]
pub struct Flush {
    /// How many commands it took along, from 1.
    pub commands: u64,
    /// How long it took.
    pub took_ns: u64,
    /// How long they had waited for it, on average.
    pub waited_ns: u64,
}

/// How far apart paced flushes begin: no further than the disk needs to be quick.
///
/// A disk whose writes are rationed is quick as long as a share is left over, and then each flush waits for its own. So the
/// pace is quickened, by ever larger steps, until flushes become slow, and then taken back.
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

/// It is taken back by one part in this many.
const PACE_BACK: u64 = 16;

/// Its first step, and its largest.
const PACE_STEP_MIN: u64 = 2048;
const PACE_STEP_MAX: u64 = 8;

/// Flushes are slow that take this many times as long as when the disk is quick,
const PACE_SLOW: u64 = 2;

/// which is forgotten by one part in this many: a disk may have become slower for good.
const QUICK_FORGOTTEN: u64 = 16;

impl Pace {
    /// For a disk on which a flush takes this long that goes alone.
    fn new(alone_ns: u64) -> Self {
        Self { ns: alone_ns + alone_ns / PACE_SPARE, step: PACE_STEP_MIN, quick_ns: u64::MAX }
    }

    /// Flushes took so long, on average; `alone_ns` is as for a new one.
    fn observe(&mut self, took_ns: u64, alone_ns: u64) {
        self.quick_ns = self.quick_ns.saturating_add(self.quick_ns / QUICK_FORGOTTEN).min(took_ns);
        if took_ns / PACE_SLOW > self.quick_ns {
            self.ns = (self.ns + self.ns / PACE_BACK).min(alone_ns * 2);
            self.step = PACE_STEP_MIN;
        } else {
            self.ns -= self.ns / self.step;
            self.step = (self.step / 2).max(PACE_STEP_MAX);
        }
        self.ns = self.ns.max(self.quick_ns + self.quick_ns / PACE_SPARE);
    }
}

/// Flushes of one way.
#[derive(Debug, Default)]
struct Window {
    since_ns: u64,
    flushes: u64,
    took_ns: u64,
    commands: u64,
    /// From the coming of a command until it was durable, of all of them together.
    cost_ns: u64,
}

impl Default for Choice {
    /// Beside, until more is known.
    fn default() -> Self {
        Self {
            best: Way::Beside,
            usual_ns: None,
            trial: None,
            tried: Way::Paced,
            alone_ns: 0,
            pace: Pace::default(),
            between_ns: BETWEEN_NS_MIN,
            spent_ns: 0,
            at_ns: 0,
            window: Window::default(),
        }
    }
}

impl Choice {
    /// One way for all time.
    #[cfg(test)]
    pub fn always(way: Way, alone_ns: u64) -> Self {
        Self { best: way, alone_ns, pace: Pace::new(alone_ns), between_ns: u64::MAX, ..Self::default() }
    }

    /// The way to go now.
    pub fn way(&self) -> Way {
        self.trial.unwrap_or(self.best)
    }

    /// How far apart paced flushes begin.
    pub fn pace_ns(&self) -> u64 {
        self.pace.ns
    }

    /// A flush that began in this way ended.
    pub fn observe(&mut self, way: Way, flush: Flush, now_ns: u64) {
        // What began before a change says nothing of the way after it.
        if way != self.way() {
            return;
        }
        let took_ns = flush.took_ns.min(STALL_NS);
        self.spent_ns += now_ns.saturating_sub(self.at_ns).min(took_ns + PAUSE_NS_MAX);
        self.at_ns = now_ns;
        let settle_ns = self.settle_ns();
        if self.spent_ns < settle_ns {
            self.window.since_ns = self.spent_ns;
            return;
        }
        let cost_ns = took_ns + flush.waited_ns.min(STALL_NS);
        self.window.flushes += 1;
        self.window.took_ns += took_ns;
        self.window.commands += flush.commands;
        self.window.cost_ns += cost_ns * flush.commands;
        if self.window.flushes >= WINDOW_FLUSHES
            && self.spent_ns - self.window.since_ns >= settle_ns * WINDOW_SETTLES
        {
            self.judge();
        }
    }

    fn settle_ns(&self) -> u64 {
        let settle_ns = self.usual_ns.map_or(SETTLE_NS_MAX, |usual_ns| usual_ns.saturating_mul(SETTLE_COSTS));
        settle_ns.clamp(SETTLE_NS_MIN, SETTLE_NS_MAX)
    }

    fn judge(&mut self) {
        let window = std::mem::take(&mut self.window);
        self.window.since_ns = self.spent_ns;
        let cost_ns = window.cost_ns / window.commands.max(1);
        let took_ns = window.took_ns / window.flushes;
        match self.way() {
            Way::Beside => {}
            Way::OneByOne => self.alone_ns = took_ns.max(1),
            Way::Paced => self.pace.observe(took_ns, self.alone_ns),
        }
        match (self.trial, self.usual_ns) {
            (Some(way), Some(usual_ns)) if cost_ns + cost_ns / MARGIN <= usual_ns => {
                (self.best, self.between_ns) = (way, BETWEEN_NS_MIN);
                self.usual_ns = Some(cost_ns);
                self.trial_ended();
            }
            (Some(_), _) => {
                self.between_ns = (self.between_ns * 2).min(BETWEEN_NS_MAX);
                self.trial_ended();
            }
            (None, usual_ns) => {
                let usual_ns = usual_ns.unwrap_or(cost_ns);
                self.usual_ns = Some(usual_ns.midpoint(cost_ns));
                if self.spent_ns >= self.between_ns {
                    self.try_next();
                }
            }
        }
    }

    /// Goes on the best way, once every way has been tried.
    fn trial_ended(&mut self) {
        if self.pace.ns == 0 { self.try_next() } else { self.go(None) }
    }

    /// Tries each way in turn but the best one.
    fn try_next(&mut self) {
        let after = |way| match way {
            Way::Beside => Way::OneByOne,
            Way::OneByOne if self.alone_ns > 0 => Way::Paced,
            Way::OneByOne | Way::Paced => Way::Beside,
        };
        let next = after(self.tried);
        self.tried = if next == self.best { after(next) } else { next };
        if self.tried == Way::Paced {
            self.pace = Pace::new(self.alone_ns);
        }
        self.go(Some(self.tried));
    }

    fn go(&mut self, trial: Option<Way>) {
        (self.trial, self.spent_ns, self.window) = (trial, 0, Window::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    fn flush(took_us: u64, waited_us: u64) -> Flush {
        Flush { commands: 10, took_ns: took_us * US, waited_ns: waited_us * US }
    }

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

    /// Flushes one after the other for so many milliseconds; when that ends, and the share of it, in thousandths, that went
    /// this way.
    fn run(choice: &mut Choice, begin_ns: u64, ms: u64, disk: Disk, way: Way) -> (u64, u64) {
        let (mut now_ns, mut spent_ns) = (begin_ns, 0);
        while now_ns < begin_ns + ms * 1000 * US {
            let used = choice.way();
            let (took_us, waited_us) = disk(used, choice.pace_ns() / US);
            now_ns += took_us * US;
            spent_ns += if used == way { took_us * US } else { 0 };
            choice.observe(used, flush(took_us, waited_us), now_ns);
        }
        (now_ns, spent_ns / (ms * US))
    }

    #[test]
    fn the_best_way_is_found_and_the_others_are_tried_ever_less_often() {
        for (disk, best) in CASES {
            let mut choice = Choice::default();
            let (now_ns, _) = run(&mut choice, 0, 3000, disk, best);
            let (_, share) = run(&mut choice, now_ns, 60_000, disk, best);
            assert!((700..1000).contains(&share), "{best:?} {share} of 1000, the rest for trials");
        }
    }

    #[test]
    fn a_disk_that_changes_is_judged_anew() {
        let mut choice = Choice::default();
        let mut now_ns = 0;
        for (disk, best) in CASES {
            (now_ns, _) = run(&mut choice, now_ns, 20_000, disk, best);
            assert_eq!(choice.best, best);
        }
    }

    #[test]
    fn what_began_before_a_change_is_not_counted() {
        let mut choice = Choice::default();
        for n in 0..1000 {
            choice.observe(Way::OneByOne, flush(1, 0), n * 1000 * US);
        }
        assert_eq!((choice.way(), choice.usual_ns), (Way::Beside, None));
    }
}
