//! The receiver's end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crc32fast::Hasher;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use windlass_records::peer::{
    BulkAbort, BulkChunk, BulkCredit, BulkDone, BulkEnd, BulkOpen, BulkOpened, Ping, Record,
};
use windlass_tls::Stream;

use super::{
    BulkError, CHUNK_BYTES_MAX, CREDIT_BYTES, FRAME_BYTES_MAX, OPEN_MAX, Resume, STREAMS_MAX, WINDOW_BYTES,
};
use crate::assemble::Assembler;
use crate::frame::{Fault, Kind, RawFrame};
use crate::handshake::{Broken, read_frame, write_record};
use crate::inbound::{Ending, idle_max};
use crate::link::{Link, hex};
use crate::peers::Shared;
use crate::stats::add;

/// Time that the first frame of a bulk connection may take.
const FIRST_FRAME_MAX: Duration = Duration::from_secs(5);

/// A stream that a peer wants to send. Dropped, it is refused.
pub struct BulkOffer {
    id: u64,
    meta: Bytes,
    shared: Rc<Shared>,
    link: Rc<Link>,
    answer: Option<oneshot::Sender<Result<Rc<Incoming>, String>>>,
}

impl fmt::Debug for BulkOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.link.peer;
        f.debug_struct("BulkOffer").field("from", &from).field("id", &self.id).finish_non_exhaustive()
    }
}

impl BulkOffer {
    /// The sender's name for the stream.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What the sender says of it.
    #[must_use]
    pub fn meta(&self) -> &Bytes {
        &self.meta
    }

    /// Takes it, from `resume` on: what is there already is not sent.
    #[must_use]
    pub fn accept(mut self, resume: Resume) -> BulkReceiver {
        let incoming = Rc::new(Incoming::new(self.id, resume));
        self.link.receiving.begin(incoming.clone());
        if let Some(answer) = self.answer.take() {
            // If the connection is gone meanwhile, the sender comes again.
            let _ = answer.send(Ok(incoming.clone()));
        }
        let receiver = BulkReceiver { incoming, link: self.link.clone(), shared: self.shared.clone() };
        receiver.incoming.give_up_without_connection(&self.shared, &self.link);
        receiver
    }

    /// Does not take it.
    pub fn refuse(mut self, why: &str) {
        if let Some(answer) = self.answer.take() {
            let _ = answer.send(Err(why.to_owned()));
        }
    }
}

/// Takes one bulk stream. Dropped before [`confirm`](Self::confirm), it tells the sender that it gives up.
pub struct BulkReceiver {
    incoming: Rc<Incoming>,
    link: Rc<Link>,
    shared: Rc<Shared>,
}

impl fmt::Debug for BulkReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.link.peer;
        f.debug_struct("BulkReceiver")
            .field("from", &from)
            .field("id", &self.incoming.id)
            .finish_non_exhaustive()
    }
}

impl BulkReceiver {
    /// The next bytes; none at the end of the stream, whose length and checksum are right then. The sender is held back
    /// while this is not called.
    ///
    /// # Errors
    /// If the stream will not be continued.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BulkError> {
        loop {
            {
                let state = &mut *self.incoming.state.borrow_mut();
                if let Some(bytes) = state.queue.pop_front() {
                    state.taken += bytes.len() as u64;
                    self.incoming.told.notify_one();
                    return Ok(Some(bytes));
                }
                if let Some(error) = &state.failed {
                    return Err(error.clone());
                }
                if state.ended {
                    return Ok(None);
                }
            }
            self.incoming.arrived.notified().await;
        }
    }

    /// All of it is safe here: the sender's `finish` returns. Panics before [`next`](Self::next) gave the end.
    pub fn confirm(self) {
        {
            let mut state = self.incoming.state.borrow_mut();
            assert!(state.ended && state.queue.is_empty(), "confirmed before its end");
            state.confirmed = true;
        }
        self.incoming.told.notify_one();
        // It is kept for a while, for a sender that did not hear it.
        let (incoming, link) = (self.incoming.clone(), self.link.clone());
        let patience = self.shared.bulk_patience;
        self.shared.spawn(async move {
            tokio::time::sleep(patience).await;
            link.receiving.end(&incoming);
        });
    }

    /// Gives up, and tells the sender why.
    pub fn abort(self, why: &str) {
        self.incoming.give_up(why);
    }
}

impl Drop for BulkReceiver {
    fn drop(&mut self) {
        if !self.incoming.state.borrow().confirmed {
            self.incoming.give_up("the receiver gave up");
            self.link.receiving.end(&self.incoming);
        }
    }
}

