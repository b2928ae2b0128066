//! Keeps a net thread awake for a moment when the next call of a lone client is about to come.
//!
//! A thread that sleeps has to be woken, which costs a client that sends its next request at once a good part of the
//! whole time. So after the only open call was answered the thread looks at its sockets again and again instead of
//! sleeping, if calls came quickly of late, and not for longer than [`WINDOW`]; and it keeps the CPUs from deep sleep
//! meanwhile ([`CpuLatency`]). With `--poll-us` it looks for that long whenever it has nothing to do. Where other threads
//! want its CPU it sleeps: who does not sleep by itself is made to wait whole time slices later. See
//! `docs/adr/0009-a-lone-client.md`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{CpuLatency, Habit};
use crate::startup::Waiting;

/// How long the thread stays awake at most, and the longest usual gap between an answer and the next call for which
/// it does.
const WINDOW: Duration = Duration::from_micros(200);

/// Two looks at the sockets that are further apart than this had another thread between them.
const LOOK_MAX: Duration = Duration::from_micros(50);

/// For how long the thread sleeps as usual after another one wanted its CPU; doubled each time, until a window passes
/// without.
const CROWDED_MIN: Duration = Duration::from_millis(20);
const CROWDED_MAX: Duration = Duration::from_secs(1);

/// Decides when to stay awake.
pub struct Awake {
    window: Rc<Window>,
    cpus: CpuLatency,
    /// How long to look for work whenever there is none.
    poll: Duration,
    /// A call came that may not be answered yet.
    serving: bool,
    /// How soon after the answer the next call comes.
    habit: Habit,
}

/// Until when the thread is to stay awake.
#[derive(Default)]
pub struct Window {
    until: Cell<Option<Instant>>,
    opened: Notify,
    /// When the CPU may be this thread's alone again.
    crowded_until: Cell<Option<Instant>>,
    /// How long it was thought to be wanted by others the last time.
    crowded: Cell<Duration>,
}

impl Awake {
    /// Nothing is known of the clients: the thread sleeps.
    #[must_use]
    pub fn new(waiting: Waiting) -> Self {
        Self {
            window: Rc::default(),
            cpus: CpuLatency::new(waiting.hold_cpus),
            poll: waiting.poll,
            serving: false,
            habit: Habit::default(),
        }
    }

    /// A call came.
    pub fn called(&mut self, now: Instant) {
        self.serving = true;
        if self.habit.begins(now) {
            self.window.until.set(None);
        }
    }

    /// The thread has done what there was to do. `is_settled` says that no call is open.
    pub fn turn_done(&mut self, is_settled: bool) {
        let answered = is_settled && std::mem::take(&mut self.serving);
        if !answered && self.poll.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut wait = self.poll;
        if answered {
            self.habit.ends(now);
            if self.habit.is_within(WINDOW) {
                self.cpus.want(now);
                wait = wait.max(WINDOW);
            }
        }
        if !wait.is_zero() && !self.window.is_crowded(now) {
            self.window.open(now + wait);
        }
    }

    /// What is to run beside the arbiter, on its thread, for as long as that lives.
    pub fn spawn(&self) {
        actix_rt::spawn(Rc::clone(&self.window).keep());
        self.cpus.spawn();
    }
}

impl Window {
    fn open(&self, until: Instant) {
        if self.until.replace(Some(until)).is_none() {
            self.opened.notify_one();
        }
    }

    fn is_crowded(&self, now: Instant) -> bool {
        self.crowded_until.get().is_some_and(|until| now < until)
    }

    /// Keeps the thread awake while the window is open; for ever, it goes with its thread.
    pub async fn keep(self: Rc<Self>) {
        loop {
            self.opened.notified().await;
            self.look(Instant::now()).await;
            self.until.set(None);
        }
    }

    /// Looks at the sockets until a call comes, the window ends, or another thread ran meanwhile.
    async fn look(&self, mut now: Instant) {
        while self.until.get().is_some_and(|until| now < until) {
            // Lets the event loop look at the sockets without sleeping.
            tokio::task::yield_now().await;
            let looked = std::mem::replace(&mut now, Instant::now());
            if self.until.get().is_some() && now - looked > LOOK_MAX {
                return self.crowd(now);
            }
        }
        self.crowded.set(Duration::ZERO);
    }

    /// Another thread wants this CPU.
    fn crowd(&self, now: Instant) {
        let pause = (self.crowded.get() * 2).clamp(CROWDED_MIN, CROWDED_MAX);
        self.crowded.set(pause);
        self.crowded_until.set(Some(now + pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_poll(poll: Duration) -> Awake {
        Awake::new(Waiting { hold_cpus: true, poll })
    }

    fn is_open(awake: &Awake) -> bool {
        awake.window.until.get().is_some()
    }

    /// A call that comes so long after the answer to the one before, and its answer.
    fn call(awake: &mut Awake, gap: Duration) {
        awake.habit.ends(Instant::now().checked_sub(gap).unwrap());
        awake.called(Instant::now());
        assert!(!is_open(awake), "a call that is here is not waited for");
        awake.turn_done(false);
        assert!(!is_open(awake), "it is not answered yet");
        awake.turn_done(true);
    }

    #[test]
    fn only_quick_clients_are_waited_for() {
        let mut awake = with_poll(Duration::ZERO);
        call(&mut awake, Duration::ZERO);
        assert!(!is_open(&awake), "once is not yet a habit");
        (0..30).for_each(|_| call(&mut awake, Duration::ZERO));
        assert!(is_open(&awake));
        (0..3).for_each(|_| call(&mut awake, Duration::from_secs(1)));
        assert!(!is_open(&awake));
    }

    #[test]
    fn with_a_time_to_poll_it_is_awake_after_every_turn() {
        let mut awake = with_poll(WINDOW * 2);
        awake.called(Instant::now());
        awake.turn_done(false);
        assert!(is_open(&awake), "the disk may answer");
        let before = Instant::now();
        awake.turn_done(true);
        assert!(awake.window.until.get() >= Some(before + WINDOW * 2));
        awake.window.crowd(Instant::now());
        awake.window.until.set(None);
        awake.turn_done(false);
        assert!(!is_open(&awake), "others want the CPU");
    }

    #[test]
    fn a_wanted_cpu_is_left_to_others_for_longer_and_longer() {
        let window = Window::default();
        let start = Instant::now();
        assert!(!window.is_crowded(start));
        window.crowd(start);
        assert!(window.is_crowded(start));
        assert!(!window.is_crowded(start + CROWDED_MIN));
        window.crowd(start);
        assert!(window.is_crowded(start + CROWDED_MIN));
        (0..20).for_each(|_| window.crowd(start));
        assert!(!window.is_crowded(start + CROWDED_MAX));
    }

    #[test]
    fn a_window_ends_by_itself_and_may_open_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let window = Rc::<Window>::default();
            tokio::task::spawn_local(Rc::clone(&window).keep());
            for _ in 0..3 {
                window.open(Instant::now() + WINDOW);
                while window.until.get().is_some() {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
}
