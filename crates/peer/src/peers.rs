//! The handle, and what all tasks share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use windlass_raft::Body;
use windlass_records::peer::{Answer, Ask as AskRecord, ForwardRefused, Record};
use windlass_tls::Tls;
use windlass_types::{ClusterId, MemberId};

use crate::api::{Config, Frame, Handler, NotSent};
use crate::ask::{AskError, Failure, OpenAsks};
use crate::bulk::{BulkError, BulkSender};
use crate::frame::Kind;
use crate::handshake::Broken;
use crate::link::{self, Link};
use crate::outbox::Lane;
use crate::pack::{Packet, body_len, pack};
use crate::stats::{PeerStats, add};
use crate::turned_away::TurnedAway;
use crate::url::{BadUrl, Url};
use crate::{accept, bulk, message};

/// What all tasks of one member's transport share.
pub(crate) struct Shared {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub incarnation: u64,
    pub seed: u64,
    pub unpublished: Cell<bool>,
    pub server_version: String,
    pub dead_after: Duration,
    pub frame_bytes_max: usize,
    pub queue_bytes_max: usize,
    pub bulk_patience: Duration,
    pub tls: Option<Tls>,
    pub handler: Rc<dyn Handler>,
    links: RefCell<BTreeMap<MemberId, Rc<Link>>>,
    /// Connections whose other side is not known yet.
    pub handshakes: Cell<usize>,
    tasks: RefCell<JoinSet<()>>,
    /// Reused for every record.
    fbb: RefCell<FlatBufferBuilder<'static>>,
    asks: Cell<u64>,
    turned_away: RefCell<TurnedAway>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("member", &self.member).finish_non_exhaustive()
    }
}

impl Shared {
    pub fn link(&self, peer: MemberId) -> Option<Rc<Link>> {
        self.links.borrow().get(&peer).cloned()
    }

    /// Runs a task until it ends, or everything does.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        tasks.spawn_local(task);
    }

    pub fn pack(&self, kind: Kind, record: &impl Record, parts: &[Bytes]) -> Packet {
        let mut fbb = self.fbb.borrow_mut();
        record.encode(&mut fbb);
        pack(kind, fbb.finished_data(), parts)
    }

    /// The same, unless it is larger than any frame may be.
    fn pack_bounded(&self, kind: Kind, record: &impl Record, parts: &[Bytes]) -> Result<Packet, NotSent> {
        let mut fbb = self.fbb.borrow_mut();
        record.encode(&mut fbb);
        if body_len(fbb.finished_data(), parts) > self.frame_bytes_max {
            return Err(NotSent::TooLarge);
        }
        Ok(pack(kind, fbb.finished_data(), parts))
    }

    fn pack_frame(&self, to: MemberId, frame: Frame) -> Result<(Lane, Packet), NotSent> {
        match frame {
            Frame::Raft(message) => {
                assert!(message.from == self.member && message.to == to, "a message goes to whom it names");
                let lane = lane_of(&message.body);
                let (record, parts) = (message::to_record(&message), message::parts(&message));
                Ok((lane, self.pack_bounded(Kind::Raft, &record, &parts)?))
            }
            Frame::Forward { batch, .. } if batch.len() > self.frame_bytes_max => Err(NotSent::TooLarge),
            Frame::Forward { term, batch } => {
                let term = Bytes::copy_from_slice(&term.0.to_le_bytes());
                Ok((Lane::Data, pack(Kind::Forward, &[], &[term, batch])))
            }
            Frame::ForwardRefused { requests, incarnation, failure } => {
                let record = ForwardRefused { requests, incarnation, failure };
                Ok((Lane::Data, self.pack_bounded(Kind::ForwardRefused, &record, &[])?))
            }
        }
    }

    fn send(&self, to: MemberId, frame: Frame) -> Result<(), NotSent> {
        let link = self.link(to).ok_or(NotSent::UnknownPeer)?;
        if !link.is_open() {
            add(&link.counters.send_failures, 1);
            return Err(NotSent::NotConnected);
        }
        match self.pack_frame(to, frame) {
            Ok((lane, packet)) => link.push(lane, packet),
            Err(not_sent) => {
                add(&link.counters.send_failures, 1);
                Err(not_sent)
            }
        }
    }

    /// Answers a request, if its asker can be reached.
    pub fn send_answer(&self, to: MemberId, id: u64, incarnation: u64, answer: Result<Bytes, Failure>) {
        let Some(link) = self.link(to) else { return };
        let (failure, parts) = match answer {
            Ok(payload) => (None, vec![payload]),
            Err(failure) => (Some(failure), Vec::new()),
        };
        if let Ok(packet) = self.pack_bounded(Kind::Answer, &Answer { id, incarnation, failure }, &parts) {
            // Lost if there is no room: the asker waits for a limited time.
            let _ = link.push(Lane::Data, packet);
        }
    }

    /// Somebody was turned away: says so unless that is known.
    pub fn turned_away(&self, address: &str, reason: &Broken) {
        if self.turned_away.borrow_mut().is_news(address, reason) {
            tracing::warn!(address, %reason, "turned a connection on the peer port away");
        }
    }
}

