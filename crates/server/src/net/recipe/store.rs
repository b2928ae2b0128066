//! The store as a recipe sees it: calls of this member's own methods.

use prost::Message;
use windlass_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    Compare, DeleteRangeRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
    WatchCreateRequest, WatchRequest, WatchResponse, compare, watch_request,
};
use windlass_api::method::{kv, watch};
use windlass_rpc::{Answer, Code, LocalCall, Meta, Net};

use crate::net::tasks::Client;

/// How often a read is tried while there is no leader to say where it reads. Each try waits for one as long as any
/// request does.
const READ_TRIES: u32 = 3;

/// Why a recipe ends without its answer.
#[derive(Debug)]
pub enum Failure {
    /// A call was refused, or the recipe itself refuses.
    Refused {
        /// The code of the call that was refused.
        code: Code,
        /// What the client is told.
        text: String,
    },
    /// Nobody waits for the answer.
    Gone,
}

impl Failure {
    /// The recipe's own words.
    pub fn says(text: &str) -> Self {
        Self::Refused { code: Code::Unknown, text: text.to_owned() }
    }
}

/// What `work` comes to, unless the client goes before.
pub async fn unless_gone<T>(
    client: &mut Client,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    client.unless_gone(work).await.unwrap_or(Err(Failure::Gone))
}

/// Calls in the name of one client.
pub struct Store {
    net: Net,
    meta: Meta,
}

impl Store {
    /// With the credentials of the client that `meta` tells of. The client's deadline is not theirs: what it leaves behind
    /// must be cleaned up after it.
    pub fn new(net: Net, meta: &Meta) -> Self {
        let meta = Meta {
            token: meta.token.clone(),
            authorization: meta.authorization.clone(),
            client_api_version: meta.client_api_version.clone(),
            ..Meta::default()
        };
        Self { net, meta }
    }

    /// One unary call.
    pub async fn call<A: Message + Default>(&self, path: &str, request: &impl Message) -> Result<A, Failure> {
        let mut call = self.open(path);
        call.send(&request.encode_to_vec());
        match call.next().await {
            Answer::Message(message) => Ok(decoded(&message)),
            Answer::End(code, text) => Err(Failure::Refused { code, text }),
        }
    }

    /// A streaming call.
    pub fn open(&self, path: &str) -> LocalCall {
        self.net.call(path, self.meta.clone()).expect("the table of routes has it")
    }

    /// `KV.Txn`
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Failure> {
        self.call(kv::TXN, &request).await
    }

    /// A linearizable `KV.Range`, which outlasts a change of leaders.
    pub async fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Failure> {
        let mut tries = READ_TRIES;
        loop {
            tries -= 1;
            match self.call(kv::RANGE, request).await {
                Err(Failure::Refused { code: Code::Unavailable, .. }) if tries > 0 => {}
                done => return done,
            }
        }
    }

    /// Watches from a revision on.
    pub fn watch(&self, request: WatchCreateRequest) -> Watching {
        let call = self.open(watch::WATCH);
        let request =
            WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(request)) };
        call.send(&request.encode_to_vec());
        Watching(call)
    }
}

/// A watch under way.
pub struct Watching(LocalCall);

impl Watching {
    /// The next events; `None` if a compaction has taken what the watch needs, so that the store is to be read anew.
    pub async fn next(&mut self) -> Result<Option<WatchResponse>, Failure> {
        loop {
            let response: WatchResponse = match self.0.next().await {
                Answer::Message(message) => decoded(&message),
                Answer::End(code, text) => return Err(Failure::Refused { code, text }),
            };
            match response {
                WatchResponse { compact_revision: 1.., .. } => return Ok(None),
                WatchResponse { canceled: true, cancel_reason, .. } => {
                    return Err(Failure::says(&cancel_reason));
                }
                response if response.events.is_empty() => {}
                response => return Ok(Some(response)),
            }
        }
    }
}

/// This member's own answer.
pub fn decoded<A: Message + Default>(message: &[u8]) -> A {
    A::decode(message).expect("this member encoded it")
}

/// The key under the prefix that was created first, or last.
pub fn created(prefix: &[u8], order: SortOrder, max_create_revision: i64) -> RangeRequest {
    RangeRequest {
        range_end: prefix_end(prefix).into(),
        limit: 1,
        sort_order: order as i32,
        sort_target: SortTarget::Create as i32,
        max_create_revision,
        ..get(prefix)
    }
}

/// The key itself.
pub fn get(key: &[u8]) -> RangeRequest {
    RangeRequest { key: key.to_vec().into(), ..RangeRequest::default() }
}

/// The end of the range of all keys with a prefix.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// Compares the create revision of a key; 0 is that of one that is not there.
pub fn created_at(key: &[u8], revision: i64) -> Compare {
    Compare {
        result: compare::CompareResult::Equal as i32,
        target: compare::CompareTarget::Create as i32,
        key: key.to_vec().into(),
        target_union: Some(compare::TargetUnion::CreateRevision(revision)),
        ..Compare::default()
    }
}

/// Deletes a key if it is the one of this create revision.
pub fn delete_if(key: &[u8], revision: i64) -> TxnRequest {
    let delete = DeleteRangeRequest { key: key.to_vec().into(), ..DeleteRangeRequest::default() };
    TxnRequest {
        compare: vec![created_at(key, revision)],
        success: vec![op(Request::RequestDeleteRange(delete))],
        failure: Vec::new(),
    }
}

/// An operation of a transaction.
pub fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_no_key_has_it_any_more() {
        assert_eq!(prefix_end(b"a/"), b"a0");
        assert_eq!(prefix_end(&[1, 255, 255]), [2]);
        assert_eq!(prefix_end(&[255]), [0], "all keys that follow");
    }
}
