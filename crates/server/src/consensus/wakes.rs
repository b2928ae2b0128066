//! Descriptors whose signals wake the actor: the log's ring, and an alarm.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The ring has completions to be reaped.
#[derive(Default)]
pub struct DiskReady;

/// The alarm's time has come.
#[derive(Default)]
pub struct AlarmRang;

/// Yields whenever `fd` was signalled.
///
/// # Errors
/// If the thread's event loop cannot watch it.
pub fn wakes<T: Default>(fd: BorrowedFd<'_>) -> io::Result<impl Stream<Item = T> + use<T>> {
    let fd = fd.try_clone_to_owned()?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that may change their fd; OwnedFd never does"
    )]
    let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
    Ok(Wakes(fd, PhantomData))
}

struct Wakes<T>(AsyncFd<OwnedFd>, PhantomData<fn() -> T>);

impl<T: Default> Stream for Wakes<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        // Polling is edge-triggered: clearing readiness waits for the next signal, and nobody reads the counter.
        let mut guard = match ready!(self.0.poll_read_ready(context)) {
            Ok(guard) => guard,
            // Only while the runtime shuts down.
            Err(_) => return Poll::Ready(None),
        };
        guard.clear_ready();
        Poll::Ready(Some(T::default()))
    }
}

/// A timer that is exact to some microseconds; the event loop's own are to a millisecond, longer than many a flush.
#[derive(Debug)]
pub struct Alarm {
    timer: OwnedFd,
    /// When it rings, on the clock of whoever set it.
    at_ns: Option<u64>,
}

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { timer: timerfd_create(TimerfdClockId::Monotonic, flags)?, at_ns: None })
    }

    /// What is signalled when it rings.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// It is to ring at `at_ns` of a monotonic clock that shows `now_ns`, and not when it was to before.
    ///
    /// # Errors
    /// If the system refuses, which it does for no time that there is.
    pub fn set(&mut self, at_ns: u64, now_ns: u64) -> io::Result<()> {
        if self.at_ns.replace(at_ns) == Some(at_ns) {
            return Ok(());
        }
        // Zero would switch it off.
        let left = Duration::from_nanos(at_ns.saturating_sub(now_ns).max(1));
        let it_value = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        let spec = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }

    /// It rang.
    pub fn rang(&mut self) {
        self.at_ns = None;
    }
}
