//! The `json` format: what Go's `encoding/json` makes of etcd's response structs.
//!
//! Bytes are base64, 64-bit integers are numbers, fields that are zero are left out unless etcdctl's own structs
//! keep them, and `<`, `>`, `&`, U+2028 and U+2029 are escaped in strings.

pub(super) mod value;

use windlass_api::etcdserverpb::response_op::Response;
use windlass_api::etcdserverpb::{
    DeleteRangeResponse, HashKvResponse, Member, MemberListResponse, PutResponse, RangeResponse,
    ResponseHeader, StatusResponse, TxnResponse, WatchResponse,
};
use windlass_api::mvccpb::{Event, KeyValue};

use self::value::Value;
use super::{EndpointHashKv, EndpointHealth, EndpointStatus, Reply, lease};
use crate::go;

/// Shows `reply` on one line. `hex` turns ids into hexadecimal strings where etcdctl does, in member lists.
pub fn render(reply: &Reply, hex: bool) -> String {
    let value = match reply {
        Reply::Put(response) => put(response),
        Reply::Range(response) => range(response),
        Reply::Delete(response) => delete(response),
        Reply::Txn(response) => txn(response),
        Reply::Members(response) => members(response, hex),
        Reply::Watch(response) => watch(response),
        Reply::Status(endpoints) => Value::array(endpoints, status_of),
        Reply::Health(endpoints) => Value::array(endpoints, health_of),
        Reply::HashKv(endpoints) => Value::array(endpoints, hash_of),
        Reply::Text(text) => Value::string(text),
        Reply::Forms(forms) => forms.json.clone(),
        leases => lease::json(leases).expect("no others are left"),
    };
    format!("{value}\n")
}

/// A header, as all responses show it.
pub(super) fn header(header: Option<ResponseHeader>) -> Value {
    header_with(header, Value::unsigned)
}

fn header_with(header: Option<ResponseHeader>, id: fn(u64) -> Value) -> Value {
    header.map_or(Value::Absent, |header| {
        Value::object([
            ("cluster_id", id(header.cluster_id)),
            ("member_id", id(header.member_id)),
            ("revision", Value::signed(header.revision)),
            ("raft_term", Value::unsigned(header.raft_term)),
        ])
    })
}

fn pair(kv: &KeyValue) -> Value {
    Value::object([
        ("key", Value::bytes(&kv.key)),
        ("create_revision", Value::signed(kv.create_revision)),
        ("mod_revision", Value::signed(kv.mod_revision)),
        ("version", Value::signed(kv.version)),
        ("value", Value::bytes(&kv.value)),
        ("lease", Value::signed(kv.lease)),
    ])
}

fn put(response: &PutResponse) -> Value {
    let prev_kv = response.prev_kv.as_ref().map_or(Value::Absent, pair);
    Value::object([("header", header(response.header)), ("prev_kv", prev_kv)])
}

fn range(response: &RangeResponse) -> Value {
    Value::object([
        ("header", header(response.header)),
        ("kvs", Value::array(&response.kvs, pair)),
        ("more", Value::Bool(response.more)),
        ("count", Value::signed(response.count)),
    ])
}

fn delete(response: &DeleteRangeResponse) -> Value {
    Value::object([
        ("header", header(response.header)),
        ("deleted", Value::signed(response.deleted)),
        ("prev_kvs", Value::array(&response.prev_kvs, pair)),
    ])
}

fn txn(response: &TxnResponse) -> Value {
    let operation = |response: Option<&Response>| {
        let (name, value) = match response {
            Some(Response::ResponseRange(response)) => ("response_range", range(response)),
            Some(Response::ResponsePut(response)) => ("response_put", put(response)),
            Some(Response::ResponseDeleteRange(response)) => ("response_delete_range", delete(response)),
            Some(Response::ResponseTxn(response)) => ("response_txn", txn(response)),
            None => return Value::whole_object([("Response", Value::Null)]),
        };
        Value::whole_object([("Response", Value::whole_object([(name, value)]))])
    };
    Value::object([
        ("header", header(response.header)),
        ("succeeded", Value::Bool(response.succeeded)),
        ("responses", Value::array(&response.responses, |response| operation(response.response.as_ref()))),
    ])
}

