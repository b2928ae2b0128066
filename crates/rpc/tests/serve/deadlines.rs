//! Calls whose client said how long it waits.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use windlass_http2::ErrorCode;
use windlass_rpc::{Code, Event, Limits};

use super::{Client, echo, failed, ok, wait, with_net};

const TEXT: &str = "context deadline exceeded";

/// How late an end may be on a slow machine that is busy with other tests: far earlier than the later deadline.
const LATE_MAX: Duration = Duration::from_secs(5);

#[test]
fn a_call_ends_at_its_deadline_and_its_work_is_dropped() {
    let cancelled = Rc::new(RefCell::new(0));
    let counted = cancelled.clone();
    let script = move |_: &_, event: Event<'_>| {
        if matches!(event, Event::Cancelled { .. }) {
            *counted.borrow_mut() += 1;
        }
    };
    with_net(Limits::default(), script, |net, address| async move {
        let mut client = Client::connect(address).await;
        // One after the other: a later deadline is noted first, so that the earlier one must overtake it.
        let slow = client.open("/t.T/Unary", &[("grpc-timeout", "100S")]);
        client.message(slow, b"x");
        client.end(slow);
        for path in ["/t.T/Unary", "/t.T/Bidi", "/t.T/Many"] {
            let begun = Instant::now();
            let stream = client.open(path, &[("grpc-timeout", "20m")]);
            client.message(stream, b"x");
            client.end(stream);
            let answer = client.finish(stream).await;
            assert_eq!(answer, failed("200", Code::DeadlineExceeded, TEXT), "{path}");
            let took = begun.elapsed();
            assert!(took >= Duration::from_millis(20) && took < LATE_MAX, "{path} took {took:?}");
        }
        wait(|| *cancelled.borrow() == 3).await;
        assert_eq!(net.counters().routes[0].handled[Code::DeadlineExceeded as usize], 1);
    });
}

#[test]
fn a_request_that_comes_too_late_is_not_told() {
    let script = |_: &_, event: Event<'_>| {
        assert!(matches!(event, Event::TurnEnd), "told {event:?}");
    };
    with_net(Limits::default(), script, |_, address| async move {
        let mut client = Client::connect(address).await;
        let stream = client.open("/t.T/Unary", &[("grpc-timeout", "0n")]);
        client.message(stream, b"x");
        client.end(stream);
        assert_eq!(client.finish(stream).await, failed("200", Code::DeadlineExceeded, TEXT));
        // Nor one whose message never comes.
        let stream = client.open("/t.T/Unary", &[("grpc-timeout", "5m")]);
        let answer = client.finish(stream).await;
        // What the client still sends after its answer is refused.
        assert!(matches!(answer.closed, Some(ErrorCode::NO_ERROR)), "{answer:?}");
        assert_eq!(answer.status, Some(("4".into(), TEXT.into())));
    });
}

#[test]
fn answers_before_the_deadline_stand() {
    with_net(Limits::default(), echo, |net, address| async move {
        let mut client = Client::connect(address).await;
        for _ in 0..100 {
            let stream = client.open("/t.T/Unary", &[("grpc-timeout", "10S")]);
            client.message(stream, b"x");
            client.end(stream);
            assert_eq!(client.finish(stream).await, ok(&[b"x"]));
        }
        assert_eq!(net.counters().routes[0].handled[0], 100);
    });
}
