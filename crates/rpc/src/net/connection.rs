//! One HTTP/2 connection: socket, session, and the calls in flight on it.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use windlass_http2::{ErrorCode, Ready, ServerSession, StreamRef};
use windlass_types::Code;

use super::Socket;
use super::deadline::{self, Overdue};
use super::keepalive::Keepalive;
use crate::CallId;
use crate::counters::Counters;
use crate::frame::{self, Front};
use crate::limits::WRITE_BYTES;
use crate::meta::Parsed;
use crate::route::{Kind, Routes};
use crate::status::{self, HEAD, Status};

/// What a call is told whose connection holds too much already.
const BODY_TOO_LARGE: &str = "grpc: too many request bytes held by the connection";

/// What a call is told whose connection does not take what it asked for.
const ANSWERS_TOO_LARGE: &str = "grpc: too many response bytes held for the connection";

/// What a call is told that was carried out, but whose answer finds such a connection.
const ANSWER_DROPPED: &str = "grpc: answer dropped: too many response bytes held for the connection";

/// A connection and what is known of it.
pub(super) struct Connection {
    pub serial: u32,
    pub socket: Socket,
    pub session: ServerSession,
    /// The calls in flight, by their streams' rows.
    calls: Vec<Option<Call>>,
    /// The headers of the last call: a client's calls mostly have the same.
    last_head: Option<Rc<Parsed>>,
    /// Output that the kernel did not take, from `unsent_from` on. While there is some, nothing is read.
    unsent: Vec<u8>,
    unsent_from: usize,
    /// In the list of connections that may have output.
    pub dirty: bool,
    /// It cannot go on: to be closed when what can be written is written.
    pub ending: bool,
    /// It is to be closed now.
    pub broken: bool,
    /// How its task is called.
    pub waker: Option<Waker>,
    pub keepalive: Keepalive,
}

#[derive(Clone, Copy)]
struct Call {
    stream: StreamRef,
    route: usize,
    kind: Kind,
    /// Its compressed messages are gzip's.
    gzip: bool,
    /// When its head came.
    begun: Instant,
    /// When the client gives up, if it said so.
    deadline: Option<Instant>,
    /// The service knows of it.
    told: bool,
}

/// What is sent at most.
#[derive(Clone, Copy)]
pub(super) struct AnswerBounds {
    /// Bytes of one message.
    pub message_bytes_max: usize,
    /// Bytes that wait above which no unary call is answered.
    pub queued_bytes_max: usize,
}

/// What a connection needs of its net to deal with what came.
pub(super) struct Intake<'a> {
    pub routes: &'a Routes,
    pub message_bytes_max: usize,
    pub queued_bytes_max: usize,
    pub counters: &'a mut Counters,
    /// Gets the frame of a unary message.
    pub message: &'a mut Vec<u8>,
    /// Gets the earliest deadline of the calls that began.
    pub deadline: Option<Instant>,
}

/// What the service is to be told of a stream, in this order.
pub(super) struct News {
    pub stream: StreamRef,
    pub route: usize,
    /// A whole unary request; its message follows the prefix in the table's buffer.
    pub unary: Option<Rc<Parsed>>,
    /// A streaming call began.
    pub open: Option<Rc<Parsed>>,
    /// There may be new messages on a streaming call.
    pub messages: bool,
    /// The client ended its side of a streaming call.
    pub half_closed: bool,
    pub writable: bool,
    pub cancelled: bool,
}

impl Connection {
    pub fn new(serial: u32, socket: Socket, session: ServerSession, now: Instant) -> Self {
        Self {
            serial,
            socket,
            session,
            calls: Vec::new(),
            last_head: None,
            unsent: Vec::new(),
            unsent_from: 0,
            dirty: false,
            ending: false,
            broken: false,
            waker: None,
            keepalive: Keepalive::new(now),
        }
    }

    /// Takes in what was read.
    pub fn recv(&mut self, bytes: &[u8], now: Instant, counters: &mut Counters) {
        counters.received_bytes += bytes.len() as u64;
        self.keepalive.on_heard(now);
        if let Err(error) = self.session.recv(bytes, now) {
            tracing::debug!(%error, "http/2 connection ends");
            self.ending = true;
        }
    }

