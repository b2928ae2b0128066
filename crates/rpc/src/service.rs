//! What a service is told.

use crate::{CallId, Meta};

/// Something that happened. Messages are borrowed for the length of the call; what is needed later is to be copied.
#[derive(Debug)]
pub enum Event<'a> {
    /// A whole unary request. It must be answered once, in any turn, with [`crate::Net::reply`] or [`crate::Net::fail`].
    Unary {
        /// The call, for its answer.
        call: CallId,
        /// Index in the table of routes.
        route: usize,
        /// What its headers said.
        meta: &'a Meta,
        /// The request message.
        message: &'a [u8],
    },
    /// A streaming call began. It must be ended once with [`crate::Net::stream_end`].
    StreamOpen {
        /// The call.
        call: CallId,
        /// Index in the table of routes.
        route: usize,
        /// What its headers said.
        meta: &'a Meta,
    },
    /// A message on a streaming call.
    StreamMessage {
        /// The call.
        call: CallId,
        /// Index in the table of routes.
        route: usize,
        /// The message.
        message: &'a [u8],
    },
    /// The client will send no more messages on a streaming call.
    StreamHalfClosed {
        /// The call.
        call: CallId,
    },
    /// A call that was not answered, or a stream that was not ended, is gone: the client or its connection gave up.
    /// Nothing need be answered.
    Cancelled {
        /// The call.
        call: CallId,
    },
    /// What was queued on a stream is short again after it had passed [`crate::Limits::hold_queued_bytes`].
    Writable {
        /// The call.
        call: CallId,
    },
    /// All connections that were ready in this turn have been read: the batch of this turn is complete. Answers given
    /// now still go out in this turn. Told only after turns with other events.
    TurnEnd,
}

/// What answers the calls of one [`crate::Net`].
pub trait Service {
    /// Deals with one event. It may call any method of [`crate::Net`]; it must not block.
    fn event(&mut self, event: Event<'_>);
}
