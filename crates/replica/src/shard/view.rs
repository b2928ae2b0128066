//! A shard's keys as other threads may look at them, so that a short read needs no hop to the shard's thread.
//!
//! Only the shard's own thread writes. Others never wait for it: who finds it writing asks it instead. The shard may have
//! to wait for one look, which is as long as the reads that [`Query::is_short`](crate::task::Query::is_short) allows, and
//! no longer than it takes to make an answer of one pair.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use windlass_mvcc::Shard;
use windlass_types::LogIndex;

use crate::read::read;
use crate::task::{ReadAnswer, ReadTask};

/// What can be looked at.
pub(super) struct Held {
    /// The keys.
    pub shard: Shard,
    /// They hold every effect up to here.
    pub watermark: LogIndex,
}

/// A look at one shard from any thread. Clones look at the same shard.
#[derive(Clone)]
pub struct View(Arc<RwLock<Held>>);

impl View {
    pub(crate) fn new(shard: Shard, watermark: LogIndex) -> Self {
        Self(Arc::new(RwLock::new(Held { shard, watermark })))
    }

    /// For the shard's own thread alone.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.0.write()
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.0.read()
    }

    pub(super) fn shard(&self) -> impl Deref<Target = Shard> + '_ {
        RwLockReadGuard::map(self.0.read(), |held| &held.shard)
    }

    /// Answers a read here and now. `None` if the shard must be asked: the read is not short, the shard is not complete up
    /// to its index, or it is being written at this moment.
    #[must_use]
    pub fn try_read(&self, task: &ReadTask) -> Option<ReadAnswer> {
        if !task.query.is_short() {
            return None;
        }
        Some(read(&*self.look(task.min_index)?, task))
    }

    /// The shard here and now, for as long as what is returned lives, which the shard may have to wait for. `None` if the
    /// shard is not complete up to `index`, or is being written at this moment.
    #[must_use]
    pub fn look(&self, index: LogIndex) -> Option<impl Deref<Target = Shard> + '_> {
        let held = self.0.try_read().filter(|held| index <= held.watermark)?;
        Some(RwLockReadGuard::map(held, |held| &held.shard))
    }
}

#[cfg(test)]
mod tests {
    use windlass_api::etcdserverpb::RangeRequest;
    use windlass_mvcc::Stamp;
    use windlass_types::{LeaseId, Revision};

    use super::*;
    use crate::answer::RangeAnswer;
    use crate::task::Query;

    const WATERMARK: LogIndex = LogIndex(7);

    fn view() -> View {
        let mut shard = Shard::default();
        for (revision, value) in [(2, "old"), (3, "new")] {
            let stamp = Stamp { index: WATERMARK, revision: Revision(revision), sub: 0 };
            shard.put(stamp, b"key", value.as_bytes(), LeaseId::ZERO);
        }
        View::new(shard, WATERMARK)
    }

    fn get(min_index: LogIndex, revision: i64, range_end: &'static str) -> ReadTask {
        let range =
            RangeRequest { key: "key".into(), range_end: range_end.into(), ..RangeRequest::default() };
        ReadTask { min_index, revision: Revision(revision), query: Query::Range(range.into()) }
    }

    fn value(answer: Option<ReadAnswer>) -> Option<Vec<u8>> {
        match answer {
            Some(ReadAnswer::Range(found)) => {
                let range = RangeRequest::default();
                let response = RangeAnswer::new(&range, vec![found], Revision::ZERO).to_response();
                response.kvs.first().map(|kv| kv.value.to_vec())
            }
            _ => None,
        }
    }

    #[test]
    fn a_point_is_read_as_of_its_revision() {
        let view = view();
        assert_eq!(value(view.try_read(&get(WATERMARK, 3, ""))).as_deref(), Some(&b"new"[..]));
        assert_eq!(value(view.try_read(&get(LogIndex(1), 2, ""))).as_deref(), Some(&b"old"[..]));
        view.write().shard.compact(Revision(3));
        assert_eq!(view.try_read(&get(WATERMARK, 2, "")), Some(ReadAnswer::Compacted));
    }

    #[test]
    fn what_must_wait_or_may_take_long_is_left_to_the_shard() {
        let view = view();
        assert_eq!(view.try_read(&get(LogIndex(8), 3, "")), None, "the shard is not complete up to there");
        assert_eq!(view.try_read(&get(WATERMARK, 3, "kez")), None, "a range");
        let writing = view.write();
        assert_eq!(view.try_read(&get(WATERMARK, 3, "")), None, "the shard writes");
        drop(writing);
        assert!(view.try_read(&get(WATERMARK, 3, "")).is_some());
    }
}
