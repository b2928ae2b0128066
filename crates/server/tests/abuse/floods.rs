//! Frames in masses.

use prost::Message;
use windlass_api::method::kv;

use crate::hostile::{Hostile, Verdict, call, call_head};
use crate::scene::{Bounds, Scene};
use crate::store::prefix;
use crate::wire::*;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

const INITIAL_WINDOW_SIZE: u16 = 4;

/// What a flood may make the server keep: buffers of one connection, and what its allocator holds back.
const FLOOD_KIB_MAX: u64 = 32 << 10;

struct Flood {
    name: &'static str,
    frames: u32,
    nth: Box<dyn FnMut(u32) -> Vec<u8>>,
    verdict: Verdict,
}

fn flood(name: &'static str, frames: u32, code: u32, nth: impl FnMut(u32) -> Vec<u8> + 'static) -> Flood {
    Flood { name, frames, nth: Box::new(nth), verdict: Verdict::Goodbye(code) }
}

/// The stream of a frame's number.
fn id(number: u32) -> u32 {
    1 + 2 * number
}

fn run(floods: Vec<Flood>) {
    let scene = Scene::new();
    for Flood { name, frames, nth, verdict } in floods {
        let bounds = Bounds::new(u64::from(frames), FLOOD_KIB_MAX);
        let connection = Hostile::connect(scene.member.endpoint(), &[]);
        let got = scene.attack(name, &bounds, || connection.flood(frames, nth));
        // A socket that is closed with bytes in it is reset, and the goodbye may be lost with it. That it is said, and how,
        // is shown without sockets in the conformance test of `windlass-http2`.
        let lost = got == Verdict::Ended && matches!(verdict, Verdict::Goodbye(_));
        assert!(got == verdict || lost, "{name}: {got:?}");
    }
}

/// Streams that end in vain: CVE-2023-44487 and CVE-2025-8671.
#[test]
fn resets() {
    let range = prefix(b'k').encode_to_vec();
    let head = call_head(kv::RANGE);
    let opened = move |number| frame(HEADERS, END_HEADERS, id(number), &head);
    let begin = opened.clone();
    // On the first stream, which stays open.
    let once = move |number, bytes: Vec<u8>| if number == 0 { opened(0) } else { bytes };
    let (zero, much, late) = (once.clone(), once.clone(), once);
    run(vec![
        flood("rapid reset", 20_000, ENHANCE_YOUR_CALM, move |i| [begin(i), reset(id(i), CANCEL)].concat()),
        flood("rapid reset of whole reads", 20_000, ENHANCE_YOUR_CALM, move |i| {
            [call(id(i), kv::RANGE, &range), reset(id(i), CANCEL)].concat()
        }),
        flood("resets provoked by malformed heads", 20_000, ENHANCE_YOUR_CALM, |i| {
            frame(HEADERS, WHOLE, id(i), &[])
        }),
        flood("resets provoked by no increment", 1000, PROTOCOL_ERROR, move |i| zero(i, window_update(1, 0))),
        flood("resets provoked by too large a window", 1000, FLOW_CONTROL_ERROR, move |i| {
            much(i, window_update(1, (1 << 31) - 1))
        }),
        flood("resets provoked by late DATA", 1000, STREAM_CLOSED, move |i| {
            late(i, frame(DATA, END_STREAM, 1, b"late"))
        }),
    ]);
}

