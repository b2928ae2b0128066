//! Bulk streams: whole, resumed, held back, given up, damaged.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, spawn_local};
use windlass_peer::{BulkError, BulkReceiver, Config, NotSent, Resume};

use super::world::*;

const MIB: usize = 1 << 20;

/// Bytes of which no two places look the same.
fn data(len: usize) -> Bytes {
    let words = (0..len as u64 / 8 + 1).flat_map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes());
    words.take(len).collect()
}

async fn offered(member: &Member) -> windlass_peer::BulkOffer {
    member.notes.until("an offer", |notes| !notes.offers.borrow().is_empty()).await;
    member.notes.offers.borrow_mut().remove(0)
}

/// Takes everything.
async fn drain(receiver: &mut BulkReceiver) -> Result<Vec<u8>, BulkError> {
    let mut all = Vec::new();
    while let Some(bytes) = receiver.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// Stands between two members, and cuts when it is told to.
struct Cable {
    url: String,
    connections: Rc<RefCell<Vec<AbortHandle>>>,
}

impl Cable {
    async fn to(url: &str) -> Self {
        let far = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Rc::new(RefCell::new(Vec::new()));
        let made = connections.clone();
        spawn_local(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = far.clone();
                made.borrow_mut().push(spawn_local(join(near, far)).abort_handle());
            }
        });
        Self { url, connections }
    }

    fn cut(&self) {
        self.connections.borrow_mut().drain(..).for_each(|connection| connection.abort());
    }
}

async fn join(mut near: TcpStream, far: String) {
    if let Ok(mut far) = TcpStream::connect(far).await {
        let _: io::Result<_> = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}

#[test]
fn a_stream_arrives_whole() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let want = data(20 * MIB + 12_345);
        let receive = async {
            let offer = offered(&b).await;
            assert_eq!((offer.id(), &offer.meta()[..]), (7, &b"index 9"[..]));
            let mut receiver = offer.accept(Resume::default());
            let got = drain(&mut receiver).await.unwrap();
            receiver.confirm();
            got
        };
        let send = async {
            let mut sender = a.peers.send_bulk(b.id, 7, Bytes::from_static(b"index 9")).await.unwrap();
            assert_eq!(sender.resume(), Resume::default());
            let mut rest = want.clone();
            while !rest.is_empty() {
                sender.send(rest.split_to(rest.len().min(777_777))).await.unwrap();
            }
            sender.finish().await
        };
        let (got, finished) = tokio::join!(receive, send);
        assert_eq!(finished, Ok(()));
        assert!(got == want, "the bytes differ");
        // Messages go on beside it.
        a.peers.send(b.id, heartbeat(1, 2, 1)).unwrap();
        b.notes.until("the heartbeat", |notes| notes.frames.borrow().len() == 1).await;
    });
}

#[test]
fn an_empty_stream_arrives_too() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let receive = async {
            let mut receiver = offered(&b).await.accept(Resume::default());
            assert_eq!(receiver.next().await, Ok(None));
            receiver.confirm();
        };
        let send = async { a.peers.send_bulk(b.id, 1, Bytes::new()).await.unwrap().finish().await };
        assert_eq!(tokio::join!(receive, send).1, Ok(()));
    });
}

#[test]
fn a_receiver_that_does_not_take_holds_the_sender_back() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let accept = async { offered(&b).await.accept(Resume::default()) };
        let (mut receiver, sender) = tokio::join!(accept, a.peers.send_bulk(b.id, 1, Bytes::new()));
        let mut sender = sender.unwrap();
        let sent = Rc::new(RefCell::new(0));
        let task = spawn_local({
            let sent = sent.clone();
            async move {
                for _ in 0..64 {
                    sender.send(data(256 << 10)).await?;
                    *sent.borrow_mut() += 256 << 10;
                }
                sender.finish().await
            }
        });
        a.notes.until("a full window", |_| *sent.borrow() >= 4 * MIB).await;
        // Longer than a silent peer is put up with: being held back is not silence.
        let before = *sent.borrow();
        let passed = std::time::Instant::now();
        a.notes.until("time", |_| passed.elapsed() > Duration::from_millis(900)).await;
        assert_eq!(*sent.borrow(), before);
        assert!(before <= 4 * MIB + (256 << 10), "{before} bytes were sent");
        assert_eq!(drain(&mut receiver).await.unwrap().len(), 16 * MIB);
        receiver.confirm();
        assert_eq!(task.await.unwrap(), Ok(()));
    });
}

