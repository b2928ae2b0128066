//! Client and server sessions against each other in memory.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use windlass_http2::{
    ClientSession, Error, ErrorCode, Field, PingPolicy, ServerSession, Settings, StreamRef, Trailers,
};

const HEAD: &[Field<'static>] =
    &[Field::constant(":status", "200"), Field::constant("content-type", "application/grpc")];
const STATUS_OK: &[Field<'static>] = &[Field::constant("grpc-status", "0")];
const NO_LIMIT: usize = usize::MAX;

fn request_head(path: &str) -> Vec<Field<'_>> {
    vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "http"),
        Field::constant(":authority", "test"),
        Field::new(b":path", path.as_bytes()).expect("valid path"),
        Field::constant("te", "trailers"),
    ]
}

/// What a client knows of a response.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Response {
    status: Option<Vec<u8>>,
    body: Vec<u8>,
    grpc_status: Option<Vec<u8>>,
    ended: bool,
    closed: Option<ErrorCode>,
}

struct Pair {
    client: ClientSession,
    server: ServerSession,
    responses: HashMap<u32, Response>,
    now: Instant,
    /// How many bytes are handed over at a time.
    piece: usize,
}

impl Pair {
    fn new(settings: &Settings) -> Self {
        let now = Instant::now();
        let client = ClientSession::new(&Settings::default(), now).expect("client");
        let server = ServerSession::new(settings, now).expect("server");
        Self { client, server, responses: HashMap::new(), now, piece: NO_LIMIT }
    }

    /// Moves bytes until neither side has more; `serve` deals with the server's news after each piece.
    fn run(&mut self, serve: &mut impl FnMut(&mut ServerSession)) -> Result<(), Error> {
        let mut wire = Vec::new();
        loop {
            wire.clear();
            self.client.send(&mut wire, NO_LIMIT)?;
            let mut idle = wire.is_empty();
            for piece in wire.chunks(self.piece.min(wire.len().max(1))) {
                self.server.recv(piece, self.now)?;
                serve(&mut self.server);
            }
            wire.clear();
            let sent = self.server.send(&mut wire, NO_LIMIT);
            serve(&mut self.server);
            idle &= wire.is_empty();
            for piece in wire.chunks(self.piece.min(wire.len().max(1))) {
                self.client.recv(piece, self.now)?;
                self.collect();
            }
            sent?;
            if idle {
                return Ok(());
            }
        }
    }

    fn collect(&mut self) {
        while let Some(ready) = self.client.next_ready() {
            let response = self.responses.entry(ready.stream.id()).or_default();
            if ready.head {
                let head = self.client.head(ready.stream).expect("there");
                response.status = head.get(":status").map(<[u8]>::to_vec);
            }
            let body = self.client.body(ready.stream).expect("there").to_vec();
            self.client.consume_body(ready.stream, body.len());
            response.body.extend(body);
            if ready.end {
                response.ended = true;
                let trailers = self.client.trailers(ready.stream).expect("there");
                response.grpc_status = trailers.get("grpc-status").map(<[u8]>::to_vec);
            }
            response.closed = response.closed.or(ready.closed);
        }
    }
}

/// Answers each whole request with its body.
fn echo(server: &mut ServerSession) {
    while let Some(ready) = server.next_ready() {
        if ready.end && ready.closed.is_none() {
            let body = server.body(ready.stream).expect("there").to_vec();
            server.respond_unary(ready.stream, HEAD, Trailers::Constant(STATUS_OK), |out| {
                out.extend_from_slice(&body);
            });
        }
    }
}

fn ok(body: &[u8]) -> Response {
    Response {
        status: Some(b"200".to_vec()),
        body: body.to_vec(),
        grpc_status: Some(b"0".to_vec()),
        ended: true,
        closed: Some(ErrorCode::NO_ERROR),
    }
}

#[test]
fn unary_round_trips_at_any_split() {
    for piece in [1, 2, 3, 7, 100, NO_LIMIT] {
        let mut pair = Pair::new(&Settings::default());
        pair.piece = piece;
        for i in 0..20u8 {
            let body = vec![i; usize::from(i)];
            pair.client.request_whole(&request_head("/a/b"), &body).expect("opens");
        }
        pair.run(&mut echo).expect("runs");
        assert_eq!(pair.responses.len(), 20);
        for i in 0..20u8 {
            let id = 1 + 2 * u32::from(i);
            assert_eq!(pair.responses[&id], ok(&vec![i; usize::from(i)]), "stream {id} in pieces of {piece}");
        }
        assert_eq!((pair.server.stream_count(), pair.client.stream_count()), (0, 0));
    }
}

