//! From calls to requests, and from responses to what the history keeps.

use windlass_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use windlass_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest, request_op,
    response_op,
};
use windlass_api::mvccpb::KeyValue;
use windlass_client::{Client, Error};

use crate::history::{Call, Change, Found, Outcome};

/// What a value is filled up with.
const FILLER: u8 = b'.';

/// The bytes of a value: its name, filled up to the size that is the number behind its second dash.
pub fn bytes_of(value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    bytes.resize(bytes.len().max(size_of(value)), FILLER);
    bytes
}

fn size_of(value: &str) -> usize {
    value.split('-').nth(2).and_then(|size| size.parse().ok()).unwrap_or(0)
}

/// The name of a value that was read; of one that is not as it was written, what is wrong with it.
fn value_of(bytes: &[u8]) -> String {
    let name: Vec<u8> = bytes.iter().copied().take_while(|byte| *byte != FILLER).collect();
    let name = String::from_utf8_lossy(&name).into_owned();
    if bytes_of(&name) == bytes { name } else { format!("{} bytes that begin with {name:?}", bytes.len()) }
}

/// A version of a key as the history keeps it.
pub fn found(kv: &KeyValue) -> Found {
    Found {
        key: String::from_utf8_lossy(&kv.key).into_owned(),
        value: value_of(&kv.value),
        lease: kv.lease,
        revision: kv.mod_revision,
        created: kv.create_revision,
        version: kv.version,
    }
}

/// Makes a call.
pub fn perform(client: &mut Client, call: &Call) -> Result<Outcome, Error> {
    let (header, succeeded, kvs) = match call {
        Call::Put { key, value, lease } => {
            let response = client.put(&PutRequest { prev_kv: true, ..put(key, value, *lease) })?;
            (response.header, true, response.prev_kv.into_iter().collect())
        }
        Call::Delete { key } => {
            let response = client.delete_range(&DeleteRangeRequest { prev_kv: true, ..delete(key) })?;
            if response.deleted as usize != response.prev_kvs.len() {
                let (told, sent) = (response.deleted, response.prev_kvs.len());
                return Err(Error::Malformed(format!("{told} keys were deleted, and {sent} are sent")));
            }
            (response.header, true, response.prev_kvs)
        }
        Call::Txn { compares, then, otherwise } => {
            let response = client.txn(&txn(compares, then, otherwise))?;
            let ranges = response.responses.into_iter().filter_map(|op| match op.response {
                Some(response_op::Response::ResponseRange(range)) => Some(range.kvs),
                _ => None,
            });
            (response.header, response.succeeded, ranges.flatten().collect())
        }
        Call::Read { key, prefix, serializable, at } => {
            let response = client.range(&RangeRequest {
                range_end: if *prefix { end_of(key).into() } else { Vec::new().into() },
                serializable: *serializable,
                revision: *at,
                ..range(key)
            })?;
            (response.header, true, response.kvs)
        }
    };
    let revision = revision_of(header)?;
    Ok(Outcome::Done { revision, succeeded, found: kvs.iter().map(found).collect() })
}

/// The revision in a header.
pub fn revision_of(header: Option<ResponseHeader>) -> Result<i64, Error> {
    header.map(|header| header.revision).ok_or_else(|| Error::Malformed("no header".to_owned()))
}

/// The first key behind all that begin so.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    end
}

fn put(key: &str, value: &str, lease: i64) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: bytes_of(value).into(), lease, ..PutRequest::default() }
}

fn delete(key: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.to_owned().into(), ..DeleteRangeRequest::default() }
}

fn range(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() }
}

fn txn(compares: &[(String, i64)], then: &[Change], otherwise: &[String]) -> TxnRequest {
    let operation = |request| RequestOp { request: Some(request) };
    let compare = |(key, revision): &(String, i64)| Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key: key.clone().into(),
        target_union: Some(TargetUnion::ModRevision(*revision)),
        ..Compare::default()
    };
    let change = |change: &Change| match change {
        Change::Put { key, value, lease } => request_op::Request::RequestPut(put(key, value, *lease)),
        Change::Delete { key } => request_op::Request::RequestDeleteRange(delete(key)),
    };
    let read = |key: &String| request_op::Request::RequestRange(range(key));
    TxnRequest {
        compare: compares.iter().map(compare).collect(),
        success: then.iter().map(change).map(operation).collect(),
        failure: otherwise.iter().map(read).map(operation).collect(),
    }
}
