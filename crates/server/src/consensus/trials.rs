//! Which of several ways of flushing is the cheapest on this disk under this load, found out while they are used.
//!
//! The way that proved cheapest is taken. Now and then another one is tried for a while, ever more seldom while that does not
//! pay, so that a disk or a load that changes is judged anew, and a bad way costs little.

/// A way is used for a time before it is judged: what was rationed and left over is used up by then, and what the way before
/// left behind is done. Then it is judged by what happens for another time. Both are some spans, and a span is so many
/// times what a command costs, within bounds: the kernel rations writes in slices of a tenth of a second.
const SPAN_COSTS: u64 = 64;
const SPAN_NS_MIN: u64 = 15_000_000;
const SPAN_NS_MAX: u64 = 100_000_000;

/// Spans of a trial. What a thrifty way has left over on a disk that rations may last for more than one.
const TRIAL: Spans = Spans { settle: 2, window: 2 };

/// Spans of the best way; its windows come one after the other.
const BEST: Spans = Spans { settle: 1, window: 2 };

/// How many pass before a window begins, and in it.
struct Spans {
    settle: u64,
    window: u64,
}

/// A window is judged by this many flushes, if they take longer.
const WINDOW_FLUSHES: u64 = 8;

/// How long the best way is taken before another one is tried; doubled by each trial that does not pay, and doubled twice by one
/// that is hopeless.
const BETWEEN_NS_MIN: u64 = 300_000_000;
const BETWEEN_NS_MAX: u64 = 9_600_000_000;

/// Time without a flush in flight counts as no more than this.
const PAUSE_NS_MAX: u64 = 20_000_000;

/// One way is better than another if it costs less by one part in this many: what is hardly cheaper is not worth a change.
const MARGIN: u64 = 8;

/// A trial is over, also before its window and in the middle of it, if a span or more of it has cost this many times what is usual.
const HOPELESS: u64 = 2;

/// Trials begin anew when the best way has become so many times as dear as it was at the last one: it may have been judged
/// when there was less to do.
const DEARER: u64 = 2;

/// A flush counts as no longer than this, nor a wait for one: what is longer is not how the disk usually is.
const STALL_NS: u64 = 250_000_000;

/// Some ways, and what is known of them.
#[derive(Debug)]
pub struct Trials<W: 'static> {
    /// All of them, in the order in which they are tried.
    ways: &'static [W],
    /// The best one, as far as is known.
    best: W,
    /// What a command costs by it.
    usual_ns: Option<u64>,
    /// The way that is being tried.
    trial: Option<W>,
    /// The place of what was tried last.
    tried: usize,
    /// How many were never tried.
    untried: usize,
    between_ns: u64,
    /// What a command cost by the best way when a trial ended last.
    compared_ns: u64,
    /// How long the present way has been taken.
    spent_ns: u64,
    /// When that was found last.
    at_ns: u64,
    /// Spans of that before its window began.
    settled: u64,
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
    /// How much longer it took than it should for the next one to begin in time; 0 where that is no matter.
    pub late_ns: u64,
}

/// How the flushes of a window went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// How long they took, on average,
    pub took_ns: u64,
    /// and how much longer than they should, on average.
    pub late_ns: u64,
    /// How far apart they ended, on average.
    pub apart_ns: u64,
}

/// Flushes of one way.
#[derive(Debug, Default)]
struct Window {
    since_ns: u64,
    flushes: u64,
    took_ns: u64,
    late_ns: u64,
    commands: u64,
    /// From the coming of a command until it was durable, of all of them together.
    cost_ns: u64,
}

impl Window {
    /// An empty one that begins now.
    fn since(since_ns: u64) -> Self {
        Self { since_ns, ..Self::default() }
    }

    fn add(&mut self, flush: &Flush) {
        let took_ns = flush.took_ns.min(STALL_NS);
        let cost_ns = took_ns + flush.waited_ns.min(STALL_NS);
        self.flushes += 1;
        self.took_ns += took_ns;
        self.late_ns += flush.late_ns.min(STALL_NS);
        self.commands += flush.commands;
        self.cost_ns += cost_ns * flush.commands;
    }

    /// What a command cost.
    fn cost_ns(&self) -> u64 {
        self.cost_ns / self.commands.max(1)
    }

    fn judged(&self, now_ns: u64) -> Judged {
        Judged {
            took_ns: self.took_ns / self.flushes,
            late_ns: self.late_ns / self.flushes,
            apart_ns: (now_ns - self.since_ns) / self.flushes,
        }
    }
}

