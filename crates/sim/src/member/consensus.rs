//! The consensus thread: feeds the core, and carries out what it wants.

use windlass_api::etcdserverpb::{PutResponse, ResponseHeader};
use windlass_io_log::buffer::Buffer;
use windlass_io_log::op::{Completion, Op, Ticket};
use windlass_raft::{ReadId, Role};
use windlass_records::batch::{Batch, BatchBuilder};
use windlass_replica::consensus::{Consensus, Input, Linger, Output};
use windlass_replica::lease::Asker;
use windlass_replica::reading::Snapshot;
use windlass_replica::sequencer::{News, Response};
use windlass_replica::shard::Chunk;
use windlass_replica::task::{ShardAnswer, ShardTask};
use windlass_types::{ByteOffset, LogIndex, MemberId, RequestError, RequestId, Revision, ShardId};

use super::net::{Found, ToNet};
use super::shards::ToShard;
use super::{Member, take_turn};
use crate::agenda::{MILLISECOND_NS, SECOND_NS};
use crate::bug::Bug;
use crate::check::{Check, ensure};
use crate::checker::{Answer, Heard, OWN_REQUEST, is_refusal};
use crate::disks::DiskId;
use crate::env::{Env, Event, Stop, Thread, site_of};
use crate::mailbox::{Mailbox, Sender};
use crate::network::Content;
use crate::random::between;
use crate::report::Count;

/// Turns of the consensus thread from one comparison of the shards to the next, about.
const COMPARED_ONE_IN: u64 = 40;

/// Turns of the consensus thread from one change of how the log is flushed to the next, about, where all is asked.
const RETUNED_ONE_IN: u64 = 100;

/// How long commands linger in the same way where the server may change it.
const LINGER_PERIOD_NS: u64 = 4 * MILLISECOND_NS;

/// Messages to the consensus thread.
pub enum ToConsensus {
    /// Commands of one turn of the clients.
    Propose(BatchBuilder),
    /// Where do the reads of this turn look?
    Read(ReadId),
    /// An operation on the log ended.
    Disk(Completion),
    /// A shard's answer.
    Answer(ShardId, ShardAnswer),
    /// A stream is durable up to here.
    Durable {
        /// Which.
        stream: usize,
        /// Up to where.
        index: LogIndex,
    },
    /// Whether a shard has no room.
    Full(ShardId, bool),
    /// One tick of the election clock.
    Tick,
    /// Look for room.
    Retry,
    /// A piece of a snapshot.
    Chunk(Chunk),
    /// Something else for the core.
    Input(Box<Input>),
}

/// The thread.
pub struct ConsensusThread {
    pub(super) core: Consensus,
    pub(super) mail: Mailbox<ToConsensus>,
    shards_full: Vec<bool>,
    full: bool,
    /// Operations that a bug reported before they ended.
    reported_early: Vec<Ticket>,
    /// What an earlier read was told, for a bug.
    old_place: Option<Found>,
    out: Vec<Output>,
}

impl ConsensusThread {
    pub(super) fn new(core: Consensus, shards: usize) -> Self {
        Self {
            core,
            mail: Mailbox::default(),
            shards_full: vec![false; shards],
            full: false,
            reported_early: Vec::new(),
            old_place: None,
            out: Vec::new(),
        }
    }

    /// Whether a bug has reported the end of this operation already.
    pub(super) fn was_reported(&mut self, ticket: Ticket) -> bool {
        let at = self.reported_early.iter().position(|&reported| reported == ticket);
        at.map(|at| self.reported_early.swap_remove(at)).is_some()
    }

    fn feed(&mut self, message: ToConsensus) -> Result<(), Stop> {
        let input = match message {
            ToConsensus::Chunk(_) => unreachable!("not for the core"),
            ToConsensus::Input(input) => *input,
            ToConsensus::Propose(commands) => Input::Propose(commands),
            ToConsensus::Read(id) => Input::Read(id),
            ToConsensus::Disk(completion) => Input::Disk(completion),
            ToConsensus::Answer(shard, answer) => Input::Shard { shard, answer },
            ToConsensus::Durable { stream, index } => Input::Durable { stream, index },
            ToConsensus::Full(shard, full) => {
                self.shards_full[usize::from(shard.0)] = full;
                Input::ShardsFull(self.shards_full.contains(&true))
            }
            ToConsensus::Tick => Input::Tick,
            ToConsensus::Retry => Input::RetrySpace,
        };
        self.core.step(input, &mut self.out).map_err(|e| Stop::Died(e.to_string()))
    }
}

