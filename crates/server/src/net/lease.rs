//! The Lease service: grants and ends go through the log, everything about time is asked of the leader.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeRequest, LeaseStatus, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, ResponseHeader,
};
use windlass_records::batch::CommandKind;
use windlass_replica::alarm::LEASE_BYTES;
use windlass_replica::auth::Need;
use windlass_replica::lease::{LeaseAnswer, LeaseAsk, check_grant};
use windlass_replica::reading::ReadRequest;
use windlass_rpc::{CallId, Code};
use windlass_types::key::KeyRange;
use windlass_types::splitmix::SplitMix64;
use windlass_types::{LeaseId, RequestError, RequestId};

use super::arbiter::Arbiter;
use super::calls::Pending;
use super::reads::Reader;
use crate::auth::Caller;
use crate::consensus::FromArbiter;

/// Renewals of one stream that wait for their answers. At the bound the stream is ended with `too many requests`.
const STREAM_RENEWALS_MAX: usize = 1 << 14;

/// The calls about leases that wait, of one arbiter.
pub struct LeaseCalls {
    /// Questions of this turn.
    asks: Vec<(RequestId, LeaseAsk)>,
    streams: HashMap<CallId, KeepAlives>,
    times: HashMap<RequestId, (LeaseTimeToLiveRequest, Caller)>,
    /// Lists that are asked for by somebody who must say who they are.
    lists: HashMap<RequestId, Caller>,
    ids: LeaseIds,
}

/// Leases that are listed once it is known that all their keys may be read.
#[derive(Debug)]
pub struct LeaseList {
    leases: Vec<LeaseId>,
    /// Of so many the keys were looked at.
    looked_at: usize,
}

/// One stream of renewals; they are answered in order.
#[derive(Default)]
struct KeepAlives {
    rows: VecDeque<KeepAlive>,
    half_closed: bool,
}

/// One renewal.
struct KeepAlive {
    id: RequestId,
    lease: LeaseId,
    /// As of when it came. Source: etcd `v3rpc/lease.go`.
    header: ResponseHeader,
    /// The answer, while one before it is missing.
    ttl_s: Option<i64>,
}

/// Where ids of leases come from that clients leave to the server.
struct LeaseIds(SplitMix64);

impl LeaseIds {
    fn next(&mut self) -> LeaseId {
        loop {
            let id = LeaseId((self.0.bits() >> 1).cast_signed());
            if id != LeaseId::ZERO {
                return id;
            }
        }
    }
}

impl LeaseCalls {
    /// None wait. `seed` must differ from all others of the cluster, now and later.
    pub fn new(seed: u64) -> Self {
        let ids = LeaseIds(SplitMix64::new(seed));
        Self { asks: Vec::new(), streams: HashMap::new(), times: HashMap::new(), lists: HashMap::new(), ids }
    }

    /// The questions of this turn.
    pub fn take_asks(&mut self) -> Vec<(RequestId, LeaseAsk)> {
        std::mem::take(&mut self.asks)
    }

    /// A stream of renewals began.
    pub fn opened(&mut self, call: CallId) {
        self.streams.insert(call, KeepAlives::default());
    }

    /// Forgets a call that is over.
    pub fn forget(&mut self, pending: &Pending) {
        self.streams.remove(&pending.call);
        self.times.remove(&pending.id);
        self.lists.remove(&pending.id);
    }

    /// Forgets calls whose clients are gone.
    pub fn withdrawn(&mut self, ids: &HashSet<RequestId>) {
        if !self.times.is_empty() {
            self.times.retain(|id, _| !ids.contains(id));
        }
        if !self.lists.is_empty() {
            self.lists.retain(|id, _| !ids.contains(id));
        }
    }

    /// Forgets a stream whose client is gone.
    pub fn cancelled(&mut self, call: CallId) {
        self.streams.remove(&call);
    }
}

impl Arbiter {
    /// `Lease.LeaseGrant`
    pub(super) fn lease_grant(&mut self, call: CallId, message: &[u8]) {
        let mut request = match LeaseGrantRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        if let Err(error) = check_grant(request.ttl) {
            return self.refuse(call, error);
        }
        if !self.has_room(call, LEASE_BYTES) {
            return;
        }
        // Decided here, so that every member grants the same.
        request.ttl = request.ttl.max(self.limits.lease_ttl_s_min);
        if request.id == 0 {
            request.id = self.leases.ids.next().0;
        }
        self.propose(call, CommandKind::LeaseGrant, &request.encode_to_vec());
    }