impl<W: Copy + PartialEq> Trials<W> {
    /// Takes the first of `ways` to be the best one until more is known.
    pub fn new(ways: &'static [W]) -> Self {
        Self {
            ways,
            best: ways[0],
            usual_ns: None,
            trial: None,
            tried: 0,
            untried: ways.len() - 1,
            between_ns: BETWEEN_NS_MIN,
            compared_ns: u64::MAX,
            spent_ns: 0,
            at_ns: 0,
            settled: 0,
            window: Window::default(),
        }
    }

    /// One way for all time.
    #[cfg(test)]
    pub fn always(ways: &'static [W], way: W) -> Self {
        Self { best: way, between_ns: u64::MAX, ..Self::new(ways) }
    }

    /// The way to go now.
    pub fn way(&self) -> W {
        self.trial.unwrap_or(self.best)
    }

    /// The best way, as far as is known.
    #[cfg(test)]
    pub fn best(&self) -> W {
        self.best
    }

    /// Whether `way` is taken to see how it does.
    pub fn tries(&self, way: W) -> bool {
        self.trial == Some(way)
    }

    /// A flush that began in this way ended. If that ends a window, how it and those before went.
    pub fn observe(&mut self, way: W, flush: Flush, now_ns: u64) -> Option<Judged> {
        // What began before a change says nothing of the way after it.
        if way != self.way() {
            return None;
        }
        let took_ns = flush.took_ns.min(STALL_NS);
        self.spent_ns += now_ns.saturating_sub(self.at_ns).min(took_ns + PAUSE_NS_MAX);
        self.at_ns = now_ns;
        self.window.add(&flush);
        let past = (self.spent_ns - self.window.since_ns) / self.span_ns();
        let Spans { settle, window } = if self.trial.is_some() { TRIAL } else { BEST };
        let has_enough = self.window.flushes >= WINDOW_FLUSHES;
        if has_enough && (past >= 1 && self.is_hopeless() || self.settled == settle && past >= window) {
            return Some(self.judge());
        }
        if past >= 1 && self.settled < settle {
            return self.settle(settle);
        }
        None
    }

    /// Ends a span before the window begins. How the last one of a trial went is told, too: the window may go better for it.
    fn settle(&mut self, spans: u64) -> Option<Judged> {
        self.settled += 1;
        let judged = self.window.judged(self.spent_ns);
        self.window = Window::since(self.spent_ns);
        (self.trial.is_some() && self.settled == spans).then_some(judged)
    }

    /// Whether the present trial cannot pay any more.
    fn is_hopeless(&self) -> bool {
        let usual_ns = self.usual_ns.filter(|_| self.trial.is_some());
        usual_ns.is_some_and(|usual_ns| self.window.cost_ns() / HOPELESS >= usual_ns)
    }

    fn span_ns(&self) -> u64 {
        let span_ns = self.usual_ns.map_or(SPAN_NS_MAX, |usual_ns| usual_ns.saturating_mul(SPAN_COSTS));
        span_ns.clamp(SPAN_NS_MIN, SPAN_NS_MAX)
    }

    fn judge(&mut self) -> Judged {
        let (cost_ns, judged) = (self.window.cost_ns(), self.window.judged(self.spent_ns));
        let is_hopeless = self.is_hopeless();
        self.window = Window::since(self.spent_ns);
        match (self.trial, self.usual_ns) {
            (Some(way), Some(usual_ns)) if cost_ns + cost_ns / MARGIN <= usual_ns => {
                (self.best, self.between_ns) = (way, BETWEEN_NS_MIN);
                self.usual_ns = Some(cost_ns);
                self.trial_ended();
            }
            (Some(_), _) => {
                let times = if is_hopeless { 4 } else { 2 };
                self.between_ns = (self.between_ns * times).min(BETWEEN_NS_MAX);
                self.trial_ended();
            }
            (None, usual_ns) => {
                let usual_ns = usual_ns.unwrap_or(cost_ns).midpoint(cost_ns);
                self.usual_ns = Some(usual_ns);
                if usual_ns / DEARER >= self.compared_ns {
                    self.between_ns = BETWEEN_NS_MIN;
                }
                if self.spent_ns >= self.between_ns {
                    self.try_next();
                }
            }
        }
        judged
    }

    /// Goes on the best way, once every way has been tried.
    fn trial_ended(&mut self) {
        self.compared_ns = self.usual_ns.unwrap_or(u64::MAX);
        if self.untried > 0 { self.try_next() } else { self.go(None) }
    }

    /// Tries each way in turn but the best one.
    fn try_next(&mut self) {
        let after = |place| (place + 1) % self.ways.len();
        let next = after(self.tried);
        self.tried = if self.ways[next] == self.best { after(next) } else { next };
        self.untried = self.untried.saturating_sub(1);
        self.go(Some(self.ways[self.tried]));
    }

