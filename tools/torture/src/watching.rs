//! A watch over everything at one member, which goes on after each lost connection where it was; and what etcd promises of
//! watches, checked as responses arrive: ordered, each once, whole revisions, bookmarks that are true.

use std::sync::atomic::Ordering;
use std::time::Duration;

use windlass_api::etcdserverpb::{WatchCreateRequest, WatchResponse};
use windlass_api::mvccpb::{self, event::EventType};
use windlass_client::Watch;

use crate::calls::found;
use crate::history::{Event, History, Stream};
use crate::load::{Load, config_of};

/// How long to wait for a response before looking whether the run is over.
const LOOK: Duration = Duration::from_millis(200);

/// Quiet looks after which the watch asks up to where it was told everything.
const QUIET_MAX: u32 = 5;

/// Between two attempts to begin a watch.
const RETRY: Duration = Duration::from_millis(100);

/// Watches until everything was told, or nobody waits any longer.
pub fn run(member: usize, endpoint: &str, load: &Load) -> History {
    let mut stream = Stream { member, ..Stream::default() };
    // Revision 1 is the empty store.
    let mut told = 1;
    let mut watch: Option<Watch> = None;
    let mut quiet = 0;
    while told < load.watch_until.load(Ordering::Relaxed) && !load.watch_no_more.load(Ordering::Relaxed) {
        let Some(open) = &mut watch else {
            watch = Watch::new(&config_of(endpoint), request(told + 1)).ok();
            if watch.is_none() {
                std::thread::sleep(RETRY);
            }
            continue;
        };
        match open.next_response_within(LOOK) {
            Ok(Some(response)) => {
                quiet = 0;
                take(&mut stream, &mut told, &response, load);
                if response.canceled {
                    watch = None;
                }
            }
            Ok(None) => {
                quiet += 1;
                if quiet % QUIET_MAX == 0 && open.request_progress().is_err() {
                    watch = None;
                }
            }
            Err(_) => watch = None,
        }
        load.watched[member].store(told, Ordering::Relaxed);
    }
    History { streams: vec![stream], ..History::default() }
}

fn request(start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        start_revision,
        progress_notify: true,
        prev_kv: true,
        ..WatchCreateRequest::default()
    }
}

/// Notes a response. `told` is the revision up to which everything was told.
fn take(stream: &mut Stream, told: &mut i64, response: &WatchResponse, load: &Load) {
    let revision = response.header.map_or(0, |header| header.revision);
    if response.created {
        stream.connections += 1;
    }
    if response.canceled {
        stream.broken.push(format!("a watch that is not behind was ended: {response:?}"));
        return;
    }
    if response.events.is_empty() {
        // The answer to a creation says nothing of what was sent.
        if !response.created {
            stream.bookmarks += 1;
            *told = (*told).max(revision);
        }
        return;
    }
    let now = load.now();
    let before = *told;
    for event in response.events.iter().map(event) {
        let at = event.1;
        if at <= before || at < *told || at > revision {
            let what =
                format!("revision {at} was sent after everything up to {told}, in an answer of {revision}");
            stream.broken.push(what);
        }
        *told = (*told).max(at);
        stream.arrived.entry(at).or_insert(now);
        stream.revisions.entry(at).or_default().push(event.0);
    }
}

/// An event as the history keeps it, and its revision.
fn event(event: &mvccpb::Event) -> (Event, i64) {
    let kv = event.kv.clone().unwrap_or_default();
    let now = (event.r#type == EventType::Put as i32).then(|| found(&kv));
    let key = String::from_utf8_lossy(&kv.key).into_owned();
    (Event { now, key, before: event.prev_kv.as_ref().map(found) }, kv.mod_revision)
}
