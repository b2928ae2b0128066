//! Rebuilds what a Raft log held from the bodies of its frames, in order.

use bytes::Bytes;
use windlass_records::log::{Entry, Frame, HardState};
use windlass_types::{LogIndex, Term};

use crate::error::Error;

/// What a log held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last one written; all zero for a new log.
    pub hard_state: HardState,
    /// Entries at or below were cut.
    pub start_index: LogIndex,
    /// Term of the entry at `start_index`.
    pub start_term: Term,
    /// What follows `start_index`, consecutive.
    pub entries: Vec<Entry>,
}

#[derive(Default)]
pub(crate) struct Replay {
    log: Recovered,
}

impl Replay {
    /// Takes the next frame's body; returns the frame's mark, its highest index.
    pub(crate) fn apply(&mut self, body: &Bytes) -> Result<u64, String> {
        let frame = Frame::parse(body).map_err(|e| e.to_string())?;
        self.log.hard_state = frame.hard_state.unwrap_or(self.log.hard_state);
        self.start(frame.start_index, frame.start_term)?;
        let mark = frame.entries.last().map_or(0, |e| e.index.0);
        self.extend(frame.entries)?;
        Ok(mark)
    }

    /// The whole, when the last frame was applied.
    pub(crate) fn finish(mut self) -> Result<Recovered, Error> {
        let start = self.log.start_index;
        self.log.entries.retain(|e| e.index > start);
        match self.log.entries.first() {
            Some(first) if first.index != start.next() => Err(Error::Gap { start, first: first.index }),
            _ => Ok(self.log),
        }
    }

    fn start(&mut self, index: LogIndex, term: Term) -> Result<(), String> {
        let log = &mut self.log;
        if index < log.start_index || (index == log.start_index && term != log.start_term && index.0 != 0) {
            return Err(format!("the log's start goes back from {} to {index}", log.start_index));
        }
        if index == log.start_index {
            return Ok(());
        }
        (log.start_index, log.start_term) = (index, term);
        // A snapshot can start the log anew: beyond its end, or where the log differs from the leader's.
        let beyond = log.entries.last().is_none_or(|last| last.index < index);
        let differs = log.entries.iter().any(|e| e.index == index && e.term != term);
        if beyond || differs {
            log.entries.clear();
        }
        Ok(())
    }

    fn extend(&mut self, mut entries: Vec<Entry>) -> Result<(), String> {
        // The rest of an append that a snapshot overtook.
        entries.retain(|e| e.index > self.log.start_index);
        let Some(first) = entries.first() else { return Ok(()) };
        let log = &mut self.log.entries;
        if let Some(last) = log.last()
            && first.index > last.index.next()
        {
            return Err(format!("entry {} follows entry {}", first.index, last.index));
        }
        let keep = log.partition_point(|e| e.index < first.index);
        log.truncate(keep);
        log.extend(entries);
        Ok(())
    }
}
