//! Writes: checked here, then gathered for the log.

use prost::Message;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
use windlass_records::batch::CommandKind;
use windlass_replica::checks;
use windlass_replica::put_view::PutView;
use windlass_rpc::CallId;
use windlass_types::RequestError;

use super::arbiter::Arbiter;

impl Arbiter {
    /// `KV.Put`
    pub(super) fn put(&mut self, call: CallId, message: &[u8]) {
        // Nearly every put has nothing but a key and a value, and needs no decoding to be checked.
        if PutView::scan(message).is_none() {
            let checked = match PutRequest::decode(message) {
                Ok(request) => checks::check_put(&request),
                Err(error) => return self.refuse_message(call, &error),
            };
            if let Err(error) = checked {
                return self.refuse(call, error);
            }
        }
        if let Err(error) = self.check_room(message.len()) {
            return self.refuse(call, error);
        }
        self.propose(call, CommandKind::Put, message);
    }

    /// `KV.DeleteRange`
    pub(super) fn delete_range(&mut self, call: CallId, message: &[u8]) {
        match DeleteRangeRequest::decode(message) {
            Ok(request) => match checks::check_delete(&request) {
                Ok(()) => self.propose(call, CommandKind::DeleteRange, message),
                Err(error) => self.refuse(call, error),
            },
            Err(error) => self.refuse_message(call, &error),
        }
    }

    /// `KV.Txn`
    pub(super) fn txn(&mut self, call: CallId, message: &[u8]) {
        let request = match TxnRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        if let Err(error) = checks::check_txn(&request, self.limits.txn_ops_max) {
            return self.refuse(call, error);
        }
        if checks::is_read_only(&request) {
            return self.read_txn(call, request);
        }
        if puts(&request)
            && let Err(error) = self.check_room(message.len())
        {
            return self.refuse(call, error);
        }
        self.propose(call, CommandKind::Txn, message);
    }

    /// `KV.Compact`
    pub(super) fn compact(&mut self, call: CallId, message: &[u8]) {
        match CompactionRequest::decode(message) {
            Ok(_) => self.propose(call, CommandKind::Compaction, message),
            Err(error) => self.refuse_message(call, &error),
        }
    }

    /// Source: etcd `quota.go`: what may grow the store is refused above its quota, everything else goes on.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), RequestError> {
        let over = self.limits.quota_bytes.is_some_and(|q| self.published.store_bytes() + bytes as u64 > q);
        if over || self.published.is_full() { Err(RequestError::NoSpace) } else { Ok(()) }
    }

    pub(super) fn propose(&mut self, call: CallId, kind: CommandKind, message: &[u8]) {
        if let Err(error) = checks::check_size(message.len(), self.limits.request_bytes_max) {
            return self.refuse(call, error);
        }
        match self.calls.insert(call, self.now) {
            Some(id) => self.batch.push(id, kind, message),
            None => self.refuse(call, RequestError::TooManyRequests),
        }
    }
}

/// Whether some branch puts a key.
fn puts(txn: &TxnRequest) -> bool {
    let op_puts = |op: &RequestOp| match &op.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(nested)) => puts(nested),
        _ => false,
    };
    txn.success.iter().chain(&txn.failure).any(op_puts)
}
