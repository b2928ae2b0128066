//! The life of one entry: its runs of plain puts, its compactions, and where its waves begin and end.

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::{CompactionRequest, CompactionResponse, DeleteRangeRequest, PutRequest};
use windlass_records::batch::{Batch, Command, CommandKind};
use windlass_types::key::shard_of;
use windlass_types::{LogIndex, RequestError, RequestId, Revision, ShardId, Term};

use super::auth::{admit, is_about_users, permit};
use super::lease::ends_leases;
use super::wave::EvaluatingWave;
use super::{Output, Response, Sequencer};
use crate::auth::Need;
use crate::membership::is_member_change;
use crate::put_view::PutView;
use crate::shard_set::ShardSet;
use crate::task::{Compact, PutOp, PutRun, ShardTask};
use crate::txn::{Transaction, header};

/// Plain puts after something else begin a run of their own if there are at least this many: a shorter run joins
/// the wave, which saves a round trip to the shards.
const RUN_PUTS_MIN: usize = 32;

/// An entry that is being numbered.
pub(super) struct Entry {
    index: LogIndex,
    term: Term,
    batch: Batch,
    /// What is left of its commands, the next one last.
    pub(super) rest: Vec<Command>,
    /// Whether this member's clients wait for answers.
    pub(super) is_ours: bool,
    /// Whether plain puts need no more than a number. Not while something else decides whether they are carried out.
    pub(super) takes_runs: bool,
    pub(super) evaluating: Option<EvaluatingWave>,
    /// Replies that wait for the entry to be numbered whole.
    pub(super) replies: Vec<Output>,
}

/// A compaction for whose end a client waits.
pub(super) struct PendingCompaction {
    index: LogIndex,
    id: RequestId,
    revision: Revision,
    waiting: ShardSet,
}

/// Plain puts of one entry, by shard.
struct Run {
    puts: Vec<Vec<PutOp>>,
    len: usize,
}

impl Entry {
    pub(super) fn index(&self) -> LogIndex {
        self.index
    }

    pub(super) fn term(&self) -> Term {
        self.term
    }

    /// Who sent the command, as it says.
    pub(super) fn credential(&self, command: &Command) -> &[u8] {
        &self.batch.data()[command.credential()]
    }

    pub(super) fn payload(&self, command: &Command) -> Bytes {
        self.batch.data().slice(command.payload.clone())
    }

    /// Whether a run of its own begins here.
    fn run_begins(&self) -> bool {
        let is_plain = |c: &Command| plain_put(&self.batch, c).is_some();
        let puts = self.rest.iter().rev().take(RUN_PUTS_MIN).take_while(|c| is_plain(c)).count();
        self.takes_runs && puts >= RUN_PUTS_MIN.min(self.rest.len())
    }
}

fn plain_put<'a>(batch: &'a Batch, command: &Command) -> Option<PutView<'a>> {
    match command.kind {
        CommandKind::Put => PutView::scan(&batch.data()[command.payload.clone()]),
        _ => None,
    }
}

impl Sequencer {
    /// Begins an entry; one that holds plain puts alone ends here as well.
    pub(super) fn begin(&mut self, index: LogIndex, term: Term, batch: Batch, out: &mut Vec<Output>) {
        let is_ours = batch.origin() == self.us;
        let takes_runs = self.takes_runs();
        let plain = if takes_runs { batch.len() } else { 0 };
        let run = self.scan_run(&batch, batch.commands().take(plain));
        let rest: Vec<Command> = batch.commands().skip(run.len).collect();
        let first_revision = self.revision.next();
        let last = rest.is_empty() && self.system.is_sent();
        let told = self.send_run(index, &batch, run, last, out);
        let commands = 0..batch.len() - rest.len();
        if rest.is_empty() {
            self.finish(index, term, if last { told } else { ShardSet::default() }, out);
            if is_ours && !commands.is_empty() {
                out.push(Output::PutReplies { batch, commands, first_revision });
            }
            return;
        }
        let (evaluating, replies) = (None, Vec::new());
        let mut entry = Entry { index, term, batch, rest, is_ours, takes_runs, evaluating, replies };
        if is_ours && !commands.is_empty() {
            entry.replies.push(Output::PutReplies { batch: entry.batch.clone(), commands, first_revision });
        }
        entry.rest.reverse();
        self.current = Some(entry);
    }

    /// Whether plain puts are carried out whoever sends them.
    pub(super) fn takes_runs(&self) -> bool {
        self.alarms.is_silent() && !self.auth.is_enabled()
    }

