//! What can go wrong with a session as a whole. What goes wrong with one stream is an [`ErrorCode`] in its events.

use std::fmt;

/// Why a session cannot go on: its connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The peer's first bytes are not HTTP/2.
    BadPreface,
    /// The peer floods: unanswered acknowledgements, resets or settings beyond the bounds.
    Flooded,
    /// No memory for the session's own state.
    OutOfMemory,
    /// No further stream can be opened: a GOAWAY was exchanged or the stream numbers are used up.
    NoMoreStreams,
    /// nghttp2 refused the input or the call; its number.
    Library(i32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPreface => f.write_str("the peer does not speak HTTP/2"),
            Self::Flooded => f.write_str("the peer floods the connection with control frames"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::NoMoreStreams => f.write_str("no more streams can be opened on this connection"),
            Self::Library(code) => write!(f, "nghttp2 error {code}"),
        }
    }
}

impl std::error::Error for Error {}

/// An HTTP/2 error code, as in RST_STREAM and GOAWAY (RFC 9113 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// Nothing is wrong.
    pub const NO_ERROR: Self = Self(0);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// An unexpected failure on this side.
    pub const INTERNAL_ERROR: Self = Self(2);
    /// The stream was refused before anything was done with it; it may be tried again.
    pub const REFUSED_STREAM: Self = Self(7);
    /// The stream is no longer wanted.
    pub const CANCEL: Self = Self(8);
    /// The peer asks for too much.
    pub const ENHANCE_YOUR_CALM: Self = Self(11);
}
