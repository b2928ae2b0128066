//! A net served over real sockets on one thread, with clients on the same thread.

mod answers;
mod deadlines;
mod gzip;
mod local;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use windlass_http2::{ClientSession, ErrorCode, Field, Settings, StreamRef, Trailers};
use windlass_rpc::{
    CallId, Code, Event, HttpHandler, Kind, Limits, Net, Request, RequestBody, Response, ResponseBody, Route,
    Service, StatusCode,
};

const ROUTES: &[Route] = &[
    Route { path: "/t.T/Unary", kind: Kind::Unary },
    Route { path: "/t.T/Bidi", kind: Kind::BidiStream },
    Route { path: "/t.T/Many", kind: Kind::ServerStream },
];

/// No test waits longer than this for anything.
const DEADLINE: Duration = Duration::from_secs(20);

/// A service that is a closure.
struct Script<F>(Net, F);

impl<F: FnMut(&Net, Event<'_>)> Service for Script<F> {
    fn event(&mut self, event: Event<'_>) {
        self.1(&self.0, event);
    }
}

struct Hello;

impl HttpHandler for Hello {
    fn call(&self, request: Request<RequestBody>) -> Pin<Box<dyn Future<Output = Response<ResponseBody>>>> {
        Box::pin(async {
            let uri = request.uri().clone();
            match request.into_body().whole().await {
                Ok(body) => Response::new(format!("{uri} {}", body.len()).into()),
                Err(error) => {
                    let mut refusal = Response::new(error.to_string().into());
                    *refusal.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                    refusal
                }
            }
        })
    }
}

/// Runs `test` with a net whose service is `script`.
fn with_net<T: Future<Output = ()>>(
    limits: Limits,
    script: impl FnMut(&Net, Event<'_>) + 'static,
    test: impl FnOnce(Net, SocketAddr) -> T,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let net = Net::new(ROUTES, limits);
        net.start(Box::new(Script(net.clone(), script)), Some(Rc::new(Hello)));
        let listener = windlass_rpc::bind("127.0.0.1:0", 1).expect("binds").remove(0);
        let address = listener.local_addr().expect("bound");
        net.listen(listener).expect("listens");
        tokio::time::timeout(DEADLINE, test(net, address)).await.expect("in time");
    });
}

fn echo(net: &Net, event: Event<'_>) {
    match event {
        Event::Unary { call, message, .. } => net.reply(call, message),
        Event::StreamMessage { call, message, .. } => drop(net.stream_send(call, message)),
        Event::StreamHalfClosed { call } => net.stream_end(call, Code::Ok, ""),
        _ => {}
    }
}

/// What a client knows of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    http: String,
    messages: Vec<Vec<u8>>,
    status: Option<(String, String)>,
    closed: Option<ErrorCode>,
}

struct Client {
    socket: TcpStream,
    session: ClientSession,
    answers: HashMap<StreamRef, Answer>,
    bodies: HashMap<StreamRef, Vec<u8>>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &Settings::default()).await
    }

    async fn connect_with(address: SocketAddr, settings: &Settings) -> Self {
        let socket = TcpStream::connect(address).await.expect("connects");
        let session = ClientSession::new(settings, Instant::now()).expect("session");
        Self { socket, session, answers: HashMap::new(), bodies: HashMap::new() }
    }

    fn open(&mut self, path: &str, more: &[(&str, &str)]) -> StreamRef {
        let mut head = vec![
            Field::constant(":method", "POST"),
            Field::constant(":scheme", "http"),
            Field::new(b":path", path.as_bytes()).expect("valid"),
            Field::constant(":authority", "test"),
        ];
        let content_type = [("content-type", "application/grpc"), ("te", "trailers")];
        let defaults = content_type.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        for (name, value) in defaults.chain(more) {
            head.push(Field::new(name.as_bytes(), value.as_bytes()).expect("valid"));
        }
        let stream = self.session.request(&head, true).expect("opens");
        self.answers.insert(stream, Answer::default());
        stream
    }

    fn message(&mut self, stream: StreamRef, message: &[u8]) {
        self.session.push(stream, &framed(message));
    }

    fn end(&mut self, stream: StreamRef) {
        self.session.finish(stream, Trailers::None);
    }

    fn unary(&mut self, path: &str, message: &[u8]) -> StreamRef {
        let stream = self.open(path, &[]);
        self.message(stream, message);
        self.end(stream);
        stream
    }

    async fn flush(&mut self) {
        let mut out = Vec::new();
        self.session.send(&mut out, usize::MAX).expect("sends");
        self.socket.write_all(&out).await.expect("writes");
    }

    /// Reads once. False at the end of the connection.
    async fn read(&mut self) -> bool {
        let mut input = vec![0; 1 << 16];
        let len = self.socket.read(&mut input).await.unwrap_or(0);
        if len > 0 {
            self.session.recv(&input[..len], Instant::now()).expect("valid");
            self.collect();
            self.flush().await;
        }
        len > 0
    }

    fn collect(&mut self) {
        while let Some(ready) = self.session.next_ready() {
            let stream = ready.stream;
            let answer = self.answers.entry(stream).or_default();
            if ready.head {
                answer.http = field(self.session.head(stream), ":status").unwrap_or_default();
            }
            let body = self.bodies.entry(stream).or_default();
            body.extend_from_slice(self.session.body(stream).expect("there"));
            let len = self.session.body(stream).expect("there").len();
            self.session.consume_body(stream, len);
            while let Some(message) = unframe(body) {
                answer.messages.push(message);
            }
            if ready.end {
                let get = |name| {
                    field(self.session.trailers(stream), name)
                        .or_else(|| field(self.session.head(stream), name))
                };
                answer.status =
                    get("grpc-status").map(|status| (status, get("grpc-message").unwrap_or_default()));
            }
            answer.closed = answer.closed.or(ready.closed);
        }
    }

    /// Writes and reads until `stream` is closed.
    async fn finish(&mut self, stream: StreamRef) -> Answer {
        self.until(stream, |answer| answer.closed.is_some()).await
    }

    async fn until(&mut self, stream: StreamRef, wanted: impl Fn(&Answer) -> bool) -> Answer {
        self.flush().await;
        while !wanted(&self.answers[&stream]) {
            assert!(self.read().await, "the connection ended early: {:?}", self.answers[&stream]);
        }
        self.answers[&stream].clone()
    }
}

