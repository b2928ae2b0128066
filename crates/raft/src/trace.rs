//! What a core did, as the events of etcd-io/raft's trace specification (`tla/Traceetcdraft.tla` there), so that TLC can
//! say whether a real run is one that the specification of Raft allows.
//!
//! A core notes events only if [`Config::trace`](crate::Config::trace) says so; whoever asked for that takes them with
//! [`Raft::take_trace`]. They are data: nothing here writes a file.
//!
//! The specification knows less than this core, and events are what it can follow:
//!
//! - A member that asks whether it could win an election is a follower to it, and that question is no message.
//! - It takes no notice of [`StaleTerm`](Body::StaleTerm) as such: there that is a refused append, which it is here, too.
//! - A message that changes nothing because it was ignored or cannot be true was never received.
//! - An append tells no more of the commit index than what it reaches; the receiver uses no more.
//! - A write is durable at once: `Ready` ends each step. A member that crashed before it was, and a log that lacks it,
//!   is more than the specification can follow, as for etcd ("partially persisted log" in the guide there).
//!
//! It cannot follow two things that this core does at times: a member enters a term that the refusal of a pre-vote told
//! it of (`BecomeFollower` that no receipt explains), and a voter learns what is committed from a candidate (`Commit` by
//! one that does not lead).

use std::fmt;

use windlass_records::log::{Entry, EntryKind};
use windlass_types::{LogIndex, MemberId, Term};

use crate::log::Log;
use crate::raft::Raft;
use crate::{Body, Change, ConfChange, Membership, Message, Role};

/// One event: what happened, the state of the member then, and what else belongs to it. Displays as the object that the
/// specification reads as `event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    name: &'static str,
    id: MemberId,
    term: Term,
    vote: MemberId,
    commit: LogIndex,
    role: Role,
    last: LogIndex,
    voters: Vec<MemberId>,
    voters_outgoing: Vec<MemberId>,
    detail: Detail,
}

/// What an event says beside the state of its member.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Detail {
    None,
    Message(TraceMessage),
    /// A change that was appended.
    Changes(Vec<Change>),
    /// The voters after a change that takes effect.
    Voters(Vec<MemberId>),
}

/// A message in the specification's words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TraceMessage {
    kind: Kind,
    term: Term,
    from: MemberId,
    to: MemberId,
    /// Number of entries; of a snapshot the entries that it stands for.
    entries: u64,
    log_term: Term,
    index: LogIndex,
    commit: LogIndex,
    reject: bool,
    reject_hint: LogIndex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Append,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    Snapshot,
    Vote,
    VoteResponse,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Append => "MsgApp",
            Self::AppendResponse => "MsgAppResp",
            Self::Heartbeat => "MsgHeartbeat",
            Self::HeartbeatResponse => "MsgHeartbeatResp",
            Self::Snapshot => "MsgSnap",
            Self::Vote => "MsgVote",
            Self::VoteResponse => "MsgVoteResp",
        }
    }

    fn sent(self) -> &'static str {
        match self {
            Self::Append | Self::Heartbeat | Self::Snapshot => "SendAppendEntriesRequest",
            Self::AppendResponse | Self::HeartbeatResponse => "SendAppendEntriesResponse",
            Self::Vote => "SendRequestVoteRequest",
            Self::VoteResponse => "SendRequestVoteResponse",
        }
    }

    fn received(self) -> &'static str {
        match self {
            Self::Append | Self::Heartbeat | Self::Snapshot => "ReceiveAppendEntriesRequest",
            Self::AppendResponse | Self::HeartbeatResponse => "ReceiveAppendEntriesResponse",
            Self::Vote => "ReceiveRequestVoteRequest",
            Self::VoteResponse => "ReceiveRequestVoteResponse",
        }
    }
}

impl TraceMessage {
    /// Nothing if the specification knows no such message.
    fn of(message: &Message) -> Option<Self> {
        let kind = match &message.body {
            Body::Append { .. } => Kind::Append,
            Body::AppendAccepted { .. } | Body::AppendRejected { .. } | Body::StaleTerm => {
                Kind::AppendResponse
            }
            Body::Heartbeat { .. } => Kind::Heartbeat,
            Body::HeartbeatReply { .. } => Kind::HeartbeatResponse,
            Body::Snapshot(_) => Kind::Snapshot,
            Body::Vote { .. } => Kind::Vote,
            Body::VoteReply { .. } => Kind::VoteResponse,
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::TimeoutNow
            | Body::ReadIndex(_)
            | Body::ReadIndexReply { .. } => return None,
        };
        let mut this = Self::empty(kind, message.term, message.from, message.to);
        match &message.body {
            Body::Append { prev_index, prev_term, commit, entries } => {
                this.entries = entries.len() as u64;
                (this.index, this.log_term) = (*prev_index, *prev_term);
                this.commit = LogIndex(prev_index.0 + this.entries).min(*commit);
            }
            Body::AppendAccepted { index } => this.index = *index,
            Body::AppendRejected { prev_index, hint_index, hint_term } => {
                (this.index, this.log_term) = (*prev_index, *hint_term);
                (this.reject, this.reject_hint) = (true, *hint_index);
            }
            Body::StaleTerm => this.reject = true,
            Body::Heartbeat { commit, .. } => this.commit = *commit,
            Body::Snapshot(meta) => this.entries = meta.index.0,
            Body::Vote { last, .. } => (this.index, this.log_term) = (last.index, last.term),
            Body::VoteReply { granted, .. } => this.reject = !granted,
            _ => {}
        }
        Some(this)
    }

