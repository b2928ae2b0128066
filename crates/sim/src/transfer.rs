//! What the transfer of a snapshot is made of, on its way and on the receiver's disk.

use bytes::Bytes;
use windlass_records::state::State;

/// A part of a transfer. Each names the snapshot by its sender's number.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// A snapshot of this place is offered.
    Begin(u64, State),
    /// A chunk of it.
    Chunk(u64, Bytes),
    /// That was all.
    End(u64),
    /// The receiver takes more.
    More(u64),
    /// The receiver has all of it on its disk.
    Safe(u64),
    /// The receiver does not want it.
    No(u64),
}

/// A snapshot on the receiver's disk.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Its place.
    pub state: State,
    /// Its chunks.
    pub frames: Vec<Bytes>,
}
