//! Moving in from etcd and out to it: the store as the buckets of an etcd backend, one way ([`Export`]) and the other
//! ([`Backend`]).
//!
//! Both are pure; what sorts, spools and sends is the shell's. An export must be what a stock `etcdutl snapshot restore`
//! takes, an import must survive any bytes. The buckets are drawn in `docs/formats/bbolt.md`.

mod export;
mod import;
pub mod schema;

pub use export::Export;
pub use import::{Backend, Error, imported_state};