fn watch(response: &WatchResponse) -> Value {
    let event = |event: &Event| {
        let pair = |kv: &Option<KeyValue>| kv.as_ref().map_or(Value::Absent, pair);
        let kind = Value::signed(event.r#type.into());
        Value::object([("type", kind), ("kv", pair(&event.kv)), ("prev_kv", pair(&event.prev_kv))])
    };
    Value::whole_object([
        ("Header", header(response.header)),
        ("Events", Value::array(&response.events, event)),
        ("CompactRevision", Value::signed(response.compact_revision)),
        ("Canceled", Value::Bool(response.canceled)),
        ("Created", Value::Bool(response.created)),
    ])
}

fn members(response: &MemberListResponse, hex: bool) -> Value {
    let id = if hex { |id| Value::string(&format!("{id:x}")) } else { Value::unsigned };
    Value::object([
        ("header", header_with(response.header, id)),
        ("members", Value::array(&response.members, |member| member_of(member, id))),
    ])
}

/// A member of the cluster.
pub(super) fn member(member: &Member) -> Value {
    member_of(member, Value::unsigned)
}

fn member_of(member: &Member, id: fn(u64) -> Value) -> Value {
    Value::object([
        ("ID", id(member.id)),
        ("name", Value::string(&member.name)),
        ("peerURLs", Value::array(&member.peer_ur_ls, |url| Value::string(url))),
        ("clientURLs", Value::array(&member.client_ur_ls, |url| Value::string(url))),
        ("isLearner", Value::Bool(member.is_learner)),
    ])
}

fn status_of(EndpointStatus { endpoint, status }: &EndpointStatus) -> Value {
    Value::whole_object([("Endpoint", Value::string(endpoint)), ("Status", self::status(status))])
}

fn status(status: &StatusResponse) -> Value {
    let downgrade = status.downgrade_info.as_ref().map_or(Value::Absent, |info| {
        let target = Value::string(&info.target_version);
        Value::object([("enabled", Value::Bool(info.enabled)), ("targetVersion", target)])
    });
    Value::object([
        ("header", header(status.header)),
        ("version", Value::string(&status.version)),
        ("dbSize", Value::signed(status.db_size)),
        ("leader", Value::unsigned(status.leader)),
        ("raftIndex", Value::unsigned(status.raft_index)),
        ("raftTerm", Value::unsigned(status.raft_term)),
        ("raftAppliedIndex", Value::unsigned(status.raft_applied_index)),
        ("errors", Value::array(&status.errors, |error| Value::string(error))),
        ("dbSizeInUse", Value::signed(status.db_size_in_use)),
        ("isLearner", Value::Bool(status.is_learner)),
        ("storageVersion", Value::string(&status.storage_version)),
        ("dbSizeQuota", Value::signed(status.db_size_quota)),
        ("downgradeInfo", downgrade),
    ])
}

fn health_of(EndpointHealth { endpoint, took, error }: &EndpointHealth) -> Value {
    Value::whole_object([
        ("endpoint", Value::string(endpoint)),
        ("health", Value::Bool(error.is_none())),
        ("took", Value::string(&go::format_duration(*took))),
        ("error", error.as_ref().map_or(Value::Absent, |error| Value::string(error))),
    ])
}

fn hash_of(EndpointHashKv { endpoint, hash }: &EndpointHashKv) -> Value {
    Value::whole_object([("Endpoint", Value::string(endpoint)), ("HashKV", hash_kv(hash))])
}

fn hash_kv(hash: &HashKvResponse) -> Value {
    Value::object([
        ("header", header(hash.header)),
        ("hash", Value::unsigned(hash.hash.into())),
        ("compact_revision", Value::signed(hash.compact_revision)),
        ("hash_revision", Value::signed(hash.hash_revision)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_fields_are_left_out() {
        let header = Some(ResponseHeader { cluster_id: u64::MAX, member_id: 0, revision: 4, raft_term: 2 });
        let reply = Reply::Range(RangeResponse { header, ..Default::default() });
        let expected = "{\"header\":{\"cluster_id\":18446744073709551615,\"revision\":4,\"raft_term\":2}}\n";
        assert_eq!(render(&reply, false), expected);
    }

    #[test]
    fn operations_of_a_txn_carry_their_kind() {
        let kv = KeyValue { key: "a".into(), value: "x\u{ff}".into(), version: -1, ..Default::default() };
        let range = RangeResponse { kvs: vec![kv], more: true, ..Default::default() };
        let responses =
            vec![windlass_api::etcdserverpb::ResponseOp { response: Some(Response::ResponseRange(range)) }];
        let reply = Reply::Txn(TxnResponse { responses, succeeded: true, ..Default::default() });
        assert_eq!(
            render(&reply, false),
            "{\"succeeded\":true,\"responses\":[{\"Response\":{\"response_range\":\
             {\"kvs\":[{\"key\":\"YQ==\",\"version\":-1,\"value\":\"eMO/\"}],\"more\":true}}}]}\n"
        );
    }

    #[test]
    fn member_ids_can_be_hexadecimal() {
        let member = Member { id: 0xabc, name: "<a&b>".into(), ..Default::default() };
        let header = Some(ResponseHeader { cluster_id: 0x1f, ..Default::default() });
        let reply = Reply::Members(MemberListResponse { header, members: vec![member] });
        assert_eq!(
            render(&reply, true),
            "{\"header\":{\"cluster_id\":\"1f\",\"member_id\":\"0\"},\
             \"members\":[{\"ID\":\"abc\",\"name\":\"\\u003ca\\u0026b\\u003e\"}]}\n"
        );
    }

    #[test]
    fn an_unhealthy_endpoint_keeps_its_false() {
        let took = std::time::Duration::from_secs(1);
        let endpoints = vec![EndpointHealth { endpoint: "a:1".into(), took, error: Some("no".into()) }];
        assert_eq!(
            render(&Reply::Health(endpoints), false),
            "[{\"endpoint\":\"a:1\",\"health\":false,\"took\":\"1s\",\"error\":\"no\"}]\n"
        );
    }
}
