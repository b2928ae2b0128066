//! One connection to one server: calls go out at once, answers are picked up in any order.
//!
//! Everything blocks, up to the caller's deadline. Many calls may be under way, so that requests can be pipelined.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use prost::Message;
use windlass_http2::{ClientSession, ErrorCode, Field, Ready, Settings, StreamRef};

use crate::socket::Socket;
use crate::{Endpoint, Error, framing};

/// The largest answer taken, in bytes; a larger one fails its call.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// What a server may send ahead on one stream and on the connection, in bytes.
const WINDOW_BYTES: u32 = 16 << 20;
/// Size of the buffers for the socket, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// A connection.
pub struct Connection {
    endpoint: Endpoint,
    socket: Socket,
    caller: Caller,
    session: ClientSession,
    calls: HashMap<StreamRef, Incoming>,
    output: Vec<u8>,
    input: Vec<u8>,
}

/// A call under way on the [`Connection`] that began it.
#[derive(Debug)]
pub struct Call(StreamRef);

/// What is said at the head of every call.
struct Caller {
    scheme: &'static str,
    authority: String,
    /// Who asks; empty for nobody.
    token: String,
}

impl Caller {
    fn new(socket: &Socket, endpoint: &Endpoint) -> Self {
        let authority = match socket {
            // The authority of a socket in the file system is its path, which is none for HTTP.
            Socket::Unix(_) => "localhost",
            Socket::Tcp(_) | Socket::Tls(_) => endpoint.authority(),
        };
        let scheme = if matches!(socket, Socket::Tls(_)) { "https" } else { "http" };
        Self { scheme, authority: authority.to_owned(), token: String::new() }
    }

    /// The headers of a call.
    fn head<'a>(&'a self, method: &'a str, timeout: Option<&'a str>) -> Vec<Field<'a>> {
        // A token is the server's own text: one that could not be sent back is as good as none.
        let field = |name: &'static str, value: &'a str| Field::new(name.as_bytes(), value.as_bytes()).ok();
        let mut head = vec![Field::constant(":method", "POST"), Field::constant(":scheme", self.scheme)];
        head.extend(field(":authority", &self.authority));
        head.extend(field(":path", method));
        head.extend([
            Field::constant("content-type", "application/grpc"),
            Field::constant("te", "trailers"),
            Field::constant("user-agent", concat!("windlass-client/", env!("CARGO_PKG_VERSION"))),
        ]);
        head.extend(timeout.and_then(|timeout| field("grpc-timeout", timeout)));
        if !self.token.is_empty() {
            head.extend(field("token", &self.token));
        }
        head
    }
}

/// What has arrived for a call.
#[derive(Default)]
struct Incoming {
    body: Vec<u8>,
    end: Option<Result<(), Error>>,
}

impl Connection {
    /// Connects without TLS within `timeout`; every address of the host gets its try.
    ///
    /// # Errors
    /// The name is unknown, no address answers, or the endpoint asks for TLS.
    pub fn open(endpoint: &Endpoint, timeout: Duration) -> io::Result<Self> {
        Self::over(Socket::dial(endpoint, timeout)?, endpoint)
    }

    pub(crate) fn over(socket: Socket, endpoint: &Endpoint) -> io::Result<Self> {
        let settings = Settings {
            stream_window_bytes: WINDOW_BYTES,
            connection_window_bytes: WINDOW_BYTES,
            body_bytes_max: ANSWER_BYTES_MAX,
            buffered_bytes_max: ANSWER_BYTES_MAX,
            ..Settings::default()
        };
        let session = ClientSession::new(&settings, Instant::now()).map_err(io::Error::other)?;
        let (output, input) = (Vec::new(), vec![0; CHUNK_BYTES]);
        let (endpoint, caller) = (endpoint.clone(), Caller::new(&socket, endpoint));
        Ok(Self { endpoint, socket, caller, session, calls: HashMap::new(), output, input })
    }

    /// Sends `token` with every call from now on.
    pub fn set_token(&mut self, token: &str) {
        token.clone_into(&mut self.caller.token);
    }

    /// Sends a request to `method`, a path of `windlass_api::method`.
    ///
    /// # Errors
    /// [`Error::NotSent`] if the server takes no more here, [`Error::Disconnected`] if the connection broke.
    pub fn begin(&mut self, method: &str, request: &impl Message, timeout: Duration) -> Result<Call, Error> {
        let timeout_ms = format!("{}m", timeout.as_millis().clamp(1, 99_999_999));
        let head = self.caller.head(method, Some(&timeout_ms));
        let framed = framing::frame(request);
        let stream = self.session.request_whole(&head, &framed).map_err(|error| self.not_sent(error))?;
        self.calls.insert(stream, Incoming::default());
        self.flush(Instant::now() + timeout)?;
        Ok(Call(stream))
    }

    /// Sends the first request of a call to `method` that has no deadline, and whose client's side stays open.
    ///
    /// # Errors
    /// As [`Self::begin`]; the deadline is the sending's.
    pub fn begin_stream(
        &mut self,
        method: &str,
        request: &impl Message,
        deadline: Instant,
    ) -> Result<Call, Error> {
        self.begin_stream_with(&[], method, request, deadline)
    }

