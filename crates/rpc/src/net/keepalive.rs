//! When a silent client is asked whether it is still there, and when it is given up. No clock inside.

use std::time::{Duration, Instant};

use crate::limits::Limits;

/// The silence of one client.
pub(super) struct Keepalive {
    /// When something was read last.
    heard_at: Instant,
    /// When a ping was sent that is not answered.
    pinged_at: Option<Instant>,
}

/// What is to be done about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    GiveUp,
}

impl Keepalive {
    pub fn new(now: Instant) -> Self {
        Self { heard_at: now, pinged_at: None }
    }

    /// Something was read: the answer to a ping is as good as any other.
    pub fn on_heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// When something was read last.
    pub fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// How long nothing was read.
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard_at)
    }

    /// What is due at `now`; a due ping counts as sent.
    pub fn due(&mut self, now: Instant, limits: &Limits) -> Due {
        match self.pinged_at {
            Some(pinged_at) if now >= pinged_at + limits.keepalive_timeout => Due::GiveUp,
            None if now >= self.heard_at + limits.keepalive_interval => {
                self.pinged_at = Some(now);
                Due::Ping
            }
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_client_is_pinged_and_given_up() {
        let limits = Limits {
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            ..Limits::default()
        };
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut keepalive = Keepalive::new(start);
        assert_eq!(keepalive.due(at(59), &limits), Due::Nothing);
        assert_eq!(keepalive.due(at(60), &limits), Due::Ping);
        assert_eq!(keepalive.due(at(79), &limits), Due::Nothing);
        keepalive.on_heard(at(79));
        assert_eq!(keepalive.due(at(138), &limits), Due::Nothing);
        assert_eq!(keepalive.due(at(139), &limits), Due::Ping);
        assert_eq!(keepalive.due(at(159), &limits), Due::GiveUp);
    }
}
