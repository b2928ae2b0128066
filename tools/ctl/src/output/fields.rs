//! The `fields` format: one line for each field, strings quoted as Go quotes them.

use std::fmt::Display;

use windlass_api::etcdserverpb::response_op::Response;
use windlass_api::etcdserverpb::{
    DeleteRangeResponse, MemberListResponse, PutResponse, RangeResponse, ResponseHeader, TxnResponse,
    WatchResponse,
};
use windlass_api::mvccpb::KeyValue;

use super::{EndpointHashKv, EndpointHealth, EndpointStatus, Forms, Reply, event_type, lease};
use crate::go;

/// Shows `reply`, if it has fields.
pub fn render(reply: &Reply) -> Option<String> {
    let mut fields = Fields(String::new());
    match reply {
        Reply::Put(response) => fields.put(response),
        Reply::Range(response) => fields.range(response),
        Reply::Delete(response) => fields.delete(response),
        Reply::Txn(response) => fields.txn(response),
        Reply::Watch(response) => fields.events(response),
        Reply::Members(response) => fields.members(response),
        Reply::Status(endpoints) => endpoints.iter().for_each(|endpoint| fields.status(endpoint)),
        Reply::Health(endpoints) => endpoints.iter().for_each(|endpoint| fields.health(endpoint)),
        Reply::HashKv(endpoints) => endpoints.iter().for_each(|endpoint| fields.hash_kv(endpoint)),
        Reply::Text(text) => fields.0.push_str(text),
        Reply::Forms(Forms { header, fields: lines, .. }) => {
            fields.header(*header);
            fields.0.push_str(lines.as_deref()?);
        }
        leases => {
            let (header, lines) = lease::fields(leases).expect("no others are left");
            fields.header(header);
            lines.iter().for_each(|(name, value)| fields.field(name, value));
        }
    }
    Some(fields.0)
}

struct Fields(String);

impl Fields {
    fn field(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("\"{name}\" : {value}\n"));
    }

    fn quoted(&mut self, name: &str, value: &[u8]) {
        self.field(name, go::quote(value));
    }

    fn end(&mut self) {
        self.0.push('\n');
    }

    fn events(&mut self, response: &WatchResponse) {
        self.header(response.header);
        for event in &response.events {
            self.field("Type", event_type(event));
            event.prev_kv.iter().for_each(|kv| self.pair("Prev", kv));
            event.kv.iter().for_each(|kv| self.pair("", kv));
        }
    }

    fn header(&mut self, header: Option<ResponseHeader>) {
        let header = header.unwrap_or_default();
        self.field("ClusterID", header.cluster_id);
        self.field("MemberID", header.member_id);
        self.field("Revision", header.revision);
        self.field("RaftTerm", header.raft_term);
    }

    fn pair(&mut self, prefix: &str, kv: &KeyValue) {
        self.quoted(&format!("{prefix}Key"), &kv.key);
        self.field(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.field(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.field(&format!("{prefix}Version"), kv.version);
        self.quoted(&format!("{prefix}Value"), &kv.value);
        self.field(&format!("{prefix}Lease"), kv.lease);
    }

    fn put(&mut self, response: &PutResponse) {
        self.header(response.header);
        response.prev_kv.iter().for_each(|kv| self.pair("Prev", kv));
    }

    fn range(&mut self, response: &RangeResponse) {
        self.header(response.header);
        response.kvs.iter().for_each(|kv| self.pair("", kv));
        self.field("More", response.more);
        self.field("Count", response.count);
    }

    fn delete(&mut self, response: &DeleteRangeResponse) {
        self.header(response.header);
        self.field("Deleted", response.deleted);
        response.prev_kvs.iter().for_each(|kv| self.pair("Prev", kv));
    }

    fn txn(&mut self, response: &TxnResponse) {
        self.header(response.header);
        self.field("Succeeded", response.succeeded);
        for operation in response.responses.iter().filter_map(|operation| operation.response.as_ref()) {
            match operation {
                Response::ResponsePut(response) => self.put(response),
                Response::ResponseRange(response) => self.range(response),
                Response::ResponseDeleteRange(response) => self.delete(response),
                Response::ResponseTxn(response) => self.txn(response),
            }
        }
    }

    fn members(&mut self, response: &MemberListResponse) {
        self.header(response.header);
        for member in &response.members {
            self.field("ID", member.id);
            self.quoted("Name", member.name.as_bytes());
            member.peer_ur_ls.iter().for_each(|url| self.quoted("PeerURL", url.as_bytes()));
            member.client_ur_ls.iter().for_each(|url| self.quoted("ClientURL", url.as_bytes()));
            self.field("IsLearner", member.is_learner);
            self.end();
        }
    }

    fn status(&mut self, EndpointStatus { endpoint, status }: &EndpointStatus) {
        self.header(status.header);
        self.quoted("Version", status.version.as_bytes());
        self.field("DBSize", status.db_size);
        self.field("Leader", status.leader);
        self.field("IsLearner", status.is_learner);
        self.field("RaftIndex", status.raft_index);
        self.field("RaftTerm", status.raft_term);
        self.field("RaftAppliedIndex", status.raft_applied_index);
        self.field("Errors", format!("[{}]", status.errors.join(" ")));
        self.quoted("Endpoint", endpoint.as_bytes());
        self.end();
    }

    fn health(&mut self, EndpointHealth { endpoint, took, error }: &EndpointHealth) {
        self.quoted("Endpoint", endpoint.as_bytes());
        self.field("Health", error.is_none());
        self.field("Took", go::format_duration(*took));
        self.field("Error", error.as_deref().unwrap_or_default());
        self.end();
    }

    fn hash_kv(&mut self, EndpointHashKv { endpoint, hash }: &EndpointHashKv) {
        self.header(hash.header);
        self.quoted("Endpoint", endpoint.as_bytes());
        self.field("Hash", hash.hash);
        self.end();
    }
}
