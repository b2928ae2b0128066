//! The sequencer's durable state (`schema/state.fbs`).

use flatbuffers::FlatBufferBuilder;
use windlass_types::{LogIndex, Revision, Term};

use crate::Error;
use crate::generated::state::windlass::state as wire;

/// The sequencer's state after it applied the entry at `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The last entry that is part of this state.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The store's revision; 1 when empty.
    pub revision: Revision,
    /// The revision compacted last; -1 before the first compaction.
    pub compact_revision: Revision,
}

impl State {
    /// The state of a store to which nothing was ever written.
    pub const EMPTY: Self =
        Self { index: LogIndex(0), term: Term(0), revision: Revision(1), compact_revision: Revision(-1) };

    /// Encodes into `fbb`, which is reset first; the record is `fbb.finished_data()`.
    pub fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        fbb.reset();
        let args = wire::StateArgs {
            index: self.index.0,
            term: self.term.0,
            revision: self.revision.0,
            compact_revision: self.compact_revision.0,
        };
        let root = wire::State::create(fbb, &args);
        fbb.finish(root, None);
    }

    /// Verifies and reads a state.
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        let root = wire::root_as_state(data)?;
        let revision = Revision(root.revision());
        if revision < Revision(1) {
            return Err(Error::Invalid("revision below 1"));
        }
        Ok(Self {
            index: LogIndex(root.index()),
            term: Term(root.term()),
            revision,
            compact_revision: Revision(root.compact_revision()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let want = State {
            index: LogIndex(9),
            term: Term(2),
            revision: Revision(77),
            compact_revision: Revision(5),
        };
        let mut fbb = FlatBufferBuilder::new();
        want.encode(&mut fbb);
        assert_eq!(State::parse(fbb.finished_data()).unwrap(), want);
    }
}
