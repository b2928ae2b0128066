//! The sequential model that judges the replicated state machine in its own tests, as a third server: so that the
//! judge itself is held against a real etcd.

use prost::Message;
use windlass_api::etcdserverpb::ResponseHeader;
use windlass_replica::checks;
use windlass_replica::oracle::Oracle;
use windlass_types::RequestError;

use crate::generate::{MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX, TXN_OPS_MAX};
use crate::request::{Answer, Request};

/// The model behind the checks that every request passes before it reaches the state machine.
#[derive(Default)]
pub struct Model(Oracle);

impl Model {
    /// Answers one request.
    pub fn answer(&mut self, request: &Request) -> Answer {
        let bytes = encoded_bytes(request);
        if bytes > MESSAGE_BYTES_MAX {
            let text = format!("grpc: received message larger than max ({bytes} vs. {MESSAGE_BYTES_MAX})");
            return Answer::Refused("ResourceExhausted".to_owned(), text);
        }
        let answer = checked(request, bytes).and_then(|()| self.apply(request));
        answer.unwrap_or_else(Answer::from)
    }

    fn apply(&mut self, request: &Request) -> Result<Answer, RequestError> {
        let mut answer = match request {
            Request::Range(range) | Request::Stream(range) => Answer::Range(self.0.range(range)?),
            Request::Put(put) => Answer::Put(self.0.put(put)?),
            Request::Delete(delete) => Answer::Delete(self.0.delete(delete)),
            Request::Txn(txn) => Answer::Txn(self.0.txn(txn)?),
            Request::Compact(compaction) => Answer::Compact(self.0.compact(compaction)?),
        };
        if let Some(header) = answer.header_mut() {
            *header = ResponseHeader { cluster_id: 1, member_id: 1, raft_term: 1, revision: header.revision };
        }
        Ok(answer)
    }
}

fn checked(request: &Request, bytes: usize) -> Result<(), RequestError> {
    match request {
        Request::Range(range) | Request::Stream(range) => return checks::check_range(range),
        Request::Put(put) => checks::check_put(put)?,
        Request::Delete(delete) => checks::check_delete(delete)?,
        Request::Txn(txn) => {
            checks::check_txn(txn, TXN_OPS_MAX)?;
            // It is no entry of the log, whose size is bounded.
            if checks::is_read_only(txn) {
                return Ok(());
            }
        }
        Request::Compact(_) => {}
    }
    checks::check_size(bytes, REQUEST_BYTES_MAX)
}

fn encoded_bytes(request: &Request) -> usize {
    match request {
        Request::Range(range) | Request::Stream(range) => range.encoded_len(),
        Request::Put(put) => put.encoded_len(),
        Request::Delete(delete) => delete.encoded_len(),
        Request::Txn(txn) => txn.encoded_len(),
        Request::Compact(compaction) => compaction.encoded_len(),
    }
}
