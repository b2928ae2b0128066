//! The table of a session's streams. A row and its buffers are used again for later streams, so that in steady state a
//! stream costs no allocation.

use crate::ErrorCode;
use crate::block::{Block, empty};
use crate::trailers::Trailers;

/// Names one stream of one session. It stays safe to use after the stream is gone: it then finds nothing, because
/// stream numbers are never used twice on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamRef {
    pub(crate) slot: u32,
    pub(crate) id: i32,
}

impl StreamRef {
    /// Names no stream of any session.
    pub const NONE: Self = Self { slot: u32::MAX, id: 0 };

    /// The stream's number on the wire.
    #[must_use]
    pub fn id(self) -> u32 {
        self.id.unsigned_abs()
    }

    /// The stream's row: a small number that no other stream of the session has while this one is there, good as an
    /// index into a table beside the session.
    #[must_use]
    pub fn row(self) -> usize {
        self.slot as usize
    }
}

/// What is new on a stream since the last time it was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The stream.
    pub stream: StreamRef,
    /// Its header block arrived whole.
    pub head: bool,
    /// There are body bytes that were not there before.
    pub data: bool,
    /// The peer has ended its side.
    pub end: bool,
    /// The body passed a bound. What came after is dropped; the stream should be failed.
    pub overflow: bool,
    /// Bytes queued to send went below [`crate::Settings::hold_queued_bytes`] after having been above.
    pub writable: bool,
    /// The stream is gone. Its received bytes can still be read until `next_ready` or `recv` is called again.
    pub closed: Option<ErrorCode>,
}

/// Buffers larger than this are given back when their stream ends.
const KEEP_BYTES: usize = 16 << 10;

/// News of a stream that nobody has taken yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub head: bool,
    pub data: bool,
    pub end: bool,
    pub overflow: bool,
    pub writable: bool,
    pub closed: Option<ErrorCode>,
}

/// One stream. All fields are meaningless while the row is free (`id` 0).
#[derive(Default)]
pub(crate) struct Row {
    pub id: i32,
    pub news: News,
    /// In the list of rows with news.
    pub listed: bool,
    /// The first block of fields received: a request, or a response.
    pub head: Block,
    /// The head is the connection's known one, and `head` is empty.
    pub shares_head: bool,
    /// The block received after the body.
    pub trailers: Block,
    /// The head that was received is an informational response; the real one is still to come.
    pub informational: bool,
    /// Received and not yet taken.
    pub body: Vec<u8>,
    /// Received of the body altogether, and how much the head said there would be.
    pub body_bytes: u64,
    pub body_bytes_declared: Option<u64>,
    /// The body passed its bound: drop the rest.
    pub overflowed: bool,
    /// The peer has ended its side.
    pub remote_ended: bool,
    /// Received bytes for which the peer has not got credit back.
    pub uncredited: usize,
    /// Credit is withheld until the output queue is short again.
    pub held: bool,
    /// To be sent, from `sent` on.
    pub queue: Vec<u8>,
    pub sent: usize,
    /// Its header block was told to the owner.
    pub known: bool,
    /// nghttp2 has closed it; the row only waits for its news to be taken.
    pub closed: bool,
    /// Headers were handed to nghttp2.
    pub answered: bool,
    /// What ends this side once the queue is sent.
    pub ending: Option<Trailers>,
    /// nghttp2 asked for data when there was none: it must be told when there is.
    pub deferred: bool,
}

