//! The gateway's streams, over a real socket and a service that is a closure.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use windlass_api::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse, SnapshotResponse};
use windlass_api::method::{kv, lease, maintenance};
use windlass_rpc::{CallId, Event, HttpHandler, Kind, Limits, Route, Service};

use prost::Message as _;

use super::*;

const ROUTES: &[Route] = &[
    Route { path: lease::LEASE_KEEP_ALIVE, kind: Kind::BidiStream },
    Route { path: maintenance::SNAPSHOT, kind: Kind::ServerStream },
    Route { path: kv::PUT, kind: Kind::Unary },
];

/// No test waits longer for anything.
const DEADLINE: Duration = Duration::from_secs(20);

/// Answers each keep-alive with its id, refuses id 13, and sends two blobs as a snapshot.
struct Script(Net);

impl Service for Script {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::StreamMessage { call, route: 0, message } => {
                let request = LeaseKeepAliveRequest::decode(message).expect("decodes");
                match request.id {
                    13 => self.0.stream_end(call, Code::Unavailable, "etcdserver: no leader"),
                    id => self.send(call, &LeaseKeepAliveResponse { header: None, id, ttl: 5 }),
                }
            }
            Event::StreamMessage { call, route: 1, .. } => {
                for remaining_bytes in [3, 0] {
                    let blob = "abc".into();
                    self.send(call, &SnapshotResponse { remaining_bytes, blob, ..Default::default() });
                }
            }
            Event::StreamHalfClosed { call } => self.0.stream_end(call, Code::Ok, ""),
            // A put with a token is refused with it.
            Event::Unary { call, meta, .. } => self.0.fail(call, Code::Unauthenticated, &format!("{meta:?}")),
            _ => {}
        }
    }
}

impl Script {
    fn send(&self, call: CallId, message: &impl prost::Message) {
        self.0.stream_send(call, &message.encode_to_vec());
    }
}

struct Handler(Net);

impl HttpHandler for Handler {
    fn call(&self, request: Request<RequestBody>) -> Pin<Box<dyn Future<Output = Response<ResponseBody>>>> {
        let (net, path) = (self.0.clone(), request.uri().path().to_owned());
        Box::pin(async move { answer(&net, &path, request).await })
    }
}

fn with_gateway<T: Future<Output = ()>>(test: impl FnOnce(SocketAddr) -> T) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let net = Net::new(ROUTES, Limits::default());
        net.start(Box::new(Script(net.clone())), Some(Rc::new(Handler(net.clone()))));
        let listener = windlass_rpc::bind("127.0.0.1:0", 1).expect("binds").remove(0);
        let address = listener.local_addr().expect("bound");
        net.listen(listener).expect("listens");
        tokio::time::timeout(DEADLINE, test(address)).await.expect("in time");
    });
}

/// Sends a request that ends its connection, and reads all of the answer.
async fn ask(address: SocketAddr, path: &str, more: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("connects");
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("text");
    answer
}

#[test]
fn a_stream_is_answered_line_by_line() {
    with_gateway(|address| async move {
        let answer = ask(address, "/v3/lease/keepalive", "", "{\"ID\":\"5\"} {\"ID\":6}\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        for line in
            ["{\"result\":{\"ID\":\"5\",\"TTL\":\"5\"}}\n", "{\"result\":{\"ID\":\"6\",\"TTL\":\"5\"}}\n"]
        {
            assert!(answer.contains(line), "{answer}");
        }
        let answer = ask(address, "/v3/maintenance/snapshot", "", "").await;
        let first = "{\"result\":{\"remaining_bytes\":\"3\",\"blob\":\"YWJj\"}}\n";
        assert!(answer.contains(first) && answer.contains("{\"result\":{\"blob\":\"YWJj\"}}\n"), "{answer}");
    });
}

#[test]
fn errors_come_as_answers_or_as_last_lines() {
    with_gateway(|address| async move {
        let answer = ask(address, "/v3/lease/keepalive", "", "{\"ID\":\"13\"}").await;
        let body = r#"{"error":"etcdserver: no leader","code":14,"message":"etcdserver: no leader"}"#;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with(body), "{answer}");
        let answer = ask(address, "/v3/lease/keepalive", "", "{\"ID\":\"5\"}{\"ID\":\"13\"}").await;
        let last = stream_error(Code::Unavailable, "etcdserver: no leader");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&last), "{answer}");
        for (body, text) in [("xx", "expected value"), ("{\"ID\":", "unexpected EOF")] {
            let answer = ask(address, "/v3/lease/keepalive", "", body).await;
            assert!(answer.starts_with("HTTP/1.1 500") && answer.contains(text), "{answer}");
        }
    });
}

#[test]
fn a_client_may_ask_on_while_it_is_answered() {
    with_gateway(|address| async move {
        let mut socket = TcpStream::connect(address).await.expect("connects");
        let head = "POST /v3/lease/keepalive HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        socket.write_all(head.as_bytes()).await.expect("writes");
        let mut seen = String::new();
        for id in 1..4 {
            let message = format!("{{\"ID\":\"{id}\"}}");
            let chunk = format!("{:x}\r\n{message}\r\n", message.len());
            socket.write_all(chunk.as_bytes()).await.expect("writes");
            while !seen.contains(&format!("\"ID\":\"{id}\"")) {
                let mut part = [0; 1024];
                let len = socket.read(&mut part).await.expect("reads");
                assert!(len > 0, "ended: {seen}");
                seen.push_str(std::str::from_utf8(&part[..len]).expect("text"));
            }
        }
    });
}

#[test]
fn headers_are_the_calls_metadata() {
    with_gateway(|address| async move {
        let more = "Authorization: Bearer t.1\r\nGrpc-Metadata-hasleader: true\r\nGrpc-Metadata-Token: t.2\r\n\
                    Grpc-Timeout: 5S\r\n";
        let answer = ask(address, "/v3/kv/put", more, "{}").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        let meta = Meta {
            token: Some("t.2".into()),
            authorization: Some("Bearer t.1".into()),
            require_leader: true,
            client_api_version: None,
            timeout: Some(Duration::from_secs(5)),
        };
        let text = serde_json::Value::String(format!("{meta:?}")).to_string();
        assert!(answer.contains(&text), "{answer} without {text}");
        let answer = ask(address, "/v3/kv/put", "Grpc-Timeout: 5x\r\n", "{}").await;
        let text = r#"{"error":"invalid grpc-timeout: 5x","code":3,"message":"invalid grpc-timeout: 5x"}"#;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(text), "{answer}");
        let answer = ask(address, "/v3/kv/range", "", "{}").await;
        let text = "unknown method Range for service etcdserverpb.KV";
        assert!(answer.starts_with("HTTP/1.1 501") && answer.contains(text), "{answer}");
    });
}
