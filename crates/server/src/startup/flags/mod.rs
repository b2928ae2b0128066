//! Command line flags and environment variables, in etcd's manner: one table, from which everything else is made.
//!
//! Nothing here opens, binds or prints anything.

mod file;
mod gates;
mod generate;
mod help;
mod parse;
pub mod settings;
pub mod table;
#[cfg(test)]
mod tests;
mod value;

pub use file::parse_file;
pub use help::{ETCD_VERSION, USAGE, help, version};
pub use parse::{Command, Error, Notice, Values, parse};
pub use value::{Kind, Scheme, Url, parse_duration, parse_urls};
