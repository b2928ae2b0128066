//! The lines of a trace, as the specification reads them: nothing more, nothing less.

use std::collections::BTreeSet;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub tag: String,
    pub ts: String,
    pub event: Event,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub name: Name,
    pub nid: String,
    pub state: State,
    pub role: Role,
    /// Index of the last entry.
    pub log: u64,
    /// Voters, and those of the membership that a joint one leaves.
    pub conf: [BTreeSet<String>; 2],
    pub msg: Option<Message>,
    pub prop: Option<Properties>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Name {
    InitState,
    BecomeCandidate,
    BecomeFollower,
    BecomeLeader,
    Commit,
    Replicate,
    ChangeConf,
    ApplyConfChange,
    Ready,
    SendAppendEntriesRequest,
    ReceiveAppendEntriesRequest,
    SendAppendEntriesResponse,
    ReceiveAppendEntriesResponse,
    SendRequestVoteRequest,
    ReceiveRequestVoteRequest,
    SendRequestVoteResponse,
    ReceiveRequestVoteResponse,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub term: u64,
    /// `0` for nobody.
    pub vote: String,
    pub commit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Role {
    #[serde(rename = "StateFollower")]
    Follower,
    #[serde(rename = "StateCandidate")]
    Candidate,
    #[serde(rename = "StateLeader")]
    Leader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Kind {
    #[serde(rename = "MsgApp")]
    Append,
    #[serde(rename = "MsgAppResp")]
    AppendResponse,
    #[serde(rename = "MsgHeartbeat")]
    Heartbeat,
    #[serde(rename = "MsgHeartbeatResp")]
    HeartbeatResponse,
    #[serde(rename = "MsgSnap")]
    Snapshot,
    #[serde(rename = "MsgVote")]
    Vote,
    #[serde(rename = "MsgVoteResp")]
    VoteResponse,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Message {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub term: u64,
    pub from: String,
    pub to: String,
    pub entries: u64,
    pub log_term: u64,
    pub index: u64,
    pub commit: u64,
    pub vote: String,
    pub reject: bool,
    pub reject_hint: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Properties {
    pub cc: ConfChange,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfChange {
    pub changes: Option<Vec<Change>>,
    pub newconf: Option<BTreeSet<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub nid: String,
    pub action: Action,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub enum Action {
    AddNewServer,
    AddLearner,
    RemoveServer,
}
