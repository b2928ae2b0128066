//! The JSON gateway: `POST /v3/...` over HTTP/1.1, each a call of the same service that gRPC clients call.
//!
//! A request becomes a [`LocalCall`], so a method that gRPC clients can call can be called here too, with the same
//! checks, limits and counters. What is a path, a JSON text or an error body is [`windlass_gateway`]'s business.

#[cfg(test)]
mod tests;
mod websocket;

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc;
use windlass_gateway::{
    Method, NotJson, Splitter, Transcoder, error_body, http_status, method_of, stream_error,
};
use windlass_rpc::{
    Answer, BodyError, Code, LocalCall, Meta, Net, Request, RequestBody, Response, ResponseBody, StatusCode,
    header,
};

/// The methods of the API; made when the first request comes.
static TRANSCODER: LazyLock<Transcoder> = LazyLock::new(Transcoder::new);

/// Messages of a stream's body that were read and not yet given to the service. At the bound the body waits.
const MESSAGES_AHEAD_MAX: usize = 16;

/// Whether a path is the gateway's.
pub fn is_path(path: &str) -> bool {
    path.starts_with("/v3/")
}

/// Answers one request of the gateway, or makes its connection a WebSocket.
pub async fn admit(net: &Net, path: &str, request: Request<RequestBody>) -> Response<ResponseBody> {
    if websocket::is_asked(request.headers()) {
        return websocket::answer(net, path, &request);
    }
    answer(net, path, request).await
}

/// Answers one request of the gateway.
async fn answer(net: &Net, path: &str, request: Request<RequestBody>) -> Response<ResponseBody> {
    let Some((grpc_path, method)) = method_of(path).and_then(|m| Some((m, TRANSCODER.method(m)?))) else {
        return plain(StatusCode::NOT_FOUND, "Not Found\n");
    };
    if request.method() != "POST" {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    }
    let (head, body) = request.into_parts();
    let meta = meta(&head.headers);
    if let (None, Some(value)) = (meta.timeout, head.headers.get("grpc-timeout")) {
        let value = String::from_utf8_lossy(value.as_bytes());
        return refusal(Code::InvalidArgument, &format!("invalid grpc-timeout: {value}"));
    }
    let Some(call) = net.call(grpc_path, meta) else {
        let (service, name) =
            grpc_path.trim_start_matches('/').split_once('/').expect("a path is /service/method");
        return refusal(Code::Unimplemented, &format!("unknown method {name} for service {service}"));
    };
    match (method.streams_in(), method.streams_out()) {
        (false, false) => unary(call, method, body).await,
        (false, true) => match whole(method, body).await {
            Ok(message) => {
                call.send(&message);
                call.half_close();
                stream(call, method, None).await
            }
            Err((code, text)) => refusal(code, &text),
        },
        (true, _) => {
            let messages = read_messages(method, body, net.limits().http_body_bytes_max);
            stream(call, method, Some(messages)).await
        }
    }
}

async fn unary(mut call: LocalCall, method: &Method, body: RequestBody) -> Response<ResponseBody> {
    match whole(method, body).await {
        Ok(message) => call.send(&message),
        Err((code, text)) => return refusal(code, &text),
    }
    match call.next().await {
        Answer::Message(message) => match json(method, &message) {
            Ok(json) => answered(json.into()),
            Err((code, text)) => refusal(code, &text),
        },
        Answer::End(code, text) => refusal(code, &text),
    }
}

/// The request of a method that takes one.
async fn whole(method: &Method, body: RequestBody) -> Result<Vec<u8>, (Code, String)> {
    let body = body.whole().await.map_err(body_refusal)?;
    method.decode(&body).map_err(|NotJson(text)| (Code::InvalidArgument, text))
}

fn body_refusal(error: BodyError) -> (Code, String) {
    let code = match error {
        BodyError::TooLarge => Code::ResourceExhausted,
        BodyError::Broken => Code::InvalidArgument,
    };
    (code, error.to_string())
}

fn json(method: &Method, message: &[u8]) -> Result<Vec<u8>, (Code, String)> {
    let mut json = Vec::with_capacity(message.len() * 2);
    match method.encode(message, &mut json) {
        Ok(()) => Ok(json),
        Err(error) => Err((Code::Internal, format!("the answer is not of its type: {error}"))),
    }
}

/// What the body of a stream holds next; the end of the channel is the end of the body.
type Message = Result<Vec<u8>, (Code, String)>;

