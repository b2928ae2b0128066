//! The stream from one peer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;
use windlass_records::peer::{Answer, Ask as AskRecord, ForwardRefused, Ping, Raft, Record};
use windlass_tls::Stream;
use windlass_types::Term;

use crate::api::{Event, Frame};
use crate::ask::{Ask, AskError, BUSY, Failure, OPEN_MAX, Reply};
use crate::assemble::Assembler;
use crate::frame::{Fault, Kind, RawFrame};
use crate::handshake::{Broken, Greeted, write_record};
use crate::link::{Link, hex};
use crate::message;
use crate::peers::Shared;
use crate::stats::add;

/// A peer that is still busy sending hears how far it got after so many bytes.
const REPORT_BYTES: u64 = 256 << 10;
/// A stream without a byte is ended after the time after which a peer is dead, times this, and not before
/// [`IDLE_MIN`]. Its sender asks for signs of life far more often.
const IDLE_TIMES: u32 = 4;
const IDLE_MIN: Duration = Duration::from_secs(5);

/// The present stream from a peer.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    present: RefCell<Option<Rc<Ending>>>,
}

/// How a stream is told that it is over.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    over: Cell<bool>,
    told: Notify,
}

impl Ending {
    pub fn end(&self) {
        self.over.set(true);
        self.told.notify_one();
    }

    /// Waits for the end. One waiter only.
    pub async fn wait(&self) {
        while !self.over.get() {
            self.told.notified().await;
        }
    }
}

impl Inbound {
    pub fn is_open(&self) -> bool {
        self.present.borrow().is_some()
    }

    /// Ends the present stream, if there is one.
    pub fn end(&self) {
        let present = self.present.take();
        if let Some(ending) = present {
            ending.end();
        }
    }

    fn begin(&self) -> Rc<Ending> {
        let ending = Rc::new(Ending::default());
        *self.present.borrow_mut() = Some(ending.clone());
        ending
    }
}

/// Serves a stream from a peer until it ends. A newer one of the same peer ends it: the older may be the one that the
/// peer gave up.
pub(crate) async fn run(
    shared: &Rc<Shared>,
    link: &Rc<Link>,
    stream: Stream,
    mut assembler: Assembler,
    greeted: Greeted,
) {
    if link.inbound.is_open() {
        link.inbound.end();
        link.asks.lose_all();
        shared.handler.event(Event::Unheard { peer: link.peer });
    }
    assembler.set_body_bytes_max(shared.frame_bytes_max);
    let ending = link.inbound.begin();
    link.hurry();
    shared.handler.event(Event::Heard { peer: link.peer, incarnation: greeted.incarnation });
    let served = Served {
        shared,
        link,
        ending: &ending,
        incarnation: greeted.incarnation,
        heard: Cell::new(Instant::now()),
    };
    let broken = tokio::select! {
        broken = served.receive(stream, assembler) => broken,
        () = ending.wait() => Broken::Ended,
        () = served.wait_for_silence() => Broken::Silent,
    };
    if let Broken::Fault(fault) = &broken {
        add(&link.counters.faults, 1);
        tracing::warn!(peer = %hex(link.peer), reason = %fault, "dropped a peer for what it sent");
    }
    if !ending.over.get() {
        link.inbound.end();
        link.asks.lose_all();
        shared.handler.event(Event::Unheard { peer: link.peer });
    }
}

/// How long a connection may be without a byte.
pub(crate) fn idle_max(shared: &Shared) -> Duration {
    (shared.dead_after * IDLE_TIMES).max(IDLE_MIN)
}

struct Served<'a> {
    shared: &'a Rc<Shared>,
    link: &'a Rc<Link>,
    ending: &'a Ending,
    incarnation: u64,
    heard: Cell<Instant>,
}

