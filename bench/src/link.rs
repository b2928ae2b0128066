//! One non-blocking connection that speaks HTTP/2 as a client. It never waits, and it knows nothing of requests.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use windlass_client::{Code, Endpoint, Error, Scheme};
use windlass_http2::{ClientSession, ErrorCode, Field, Ready, Settings};
use windlass_tls::{BlockingStream, Tls};

use crate::access::Access;

/// What a server may send ahead on one stream and on the connection, in bytes. Large: the load is to be the only limit.
const WINDOW_BYTES: u32 = 16 << 20;
/// The largest answer that is taken: lists of many large values are what some loads are made of.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Bytes gathered for one write; what is beyond goes out in the next turn.
const WRITE_BYTES: usize = 1 << 20;
/// Bound of one attempt to connect, unless another is asked for.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection's bytes.
pub struct Link {
    /// `None` once the connection is lost. Closing it also takes it out of an epoll.
    wire: Option<Wire>,
    /// Its HTTP/2.
    pub session: ClientSession,
    authority: String,
    /// What the server is told about who asks; empty for nobody.
    token: String,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    /// The socket took less than there was: `flush` is to be called when it takes more.
    pub is_blocked: bool,
    /// Why the connection is lost, once it is.
    lost: Option<String>,
}

/// What carries the bytes; it does not wait.
enum Wire {
    Plain(TcpStream),
    /// What it takes it may keep until it is flushed.
    Tls(Box<BlockingStream>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => stream.tcp(),
        }
    }

    fn io(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => stream,
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

impl Link {
    /// Connects to the first address of the endpoint that answers. It is protected and says who asks as `access` has it.
    ///
    /// # Errors
    /// None does, or it is not whom it is to be.
    pub fn dial(endpoint: &Endpoint, access: &Access) -> Result<Self> {
        let context = || format!("cannot connect to {}", endpoint.authority());
        let tls = match endpoint.scheme() {
            Scheme::Http => None,
            Scheme::Unix => bail!("{}: unix sockets are not supported", context()),
            Scheme::Unsaid | Scheme::Https => access.security.tls.as_ref(),
        };
        if endpoint.scheme() == Scheme::Https && tls.is_none() {
            bail!("{}: https needs --cacert, or --insecure-skip-tls-verify", context());
        }
        let timeout = access.dial_timeout.unwrap_or(DIAL_TIMEOUT);
        let mut last = anyhow!("the host has no address");
        for address in endpoint.authority().to_socket_addrs().with_context(context)? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(socket) => {
                    return Self::protected(socket, endpoint, tls, (&access.token, timeout))
                        .with_context(context);
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last).with_context(context)
    }

    fn protected(
        socket: TcpStream,
        endpoint: &Endpoint,
        tls: Option<&Tls>,
        (token, timeout): (&str, Duration),
    ) -> Result<Self> {
        let Some(tls) = tls else { return Ok(Self::over(socket, endpoint.authority(), token)?) };
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        let stream = tls.connect_blocking(socket, endpoint.host())?;
        Ok(Self::new(Wire::Tls(Box::new(stream)), endpoint.authority(), token)?)
    }

    /// Takes over a connected socket.
    ///
    /// # Errors
    /// The socket's options cannot be set, or there is no memory.
    pub fn over(socket: TcpStream, authority: &str, token: &str) -> io::Result<Self> {
        Self::new(Wire::Plain(socket), authority, token)
    }

    fn new(wire: Wire, authority: &str, token: &str) -> io::Result<Self> {
        wire.tcp().set_nodelay(true)?;
        wire.tcp().set_nonblocking(true)?;
        let settings = Settings {
            stream_window_bytes: WINDOW_BYTES,
            connection_window_bytes: WINDOW_BYTES,
            body_bytes_max: ANSWER_BYTES_MAX,
            buffered_bytes_max: ANSWER_BYTES_MAX,
            ..Settings::default()
        };
        Ok(Self {
            wire: Some(wire),
            session: ClientSession::new(&settings, Instant::now()).map_err(io::Error::other)?,
            authority: authority.to_owned(),
            token: token.to_owned(),
            output: Vec::new(),
            written: 0,
            is_blocked: false,
            lost: None,
        })
    }

    /// The socket, to watch, unless the connection is lost.
    pub fn socket(&self) -> Option<&TcpStream> {
        self.wire.as_ref().map(Wire::tcp)
    }

    /// Why the connection is lost, once it is.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Calls `begin` with the head of a request to `path`.
    pub fn with_head<T>(
        &mut self,
        path: &'static str,
        begin: impl FnOnce(&mut ClientSession, &[Field<'_>]) -> T,
    ) -> T {
        let field = |name: &'static str, value: &'static str| Field::constant(name, value);
        let plain = |name: &'static [u8], value| Field::new(name, value).expect("hosts and tokens are plain");
        let head = [
            field(":method", "POST"),
            field(":scheme", if matches!(self.wire, Some(Wire::Tls(_))) { "https" } else { "http" }),
            field(":path", path),
            plain(b":authority", self.authority.as_bytes()),
            field("content-type", "application/grpc"),
            field("te", "trailers"),
            field("user-agent", concat!("windlass-bench/", env!("CARGO_PKG_VERSION"))),
            plain(b"token", self.token.as_bytes()),
        ];
        let len = head.len() - usize::from(self.token.is_empty());
        begin(&mut self.session, &head[..len])
    }

    /// Reads once into the session; with TLS until nothing is left, because what it has decrypted wakes no epoll. Returns the
    /// time at which it arrived.
    pub fn receive(&mut self, input: &mut [u8]) -> Instant {
        loop {
            let Some(wire) = &mut self.wire else { return Instant::now() };
            let keeps = matches!(wire, Wire::Tls(_));
            let read = wire.io().read(input);
            let now = Instant::now();
            match read {
                Ok(0) => self.lose("the server closed it"),
                Ok(len) => match self.session.recv(&input[..len], now) {
                    Ok(()) if keeps => continue,
                    Ok(()) => {}
                    Err(error) => self.lose(error),
                },
                Err(error) if is_transient(&error) => {}
                Err(error) => self.lose(error),
            }
            return now;
        }
    }

    /// Writes once, as much as the socket takes.
    pub fn flush(&mut self) {
        self.gather();
        let was_blocked = std::mem::take(&mut self.is_blocked);
        let Some(wire) = &mut self.wire else { return };
        let mut kept = Ok(());
        if self.written < self.output.len() {
            match wire.io().write(&self.output[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if is_transient(&error) => {}
                Err(error) => return self.lose(error),
            }
            kept = wire.io().flush();
        } else if was_blocked {
            kept = wire.io().flush();
        }
        match kept {
            Ok(()) => self.is_blocked = self.written < self.output.len() || self.session.wants_send(),
            Err(error) if is_transient(&error) => self.is_blocked = true,
            Err(error) => self.lose(error),
        }
    }

    /// Asks the session for what is to be written, once all it gave before is.
    fn gather(&mut self) {
        if self.wire.is_none() || self.written < self.output.len() {
            return;
        }
        self.output.clear();
        self.written = 0;
        if let Err(error) = self.session.send(&mut self.output, WRITE_BYTES) {
            self.lose(error);
        }
    }

    /// Gives the connection up.
    pub fn lose(&mut self, why: impl std::fmt::Display) {
        self.lost.get_or_insert_with(|| format!("connection lost: {why}"));
        self.is_blocked = false;
        self.output.clear();
        self.written = 0;
        self.wire = None;
    }

    /// How a finished stream ended, by its gRPC status.
    pub fn outcome(&self, ready: &Ready, reset: ErrorCode) -> Result<(), String> {
        let blocks = [self.session.trailers(ready.stream), self.session.head(ready.stream)];
        let field = |name| blocks.iter().flatten().find_map(|fields| fields.get(name));
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        match field("grpc-status") {
            Some(b"0") => Ok(()),
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

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
