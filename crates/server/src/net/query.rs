//! Reads: from the request through the shards to the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use tokio::sync::oneshot;
use windlass_api::etcdserverpb::{RangeRequest, TxnRequest};
use windlass_raft::ReadId;
use windlass_replica::answer::RangeAnswer;
use windlass_replica::checks;
use windlass_replica::get::GetView;
use windlass_replica::reading::{Progress, ReadRequest, Reading, Snapshot};
use windlass_replica::task::{ReadAnswer, ReadTask};
use windlass_replica::txn::Transaction;
use windlass_rpc::{CallId, Code};
use windlass_types::{RequestError, ShardId};

use super::arbiter::Arbiter;
use super::range_stream::{RangeStream, Step};
use super::reads::{ATTEMPTS_MAX, Active, Read, Reader, Ticket};
use crate::auth::Caller;
use crate::consensus::FromArbiter;

/// Unsent bytes of one stream above which its next chunk is not read until the client has taken some.
const STREAM_QUEUED_BYTES_MAX: usize = 1 << 20;

/// A question for the place of reads in history that takes longer is counted as slow; where etcd asks again.
const SLOW_READ_INDEX: Duration = Duration::from_millis(500);

impl Arbiter {
    /// `KV.Range`
    pub(super) fn range(&mut self, call: CallId, message: &[u8]) {
        if let Some(view) = GetView::scan(message).filter(|_| !self.published.is_auth_enabled()) {
            return self.get(call, view);
        }
        let request = match RangeRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        if let Err(error) = checks::check_range(&request) {
            return self.refuse(call, error);
        }
        let serializable = request.serializable;
        self.read(Reader::Call(call), ReadRequest::Range(request.into()), serializable);
    }

    /// `KV.RangeStream`
    pub(super) fn range_stream(&mut self, call: CallId, message: &[u8]) {
        let request = match RangeRequest::decode(message) {
            Ok(request) => request,
            Err(error) => {
                let text = format!("grpc: error unmarshalling request: {error}");
                return self.net.stream_end(call, Code::Internal, &text);
            }
        };
        if let Err(error) = checks::check_range(&request) {
            return self.net.stream_end(call, error.code(), error.text());
        }
        match RangeStream::new(call, request, self.limits.request_bytes_max) {
            Some(stream) => self.next_chunk(stream, false),
            None => {
                let text = "a range stream cannot be sorted or filtered by revision";
                self.net.stream_end(call, Code::Unimplemented, text);
            }
        }
    }

    /// A transaction that changes nothing.
    pub(super) fn read_txn(&mut self, call: CallId, request: TxnRequest) {
        let serializable = checks::is_serializable(&request);
        match Transaction::from_txn(request) {
            Ok(txn) => self.read(Reader::Call(call), ReadRequest::Txn(Arc::new(txn)), serializable),
            Err(error) => self.refuse(call, error),
        }
    }

    /// Reads one key, as a health check; the result goes to `done`.
    pub(super) fn check(&mut self, serializable: bool, done: oneshot::Sender<Result<(), RequestError>>) {
        self.now = Instant::now();
        self.caller = Caller::Member;
        // etcd's own probe reads a key that need not exist.
        let range =
            RangeRequest { key: "health".into(), limit: 1, keys_only: true, ..RangeRequest::default() };
        self.read(Reader::Check(done), ReadRequest::Range(Arc::new(range)), serializable);
        self.caller = Caller::Nobody;
        self.end_turn();
    }

    /// The consensus actor said where the reads of a question see history.
    pub(super) fn snapshot(&mut self, id: ReadId, snapshot: Option<Snapshot>) {
        let mut turn = self.reads.answered(id);
        if turn.since().is_some_and(|since| since.elapsed() > SLOW_READ_INDEX) {
            self.metrics.read_indexes_slow.inc();
        }
        if let Some(snapshot) = snapshot {
            turn.gets.iter().for_each(|get| self.answer_get(get, snapshot));
            turn.reads.drain(..).for_each(|read| self.begin(read, snapshot));
        } else {
            self.metrics.read_indexes_failed.inc();
            let has_leader = self.published.leader().0 != 0;
            let error = if has_leader { RequestError::LeaderChanged } else { RequestError::NoLeader };
            turn.gets.iter().for_each(|get| self.refuse(get.call, error));
            turn.reads.drain(..).for_each(|read| self.refuse_read(read, error));
        }
        self.reads.done(turn);
    }