#[test]
fn the_path_and_fields_arrive() {
    let mut pair = Pair::new(&Settings::default());
    let mut head = request_head("/etcdserverpb.KV/Put");
    head.push(Field::new(b"token", b"abc.12").expect("valid"));
    pair.client.request_whole(&head, b"x").expect("opens");
    let mut seen = Vec::new();
    pair.run(&mut |server| {
        while let Some(ready) = server.next_ready() {
            let head = server.head(ready.stream).expect("there");
            seen.extend(head.iter().map(|(n, v)| (n.to_vec(), v.to_vec())));
        }
    })
    .expect("runs");
    assert!(seen.contains(&(b":path".to_vec(), b"/etcdserverpb.KV/Put".to_vec())));
    assert!(seen.contains(&(b"token".to_vec(), b"abc.12".to_vec())));
}

#[test]
fn large_bodies_pass_both_ways() {
    let settings = Settings { body_bytes_max: 8 << 20, ..Settings::default() };
    let mut pair = Pair::new(&settings);
    let body: Vec<u8> = (0..4u32 << 20).map(|i| (i % 251) as u8).collect();
    pair.client.request_whole(&request_head("/a/b"), &body).expect("opens");
    pair.run(&mut echo).expect("runs");
    assert!(pair.responses[&1] == ok(&body));
    assert_eq!(pair.server.buffered_bytes(), 0);
}

#[test]
fn a_stream_is_answered_piece_by_piece() {
    let mut pair = Pair::new(&Settings::default());
    pair.client.request(&request_head("/a/watch"), true).expect("opens");
    let mut stream = None;
    pair.run(&mut |server| {
        while let Some(ready) = server.next_ready() {
            if ready.head {
                server.respond(ready.stream, HEAD);
                stream = Some(ready.stream);
            }
        }
    })
    .expect("runs");
    let stream = stream.expect("request seen");
    assert_eq!(pair.responses[&1].status.as_deref(), Some(&b"200"[..]));
    for i in 0..5u8 {
        assert_eq!(pair.server.push(stream, &[i; 10]), Some(10));
        pair.run(&mut |_| {}).expect("runs");
        assert_eq!(pair.responses[&1].body.len(), 10 * (usize::from(i) + 1));
    }
    pair.server
        .finish(stream, Trailers::Owned(vec![("grpc-status", "5".into()), ("grpc-message", "no".into())]));
    assert_eq!(pair.server.push(stream, b"late"), None);
    pair.run(&mut |_| {}).expect("runs");
    let response = &pair.responses[&1];
    assert_eq!((response.ended, response.grpc_status.as_deref()), (true, Some(&b"5"[..])));
    // The client had not ended its side: the server resets the stream without an error.
    assert_eq!(response.closed, Some(ErrorCode::NO_ERROR));
    assert_eq!(pair.server.stream_count(), 0);
}

#[test]
fn headers_only_answers_end_unfinished_requests() {
    let mut pair = Pair::new(&Settings::default());
    let stream = pair.client.request(&request_head("/a/b"), true).expect("opens");
    pair.client.push(stream, b"part");
    pair.run(&mut |server| {
        while let Some(ready) = server.next_ready() {
            if ready.head {
                server.respond_only(ready.stream, &[HEAD[0], HEAD[1], STATUS_OK[0]]);
            }
        }
    })
    .expect("runs");
    assert_eq!((pair.responses[&1].ended, pair.responses[&1].closed), (true, Some(ErrorCode::NO_ERROR)));
    assert_eq!(pair.server.stream_count(), 0);
}

#[test]
fn output_is_gathered_up_to_the_limit() {
    let mut pair = Pair::new(&Settings::default());
    let mut streams = Vec::new();
    pair.client.request_whole(&request_head("/a/b"), b"x").expect("opens");
    pair.run(&mut |server| {
        while let Some(ready) = server.next_ready() {
            streams.push(ready.stream);
        }
    })
    .expect("runs");
    pair.server.respond_unary(streams[0], HEAD, Trailers::None, |out| out.resize(200_000, 7));
    let mut out = Vec::new();
    pair.server.send(&mut out, 20_000).expect("sends");
    assert!((20_000..20_000 + 16_400).contains(&out.len()), "{}", out.len());
    assert!(pair.server.wants_send() && pair.server.queued_bytes(streams[0]) > 100_000);
}

#[test]
fn a_body_beyond_its_bound_overflows_and_is_dropped() {
    let settings = Settings { body_bytes_max: 1000, ..Settings::default() };
    let mut pair = Pair::new(&settings);
    pair.client.request_whole(&request_head("/a/b"), &vec![1; 3 << 20]).expect("opens");
    let mut overflows = 0;
    pair.run(&mut |server| {
        while let Some(ready) = server.next_ready() {
            overflows += usize::from(ready.overflow);
            assert!(server.body(ready.stream).is_none_or(|body| body.len() <= 1000));
        }
    })
    .expect("runs");
    assert_eq!(overflows, 1);
}

