//! Whether a call may be carried out, once authentication is in force.
//!
//! What each operation needs is said by [`Need`], and granted or refused by the users and roles of the log
//! ([`windlass_replica::auth`]). What goes through the log is looked at there, in its order; here the command is given the name
//! of who sent it. Reads and watches are looked at here, where they are carried out; so are calls about this member alone.
//! Without authentication this costs a call one look at a flag.

use windlass_replica::auth::{Asker, Keys, Need};
use windlass_replica::reading::ReadRequest;
use windlass_rpc::{CallId, Meta};
use windlass_types::RequestError;

use std::sync::Arc;

use prost::Message;
use windlass_api::etcdserverpb::alarm_request::AlarmAction;
use windlass_api::etcdserverpb::{AlarmRequest, RangeRequest};
use windlass_types::key::KeyRange;

use super::arbiter::Arbiter;
use super::reads::{Read, Reader};
use super::routes::Method;
use crate::auth::{Caller, Known};

/// A call whose token this member does not know yet: it is carried out when the member has applied what was acknowledged
/// before the call came.
#[derive(Debug)]
pub struct Again {
    /// The call.
    pub call: CallId,
    /// Its method.
    pub method: Method,
    /// Whether it is a message of a stream.
    pub streams: bool,
    /// Its message.
    pub message: Vec<u8>,
}

impl Arbiter {
    /// A unary call, while authentication is in force.
    pub(super) fn guarded_unary(&mut self, call: CallId, method: Method, meta: &Meta, message: &[u8]) {
        self.caller = self.authority.caller(meta, || self.net.protected(call));
        if self.authority.may_come(&self.caller, self.published.applied()) {
            self.carry_out_later(Again { call, method, streams: false, message: message.to_vec() });
        } else {
            self.permitted_unary(call, method, message);
        }
        self.caller = Caller::Nobody;
    }

    fn permitted_unary(&mut self, call: CallId, method: Method, message: &[u8]) {
        let permitted = need_of(method, message).map_or(Ok(None), |need| self.permit(&self.caller, need));
        match permitted {
            Ok(_) => self.unary(call, method, message),
            Err(error) => self.refuse(call, error),
        }
    }

    /// A stream begins: who makes it is kept for its messages.
    pub(super) fn stream_opened(&mut self, call: CallId, meta: &Meta) {
        let caller = self.authority.caller(meta, || self.net.protected(call));
        if caller != Caller::Nobody {
            self.stream_callers.insert(call, caller);
        }
    }

    /// A message of a stream, while authentication is in force.
    pub(super) fn guarded_message(&mut self, call: CallId, method: Method, message: &[u8]) {
        self.caller = self.stream_callers.get(&call).cloned().unwrap_or_default();
        if self.authority.may_come(&self.caller, self.published.applied()) {
            self.carry_out_later(Again { call, method, streams: true, message: message.to_vec() });
        } else {
            self.permitted_message(call, method, message);
        }
        self.caller = Caller::Nobody;
    }

    fn permitted_message(&mut self, call: CallId, method: Method, message: &[u8]) {
        let permitted = need_of(method, message).map_or(Ok(None), |need| self.permit(&self.caller, need));
        match permitted {
            Ok(_) => self.stream_message(call, method, message),
            Err(error) => self.net.stream_end(call, error.code(), error.text()),
        }
    }

    /// Forgets who made streams that are over.
    pub(super) fn sweep_callers(&mut self) {
        if !self.stream_callers.is_empty() {
            let net = &self.net;
            self.stream_callers.retain(|call, _| net.is_live(*call));
        }
    }

    fn carry_out_later(&mut self, again: Again) {
        let range = RangeRequest { key: "\0".into(), count_only: true, ..RangeRequest::default() };
        self.read(Reader::Again(Box::new(again)), ReadRequest::Range(range.into()), false);
    }

    /// The member has applied what may have assigned the token.
    pub(super) fn carry_out_again(&mut self, caller: Caller, again: Again) {
        let Again { call, method, streams, message } = again;
        self.caller = caller;
        match streams {
            true => self.permitted_message(call, method, &message),
            false => self.permitted_unary(call, method, &message),
        }
        self.caller = Caller::Nobody;
        self.end_turn();
    }

