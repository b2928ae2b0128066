//! Answers that their client does not take.

use std::cell::RefCell;
use std::rc::Rc;

use windlass_http2::{ErrorCode, Settings};
use windlass_rpc::{CallId, Code, Event, Limits, Net};

use super::{Client, echo, failed, ok, wait, with_net};

const ANSWER: [u8; 1000] = [7; 1000];

#[test]
fn what_is_held_for_a_connection_is_bounded() {
    let waiting: Rc<RefCell<Vec<CallId>>> = Rc::default();
    let asked = waiting.clone();
    let script = move |_: &_, event: Event<'_>| {
        if let Event::Unary { call, .. } = event {
            asked.borrow_mut().push(call);
        }
    };
    let limits = Limits { queued_bytes_max: 1500, ..Limits::default() };
    with_net(limits, script, |net, address| async move {
        let narrow = Settings { stream_window_bytes: 100, ..Settings::default() };
        let mut client = Client::connect_with(address, &narrow).await;
        let begun: Vec<_> = (0..3).map(|_| client.unary("/t.T/Unary", b"x")).collect();
        client.flush().await;
        wait(|| waiting.borrow().len() == begun.len()).await;
        waiting.take().into_iter().for_each(|call| net.reply(call, &ANSWER));
        // The second answer passed the bound: the third is dropped, and a further call is not begun.
        let further = client.unary("/t.T/Unary", b"x");
        let text = "grpc: answer dropped: too many response bytes held for the connection";
        assert_eq!(client.finish(begun[2]).await, failed("200", Code::ResourceExhausted, text));
        let text = "grpc: too many response bytes held for the connection";
        assert_eq!(client.finish(further).await, failed("200", Code::ResourceExhausted, text));
        assert!(waiting.borrow().is_empty());
        // The client has read meanwhile: what was held is given, and there is room again.
        assert_eq!(client.finish(begun[0]).await, ok(&[&ANSWER]));
        assert_eq!(client.finish(begun[1]).await, ok(&[&ANSWER]));
        let after = client.unary("/t.T/Unary", b"x");
        client.flush().await;
        wait(|| waiting.borrow().len() == 1).await;
        waiting.take().into_iter().for_each(|call| net.reply(call, b"y"));
        assert_eq!(client.finish(after).await, ok(&[b"y"]));
    });
}

#[test]
fn an_answer_that_is_too_large_is_an_error() {
    let over: Rc<RefCell<Vec<CallId>>> = Rc::default();
    let told = over.clone();
    let script = move |net: &Net, event: Event<'_>| match event {
        Event::Cancelled { call } => told.borrow_mut().push(call),
        other => echo(net, other),
    };
    let limits = Limits { answer_bytes_max: 10, ..Limits::default() };
    with_net(limits, script, |net, address| async move {
        let mut client = Client::connect(address).await;
        let text = "grpc: trying to send message larger than max (11 vs. 10)";
        let call = client.unary("/t.T/Unary", &[1; 11]);
        let refused = client.finish(call).await;
        assert_eq!(refused.messages, [] as [&[u8]; 0]);
        assert_eq!(refused.status, Some(("8".to_owned(), text.to_owned())));
        let counted = net.counters().routes[0].clone();
        assert_eq!((counted.sent, counted.handled[Code::ResourceExhausted as usize]), (0, 1));
        let call = client.unary("/t.T/Unary", &[1; 10]);
        assert_eq!(client.finish(call).await, ok(&[&[1; 10]]));
        // A stream ends with what clients read as the same, and its service hears of it.
        let stream = client.open("/t.T/Bidi", &[]);
        client.message(stream, &[1; 10]);
        client.message(stream, &[1; 11]);
        let ended = client.finish(stream).await;
        assert_eq!(ended.closed, Some(ErrorCode::ENHANCE_YOUR_CALM));
        wait(|| over.borrow().len() == 1).await;
    });
}
