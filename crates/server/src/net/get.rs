//! Gets ([`windlass_replica::get`]): the short way of most reads.
//!
//! Here a get waits for its place in history, in memory that is used again. One that cannot be answered at once then
//! goes on as any other [`Read`]; so it does where authentication is in force.

use std::ops::Range;
use std::time::Instant;

use windlass_api::etcdserverpb::RangeRequest;
use windlass_replica::get::{self, GetView};
use windlass_replica::reading::{ReadRequest, Snapshot};
use windlass_rpc::CallId;
use windlass_types::RequestError;

use super::arbiter::Arbiter;
use super::reads::{KEPT_READS, Read, Reader};
use crate::auth::Caller;

/// Memory for so many bytes of keys is kept when the gets that shared it are over, and what is beyond given back.
const KEPT_KEY_BYTES: usize = 64 << 10;

/// Gets that wait for their place in history.
#[derive(Debug, Default)]
pub struct Gets {
    waiting: Vec<Waiting>,
    /// Their keys, one after the other.
    keys: Vec<u8>,
}

#[derive(Debug)]
struct Waiting {
    call: CallId,
    since: Instant,
    key: Range<usize>,
}

/// A get whose place in history is known.
#[derive(Clone, Copy, Debug)]
pub struct Get<'a> {
    /// Who wants it.
    pub call: CallId,
    /// Since when.
    pub since: Instant,
    /// What is read.
    pub key: &'a [u8],
}

impl Gets {
    /// Lets a get wait.
    pub fn push(&mut self, get: Get<'_>) {
        let start = self.keys.len();
        self.keys.extend_from_slice(get.key);
        self.waiting.push(Waiting { call: get.call, since: get.since, key: start..self.keys.len() });
    }

    /// Number of gets.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those that there are, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Get<'_>> {
        let keys = &self.keys;
        self.waiting.iter().map(|w| Get { call: w.call, since: w.since, key: &keys[w.key.clone()] })
    }

    /// Takes out every get that `is_over`.
    pub fn take_over(&mut self, is_over: &impl Fn(CallId, Instant) -> bool) -> Vec<CallId> {
        self.waiting.extract_if(.., |w| is_over(w.call, w.since)).map(|waiting| waiting.call).collect()
    }

    /// Forgets all of them, and keeps the memory for others.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.waiting.shrink_to(KEPT_READS);
        self.keys.clear();
        self.keys.shrink_to(KEPT_KEY_BYTES);
    }
}

impl From<Get<'_>> for Read {
    fn from(get: Get<'_>) -> Self {
        let range = RangeRequest { key: get.key.to_vec().into(), ..RangeRequest::default() };
        Self {
            reader: Reader::Call(get.call),
            request: ReadRequest::Range(range.into()),
            // Nobody had to say who they are when it came.
            caller: Caller::Nobody,
            permitted_at: 0,
            attempts: 0,
            since: get.since,
        }
    }
}

impl Arbiter {
    /// Takes a call that is a get, while nobody has to say who they are.
    pub(super) fn get(&mut self, call: CallId, view: GetView<'_>) {
        let get = Get { call, since: self.now, key: view.key };
        if self.reads.is_full() {
            self.refuse(call, RequestError::TooManyRequests);
        } else if view.serializable {
            let snapshot = self.newest_here();
            self.answer_get(get, snapshot);
        } else {
            self.reads.push_get(get);
        }
    }

    /// Answers a get, at once if its key can be looked up now.
    pub(super) fn answer_get(&mut self, get: Get<'_>, snapshot: Snapshot) {
        let header = self.headers.at(snapshot.revision);
        let answered = !self.published.is_auth_enabled()
            && get::look_up(&self.views, get.key, snapshot, |pair| {
                self.net.reply_with(get.call, |out| get::encode(pair, &header, out));
            });
        if !answered {
            self.begin(get.into(), snapshot);
        }
    }
}
