//! The log's ring as a stream of wakes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The ring has completions to be reaped.
pub struct DiskReady;

/// Yields whenever `eventfd` was signalled.
///
/// # Errors
/// If the thread's event loop cannot watch it.
pub fn disk_ready(eventfd: BorrowedFd<'_>) -> io::Result<impl Stream<Item = DiskReady> + 'static> {
    let eventfd = eventfd.try_clone_to_owned()?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that may change their fd; OwnedFd never does"
    )]
    let eventfd = AsyncFd::with_interest(eventfd, Interest::READABLE)?;
    Ok(Wakes(eventfd))
}

struct Wakes(AsyncFd<OwnedFd>);

impl Stream for Wakes {
    type Item = DiskReady;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<DiskReady>> {
        // Polling is edge-triggered: clearing readiness waits for the next signal, and nobody reads the counter.
        let mut guard = match ready!(self.0.poll_read_ready(context)) {
            Ok(guard) => guard,
            // Only while the runtime shuts down.
            Err(_) => return Poll::Ready(None),
        };
        guard.clear_ready();
        Poll::Ready(Some(DiskReady))
    }
}