    /// As [`Self::begin_stream`], with more to say at the head of the call: names in lower case, and values.
    ///
    /// # Errors
    /// As [`Self::begin_stream`].
    pub fn begin_stream_with(
        &mut self,
        metadata: &[(&'static str, &'static str)],
        method: &str,
        request: &impl Message,
        deadline: Instant,
    ) -> Result<Call, Error> {
        let mut head = self.caller.head(method, None);
        head.extend(metadata.iter().map(|(name, value)| Field::constant(name, value)));
        let stream = self.session.request(&head, true).map_err(|error| self.not_sent(error))?;
        self.session.push(stream, &framing::frame(request));
        self.calls.insert(stream, Incoming::default());
        self.flush(deadline)?;
        Ok(Call(stream))
    }

    /// Sends a further message of a call that [`Self::begin_stream`] began.
    ///
    /// # Errors
    /// A broken connection, or the deadline.
    pub fn push(&mut self, call: &Call, message: &impl Message, deadline: Instant) -> Result<(), Error> {
        self.session.push(call.0, &framing::frame(message));
        self.flush(deadline)
    }

    /// Waits for the next message of `call`; `None` when the call has ended well.
    ///
    /// # Errors
    /// The server's refusal, a broken connection, or the deadline. The call is over then.
    pub fn next<M: Message + Default>(&mut self, call: &Call, deadline: Instant) -> Result<Option<M>, Error> {
        loop {
            let incoming = self.calls.get_mut(&call.0).expect("a call lives until it is ended");
            if let Some(message) = framing::take(&mut incoming.body)? {
                return Ok(Some(message));
            }
            if let Some(end) = incoming.end.take() {
                return end.map(|()| None);
            }
            self.pump(deadline)?;
        }
    }

    /// Waits for the only message of `call` and ends it.
    ///
    /// # Errors
    /// As [`Self::next`]; also if there is no message.
    pub fn finish<M: Message + Default>(&mut self, call: Call, deadline: Instant) -> Result<M, Error> {
        let answer = self.next(&call, deadline).and_then(|message| match message {
            // The status comes after the message, and may still say that the call has failed.
            Some(message) => self.next::<M>(&call, deadline).map(|_| message),
            None => Err(Error::Malformed("the answer has no message".to_owned())),
        });
        self.end(call);
        answer
    }

    /// Ends `call`, whatever is still to come.
    pub fn end(&mut self, call: Call) {
        self.calls.remove(&call.0);
        self.session.reset(call.0, ErrorCode::CANCEL);
    }

    /// Writes what is to be written, reads once and sorts what has arrived.
    fn pump(&mut self, deadline: Instant) -> Result<(), Error> {
        self.flush(deadline)?;
        let left = remaining(deadline)?;
        self.socket.set_read_timeout(left).map_err(|error| self.lost(&error))?;
        match self.socket.read(&mut self.input) {
            Ok(0) => return Err(self.lost(&"the server closed it")),
            Ok(len) => {
                let received = self.session.recv(&self.input[..len], Instant::now());
                received.map_err(|error| self.lost(&error))?;
            }
            Err(error) if is_timeout(&error) => return Err(Error::DeadlineExceeded { cause: None }),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(self.lost(&error)),
        }
        while let Some(ready) = self.session.next_ready() {
            self.sort(&ready);
        }
        Ok(())
    }

    fn sort(&mut self, ready: &Ready) {
        let stream = ready.stream;
        let Some(incoming) = self.calls.get_mut(&stream) else {
            return;
        };
        if let Some(body) = self.session.body(stream) {
            incoming.body.extend_from_slice(body);
            let len = body.len();
            self.session.consume_body(stream, len);
        }
        if ready.overflow {
            incoming.end = Some(Err(Error::Malformed("the answer is too large".to_owned())));
        } else if let Some(reset) = ready.closed {
            let end = framing::outcome(self.session.head(stream), self.session.trailers(stream), reset);
            incoming.end.get_or_insert(end);
        }
    }

    fn flush(&mut self, deadline: Instant) -> Result<(), Error> {
        while self.session.wants_send() {
            self.output.clear();
            let sent = self.session.send(&mut self.output, CHUNK_BYTES);
            sent.map_err(|error| self.lost(&error))?;
            if self.output.is_empty() {
                break;
            }
            let left = remaining(deadline)?;
            let written = self
                .socket
                .set_write_timeout(left)
                .and_then(|()| self.socket.write_all(&self.output))
                .and_then(|()| self.socket.flush());
            match written {
                Err(error) if is_timeout(&error) => return Err(Error::DeadlineExceeded { cause: None }),
                written => written.map_err(|error| self.lost(&error))?,
            }
        }
        Ok(())
    }

    fn not_sent(&self, error: windlass_http2::Error) -> Error {
        let said = self.session.goaway().map(|(code, text)| format!(", GOAWAY {} {text:?}", code.0));
        Error::NotSent { why: format!("{error}{}", said.unwrap_or_default()) }
    }

    fn lost(&self, why: &dyn std::fmt::Display) -> Error {
        Error::Disconnected { endpoint: self.endpoint.authority().to_owned(), why: why.to_string() }
    }
}

/// The time left, never zero, which sockets take for no bound.
fn remaining(deadline: Instant) -> Result<Duration, Error> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Error::DeadlineExceeded { cause: None }),
        left => Ok(left.max(Duration::from_millis(1))),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
