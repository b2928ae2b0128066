//! The loop of a shard's thread. A turn takes everything that came, does one slice of background work, and hands out
//! what the shard wants. While there is nothing to do the thread sleeps.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use glommio::timer::Timer;
use windlass_io_log::stream::{Request, StateStream};
use windlass_replica::shard::{Input, Output, ShardCore};
use windlass_types::{LogIndex, ShardId, nanoseconds};

use super::host::{Host, Queues};
use super::thread::{Error, Options, Stopped};
use super::watchdog::Pulse;
use super::{Holdings, Inbox, Sink, ToShard};
use crate::stages::Work;

/// How long the thread sleeps at most, so that its pulse tells whether it is well (`watchdog.rs`). Twenty
/// looks a second are not seen in CPU time.
pub(super) const SLEEP_NS_MAX: u64 = 50_000_000;

pub(super) struct Turns<T> {
    id: ShardId,
    core: ShardCore<T>,
    host: Host,
    /// With shard 0.
    state: Option<StateHost>,
    inbox: Inbox<T>,
    messages: Vec<ToShard<T>>,
    outputs: Vec<Output<T>>,
    clock: Instant,
    alarm: Option<Alarm>,
    stopping: bool,
    holdings: Holdings,
    /// When the first slice of a compaction began that is not ended.
    compacting_since: Option<Instant>,
    complete: LogIndex,
    /// Whether a checkpoint and whether a compaction goes on, as the sink was told.
    working: [bool; 2],
    pulse: Arc<Pulse>,
}

/// The sequencer's stream and its files.
struct StateHost {
    stream: StateStream,
    host: Host,
    /// Its number among all streams.
    number: usize,
    reported: LogIndex,
    requests: Vec<Request>,
}

/// Wakes the loop at a deadline.
struct Alarm {
    at_ns: u64,
    timer: Timer,
}