/// The streams from one peer.
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    streams: RefCell<BTreeMap<u64, Rc<Incoming>>>,
}

impl Receiving {
    fn find(&self, id: u64) -> Option<Rc<Incoming>> {
        self.streams.borrow().get(&id).cloned()
    }

    fn begin(&self, incoming: Rc<Incoming>) {
        let before = self.streams.borrow_mut().insert(incoming.id, incoming);
        if let Some(before) = before {
            before.fail(BulkError::Aborted("offered anew".to_owned()));
        }
    }

    fn end(&self, incoming: &Rc<Incoming>) {
        let mut streams = self.streams.borrow_mut();
        if streams.get(&incoming.id).is_some_and(|known| Rc::ptr_eq(known, incoming)) {
            streams.remove(&incoming.id);
        }
    }

    /// Makes room by forgetting a stream that is settled.
    fn has_room(&self) -> bool {
        let mut streams = self.streams.borrow_mut();
        if streams.len() < STREAMS_MAX {
            return true;
        }
        let settled = streams.iter().find(|(_, incoming)| incoming.state.borrow().confirmed);
        let Some(id) = settled.map(|(id, _)| *id) else { return false };
        streams.remove(&id).is_some()
    }

    /// The peer is no member any more.
    pub fn fail_all(&self) {
        let streams = std::mem::take(&mut *self.streams.borrow_mut());
        for incoming in streams.into_values() {
            incoming.fail(BulkError::Lost("the sender is no member any more".to_owned()));
        }
    }
}

/// One stream, across its connections.
#[derive(Debug)]
struct Incoming {
    id: u64,
    state: RefCell<State>,
    /// The owner has something to take.
    arrived: Notify,
    /// The owner has something to tell the sender.
    told: Notify,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Bytes>,
    /// Bytes that arrived, of which those below `taken` are out of the queue.
    received: u64,
    taken: u64,
    crc: Hasher,
    ended: bool,
    confirmed: bool,
    given_up: Option<String>,
    failed: Option<BulkError>,
    /// The present connection, or since when there is none.
    connection: Result<Rc<Ending>, Instant>,
}

impl Incoming {
    fn new(id: u64, resume: Resume) -> Self {
        let state = State {
            queue: VecDeque::new(),
            received: resume.offset,
            taken: resume.offset,
            crc: Hasher::new_with_initial_len(resume.crc, resume.offset),
            ended: false,
            confirmed: false,
            given_up: None,
            failed: None,
            connection: Err(Instant::now()),
        };
        Self { id, state: RefCell::new(state), arrived: Notify::new(), told: Notify::new() }
    }

    fn fail(&self, error: BulkError) {
        self.state.borrow_mut().failed.get_or_insert(error);
        self.arrived.notify_one();
        self.told.notify_one();
    }

    fn give_up(&self, why: &str) {
        self.state.borrow_mut().given_up.get_or_insert_with(|| why.to_owned());
        self.told.notify_one();
    }

    /// A new connection takes over from the present one.
    fn connect(&self) -> Rc<Ending> {
        let ending = Rc::new(Ending::default());
        let before = std::mem::replace(&mut self.state.borrow_mut().connection, Ok(ending.clone()));
        if let Ok(before) = before {
            before.end();
        }
        ending
    }

    /// Whether it was the present connection.
    fn disconnect(&self, ending: &Rc<Ending>) -> bool {
        let mut state = self.state.borrow_mut();
        let is_present = state.connection.as_ref().is_ok_and(|present| Rc::ptr_eq(present, ending));
        if is_present {
            state.connection = Err(Instant::now());
        }
        is_present
    }

    /// Fails the stream if it has no connection a while from now, too.
    fn give_up_without_connection(self: &Rc<Self>, shared: &Rc<Shared>, link: &Rc<Link>) {
        let (incoming, link, patience) = (self.clone(), link.clone(), shared.bulk_patience);
        let since = self.state.borrow().connection.as_ref().err().copied();
        shared.spawn(async move {
            tokio::time::sleep(patience).await;
            let now = incoming.state.borrow().connection.as_ref().err().copied();
            if since.is_some() && now == since && !incoming.state.borrow().confirmed {
                incoming.fail(BulkError::Lost("the sender did not come back".to_owned()));
                link.receiving.end(&incoming);
            }
        });
    }

    fn resume(&self) -> Resume {
        let state = self.state.borrow();
        Resume { offset: state.received, crc: state.crc.clone().finalize() }
    }
}

