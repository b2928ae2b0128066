//! Protected connections on std's blocking sockets, for programs without a runtime: the dialler's side alone.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::{HandshakeError, Tls};

/// A connection whose reads and writes wait as long as its socket's timeouts say. A call that timed out may be made
/// again: what had arrived or was written by then is not lost.
#[derive(Debug)]
pub struct BlockingStream(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// The dialler's side of a handshake with `host`, within the socket's timeouts.
    ///
    /// # Errors
    /// If there is no protected connection with that host.
    pub fn connect_blocking(&self, mut tcp: TcpStream, host: &str) -> Result<BlockingStream, HandshakeError> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| HandshakeError::Host(host.to_owned()))?;
        let mut session = ClientConnection::new(self.client_config(), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp)?;
        }
        Ok(BlockingStream(StreamOwned::new(session, tcp)))
    }
}

impl BlockingStream {
    /// The socket, for its timeouts and addresses; nothing may be read from it or written to it.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        &self.0.sock
    }
}

impl Read for BlockingStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for BlockingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
