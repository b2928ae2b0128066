//! New connections: accepted, counted, and given to the protocol that their first bytes show.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use windlass_http2::CLIENT_PREFACE;
use windlass_tls::Tls;

use super::{Net, Phase, Protected, Socket, driver};
use crate::Listener;
use crate::http1::{self, Begun};

/// How long to wait after a failed accept: long enough not to spin while the process is out of descriptors, short enough
/// not to be noticed by a client.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What is read of a connection before its protocol is known; a first flight with its first requests mostly fits.
const FIRST_BYTES: usize = 4 << 10;

/// A listener that this thread's event loop watches.
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
    Tls(TcpListener, Tls),
}

/// A connection that may have to be protected yet.
enum Accepted {
    Ready(Socket),
    Tls(TcpStream, Tls),
}

impl Acceptor {
    pub fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
            Listener::Tls(listener, tls) => Self::Tls(TcpListener::from_std(listener)?, tls),
        })
    }

    async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(listener) => Accepted::Ready(Socket::Tcp(listener.accept().await?.0)),
            Self::Unix(listener) => Accepted::Ready(Socket::Unix(listener.accept().await?.0)),
            Self::Tls(listener, tls) => Accepted::Tls(listener.accept().await?.0, tls.clone()),
        })
    }
}

/// Accepts until the net stops serving.
pub(super) async fn run(net: Net, listener: Acceptor) {
    let mut phase = net.0.phase.subscribe();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
        };
        match accepted {
            Ok(socket) => {
                failing = false;
                admit(&net, socket);
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept connections, trying again");
                }
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

fn admit(net: &Net, accepted: Accepted) {
    {
        let counters = &mut net.0.table.borrow_mut().counters;
        counters.accepted += 1;
        if counters.is_full(&net.0.limits) {
            counters.turned_away += 1;
            return;
        }
        counters.open += 1;
    }
    let net = net.clone();
    tokio::task::spawn_local(async move {
        if let Some(socket) = protect(&net, accepted).await {
            serve(&net, socket).await;
        }
        net.0.table.borrow_mut().counters.open -= 1;
        net.0.gone.notify_one();
    });
}

/// The handshake, if there is to be one; in the connection's own task, so that it holds nobody up.
async fn protect(net: &Net, accepted: Accepted) -> Option<Socket> {
    let (tcp, tls) = match accepted {
        Accepted::Ready(socket) => return Some(socket),
        Accepted::Tls(tcp, tls) => (tcp, tls),
    };
    let from = tcp.peer_addr().ok();
    let mut phase = net.0.phase.subscribe();
    let shaken = tokio::select! {
        shaken = tls.accept(tcp, net.0.limits.header_timeout) => shaken,
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => return None,
    };
    match shaken {
        Ok((stream, identity)) => Some(Socket::Tls(Box::new(stream), Protected(identity.map(Arc::new)))),
        Err(error) => {
            // Whoever can connect can cause it: a flood of them must not become a flood of lines.
            if net.0.table.borrow_mut().may_tell_of_handshake(Instant::now()) {
                tracing::warn!(remote = ?from, %error, "rejected a connection");
            }
            None
        }
    }
}

async fn serve(net: &Net, mut socket: Socket) {
    socket.set_nodelay();
    let mut head = Vec::with_capacity(FIRST_BYTES);
    let mut phase = net.0.phase.subscribe();
    let is_http2 = tokio::select! {
        shown = tokio::time::timeout(net.0.limits.header_timeout, show_protocol(&mut socket, &mut head)) => shown,
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
    };
    match is_http2 {
        Ok(Ok(true)) => driver::run(net.clone(), socket, head).await,
        Ok(Ok(false)) => {
            let handler = net.0.http.borrow().clone();
            if let Some(handler) = handler {
                http1::serve(Begun::new(head, socket), handler, net.0.limits.clone(), phase).await;
            }
        }
        // Too slow, or gone before it said what it wanted.
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Reads until it is clear whether the client speaks HTTP/2.
async fn show_protocol(socket: &mut Socket, head: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let seen = head.len().min(CLIENT_PREFACE.len());
        if head[..seen] != CLIENT_PREFACE[..seen] {
            return Ok(false);
        }
        if seen == CLIENT_PREFACE.len() {
            return Ok(true);
        }
        if socket.read_buf(head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
