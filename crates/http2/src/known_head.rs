//! The request head that a client sends again and again, kept once for all streams that have it.
//!
//! While a head arrives it is compared field by field with the known one; only where it departs is it copied. So a head
//! that was seen before costs no memory traffic and no second check, and its streams share one copy.

use crate::Headers;
use crate::block::Block;

/// The known head of one connection.
#[derive(Default)]
pub(crate) struct KnownHead {
    block: Block,
    /// How large it says that the body is.
    body_bytes: Option<u64>,
    /// Streams that have this head. It changes only when there are none.
    sharers: usize,
    /// How much of it the head that is arriving has matched, in bytes; `None` once that departed.
    matched: Option<usize>,
}

impl KnownHead {
    /// A head begins to arrive.
    pub fn begin(&mut self) {
        self.matched = Some(0);
    }

    /// Whether a field is the next one of the known head, and all before it were too.
    pub fn take(&mut self, name: &[u8], value: &[u8]) -> bool {
        let next = self.matched.and_then(|at| self.block.match_at(at, name, value));
        if next.is_some() {
            self.matched = next;
        }
        next.is_some()
    }

    /// The arriving head departs: it is given what it had matched, once.
    pub fn depart(&mut self, into: &mut Block) {
        if let Some(matched) = self.matched.take() {
            into.extend_from(&self.block, matched);
        }
    }

    /// The arriving head has ended. True if it is the known head, which its stream then shares.
    pub fn share(&mut self) -> bool {
        let same = self.matched.is_some_and(|matched| matched > 0 && matched == self.block.len());
        self.sharers += usize::from(same);
        same
    }

    /// Makes a valid `head` the known one, which its stream then shares. False, and `head` as it was, while streams
    /// have the present one.
    pub fn adopt(&mut self, head: &mut Block, body_bytes: Option<u64>) -> bool {
        if self.sharers > 0 {
            return false;
        }
        self.body_bytes = body_bytes;
        std::mem::swap(&mut self.block, head);
        self.sharers = 1;
        true
    }

    /// A stream that shared the head is gone.
    pub fn unshare(&mut self) {
        assert!(self.sharers > 0, "only sharers stop sharing");
        self.sharers -= 1;
    }

    /// How large the known head says that the body is.
    pub fn body_bytes(&self) -> Option<u64> {
        self.body_bytes
    }

    /// The known head.
    pub fn headers(&self) -> Headers<'_> {
        self.block.headers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Fields = Vec<(Vec<u8>, Vec<u8>)>;

    /// Feeds a head as a session does; returns what its stream then has, and whether it is shared.
    fn arrive(known: &mut KnownHead, fields: &[(u8, u8)]) -> (Fields, bool) {
        let mut own = Block::default();
        known.begin();
        for (name, value) in fields {
            if !known.take(&[*name], &[*value]) {
                known.depart(&mut own);
                own.push(&[*name], &[*value]);
            }
        }
        let mut shared = known.share();
        if !shared {
            known.depart(&mut own);
            shared = known.adopt(&mut own, None);
        }
        let headers = if shared { known.headers() } else { own.headers() };
        (headers.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect(), shared)
    }

    proptest! {
        #[test]
        fn a_stream_always_has_its_own_fields(
            heads in proptest::collection::vec(proptest::collection::vec((0u8..2, 0u8..2), 0..5), 1..20),
            leave: Vec<bool>,
        ) {
            let mut known = KnownHead::default();
            let mut leave = leave.into_iter().chain(std::iter::repeat(true));
            for head in heads {
                let (got, shared) = arrive(&mut known, &head);
                let want: Vec<_> = head.iter().map(|(n, v)| (vec![*n], vec![*v])).collect();
                prop_assert_eq!(got, want);
                if shared && leave.next() == Some(true) {
                    known.unshare();
                }
            }
        }
    }

    #[test]
    fn the_known_head_changes_only_when_nobody_has_it() {
        let mut known = KnownHead::default();
        assert!(arrive(&mut known, &[(1, 1)]).1);
        assert!(arrive(&mut known, &[(1, 1)]).1);
        assert!(!arrive(&mut known, &[(2, 2)]).1);
        known.unshare();
        assert!(!arrive(&mut known, &[(2, 2)]).1);
        known.unshare();
        assert!(arrive(&mut known, &[(2, 2)]).1);
        assert_eq!(known.headers().iter().next(), Some((&[2u8][..], &[2u8][..])));
    }
}
