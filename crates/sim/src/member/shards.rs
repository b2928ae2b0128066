//! The threads of shards: each feeds its core, the first one the sequencer's stream too.

use std::ops::Deref;
use std::sync::Arc;

use windlass_io_log::op::Completion;
use windlass_io_log::stream::{Request, StateStream};
use windlass_mvcc::{HashScan, HashSum, Shard};
use windlass_records::state::State;
use windlass_replica::shard::{FollowerId, Input, Output, ShardCore};
use windlass_replica::task::{Evaluate, ReadTask, ShardAnswer, ShardTask, SnapshotId, Wave, WaveId};
use windlass_replica::watch::Follow;
use windlass_types::{LogIndex, ShardId};

use super::consensus::ToConsensus;
use super::net::ToNet;
use super::watch::WatchInput;
use super::{Member, Ticket, take_turn};
use crate::bug::Bug;
use crate::disks::DiskId;
use crate::env::{Env, Event, Stop, Thread};
use crate::mailbox::{Mailbox, Sender};

/// The only one that follows the shards: the thread of connections.
const FOLLOWER: FollowerId = 0;

/// Slices of background work in one turn.
const TURN_SLICES: u64 = 2;

/// Turns from one defragmentation to the next, about: it asks each shard for a checkpoint, whatever it is doing.
const DEFRAGMENTED_ONE_IN: u64 = 64;

/// Messages to a shard's thread.
pub enum ToShard {
    /// Work from the sequencer.
    Task(ShardTask),
    /// A question.
    Read(ReadTask, Ticket),
    /// Who watches wants to hear of changes, or of no more.
    Follow(Follow),
    /// An operation of its stream ended.
    Disk(Completion),
    /// All streams are durable up to here.
    Stable(LogIndex),
    /// Flush now.
    Flush,
    /// The next chunk of a snapshot is wanted.
    NextChunk(SnapshotId),
    /// No more of it is.
    EndSnapshot(SnapshotId),
    /// To the first one: the sequencer's state after another entry.
    State(State),
    /// To the first one: an operation of the sequencer's stream ended.
    StateDisk(Completion),
}

/// A shard's thread.
pub struct ShardThread {
    pub(super) core: ShardCore<Ticket>,
    pub(super) mail: Mailbox<ToShard>,
    /// When a timer is set for, in nanoseconds.
    timer_ns: Option<u64>,
    /// Verdicts that nobody asked for, for a bug: of which wave, and where.
    doubled: Option<(WaveId, usize)>,
}

/// The sequencer's stream.
pub struct StateSide {
    stream: StateStream,
    reported: LogIndex,
    requests: Vec<Request>,
}

impl ShardThread {
    pub(super) fn new(core: ShardCore<Ticket>) -> Self {
        Self { core, mail: Mailbox::default(), timer_ns: None, doubled: None }
    }

    /// A known bug: the last command of a part is evaluated on what it writes itself.
    pub(super) fn evaluate_twice(&mut self, task: Evaluate) -> Evaluate {
        let Evaluate { wave, mut part } = task;
        let Some(&last) = part.last().filter(|_| !wave.barrier && self.doubled.is_none()) else {
            return Evaluate { wave, part };
        };
        let mut commands = wave.commands.clone();
        commands.push(commands[last as usize].clone());
        self.doubled = Some((wave.id, part.len() - 1));
        part.push(commands.len() as u32 - 1);
        Evaluate { wave: Arc::new(Wave { commands, ..*wave }), part }
    }

    /// Takes the verdict on the command before it has written out of an answer.
    fn undouble(&mut self, answer: ShardAnswer) -> ShardAnswer {
        match (answer, self.doubled) {
            (ShardAnswer::Evaluated { wave, mut verdicts }, Some((of, at))) if wave == of => {
                self.doubled = None;
                verdicts.remove(at);
                ShardAnswer::Evaluated { wave, verdicts }
            }
            (answer, _) => answer,
        }
    }
}

impl StateSide {
    pub(super) fn new(stream: StateStream) -> Self {
        Self { reported: stream.durable_index(), stream, requests: Vec::new() }
    }
}

/// Sum of the shards' hashes at `state`.
pub fn hash_of<S: Deref<Target = Shard>>(shards: impl Iterator<Item = S>, state: &State) -> HashSum {
    let hash = |shard: S| HashScan::new(state.revision, state.compact_revision).step(&shard, usize::MAX);
    shards.fold(HashSum::default(), |sum, shard| sum.and(hash(shard).expect("in one step")))
}

impl Member {
    /// Sum of the shards' hashes, if they are all at the last numbered entry.
    #[must_use]
    pub fn hash(&self) -> Option<(State, HashSum)> {
        let state = self.consensus.core.numbered();
        let at_rest = self.shards.iter().all(|s| s.core.watermark() == state.index);
        at_rest.then(|| (state, hash_of(self.shards.iter().map(|s| s.core.shard()), &state)))
    }

    pub(super) fn shard_turn(&mut self, shard: u16, env: &mut Env) -> Result<(), Stop> {
        let messages = take_turn(&mut self.shards[usize::from(shard)].mail, Thread::Shard(shard), env);
        let mut out = Vec::new();
        for message in messages {
            self.feed_shard(shard, message, &mut out)?;
        }
        self.background(shard, &mut out, env)?;
        for output in out {
            self.carry_out_shard(shard, output, env);
        }
        if shard == 0 {
            self.state_turn(env);
        }
        self.set_timer(shard, env);
        Ok(())
    }

