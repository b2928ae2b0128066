//! Members over real sockets, all in one thread.

mod asks;
mod bulk;
mod garbage;
mod handshake;
mod queue;
mod streams;
mod tls;
mod world;
