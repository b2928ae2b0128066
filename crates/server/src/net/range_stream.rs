//! One `RangeStream` call: a long range that is sent in chunks, all of one revision. Source: etcd 3.7.
//!
//! The stream never holds more than the chunk that is being read. Nothing here sends or asks shards.

use std::sync::Arc;

use bytes::Bytes;
use windlass_api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use windlass_replica::answer::RangeAnswer;
use windlass_replica::list::is_plain;
use windlass_replica::reading::ReadRequest;
use windlass_rpc::CallId;

/// Keys of the first chunk; later ones double or halve towards the byte target.
const FIRST_CHUNK_KEYS: i64 = 10;

/// Most keys of one chunk, however small they are.
const CHUNK_KEYS_MAX: i64 = 1 << 16;

/// The state of one call between two chunks.
#[derive(Debug)]
pub struct RangeStream {
    /// Who is served.
    pub call: CallId,
    request: RangeRequest,
    /// Total of keys in the range, known with the first chunk.
    count: Option<i64>,
    /// The revision that the first chunk fixed, where the request names none: it is what the client is told at the end,
    /// for a list and a watch that follows it must leave nothing out between them.
    fixed: Option<i64>,
    /// Keys sent.
    sent: i64,
    chunk_keys: i64,
    chunk_bytes_target: usize,
}

/// What to do after a chunk.
#[derive(Debug)]
pub enum Step {
    /// Read the next one.
    More,
    /// End.
    Last,
}

impl RangeStream {
    /// A stream for a checked request; `None` if it asks for an order or filter that a stream cannot have.
    #[must_use]
    pub fn new(call: CallId, request: RangeRequest, chunk_bytes_target: usize) -> Option<Self> {
        is_plain(&request).then_some(Self {
            call,
            request,
            count: None,
            fixed: None,
            sent: 0,
            chunk_keys: FIRST_CHUNK_KEYS,
            chunk_bytes_target,
        })
    }

    /// Whether the client lets this member answer from what it has.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        self.request.serializable
    }

    /// The read that gives the next chunk.
    #[must_use]
    pub fn next_read(&self) -> ReadRequest {
        let mut range = self.request.clone();
        if !range.count_only {
            range.limit = match self.remaining() {
                Some(remaining) => remaining.min(self.chunk_keys),
                None => self.chunk_keys,
            };
        }
        ReadRequest::Range(Arc::new(range))
    }

    /// Takes the chunk that [`next_read`](Self::next_read) gave, and appends its message; `header` is the rest of the last
    /// one's header.
    pub fn advance(&mut self, chunk: &RangeAnswer, header: ResponseHeader, out: &mut Vec<u8>) -> Step {
        let list = chunk.list().expect("a stream has no order of its own");
        let totals = list.totals();
        let count = *self.count.get_or_insert(totals.count);
        self.sent += i64::try_from(list.taken()).expect("bounded by the chunk's limit");
        let limit_reached = self.remaining().is_some_and(|left| left == 0);
        if !totals.more || limit_reached {
            let revision = self.fixed.unwrap_or(chunk.revision().0);
            let header = Some(ResponseHeader { revision, ..header });
            list.encode_chunk(&RangeResponse { header, count, ..totals }, out);
            return Step::Last;
        }
        if self.request.revision <= 0 {
            // Later chunks must see what the first one saw.
            self.request.revision = chunk.revision().0;
            self.fixed = Some(chunk.revision().0);
        }
        self.adapt(list.bytes());
        let last_key =
            list.encode_chunk(&RangeResponse::default(), out).expect("more means that there was one");
        self.request.key = Bytes::from([last_key, &[0]].concat());
        Step::More
    }

    /// Keys that the request's limit still lets through; `None` without a limit.
    fn remaining(&self) -> Option<i64> {
        (self.request.limit > 0).then(|| self.request.limit - self.sent)
    }

    fn adapt(&mut self, bytes: usize) {
        if bytes > self.chunk_bytes_target {
            self.chunk_keys = (self.chunk_keys / 2).max(1);
        } else if bytes * 2 <= self.chunk_bytes_target {
            self.chunk_keys = (self.chunk_keys * 2).min(CHUNK_KEYS_MAX);
        }
    }
}
