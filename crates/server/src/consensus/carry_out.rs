//! Carrying out what the core wants: each of its outputs becomes a message to an arbiter, a task of a shard, an operation of the
//! log's disk, or a frame for another member. Nothing is decided here.

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context};
use windlass_peer::Frame;
use windlass_records::batch::Batch;
use windlass_replica::auth::{Auth, Invalid};
use windlass_replica::consensus::{Input, Output};
use windlass_replica::lease::Asker;
use windlass_replica::reading::Snapshot;
use windlass_replica::sequencer::News;
use windlass_types::Revision;

use super::ConsensusActor;
use super::cluster::{OWN_READ, OWN_REQUEST, Place};
use crate::net::{ToArbiter, arbiter_of, asker};

/// How often a log without room looks for some.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl ConsensusActor {
    pub(super) fn carry_out(&mut self, output: Output, context: &mut Context<Self>) {
        match output {
            Output::Disk(op) => self.start(op),
            Output::Send(message) => self.send(message),
            Output::Forward { to, term, data, ids } => {
                self.forward(to, Frame::Forward { term, batch: data }, ids, context);
            }
            Output::RefuseForwarded { to, ids, error } => self.refuse_forwarded(to, ids, error),
            Output::News(news) => self.make_known(news),
            Output::Snapshot { to, id, state } => self.send_snapshot(to, id, state, context),
            Output::Backup { id, state } => self.begin_backup(id, state, context),
            Output::Rejected { from, fault } => {
                tracing::warn!(peer = %from, ?fault, "dropped a message that cannot be true");
            }
            Output::ToShard { shard, task } => self.shards.task(shard, task),
            Output::Reply { id: OWN_REQUEST, result } => self.own_change_ended(result),
            Output::Reply { id, result } => self.tell(arbiter_of(id), ToArbiter::Reply { id, result }),
            Output::PutReplies { batch, commands, first_revision } => {
                self.put_replies(&batch, commands, first_revision);
            }
            Output::Applied(state) => {
                self.published.set_last_index(self.core.raft().last_index());
                self.published.set_state(state);
                self.timing.numbered(state.index);
                self.shards.state(state);
            }
            Output::ReadReady { id: OWN_READ, .. } => self.cluster.place = Place::Reached,
            Output::ReadDropped(OWN_READ) => self.cluster.place = Place::Unknown,
            Output::ReadReady { id, index, revision } => {
                self.shards.hurry();
                let compact_revision = self.core.numbered().compact_revision;
                let snapshot = Some(Snapshot { index, revision, compact_revision });
                self.tell(asker(id), ToArbiter::Snapshot { id, snapshot });
            }
            Output::LeaseAnswer { asker: Asker::Peer { id, .. }, answer } => self.lease_answered(id, answer),
            Output::LeaseAnswer { asker: Asker::Local(id), answer } => self.tell_lease(id, answer),
            Output::ReadDropped(id) => self.tell(asker(id), ToArbiter::Snapshot { id, snapshot: None }),
            Output::Stable(index) => {
                failpoint!("raftAfterWALRelease");
                self.metrics.stable_index.set(index.0);
                self.shards.stable(index);
            }
            Output::RoleChanged { role, term, leader } => {
                tracing::info!(%role, %term, %leader, "role changed");
                if leader != self.published.leader() {
                    self.metrics.leader_changes.inc();
                }
                self.published.set_leader(term, leader);
                self.timing.leader_changed();
                self.leader_changed(leader);
            }
            Output::Full(full) => self.set_full(full, context),
        }
    }

    fn make_known(&mut self, news: News) {
        match news {
            News::Marked { index, sums } => self.own_sums(index, sums),
            News::Auth { auth, invalid } => self.auth_changed(auth, &invalid),
            News::Token { token, user } => self.authority.assigned(&token, &user),
            News::Alarms(alarms) => self.alarms_changed(alarms),
            News::Members(members) => self.members_changed(members),
        }
    }

    /// Gives each arbiter the runs of commands that are its own; commands of one arbiter mostly stand together.
    fn put_replies(&mut self, batch: &Batch, commands: std::ops::Range<usize>, first_revision: Revision) {
        let mut begin = commands.start;
        let mut owners =
            batch.commands().skip(begin).take(commands.len()).map(|c| arbiter_of(c.id)).peekable();
        while let Some(owner) = owners.next() {
            let mut end = begin + 1;
            while owners.next_if_eq(&owner).is_some() {
                end += 1;
            }
            let offset = i64::try_from(begin - commands.start).expect("an entry holds few commands");
            let first_revision = Revision(first_revision.0 + offset);
            let (batch, commands) = (batch.clone(), begin..end);
            self.told[usize::from(owner.0)].push(ToArbiter::Puts { batch, commands, first_revision });
            begin = end;
        }
    }

    fn auth_changed(&self, auth: Arc<Auth>, invalid: &Invalid) {
        let was_enabled = self.published.is_auth_enabled();
        match (was_enabled, auth.is_enabled()) {
            (false, true) => tracing::info!("authentication is enabled"),
            (true, false) => tracing::info!("authentication is disabled"),
            _ => {}
        }
        self.published.set_auth(auth);
        self.authority.invalidate(invalid);
    }

    fn set_full(&mut self, full: bool, context: &mut Context<Self>) {
        self.published.set_full(full);
        if full {
            tracing::error!("the disk is full: writes are refused until there is room, reads go on");
        } else {
            tracing::info!("the disk has room again: writes are accepted");
        }
        if full && !self.retrying {
            self.retrying = true;
            self.retry_later(context);
        }
    }

    fn retry_later(&mut self, context: &mut Context<Self>) {
        context.run_later(RETRY_INTERVAL, |actor, context| {
            actor.feed(Input::RetrySpace);
            actor.end_step(context);
            if actor.published.is_full() {
                actor.retry_later(context);
            } else {
                actor.retrying = false;
            }
        });
    }
}
