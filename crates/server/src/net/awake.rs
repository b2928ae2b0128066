//! Keeps a net thread awake for a moment when the next call of a lone client is about to come.
//!
//! A thread that sleeps has to be woken, which costs a client that sends its next request at once a good part of the
//! whole time. So after the only open call was answered the thread looks at its sockets again and again instead of
//! sleeping, if calls came quickly of late, and not for longer than [`WINDOW`]. Between two looks it gives way to
//! every other thread. See `docs/adr/0009-a-lone-client.md`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long the thread stays awake at most, and the longest usual gap between an answer and the next call for which
/// it does.
const WINDOW: Duration = Duration::from_micros(200);

/// A single long gap counts as this much, so that a pause does not make a quick client a slow one for long.
const GAP_MAX: Duration = Duration::from_millis(1);

/// Decides when to stay awake.
pub struct Awake {
    window: Rc<Window>,
    /// When the only open call was answered, if no call has come since.
    answered: Option<Instant>,
    /// Usual time between an answer and the next call.
    gap: Duration,
}

/// Until when the thread is to stay awake.
#[derive(Default)]
pub struct Window {
    until: Cell<Option<Instant>>,
    opened: Notify,
}

impl Awake {
    /// Nothing is known of the clients: the thread sleeps.
    #[must_use]
    pub fn new() -> Self {
        Self { window: Rc::default(), answered: None, gap: GAP_MAX }
    }

    /// The last call that was open has been answered.
    pub fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
        if self.gap <= WINDOW {
            self.window.open(now + WINDOW);
        }
    }

    /// A call came.
    pub fn called(&mut self) {
        if let Some(answered) = self.answered.take() {
            self.gap = (self.gap * 7 + answered.elapsed().min(GAP_MAX)) / 8;
            self.window.until.set(None);
        }
    }

    /// What [`Window::keep`] is to be called on, once, on the thread.
    #[must_use]
    pub fn window(&self) -> Rc<Window> {
        Rc::clone(&self.window)
    }
}

impl Window {
    fn open(&self, until: Instant) {
        if self.until.replace(Some(until)).is_none() {
            self.opened.notify_one();
        }
    }

    /// Keeps the thread awake while the window is open; for ever, it goes with its thread.
    pub async fn keep(self: Rc<Self>) {
        loop {
            self.opened.notified().await;
            while self.until.get().is_some_and(|until| Instant::now() < until) {
                // The kernel's own threads, which this one waits for, may be waiting for this CPU.
                rustix::thread::sched_yield();
                // Lets the event loop look at the sockets without sleeping.
                tokio::task::yield_now().await;
            }
            self.until.set(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_open(awake: &Awake) -> bool {
        awake.window.until.get().is_some()
    }

    /// A call that comes so long after the answer to the one before, and its answer.
    fn call(awake: &mut Awake, gap: Duration) {
        awake.answered = Instant::now().checked_sub(gap);
        awake.called();
        assert!(!is_open(awake), "a call that is here is not waited for");
        awake.answered(Instant::now());
    }

    #[test]
    fn only_quick_clients_are_waited_for() {
        let mut awake = Awake::new();
        call(&mut awake, Duration::ZERO);
        assert!(!is_open(&awake), "once is not yet a habit");
        (0..30).for_each(|_| call(&mut awake, Duration::ZERO));
        assert!(is_open(&awake));
        (0..3).for_each(|_| call(&mut awake, Duration::from_secs(1)));
        assert!(!is_open(&awake));
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
