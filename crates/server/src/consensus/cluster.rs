//! What the consensus actor does because there are other members: messages, forwarded commands, changes of the members,
//! hand-over of leadership, and the end of a member that was removed.

use std::sync::Arc;

use actix::{AsyncContext, Context, Handler, Message, ResponseFuture};
use tokio::sync::{mpsc, oneshot};
use windlass_api::etcdserverpb::Member;
use windlass_peer::{Failure, Frame, NotSent, Peers};
use windlass_raft::{ReadId, Role};
use windlass_records::batch::{CommandKind, Origin};
use windlass_replica::consensus::Input;
use windlass_replica::departure::Departure;
use windlass_replica::membership::Members;
use windlass_replica::sequencer::Response;
use windlass_replica::shard::Chunk;
use windlass_replica::task::SnapshotId;
use windlass_types::{MemberId, RequestError, RequestId, ShardId};

use super::links::{FromPeer, Links};
use super::outgoing::Outgoing;
use super::{ConsensusActor, survive};
use crate::member::join;
use crate::net::{REQUEST_TIMEOUT_BASE, ToArbiter, arbiter_of};
use crate::startup::data_folder::Unpublished;
use crate::startup::{Reason, fatal};

/// The request of a change that this member itself asks for. No arbiter makes such an id.
pub(super) const OWN_REQUEST: RequestId = RequestId(u64::MAX);

/// The read by which a member that starts learns where it has to be. The topmost byte is an arbiter's number, all ones a
/// question about leases; this is neither.
pub(super) const OWN_READ: ReadId = ReadId(0xfe << 56);

/// Ticks between attempts of a member to tell the others its name and client URLs.
const PUBLISH_TICKS: u32 = 10;

/// How this member takes part in its cluster.
pub struct Setup {
    /// What it says of itself once it has started.
    pub own: Member,
    /// Whether it has not said so yet with the data that it has.
    pub unpublished: Option<Unpublished>,
    /// Whether the cluster is to consist of this member alone from now on.
    pub force_new_cluster: bool,
    /// The members as they were told to one that joins, until its log says more.
    pub told: Vec<Member>,
    /// The transport, and where it comes from.
    pub links: Links,
}

/// The actor's part of it.
pub(super) struct Cluster {
    own: Member,
    unpublished: Option<Unpublished>,
    force_new_cluster: bool,
    told: Vec<Member>,
    pub(super) links: Links,
    pub(super) peers: Option<Peers>,
    pub(super) outgoing: Outgoing,
    departure: Departure,
    /// The present leader, if it is no member any more, and where it is.
    parting: Option<(MemberId, Vec<String>)>,
    /// Clients that wait for another leader.
    moves: Vec<Move>,
    pub(super) place: Place,
    publish_in_ticks: u32,
    /// A shutdown that waits for leadership to be gone.
    stepping_down: Option<oneshot::Sender<()>>,
}

/// Where in the log a member is that starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It does not know where it has to be.
    Unknown,
    /// It has asked.
    Asked,
    /// It has applied everything that was acknowledged before it asked.
    Reached,
}

/// Leadership that is to move.
struct Move {
    id: RequestId,
    to: MemberId,
    ticks: u32,
}

/// Asks the actor to give leadership away, as it will be gone soon. Answered when another member leads, or when nobody
/// took it within an election timeout.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StepDown;

impl Cluster {
    pub fn new(setup: Setup) -> Self {
        let Setup { own, unpublished, force_new_cluster, told, links } = setup;
        let departure = Departure::new(links.election_ticks);
        Self {
            own,
            unpublished,
            force_new_cluster,
            told,
            links,
            peers: None,
            outgoing: Outgoing::default(),
            departure,
            parting: None,
            moves: Vec::new(),
            place: Place::Unknown,
            publish_in_ticks: 0,
            stepping_down: None,
        }
    }

    /// Where the chunks of a snapshot come out that begins.
    pub fn feed(&mut self, id: SnapshotId) -> mpsc::UnboundedReceiver<Chunk> {
        self.outgoing.feed(id)
    }

