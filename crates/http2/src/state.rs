//! What a session knows of its streams, and how that changes with each thing nghttp2 tells it. Safe code throughout.

use std::time::Instant;

use crate::floods::Floods;
use crate::known_head::KnownHead;
use crate::ping::PingWatch;
use crate::raw::{BlockKind, Control, Hooks, Role, Supply};
use crate::slab::Slab;
use crate::{ErrorCode, Field, Headers, Settings, StreamRef, Trailers, growth, request};

/// Credit for a stream is given back once this part of its window was taken in: often enough that a sender never
/// waits, seldom enough that small requests cause no frame.
const CREDIT_PART: usize = 4;

/// The state behind one session's callbacks.
pub(crate) struct State {
    role: Role,
    settings: Settings,
    pub slab: Slab,
    /// The row whose block of fields is arriving, and whether it is the one after the body.
    block: Option<(u32, bool)>,
    /// The stream whose block began last, and its row; 0 once it is closed.
    recent: (i32, u32),
    /// The request head that most streams have.
    known_head: KnownHead,
    /// When the bytes at hand arrived.
    pub now: Instant,
    pings: Option<PingWatch>,
    /// The client pings too often: it is to be sent away.
    pub ping_flood: bool,
    floods: Floods,
    /// The stream that the peer reset last.
    reset_by_peer: i32,
    /// The peer has passed one of the bounds on what it may do in vain: nghttp2 was told to end the connection, or is
    /// to be told.
    pub flooded: bool,
    /// Acknowledgements of pings that arrived.
    pub ping_acks: u64,
    /// Body bytes received for which the connection's credit was not given back.
    pub uncredited: usize,
    /// Bytes of bodies and header blocks held in all rows.
    buffered: usize,
    /// Bytes queued to be sent in all rows.
    pub queued: usize,
    /// Streams whose credit is withheld until their output queue is short.
    held: Vec<StreamRef>,
    /// Streams that were answered in full while their peer still sends: to be reset once the answer is out.
    pub unfinished: Vec<StreamRef>,
    /// The peer's GOAWAY.
    pub goaway: Option<(ErrorCode, String)>,
    /// Output that `Raw::send` gathers, and the length at which it has enough.
    pub output: Vec<u8>,
    pub output_limit: usize,
}

impl State {
    pub fn new(role: Role, settings: Settings, now: Instant) -> Self {
        let pings = settings.ping_policy.map(PingWatch::new);
        let floods = Floods::new(&settings, now);
        Self {
            role,
            settings,
            slab: Slab::default(),
            block: None,
            recent: (0, 0),
            known_head: KnownHead::default(),
            now,
            pings,
            ping_flood: false,
            floods,
            reset_by_peer: 0,
            flooded: false,
            ping_acks: 0,
            uncredited: 0,
            buffered: 0,
            queued: 0,
            held: Vec::new(),
            unfinished: Vec::new(),
            goaway: None,
            output: Vec::new(),
            output_limit: 0,
        }
    }

    /// Bytes of bodies and header blocks held in all rows.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Lets `take` remove bytes from the body of `stream`.
    pub fn take_body<R>(&mut self, stream: StreamRef, take: impl FnOnce(&mut Vec<u8>) -> R) -> Option<R> {
        let row = self.slab.get_mut(stream)?;
        let before = row.body.len();
        let result = take(&mut row.body);
        assert!(row.body.len() <= before, "a body is only taken from");
        self.buffered -= before - row.body.len();
        Some(result)
    }

    /// Puts `rest` before the body of `stream`, from where it was taken.
    pub fn restore_body(&mut self, stream: StreamRef, rest: &[u8]) {
        if let Some(row) = self.slab.get_mut(stream) {
            row.body.splice(..0, rest.iter().copied());
            self.buffered += rest.len();
        }
    }

    /// Streams whose queue became short enough for credit to flow again, with the credit each is owed.
    pub fn release_held(&mut self, owed: &mut Vec<(StreamRef, usize)>) {
        let Self { held, slab, settings, .. } = self;
        held.retain(|&stream| {
            let Some(row) = slab.get_mut(stream) else { return false };
            if row.queued() > settings.hold_queued_bytes / 2 {
                return true;
            }
            row.held = false;
            owed.push((stream, std::mem::take(&mut row.uncredited)));
            slab.tell(stream.slot, |news| news.writable = true);
            false
        });
    }

    /// Notes that `len` more bytes were queued on `stream`, which may hold back its peer's credit.
    pub fn on_queued(&mut self, stream: StreamRef, len: usize) {
        self.queued += len;
        let Some(row) = self.slab.get_mut(stream) else { return };
        if !row.held && row.queued() > self.settings.hold_queued_bytes {
            row.held = true;
            self.held.push(stream);
        }
    }

