//! Marks: places in the log at which every member adds up what its shards wrote since the one before, and what they hold.

use windlass_mvcc::HashSum;
use windlass_types::{LogIndex, ShardId};

use super::{News, Output, Sequencer};
use crate::damage::Sums;
use crate::shard_set::ShardSet;
use crate::task::ShardTask;

/// A mark whose sums are coming in.
pub(super) struct PendingMark {
    index: LogIndex,
    waiting: ShardSet,
    sums: Sums,
}

impl Sequencer {
    /// The next command of the entry under way is a mark: every shard is asked for its sums.
    pub(super) fn mark(&mut self, out: &mut Vec<Output>) {
        let entry = self.current.as_mut().expect("an entry is under way");
        entry.rest.pop().expect("its next command is a mark");
        let index = entry.index();
        let all = ShardSet::all(self.shards);
        out.extend(all.iter().map(|shard| Output::ToShard { shard, task: ShardTask::Mark(index) }));
        // What was written before the first mark of this run is not known whole.
        let is_whole = std::mem::replace(&mut self.has_marked, true);
        let nothing = HashSum::default();
        let sums = Sums { written: is_whole.then_some(nothing), held: Some(nothing) };
        self.pending_marks.push_back(PendingMark { index, waiting: all, sums });
    }

    /// A shard's sums came.
    pub(super) fn marked(&mut self, shard: ShardId, index: LogIndex, sums: Sums, out: &mut Vec<Output>) {
        // A shard answers its marks in order, so of two in one entry the first that waits is meant.
        let at = self.pending_marks.iter().position(|p| p.index == index && p.waiting.contains(shard));
        let pending = &mut self.pending_marks[at.expect("each shard answers each mark once")];
        pending.waiting.remove(shard);
        pending.sums = pending.sums.and(sums);
        if pending.waiting.is_empty() {
            let PendingMark { index, sums, .. } =
                self.pending_marks.remove(at.expect("it was just found")).expect("it was just found");
            out.push(Output::News(News::Marked { index, sums }));
        }
    }
}
