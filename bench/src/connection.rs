//! One non-blocking connection with requests in flight. It never waits and never decides when a request is due.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use windlass_client::{Code, Error};
use windlass_http2::{ClientSession, ErrorCode, Field, Ready, Settings};

use crate::schedule::Due;
use crate::tally::Tally;
use crate::workload::PREFIX_BYTES;

/// What a server may send ahead on one stream and on the connection, in bytes. Large: the load is to be the only limit.
const WINDOW_BYTES: u32 = 16 << 20;
/// Bytes gathered for one write; what is beyond goes out in the next turn.
const WRITE_BYTES: usize = 1 << 20;

/// The clock of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When the run began.
    pub began: Instant,
}

impl Clock {
    /// Nanoseconds from the beginning to `now`.
    pub fn ns(self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A connection.
pub struct Connection {
    /// `None` once the connection is lost. Closing it also takes it out of the worker's epoll.
    socket: Option<TcpStream>,
    session: ClientSession,
    authority: String,
    path: &'static str,
    clock: Clock,
    /// By the stream's row in the session.
    flights: Vec<Flight>,
    in_flight: usize,
    in_flight_max: usize,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    /// The socket took less than there was: `flush` is to be called when it takes more.
    pub is_blocked: bool,
    /// Why no further request can begin here, once that is so.
    refusal: Option<String>,
}

/// A request under way.
#[derive(Clone, Copy, Default)]
struct Flight {
    start_ns: u64,
    /// Of the answer's body, so far.
    received_bytes: usize,
}

impl Connection {
    /// Takes over a connected socket for at most `in_flight_max` requests at a time to `path`.
    ///
    /// # Errors
    /// The socket's options cannot be set, or there is no memory.
    pub fn new(
        socket: TcpStream,
        authority: &str,
        path: &'static str,
        in_flight_max: usize,
        clock: Clock,
    ) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let settings = Settings {
            stream_window_bytes: WINDOW_BYTES,
            connection_window_bytes: WINDOW_BYTES,
            ..Settings::default()
        };
        Ok(Self {
            socket: Some(socket),
            session: ClientSession::new(&settings, Instant::now()).map_err(io::Error::other)?,
            authority: authority.to_owned(),
            path,
            clock,
            flights: Vec::new(),
            in_flight: 0,
            in_flight_max,
            output: Vec::new(),
            written: 0,
            is_blocked: false,
            refusal: None,
        })
    }

    /// The socket, to watch, unless the connection is lost.
    pub fn socket(&self) -> Option<&TcpStream> {
        self.socket.as_ref()
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a further request may begin.
    pub fn has_room(&self) -> bool {
        self.in_flight < self.in_flight_max && self.refusal.is_none()
    }

    /// Why no further request can begin here, however long one waits.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Begins a request whose gRPC frame is `frame`; it goes out with the next `flush`. One that cannot begin is counted
    /// as failed.
    pub fn begin(&mut self, due: Due, frame: &[u8], tally: &mut Tally) {
        let authority = Field::new(b":authority", self.authority.as_bytes());
        let head = [
            Field::constant(":method", "POST"),
            Field::constant(":scheme", "http"),
            Field::constant(":path", self.path),
            authority.expect("a host that was connected to is plain"),
            Field::constant("content-type", "application/grpc"),
            Field::constant("te", "trailers"),
            Field::constant("user-agent", concat!("windlass-bench/", env!("CARGO_PKG_VERSION"))),
        ];
        match self.session.request_whole(&head, frame) {
            Ok(stream) => {
                if self.flights.len() <= stream.row() {
                    self.flights.resize(stream.row() + 1, Flight::default());
                }
                self.flights[stream.row()] = Flight { start_ns: due.start_ns, received_bytes: 0 };
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
        let Some(socket) = &mut self.socket else { return Instant::now() };
        let read = socket.read(input);
        let now = Instant::now();
        match read {
            Ok(0) => self.lose("the server closed it", tally),
            Ok(len) => match self.session.recv(&input[..len], now) {
                Ok(()) => self.collect(now, tally),
                Err(error) => self.lose(error, tally),
            },
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => self.lose(error, tally),
        }
        now
    }

    /// Writes once, as much as the socket takes.
    pub fn flush(&mut self, tally: &mut Tally) {
        self.gather(tally);
        self.is_blocked = false;
        let Some(socket) = self.socket.as_mut().filter(|_| !self.output.is_empty()) else { return };
        match socket.write(&self.output[self.written..]) {
            Ok(len) => self.written += len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return self.lose(error, tally),
        }
        self.is_blocked = self.written < self.output.len() || self.session.wants_send();
    }

    /// Asks the session for what is to be written, once all it gave before is.
    fn gather(&mut self, tally: &mut Tally) {
        if self.socket.is_none() || self.written < self.output.len() {
            return;
        }
        self.output.clear();
        self.written = 0;
        if let Err(error) = self.session.send(&mut self.output, WRITE_BYTES) {
            return self.lose(error, tally);
        }
        // Sending can end streams too, such as those that a GOAWAY has refused.
        if self.session.has_news() {
            self.collect(Instant::now(), tally);
        }
    }

    /// Gives the connection up: what is under way has failed.
    pub fn lose(&mut self, why: impl std::fmt::Display, tally: &mut Tally) {
        let why = format!("connection lost: {why}");
        tally.failed(&why, self.in_flight as u64);
        self.in_flight = 0;
        self.is_blocked = false;
        self.output.clear();
        self.written = 0;
        self.refusal.get_or_insert(why);
        self.socket = None;
    }

    fn collect(&mut self, now: Instant, tally: &mut Tally) {
        let now_ns = self.clock.ns(now);
        while let Some(ready) = self.session.next_ready() {
            let flight = &mut self.flights[ready.stream.row()];
            if ready.data {
                let len = self.session.body(ready.stream).map_or(0, <[u8]>::len);
                flight.received_bytes += len;
                self.session.consume_body(ready.stream, len);
            }
            let Some(reset) = ready.closed else { continue };
            let flight = *flight;
            self.in_flight -= 1;
            match self.outcome(&ready, reset, flight.received_bytes) {
                Ok(()) => tally.answered(now_ns.saturating_sub(flight.start_ns)),
                Err(why) => tally.failed(&why, 1),
            }
        }
        if let Some((code, text)) = self.session.goaway()
            && self.refusal.is_none()
        {
            self.refusal = Some(format!("the server left with GOAWAY {} {text:?}", code.0));
        }
    }

    /// How a finished stream ended.
    fn outcome(&self, ready: &Ready, reset: ErrorCode, received_bytes: usize) -> Result<(), String> {
        let blocks = [self.session.trailers(ready.stream), self.session.head(ready.stream)];
        let field = |name| blocks.iter().flatten().find_map(|fields| fields.get(name));
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        match field("grpc-status") {
            Some(b"0") if received_bytes >= PREFIX_BYTES => Ok(()),
            Some(b"0") => Err("the answer has no message".to_owned()),
            Some(status) => {
                let number = text(Some(status)).parse().unwrap_or(Code::Unknown as u8);
                let (code, message) = (Code::from_number(number), text(field("grpc-message")));
                Err(Error::Status { code, message }.to_string())
            }
            None => match field(":status") {
                Some(status) if status != b"200" => Err(format!("HTTP status {}", text(Some(status)))),
                _ => Err(format!("stream ended with HTTP/2 error {} and no gRPC status", reset.0)),
            },
        }
    }
}