fn field(headers: Option<windlass_http2::Headers<'_>>, name: &str) -> Option<String> {
    headers?.get(name).map(|value| String::from_utf8(value.to_vec()).expect("text"))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0], &len[..], message].concat()
}

fn unframe(body: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = u32::from_be_bytes(body.get(1..5)?.try_into().expect("four")) as usize;
    let message = body.get(5..5 + len)?.to_vec();
    body.drain(..5 + len);
    Some(message)
}

fn ok(messages: &[&[u8]]) -> Answer {
    Answer {
        http: "200".into(),
        messages: messages.iter().map(|m| m.to_vec()).collect(),
        status: Some(("0".into(), String::new())),
        closed: Some(ErrorCode::NO_ERROR),
    }
}

fn failed(http: &str, code: Code, text: &str) -> Answer {
    Answer {
        http: http.into(),
        messages: Vec::new(),
        status: Some(((code as u8).to_string(), text.into())),
        closed: Some(ErrorCode::NO_ERROR),
    }
}

#[test]
fn unary_calls_are_answered() {
    with_net(Limits::default(), echo, |net, address| async move {
        let mut client = Client::connect(address).await;
        for message in [&b""[..], b"x", &[7; 100_000], &[8; 2 << 20]] {
            let stream = client.unary("/t.T/Unary", message);
            assert!(client.finish(stream).await == ok(&[message]));
        }
        let counters = net.counters();
        assert_eq!((counters.open, counters.accepted), (1, 1));
        let route = &counters.routes[0];
        assert_eq!((route.started, route.received, route.sent, route.handled[0]), (4, 4, 4, 4));
        assert!(counters.received_bytes > 2 << 20 && counters.sent_bytes > 2 << 20);
    });
}

#[test]
fn wrong_calls_get_grpc_gos_words() {
    let limits = Limits { message_bytes_max: 1000, ..Limits::default() };
    with_net(limits, echo, |_, address| async move {
        let mut client = Client::connect(address).await;
        let unknown = client.unary("/t.T/Nope", b"x");
        let expected = failed("200", Code::Unimplemented, "unknown method Nope for service t.T");
        assert_eq!(client.finish(unknown).await, expected);
        for len in [1001, 500_000] {
            let large = client.unary("/t.T/Unary", &vec![1; len]);
            let text = format!("grpc: received message larger than max ({len} vs. 1000)");
            assert_eq!(client.finish(large).await, failed("200", Code::ResourceExhausted, &text));
        }
        let json = client.open("/t.T/Unary", &[("content-type", "application/json")]);
        let text = "invalid gRPC request content-type \"application/json\"";
        assert_eq!(client.finish(json).await, failed("415", Code::InvalidArgument, text));
        let cut = client.open("/t.T/Unary", &[]);
        client.session.push(cut, &[0, 0, 0, 0, 9, 1]);
        client.end(cut);
        assert_eq!(client.finish(cut).await, failed("200", Code::Unknown, "unexpected EOF"));
        let cut = client.open("/t.T/Bidi", &[]);
        client.session.push(cut, &[0, 0, 0, 0, 9, 1]);
        client.end(cut);
        assert_eq!(client.finish(cut).await, failed("200", Code::Internal, "unexpected EOF"));
        let good = client.unary("/t.T/Unary", b"still there");
        assert_eq!(client.finish(good).await, ok(&[b"still there"]));
    });
}

