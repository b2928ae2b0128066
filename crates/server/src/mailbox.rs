//! The bounded mailbox: the only way by which one thread of the server hands work to another.
//!
//! Many senders, one receiver. The receiver takes everything that is queued in one turn, so that a wake, an
//! `eventfd` write on both kinds of runtime here, is paid once per batch and not once per item. Nothing here belongs
//! to a runtime: a future is woken through its own waker, on tokio and on glommio alike.
//!
//! It must never grow past its capacity, run a waker while its lock is held, or lose an item that was accepted
//! while its receiver lives.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// A mailbox that holds at most `capacity` items (at least 1).
///
/// At capacity nothing is dropped and nothing grows: [`Sender::try_send`] hands the item back, for a caller that can
/// refuse its client; [`Sender::send`] waits until the receiver has drained, for a caller that itself is bounded.
/// Two actors that wait on each other's full mailboxes would stand still forever, so of any two that send to each
/// other one uses `try_send`, or bounds what it has unanswered below the capacity.
#[must_use]
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a mailbox without room accepts nothing");
    let state =
        State { queue: Vec::new(), receiver: None, waiting: Vec::new(), senders: 1, receiver_lives: true };
    let shared = Arc::new(Shared { state: Mutex::new(state), capacity });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// Why an item was not accepted; the item comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The mailbox holds its capacity.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

/// The other side is gone: nothing will ever be received, or nothing more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mailbox closed")]
pub struct Closed;

/// The sending side; clone it for each sender.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The receiving side.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    capacity: usize,
}

struct State<T> {
    /// In the order of sending. A plain vector: it is only ever taken as a whole.
    queue: Vec<T>,
    /// Present while the receiver waits; taking it is what makes one wake per wait.
    receiver: Option<Waker>,
    /// Senders that wait for room, one entry each; all are woken by a drain.
    waiting: Vec<Waker>,
    senders: usize,
    receiver_lives: bool,
}

