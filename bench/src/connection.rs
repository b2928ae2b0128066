//! One connection with requests in flight. It never waits and never decides when a request is due.

use std::net::TcpStream;
use std::time::Instant;

use windlass_types::nanoseconds;

use crate::link::Link;
use crate::schedule::Due;
use crate::tally::Tally;
use crate::workload::{PREFIX_BYTES, Request};

/// The clock of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When the run began.
    pub began: Instant,
}

impl Clock {
    /// Nanoseconds from the beginning to `now`.
    pub fn ns(self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.began))
    }
}

/// A connection.
pub struct Connection {
    link: Link,
    clock: Clock,
    /// By the stream's row in the session.
    flights: Vec<Flight>,
    in_flight: usize,
    in_flight_max: usize,
    /// Steps of chains that were answered, for the worker to follow.
    pub steps: Vec<Step>,
    /// Why no further request can begin here, once that is so.
    refusal: Option<String>,
}

/// A request under way.
#[derive(Default)]
struct Flight {
    start_ns: u64,
    class: usize,
    chain: Option<usize>,
    /// Of the answer's body, so far.
    received_bytes: usize,
    /// The body itself, for steps of chains alone.
    body: Vec<u8>,
}

/// The answer to a step of a chain.
pub struct Step {
    /// Which chain.
    pub chain: usize,
    /// Since when the chain's latency counts.
    pub start_ns: u64,
    /// The message, or why there is none.
    pub answer: Result<Vec<u8>, String>,
}

impl Connection {
    /// For at most `in_flight_max` requests at a time over `link`.
    pub fn new(link: Link, in_flight_max: usize, clock: Clock) -> Self {
        Self {
            link,
            clock,
            flights: Vec::new(),
            in_flight: 0,
            in_flight_max,
            steps: Vec::new(),
            refusal: None,
        }
    }

    /// The socket, to watch, unless the connection is lost.
    pub fn socket(&self) -> Option<&TcpStream> {
        self.link.socket()
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a further request may begin.
    pub fn has_room(&self) -> bool {
        self.in_flight < self.in_flight_max && self.refusal.is_none()
    }

    /// Whether there is something that the socket has not taken.
    pub fn is_blocked(&self) -> bool {
        self.link.is_blocked
    }

    /// Why no further request can begin here, however long one waits.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Begins a request; it goes out with the next `flush`. One that cannot begin is counted as failed.
    pub fn begin(&mut self, due: Due, request: &Request<'_>, tally: &mut Tally) {
        let begun =
            self.link.with_head(request.path, |session, head| session.request_whole(head, request.frame));
        match begun {
            Ok(stream) => {
                if self.flights.len() <= stream.row() {
                    self.flights.resize_with(stream.row() + 1, Flight::default);
                }
                let flight = &mut self.flights[stream.row()];
                (flight.start_ns, flight.class, flight.chain) = (due.start_ns, request.class, request.chain);
                flight.received_bytes = 0;
                self.in_flight += 1;
            }
            Err(error) => {
                let why = format!("the server takes no more requests on a connection: {error}");
                tally.failed(&why, 1);
                self.refusal = Some(why);
            }
        }
    }

    /// Reads once and counts what was answered. Returns the time at which it arrived.
    pub fn receive(&mut self, input: &mut [u8], tally: &mut Tally) -> Instant {
        let now = self.link.receive(input);
        self.collect(now, tally);
        now
    }

    /// Writes once, as much as the socket takes.
    pub fn flush(&mut self, tally: &mut Tally) {
        self.link.flush();
        // Sending can end streams too, such as those that a GOAWAY has refused.
        if self.link.session.has_news() || self.link.lost().is_some() {
            self.collect(Instant::now(), tally);
        }
    }

    /// Gives the connection up: what is under way has failed.
    pub fn lose(&mut self, why: &str, tally: &mut Tally) {
        self.link.lose(why);
        self.settle_lost(tally);
    }

    fn settle_lost(&mut self, tally: &mut Tally) {
        let Some(why) = self.link.lost() else { return };
        tally.failed(why, (self.in_flight + self.steps.len()) as u64);
        self.in_flight = 0;
        self.steps.clear();
        self.refusal.get_or_insert_with(|| why.to_owned());
    }

    fn collect(&mut self, now: Instant, tally: &mut Tally) {
        if self.link.lost().is_some() {
            return self.settle_lost(tally);
        }
        let now_ns = self.clock.ns(now);
        while let Some(ready) = self.link.session.next_ready() {
            let flight = &mut self.flights[ready.stream.row()];
            if ready.data {
                let body = self.link.session.body(ready.stream).unwrap_or_default();
                let len = body.len();
                flight.received_bytes += len;
                if flight.chain.is_some() {
                    flight.body.extend_from_slice(body);
                }
                self.link.session.consume_body(ready.stream, len);
            }
            let Some(reset) = ready.closed else { continue };
            self.in_flight -= 1;
            let outcome = match self.link.outcome(&ready, reset) {
                Ok(()) if flight.received_bytes < PREFIX_BYTES => Err("the answer has no message".to_owned()),
                outcome => outcome,
            };
            match (flight.chain.take(), outcome) {
                (None, Ok(())) => {
                    tally.answered(flight.class, now_ns, now_ns.saturating_sub(flight.start_ns))
                }
                (None, Err(why)) => tally.failed(&why, 1),
                (Some(chain), outcome) => {
                    let body = std::mem::take(&mut flight.body);
                    let answer = outcome.map(|()| body);
                    self.steps.push(Step { chain, start_ns: flight.start_ns, answer });
                }
            }
        }
        if let Some((code, text)) = self.link.session.goaway()
            && self.refusal.is_none()
        {
            self.refusal = Some(format!("the server left with GOAWAY {} {text:?}", code.0));
        }
    }
}
