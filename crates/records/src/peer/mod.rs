//! Records of the frames between members (`schema/peer.fbs`).
//!
//! What is large or opaque is never copied into a record: entries, batches and chunks of snapshots follow it in the
//! frame. The frames themselves, and what a record means, are `windlass-peer`'s.

mod bulk;
mod calls;
mod handshake;
mod raft;

use flatbuffers::{FlatBufferBuilder, Verifiable};

pub use bulk::{BulkAbort, BulkChunk, BulkCredit, BulkDone, BulkEnd, BulkOpen, BulkOpened};
pub use calls::{Answer, Ask, Failure, ForwardRefused, Ping};
pub use handshake::{Hello, HelloReply, Purpose, Refusal};
pub use raft::{EntryHead, EntryId, Membership, Raft, RaftKind, ReadContext};

use crate::Error;
use crate::generated::peer::windlass::peer as wire;

/// One kind of record.
pub trait Record: Sized {
    /// Encodes into `fbb`, which is reset first; the record is `fbb.finished_data()`.
    fn encode(&self, fbb: &mut FlatBufferBuilder<'_>);

    /// Verifies and reads a record.
    ///
    /// # Errors
    /// If the bytes are no record of this kind.
    fn parse(data: &[u8]) -> Result<Self, Error>;
}

fn root<'a, T>(data: &'a [u8]) -> Result<T::Inner, Error>
where
    T: flatbuffers::Follow<'a> + Verifiable + 'a,
{
    Ok(flatbuffers::root::<T>(data)?)
}

fn finish<T>(fbb: &mut FlatBufferBuilder<'_>, table: flatbuffers::WIPOffset<T>) {
    fbb.finish(table, None);
}

#[cfg(test)]
mod tests;
