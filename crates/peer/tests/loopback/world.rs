//! Members that note what they hear, and waiting for what they should have heard.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use windlass_peer::{Admission, Ask, BulkOffer, Config, Event, Frame, Handler, Listen, Peers, Reply};
use windlass_raft::{Body, Message};
use windlass_records::log::{Entry, EntryKind};
use windlass_types::{ClusterId, LogIndex, MemberId, Term};

pub const CLUSTER: ClusterId = ClusterId(0xc1);
/// No condition takes so long, however busy the machine is.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Runs a test on one thread.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// What a member heard, and how it answers.
#[derive(Default)]
pub struct Notes {
    pub frames: RefCell<Vec<(MemberId, Frame)>>,
    /// Sizes of the batches in which frames came.
    pub batches: RefCell<Vec<usize>>,
    pub events: RefCell<Vec<Event>>,
    pub replies: RefCell<Vec<(Ask, Reply)>>,
    pub offers: RefCell<Vec<BulkOffer>>,
    pub admissions: RefCell<BTreeMap<MemberId, Admission>>,
    pub round_trips: Cell<usize>,
    /// Whether it knows who every other member is.
    pub knows_all: Cell<bool>,
    /// Requests are answered at once, in capitals.
    pub echo: Cell<bool>,
    changed: Notify,
}

impl Notes {
    /// Waits until it is true.
    pub async fn until(&self, what: &str, mut is_true: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_true(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: not in time; events: {:?}", self.events.borrow());
            // What is waited for may also come to be without a callback here.
            let _ = tokio::time::timeout(left.min(Duration::from_millis(20)), self.changed.notified()).await;
        }
    }

    pub async fn until_event(&self, event: impl Fn(&Event) -> bool) {
        self.until("an event", |notes| notes.events.borrow().iter().any(&event)).await;
    }

    pub async fn until_connected(&self, to: MemberId) {
        self.until_event(|e| matches!(e, Event::Connected { peer, .. } if *peer == to)).await;
    }

    pub fn count(&self, event: impl Fn(&Event) -> bool) -> usize {
        self.events.borrow().iter().filter(|e| event(e)).count()
    }
}

impl Handler for Notes {
    fn admit(&self, from: MemberId, unpublished: bool) -> Admission {
        if unpublished && self.knows_all.get() {
            return Admission::Forgotten;
        }
        self.admissions.borrow().get(&from).copied().unwrap_or(Admission::Member)
    }

    fn received(&self, from: MemberId, frames: &mut Vec<Frame>) {
        self.batches.borrow_mut().push(frames.len());
        self.frames.borrow_mut().extend(frames.drain(..).map(|frame| (from, frame)));
        self.changed.notify_one();
    }

    fn asked(&self, _: MemberId, ask: Ask, reply: Reply) {
        if self.echo.get() {
            reply.answer(ask.payload.to_ascii_uppercase().into());
        } else {
            self.replies.borrow_mut().push((ask, reply));
        }
        self.changed.notify_one();
    }

    fn event(&self, event: Event) {
        self.events.borrow_mut().push(event);
        self.changed.notify_one();
    }

    fn inquired(&self, question: Bytes) -> Result<Bytes, String> {
        match &question[..] {
            b"who?" => Ok(Bytes::from_static(b"members")),
            _ => Err("not that".to_owned()),
        }
    }

    fn bulk(&self, _: MemberId, offer: BulkOffer) {
        self.offers.borrow_mut().push(offer);
        self.changed.notify_one();
    }

    fn round_trip(&self, _: MemberId, _: Duration) {
        self.round_trips.set(self.round_trips.get() + 1);
        self.changed.notify_one();
    }
}

pub struct Member {
    pub id: MemberId,
    pub url: String,
    pub peers: Peers,
    pub notes: Rc<Notes>,
}

pub fn id(n: u64) -> MemberId {
    MemberId(n)
}

pub fn listener() -> (TcpListener, String) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

pub fn config(n: u64, socket: TcpListener) -> Config {
    Config {
        server_version: format!("version-{n}"),
        listen: vec![Listen { socket, tls: false }],
        dead_after: Duration::from_millis(300),
        ..Config::new(CLUSTER, id(n), 100 + n, n)
    }
}

pub fn start(n: u64) -> Member {
    let (socket, _) = listener();
    start_with(config(n, socket))
}

pub fn start_with(config: Config) -> Member {
    let (id, notes) = (config.member, Rc::new(Notes::default()));
    let url = match config.listen.first() {
        Some(listen) => format!("http://{}", listen.socket.local_addr().unwrap()),
        None => "http://127.0.0.1:1".to_owned(),
    };
    let peers = Peers::start(config, notes.clone()).unwrap();
    Member { id, url, peers, notes }
}

/// Everybody knows everybody, and is connected.
pub async fn connect(members: &[&Member]) {
    introduce(members);
    for member in members {
        for other in members.iter().filter(|other| other.id != member.id) {
            member.notes.until_connected(other.id).await;
            member.notes.until_event(|e| matches!(e, Event::Heard { peer, .. } if *peer == other.id)).await;
        }
    }
}

pub fn introduce(members: &[&Member]) {
    let all: Vec<_> = members.iter().map(|member| (member.id, vec![member.url.clone()])).collect();
    for member in members {
        member.peers.set_members(&all).unwrap();
    }
}

pub fn message(from: u64, to: u64, body: Body) -> Frame {
    Frame::Raft(Message { from: id(from), to: id(to), term: Term(1), body })
}

pub fn heartbeat(from: u64, to: u64, commit: u64) -> Frame {
    message(from, to, Body::Heartbeat { commit: LogIndex(commit), read: None })
}

/// An append of one entry of so many bytes.
pub fn append(from: u64, to: u64, index: u64, bytes: usize) -> Frame {
    let data = Bytes::from(vec![index as u8; bytes]);
    let entry = Entry { term: Term(1), index: LogIndex(index), kind: EntryKind::Normal, data };
    let (prev_index, commit) = (LogIndex(index - 1), LogIndex(0));
    message(from, to, Body::Append { prev_index, prev_term: Term(1), commit, entries: vec![entry] })
}
