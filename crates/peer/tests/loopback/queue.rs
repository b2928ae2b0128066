//! Bounds of what waits for a peer that does not read.

use windlass_peer::{Config, Event, NotSent};
use windlass_raft::Body;

use super::world::*;

const QUEUE_BYTES_MAX: usize = 1 << 20;
/// Room of the control messages.
const CONTROL_BYTES_MAX: usize = 1 << 20;
/// The kernel's buffers of both ends, and what the writer took out of the queue.
const ELSEWHERE_BYTES_MAX: usize = 32 << 20;

#[test]
fn a_peer_that_does_not_read_costs_a_bounded_queue_and_then_its_connection() {
    run(async {
        let (socket, _) = listener();
        let a = start_with(Config { queue_bytes_max: QUEUE_BYTES_MAX, ..config(1, socket) });
        let (socket, url) = listener();
        let silent = std::thread::spawn(move || super::garbage::accept_and_fall_silent(&socket, 2));
        a.peers.set_members(&[(id(2), vec![url])]).unwrap();
        a.notes.until_connected(id(2)).await;

        let (mut index, mut sent) = (0, 0);
        while a.peers.is_connected(id(2)) {
            index += 1;
            match a.peers.send(id(2), append(1, 2, index, 64 << 10)) {
                Ok(()) => sent += 64 << 10,
                Err(NotSent::QueueFull) => {
                    // Votes and heartbeats are still taken.
                    assert!(a.peers.stats()[0].queued_bytes <= QUEUE_BYTES_MAX + CONTROL_BYTES_MAX);
                    match a.peers.send(id(2), heartbeat(1, 2, 1)) {
                        Ok(()) | Err(NotSent::QueueFull) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                Err(other) => panic!("{other}"),
            }
            tokio::task::yield_now().await;
        }
        assert!(sent <= QUEUE_BYTES_MAX + ELSEWHERE_BYTES_MAX, "{sent} bytes were taken");
        a.notes.until_event(|e| matches!(e, Event::Disconnected { .. })).await;
        let stats = a.peers.stats().remove(0);
        assert_eq!(stats.queued_bytes, 0);
        assert!(stats.send_failures > 0);
        a.peers.stop();
        drop(silent);
    });
}

#[test]
fn a_frame_beyond_the_bound_is_refused_here() {
    run(async {
        let (socket, _) = listener();
        let a = start_with(Config { frame_bytes_max: 1000, ..config(1, socket) });
        let b = start(2);
        connect(&[&a, &b]).await;
        assert_eq!(a.peers.send(b.id, append(1, 2, 1, 1000)), Err(NotSent::TooLarge));
        assert_eq!(a.peers.send(b.id, append(1, 2, 1, 100)), Ok(()));
        assert_eq!(a.peers.send(id(7), heartbeat(1, 7, 1)), Err(NotSent::UnknownPeer));
    });
}

#[test]
fn control_messages_overtake_a_long_queue() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        for index in 1..=30 {
            a.peers.send(b.id, append(1, 2, index, 1 << 20)).unwrap();
        }
        a.peers.send(b.id, heartbeat(1, 2, 9)).unwrap();
        b.notes.until("everything", |notes| notes.frames.borrow().len() == 31).await;
        assert_eq!(b.notes.frames.borrow()[0].1, heartbeat(1, 2, 9));
    });
}

/// A leader that was removed calls another to stand. The commit that removed it must be known there by then.
#[test]
fn the_call_to_stand_for_election_keeps_its_place_behind_appends() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let sent = [append(1, 2, 1, 10), message(1, 2, Body::TimeoutNow), heartbeat(1, 2, 9)];
        for frame in &sent {
            a.peers.send(b.id, frame.clone()).unwrap();
        }
        b.notes.until("everything", |notes| notes.frames.borrow().len() == 3).await;
        let got: Vec<_> = b.notes.frames.take().into_iter().map(|(_, frame)| frame).collect();
        let [append, stand, heartbeat] = sent;
        assert_eq!(got, [heartbeat, append, stand]);
    });
}
