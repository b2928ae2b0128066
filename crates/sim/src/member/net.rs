//! The thread of connections: hands over what clients ask, and judges what reads return.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use prost::Message;
use windlass_api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader, TxnRequest};
use windlass_raft::ReadId;
use windlass_records::batch::{BatchBuilder, CommandKind};
use windlass_replica::auth::{Asker, Need};
use windlass_replica::consensus::Input;
use windlass_replica::get::{self, GetView};
use windlass_replica::lease::{Asker as LeaseAsker, LeaseAnswer, LeaseAsk};
use windlass_replica::oracle::Oracle;
use windlass_replica::reading::{Progress, ReadRequest, Reading, Snapshot};
use windlass_replica::shard::View;
use windlass_replica::task::{ReadAnswer, ReadTask};
use windlass_replica::txn::Transaction;
use windlass_types::{LogIndex, MemberId, RequestError, RequestId, Revision, ShardId};

use super::consensus::ToConsensus;
use super::shards::ToShard;
use super::watch::WatchInput;
use super::{Member, Ticket, take_turn};
use crate::bug::Bug;
use crate::check::{Check, Violation, ensure};
use crate::checker::{Answer, Checker, Heard, Identity, LeaseQuestion};
use crate::clients::Request;
use crate::env::{Env, Event, Stop, Thread, site_of};
use crate::mailbox::{Mailbox, Sender};
use crate::network::Content;
use crate::record::{OperationId, RANGE, TXN};
use crate::report::Count;

/// How often a read that a compaction overtook is begun anew; as in the server.
const ATTEMPTS_MAX: u8 = 4;

/// A place in history, and the store as a read there must see it.
pub type Found = (Snapshot, Rc<Oracle>);

/// Messages to the thread of connections.
pub enum ToNet {
    /// A write was answered.
    Answered {
        /// Which.
        id: RequestId,
        /// How.
        heard: Heard,
    },
    /// Where the reads of a turn look.
    Snapshot {
        /// The question.
        id: ReadId,
        /// The answer.
        found: Option<Found>,
    },
    /// A shard's part of a read.
    Read(ShardId, Ticket, ReadAnswer),
    /// Something for those who watch.
    Watch(WatchInput),
}

#[derive(Clone, Debug)]
enum ReadOf {
    Range(RangeRequest),
    Txn(TxnRequest),
}

/// A read of a client.
struct Read {
    request: ReadOf,
    /// Who asks, as of when it began.
    who: Identity,
    /// As of when it was permitted: whether users were looked at, and their revision.
    permitted_at: (bool, u64),
    /// What was seen when it began.
    began: LogIndex,
    attempts: u8,
    recorded: Option<OperationId>,
}

/// A read that shards work on.
struct Active {
    read: Read,
    reading: Reading,
    found: Found,
}

/// The thread.
#[derive(Default)]
pub struct NetThread {
    pub(super) mail: Mailbox<ToNet>,
    batch: BatchBuilder,
    /// Writes of which the judge does not know yet, and what they were answered meanwhile; for a bug.
    unasked: Vec<(RequestId, Option<Answer>)>,
    requests: u64,
    questions: u64,
    tickets: u64,
    /// Reads of this turn that want a place in history.
    turn: Vec<Read>,
    asked: BTreeMap<ReadId, Vec<Read>>,
    active: BTreeMap<u64, Active>,
    /// Questions about leases.
    leases: BTreeMap<u64, LeaseQuestion>,
    in_flight: u64,
}

impl NetThread {
    /// Number of requests without an answer.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }
}

impl Member {
    /// Clients have a turn.
    ///
    /// # Errors
    /// If a promise is broken.
    pub fn clients_turn(&mut self, env: &mut Env) -> Result<(), Stop> {
        self.ask_late(env)?;
        let in_flight = self.net.in_flight;
        for _ in 0..env.site_mut().clients.turn(in_flight) {
            let revision = env.checker.oracle(env.at).revision();
            let alarms: Vec<_> = self.consensus.core.alarms().iter().collect();
            let user = env.site_mut().clients.user();
            let request = env.site_mut().clients.request(revision, &alarms);
            self.ask(request, user, env)?;
        }
        self.end_turn(env);
        if !env.site().clients.are_done() {
            let pause = env.site_mut().clients.pause_ns();
            env.after(pause, Event::Turn(env.life()));
        }
        Ok(())
    }