    /// `Lease.LeaseRevoke`
    pub(super) fn lease_revoke(&mut self, call: CallId, message: &[u8]) {
        match LeaseRevokeRequest::decode(message) {
            Ok(_) => self.propose(call, CommandKind::LeaseRevoke, message),
            Err(error) => self.refuse_message(call, &error),
        }
    }

    /// `Lease.LeaseTimeToLive`
    pub(super) fn lease_time_to_live(&mut self, call: CallId, message: &[u8]) {
        let request = match LeaseTimeToLiveRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        match self.calls.insert(call, self.now) {
            Some(id) => {
                self.leases.asks.push((id, LeaseAsk::TimeToLive(LeaseId(request.id))));
                self.leases.times.insert(id, (request, self.caller.clone()));
            }
            None => self.refuse(call, RequestError::TooManyRequests),
        }
    }

    /// `Lease.LeaseLeases`: what this member knows, without asking another.
    pub(super) fn lease_leases(&mut self, call: CallId) {
        match self.calls.insert(call, self.now) {
            Some(id) => {
                if self.published.is_auth_enabled() {
                    self.leases.lists.insert(id, self.caller.clone());
                }
                self.consensus.do_send(FromArbiter::Leases(id));
            }
            None => self.refuse(call, RequestError::TooManyRequests),
        }
    }

    /// The consensus actor said which leases there are.
    pub(super) fn leases_listed(&mut self, id: RequestId, leases: Vec<LeaseId>) {
        let caller = self.leases.lists.remove(&id);
        let Some(pending) = self.calls.take(id) else { return };
        match caller {
            Some(caller) => self.look_at_leases(pending.call, caller, LeaseList { leases, looked_at: 0 }),
            None => self.give_leases(pending.call, &leases),
        }
    }

    fn give_leases(&self, call: CallId, leases: &[LeaseId]) {
        let leases = leases.iter().map(|id| LeaseStatus { id: id.0 }).collect();
        self.reply(call, &LeaseLeasesResponse { header: Some(self.headers.now()), leases });
    }

    /// Goes on with a list that is for somebody who may read every key of every lease in it, or nothing of it. Source: etcd
    /// `v3_server.go` `checkLeaseLeases`.
    fn look_at_leases(&mut self, call: CallId, caller: Caller, list: LeaseList) {
        let may_read_all = self.permit(&caller, Need::Read(KeyRange::From(&[0]))).is_ok();
        match list.leases.get(list.looked_at).copied().filter(|_| !may_read_all) {
            Some(next) => {
                let reader = Reader::Leases(call, Box::new(list));
                self.read_as(caller, reader, ReadRequest::LeaseKeys(next), true);
            }
            None => self.give_leases(call, &list.leases),
        }
    }

    /// A message of `Lease.LeaseKeepAlive`
    pub(super) fn keep_alive(&mut self, call: CallId, message: &[u8]) {
        let lease = match LeaseKeepAliveRequest::decode(message) {
            Ok(request) => LeaseId(request.id),
            Err(error) => {
                let text = format!("grpc: error unmarshalling request: {error}");
                return self.end_keep_alives(call, Code::Internal, &text);
            }
        };
        let header = self.headers.now();
        // One that was ended meanwhile gets no answers.
        let Some(KeepAlives { rows, .. }) = self.leases.streams.get_mut(&call) else { return };
        let id = if rows.len() < STREAM_RENEWALS_MAX { self.calls.insert(call, self.now) } else { None };
        match id {
            Some(id) => {
                rows.push_back(KeepAlive { id, lease, header, ttl_s: None });
                self.renew(call, id, lease);
            }
            None => self.end_keep_alives_with(call, RequestError::TooManyRequests),
        }
    }

    /// Asks the leader to renew a lease, if whoever wants it may write all its keys. Source: etcd `v3_server.go`
    /// `checkLeaseRenew`.
    fn renew(&mut self, call: CallId, id: RequestId, lease: LeaseId) {
        match self.permit(&self.caller, Need::WriteAttached(lease)) {
            Ok(None) => self.leases.asks.push((id, LeaseAsk::KeepAlive(lease))),
            Ok(Some(_)) => {
                self.read(Reader::Renewal(call, id, lease), ReadRequest::LeaseKeys(lease), true);
            }
            Err(error) => self.end_keep_alives_with(call, error),
        }
    }

    /// The client sends no more on a stream, if it is one of renewals.
    pub(super) fn keep_alive_half_closed(&mut self, call: CallId) {
        if let Some(stream) = self.leases.streams.get_mut(&call) {
            stream.half_closed = true;
            self.send_keep_alives(call);
        }
    }

