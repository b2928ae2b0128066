//! The connections of a net and what the handle does to their calls. No I/O: output waits for the end of the turn.

use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;
use windlass_http2::{Error, ServerSession, Settings};
use windlass_types::Code;

use super::connection::{AnswerBounds, Connection};
use super::deadline::Overdue;
use super::local::{self, Local};
use super::{Protected, Socket};
use crate::counters::Counters;
use crate::frame;
use crate::limits::Limits;
use crate::status::Status;
use crate::{CallId, Route};

/// A failed handshake is told of at most once in this time; those in between are not.
const HANDSHAKE_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The connections of a net.
pub(super) struct Table {
    connections: Slab<Connection>,
    settings: Settings,
    serial: u32,
    /// Calls of this process, which have no connection.
    pub local: Local,
    hold_queued_bytes: usize,
    bounds: AnswerBounds,
    /// No deadline of a call that is known now passes before this.
    pub next_deadline: Option<Instant>,
    pub counters: Counters,
    /// Connections that may have output.
    dirty: Vec<u32>,
    /// The turn has rows that the service has not seen the end of.
    rows: bool,
    /// The turn task is to run.
    due: bool,
    /// The turn task is running: what becomes due is seen by it without a wake.
    in_turn: bool,
    turn: Option<Waker>,
    /// When a failed handshake was last told of.
    handshake_told: Option<Instant>,
    /// A message that is being handed to the service; kept here for its memory.
    pub message: Vec<u8>,
    /// Where input is read to; kept here for its memory.
    pub input: Vec<u8>,
    /// Output that is being written; kept here for its memory.
    pub output: Vec<u8>,
}