impl<T: Send + 'static> Turns<T> {
    pub fn open(options: Options<T>, pulse: Arc<Pulse>) -> Result<Self, Error> {
        let Options { core, id, shards, folder, state, inbox, mode, .. } = options;
        let queues = Queues::create();
        let host = |folder| Host::open(folder, mode, queues).map_err(|e| Error::folder(id, e));
        let state = match state {
            Some((stream, folder)) => Some(StateHost {
                reported: stream.durable_index(),
                stream,
                host: host(folder)?,
                number: usize::from(shards),
                requests: Vec::new(),
            }),
            None => None,
        };
        Ok(Self {
            id,
            core,
            host: host(folder)?,
            state,
            inbox,
            messages: Vec::new(),
            outputs: Vec::new(),
            clock: Instant::now(),
            alarm: None,
            stopping: false,
            holdings: Holdings::default(),
            compacting_since: None,
            complete: LogIndex::ZERO,
            working: [false; 2],
            pulse,
        })
    }

    /// Turns until the shard is told to stop and has made durable what it can.
    pub async fn run<S: Sink<Ticket = T>>(mut self, sink: &mut S) -> Result<Stopped, Error> {
        loop {
            self.turn(sink)?;
            if self.stopping && self.is_settled() {
                return self.close().await;
            }
            if self.has_work() {
                // Lets operations end, and background ones have their share.
                glommio::executor().yield_task_queue_now().await;
                self.inbox.0.try_recv_all(&mut self.messages);
            } else {
                self.set_alarm();
                poll_fn(|cx| self.poll_woken(cx)).await;
            }
        }
    }

    fn turn<S: Sink<Ticket = T>>(&mut self, sink: &mut S) -> Result<(), Error> {
        self.pulse.beat();
        self.take_messages(sink)?;
        self.host.take_flushes().for_each(|took| sink.flushed(took));
        for completion in self.host.take() {
            self.step(Input::Disk(completion), sink)?;
        }
        if self.has_work() {
            self.work(sink);
        }
        let now_ns = self.now_ns();
        self.step(Input::Tick(now_ns), sink)?;
        if let Some(state) = &mut self.state {
            state.turn(now_ns, sink).map_err(|source| Error::Disk { shard: self.id, source })?;
        }
        let holdings = Holdings::of(&self.core);
        if holdings != self.holdings {
            self.holdings = holdings;
            sink.holds(self.id, holdings);
        }
        let complete = self.core.watermark();
        if complete != self.complete {
            self.complete = complete;
            sink.complete(self.id, complete);
        }
        self.tell_work(sink);
        sink.flush();
        Ok(())
    }

    /// Says what background work began or ended in this turn.
    fn tell_work<S: Sink<Ticket = T>>(&mut self, sink: &mut S) {
        let checkpoints = self.core.is_checkpointing();
        let working = [(Work::Checkpoint, checkpoints), (Work::Compaction, !checkpoints && self.has_work())];
        for ((work, goes_on), before) in working.into_iter().zip(&mut self.working) {
            if std::mem::replace(before, goes_on) != goes_on {
                sink.works(self.id, work, goes_on);
            }
        }
    }

    /// One slice of background work.
    fn work<S: Sink<Ticket = T>>(&mut self, sink: &mut S) {
        let is_compaction = self.core.will_compact();
        let begun = Instant::now();
        if is_compaction {
            failpoint!("compactBeforeCommitBatch");
        }
        self.core.work(&mut self.outputs);
        if is_compaction {
            failpoint!("compactAfterCommitBatch");
            let first = *self.compacting_since.get_or_insert(begun);
            let whole = (!self.core.is_compacting()).then(|| first.elapsed());
            if whole.is_some() {
                failpoint!("compactBeforeSetFinishedCompact");
                self.compacting_since = None;
            }
            sink.compacted(begun.elapsed(), whole);
        }
    }

    fn take_messages<S: Sink<Ticket = T>>(&mut self, sink: &mut S) -> Result<(), Error> {
        let mut messages = std::mem::take(&mut self.messages);
        for message in messages.drain(..) {
            match message {
                ToShard::Task(task) => {
                    failpoint!("beforeApplyOneEntryNormal");
                    let begun = Instant::now();
                    self.step(Input::Task(task), sink)?;
                    sink.applied(begun.elapsed());
                }
                ToShard::Follow(id, follow) => self.step(Input::Follow(id, follow), sink)?,
                ToShard::Read(ticket, task) => self.step(Input::Read(task, ticket), sink)?,
                ToShard::NextChunk(id) => self.step(Input::NextChunk(id), sink)?,
                ToShard::Hasten => {
                    failpoint!("defragBeforeCopy");
                    self.core.hasten_checkpoint();
                }
                ToShard::EndSnapshot(id) => self.step(Input::EndSnapshot(id), sink)?,
                ToShard::State(state) => {
                    self.state.as_mut().expect("states go to shard 0").stream.append(state);
                }
                ToShard::Stable(index) => {
                    self.step(Input::Stable(index), sink)?;
                    if let Some(state) = &mut self.state {
                        state.stream.set_stable(index);
                    }
                }
                ToShard::Stop => self.stop(),
            }
        }
        self.messages = messages;
        Ok(())
    }

    fn step<S: Sink<Ticket = T>>(&mut self, input: Input<T>, sink: &mut S) -> Result<(), Error> {
        let stepped = self.core.step(input, &mut self.outputs);
        stepped.map_err(|source| Error::Disk { shard: self.id, source })?;
        for output in self.outputs.drain(..) {
            match output {
                Output::Answer(answer) => sink.answer(self.id, answer),
                Output::Read(ticket, answer) => sink.read(self.id, ticket, answer),
                Output::Follow(id, news) => sink.follow(self.id, id, news),
                Output::Disk(request) => self.host.start(request),
                Output::Durable(index) => sink.durable(usize::from(self.id.0), index),
                Output::Chunk(chunk) => sink.chunk(self.id, chunk),
                Output::Full(full) => sink.full(self.id, full),
            }
        }
        Ok(())
    }

    /// A checkpoint that is not finished is of no use to a start, so one that stops does not go on.
    fn has_work(&self) -> bool {
        !self.stopping && self.core.has_work()
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.core.flush();
        if let Some(state) = &mut self.state {
            state.stream.flush();
        }
    }

    /// Whether a shard that stops has nothing to wait for. Without room on the disk there is no use in waiting: the
    /// Raft log has what the stream lacks.
    fn is_settled(&self) -> bool {
        let state_settled = self.state.as_ref().is_none_or(StateHost::is_settled);
        let durable = self.core.durable_index() == self.core.watermark() || self.core.is_starved();
        self.host.is_idle() && durable && state_settled
    }

    async fn close(self) -> Result<Stopped, Error> {
        let stopped =
            Stopped { id: self.id, complete: self.core.watermark(), durable: self.core.durable_index() };
        self.host.close().await.map_err(Error::closing(self.id))?;
        if let Some(state) = self.state {
            state.host.close().await.map_err(Error::closing(self.id))?;
        }
        Ok(stopped)
    }

    fn poll_woken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // All are polled, so that each of them can wake.
        let mut woken = self.host.poll(cx).is_ready();
        woken |= self.state.as_ref().is_some_and(|state| state.host.poll(cx).is_ready());
        if let Some(alarm) = &mut self.alarm
            && Pin::new(&mut alarm.timer).poll(cx).is_ready()
        {
            self.alarm = None;
            woken = true;
        }
        if !self.stopping {
            match self.inbox.0.poll_recv_all(&mut self.messages, cx) {
                Poll::Ready(Ok(())) => woken = true,
                Poll::Ready(Err(_)) => {
                    self.stop();
                    woken = true;
                }
                Poll::Pending => {}
            }
        }
        if woken { Poll::Ready(()) } else { Poll::Pending }
    }

    /// An alarm that rings early does no harm, so one that is set stays.
    fn set_alarm(&mut self) {
        let now_ns = self.now_ns();
        let state = self.state.as_ref().and_then(|state| state.stream.deadline_ns());
        let deadline_ns = [self.core.deadline_ns(), state].into_iter().flatten().min();
        let at_ns = deadline_ns.map_or(now_ns + SLEEP_NS_MAX, |at_ns| at_ns.min(now_ns + SLEEP_NS_MAX));
        if self.alarm.as_ref().is_none_or(|alarm| alarm.at_ns > at_ns) {
            let timer = Timer::new(Duration::from_nanos(at_ns.saturating_sub(now_ns)));
            self.alarm = Some(Alarm { at_ns, timer });
        }
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.clock.elapsed())
    }
}

impl StateHost {
    fn turn<S: Sink>(&mut self, now_ns: u64, sink: &mut S) -> Result<(), windlass_io_log::journal::Fatal> {
        self.host.take_flushes().for_each(|took| sink.flushed(took));
        for completion in self.host.take() {
            self.stream.complete(completion, &mut self.requests)?;
        }
        self.stream.tick(now_ns, &mut self.requests);
        if !self.requests.is_empty() {
            failpoint!("stateBeforeCommit");
        }
        self.requests.drain(..).for_each(|request| self.host.start(request));
        let durable = self.stream.durable_index();
        if durable > self.reported {
            self.reported = durable;
            sink.durable(self.number, durable);
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.host.is_idle() && (self.stream.is_flushed() || self.stream.is_starved())
    }
}