#[test]
fn metadata_reaches_the_service_and_texts_reach_the_client() {
    let script = |net: &Net, event: Event<'_>| {
        if let Event::Unary { call, meta, .. } = event {
            let token = meta.token.as_deref().unwrap_or("none");
            let text = format!("{token} {} {:?} 100%", meta.require_leader, meta.timeout);
            net.fail(call, Code::FailedPrecondition, &text);
            net.fail(call, Code::Ok, "a second answer is dropped");
            net.reply(call, b"as is a third");
        }
    };
    with_net(Limits::default(), script, |_, address| async move {
        let mut client = Client::connect(address).await;
        for (token, seen) in [("a.1", "a.1"), ("a.1", "a.1"), ("b.2", "b.2")] {
            let metadata = [("token", token), ("hasleader", "true"), ("grpc-timeout", "2S")];
            let stream = client.open("/t.T/Unary", &metadata);
            client.message(stream, b"");
            client.end(stream);
            let text = format!("{seen} true Some(2s) 100%25");
            assert_eq!(client.finish(stream).await, failed("200", Code::FailedPrecondition, &text));
        }
    });
}

#[test]
fn a_turn_is_one_batch() {
    let batches: Rc<RefCell<Vec<usize>>> = Rc::default();
    let seen = batches.clone();
    let mut waiting: Vec<CallId> = Vec::new();
    let script = move |net: &Net, event: Event<'_>| match event {
        Event::Unary { call, .. } => waiting.push(call),
        Event::TurnEnd => {
            seen.borrow_mut().push(waiting.len());
            waiting.drain(..).for_each(|call| net.reply(call, b""));
        }
        _ => {}
    };
    with_net(Limits::default(), script, |_, address| async move {
        let mut clients = vec![Client::connect(address).await, Client::connect(address).await];
        let mut streams = Vec::new();
        for client in &mut clients {
            let first = client.unary("/t.T/Unary", b"x");
            client.finish(first).await;
            streams.push((0..50).map(|_| client.unary("/t.T/Unary", b"x")).collect::<Vec<_>>());
        }
        for client in &mut clients {
            client.flush().await;
        }
        for (client, streams) in clients.iter_mut().zip(streams) {
            for stream in streams {
                assert_eq!(client.finish(stream).await, ok(&[b""]));
            }
        }
        // What a client wrote at once is one batch; both clients' may be one too if both were ready in one turn.
        let batches = batches.borrow();
        assert_eq!(batches[..2], [1, 1]);
        assert!(batches[2..] == [100] || batches[2..] == [50, 50], "{batches:?}");
    });
}

#[test]
fn streams_flow_both_ways() {
    with_net(Limits::default(), echo, |net, address| async move {
        let mut client = Client::connect(address).await;
        let stream = client.open("/t.T/Bidi", &[]);
        for i in 0..100u8 {
            client.message(stream, &vec![i; usize::from(i) * 50]);
            let answer = client.until(stream, |a| a.messages.len() == usize::from(i) + 1).await;
            assert_eq!(answer.messages[usize::from(i)], vec![i; usize::from(i) * 50]);
        }
        client.end(stream);
        let answer = client.finish(stream).await;
        assert_eq!(answer.status, Some(("0".into(), String::new())));
        assert_eq!(net.counters().routes[1].handled[0], 1);
        // Many small messages in one piece, and large ones.
        let stream = client.open("/t.T/Bidi", &[]);
        for i in 0..5000u32 {
            client.message(stream, &i.to_be_bytes());
        }
        client.message(stream, &vec![9; 1 << 20]);
        client.end(stream);
        let answer = client.finish(stream).await;
        assert_eq!(answer.messages.len(), 5001);
        assert!((0..5000u32).zip(&answer.messages).all(|(i, m)| *m == i.to_be_bytes()));
    });
}

