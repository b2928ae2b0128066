//! How often a client may ping, after grpc-go's keepalive enforcement (`internal/transport/http2_server.go`).

use std::time::{Duration, Instant};

/// Without streams and without permission a ping is due only this rarely (grpc-go's `defaultPingTimeout`).
const IDLE_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

/// A client may be too early this often; one more and its connection ends.
const STRIKES_MAX: u32 = 2;

/// The rule a client's pings must keep.
#[derive(Clone, Copy, Debug)]
pub struct PingPolicy {
    /// The shortest time between two pings without data in between.
    pub min_interval: Duration,
    /// Whether a client may ping at that rate while it has no stream open.
    pub permit_without_stream: bool,
}

/// The pings of one connection.
#[derive(Debug)]
pub(crate) struct PingWatch {
    policy: PingPolicy,
    last: Option<Instant>,
    strikes: u32,
    /// Something was sent to the client since its last ping: the next ping is free.
    data_sent: bool,
}

impl PingWatch {
    pub fn new(policy: PingPolicy) -> Self {
        Self { policy, last: None, strikes: 0, data_sent: false }
    }

    /// Headers or data went to the client.
    pub fn on_data_sent(&mut self) {
        self.data_sent = true;
    }

    /// A ping arrived. False when the client has used up its strikes.
    pub fn on_ping(&mut self, now: Instant, has_streams: bool) -> bool {
        let last = self.last.replace(now);
        if std::mem::take(&mut self.data_sent) {
            self.strikes = 0;
            return true;
        }
        let permitted = has_streams || self.policy.permit_without_stream;
        let interval = if permitted { self.policy.min_interval } else { IDLE_INTERVAL };
        if last.is_some_and(|last| now < last + interval) {
            self.strikes += 1;
        }
        self.strikes <= STRIKES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: PingPolicy =
        PingPolicy { min_interval: Duration::from_secs(5), permit_without_stream: false };

    fn pings(watch: &mut PingWatch, start: Instant, gap_s: u64, n: u64, streams: bool) -> Vec<bool> {
        (0..n).map(|i| watch.on_ping(start + Duration::from_secs(i * gap_s), streams)).collect()
    }

    #[test]
    fn three_early_pings_end_the_connection() {
        let mut watch = PingWatch::new(POLICY);
        assert_eq!(pings(&mut watch, Instant::now(), 4, 5, true), [true, true, true, false, false]);
    }

    #[test]
    fn pings_at_the_interval_are_fine_with_streams_and_not_without() {
        let now = Instant::now();
        assert!(pings(&mut PingWatch::new(POLICY), now, 5, 100, true).into_iter().all(|ok| ok));
        assert_eq!(pings(&mut PingWatch::new(POLICY), now, 5, 4, false), [true, true, true, false]);
        let permitting = PingPolicy { permit_without_stream: true, ..POLICY };
        assert!(pings(&mut PingWatch::new(permitting), now, 5, 100, false).into_iter().all(|ok| ok));
    }

    #[test]
    fn data_clears_the_strikes() {
        let mut watch = PingWatch::new(POLICY);
        let now = Instant::now();
        for _ in 0..100 {
            assert!(watch.on_ping(now, true));
            watch.on_data_sent();
        }
        assert_eq!(pings(&mut watch, now, 0, 4, true), [true, true, true, false]);
    }
}
