//! A member's connections: what the core wants sent, and what arrives.

use prost::Message as _;
use windlass_api::etcdserverpb::Member as Record;
use windlass_raft::{Body, Message};
use windlass_records::batch::{BatchBuilder, CommandKind, Origin};
use windlass_replica::consensus::Input;
use windlass_replica::lease::{Asker, Expired, LeaseRef};
use windlass_replica::membership::Members;
use windlass_types::{LogIndex, MemberId, RequestError, RequestId};

use super::Member;
use super::consensus::ToConsensus;
use crate::bug::Bug;
use crate::checker::OWN_REQUEST;
use crate::env::{Env, Stop, member_of, site_of};
use crate::mailbox::Sender;
use crate::network::{Content, Packet};
use crate::report::Count;

/// Ticks between attempts of a member to say who it is, about.
const PUBLISH_TICKS: u64 = 10;

impl Member {
    pub(super) fn send(&mut self, mut message: Message, env: &mut Env) {
        self.commit_from_old_term(&mut message, env);
        env.checker.sends(env.at, &message);
        env.tell(|| format!("to {} in term {}: {}", message.to, message.term, short(&message.body)));
        self.sabotage(&message, env);
        env.send(site_of(message.to), Content::Raft(message));
    }

    /// A known bug: what is on a majority is said to be committed, though no entry of the leader's own term is.
    /// Source: Raft thesis 3.6.2, figure 3.7.
    fn commit_from_old_term(&self, message: &mut Message, env: &mut Env) {
        if !env.has(Bug::CommittedFromOldTerm) {
            return;
        }
        let raft = self.consensus.core.raft();
        let (to, term) = (message.to, message.term);
        let (Body::Append { commit, .. } | Body::Heartbeat { commit, .. }) = &mut message.body else {
            return;
        };
        let matched = |id| match raft.peers().find(|peer| peer.id == id) {
            Some(peer) => peer.matched,
            None => raft.durable(),
        };
        let mut reached: Vec<LogIndex> = raft.membership().voters.iter().map(|&id| matched(id)).collect();
        reached.sort_unstable();
        let counted = reached.get(reached.len().saturating_sub(1) / 2).copied().unwrap_or_default();
        let told = counted.min(matched(to));
        let is_old = told > *commit && raft.term_at(told).is_some_and(|of| of < term);
        if is_old && env.strikes(Bug::CommittedFromOldTerm, 1) {
            *commit = told;
        }
    }

    /// Known bugs: what the other side has not said is heard.
    fn sabotage(&mut self, message: &Message, env: &mut Env) {
        let Message { from, to, term, .. } = *message;
        let body = match &message.body {
            Body::Append { entries, .. } if !entries.is_empty() && env.strikes(Bug::CountedUnheard, 4) => {
                Body::AppendAccepted { index: entries[entries.len() - 1].index }
            }
            Body::ReadIndex(context) if env.strikes(Bug::ReusedReadContext, 2) => {
                let Some(index) = self.old_read else { return };
                Body::ReadIndexReply { context: *context, index }
            }
            _ => return,
        };
        let heard = Message { from: to, to: from, term, body };
        self.input(Sender::Peer(site_of(to)), Input::Receive(heard), env);
    }

    /// Sends commands to the leader; what cannot leave is in no log, and its clients are told so.
    pub(super) fn forward(&mut self, to: MemberId, commands: Content, ids: Vec<RequestId>, env: &mut Env) {
        env.totals.count(Count::Forwards);
        if !env.send(site_of(to), commands) {
            let error = RequestError::TimeoutConnectionLost;
            self.input(Sender::Clock, Input::Refused { of: env.us(), ids, error }, env);
        }
    }

    pub(super) fn refuse_forwarded(
        &mut self,
        to: Origin,
        ids: Vec<RequestId>,
        error: RequestError,
        env: &mut Env,
    ) {
        // If it does not arrive the clients hear a timeout.
        env.send(site_of(to.member), Content::Refused(to, ids, error));
    }

    pub(super) fn members_changed(&mut self, members: &Members, env: &mut Env) {
        env.totals.count(Count::MemberChanges);
        env.tell(|| {
            let name = |m: &windlass_api::etcdserverpb::Member| {
                format!("{}{}", MemberId(m.id), if m.is_learner { " (learns)" } else { "" })
            };
            let names: Vec<String> = members.iter().map(name).collect();
            format!("the members are {}", names.join(", "))
        });
    }

    pub(super) fn input(&mut self, from: Sender, input: Input, env: &mut Env) {
        self.tell_consensus(from, ToConsensus::Input(Box::new(input)), env);
    }

    /// An operator wants the members changed.
    pub fn change(&mut self, kind: CommandKind, record: Record, env: &mut Env) {
        let id = self.new_request(env);
        self.input(Sender::Net, Input::Change { id, kind, member: Box::new(record) }, env);
    }

