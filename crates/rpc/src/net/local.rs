//! Calls that this process makes of its own service, without a connection: those of the JSON gateway.
//!
//! The service cannot tell them from others. Their answers are kept here until [`LocalCall::next`] takes them.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use windlass_http2::StreamRef;
use windlass_types::Code;

use super::Net;
use super::deadline::Overdue;
use crate::counters::Counters;
use crate::route::Kind;
use crate::{CallId, Event, Meta};

/// The place of calls without a connection. Connections are bounded far below it.
pub(super) const PLACE: u32 = u32::MAX;

/// The calls of this process.
#[derive(Default)]
pub(super) struct Local {
    calls: HashMap<u32, Row>,
    serial: u32,
}

struct Row {
    route: usize,
    begun: Instant,
    deadline: Option<Instant>,
    messages: VecDeque<Bytes>,
    queued_bytes: usize,
    /// More than the hold was queued: the service is to be told when it is less.
    held: bool,
    end: Option<(Code, String)>,
    waker: Option<Waker>,
}

impl Local {
    fn open(&mut self, route: usize, begun: Instant, deadline: Option<Instant>) -> CallId {
        loop {
            self.serial = self.serial.wrapping_add(1);
            if !self.calls.contains_key(&self.serial) {
                break;
            }
        }
        let row = Row {
            route,
            begun,
            deadline,
            messages: VecDeque::new(),
            queued_bytes: 0,
            held: false,
            end: None,
            waker: None,
        };
        self.calls.insert(self.serial, row);
        CallId { connection: PLACE, serial: self.serial, stream: StreamRef::NONE }
    }

    fn live(&mut self, call: CallId) -> Option<&mut Row> {
        self.calls.get_mut(&call.serial).filter(|row| row.end.is_none())
    }

    /// Queues a message. Returns the bytes queued.
    pub fn send(
        &mut self,
        call: CallId,
        hold_queued_bytes: usize,
        counters: &mut Counters,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Option<usize> {
        let row = self.live(call)?;
        let mut message = Vec::new();
        encode(&mut message);
        counters.routes[row.route].sent += 1;
        row.queued_bytes += message.len();
        row.held |= row.queued_bytes > hold_queued_bytes;
        row.messages.push_back(message.into());
        row.wake();
        Some(row.queued_bytes)
    }

    /// Ends a call.
    pub fn end(&mut self, call: CallId, counters: &mut Counters, code: Code, text: &str) {
        let Some(row) = self.live(call) else { return };
        counters.end(row.route, row.begun, code);
        row.end = Some((code, text.to_owned()));
        row.wake();
    }

    pub fn queued_bytes(&mut self, call: CallId) -> usize {
        self.live(call).map_or(0, |row| row.queued_bytes)
    }

    pub fn is_live(&mut self, call: CallId) -> bool {
        self.live(call).is_some()
    }

    /// Appends the calls whose deadline has passed to `due`. Returns the earliest deadline of the others.
    pub fn deadlines(&self, now: Instant, due: &mut Vec<Overdue>) -> Option<Instant> {
        let mut earliest = None;
        for (serial, row) in self.calls.iter().filter(|(_, row)| row.end.is_none()) {
            match row.deadline {
                Some(deadline) if deadline <= now => {
                    let call = CallId { connection: PLACE, serial: *serial, stream: StreamRef::NONE };
                    due.push(Overdue { call, told: true });
                }
                Some(deadline) => earliest = Some(earliest.map_or(deadline, |at: Instant| at.min(deadline))),
                None => {}
            }
        }
        earliest
    }
}

impl Row {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// What a local call is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A message.
    Message(Bytes),
    /// The end of the call; nothing follows.
    End(Code, String),
}

/// A call that this process makes of the service. Dropped before its end, it is cancelled.
pub struct LocalCall {
    net: Net,
    call: CallId,
    route: usize,
    meta: Meta,
}

impl Net {
    /// Makes a call of the method at `path` without a connection; `None` if there is no such method. The service hears
    /// of a stream now, of a unary call with its message.
    #[must_use]
    pub fn call(&self, path: &str, meta: Meta) -> Option<LocalCall> {
        let route = self.0.routes.find(path.as_bytes()).ok()?;
        let begun = Instant::now();
        let deadline = meta.timeout.and_then(|timeout| begun.checked_add(timeout));
        let call = {
            let mut table = self.0.table.borrow_mut();
            table.counters.routes[route].started += 1;
            table.local.open(route, begun, deadline)
        };
        if let Some(deadline) = deadline {
            self.note_deadline(deadline);
        }
        if self.0.routes.kind(route) != Kind::Unary {
            self.tell_row(Event::StreamOpen { call, route, meta: &meta });
        }
        Some(LocalCall { net: self.clone(), call, route, meta })
    }
}

impl LocalCall {
    /// How the messages of its method flow.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.net.0.routes.kind(self.route)
    }

    /// Sends a message: the only one of a unary call. One that is too large ends the call, as grpc-go does.
    pub fn send(&self, message: &[u8]) {
        let max = self.net.0.limits.message_bytes_max;
        if message.len() > max {
            let text = format!("grpc: received message larger than max ({} vs. {max})", message.len());
            return self.abort(Code::ResourceExhausted, &text);
        }
        if !self.net.is_live(self.call) {
            return;
        }
        self.net.0.table.borrow_mut().counters.routes[self.route].received += 1;
        let (call, route) = (self.call, self.route);
        self.net.tell_row(match self.kind() {
            Kind::Unary => Event::Unary { call, route, meta: &self.meta, message },
            Kind::ServerStream | Kind::BidiStream => Event::StreamMessage { call, route, message },
        });
    }

    /// Says that no more messages follow on a stream.
    pub fn half_close(&self) {
        if self.kind() != Kind::Unary && self.net.is_live(self.call) {
            self.net.tell_row(Event::StreamHalfClosed { call: self.call });
        }
    }

    /// Ends the call from this side.
    pub fn abort(&self, code: Code, text: &str) {
        if self.net.is_live(self.call) {
            self.net.fail(self.call, code, text);
            self.net.tell_row(Event::Cancelled { call: self.call });
        }
    }

    /// The next answer.
    pub async fn next(&mut self) -> Answer {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Self::next`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let hold = self.net.0.limits.hold_queued_bytes;
        let mut table = self.net.0.table.borrow_mut();
        let row = table.local.calls.get_mut(&self.call.serial).expect("there until this is dropped");
        let Some(message) = row.messages.pop_front() else {
            if let Some((code, text)) = &row.end {
                return Poll::Ready(Answer::End(*code, text.clone()));
            }
            row.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        row.queued_bytes -= message.len();
        let writable = row.queued_bytes <= hold && std::mem::take(&mut row.held) && row.end.is_none();
        drop(table);
        if writable {
            self.net.tell_row(Event::Writable { call: self.call });
        }
        Poll::Ready(Answer::Message(message))
    }
}

impl Drop for LocalCall {
    fn drop(&mut self) {
        self.abort(Code::Canceled, "context canceled");
        self.net.0.table.borrow_mut().local.calls.remove(&self.call.serial);
    }
}
