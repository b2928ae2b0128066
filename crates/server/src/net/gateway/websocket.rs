//! The gateway's streams for browsers: a WebSocket whose messages are the lines of a request's body and of its answer.
//!
//! Source: `tmc/grpc-websocket-proxy`, which etcd puts before its gateway, over `gorilla/websocket`.

use std::future::{Future, poll_fn};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use windlass_gateway::{Frames, Opcode, Received, accept_key, push_frame};
use windlass_rpc::{Method, Net, Request, RequestBody, Response, ResponseBody, StatusCode, Upgraded, header};

use super::plain;

/// Messages that were read and that the gateway has not taken, or answers to pings that were not written. At the bound
/// the client is not read.
const AHEAD_MAX: usize = 4;

/// Bytes read at a time.
const READ_BYTES: usize = 4096;

/// Whether a request asks for a WebSocket.
pub fn is_asked(headers: &header::HeaderMap) -> bool {
    has_token(headers, header::CONNECTION, "upgrade") && has_token(headers, header::UPGRADE, "websocket")
}

fn has_token(headers: &header::HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// Makes the connection of a request for `path` a WebSocket.
pub fn answer(net: &Net, path: &str, request: &Request<RequestBody>) -> Response<ResponseBody> {
    if request.method() != "GET" {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    }
    let headers = request.headers();
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| !key.is_empty()) else {
        return refusal(StatusCode::BAD_REQUEST, "Bad Request\n");
    };
    if !has_token(headers, header::SEC_WEBSOCKET_VERSION, "13") {
        return refusal(StatusCode::BAD_REQUEST, "Bad Request\n");
    }
    let accept = accept_key(key.as_bytes()).parse().expect("base64 is a header's value");
    let (net, path, handed_on) = (net.clone(), path.to_owned(), handed_on(headers));
    let mut response = Response::new(ResponseBody::upgrade(move |socket| async move {
        serve(net, &path, handed_on, socket).await;
    }));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let text = header::HeaderValue::from_static;
    let answered = response.headers_mut();
    answered.insert(header::UPGRADE, text("websocket"));
    answered.insert(header::CONNECTION, text("Upgrade"));
    answered.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        answered.insert(header::SEC_WEBSOCKET_PROTOCOL, text("Bearer"));
    }
    response
}

/// As `gorilla/websocket` refuses: with the version that it speaks.
fn refusal(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let mut response = plain(status, text);
    response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static("13"));
    response
}

/// The headers of the request within. A script cannot set `Authorization`, so a token may come as a protocol,
/// `Bearer, TOKEN`, or as the cookie `token`.
fn handed_on(headers: &header::HeaderMap) -> header::HeaderMap {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let protocol = text(header::SEC_WEBSOCKET_PROTOCOL).and_then(|protocol| protocol.split_once("Bearer,"));
    let mut cookies = text(header::COOKIE).unwrap_or_default().split(';');
    let cookie = cookies.find_map(|cookie| cookie.trim().strip_prefix("token="));
    let token = cookie.or(protocol.map(|(_, token)| token.trim()));
    let token = token.and_then(|token| format!("Bearer {token}").parse().ok());
    token.into_iter().map(|token| (header::AUTHORIZATION, token)).collect()
}

/// Carries messages until the stream or the connection ends; either ends the other.
async fn serve(net: Net, path: &str, headers: header::HeaderMap, socket: Upgraded) {
    let (sender, messages) = mpsc::channel(AHEAD_MAX);
    let (control, controls) = mpsc::channel(AHEAD_MAX);
    let mut request = Request::new(RequestBody::messages(messages));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    let frames = Frames::new(socket.message_bytes_max);
    let (reader, writer) = tokio::io::split(socket);
    let answers = async {
        let answer = super::answer(&net, path, request);
        // The end of the connection ends the stream too, so nobody is left to hear of a failed write.
        let _ = write(writer, controls, answer).await;
    };
    tokio::select! {
        () = answers => {}
        () = read(reader, frames, sender, control) => {}
    }
}

/// Hands on what the client sends, until it closes.
async fn read(
    mut socket: ReadHalf<Upgraded>,
    mut frames: Frames,
    messages: mpsc::Sender<Bytes>,
    control: mpsc::Sender<(Opcode, Vec<u8>)>,
) {
    let mut part = Vec::with_capacity(READ_BYTES);
    loop {
        let answer = match frames.next_received() {
            Ok(Some(Received::Message(message))) => {
                // Who no longer takes messages may still answer some.
                let _ = messages.send(message.into()).await;
                continue;
            }
            Ok(Some(Received::Ping(payload))) => (Opcode::Pong, payload),
            Ok(Some(Received::Close(payload))) => (Opcode::Close, payload),
            Ok(None) => {
                part.clear();
                match socket.read_buf(&mut part).await {
                    Ok(1..) => frames.feed(&part),
                    Ok(0) | Err(_) => return,
                }
                continue;
            }
            Err(_) => return,
        };
        let is_last = answer.0 == Opcode::Close;
        if control.send(answer).await.is_err() {
            return;
        }
        if is_last {
            // Whoever writes it ends everything.
            control.closed().await;
            return;
        }
    }
}

/// Writes each line of the answer as a message, and what the protocol itself asks for.
async fn write(
    mut socket: WriteHalf<Upgraded>,
    mut controls: mpsc::Receiver<(Opcode, Vec<u8>)>,
    answer: impl Future<Output = Response<ResponseBody>>,
) -> std::io::Result<()> {
    let mut answer = std::pin::pin!(answer);
    let mut body: Option<ResponseBody> = None;
    let mut out = Vec::new();
    loop {
        let next = async {
            match &mut body {
                None => Next::Head(answer.as_mut().await.into_body()),
                Some(body) => Next::Part(next_part(body).await),
            }
        };
        tokio::select! {
            control = controls.recv() => {
                let Some((opcode, payload)) = control else { return Ok(()) };
                push_frame(opcode, &payload, &mut out);
                socket.write_all(&out).await?;
                if opcode == Opcode::Close {
                    return socket.shutdown().await;
                }
            }
            next = next => match next {
                Next::Head(begun) => body = Some(begun),
                Next::Part(None) => return socket.shutdown().await,
                Next::Part(Some(part)) => {
                    for line in part.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                        push_frame(Opcode::Text, line, &mut out);
                    }
                    socket.write_all(&out).await?;
                }
            }
        }
        socket.flush().await?;
        out.clear();
    }
}

/// What the answer goes on with.
enum Next {
    Head(ResponseBody),
    /// Whole lines; none after the last.
    Part(Option<Bytes>),
}

async fn next_part(body: &mut ResponseBody) -> Option<Bytes> {
    poll_fn(|cx| body.poll_part(cx)).await
}