    /// The block of fields that opened the peer's side of `stream`.
    pub fn head(&self, stream: StreamRef) -> Option<Headers<'_>> {
        let row = self.slab.get(stream)?;
        Some(if row.shares_head { self.known_head.headers() } else { row.head.headers() })
    }

    /// A client's block of fields is whole. Whether it is well-formed: the known head is.
    fn check_block(&mut self, slot: u32, later: bool) -> bool {
        let row = self.slab.row(slot);
        if later {
            return request::are_valid_trailers(row.trailers.headers());
        }
        row.shares_head = self.known_head.share();
        if row.shares_head {
            row.body_bytes_declared = self.known_head.body_bytes();
            return true;
        }
        let before = row.head.len();
        self.known_head.depart(&mut row.head);
        let shape = request::shape_of(row.head.headers());
        row.body_bytes_declared = shape.and_then(|shape| shape.body_bytes);
        if let Some(shape) = shape
            && self.known_head.adopt(&mut row.head, shape.body_bytes)
        {
            row.shares_head = true;
            row.head.clear(usize::MAX);
        }
        self.buffered = self.buffered + row.head.len() - before;
        shape.is_some()
    }

    /// Headers or data go to the peer.
    pub fn on_data_sent(&mut self) {
        if let Some(pings) = &mut self.pings {
            pings.on_data_sent();
        }
    }

    /// Counts something that a client does in vain. False if it was too much.
    fn bears(&mut self, count: impl FnOnce(&mut Floods, Instant) -> bool) -> bool {
        self.flooded |= self.role == Role::Server && !count(&mut self.floods, self.now);
        !self.flooded
    }

    fn release(&mut self, slot: u32) {
        self.forget(slot);
        self.slab.remove(slot);
    }

    /// The row that was reported as closed is given up.
    pub fn free_leaving(&mut self) {
        if let Some(slot) = self.slab.leaving() {
            self.forget(slot);
            self.slab.free_leaving();
        }
    }

    /// Gives back what a row that is going holds.
    fn forget(&mut self, slot: u32) {
        let row = self.slab.peek(slot);
        self.buffered -= row.held_bytes();
        self.queued -= row.queued();
        if row.shares_head {
            self.known_head.unshare();
        }
    }
}

impl Hooks for State {
    fn block_begins(&mut self, stream_id: i32, slot: Option<u32>, kind: BlockKind) -> Option<u32> {
        let slot = match (slot, self.role) {
            (Some(slot), _) => slot,
            (None, Role::Server) if kind == BlockKind::Request => self.slab.insert(stream_id),
            (None, _) => return None,
        };
        let row = self.slab.row(slot);
        let again = std::mem::take(&mut row.informational);
        if again {
            self.buffered -= row.head.len();
            row.head.clear(0);
        }
        self.block = Some((slot, kind == BlockKind::Later && !again));
        self.recent = (stream_id, slot);
        if kind == BlockKind::Request {
            self.known_head.begin();
        }
        Some(slot)
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Some((slot, later)) = self.block else { return false };
        let is_request = self.role == Role::Server && !later;
        if is_request && self.known_head.take(name, value) {
            return true;
        }
        let row = self.slab.row(slot);
        let block = if later { &mut row.trailers } else { &mut row.head };
        let held_before = block.len();
        if is_request {
            self.known_head.depart(block);
        }
        let before = block.len();
        let full = before + name.len() + value.len() > self.settings.header_list_bytes_max as usize
            || self.buffered + name.len() + value.len() > self.settings.buffered_bytes_max;
        if !full {
            block.push(name, value);
        }
        self.buffered += block.len() - held_before;
        if full {
            self.block = None;
            return false;
        }
        row.informational |= name == b":status" && value.first() == Some(&b'1');
        true
    }

    fn block_ends(&mut self, last: bool) -> bool {
        let Some((slot, later)) = self.block.take() else { return true };
        // A request has no block between its head and its trailers, which end it.
        if self.role == Role::Server && ((later && !last) || !self.check_block(slot, later)) {
            return false;
        }
        let row = self.slab.row(slot);
        if !later && !row.informational {
            row.known = true;
            self.slab.tell(slot, |news| news.head = true);
        }
        true
    }

    fn recent(&self) -> (i32, u32) {
        self.recent
    }

