//! Writes: checked here, then gathered for the log.

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
use windlass_records::batch::CommandKind;
use windlass_replica::alarm::{PUT_BYTES, has_room};
use windlass_replica::checks;
use windlass_replica::put_view::PutView;
use windlass_replica::update_view::UpdateView;
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
        if self.has_room(call, message.len() + PUT_BYTES) {
            self.propose(call, CommandKind::Put, message);
        }
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
        // Most transactions are updates of one key, and as puts need no decoding to be checked.
        if let Some(view) = UpdateView::scan(message).filter(|_| self.limits.txn_ops_max > 0) {
            if self.has_room(call, PUT_BYTES + view.put_bytes) {
                self.propose(call, CommandKind::Txn, message);
            }
            return;
        }
        // Of one copy every key and value is a slice, where each would be copied by itself.
        let request = match TxnRequest::decode(Bytes::copy_from_slice(message)) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        if let Err(error) = checks::check_txn(&request, self.limits.txn_ops_max) {
            return self.refuse(call, error);
        }
        if checks::is_read_only(&request) {
            return self.read_txn(call, request);
        }
        let cost = cost(&request);
        if cost == 0 || self.has_room(call, cost) {
            self.propose(call, CommandKind::Txn, message);
        }
    }

    /// `KV.Compact`
    pub(super) fn compact(&mut self, call: CallId, message: &[u8]) {
        match CompactionRequest::decode(message) {
            Ok(_) => self.propose(call, CommandKind::Compaction, message),
            Err(error) => self.refuse_message(call, &error),
        }
    }

    /// Whether something may be proposed that makes the store larger by so many bytes. If not, the call is refused: at
    /// once, or, where that is news, when the log has the alarm. Source: etcd `v3rpc/quota.go`.
    pub(super) fn has_room(&mut self, call: CallId, cost: usize) -> bool {
        let refused = match self.published.check_growth() {
            Ok(()) if self.published.is_full() => Err(RequestError::NoSpace),
            refused => refused,
        };
        if let Err(error) = refused {
            self.refuse(call, error);
            return false;
        }
        let has_room = has_room(self.published.store_bytes(), cost, self.limits.quota_bytes);
        if !has_room {
            self.raise_no_space(call);
        }
        has_room
    }

    pub(super) fn propose(&mut self, call: CallId, kind: CommandKind, message: &[u8]) {
        if let Err(error) = checks::check_size(message.len(), self.limits.request_bytes_max) {
            return self.refuse(call, error);
        }
        let credential = match self.published.is_auth_enabled() {
            true => self.credential(),
            false => Ok(Vec::new()),
        };
        match (credential, self.calls.insert(call, self.now)) {
            (Ok(credential), Some(id)) => self.batch.push_as(id, kind, &credential, message),
            (Err(error), Some(id)) => {
                self.calls.take(id);
                self.refuse(call, error);
            }
            (_, None) => self.refuse(call, RequestError::TooManyRequests),
        }
    }
}

/// What the branch that puts more costs the store; nothing if none does. Source: etcd `storage/quota.go` `costTxn`, which
/// does not look into nested transactions.
fn cost(txn: &TxnRequest) -> usize {
    let op_cost = |op: &RequestOp| match &op.request {
        Some(Request::RequestPut(put)) => PUT_BYTES + put.key.len() + put.value.len(),
        Some(Request::RequestTxn(nested)) => cost(nested),
        _ => 0,
    };
    let branch_cost = |ops: &[RequestOp]| ops.iter().map(op_cost).sum::<usize>();
    branch_cost(&txn.success).max(branch_cost(&txn.failure))
}