    /// What the service is to be told next. What is refused is answered here.
    pub fn next_news(&mut self, intake: &mut Intake<'_>) -> Option<News> {
        loop {
            let ready = self.session.next_ready()?;
            let opened = if ready.head { self.open(ready.stream, intake) } else { None };
            let Some(call) = self.call(ready.stream).copied() else { continue };
            let news = match (ready.closed, call.kind) {
                (Some(_), _) => self.cancel(call, intake.counters),
                (None, Kind::Unary) => self.unary(call, ready, opened, intake),
                (None, _) => self.streaming(call, ready, opened, intake.counters),
            };
            if news.is_some() {
                return news;
            }
        }
    }

    /// Begins a call, or refuses it.
    fn open(&mut self, stream: StreamRef, intake: &mut Intake<'_>) -> Option<Rc<Parsed>> {
        let parsed = self.parse(stream, intake.routes)?;
        let route = match &parsed.route {
            Ok(route) => *route,
            Err(refusal) => {
                let Status { code, text } = &refusal.status;
                status::with_only_head(refusal.http, *code, text, |head| {
                    self.session.respond_only(stream, head)
                });
                return None;
            }
        };
        if self.session.queued_bytes_of_all() > intake.queued_bytes_max {
            status::with_only_head("200", Code::ResourceExhausted, ANSWERS_TOO_LARGE, |head| {
                self.session.respond_only(stream, head);
            });
            return None;
        }
        intake.counters.routes[route].started += 1;
        let row = stream.row();
        if self.calls.len() <= row {
            self.calls.resize(row + 1, None);
        }
        let kind = intake.routes.kind(route);
        let begun = self.keepalive.heard_at();
        let deadline = parsed.meta.timeout.and_then(|timeout| begun.checked_add(timeout));
        if let Some(deadline) = deadline {
            let earliest = intake.deadline.get_or_insert(deadline);
            *earliest = deadline.min(*earliest);
        }
        self.calls[row] = Some(Call { stream, route, kind, gzip: parsed.gzip, begun, deadline, told: false });
        Some(parsed)
    }

    /// What the headers of `stream` say.
    fn parse(&mut self, stream: StreamRef, routes: &Routes) -> Option<Rc<Parsed>> {
        let headers = self.session.head(stream)?;
        if let Some(last) = self.last_head.as_ref().filter(|last| last.is_of(headers)) {
            return Some(last.clone());
        }
        let parsed = Rc::new(Parsed::new(headers, routes));
        self.last_head = Some(parsed.clone());
        Some(parsed)
    }

    fn unary(
        &mut self,
        call: Call,
        ready: Ready,
        opened: Option<Rc<Parsed>>,
        intake: &mut Intake<'_>,
    ) -> Option<News> {
        let stream = call.stream;
        let max = intake.message_bytes_max;
        let checked = if call.deadline.is_some_and(|deadline| deadline <= self.keepalive.heard_at()) {
            Err(Status::new(Code::DeadlineExceeded, deadline::TEXT))
        } else if ready.overflow || !ready.end {
            match frame::front(self.session.body(stream)?, max, call.gzip) {
                Ok(_) if ready.overflow => Err(Status::new(Code::ResourceExhausted, BODY_TOO_LARGE)),
                front => front.map(|_| ()),
            }
        } else {
            self.session.swap_body(stream, intake.message);
            frame::only(intake.message, max, call.gzip)
        };
        if let Err(Status { code, text }) = checked {
            self.end(stream, intake.counters, code, &text);
            return None;
        }
        if !ready.end {
            return None;
        }
        intake.counters.routes[call.route].received += 1;
        self.call_mut(stream)?.told = true;
        let parsed = opened.or_else(|| self.parse(stream, intake.routes))?;
        Some(News { unary: Some(parsed), ..News::of(call) })
    }

    fn streaming(
        &mut self,
        call: Call,
        ready: Ready,
        opened: Option<Rc<Parsed>>,
        counters: &mut Counters,
    ) -> Option<News> {
        if ready.overflow {
            self.end(call.stream, counters, Code::ResourceExhausted, BODY_TOO_LARGE);
            return call.told.then(|| News { cancelled: true, ..News::of(call) });
        }
        self.call_mut(call.stream)?.told = true;
        Some(News {
            open: opened,
            messages: ready.data,
            half_closed: ready.end,
            writable: ready.writable,
            ..News::of(call)
        })
    }

