//! Peers that send anything: no panic, no bound passed, whatever arrives in whatever pieces.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use windlass_http2::{
    CLIENT_PREFACE, ClientSession, ErrorCode, Field, PingPolicy, ServerSession, Settings, StreamRef, Trailers,
};

const HEAD: &[Field<'static>] = &[Field::constant(":status", "200"), Field::constant("content-type", "x/y")];
const REQUEST: &[Field<'static>] = &[
    Field::constant(":method", "POST"),
    Field::constant(":scheme", "http"),
    Field::constant(":path", "/a/b"),
    Field::constant("te", "trailers"),
];
const STATUS: &[Field<'static>] = &[Field::constant("grpc-status", "0")];
const SEND_LIMIT: usize = 20_000;
const FRAME_BYTES_MAX: usize = 16_384 + 9;

fn tight() -> Settings {
    Settings {
        streams_max: 10,
        stream_window_bytes: 20_000,
        connection_window_bytes: 100_000,
        header_list_bytes_max: 2_000,
        body_bytes_max: 5_000,
        announced_bytes: Some(|body| Some(u32::from_be_bytes(*body.first_chunk()?) as usize)),
        buffered_bytes_max: 12_000,
        hold_queued_bytes: 1_000,
        resets_burst: 20,
        resets_per_s: 1,
        acks_waiting_max: 20,
        ping_policy: Some(PingPolicy { min_interval: Duration::from_secs(5), permit_without_stream: false }),
        ..Settings::default()
    }
}

/// Answers in one of several ways, chosen by the stream's number, and checks the bounds.
fn serve(server: &mut ServerSession, settings: &Settings, out: &mut Vec<u8>) {
    let mut streams: Vec<StreamRef> = Vec::new();
    while let Some(ready) = server.next_ready() {
        let stream = ready.stream;
        let body = server.body(stream).map_or(0, <[u8]>::len);
        assert!(body <= settings.body_bytes_max);
        match (stream.id() / 2) % 5 {
            0 if ready.end => server.respond_unary(stream, HEAD, Trailers::Constant(STATUS), |b| b.push(1)),
            1 if ready.head => server.respond_only(stream, HEAD),
            2 if ready.head => server.respond(stream, HEAD),
            2 => drop(server.push(stream, &[2; 3000])),
            3 if ready.data => server.consume_body(stream, body),
            4 if ready.overflow => server.reset(stream, ErrorCode::CANCEL),
            _ => {}
        }
        if ready.end {
            server.finish(stream, Trailers::Owned(vec![("grpc-status", "1".into())]));
        }
        streams.push(stream);
    }
    assert!(server.buffered_bytes() <= settings.buffered_bytes_max + 8);
    for stream in streams {
        let _ = (server.head(stream), server.trailers(stream), server.queued_bytes(stream));
    }
    out.clear();
    // An error here ends the session; the caller sees it at the next input.
    let _ = server.send(out, SEND_LIMIT);
    assert!(out.len() < SEND_LIMIT + 2 * FRAME_BYTES_MAX);
}

/// Feeds `bytes` in pieces of the given lengths, over and over.
fn feed(bytes: &[u8], pieces: &[usize]) {
    let settings = tight();
    let now = Instant::now();
    let mut server = ServerSession::new(&settings, now).expect("server");
    let mut out = Vec::new();
    let mut rest = bytes;
    for piece in pieces.iter().cycle() {
        let (now_fed, later) = rest.split_at((*piece).min(rest.len()));
        rest = later;
        if server.recv(now_fed, now).is_err() {
            break;
        }
        serve(&mut server, &settings, &mut out);
        assert!(server.stream_count() <= settings.streams_max as usize);
        if rest.is_empty() || server.is_done() {
            break;
        }
    }
}

/// What a client sends for some calls, and what the server answers.
fn conversation() -> (Vec<u8>, Vec<u8>) {
    let now = Instant::now();
    let mut client = ClientSession::new(&Settings::default(), now).expect("client");
    let mut server = ServerSession::new(&Settings::default(), now).expect("server");
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for i in 0..8u8 {
        let stream = client.request(REQUEST, true).expect("opens");
        client.push(stream, &[i; 700]);
        if i % 3 > 0 {
            client.finish(stream, Trailers::None);
        }
        client.send(&mut up, usize::MAX).expect("sends");
        if i % 3 == 2 {
            client.reset(stream, ErrorCode::CANCEL);
        }
        client.ping().expect("pings");
    }
    client.send(&mut up, usize::MAX).expect("sends");
    server.recv(&up, now).expect("takes");
    while let Some(ready) = server.next_ready() {
        server.respond_unary(ready.stream, HEAD, Trailers::Constant(STATUS), |b| {
            b.extend_from_slice(&[3; 500])
        });
    }
    server.send(&mut down, usize::MAX).expect("sends");
    (up, down)
}

/// A frame of any type with a payload that may or may not fit it.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    // Static-table fields: a whole request head without any Huffman code.
    let request = vec![0x83, 0x86, 0x84];
    let payload = prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(request),
        Just(vec![0; 8]),
        Just(vec![0, 0, 0, 8]),
        Just(vec![0, 4, 0, 0, 255, 255]),
        Just(vec![7; 4000]),
    ];
    (0u8..11, any::<u8>(), 0u8..12, payload).prop_map(|(kind, flags, stream, payload)| {
        let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags & 0x2d, 0, 0, 0, stream];
        frame.extend(payload);
        frame
    })
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![vec(1usize..50, 1..5), Just(vec![usize::MAX])]
}

