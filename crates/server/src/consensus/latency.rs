//! How long the log's writes take.

use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use windlass_io_log::op::Ticket;

/// The writes in flight and when they were submitted: no more than the flush depth, so a list.
#[derive(Default)]
pub struct WriteLatency(Vec<(Ticket, Instant)>);

impl WriteLatency {
    /// A write is submitted.
    pub fn begin(&mut self, ticket: Ticket, now: Instant) {
        self.0.push((ticket, now));
    }

    /// An operation ended; if it was a write, its time goes to `seconds` and is returned.
    pub fn end(&mut self, ticket: Ticket, seconds: &Histogram) -> Option<Duration> {
        let at = self.0.iter().position(|(t, _)| *t == ticket)?;
        let took = self.0.swap_remove(at).1.elapsed();
        seconds.observe(took.as_secs_f64());
        Some(took)
    }

    /// Whether no write is in flight.
    pub fn is_idle(&self) -> bool {
        self.0.is_empty()
    }
}
