//! The server's side of a connection: requests in, responses out.

use std::time::Instant;

use crate::raw::Role;
use crate::{Error, Field, Session, Settings, StreamRef, Trailers};

/// Marks the server's side.
pub enum Server {}

/// The server's side of a connection.
///
/// A request is on a stream whose [`crate::Ready::head`] was reported. It is answered once, with `respond_unary`,
/// `respond_only`, or `respond` followed by `push` and `finish`. After an answer in full nothing more is reported of a
/// stream but what was pending.
pub type ServerSession = Session<Server>;

impl Session<Server> {
    /// A session for a new connection. Its first `recv` must begin with the client's preface.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new(settings: &Settings, now: Instant) -> Result<Self, Error> {
        Self::create(Role::Server, settings, now)
    }

    /// Answers with headers, one body that `fill` appends to what it is given, and trailers. Does nothing if the
    /// stream is gone or answered.
    pub fn respond_unary(
        &mut self,
        stream: StreamRef,
        head: &[Field<'_>],
        trailers: Trailers,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(row) = self.raw.hooks.slab.get_mut(stream).filter(|row| !row.answered && !row.closed) else {
            return;
        };
        row.answered = true;
        row.ending = Some(trailers);
        self.raw.hooks.queued += row.enqueue(fill);
        self.submit(stream, head, true);
    }

    /// Replaces the trailers of an answer of which nothing was sent yet. Does nothing if the stream is gone or has no answer.
    pub fn replace_trailers(&mut self, stream: StreamRef, trailers: Trailers) {
        if let Some(row) = self.raw.hooks.slab.get_mut(stream).filter(|row| row.is_ended()) {
            row.ending = Some(trailers);
        }
    }

    /// Answers with headers that end the stream. Does nothing if the stream is gone or answered.
    pub fn respond_only(&mut self, stream: StreamRef, head: &[Field<'_>]) {
        let Some(row) = self.raw.hooks.slab.get_mut(stream).filter(|row| !row.answered && !row.closed) else {
            return;
        };
        row.answered = true;
        row.ending = Some(Trailers::None);
        if !row.remote_ended {
            self.raw.hooks.unfinished.push(stream);
        }
        self.submit(stream, head, false);
    }

    /// Begins an answer: `push` what follows and `finish` it. Does nothing if the stream is gone or answered.
    pub fn respond(&mut self, stream: StreamRef, head: &[Field<'_>]) {
        let Some(row) = self.raw.hooks.slab.get_mut(stream).filter(|row| !row.answered && !row.closed) else {
            return;
        };
        row.answered = true;
        self.submit(stream, head, true);
        self.raw.make_incremental(stream.id);
    }

    /// Whether an answer to `stream` has begun; true if it is gone.
    #[must_use]
    pub fn is_answered(&self, stream: StreamRef) -> bool {
        self.raw.hooks.slab.get(stream).is_none_or(|row| row.answered || row.closed)
    }

    fn submit(&mut self, stream: StreamRef, head: &[Field<'_>], body: bool) {
        self.raw.hooks.on_data_sent();
        if self.raw.submit_response(stream.id, stream.slot, head, body).is_err() {
            // The stream is being reset, or there is no memory: it ends either way.
            self.reset(stream, crate::ErrorCode::INTERNAL_ERROR);
        }
    }
}