    /// An operator wants another leader; of a member that does not lead that is refused.
    pub fn move_leader(&mut self, to: MemberId, env: &mut Env) {
        if self.leads() && to != env.member() {
            env.tell(|| format!("an operator moves leadership to {to}"));
            self.input(Sender::Net, Input::TransferLeader(to), env);
        }
    }

    /// A known bug: as leader ends leases that have run out as far as one knows who led before, and not of renewals since.
    pub(super) fn judge_time_of_others(&mut self, env: &mut Env) {
        if !self.leads() || !env.strikes(Bug::RevokedByDeposed, 10) {
            return;
        }
        let now_ns = env.agenda.now_ns();
        let over = env.checker.leases().run_out_unless_renewed(now_ns);
        let leases = over.collect();
        self.end_leases(leases, env);
    }

    /// A known bug: as leader ends leases by the clock on the wall.
    pub(super) fn judge_time_by_wall(&mut self, env: &mut Env) {
        if !self.leads() || !env.has(Bug::LeaseByWallClock) {
            return;
        }
        let (now_ns, clock) = (env.agenda.now_ns(), &env.site().clock);
        let passed = |from_ns| clock.passed_on_wall_ns(from_ns, now_ns);
        let leases: Vec<_> = env.checker.leases().run_out_by(passed).collect();
        if !leases.is_empty() && env.strikes(Bug::LeaseByWallClock, 1) {
            self.end_leases(leases, env);
        }
    }

    /// Each with the entry that granted it.
    fn end_leases(&mut self, leases: Vec<(i64, LogIndex)>, env: &mut Env) {
        let leases = leases.into_iter().map(|(id, granted)| LeaseRef { id, granted: granted.0 }).collect();
        let expired = Expired { term: self.consensus.core.raft().term().0, leases };
        let mut batch = BatchBuilder::default();
        batch.push(OWN_REQUEST, CommandKind::LeaseExpire, &expired.encode_to_vec());
        self.tell_consensus(Sender::Clock, ToConsensus::Propose(batch), env);
    }

    /// With some ticks: says who this member is until the log says it, as the server does.
    pub(super) fn publish(&mut self, env: &mut Env) {
        let core = &self.consensus.core;
        let known = core.members().get(env.member());
        let is_due = known.is_some_and(|member| member.name.is_empty());
        let leader = core.raft().leader();
        // As in the server: it must be heard, not only hear.
        let is_heard =
            || leader == env.member() || !env.profile.kind.is_full() || env.is_connected(site_of(leader));
        let can = leader != MemberId::ZERO && is_heard() && core.raft().membership().contains(env.member());
        if is_due && can && env.scheduling.one_in(PUBLISH_TICKS) {
            let reached = env.profile.kind.is_full().then(|| format!("http://{}:1", env.member()));
            let client_ur_ls = reached.into_iter().collect();
            let (id, name) = (env.member().0, "started".into());
            let member = Box::new(Record { id, name, client_ur_ls, ..Record::default() });
            env.site_mut().unpublished = false;
            let input = Input::Change { id: OWN_REQUEST, kind: CommandKind::MemberPublish, member };
            self.input(Sender::Clock, input, env);
        }
    }

    /// A connection to this member works.
    pub fn connected(&mut self, peer: usize, env: &mut Env) {
        self.input(Sender::Peer(peer), Input::Reachable(member_of(peer)), env);
    }

    /// It ended.
    pub fn disconnected(&mut self, peer: usize, env: &mut Env) {
        self.input(Sender::Peer(peer), Input::Unreachable(member_of(peer)), env);
        self.transfers_cut(peer, env);
    }

    /// Something arrives.
    ///
    /// # Errors
    /// If the process begins anew.
    pub fn arrive(&mut self, packet: Packet, env: &mut Env) -> Result<(), Stop> {
        let from = packet.from;
        let input = match packet.content {
            Content::Raft(message) => {
                if let Body::ReadIndexReply { index, .. } = message.body {
                    self.old_read = Some(index);
                }
                Input::Receive(message)
            }
            Content::Forward(term, data) => {
                let from = member_of(from);
                if env.strikes(Bug::ForwardedTwice, 20) {
                    let input = Input::Forwarded { from, term, data: data.clone() };
                    self.input(Sender::Peer(site_of(from)), input, env);
                }
                Input::Forwarded { from, term, data }
            }
            Content::Refused(of, ids, error) => Input::Refused { of, ids, error },
            Content::LeaseAsked(id, ask) => {
                Input::Lease { asker: Asker::Peer { member: member_of(from), id }, ask }
            }
            Content::LeaseAnswered(number, answer) => return self.lease_answered(number, answer, env),
            Content::Bulk(parcel) => return self.parcel(from, packet.from_life, parcel, env),
        };
        self.input(Sender::Peer(from), input, env);
        Ok(())
    }
}

/// A message in one line: of entries only how many there are.
fn short(body: &Body) -> String {
    match body {
        Body::Append { prev_index, prev_term, commit, entries } => {
            format!("append {} after {prev_index} of term {prev_term}, commit {commit}", entries.len())
        }
        body => format!("{body:?}"),
    }
}