/// Serves a bulk connection from a peer until it ends.
pub(crate) async fn run(shared: &Rc<Shared>, link: &Rc<Link>, mut stream: Stream, mut assembler: Assembler) {
    assembler.set_body_bytes_max(FRAME_BYTES_MAX);
    let opened = tokio::select! {
        opened = opened(shared, link, &mut stream, &mut assembler) => opened,
        () = link.left() => return,
    };
    let broken = match opened {
        Ok(Some(incoming)) => serve(shared, link, &incoming, stream, assembler).await,
        Ok(None) => return,
        Err(broken) => broken,
    };
    if let Broken::Fault(fault) = broken {
        add(&link.counters.faults, 1);
        tracing::warn!(peer = %hex(link.peer), reason = %fault, "dropped a bulk connection for what it sent");
    }
}

/// The stream that the connection is for; none if it is refused.
async fn opened(
    shared: &Rc<Shared>,
    link: &Rc<Link>,
    stream: &mut Stream,
    assembler: &mut Assembler,
) -> Result<Option<Rc<Incoming>>, Broken> {
    let frame = timeout(FIRST_FRAME_MAX, read_frame(stream, assembler)).await;
    let frame = frame.unwrap_or(Err(Broken::Silent))?;
    if frame.kind != Kind::BulkOpen {
        return Err(Fault::Unexpected("the offer of a stream was due").into());
    }
    let BulkOpen { id } = BulkOpen::parse(frame.record())?;
    let incoming = match link.receiving.find(id) {
        Some(known) => Ok(known),
        None if !link.receiving.has_room() => Err("too many streams of this member".to_owned()),
        None => offered(shared, link, id, frame.payload()).await?,
    };
    match incoming {
        Ok(incoming) => Ok(Some(incoming)),
        Err(text) => {
            write_record(stream, Kind::BulkAbort, &BulkAbort { text }, None).await?;
            until_closed(stream).await;
            Ok(None)
        }
    }
}

/// What the member says to an offer.
async fn offered(
    shared: &Rc<Shared>,
    link: &Rc<Link>,
    id: u64,
    meta: Bytes,
) -> Result<Result<Rc<Incoming>, String>, Broken> {
    let (answer, answered) = oneshot::channel();
    let offer = BulkOffer { id, meta, shared: shared.clone(), link: link.clone(), answer: Some(answer) };
    shared.handler.bulk(link.peer, offer);
    match timeout(OPEN_MAX, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Ok(Err("not wanted".to_owned())),
        Err(_) => Err(Broken::Silent),
    }
}

/// The last word must arrive: closing with bytes unread would reset the connection.
async fn until_closed(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    let _ = stream.shutdown().await;
    let (mut rest, mut nowhere) = (stream.take(2 * WINDOW_BYTES), tokio::io::sink());
    let _ = timeout(FIRST_FRAME_MAX, tokio::io::copy(&mut rest, &mut nowhere)).await;
}

async fn serve(
    shared: &Rc<Shared>,
    link: &Rc<Link>,
    incoming: &Rc<Incoming>,
    mut stream: Stream,
    assembler: Assembler,
) -> Broken {
    let ending = incoming.connect();
    let Resume { offset, crc } = incoming.resume();
    let conversation = Conversation {
        link,
        incoming,
        credited: Cell::new(0),
        ended: Cell::new(false),
        pong: Cell::new(None),
        heard: Cell::new(Instant::now()),
    };
    let broken = match write_record(&mut stream, Kind::BulkOpened, &BulkOpened { offset, crc }, None).await {
        Err(error) => error.into(),
        Ok(_) => {
            let (read, write) = tokio::io::split(stream);
            tokio::select! {
                broken = conversation.hear(read, assembler) => broken,
                broken = conversation.tell(write) => broken,
                () = conversation.wait_for_silence(idle_max(shared)) => Broken::Silent,
                () = ending.wait() => Broken::Ended,
                () = link.left() => Broken::Ended,
            }
        }
    };
    if incoming.disconnect(&ending) {
        incoming.give_up_without_connection(shared, link);
    }
    broken
}

/// What is said on one connection.
struct Conversation<'a> {
    link: &'a Link,
    incoming: &'a Incoming,
    /// What the sender was told on this connection; it may know of more.
    credited: Cell<u64>,
    /// The sender's end marker came on this connection; it may have come on an earlier one, too.
    ended: Cell<bool>,
    /// The sign of life to give.
    pong: Cell<Option<u64>>,
    heard: Cell<Instant>,
}