/// Appends without entries must not overtake those with entries, which they follow. Nor must the call to stand for election:
/// an append before it says what is committed, which may be a change of who votes.
fn lane_of(body: &Body) -> Lane {
    match body {
        Body::Append { .. } | Body::TimeoutNow => Lane::Data,
        _ => Lane::Control,
    }
}

/// The transport of one member. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Peers {
    shared: Rc<Shared>,
}

impl Peers {
    /// Begins to listen. Must be called within a tokio `LocalSet`, and stays on its thread.
    ///
    /// # Errors
    /// If a socket cannot be watched, or is for https and there is no certificate.
    pub fn start(config: Config, handler: Rc<dyn Handler>) -> io::Result<Self> {
        let shared = Rc::new(Shared {
            cluster: config.cluster,
            member: config.member,
            incarnation: config.incarnation,
            seed: config.seed,
            unpublished: Cell::new(config.unpublished),
            server_version: config.server_version,
            dead_after: config.dead_after,
            frame_bytes_max: config.frame_bytes_max.min(u32::MAX as usize),
            queue_bytes_max: config.queue_bytes_max,
            bulk_patience: config.bulk_patience,
            tls: config.tls,
            handler,
            links: RefCell::default(),
            handshakes: Cell::new(0),
            tasks: RefCell::new(JoinSet::new()),
            fbb: RefCell::new(FlatBufferBuilder::new()),
            asks: Cell::new(0),
            turned_away: RefCell::default(),
        });
        for listen in config.listen {
            let tls = shared.tls.clone().filter(|tls| listen.tls && tls.can_listen());
            if listen.tls && tls.is_none() {
                let why = "no certificate to listen with https is configured";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
            listen.socket.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listen.socket)?;
            shared.spawn(accept::run(shared.clone(), listener, tls));
        }
        Ok(Self { shared })
    }

    /// This member is about to say who it is, or has, and its data knows it: see [`Config::unpublished`].
    pub fn set_published(&self) {
        self.shared.unpublished.set(false);
    }

    /// Names the peers and where they are; this member itself is passed over. Links to those that are not named end:
    /// what is queued for them is still written, what they send is not taken any more.
    ///
    /// # Errors
    /// The first URL that cannot be read. All else is done all the same, or one such URL in the members' list would keep
    /// every member from every other: a peer without a URL that can be read is heard, and not dialled.
    pub fn set_members(&self, members: &[(MemberId, Vec<String>)]) -> Result<(), BadUrl> {
        let mut outcome = Ok(());
        let mut named = BTreeMap::new();
        for (member, texts) in members.iter().filter(|(member, _)| *member != self.shared.member) {
            let urls: &mut Vec<Url> = named.entry(*member).or_default();
            for text in texts {
                match text.parse() {
                    Ok(url) => urls.push(url),
                    Err(bad) => outcome = outcome.and(Err(bad)),
                }
            }
        }
        let gone: Vec<Rc<Link>> = {
            let mut links = self.shared.links.borrow_mut();
            let gone: Vec<MemberId> =
                links.keys().filter(|peer| !named.contains_key(peer)).copied().collect();
            gone.iter().filter_map(|peer| links.remove(peer)).collect()
        };
        for link in gone {
            link.leave();
        }
        for (peer, urls) in named {
            self.set_member(peer, urls);
        }
        outcome
    }

