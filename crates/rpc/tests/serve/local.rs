//! Calls that the process makes of its own service.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use windlass_rpc::{Answer, Code, Event, Limits, Meta, Net};

use super::{echo, wait, with_net};

fn message(bytes: &'static [u8]) -> Answer {
    Answer::Message(bytes.into())
}

fn end(code: Code, text: &str) -> Answer {
    Answer::End(code, text.into())
}

#[test]
fn local_calls_are_answered_and_counted_as_others() {
    let limits = Limits { message_bytes_max: 1000, ..Limits::default() };
    with_net(limits, echo, |net, _| async move {
        let mut call = net.call("/t.T/Unary", Meta::default()).expect("a route");
        call.send(b"x");
        assert_eq!(call.next().await, message(b"x"));
        assert_eq!(call.next().await, end(Code::Ok, ""));
        assert_eq!(call.next().await, end(Code::Ok, ""));
        let mut call = net.call("/t.T/Bidi", Meta::default()).expect("a route");
        call.send(b"a");
        call.send(b"b");
        assert_eq!(call.next().await, message(b"a"));
        call.half_close();
        assert_eq!(call.next().await, message(b"b"));
        assert_eq!(call.next().await, end(Code::Ok, ""));
        let mut call = net.call("/t.T/Unary", Meta::default()).expect("a route");
        call.send(&[0; 1001]);
        let text = "grpc: received message larger than max (1001 vs. 1000)";
        assert_eq!(call.next().await, end(Code::ResourceExhausted, text));
        assert!(net.call("/t.T/Nothing", Meta::default()).is_none());
        let counters = net.counters();
        let (unary, bidi) = (&counters.routes[0], &counters.routes[1]);
        assert_eq!((unary.started, unary.received, unary.sent, unary.handled[0]), (2, 1, 1, 1));
        assert_eq!((bidi.started, bidi.received, bidi.sent, bidi.handled[0]), (1, 2, 2, 1));
    });
}

#[test]
fn a_local_call_whose_answer_is_too_large_fails() {
    let limits = Limits { answer_bytes_max: 10, ..Limits::default() };
    with_net(limits, echo, |net, _| async move {
        let mut call = net.call("/t.T/Unary", Meta::default()).expect("a route");
        call.send(&[0; 11]);
        let text = "grpc: trying to send message larger than max (11 vs. 10)";
        assert_eq!(call.next().await, end(Code::ResourceExhausted, text));
        let counters = net.counters();
        assert_eq!((counters.routes[0].sent, counters.routes[0].handled[8]), (0, 1));
    });
}

#[test]
fn a_local_call_that_is_dropped_or_late_is_cancelled() {
    let cancelled = Rc::new(RefCell::new(0));
    let counted = cancelled.clone();
    let script = move |_: &Net, event: Event<'_>| {
        if matches!(event, Event::Cancelled { .. }) {
            *counted.borrow_mut() += 1;
        }
    };
    with_net(Limits::default(), script, |net, _| async move {
        let call = net.call("/t.T/Unary", Meta::default()).expect("a route");
        call.send(b"x");
        drop(call);
        assert_eq!(*cancelled.borrow(), 1);
        let meta = Meta { timeout: Some(Duration::from_millis(5)), ..Meta::default() };
        let mut call = net.call("/t.T/Bidi", meta).expect("a route");
        assert_eq!(call.next().await, end(Code::DeadlineExceeded, "context deadline exceeded"));
        drop(call);
        assert_eq!(*cancelled.borrow(), 2);
    });
}

#[test]
fn a_stream_whose_answers_are_not_taken_is_told_when_they_are() {
    let writable = Rc::new(RefCell::new(false));
    let told = writable.clone();
    let script = move |net: &Net, event: Event<'_>| match event {
        Event::StreamMessage { call, message, .. } => {
            for _ in 0..3 {
                net.stream_send(call, message);
            }
            assert_eq!(net.queued_bytes(call), 30);
        }
        Event::Writable { .. } => *told.borrow_mut() = true,
        _ => {}
    };
    let limits = Limits { hold_queued_bytes: 15, ..Limits::default() };
    with_net(limits, script, |net, _| async move {
        let mut call = net.call("/t.T/Many", Meta::default()).expect("a route");
        call.send(b"0123456789");
        assert_eq!(call.next().await, message(b"0123456789"));
        assert!(!*writable.borrow());
        assert_eq!(call.next().await, message(b"0123456789"));
        wait(|| *writable.borrow()).await;
    });
}
