//! What a [`crate::Net`] counts. Plain numbers, because one thread changes and reads them.

use std::time::{Duration, Instant};

use windlass_types::Code;

use crate::durations::Durations;
use crate::limits::Limits;
use crate::{Kind, Route};

/// Most slow calls of a turn that are told of; a member that is slow for all its clients need not say so for each.
const SLOW_CALLS_MAX: usize = 16;

/// Number of gRPC codes.
const CODES: usize = Code::Unauthenticated as usize + 1;

/// What one arbiter's network has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes read from HTTP/2 connections.
    pub received_bytes: u64,
    /// Bytes written to HTTP/2 connections.
    pub sent_bytes: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed at once because there were [`Limits::connections_max`].
    pub turned_away: u64,
    /// Connections open now, of either protocol.
    pub open: u64,
    /// For each route, in the order of the table.
    pub routes: Vec<RouteCounters>,
    /// Calls that ended in this turn: their time is taken once for all.
    ended: Vec<Ended>,
    /// Which routes are unary.
    unary: Vec<bool>,
    /// Their calls that took longer are told of; zero for none.
    slow_after: Duration,
    /// Those of the last turns that nobody took yet.
    slow: Vec<SlowCall>,
}

/// A call that ended in this turn.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ended {
    route: usize,
    begun: Instant,
    code: Code,
}

/// A unary call that took long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowCall {
    /// Its place in the table of routes.
    pub route: usize,
    /// From its head to the end of the turn in which it was answered.
    pub took: Duration,
    /// How it ended.
    pub code: Code,
}

/// What was done for one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteCounters {
    /// Calls begun.
    pub started: u64,
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// Calls ended, by the number of their gRPC code.
    pub handled: [u64; CODES],
    /// How long calls took, from their head to the end of the turn in which they were answered.
    pub handling: Durations,
    /// The same of those among them that did not end with OK.
    pub failing: Durations,
}

impl Counters {
    pub(crate) fn new(routes: &[Route], slow_after: Duration) -> Self {
        let unary = routes.iter().map(|route| route.kind == Kind::Unary).collect();
        Self { routes: vec![RouteCounters::default(); routes.len()], unary, slow_after, ..Self::default() }
    }

    /// Counts the end of a call.
    pub(crate) fn end(&mut self, route: usize, begun: Instant, code: Code) {
        self.routes[route].handled[code as usize] += 1;
        self.ended.push(Ended { route, begun, code });
    }

    /// The end of a turn.
    pub(crate) fn end_turn(&mut self, now: Instant) {
        for Ended { route, begun, code } in self.ended.drain(..) {
            let took = now.saturating_duration_since(begun);
            let counters = &mut self.routes[route];
            counters.handling.add(took);
            if code != Code::Ok {
                counters.failing.add(took);
            }
            let is_slow = self.unary[route] && !self.slow_after.is_zero() && took > self.slow_after;
            if is_slow && self.slow.len() < SLOW_CALLS_MAX {
                self.slow.push(SlowCall { route, took, code });
            }
        }
    }

    /// The slow calls since the last time.
    pub(crate) fn take_slow(&mut self) -> Vec<SlowCall> {
        std::mem::take(&mut self.slow)
    }

    /// Whether calls ended in this turn.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.open >= limits.connections_max as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: [Route; 2] =
        [Route { path: "/s/Unary", kind: Kind::Unary }, Route { path: "/s/Stream", kind: Kind::BidiStream }];

    fn ended(slow_after: Duration, calls: &[(usize, Code)]) -> Counters {
        let mut counters = Counters::new(&ROUTES, slow_after);
        let begun = Instant::now();
        calls.iter().for_each(|&(route, code)| counters.end(route, begun, code));
        counters.end_turn(begun + Duration::from_millis(5));
        counters
    }

    #[test]
    fn slow_unary_calls_are_told_of_once() {
        let mut counters =
            ended(Duration::from_millis(1), &[(0, Code::Ok), (1, Code::Ok), (0, Code::NotFound)]);
        let took = Duration::from_millis(5);
        let slow = [Code::Ok, Code::NotFound].map(|code| SlowCall { route: 0, took, code });
        assert_eq!(counters.take_slow(), slow);
        assert!(counters.take_slow().is_empty());
        for quiet in [Duration::ZERO, Duration::from_secs(1)] {
            assert!(ended(quiet, &[(0, Code::Ok)]).take_slow().is_empty());
        }
        let many = [(0, Code::Ok); SLOW_CALLS_MAX + 1];
        assert_eq!(ended(Duration::from_millis(1), &many).take_slow().len(), SLOW_CALLS_MAX);
    }

    #[test]
    fn failing_calls_are_timed_apart() {
        let counters = ended(Duration::ZERO, &[(0, Code::Ok), (0, Code::Ok), (0, Code::Unavailable)]);
        let count = |durations: &Durations| durations.counts.iter().sum::<u64>();
        let route = &counters.routes[0];
        assert_eq!((count(&route.handling), count(&route.failing)), (3, 1));
    }
}