    /// A shard answered.
    pub(super) fn read_answer(&mut self, ticket: Ticket, shard: ShardId, answer: ReadAnswer) {
        let mut tasks = Vec::new();
        // Nobody waits for a read that failed at another shard.
        let Some(active) = self.reads.get_mut(ticket) else { return };
        let progress = active.reading.answer(shard, answer, &mut tasks);
        self.hand_out(ticket, tasks);
        if !matches!(progress, Progress::Waiting) {
            let read = self.reads.finish(ticket);
            self.conclude(read, progress);
            self.begin_lists();
        }
    }

    /// Begins lists that waited, as many as there is room for.
    fn begin_lists(&mut self) {
        while let Some((read, snapshot)) = self.reads.next_list() {
            self.begin(read, snapshot);
        }
    }

    /// Answers reads that waited too long, and drops those whose client has gone.
    pub(super) fn sweep_reads(&mut self, now: Instant) {
        let (net, timeout) = (self.net.clone(), self.limits.timeout);
        let has_waited = |since| now.saturating_duration_since(since) > timeout;
        for call in self.reads.take_over_gets(|call, since| has_waited(since) || !net.is_live(call)) {
            self.refuse(call, RequestError::Timeout);
        }
        let has_gone = |read: &Read| match &read.reader {
            Reader::Call(call)
            | Reader::Members(call)
            | Reader::Alarms(call, _)
            | Reader::Auth(call, _)
            | Reader::Renewal(call, ..)
            | Reader::Leases(call, _)
            | Reader::Hash(call)
            | Reader::Lease(call, _) => !net.is_live(*call),
            Reader::Stream(stream) => !net.is_live(stream.call),
            Reader::Again(again) => !net.is_live(again.call),
            Reader::Check(done) => done.is_closed(),
        };
        for read in self.reads.take_over(|read| has_waited(read.since) || has_gone(read)) {
            // What has gone takes no answer.
            self.refuse_read(read, RequestError::Timeout);
        }
        self.begin_lists();
    }

    /// A stream's client has taken what was queued.
    pub(super) fn resume(&mut self, call: CallId) {
        if let Some(at) = self.paused.iter().position(|stream| stream.call == call) {
            let stream = self.paused.swap_remove(at);
            self.next_chunk(stream, true);
        }
    }

    pub(super) fn read(&mut self, reader: Reader, request: ReadRequest, serializable: bool) {
        self.read_as(self.caller.clone(), reader, request, serializable);
    }

    /// As [`read`](Self::read), for whoever makes the call.
    pub(super) fn read_as(
        &mut self,
        caller: Caller,
        reader: Reader,
        request: ReadRequest,
        serializable: bool,
    ) {
        let read = Read { reader, request, caller, permitted_at: 0, attempts: 0, since: self.now };
        if self.reads.is_full() {
            self.refuse_read(read, RequestError::TooManyRequests);
        } else if serializable {
            let snapshot = self.newest_here();
            self.begin(read, snapshot);
        } else {
            self.reads.push(read);
        }
    }

    /// Where a serializable read looks: at everything this member has numbered.
    pub(super) fn newest_here(&self) -> Snapshot {
        let compact_revision = self.published.compact_revision();
        let (revision, index) = self.published.revision_and_index();
        if self.published.handed() < index {
            self.consensus.do_send(FromArbiter::HandOver);
        }
        Snapshot { index, revision, compact_revision }
    }

    pub(super) fn begin(&mut self, read: Read, snapshot: Snapshot) {
        let Some(mut read) = self.reads.admit(read, snapshot) else { return };
        if self.published.is_auth_enabled()
            && let Err(error) = self.permit_read(&mut read)
        {
            return self.refuse_read(read, error);
        }
        let mut tasks = Vec::new();
        let (mut reading, mut progress) =
            Reading::begin(&read.request, self.shards.count(), snapshot, &mut tasks);
        if let Some(looked) = reading.look(&self.views, &mut tasks) {
            progress = looked;
        }
        if matches!(progress, Progress::Waiting) {
            let ticket = self.reads.activate(Active { read, reading });
            self.hand_out(ticket, tasks);
        } else {
            self.conclude(read, progress);
        }
    }

