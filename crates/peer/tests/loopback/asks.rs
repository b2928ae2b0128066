//! Requests and their answers.

use std::time::Duration;

use bytes::Bytes;
use windlass_peer::{AskError, Event, NotSent};

use super::world::*;

#[test]
fn a_request_is_answered_at_once_or_later() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        b.notes.echo.set(true);
        let answer = a.peers.ask(b.id, 3, Bytes::from_static(b"hello"), DEADLINE).await;
        assert_eq!(answer.as_deref(), Ok(&b"HELLO"[..]));
        b.notes.echo.set(false);
        let later = async {
            b.notes.until("a request", |notes| !notes.replies.borrow().is_empty()).await;
            let (ask, reply) = b.notes.replies.borrow_mut().remove(0);
            assert_eq!((ask.kind, &ask.payload[..]), (4, &b""[..]));
            reply.fail(5, "no");
        };
        let (answer, ()) = tokio::join!(a.peers.ask(b.id, 4, Bytes::new(), DEADLINE), later);
        let Err(AskError::Failed(failure)) = answer else { panic!("{answer:?}") };
        assert_eq!((failure.code, failure.text.as_str()), (5, "no"));
    });
}

#[test]
fn a_dropped_reply_tells_the_asker() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let drop_it = async {
            b.notes.until("a request", |notes| !notes.replies.borrow().is_empty()).await;
            b.notes.replies.borrow_mut().clear();
        };
        let (answer, ()) = tokio::join!(a.peers.ask(b.id, 1, Bytes::new(), DEADLINE), drop_it);
        let Err(AskError::Failed(failure)) = answer else { panic!("{answer:?}") };
        assert_eq!(failure.text, "request was not answered");
    });
}

#[test]
fn a_request_ends_when_its_time_is_over_or_the_peer_is_gone() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let answer = a.peers.ask(b.id, 1, Bytes::new(), Duration::from_millis(1)).await;
        assert_eq!(answer, Err(AskError::TimedOut));
        let stop = async {
            b.notes.until("a request", |notes| notes.replies.borrow().len() == 2).await;
            b.peers.stop();
        };
        let (answer, ()) = tokio::join!(a.peers.ask(b.id, 1, Bytes::new(), DEADLINE), stop);
        assert_eq!(answer, Err(AskError::Lost));
        a.notes.until_event(|e| matches!(e, Event::Disconnected { .. })).await;
        let answer = a.peers.ask(b.id, 1, Bytes::new(), DEADLINE).await;
        assert_eq!(answer, Err(AskError::NotSent(NotSent::NotConnected)));
        let answer = a.peers.ask(id(9), 1, Bytes::new(), DEADLINE).await;
        assert_eq!(answer, Err(AskError::NotSent(NotSent::UnknownPeer)));
    });
}

#[test]
fn open_requests_are_bounded() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        let mut asks = Vec::new();
        for _ in 0..1024 {
            let peers = a.peers.clone();
            asks.push(tokio::task::spawn_local(
                async move { peers.ask(id(2), 1, Bytes::new(), DEADLINE).await },
            ));
        }
        b.notes.until("all requests", |notes| notes.replies.borrow().len() == 1024).await;
        let answer = a.peers.ask(b.id, 1, Bytes::new(), DEADLINE).await;
        assert_eq!(answer, Err(AskError::NotSent(NotSent::QueueFull)));
        for (_, reply) in b.notes.replies.take() {
            reply.answer(Bytes::from_static(b"x"));
        }
        for ask in asks {
            assert_eq!(ask.await.unwrap().as_deref(), Ok(&b"x"[..]));
        }
    });
}
