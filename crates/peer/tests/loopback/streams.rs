//! Message streams: order, batches, loss and return of a peer.

use std::time::Duration;

use windlass_peer::{Event, Failure, Frame, NotSent};
use windlass_types::{RequestId, Term};

use super::world::*;

#[test]
fn three_members_hear_each_other() {
    run(async {
        let members = [start(1), start(2), start(3)];
        connect(&members.each_ref()).await;
        for from in &members {
            for to in members.iter().filter(|to| to.id != from.id) {
                from.peers.send(to.id, heartbeat(from.id.0, to.id.0, 7)).unwrap();
            }
        }
        for member in &members {
            member.notes.until("both heartbeats", |notes| notes.frames.borrow().len() == 2).await;
            for (from, frame) in member.notes.frames.borrow().iter() {
                assert_eq!(frame, &heartbeat(from.0, member.id.0, 7));
            }
        }
    });
}

#[test]
fn data_frames_arrive_whole_and_in_order() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let failure = Failure { code: 9, text: "etcdserver: not leader".to_owned() };
        let mut sent = Vec::new();
        for i in 1..=200_u64 {
            let len = (i as usize * 7919) % 120_000;
            sent.push(append(1, 2, i, len));
            sent.push(Frame::Forward { term: Term(i), batch: vec![i as u8; len / 3 + 1].into() });
            sent.push(Frame::ForwardRefused {
                requests: vec![RequestId(i)],
                incarnation: i,
                failure: failure.clone(),
            });
        }
        for frame in &sent {
            a.peers.send(b.id, frame.clone()).unwrap();
        }
        b.notes.until("all frames", |notes| notes.frames.borrow().len() == sent.len()).await;
        let got: Vec<Frame> = b.notes.frames.take().into_iter().map(|(_, frame)| frame).collect();
        assert!(got == sent, "frames differ or are out of order");
    });
}

#[test]
fn what_is_queued_in_one_turn_arrives_together() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        for i in 0..50 {
            a.peers.send(b.id, heartbeat(1, 2, i)).unwrap();
        }
        b.notes.until("all frames", |notes| notes.frames.borrow().len() == 50).await;
        assert_eq!(*b.notes.batches.borrow(), [50]);
    });
}

#[test]
fn a_peer_that_returns_is_connected_anew() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let address = b.url.strip_prefix("http://").unwrap().to_owned();
        b.peers.stop();
        a.notes.until_event(|e| matches!(e, Event::Disconnected { .. })).await;
        a.notes.until_event(|e| matches!(e, Event::Unheard { .. })).await;
        assert_eq!(a.peers.send(b.id, heartbeat(1, 2, 1)), Err(NotSent::NotConnected));
        assert!(!a.peers.is_connected(b.id));
        drop(b);

        let socket = loop {
            match std::net::TcpListener::bind(&address) {
                Ok(socket) => break socket,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let mut again = config(2, socket);
        again.incarnation = 777;
        let b = start_with(again);
        introduce(&[&a, &b]);
        a.notes.until_event(|e| matches!(e, Event::Connected { incarnation: 777, .. })).await;
        a.peers.send(b.id, heartbeat(1, 2, 5)).unwrap();
        b.notes.until("the heartbeat", |notes| notes.frames.borrow().len() == 1).await;
        let stats = a.peers.stats().remove(0);
        assert_eq!((stats.disconnects, stats.incarnation), (1, Some(777)));
        assert_eq!(stats.server_version, "version-2");
    });
}

#[test]
fn the_second_url_is_tried_when_the_first_is_dead() {
    run(async {
        let (a, b) = (start(1), start(2));
        let (dead, dead_url) = listener();
        drop(dead);
        a.peers.set_members(&[(b.id, vec![dead_url, b.url.clone()])]).unwrap();
        b.peers.set_members(&[(a.id, vec![a.url.clone()])]).unwrap();
        a.notes.until_connected(b.id).await;
    });
}

#[test]
fn a_new_url_is_dialled_at_once() {
    run(async {
        let (a, b) = (start(1), start(2));
        let (dead, dead_url) = listener();
        drop(dead);
        a.peers.set_members(&[(b.id, vec![dead_url])]).unwrap();
        b.peers.set_members(&[(a.id, vec![a.url.clone()])]).unwrap();
        b.notes.until_connected(a.id).await;
        a.peers.set_members(&[(b.id, vec![b.url.clone()])]).unwrap();
        a.notes.until_connected(b.id).await;
    });
}

#[test]
fn a_silent_peer_is_given_up_in_about_the_time_it_may_be_silent() {
    run(async {
        let a = start(1);
        // It answers the greeting and nothing else: a real member whose process then stands still.
        let (socket, url) = listener();
        let silent = std::thread::spawn(move || super::garbage::accept_and_fall_silent(&socket, 2));
        a.peers.set_members(&[(id(2), vec![url])]).unwrap();
        a.notes.until_connected(id(2)).await;
        let began = std::time::Instant::now();
        a.notes.until_event(|e| matches!(e, Event::Disconnected { .. })).await;
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(250), "{took:?}");
        a.peers.stop();
        drop(silent);
    });
}

#[test]
fn round_trips_and_bytes_are_measured() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        a.notes.until("a round trip", |notes| notes.round_trips.get() >= 2).await;
        a.peers.send(b.id, append(1, 2, 1, 100_000)).unwrap();
        b.notes.until("the append", |notes| notes.frames.borrow().len() == 1).await;
        a.notes.until("an empty queue", |_| a.peers.stats()[0].queued_bytes == 0).await;
        let (sent, received) = (a.peers.stats().remove(0), b.peers.stats().remove(0));
        assert!(sent.round_trip.is_some_and(|time| time < DEADLINE), "{sent:?}");
        assert!(sent.sent_bytes > 100_000 && received.received_bytes > 100_000, "{sent:?} {received:?}");
        assert!(a.peers.connected_since(b.id).is_some() && received.heard);
    });
}