impl Table {
    pub fn new(routes: &[Route], limits: &Limits) -> Self {
        Self {
            connections: Slab::new(),
            settings: limits.session(),
            serial: 0,
            local: Local::default(),
            hold_queued_bytes: limits.hold_queued_bytes,
            bounds: AnswerBounds {
                message_bytes_max: limits.answer_bytes_max,
                queued_bytes_max: limits.queued_bytes_max,
            },
            next_deadline: None,
            counters: Counters::new(routes, limits.slow_after),
            dirty: Vec::new(),
            rows: false,
            due: false,
            in_turn: false,
            turn: None,
            handshake_told: None,
            message: Vec::new(),
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Adds a connection. Returns its place.
    pub fn insert(&mut self, socket: Socket, now: Instant) -> Result<u32, Error> {
        let session = ServerSession::new(&self.settings, now)?;
        self.serial = self.serial.wrapping_add(1);
        let key = self.connections.insert(Connection::new(self.serial, socket, session, now));
        Ok(u32::try_from(key).expect("connections are bounded"))
    }

    /// Takes a connection out.
    pub fn remove(&mut self, key: u32) -> Connection {
        self.connections.remove(key as usize)
    }

    /// The connection at a place, for its own task.
    pub fn connection(&mut self, key: u32) -> &mut Connection {
        &mut self.connections[key as usize]
    }

    /// The connection at a place and the counters.
    pub fn connection_and_counters(&mut self, key: u32) -> (&mut Connection, &mut Counters) {
        (&mut self.connections[key as usize], &mut self.counters)
    }

    /// The places that are taken.
    pub fn keys(&self) -> Vec<u32> {
        self.connections.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect()
    }

    /// Answers a unary call.
    pub fn reply(&mut self, call: CallId, encode: impl FnOnce(&mut Vec<u8>)) {
        if call.connection == local::PLACE {
            self.reply_here(call, encode);
            return self.schedule();
        }
        let bounds = self.bounds;
        let Some((connection, counters)) = self.find(call) else { return };
        if connection.reply(call.stream, bounds, counters, encode) {
            self.mark_dirty(call.connection);
        }
    }

    /// As [`reply`](Self::reply), of a call of this process.
    fn reply_here(&mut self, call: CallId, encode: impl FnOnce(&mut Vec<u8>)) {
        let max = self.bounds.message_bytes_max;
        let mut message = Vec::new();
        if self.local.is_live(call) {
            encode(&mut message);
        }
        if message.len() > max {
            let Status { code, text } = frame::too_large(message.len(), max);
            return self.local.end(call, &mut self.counters, code, &text);
        }
        self.local.send(call, self.hold_queued_bytes, &mut self.counters, |out| *out = message);
        self.local.end(call, &mut self.counters, Code::Ok, "");
    }

    /// Ends a call.
    pub fn end(&mut self, call: CallId, code: Code, text: &str) {
        if call.connection == local::PLACE {
            self.local.end(call, &mut self.counters, code, text);
            return self.schedule();
        }
        let Some((connection, counters)) = self.find(call) else { return };
        if connection.end(call.stream, counters, code, text) {
            self.mark_dirty(call.connection);
        }
    }

    /// Sends a message on a streaming call.
    pub fn stream_send(&mut self, call: CallId, encode: impl FnOnce(&mut Vec<u8>)) -> Option<usize> {
        if call.connection == local::PLACE {
            return self.local.send(call, self.hold_queued_bytes, &mut self.counters, encode);
        }
        let bounds = self.bounds;
        let (connection, counters) = self.find(call)?;
        let queued = connection.stream_send(call.stream, bounds, counters, encode)?;
        self.mark_dirty(call.connection);
        Some(queued)
    }

    /// Bytes queued on a call.
    pub fn queued_bytes(&mut self, call: CallId) -> usize {
        if call.connection == local::PLACE {
            return self.local.queued_bytes(call);
        }
        self.find(call).map_or(0, |(connection, _)| connection.session.queued_bytes(call.stream))
    }

    /// What is known of a call's connection, if it is protected.
    pub fn protected(&mut self, call: CallId) -> Option<Protected> {
        self.find(call)?.0.socket.protected().cloned()
    }

    /// Whether a handshake that failed may be told of: one in [`HANDSHAKE_LOG_INTERVAL`].
    pub fn may_tell_of_handshake(&mut self, now: Instant) -> bool {
        let may = self.handshake_told.is_none_or(|told| now.duration_since(told) >= HANDSHAKE_LOG_INTERVAL);
        if may {
            self.handshake_told = Some(now);
        }
        may
    }

    /// Whether a call still waits for its answer or its end.
    pub fn is_live(&mut self, call: CallId) -> bool {
        if call.connection == local::PLACE {
            return self.local.is_live(call);
        }
        self.find(call).is_some_and(|(connection, _)| connection.is_live(call.stream))
    }

    /// Notes a deadline. Whether it is earlier than all that were known.
    pub fn is_sooner(&mut self, deadline: Instant) -> bool {
        let sooner = self.next_deadline.is_none_or(|next| deadline < next);
        if sooner {
            self.next_deadline = Some(deadline);
        }
        sooner
    }

    /// Appends every call whose deadline has passed to `due`, and finds the earliest deadline of the others.
    pub fn take_overdue(&mut self, now: Instant, due: &mut Vec<Overdue>) {
        let mut earliest = self.local.deadlines(now, due);
        for (key, connection) in &self.connections {
            let key = u32::try_from(key).expect("connections are bounded");
            let sooner = connection.deadlines(key, now, due);
            earliest = [earliest, sooner].into_iter().flatten().min();
        }
        self.next_deadline = earliest;
    }

    /// Notes that a connection may have output for the end of this turn.
    pub fn mark_dirty(&mut self, key: u32) {
        let connection = &mut self.connections[key as usize];
        if !std::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(key);
        }
        self.schedule();
    }

    /// Notes that the service was told a row in this turn.
    pub fn note_row(&mut self) {
        self.rows = true;
        self.schedule();
    }

    /// Whether the turn task has something to do; it is then running until [`Self::end_turn`]. `waker` is how it is
    /// called the next time.
    pub fn begin_turn(&mut self, waker: &Waker) -> bool {
        match &mut self.turn {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        self.in_turn = std::mem::take(&mut self.due);
        self.in_turn
    }

    /// Whether the service is to be told the end of a batch.
    pub fn take_rows(&mut self) -> bool {
        std::mem::take(&mut self.rows)
    }

    /// Writes every connection that may have output.
    pub fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            if let Some(connection) = self.connections.get_mut(key as usize) {
                connection.dirty = false;
                connection.flush(&mut self.output, &mut self.counters);
            }
        }
        self.dirty = dirty;
    }

    /// The turn task is done.
    pub fn end_turn(&mut self) {
        if self.counters.has_ended() {
            self.counters.end_turn(Instant::now());
        }
        self.in_turn = false;
        self.due = false;
    }

    fn find(&mut self, call: CallId) -> Option<(&mut Connection, &mut Counters)> {
        let connection = self.connections.get_mut(call.connection as usize)?;
        (connection.serial == call.serial).then_some((connection, &mut self.counters))
    }

    fn schedule(&mut self) {
        if !std::mem::replace(&mut self.due, true)
            && !self.in_turn
            && let Some(turn) = &self.turn
        {
            turn.wake_by_ref();
        }
    }
}
