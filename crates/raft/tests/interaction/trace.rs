//! How actions and messages look in a trace.

use windlass_raft::{Action, Body, EntryId, Membership, Message, Persist, ReadContext};
use windlass_records::log::{Entry, EntryKind};
use windlass_types::MemberId;

pub fn action(action: &Action) -> String {
    match action {
        Action::Persist(p) => persist(p),
        Action::Send(m) => format!("send {}", message(m)),
        Action::Apply(list) => format!("apply {}", entries(list)),
        Action::ReadReady { id, index } => format!("read-ready {} at {index}", id.0),
        Action::ReadDropped { id } => format!("read-dropped {}", id.0),
        Action::ProposalDropped { reason, .. } => format!("proposal-dropped {reason:?}"),
        Action::RoleChanged { role, term, leader } => format!("{role} term={term} leader={leader}"),
        Action::MembershipChanged { index, membership: m } => {
            format!("membership at {index}: {}", membership(m))
        }
        Action::SnapshotNeeded { to } => format!("snapshot-needed for {to}"),
        Action::MessageRejected { from, fault } => format!("rejected message of {from}: {fault:?}"),
    }
}

fn persist(persist: &Persist) -> String {
    let mut text = format!("persist #{}", persist.id.0);
    if let Some(h) = persist.hard_state {
        text += &format!(" term={} vote={} commit={}", h.term, h.vote, h.commit);
    }
    if let Some(s) = &persist.snapshot {
        text += &format!(" snapshot={}/{} {}", s.index, s.term, membership(&s.membership));
    }
    if !persist.entries.is_empty() {
        text += &format!(" {}", entries(&persist.entries));
    }
    text
}

pub fn message(message: &Message) -> String {
    format!("{}->{} term={} {}", message.from, message.to, message.term, body(&message.body))
}

fn body(body: &Body) -> String {
    match body {
        Body::PreVote { last, commit } => {
            format!("PreVote last={} commit={}", entry_id(*last), entry_id(*commit))
        }
        Body::PreVoteReply { granted, commit } => {
            format!("PreVoteReply granted={granted} commit={}", entry_id(*commit))
        }
        Body::Vote { last, commit, transfer } => {
            let transfer = if *transfer { " transfer" } else { "" };
            format!("Vote last={} commit={}{transfer}", entry_id(*last), entry_id(*commit))
        }
        Body::VoteReply { granted, commit } => {
            format!("VoteReply granted={granted} commit={}", entry_id(*commit))
        }
        Body::Append { prev_index, prev_term, commit, entries: list } => {
            format!("Append prev={prev_index}/{prev_term} commit={commit} {}", entries(list))
        }
        Body::AppendAccepted { index } => format!("AppendAccepted {index}"),
        Body::AppendRejected { prev_index, hint_index, hint_term } => {
            format!("AppendRejected {prev_index} hint={hint_index}/{hint_term}")
        }
        Body::Heartbeat { commit, read } => format!("Heartbeat commit={commit}{}", context(read.as_ref())),
        Body::HeartbeatReply { read } => format!("HeartbeatReply{}", context(read.as_ref())),
        Body::Snapshot(meta) => format!("Snapshot {}/{}", meta.index, meta.term),
        Body::TimeoutNow => "TimeoutNow".into(),
        Body::ReadIndex(c) => format!("ReadIndex{}", context(Some(c))),
        Body::ReadIndexReply { context: c, index } => {
            format!("ReadIndexReply{} at {index}", context(Some(c)))
        }
        Body::StaleTerm => "StaleTerm".into(),
    }
}

fn entry_id(id: EntryId) -> String {
    format!("{}/{}", id.index, id.term)
}

fn context(context: Option<&ReadContext>) -> String {
    context.map_or(String::new(), |c| format!(" read={}.{}.{}", c.term, c.incarnation, c.sequence))
}

fn entries(entries: &[Entry]) -> String {
    let entry = |e: &Entry| match e.kind {
        EntryKind::Normal => format!("{}/{} '{}'", e.index, e.term, e.data.escape_ascii()),
        EntryKind::ConfChange => format!("{}/{} conf-change", e.index, e.term),
    };
    format!("[{}]", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
}

pub fn membership(m: &Membership) -> String {
    let set = |ids: &std::collections::BTreeSet<MemberId>| {
        ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    let mut text = format!("voters={}", set(&m.voters));
    for (name, ids) in
        [("outgoing", &m.voters_outgoing), ("learners", &m.learners), ("learners-next", &m.learners_next)]
    {
        if !ids.is_empty() {
            text += &format!(" {name}={}", set(ids));
        }
    }
    text + if m.auto_leave { " auto-leave" } else { "" }
}
