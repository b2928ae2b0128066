//! Raft's messages as records, and back. What comes from outside is checked here for being whole; whether it makes
//! sense is the core's to say.

use bytes::Bytes;
use windlass_raft::{Body, EntryId, MEMBERS_MAX, Membership, Message, ReadContext, SnapshotMeta};
use windlass_records::log::Entry;
use windlass_records::peer::{self as record, EntryHead, Raft, RaftKind};
use windlass_types::{LogIndex, MemberId, Term};

use crate::frame::{Fault, PART_ALIGN};

/// The record of a message; the entries' data are the parts that follow it.
pub(crate) fn to_record(message: &Message) -> Raft {
    let raft = |kind| Raft::new(message.from, message.to, message.term, kind);
    match &message.body {
        Body::PreVote { last, commit } => {
            Raft { entry: Some(place(*last)), commit: Some(place(*commit)), ..raft(RaftKind::PreVote) }
        }
        Body::PreVoteReply { granted, commit } => {
            Raft { flag: *granted, commit: Some(place(*commit)), ..raft(RaftKind::PreVoteReply) }
        }
        Body::Vote { last, commit, transfer } => Raft {
            flag: *transfer,
            entry: Some(place(*last)),
            commit: Some(place(*commit)),
            ..raft(RaftKind::Vote)
        },
        Body::VoteReply { granted, commit } => {
            Raft { flag: *granted, commit: Some(place(*commit)), ..raft(RaftKind::VoteReply) }
        }
        Body::Append { prev_index, prev_term, commit, entries } => Raft {
            entry: Some(record::EntryId { index: *prev_index, term: *prev_term }),
            commit: Some(index_only(*commit)),
            entries: heads(*prev_index, entries),
            ..raft(RaftKind::Append)
        },
        Body::AppendAccepted { index } => {
            Raft { entry: Some(index_only(*index)), ..raft(RaftKind::AppendAccepted) }
        }
        Body::AppendRejected { prev_index, hint_index, hint_term } => Raft {
            entry: Some(index_only(*prev_index)),
            hint: Some(record::EntryId { index: *hint_index, term: *hint_term }),
            ..raft(RaftKind::AppendRejected)
        },
        Body::Heartbeat { commit, read } => {
            Raft { commit: Some(index_only(*commit)), read: read.map(context), ..raft(RaftKind::Heartbeat) }
        }
        Body::HeartbeatReply { read } => Raft { read: read.map(context), ..raft(RaftKind::HeartbeatReply) },
        Body::Snapshot(meta) => Raft {
            entry: Some(record::EntryId { index: meta.index, term: meta.term }),
            membership: Some(membership(&meta.membership)),
            ..raft(RaftKind::Snapshot)
        },
        Body::TimeoutNow => raft(RaftKind::TimeoutNow),
        Body::ReadIndex(read) => Raft { read: Some(context(*read)), ..raft(RaftKind::ReadIndex) },
        Body::ReadIndexReply { context: read, index } => Raft {
            read: Some(context(*read)),
            entry: Some(index_only(*index)),
            ..raft(RaftKind::ReadIndexReply)
        },
        Body::StaleTerm => raft(RaftKind::StaleTerm),
    }
}

/// The data of a message's entries, in order.
pub(crate) fn parts(message: &Message) -> Vec<Bytes> {
    match &message.body {
        Body::Append { entries, .. } => entries.iter().map(|entry| entry.data.clone()).collect(),
        _ => Vec::new(),
    }
}

/// A message of its record and of the frame's body, of which the record takes the first `record_len` bytes. The entries
/// share the body's memory.
pub(crate) fn from_record(raft: &Raft, body: &Bytes, record_len: usize) -> Result<Message, Fault> {
    if raft.kind != RaftKind::Append && body.len() != record_len {
        return Err(Fault::Layout);
    }
    Ok(Message { from: raft.from, to: raft.to, term: raft.term, body: body_of(raft, body, record_len)? })
}

