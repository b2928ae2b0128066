//! The stream to one peer: dialled, greeted, written to, watched over, and dialled again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use windlass_records::peer::{Hello, HelloReply, Ping, Purpose, Record, Refusal};
use windlass_tls::Stream;
use windlass_types::MemberId;

use crate::api::{Event, NotSent};
use crate::ask::OpenAsks;
use crate::assemble::Assembler;
use crate::backoff::Backoff;
use crate::bulk::Receiving;
use crate::dial::{self, DIAL_TIMEOUT};
use crate::frame::{Fault, Kind};
use crate::handshake::{Broken, HELLO_BYTES_MAX, VERSION, VERSION_MIN, greet};
use crate::inbound::Inbound;
use crate::outbox::{Lane, Outbox};
use crate::pack::Packet;
use crate::peers::Shared;
use crate::stats::{Counters, add};
use crate::url::Url;

/// Taken out of the queues at once. What is taken cannot be overtaken by control messages any more.
const TAKE_BYTES: usize = 256 << 10;
/// Pieces of one vectored write.
const SLICES_MAX: usize = 64;
/// Signs of life are asked for so often within the time after which a peer is dead.
pub(crate) const BEATS: u32 = 4;
/// A stream that worked for so long was good: the next attempt after its end is made without much waiting.
const GOOD_AFTER: Duration = Duration::from_secs(1);

/// One peer: the stream to it, and what belongs to both directions.
#[derive(Debug)]
pub(crate) struct Link {
    pub peer: MemberId,
    urls: RefCell<Rc<[Url]>>,
    outbox: RefCell<Outbox>,
    /// The stream to the peer takes frames.
    open: Cell<bool>,
    /// There is something in the outbox.
    queued: Notify,
    /// There is a reason not to wait with the next attempt to connect.
    hurry: Notify,
    /// The peer is no member any more: what is queued is written, then all ends.
    leaving: Cell<bool>,
    left: watch::Sender<bool>,
    pub counters: Counters,
    pub asks: OpenAsks,
    /// Requests of the peer that are open here.
    pub open_replies: Rc<Cell<usize>>,
    pub inbound: Inbound,
    /// Bulk streams from the peer.
    pub receiving: Receiving,
}

impl Link {
    pub fn new(peer: MemberId, urls: Vec<Url>, queue_bytes_max: usize) -> Self {
        Self {
            peer,
            urls: RefCell::new(urls.into()),
            outbox: RefCell::new(Outbox::new(queue_bytes_max)),
            open: Cell::new(false),
            queued: Notify::new(),
            hurry: Notify::new(),
            leaving: Cell::new(false),
            left: watch::Sender::new(false),
            counters: Counters::default(),
            asks: OpenAsks::default(),
            open_replies: Rc::default(),
            inbound: Inbound::default(),
            receiving: Receiving::default(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.open.get()
    }

    pub fn queued_bytes(&self) -> usize {
        self.outbox.borrow().queued_bytes()
    }

    pub fn urls(&self) -> Rc<[Url]> {
        self.urls.borrow().clone()
    }

    pub fn set_urls(&self, urls: Vec<Url>) {
        if **self.urls.borrow() != *urls {
            *self.urls.borrow_mut() = urls.into();
            self.hurry.notify_one();
        }
    }

    /// The peer showed that it is there.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// The peer is no member any more. Nothing more is taken; the task ends when what is queued is written.
    pub fn leave(&self) {
        self.leaving.set(true);
        self.open.set(false);
        self.queued.notify_one();
        self.hurry.notify_one();
        self.left.send_replace(true);
        self.inbound.end();
        self.asks.lose_all();
        self.receiving.fail_all();
    }

    /// Waits until the peer is no member any more.
    pub async fn left(&self) {
        // The sender is part of the link and outlives this.
        let _ = self.left.subscribe().wait_for(|left| *left).await;
    }

    pub fn push(&self, lane: Lane, packet: Packet) -> Result<(), NotSent> {
        let pushed = match self.open.get() {
            true => self.outbox.borrow_mut().push(lane, packet),
            false => Err(NotSent::NotConnected),
        };
        match pushed {
            Ok(()) => self.queued.notify_one(),
            Err(_) => add(&self.counters.send_failures, 1),
        }
        pushed
    }
}

/// Dials until the peer is no member any more.
pub(crate) async fn run(shared: Rc<Shared>, link: Rc<Link>) {
    let mut backoff = Backoff::new(shared.seed ^ link.peer.0);
    let mut log = DialLog::default();
    while !link.leaving.get() {
        match dial_any(&shared, &link, &mut log).await {
            Some((stream, assembler, reply)) => {
                log.connected(&link);
                let began = Instant::now();
                let broken = serve(&shared, &link, stream, assembler, reply).await;
                if !link.leaving.get() {
                    tracing::warn!(peer = %hex(link.peer), reason = %broken, "lost the stream to a peer");
                }
                if began.elapsed() >= GOOD_AFTER {
                    backoff.reset();
                }
            }
            None => add(&link.counters.dial_failures, 1),
        }
        if link.leaving.get() {
            break;
        }
        let wait = backoff.next();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = link.hurry.notified() => {}
        }
    }
}

/// What was said about attempts to connect: a reason is not repeated until another one came or a stream worked.
#[derive(Debug, Default)]
struct DialLog {
    last: Option<String>,
}

impl DialLog {
    fn connected(&mut self, link: &Link) {
        self.last = None;
        tracing::info!(peer = %hex(link.peer), "connected to a peer");
    }

