//! Leases in log order: granted, ended, and what is left of them written down.
//!
//! Whether a lease exists is known here without asking a shard, because commands about leases end the wave before them.
//! What is attached to one, the shards know.

use prost::Message;
use windlass_api::etcdserverpb::{LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest};
use windlass_records::batch::{Command, CommandKind};
use windlass_types::{LeaseId, RequestError, RequestId};

use super::auth::{admit, permit};
use super::{Output, Response, Sequencer};
use crate::auth::Need;
use crate::lease::{Checkpoints, Expired, INTERNAL};
use crate::txn::{Transaction, header};

/// Whether the command ends leases, together with its neighbours that do.
pub(super) fn ends_leases(kind: CommandKind) -> bool {
    matches!(kind, CommandKind::LeaseRevoke | CommandKind::LeaseExpire)
}

impl Sequencer {
    /// Decides the next command of the entry under way, which grants a lease.
    pub(super) fn lease_grant(&mut self, out: &mut Vec<Output>) {
        let entry = self.current.as_mut().expect("an entry is under way");
        let command = entry.rest.pop().expect("its next command grants a lease");
        let request = LeaseGrantRequest::decode(entry.payload(&command)).map_err(|_| RequestError::Corrupt);
        let outcome = request.and_then(|LeaseGrantRequest { id, ttl }| {
            self.alarms.check_growth()?;
            permit(&self.auth, entry, &command, Need::User)?;
            self.leases.grant(LeaseId(id), ttl, entry.index(), &mut self.system).map(|event| {
                out.push(Output::Lease(event));
                let header = header(self.revision);
                LeaseGrantResponse { header, id, ttl, error: String::new() }
            })
        });
        if entry.is_ours {
            let result = outcome.map(|response| Box::new(Response::LeaseGrant(response)));
            entry.replies.push(Output::Reply { id: command.id, result });
        }
    }

    /// Decides the next command of the entry under way, which writes down what is left of leases.
    pub(super) fn lease_checkpoint(&mut self, out: &mut Vec<Output>) {
        let entry = self.current.as_mut().expect("an entry is under way");
        let command = entry.rest.pop().expect("its next command is about leases");
        let Ok(checkpoints) = Checkpoints::decode(entry.payload(&command)) else { return };
        if checkpoints.term != entry.term().0 {
            return;
        }
        for left in &checkpoints.leases {
            let event = self.leases.checkpoint(left, checkpoints.proposal, &mut self.system);
            out.extend(event.map(Output::Lease));
        }
    }

    /// Starts a wave of the next commands, as many as end leases.
    pub(super) fn revoke_wave(&mut self, out: &mut Vec<Output>) {
        let (mut ids, mut transactions) = (Vec::new(), Vec::new());
        loop {
            let entry = self.current.as_mut().expect("an entry is under way");
            let Some(command) = entry.rest.pop_if(|command| ends_leases(command.kind)) else { break };
            for (id, transaction) in self.leases_to_end(&command) {
                if transaction.guarded().is_some() {
                    // The shards decide whether it ends, so nothing may be decided with it.
                    if ids.is_empty() {
                        return self.start_wave(vec![id], vec![transaction], out);
                    }
                    let entry = self.current.as_mut().expect("an entry is under way");
                    entry.rest.push(command);
                    return self.start_wave(ids, transactions, out);
                }
                match self.end_lease(&transaction, out) {
                    Ok(()) => {
                        ids.push(id);
                        transactions.push(transaction);
                    }
                    Err(error) => self.refuse_early(id, error),
                }
            }
        }
        self.start_wave(ids, transactions, out);
    }

    /// Takes away the lease that a transaction ends, if it ends one; its keys go with its wave.
    pub(super) fn end_lease(
        &mut self,
        transaction: &Transaction,
        out: &mut Vec<Output>,
    ) -> Result<(), RequestError> {
        if let Some(lease) = transaction.revoked_lease() {
            out.push(Output::Lease(self.leases.revoke(lease, &mut self.system)?));
        }
        Ok(())
    }

    /// The ends of leases that a command asks for, and who waits for them.
    fn leases_to_end(&mut self, command: &Command) -> Vec<(RequestId, Transaction)> {
        let entry = self.current.as_ref().expect("an entry is under way");
        let payload = entry.payload(command);
        if command.kind == CommandKind::LeaseExpire {
            let expired = Expired::decode(payload).unwrap_or_default();
            // A leader of another term may have renewed what this one found to have run out. What an alarm keeps from
            // being deleted the leader proposes again.
            let is_valid = expired.term == entry.term().0 && self.alarms.check_write().is_ok();
            let leases = expired.leases.iter().filter(|lease| is_valid && self.leases.is(lease));
            return leases.map(|lease| (INTERNAL, Transaction::from_revoke(LeaseId(lease.id)))).collect();
        }
        let request = LeaseRevokeRequest::decode(payload).map_err(|_| RequestError::Corrupt);
        let outcome = request.and_then(|request| {
            self.alarms.check_write()?;
            let mut transaction = Transaction::from_revoke(LeaseId(request.id));
            admit(&self.auth, entry, command, &mut transaction)?;
            // Where the shards decide, they would be asked in vain about a lease that is not there.
            let is_there = self.leases.contains(LeaseId(request.id));
            if is_there { Ok(transaction) } else { Err(RequestError::LeaseNotFound) }
        });
        match outcome {
            Ok(transaction) => vec![(command.id, transaction)],
            Err(error) => {
                self.refuse_early(command.id, error);
                Vec::new()
            }
        }
    }

    fn refuse_early(&mut self, id: RequestId, error: RequestError) {
        let entry = self.current.as_mut().expect("an entry is under way");
        if entry.is_ours && id != INTERNAL {
            entry.replies.push(Output::Reply { id, result: Err(error) });
        }
    }
}