    pub(super) fn net_turn(&mut self, env: &mut Env) -> Result<(), Stop> {
        for message in take_turn(&mut self.net.mail, Thread::Net, env) {
            match message {
                ToNet::Answered { id, heard } => {
                    self.net.in_flight -= 1;
                    self.probe.heard(id);
                    let (of, now_ns) = ((env.at, env.life(), id), env.agenda.now_ns());
                    env.record.hear_write(of, now_ns);
                    if let Heard::Seen(index) = heard {
                        env.checker.see(env.at, index);
                    }
                }
                ToNet::Snapshot { id, found } => self.place_found(id, found, env)?,
                ToNet::Read(shard, Ticket::Read(ticket), answer) => {
                    self.read_answer(shard, ticket, answer, env)?;
                }
                ToNet::Read(shard, Ticket::Watch(id), answer) => {
                    let ReadAnswer::Changes(changes) = answer else { unreachable!("changes were asked for") };
                    self.watch_step(WatchInput::Answered(shard, id, changes), env);
                }
                ToNet::Watch(input) => self.watch_step(input, env),
            }
        }
        self.end_turn(env);
        Ok(())
    }

    fn place_found(&mut self, id: ReadId, found: Option<Found>, env: &mut Env) -> Result<(), Stop> {
        // Whoever waited may have given up.
        let reads = self.net.asked.remove(&id).unwrap_or_default();
        let Some(found) = found else {
            ensure(env.profile.members > 1, Check::RefusedWithoutReason, || {
                "a sole member lost its leadership".to_owned()
            })?;
            self.net.in_flight -= reads.len() as u64;
            return Ok(());
        };
        for read in reads {
            self.begin_read(read, found.clone(), env)?;
        }
        Ok(())
    }

    /// The clients of these reads have waited long enough.
    pub fn reads_time_out(&mut self, id: u64, env: &mut Env) {
        if let Some(reads) = self.net.asked.remove(&ReadId(id)) {
            env.totals.add(Count::TimedOut, reads.len() as u64);
            self.net.in_flight -= reads.len() as u64;
        }
    }

    /// The client of this write has waited long enough.
    pub fn write_times_out(&mut self, id: RequestId, env: &mut Env) {
        if env.checker.give_up(env.at, id) {
            env.tell(|| format!("request {id} times out"));
            env.totals.count(Count::TimedOut);
            self.net.in_flight -= 1;
            self.probe.heard(id);
            let withdraw = Input::Withdraw(HashSet::from([id]));
            self.tell_consensus(Sender::Net, ToConsensus::Input(Box::new(withdraw)), env);
        }
    }

    fn ask(&mut self, request: Request, user: &'static str, env: &mut Env) -> Result<(), Stop> {
        let who = self.identity(user);
        let permitted_at = self.users_now();
        match request {
            Request::Write(command) => {
                env.tell(|| format!("{user:?} asks for {command:?}"));
                self.write(command.kind(), &command.payload(), user, env)?;
            }
            Request::Rule(kind, payload) => {
                env.totals.count(Count::Rules);
                self.write(kind, &payload, user, env)?;
            }
            Request::Lease(ask) => self.ask_about_lease(ask, env),
            Request::Range(range) => {
                let serializable = range.serializable;
                // A serializable read sees what clients of this member have seen.
                let began = env.checker.seen(serializable.then_some(env.at));
                let recorded = env.record_read(RANGE, || range.encode_to_vec());
                let read =
                    Read { request: ReadOf::Range(range), who, permitted_at, began, attempts: 0, recorded };
                if !self.permits(&read, env) {
                    return Ok(());
                }
                self.net.in_flight += 1;
                if serializable {
                    // At what this member has numbered last, which every thread can see.
                    return self.begin_read(read, self.newest(env), env);
                }
                self.net.turn.push(read);
            }
            Request::Txn(txn) => {
                let began = env.checker.seen(None);
                let recorded = env.record_read(TXN, || txn.encode_to_vec());
                let read =
                    Read { request: ReadOf::Txn(txn), who, permitted_at, began, attempts: 0, recorded };
                if self.permits(&read, env) {
                    self.net.in_flight += 1;
                    self.net.turn.push(read);
                }
            }
            Request::Flush => {
                for shard in self.shard_ids() {
                    self.tell_shard(shard.0, Sender::Net, ToShard::Flush, env);
                }
            }
        }
        Ok(())
    }

    fn newest(&self, env: &Env) -> Found {
        let state = self.consensus.core.numbered();
        let snapshot = Snapshot {
            index: state.index,
            revision: state.revision,
            compact_revision: state.compact_revision,
        };
        (snapshot, env.checker.oracle(env.at))
    }

