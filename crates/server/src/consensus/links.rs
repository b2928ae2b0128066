//! The consensus actor's ears: what the peer transport hears becomes messages to the actor, or is answered from what
//! every thread sees.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::oneshot;
use windlass_api::etcdserverpb::{MemberListResponse, ResponseHeader};
use windlass_peer::{Admission, Ask, BulkOffer, Event, Frame, Peers, Reply};
use windlass_records::batch::Origin;
use windlass_replica::amnesia::has_forgotten;
use windlass_replica::consensus::Input;
use windlass_replica::lease::LeaseAsk;
use windlass_replica::task::SnapshotId;
use windlass_types::{Code, MemberId, RequestError, RequestId, ShardId};

use super::damage::Question;
use super::leases::{ASK_LEASES, LeasesAsked};
use super::{ConsensusActor, survive};
use crate::published::Published;
use crate::snapshot::{self, Receiving};

/// Kind of the question of a member whose shards are damaged: it wants a snapshot.
pub const ASK_SNAPSHOT: u16 = 4;

/// How soon to look again whether the log's disk is at rest.
const QUIET_INTERVAL: Duration = Duration::from_millis(10);

/// What makes the transport.
pub struct Links {
    /// Ticks of an election timeout.
    pub election_ticks: u32,
    /// Taken when the transport starts.
    pub config: Option<windlass_peer::Config>,
    /// Where a snapshot that arrives is kept.
    pub snapshot_folder: PathBuf,
    /// To the actor, once it runs.
    pub actor: Option<Addr<ConsensusActor>>,
}

impl Links {
    pub(super) fn start(
        &mut self,
        actor: &Addr<ConsensusActor>,
        published: &Arc<Published>,
    ) -> io::Result<Peers> {
        let ears = Ears {
            actor: actor.clone(),
            published: Arc::clone(published),
            receiving: Receiving::new(self.snapshot_folder.clone()),
        };
        self.actor = Some(actor.clone());
        let config = self.config.take().expect("the transport is started once");
        Peers::start(config, Rc::new(ears))
    }

    /// Something that was sent to this member was dropped.
    pub(super) fn unreachable(&self, peer: MemberId) {
        if let Some(actor) = &self.actor {
            actor.do_send(FromPeer::Dropped(peer));
        }
    }
}

/// What the transport and the tasks that use it tell the actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) enum FromPeer {
    /// Frames of one member, in order.
    Frames(MemberId, Vec<Frame>),
    /// The stream to this member works.
    Connected(MemberId),
    /// It ended.
    Disconnected(MemberId),
    /// Something for it was dropped.
    Dropped(MemberId),
    /// A member says that this one was removed.
    Removed(MemberId),
    /// A member says that this one lost its data.
    Forgotten(MemberId),
    /// A member asks something about damage.
    Question(MemberId, Question),
    /// Commands could not be sent to the leader.
    NotForwarded {
        /// The requests.
        ids: Vec<RequestId>,
        /// What their clients are told.
        error: RequestError,
    },
    /// A member's shards are damaged: it wants a snapshot.
    SnapshotWanted(MemberId),
    /// The next chunk of a snapshot can be sent.
    NextChunk(ShardId, SnapshotId),
    /// The shards' shares of a snapshot for a client are wanted no more.
    BackupTaken(SnapshotId),
    /// The transfer of a snapshot ended.
    SnapshotSent {
        /// Who was to get it.
        to: MemberId,
        /// Which.
        id: SnapshotId,
        /// Whether it is safe there.
        delivered: bool,
    },
    /// A snapshot for this member is on its disk: to be installed by a start.
    SnapshotReceived,
}

struct Ears {
    actor: Addr<ConsensusActor>,
    published: Arc<Published>,
    receiving: Receiving,
}

impl windlass_peer::Handler for Ears {
    fn admit(&self, from: MemberId, unpublished: bool) -> Admission {
        let members = self.published.members();
        if members.is_removed(from) {
            return Admission::Removed;
        }
        if has_forgotten(&members, from, unpublished) {
            return Admission::Forgotten;
        }
        // A member that has not seen itself become one knows only what it was told: others may know better.
        let is_joining = members.get(self.published.member).is_none();
        if members.get(from).is_some() || is_joining { Admission::Member } else { Admission::Unknown }
    }

    fn received(&self, from: MemberId, frames: &mut Vec<Frame>) {
        self.actor.do_send(FromPeer::Frames(from, std::mem::take(frames)));
    }