    /// Forgets a call whose stream is gone. News if the service knows of it.
    fn cancel(&mut self, call: Call, counters: &mut Counters) -> Option<News> {
        self.calls[call.stream.row()] = None;
        counters.end(call.route, call.begun, Code::Canceled);
        call.told.then(|| News { cancelled: true, ..News::of(call) })
    }

    /// Moves the bytes of a streaming call into `messages` if they begin with a whole message, or cannot.
    pub fn take_messages(
        &mut self,
        stream: StreamRef,
        message_bytes_max: usize,
        messages: &mut Vec<u8>,
    ) -> bool {
        let gzip = self.is_gzip(stream);
        let front = self.session.body(stream).map(|body| frame::front(body, message_bytes_max, gzip));
        match front {
            None | Some(Ok(Front::Partial)) => false,
            Some(Ok(Front::Message(..) | Front::Compressed(..)) | Err(_)) => {
                self.session.swap_body(stream, messages)
            }
        }
    }

    /// Notes the receipt of a message on a streaming call.
    pub fn count_received(&mut self, stream: StreamRef, counters: &mut Counters) {
        if let Some(call) = self.call(stream) {
            counters.routes[call.route].received += 1;
        }
    }

    /// Answers a unary call, or says that its answer is dropped because it is too large, or too much waits to be sent. False
    /// if it is gone.
    pub fn reply(
        &mut self,
        stream: StreamRef,
        bounds: AnswerBounds,
        counters: &mut Counters,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        if self.session.queued_bytes_of_all() > bounds.queued_bytes_max {
            return self.end(stream, counters, Code::ResourceExhausted, ANSWER_DROPPED);
        }
        let Some(call) = self.take_call(stream) else { return false };
        assert!(call.kind == Kind::Unary, "a streaming call is answered with stream_send and stream_end");
        let mut framed = Ok(());
        self.session.respond_unary(stream, HEAD, status::trailers(Code::Ok, ""), |out| {
            framed = frame::encode(out, bounds.message_bytes_max, encode);
        });
        let Err(bytes) = framed else {
            counters.routes[call.route].sent += 1;
            counters.end(call.route, call.begun, Code::Ok);
            return true;
        };
        let Status { code, text } = frame::too_large(bytes, bounds.message_bytes_max);
        self.session.replace_trailers(stream, status::trailers(code, &text));
        counters.end(call.route, call.begun, code);
        true
    }

    /// Sends a message on a streaming call. Returns the bytes queued. One that is too large ends the stream, of which the
    /// service hears as of any other that is gone.
    pub fn stream_send(
        &mut self,
        stream: StreamRef,
        bounds: AnswerBounds,
        counters: &mut Counters,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Option<usize> {
        let call = self.call(stream)?;
        assert!(call.kind != Kind::Unary, "a unary call is answered with reply");
        counters.routes[call.route].sent += 1;
        if !self.session.is_answered(stream) {
            self.session.respond(stream, HEAD);
        }
        let mut framed = Ok(());
        let queued = self.session.push_with(stream, |out| {
            framed = frame::encode(out, bounds.message_bytes_max, encode);
        });
        if framed.is_err() {
            // Clients read it as RESOURCE_EXHAUSTED.
            self.session.reset(stream, ErrorCode::ENHANCE_YOUR_CALM);
        }
        queued
    }

    /// Ends a call. False if it is gone.
    pub fn end(&mut self, stream: StreamRef, counters: &mut Counters, code: Code, text: &str) -> bool {
        let Some(call) = self.take_call(stream) else { return false };
        counters.end(call.route, call.begun, code);
        if self.session.is_answered(stream) {
            self.session.finish(stream, status::trailers(code, text));
        } else {
            status::with_only_head("200", code, text, |head| self.session.respond_only(stream, head));
        }
        true
    }

    /// Whether a call still waits for its answer or its end.
    pub fn is_live(&self, stream: StreamRef) -> bool {
        self.call(stream).is_some()
    }

    /// Appends the calls whose deadline has passed to `due`; `place` is where this connection is. Returns the earliest
    /// deadline of the others.
    pub fn deadlines(&self, place: u32, now: Instant, due: &mut Vec<Overdue>) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        for call in self.calls.iter().flatten() {
            match call.deadline {
                Some(deadline) if deadline <= now => {
                    let id = CallId { connection: place, serial: self.serial, stream: call.stream };
                    due.push(Overdue { call: id, told: call.told });
                }
                Some(deadline) => earliest = Some(earliest.map_or(deadline, |at| at.min(deadline))),
                None => {}
            }
        }
        earliest
    }