impl<T> Sender<T> {
    /// Queues `item`, or hands it back at once.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let mut state = self.shared.state.lock();
        if !state.receiver_lives {
            return Err(TrySendError::Closed(item));
        }
        if state.queue.len() >= self.shared.capacity {
            return Err(TrySendError::Full(item));
        }
        state.queue.push(item);
        let waker = state.receiver.take();
        drop(state);
        wake(waker);
        Ok(())
    }

    /// Queues `item` as soon as there is room. Cancel-safe in the sense that an item is queued or dropped, never
    /// both; waiting senders are not served in any order.
    pub async fn send(&self, item: T) -> Result<(), Closed> {
        let mut slot = Some(item);
        poll_fn(|cx| self.poll_send(&mut slot, cx)).await
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.shared.state.lock().receiver_lives
    }

    fn poll_send(&self, slot: &mut Option<T>, cx: &Context<'_>) -> Poll<Result<(), Closed>> {
        let item = slot.take().expect("not polled again after it was queued");
        match self.try_send(item) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(TrySendError::Closed(_)) => Poll::Ready(Err(Closed)),
            Err(TrySendError::Full(item)) => {
                *slot = Some(item);
                let mut state = self.shared.state.lock();
                // A drain between the two locks would not wake us: look again.
                if state.queue.len() < self.shared.capacity || !state.receiver_lives {
                    cx.waker().wake_by_ref();
                } else if !state.waiting.iter().any(|w| w.will_wake(cx.waker())) {
                    state.waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.state.lock().senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.senders -= 1;
        let waker = if state.senders == 0 { state.receiver.take() } else { None };
        drop(state);
        wake(waker);
    }
}

impl<T> Receiver<T> {
    /// Waits until something is queued, then appends all of it to `into`, in the order of sending. Fails when the
    /// queue is empty and every sender is gone. Cancel-safe: items leave the queue only when this is ready.
    pub fn recv_all(&mut self, into: &mut Vec<T>) -> impl Future<Output = Result<(), Closed>> {
        poll_fn(move |cx| self.poll_recv_all(into, cx))
    }

    /// Appends to `into` what is queued now; whether there was anything.
    pub fn try_recv_all(&mut self, into: &mut Vec<T>) -> bool {
        let mut state = self.shared.state.lock();
        if state.queue.is_empty() {
            return false;
        }
        let waiting = state.drain(into);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        true
    }

    /// [`recv_all`](Self::recv_all) for a caller that polls by hand.
    pub fn poll_recv_all(&mut self, into: &mut Vec<T>, cx: &Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.shared.state.lock();
        if state.queue.is_empty() {
            if state.senders == 0 {
                return Poll::Ready(Err(Closed));
            }
            if !state.receiver.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                state.receiver = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let waiting = state.drain(into);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.receiver_lives = false;
        state.receiver = None;
        let (queue, waiting) = (std::mem::take(&mut state.queue), std::mem::take(&mut state.waiting));
        drop(state);
        // An item's own drop may send elsewhere, so it must not run under the lock either.
        drop(queue);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<T> State<T> {
    /// Moves the queue to `into`; returns the senders to wake once the lock is released.
    fn drain(&mut self, into: &mut Vec<T>) -> Vec<Waker> {
        if into.is_empty() {
            // The two vectors take turns, so that neither allocates in steady state.
            std::mem::swap(&mut self.queue, into);
        } else {
            into.append(&mut self.queue);
        }
        std::mem::take(&mut self.waiting)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counter() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn one_wake_per_transition_to_non_empty() {
        let (count, waker) = counter();
        let cx = Context::from_waker(&waker);
        let (tx, mut rx) = channel(10);
        let mut got = Vec::new();
        for round in 1..4 {
            assert!(rx.poll_recv_all(&mut got, &cx).is_pending());
            (0..5).for_each(|i| tx.try_send(i).unwrap());
            assert_eq!(count.0.load(Ordering::SeqCst), round);
            assert_eq!(rx.poll_recv_all(&mut got, &cx), Poll::Ready(Ok(())));
            assert_eq!(got, [0, 1, 2, 3, 4]);
            got.clear();
        }
    }

    #[test]
    fn a_full_mailbox_hands_back_or_waits() {
        let (count, waker) = counter();
        let mut cx = Context::from_waker(&waker);
        let (tx, mut rx) = channel(2);
        tx.try_send(1).unwrap();
        tx.try_send(2).unwrap();
        assert_eq!(tx.try_send(3), Err(TrySendError::Full(3)));
        let mut sending = pin!(tx.send(3));
        assert!(sending.as_mut().poll(&mut cx).is_pending());
        assert!(sending.as_mut().poll(&mut cx).is_pending());
        let mut got = vec![0];
        assert!(rx.try_recv_all(&mut got));
        assert_eq!((got.as_slice(), count.0.load(Ordering::SeqCst)), (&[0, 1, 2][..], 1));
        assert_eq!(sending.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
        assert!(rx.try_recv_all(&mut got));
        assert_eq!(got, [0, 1, 2, 3]);
        assert!(!rx.try_recv_all(&mut got));
    }

    #[test]
    fn each_side_learns_that_the_other_is_gone() {
        let (count, waker) = counter();
        let mut cx = Context::from_waker(&waker);
        let (tx, mut rx) = channel(1);
        let mut got = Vec::new();
        let other = tx.clone();
        assert!(rx.poll_recv_all(&mut got, &cx).is_pending());
        other.try_send(1).unwrap();
        drop((tx, other));
        assert_eq!(rx.poll_recv_all(&mut got, &cx), Poll::Ready(Ok(())));
        assert_eq!(rx.poll_recv_all(&mut got, &cx), Poll::Ready(Err(Closed)));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);

        let (tx, rx) = channel(1);
        tx.try_send(1).unwrap();
        let mut sending = pin!(tx.send(2));
        assert!(sending.as_mut().poll(&mut cx).is_pending());
        drop(rx);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert_eq!(sending.as_mut().poll(&mut cx), Poll::Ready(Err(Closed)));
        assert_eq!(tx.try_send(3), Err(TrySendError::Closed(3)));
        assert!(tx.is_closed());
    }

    /// Echoes everything; ends when its senders are gone.
    async fn echo(mut rx: Receiver<u64>, tx: Sender<u64>) {
        let mut batch = Vec::new();
        while rx.recv_all(&mut batch).await.is_ok() {
            for item in batch.drain(..) {
                tx.send(item).await.expect("the other end drains to the last");
            }
        }
    }

    /// Sends `0..ITEMS` while it collects what comes back; ends early when the echo could not start.
    async fn ask(tx: Sender<u64>, mut rx: Receiver<u64>) -> Vec<u64> {
        let (mut got, mut next) = (Vec::new(), 0);
        while got.len() < ITEMS as usize {
            while next < ITEMS && tx.try_send(next).is_ok() {
                next += 1;
            }
            if rx.recv_all(&mut got).await.is_err() {
                break;
            }
        }
        got
    }

    fn on_tokio<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    /// Runs `future` on a glommio executor, or says why this machine cannot.
    fn on_glommio<F: Future>(future: F) -> Option<F::Output> {
        match glommio::LocalExecutorBuilder::default().make() {
            Ok(executor) => Some(executor.run(future)),
            Err(error) => {
                eprintln!("skipped: no glommio executor here: {error}");
                None
            }
        }
    }

    const ITEMS: u64 = 20_000;

    #[test]
    fn crosses_between_tokio_and_glommio_in_order() {
        let want: Vec<u64> = (0..ITEMS).collect();
        let ((to_echo, echo_rx), (from_echo, asker_rx)) = (channel(7), channel(5));
        let echoing = thread::spawn(move || on_glommio(echo(echo_rx, from_echo)).is_some());
        let got = on_tokio(ask(to_echo, asker_rx));
        if echoing.join().unwrap() {
            assert_eq!(got, want);
        }

        let ((to_echo, echo_rx), (from_echo, asker_rx)) = (channel(7), channel(5));
        let echoing = thread::spawn(move || on_tokio(echo(echo_rx, from_echo)));
        if let Some(got) = on_glommio(ask(to_echo, asker_rx)) {
            assert_eq!(got, want);
        }
        echoing.join().unwrap();
    }

    #[test]
    fn many_senders_lose_nothing() {
        let (tx, mut rx) = channel(3);
        let senders: Vec<_> = (0..4_u64)
            .map(|s| {
                let tx = tx.clone();
                thread::spawn(move || {
                    on_tokio(async {
                        for i in 0..2000 {
                            tx.send((s, i)).await.unwrap();
                        }
                    });
                })
            })
            .collect();
        drop(tx);
        let mut got = Vec::new();
        on_tokio(async { while rx.recv_all(&mut got).await.is_ok() {} });
        senders.into_iter().for_each(|s| s.join().unwrap());
        for s in 0..4 {
            assert!(got.iter().filter(|(from, _)| *from == s).map(|(_, i)| *i).eq(0..2000));
        }
    }
}
