//! Marks: places in the log at which every member adds up what its shards wrote since the one before.

use windlass_mvcc::HashSum;
use windlass_types::{LogIndex, ShardId};

use super::{Output, Sequencer};
use crate::shard_set::ShardSet;
use crate::task::ShardTask;

/// A mark whose sums are coming in.
pub(super) struct PendingMark {
    index: LogIndex,
    waiting: ShardSet,
    sum: HashSum,
}

impl Sequencer {
    /// The next command of the entry under way is a mark: every shard is asked for its sum.
    pub(super) fn mark(&mut self, out: &mut Vec<Output>) {
        let entry = self.current.as_mut().expect("an entry is under way");
        entry.rest.pop().expect("its next command is a mark");
        let index = entry.index();
        let all = ShardSet::all(self.shards);
        out.extend(all.iter().map(|shard| Output::ToShard { shard, task: ShardTask::Mark(index) }));
        // What was written before the first mark of this run is not known whole.
        let is_whole = std::mem::replace(&mut self.has_marked, true);
        if is_whole {
            self.pending_marks.push_back(PendingMark { index, waiting: all, sum: HashSum::default() });
        }
    }

    /// A shard's sum came.
    pub(super) fn marked(&mut self, shard: ShardId, index: LogIndex, sum: HashSum, out: &mut Vec<Output>) {
        // The first mark of a run, or the first of two in one entry, is nobody's.
        let Some(at) = self.pending_marks.iter().position(|p| p.index == index && p.waiting.contains(shard))
        else {
            return;
        };
        let pending = &mut self.pending_marks[at];
        pending.waiting.remove(shard);
        pending.sum = pending.sum.and(sum);
        if pending.waiting.is_empty() {
            let PendingMark { index, sum, .. } = self.pending_marks.remove(at).expect("it was just found");
            out.push(Output::Marked { index, sum });
        }
    }
}
