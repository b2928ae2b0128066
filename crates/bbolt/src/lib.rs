//! bbolt files, etcd's backend format: written from sorted input in one pass, and read from untrusted bytes.
//!
//! Pure: [`Writer`] gives bytes out, [`Reader`] takes them from a [`Source`]. Neither updates a file in place. The reader must
//! never panic, and never hold more than one path of pages, whatever it is given. The format is drawn in
//! `docs/formats/bbolt.md`.

mod element;
mod error;
mod meta;
mod page;
mod reader;
mod tree;
mod writer;

pub use error::Error;
pub use reader::{Cursor, Pair, Reader, Source};
pub use writer::{Head, PAGE_BYTES, Writer};
