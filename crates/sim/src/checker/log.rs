//! The Raft log as the judge has it, read off the frames that the process submits.

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, TxnRequest,
};
use windlass_io_log::frame::Header;
use windlass_io_log::raft_log::Recovered;
use windlass_io_log::segment::FIRST_FRAME_AT;
use windlass_records::batch::{Batch, Command, CommandKind};
use windlass_records::log::Frame;
use windlass_replica::oracle::Oracle;
use windlass_replica::sequencer::Response;
use windlass_types::{LogIndex, RequestId, Revision, Term};

use super::Answer;
use crate::check::{Check, Violation, ensure};

pub(super) const ENCODED: &str = "the simulated clients encode what they send";

/// An entry that was submitted.
pub struct Logged {
    /// Its term.
    pub term: Term,
    /// A batch, or nothing.
    pub data: Bytes,
    /// The life of the process that submitted it.
    pub life: u32,
}

impl Logged {
    /// The commands in it, with their payloads.
    pub fn commands(&self) -> Vec<(Command, Bytes)> {
        if self.data.is_empty() {
            return Vec::new();
        }
        let batch = Batch::parse(self.data.clone()).expect("just written");
        let payload = |c: &Command| batch.data().slice(c.payload.clone());
        batch.commands().map(|c| (c.clone(), payload(&c))).collect()
    }

    /// The requests in it.
    pub fn requests(&self) -> impl Iterator<Item = RequestId> {
        self.commands().into_iter().map(|(command, _)| command.id)
    }

    /// The revisions that it may compact.
    pub fn compactions(&self) -> impl Iterator<Item = Revision> + use<> {
        let compactions =
            self.commands().into_iter().filter(|(command, _)| command.kind == CommandKind::Compaction);
        compactions.map(|(_, payload)| Revision(CompactionRequest::decode(payload).expect(ENCODED).revision))
    }
}

/// All entries, from index 1.
#[derive(Default)]
pub struct Log {
    entries: Vec<Logged>,
}

impl Log {
    /// Index of the last entry.
    pub fn last(&self) -> LogIndex {
        LogIndex(self.entries.len() as u64)
    }

    /// One entry.
    pub fn get(&self, index: LogIndex) -> Option<&Logged> {
        self.entries.get((index.0 - 1) as usize)
    }

    /// The entries from here on.
    pub fn from(&self, index: LogIndex) -> impl Iterator<Item = &Logged> {
        self.entries.iter().skip((index.0 - 1) as usize)
    }

    /// Takes what a write to the log holds; index of its first entry, if it holds any.
    pub fn submit(&mut self, bytes: &[u8], begins: bool, life: u32) -> Result<Option<LogIndex>, Violation> {
        let bytes = if begins { &bytes[FIRST_FRAME_AT..] } else { bytes };
        let header = Header::read(bytes).expect("a write to the log is a frame");
        let body = header.body(bytes).expect("a write to the log is a whole frame");
        let frame = Frame::parse(&Bytes::copy_from_slice(body)).expect("a frame of the log parses");
        let Some(first) = frame.entries.first().map(|e| e.index) else { return Ok(None) };
        ensure(first <= self.last().next(), Check::Missing, || {
            format!("entry {first} leaves a gap in the log")
        })?;
        self.entries.truncate((first.0 - 1) as usize);
        let logged = frame.entries.into_iter().map(|e| Logged { term: e.term, data: e.data, life });
        self.entries.extend(logged);
        Ok(Some(first))
    }

    /// Keeps what a start found; number of entries that are lost.
    pub fn recover(&mut self, found: &Recovered) -> Result<u64, Violation> {
        let last = found.entries.last().map_or(found.start_index, |e| e.index);
        ensure(last <= self.last(), Check::State, || format!("entry {last} is found and was never written"))?;
        for entry in &found.entries {
            let written = self.get(entry.index).expect("at or below the last");
            ensure(entry.term == written.term && entry.data == written.data, Check::Missing, || {
                format!("entry {} is found other than it was written", entry.index)
            })?;
        }
        let lost = self.last().0 - last.0;
        self.entries.truncate(last.0 as usize);
        Ok(lost)
    }
}

/// What the model says to a client's command; nothing to one that is no client's.
pub fn model_answer(oracle: &mut Oracle, kind: CommandKind, payload: Bytes) -> Option<Answer> {
    Some(match kind {
        CommandKind::Put => oracle.put(&PutRequest::decode(payload).expect(ENCODED)).map(Response::Put),
        CommandKind::DeleteRange => {
            Ok(Response::DeleteRange(oracle.delete(&DeleteRangeRequest::decode(payload).expect(ENCODED))))
        }
        CommandKind::Txn => oracle.txn(&TxnRequest::decode(payload).expect(ENCODED)).map(Response::Txn),
        CommandKind::Compaction => {
            oracle.compact(&CompactionRequest::decode(payload).expect(ENCODED)).map(Response::Compaction)
        }
        CommandKind::LeaseGrant => {
            oracle.lease_grant(&LeaseGrantRequest::decode(payload).expect(ENCODED)).map(Response::LeaseGrant)
        }
        CommandKind::LeaseRevoke => oracle
            .lease_revoke(&LeaseRevokeRequest::decode(payload).expect(ENCODED))
            .map(Response::LeaseRevoke),
        CommandKind::LeaseExpire | CommandKind::LeaseCheckpoint => return None,
        _ => unreachable!("the clients send no {kind:?}"),
    })
}
