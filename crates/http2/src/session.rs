//! What both sides of a connection have in common: input, news, output, streams' bodies.

use std::marker::PhantomData;
use std::time::Instant;

use crate::raw::{Raw, Role};
use crate::state::State;
use crate::{Error, ErrorCode, Headers, Ready, Settings, StreamRef, Trailers};

/// One side of an HTTP/2 connection; see [`crate::ServerSession`] and [`crate::ClientSession`].
///
/// The owner's loop: `recv` what was read; `next_ready` until `None`, dealing with each; `send` and write what it
/// gives; close the connection when `is_done`.
pub struct Session<Side> {
    pub(crate) raw: Raw<State>,
    /// A GOAWAY that ends the connection was queued: nothing more is taken in.
    leaving: bool,
    /// nghttp2 gave up: it is not called any more but for its end.
    failed: bool,
    /// The GOAWAY that is still to be sent after that.
    farewell: Option<[u8; GOAWAY_BYTES]>,
    shutdown: Shutdown,
    side: PhantomData<Side>,
}

/// Bytes of a GOAWAY without a text.
const GOAWAY_BYTES: usize = 9 + 8;

/// How far a graceful shutdown has come (RFC 9113 section 6.8: the notice first, the last stream after a round trip).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    No,
    /// The notice is out; the acknowledgement with this count says that the client has seen it.
    Noticed(u64),
    Announced,
}

impl<Side> Session<Side> {
    pub(crate) fn create(role: Role, settings: &Settings, now: Instant) -> Result<Self, Error> {
        let raw = Raw::new(role, settings, State::new(role, settings.clone(), now))?;
        Ok(Self {
            raw,
            leaving: false,
            failed: false,
            farewell: None,
            shutdown: Shutdown::No,
            side: PhantomData,
        })
    }

    /// Takes in bytes from the peer, which arrived at `now`.
    ///
    /// # Errors
    /// If the session cannot go on: the connection is then to be closed. What a peer merely does wrong is answered with
    /// a GOAWAY instead, after which the session is done.
    pub fn recv(&mut self, bytes: &[u8], now: Instant) -> Result<(), Error> {
        if self.leaving || self.failed {
            return Ok(());
        }
        self.raw.hooks.free_leaving();
        self.raw.hooks.now = now;
        let result = self.take_in(bytes);
        if let Err(error) = result {
            self.failed = true;
            // nghttp2 ends a session that floods without a word.
            self.farewell = (error == Error::Flooded).then(|| goaway(self.raw.last_stream_id()));
        }
        result
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.raw.recv(bytes)?;
        let uncredited = std::mem::take(&mut self.raw.hooks.uncredited);
        if uncredited > 0 {
            self.raw.credit_connection(uncredited)?;
        }
        self.end_if_flooded()?;
        if self.raw.hooks.ping_flood {
            self.leave(ErrorCode::ENHANCE_YOUR_CALM, "too_many_pings")?;
        }
        match self.shutdown {
            Shutdown::Noticed(acks) if self.raw.hooks.ping_acks > acks => {
                self.shutdown = Shutdown::Announced;
                self.raw.submit_goaway(ErrorCode::NO_ERROR, "")
            }
            _ => Ok(()),
        }
    }

    /// What a client makes the server do is counted as it arrives and as it is answered.
    fn end_if_flooded(&mut self) -> Result<(), Error> {
        if self.leaving || !self.raw.hooks.flooded {
            return Ok(());
        }
        self.leaving = true;
        self.raw.terminate(ErrorCode::ENHANCE_YOUR_CALM)
    }

    /// The next stream that has news, which are thereby taken. `None` when there are none until the next `recv` or
    /// `send`.
    pub fn next_ready(&mut self) -> Option<Ready> {
        self.raw.hooks.free_leaving();
        self.raw.hooks.slab.next_ready()
    }

