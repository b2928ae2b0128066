//! What arbiters and shards say to the consensus actor, and how it takes it: each message is a step of its own, fed to the core
//! as it came.

use std::collections::HashSet;

use actix::{Addr, Handler, Message};
use windlass_api::etcdserverpb::Member;
use windlass_raft::ReadId;
use windlass_records::batch::{BatchBuilder, CommandKind};
use windlass_replica::consensus::Input;
use windlass_replica::lease::LeaseAsk;
use windlass_replica::shard::Chunk;
use windlass_replica::task::ShardAnswer;
use windlass_types::{LogIndex, MemberId, RequestId, ShardId};

use super::ConsensusActor;
use super::backup::BackupReply;
use crate::net::{NetActor, ToArbiter, arbiter_of};

/// What arbiters ask.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum FromArbiter {
    /// The checked commands of one turn.
    Propose(BatchBuilder),
    /// The same; it is a single command, and the arbiter has no other call open.
    ProposeAlone(BatchBuilder),
    /// Nobody waits for these any more.
    Withdraw(HashSet<RequestId>),
    /// Where do the linearizable reads of this turn look?
    Read(ReadId),
    /// What do the leases of these requests have left, or renew them.
    Lease(Vec<(RequestId, LeaseAsk)>),
    /// Which leases are there?
    Leases(RequestId),
    /// A read waits for what the shards were not handed yet.
    HandOver,
    /// A client wants the members changed.
    Change {
        /// Its request.
        id: RequestId,
        /// What is to change.
        kind: CommandKind,
        /// How.
        member: Box<Member>,
    },
    /// A client wants another leader.
    MoveLeader {
        /// Its request.
        id: RequestId,
        /// Who is to lead.
        to: MemberId,
    },
    /// A client wants a snapshot.
    Backup(BackupReply),
}

/// What a shard said in one of its turns.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FromShards(pub Vec<FromShard>);

/// What shards say.
#[derive(Debug)]
pub enum FromShard {
    /// An answer to a task.
    Answer(ShardId, ShardAnswer),
    /// A stream is durable up to here: the shards' are `0..shards`, the sequencer's is the last.
    Durable {
        /// Which.
        stream: usize,
        /// Up to where.
        index: LogIndex,
    },
    /// Whether the shard's disk has no room for what it must write.
    Full(ShardId, bool),
    /// A piece of a snapshot.
    Chunk(ShardId, Chunk),
}

/// The arbiters to answer, in the order of their ids; to be sent once, before any question.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Arbiters(pub Vec<Addr<NetActor>>);

impl Handler<Arbiters> for ConsensusActor {
    type Result = ();

    fn handle(&mut self, Arbiters(arbiters): Arbiters, _: &mut Self::Context) {
        self.told = arbiters.iter().map(|_| Vec::new()).collect();
        self.arbiters = arbiters;
    }
}

impl Handler<FromArbiter> for ConsensusActor {
    type Result = ();

    fn handle(&mut self, message: FromArbiter, context: &mut Self::Context) {
        match message {
            FromArbiter::Propose(commands) => self.propose(commands, false),
            FromArbiter::ProposeAlone(commands) => self.propose(commands, true),
            FromArbiter::Withdraw(ids) => self.feed(Input::Withdraw(ids)),
            FromArbiter::Lease(asks) => {
                self.ask_leases(asks, context);
            }
            FromArbiter::Leases(id) => {
                let leases = self.core.leases();
                self.tell(arbiter_of(id), ToArbiter::Leases { id, leases });
            }
            FromArbiter::Read(id) => {
                self.lone.disturb();
                self.feed(Input::Read(id));
            }
            FromArbiter::HandOver => self.shards.hurry(),
            FromArbiter::Change { id, kind, member } => self.feed(Input::Change { id, kind, member }),
            FromArbiter::MoveLeader { id, to } => self.move_leader(id, to),
            FromArbiter::Backup(reply) => self.backup_asked(reply),
        }
        self.end_step(context);
    }
}

impl Handler<FromShards> for ConsensusActor {
    type Result = ();

    fn handle(&mut self, FromShards(messages): FromShards, context: &mut Self::Context) {
        for message in messages {
            let input = match message {
                FromShard::Chunk(shard, chunk) => {
                    self.cluster.chunk(shard, chunk);
                    continue;
                }
                FromShard::Answer(shard, answer) => Input::Shard { shard, answer },
                FromShard::Durable { stream, index } => Input::Durable { stream, index },
                FromShard::Full(shard, full) => {
                    self.shards_full[usize::from(shard.0)] = full;
                    Input::ShardsFull(self.shards_full.contains(&true))
                }
            };
            self.feed(input);
        }
        self.end_step(context);
    }
}

impl ConsensusActor {
    /// Feeds an arbiter's commands, and gives it their memory back.
    fn propose(&mut self, commands: BatchBuilder, alone: bool) {
        let proposer = commands.request_ids().next().map(arbiter_of);
        if let Some(arbiter) = proposer {
            self.lone.proposes(arbiter, alone);
        }
        self.timing.gathered();
        self.feed(Input::Propose(commands));
        if let (Some(arbiter), Some(emptied)) = (proposer, self.core.take_emptied()) {
            self.tell(arbiter, ToArbiter::Emptied(emptied));
        }
    }
}