/// Reads a body message by message, none of them larger than `value_bytes_max`, while the stream is answered. The task ends with the body, or with the receiver.
fn read_messages(method: &Method, mut body: RequestBody, value_bytes_max: usize) -> mpsc::Receiver<Message> {
    let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD_MAX);
    let method = method.clone();
    tokio::task::spawn_local(async move {
        let mut splitter = Splitter::default();
        loop {
            while let Some(value) = splitter.next_value() {
                let message = method.decode(&value).map_err(|NotJson(text)| (Code::Unknown, text));
                let stop = message.is_err();
                if sender.send(message).await.is_err() || stop {
                    return;
                }
            }
            let part = tokio::select! {
                part = body.next() => part,
                () = sender.closed() => return,
            };
            let refused = match part {
                Ok(Some(part)) if part.len() > value_bytes_max.saturating_sub(splitter.waiting_bytes()) => {
                    Some(body_refusal(BodyError::TooLarge))
                }
                Ok(Some(part)) => {
                    splitter.feed(&part);
                    continue;
                }
                Ok(None) => splitter.finish().err().map(|_| (Code::Unknown, "unexpected EOF".to_owned())),
                Err(error) => Some(body_refusal(error)),
            };
            if let Some(refused) = refused {
                // Nobody waits for it if the stream is over.
                let _ = sender.send(Err(refused)).await;
            }
            return;
        }
    });
    receiver
}

/// Answers with a stream. The head goes out with the first message, so that an error before it is an ordinary one.
async fn stream(
    call: LocalCall,
    method: &Method,
    messages: Option<mpsc::Receiver<Message>>,
) -> Response<ResponseBody> {
    let mut lines = Lines { call, method: method.clone(), messages, ended: false };
    match std::future::poll_fn(|cx| lines.poll_answer(cx)).await {
        Answer::End(Code::Ok, _) => answered(Bytes::new().into()),
        Answer::End(code, text) => refusal(code, &text),
        Answer::Message(first) => {
            let first = lines.line(&first);
            answered(ResponseBody::stream(First { first: Some(first), lines }))
        }
    }
}

/// A stream's answers, as lines of JSON.
struct Lines {
    call: LocalCall,
    method: Method,
    /// What the client still sends.
    messages: Option<mpsc::Receiver<Message>>,
    ended: bool,
}

impl Lines {
    /// Gives the service what the client sent, and takes its next answer.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        while let Some(messages) = &mut self.messages {
            match messages.poll_recv(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(message))) => self.call.send(&message),
                Poll::Ready(Some(Err((code, text)))) => {
                    self.messages = None;
                    self.call.abort(code, &text);
                }
                Poll::Ready(None) => {
                    self.messages = None;
                    self.call.half_close();
                }
            }
        }
        self.call.poll_next(cx)
    }

    fn line(&mut self, message: &[u8]) -> Bytes {
        let mut line = b"{\"result\":".to_vec();
        match self.method.encode(message, &mut line) {
            Ok(()) => line.extend_from_slice(b"}\n"),
            Err(error) => {
                self.ended = true;
                line = stream_error(Code::Internal, &error.to_string()).into_bytes();
            }
        }
        line.into()
    }
}

/// The lines of a stream, of which the first is there.
struct First {
    first: Option<Bytes>,
    lines: Lines,
}

impl Stream for First {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Self { first, lines } = self.get_mut();
        if first.is_some() {
            return Poll::Ready(first.take());
        }
        if lines.ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(lines.poll_answer(cx)) {
            Answer::Message(message) => Some(lines.line(&message)),
            Answer::End(code, text) => {
                lines.ended = true;
                (code != Code::Ok).then(|| stream_error(code, &text).into())
            }
        })
    }
}

/// What the headers of a request say of the call. Source: grpc-gateway 1.16, `runtime/context.go`: `Authorization` is
/// handed on, and what has the prefix `Grpc-Metadata-` without that; `Grpc-Timeout` is the call's.
pub(super) fn meta(headers: &header::HeaderMap) -> Meta {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Meta {
        token: text("grpc-metadata-token").map(Box::from),
        authorization: text("authorization").or(text("grpc-metadata-authorization")).map(Box::from),
        require_leader: text("grpc-metadata-hasleader") == Some("true"),
        client_api_version: text("grpc-metadata-client-api-version").map(Box::from),
        timeout: text("grpc-timeout").and_then(|value| Meta::parse_timeout(value.as_bytes())),
    }
}

fn answered(body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert("grpc-metadata-content-type", header::HeaderValue::from_static("application/grpc"));
    response
}

fn refusal(code: Code, text: &str) -> Response<ResponseBody> {
    let mut response = Response::new(error_body(code, text).into());
    *response.status_mut() = StatusCode::from_u16(http_status(code)).expect("a status");
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An answer of Go's own `http.Error`.
fn plain(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}