impl Row {
    /// Bytes queued and not yet handed to the connection.
    pub fn queued(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// Bytes received and kept.
    pub fn held_bytes(&self) -> usize {
        self.head.len() + self.trailers.len() + self.body.len()
    }

    /// This side has said all it will say.
    pub fn is_ended(&self) -> bool {
        self.ending.is_some()
    }

    /// Appends to what is to be sent, and says how much. Bytes that were sent already are dropped when they are the
    /// larger part.
    pub fn enqueue(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> usize {
        if self.sent > KEEP_BYTES && self.sent > self.queued() {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
        let before = self.queue.len();
        fill(&mut self.queue);
        self.queue.len() - before
    }

    fn reset(&mut self) {
        let Self { mut head, mut trailers, mut body, mut queue, .. } = std::mem::take(self);
        head.clear(KEEP_BYTES);
        trailers.clear(KEEP_BYTES);
        for buffer in [&mut body, &mut queue] {
            empty(buffer, KEEP_BYTES);
        }
        *self = Self { head, trailers, body, queue, ..Self::default() };
    }
}

/// All streams of a session and the order in which they got news.
#[derive(Default)]
pub(crate) struct Slab {
    rows: Vec<Row>,
    free: Vec<u32>,
    /// Rows with news, oldest first, from `next` on.
    ready: Vec<u32>,
    next: usize,
    /// The row whose closing was reported last: freed before anything else is reported.
    leaving: Option<u32>,
}

impl Slab {
    /// A row for stream `id`.
    pub fn insert(&mut self, id: i32) -> u32 {
        assert!(id > 0, "stream numbers are positive");
        let slot = self.free.pop().unwrap_or_else(|| {
            self.rows.push(Row::default());
            u32::try_from(self.rows.len() - 1).expect("streams are bounded by u32")
        });
        self.rows[slot as usize].id = id;
        slot
    }

    /// The row that nghttp2 knows by its slot.
    pub fn row(&mut self, slot: u32) -> &mut Row {
        &mut self.rows[slot as usize]
    }

    /// As [`Self::row`], to look at it.
    pub fn peek(&self, slot: u32) -> &Row {
        &self.rows[slot as usize]
    }

    /// The row whose closing was reported last.
    pub fn leaving(&self) -> Option<u32> {
        self.leaving
    }

    /// The row of `stream`, if it is still there.
    pub fn get(&self, stream: StreamRef) -> Option<&Row> {
        self.rows.get(stream.slot as usize).filter(|row| row.id == stream.id)
    }

    /// As [`Self::get`], to change it.
    pub fn get_mut(&mut self, stream: StreamRef) -> Option<&mut Row> {
        self.rows.get_mut(stream.slot as usize).filter(|row| row.id == stream.id)
    }

    /// The stream with number `id`, by search: for rare events only.
    pub fn find(&self, id: i32) -> Option<u32> {
        self.rows.iter().position(|row| row.id == id).and_then(|slot| u32::try_from(slot).ok())
    }

    /// The streams there are, in no order.
    pub fn streams(&self) -> impl Iterator<Item = StreamRef> {
        (0u32..)
            .zip(&self.rows)
            .filter(|(_, row)| row.id != 0)
            .map(|(slot, row)| StreamRef { slot, id: row.id })
    }

    /// Number of streams there are.
    pub fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Records news of a row.
    pub fn tell(&mut self, slot: u32, change: impl FnOnce(&mut News)) {
        let row = &mut self.rows[slot as usize];
        change(&mut row.news);
        if !row.listed {
            row.listed = true;
            self.ready.push(slot);
        }
    }

    /// The next stream with news, which are thereby taken.
    pub fn next_ready(&mut self) -> Option<Ready> {
        assert!(self.leaving.is_none(), "the row reported last was freed");
        let Some(&slot) = self.ready.get(self.next) else {
            self.ready.clear();
            self.next = 0;
            return None;
        };
        self.next += 1;
        let row = &mut self.rows[slot as usize];
        row.listed = false;
        let News { head, data, end, overflow, writable, closed } = std::mem::take(&mut row.news);
        if closed.is_some() {
            self.leaving = Some(slot);
        }
        let stream = StreamRef { slot, id: row.id };
        Some(Ready { stream, head, data, end, overflow, writable, closed })
    }

    /// Whether a row has news.
    pub fn has_news(&self) -> bool {
        self.next < self.ready.len()
    }

    /// Frees the row whose closing was reported.
    pub fn free_leaving(&mut self) {
        if let Some(slot) = self.leaving.take() {
            self.remove(slot);
        }
    }

    /// Frees a row that is not listed.
    pub fn remove(&mut self, slot: u32) {
        let row = &mut self.rows[slot as usize];
        assert!(row.id != 0 && !row.listed, "only a row in use and without news can be freed");
        row.reset();
        self.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_ref_outlives_its_stream() {
        let mut slab = Slab::default();
        let slot = slab.insert(1);
        let old = StreamRef { slot, id: 1 };
        slab.row(slot).body.extend_from_slice(b"secret");
        slab.tell(slot, |news| news.closed = Some(ErrorCode::CANCEL));
        assert_eq!(slab.next_ready().map(|r| (r.stream, r.closed)), Some((old, Some(ErrorCode::CANCEL))));
        assert!(slab.get(old).is_some(), "readable until the next call");
        slab.free_leaving();
        assert_eq!(slab.next_ready(), None);
        assert!(slab.get(old).is_none());
        let new = StreamRef { slot: slab.insert(3), id: 3 };
        assert_eq!(new.slot, old.slot);
        assert!(slab.get(old).is_none());
        assert!(slab.get(new).is_some_and(|row| row.body.is_empty()));
    }

    #[test]
    fn news_of_a_stream_are_told_together_and_in_order_of_streams() {
        let mut slab = Slab::default();
        let (a, b) = (slab.insert(1), slab.insert(3));
        slab.tell(a, |news| news.head = true);
        slab.tell(b, |news| news.head = true);
        slab.tell(a, |news| news.end = true);
        let told: Vec<_> =
            std::iter::from_fn(|| slab.next_ready()).map(|r| (r.stream.id(), r.head, r.end)).collect();
        assert_eq!(told, [(1, true, true), (3, true, false)]);
        assert_eq!(slab.len(), 2);
    }
}
