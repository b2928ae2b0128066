//! New connections: accepted, counted, and given to the protocol that their first bytes show.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener};
use windlass_http2::CLIENT_PREFACE;

use super::{Net, Phase, Socket, driver};
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
}

impl Acceptor {
    pub fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(socket, _)| Socket::Tcp(socket)),
            Self::Unix(listener) => listener.accept().await.map(|(socket, _)| Socket::Unix(socket)),
        }
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

fn admit(net: &Net, socket: Socket) {
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
        serve(&net, socket).await;
        net.0.table.borrow_mut().counters.open -= 1;
        net.0.gone.notify_one();
    });
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