#[test]
fn a_stream_survives_cut_connections() {
    run(async {
        let (a, b) = (start(1), start(2));
        let cable = Cable::to(&b.url).await;
        a.peers.set_members(&[(b.id, vec![cable.url.clone()])]).unwrap();
        b.peers.set_members(&[(a.id, vec![a.url.clone()])]).unwrap();
        a.notes.until_connected(b.id).await;
        let want = data(24 * MIB);
        let receive = async {
            let mut receiver = offered(&b).await.accept(Resume::default());
            let (mut got, mut cuts) = (Vec::new(), 0);
            while let Some(bytes) = receiver.next().await.unwrap() {
                got.extend_from_slice(&bytes);
                if got.len() / (5 * MIB) > cuts {
                    cuts += 1;
                    cable.cut();
                }
            }
            assert_eq!(cuts, 4);
            // The confirmation must be repeated: it cannot arrive on this connection.
            cable.cut();
            receiver.confirm();
            got
        };
        let send = async {
            let mut sender = a.peers.send_bulk(b.id, 3, Bytes::new()).await.unwrap();
            sender.send(want.clone()).await.unwrap();
            sender.finish().await
        };
        let (got, finished) = tokio::join!(receive, send);
        assert_eq!(finished, Ok(()));
        assert!(got == want, "the bytes differ");
        assert!(b.notes.offers.borrow().is_empty(), "the stream was offered anew");
    });
}

#[test]
fn a_receiver_that_has_the_beginning_gets_the_rest() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let want = data(3 * MIB);
        let have = MIB + 5;
        let resume = Resume { offset: have as u64, crc: crc32fast::hash(&want[..have]) };
        let receive = async {
            let mut receiver = offered(&b).await.accept(resume);
            let rest = drain(&mut receiver).await.unwrap();
            receiver.confirm();
            rest
        };
        let send = async {
            let mut sender = a.peers.send_bulk(b.id, 1, Bytes::new()).await.unwrap();
            assert_eq!(sender.resume(), resume);
            sender.send(want.slice(have..)).await.unwrap();
            sender.finish().await
        };
        let (rest, finished) = tokio::join!(receive, send);
        assert_eq!(finished, Ok(()));
        assert!(rest == want[have..], "the bytes differ");
    });
}

#[test]
fn each_side_may_refuse_or_give_up() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let open = || a.peers.send_bulk(b.id, 1, Bytes::new());

        let refuse = async { offered(&b).await.refuse("busy") };
        let refused = tokio::join!(open(), refuse).0.unwrap_err();
        assert_eq!(refused, BulkError::Refused("busy".to_owned()));

        let accept = async { offered(&b).await.accept(Resume::default()) };
        let (sender, receiver) = tokio::join!(open(), accept);
        receiver.abort("disk is full");
        let aborted = sender.unwrap().finish().await;
        assert_eq!(aborted, Err(BulkError::Aborted("disk is full".to_owned())));

        let accept = async { offered(&b).await.accept(Resume::default()) };
        let (sender, mut receiver) = tokio::join!(open(), accept);
        let mut sender = sender.unwrap();
        sender.send(data(1000)).await.unwrap();
        assert_eq!(receiver.next().await.unwrap().map(|bytes| bytes.len()), Some(1000));
        drop(sender);
        assert_eq!(receiver.next().await, Err(BulkError::Aborted("the sender gave up".to_owned())));

        assert_eq!(
            a.peers.send_bulk(id(9), 1, Bytes::new()).await.unwrap_err(),
            BulkError::NotSent(NotSent::UnknownPeer)
        );
    });
}

#[test]
fn both_ends_give_up_when_the_other_does_not_come_back() {
    run(async {
        let impatient = |n| {
            let (socket, _) = listener();
            start_with(Config { bulk_patience: Duration::from_millis(200), ..config(n, socket) })
        };
        let (a, b) = (impatient(1), impatient(2));
        let cable = Cable::to(&b.url).await;
        a.peers.set_members(&[(b.id, vec![cable.url.clone()])]).unwrap();
        b.peers.set_members(&[(a.id, vec![a.url.clone()])]).unwrap();
        a.notes.until_connected(b.id).await;
        let accept = async { offered(&b).await.accept(Resume::default()) };
        let (sender, mut receiver) = tokio::join!(a.peers.send_bulk(b.id, 1, Bytes::new()), accept);
        let (dead, dead_url) = listener();
        drop(dead);
        a.peers.set_members(&[(b.id, vec![dead_url])]).unwrap();
        cable.cut();
        let sent = sender.unwrap().finish().await;
        assert!(matches!(sent, Err(BulkError::Lost(_))), "{sent:?}");
        let received = receiver.next().await;
        assert!(matches!(received, Err(BulkError::Lost(_))), "{received:?}");
    });
}