impl Served<'_> {
    async fn receive(&self, mut stream: Stream, mut assembler: Assembler) -> Broken {
        let mut report = Report::default();
        let mut frames = Vec::new();
        loop {
            let taken = self.take_frames(&mut assembler, &mut frames, &mut report);
            self.hand_over(&mut frames);
            if let Err(fault) = taken {
                return fault.into();
            }
            if self.ending.over.get() {
                return Broken::Ended;
            }
            if let Some(pong) = report.due()
                && let Err(error) = write_record(&mut stream, Kind::Pong, &pong, None).await
            {
                return error.into();
            }
            match stream.read(assembler.space()).await {
                Ok(0) => return Broken::Closed,
                Ok(len) => {
                    assembler.filled(len);
                    report.received += len as u64;
                    add(&self.link.counters.received_bytes, len as u64);
                    self.heard.set(Instant::now());
                }
                Err(error) => return error.into(),
            }
        }
    }

    /// Takes out every whole frame. Frames are gathered; what else comes is dealt with in its place among them.
    fn take_frames(
        &self,
        assembler: &mut Assembler,
        frames: &mut Vec<Frame>,
        report: &mut Report,
    ) -> Result<(), Fault> {
        while let Some(raw) = assembler.next()? {
            match raw.kind {
                Kind::Raft | Kind::Forward | Kind::ForwardRefused => frames.push(self.frame(&raw)?),
                Kind::Ping => report.asked = Some(Ping::parse(raw.record())?.sequence),
                Kind::Ask => {
                    let ask = AskRecord::parse(raw.record())?;
                    self.hand_over(frames);
                    self.asked(ask, &raw)?;
                }
                Kind::Answer => {
                    let answer = Answer::parse(raw.record())?;
                    self.hand_over(frames);
                    self.answered(answer, &raw);
                }
                _ => return Err(Fault::Unexpected("not one of a message stream")),
            }
            if self.ending.over.get() {
                break;
            }
        }
        Ok(())
    }

    fn frame(&self, raw: &RawFrame) -> Result<Frame, Fault> {
        Ok(match raw.kind {
            Kind::Raft => {
                let record = Raft::parse(raw.record())?;
                if record.from != self.link.peer || record.to != self.shared.member {
                    return Err(Fault::Unexpected("message from or for somebody else"));
                }
                Frame::Raft(message::from_record(&record, &raw.body, raw.record_len)?)
            }
            Kind::Forward => forward(raw.payload())?,
            _ => {
                let ForwardRefused { requests, incarnation, failure } = ForwardRefused::parse(raw.record())?;
                Frame::ForwardRefused { requests, incarnation, failure }
            }
        })
    }

    fn hand_over(&self, frames: &mut Vec<Frame>) {
        if !frames.is_empty() && !self.ending.over.get() {
            self.shared.handler.received(self.link.peer, frames);
        }
        frames.clear();
    }

    fn asked(&self, record: AskRecord, raw: &RawFrame) -> Result<(), Fault> {
        let kind =
            u16::try_from(record.kind).map_err(|_| Fault::Unexpected("kind of request out of range"))?;
        let open = self.link.open_replies.clone();
        let is_full = open.get() >= OPEN_MAX;
        open.set(open.get() + 1);
        let reply = Reply {
            shared: Rc::downgrade(self.shared),
            to: self.link.peer,
            id: record.id,
            incarnation: self.incarnation,
            open,
            done: false,
        };
        if is_full {
            reply.fail(BUSY, "too many requests of this peer are open");
        } else if !self.ending.over.get() {
            self.shared.handler.asked(self.link.peer, Ask { kind, payload: raw.payload() }, reply);
        }
        Ok(())
    }

    fn answered(&self, answer: Answer, raw: &RawFrame) {
        if answer.incarnation != self.shared.incarnation {
            return;
        }
        let answered = match answer.failure {
            None => Ok(raw.payload()),
            Some(Failure { code, text }) => Err(AskError::Failed(Failure { code, text })),
        };
        self.link.asks.answer(answer.id, answered);
    }

    /// Ends when nothing was heard for too long.
    async fn wait_for_silence(&self) {
        let idle_max = idle_max(self.shared);
        loop {
            let since = self.heard.get();
            tokio::time::sleep_until((since + idle_max).into()).await;
            if self.heard.get() == since {
                return;
            }
        }
    }
}

/// What the sender of a stream is told of it.
#[derive(Debug, Default)]
struct Report {
    received: u64,
    reported: u64,
    /// A question that is not answered.
    asked: Option<u64>,
    newest: u64,
}

impl Report {
    fn due(&mut self) -> Option<Ping> {
        if self.asked.is_none() && self.received - self.reported < REPORT_BYTES {
            return None;
        }
        self.newest = self.asked.take().unwrap_or(self.newest);
        self.reported = self.received;
        Some(Ping { sequence: self.newest, received: self.received })
    }
}

/// A term, then the commands that are meant for its leader.
fn forward(mut payload: Bytes) -> Result<Frame, Fault> {
    const TERM_BYTES: usize = 8;
    if payload.len() < TERM_BYTES {
        return Err(Fault::Unexpected("commands without a term"));
    }
    let term = payload.split_to(TERM_BYTES);
    let term = Term(u64::from_le_bytes(term[..].try_into().expect("eight bytes")));
    Ok(Frame::Forward { term, batch: payload })
}
