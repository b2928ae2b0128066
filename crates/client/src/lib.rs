//! A small blocking client for the etcd v3 API: Windlass's own tools and tests use it, against Windlass or etcd.
//!
//! One thread, one connection at a time, std's sockets. It never retries a request that may have taken effect, and
//! never holds on past its deadline.

mod admin;
mod client;
mod connection;
mod endpoint;
mod error;
mod fetch;
mod framing;
mod security;
mod socket;
mod watch;

pub use client::{Client, Config};
pub use connection::{Call, Connection};
pub use endpoint::{Endpoint, Scheme};
pub use error::Error;
pub use fetch::{Ask, ask, fetch};
pub use security::{Security, User, alpn};
pub use watch::Watch;
pub use windlass_types::Code;