    /// Whether `next_ready` would give something; `send` too can make news.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.raw.hooks.slab.has_news()
    }

    /// The block of fields that opened the peer's side of `stream`; empty until [`Ready::head`].
    #[must_use]
    pub fn head(&self, stream: StreamRef) -> Option<Headers<'_>> {
        self.raw.hooks.head(stream)
    }

    /// The block of fields that came after the body; empty until [`Ready::end`] and if there was none.
    #[must_use]
    pub fn trailers(&self, stream: StreamRef) -> Option<Headers<'_>> {
        self.raw.hooks.slab.get(stream).map(|row| row.trailers.headers())
    }

    /// What was received of the body of `stream` and not taken yet.
    #[must_use]
    pub fn body(&self, stream: StreamRef) -> Option<&[u8]> {
        self.raw.hooks.slab.get(stream).map(|row| row.body.as_slice())
    }

    /// Drops the first `len` bytes of the body of `stream`.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn consume_body(&mut self, stream: StreamRef, len: usize) {
        self.raw.hooks.take_body(stream, |body| drop(body.drain(..len)));
    }

    /// Moves the whole body of `stream` into `into`, whose former content is dropped and whose memory the stream
    /// gets in exchange. False if the stream is gone.
    pub fn swap_body(&mut self, stream: StreamRef, into: &mut Vec<u8>) -> bool {
        into.clear();
        self.raw.hooks.take_body(stream, |body| std::mem::swap(body, into)).is_some()
    }

    /// Puts back what `swap_body` took and was not used; it comes before what has arrived since.
    pub fn restore_body(&mut self, stream: StreamRef, rest: &[u8]) {
        self.raw.hooks.restore_body(stream, rest);
    }

    /// Received bytes, of bodies and header lists, that all streams hold together.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.raw.hooks.buffered()
    }

    /// Queues bytes to be sent on `stream`. Returns how many are now queued there and not handed out by `send`, or
    /// `None` if the stream is gone or this side of it has ended.
    pub fn push(&mut self, stream: StreamRef, bytes: &[u8]) -> Option<usize> {
        self.push_with(stream, |queue| queue.extend_from_slice(bytes))
    }

    /// As [`Self::push`], for bytes that `fill` appends.
    pub fn push_with(&mut self, stream: StreamRef, fill: impl FnOnce(&mut Vec<u8>)) -> Option<usize> {
        let state = &mut *self.raw.hooks;
        let row = state.slab.get_mut(stream).filter(|row| !row.closed && !row.is_ended())?;
        let added = row.enqueue(fill);
        let queued = row.queued();
        let deferred = std::mem::take(&mut row.deferred);
        state.on_queued(stream, added);
        if deferred {
            self.raw.resume(stream.id);
        }
        Some(queued)
    }

    /// Ends this side of `stream` after what is queued. Does nothing if the stream is gone or has ended.
    pub fn finish(&mut self, stream: StreamRef, trailers: Trailers) {
        let row = self.raw.hooks.slab.get_mut(stream).filter(|row| !row.closed && !row.is_ended());
        let Some(row) = row else { return };
        row.ending = Some(trailers);
        if std::mem::take(&mut row.deferred) {
            self.raw.resume(stream.id);
        }
    }

    /// Bytes queued on `stream` and not handed out by `send`; 0 if the stream is gone.
    #[must_use]
    pub fn queued_bytes(&self, stream: StreamRef) -> usize {
        self.raw.hooks.slab.get(stream).map_or(0, |row| row.queued())
    }

    /// Bytes queued on all streams together and not handed out by `send`.
    #[must_use]
    pub fn queued_bytes_of_all(&self) -> usize {
        self.raw.hooks.queued
    }

    /// Ends both sides of `stream` at once. Does nothing if it is gone.
    pub fn reset(&mut self, stream: StreamRef, code: ErrorCode) {
        if self.raw.hooks.slab.get(stream).is_some_and(|row| !row.closed) {
            // It fails only for want of memory or a wrong number; both end the connection elsewhere.
            let _ = self.raw.submit_reset(stream.id, code);
        }
    }

    /// Appends what is to be written to `out`, until there is nothing more or `out` has `limit` bytes or more (one
    /// frame beyond it at most). Call it again when what it gave is written.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn send(&mut self, out: &mut Vec<u8>, limit: usize) -> Result<(), Error> {
        if self.failed {
            out.extend(self.farewell.take().into_iter().flatten());
            return Ok(());
        }
        std::mem::swap(&mut self.raw.hooks.output, out);
        self.raw.hooks.output_limit = limit;
        let result = self.gather(limit);
        std::mem::swap(&mut self.raw.hooks.output, out);
        self.failed |= result.is_err();
        result
    }

    fn gather(&mut self, limit: usize) -> Result<(), Error> {
        self.raw.send()?;
        if self.raw.hooks.flooded && !self.leaving {
            self.end_if_flooded()?;
            self.raw.send()?;
        }
        self.release_credit()?;
        if self.raw.hooks.unfinished.is_empty() || self.raw.hooks.output.len() >= limit {
            return Ok(());
        }
        for stream in std::mem::take(&mut self.raw.hooks.unfinished) {
            if self.raw.hooks.slab.get(stream).is_some_and(|row| !row.closed && !row.remote_ended) {
                self.raw.submit_reset(stream.id, ErrorCode::NO_ERROR)?;
            }
        }
        self.raw.send()
    }

    fn release_credit(&mut self) -> Result<(), Error> {
        let mut owed = Vec::new();
        self.raw.hooks.release_held(&mut owed);
        owed.into_iter().try_for_each(|(stream, bytes)| self.raw.credit_stream(stream.id, bytes))
    }

    /// Sends a PING; its acknowledgement is counted in [`Self::ping_acks`].
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn ping(&mut self) -> Result<(), Error> {
        self.raw.submit_ping()
    }

    /// How many PINGs the peer has acknowledged.
    #[must_use]
    pub fn ping_acks(&self) -> u64 {
        self.raw.hooks.ping_acks
    }

    /// Begins to end the connection gracefully: streams that are open, or that the peer opens before it has heard of
    /// it, are served to their end; then the session is done.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn start_shutdown(&mut self) -> Result<(), Error> {
        if self.shutdown != Shutdown::No || self.leaving {
            return Ok(());
        }
        self.shutdown = Shutdown::Noticed(self.raw.hooks.ping_acks);
        self.raw.submit_shutdown_notice()?;
        self.raw.submit_ping()
    }

    /// Ends the connection with a GOAWAY that says why. What is queued before it is still sent; input is ignored.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn leave(&mut self, code: ErrorCode, why: &str) -> Result<(), Error> {
        self.leaving = true;
        self.raw.submit_goaway(code, why)
    }

    /// The streams there are, in no particular order: for telling their owners when the connection breaks.
    pub fn streams(&self) -> impl Iterator<Item = StreamRef> {
        self.raw.hooks.slab.streams()
    }

    /// Number of streams there are.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.raw.hooks.slab.len()
    }

    /// Whether `send` would give something.
    #[must_use]
    pub fn wants_send(&self) -> bool {
        if self.failed {
            return self.farewell.is_some();
        }
        self.raw.wants_write() || !self.raw.hooks.unfinished.is_empty()
    }

    /// Whether the connection has served its purpose and should be closed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !self.wants_send() && (self.failed || self.leaving || !self.raw.wants_read())
    }
}

/// A frame that says why the connection ends, for when nghttp2 can make none.
fn goaway(last_stream_id: i32) -> [u8; GOAWAY_BYTES] {
    const LEN: u8 = 8;
    const TYPE: u8 = 7;
    let mut frame = [0; GOAWAY_BYTES];
    (frame[2], frame[3]) = (LEN, TYPE);
    frame[9..13].copy_from_slice(&last_stream_id.to_be_bytes());
    frame[13..].copy_from_slice(&ErrorCode::ENHANCE_YOUR_CALM.0.to_be_bytes());
    frame
}

impl<Side> std::fmt::Debug for Session<Side> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("streams", &self.stream_count())
            .field("leaving", &self.leaving)
            .finish()
    }
}
