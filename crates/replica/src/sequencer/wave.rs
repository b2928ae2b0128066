//! The life of one wave: evaluate, number, install, collect results.

use std::sync::Arc;

use windlass_types::{LogIndex, RequestError, RequestId, ShardId};

use super::{Output, Sequencer};
use crate::lease::INTERNAL;
use crate::shard_set::ShardSet;
use crate::task::{Assigned, Evaluate, Install, OpResults, ShardTask, Verdict, Wave, WaveId};
use crate::txn::{Decision, Probe, Revisions, Transaction};

/// A wave that shards evaluate.
pub(super) struct EvaluatingWave {
    wave: Arc<Wave>,
    ids: Vec<RequestId>,
    /// The shards that each command touches.
    touched: Vec<ShardSet>,
    /// The shards that have not answered.
    waiting: ShardSet,
    verdicts: Vec<Joint>,
}

/// What is known about one command so far.
enum Joint {
    /// Nothing yet.
    Open,
    /// It is refused.
    Refused(RequestError),
    /// Its path; `writes` if any shard so far says so.
    Decided(Decision),
    /// The facts about a barrier.
    Probed(Probe),
}

/// A wave that is installed and for whose results clients wait.
pub(super) struct PendingWave {
    wave: Arc<Wave>,
    assigned: Arc<[Assigned]>,
    ids: Vec<RequestId>,
    /// The shards that execute each command.
    executed: Vec<ShardSet>,
    /// Whether the client of each command still waits.
    open: Vec<bool>,
    /// The shards that have not answered.
    waiting: ShardSet,
    results: Vec<OpResults>,
}

/// The ordinals of the commands that touch `shard`.
fn part_of(touched: &[ShardSet], shard: ShardId) -> Vec<u32> {
    (0..).zip(touched).filter(|(_, set)| set.contains(shard)).map(|(command, _)| command).collect()
}

fn union(sets: &[ShardSet]) -> ShardSet {
    sets.iter().fold(ShardSet::default(), |all, &set| all.or(set))
}

impl Joint {
    fn merge(&mut self, verdict: Verdict) {
        *self = match (std::mem::replace(self, Self::Open), verdict) {
            // A command that may be refused touches one shard, so the first verdict is the only one.
            (Self::Open, Verdict::Refused(error)) => Self::Refused(error),
            (Self::Open, Verdict::Decided(decision)) => Self::Decided(decision),
            (Self::Decided(mut decision), Verdict::Decided(other)) => {
                assert_eq!(decision.succeeded, other.succeeded, "shards agree on the path");
                decision.writes |= other.writes;
                Self::Decided(decision)
            }
            (Self::Open, Verdict::Probed(probe)) => Self::Probed(probe),
            (Self::Probed(mut probe), Verdict::Probed(other)) => {
                probe.merge(&other);
                Self::Probed(probe)
            }
            _ => unreachable!("shards give verdicts of one kind about a command"),
        };
    }

    fn decide(self, transaction: &Transaction, revisions: Revisions) -> Result<Decision, RequestError> {
        match self {
            // No shard was asked, since it touches no key.
            Self::Open => transaction.decide(&transaction.empty_probe(), revisions),
            Self::Refused(error) => Err(error),
            Self::Decided(decision) => Ok(decision),
            Self::Probed(probe) => transaction.decide(&probe, revisions),
        }
    }
}

impl Sequencer {
    /// Takes the next wave off the entry under way and starts it.
    pub(super) fn wave(&mut self, out: &mut Vec<Output>) {
        let (ids, commands) = self.take_commands();
        self.start_wave(ids, commands, out);
    }

    /// Starts a wave of these commands, which must be taken off the entry.
    pub(super) fn start_wave(
        &mut self,
        ids: Vec<RequestId>,
        commands: Vec<Transaction>,
        out: &mut Vec<Output>,
    ) {
        if commands.is_empty() {
            return;
        }
        let wave = Arc::new(Wave {
            id: WaveId(self.next_wave),
            index: self.current.as_ref().expect("an entry is under way").index(),
            base: self.revision,
            compact_revision: self.compact_revision,
            shards: self.shards,
            barrier: commands[0].is_barrier(self.revision, self.shards),
            commands,
        });
        self.next_wave += 1;
        if let Some(decisions) =
            wave.commands.iter().map(Transaction::unconditional).collect::<Option<Vec<_>>>()
        {
            self.number(&wave, ids, decisions.into_iter().map(Ok), out);
            return;
        }
        let touched: Vec<_> = wave.commands.iter().map(|t| t.shards(self.shards)).collect();
        let waiting = union(&touched);
        for shard in waiting.iter() {
            let task = Evaluate { wave: Arc::clone(&wave), part: part_of(&touched, shard) };
            out.push(Output::ToShard { shard, task: ShardTask::Evaluate(task) });
        }
        let verdicts = wave.commands.iter().map(|_| Joint::Open).collect();
        let evaluating = EvaluatingWave { wave, ids, touched, waiting, verdicts };
        if waiting.is_empty() {
            self.decide(evaluating, out);
        } else {
            self.current.as_mut().expect("an entry is under way").evaluating = Some(evaluating);
        }
    }

