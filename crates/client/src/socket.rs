//! What a connection goes over: TCP, TCP under TLS, or a socket in the file system.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use windlass_tls::{BlockingStream, Tls};

use crate::{Endpoint, Scheme};

/// Sockets take no timeout of nothing.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// An open socket.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Tls(Box<BlockingStream>),
    Unix(UnixStream),
}

impl Socket {
    /// Connects without TLS; every address of the host gets its try.
    pub(crate) fn dial(endpoint: &Endpoint, timeout: Duration) -> io::Result<Self> {
        match endpoint.scheme() {
            Scheme::Https => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "the endpoint is to be reached by TLS"))
            }
            Scheme::Unix => Ok(Self::Unix(UnixStream::connect(endpoint.authority())?)),
            Scheme::Unsaid | Scheme::Http => Ok(Self::Tcp(connect(endpoint, timeout)?)),
        }
    }

    /// Connects with TLS; the certificate must be for `name`.
    pub(crate) fn dial_protected(
        endpoint: &Endpoint,
        tls: &Tls,
        name: &str,
        timeout: Duration,
    ) -> io::Result<Self> {
        let socket = connect(endpoint, timeout)?;
        let timeout = Some(timeout.max(TIMEOUT_MIN));
        socket.set_read_timeout(timeout)?;
        socket.set_write_timeout(timeout)?;
        Ok(Self::Tls(Box::new(tls.connect_blocking(socket, name).map_err(io::Error::other)?)))
    }

    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_read_timeout(Some(timeout)),
            Self::Tls(stream) => stream.tcp().set_read_timeout(Some(timeout)),
            Self::Unix(socket) => socket.set_read_timeout(Some(timeout)),
        }
    }

    pub(crate) fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_write_timeout(Some(timeout)),
            Self::Tls(stream) => stream.tcp().set_write_timeout(Some(timeout)),
            Self::Unix(socket) => socket.set_write_timeout(Some(timeout)),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
            Self::Unix(socket) => socket.read(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::Unix(socket) => socket.flush(),
        }
    }
}

fn connect(endpoint: &Endpoint, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in endpoint.authority().to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout.max(TIMEOUT_MIN)) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
