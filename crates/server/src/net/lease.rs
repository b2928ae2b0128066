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
use windlass_replica::lease::{LeaseAnswer, LeaseAsk, check_grant};
use windlass_replica::reading::ReadRequest;
use windlass_rpc::{CallId, Code};
use windlass_types::{LeaseId, RequestError, RequestId};

use super::arbiter::Arbiter;
use super::calls::Pending;
use super::reads::Reader;
use crate::consensus::FromArbiter;

/// Renewals of one stream that wait for their answers. At the bound the stream is ended with `too many requests`.
const STREAM_RENEWALS_MAX: usize = 1 << 14;

/// The calls about leases that wait, of one arbiter.
pub struct LeaseCalls {
    /// Questions of this turn.
    asks: Vec<(RequestId, LeaseAsk)>,
    streams: HashMap<CallId, KeepAlives>,
    times: HashMap<RequestId, LeaseTimeToLiveRequest>,
    ids: LeaseIds,
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

/// Where ids of leases come from that clients leave to the server. (splitmix64)
struct LeaseIds(u64);

impl LeaseIds {
    fn next(&mut self) -> LeaseId {
        loop {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = self.0;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = LeaseId(((x ^ (x >> 31)) >> 1).cast_signed());
            if id != LeaseId::ZERO {
                return id;
            }
        }
    }
}

impl LeaseCalls {
    /// None wait. `seed` must differ from all others of the cluster, now and later.
    pub fn new(seed: u64) -> Self {
        let ids = LeaseIds(seed);
        Self { asks: Vec::new(), streams: HashMap::new(), times: HashMap::new(), ids }
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
    }

    /// Forgets calls whose clients are gone.
    pub fn withdrawn(&mut self, ids: &HashSet<RequestId>) {
        if !self.times.is_empty() {
            self.times.retain(|id, _| !ids.contains(id));
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
                self.leases.times.insert(id, request);
            }
            None => self.refuse(call, RequestError::TooManyRequests),
        }
    }

    /// `Lease.LeaseLeases`: what this member knows, without asking another.
    pub(super) fn lease_leases(&mut self, call: CallId) {
        match self.calls.insert(call, self.now) {
            Some(id) => self.consensus.do_send(FromArbiter::Leases(id)),
            None => self.refuse(call, RequestError::TooManyRequests),
        }
    }

    /// The consensus actor said which leases there are.
    pub(super) fn leases_listed(&mut self, id: RequestId, leases: Vec<LeaseId>) {
        let Some(pending) = self.calls.take(id) else { return };
        let leases = leases.into_iter().map(|id| LeaseStatus { id: id.0 }).collect();
        self.reply(pending.call, &LeaseLeasesResponse { header: Some(self.headers.now()), leases });
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
                self.leases.asks.push((id, LeaseAsk::KeepAlive(lease)));
            }
            None => self.end_keep_alives_with(call, RequestError::TooManyRequests),
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
        if let Some(request) = self.leases.times.remove(&id) {
            return self.time_answered(call, request, answer);
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

    /// A read found the keys of a lease whose time to live was asked for.
    pub(super) fn lease_keys(
        &mut self,
        call: CallId,
        mut response: LeaseTimeToLiveResponse,
        keys: Vec<Bytes>,
    ) {
        response.keys = keys;
        self.reply(call, &response);
    }

    fn time_answered(&mut self, call: CallId, request: LeaseTimeToLiveRequest, answer: LeaseAnswer) {
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
                    self.read(reader, ReadRequest::LeaseKeys(LeaseId(id)), false);
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

    fn end_keep_alives_with(&mut self, call: CallId, error: RequestError) {
        self.end_keep_alives(call, error.code(), error.text());
    }

    fn end_keep_alives(&mut self, call: CallId, code: Code, text: &str) {
        self.leases.streams.remove(&call);
        self.net.stream_end(call, code, text);
    }
}
