//! HTTP/1.1 for those who open with it: health checks, metrics, the JSON gateway.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
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
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{mpsc, watch};

use crate::limits::Limits;
use crate::net::{Phase, Socket};

/// What answers HTTP/1.1 requests.
pub trait HttpHandler {
    /// Answers one request. If the client goes away, the answer is dropped where it is.
    fn call(&self, request: Request<RequestBody>) -> Pin<Box<dyn Future<Output = Response<ResponseBody>>>>;
}

/// The body of a request, read as it comes and never beyond [`Limits::http_body_bytes_max`].
pub struct RequestBody(Source);

enum Source {
    Http(Limited<Incoming>),
    /// Messages of a connection that was upgraded; whoever sends them bounds them.
    Messages(mpsc::Receiver<Bytes>),
}

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
    /// A body of messages, each of which is a part.
    #[must_use]
    pub fn messages(messages: mpsc::Receiver<Bytes>) -> Self {
        Self(Source::Messages(messages))
    }

    /// All of it; of messages the first one, as their end is that of the connection.
    ///
    /// # Errors
    /// If it is too large, or broken off.
    pub async fn whole(self) -> Result<Bytes, BodyError> {
        match self.0 {
            Source::Http(body) => {
                let whole = body.collect().await.map_err(|error| BodyError::of(error.as_ref()))?;
                Ok(whole.to_bytes())
            }
            Source::Messages(mut messages) => messages.recv().await.ok_or(BodyError::Broken),
        }
    }

    /// The next part; `None` after the last.
    ///
    /// # Errors
    /// If it is too large, or broken off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let body = match &mut self.0 {
            Source::Http(body) => body,
            Source::Messages(messages) => return Ok(messages.recv().await),
        };
        loop {
            let Some(frame) = body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| BodyError::of(error.as_ref()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// The body of a response: there whole, or sent in parts as they come. Or what the connection is used for from then on.
pub struct ResponseBody(Parts);

enum Parts {
    Whole(Option<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Bytes>>>),
    Upgrade(Upgrade),
}

/// What an upgraded connection is used for.
type Upgrade = Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A connection that speaks something else than HTTP/1.1 from now on. Dropped, it is closed.
pub struct Upgraded {
    socket: Begun,
    /// The most that one message should hold: [`Limits::http_body_bytes_max`].
    pub message_bytes_max: usize,
}

impl ResponseBody {
    /// A body in parts, each sent as soon as it is there.
    pub fn stream(parts: impl Stream<Item = Bytes> + 'static) -> Self {
        Self(Parts::Stream(Box::pin(parts)))
    }

    /// The next part; none after the last. For who sends it otherwise than as HTTP.
    pub fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.0 {
            Parts::Whole(whole) => Poll::Ready(whole.take()),
            Parts::Stream(parts) => parts.as_mut().poll_next(cx),
            Parts::Upgrade(_) => Poll::Ready(None),
        }
    }

    /// For an answer with status 101: nothing, after which the connection is given to `serve`.
    pub fn upgrade<F: Future<Output = ()> + 'static>(serve: impl FnOnce(Upgraded) -> F + 'static) -> Self {
        Self(Parts::Upgrade(Box::new(|upgraded| Box::pin(serve(upgraded)))))
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
        let part = self.get_mut().poll_part(cx);
        part.map(|part| part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Parts::Whole(None) | Parts::Upgrade(_))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Parts::Whole(whole) => SizeHint::with_exact(whole.as_ref().map_or(0, Bytes::len) as u64),
            Parts::Stream(_) => SizeHint::default(),
            Parts::Upgrade(_) => SizeHint::with_exact(0),
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

    /// The same with `read` before everything else that is to be read.
    fn after(self, read: &[u8]) -> Self {
        Self::new([read, &self.head[self.taken..]].concat(), self.socket)
    }
}

/// Serves a connection until it ends, or until its request in flight is answered once draining began.
pub(crate) async fn serve(
    io: Begun,
    handler: Rc<dyn HttpHandler>,
    limits: Rc<Limits>,
    mut phase: watch::Receiver<Phase>,
) {
    let (timeout, bytes_max) = (limits.header_timeout, limits.http_body_bytes_max);
    let protected = io.socket.protected().cloned();
    let upgrade = Rc::new(RefCell::new(None));
    let asked = upgrade.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(protected) = &protected {
            request.extensions_mut().insert(protected.clone());
        }
        // Boxed, because who drives a connection to the end of its HTTP must be able to move it.
        Box::pin(answer(request, handler.clone(), bytes_max, asked.clone()))
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        // As Go writes them, for those who look for a name with its letters.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(io), service);
    let mut draining = false;
    let ended = loop {
        let changed = async {
            let wanted = |phase: &Phase| *phase == Phase::Closing || (!draining && *phase == Phase::Draining);
            phase.wait_for(wanted).await.map_or(Phase::Closing, |phase| *phase)
        };
        tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            phase = changed => match phase {
                Phase::Closing => return,
                _ => {
                    draining = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            },
        }
    };
    if ended.is_err() {
        // A client that breaks off is not our error, and hyper has answered what it could.
        return;
    }
    let parts = connection.into_parts();
    let mut socket = parts.io.into_inner().after(&parts.read_buf);
    let upgrade: Option<Upgrade> = upgrade.take();
    tokio::select! {
        () = async {
            match upgrade {
                Some(serve) => serve(Upgraded { socket, message_bytes_max: bytes_max }).await,
                // Whether the client hears of the end is its business.
                None => drop(socket.shutdown().await),
            }
        } => {}
        _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: Rc<dyn HttpHandler>,
    body_bytes_max: usize,
    upgrade: Rc<RefCell<Option<Upgrade>>>,
) -> Result<Response<ResponseBody>, Infallible> {
    let request = request.map(|body| RequestBody(Source::Http(Limited::new(body, body_bytes_max))));
    Ok(handler.call(request).await.map(|body| match body.0 {
        Parts::Upgrade(serve) => {
            *upgrade.borrow_mut() = Some(serve);
            Bytes::new().into()
        }
        parts => ResponseBody(parts),
    }))
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

impl AsyncRead for Upgraded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
