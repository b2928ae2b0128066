//! Clients that ask for much and take little.

use std::io::Read;
use std::time::{Duration, Instant};

use prost::Message;
use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{WatchCreateRequest, WatchRequest};
use windlass_api::method::{kv, watch};

use crate::hostile::{Hostile, Verdict, call, call_head};
use crate::raw;
use crate::scene::{Bounds, Scene};
use crate::store::{fill, prefix};
use crate::wire::*;

/// What the store has: about 4 MiB.
const KEYS: usize = 4000;
const VALUE_BYTES: usize = 1000;

/// What a read of all that, or a watch of it, may cost.
const READ_US_MAX: u64 = 100_000;

const INITIAL_WINDOW_SIZE: u16 = 4;
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// Reads of the whole store by one client, all at once.
const READS: u32 = 400;

/// How long the server may take for them.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// What answers that nobody takes may cost: `queued_bytes_max` (512 MiB), the lists in the making (8 of 4 MiB, twice), and
/// what vectors that grow and the allocator have spare. All of them would be 1.6 GiB.
const ANSWERS_KIB_MAX: u64 = 820 << 10;

fn scene() -> Scene {
    let scene = Scene::new();
    fill(&scene.member, "k", KEYS, VALUE_BYTES);
    scene
}

fn id(number: u32) -> u32 {
    1 + 2 * number
}

/// Sends the reads, and waits until each is answered or refused, whether or not anything of that is taken.
fn send_reads(scene: &Scene, connection: &Hostile) {
    let range = prefix(b'k').encode_to_vec();
    let answered_before = scene.ranges_beside_rounds();
    let reads: Vec<u8> = (0..READS).flat_map(|i| call(id(i), kv::RANGE, &range)).collect();
    assert_eq!(connection.send_unread(&reads), reads.len(), "requests are read on");
    let deadline = Instant::now() + ANSWERED_WITHIN;
    while scene.ranges_beside_rounds() < answered_before + i64::from(READS) {
        assert!(Instant::now() < deadline, "some reads have no end");
    }
}

#[test]
fn answers_that_no_window_lets_through() {
    let scene = scene();
    let bounds = Bounds::new(u64::from(READS), ANSWERS_KIB_MAX).frame_us_max(READ_US_MAX);
    let mut connection = Hostile::connect(scene.member.endpoint(), &setting(INITIAL_WINDOW_SIZE, 0));
    scene.attack("reads without a window", &bounds, || {
        send_reads(&scene, &connection);
    });
    // A client that opens its windows after all gets every answer.
    let open =
        [settings(INITIAL_WINDOW_SIZE, LARGEST_WINDOW), window_update(0, LARGEST_WINDOW - 65_535)].concat();
    connection.send_unread(&open);
    assert_eq!(count_ends(&mut connection, READS), READS);
}

#[test]
fn answers_that_nobody_reads() {
    let scene = scene();
    let bounds = Bounds::new(u64::from(READS), ANSWERS_KIB_MAX).frame_us_max(READ_US_MAX);
    let mut connection =
        Hostile::connect(scene.member.endpoint(), &setting(INITIAL_WINDOW_SIZE, LARGEST_WINDOW));
    scene.attack("reads without a reader", &bounds, || {
        connection.send_unread(&window_update(0, LARGEST_WINDOW - 65_535));
        send_reads(&scene, &connection);
    });
    assert_eq!(count_ends(&mut connection, READS), READS);
}

/// Reads until so many streams have ended. How many have.
fn count_ends(connection: &mut Hostile, count: u32) -> u32 {
    let mut ends = 0;
    while ends < count {
        let mut head = [0; 9];
        connection.socket.read_exact(&mut head).expect("a frame");
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        connection.socket.read_exact(&mut payload).expect("its payload");
        ends += u32::from(head[3] == HEADERS && head[4] & END_STREAM != 0);
    }
    ends
}

#[test]
fn watches_that_nobody_reads() {
    const STREAMS: u32 = 100;
    /// Of one stream a megabyte at most, and what is written meanwhile.
    const WATCHES_KIB_MAX: u64 = 160 << 10;
    let scene = scene();
    let create = WatchCreateRequest {
        key: "k".into(),
        range_end: "l".into(),
        start_revision: 1,
        ..WatchCreateRequest::default()
    };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let message = raw::frame(&request.encode_to_vec());
    let head = call_head(watch::WATCH);
    let watches: Vec<u8> = (0..STREAMS)
        .flat_map(|i| [frame(HEADERS, END_HEADERS, id(i), &head), frame(DATA, 0, id(i), &message)].concat())
        .collect();
    for (name, window) in [("watches without a window", 0), ("watches without a reader", LARGEST_WINDOW)] {
        let bounds = Bounds::new(u64::from(2 * STREAMS), WATCHES_KIB_MAX).frame_us_max(READ_US_MAX);
        let connection = Hostile::connect(scene.member.endpoint(), &setting(INITIAL_WINDOW_SIZE, window));
        scene.attack(name, &bounds, || {
            connection.send_unread(&watches);
            fill(&scene.member, "k", KEYS, VALUE_BYTES);
            scene.rounds(10);
        });
    }
}

/// CVE-2019-9511: every byte of the answer in a frame of its own.
#[test]
fn windows_of_one_byte() {
    const BYTES: u32 = 15_000;
    let scene = scene();
    let range = prefix(b'k').encode_to_vec();
    let bounds = Bounds::new(u64::from(BYTES), 32 << 10);
    let connection = Hostile::connect(scene.member.endpoint(), &setting(INITIAL_WINDOW_SIZE, 0));
    let verdict = scene.attack("windows of one byte", &bounds, || {
        connection.flood(BYTES, |i| if i == 0 { call(1, kv::RANGE, &range) } else { window_update(1, 1) })
    });
    assert_eq!(verdict, Verdict::Served);
}

/// Requests that never end, each nearly as large as one may be.
#[test]
fn bodies_without_an_end() {
    const STREAMS: u32 = 200;
    const FRAMES_PER_STREAM: u32 = 60;
    /// `buffered_bytes_max`, and what vectors that grow have spare.
    const BODIES_KIB_MAX: u64 = 300 << 10;
    const FRAME_BYTES: usize = 16_000;
    let scene = Scene::new();
    let head = call_head(kv::PUT);
    let message = [&[0, 0, 0x10, 0, 0][..], &[0; FRAME_BYTES]].concat();
    let frames = STREAMS * (FRAMES_PER_STREAM + 1);
    let bounds = Bounds::new(u64::from(frames), BODIES_KIB_MAX);
    let connection = Hostile::connect(scene.member.endpoint(), &[]);
    let verdict = scene.attack("bodies without an end", &bounds, || {
        connection.flood(frames, |i| {
            let (stream, part) = (id(i / (FRAMES_PER_STREAM + 1)), i % (FRAMES_PER_STREAM + 1));
            match part {
                0 => frame(HEADERS, END_HEADERS, stream, &head),
                1 => frame(DATA, 0, stream, &message),
                _ => frame(DATA, 0, stream, &message[5..]),
            }
        })
    });
    assert_eq!(verdict, Verdict::Served, "what is beyond the bound is refused stream by stream");
}