    /// Whether the reason is a new one.
    fn failed(&mut self, link: &Link, url: &Url, broken: &Broken) -> bool {
        let reason = broken.to_string();
        if self.last.as_ref() == Some(&reason) {
            return false;
        }
        if matches!(broken, Broken::Refused(_) | Broken::Fault(_)) {
            tracing::warn!(peer = %hex(link.peer), %url, %reason, "a peer does not take the connection, trying again");
        } else {
            tracing::info!(peer = %hex(link.peer), %url, %reason, "cannot reach a peer, trying again");
        }
        self.last = Some(reason);
        true
    }
}

/// Tries the peer's URLs in turn.
async fn dial_any(
    shared: &Shared,
    link: &Link,
    log: &mut DialLog,
) -> Option<(Stream, Assembler, HelloReply)> {
    for url in &*link.urls() {
        match dial(shared, link, url, Purpose::Messages).await {
            Ok(connected) => return Some(connected),
            Err(broken) => {
                let is_news = log.failed(link, url, &broken);
                let Broken::Refused(HelloReply { refusal, .. }) = broken else { continue };
                match refusal {
                    Some(Refusal::Removed) if is_news => {
                        shared.handler.event(Event::Removed { by: link.peer });
                    }
                    // If it has said who it is meanwhile, that is what the other one knows.
                    Some(Refusal::Forgotten) if shared.unpublished.get() => {
                        shared.handler.event(Event::Forgotten { by: link.peer });
                    }
                    _ => {}
                }
            }
        }
        if link.leaving.get() {
            break;
        }
    }
    None
}

/// Connects to one URL and greets who is there.
pub(crate) async fn dial(
    shared: &Shared,
    link: &Link,
    url: &Url,
    purpose: Purpose,
) -> Result<(Stream, Assembler, HelloReply), Broken> {
    let hello = Hello {
        version: VERSION,
        version_min: VERSION_MIN,
        purpose,
        cluster: shared.cluster,
        from: shared.member,
        to: link.peer,
        incarnation: shared.incarnation,
        server_version: shared.server_version.clone(),
        unpublished: shared.unpublished.get(),
    };
    let attempt = async {
        let mut stream = dial::connect(url, shared.tls.as_ref()).await?;
        let mut assembler = Assembler::new(HELLO_BYTES_MAX);
        let (reply, _) = greet(&mut stream, &mut assembler, &hello, None).await?;
        if reply.cluster != shared.cluster || reply.member != link.peer {
            return Err(Fault::Unexpected("accepted by somebody else").into());
        }
        assembler.set_body_bytes_max(HELLO_BYTES_MAX);
        Ok((stream, assembler, reply))
    };
    timeout(DIAL_TIMEOUT + shared.dead_after, attempt).await.unwrap_or(Err(Broken::Silent))
}

/// Serves a stream until it ends.
async fn serve(
    shared: &Shared,
    link: &Link,
    stream: Stream,
    assembler: Assembler,
    reply: HelloReply,
) -> Broken {
    let HelloReply { incarnation, server_version, .. } = reply;
    *link.counters.identity.borrow_mut() = Some((incarnation, server_version.clone()));
    link.counters.connected_since.set(Some(Instant::now()));
    link.open.set(!link.leaving.get());
    shared.handler.event(Event::Connected { peer: link.peer, incarnation, server_version });
    let (read, write) = tokio::io::split(stream);
    let life = Life::default();
    let broken = tokio::select! {
        broken = listen(shared, link, &life, read, assembler) => broken,
        broken = write_queued(link, write) => broken,
        broken = watch_over(shared, link, &life) => broken,
    };
    link.open.set(false);
    link.outbox.borrow_mut().clear();
    link.counters.connected_since.set(None);
    add(&link.counters.disconnects, 1);
    link.asks.lose_all();
    shared.handler.event(Event::Disconnected { peer: link.peer });
    broken
}

/// Signs of life of the peer.
#[derive(Debug, Default)]
struct Life {
    /// Something came since it was last looked at.
    heard: Cell<bool>,
    /// The question that is not answered, and when it was asked.
    asked: Cell<Option<(u64, Instant)>>,
    sequence: Cell<u64>,
}

/// Hears the peer's signs of life; nothing else has a place in this direction.
async fn listen(
    shared: &Shared,
    link: &Link,
    life: &Life,
    mut read: ReadHalf<Stream>,
    mut assembler: Assembler,
) -> Broken {
    loop {
        let pong = loop {
            match assembler.next() {
                Ok(None) => {}
                Ok(Some(frame)) if frame.kind == Kind::Pong => break Ping::parse(frame.record()),
                Ok(Some(_)) => return Fault::Unexpected("only signs of life come this way").into(),
                Err(fault) => return fault.into(),
            }
            match read.read(assembler.space()).await {
                Ok(0) => return Broken::Closed,
                Ok(len) => {
                    add(&link.counters.received_bytes, len as u64);
                    assembler.filled(len);
                }
                Err(error) => return error.into(),
            }
        };
        let pong = match pong {
            Ok(pong) => pong,
            Err(error) => return error.into(),
        };
        life.heard.set(true);
        if let Some((sequence, asked)) = life.asked.get()
            && sequence == pong.sequence
        {
            life.asked.set(None);
            let time = asked.elapsed();
            link.counters.round_trip.set(Some(time));
            shared.handler.round_trip(link.peer, time);
        }
    }
}

/// Writes what is queued: all of one loop turn in one write.
async fn write_queued(link: &Link, mut write: WriteHalf<Stream>) -> Broken {
    let mut pieces: VecDeque<Bytes> = VecDeque::new();
    loop {
        link.outbox.borrow_mut().take(&mut pieces, TAKE_BYTES);
        if pieces.is_empty() {
            if link.leaving.get() {
                // The peer closes when it has read everything. Closing first, with its signs of life unread, would
                // reset the connection and take away what is still on its way.
                let _ = write.shutdown().await;
                return std::future::pending().await;
            }
            link.queued.notified().await;
            continue;
        }
        if let Err(error) = write_pieces(link, &mut write, &mut pieces).await {
            return error.into();
        }
    }
}

pub(crate) async fn write_pieces(
    link: &Link,
    write: &mut (impl AsyncWrite + Unpin),
    pieces: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    while !pieces.is_empty() {
        let written = poll_fn(|cx| {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = pieces.len().min(SLICES_MAX);
            for (slice, piece) in slices.iter_mut().zip(pieces.iter()) {
                *slice = IoSlice::new(piece);
            }
            Pin::new(&mut *write).poll_write_vectored(cx, &slices[..count])
        })
        .await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        add(&link.counters.sent_bytes, written as u64);
        advance(pieces, written);
    }
    write.flush().await
}

fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = pieces.front_mut() {
        if first.len() > written {
            first.advance(written);
            return;
        }
        written -= first.len();
        pieces.pop_front();
    }
}

