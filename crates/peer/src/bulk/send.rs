//! The sender's end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use crc32fast::Hasher;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};
use windlass_records::peer::{
    BulkAbort, BulkChunk, BulkCredit, BulkDone, BulkEnd, BulkOpen, BulkOpened, Ping, Purpose, Record,
};
use windlass_tls::Stream;

use super::{BulkError, CHUNK_BYTES_MAX, FRAME_BYTES_MAX, OPEN_MAX, Resume, WINDOW_BYTES};
use crate::api::NotSent;
use crate::assemble::Assembler;
use crate::backoff::Backoff;
use crate::frame::{Fault, Kind, RawFrame};
use crate::handshake::{Broken, read_frame};
use crate::link::{BEATS, Link, dial, write_pieces};
use crate::pack::Packet;
use crate::peers::Shared;

/// Sends one bulk stream. Dropped before [`finish`](Self::finish) is over, it tells the receiver that it gives up.
#[derive(Debug)]
pub struct BulkSender {
    sending: Rc<Sending>,
    resume: Resume,
}

impl BulkSender {
    /// What the receiver has already: supply the bytes from there on.
    #[must_use]
    pub fn resume(&self) -> Resume {
        self.resume
    }

    /// Sends the next bytes. Waits while the receiver does not keep up.
    ///
    /// # Errors
    /// If the stream will not be continued.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), BulkError> {
        while !bytes.is_empty() {
            self.sending.until_room().await?;
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
            self.sending.push(chunk);
        }
        Ok(())
    }

    /// Ends the stream, and waits until the receiver confirms that it has it.
    ///
    /// # Errors
    /// If the stream will not be continued. The receiver may have it all the same, if that is said late.
    pub async fn finish(self) -> Result<(), BulkError> {
        self.sending.state.borrow_mut().finished = true;
        self.sending.work.notify_one();
        self.sending.until_settled().await
    }

    /// Gives up, and tells the receiver why.
    pub fn abort(self, why: &str) {
        self.sending.abort(why);
    }
}

impl Drop for BulkSender {
    fn drop(&mut self) {
        self.sending.abort("the sender gave up");
    }
}

/// Offers a stream to a peer, and waits until it is accepted.
pub(crate) async fn open(
    shared: &Rc<Shared>,
    link: &Rc<Link>,
    id: u64,
    meta: Bytes,
) -> Result<BulkSender, BulkError> {
    if meta.len() > CHUNK_BYTES_MAX {
        return Err(BulkError::NotSent(NotSent::TooLarge));
    }
    let sending = Rc::new(Sending { id, meta, ..Sending::default() });
    // Aborts if this call is given up.
    let mut sender = BulkSender { sending: sending.clone(), resume: Resume::default() };
    shared.spawn(run(shared.clone(), link.clone(), sending));
    sender.resume = sender.sending.until_opened().await?;
    Ok(sender)
}

#[derive(Debug, Default)]
struct Sending {
    id: u64,
    meta: Bytes,
    state: RefCell<State>,
    /// There is something for the task to do.
    work: Notify,
    /// There is something for the owner to know.
    news: Notify,
}

/// Invariant: `credited <= sent <= end`, and the chunks cover `credited..end`.
#[derive(Debug, Default)]
struct State {
    opened: Option<Resume>,
    chunks: VecDeque<Chunk>,
    /// The receiver's owner took everything below; the checksum is of that.
    credited: u64,
    credited_crc: u32,
    /// Everything below is written to the present connection.
    sent: u64,
    end: u64,
    crc: Hasher,
    finished: bool,
    aborted: Option<String>,
    settled: Option<Result<(), BulkError>>,
}

#[derive(Debug)]
struct Chunk {
    offset: u64,
    data: Bytes,
    /// Of the stream up to the end of this chunk.
    crc: u32,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }
}

impl Sending {
    async fn until<T>(&self, mut ready: impl FnMut(&State) -> Option<T>) -> Result<T, BulkError> {
        loop {
            {
                let state = self.state.borrow();
                if let Some(Err(error)) = &state.settled {
                    return Err(error.clone());
                }
                if let Some(value) = ready(&state) {
                    return Ok(value);
                }
            }
            self.news.notified().await;
        }
    }

    async fn until_opened(&self) -> Result<Resume, BulkError> {
        self.until(|state| state.opened).await
    }

    async fn until_room(&self) -> Result<(), BulkError> {
        self.until(|state| (state.end - state.credited < WINDOW_BYTES).then_some(())).await
    }

    async fn until_settled(&self) -> Result<(), BulkError> {
        self.until(|state| state.settled.as_ref().map(|_| ())).await
    }

    async fn until_aborted(&self) {
        while self.state.borrow().aborted.is_none() {
            self.work.notified().await;
        }
    }

    fn push(&self, data: Bytes) {
        let state = &mut *self.state.borrow_mut();
        state.crc.update(&data);
        let (offset, crc) = (state.end, state.crc.clone().finalize());
        state.end += data.len() as u64;
        state.chunks.push_back(Chunk { offset, data, crc });
        self.work.notify_one();
    }