    fn feed_shard(
        &mut self,
        shard: u16,
        message: ToShard,
        out: &mut Vec<Output<Ticket>>,
    ) -> Result<(), Stop> {
        let input = match message {
            ToShard::Task(task) => Input::Task(task),
            ToShard::Read(task, ticket) => Input::Read(task, ticket),
            ToShard::Follow(follow) => Input::Follow(FOLLOWER, follow),
            ToShard::Disk(completion) => Input::Disk(completion),
            ToShard::NextChunk(id) => Input::NextChunk(id),
            ToShard::EndSnapshot(id) => Input::EndSnapshot(id),
            ToShard::Stable(index) => {
                if shard == 0 {
                    self.state.stream.set_stable(index);
                }
                Input::Stable(index)
            }
            ToShard::Flush => {
                self.shards[usize::from(shard)].core.flush();
                return Ok(());
            }
            ToShard::State(state) => {
                self.state.stream.append(state);
                return Ok(());
            }
            ToShard::StateDisk(completion) => {
                let StateSide { stream, requests, .. } = &mut self.state;
                return stream.complete(completion, requests).map_err(|e| Stop::Died(e.to_string()));
            }
        };
        let core = &mut self.shards[usize::from(shard)].core;
        core.step(input, out).map_err(|e| Stop::Died(e.to_string()))
    }

    /// Ends a turn: the time, and some slices of work if there is any.
    fn background(&mut self, shard: u16, out: &mut Vec<Output<Ticket>>, env: &mut Env) -> Result<(), Stop> {
        let now_ns = env.shows_ns();
        let thread = &mut self.shards[usize::from(shard)];
        if !env.calm && env.scheduling.one_in(DEFRAGMENTED_ONE_IN) {
            thread.core.hasten_checkpoint();
        }
        let mut slices = env.scheduling.below(TURN_SLICES + 1);
        loop {
            thread.core.step(Input::Tick(now_ns), out).map_err(|e| Stop::Died(e.to_string()))?;
            if slices == 0 || !thread.core.has_work() {
                break;
            }
            slices -= 1;
            thread.core.work(out);
        }
        if thread.core.has_work() && !thread.mail.waking {
            thread.mail.waking = true;
            env.wake(Thread::Shard(shard));
        }
        Ok(())
    }

    fn carry_out_shard(&mut self, shard: u16, output: Output<Ticket>, env: &mut Env) {
        let (id, from) = (ShardId(shard), Sender::Shard(shard));
        match output {
            Output::Answer(answer) => {
                let answer = self.shards[usize::from(shard)].undouble(answer);
                if !env.strikes(Bug::LostAnswer, 20) {
                    self.tell_consensus(from, ToConsensus::Answer(id, answer), env);
                }
            }
            Output::Read(ticket, answer) => self.tell_net(from, ToNet::Read(id, ticket, answer), env),
            Output::Follow(_, news) => {
                self.tell_net(from, ToNet::Watch(WatchInput::Followed(id, news)), env);
            }
            Output::Disk(request) => env.submit(DiskId::Shard(shard), request.op),
            Output::Durable(index) => {
                let index = if env.strikes(Bug::EagerDurable, 1) {
                    self.shards[usize::from(shard)].core.watermark()
                } else {
                    index
                };
                self.report_durable(usize::from(shard), index, from, env);
                if env.strikes(Bug::ImaginedFull, 20) {
                    self.tell_consensus(from, ToConsensus::Full(id, true), env);
                }
            }
            Output::Full(full) => self.tell_consensus(from, ToConsensus::Full(id, full), env),
            Output::Chunk(chunk) => self.tell_consensus(from, ToConsensus::Chunk(chunk), env),
        }
    }

    fn report_durable(&mut self, stream: usize, index: LogIndex, from: Sender, env: &mut Env) {
        if !env.strikes(Bug::SilentStreams, 1) {
            self.tell_consensus(from, ToConsensus::Durable { stream, index }, env);
        }
    }

    fn state_turn(&mut self, env: &mut Env) {
        let StateSide { stream, reported, requests } = &mut self.state;
        stream.tick(env.shows_ns(), requests);
        for request in requests.drain(..) {
            env.submit(DiskId::State, request.op);
        }
        let durable = stream.durable_index();
        if durable > *reported {
            *reported = durable;
            self.report_durable(self.shards.len(), durable, Sender::Shard(0), env);
        }
    }

    fn set_timer(&mut self, shard: u16, env: &mut Env) {
        let thread = &mut self.shards[usize::from(shard)];
        let state = (shard == 0).then(|| self.state.stream.deadline_ns()).flatten();
        let due = [thread.core.deadline_ns(), state].into_iter().flatten().min();
        let (now_ns, shows_ns) = (env.agenda.now_ns(), env.shows_ns());
        // The core has just been told the time: what is due now waits for something else.
        let due = due.map(|shown_ns| env.site().clock.true_ns(shown_ns.max(shows_ns + 1)));
        let set = thread.timer_ns.filter(|&at| at > now_ns);
        if let Some(at_ns) = due
            && set.is_none_or(|set| at_ns < set)
        {
            thread.timer_ns = Some(at_ns);
            env.plan(at_ns, Event::Timer(env.life(), Thread::Shard(shard)));
        }
    }
}