    /// Whether a read may begin, as of what this member has applied; as in the server.
    fn permits(&self, read: &Read, env: &mut Env) -> bool {
        let asker = Asker { user: &read.who.user, revision: read.who.revision };
        let permitted = match &read.request {
            ReadOf::Range(range) => self.auth.check(asker, Need::of_range(range)).is_ok(),
            ReadOf::Txn(txn) => {
                let transaction = Transaction::from_txn(txn.clone()).expect("generated requests are checked");
                Need::of_transaction(&transaction).all(|need| self.auth.check(asker, need).is_ok())
            }
        };
        env.totals.add(Count::ReadsForbidden, u64::from(!permitted));
        permitted || env.strikes(Bug::ReadsForAll, 1)
    }

    fn users_now(&self) -> (bool, u64) {
        (self.auth.is_enabled(), self.auth.revision())
    }

    /// A user, as of what this member knows of users.
    pub(super) fn identity(&self, user: &str) -> Identity {
        Identity { user: user.to_owned(), revision: self.auth.revision() }
    }

    fn ask_about_lease(&mut self, ask: LeaseAsk, env: &mut Env) {
        let (LeaseAsk::KeepAlive(id) | LeaseAsk::TimeToLive(id)) = ask;
        self.net.questions += 1;
        // The answer to a question of an earlier life may still come.
        let number = (u64::from(env.life()) << 32) | self.net.questions;
        let question = LeaseQuestion { id: id.0, seen: env.checker.seen(None), at_ns: env.agenda.now_ns() };
        self.net.leases.insert(number, question);
        if self.leads() {
            let asker = LeaseAsker::Local(RequestId(number));
            self.input(Sender::Net, Input::Lease { asker, ask }, env);
            return;
        }
        let leader = self.consensus.core.raft().leader();
        if leader != MemberId::ZERO {
            env.send(site_of(leader), Content::LeaseAsked(number, ask));
        }
    }

    /// A question about a lease is answered.
    pub(super) fn lease_answered(
        &mut self,
        number: u64,
        answer: LeaseAnswer,
        env: &mut Env,
    ) -> Result<(), Stop> {
        let Some(question) = self.net.leases.remove(&number) else { return Ok(()) };
        env.totals.add(Count::LeaseAnswers, u64::from(answer != LeaseAnswer::NotLeader));
        env.tell(|| format!("is told of lease {}: {answer:?}", question.id));
        let now_ns = env.agenda.now_ns();
        Ok(env.checker.lease_told(question, answer, now_ns)?)
    }

    pub(super) fn write(
        &mut self,
        kind: CommandKind,
        payload: &[u8],
        user: &str,
        env: &mut Env,
    ) -> Result<RequestId, Stop> {
        // As in a real process, ids begin anew with each life.
        self.net.requests += 1;
        let id = RequestId(self.net.requests);
        env.totals.count(Count::Writes);
        env.tell(|| format!("request {id} is a {kind:?}"));
        self.net.in_flight += 1;
        let named = if !user.is_empty() && env.strikes(Bug::AnothersName, 20) { "root" } else { user };
        let who = self.identity(named);
        let mut credential = Vec::new();
        Asker { user: &who.user, revision: who.revision }.encode(&mut credential);
        let said: &[u8] = if named.is_empty() { &[] } else { &credential };
        self.net.batch.push_as(id, kind, said, payload);
        if env.strikes(Bug::AskedLate, 3) {
            self.net.unasked.push((id, None));
            return Ok(id);
        }
        env.record_write(id, kind, payload);
        env.checker.begin_as(env.at, id, user);
        if let Some(patience) = env.profile.patience_ns {
            env.after(patience, Event::WriteTimeout(env.life(), id));
        }
        if env.strikes(Bug::RefusedAndWritten, 20) {
            env.checker.answered(env.at, id, &Err(RequestError::NoSpace))?;
        }
        Ok(id)
    }

    /// A known bug: writes that are in the log by now are asked for, and answered with what they were told before that.
    fn ask_late(&mut self, env: &mut Env) -> Result<(), Stop> {
        let (answered, unasked) =
            std::mem::take(&mut self.net.unasked).into_iter().partition(|(_, answer)| answer.is_some());
        self.net.unasked = unasked;
        let answered: Vec<(RequestId, Option<Answer>)> = answered;
        for (id, answer) in answered {
            env.checker.begin(env.at, id);
            answer.map_or(Ok(()), |answer| self.reply(id, answer, env))?;
        }
        Ok(())
    }