    /// A shard's verdicts came.
    pub(super) fn evaluated(
        &mut self,
        shard: ShardId,
        id: WaveId,
        verdicts: Vec<Verdict>,
        out: &mut Vec<Output>,
    ) {
        let entry = self.current.as_mut().expect("the entry of a wave under evaluation is under way");
        let mut evaluating = entry.evaluating.take().expect("a wave is under evaluation");
        assert!(evaluating.wave.id == id && evaluating.waiting.remove(shard), "an answer that was asked for");
        let part = part_of(&evaluating.touched, shard);
        assert_eq!(part.len(), verdicts.len(), "one verdict for each command");
        for (command, verdict) in part.into_iter().zip(verdicts) {
            evaluating.verdicts[command as usize].merge(verdict);
        }
        if evaluating.waiting.is_empty() {
            self.decide(evaluating, out);
        } else {
            entry.evaluating = Some(evaluating);
        }
    }

    fn decide(&mut self, evaluating: EvaluatingWave, out: &mut Vec<Output>) {
        let EvaluatingWave { wave, ids, verdicts, .. } = evaluating;
        let revisions = Revisions { current: wave.base, compact: wave.compact_revision };
        let decisions = wave.commands.iter().zip(verdicts);
        let decisions: Vec<_> = decisions.map(|(t, joint)| joint.decide(t, revisions)).collect();
        self.number(&wave, ids, decisions.into_iter(), out);
    }

    /// Gives the commands their revisions and has them installed.
    fn number(
        &mut self,
        wave: &Arc<Wave>,
        ids: Vec<RequestId>,
        decisions: impl Iterator<Item = Result<Decision, RequestError>>,
        out: &mut Vec<Output>,
    ) {
        let decisions: Vec<_> = decisions.collect();
        for (transaction, decision) in wave.commands.iter().zip(&decisions) {
            if transaction.guarded().is_some() && decision.is_ok() {
                self.end_lease(transaction, out).expect("it was there, and is alone in its wave");
            }
        }
        let mut revision = self.revision;
        let assigned: Arc<[Assigned]> = decisions
            .into_iter()
            .map(|decision| {
                let assigned = Assigned { before: revision, decision };
                revision = assigned.after();
                assigned
            })
            .collect();
        self.revision = revision;
        let is_ours = self.current.as_ref().expect("an entry is under way").is_ours;
        let executed: Vec<_> = wave
            .commands
            .iter()
            .zip(assigned.iter())
            .map(|(transaction, assigned)| match &assigned.decision {
                Ok(decision) if decision.writes || is_ours => {
                    transaction.shards_on_path(decision, self.shards)
                }
                _ => ShardSet::default(),
            })
            .collect();
        let results = vec![OpResults::new(); ids.len()];
        let waiting = union(&executed);
        let open = ids.iter().map(|&id| is_ours && id != INTERNAL).collect();
        let (wave, assigned) = (Arc::clone(wave), assigned);
        let mut pending = PendingWave { wave, assigned, ids, executed, open, waiting, results };
        self.reply_early(&mut pending, out);
        self.send_install(pending, out);
    }

    /// Answers the clients who need to hear nothing from a shard.
    fn reply_early(&mut self, pending: &mut PendingWave, out: &mut Vec<Output>) {
        for command in 0..pending.ids.len() {
            let transaction = &pending.wave.commands[command];
            let refused = pending.assigned[command].decision.is_err();
            if pending.open[command]
                && (refused || pending.executed[command].is_empty() || transaction.is_silent())
            {
                self.reply_to(pending, command, out);
            }
        }
    }

    fn send_install(&mut self, pending: PendingWave, out: &mut Vec<Output>) {
        let want_results = pending.open.contains(&true);
        for shard in pending.waiting.iter() {
            let task = Install {
                wave: Arc::clone(&pending.wave),
                part: part_of(&pending.executed, shard),
                assigned: Arc::clone(&pending.assigned),
                want_results,
            };
            out.push(Output::ToShard { shard, task: ShardTask::Install(task) });
        }
        if want_results {
            self.pending_waves.push_back(pending);
        }
    }

    /// A shard's results came.
    pub(super) fn installed(
        &mut self,
        shard: ShardId,
        id: WaveId,
        results: Vec<OpResults>,
        out: &mut Vec<Output>,
    ) {
        let at = self.pending_waves.binary_search_by_key(&id, |p| p.wave.id).expect("a wave that is pending");
        let pending = &mut self.pending_waves[at];
        assert!(pending.waiting.remove(shard), "an answer that was asked for");
        let part = part_of(&pending.executed, shard);
        assert_eq!(part.len(), results.len(), "results for each command");
        for (command, results) in part.into_iter().zip(results) {
            pending.results[command as usize].extend(results);
        }
        if !pending.waiting.is_empty() {
            return;
        }
        let mut pending = self.pending_waves.remove(at).expect("it was just found");
        for command in 0..pending.ids.len() {
            if pending.open[command] {
                self.reply_to(&mut pending, command, out);
            }
        }
    }

    fn reply_to(&mut self, pending: &mut PendingWave, command: usize, out: &mut Vec<Output>) {
        pending.open[command] = false;
        let Assigned { before, decision } = &pending.assigned[command];
        let results = std::mem::take(&mut pending.results[command]);
        let result = match decision {
            Ok(decision) => Ok(Box::new(pending.wave.commands[command].respond(decision, *before, results))),
            Err(error) => Err(*error),
        };
        let index: LogIndex = pending.wave.index;
        self.reply(index, Output::Reply { id: pending.ids[command], result }, out);
    }
}