    /// Goes on with the entry under way; false if it has to wait for shards.
    pub(super) fn run_entry(&mut self, out: &mut Vec<Output>) -> bool {
        loop {
            let entry = self.current.as_mut().expect("an entry is under way");
            if entry.evaluating.is_some() {
                return false;
            }
            match entry.rest.last().map(|command| command.kind) {
                None => break,
                Some(CommandKind::Compaction) => self.compaction(out),
                Some(CommandKind::LeaseGrant) => self.lease_grant(out),
                Some(CommandKind::LeaseCheckpoint) => self.lease_checkpoint(out),
                Some(kind) if ends_leases(kind) => self.revoke_wave(out),
                Some(CommandKind::Alarm) => self.alarm(out),
                Some(kind) if is_about_users(kind) => self.auth_change(out),
                Some(CommandKind::Mark) => self.mark(out),
                Some(kind) if is_member_change(kind) => self.member_change(out),
                Some(_) if entry.run_begins() => self.inner_run(out),
                Some(_) => self.wave(out),
            }
        }
        let entry = self.current.take().expect("an entry is under way");
        self.finish(entry.index, entry.term, ShardSet::default(), out);
        out.extend(entry.replies);
        true
    }

    /// Takes the commands of the next wave off the entry: as many as are decidable together, or one barrier. What
    /// cannot be executed is refused on the way.
    pub(super) fn take_commands(&mut self) -> (Vec<RequestId>, Vec<Transaction>) {
        let (base, shards) = (self.revision, self.shards);
        let entry = self.current.as_mut().expect("an entry is under way");
        let (mut ids, mut transactions) = (Vec::new(), Vec::new());
        while let Some(command) = entry.rest.last() {
            if !is_transaction(command.kind) || (!ids.is_empty() && entry.run_begins()) {
                break;
            }
            let decoded = decode(command.kind, entry.payload(command));
            let mut decoded = decoded.and_then(|mut transaction| {
                self.alarms.check(&transaction)?;
                admit(&self.auth, entry, command, &mut transaction)?;
                Ok(transaction)
            });
            if let Ok(transaction) = &mut decoded {
                transaction.resolve_leases(|lease| self.leases.contains(lease));
            }
            match decoded {
                Ok(transaction) if transaction.is_barrier(base, shards) => {
                    if ids.is_empty() {
                        ids.push(command.id);
                        transactions.push(transaction);
                        entry.rest.pop();
                    }
                    break;
                }
                Ok(transaction) => {
                    ids.push(command.id);
                    transactions.push(transaction);
                }
                Err(error) if entry.is_ours => {
                    entry.replies.push(Output::Reply { id: command.id, result: Err(error) });
                }
                Err(_) => {}
            }
            entry.rest.pop();
        }
        (ids, transactions)
    }

    /// Groups leading plain puts by shard and numbers them.
    fn scan_run(&self, batch: &Batch, commands: impl ExactSizeIterator<Item = Command>) -> Run {
        let capacity = commands.len().div_ceil(usize::from(self.shards));
        let mut puts = vec![Vec::new(); usize::from(self.shards)];
        let mut revision = self.revision;
        let mut len = 0;
        for command in commands {
            let Some(put) = plain_put(batch, &command) else { break };
            let base = u32::try_from(command.payload.start).expect("batches are below 4 GiB");
            let (key, value) = put.spans(base);
            let ops: &mut Vec<PutOp> = &mut puts[usize::from(shard_of(put.key(), self.shards).0)];
            if ops.is_empty() {
                ops.reserve(capacity);
            }
            revision = revision.next();
            ops.push(PutOp { revision, key, value });
            len += 1;
        }
        Run { puts, len }
    }

    /// Hands a run to the shards; returns which shards got a part of it.
    fn send_run(
        &mut self,
        index: LogIndex,
        batch: &Batch,
        run: Run,
        last: bool,
        out: &mut Vec<Output>,
    ) -> ShardSet {
        let mut told = ShardSet::default();
        self.revision = Revision(self.revision.0 + run.len as i64);
        for (shard, puts) in (0..).map(ShardId).zip(run.puts) {
            if !puts.is_empty() {
                told = told.or(ShardSet::one(shard));
                let last = last.then_some(self.revision);
                let run = PutRun { index, last, data: batch.data().clone(), puts };
                out.push(Output::ToShard { shard, task: ShardTask::Puts(run) });
            }
        }
        told
    }