/// Frames of the connection, and such that carry nothing.
#[test]
fn idle_frames() {
    let head = call_head(kv::RANGE);
    let opened = frame(HEADERS, END_HEADERS, 1, &head);
    let first = move |number, bytes: Vec<u8>| if number == 0 { opened.clone() } else { bytes };
    let (data, trailers) = (first.clone(), first);
    run(vec![
        flood("SETTINGS", 10_000, ENHANCE_YOUR_CALM, |i| settings(INITIAL_WINDOW_SIZE, i)),
        flood("PING", 10_000, ENHANCE_YOUR_CALM, |_| frame(PING, 0, 0, &[0; 8])),
        flood("acknowledgements of no PING", 100_000, ENHANCE_YOUR_CALM, |_| frame(PING, ACK, 0, &[0; 8])),
        flood("WINDOW_UPDATE by one", 100_000, ENHANCE_YOUR_CALM, |_| window_update(0, 1)),
        flood("PRIORITY", 200_000, ENHANCE_YOUR_CALM, |i| priority(id(i % 1000), 0)),
        flood("frames of unknown type", 200_000, ENHANCE_YOUR_CALM, |_| frame(UNKNOWN, 0, 0, &[])),
        flood("empty DATA", 200_000, ENHANCE_YOUR_CALM, move |i| data(i, frame(DATA, 0, 1, &[]))),
        flood("empty HEADERS on one stream", 200_000, ENHANCE_YOUR_CALM, move |i| {
            trailers(i, frame(HEADERS, END_HEADERS, 1, &[]))
        }),
    ]);
}

/// CVE-2024-27316, and the same with nothing in the frames.
#[test]
fn continuations() {
    let begin = |number, bytes: Vec<u8>| {
        if number == 0 { frame(HEADERS, END_STREAM, 1, &call_head(kv::RANGE)) } else { bytes }
    };
    let field = literals(&[("a", "b")]).repeat(1000);
    run(vec![
        flood("CONTINUATION", 10_000, ENHANCE_YOUR_CALM, move |i| {
            begin(i, frame(CONTINUATION, 0, 1, &field))
        }),
        flood("empty CONTINUATION", 100_000, ENHANCE_YOUR_CALM, move |i| {
            begin(i, frame(CONTINUATION, 0, 1, &[]))
        }),
    ]);
}

/// Every SETTINGS that changes the window walks over all streams; so there must be few.
#[test]
fn settings_over_many_streams() {
    const STREAMS: u32 = 20_000;
    let head = call_head(kv::RANGE);
    run(vec![Flood {
        name: "SETTINGS over many streams",
        frames: STREAMS + 10_000,
        nth: Box::new(move |i| match i.checked_sub(STREAMS) {
            None => frame(HEADERS, END_HEADERS, id(i), &head),
            Some(i) => settings(INITIAL_WINDOW_SIZE, i),
        }),
        verdict: Verdict::Goodbye(ENHANCE_YOUR_CALM),
    }]);
}

/// Header lists that are small on the wire and large in memory.
#[test]
fn header_bombs() {
    // 4,000 bytes that enter the dynamic table, and then their number, again and again.
    let entry = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], &[b'v'; 4000]].concat();
    let bomb = [&call_head(kv::RANGE), &entry, &[0xbe; 10_000][..]].concat();
    // As much as a head may be, on many streams, none of which ends; no two are the same.
    let large = [call_head(kv::RANGE), literals(&[("a", "b")]).repeat(1500)].concat();
    run(vec![
        Flood {
            name: "HPACK bombs",
            frames: 1000,
            nth: Box::new(move |i| frame(HEADERS, END_HEADERS, id(i), &bomb)),
            verdict: Verdict::Served,
        },
        Flood {
            name: "large heads on open streams",
            frames: 500,
            nth: Box::new(move |i| {
                let own = literals(&[("n", &i.to_string())]);
                frame(HEADERS, END_HEADERS, id(i), &[&large[..], &own].concat())
            }),
            verdict: Verdict::Served,
        },
    ]);
}

/// As many streams as a connection may have, and more.
#[test]
fn open_streams() {
    const STREAMS: u32 = 80_000;
    const STREAMS_KIB_MAX: u64 = 256 << 10;
    let scene = Scene::new();
    let bounds = Bounds::new(u64::from(STREAMS), STREAMS_KIB_MAX);
    let head = call_head(kv::RANGE);
    let connection = Hostile::connect(scene.member.endpoint(), &[]);
    let verdict = scene.attack("open streams", &bounds, || {
        connection.flood(STREAMS, |i| frame(HEADERS, END_HEADERS, id(i), &head))
    });
    // A client that has acknowledged the bound and goes beyond it is told to go.
    assert!(matches!(verdict, Verdict::Goodbye(PROTOCOL_ERROR) | Verdict::Ended), "{verdict:?}");
}
