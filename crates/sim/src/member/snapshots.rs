//! Snapshots on their way to other members and from them, as the server sends and takes them: chunk by chunk, each asked
//! for when the one before has arrived.

use std::collections::BTreeMap;

use bytes::Bytes;
use windlass_records::state::State;
use windlass_replica::consensus::Input;
use windlass_replica::shard::Chunk;
use windlass_replica::task::SnapshotId;

use super::Member;
use super::shards::ToShard;
use crate::agenda::SECOND_NS;
use crate::env::{Env, Event, Stop, member_of};
use crate::mailbox::Sender;
use crate::network::Content;
use crate::report::Count;
use crate::transfer::{Arrived, Parcel};

/// How long a transfer may take, in nanoseconds.
const PATIENCE_NS: u64 = 10 * SECOND_NS;

/// All of them.
#[derive(Default)]
pub struct Snapshots {
    leaving: BTreeMap<SnapshotId, Leaving>,
    arriving: Option<Arriving>,
}

/// One that is sent.
struct Leaving {
    to: usize,
    /// Whose share is sent.
    shard: u16,
    /// Whether the shard was asked and has not answered.
    asked: bool,
}

/// One that is taken.
struct Arriving {
    from: usize,
    from_life: u32,
    id: u64,
    state: State,
    frames: Vec<Bytes>,
    /// When it began.
    since_ns: u64,
}

impl Member {
    /// Sends a snapshot; every shard was told to begin its share.
    pub(super) fn send_snapshot(&mut self, to: usize, id: SnapshotId, state: State, env: &mut Env) {
        env.totals.count(Count::SnapshotsBegun);
        env.tell(|| format!("sends a snapshot of entry {} to {}", state.index, member_of(to)));
        self.snapshots.leaving.insert(id, Leaving { to, shard: 0, asked: false });
        env.after(PATIENCE_NS, Event::Patience(env.life(), id.0));
        if !env.send(to, Content::Bulk(Parcel::Begin(id.0, state))) {
            self.snapshot_ends(id, false, env);
        }
    }

    /// A member that must be repaired asks for one; as in the server one at a time.
    pub fn snapshot_wanted(&mut self, by: usize, env: &mut Env) {
        if self.leads() && !self.snapshots.leaving.values().any(|leaving| leaving.to == by) {
            self.input(Sender::Clock, Input::SnapshotWanted(member_of(by)), env);
        }
    }

    fn snapshot_ends(&mut self, id: SnapshotId, delivered: bool, env: &mut Env) {
        let Some(Leaving { to, .. }) = self.snapshots.leaving.remove(&id) else { return };
        env.tell(|| {
            format!("the snapshot for {} is {}", member_of(to), if delivered { "there" } else { "lost" })
        });
        for shard in self.shard_ids() {
            self.tell_shard(shard.0, Sender::Consensus, ToShard::EndSnapshot(id), env);
        }
        self.input(Sender::Clock, Input::SnapshotSent { to: member_of(to), delivered }, env);
    }

    /// A transfer has taken long enough.
    pub fn patience_ends(&mut self, id: u64, env: &mut Env) {
        self.snapshot_ends(SnapshotId(id), false, env);
    }

    /// A connection is lost, and with it what is transferred.
    pub(super) fn transfers_cut(&mut self, peer: usize, env: &mut Env) {
        let leaving = &self.snapshots.leaving;
        let cut: Vec<SnapshotId> = leaving.iter().filter(|(_, l)| l.to == peer).map(|(&id, _)| id).collect();
        cut.into_iter().for_each(|id| self.snapshot_ends(id, false, env));
        self.snapshots.arriving.take_if(|arriving| arriving.from == peer);
    }

    /// A shard's piece goes to the receiver.
    pub(super) fn send_chunk(&mut self, chunk: Chunk, env: &mut Env) {
        let Some(leaving) = self.snapshots.leaving.get_mut(&chunk.id) else { return };
        leaving.asked = false;
        leaving.shard += u16::from(chunk.last);
        let to = leaving.to;
        env.send(to, Content::Bulk(Parcel::Chunk(chunk.id.0, chunk.frame)));
    }

    fn send_more(&mut self, id: SnapshotId, env: &mut Env) {
        let shards = self.shards.len() as u16;
        let Some(leaving) = self.snapshots.leaving.get_mut(&id) else { return };
        if leaving.asked {
            return;
        }
        if leaving.shard == shards {
            let to = leaving.to;
            env.send(to, Content::Bulk(Parcel::End(id.0)));
            return;
        }
        leaving.asked = true;
        let shard = leaving.shard;
        self.tell_shard(shard, Sender::Consensus, ToShard::NextChunk(id), env);
    }

    /// A part of a transfer arrives.
    pub(super) fn parcel(
        &mut self,
        from: usize,
        from_life: u32,
        parcel: Parcel,
        env: &mut Env,
    ) -> Result<(), Stop> {
        match parcel {
            Parcel::More(id) => self.send_more(SnapshotId(id), env),
            Parcel::Safe(id) => self.snapshot_ends(SnapshotId(id), true, env),
            Parcel::No(id) => self.snapshot_ends(SnapshotId(id), false, env),
            Parcel::Begin(id, state) => self.snapshot_offered(
                Arriving { from, from_life, id, state, frames: Vec::new(), since_ns: env.agenda.now_ns() },
                env,
            ),
            Parcel::Chunk(id, frame) => {
                let is_it = |a: &&mut Arriving| (a.from, a.from_life, a.id) == (from, from_life, id);
                if let Some(arriving) = self.snapshots.arriving.as_mut().filter(is_it) {
                    arriving.frames.push(frame);
                    env.send(from, Content::Bulk(Parcel::More(id)));
                }
            }
            Parcel::End(id) => {
                let is_it = |a: &mut Arriving| (a.from, a.from_life, a.id) == (from, from_life, id);
                if let Some(arriving) = self.snapshots.arriving.take_if(is_it) {
                    return self.snapshot_is_whole(arriving, env);
                }
            }
        }
        Ok(())
    }

    fn snapshot_offered(&mut self, arriving: Arriving, env: &mut Env) {
        let Arriving { from, from_life, id, state, .. } = arriving;
        let now_ns = env.agenda.now_ns();
        let over = |a: &mut Arriving| {
            // A sender that begins anew has given up what it sent before.
            let anew = a.from == from && (a.from_life, a.id) != (from_life, id);
            anew || now_ns - a.since_ns > PATIENCE_NS
        };
        self.snapshots.arriving.take_if(over);
        let wanted = state.index > self.consensus.core.numbered().index && self.snapshots.arriving.is_none();
        let answer = if wanted { Parcel::More(id) } else { Parcel::No(id) };
        if wanted {
            self.snapshots.arriving = Some(arriving);
        }
        env.send(from, Content::Bulk(answer));
    }

    /// It is on the disk for good; the process begins anew to install it.
    fn snapshot_is_whole(&mut self, arriving: Arriving, env: &mut Env) -> Result<(), Stop> {
        let Arriving { from, id, state, frames, .. } = arriving;
        env.tell(|| format!("has a snapshot of entry {}", state.index));
        env.site_mut().arrived = Some(Arrived { state, frames });
        if !env.scheduling.one_in(4) {
            env.send(from, Content::Bulk(Parcel::Safe(id)));
        }
        Err(Stop::Anew)
    }
}