impl Member {
    pub(super) fn begin(&mut self, env: &mut Env) -> Result<(), Stop> {
        let thread = &mut self.consensus;
        thread.core.begin(&mut thread.out).map_err(|e| Stop::Died(e.to_string()))?;
        self.carry_out(env)
    }

    pub(super) fn consensus_turn(&mut self, env: &mut Env) -> Result<(), Stop> {
        for message in take_turn(&mut self.consensus.mail, Thread::Consensus, env) {
            match message {
                ToConsensus::Chunk(chunk) => {
                    self.send_chunk(chunk, env);
                    continue;
                }
                ToConsensus::Tick => env.after(env.site().clock.tick_ns(), Event::Tick(env.life())),
                ToConsensus::Retry if self.consensus.full => {
                    env.after(SECOND_NS, Event::Retry(env.life()));
                }
                _ => {}
            }
            self.consensus.feed(message)?;
        }
        let thread = &mut self.consensus;
        // The shards publish how far they are.
        let complete = self.shards.iter().map(|shard| shard.core.watermark()).min().unwrap_or_default();
        let told = thread.core.step(Input::Complete(complete), &mut thread.out);
        told.map_err(|e| Stop::Died(e.to_string()))?;
        let now_ns = env.agenda.now_ns();
        // The server changes this by what it measures, which may be at any time.
        if env.profile.consensus.linger == Linger::For(0) {
            thread.core.set_linger(match now_ns / LINGER_PERIOD_NS % 3 {
                0 => Linger::For(0),
                1 => Linger::WhileFlushing,
                _ => Linger::Paced(LINGER_PERIOD_NS / 2),
            });
        }
        if env.profile.kind.is_full() && env.scheduling.one_in(RETUNED_ONE_IN) {
            thread.core.set_flush_depth(1 << env.scheduling.below(4));
            thread.core.set_batch_bytes_max(1 << between(&mut env.scheduling, 7, 14));
        }
        let due = thread.core.flush(env.shows_ns(), &mut thread.out);
        if let Some(at_ns) = due.map_err(|e| Stop::Died(e.to_string()))? {
            env.plan_shown(at_ns, Event::Timer(env.life(), Thread::Consensus));
        }
        self.carry_out(env)?;
        self.compare(env)
    }

    fn carry_out(&mut self, env: &mut Env) -> Result<(), Stop> {
        env.trace(self.consensus.core.take_trace());
        for output in std::mem::take(&mut self.consensus.out) {
            self.carry_out_one(output, env)?;
        }
        let numbered = self.consensus.core.numbered();
        if let Some(system) = self.consensus.core.system() {
            env.checker.system(numbered.index, system)?;
        }
        if !self.serving && self.has_caught_up() {
            self.serving = true;
            env.site_mut().serves = true;
            env.tell(|| "serves clients".into());
            let pause = env.site_mut().clients.pause_ns();
            env.after(pause, Event::Turn(env.life()));
        }
        Ok(())
    }

    /// As in the server.
    fn has_caught_up(&self) -> bool {
        let raft = self.consensus.core.raft();
        let has_leader = match raft.role() {
            Role::Leader => raft.is_leader_ready(),
            _ => raft.leader() != MemberId::ZERO,
        };
        has_leader
            && raft.membership().contains(raft.id())
            && self.consensus.core.numbered().index >= raft.commit()
    }

    /// Now and then, where all shards stand at one index, their content is compared with the model's.
    fn compare(&mut self, env: &mut Env) -> Result<(), Stop> {
        // A compaction takes effect in the shards before its entry is numbered.
        let between_entries = self.consensus.core.system().is_some();
        if !between_entries || !env.scheduling.one_in(COMPARED_ONE_IN) {
            return Ok(());
        }
        match self.hash() {
            Some((state, hash)) => Ok(env.checker.compare(&state, hash)?),
            None => Ok(()),
        }
    }