    /// The leader answered.
    pub(super) fn lease_answered(&mut self, id: RequestId, answer: LeaseAnswer) {
        let Some(Pending { call, .. }) = self.calls.take(id) else { return };
        if let Some((request, caller)) = self.leases.times.remove(&id) {
            return self.time_answered(call, caller, request, answer);
        }
        let ttl_s = match answer {
            LeaseAnswer::Renewed { ttl_s } => ttl_s,
            LeaseAnswer::NotLeader => return self.end_keep_alives_with(call, LeaseAnswer::NO_LEADER),
            LeaseAnswer::Missing | LeaseAnswer::Left { .. } => 0,
        };
        let stream = self.leases.streams.get_mut(&call);
        if let Some(row) = stream.and_then(|stream| stream.rows.iter_mut().find(|row| row.id == id)) {
            row.ttl_s = Some(ttl_s);
            self.send_keep_alives(call);
        }
    }

    /// A read found the keys of a lease.
    pub(super) fn give_lease_keys(&mut self, reader: Reader, caller: Caller, keys: Vec<Bytes>) {
        match reader {
            Reader::Lease(call, response) => match self.permit_keys(&caller, &keys) {
                Ok(()) => self.reply(call, &LeaseTimeToLiveResponse { keys, ..*response }),
                Err(error) => self.refuse(call, error),
            },
            Reader::Leases(call, mut list) => match self.permit_keys(&caller, &keys) {
                Ok(()) => {
                    list.looked_at += 1;
                    self.look_at_leases(call, caller, *list);
                }
                Err(error) => self.refuse(call, error),
            },
            Reader::Renewal(call, id, lease) => {
                let permitted = self.permit(&caller, Need::WriteAttached(lease)).and_then(|writable| {
                    let may = writable.is_none_or(|writable| keys.iter().all(|key| writable.contains(key)));
                    if may { Ok(()) } else { Err(RequestError::PermissionDenied) }
                });
                match permitted {
                    Ok(()) => self.leases.asks.push((id, LeaseAsk::KeepAlive(lease))),
                    Err(error) => self.end_keep_alives_with(call, error),
                }
                self.end_turn();
            }
            _ => unreachable!("nobody else asks for the keys of a lease"),
        }
    }

    fn time_answered(
        &mut self,
        call: CallId,
        caller: Caller,
        request: LeaseTimeToLiveRequest,
        answer: LeaseAnswer,
    ) {
        let header = Some(self.headers.now());
        let LeaseTimeToLiveRequest { id, keys } = request;
        let response = LeaseTimeToLiveResponse { header, id, ttl: -1, granted_ttl: 0, keys: Vec::new() };
        match answer {
            LeaseAnswer::NotLeader => self.refuse(call, LeaseAnswer::NO_LEADER),
            LeaseAnswer::Missing | LeaseAnswer::Renewed { .. } => self.reply(call, &response),
            LeaseAnswer::Left { left_s, ttl_s } => {
                let response = LeaseTimeToLiveResponse { ttl: left_s, granted_ttl: ttl_s, ..response };
                if keys {
                    let reader = Reader::Lease(call, Box::new(response));
                    self.read_as(caller, reader, ReadRequest::LeaseKeys(LeaseId(id)), false);
                    self.end_turn();
                } else {
                    self.reply(call, &response);
                }
            }
        }
    }

    /// Sends the answers that no earlier one is missing for.
    fn send_keep_alives(&mut self, call: CallId) {
        let Some(stream) = self.leases.streams.get_mut(&call) else { return };
        while let Some(row) = stream.rows.pop_front_if(|row| row.ttl_s.is_some()) {
            let response = LeaseKeepAliveResponse {
                header: Some(row.header),
                id: row.lease.0,
                ttl: row.ttl_s.unwrap_or(0),
            };
            self.net.stream_send_with(call, |out| response.encode(out).expect("a vector takes any length"));
        }
        if stream.half_closed && stream.rows.is_empty() {
            self.end_keep_alives(call, Code::Ok, "");
        }
    }

    /// Ends all streams of renewals, for a reason that all have in common.
    pub(super) fn end_all_keep_alives(&mut self, error: RequestError) {
        let streams: Vec<CallId> = self.leases.streams.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.end_keep_alives_with(stream, error));
    }

    pub(super) fn end_keep_alives_with(&mut self, call: CallId, error: RequestError) {
        self.end_keep_alives(call, error.code(), error.text());
    }

    fn end_keep_alives(&mut self, call: CallId, code: Code, text: &str) {
        self.leases.streams.remove(&call);
        self.net.stream_end(call, code, text);
    }
}