impl Conversation<'_> {
    async fn hear(&self, mut read: ReadHalf<Stream>, mut assembler: Assembler) -> Broken {
        let mut sequence = 0;
        loop {
            match assembler.next() {
                Ok(Some(frame)) => match self.heard(&frame, &mut sequence) {
                    Ok(()) => continue,
                    Err(fault) => return fault.into(),
                },
                Ok(None) => {}
                Err(fault) => return fault.into(),
            }
            match read.read(assembler.space()).await {
                Ok(0) => return Broken::Closed,
                Ok(len) => {
                    add(&self.link.counters.received_bytes, len as u64);
                    assembler.filled(len);
                    self.heard.set(Instant::now());
                }
                Err(error) => return error.into(),
            }
        }
    }

    fn heard(&self, frame: &RawFrame, sequence: &mut u64) -> Result<(), Fault> {
        match frame.kind {
            Kind::Ping => {
                self.pong.set(Some(Ping::parse(frame.record())?.sequence));
                self.incoming.told.notify_one();
            }
            Kind::BulkChunk => {
                let chunk = BulkChunk::parse(frame.record())?;
                if chunk.sequence != *sequence {
                    return Err(Fault::Unexpected("chunk out of sequence"));
                }
                *sequence += 1;
                self.take_in(chunk.offset, frame.payload())?;
            }
            Kind::BulkEnd => self.end(BulkEnd::parse(frame.record())?),
            Kind::BulkAbort => {
                self.incoming.fail(BulkError::Aborted(BulkAbort::parse(frame.record())?.text));
            }
            _ => return Err(Fault::Unexpected("not one of a bulk stream")),
        }
        Ok(())
    }

    fn take_in(&self, offset: u64, data: Bytes) -> Result<(), Fault> {
        let mut state = self.incoming.state.borrow_mut();
        if offset != state.received || data.is_empty() || data.len() > CHUNK_BYTES_MAX || state.ended {
            return Err(Fault::Unexpected("chunk out of place"));
        }
        // A sender waits when the window is full, and then may send one chunk beyond it.
        if state.received - state.taken >= WINDOW_BYTES {
            return Err(Fault::Unexpected("chunk beyond the window"));
        }
        state.crc.update(&data);
        state.received += data.len() as u64;
        state.queue.push_back(data);
        self.incoming.arrived.notify_one();
        Ok(())
    }

    fn end(&self, end: BulkEnd) {
        let mut state = self.incoming.state.borrow_mut();
        if end.length == state.received && end.crc == state.crc.clone().finalize() {
            state.ended = true;
            self.ended.set(true);
            self.incoming.arrived.notify_one();
            self.incoming.told.notify_one();
        } else {
            drop(state);
            self.incoming.give_up("length or checksum of the stream is wrong");
            self.incoming.fail(BulkError::Checksum);
        }
    }

    async fn tell(&self, mut write: WriteHalf<Stream>) -> Broken {
        let mut confirmed = false;
        loop {
            let written = if let Some(text) = self.given_up() {
                let _ = write_record(&mut write, Kind::BulkAbort, &BulkAbort { text }, None).await;
                let _ = write.shutdown().await;
                // The sender closes when it has read it.
                return std::future::pending().await;
            } else if let Some(sequence) = self.pong.take() {
                let pong = Ping { sequence, received: self.incoming.state.borrow().received };
                write_record(&mut write, Kind::Pong, &pong, None).await
            } else if let Some(offset) = self.credit() {
                self.credited.set(offset);
                write_record(&mut write, Kind::BulkCredit, &BulkCredit { offset }, None).await
            } else if let Some(length) = self.confirmed().filter(|_| !confirmed) {
                confirmed = true;
                write_record(&mut write, Kind::BulkDone, &BulkDone { length }, None).await
            } else {
                self.incoming.told.notified().await;
                continue;
            };
            match written {
                Ok(len) => add(&self.link.counters.sent_bytes, len as u64),
                Err(error) => return error.into(),
            }
        }
    }

    fn given_up(&self) -> Option<String> {
        self.incoming.state.borrow().given_up.clone()
    }

    /// A confirmation follows the end marker of the same connection: a sender that comes back repeats it.
    fn confirmed(&self) -> Option<u64> {
        let state = self.incoming.state.borrow();
        (state.confirmed && self.ended.get()).then_some(state.received)
    }

    fn credit(&self) -> Option<u64> {
        let state = self.incoming.state.borrow();
        let (taken, credited) = (state.taken, self.credited.get());
        let is_due = taken >= credited + CREDIT_BYTES || (taken > credited && state.queue.is_empty());
        is_due.then_some(taken)
    }

    async fn wait_for_silence(&self, idle_max: Duration) {
        loop {
            let since = self.heard.get();
            tokio::time::sleep_until((since + idle_max).into()).await;
            if self.heard.get() == since {
                return;
            }
        }
    }
}
