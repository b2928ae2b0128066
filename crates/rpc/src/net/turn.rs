//! The task that ends a turn: it is woken by the first row or answer, and because tasks run in the order in which they
//! were woken, it runs after every connection that was ready at that time.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::Net;
use crate::Event;

/// Ends turn after turn, for ever; it goes with its arbiter.
pub(super) async fn run(net: Net) {
    poll_fn(|cx| poll(&net, cx)).await;
}

fn poll(net: &Net, cx: &mut Context<'_>) -> Poll<()> {
    let table = &net.0.table;
    if !table.borrow_mut().begin_turn(cx.waker()) {
        return Poll::Pending;
    }
    // What the service answers at the end of the batch goes out with what it answered before.
    if table.borrow_mut().take_rows() {
        net.tell(Event::TurnEnd);
    }
    let mut table = table.borrow_mut();
    table.flush();
    table.end_turn();
    Poll::Pending
}