    fn data(&mut self, slot: u32, bytes: &[u8]) -> usize {
        self.uncredited += bytes.len();
        let row = self.slab.row(slot);
        row.uncredited += bytes.len();
        row.body_bytes += bytes.len() as u64;
        if !row.overflowed {
            let full = row.body.len() + bytes.len() > self.settings.body_bytes_max
                || self.buffered + bytes.len() > self.settings.buffered_bytes_max;
            if full {
                row.overflowed = true;
                self.slab.tell(slot, |news| news.overflow = true);
            } else {
                growth::append(&mut row.body, bytes, &self.settings);
                self.buffered += bytes.len();
                self.slab.tell(slot, |news| news.data = true);
            }
        }
        let row = self.slab.row(slot);
        let due = row.uncredited >= self.settings.stream_window_bytes as usize / CREDIT_PART;
        if due && !row.held { std::mem::take(&mut row.uncredited) } else { 0 }
    }

    fn remote_ends(&mut self, slot: u32) -> bool {
        let row = self.slab.row(slot);
        row.remote_ended = true;
        if row.body_bytes_declared.is_some_and(|declared| declared != row.body_bytes) {
            return false;
        }
        self.slab.tell(slot, |news| news.end = true);
        true
    }

    fn closed(&mut self, slot: u32, code: ErrorCode) {
        if self.block.is_some_and(|(block, _)| block == slot) {
            self.block = None;
        }
        let row = self.slab.row(slot);
        row.closed = true;
        let provoked =
            !matches!(code, ErrorCode::NO_ERROR | ErrorCode::CANCEL) && self.reset_by_peer != row.id;
        if self.recent == (row.id, slot) {
            self.recent = (0, 0);
        }
        // A peer that makes this side reset its streams may do it as often as it may reset them itself.
        if provoked && self.role == Role::Server {
            self.flooded |= !self.floods.reset(self.now);
        }
        let row = self.slab.row(slot);
        // The owner need not hear of the end of a stream that it never saw, or that it has ended itself.
        let silent = self.role == Role::Server && !row.listed && (!row.known || row.is_ended());
        if silent {
            self.release(slot);
        } else {
            self.slab.tell(slot, |news| {
                news.closed.get_or_insert(code);
            });
        }
    }

    fn not_sent(&mut self, stream_id: i32) {
        if let Some(slot) = self.slab.find(stream_id) {
            self.closed(slot, ErrorCode::REFUSED_STREAM);
        }
    }

    fn ping(&mut self, ack: bool) -> bool {
        if ack {
            self.ping_acks += 1;
            return self.bears(|floods, now| floods.idle(now));
        }
        let has_streams = self.slab.len() > 0;
        if let Some(pings) = &mut self.pings {
            self.ping_flood |= !pings.on_ping(self.now, has_streams);
        }
        true
    }

    fn control(&mut self, control: Control) -> bool {
        if let Control::Reset(stream_id) = control {
            self.reset_by_peer = stream_id;
        }
        self.bears(|floods, now| match control {
            Control::Reset(_) => floods.reset(now),
            Control::Settings => floods.settings(now),
            Control::WindowUpdate => floods.idle(now),
        })
    }

    fn goaway(&mut self, code: ErrorCode, debug: &[u8]) {
        self.goaway = Some((code, String::from_utf8_lossy(debug).into_owned()));
    }

    fn supply(&mut self, slot: u32, max: usize) -> Supply {
        self.on_data_sent();
        let row = self.slab.row(slot);
        let len = row.queued();
        if len > max {
            return Supply::More(max);
        }
        let supply = match &row.ending {
            None if len == 0 => {
                row.deferred = true;
                return Supply::Defer;
            }
            None => return Supply::More(len),
            Some(Trailers::None) => Supply::Last(len),
            Some(_) => Supply::LastWithTrailers(len),
        };
        if !row.remote_ended && self.role == Role::Server {
            let stream = StreamRef { slot, id: row.id };
            self.unfinished.push(stream);
        }
        supply
    }

    fn write_data(&mut self, slot: u32, frame_header: &[u8; 9], len: usize) -> bool {
        let row = self.slab.row(slot);
        self.floods.data_sent();
        self.queued -= len;
        self.output.extend_from_slice(frame_header);
        self.output.extend_from_slice(&row.queue[row.sent..row.sent + len]);
        row.sent += len;
        if row.sent == row.queue.len() {
            row.queue.clear();
            row.sent = 0;
        }
        self.output.len() < self.output_limit
    }

    fn with_trailers<R>(&self, slot: u32, submit: impl FnOnce(&[Field<'_>]) -> R) -> R {
        self.slab.peek(slot).ending.as_ref().unwrap_or(&Trailers::None).with(submit)
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        self.output.extend_from_slice(bytes);
        self.output.len() < self.output_limit
    }
}
