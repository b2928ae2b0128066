//! Calls that are answered from what this member knows of itself: status, health.

use std::collections::HashSet;

use prost::Message;
use windlass_api::etcdserverpb::{DefragmentResponse, DowngradeInfo, StatusResponse};
use windlass_api::health::health_check_response::ServingStatus;
use windlass_api::health::{HealthCheckRequest, HealthCheckResponse, HealthListResponse};
use windlass_replica::alarm::text;
use windlass_rpc::{CallId, Code};
use windlass_types::{MemberId, RequestError};

use super::arbiter::Arbiter;

/// The etcd version that clients are told: the one whose semantics this server has. Purely numeric, because Patroni
/// and Kubernetes parse it.
pub const ETCD_VERSION: &str = "3.6.14";

/// The storage version that goes with [`ETCD_VERSION`].
pub const STORAGE_VERSION: &str = "3.6.0";

/// Who this member is.
#[derive(Clone, Debug)]
pub struct MemberInfo {
    /// Its id.
    pub id: MemberId,
    /// The token of its cluster, from which the ids of further members follow.
    pub token: String,
    /// Whether `/debug/settings` is there.
    pub live_settings: bool,
}

/// The `Health.Watch` streams of one arbiter.
#[derive(Default)]
pub struct HealthWatches {
    streams: HashSet<CallId>,
    /// What the last sweep found.
    told: Option<HealthCheckResponse>,
}

impl HealthWatches {
    /// A stream is gone, whichever it was.
    pub fn closed(&mut self, call: CallId) {
        self.streams.remove(&call);
    }
}

impl Arbiter {
    /// `Maintenance.Status`
    pub(super) fn status(&mut self, call: CallId) {
        let published = &self.published;
        let bytes = i64::try_from(published.store_bytes()).unwrap_or(i64::MAX);
        let leader = published.leader().0;
        let no_leader = (leader == 0).then(|| RequestError::NoLeader.text().to_owned());
        let alarms = published.alarms();
        let errors = no_leader.into_iter().chain(alarms.iter().map(|alarm| text(&alarm))).collect();
        let quota = self.limits.quota_bytes.map_or(0, |q| i64::try_from(q).unwrap_or(i64::MAX));
        let response = StatusResponse {
            header: Some(self.headers.now()),
            version: ETCD_VERSION.to_owned(),
            db_size: bytes,
            leader,
            raft_index: published.last_index().0,
            raft_term: published.term().0,
            raft_applied_index: published.applied().0,
            errors,
            db_size_in_use: bytes,
            is_learner: published.is_learner(),
            storage_version: STORAGE_VERSION.to_owned(),
            db_size_quota: quota,
            downgrade_info: Some(DowngradeInfo::default()),
        };
        self.reply(call, &response);
    }

    /// `Maintenance.Defragment`: space is reclaimed while the member runs, so this only hastens what would come anyway, and
    /// holds nobody up.
    pub(super) fn defragment(&self, call: CallId) {
        self.shards.hasten();
        // etcd sets no header here.
        self.reply(call, &DefragmentResponse { header: None });
    }

    /// `Health.Check`
    pub(super) fn health_check(&mut self, call: CallId, message: &[u8]) {
        match HealthCheckRequest::decode(message) {
            Ok(request) if request.service.is_empty() => self.reply(call, &self.serving_status()),
            Ok(_) => self.net.fail(call, Code::NotFound, "unknown service"),
            Err(error) => self.refuse_message(call, &error),
        }
    }

    /// `Health.List`
    pub(super) fn health_list(&mut self, call: CallId) {
        let statuses = [(String::new(), self.serving_status())].into_iter().collect();
        self.reply(call, &HealthListResponse { statuses });
    }

    /// `Health.Watch`: says how it is, and again when that changes.
    pub(super) fn health_watch(&mut self, call: CallId, message: &[u8]) {
        let known = matches!(HealthCheckRequest::decode(message), Ok(request) if request.service.is_empty());
        let status = if known {
            self.health.streams.insert(call);
            self.serving_status()
        } else {
            HealthCheckResponse { status: ServingStatus::ServiceUnknown as i32 }
        };
        self.net.stream_send_with(call, |out| status.encode(out).expect("a vector takes any length"));
    }

    /// Tells those who watch the health if it has changed.
    pub(super) fn health_sweep(&mut self) {
        let now = self.serving_status();
        if self.health.told.replace(now).is_none_or(|told| told == now) {
            return;
        }
        for &stream in &self.health.streams {
            self.net.stream_send_with(stream, |out| now.encode(out).expect("a vector takes any length"));
        }
    }

    fn serving_status(&self) -> HealthCheckResponse {
        let serves = self.published.is_serving() && !self.published.is_damaged();
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        HealthCheckResponse { status: status as i32 }
    }
}