    fn asked(&self, from: MemberId, ask: Ask, reply: Reply) {
        if ask.kind == ASK_LEASES
            && let Some(asks) = LeaseAsk::decode_all(&ask.payload)
        {
            let (done, answered) = oneshot::channel();
            self.actor.do_send(LeasesAsked { from, asks, done });
            actix_rt::spawn(async move {
                match answered.await {
                    Ok(answers) => reply.answer(answers),
                    // To drop it is to say that there is no answer.
                    Err(_) => drop(reply),
                }
            });
            return;
        }
        if ask.kind == ASK_SNAPSHOT {
            if self.published.leader() != self.published.member {
                return reply.fail(Code::Unavailable as u32, RequestError::NotLeader.text());
            }
            reply.answer(Bytes::new());
            return self.actor.do_send(FromPeer::SnapshotWanted(from));
        }
        if let Some(message) = FromPeer::question(from, &ask, reply) {
            self.actor.do_send(message);
        }
    }

    fn event(&self, event: Event) {
        let message = match event {
            Event::Connected { peer, .. } => FromPeer::Connected(peer),
            Event::Disconnected { peer, .. } => FromPeer::Disconnected(peer),
            Event::Removed { by } => FromPeer::Removed(by),
            Event::Forgotten { by } => FromPeer::Forgotten(by),
            Event::Heard { .. } | Event::Unheard { .. } => return,
        };
        self.actor.do_send(message);
    }

    fn bulk(&self, from: MemberId, offer: BulkOffer) {
        let (applied, actor) = (self.published.applied(), self.actor.clone());
        self.receiving.offered(
            from,
            offer,
            |state| if state.index > applied { Ok(()) } else { Err("this member has caught up without it") },
            move || actor.do_send(FromPeer::SnapshotReceived),
        );
    }

    /// A member that joins asks who the members are, to find itself among them.
    fn inquired(&self, _: Bytes) -> Result<Bytes, String> {
        let header = ResponseHeader {
            cluster_id: self.published.cluster.0,
            member_id: self.published.member.0,
            ..ResponseHeader::default()
        };
        let members = self.published.members().iter().cloned().collect();
        Ok(MemberListResponse { header: Some(header), members }.encode_to_vec().into())
    }
}

impl Handler<FromPeer> for ConsensusActor {
    type Result = ();

    fn handle(&mut self, message: FromPeer, context: &mut Context<Self>) {
        match message {
            FromPeer::Frames(from, frames) => frames.into_iter().for_each(|frame| self.frame(from, frame)),
            FromPeer::Connected(peer) => {
                self.comparing.connected();
                self.feed(Input::Reachable(peer));
            }
            FromPeer::Disconnected(peer) => self.feed(Input::Unreachable(peer)),
            FromPeer::Dropped(peer) => self.feed(Input::Dropped(peer)),
            FromPeer::Removed(by) => self.said_removed(by),
            FromPeer::Forgotten(by) => self.said_forgotten(by),
            FromPeer::Question(from, question) => self.questioned(from, &question),
            FromPeer::NotForwarded { ids, error } => {
                let Published { member, incarnation, .. } = *self.published;
                let of = Origin { member, incarnation };
                self.feed(Input::Refused { of, ids, error });
            }
            FromPeer::SnapshotWanted(from) if self.cluster.outgoing.is_for(from) => {}
            FromPeer::SnapshotWanted(from) => self.feed(Input::SnapshotWanted(from)),
            FromPeer::NextChunk(shard, id) => self.shards.next_chunk(shard, id),
            FromPeer::BackupTaken(id) => self.end_shares(id),
            FromPeer::SnapshotSent { to, id, delivered } => {
                self.end_shares(id);
                self.snapshot_ended(to, delivered);
            }
            // A write that is under way could reach the disk behind the next start's back.
            FromPeer::SnapshotReceived if self.core.raft().persists_under_way() > 0 => {
                context.notify_later(FromPeer::SnapshotReceived, QUIET_INTERVAL);
            }
            FromPeer::SnapshotReceived => snapshot::restart_to_install(),
        }
        self.end_step(context);
    }
}

impl ConsensusActor {
    fn frame(&mut self, from: MemberId, frame: Frame) {
        let input = match frame {
            Frame::Raft(message) => Input::Receive(message),
            Frame::Forward { term, batch } => Input::Forwarded { from, term, data: batch },
            Frame::ForwardRefused { requests, incarnation, failure } => {
                let known = RequestError::ALL.iter().find(|error| error.text() == failure.text);
                let error = known.copied().unwrap_or(RequestError::Unhealthy);
                let of = Origin { member: self.published.member, incarnation };
                Input::Refused { of, ids: requests, error }
            }
        };
        survive(self.core.step(input, &mut self.outputs));
    }
}
