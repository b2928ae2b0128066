//! Keys to read, written quickly.

use std::time::Instant;

use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use windlass_api::method;
use windlass_client::Connection;

use crate::process::{Member, REQUEST_TIMEOUT};

/// Keys of one txn: etcd's bound.
const TXN_KEYS: usize = 128;

/// A put.
pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> PutRequest {
    PutRequest { key: key.into().into(), value: value.into().into(), ..PutRequest::default() }
}

/// A range of all keys with this first byte.
pub fn prefix(first: u8) -> RangeRequest {
    RangeRequest { key: vec![first].into(), range_end: vec![first + 1].into(), ..RangeRequest::default() }
}

/// Writes `count` keys, `prefix` and a number, with values of `value_bytes`, many in one txn and many txns at once.
pub fn fill(member: &Member, prefix: &str, count: usize, value_bytes: usize) {
    let mut connection = member.connect();
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let keys: Vec<String> = (0..count).map(|number| format!("{prefix}{number:07}")).collect();
    let calls: Vec<_> = keys.chunks(TXN_KEYS).map(|keys| begin(&mut connection, keys, value_bytes)).collect();
    for call in calls {
        let answer: TxnResponse = connection.finish(call, deadline).expect("the txn is done");
        assert!(answer.succeeded);
    }
}

fn begin(connection: &mut Connection, keys: &[String], value_bytes: usize) -> windlass_client::Call {
    let put = |key: &String| RequestOp {
        request: Some(Request::RequestPut(put(key.as_str(), vec![b'v'; value_bytes]))),
    };
    let txn = TxnRequest { success: keys.iter().map(put).collect(), ..TxnRequest::default() };
    connection.begin(method::kv::TXN, &txn, REQUEST_TIMEOUT).expect("the connection takes requests")
}