    fn set_member(&self, peer: MemberId, urls: Vec<Url>) {
        if let Some(link) = self.shared.link(peer) {
            link.set_urls(urls);
            return;
        }
        let link = Rc::new(Link::new(peer, urls, self.shared.queue_bytes_max));
        self.shared.links.borrow_mut().insert(peer, link.clone());
        self.shared.spawn(link::run(self.shared.clone(), link));
    }

    /// Queues a frame; all that is queued in one turn of the loop leaves in one write. Panics if a message of Raft is
    /// not from this member, or not for `to`.
    ///
    /// # Errors
    /// If it was not queued; of a message of Raft tell the core that the peer is unreachable, of proposals the clients.
    pub fn send(&self, to: MemberId, frame: Frame) -> Result<(), NotSent> {
        self.shared.send(to, frame)
    }

    /// Asks a peer something small, and waits for its answer for at most `time_max`.
    ///
    /// # Errors
    /// If there is no answer, or the peer's answer is that it failed.
    pub async fn ask(
        &self,
        to: MemberId,
        kind: u16,
        payload: Bytes,
        time_max: Duration,
    ) -> Result<Bytes, AskError> {
        let link = self.shared.link(to).ok_or(AskError::NotSent(NotSent::UnknownPeer))?;
        if link.asks.is_full() {
            return Err(AskError::NotSent(NotSent::QueueFull));
        }
        let id = self.shared.asks.get() + 1;
        self.shared.asks.set(id);
        let record = AskRecord { id, kind: u32::from(kind) };
        let packet = self.shared.pack_bounded(Kind::Ask, &record, &[payload]).map_err(AskError::NotSent)?;
        link.push(Lane::Data, packet).map_err(AskError::NotSent)?;
        let _open = OpenAsk { asks: &link.asks, id };
        match tokio::time::timeout(time_max, link.asks.open(id)).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => Err(AskError::Lost),
            Err(_) => Err(AskError::TimedOut),
        }
    }

    /// Offers a bulk stream to a peer, and waits until it is accepted. `id` names it among this member's streams to the
    /// peer, `meta` is for the receiver, at most 256 KiB.
    ///
    /// # Errors
    /// If it is not accepted, or the peer cannot be reached for [`Config::bulk_patience`].
    pub async fn send_bulk(&self, to: MemberId, id: u64, meta: Bytes) -> Result<BulkSender, BulkError> {
        let link = self.shared.link(to).ok_or(BulkError::NotSent(NotSent::UnknownPeer))?;
        bulk::open(&self.shared, &link, id, meta).await
    }

    /// Whether frames for `peer` are taken at present.
    #[must_use]
    pub fn is_connected(&self, peer: MemberId) -> bool {
        self.shared.link(peer).is_some_and(|link| link.is_open())
    }

    /// Since when the stream to `peer` works, if it does.
    #[must_use]
    pub fn connected_since(&self, peer: MemberId) -> Option<Instant> {
        self.shared.link(peer)?.counters.connected_since.get()
    }

    /// What is known of each peer, by id.
    #[must_use]
    pub fn stats(&self) -> Vec<PeerStats> {
        let links = self.shared.links.borrow();
        links
            .values()
            .map(|link| link.counters.read(link.peer, link.inbound.is_open(), link.queued_bytes()))
            .collect()
    }

    /// Ends everything at once: no callback is made after it, what is queued is dropped.
    pub fn stop(&self) {
        let links = std::mem::take(&mut *self.shared.links.borrow_mut());
        for link in links.into_values() {
            link.leave();
        }
        self.shared.tasks.borrow_mut().abort_all();
    }
}

/// A request whose asker may stop waiting at any time.
struct OpenAsk<'a> {
    asks: &'a OpenAsks,
    id: u64,
}

impl Drop for OpenAsk<'_> {
    fn drop(&mut self) {
        self.asks.forget(self.id);
    }
}
