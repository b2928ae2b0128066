//! The end of calls whose deadline has passed, as grpc-go ends them.
//!
//! There is no timer per call and no queue of deadlines: calls keep theirs in their rows, and the table knows a time
//! before which none passes. At that time all rows are looked at. Calls mostly end long before their deadline, so that
//! such a look is made about once in the shortest timeout that clients use.

use std::time::{Duration, Instant};

use windlass_types::Code;

use super::Net;
use crate::{CallId, Event};

/// The shortest time between two looks at all rows, however short the deadlines are: they are late by at most this.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(2);

/// grpc-go's words, which are Go's for `context.DeadlineExceeded`.
pub(super) const TEXT: &str = "context deadline exceeded";

/// A call whose deadline has passed.
pub(super) struct Overdue {
    pub call: CallId,
    /// The service knows of it.
    pub told: bool,
}

impl Net {
    /// Sees to it that a look is made at `deadline`.
    pub(super) fn note_deadline(&self, deadline: Instant) {
        if self.0.table.borrow_mut().is_sooner(deadline) {
            self.0.sooner.notify_one();
        }
    }
}

/// Ends what is overdue, for ever; it goes with its arbiter.
pub(super) async fn run(net: Net) {
    loop {
        let next = net.0.table.borrow().next_deadline;
        let Some(next) = next else {
            net.0.sooner.notified().await;
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {
                end_overdue(&net, Instant::now());
                tokio::time::sleep(LOOK_INTERVAL_MIN).await;
            }
            () = net.0.sooner.notified() => {}
        }
    }
}

fn end_overdue(net: &Net, now: Instant) {
    let mut due: Vec<Overdue> = Vec::new();
    net.0.table.borrow_mut().take_overdue(now, &mut due);
    for Overdue { call, told } in due {
        if net.is_live(call) {
            net.fail(call, Code::DeadlineExceeded, TEXT);
            if told {
                net.tell_row(Event::Cancelled { call });
            }
        }
    }
}
