//! Commands of this member's clients that are on their way into the log: proposed here, or sent to the leader.
//!
//! A leader may fail with them. Each is meant for one term alone, and only the leader of that term may propose it. So once
//! an entry of a later term is applied here, whatever came before it in no entry never will: its clients are told so, rather
//! than wait for their time to be over.

use std::collections::VecDeque;

use bytes::Bytes;
use windlass_records::batch::Batch;
use windlass_records::log::Entry;
use windlass_types::{RequestId, Term};

/// Most bytes of batches. At the bound the oldest is forgotten: its clients are told only if it is applied, and hear of a
/// timeout otherwise. It is reached only where a connection loses much while its leader leads on.
const UNSETTLED_BYTES_MAX: usize = 64 << 20;

/// See the module.
#[derive(Default)]
pub(super) struct Unsettled {
    /// Encoded batches and the terms that they are meant for, in order.
    batches: VecDeque<(Term, Bytes)>,
    bytes: usize,
}

impl Unsettled {
    /// A batch is proposed or sent.
    pub fn push(&mut self, term: Term, batch: Bytes) {
        self.bytes += batch.len();
        self.batches.push_back((term, batch));
        while self.bytes > UNSETTLED_BYTES_MAX && self.batches.len() > 1 {
            self.remove(0);
        }
    }

    /// This entry is applied, with this batch. Returns the batches that are in no entry and never will be.
    pub fn applied(&mut self, entry: &Entry, batch: &Bytes) -> Vec<Batch> {
        if self.batches.is_empty() {
            return Vec::new();
        }
        self.forget(batch);
        let mut void = Vec::new();
        while self.batches.front().is_some_and(|(term, _)| *term < entry.term) {
            void.push(self.remove(0));
        }
        void.into_iter().map(|data| Batch::parse(data).expect("this core encoded it")).collect()
    }

    /// This batch is settled.
    pub fn forget(&mut self, batch: &Bytes) {
        if let Some(at) = self.batches.iter().position(|(_, known)| is_same(known, batch)) {
            self.remove(at);
        }
    }

    /// Somebody says that the batch of exactly these requests is in no log. False if it was settled before.
    pub fn refused(&mut self, ids: &[RequestId]) -> bool {
        let is_it = |data: &Bytes| {
            let batch = Batch::parse(data.clone()).expect("this core encoded it");
            batch.commands().map(|command| command.id).eq(ids.iter().copied())
        };
        let at = self.batches.iter().position(|(_, data)| is_it(data));
        at.map(|at| self.remove(at)).is_some()
    }

    fn remove(&mut self, at: usize) -> Bytes {
        let (_, batch) = self.batches.remove(at).expect("it is there");
        self.bytes -= batch.len();
        batch
    }
}

/// Whether two batches are one: they hold the ids of their requests, which no two share. Mostly they lie in one place.
fn is_same(a: &Bytes, b: &Bytes) -> bool {
    a.len() == b.len() && (a.as_ptr() == b.as_ptr() || a == b)
}

#[cfg(test)]
mod tests {
    use windlass_records::batch::{BatchBuilder, CommandKind, Origin};
    use windlass_records::log::EntryKind;
    use windlass_types::{LogIndex, MemberId};

    use super::*;

    fn batch(ids: &[u64]) -> Bytes {
        let mut builder = BatchBuilder::default();
        ids.iter().for_each(|&id| builder.push(RequestId(id), CommandKind::Put, b"x"));
        builder.finish(Origin { member: MemberId(1), incarnation: 1 })
    }

    fn applied(unsettled: &mut Unsettled, term: u64, batch: &Bytes) -> Vec<Vec<u64>> {
        let data = batch.clone();
        let entry = Entry { term: Term(term), index: LogIndex(1), kind: EntryKind::Normal, data };
        let ids = |batch: &Batch| batch.commands().map(|command| command.id.0).collect();
        unsettled.applied(&entry, batch).iter().map(ids).collect()
    }

    #[test]
    fn what_is_in_no_entry_before_one_of_a_later_term_is_void() {
        let mut unsettled = Unsettled::default();
        let (first, second, third, later) = (batch(&[1, 2]), batch(&[3]), batch(&[4, 5]), batch(&[6]));
        [&first, &second, &third].into_iter().for_each(|batch| unsettled.push(Term(2), batch.clone()));
        unsettled.push(Term(3), later.clone());
        assert!(applied(&mut unsettled, 2, &first).is_empty());
        assert!(applied(&mut unsettled, 2, &Bytes::new()).is_empty(), "the others may still come");
        assert!(unsettled.refused(&[RequestId(3)]) && !unsettled.refused(&[RequestId(3)]));
        assert_eq!(applied(&mut unsettled, 3, &Bytes::new()), [vec![4, 5]]);
        assert!(applied(&mut unsettled, 3, &later).is_empty());
        assert!(applied(&mut unsettled, 4, &Bytes::new()).is_empty() && unsettled.bytes == 0);
    }

    #[test]
    fn the_oldest_is_forgotten_at_the_bound() {
        let mut unsettled = Unsettled::default();
        let mut builder = BatchBuilder::default();
        builder.push(RequestId(1), CommandKind::Put, &vec![0; UNSETTLED_BYTES_MAX]);
        unsettled.push(Term(2), builder.finish(Origin { member: MemberId(1), incarnation: 1 }));
        assert_eq!(unsettled.batches.len(), 1, "one of any size");
        unsettled.push(Term(2), batch(&[2]));
        assert_eq!(applied(&mut unsettled, 3, &Bytes::new()), [vec![2]]);
    }
}
