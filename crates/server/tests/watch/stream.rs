//! One watch stream, as a client has it.

use std::collections::VecDeque;

use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use windlass_api::method::watch;
use windlass_http2::StreamRef;

use crate::raw::{Answer, Raw, messages};

/// A stream on a connection of its own.
pub struct WatchStream {
    raw: Raw,
    stream: StreamRef,
    /// Bytes of the body that were taken over.
    taken_bytes: usize,
    /// Responses that were not handed out.
    ready: VecDeque<WatchResponse>,
}

impl WatchStream {
    /// Opens a stream; `headers` beside the usual ones.
    pub fn open(address: &str, headers: &[(&str, &str)]) -> Self {
        let mut raw = Raw::connect(address);
        let stream = raw.request(watch::WATCH, headers, &[], true);
        Self { raw, stream, taken_bytes: 0, ready: VecDeque::new() }
    }

    /// Sends a request.
    pub fn request(&mut self, union: RequestUnion) {
        self.raw.send(self.stream, &WatchRequest { request_union: Some(union) });
    }

    /// Asks for a watch, and waits for the response.
    pub fn create(&mut self, request: WatchCreateRequest) -> WatchResponse {
        self.request(RequestUnion::CreateRequest(request));
        self.next()
    }

    /// Asks to end a watch.
    pub fn cancel(&mut self, watch_id: i64) {
        self.request(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }));
    }

    /// Asks how far all watches are.
    pub fn ask_progress(&mut self) {
        self.request(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    }

    /// Sends no more requests.
    pub fn half_close(&mut self) {
        self.raw.half_close(self.stream);
    }

    /// The next response; waits for it.
    pub fn next(&mut self) -> WatchResponse {
        self.try_next().unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// The next response, or why there is none.
    pub fn try_next(&mut self) -> std::io::Result<WatchResponse> {
        self.collect();
        while self.ready.is_empty() {
            let (stream, taken) = (self.stream, self.taken_bytes);
            self.raw.wait(|raw| whole_len(&raw.so_far(stream).body[taken..]))?;
            self.collect();
        }
        Ok(self.ready.pop_front().expect("just collected"))
    }

    /// So many of the next responses; waits for them.
    pub fn wait_for(&mut self, count: usize) -> Vec<WatchResponse> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Takes over what has arrived.
    fn collect(&mut self) {
        let body = &self.raw.so_far(self.stream).body;
        while let Some(len) = whole_len(&body[self.taken_bytes..]) {
            let end = self.taken_bytes + len;
            self.ready.extend(messages::<WatchResponse>(&body[self.taken_bytes..end]));
            self.taken_bytes = end;
        }
    }

    /// The next responses up to and with the first for which `is_last` holds.
    pub fn until(&mut self, is_last: impl Fn(&WatchResponse) -> bool) -> Vec<WatchResponse> {
        let mut responses = Vec::new();
        loop {
            responses.push(self.next());
            if responses.last().is_some_and(&is_last) {
                return responses;
            }
        }
    }

    /// Waits for the end of the stream.
    pub fn end(&mut self) -> Answer {
        self.raw.answer(self.stream)
    }

    /// Waits for a ping to come back: what was sent before is here then, if it is on its way.
    pub fn ping(&mut self) {
        assert!(self.raw.ping(), "the server is there");
    }

    /// Responses that arrived and were not handed out.
    pub fn arrived(&mut self) -> usize {
        self.collect();
        self.ready.len()
    }
}

/// Length of the frame at the front of a body, if it is whole.
fn whole_len(body: &[u8]) -> Option<usize> {
    let (prefix, rest) = body.split_first_chunk::<5>()?;
    let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    (rest.len() >= len).then_some(5 + len)
}

/// A watch of one key from now on.
pub fn of_key(key: &'static str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.into(), ..WatchCreateRequest::default() }
}

/// A watch of all keys with a prefix of one letter.
pub fn of_prefix(first: u8) -> WatchCreateRequest {
    WatchCreateRequest {
        key: vec![first].into(),
        range_end: vec![first + 1].into(),
        ..WatchCreateRequest::default()
    }
}

/// The revision in a response's header.
pub fn revision(response: &WatchResponse) -> i64 {
    response.header.as_ref().map_or(0, |header| header.revision)
}

/// Keys and revisions of a response's events.
pub fn keys(response: &WatchResponse) -> Vec<(String, i64)> {
    let kvs = response.events.iter().filter_map(|event| event.kv.as_ref());
    kvs.map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision)).collect()
}
