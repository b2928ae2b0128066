//! What the consensus actor and the shards say, turned into answers.

use windlass_api::etcdserverpb::PutResponse;
use windlass_records::batch::Batch;
use windlass_replica::task::ReadAnswer;
use windlass_replica::txn::Response;
use windlass_types::{RequestError, RequestId, Revision};

use super::ToArbiter;
use super::arbiter::Arbiter;

impl Arbiter {
    /// Takes one message.
    pub(super) fn told(&mut self, message: ToArbiter) {
        match message {
            ToArbiter::Puts { batch, commands, first_revision } => {
                self.puts(&batch, commands, first_revision)
            }
            ToArbiter::Emptied(builder) => self.spare.push(builder),
            ToArbiter::Reply { id, result } => self.replied(id, result),
            ToArbiter::LeaderMoved { id, result } => self.leader_moved(id, result),
            ToArbiter::Lease { id, answer } => self.lease_answered(id, answer),
            ToArbiter::Password { id, done } => self.password_done(id, done),
            ToArbiter::Leases { id, leases } => self.leases_listed(id, leases),
            ToArbiter::Snapshot { id, snapshot } => self.snapshot(id, snapshot),
            ToArbiter::Followed { shard, news } => self.watch_followed(shard, news),
            ToArbiter::Read { ticket, shard, answer } => match (ticket.watch(), answer) {
                (Some(id), ReadAnswer::Changes(changes)) => self.watch_answered(id, shard, changes),
                (_, answer) => self.read_answer(ticket, shard, answer),
            },
        }
    }

    fn puts(&mut self, batch: &Batch, commands: std::ops::Range<usize>, first_revision: Revision) {
        let mut response = PutResponse { header: Some(self.headers.at(first_revision)), prev_kv: None };
        for command in batch.commands().skip(commands.start).take(commands.len()) {
            if let Some(pending) = self.calls.take(command.id) {
                self.reply(pending.call, &response);
            }
            if let Some(header) = &mut response.header {
                header.revision += 1;
            }
        }
    }

    fn replied(&mut self, id: RequestId, result: Result<Box<Response>, RequestError>) {
        let Some(pending) = self.calls.take(id) else { return };
        if self.is_login_again(id, pending.call, result.as_ref().err().copied()) {
            return;
        }
        let response = match result {
            Ok(response) => *response,
            Err(error) => {
                self.metrics.proposals_failed.inc();
                return self.refuse(pending.call, error);
            }
        };
        match response {
            Response::Put(mut put) => {
                self.headers.complete(&mut put.header);
                self.reply(pending.call, &put);
            }
            Response::DeleteRange(mut delete) => {
                self.headers.complete(&mut delete.header);
                self.reply(pending.call, &delete);
            }
            Response::Txn(mut txn) => {
                self.headers.complete(&mut txn.header);
                self.reply(pending.call, &txn);
            }
            Response::Auth(mut auth) => {
                self.headers.complete(&mut auth.header);
                self.reply(pending.call, &auth);
            }
            Response::Alarm { response, by_quota } => self.alarms_changed(pending.call, response, by_quota),
            Response::Members { kind, id, members } => {
                self.members_changed(pending.call, kind, id, &members);
            }
            Response::Compaction(mut compaction) => {
                self.headers.complete(&mut compaction.header);
                self.reply(pending.call, &compaction);
            }
            Response::LeaseGrant(mut grant) => {
                self.metrics.requests.granted(grant.ttl);
                self.headers.complete(&mut grant.header);
                self.reply(pending.call, &grant);
            }
            Response::LeaseRevoke(mut revoke) => {
                self.headers.complete(&mut revoke.header);
                self.reply(pending.call, &revoke);
            }
        }
    }
}