    /// Keeps an answer to a write that was not asked for yet; whether it did.
    pub(super) fn keep_until_asked(&mut self, id: RequestId, answer: &Answer) -> bool {
        let unasked = self.net.unasked.iter_mut().find(|(unasked, _)| *unasked == id);
        unasked.is_some_and(|(_, kept)| kept.replace(answer.clone()).is_none())
    }

    /// A request that is no command of a client.
    pub(super) fn new_request(&mut self, env: &mut Env) -> RequestId {
        self.net.requests += 1;
        let id = RequestId(self.net.requests);
        self.net.in_flight += 1;
        env.checker.begin(env.at, id);
        if let Some(patience) = env.profile.patience_ns {
            env.after(patience, Event::WriteTimeout(env.life(), id));
        }
        id
    }

    pub(super) fn end_turn(&mut self, env: &mut Env) {
        if !self.net.batch.is_empty() {
            let batch = std::mem::take(&mut self.net.batch);
            self.tell_consensus(Sender::Net, ToConsensus::Propose(batch), env);
        }
        if !self.net.turn.is_empty() {
            self.net.questions += 1;
            let id = ReadId(self.net.questions);
            self.net.asked.insert(id, std::mem::take(&mut self.net.turn));
            if let Some(patience) = env.profile.patience_ns {
                env.after(patience, Event::ReadTimeout(env.life(), id.0));
            }
            self.tell_consensus(Sender::Net, ToConsensus::Read(id), env);
        }
    }

    fn begin_read(&mut self, read: Read, found: Found, env: &mut Env) -> Result<(), Stop> {
        let Snapshot { index, .. } = found.0;
        ensure(index >= read.began, Check::Stale, || {
            format!("a read looks at entry {index}, though {} was seen before it began", read.began)
        })?;
        let request = match &read.request {
            ReadOf::Range(range) => ReadRequest::Range(range.clone().into()),
            ReadOf::Txn(txn) => {
                let transaction = Transaction::from_txn(txn.clone()).expect("generated requests are checked");
                ReadRequest::Txn(Arc::new(transaction))
            }
        };
        let mut tasks = Vec::new();
        let (mut reading, mut progress) =
            Reading::begin(&request, self.shards.len() as u16, found.0, &mut tasks);
        forget_index(&mut tasks, env);
        let views: Vec<_> = self.shards.iter().map(|side| side.core.view()).collect();
        if let Some(got) = get(&read.request, found.0, &tasks, &views) {
            progress = got;
            tasks.clear();
        } else if let Some(looked) = reading.look(&views, &mut tasks) {
            progress = looked;
        }
        self.net.tickets += 1;
        let ticket = self.net.tickets;
        self.net.active.insert(ticket, Active { read, reading, found });
        self.send_tasks(ticket, tasks, env);
        self.go_on(ticket, progress, env)
    }

    fn read_answer(
        &mut self,
        shard: ShardId,
        ticket: u64,
        answer: ReadAnswer,
        env: &mut Env,
    ) -> Result<(), Stop> {
        // A read that failed at another shard is over.
        let Some(active) = self.net.active.get_mut(&ticket) else { return Ok(()) };
        let mut tasks = Vec::new();
        let progress = active.reading.answer(shard, answer, &mut tasks);
        forget_index(&mut tasks, env);
        self.send_tasks(ticket, tasks, env);
        self.go_on(ticket, progress, env)
    }

    fn send_tasks(&mut self, ticket: u64, tasks: Vec<(ShardId, ReadTask)>, env: &mut Env) {
        for (shard, task) in tasks {
            self.tell_shard(shard.0, Sender::Net, ToShard::Read(task, Ticket::Read(ticket)), env);
        }
    }

    fn go_on(&mut self, ticket: u64, progress: Progress, env: &mut Env) -> Result<(), Stop> {
        if matches!(progress, Progress::Waiting) {
            return Ok(());
        }
        let Active { read, found, .. } = self.net.active.remove(&ticket).expect("it is being read");
        let names_revision = matches!(&read.request, ReadOf::Range(range) if range.revision > 0);
        if matches!(progress, Progress::Compacted) && !names_revision && read.attempts < ATTEMPTS_MAX {
            env.totals.count(Count::ReadsOvertaken);
            self.net.turn.push(Read { attempts: read.attempts + 1, ..read });
            self.end_turn(env);
            return Ok(());
        }
        // As in the server: what permitted it may be so no more.
        if read.permitted_at != self.users_now() && !env.strikes(Bug::PermittedOnce, 1) {
            env.totals.count(Count::ReadsForbidden);
            self.net.in_flight -= 1;
            return Ok(());
        }
        may_read(&read, found.0.index, &found.1, &env.checker)?;
        let now_ns = env.agenda.now_ns();
        env.record.answer_read(read.recorded, now_ns, || match &progress {
            Progress::Range(answer) => Ok(answer.to_response().encode_to_vec()),
            Progress::Txn(answer) => Ok(answer.to_response().encode_to_vec()),
            Progress::Refused(error) => Err(*error),
            _ => Err(RequestError::Compacted),
        });
        let newest = env.checker.newest_compaction(env.at);
        judge(&read.request, progress, &found.1, newest)?;
        env.checker.see(env.at, found.0.index);
        env.totals.count(Count::ReadsAnswered);
        self.net.in_flight -= 1;
        Ok(())
    }
}