    fn go(&mut self, trial: Option<W>) {
        (self.trial, self.spent_ns, self.settled) = (trial, 0, 0);
        self.window = Window::default();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const US: u64 = 1_000;

    /// What a flush takes that goes this way, in microseconds.
    type Disk<'a> = &'a mut dyn FnMut(char) -> u64;
    type CostUs = fn(char) -> u64;

    /// Flushes one after the other for so many milliseconds; when that ends, and the share of it, in thousandths, that went
    /// this way. `flush` carries one out that begins at this time, and says its way and how many microseconds it took.
    pub fn run<W: PartialEq>(
        begin_ns: u64,
        ms: u64,
        way: W,
        mut flush: impl FnMut(u64) -> (W, u64),
    ) -> (u64, u64) {
        let (mut now_ns, mut spent_ns) = (begin_ns, 0);
        while now_ns < begin_ns + ms * 1000 * US {
            let (used, took_us) = flush(now_ns);
            now_ns += took_us * US;
            spent_ns += if used == way { took_us * US } else { 0 };
        }
        (now_ns, spent_ns / (ms * US))
    }

    /// One of them on this disk.
    fn flush(trials: &mut Trials<char>, disk: Disk<'_>, now_ns: u64) -> (char, u64) {
        let used = trials.way();
        let took_us = disk(used);
        let flush = Flush { commands: 10, took_ns: took_us * US, waited_ns: 0, late_ns: 0 };
        trials.observe(used, flush, now_ns + took_us * US);
        (used, took_us)
    }

    /// Disks, and the way of three that is cheapest on them, by far or by a little more than the margin.
    const COSTS: [(char, CostUs); 4] = [
        ('b', |way| if way == 'b' { 100 } else { 150 }),
        ('c', |way| if way == 'c' { 2000 } else { 4000 }),
        ('a', |way| if way == 'a' { 100 } else { 115 }),
        ('b', |way| if way == 'b' { 5000 } else { 5700 }),
    ];

    #[test]
    fn the_cheapest_way_is_found_and_the_others_are_tried_ever_less_often() {
        for (best, mut cost_us) in COSTS {
            let mut trials = Trials::new(&['a', 'b', 'c']);
            let (now_ns, _) = run(0, 3000, best, |now_ns| flush(&mut trials, &mut cost_us, now_ns));
            let (_, share) = run(now_ns, 60_000, best, |now_ns| flush(&mut trials, &mut cost_us, now_ns));
            assert!((900..1000).contains(&share), "{best}: {share} of 1000, the rest for trials");
        }
    }

    #[test]
    fn what_changes_is_judged_anew() {
        let (mut trials, mut now_ns) = (Trials::new(&['a', 'b', 'c']), 0);
        for (best, mut cost_us) in COSTS {
            (now_ns, _) = run(now_ns, 20_000, best, |now_ns| flush(&mut trials, &mut cost_us, now_ns));
            assert_eq!(trials.best(), best);
        }
    }

    #[test]
    fn what_becomes_dear_is_compared_at_once() {
        let mut trials = Trials::new(&['a', 'b']);
        let mut cheap = |way| if way == 'a' { 100 } else { 400 };
        let (now_ns, _) = run(0, 60_000, 'a', |now_ns| flush(&mut trials, &mut cheap, now_ns));
        assert_eq!(trials.best(), 'a');
        let mut dear = |way| if way == 'a' { 1000 } else { 400 };
        let (_, share) = run(now_ns, 2000, 'b', |now_ns| flush(&mut trials, &mut dear, now_ns));
        assert!(trials.best() == 'b' && share > 700, "{share} of 1000");
    }

    #[test]
    fn where_writes_are_rationed_the_way_with_fewer_of_them_is_taken() {
        let mut trials = Trials::new(&['a', 'b']);
        // Fifty writes in each tenth of a second are quick, the next one waits for its end. One way is a little quicker, and
        // takes two of them.
        let mut left = 50;
        let mut cost_us = |way| {
            let (writes, us) = if way == 'b' { (2, 80) } else { (1, 100) };
            if left < writes {
                left = 50 - writes;
                return 100_000 - 50 * us / writes;
            }
            left -= writes;
            us
        };
        let (_, share) = run(0, 60_000, 'b', |now_ns| flush(&mut trials, &mut cost_us, now_ns));
        assert!(trials.best() == 'a' && share < 100, "{share} of 1000");
    }

    #[test]
    fn what_began_before_a_change_is_not_counted() {
        let mut trials = Trials::new(&['a', 'b']);
        for n in 0..1000 {
            let flush = Flush { commands: 1, took_ns: 1, waited_ns: 0, late_ns: 0 };
            assert_eq!(trials.observe('b', flush, n * 1000 * US), None);
        }
        assert_eq!((trials.way(), trials.usual_ns), ('a', None));
    }
}