fn body_of(raft: &Raft, body: &Bytes, record_len: usize) -> Result<Body, Fault> {
    let entry = || required(raft.entry, "message without its place");
    let commit = || required(raft.commit, "message without commit index");
    let read = || required(raft.read, "message without its round of reads");
    Ok(match raft.kind {
        RaftKind::PreVote => Body::PreVote { last: raft_place(entry()?), commit: raft_place(commit()?) },
        RaftKind::PreVoteReply => Body::PreVoteReply { granted: raft.flag, commit: raft_place(commit()?) },
        RaftKind::Vote => {
            Body::Vote { last: raft_place(entry()?), commit: raft_place(commit()?), transfer: raft.flag }
        }
        RaftKind::VoteReply => Body::VoteReply { granted: raft.flag, commit: raft_place(commit()?) },
        RaftKind::Append => {
            let prev = entry()?;
            let entries = entries(prev.index, &raft.entries, body, record_len)?;
            Body::Append { prev_index: prev.index, prev_term: prev.term, commit: commit()?.index, entries }
        }
        RaftKind::AppendAccepted => Body::AppendAccepted { index: entry()?.index },
        RaftKind::AppendRejected => {
            let hint = required(raft.hint, "rejection without a hint")?;
            Body::AppendRejected { prev_index: entry()?.index, hint_index: hint.index, hint_term: hint.term }
        }
        RaftKind::Heartbeat => Body::Heartbeat { commit: commit()?.index, read: raft.read.map(raft_context) },
        RaftKind::HeartbeatReply => Body::HeartbeatReply { read: raft.read.map(raft_context) },
        RaftKind::Snapshot => {
            let (place, members) = (entry()?, raft.membership.as_ref());
            let membership = raft_membership(required(members, "snapshot without members")?)?;
            Body::Snapshot(SnapshotMeta { index: place.index, term: place.term, membership })
        }
        RaftKind::TimeoutNow => Body::TimeoutNow,
        RaftKind::ReadIndex => Body::ReadIndex(raft_context(read()?)),
        RaftKind::ReadIndexReply => {
            Body::ReadIndexReply { context: raft_context(read()?), index: entry()?.index }
        }
        RaftKind::StaleTerm => Body::StaleTerm,
    })
}

fn required<T>(field: Option<T>, missing: &str) -> Result<T, Fault> {
    field.ok_or_else(|| Fault::Record(format!("invalid record: {missing}")))
}

fn entries(
    prev: LogIndex,
    heads: &[EntryHead],
    body: &Bytes,
    record_len: usize,
) -> Result<Vec<Entry>, Fault> {
    let mut at = record_len;
    let mut index = prev.0;
    let mut entries = Vec::with_capacity(heads.len());
    for head in heads {
        let start = at.next_multiple_of(PART_ALIGN);
        at = start.saturating_add(head.length as usize);
        if at > body.len() {
            return Err(Fault::Layout);
        }
        index = index.checked_add(1).ok_or(Fault::Layout)?;
        entries.push(Entry {
            term: head.term,
            index: LogIndex(index),
            kind: head.kind,
            data: body.slice(start..at),
        });
    }
    if at == body.len() { Ok(entries) } else { Err(Fault::Layout) }
}

fn heads(prev: LogIndex, entries: &[Entry]) -> Vec<EntryHead> {
    let mut index = prev;
    let head = |entry: &Entry| {
        index = index.next();
        assert_eq!(entry.index, index, "an append's entries follow its previous index");
        let length = u32::try_from(entry.data.len()).expect("an entry of less than 4 GiB");
        EntryHead { term: entry.term, kind: entry.kind, length }
    };
    entries.iter().map(head).collect()
}

fn place(id: EntryId) -> record::EntryId {
    record::EntryId { index: id.index, term: id.term }
}

fn index_only(index: LogIndex) -> record::EntryId {
    record::EntryId { index, term: Term::ZERO }
}

fn raft_place(id: record::EntryId) -> EntryId {
    EntryId { index: id.index, term: id.term }
}

fn context(read: ReadContext) -> record::ReadContext {
    record::ReadContext { term: read.term, incarnation: read.incarnation, sequence: read.sequence }
}

fn raft_context(read: record::ReadContext) -> ReadContext {
    ReadContext { term: read.term, incarnation: read.incarnation, sequence: read.sequence }
}

fn membership(membership: &Membership) -> record::Membership {
    let ids = |ids: &std::collections::BTreeSet<MemberId>| ids.iter().copied().collect();
    record::Membership {
        voters: ids(&membership.voters),
        voters_outgoing: ids(&membership.voters_outgoing),
        learners: ids(&membership.learners),
        learners_next: ids(&membership.learners_next),
        auto_leave: membership.auto_leave,
    }
}

fn raft_membership(membership: &record::Membership) -> Result<Membership, Fault> {
    let ids = |ids: &[MemberId]| {
        let bounded = ids.len() <= MEMBERS_MAX && !ids.contains(&MemberId::ZERO);
        bounded
            .then(|| ids.iter().copied().collect())
            .ok_or_else(|| Fault::Record("invalid record: members that cannot be".to_owned()))
    };
    Ok(Membership {
        voters: ids(&membership.voters)?,
        voters_outgoing: ids(&membership.voters_outgoing)?,
        learners: ids(&membership.learners)?,
        learners_next: ids(&membership.learners_next)?,
        auto_leave: membership.auto_leave,
    })
}

#[cfg(test)]
mod tests;
