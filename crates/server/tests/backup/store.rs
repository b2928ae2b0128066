//! A store with something of everything, and all that a client can see of it.

use std::time::Instant;

use prost::Message;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, LeaseGrantRequest, LeaseGrantResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
};
use windlass_api::method::{kv, lease};
use windlass_api::mvccpb::KeyValue;

use crate::process::{Member, REQUEST_TIMEOUT};

/// One call.
pub fn ask<A: Message + Default>(member: &Member, method: &str, request: &impl Message) -> Result<A, String> {
    let mut connection = member.connect();
    let call = connection.begin(method, request, REQUEST_TIMEOUT).expect("the server takes it");
    connection.finish(call, Instant::now() + REQUEST_TIMEOUT).map_err(|error| error.to_string())
}

pub fn put(member: &Member, key: &str, value: &[u8], lease: i64) -> i64 {
    let (key, value) = (key.to_owned().into(), value.to_vec().into());
    let request = PutRequest { key, value, lease, ..PutRequest::default() };
    let answer: PutResponse = ask(member, kv::PUT, &request).expect("put");
    answer.header.expect("a header").revision
}

/// Writes versions, tombstones, revisions of several keys, large values and leases, and compacts what is oldest.
pub fn fill(member: &Member) {
    for (id, ttl) in [(7, 1000), (0x7fff_ffff_ffff_fff0, 2000)] {
        let _: LeaseGrantResponse =
            ask(member, lease::LEASE_GRANT, &LeaseGrantRequest { ttl, id }).expect("a lease");
    }
    for round in 0..4_u8 {
        for n in 0..100 {
            put(member, &format!("key/{n:03}"), &[round; 50], if n == 5 { 7 } else { 0 });
        }
    }
    for (n, size) in [0, 1, 3000, 4050, 9000, 300_000].into_iter().enumerate() {
        put(member, &format!("size/{n}"), &vec![b'x'; size], 0x7fff_ffff_ffff_fff0);
    }
    let delete = DeleteRangeRequest { key: "key/01".into(), range_end: "key/02".into(), prev_kv: false };
    let op = |request| RequestOp { request: Some(request) };
    let txn = TxnRequest {
        success: vec![
            op(Request::RequestDeleteRange(delete)),
            op(Request::RequestPut(PutRequest {
                key: "a".into(),
                value: "1".into(),
                ..PutRequest::default()
            })),
            op(Request::RequestPut(PutRequest {
                key: "b".into(),
                value: "2".into(),
                ..PutRequest::default()
            })),
        ],
        ..TxnRequest::default()
    };
    let changed: TxnResponse = ask(member, kv::TXN, &txn).expect("txn");
    let revision = changed.header.expect("a header").revision - 150;
    let compact = CompactionRequest { revision, physical: true };
    ask::<CompactionResponse>(member, kv::COMPACT, &compact).expect("compacted");
    put(member, "key/011", b"again", 0);
}

/// What a client sees.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub revision: i64,
    /// At each revision that can be asked for.
    pub kvs: Vec<(i64, Vec<KeyValue>)>,
    /// Why the one before cannot be asked for.
    pub before: String,
    /// With their granted times.
    pub leases: Vec<(i64, i64, Vec<Vec<u8>>)>,
}

fn at(member: &Member, revision: i64) -> Result<RangeResponse, String> {
    let request =
        RangeRequest { key: vec![0].into(), range_end: vec![0].into(), revision, ..RangeRequest::default() };
    ask(member, kv::RANGE, &request)
}

/// Everything.
pub fn look(member: &Member) -> Seen {
    let revision = at(member, 0).expect("a range").header.expect("a header").revision;
    let mut kvs = Vec::new();
    let mut before = String::new();
    for at_revision in (1..=revision).rev() {
        match at(member, at_revision) {
            Ok(found) => kvs.push((at_revision, found.kvs)),
            Err(error) => {
                before = error;
                break;
            }
        }
    }
    let listed: LeaseLeasesResponse =
        ask(member, lease::LEASE_LEASES, &LeaseLeasesRequest {}).expect("leases");
    let mut leases: Vec<_> = listed
        .leases
        .iter()
        .map(|status| {
            let request = LeaseTimeToLiveRequest { id: status.id, keys: true };
            let left: LeaseTimeToLiveResponse =
                ask(member, lease::LEASE_TIME_TO_LIVE, &request).expect("a time");
            let mut keys: Vec<Vec<u8>> = left.keys.iter().map(|key| key.to_vec()).collect();
            keys.sort();
            (status.id, left.granted_ttl, keys)
        })
        .collect();
    leases.sort();
    Seen { revision, kvs, before, leases }
}