    fn empty(kind: Kind, term: Term, from: MemberId, to: MemberId) -> Self {
        Self {
            kind,
            term,
            from,
            to,
            entries: 0,
            log_term: Term::ZERO,
            index: LogIndex::ZERO,
            commit: LogIndex::ZERO,
            reject: false,
            reject_hint: LogIndex::ZERO,
        }
    }
}

/// Ids are strings there.
struct Ids<'a>(&'a [MemberId]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<String> = self.0.iter().map(|id| format!("\"{}\"", id.0)).collect();
        write!(f, "[{}]", ids.join(","))
    }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, id, term, vote, commit, role, last, voters, voters_outgoing, detail } = self;
        let role = match role {
            Role::Follower | Role::PreCandidate => "StateFollower",
            Role::Candidate => "StateCandidate",
            Role::Leader => "StateLeader",
        };
        write!(f, r#"{{"name":"{name}","nid":"{}""#, id.0)?;
        write!(f, r#","state":{{"term":{},"vote":"{}","commit":{}}}"#, term.0, vote.0, commit.0)?;
        write!(f, r#","role":"{role}","log":{},"conf":[{},{}]"#, last.0, Ids(voters), Ids(voters_outgoing))?;
        write!(f, "{detail}}}")
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Message(message) => write!(f, r#","msg":{message}"#),
            Self::Voters(voters) => write!(f, r#","prop":{{"cc":{{"newconf":{}}}}}"#, Ids(voters)),
            Self::Changes(changes) => {
                let changes: Vec<String> = changes.iter().map(change_object).collect();
                write!(f, r#","prop":{{"cc":{{"changes":[{}]}}}}"#, changes.join(","))
            }
        }
    }
}

fn change_object(change: &Change) -> String {
    let (id, action) = match change {
        Change::AddVoter(id) => (id, "AddNewServer"),
        Change::AddLearner(id) => (id, "AddLearner"),
        Change::Remove(id) => (id, "RemoveServer"),
    };
    format!(r#"{{"nid":"{}","action":"{action}"}}"#, id.0)
}

impl fmt::Display for TraceMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, term, from, to, entries, log_term, index, commit, reject, reject_hint } = self;
        write!(f, r#"{{"type":"{}","term":{}"#, kind.name(), term.0)?;
        write!(f, r#","from":"{}","to":"{}","entries":{entries}"#, from.0, to.0)?;
        write!(f, r#","logTerm":{},"index":{},"commit":{}"#, log_term.0, index.0, commit.0)?;
        // Nothing here says for whom somebody voted: who asks or answers does.
        write!(f, r#","vote":"0","reject":{reject},"rejectHint":{}}}"#, reject_hint.0)
    }
}

/// The events of a core that notes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    events: Vec<TraceEvent>,
    /// Where the receipt of the message stands that is processed now.
    receipt: Option<usize>,
}

/// What of a core is in an event.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) id: MemberId,
    pub(crate) term: Term,
    pub(crate) vote: MemberId,
    pub(crate) role: Role,
    pub(crate) log: &'a Log,
    pub(crate) membership: &'a Membership,
}

impl View<'_> {
    fn event(&self, name: &'static str, detail: Detail) -> TraceEvent {
        TraceEvent {
            name,
            id: self.id,
            term: self.term,
            vote: self.vote,
            commit: self.log.commit(),
            role: self.role,
            last: self.log.last_index(),
            voters: self.membership.voters.iter().copied().collect(),
            voters_outgoing: self.membership.voters_outgoing.iter().copied().collect(),
            detail,
        }
    }
}

impl Trace {
    /// Notes a message that is sent, if the specification knows it.
    pub(crate) fn sent(&mut self, view: View<'_>, message: &Message) {
        if let Some(message) = TraceMessage::of(message) {
            self.events.push(view.event(message.kind.sent(), Detail::Message(message)));
        }
    }
}

/// What a core notes. Each costs a look at whether it notes anything.
impl Raft {
    /// What happened since this was asked last; empty unless [`Config::trace`](crate::Config::trace) is on.
    #[must_use]
    pub fn take_trace(&mut self) -> Vec<TraceEvent> {
        self.outbox.trace.as_mut().map(|trace| std::mem::take(&mut trace.events)).unwrap_or_default()
    }

    fn note(&mut self, name: &'static str, detail: impl FnOnce() -> Detail) {
        if let Some(mut trace) = self.outbox.trace.take() {
            trace.events.push(self.view().event(name, detail()));
            self.outbox.trace = Some(trace);
        }
    }

    fn view(&self) -> View<'_> {
        View {
            id: self.config.id,
            term: self.term,
            vote: self.vote,
            role: self.role,
            log: &self.log,
            membership: &self.membership,
        }
    }

    /// The member starts.
    pub(crate) fn note_start(&mut self) {
        self.note("InitState", || Detail::None);
    }

    pub(crate) fn note_candidate(&mut self) {
        self.note("BecomeCandidate", || Detail::None);
    }

    pub(crate) fn note_leader(&mut self) {
        self.note("BecomeLeader", || Detail::None);
    }

    pub(crate) fn note_follower(&mut self) {
        self.note("BecomeFollower", || Detail::None);
    }

    /// The commit index moved other than by what a leader sent.
    pub(crate) fn note_commit(&mut self) {
        self.note("Commit", || Detail::None);
    }

    /// The leader is about to append an entry of its own.
    pub(crate) fn note_entry(&mut self, entry: &Entry) {
        match entry.kind {
            EntryKind::Normal => self.note("Replicate", || Detail::None),
            EntryKind::ConfChange => self.note("ChangeConf", || {
                let changes = ConfChange::decode(&entry.data).map(|change| change.changes);
                Detail::Changes(changes.unwrap_or_default())
            }),
        }
    }

    /// A change of membership is about to take effect.
    pub(crate) fn note_membership(&mut self, next: &Membership) {
        self.note("ApplyConfChange", || Detail::Voters(next.voters.iter().copied().collect()));
    }

    pub(crate) fn note_sent(&mut self, message: &Message) {
        if let Some(mut trace) = self.outbox.trace.take() {
            trace.sent(self.view(), message);
            self.outbox.trace = Some(trace);
        }
    }

    /// A message is about to be processed.
    pub(crate) fn note_received(&mut self, message: &Message) {
        let Some(mut trace) = self.outbox.trace.take() else { return };
        if let Some(message) = TraceMessage::of(message) {
            trace.receipt = Some(trace.events.len());
            trace.events.push(self.view().event(message.kind.received(), Detail::Message(message)));
        }
        self.outbox.trace = Some(trace);
    }

    /// The message that was processed last cannot be true, and changed nothing.
    pub(crate) fn unnote_received(&mut self) {
        let Some(trace) = &mut self.outbox.trace else { return };
        if let Some(at) = trace.receipt.take() {
            trace.events.remove(at);
        }
    }

    /// A candidate asks itself for its vote.
    pub(crate) fn note_own_vote(&mut self) {
        self.note_own(Kind::VoteResponse.sent(), Kind::VoteResponse, LogIndex::ZERO);
    }

    /// It has it, durably.
    pub(crate) fn note_own_vote_durable(&mut self) {
        self.note_own(Kind::VoteResponse.received(), Kind::VoteResponse, LogIndex::ZERO);
    }

    /// A leader asks itself to write what it appended.
    pub(crate) fn note_own_append(&mut self) {
        self.note_own(Kind::AppendResponse.sent(), Kind::AppendResponse, self.log.last_index());
    }

    /// It is durable. What a leader inherited is so from its election on, to the specification.
    pub(crate) fn note_own_append_durable(&mut self) {
        let durable = self.log.durable();
        if self.log.term(durable) == Some(self.term) {
            self.note_own(Kind::AppendResponse.received(), Kind::AppendResponse, durable);
        }
    }

    /// A message from this member to itself, which only the specification knows.
    fn note_own(&mut self, name: &'static str, kind: Kind, index: LogIndex) {
        let (term, me) = (self.term, self.config.id);
        self.note(name, || {
            Detail::Message(TraceMessage { index, ..TraceMessage::empty(kind, term, me, me) })
        });
    }

    /// A step ends: what it wants written is taken for written, and what it sends is on its way.
    pub(crate) fn note_ready(&mut self, noted_before: usize) {
        if self.noted() > noted_before {
            self.note("Ready", || Detail::None);
        }
        if let Some(trace) = &mut self.outbox.trace {
            trace.receipt = None;
        }
    }

    /// Number of events that nobody took yet.
    pub(crate) fn noted(&self) -> usize {
        self.outbox.trace.as_ref().map_or(0, |trace| trace.events.len())
    }
}
