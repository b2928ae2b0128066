//! The messages against bytes worked out by hand from etcd's field numbers and the protobuf wire format, and the
//! method list against the protobuf files.

use prost::Message;
use windlass_api::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest, WatchResponse,
    compare, request_op,
};
use windlass_api::method;
use windlass_api::mvccpb::{Event, KeyValue, event};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.chars().filter(|c| !c.is_whitespace()).collect();
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).expect("hex digits"))
        .collect()
}

fn check<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M, hex: &str) {
    assert_eq!(message.encode_to_vec(), bytes(hex), "encoded");
    assert_eq!(&M::decode(bytes(hex).as_slice()).expect("decodes"), message, "decoded");
}

#[test]
fn put_request() {
    let message = PutRequest {
        key: "foo".into(),
        value: "bar".into(),
        lease: 300,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: true,
    };
    // 1 key, 2 value, 3 lease as a varint of two bytes, 4 prev_kv, 6 ignore_lease; a false field is left out.
    check(&message, "0a03 666f6f  1203 626172  18 ac02  2001  3001");
}

#[test]
fn range_request_with_negative_and_late_fields() {
    let message = RangeRequest {
        key: "a".into(),
        range_end: vec![0].into(),
        limit: -1,
        sort_order: 2,
        sort_target: 4,
        max_create_revision: 7,
        ..Default::default()
    };
    // A negative int64 takes ten bytes.
    check(&message, "0a01 61  1201 00  18 ffffffffffffffffff01  28 02  30 04  68 07");
}

#[test]
fn txn_request() {
    let compare = Compare {
        result: compare::CompareResult::Less as i32,
        target: compare::CompareTarget::Mod as i32,
        key: "k".into(),
        range_end: "l".into(),
        target_union: Some(compare::TargetUnion::ModRevision(0)),
    };
    let put = PutRequest { key: "k".into(), ..Default::default() };
    let message = TxnRequest {
        compare: vec![compare],
        success: vec![RequestOp { request: Some(request_op::Request::RequestPut(put)) }],
        failure: vec![RequestOp { request: Some(request_op::Request::RequestTxn(TxnRequest::default())) }],
    };
    // A member of a oneof is sent even if it is zero (30 00), and field 64 has a tag of two bytes (82 04).
    check(&message, "0a0d 0802 1002 1a01 6b 3000 820401 6c  1205 1203 0a01 6b  1a02 2200");
}

#[test]
fn range_response() {
    let kv = KeyValue {
        key: "k".into(),
        create_revision: 2,
        mod_revision: 130,
        version: 3,
        value: "v".into(),
        lease: 0,
    };
    let header = ResponseHeader { cluster_id: u64::MAX, member_id: 1, revision: 5, raft_term: 2 };
    let message = RangeResponse { header: Some(header), kvs: vec![kv], more: true, count: 9 };
    check(
        &message,
        "0a11 08ffffffffffffffffff01 1001 1805 2002  120d 0a01 6b 1002 188201 2003 2a01 76  1801  2009",
    );
}

#[test]
fn watch_response_keeps_events_at_field_eleven() {
    let deleted = KeyValue { key: "k".into(), mod_revision: 4, ..Default::default() };
    let event = Event { r#type: event::EventType::Delete as i32, kv: Some(deleted), prev_kv: None };
    let message = WatchResponse { watch_id: -1, events: vec![event], ..Default::default() };
    check(&message, "10 ffffffffffffffffff01  5a09 0801 1205 0a01 6b 1804");
}

#[test]
fn a_truncated_message_is_an_error() {
    let whole = bytes("0a03 666f6f 1203 626172");
    assert!(PutRequest::decode(&whole[..whole.len() - 1]).is_err());
    assert!(PutRequest::decode(&whole[..]).is_ok());
}

#[test]
fn method_paths_equal_the_protobuf_files() {
    let protos = [
        include_str!("../proto/rpc.proto"),
        include_str!("../proto/lock.proto"),
        include_str!("../proto/election.proto"),
        include_str!("../proto/health.proto"),
    ];
    let declared: Vec<String> = protos.iter().flat_map(|text| paths(text)).collect();
    let listed: Vec<&str> = [
        &method::kv::ALL[..],
        &method::watch::ALL,
        &method::lease::ALL,
        &method::cluster::ALL,
        &method::maintenance::ALL,
        &method::auth::ALL,
        &method::lock::ALL,
        &method::election::ALL,
        &method::health::ALL,
    ]
    .concat();
    assert_eq!(declared, listed);
}

/// `/package.Service/Method` for each `rpc` line.
fn paths(proto: &str) -> Vec<String> {
    let (mut package, mut service, mut paths) = ("", "", Vec::new());
    for line in proto.lines().map(str::trim) {
        let mut words = line.split([' ', ';', '(', '{']).filter(|word| !word.is_empty());
        match (words.next(), words.next()) {
            (Some("package"), Some(name)) => package = name,
            (Some("service"), Some(name)) => service = name,
            (Some("rpc"), Some(name)) => paths.push(format!("/{package}.{service}/{name}")),
            _ => {}
        }
    }
    paths
}
