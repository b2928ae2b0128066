//! HTTP/2 sessions without I/O: bytes in, events out, answers in, bytes out.
//!
//! A [`ServerSession`] or [`ClientSession`] wraps one nghttp2 session. The owner feeds it what it read with `recv`,
//! walks the streams that have news with `next_ready`, answers or requests, and collects what to write with `send`.
//! Streams are rows in a slab, addressed by the copyable [`StreamRef`]; their buffers are kept for the next stream, so
//! that a request costs no allocation here. What a peer can make a session hold is bounded by [`Settings`].
//!
//! This crate must never open a socket, read a clock, spawn, or know what gRPC is. `unsafe` is confined to `raw` and
//! `field`.

mod block;
mod client;
mod error;
mod field;
mod floods;
mod growth;
mod known_head;
mod ping;
mod raw;
mod request;
mod server;
mod session;
mod settings;
mod slab;
mod state;
mod trailers;

pub use block::Headers;
pub use client::ClientSession;
pub use error::{Error, ErrorCode};
pub use field::{Field, InvalidField};
pub use ping::PingPolicy;
pub use server::ServerSession;
pub use session::Session;
pub use settings::{AnnouncedBytes, Settings};
pub use slab::{Ready, StreamRef};
pub use trailers::Trailers;

/// What a client sends first on a connection: HTTP/2's preface (RFC 9113 section 3.4).
pub const CLIENT_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