    /// A shard's piece of a snapshot.
    pub fn chunk(&mut self, shard: ShardId, chunk: Chunk) {
        self.outgoing.chunk(shard, chunk);
    }
}

impl ConsensusActor {
    /// Begins to talk to the other members, if there are to be any.
    pub(super) fn connect(&mut self, context: &Context<Self>) {
        let started = self.cluster.links.start(&context.address(), &self.published);
        self.cluster.peers = Some(started.unwrap_or_else(|error| fatal(Reason::Address, error)));
        self.link_members();
    }

    /// Whom to be connected with: the members, a leader that hands over because it was removed, and for one that joins and has
    /// not seen itself become a member those that it was told of, too.
    fn link_members(&mut self) {
        let members = self.published.members();
        let joining = members.get(self.published.member).is_none();
        let told = self.cluster.told.iter().filter(|m| joining && !members.is_removed(MemberId(m.id)));
        let told = told.filter(|m| members.get(MemberId(m.id)).is_none());
        let known = members.iter().chain(told).map(|m| (MemberId(m.id), m.peer_ur_ls.clone()));
        let links: Vec<(MemberId, Vec<String>)> = known.chain(self.cluster.parting.clone()).collect();
        if let Some(peers) = &self.cluster.peers
            && let Err(error) = peers.set_members(&links)
        {
            tracing::error!(%error, "a member cannot be reached: correct its peer URLs with `etcdctl member update`");
        }
    }

    pub(super) fn send(&mut self, message: windlass_raft::Message) {
        let to = message.to;
        let Some(peers) = &self.cluster.peers else { return };
        if self.core.raft().role() == Role::Leader {
            failpoint!("raftBeforeLeaderSend", else return);
        } else {
            failpoint!("raftBeforeFollowerSend", else return);
        }
        match peers.send(to, Frame::Raft(message)) {
            Ok(()) | Err(NotSent::NotConnected | NotSent::UnknownPeer) => {}
            Err(error @ (NotSent::QueueFull | NotSent::TooLarge)) => {
                tracing::debug!(peer = %to, ?error, "a message was not sent");
                self.cluster.links.unreachable(to);
            }
        }
    }

    /// Sends commands to the leader; what cannot leave is in no log, and its clients are told so.
    pub(super) fn forward(
        &mut self,
        to: MemberId,
        commands: Frame,
        ids: Vec<RequestId>,
        context: &mut Context<Self>,
    ) {
        let sent = match &self.cluster.peers {
            Some(peers) => peers.send(to, commands),
            None => Err(NotSent::NotConnected),
        };
        let error = match sent {
            Ok(()) => return,
            Err(NotSent::QueueFull) => RequestError::TooManyRequests,
            Err(NotSent::TooLarge) => RequestError::RequestTooLarge,
            Err(NotSent::NotConnected | NotSent::UnknownPeer) => RequestError::TimeoutConnectionLost,
        };
        // From within a step: the core hears of it in one of its own.
        context.notify(FromPeer::NotForwarded { ids, error });
    }

    pub(super) fn refuse_forwarded(&mut self, to: Origin, ids: Vec<RequestId>, error: RequestError) {
        if let Some(peers) = &self.cluster.peers {
            let failure = Failure { code: error.code() as u32, text: error.text().to_owned() };
            let frame = Frame::ForwardRefused { requests: ids, incarnation: to.incarnation, failure };
            // If it does not arrive the clients hear a timeout.
            let _ = peers.send(to.member, frame);
        }
    }

    pub(super) fn members_changed(&mut self, members: Arc<Members>) {
        failpoint!("beforeApplyOneConfChange");
        let me = self.published.member;
        if members.is_removed(me) {
            tracing::error!("the member has been permanently removed from the cluster");
        }
        let leader = self.published.leader();
        if members.is_removed(leader) && leader != me {
            // Whom it hands over to must get the end of its log first, and its call to stand for election.
            let before = self.published.members().get(leader).cloned();
            self.cluster.parting =
                before.map(|member| (leader, member.peer_ur_ls)).or(self.cluster.parting.take());
        }
        self.published.set_members(members);
        self.link_members();
    }

