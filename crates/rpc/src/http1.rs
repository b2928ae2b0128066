//! HTTP/1.1 for those who open with it: health checks, metrics, the JSON gateway.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::limits::Limits;
use crate::net::{Phase, Socket};

/// What answers HTTP/1.1 requests.
pub trait HttpHandler {
    /// Answers one request. If the client goes away, the answer is dropped where it is.
    fn call(&self, request: Request<RequestBody>) -> Pin<Box<dyn Future<Output = Response<ResponseBody>>>>;
}

/// The body of a request, read as it comes and never beyond [`Limits::http_body_bytes_max`].
pub struct RequestBody(Limited<Incoming>);

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than [`Limits::http_body_bytes_max`].
    #[error("http: request body too large")]
    TooLarge,
    /// The client broke it off.
    #[error("unexpected EOF")]
    Broken,
}

impl BodyError {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        if error.is::<LengthLimitError>() { Self::TooLarge } else { Self::Broken }
    }
}

impl RequestBody {
    /// All of it.
    ///
    /// # Errors
    /// If it is too large, or broken off.
    pub async fn whole(self) -> Result<Bytes, BodyError> {
        let whole = self.0.collect().await.map_err(|error| BodyError::of(error.as_ref()))?;
        Ok(whole.to_bytes())
    }

    /// The next part; `None` after the last.
    ///
    /// # Errors
    /// If it is too large, or broken off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let Some(frame) = self.0.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| BodyError::of(error.as_ref()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// The body of a response: there whole, or sent in parts as they come.
pub struct ResponseBody(Parts);

enum Parts {
    Whole(Option<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Bytes>>>),
}

impl ResponseBody {
    /// A body in parts, each sent as soon as it is there.
    pub fn stream(parts: impl Stream<Item = Bytes> + 'static) -> Self {
        Self(Parts::Stream(Box::pin(parts)))
    }
}

impl<T: Into<Bytes>> From<T> for ResponseBody {
    fn from(whole: T) -> Self {
        Self(Parts::Whole(Some(whole.into()).filter(|whole: &Bytes| !whole.is_empty())))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = match &mut self.get_mut().0 {
            Parts::Whole(whole) => Poll::Ready(whole.take()),
            Parts::Stream(parts) => parts.as_mut().poll_next(cx),
        };
        part.map(|part| part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Parts::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Parts::Whole(whole) => SizeHint::with_exact(whole.as_ref().map_or(0, Bytes::len) as u64),
            Parts::Stream(_) => SizeHint::default(),
        }
    }
}

/// A connection of which some bytes were read already.
pub(crate) struct Begun {
    head: Vec<u8>,
    taken: usize,
    socket: Socket,
}

impl Begun {
    pub fn new(head: Vec<u8>, socket: Socket) -> Self {
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
    let protected = io.socket.protected().cloned();
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(protected) = &protected {
            request.extensions_mut().insert(protected.clone());
        }
        answer(request, handler.clone(), limits.http_body_bytes_max)
    });
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
) -> Result<Response<ResponseBody>, Infallible> {
    Ok(handler.call(request.map(|body| RequestBody(Limited::new(body, body_bytes_max)))).await)
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
