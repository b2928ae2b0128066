//! Records of the Raft log (`schema/log.fbs`), and the entry type that raft, log and peers share.

use bytes::Bytes;
use flatbuffers::{FlatBufferBuilder, WIPOffset};
use windlass_types::{LogIndex, MemberId, Term};

use crate::generated::log::windlass::log as wire;
use crate::{Error, range_in};

/// What an entry's data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A [`Batch`](crate::batch::Batch), or empty: a new leader's first entry.
    Normal,
    /// A membership change.
    ConfChange,
}

/// One entry of the Raft log. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Term of the leader that made it.
    pub term: Term,
    /// Its position, from 1.
    pub index: LogIndex,
    /// What `data` is.
    pub kind: EntryKind,
    /// The payload, opaque to Raft.
    pub data: Bytes,
}

/// What Raft must find again after a crash, beside the entries. Source: Raft figure 2, "persistent state".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term this member has seen.
    pub term: Term,
    /// Whom it voted for in `term`; zero is nobody.
    pub vote: MemberId,
    /// The highest index known to be committed; a hint, never ahead of the durable entries.
    pub commit: LogIndex,
}

/// The body of one frame of the log: what one flush makes durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The new hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// Entries at or below were cut: their effects are durable in the shards.
    pub start_index: LogIndex,
    /// Term of the entry at `start_index`.
    pub start_term: Term,
    /// Consecutive entries. An index at or below an earlier one replaces the log from there on.
    pub entries: Vec<Entry>,
}

impl Frame {
    /// Upper bound of the encoded size in bytes of a frame that holds `entries`.
    #[must_use]
    pub fn encoded_bytes_max(entries: &[Entry]) -> usize {
        const FRAME_BYTES: usize = 128;
        const ENTRY_BYTES: usize = 64;
        FRAME_BYTES + entries.iter().map(|e| ENTRY_BYTES + e.data.len()).sum::<usize>()
    }

    /// Encodes into `fbb`, which is reset first; the record is `fbb.finished_data()`.
    pub fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        let Self { hard_state, start_index, start_term, ref entries } = *self;
        FrameRef { hard_state, start_index, start_term, entries }.encode(fbb);
    }

    /// Verifies and reads a frame. The entries' data share the memory of `data`.
    pub fn parse(data: &Bytes) -> Result<Self, Error> {
        let root = wire::root_as_frame(data)?;
        let mut entries = Vec::new();
        for e in root.entries().into_iter().flatten() {
            let kind = match e.kind() {
                wire::EntryKind::Normal => EntryKind::Normal,
                wire::EntryKind::ConfChange => EntryKind::ConfChange,
                _ => return Err(Error::Invalid("unknown entry kind")),
            };
            let bytes = e.data().map_or(Bytes::new(), |d| data.slice(range_in(data, d.bytes())));
            entries.push(Entry { term: Term(e.term()), index: LogIndex(e.index()), kind, data: bytes });
        }
        if entries.windows(2).any(|w| w[0].index.0.checked_add(1) != Some(w[1].index.0)) {
            return Err(Error::Invalid("entries are not consecutive"));
        }
        let hard_state = root.hard_state().map(|h| HardState {
            term: Term(h.term()),
            vote: MemberId(h.vote()),
            commit: LogIndex(h.commit()),
        });
        let (start_index, start_term) = (LogIndex(root.start_index()), Term(root.start_term()));
        Ok(Self { hard_state, start_index, start_term, entries })
    }
}

/// A [`Frame`] whose entries are borrowed, to be encoded.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    /// As in [`Frame`].
    pub hard_state: Option<HardState>,
    /// As in [`Frame`].
    pub start_index: LogIndex,
    /// As in [`Frame`].
    pub start_term: Term,
    /// As in [`Frame`].
    pub entries: &'a [Entry],
}

impl FrameRef<'_> {
    /// Encodes into `fbb`, which is reset first; the record is `fbb.finished_data()`.
    pub fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        fbb.reset();
        let entries: Vec<WIPOffset<wire::Entry<'_>>> =
            self.entries.iter().map(|e| encode_entry(fbb, e)).collect();
        let entries = fbb.create_vector(&entries);
        let hard_state = self.hard_state.map(|h| wire::HardState::new(h.term.0, h.vote.0, h.commit.0));
        let args = wire::FrameArgs {
            hard_state: hard_state.as_ref(),
            start_index: self.start_index.0,
            start_term: self.start_term.0,
            entries: Some(entries),
        };
        let root = wire::Frame::create(fbb, &args);
        fbb.finish(root, None);
    }
}

fn encode_entry<'a>(fbb: &mut FlatBufferBuilder<'a>, entry: &Entry) -> WIPOffset<wire::Entry<'a>> {
    let data = fbb.create_vector(&entry.data);
    let kind = match entry.kind {
        EntryKind::Normal => wire::EntryKind::Normal,
        EntryKind::ConfChange => wire::EntryKind::ConfChange,
    };
    wire::Entry::create(
        fbb,
        &wire::EntryArgs { term: entry.term.0, index: entry.index.0, kind, data: Some(data) },
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(payloads: Vec<Vec<u8>>, term: u64, first: u64) -> Frame {
        let entry = |(i, p)| Entry {
            term: Term(term),
            index: LogIndex(first + i as u64),
            kind: EntryKind::Normal,
            data: Bytes::from(p),
        };
        Frame {
            hard_state: Some(HardState { term: Term(term), vote: MemberId(3), commit: LogIndex(first) }),
            start_index: LogIndex(4),
            start_term: Term(1),
            entries: payloads.into_iter().enumerate().map(entry).collect(),
        }
    }

    proptest! {
        #[test]
        fn round_trip(payloads: Vec<Vec<u8>>, term: u64, first in 1_u64..1 << 60) {
            let want = frame(payloads, term, first);
            let mut fbb = FlatBufferBuilder::new();
            want.encode(&mut fbb);
            prop_assert!(fbb.finished_data().len() <= Frame::encoded_bytes_max(&want.entries));
            let got = Frame::parse(&Bytes::copy_from_slice(fbb.finished_data())).unwrap();
            prop_assert_eq!(got, want);
        }

        #[test]
        fn no_bytes_can_panic(payloads: Vec<Vec<u8>>, at: prop::sample::Index, with: u8, noise: Vec<u8>) {
            let mut fbb = FlatBufferBuilder::new();
            frame(payloads, 2, 5).encode(&mut fbb);
            let mut data = fbb.finished_data().to_vec();
            let at = at.index(data.len());
            data[at] = with;
            let _ = Frame::parse(&Bytes::from(data));
            let _ = Frame::parse(&Bytes::from(noise));
        }
    }
}