/// Asks for signs of life, and ends the stream when there are none. Counts beats rather than looking at the clock: when
/// this process stood still, what the peer sent meanwhile is not read yet.
async fn watch_over(shared: &Shared, link: &Link, life: &Life) -> Broken {
    let mut beats = interval(shared.dead_after / BEATS);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent = 0;
    loop {
        beats.tick().await;
        let heard = life.heard.take();
        if life.asked.get().is_none() {
            silent = 0;
            ask_for_life(shared, link, life);
            continue;
        }
        silent = if heard { 0 } else { silent + 1 };
        if silent >= BEATS {
            return Broken::Silent;
        }
    }
}

fn ask_for_life(shared: &Shared, link: &Link, life: &Life) {
    let sequence = life.sequence.get() + 1;
    let packet = shared.pack(Kind::Ping, &Ping { sequence, received: 0 }, &[]);
    // With no room there is much to write, and the peer answers that, too.
    if link.outbox.borrow_mut().push(Lane::Control, packet).is_ok() {
        link.queued.notify_one();
    }
    life.sequence.set(sequence);
    life.asked.set(Some((sequence, Instant::now())));
}

/// Member ids are hexadecimal everywhere in etcd's output.
pub(crate) fn hex(member: MemberId) -> String {
    format!("{:x}", member.0)
}
