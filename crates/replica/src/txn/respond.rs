//! From the shards' shares of a transaction's results to its response.

use std::iter::Peekable;
use std::sync::Arc;

use windlass_api::etcdserverpb::response_op::Response as OpResponse;
use windlass_api::etcdserverpb::{
    AlarmResponse, AuthenticateResponse, CompactionResponse, DeleteRangeResponse, LeaseGrantResponse,
    LeaseRevokeResponse, PutResponse, ResponseHeader, ResponseOp, TxnResponse,
};
use windlass_api::mvccpb::KeyValue;
use windlass_records::batch::CommandKind;
use windlass_types::{MemberId, Revision};

use super::{Decision, Item, Op, Shape, Transaction};
use crate::membership::Members;
use crate::merge::{merge_by_key, merge_range};
use crate::task::{OpPart, OpResults, RangePart};

/// The answer to a command. Of the header only the revision is set; the caller fills the rest. The responses within a
/// transaction's are complete: etcd sets no more than the revision there, and nothing in a nested transaction's.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To a put.
    Put(PutResponse),
    /// To a delete.
    DeleteRange(DeleteRangeResponse),
    /// To a transaction.
    Txn(TxnResponse),
    /// To a compaction.
    Compaction(CompactionResponse),
    /// To a command about users and roles. It has a token if it was about a password that was right.
    Auth(AuthenticateResponse),
    /// To a command about alarms.
    Alarm {
        /// The alarms that it is about.
        response: AlarmResponse,
        /// It was a quota that asked, for a write that would have exceeded it.
        by_quota: bool,
    },
    /// To a change of the members.
    Members {
        /// Which change.
        kind: CommandKind,
        /// Whose.
        id: MemberId,
        /// They are these now.
        members: Arc<Members>,
    },
    /// To the grant of a lease.
    LeaseGrant(LeaseGrantResponse),
    /// To the end of a lease.
    LeaseRevoke(LeaseRevokeResponse),
}

/// A header with nothing but a revision.
pub(crate) fn header(revision: Revision) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision: revision.0, ..ResponseHeader::default() })
}

/// Builds the response in the order of execution.
struct Builder<'a> {
    transaction: &'a Transaction,
    decision: &'a Decision,
    before: Revision,
    /// Whether an operation so far changed anything.
    changed: bool,
    /// The shards' shares that were not used yet, in the order of execution.
    results: Peekable<<OpResults as IntoIterator>::IntoIter>,
}

impl Transaction {
    /// The response. `before` is the store's revision before the transaction, `results` what all shards that its path
    /// touches said, in any order.
    #[must_use]
    pub fn respond(&self, decision: &Decision, before: Revision, mut results: OpResults) -> Response {
        if self.shape == Shape::Revoke {
            let after = if decision.writes { before.next() } else { before };
            return Response::LeaseRevoke(LeaseRevokeResponse { header: header(after) });
        }
        // Operations are numbered in the order in which those of a path run.
        results.sort_by_key(|result| result.op);
        let results = results.into_iter().peekable();
        let mut builder = Builder { transaction: self, decision, before, changed: false, results };
        let mut txn = builder.node(0);
        if self.shape == Shape::Txn {
            txn.header = header(if decision.writes { before.next() } else { before });
            return Response::Txn(txn);
        }
        match txn.responses.pop().and_then(|op| op.response) {
            Some(OpResponse::ResponsePut(put)) => Response::Put(put),
            Some(OpResponse::ResponseDeleteRange(delete)) => Response::DeleteRange(delete),
            _ => unreachable!("only a put or a delete is a transaction of another shape"),
        }
    }
}

impl Builder<'_> {
    fn node(&mut self, node: usize) -> TxnResponse {
        let transaction = self.transaction;
        let branch = transaction.branch(node, self.decision);
        let mut responses = Vec::with_capacity(branch.len());
        for item in branch {
            let response = match *item {
                Item::Op(op) => self.op(op),
                Item::Node(nested) => OpResponse::ResponseTxn(self.node(nested as usize)),
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        let succeeded = self.decision.succeeded[node];
        TxnResponse { header: Some(ResponseHeader::default()), succeeded, responses }
    }

    /// What the shards said about an operation.
    fn parts(&mut self, op: u32) -> impl Iterator<Item = OpPart> {
        let results = &mut self.results;
        std::iter::from_fn(move || results.next_if(|result| result.op == op)).map(|result| result.part)
    }

    fn op(&mut self, op: u32) -> OpResponse {
        match &self.transaction.ops[op as usize] {
            Op::Range(request) => {
                let ranges: Vec<RangePart> = self.parts(op).filter_map(into_range).collect();
                OpResponse::ResponseRange(merge_range(request, ranges, self.revision()))
            }
            Op::Put(_) => {
                self.changed = true;
                let prev_kv = self.parts(op).filter_map(into_prev_kv).last();
                OpResponse::ResponsePut(PutResponse { header: header(self.revision()), prev_kv })
            }
            Op::Delete(_) => OpResponse::ResponseDeleteRange(self.delete(op)),
            Op::Revoke(_) => unreachable!("the end of a lease is a transaction of its own"),
        }
    }

    fn delete(&mut self, op: u32) -> DeleteRangeResponse {
        let (mut deleted, mut runs) = (0, Vec::new());
        for part in self.parts(op) {
            if let OpPart::Delete { deleted: here, prev_kvs } = part {
                deleted += here;
                runs.push(prev_kvs);
            }
        }
        self.changed |= deleted > 0;
        DeleteRangeResponse {
            header: header(self.revision()),
            deleted: i64::try_from(deleted).expect("keys fit into memory"),
            prev_kvs: merge_by_key(runs),
        }
    }

    /// What the operation that was just executed saw as the store's revision.
    fn revision(&self) -> Revision {
        if self.changed { self.before.next() } else { self.before }
    }
}

fn into_prev_kv(part: OpPart) -> Option<KeyValue> {
    match part {
        OpPart::Put(prev_kv) => prev_kv,
        OpPart::Range(_) | OpPart::Delete { .. } => None,
    }
}

fn into_range(part: OpPart) -> Option<RangePart> {
    match part {
        OpPart::Range(range) => Some(range),
        OpPart::Put(_) | OpPart::Delete { .. } => None,
    }
}