    /// Whether a call's compressed messages are gzip's.
    pub fn is_gzip(&self, stream: StreamRef) -> bool {
        self.call(stream).is_some_and(|call| call.gzip)
    }

    /// Ends all calls because the connection is gone. Returns those that the service knows of.
    pub fn cancel_all(&mut self, counters: &mut Counters) -> Vec<StreamRef> {
        let calls = std::mem::take(&mut self.calls).into_iter().flatten();
        calls
            .filter_map(|call| {
                counters.end(call.route, call.begun, Code::Canceled);
                call.told.then_some(call.stream)
            })
            .collect()
    }

    /// Writes what the session has, until there is no more or the kernel takes no more. `output` is scratch.
    pub fn flush(&mut self, output: &mut Vec<u8>, counters: &mut Counters) {
        while !self.is_blocked() && !self.broken && self.session.wants_send() {
            output.clear();
            if self.session.send(output, WRITE_BYTES).is_err() {
                self.ending = true;
            }
            let written = if output.is_empty() { Ok(0) } else { try_write(&mut self.socket, output) };
            let Ok(written) = written else {
                self.broken = true;
                break;
            };
            counters.sent_bytes += written as u64;
            self.unsent.extend_from_slice(&output[written..]);
            if output.is_empty() {
                break;
            }
        }
        let wanted = self.broken || self.is_finished() || self.is_blocked() || self.session.has_news();
        if wanted && let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Writes what the kernel did not take before. Pending while it takes no more.
    pub fn poll_unsent(&mut self, cx: &mut Context<'_>, counters: &mut Counters) -> Poll<()> {
        while self.unsent_from < self.unsent.len() && !self.broken {
            match self.socket.poll_write_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => self.broken = true,
                Poll::Ready(Ok(())) => match try_write(&mut self.socket, &self.unsent[self.unsent_from..]) {
                    Ok(written) => {
                        self.unsent_from += written;
                        counters.sent_bytes += written as u64;
                    }
                    Err(_) => self.broken = true,
                },
            }
        }
        if self.socket.has_unwritten() && !self.broken {
            match self.socket.poll_flush_taken(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => self.broken = true,
                Poll::Ready(Ok(())) => {}
            }
        }
        // The memory is given back: few connections are ever slow.
        self.unsent = Vec::new();
        self.unsent_from = 0;
        Poll::Ready(())
    }

    /// Whether the kernel holds back output.
    pub fn is_blocked(&self) -> bool {
        !self.unsent.is_empty() || self.socket.has_unwritten()
    }

    /// Whether it has served its purpose.
    pub fn is_finished(&self) -> bool {
        !self.is_blocked() && (self.session.is_done() || (self.ending && !self.session.wants_send()))
    }

    /// Ends the connection with a GOAWAY.
    pub fn leave(&mut self, code: ErrorCode, why: &str) {
        self.ending |= self.session.leave(code, why).is_err();
    }

    fn call(&self, stream: StreamRef) -> Option<&Call> {
        self.calls.get(stream.row())?.as_ref().filter(|call| call.stream == stream)
    }

    fn call_mut(&mut self, stream: StreamRef) -> Option<&mut Call> {
        self.calls.get_mut(stream.row())?.as_mut().filter(|call| call.stream == stream)
    }

    fn take_call(&mut self, stream: StreamRef) -> Option<Call> {
        self.calls.get_mut(stream.row())?.take_if(|call| call.stream == stream)
    }
}

impl News {
    fn of(call: Call) -> Self {
        Self {
            stream: call.stream,
            route: call.route,
            unary: None,
            open: None,
            messages: false,
            half_closed: false,
            writable: false,
            cancelled: false,
        }
    }
}

/// How much the kernel took; 0 if nothing now.
fn try_write(socket: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
    match socket.try_write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
