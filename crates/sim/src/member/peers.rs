//! A member's connections: what the core wants sent, and what arrives.

use bytes::Bytes;
use windlass_raft::{Body, Message};
use windlass_records::batch::Origin;
use windlass_replica::consensus::Input;
use windlass_replica::membership::Members;
use windlass_types::{MemberId, RequestError, RequestId};

use super::Member;
use super::consensus::ToConsensus;
use crate::env::{Env, Stop, member_of, site_of};
use crate::mailbox::Sender;
use crate::network::{Content, Packet};
use crate::report::Count;

impl Member {
    pub(super) fn send(&mut self, message: Message, env: &mut Env) {
        env.checker.sends(env.at, &message);
        env.tell(|| format!("to {} in term {}: {}", message.to, message.term, short(&message.body)));
        env.send(site_of(message.to), Content::Raft(message));
    }

    /// Sends commands to the leader; what cannot leave is in no log, and its clients are told so.
    pub(super) fn forward(&mut self, to: MemberId, data: Bytes, ids: Vec<RequestId>, env: &mut Env) {
        env.totals.count(Count::Forwards);
        if !env.send(site_of(to), Content::Forward(data)) {
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
            Content::Raft(message) => Input::Receive(message),
            Content::Forward(data) => Input::Forwarded { from: member_of(from), data },
            Content::Refused(of, ids, error) => Input::Refused { of, ids, error },
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