    fn hand_out(&self, ticket: Ticket, tasks: Vec<(ShardId, ReadTask)>) {
        for (shard, task) in tasks {
            self.shards.read(shard, ticket, task);
        }
    }

    fn conclude(&mut self, read: Read, progress: Progress) {
        if !self.is_still_permitted(&read) {
            return self.refuse_read(read, RequestError::AuthOldRevision);
        }
        match progress {
            Progress::Waiting => unreachable!("the caller keeps those"),
            Progress::Range(answer) => self.give_range(read.reader, read.caller, &answer),
            Progress::Txn(answer) => {
                let Reader::Call(call) = read.reader else { unreachable!("only calls ask for transactions") };
                self.net.reply_with(call, |out| answer.encode(&self.headers.without_revision(), out));
            }
            Progress::Hash(hashed) => self.give_hash(read.reader, hashed),
            Progress::LeaseKeys(keys) => self.give_lease_keys(read.reader, read.caller, keys),
            Progress::Refused(error) => self.refuse_read(read, error),
            Progress::Compacted if read.names_revision() || read.attempts >= ATTEMPTS_MAX => {
                self.refuse_read(read, RequestError::Compacted);
            }
            Progress::Compacted => {
                self.reads.push(Read { attempts: read.attempts + 1, ..read });
                self.end_turn();
            }
        }
    }

    fn give_range(&mut self, reader: Reader, caller: Caller, answer: &RangeAnswer) {
        match reader {
            Reader::Call(call) | Reader::Hash(call) => {
                self.net.reply_with(call, |out| answer.encode(&self.headers.without_revision(), out));
            }
            Reader::Stream(stream) => self.give_chunk(*stream, answer),
            Reader::Members(call) => self.give_members(call),
            Reader::Alarms(call, kind) => self.give_alarms(call, kind),
            Reader::Auth(call, ask) => self.answer_about_users(call, caller, *ask),
            Reader::Again(again) => self.carry_out_again(caller, *again),
            Reader::Lease(..) | Reader::Renewal(..) | Reader::Leases(..) => {
                unreachable!("keys of leases are not a range")
            }
            // The client of a health check may have gone.
            Reader::Check(done) => drop(done.send(Ok(()))),
        }
    }

    fn give_chunk(&mut self, mut stream: RangeStream, chunk: &RangeAnswer) {
        let (call, header) = (stream.call, self.headers.without_revision());
        let mut step = None;
        let queued = self.net.stream_send_with(call, |out| step = Some(stream.advance(chunk, header, out)));
        // Neither is there if the client has gone.
        let (Some(step), Some(queued)) = (step, queued) else { return };
        match step {
            Step::Last => self.net.stream_end(call, Code::Ok, ""),
            Step::More if queued > STREAM_QUEUED_BYTES_MAX => self.paused.push(stream),
            Step::More => self.next_chunk(stream, true),
        }
    }

    fn next_chunk(&mut self, stream: RangeStream, begun: bool) {
        let request = stream.next_read();
        // The first chunk fixes the revision; the later ones name it and need not ask where they are.
        let local = begun || stream.is_serializable();
        // Who asks was looked at before the first one.
        let caller = if begun { Caller::Member } else { self.caller.clone() };
        self.read_as(caller, Reader::Stream(Box::new(stream)), request, local);
    }

    fn refuse_read(&mut self, read: Read, error: RequestError) {
        match read.reader {
            Reader::Call(call) | Reader::Members(call) | Reader::Hash(call) => self.refuse(call, error),
            Reader::Stream(stream) => self.net.stream_end(stream.call, error.code(), error.text()),
            Reader::Lease(call, _) | Reader::Alarms(call, _) => self.refuse(call, error),
            Reader::Auth(call, _) | Reader::Leases(call, _) => self.refuse(call, error),
            Reader::Renewal(call, ..) => self.end_keep_alives_with(call, error),
            Reader::Again(again) if again.streams => {
                self.net.stream_end(again.call, error.code(), error.text());
            }
            Reader::Again(again) => self.refuse(again.call, error),
            Reader::Check(done) => drop(done.send(Err(error))),
        }
    }
}
