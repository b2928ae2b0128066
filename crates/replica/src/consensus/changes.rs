//! Changes of the members on their way into the log: one at a time, each checked by the leader against what the one
//! before it left. Source of the checks: etcd `server.go` (`mayAddMember` and its like), `api/membership/cluster.go`.
//!
//! Also what a leader knows of its links and of its disk, on which such decisions rest.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::Member;
use windlass_raft::{ConfChange, Role};
use windlass_records::batch::{Batch, BatchBuilder, CommandKind, Origin};
use windlass_records::log::EntryKind;
use windlass_types::{MemberId, RequestError, RequestId};

use super::Consensus;
use super::api::{CHANGES_MAX, Error, Output};
use crate::membership::{is_member_change, raft_change};

/// Changes that wait, and what this member sees of the others.
#[derive(Default)]
pub(super) struct Changes {
    waiting: VecDeque<Change>,
    now_ticks: u64,
    /// Members that are connected, and since when in ticks.
    reachable: BTreeMap<MemberId, u64>,
    /// Ticks since the log's disk completed anything, while it had something to do.
    stalled_ticks: u32,
}

/// One change that somebody asked for.
struct Change {
    origin: Origin,
    id: RequestId,
    kind: CommandKind,
    payload: Bytes,
    /// When to give up, if there is no leader to be reached.
    until_ticks: u64,
}

impl Changes {
    pub fn tick(&mut self) {
        self.now_ticks += 1;
        self.stalled_ticks += 1;
    }

    pub fn now_ticks(&self) -> u64 {
        self.now_ticks
    }

    pub fn reachable(&mut self, peer: MemberId) {
        self.reachable.entry(peer).or_insert(self.now_ticks);
    }

    pub fn unreachable(&mut self, peer: MemberId) {
        self.reachable.remove(&peer);
    }

    pub fn is_reachable(&self, peer: MemberId) -> bool {
        self.reachable.contains_key(&peer)
    }

    pub fn log_moved(&mut self) {
        self.stalled_ticks = 0;
    }

    /// Refuses what other members sent.
    pub fn refuse_forwarded(&mut self, us: Origin, error: RequestError, out: &mut Vec<Output>) {
        let (own, others) = std::mem::take(&mut self.waiting).into_iter().partition(|c| c.origin == us);
        self.waiting = own;
        let others: VecDeque<Change> = others;
        out.extend(others.iter().map(|change| change.refused(us, error)));
    }
}

impl Change {
    fn refused(&self, us: Origin, error: RequestError) -> Output {
        if self.origin == us {
            Output::Reply { id: self.id, result: Err(error) }
        } else {
            Output::RefuseForwarded { to: self.origin, ids: vec![self.id], error }
        }
    }

    /// As the one command of a batch.
    fn batch(&self) -> Bytes {
        let mut builder = BatchBuilder::default();
        builder.push(self.id, self.kind, &self.payload);
        builder.finish(self.origin)
    }
}

impl Consensus {
    /// A change that a client of this member asks for.
    pub(super) fn change_asked(
        &mut self,
        id: RequestId,
        kind: CommandKind,
        member: &Member,
        out: &mut Vec<Output>,
    ) {
        assert!(is_member_change(kind), "{kind:?} does not change the members");
        let payload = member.encode_to_vec().into();
        let until_ticks = self.give_up_at();
        let change = Change { origin: self.us, id, kind, payload, until_ticks };
        // As in etcd, where any member asks this before there is a leader to decide the rest.
        if self.raft.leader() == MemberId::ZERO
            && let Err(error) = self.check_strictly(kind, member)
        {
            return out.push(change.refused(self.us, error));
        }
        self.queue_change(change, out);
    }

    /// As leader: changes that clients of another member ask for.
    pub(super) fn queue_changes(&mut self, batch: &Batch, out: &mut Vec<Output>) {
        for command in batch.commands() {
            let payload = batch.data().slice(command.payload);
            let (origin, until_ticks) = (batch.origin(), self.give_up_at());
            self.queue_change(
                Change { origin, id: command.id, kind: command.kind, payload, until_ticks },
                out,
            );
        }
    }

    fn give_up_at(&self) -> u64 {
        self.changes.now_ticks + self.options.leaderless_ticks
    }

    fn queue_change(&mut self, change: Change, out: &mut Vec<Output>) {
        if self.changes.waiting.len() >= CHANGES_MAX {
            out.push(change.refused(self.us, RequestError::TooManyRequests));
        } else {
            self.changes.waiting.push_back(change);
        }
    }

