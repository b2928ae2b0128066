//! Answers that their client does not take.

use std::cell::RefCell;
use std::rc::Rc;

use windlass_http2::Settings;
use windlass_rpc::{CallId, Code, Event, Limits};

use super::{Client, failed, ok, wait, with_net};

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