    /// A run of plain puts that is not at the front of the entry.
    fn inner_run(&mut self, out: &mut Vec<Output>) {
        let mut entry = self.current.take().expect("an entry is under way");
        let run = self.scan_run(&entry.batch, entry.rest.iter().rev().cloned());
        let start = entry.batch.len() - entry.rest.len();
        let commands = start..start + run.len;
        entry.rest.truncate(entry.rest.len() - run.len);
        let first_revision = self.revision.next();
        self.send_run(entry.index, &entry.batch, run, false, out);
        if entry.is_ours {
            entry.replies.push(Output::PutReplies { batch: entry.batch.clone(), commands, first_revision });
        }
        self.current = Some(entry);
    }

    fn compaction(&mut self, out: &mut Vec<Output>) {
        let entry = self.current.as_mut().expect("an entry is under way");
        let command = entry.rest.pop().expect("its next command is a compaction");
        let request = CompactionRequest::decode(entry.payload(&command)).map_err(|_| RequestError::Corrupt);
        let is_ours = entry.is_ours;
        let outcome = request.and_then(|request| {
            self.alarms.check_write()?;
            permit(&self.auth, entry, &command, Need::Root)?;
            let revision = Revision(request.revision);
            if revision <= self.compact_revision {
                return Err(RequestError::Compacted);
            }
            if revision > self.revision {
                return Err(RequestError::FutureRevision);
            }
            self.compact_revision = revision;
            Ok(request)
        });
        let waits = is_ours && outcome.is_ok_and(|request| request.physical);
        if let Ok(request) = outcome {
            self.send_compaction(Revision(request.revision), waits.then_some(command.id), out);
        }
        if is_ours && !waits {
            let response = outcome.map(|_| compaction_response(self.revision));
            let entry = self.current.as_mut().expect("an entry is under way");
            entry.replies.push(Output::Reply { id: command.id, result: response });
        }
    }

    fn send_compaction(&mut self, revision: Revision, waits: Option<RequestId>, out: &mut Vec<Output>) {
        let index = self.current.as_ref().expect("an entry is under way").index;
        let task = Compact { index, revision, answer: waits.is_some() };
        let all = ShardSet::all(self.shards);
        out.extend(all.iter().map(|shard| Output::ToShard { shard, task: ShardTask::Compact(task) }));
        if let Some(id) = waits {
            let pending = PendingCompaction { index, id, revision: self.revision, waiting: all };
            self.pending_compactions.push(pending);
        }
    }

    /// A shard is done with the oldest compaction of this entry that it was not done with.
    pub(super) fn compacted(&mut self, shard: ShardId, index: LogIndex, out: &mut Vec<Output>) {
        let of_entry = |p: &PendingCompaction| p.index == index && p.waiting.contains(shard);
        let at = self.pending_compactions.iter().position(of_entry).expect("a compaction that was asked for");
        let pending = &mut self.pending_compactions[at];
        pending.waiting.remove(shard);
        if !pending.waiting.is_empty() {
            return;
        }
        let PendingCompaction { id, revision, .. } = self.pending_compactions.remove(at);
        self.reply(index, Output::Reply { id, result: Ok(compaction_response(revision)) }, out);
    }

    /// Replies now, or once the entry at `index` is numbered.
    pub(super) fn reply(&mut self, index: LogIndex, reply: Output, out: &mut Vec<Output>) {
        match &mut self.current {
            Some(entry) if entry.index == index => entry.replies.push(reply),
            _ => out.push(reply),
        }
    }
}

fn compaction_response(revision: Revision) -> Box<Response> {
    Box::new(Response::Compaction(CompactionResponse { header: header(revision) }))
}

/// Whether the command is evaluated, together with its neighbours that are.
fn is_transaction(kind: CommandKind) -> bool {
    matches!(kind, CommandKind::Put | CommandKind::DeleteRange | CommandKind::Txn)
}

/// Requests were checked before they were proposed; one that does not even decode has no effect.
fn decode(kind: CommandKind, payload: Bytes) -> Result<Transaction, RequestError> {
    let corrupt = |_: prost::DecodeError| RequestError::Corrupt;
    match kind {
        CommandKind::Put => Transaction::from_put(PutRequest::decode(payload).map_err(corrupt)?),
        CommandKind::DeleteRange => {
            Transaction::from_delete(DeleteRangeRequest::decode(payload).map_err(corrupt)?)
        }
        CommandKind::Txn => Transaction::decode_txn(payload),
        _ => unreachable!("only transactions are part of a wave"),
    }
}