    /// Asks for the place in the log that a member which starts has to reach: what it knows to be committed may be older
    /// than what its clients were told before.
    pub(super) fn ask_place(&mut self) {
        if self.cluster.place == Place::Unknown && self.leads_or_follows() {
            self.cluster.place = Place::Asked;
            self.feed(Input::Read(OWN_READ));
        }
    }

    /// Whether the member serves what it should: everything that was committed when it started.
    pub(super) fn has_caught_up(&self) -> bool {
        self.cluster.place == Place::Reached && self.leads_or_follows()
    }

    fn leads_or_follows(&self) -> bool {
        let raft = self.core.raft();
        let has_leader = match raft.role() {
            Role::Leader => raft.is_leader_ready(),
            _ => raft.leader() != MemberId::ZERO,
        };
        // A member that joins becomes one with an entry that is still to come.
        let is_member = raft.membership().contains(raft.id()) && self.is_published();
        // Until the log says that it is alone, a restart would find the others again, and nobody to follow.
        has_leader && is_member && !self.cluster.force_new_cluster
    }

    pub(super) fn leader_changed(&mut self, leader: MemberId) {
        if self.cluster.parting.take_if(|(parting, _)| *parting != leader).is_some() {
            self.link_members();
        }
        for moved in std::mem::take(&mut self.cluster.moves) {
            if leader == moved.to {
                let message = ToArbiter::LeaderMoved { id: moved.id, result: Ok(()) };
                self.tell(arbiter_of(moved.id), message);
            } else {
                self.cluster.moves.push(moved);
            }
        }
        if leader != MemberId::ZERO
            && leader != self.published.member
            && let Some(done) = self.cluster.stepping_down.take()
        {
            // Whoever asked may have given up.
            let _ = done.send(());
        }
    }

    /// Source: etcd `server.go` `MoveLeader`.
    pub(super) fn move_leader(&mut self, id: RequestId, to: MemberId) {
        let members = self.published.members();
        let refusal = if self.core.raft().role() != Role::Leader {
            Some(RequestError::NotLeader)
        } else if members.get(to).is_none_or(|member| member.is_learner) {
            Some(RequestError::BadLeaderTransferee)
        } else {
            None
        };
        if let Some(error) = refusal {
            return self.tell(arbiter_of(id), ToArbiter::LeaderMoved { id, result: Err(error) });
        }
        if to == self.published.member {
            return self.tell(arbiter_of(id), ToArbiter::LeaderMoved { id, result: Ok(()) });
        }
        self.cluster.moves.push(Move { id, to, ticks: 0 });
        self.feed(Input::TransferLeader(to));
    }

    /// Another member says that this one was removed.
    pub(super) fn said_removed(&mut self, by: MemberId) {
        tracing::error!(%by, "a member says that this one has been permanently removed from the cluster");
        self.cluster.departure.said(by);
    }

    /// With each tick: gives up on hand-overs that nobody took, and tells the others who this member is.
    pub(super) fn tick_cluster(&mut self) {
        if self.cluster.departure.tick(&self.core) {
            end_removed();
        }
        self.cluster.moves.iter_mut().for_each(|moving| moving.ticks += 1);
        // Not sooner than other requests: a client that is told of it asks again, and while leadership is on the move nothing is
        // written. etcd leaves it to the client's deadline.
        let patience = REQUEST_TIMEOUT_BASE + 2 * self.heartbeat * self.cluster.links.election_ticks;
        let is_late = |moving: &Move| self.heartbeat * moving.ticks > patience;
        let (late, moves) = std::mem::take(&mut self.cluster.moves).into_iter().partition(is_late);
        self.cluster.moves = moves;
        for moving in late {
            let result = Err(RequestError::TimeoutLeaderTransfer);
            self.tell(arbiter_of(moving.id), ToArbiter::LeaderMoved { id: moving.id, result });
        }
        self.publish();
        self.yield_if_damaged();
    }

