//! Why bytes are not a bbolt file.

use std::io;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source failed.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// Neither meta page is sound.
    #[error("is no bbolt file, or both of its meta pages are damaged")]
    NoMeta,
    /// The file is shorter than its meta page says.
    #[error("is cut short: it has {found} bytes and should have {wanted}")]
    Short {
        /// Its size.
        found: u64,
        /// What its meta page says.
        wanted: u64,
    },
    /// A page is not what it must be.
    #[error("is damaged at page {page}: {what}")]
    Page {
        /// Its number.
        page: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}
