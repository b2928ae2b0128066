//! HTTP/1.1 for those who open with it: health checks, metrics, the JSON gateway.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::limits::Limits;
use crate::net::Phase;

/// What answers HTTP/1.1 requests.
pub trait HttpHandler {
    /// Answers one request, whose body is there whole.
    fn call(&self, request: Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>>>>;
}

/// A connection of which some bytes were read already.
pub(crate) struct Begun {
    head: Vec<u8>,
    taken: usize,
    socket: TcpStream,
}

impl Begun {
    pub fn new(head: Vec<u8>, socket: TcpStream) -> Self {
        Self { head, taken: 0, socket }
    }
}

/// Serves a connection until it ends, or until its request in flight is answered once draining began.
pub(crate) async fn serve(
    io: Begun,
    handler: Rc<dyn HttpHandler>,
    limits: Rc<Limits>,
    mut phase: watch::Receiver<Phase>,
) {
    let timeout = limits.header_timeout;
    let service = service_fn(move |request| answer(request, handler.clone(), limits.http_body_bytes_max));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let mut draining = false;
    loop {
        let changed = async {
            let wanted = |phase: &Phase| *phase == Phase::Closing || (!draining && *phase == Phase::Draining);
            phase.wait_for(wanted).await.map_or(Phase::Closing, |phase| *phase)
        };
        tokio::select! {
            // A client that breaks off is not our error, and hyper has answered what it could.
            _ = connection.as_mut() => return,
            phase = changed => match phase {
                Phase::Closing => return,
                _ => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            },
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: Rc<dyn HttpHandler>,
    body_bytes_max: usize,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let response = match Limited::new(body, body_bytes_max).collect().await {
        Ok(body) => handler.call(Request::from_parts(head, body.to_bytes())).await,
        Err(error) => {
            let mut response = Response::new(Bytes::new());
            let large = error.downcast_ref::<LengthLimitError>().is_some();
            *response.status_mut() =
                if large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            response
        }
    };
    Ok(response.map(Full::new))
}

impl AsyncRead for Begun {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = &this.head[this.taken..];
        if rest.is_empty() {
            return Pin::new(&mut this.socket).poll_read(cx, buf);
        }
        let len = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..len]);
        this.taken += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
