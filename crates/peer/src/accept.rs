//! Connections from peers, up to where it is known who is there.

use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use windlass_records::peer::Purpose;
use windlass_tls::{Stream, Tls};

use crate::assemble::Assembler;
use crate::handshake::{Broken, Greeted, HELLO_BYTES_MAX, welcome};
use crate::peers::Shared;
use crate::{bulk, inbound};

/// Time for everything up to the answer to the greeting.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Most connections whose other side is not known yet. At the bound further ones are closed at once; members try again.
const HANDSHAKES_MAX: usize = 128;
/// How long to wait after a failed accept: long enough not to spin while the process is out of descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Accepts connections until the task is ended.
pub(crate) async fn run(shared: Rc<Shared>, listener: TcpListener, tls: Option<Tls>) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                failing = false;
                if shared.handshakes.get() < HANDSHAKES_MAX {
                    let task = connection(shared.clone(), tcp, tls.clone());
                    shared.spawn(task);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept connections of peers, trying again");
                }
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn connection(shared: Rc<Shared>, tcp: TcpStream, tls: Option<Tls>) {
    let address = tcp.peer_addr().map_or_else(|_| "gone".to_owned(), |address| address.to_string());
    let counted = Counted::new(&shared);
    let greeted = timeout(HANDSHAKE_TIMEOUT, greeted(&shared, tcp, tls)).await;
    drop(counted);
    match greeted {
        Ok(Ok(Some((stream, assembler, greeted)))) => serve(&shared, stream, assembler, greeted).await,
        // An inquiry that is answered, somebody who came and went, or was too slow.
        Ok(Ok(None) | Err(Broken::Closed | Broken::Io(_))) | Err(_) => {}
        Ok(Err(broken)) => shared.turned_away(&address, &broken),
    }
}

async fn greeted(
    shared: &Shared,
    tcp: TcpStream,
    tls: Option<Tls>,
) -> Result<Option<(Stream, Assembler, Greeted)>, Broken> {
    let mut stream = protect(tcp, tls).await?;
    let mut assembler = Assembler::new(HELLO_BYTES_MAX);
    let greeted = welcome(shared, &mut stream, &mut assembler).await?;
    Ok(greeted.map(|greeted| (stream, assembler, greeted)))
}

async fn protect(tcp: TcpStream, tls: Option<Tls>) -> Result<Stream, Broken> {
    tcp.set_nodelay(true)?;
    match tls {
        None => Ok(Stream::Plain(tcp)),
        Some(tls) => Ok(tls.accept(tcp, HANDSHAKE_TIMEOUT).await?.0),
    }
}

async fn serve(shared: &Rc<Shared>, stream: Stream, assembler: Assembler, greeted: Greeted) {
    // It may have gone while the answer was written.
    let Some(link) = shared.link(greeted.peer) else { return };
    match greeted.purpose {
        Purpose::Messages => inbound::run(shared, &link, stream, assembler, greeted).await,
        Purpose::Bulk => bulk::receive(shared, &link, stream, assembler).await,
        // Answered and over.
        Purpose::Inquiry => {}
    }
}

/// Counts a handshake while it lasts.
struct Counted<'a>(&'a Shared);

impl<'a> Counted<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.handshakes.set(shared.handshakes.get() + 1);
        Self(shared)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.handshakes.set(self.0.handshakes.get() - 1);
    }
}
