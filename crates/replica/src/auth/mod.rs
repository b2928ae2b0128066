//! Authentication and permissions: who may do what. Pure: passwords are hashes here, tokens are names, and time is an input.
//!
//! [`Auth`] is the replicated part: users, roles, whether any of it is in force. It is decided in log order and kept as
//! system records. [`Need`] is the one place that says what each operation needs, and [`Auth::check`] the one place that
//! grants or refuses it; whoever carries out an operation asks there, where it takes effect: the sequencer for what goes
//! through the log, the arbiter for reads and watches. Source: etcd `server/auth`, `etcdserver/apply/auth.go`.

mod access;
mod keys;
mod store;
#[cfg(test)]
mod tests;
mod tokens;

pub use access::{Asker, Need};
pub use keys::Keys;
pub use store::{Auth, Authenticated, Invalid, ROOT};
pub use tokens::{SimpleTokens, TOKENS_MAX, index_of};