    fn carry_out_one(&mut self, output: Output, env: &mut Env) -> Result<(), Stop> {
        match output {
            Output::Disk(op) => self.start_log_op(op, env)?,
            Output::Send(message) => self.send(message, env),
            Output::Forward { to, term, data, ids } => {
                self.forward(to, Content::Forward(term, data), ids, env)
            }
            Output::RefuseForwarded { to, ids, error } => self.refuse_forwarded(to, ids, error, env),
            Output::Snapshot { to, id, state } => self.send_snapshot(site_of(to), id, state, env),
            Output::Rejected { from, fault } => {
                env.tell(|| format!("drops a message of {from} that cannot be true: {fault:?}"));
            }
            Output::News(news) => self.hear(news, env),
            Output::Backup { .. } => unreachable!("no client wants one"),
            Output::LeaseAnswer { asker: Asker::Local(id), answer } => {
                self.lease_answered(id.0, answer, env)?;
            }
            Output::LeaseAnswer { asker: Asker::Peer { member, id }, answer } => {
                env.send(site_of(member), Content::LeaseAnswered(id, answer));
            }
            Output::ToShard { shard, task } => self.hand_task(shard, task, env),
            Output::Reply { id, result } => self.reply(id, result.map(|response| *response), env)?,
            Output::PutReplies { batch, commands, first_revision } => {
                self.reply_puts(&batch, commands, first_revision, env)?;
            }
            Output::Applied(state) => {
                env.checker.applied_entry(env.at, state, env.agenda.now_ns(), &mut env.totals)?;
                self.tell_shard(0, Sender::Consensus, ToShard::State(state), env);
            }
            Output::ReadReady { id, index, revision } => self.read_ready(id, index, revision, env),
            Output::ReadDropped(id) => {
                self.tell_net(Sender::Consensus, ToNet::Snapshot { id, found: None }, env);
            }
            Output::Stable(index) => {
                env.totals.count(Count::Cuts);
                env.tell(|| format!("all streams are durable up to entry {index}"));
                env.checker.cut(env.at, index);
                for shard in self.shard_ids() {
                    self.tell_shard(shard.0, Sender::Consensus, ToShard::Stable(index), env);
                }
            }
            Output::RoleChanged { role, term, leader } => {
                env.tell(|| format!("is {role} of term {term}, led by {leader}"));
                if role == Role::Leader {
                    env.totals.count(Count::Elections);
                    env.checker.leads(env.at, term)?;
                }
            }
            Output::Full(full) => {
                env.tell(|| if full { "refuses writes: no room" } else { "takes writes again" }.into());
                if full && !self.consensus.full {
                    env.after(SECOND_NS, Event::Retry(env.life()));
                }
                self.consensus.full = full;
            }
        }
        Ok(())
    }

    fn hear(&mut self, news: News, env: &mut Env) {
        match news {
            // What the members compare is what the judge compares all along. Whoever wants to know of alarms asks the core.
            News::Marked { .. } | News::Alarms(_) => {}
            News::Auth { auth, .. } => self.auth = auth,
            News::Token { .. } => unreachable!("nobody has a password"),
            News::Members(members) => self.members_changed(&members, env),
        }
    }

    fn start_log_op(&mut self, op: Op, env: &mut Env) -> Result<(), Stop> {
        let Op::WriteDurable { ticket, offset, buffer, .. } = &op else {
            env.submit(DiskId::Log, op);
            return Ok(());
        };
        let (ticket, begins) = (*ticket, *offset == ByteOffset(0));
        env.checker.submitted(env.at, ticket, buffer.bytes(), begins)?;
        let early = env.strikes(Bug::EarlyAcknowledgement, 2);
        let lost = !early && env.strikes(Bug::LostFrame, 30);
        if early || lost {
            let copy = Buffer::zeroed(buffer.capacity(), buffer.registered());
            let done = Completion { ticket, buffer: Some(copy), result: Ok(()) };
            self.tell_consensus(Sender::Disk, ToConsensus::Disk(done), env);
        }
        if early {
            // The true end comes later, and must not be heard of twice.
            self.consensus.reported_early.push(ticket);
        }
        if !lost {
            env.submit(DiskId::Log, op);
        }
        Ok(())
    }

