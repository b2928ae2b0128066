//! The task of one HTTP/2 connection: reads it, tells the service what came, and closes it in the end.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, ReadBuf};
use windlass_http2::StreamRef;

use super::connection::{Intake, News};
use super::{Net, Socket};
use crate::frame::{self, Front, PREFIX_BYTES};
use crate::gzip::inflate;
use crate::limits::READ_BYTES;
use crate::{CallId, Event};

/// Serves a connection of which `head` was read already.
pub(super) async fn run(net: Net, socket: Socket, head: Vec<u8>) {
    let now = Instant::now();
    let inserted = net.0.table.borrow_mut().insert(socket, now);
    let Ok(connection) = inserted else { return };
    let driver = Driver { net, connection };
    driver.take_in(&head, now);
    drop(head);
    poll_fn(|cx| driver.poll(cx)).await;
    driver.close();
}

struct Driver {
    net: Net,
    /// The connection's place in the table.
    connection: u32,
}

/// What one read gave.
enum Read {
    Bytes(usize),
    End,
    /// The connection is to be closed.
    Finished,
}

impl Driver {
    /// Ready when the connection is to be closed.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut input = std::mem::take(&mut self.net.0.table.borrow_mut().input);
        input.resize(READ_BYTES, 0);
        let poll = self.poll_with(cx, &mut input);
        self.net.0.table.borrow_mut().input = input;
        poll
    }

    fn poll_with(&self, cx: &mut Context<'_>, input: &mut [u8]) -> Poll<()> {
        // Writing can make news too: a stream that has room again.
        if self.net.0.table.borrow_mut().connection(self.connection).session.has_news() {
            self.tell_news();
        }
        loop {
            match ready!(self.poll_read(cx, input)) {
                Read::End | Read::Finished => return Poll::Ready(()),
                Read::Bytes(len) => {
                    self.take_in(&input[..len], Instant::now());
                    if len == input.len() {
                        // There may be more, but others come first.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_read(&self, cx: &mut Context<'_>, input: &mut [u8]) -> Poll<Read> {
        let mut table = self.net.0.table.borrow_mut();
        let (connection, counters) = table.connection_and_counters(self.connection);
        match &mut connection.waker {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if connection.is_blocked() {
            ready!(connection.poll_unsent(cx, counters));
            table.mark_dirty(self.connection);
        }
        let connection = table.connection(self.connection);
        if connection.broken || connection.is_finished() {
            return Poll::Ready(Read::Finished);
        }
        if connection.ending {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(input);
        // A read that does not fill the buffer tells tokio that the socket is empty: no second call is made to find out.
        match ready!(Pin::new(&mut connection.socket).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => Poll::Ready(Read::Bytes(buffer.filled().len())),
            _ => Poll::Ready(Read::End),
        }
    }

    /// Takes in what was read and tells the service.
    fn take_in(&self, bytes: &[u8], now: Instant) {
        {
            let mut table = self.net.0.table.borrow_mut();
            let (connection, counters) = table.connection_and_counters(self.connection);
            connection.recv(bytes, now, counters);
        }
        self.tell_news();
        let mut table = self.net.0.table.borrow_mut();
        let connection = table.connection(self.connection);
        if connection.ending || connection.session.wants_send() || connection.session.is_done() {
            table.mark_dirty(self.connection);
        }
    }

    fn tell_news(&self) {
        let mut message = std::mem::take(&mut self.net.0.table.borrow_mut().message);
        while let Some(news) = self.next_news(&mut message) {
            self.tell(&news, &mut message);
        }
        self.net.0.table.borrow_mut().message = message;
    }

    fn next_news(&self, message: &mut Vec<u8>) -> Option<News> {
        let (news, deadline) = {
            let mut table = self.net.0.table.borrow_mut();
            let (connection, counters) = table.connection_and_counters(self.connection);
            let mut intake = Intake {
                routes: &self.net.0.routes,
                message_bytes_max: self.net.0.limits.message_bytes_max,
                queued_bytes_max: self.net.0.limits.queued_bytes_max,
                counters,
                message,
                deadline: None,
            };
            (connection.next_news(&mut intake), intake.deadline)
        };
        if let Some(deadline) = deadline {
            self.net.note_deadline(deadline);
        }
        news
    }

    fn tell(&self, news: &News, message: &mut Vec<u8>) {
        let call = self.call(news.stream);
        let route = news.route;
        if let Some(parsed) = &news.unary {
            let message = &message[PREFIX_BYTES..];
            self.net.tell_row(Event::Unary { call, route, meta: &parsed.meta, message });
        }
        if let Some(parsed) = &news.open {
            self.net.tell_row(Event::StreamOpen { call, route, meta: &parsed.meta });
        }
        if news.messages {
            self.tell_messages(call, route, message);
        }
        if news.half_closed && self.net.is_live(call) {
            self.tell_half_closed(call);
        }
        if news.writable && self.net.is_live(call) {
            self.net.tell_row(Event::Writable { call });
        }
        if news.cancelled {
            self.net.tell_row(Event::Cancelled { call });
        }
    }

    /// Tells every whole message that a streaming call has.
    fn tell_messages(&self, call: CallId, route: usize, buffer: &mut Vec<u8>) {
        let max = self.net.0.limits.message_bytes_max;
        if !self.net.0.table.borrow_mut().connection(self.connection).take_messages(call.stream, max, buffer)
        {
            return;
        }
        let gzip = self.net.0.table.borrow_mut().connection(self.connection).is_gzip(call.stream);
        let mut rest = buffer.as_slice();
        let mut inflated = Vec::new();
        while self.net.is_live(call) {
            let next = frame::front(rest, max, gzip).and_then(|front| {
                Ok(match front {
                    Front::Partial => None,
                    Front::Message(message, len) => Some((message, len)),
                    Front::Compressed(message, len) => {
                        inflated.clear();
                        inflate(message, max, &mut inflated)?;
                        Some((inflated.as_slice(), len))
                    }
                })
            });
            match next {
                Ok(None) => break,
                Ok(Some((message, len))) => {
                    self.count_received(call.stream);
                    self.net.tell_row(Event::StreamMessage { call, route, message });
                    rest = &rest[len..];
                }
                Err(status) => {
                    self.net.fail(call, status.code, &status.text);
                    self.net.tell_row(Event::Cancelled { call });
                    return;
                }
            }
        }
        if !rest.is_empty() {
            self.net.0.table.borrow_mut().connection(self.connection).session.restore_body(call.stream, rest);
        }
    }

    fn tell_half_closed(&self, call: CallId) {
        let cut = {
            let mut table = self.net.0.table.borrow_mut();
            table.connection(self.connection).session.body(call.stream).is_some_and(|body| !body.is_empty())
        };
        if cut {
            let status = frame::unexpected_end();
            self.net.fail(call, status.code, &status.text);
            self.net.tell_row(Event::Cancelled { call });
        } else {
            self.net.tell_row(Event::StreamHalfClosed { call });
        }
    }

    fn count_received(&self, stream: StreamRef) {
        let mut table = self.net.0.table.borrow_mut();
        let (connection, counters) = table.connection_and_counters(self.connection);
        connection.count_received(stream, counters);
    }

    fn call(&self, stream: StreamRef) -> CallId {
        let serial = self.net.0.table.borrow_mut().connection(self.connection).serial;
        CallId { connection: self.connection, serial, stream }
    }

    /// Forgets the connection and tells the service of the calls that go with it.
    fn close(self) {
        let (serial, calls) = {
            let mut table = self.net.0.table.borrow_mut();
            let mut connection = table.remove(self.connection);
            (connection.serial, connection.cancel_all(&mut table.counters))
        };
        for stream in calls {
            let call = CallId { connection: self.connection, serial, stream };
            self.net.tell_row(Event::Cancelled { call });
        }
    }
}
