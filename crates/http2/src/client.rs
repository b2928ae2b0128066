//! The client's side of a connection: requests out, responses in.

use std::time::Instant;

use crate::raw::Role;
use crate::{Error, ErrorCode, Field, Session, Settings, StreamRef};

/// Marks the client's side.
pub enum Client {}

/// The client's side of a connection. Requests may be pipelined; those beyond what the server allows wait inside.
pub type ClientSession = Session<Client>;

impl Session<Client> {
    /// A session for a new connection; its first `send` begins with the preface.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new(settings: &Settings, now: Instant) -> Result<Self, Error> {
        Self::create(Role::Client, settings, now)
    }

    /// Opens a stream with a request. `head` begins with `:method`, `:scheme`, `:authority` and `:path`. With `body`
    /// the request goes on with `push` and ends with `finish`; without, it ends here.
    ///
    /// The stream is always reported to its end: after [`crate::Ready::closed`] it is gone.
    ///
    /// # Errors
    /// [`Error::NoMoreStreams`] if the connection takes no more; others as [`Session::recv`].
    pub fn request(&mut self, head: &[Field<'_>], body: bool) -> Result<StreamRef, Error> {
        if self.goaway().is_some() {
            return Err(Error::NoMoreStreams);
        }
        let slot = self.raw.hooks.slab.insert(i32::MAX);
        match self.raw.submit_request(slot, head, body) {
            Ok(id) => {
                let row = self.raw.hooks.slab.row(slot);
                row.id = id;
                row.answered = true;
                Ok(StreamRef { slot, id })
            }
            Err(error) => {
                self.raw.hooks.slab.remove(slot);
                Err(error)
            }
        }
    }

    /// Opens a stream whose request body is `body`, whole.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn request_whole(&mut self, head: &[Field<'_>], body: &[u8]) -> Result<StreamRef, Error> {
        let stream = self.request(head, true)?;
        self.push(stream, body);
        self.finish(stream, crate::Trailers::None);
        Ok(stream)
    }

    /// The server's GOAWAY: why, and what it said. No stream can be opened after it.
    #[must_use]
    pub fn goaway(&self) -> Option<(ErrorCode, &str)> {
        self.raw.hooks.goaway.as_ref().map(|(code, why)| (*code, why.as_str()))
    }
}
