//! How long an arbiter works for watches at a time. While it does so, nobody else of its connections is served.

use std::time::Duration;

use prometheus_client::registry::Registry;
use windlass_rpc::Durations;

use super::Handling;

/// What watches had an arbiter do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchWork {
    /// Send what happened.
    Events,
    /// Take requests.
    Control,
    /// Tell how far they are, and look after those that are behind.
    Progress,
}

/// Times of one arbiter that the metrics do not have yet.
#[derive(Debug, Default)]
pub struct WatchTimes {
    events: Durations,
    per_event: Durations,
    control: Durations,
    progress: Durations,
}

impl WatchTimes {
    /// Notes what `work` took, and how many events it sent.
    pub fn note(&mut self, work: WatchWork, took: Duration, events: u64) {
        match work {
            WatchWork::Events if events == 0 => {}
            WatchWork::Events => {
                self.events.add(took);
                self.per_event.add(took / u32::try_from(events).unwrap_or(u32::MAX));
            }
            WatchWork::Control => self.control.add(took),
            WatchWork::Progress => self.progress.add(took),
        }
    }
}

/// Times of all arbiters.
#[derive(Default)]
pub struct Watches {
    events: Handling,
    per_event: Handling,
    control: Handling,
    progress: Handling,
}

impl Watches {
    pub(super) fn register(&self, r: &mut Registry) {
        let mut one = |what: &str, help: &str, handling: &Handling| {
            let name = format!("etcd_debugging_server_watch_send_loop_{what}_seconds");
            r.register(name, help, handling.clone());
        };
        one("watch_stream_duration", "Seconds of sending events at a time", &self.events);
        one("watch_stream_duration_per_event", "The same for each event", &self.per_event);
        one("control_stream_duration", "Seconds of taking a request of a stream", &self.control);
        one("progress_duration", "Seconds of telling streams how far they are", &self.progress);
    }

    /// Adds an arbiter's times and empties them.
    pub fn add(&self, times: &mut WatchTimes) {
        let WatchTimes { events, per_event, control, progress } = std::mem::take(times);
        self.events.add(&events);
        self.per_event.add(&per_event);
        self.control.add(&control);
        self.progress.add(&progress);
    }
}
