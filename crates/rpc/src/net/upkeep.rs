//! What happens by the clock: keepalive pings, and the end of a net.

use std::time::{Duration, Instant};

use windlass_http2::ErrorCode;

use super::connection::Connection;
use super::keepalive::Due;
use super::{Net, Phase};
use crate::limits::Limits;

/// How often connections are looked at. Keepalive times are exact to this.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long connections may take to notice that they are closed by force.
const CLOSING_GRACE: Duration = Duration::from_secs(1);

/// Looks after connections until the net closes.
pub(super) async fn run(net: Net) {
    let mut phase = net.0.phase.subscribe();
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => keep_alive(&net, Instant::now()),
            _ = phase.wait_for(|phase| *phase == Phase::Closing) => return,
        }
    }
}

fn keep_alive(net: &Net, now: Instant) {
    let mut table = net.0.table.borrow_mut();
    for key in table.keys() {
        if check(table.connection(key), &net.0.limits, now) {
            table.mark_dirty(key);
        }
    }
}

/// Pings a silent client, and gives up on one that does not answer or does not let its connection end. True if the
/// connection is to be looked at by its task.
fn check(connection: &mut Connection, limits: &Limits, now: Instant) -> bool {
    match connection.keepalive.due(now, limits) {
        Due::Ping if !connection.ending => connection.ending |= connection.session.ping().is_err(),
        Due::GiveUp => connection.broken = true,
        _ if connection.ending && connection.keepalive.silence(now) > limits.keepalive_timeout => {
            connection.broken = true;
        }
        _ => return false,
    }
    true
}

/// Ends a net: first politely, after `grace` by force.
pub(super) async fn shutdown(net: &Net, grace: Duration) {
    net.0.phase.send_replace(Phase::Draining);
    {
        let mut table = net.0.table.borrow_mut();
        for key in table.keys() {
            let connection = table.connection(key);
            connection.ending |= connection.session.start_shutdown().is_err();
            table.mark_dirty(key);
        }
    }
    let in_time = tokio::time::timeout(grace, all_gone(net)).await.is_ok();
    net.0.phase.send_replace(Phase::Closing);
    if in_time {
        return;
    }
    {
        let mut table = net.0.table.borrow_mut();
        for key in table.keys() {
            let connection = table.connection(key);
            connection.leave(ErrorCode::NO_ERROR, "server stopped");
            connection.ending = true;
            table.mark_dirty(key);
        }
    }
    // A client that takes nothing at all is left to the end of the process.
    let _ = tokio::time::timeout(CLOSING_GRACE, all_gone(net)).await;
}

async fn all_gone(net: &Net) {
    while net.0.table.borrow().counters.open > 0 {
        net.0.gone.notified().await;
    }
}
