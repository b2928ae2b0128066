//! `Cluster` and `Maintenance.MoveLeader`: who the members are, and how that changes.
//!
//! A change goes through the log like a write. What can be said of a request by itself is said here, in etcd's order
//! (`v3rpc/member.go`); the leader decides the rest.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use windlass_api::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest,
    MemberUpdateResponse, MoveLeaderRequest, MoveLeaderResponse, RangeRequest,
};
use windlass_records::batch::CommandKind;
use windlass_replica::membership::Members;
use windlass_replica::reading::ReadRequest;
use windlass_rpc::CallId;
use windlass_types::{MemberId, RequestError, RequestId};

use super::arbiter::Arbiter;
use super::reads::Reader;
use crate::consensus::FromArbiter;
use crate::startup::{flags, identity};

impl Arbiter {
    /// `Cluster.MemberList`
    pub(super) fn member_list(&mut self, call: CallId, message: &[u8]) {
        match MemberListRequest::decode(message) {
            // As any linearizable read: it waits for its place in the log, and then looks at what was applied.
            Ok(request) if request.linearizable => {
                let range = RangeRequest { key: "\0".into(), count_only: true, ..RangeRequest::default() };
                self.read(Reader::Members(call), ReadRequest::Range(range.into()), false);
            }
            Ok(_) => self.give_members(call),
            Err(error) => self.refuse_message(call, &error),
        }
    }

    /// Answers with the members as of now.
    pub(super) fn give_members(&self, call: CallId) {
        let members = listed(&self.published.members());
        let header = Some(self.headers.without_revision());
        self.reply(call, &MemberListResponse { header, members });
    }

    /// `Cluster.MemberAdd`
    pub(super) fn member_add(&mut self, call: CallId, message: &[u8]) {
        let request = match MemberAddRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        let Some(mut peer_ur_ls) = checked_urls(&request.peer_ur_ls) else {
            return self.refuse(call, RequestError::MemberBadUrls);
        };
        peer_ur_ls.sort();
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let urls: Vec<&str> = peer_ur_ls.iter().map(String::as_str).collect();
        let id = identity::added_member_id(&urls, &self.info.token, now_s).0;
        let member = Member { id, peer_ur_ls, is_learner: request.is_learner, ..Member::default() };
        self.change_members(call, CommandKind::MemberAdd, member);
    }

    /// `Cluster.MemberRemove`
    pub(super) fn member_remove(&mut self, call: CallId, message: &[u8]) {
        match MemberRemoveRequest::decode(message) {
            Ok(request) => {
                let member = Member { id: request.id, ..Member::default() };
                self.change_members(call, CommandKind::MemberRemove, member);
            }
            Err(error) => self.refuse_message(call, &error),
        }
    }

    /// `Cluster.MemberUpdate`
    pub(super) fn member_update(&mut self, call: CallId, message: &[u8]) {
        let request = match MemberUpdateRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        // etcd looks at nothing but the id, and stops working with URLs that are none.
        let Some(peer_ur_ls) = checked_urls(&request.peer_ur_ls) else {
            let is_known = self.published.members().get(MemberId(request.id)).is_some();
            let error = if is_known { RequestError::MemberBadUrls } else { RequestError::MemberNotFound };
            return self.refuse(call, error);
        };
        let member = Member { id: request.id, peer_ur_ls, ..Member::default() };
        self.change_members(call, CommandKind::MemberUpdate, member);
    }

    /// `Cluster.MemberPromote`
    pub(super) fn member_promote(&mut self, call: CallId, message: &[u8]) {
        match MemberPromoteRequest::decode(message) {
            Ok(request) => {
                let member = Member { id: request.id, ..Member::default() };
                self.change_members(call, CommandKind::MemberPromote, member);
            }
            Err(error) => self.refuse_message(call, &error),
        }
    }

    /// `Maintenance.MoveLeader`
    pub(super) fn move_leader(&mut self, call: CallId, message: &[u8]) {
        let request = match MoveLeaderRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        if self.published.leader() != self.published.member {
            return self.refuse(call, RequestError::NotLeader);
        }
        if let Some(id) = self.await_answer(call) {
            self.consensus.do_send(FromArbiter::MoveLeader { id, to: MemberId(request.target_id) });
        }
    }

    /// A new leader was elected, or not.
    pub(super) fn leader_moved(&mut self, id: RequestId, result: Result<(), RequestError>) {
        let Some(pending) = self.calls.take(id) else { return };
        match result {
            // etcd sets no header here.
            Ok(()) => self.reply(pending.call, &MoveLeaderResponse { header: None }),
            Err(error) => self.refuse(pending.call, error),
        }
    }

    /// A change of the members was applied.
    pub(super) fn members_changed(&self, call: CallId, kind: CommandKind, id: MemberId, members: &Members) {
        let (header, all) = (Some(self.headers.without_revision()), listed(members));
        match kind {
            CommandKind::MemberAdd => {
                let member = members.get(id).cloned();
                self.reply(call, &MemberAddResponse { header, member, members: all });
            }
            CommandKind::MemberRemove => self.reply(call, &MemberRemoveResponse { header, members: all }),
            CommandKind::MemberPromote => self.reply(call, &MemberPromoteResponse { header, members: all }),
            _ => self.reply(call, &MemberUpdateResponse { header, members: all }),
        }
    }

    fn change_members(&mut self, call: CallId, kind: CommandKind, member: Member) {
        if let Some(id) = self.await_answer(call) {
            let member = Box::new(member);
            self.consensus.do_send(FromArbiter::Change { id, kind, member });
        }
    }

    fn await_answer(&mut self, call: CallId) -> Option<RequestId> {
        let id = self.calls.insert(call, self.now);
        if id.is_none() {
            self.refuse(call, RequestError::TooManyRequests);
        }
        id
    }
}

fn listed(members: &Members) -> Vec<Member> {
    members.iter().cloned().collect()
}

/// The URLs, in their order, each of them such that the other members can reach it, at least one. etcd, which sorts those of
/// a new member, also takes URLs of Unix sockets and such without a host; no member here could connect to one.
fn checked_urls(urls: &[String]) -> Option<Vec<String>> {
    let one = |text: &String| match flags::parse_urls(text).ok()?.as_slice() {
        [url] => url.as_str().parse::<windlass_peer::Url>().ok().map(|_| url.to_string()),
        _ => None,
    };
    let texts: Vec<String> = urls.iter().map(one).collect::<Option<_>>()?;
    (!texts.is_empty()).then_some(texts)
}