    fn hand_task(&mut self, shard: ShardId, task: ShardTask, env: &mut Env) {
        let task = match task {
            ShardTask::Puts(run) => match run.last {
                Some(revision) if env.strikes(Bug::SkippedPuts, 20) => {
                    ShardTask::Advance { index: run.index, revision }
                }
                _ => ShardTask::Puts(run),
            },
            ShardTask::Evaluate(task) if env.strikes(Bug::CompareAfterWrite, 4) => {
                ShardTask::Evaluate(self.shards[usize::from(shard.0)].evaluate_twice(task))
            }
            task => task,
        };
        self.tell_shard(shard.0, Sender::Consensus, ToShard::Task(task), env);
        if env.strikes(Bug::Overtaking, 10) {
            self.shards[usize::from(shard.0)].mail.last_becomes_first(Sender::Consensus);
        }
    }

    fn reply_puts(
        &mut self,
        batch: &Batch,
        commands: std::ops::Range<usize>,
        first: Revision,
        env: &mut Env,
    ) -> Result<(), Stop> {
        let ids = batch.commands().map(|c| c.id).skip(commands.start).take(commands.len());
        for (revision, id) in (first.0..).zip(ids.collect::<Vec<_>>()) {
            let header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
            self.reply(id, Ok(Response::Put(PutResponse { header, prev_kv: None })), env)?;
        }
        Ok(())
    }

    pub(super) fn reply(&mut self, id: RequestId, mut answer: Answer, env: &mut Env) -> Result<(), Stop> {
        if let Ok(Response::Put(put)) = &mut answer
            && let Some(header) = &mut put.header
            && env.strikes(Bug::RepeatedRevision, 20)
        {
            header.revision -= 1;
        }
        env.tell(|| format!("answers request {id}: {answer:?}"));
        if id == OWN_REQUEST || self.keep_until_asked(id, &answer) {
            return Ok(());
        }
        let (heard, waits) = env.checker.answered(env.at, id, &answer)?;
        env.record.answer_write((env.at, env.life(), id), &answer);
        if env.strikes(Bug::AnsweredTwice, 50) {
            env.checker.answered(env.at, id, &answer)?;
        }
        self.probe.answered(id, answer.is_ok());
        match answer {
            // The log may say the same of a write that is in it.
            Err(error) if is_refusal(error) && heard == Heard::Refused => env.refused(id, error)?,
            _ => env.totals.count(Count::WritesAcknowledged),
        }
        if waits {
            self.tell_net(Sender::Consensus, ToNet::Answered { id, heard }, env);
        }
        Ok(())
    }

    fn read_ready(&mut self, id: ReadId, index: LogIndex, revision: Revision, env: &mut Env) {
        let compact_revision = self.consensus.core.numbered().compact_revision;
        let snapshot = Snapshot { index, revision, compact_revision };
        let place = (snapshot, env.checker.oracle(env.at));
        let place = match self.consensus.old_place.take() {
            Some(old) if env.strikes(Bug::ReusedSnapshot, 3) => old,
            _ => place,
        };
        self.consensus.old_place = Some(place.clone());
        self.tell_net(Sender::Consensus, ToNet::Snapshot { id, found: Some(place) }, env);
    }
}

impl Env {
    fn refused(&mut self, id: RequestId, error: RequestError) -> Result<(), Stop> {
        self.totals.count(Count::WritesRefused);
        let explained = match error {
            RequestError::NoSpace => self.lacked_room() || self.checker.rules().stop_growth(),
            // There may be no leader, and its log may be too long.
            _ => self.profile.members > 1,
        };
        ensure(explained, Check::RefusedWithoutReason, || format!("request {id}: {error}"))?;
        Ok(())
    }
}