#[test]
fn a_thousand_streams_share_a_connection() {
    with_net(Limits::default(), echo, |_, address| async move {
        let mut client = Client::connect(address).await;
        let streams: Vec<_> = (0..1000).map(|_| client.open("/t.T/Bidi", &[])).collect();
        for (i, stream) in streams.iter().enumerate() {
            client.message(*stream, i.to_string().as_bytes());
        }
        for (i, stream) in streams.iter().enumerate() {
            let answer = client.until(*stream, |a| !a.messages.is_empty()).await;
            assert_eq!(answer.messages, [i.to_string().into_bytes()]);
        }
        streams.iter().for_each(|stream| client.end(*stream));
        for stream in streams {
            assert_eq!(client.finish(stream).await.status, Some(("0".into(), String::new())));
        }
    });
}

#[test]
fn a_full_stream_is_told_to_wait_and_then_to_go_on() {
    const BUDGET: usize = 100_000;
    const TOTAL: usize = 200;
    let most: Rc<RefCell<usize>> = Rc::default();
    let seen = most.clone();
    let mut left = 0;
    let mut pump = move |net: &Net, call: CallId, more: usize| {
        left += more;
        while left > 0 {
            left -= 1;
            let Some(queued) = net.stream_send(call, &[5; 10_000]) else { return };
            let mut most = seen.borrow_mut();
            *most = queued.max(*most);
            if queued > BUDGET {
                return;
            }
        }
        net.stream_end(call, Code::Ok, "");
    };
    let script = move |net: &Net, event: Event<'_>| match event {
        Event::StreamMessage { call, .. } => pump(net, call, TOTAL),
        Event::Writable { call } => pump(net, call, 0),
        _ => {}
    };
    let limits = Limits { hold_queued_bytes: BUDGET, ..Limits::default() };
    with_net(limits, script, |_, address| async move {
        // With a small window the client's credit makes room; with a large one the kernel does, and nothing comes from
        // the client meanwhile.
        for window in [65_535, i32::MAX as u32] {
            let settings = Settings {
                stream_window_bytes: window,
                connection_window_bytes: window,
                body_bytes_max: usize::MAX,
                ..Settings::default()
            };
            let mut client = Client::connect_with(address, &settings).await;
            let stream = client.unary("/t.T/Many", b"go");
            let answer = client.finish(stream).await;
            assert_eq!((answer.messages.len(), answer.status), (TOTAL, Some(("0".into(), String::new()))));
        }
        assert!((BUDGET..=BUDGET + 20_000).contains(&*most.borrow()));
    });
}

#[test]
fn cancelled_and_broken_calls_are_told_and_late_answers_are_dropped() {
    let calls: Rc<RefCell<Vec<CallId>>> = Rc::default();
    let gone: Rc<RefCell<Vec<CallId>>> = Rc::default();
    let (begun, ended) = (calls.clone(), gone.clone());
    let script = move |_: &Net, event: Event<'_>| match event {
        Event::Unary { call, .. } | Event::StreamOpen { call, .. } => begun.borrow_mut().push(call),
        Event::Cancelled { call } => ended.borrow_mut().push(call),
        _ => {}
    };
    with_net(Limits::default(), script, |net, address| async move {
        let mut client = Client::connect(address).await;
        let unary = client.unary("/t.T/Unary", b"x");
        client.open("/t.T/Bidi", &[]);
        client.flush().await;
        wait(|| calls.borrow().len() == 2).await;
        client.session.reset(unary, ErrorCode::CANCEL);
        client.flush().await;
        wait(|| gone.borrow().len() == 1).await;
        drop(client);
        wait(|| gone.borrow().len() == 2).await;
        assert_eq!(*gone.borrow(), *calls.borrow());
        for call in calls.borrow().iter() {
            assert!(!net.is_live(*call));
            net.reply_with(*call, |_| panic!("nobody waits for it"));
            net.fail(*call, Code::Internal, "late");
            assert_eq!(net.stream_send(*call, b"late"), None);
        }
        wait(|| net.counters().open == 0).await;
        let counters = net.counters();
        assert_eq!(counters.routes[0].handled[Code::Canceled as usize], 1);
        assert_eq!(counters.routes[1].handled[Code::Canceled as usize], 1);
        // Another connection at the same place in the table is not mistaken for the old one.
        let mut client = Client::connect(address).await;
        client.unary("/t.T/Unary", b"x");
        client.flush().await;
        wait(|| calls.borrow().len() == 3).await;
        assert!(net.is_live(calls.borrow()[2]) && !net.is_live(calls.borrow()[0]));
    });
}

