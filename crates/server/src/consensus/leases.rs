//! Questions about leases between members: a member that does not lead asks the leader, all questions of a turn at once.

use std::collections::HashMap;
use std::time::Duration;

use actix::{Addr, AsyncContext as _, Context, Handler, Message};
use bytes::Bytes;
use tokio::sync::oneshot;
use windlass_replica::consensus::Input;
use windlass_replica::lease::{Asker, LeaseAnswer, LeaseAsk};
use windlass_types::{MemberId, RequestId};

use super::ConsensusActor;
use crate::net::{ToArbiter, arbiter_of};

/// Kind of questions about leases.
pub(super) const ASK_LEASES: u16 = 1;

/// How long the leader may take. The client's own deadline is not much longer.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Most questions that travel together, so that their numbers have room in an asker's.
const ASKS_MAX: usize = 1 << 12;

/// Questions of other members that have no answer yet. Bounded by what the transport keeps open.
#[derive(Default)]
pub(super) struct PeerAsks {
    groups: HashMap<u64, Group>,
    next: u64,
}

/// Questions that came together.
struct Group {
    answers: Vec<Option<LeaseAnswer>>,
    missing: usize,
    done: oneshot::Sender<Bytes>,
}

/// Another member's questions.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct LeasesAsked {
    pub from: MemberId,
    pub asks: Vec<LeaseAsk>,
    pub done: oneshot::Sender<Bytes>,
}

/// The leader's answers to this member's clients.
#[derive(Message)]
#[rtype(result = "()")]
struct LeasesAnswered(Vec<(RequestId, LeaseAnswer)>);

impl ConsensusActor {
    /// Questions of this member's clients.
    pub(super) fn ask_leases(&mut self, asks: Vec<(RequestId, LeaseAsk)>, context: &Context<Self>) {
        let leader = self.core.raft().leader();
        if leader == self.published.member || leader == MemberId::ZERO {
            // Without a leader the core says so.
            for (id, ask) in asks {
                self.feed(Input::Lease { asker: Asker::Local(id), ask });
            }
            return;
        }
        for asks in asks.chunks(ASKS_MAX) {
            self.ask_leader(leader, asks.to_vec(), context.address());
        }
    }

    fn ask_leader(&self, leader: MemberId, asks: Vec<(RequestId, LeaseAsk)>, actor: Addr<Self>) {
        let Some(peers) = self.cluster.peers.clone() else { return };
        let (ids, asks): (Vec<_>, Vec<_>) = asks.into_iter().unzip();
        let question = Bytes::from(LeaseAsk::encode_all(&asks));
        actix_rt::spawn(async move {
            let answered = peers.ask(leader, ASK_LEASES, question, ASK_TIMEOUT).await.ok();
            let answers = answered.and_then(|bytes| LeaseAnswer::decode_all(&bytes)).unwrap_or_default();
            // Whoever got no answer found no leader.
            let answers = answers.into_iter().chain(std::iter::repeat(LeaseAnswer::NotLeader));
            actor.do_send(LeasesAnswered(ids.into_iter().zip(answers).collect()));
        });
    }

    /// The core answered one of another member's questions.
    pub(super) fn lease_answered(&mut self, id: u64, answer: LeaseAnswer) {
        let (number, at) = (id / ASKS_MAX as u64, (id % ASKS_MAX as u64) as usize);
        let Some(group) = self.peer_asks.groups.get_mut(&number) else { return };
        group.missing -= usize::from(group.answers[at].replace(answer).is_none());
        if group.missing == 0
            && let Some(Group { answers, done, .. }) = self.peer_asks.groups.remove(&number)
        {
            let answers: Vec<_> = answers.into_iter().flatten().collect();
            // If it does not arrive the asker hears a timeout.
            let _ = done.send(LeaseAnswer::encode_all(&answers).into());
        }
    }

    pub(super) fn tell_lease(&mut self, id: RequestId, answer: LeaseAnswer) {
        self.tell(arbiter_of(id), ToArbiter::Lease { id, answer });
    }
}

impl Handler<LeasesAsked> for ConsensusActor {
    type Result = ();

    fn handle(&mut self, message: LeasesAsked, context: &mut Self::Context) {
        let LeasesAsked { from: member, asks, done } = message;
        if asks.is_empty() || asks.len() > ASKS_MAX {
            return;
        }
        self.peer_asks.next += 1;
        let number = self.peer_asks.next;
        let group = Group { answers: vec![None; asks.len()], missing: asks.len(), done };
        self.peer_asks.groups.insert(number, group);
        // One whose asker does not wait any more makes room.
        self.peer_asks.groups.retain(|_, group| !group.done.is_closed());
        for (at, ask) in (0..).zip(asks) {
            let asker = Asker::Peer { member, id: number * ASKS_MAX as u64 + at };
            self.feed(Input::Lease { asker, ask });
        }
        self.end_step(context);
    }
}

impl Handler<LeasesAnswered> for ConsensusActor {
    type Result = ();

    fn handle(&mut self, LeasesAnswered(answers): LeasesAnswered, context: &mut Self::Context) {
        answers.into_iter().for_each(|(id, answer)| self.tell_lease(id, answer));
        self.end_step(context);
    }
}