proptest! {
    #[test]
    fn any_bytes_after_the_preface(bytes in vec(any::<u8>(), 0..2000), pieces in pieces()) {
        feed(&[&CLIENT_PREFACE[..], b"\0\0\0\x04\0\0\0\0\0", &bytes].concat(), &pieces);
        feed(&bytes, &pieces);
    }

    #[test]
    fn any_frames(frames in vec(frame(), 0..60), pieces in pieces()) {
        feed(&[&CLIENT_PREFACE[..], b"\0\0\0\x04\0\0\0\0\0", &frames.concat()].concat(), &pieces);
    }

    #[test]
    fn a_damaged_conversation(damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), pieces in pieces()) {
        let (mut up, mut down) = conversation();
        for (at, byte) in &damage {
            let i = at.index(up.len());
            up[i] = *byte;
            let i = at.index(down.len());
            down[i] = *byte;
        }
        feed(&up, &pieces);
        let mut client = ClientSession::new(&tight(), Instant::now()).expect("client");
        let streams: Vec<_> = (0..8).map(|_| client.request_whole(REQUEST, b"x").expect("opens")).collect();
        let mut out = Vec::new();
        let _ = client.send(&mut out, usize::MAX);
        for piece in down.chunks(pieces[0].min(down.len())) {
            if client.recv(piece, Instant::now()).is_err() {
                break;
            }
            while let Some(ready) = client.next_ready() {
                prop_assert!(streams.contains(&ready.stream) || ready.stream.id() % 2 == 1);
                prop_assert!(client.body(ready.stream).is_some_and(|body| body.len() <= 5_000));
            }
        }
    }

    #[test]
    fn a_cut_conversation(cut in any::<prop::sample::Index>(), pieces in pieces()) {
        let (up, _) = conversation();
        feed(&up[..cut.index(up.len())], &pieces);
    }
}

#[test]
fn malformed_requests_reset_only_their_streams() {
    let settings = Settings::default();
    let now = Instant::now();
    let mut client = ClientSession::new(&settings, now).expect("client");
    let mut server = ServerSession::new(&settings, now).expect("server");
    let bad = [REQUEST[0], REQUEST[1], Field::constant("te", "trailers")];
    let bad = client.request_whole(&bad, b"x").expect("opens");
    let good = client.request_whole(REQUEST, b"x").expect("opens");
    let (mut up, mut down) = (Vec::new(), Vec::new());
    client.send(&mut up, usize::MAX).expect("sends");
    server.recv(&up, now).expect("takes");
    let mut seen = Vec::new();
    while let Some(ready) = server.next_ready() {
        seen.push(ready.stream.id());
        server.respond_only(ready.stream, HEAD);
    }
    assert_eq!(seen, [good.id()]);
    server.send(&mut down, usize::MAX).expect("sends");
    client.recv(&down, now).expect("takes");
    let mut closed = Vec::new();
    while let Some(ready) = client.next_ready() {
        closed.extend(ready.closed.map(|code| (ready.stream, code)));
    }
    assert_eq!(closed, [(bad, ErrorCode::PROTOCOL_ERROR), (good, ErrorCode::NO_ERROR)]);
    assert_eq!(server.stream_count(), 0);
}
