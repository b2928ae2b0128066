//! A shard's part in comparing members ([`damage`](crate::damage)): what it hands in at a mark.
//!
//! What was written since the last mark is known at once. What the shard *holds* depends on how far compaction has come, and
//! is compared as if the newest compaction had ended: the answer waits for that. The next mark or compaction ends the wait
//! with nothing to compare, so at most one mark is open.

use windlass_mvcc::{HashSum, Shard};
use windlass_types::LogIndex;

use crate::damage::Sums;
use crate::task::ShardAnswer;

/// What is kept for it.
pub(super) struct Marks {
    /// The shard's written sum at the last mark.
    marked: HashSum,
    open: Option<Open>,
}

/// A mark whose answer waits for a compaction.
struct Open {
    index: LogIndex,
    since_last: HashSum,
    /// Of everything that was written up to the mark, and of the system records then.
    written: HashSum,
    records: HashSum,
}

impl Open {
    fn answer(self, held: Option<HashSum>) -> ShardAnswer {
        let sums = Sums { written: Some(self.since_last), held };
        ShardAnswer::Marked { index: self.index, sums }
    }
}

impl Marks {
    /// Of a shard as it was loaded.
    pub fn new(shard: &Shard) -> Self {
        Self { marked: shard.written_sum(), open: None }
    }

    /// The log has a mark here. An earlier one that is still open is answered without what the shard held then.
    pub fn mark(&mut self, index: LogIndex, shard: &Shard, records: HashSum) -> Option<ShardAnswer> {
        let written = shard.written_sum();
        let since_last = written.without(std::mem::replace(&mut self.marked, written));
        let before = self.open.replace(Open { index, since_last, written, records });
        before.map(|open| open.answer(None))
    }

    /// A compaction begins, which may take away more than the one that the open mark waits for.
    pub fn compaction_begins(&mut self) -> Option<ShardAnswer> {
        self.open.take().map(|open| open.answer(None))
    }

    /// No compaction is under way.
    pub fn at_rest(&mut self, shard: &Shard) -> Option<ShardAnswer> {
        self.open.take().map(|open| {
            let held = open.written.without(shard.forgotten_sum()).and(open.records);
            open.answer(Some(held))
        })
    }
}

#[cfg(test)]
mod tests {
    use windlass_mvcc::{HashScan, Stamp};
    use windlass_types::{LeaseId, Revision};

    use super::*;

    const KEY: &[u8] = b"k";

    fn put(shard: &mut Shard, revision: i64, value: &[u8]) {
        let stamp = Stamp { index: LogIndex(revision as u64), revision: Revision(revision), sub: 0 };
        shard.put(stamp, KEY, value, LeaseId::ZERO);
    }

    fn held(answer: Option<ShardAnswer>) -> Option<HashSum> {
        match answer.expect("it is answered") {
            ShardAnswer::Marked { sums, .. } => sums.held,
            other => panic!("{other:?} to a mark"),
        }
    }

    fn scan(shard: &Shard, revision: i64, compact_revision: i64) -> HashSum {
        let mut scan = HashScan::new(Revision(revision), Revision(compact_revision));
        scan.step(shard, usize::MAX).expect("in one step")
    }

    #[test]
    fn what_is_held_is_told_as_of_the_mark_when_compaction_ends() {
        let mut shard = Shard::default();
        let mut marks = Marks::new(&shard);
        (2..6).for_each(|revision| put(&mut shard, revision, b"v"));
        shard.compact(Revision(4));
        let records = HashSum::of_named(b"name", b"value");
        assert!(marks.mark(LogIndex(7), &shard, records).is_none());
        let expected = scan(&shard, 5, 4).and(records);
        put(&mut shard, 6, b"later");
        assert!(shard.compact_step(100));
        assert_eq!(held(marks.at_rest(&shard)), Some(expected));
        assert!(marks.at_rest(&shard).is_none());
    }

    #[test]
    fn a_mark_that_is_overtaken_tells_nothing_of_what_is_held() {
        let mut shard = Shard::default();
        let mut marks = Marks::new(&shard);
        put(&mut shard, 2, b"v");
        assert!(marks.mark(LogIndex(3), &shard, HashSum::default()).is_none());
        put(&mut shard, 3, b"v");
        let Some(ShardAnswer::Marked { index, sums }) = marks.mark(LogIndex(5), &shard, HashSum::default())
        else {
            panic!("the first is answered")
        };
        assert_eq!((index, sums.held), (LogIndex(3), None));
        assert!(sums.written.is_some());
        assert_eq!(held(marks.compaction_begins()), None);
    }

    #[test]
    fn another_value_of_the_same_key_is_another_sum() {
        let sums = [b"a", b"b"].map(|value| {
            let mut shard = Shard::default();
            put(&mut shard, 2, value);
            let mut marks = Marks::new(&shard);
            // Nothing is written after the start, and yet it shows.
            assert!(marks.mark(LogIndex(3), &shard, HashSum::default()).is_none());
            held(marks.at_rest(&shard))
        });
        assert_ne!(sums[0], sums[1]);
    }
}
