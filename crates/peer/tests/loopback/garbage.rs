//! Peers that do not keep to the protocol, made of plain sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use flatbuffers::FlatBufferBuilder;
use proptest::prelude::*;
use windlass_peer::Event;
use windlass_records::peer::{Hello, HelloReply, Ping, Purpose, Raft, RaftKind, Record};
use windlass_types::{MemberId, Term};

use super::world::*;

pub fn hello(from: u64, to: u64) -> Hello {
    Hello {
        version: 1,
        version_min: 1,
        purpose: Purpose::Messages,
        cluster: CLUSTER,
        from: MemberId(from),
        to: MemberId(to),
        incarnation: 5,
        server_version: "raw".to_owned(),
        unpublished: false,
    }
}

/// A frame with right checksums, made as `docs/formats/peer.md` says, not by the crate.
pub fn frame(kind: u8, record: &impl Record) -> Vec<u8> {
    let mut fbb = FlatBufferBuilder::new();
    record.encode(&mut fbb);
    frame_of(kind, fbb.finished_data(), fbb.finished_data().len() as u32)
}

pub fn frame_of(kind: u8, body: &[u8], record_len: u32) -> Vec<u8> {
    let mut bytes = b"WLpf".to_vec();
    bytes.extend([kind, 0, 0, 0]);
    bytes.extend(record_len.to_le_bytes());
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(body).to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Answers every greeting as member `id` of the cluster, and reads nothing after it. Ends when the test's process does.
pub fn accept_and_fall_silent(listener: &TcpListener, id: u64) {
    let mut held = Vec::new();
    while let Ok((mut socket, _)) = listener.accept() {
        let mut header = [0; 24];
        let Ok(()) = socket.read_exact(&mut header) else { continue };
        let body_len = u32::from_le_bytes(header[12..16].try_into().unwrap());
        let Ok(()) = socket.read_exact(&mut vec![0; body_len as usize]) else { continue };
        let reply = HelloReply {
            refusal: None,
            text: String::new(),
            version: 1,
            cluster: CLUSTER,
            member: MemberId(id),
            incarnation: 1,
            server_version: "silent".to_owned(),
        };
        socket.write_all(&frame(2, &reply)).unwrap();
        held.push(socket);
    }
}

/// Sends bytes to a member as if from member 2, after a greeting if wanted, and waits until the member closes.
async fn send(member: &Member, greet: bool, bytes: Vec<u8>) {
    let address = member.url.strip_prefix("http://").unwrap().to_owned();
    let to = member.id.0;
    let sender = tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        if greet {
            let _ = socket.write_all(&frame(1, &hello(2, to)));
        }
        // The member may close while it is still written to.
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
    });
    tokio::time::timeout(DEADLINE, sender).await.expect("the member closes").unwrap();
}

/// It still works with a peer that keeps to the protocol.
async fn check_alive(member: &Member) {
    let before = member.notes.frames.borrow().len();
    let raft = Raft {
        commit: Some(windlass_records::peer::EntryId::default()),
        ..Raft::new(MemberId(2), member.id, Term(1), RaftKind::Heartbeat)
    };
    send(member, true, frame(3, &raft)).await;
    member.notes.until("a good frame", |notes| notes.frames.borrow().len() == before + 1).await;
}

async fn victim() -> Member {
    let member = start(1);
    member.peers.set_members(&[(id(2), vec!["http://127.0.0.1:1".to_owned()])]).unwrap();
    member
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    run(async {
        let member = victim().await;
        let foreign = Raft::new(MemberId(3), MemberId(1), Term(1), RaftKind::TimeoutNow);
        let misdirected = Raft::new(MemberId(2), MemberId(3), Term(1), RaftKind::TimeoutNow);
        let mut wrong_body = frame(8, &Ping::default());
        *wrong_body.last_mut().unwrap() ^= 1;
        let mut oversize = frame_of(4, &[], 0);
        oversize[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        let crc = crc32fast::hash(&oversize[..20]);
        oversize[20..24].copy_from_slice(&crc.to_le_bytes());
        let bad: [(&str, Vec<u8>); 9] = [
            ("not the magic", vec![b'x'; 100]),
            ("http", b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
            ("unknown kind", frame_of(99, &[], 0)),
            ("wrong body", wrong_body),
            ("too large", oversize),
            ("no record", frame_of(3, &[1, 2, 3], 3)),
            ("from another", frame(3, &foreign)),
            ("for another", frame(3, &misdirected)),
            ("second greeting", frame(1, &hello(2, 1))),
        ];
        for (faults, (name, bytes)) in bad.into_iter().enumerate() {
            send(&member, true, bytes.clone()).await;
            let want = faults as u64 + 1;
            let what = format!("the fault of: {name}");
            member.notes.until(&what, |_| member.peers.stats()[0].faults == want).await;
            send(&member, false, bytes).await;
        }
        check_alive(&member).await;
        assert_eq!(member.notes.count(|e| matches!(e, Event::Connected { .. })), 0);
        assert_eq!(member.notes.frames.borrow().len(), 1);
    });
}

#[test]
fn no_noise_can_do_harm() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    let noise = prop::collection::vec((prop::collection::vec(any::<u8>(), 0..400), any::<bool>()), 1..6);
    let frames =
        prop::collection::vec((0..20_u8, prop::collection::vec(any::<u8>(), 0..200), 0..200_u32), 0..6);
    let damage = (any::<prop::sample::Index>(), any::<u8>());
    runner
        .run(&(noise, frames, damage), |(noise, frames, (at, with))| {
            run(async {
                let member = victim().await;
                for (bytes, greet) in noise {
                    send(&member, greet, bytes).await;
                }
                // Sound frames around nonsense: past the checksums.
                for (kind, body, record_len) in frames {
                    send(&member, true, frame_of(kind, &body, record_len)).await;
                }
                let mut greeting = frame(1, &hello(2, 1));
                let at = at.index(greeting.len());
                greeting[at] = with;
                send(&member, false, greeting).await;
                check_alive(&member).await;
                member.peers.stop();
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn many_strangers_are_held_to_a_bound() {
    run(async {
        let member = victim().await;
        let address = member.url.strip_prefix("http://").unwrap().to_owned();
        // Connected, and saying nothing.
        let mut strangers = Vec::new();
        for _ in 0..200 {
            let stranger = tokio::net::TcpStream::connect(&address).await.unwrap();
            strangers.push(stranger.into_std().unwrap());
        }
        let is_closed = |mut socket: &TcpStream| !matches!(socket.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        let closed = |sockets: &[TcpStream]| sockets.iter().filter(|socket| is_closed(socket)).count();
        member.notes.until("those beyond the bound are closed", |_| closed(&strangers) >= 200 - 128).await;
        assert!(closed(&strangers) < 200);
        drop(strangers);
        check_alive(&member).await;
    });
}
