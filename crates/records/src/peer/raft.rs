//! A message of Raft, without the data of its entries. Flat: what a kind needs is checked by who makes a message of it.

use flatbuffers::FlatBufferBuilder;
use windlass_types::{LogIndex, MemberId, Term};

use super::{Record, finish, root, wire};
use crate::Error;
use crate::log::EntryKind;

/// What a message says; `windlass_raft::Body`, in its order.
#[allow(missing_docs, reason = "the names are those of `windlass_raft::Body`, which explains them")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaftKind {
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
    Append,
    AppendAccepted,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    Snapshot,
    TimeoutNow,
    ReadIndex,
    ReadIndexReply,
    StaleTerm,
}

/// A place in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryId {
    /// Its index.
    pub index: LogIndex,
    /// Its term; zero where the message does not say it.
    pub term: Term,
}

/// Names one round of reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadContext {
    /// Term of its maker.
    pub term: Term,
    /// Run of its maker.
    pub incarnation: u64,
    /// Counts within the run.
    pub sequence: u64,
}

/// An entry whose data follow the record, at the next multiple of eight bytes. Its index is its place in the append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// Term of the leader that made it.
    pub term: Term,
    /// What the data are.
    pub kind: EntryKind,
    /// Bytes of the data.
    pub length: u32,
}

/// The members at a snapshot's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Who votes.
    pub voters: Vec<MemberId>,
    /// Who voted before, in a joint membership.
    pub voters_outgoing: Vec<MemberId>,
    /// Who gets the log and has no vote.
    pub learners: Vec<MemberId>,
    /// Outgoing voters that become learners.
    pub learners_next: Vec<MemberId>,
    /// Whether the leader ends the joint membership by itself.
    pub auto_leave: bool,
}

/// A message of Raft. Which of the fields after `kind` are there depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raft {
    /// Who sends it.
    pub from: MemberId,
    /// Who is to get it.
    pub to: MemberId,
    /// The sender's term.
    pub term: Term,
    /// What it says.
    pub kind: RaftKind,
    /// Granted (replies to votes), transfer (votes).
    pub flag: bool,
    /// The place that the message is about.
    pub entry: Option<EntryId>,
    /// The sender's commit index.
    pub commit: Option<EntryId>,
    /// Where the logs may be equal.
    pub hint: Option<EntryId>,
    /// Round of reads.
    pub read: Option<ReadContext>,
    /// Entries whose data follow the record.
    pub entries: Vec<EntryHead>,
    /// Of a snapshot.
    pub membership: Option<Membership>,
}

/// Kinds by their number on the wire.
const KINDS: [RaftKind; 14] = [
    RaftKind::PreVote,
    RaftKind::PreVoteReply,
    RaftKind::Vote,
    RaftKind::VoteReply,
    RaftKind::Append,
    RaftKind::AppendAccepted,
    RaftKind::AppendRejected,
    RaftKind::Heartbeat,
    RaftKind::HeartbeatReply,
    RaftKind::Snapshot,
    RaftKind::TimeoutNow,
    RaftKind::ReadIndex,
    RaftKind::ReadIndexReply,
    RaftKind::StaleTerm,
];
const _: () = assert!(KINDS.len() == wire::RaftKind::ENUM_VALUES.len());

impl Raft {
    /// A message of which only the kind is set.
    #[must_use]
    pub fn new(from: MemberId, to: MemberId, term: Term, kind: RaftKind) -> Self {
        Self {
            from,
            to,
            term,
            kind,
            flag: false,
            entry: None,
            commit: None,
            hint: None,
            read: None,
            entries: Vec::new(),
            membership: None,
        }
    }
}

impl Record for Raft {
    fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        fbb.reset();
        let entries = (!self.entries.is_empty()).then(|| {
            let heads = self.entries.iter().map(|head| {
                let kind = match head.kind {
                    EntryKind::Normal => 0,
                    EntryKind::ConfChange => 1,
                };
                wire::EntryHead::new(head.term.0, head.length, kind)
            });
            fbb.create_vector_from_iter(heads)
        });
        let membership = self.membership.as_ref().map(|membership| {
            let args = wire::MembershipArgs {
                voters: Some(ids(fbb, &membership.voters)),
                voters_outgoing: Some(ids(fbb, &membership.voters_outgoing)),
                learners: Some(ids(fbb, &membership.learners)),
                learners_next: Some(ids(fbb, &membership.learners_next)),
                auto_leave: membership.auto_leave,
            };
            wire::Membership::create(fbb, &args)
        });
        let place = |id: EntryId| wire::EntryId::new(id.index.0, id.term.0);
        let (entry, commit, hint) = (self.entry.map(place), self.commit.map(place), self.hint.map(place));
        let read = self.read.map(|read| wire::ReadContext::new(read.term.0, read.incarnation, read.sequence));
        let args = wire::RaftArgs {
            from: self.from.0,
            to: self.to.0,
            term: self.term.0,
            kind: wire::RaftKind(self.kind as u8),
            flag: self.flag,
            entry: entry.as_ref(),
            commit: commit.as_ref(),
            hint: hint.as_ref(),
            read: read.as_ref(),
            entries,
            membership,
        };
        let table = wire::Raft::create(fbb, &args);
        finish(fbb, table);
    }

    fn parse(data: &[u8]) -> Result<Self, Error> {
        let raft = root::<wire::Raft<'_>>(data)?;
        let kind = KINDS.get(usize::from(raft.kind().0)).ok_or(Error::Invalid("unknown kind of message"))?;
        let place = |id: &wire::EntryId| EntryId { index: LogIndex(id.index()), term: Term(id.term()) };
        Ok(Self {
            from: MemberId(raft.from()),
            to: MemberId(raft.to()),
            term: Term(raft.term()),
            kind: *kind,
            flag: raft.flag(),
            entry: raft.entry().map(place),
            commit: raft.commit().map(place),
            hint: raft.hint().map(place),
            read: raft.read().map(|read| ReadContext {
                term: Term(read.term()),
                incarnation: read.incarnation(),
                sequence: read.sequence(),
            }),
            entries: raft.entries().into_iter().flatten().map(head).collect::<Result<_, _>>()?,
            membership: raft.membership().map(membership),
        })
    }
}

fn head(head: &wire::EntryHead) -> Result<EntryHead, Error> {
    let kind = match head.kind() {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        _ => return Err(Error::Invalid("unknown entry kind")),
    };
    Ok(EntryHead { term: Term(head.term()), kind, length: head.length() })
}

fn membership(membership: wire::Membership<'_>) -> Membership {
    let ids = |ids: Option<flatbuffers::Vector<'_, u64>>| ids.into_iter().flatten().map(MemberId).collect();
    Membership {
        voters: ids(membership.voters()),
        voters_outgoing: ids(membership.voters_outgoing()),
        learners: ids(membership.learners()),
        learners_next: ids(membership.learners_next()),
        auto_leave: membership.auto_leave(),
    }
}

fn ids<'a>(
    fbb: &mut FlatBufferBuilder<'a>,
    ids: &[MemberId],
) -> flatbuffers::WIPOffset<flatbuffers::Vector<'a, u64>> {
    fbb.create_vector_from_iter(ids.iter().map(|id| id.0))
}