#[test]
fn refusing_many_large_bodies_does_not_end_the_connection() {
    let settings = Settings { body_bytes_max: 1000, ..Settings::default() };
    let mut pair = Pair::new(&settings);
    // Each refusal finds frames on the wire for a stream that is gone by the time they arrive.
    for _ in 0..400 {
        pair.client.request_whole(&request_head("/a/b"), &vec![1; 2 << 20]).expect("opens");
        let (mut wire, mut out) = (Vec::new(), Vec::new());
        pair.client.send(&mut wire, NO_LIMIT).expect("sends");
        let (first, rest) = wire.split_at(wire.len().min(40_000));
        pair.server.recv(first, pair.now).expect("takes");
        while let Some(ready) = pair.server.next_ready() {
            if ready.overflow {
                pair.server.respond_only(ready.stream, HEAD);
            }
        }
        pair.server.send(&mut out, NO_LIMIT).expect("sends");
        pair.server.recv(rest, pair.now).expect("takes what is late");
        pair.server.send(&mut out, NO_LIMIT).expect("sends");
        pair.client.recv(&out, pair.now).expect("takes");
        pair.collect();
        assert!(!pair.server.is_done());
    }
}

#[test]
fn all_streams_together_are_bounded() {
    let settings = Settings { buffered_bytes_max: 10_000, ..Settings::default() };
    let mut pair = Pair::new(&settings);
    for _ in 0..50 {
        let stream = pair.client.request(&request_head("/a/b"), true).expect("opens");
        pair.client.push(stream, &[1; 900]);
    }
    let (mut overflows, mut whole) = (0, 0);
    pair.run(&mut |server| {
        while let Some(ready) = server.next_ready() {
            overflows += usize::from(ready.overflow);
            whole +=
                usize::from(ready.data && server.body(ready.stream).is_some_and(|body| body.len() == 900));
        }
        assert!(server.buffered_bytes() <= 10_000);
    })
    .expect("runs");
    assert_eq!(overflows + whole, 50);
    assert!((5..=11).contains(&whole), "{whole}");
}

#[test]
fn a_peer_that_does_not_read_gets_no_more_credit() {
    let settings = Settings {
        stream_window_bytes: 65_535,
        hold_queued_bytes: 1000,
        body_bytes_max: 1 << 30,
        ..Settings::default()
    };
    let mut pair = Pair::new(&settings);
    let stream = pair.client.request(&request_head("/a/b"), true).expect("opens");
    pair.client.push(stream, &vec![1; 1 << 20]);
    let mut taken = 0;
    let mut serve = |server: &mut ServerSession| {
        while let Some(ready) = server.next_ready() {
            if ready.head {
                server.respond(ready.stream, HEAD);
                // More than the client's window takes.
                server.push(ready.stream, &vec![2; 20 << 20]);
            }
            let len = server.body(ready.stream).map_or(0, <[u8]>::len);
            server.consume_body(ready.stream, len);
            taken += len;
        }
    };
    // The client reads nothing of the body: its window for the server stays shut.
    let mut wire = Vec::new();
    for _ in 0..20 {
        wire.clear();
        pair.client.send(&mut wire, NO_LIMIT).expect("sends");
        pair.server.recv(&wire, pair.now).expect("takes");
        serve(&mut pair.server);
        wire.clear();
        pair.server.send(&mut wire, 1 << 16).expect("sends");
    }
    assert!(taken <= 65_535 + 65_535 / 4, "{taken}");
}

#[test]
fn too_many_streams_are_refused() {
    let mut pair = Pair::new(&Settings { streams_max: 5, ..Settings::default() });
    pair.run(&mut |_| {}).expect("settings pass");
    for _ in 0..8 {
        pair.client.request_whole(&request_head("/a/b"), b"x").expect("opens");
    }
    let mut most = 0;
    pair.run(&mut |server| {
        most = most.max(server.stream_count());
        echo(server);
    })
    .expect("runs");
    assert_eq!(most, 5, "the client knows the limit and waits");
    assert!(pair.responses.values().all(|r| *r == ok(b"x")) && pair.responses.len() == 8);
}

#[test]
fn a_long_header_list_resets_only_its_stream() {
    let mut pair = Pair::new(&Settings { header_list_bytes_max: 1000, ..Settings::default() });
    let long = "x".repeat(2000);
    let mut head = request_head("/a/b");
    head.push(Field::new(b"token", long.as_bytes()).expect("valid"));
    pair.client.request_whole(&head, b"x").expect("opens");
    pair.client.request_whole(&request_head("/a/b"), b"y").expect("opens");
    pair.run(&mut echo).expect("runs");
    assert_eq!(pair.responses[&1].closed, Some(ErrorCode::INTERNAL_ERROR));
    assert_eq!(pair.responses[&3], ok(b"y"));
    assert_eq!(pair.server.stream_count(), 0);
}

