//! What the committed log means: the sequential model of the store, and the members.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, Member, PutRequest,
    TxnRequest,
};
use windlass_records::batch::CommandKind;
use windlass_replica::membership::Members;
use windlass_replica::oracle::Oracle;
use windlass_replica::sequencer::Response;
use windlass_replica::system::System;
use windlass_types::{LogIndex, MemberId};

use super::Answer;
use super::log::{ENCODED, Logged};

/// The members as the committed log has them.
#[derive(Clone, Default)]
pub struct Membership {
    /// They.
    pub members: Arc<Members>,
    /// As they were before the last change.
    pub before: Arc<Members>,
    /// The first entry that says of each where clients reach it.
    pub published: BTreeMap<MemberId, LogIndex>,
    system: System,
}

impl Membership {
    /// What a change of the members is answered with.
    pub fn change(&mut self, kind: CommandKind, payload: &[u8], index: LogIndex) -> Answer {
        let member = Member::decode(payload).expect(ENCODED);
        let id = MemberId(member.id);
        self.members.check(kind, &member, usize::MAX)?;
        if kind == CommandKind::MemberPublish {
            self.published.entry(id).or_insert(index);
        }
        self.before = Arc::clone(&self.members);
        Arc::make_mut(&mut self.members).apply(kind, member, &mut self.system);
        Ok(Response::Members { kind, id, members: Arc::clone(&self.members) })
    }
}

/// What the model says to a client's command about keys and leases; nothing to one that is no client's.
pub fn model_answer(oracle: &mut Oracle, kind: CommandKind, payload: Bytes) -> Option<Answer> {
    Some(match kind {
        CommandKind::Put => oracle.put(&PutRequest::decode(payload).expect(ENCODED)).map(Response::Put),
        CommandKind::DeleteRange => {
            Ok(Response::DeleteRange(oracle.delete(&DeleteRangeRequest::decode(payload).expect(ENCODED))))
        }
        CommandKind::Txn => oracle.txn(&TxnRequest::decode(payload).expect(ENCODED)).map(Response::Txn),
        CommandKind::Compaction => {
            oracle.compact(&CompactionRequest::decode(payload).expect(ENCODED)).map(Response::Compaction)
        }
        CommandKind::LeaseGrant => {
            oracle.lease_grant(&LeaseGrantRequest::decode(payload).expect(ENCODED)).map(Response::LeaseGrant)
        }
        CommandKind::LeaseRevoke => oracle
            .lease_revoke(&LeaseRevokeRequest::decode(payload).expect(ENCODED))
            .map(Response::LeaseRevoke),
        CommandKind::LeaseExpire | CommandKind::LeaseCheckpoint => return None,
        _ => unreachable!("the clients send no {kind:?}"),
    })
}

/// What was found out about a committed entry when it was applied first, each with the ordinal of a command.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Commands about keys and leases that are carried out.
    pub done: Vec<usize>,
    /// Leases that end because their time is over.
    pub ended: Vec<(usize, i64)>,
}

/// Carries out what an entry says about keys, for a member that is behind the model.
pub fn replay(oracle: &mut Oracle, entry: &Logged, effects: &Effects) {
    for (ordinal, said) in entry.commands().into_iter().enumerate() {
        if effects.done.contains(&ordinal) {
            // What it answers was judged when the entry was applied first.
            let _ = model_answer(oracle, said.kind, said.payload);
        }
        for &(_, id) in effects.ended.iter().filter(|(by, _)| *by == ordinal) {
            oracle.lease_revoke(&LeaseRevokeRequest { id }).expect("it lives");
        }
    }
}