    fn abort(&self, why: &str) {
        let mut state = self.state.borrow_mut();
        if state.settled.is_none() && state.aborted.is_none() {
            state.aborted = Some(why.to_owned());
            self.work.notify_one();
        }
    }

    fn settle(&self, how: Result<(), BulkError>) {
        let mut state = self.state.borrow_mut();
        state.chunks.clear();
        state.settled.get_or_insert(how);
        self.news.notify_one();
    }

    fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.settled.is_some() || state.aborted.is_some()
    }

    /// The receiver says where to continue.
    fn opened(&self, at: Resume) -> Result<(), BulkError> {
        let state = &mut *self.state.borrow_mut();
        if state.opened.is_none() {
            state.opened = Some(at);
            (state.credited, state.sent, state.end) = (at.offset, at.offset, at.offset);
            state.credited_crc = at.crc;
            state.crc = Hasher::new_with_initial_len(at.crc, at.offset);
            self.news.notify_one();
            return Ok(());
        }
        if at.offset < state.credited {
            return Err(BulkError::Rewound);
        }
        let crc = match at.offset {
            offset if offset == state.credited => Some(state.credited_crc),
            offset => state.chunks.iter().find(|chunk| chunk.end() == offset).map(|chunk| chunk.crc),
        };
        if crc != Some(at.crc) {
            return Err(BulkError::Checksum);
        }
        // What is not credited is kept: the receiver has it, but not yet its owner.
        state.sent = at.offset;
        Ok(())
    }
}

impl State {
    fn taken(&mut self, offset: u64) {
        while let Some(chunk) = self.chunks.front()
            && chunk.end() <= offset
        {
            self.credited_crc = chunk.crc;
            self.chunks.pop_front();
        }
        self.credited = offset;
    }

    /// The chunk to write next.
    fn unsent(&self) -> Option<(u64, Bytes)> {
        let at = self.chunks.partition_point(|chunk| chunk.offset < self.sent);
        self.chunks.get(at).map(|chunk| (chunk.offset, chunk.data.clone()))
    }
}

/// Settles a stream whose task ends, however it ends: its owner must not wait for ever.
struct Settled(Rc<Sending>);

impl Drop for Settled {
    fn drop(&mut self) {
        self.0.settle(Err(BulkError::Lost("ended by this member".to_owned())));
    }
}

/// Connects, sends, and connects again, until the stream is settled.
async fn run(shared: Rc<Shared>, link: Rc<Link>, sending: Rc<Sending>) {
    let _settled = Settled(sending.clone());
    let mut backoff = Backoff::new(shared.seed ^ link.peer.0 ^ sending.id);
    let mut connected = Instant::now();
    while !sending.is_over() {
        let broken = tokio::select! {
            broken = connection(&shared, &link, &sending, &mut connected) => broken,
            () = link.left() => {
                sending.settle(Err(BulkError::NotSent(NotSent::UnknownPeer)));
                return;
            }
        };
        if sending.is_over() {
            break;
        }
        if connected.elapsed() >= shared.bulk_patience {
            sending.settle(Err(BulkError::Lost(broken.to_string())));
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = sending.until_aborted() => {}
        }
    }
}

/// One connection, from dialling to its end.
async fn connection(shared: &Shared, link: &Link, sending: &Sending, connected: &mut Instant) -> Broken {
    let mut last = Broken::Closed;
    for url in &*link.urls() {
        match dial(shared, link, url, Purpose::Bulk).await {
            Ok((stream, assembler, _)) => {
                let broken = Conversation::new(shared, link, sending).run(stream, assembler).await;
                *connected = Instant::now();
                return broken;
            }
            Err(broken) => last = broken,
        }
    }
    last
}

/// What is said on one connection.
struct Conversation<'a> {
    shared: &'a Shared,
    link: &'a Link,
    sending: &'a Sending,
    /// The sign of life to ask for.
    ping: Cell<Option<u64>>,
    heard: Cell<bool>,
    end_written: Cell<bool>,
}

impl<'a> Conversation<'a> {
    fn new(shared: &'a Shared, link: &'a Link, sending: &'a Sending) -> Self {
        let (ping, heard, end_written) = (Cell::new(None), Cell::new(false), Cell::new(false));
        Self { shared, link, sending, ping, heard, end_written }
    }

    async fn run(&self, mut stream: Stream, mut assembler: Assembler) -> Broken {
        let opened = tokio::select! {
            opened = timeout(OPEN_MAX, self.open(&mut stream, &mut assembler)) => opened,
            () = self.sending.until_aborted() => return Broken::Ended,
        };
        match opened.unwrap_or(Err(Broken::Silent)) {
            Ok(()) => {}
            Err(broken) => return broken,
        }
        let (read, write) = tokio::io::split(stream);
        tokio::select! {
            broken = self.hear(read, assembler) => broken,
            broken = self.write(write) => broken,
            broken = self.watch_over() => broken,
        }
    }