#[test]
fn a_cancelled_request_is_told_and_late_answers_are_dropped() {
    let mut pair = Pair::new(&Settings::default());
    let stream = pair.client.request_whole(&request_head("/a/b"), b"x").expect("opens");
    let mut known: Option<StreamRef> = None;
    let mut closed = None;
    let mut serve = |server: &mut ServerSession| {
        while let Some(ready) = server.next_ready() {
            known = known.or(Some(ready.stream));
            closed = closed.or(ready.closed);
        }
    };
    pair.run(&mut serve).expect("runs");
    pair.client.reset(stream, ErrorCode::CANCEL);
    pair.run(&mut serve).expect("runs");
    assert_eq!(closed, Some(ErrorCode::CANCEL));
    let known = known.expect("seen");
    pair.server.respond_unary(known, HEAD, Trailers::None, |_| panic!("the stream is gone"));
    assert_eq!(pair.server.push(known, b"x"), None);
    pair.server.finish(known, Trailers::None);
    pair.server.reset(known, ErrorCode::CANCEL);
    assert!(pair.server.head(known).is_none() && !pair.server.wants_send());
}

#[test]
fn shutdown_serves_what_is_in_flight() {
    let mut pair = Pair::new(&Settings::default());
    pair.client.request_whole(&request_head("/a/b"), b"1").expect("opens");
    let mut waiting = Vec::new();
    pair.run(&mut |server| {
        while let Some(ready) = server.next_ready() {
            waiting.push(ready.stream);
        }
    })
    .expect("runs");
    pair.server.start_shutdown().expect("starts");
    pair.run(&mut |_| {}).expect("runs");
    assert_eq!(pair.client.request(&request_head("/a/b"), true), Err(Error::NoMoreStreams));
    assert!(!pair.server.is_done());
    pair.server.respond_unary(waiting[0], HEAD, Trailers::Constant(STATUS_OK), |out| out.push(b'1'));
    pair.run(&mut |_| {}).expect("runs");
    assert_eq!(pair.responses[&1], ok(b"1"));
    assert!(pair.server.is_done());
}

#[test]
fn early_pings_end_the_connection() {
    let policy = PingPolicy { min_interval: Duration::from_secs(5), permit_without_stream: false };
    let mut pair = Pair::new(&Settings { ping_policy: Some(policy), ..Settings::default() });
    pair.client.request(&request_head("/a/b"), true).expect("opens");
    let mut none = |server: &mut ServerSession| while server.next_ready().is_some() {};
    for _ in 0..20 {
        pair.now += Duration::from_secs(6);
        pair.client.ping().expect("pings");
        pair.run(&mut none).expect("runs");
    }
    assert_eq!((pair.client.ping_acks(), pair.client.goaway()), (20, None));
    for _ in 0..3 {
        pair.client.ping().expect("pings");
        pair.run(&mut none).expect("runs");
    }
    assert_eq!(pair.client.goaway(), Some((ErrorCode::ENHANCE_YOUR_CALM, "too_many_pings")));
    assert!(pair.server.is_done());
}

#[test]
fn floods_end_the_connection() {
    // Pings whose acknowledgements are never read.
    let mut pair = Pair::new(&Settings { acks_waiting_max: 100, ..Settings::default() });
    let mut wire = Vec::new();
    pair.client.send(&mut wire, NO_LIMIT).expect("sends");
    for _ in 0..200 {
        wire.extend_from_slice(b"\x00\x00\x08\x06\x00\x00\x00\x00\x00pingping");
    }
    assert_eq!(pair.server.recv(&wire, pair.now), Err(Error::Flooded));

    // Streams opened and reset at once.
    let mut pair = Pair::new(&Settings { resets_burst: 50, resets_per_s: 1, ..Settings::default() });
    for _ in 0..200 {
        let stream = pair.client.request(&request_head("/a/b"), true).expect("opens");
        let mut out = Vec::new();
        pair.client.send(&mut out, NO_LIMIT).expect("sends");
        pair.client.reset(stream, ErrorCode::CANCEL);
        pair.client.send(&mut out, NO_LIMIT).expect("sends");
        pair.server.recv(&out, pair.now).expect("takes");
        while pair.server.next_ready().is_some() {}
    }
    let mut out = Vec::new();
    pair.server.send(&mut out, NO_LIMIT).expect("sends");
    assert!(pair.server.is_done(), "a GOAWAY is out and nothing more is read");
}

#[test]
fn what_is_not_http2_is_refused() {
    let mut server = ServerSession::new(&Settings::default(), Instant::now()).expect("server");
    assert_eq!(server.recv(b"GET / HTTP/1.1\r\n\r\n", Instant::now()), Err(Error::BadPreface));
}