#[test]
fn a_client_that_does_not_read_is_not_read() {
    with_net(Limits::default(), echo, |net, address| async move {
        let settings = Settings {
            stream_window_bytes: i32::MAX as u32,
            connection_window_bytes: i32::MAX as u32,
            ..Settings::default()
        };
        let mut client = Client::connect_with(address, &settings).await;
        let first = client.unary("/t.T/Unary", b"x");
        client.finish(first).await;
        // Far more than the sockets' buffers take.
        let total = 128 << 20;
        let mut out = Vec::new();
        for _ in 0..total / (1 << 20) {
            client.unary("/t.T/Unary", &vec![1; 1 << 20]);
        }
        let mut idle = 0;
        while idle < 1000 {
            if out.is_empty() {
                client.session.send(&mut out, 1 << 20).expect("sends");
            }
            let written = client.socket.try_write(&out).unwrap_or(0);
            out.drain(..written);
            idle = if written > 0 { 0 } else { idle + 1 };
            tokio::task::yield_now().await;
        }
        assert!(net.counters().received_bytes < total / 2, "{:?}", net.counters());
    });
}

#[test]
fn http1_is_spoken_on_the_same_port() {
    let limits = Limits { http_body_bytes_max: 1000, ..Limits::default() };
    with_net(limits, echo, |_, address| async move {
        let small =
            "POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
                .to_owned();
        let answer = exchange(address, &small).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("/v3/kv/put 3"), "{answer}");
        let large = format!(
            "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 1001\r\n\r\n{}",
            "x".repeat(1001)
        );
        assert!(exchange(address, &large).await.starts_with("HTTP/1.1 413"));
        assert!(exchange(address, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
        // Something that begins like HTTP/2 and is not.
        assert!(
            exchange(address, "PRI /x HTTP/1.1\r\nConnection: close\r\n\r\n").await.starts_with("HTTP/1.1 ")
        );
    });
}

#[test]
fn half_open_connections_do_not_stay() {
    let limits = Limits { header_timeout: Duration::from_millis(50), ..Limits::default() };
    with_net(limits, echo, |net, address| async move {
        for begun in ["", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost:"] {
            exchange(address, begun).await;
        }
        wait(|| net.counters().open == 0).await;
    });
}

#[test]
fn more_connections_than_allowed_are_turned_away() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    with_net(limits, echo, |net, address| async move {
        let mut clients = vec![Client::connect(address).await, Client::connect(address).await];
        for client in &mut clients {
            let stream = client.unary("/t.T/Unary", b"x");
            client.finish(stream).await;
        }
        let mut third = Client::connect(address).await;
        assert!(!third.read().await);
        assert_eq!(net.counters().turned_away, 1);
        clients.pop();
        wait(|| net.counters().open == 1).await;
        let mut third = Client::connect(address).await;
        let stream = third.unary("/t.T/Unary", b"x");
        assert_eq!(third.finish(stream).await, ok(&[b"x"]));
    });
}

#[test]
fn shutdown_finishes_what_is_in_flight() {
    let calls: Rc<RefCell<Vec<CallId>>> = Rc::default();
    let begun = calls.clone();
    let script = move |_: &Net, event: Event<'_>| {
        if let Event::Unary { call, .. } = event {
            begun.borrow_mut().push(call);
        }
    };
    with_net(Limits::default(), script, |net, address| async move {
        let mut client = Client::connect(address).await;
        let stream = client.unary("/t.T/Unary", b"x");
        client.flush().await;
        wait(|| calls.borrow().len() == 1).await;
        let closing = tokio::task::spawn_local({
            let net = net.clone();
            async move { net.shutdown(DEADLINE).await }
        });
        while client.session.goaway().is_none() {
            assert!(client.read().await);
        }
        assert!(!closing.is_finished());
        net.reply(calls.borrow()[0], b"done");
        assert_eq!(client.finish(stream).await, ok(&[b"done"]));
        while client.read().await {}
        closing.await.expect("shuts down");
        assert!(TcpStream::connect(address).await.is_err());
    });
}

#[test]
fn shutdown_does_not_wait_for_ever() {
    with_net(
        Limits::default(),
        |_, _| {},
        |net, address| async move {
            let mut client = Client::connect(address).await;
            client.unary("/t.T/Unary", b"never answered");
            client.flush().await;
            wait(|| net.counters().routes[0].started == 1).await;
            net.shutdown(Duration::from_millis(20)).await;
            assert_eq!(net.counters().open, 0);
            while client.read().await {}
            assert_eq!(client.session.goaway(), Some((ErrorCode::NO_ERROR, "server stopped")));
        },
    );
}

/// Waits until `done`, letting the other tasks of the thread run.
async fn wait(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

/// Sends `request` on a new connection and reads to its end.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("connects");
    socket.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    // A reset after the answer is as good an end as any.
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