#[test]
fn a_removed_member_gets_no_further() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let accept = async { offered(&b).await.accept(Resume::default()) };
        let (sender, mut receiver) = tokio::join!(a.peers.send_bulk(b.id, 1, Bytes::new()), accept);
        a.peers.set_members(&[]).unwrap();
        assert_eq!(sender.unwrap().finish().await, Err(BulkError::NotSent(NotSent::UnknownPeer)));
        b.peers.set_members(&[]).unwrap();
        assert!(matches!(receiver.next().await, Err(BulkError::Lost(_))));
    });
}

#[test]
fn streams_of_one_peer_are_bounded() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let mut open = Vec::new();
        for stream in 0..4 {
            let accept = async { offered(&b).await.accept(Resume::default()) };
            let (sender, receiver) = tokio::join!(a.peers.send_bulk(b.id, stream, Bytes::new()), accept);
            open.push((sender.unwrap(), receiver));
        }
        let refused = a.peers.send_bulk(b.id, 4, Bytes::new()).await.unwrap_err();
        assert_eq!(refused, BulkError::Refused("too many streams of this member".to_owned()));
    });
}

/// A connection on which bulk frames can be said by hand.
struct Raw {
    socket: TcpStream,
}

impl Raw {
    async fn open(member: &Member, stream: u64) -> Self {
        use windlass_records::peer::{BulkOpen, Hello, Purpose};
        let mut socket = TcpStream::connect(member.url.strip_prefix("http://").unwrap()).await.unwrap();
        let hello = Hello { purpose: Purpose::Bulk, ..super::garbage::hello(2, member.id.0) };
        socket.write_all(&super::garbage::frame(1, &hello)).await.unwrap();
        socket.write_all(&super::garbage::frame(10, &BulkOpen { id: stream })).await.unwrap();
        Self { socket }
    }

    async fn chunk(&mut self, sequence: u64, offset: u64, data: &[u8]) {
        use flatbuffers::FlatBufferBuilder;
        use windlass_records::peer::{BulkChunk, Record};
        let mut fbb = FlatBufferBuilder::new();
        BulkChunk { sequence, offset }.encode(&mut fbb);
        let mut body = fbb.finished_data().to_vec();
        body.resize(body.len().next_multiple_of(8), 0);
        let record_len = body.len() as u32;
        body.extend_from_slice(data);
        let _ = self.socket.write_all(&super::garbage::frame_of(12, &body, record_len)).await;
    }

    async fn until_closed(mut self) {
        let mut rest = Vec::new();
        let read = self.socket.read_to_end(&mut rest);
        let _ = tokio::time::timeout(DEADLINE, read).await.expect("the member closes");
    }
}

#[test]
fn a_sender_that_does_not_keep_to_the_rules_is_dropped() {
    run(async {
        let a = start(1);
        a.peers.set_members(&[(id(2), vec!["http://127.0.0.1:1".to_owned()])]).unwrap();
        let faults = |want| {
            let peers = a.peers.clone();
            move |_: &Notes| peers.stats()[0].faults == want
        };
        for (n, (sequence, offset, len)) in
            [(1, 0, 9), (0, 1, 9), (0, 0, 0), (0, 0, 300 << 10)].into_iter().enumerate()
        {
            let mut raw = Raw::open(&a, n as u64).await;
            let receiver = offered(&a).await.accept(Resume::default());
            raw.chunk(sequence, offset, &vec![1; len]).await;
            raw.until_closed().await;
            a.notes.until("a fault", faults(n as u64 + 1)).await;
            drop(receiver);
        }
        // More than the window, to a receiver that takes nothing.
        let mut raw = Raw::open(&a, 10).await;
        let _receiver = offered(&a).await.accept(Resume::default());
        let chunk = vec![1; 256 << 10];
        for n in 0..17 {
            raw.chunk(n, n * (256 << 10), &chunk).await;
        }
        raw.until_closed().await;
        a.notes.until("a fault", faults(5)).await;
    });
}

#[test]
fn a_wrong_checksum_of_the_whole_is_noticed() {
    run(async {
        use windlass_records::peer::BulkEnd;
        let a = start(1);
        a.peers.set_members(&[(id(2), vec!["http://127.0.0.1:1".to_owned()])]).unwrap();
        let mut raw = Raw::open(&a, 1).await;
        let mut receiver = offered(&a).await.accept(Resume::default());
        raw.chunk(0, 0, b"abc").await;
        let end = BulkEnd { length: 3, crc: 1 };
        raw.socket.write_all(&super::garbage::frame(14, &end)).await.unwrap();
        assert_eq!(receiver.next().await, Ok(Some(Bytes::from_static(b"abc"))));
        assert_eq!(receiver.next().await, Err(BulkError::Checksum));
    });
}