    /// Proposes the next change if none is under way, or sends all to the leader.
    pub(super) fn propose_change(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        if self.changes.waiting.is_empty() {
            return Ok(());
        }
        if self.raft.role() != Role::Leader {
            self.forward_changes(out);
            return Ok(());
        }
        let is_settled = self.raft.is_leader_ready()
            && self.raft.conf_change_index() <= self.numbered.index
            && self.raft.transferee().is_none();
        if !is_settled || !self.log.can_flush() {
            return Ok(());
        }
        let change = self.changes.waiting.pop_front().expect("checked above");
        let outcome = match Member::decode(&change.payload[..]) {
            Ok(member) => self.check_change(change.kind, &member).map(|()| member),
            Err(_) => Err(RequestError::MemberBadUrls),
        };
        let member = match outcome {
            Ok(member) => member,
            Err(error) => {
                out.push(change.refused(self.us, error));
                return Ok(());
            }
        };
        let context = change.batch();
        if change.origin == self.us {
            self.unsettled.push(self.raft.term(), context.clone());
        }
        match raft_change(change.kind, &member) {
            Some(single) => {
                let data = ConfChange { context, ..ConfChange::single(single) }.encode();
                self.propose(EntryKind::ConfChange, data, out)?;
            }
            None => self.propose(EntryKind::Normal, context, out)?,
        }
        self.submit_persists(out);
        Ok(())
    }

    fn forward_changes(&mut self, out: &mut Vec<Output>) {
        let leader = self.raft.leader();
        if !self.changes.is_reachable(leader) {
            return self.refuse_old_changes(out);
        }
        let term = self.raft.term();
        for change in self.changes.waiting.drain(..) {
            let data = change.batch();
            self.unsettled.push(term, data.clone());
            out.push(Output::Forward { to: leader, term, data, ids: vec![change.id] });
        }
    }

    /// Changes wait for a leader that can be reached, as commands do, and not for ever.
    fn refuse_old_changes(&mut self, out: &mut Vec<Output>) {
        let now = self.changes.now_ticks;
        while let Some(change) = self.changes.waiting.pop_front_if(|change| now >= change.until_ticks) {
            out.push(change.refused(self.us, RequestError::TimeoutLeaderFail));
        }
    }

    fn check_change(&self, kind: CommandKind, member: &Member) -> Result<(), RequestError> {
        let members = self.sequencer.members();
        members.check(kind, member, self.options.learners_max)?;
        if kind == CommandKind::MemberPromote {
            self.check_caught_up(MemberId(member.id))?;
        }
        self.check_strictly(kind, member)
    }

    /// Whether so many voters are there that the change cannot cost the quorum, where that is asked for.
    fn check_strictly(&self, kind: CommandKind, member: &Member) -> Result<(), RequestError> {
        if !self.options.strict_reconfig {
            return Ok(());
        }
        self.sequencer.members().check_started(kind, member)?;
        match kind {
            CommandKind::MemberAdd if self.healthy_voters() < self.voters() => Err(RequestError::Unhealthy),
            CommandKind::MemberRemove => self.check_removal(MemberId(member.id)),
            _ => Ok(()),
        }
    }

    /// A learner may vote when it has nine tenths of the leader's log.
    fn check_caught_up(&self, learner: MemberId) -> Result<(), RequestError> {
        let own = u128::from(self.raft.durable().0);
        let matched = self.raft.peers().find(|peer| peer.id == learner).map_or(0, |peer| peer.matched.0);
        if u128::from(matched) * 10 < own * 9 { Err(RequestError::LearnerNotReady) } else { Ok(()) }
    }

    /// The voters that remain must be able to decide. One that is away takes no part in that already.
    fn check_removal(&self, id: MemberId) -> Result<(), RequestError> {
        let is_away = id != self.us.member && !self.changes.is_reachable(id);
        if is_away || !self.raft.membership().is_voter(id) {
            return Ok(());
        }
        let rest = self.healthy_voters().saturating_sub(1);
        if rest < 1 + self.voters().saturating_sub(1) / 2 { Err(RequestError::Unhealthy) } else { Ok(()) }
    }

    fn voters(&self) -> usize {
        self.raft.membership().voters.len()
    }

    /// Voters that have been connected for a while, this member among them.
    fn healthy_voters(&self) -> usize {
        let is_healthy = |id: &MemberId| {
            let since = self.changes.reachable.get(id);
            let long = since.is_some_and(|&at| self.changes.now_ticks - at >= self.options.healthy_ticks);
            *id == self.us.member || long
        };
        self.raft.membership().voters.iter().filter(|id| is_healthy(id)).count()
    }

    /// A leader whose disk completes nothing for an election timeout gives leadership away: it still sends heartbeats,
    /// so nobody else would depose it (etcd#15247).
    pub(super) fn hand_over_if_stalled(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        if self.raft.persists_under_way() == 0 {
            self.changes.log_moved();
        }
        let is_stalled = self.changes.stalled_ticks >= self.options.stalled_ticks;
        if !is_stalled || self.raft.role() != Role::Leader || self.raft.transferee().is_some() {
            return Ok(());
        }
        match self.best_successor() {
            Some(to) => self.tell_raft(windlass_raft::Input::TransferLeader(to), out),
            None => Ok(()),
        }
    }

    /// The voter that has most of the log, if any other was heard of.
    #[must_use]
    pub fn best_successor(&self) -> Option<MemberId> {
        let voters = &self.raft.membership().voters;
        let peers = self.raft.peers().filter(|p| voters.contains(&p.id));
        let reachable = peers.filter(|p| self.changes.is_reachable(p.id));
        reachable.max_by_key(|p| p.matched).map(|p| p.id)
    }
}