    /// Whether a caller may have what is needed, as of what this member has applied. Of the keys of a lease it says which
    /// they must be among, where that is to be looked at.
    pub(super) fn permit(&self, caller: &Caller, need: Need<'_>) -> Result<Option<Arc<Keys>>, RequestError> {
        if *caller == Caller::Member || !self.published.is_auth_enabled() {
            return Ok(None);
        }
        let auth = self.published.auth();
        let known = self.authority.identify(caller, &auth)?;
        auth.check(known.as_ref().map_or(Asker::NOBODY, Known::asker), need)
    }

    /// Whether a caller may read each of these keys.
    pub(super) fn permit_keys(&self, caller: &Caller, keys: &[bytes::Bytes]) -> Result<(), RequestError> {
        // One who may read all is asked once.
        if self.permit(caller, Need::Read(KeyRange::From(&[0]))).is_ok() {
            return Ok(());
        }
        keys.iter().try_for_each(|key| self.permit(caller, Need::Read(KeyRange::Point(key))).map(|_| ()))
    }

    /// Whether a read may begin. Notes as of when.
    pub(super) fn permit_read(&self, read: &mut Read) -> Result<(), RequestError> {
        read.permitted_at = 0;
        if !matches!(read.reader, Reader::Call(_) | Reader::Stream(_)) {
            return Ok(());
        }
        let at = self.published.auth_stamp();
        match &read.request {
            ReadRequest::Range(range) => drop(self.permit(&read.caller, Need::of_range(range))?),
            ReadRequest::Txn(txn) => {
                // It may need nothing, and yet a token must be good.
                self.authority.identify(&read.caller, &self.published.auth())?;
                for need in Need::of_transaction(txn) {
                    self.permit(&read.caller, need)?;
                }
            }
            // Who may ask for a hash was found out when the call came.
            _ => return Ok(()),
        }
        if read.caller != Caller::Member {
            read.permitted_at = at;
        }
        Ok(())
    }

    /// Whether what permitted a read is still so. Source: etcd `v3_server.go` `doSerialize`.
    pub(super) fn is_still_permitted(&self, read: &Read) -> bool {
        read.permitted_at == 0 || read.permitted_at == self.published.auth_stamp()
    }

    /// Who makes the call under way, as a command is told of it.
    pub(super) fn credential(&self) -> Result<Vec<u8>, RequestError> {
        let mut credential = Vec::new();
        if let Some(known) = self.authority.identify(&self.caller, &self.published.auth())? {
            known.asker().encode(&mut credential);
        }
        Ok(credential)
    }
}

/// What a call needs before it is looked at. Source: etcd's servers of `v3rpc`, and `EtcdServer.requireAuthInfo`.
fn need_of(method: Method, message: &[u8]) -> Option<Need<'static>> {
    match method {
        Method::MemberAdd
        | Method::MemberRemove
        | Method::MemberUpdate
        | Method::MemberPromote
        | Method::MoveLeader
        | Method::Defragment
        | Method::Snapshot
        | Method::Downgrade
        | Method::Hash
        | Method::HashKv => Some(Need::Root),
        Method::MemberList | Method::Status | Method::LeaseTimeToLive | Method::LeaseLeases => {
            Some(Need::User)
        }
        // Raising and lifting one is looked at in the log.
        Method::Alarm => {
            let gets = |request: AlarmRequest| request.action == AlarmAction::Get as i32;
            AlarmRequest::decode(message).is_ok_and(gets).then_some(Need::User)
        }
        // Looked at in the log.
        Method::Put
        | Method::DeleteRange
        | Method::Txn
        | Method::Compact
        | Method::LeaseGrant
        | Method::LeaseRevoke => None,
        // Looked at where they begin to read.
        Method::Range | Method::RangeStream | Method::Watch | Method::LeaseKeepAlive => None,
        // Each by itself: `net::auth`.
        Method::Auth(_) => None,
        // They call others in the name of their callers.
        Method::Lock
        | Method::Unlock
        | Method::Campaign
        | Method::Proclaim
        | Method::Leader
        | Method::Resign
        | Method::Observe => None,
        Method::HealthCheck | Method::HealthList | Method::HealthWatch => None,
    }
}