    async fn open(&self, stream: &mut Stream, assembler: &mut Assembler) -> Result<(), Broken> {
        let open = BulkOpen { id: self.sending.id };
        let packet = self.shared.pack(Kind::BulkOpen, &open, std::slice::from_ref(&self.sending.meta));
        write_pieces(self.link, stream, &mut packet.into_pieces().collect()).await?;
        assembler.set_body_bytes_max(FRAME_BYTES_MAX);
        let frame = read_frame(stream, assembler).await?;
        match frame.kind {
            Kind::BulkOpened => {
                let BulkOpened { offset, crc } = BulkOpened::parse(frame.record())?;
                if let Err(error) = self.sending.opened(Resume { offset, crc }) {
                    self.sending.settle(Err(error));
                    return Err(Broken::Ended);
                }
                Ok(())
            }
            Kind::BulkAbort => {
                let why = BulkAbort::parse(frame.record())?.text;
                self.sending.settle(Err(BulkError::Refused(why)));
                Err(Broken::Ended)
            }
            _ => Err(Fault::Unexpected("an answer to the offer of a stream was due").into()),
        }
    }

    async fn hear(&self, mut read: ReadHalf<Stream>, mut assembler: Assembler) -> Broken {
        loop {
            let heard = match read_frame(&mut read, &mut assembler).await {
                Ok(frame) => self.heard(&frame),
                Err(broken) => return broken,
            };
            match heard {
                Ok(false) => {}
                Ok(true) => return Broken::Ended,
                Err(broken) => return broken,
            }
        }
    }

    /// Whether the stream is settled.
    fn heard(&self, frame: &RawFrame) -> Result<bool, Broken> {
        self.heard.set(true);
        match frame.kind {
            Kind::Pong => Ok(false),
            Kind::BulkCredit => {
                let BulkCredit { offset } = BulkCredit::parse(frame.record())?;
                let mut state = self.sending.state.borrow_mut();
                if !(state.credited..=state.sent).contains(&offset) {
                    return Err(Fault::Unexpected("credit for what was not sent").into());
                }
                state.taken(offset);
                self.sending.news.notify_one();
                Ok(false)
            }
            Kind::BulkDone => {
                let BulkDone { length } = BulkDone::parse(frame.record())?;
                if !self.end_written.get() || length != self.sending.state.borrow().end {
                    return Err(Fault::Unexpected("confirmation of what was not sent").into());
                }
                self.sending.settle(Ok(()));
                Ok(true)
            }
            Kind::BulkAbort => {
                let why = BulkAbort::parse(frame.record())?.text;
                self.sending.settle(Err(BulkError::Aborted(why)));
                Ok(true)
            }
            _ => Err(Fault::Unexpected("not one of a bulk stream").into()),
        }
    }

    async fn write(&self, mut write: WriteHalf<Stream>) -> Broken {
        let mut sequence = 0;
        loop {
            let aborted = self.sending.state.borrow().aborted.clone();
            if let Some(text) = aborted {
                let packet = self.shared.pack(Kind::BulkAbort, &BulkAbort { text }, &[]);
                let _ = self.write_packet(&mut write, packet).await;
                let _ = write.shutdown().await;
                // The receiver closes when it has read it.
                return std::future::pending().await;
            }
            let Some(packet) = self.next_packet(&mut sequence) else {
                self.sending.work.notified().await;
                continue;
            };
            if let Err(broken) = self.write_packet(&mut write, packet).await {
                return broken;
            }
            // The messages of the cluster come first.
            tokio::task::yield_now().await;
        }
    }

    fn next_packet(&self, sequence: &mut u64) -> Option<Packet> {
        if let Some(ping) = self.ping.take() {
            return Some(self.shared.pack(Kind::Ping, &Ping { sequence: ping, received: 0 }, &[]));
        }
        let mut state = self.sending.state.borrow_mut();
        if let Some((offset, data)) = state.unsent() {
            let chunk = BulkChunk { sequence: *sequence, offset };
            *sequence += 1;
            state.sent = offset + data.len() as u64;
            return Some(self.shared.pack(Kind::BulkChunk, &chunk, &[data]));
        }
        if state.finished && !self.end_written.replace(state.finished) {
            let end = BulkEnd { length: state.end, crc: state.crc.clone().finalize() };
            return Some(self.shared.pack(Kind::BulkEnd, &end, &[]));
        }
        None
    }

    async fn write_packet(&self, write: &mut WriteHalf<Stream>, packet: Packet) -> Result<(), Broken> {
        write_pieces(self.link, write, &mut packet.into_pieces().collect()).await?;
        Ok(())
    }

    /// As on a message stream: the receiver's end answers even while it holds the bytes back.
    async fn watch_over(&self) -> Broken {
        let mut beats = interval(self.shared.dead_after / BEATS);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        for sequence in 1.. {
            beats.tick().await;
            silent = if self.heard.take() { 0 } else { silent + 1 };
            if silent > BEATS {
                break;
            }
            self.ping.set(Some(sequence));
            self.sending.work.notify_one();
        }
        Broken::Silent
    }
}
