//! What a [`crate::Net`] counts. Plain numbers, because one thread changes and reads them.

use std::time::Instant;

use windlass_types::Code;

use crate::durations::Durations;
use crate::limits::Limits;

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
    /// Calls that ended in this turn, by route and beginning: their time is taken once for all.
    ended: Vec<(usize, Instant)>,
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
}

impl Counters {
    pub(crate) fn new(routes: usize) -> Self {
        Self { routes: vec![RouteCounters::default(); routes], ..Self::default() }
    }

    /// Counts the end of a call.
    pub(crate) fn end(&mut self, route: usize, begun: Instant, code: Code) {
        self.routes[route].handled[code as usize] += 1;
        self.ended.push((route, begun));
    }

    /// The end of a turn.
    pub(crate) fn end_turn(&mut self, now: Instant) {
        for (route, begun) in self.ended.drain(..) {
            self.routes[route].handling.add(now.saturating_duration_since(begun));
        }
    }

    /// Whether calls ended in this turn.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.open >= limits.connections_max as u64
    }
}