/// Whether the log permits at this place what was read there.
fn may_read(read: &Read, index: LogIndex, seen: &Oracle, checker: &Checker) -> Result<(), Violation> {
    let (rules, who) = (checker.rules_at(index), &read.who);
    let permitted = match &read.request {
        ReadOf::Range(range) => rules.permit_range(who, range, seen),
        ReadOf::Txn(txn) => rules.permit_txn(who, txn, seen),
    };
    permitted.map_err(|error| {
        let text = format!("{who:?} reads at entry {index}, which says {error}: {:?}", read.request);
        Violation::new(Check::Permission, text)
    })
}

/// Compares what a read returned with the store that it must have seen; `compacted` is what may be compacted by now.
fn judge(request: &ReadOf, progress: Progress, seen: &Oracle, compacted: Revision) -> Result<(), Violation> {
    if compaction_explains(request, &progress, seen, compacted) {
        return Ok(());
    }
    let wrong = |got: String, want: String| {
        Violation::new(Check::Answer, format!("{request:?}\n  is told {got}\n  instead of {want}"))
    };
    match request {
        ReadOf::Range(range) => {
            let got = match progress {
                Progress::Range(answer) => Ok(answer.to_response()),
                Progress::Refused(error) => Err(error),
                _ => Err(RequestError::Compacted),
            };
            let want = seen.range(range);
            if got == want { Ok(()) } else { Err(wrong(format!("{got:?}"), format!("{want:?}"))) }
        }
        ReadOf::Txn(txn) => {
            let got = match progress {
                Progress::Txn(answer) => Ok(answer.to_response()),
                Progress::Refused(error) => Err(error),
                _ => Err(RequestError::Compacted),
            };
            let want = seen.clone().txn(txn);
            if got == want { Ok(()) } else { Err(wrong(format!("{got:?}"), format!("{want:?}"))) }
        }
    }
}

/// Whether a later compaction than the read should see may take away what it asks for.
fn compaction_explains(request: &ReadOf, progress: &Progress, seen: &Oracle, compacted: Revision) -> bool {
    if !matches!(progress, Progress::Compacted | Progress::Refused(RequestError::Compacted)) {
        return false;
    }
    match request {
        ReadOf::Range(range) if range.revision > 0 => range.revision < compacted.0,
        ReadOf::Range(_) => seen.revision() < compacted,
        // Ranges within it may name revisions of their own.
        ReadOf::Txn(_) => seen.compact_revision() < compacted,
    }
}

/// Answers a get as the server does, if that is possible now; `tasks` has what its shard would be asked.
fn get(
    request: &ReadOf,
    snapshot: Snapshot,
    tasks: &[(ShardId, ReadTask)],
    views: &[View],
) -> Option<Progress> {
    let (ReadOf::Range(range), [(_, task)]) = (request, tasks) else { return None };
    let request = range.encode_to_vec();
    let view = GetView::scan(&request)?;
    let snapshot = Snapshot { index: task.min_index, ..snapshot };
    let header = ResponseHeader { revision: snapshot.revision.0, ..ResponseHeader::default() };
    let mut answer = Vec::new();
    let looked = get::look_up(views, view.key, snapshot, |pair| get::encode(pair, &header, &mut answer));
    looked.then(|| {
        let response = RangeResponse::decode(&*answer).expect("it was just encoded");
        Progress::Range(response.into())
    })
}

/// [`Bug::ForgottenReadIndex`]
fn forget_index(tasks: &mut [(ShardId, ReadTask)], env: &mut Env) {
    for (_, task) in tasks {
        if env.strikes(Bug::ForgottenReadIndex, 1) {
            task.min_index = LogIndex(0);
        }
    }
}