    /// Says who this member is until the log says it: as a change like any other, to whoever leads.
    fn publish(&mut self) {
        if self.cluster.publish_in_ticks > 0 {
            self.cluster.publish_in_ticks -= 1;
            return;
        }
        let own = &self.cluster.own;
        let members = self.published.members();
        let known = members.get(MemberId(own.id));
        let is_known = self.is_published();
        let kind = if self.cluster.force_new_cluster || members.iter().next().is_none() {
            // Data from before there were records of members is that of a sole one.
            CommandKind::ForceNewCluster
        } else {
            CommandKind::MemberPublish
        };
        let is_due = kind == CommandKind::ForceNewCluster || (known.is_some() && !is_known);
        if is_due && self.is_heard_by_leader() && self.core.raft().membership().contains(MemberId(own.id)) {
            let member = Box::new(own.clone());
            self.cluster.publish_in_ticks = PUBLISH_TICKS;
            self.end_unpublished();
            self.feed(Input::Change { id: OWN_REQUEST, kind, member });
        }
    }

    /// Whether there is a leader that takes what this member sends. To hear one is not enough: it would refuse a member that
    /// it knows to have lost its data, and that one must not take itself for published before it is told.
    fn is_heard_by_leader(&self) -> bool {
        let leader = self.core.raft().leader();
        let takes = |peers: &Peers| peers.is_connected(leader);
        leader == self.published.member
            || (leader != MemberId::ZERO && self.cluster.peers.as_ref().is_some_and(takes))
    }

    /// Before the log can say who this member is, its data must say that it asked for that.
    fn end_unpublished(&mut self) {
        let Some(unpublished) = self.cluster.unpublished.take() else { return };
        unpublished.end().unwrap_or_else(|error| fatal(error.reason(), error));
        if let Some(peers) = &self.cluster.peers {
            peers.set_published();
        }
    }

    /// Another member says that this one was here before, and has lost its data. Whoever has not said who it is with the
    /// data that it has is new, or that is true.
    pub(super) fn said_forgotten(&mut self, by: MemberId) {
        tracing::error!(%by, "a member says that this one has been here before");
        if self.cluster.unpublished.is_some() {
            let error = join::Error::AlreadyBootstrapped(self.cluster.own.id);
            fatal(error.reason(), error);
        }
    }

    /// Whether the log says who this member is. As in etcd it serves only then: were it to lose its disk before, the others
    /// would take it for one that has yet to start, and let it begin anew though it had acknowledged something.
    fn is_published(&self) -> bool {
        let own = &self.cluster.own;
        let members = self.published.members();
        let known = members.get(MemberId(own.id));
        known.is_some_and(|m| m.name == own.name && m.client_ur_ls == own.client_ur_ls)
    }

    pub(super) fn own_change_ended(&mut self, result: Result<Box<Response>, RequestError>) {
        match result.as_deref() {
            Ok(Response::Members { kind: CommandKind::ForceNewCluster, .. }) => {
                self.cluster.force_new_cluster = false;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "what this member asked of the log by itself was refused"),
        }
    }

    /// A snapshot for another member has arrived there, or will not.
    pub(super) fn snapshot_ended(&mut self, to: MemberId, delivered: bool) {
        self.feed(Input::SnapshotSent { to, delivered });
    }
}

impl Handler<StepDown> for ConsensusActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StepDown, context: &mut Self::Context) -> Self::Result {
        let successor = self.core.best_successor().filter(|_| self.core.raft().role() == Role::Leader);
        let Some(to) = successor else { return Box::pin(std::future::ready(())) };
        tracing::info!(%to, "handing leadership over");
        let (done, is_done) = oneshot::channel();
        self.cluster.stepping_down = Some(done);
        survive(self.core.step(Input::TransferLeader(to), &mut self.outputs));
        self.end_step(context);
        let patience = self.heartbeat * self.cluster.links.election_ticks;
        Box::pin(async move {
            // Without an answer in time this member simply goes, and the others elect.
            let _ = tokio::time::timeout(patience, is_done).await;
        })
    }
}

/// Ends the process of a member that is none any more, in etcd's words and with its exit code.
fn end_removed() -> ! {
    tracing::error!("the member has been permanently removed from the cluster");
    tracing::warn!("the data folder used by this member must be removed");
    std::process::exit(0)
}
