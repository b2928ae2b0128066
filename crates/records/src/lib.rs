//! Every record that Windlass writes to a disk or sends to a peer: flatbuffers schemas, their generated code and
//! verified readers.
//!
//! Bytes from outside are verified exactly once, when they enter (`parse`); what a parsed record hands out later is
//! a bounds-checked slice. Nothing here may panic on any input bytes.

pub mod batch;
pub mod log;
pub mod peer;
pub mod state;
pub mod wal;

use flatbuffers::FlatBufferBuilder;

/// Made by `cargo xtask gen` from `schema/*.fbs`.
#[allow(
    unsafe_code,
    missing_docs,
    elided_lifetimes_in_paths,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    unused
)]
mod generated {
    pub mod batch;
    pub mod log;
    pub mod peer;
    pub mod state;
    pub mod wal;
}

/// Why bytes are not the record they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The flatbuffers verifier refused the bytes; the text is the verifier's.
    Malformed(String),
    /// The bytes are a flatbuffer, but a field breaks the schema's rules; says which.
    Invalid(&'static str),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "malformed record: {why}"),
            Self::Invalid(what) => write!(f, "invalid record: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<flatbuffers::InvalidFlatbuffer> for Error {
    fn from(error: flatbuffers::InvalidFlatbuffer) -> Self {
        // The verifier's message spans lines; only the first names the fault.
        Self::Malformed(error.to_string().lines().next().unwrap_or_default().to_owned())
    }
}

/// What a record of two vectors has beside their bytes, in bytes, at most.
const TABLE_BYTES_MAX: usize = 128;

/// A builder of a record of two vectors, together of `vectors_bytes`, at the end of `memory`, which may hold anything.
///
/// # Panics
/// If `memory` is not larger than the vectors by [`TABLE_BYTES_MAX`].
fn builder_in(mut memory: Vec<u8>, vectors_bytes: usize) -> FlatBufferBuilder<'static> {
    // Builders take memory for zeroes where a table leaves a field out.
    let end = memory.len() - vectors_bytes;
    memory[end - TABLE_BYTES_MAX..end].fill(0);
    FlatBufferBuilder::from_vec(memory)
}

/// Position of `part` within `whole`, both views of the same memory.
fn range_in(whole: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    assert!(start + part.len() <= whole.len(), "part lies outside of whole");
    start..start + part.len()
}
