//! Whole runs against a server made of `windlass_http2`: is what was asked for what arrives, and is nothing hidden?

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use prost::Message;
use windlass_api::etcdserverpb::{PutRequest, RangeRequest};
use windlass_bench::Report;
use windlass_bench::flags::Flags;
use windlass_http2::{Field, ServerSession, Settings, StreamRef, Trailers};

const HEAD: &[Field<'static>] =
    &[Field::constant(":status", "200"), Field::constant("content-type", "application/grpc")];
const OK: &[Field<'static>] = &[Field::constant("grpc-status", "0")];
const REFUSED: &[Field<'static>] = &[
    Field::constant(":status", "200"),
    Field::constant("grpc-status", "8"),
    Field::constant("grpc-message", "etcdserver: too many requests"),
];
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// How the server answers a request, by how many it had before on this connection.
#[derive(Clone, Copy)]
enum Answer {
    Ok,
    /// With a status, and no message.
    Refused,
    /// OK without a message.
    Empty,
    /// By closing the connection.
    Close,
}

/// What the server has seen on all connections.
#[derive(Default)]
struct Seen {
    /// Path and message, in the order of arrival.
    requests: Vec<(String, Vec<u8>)>,
    connections: usize,
    /// Streams open at once on one connection, at most.
    open_max: usize,
}

struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    /// A server that answers by `answer` and once, on each connection, stops for `stall` before it does so.
    fn start(stall: Duration, answer: impl Fn(usize) -> Answer + Send + Copy + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("is bound");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        // It ends with the process.
        thread::spawn(move || {
            for socket in listener.incoming() {
                let seen = Arc::clone(&shared);
                seen.lock().expect("not poisoned").connections += 1;
                thread::spawn(move || serve(socket.expect("accepts"), &seen, stall, answer));
            }
        });
        Self { address, seen }
    }

    /// Runs `flags` against it.
    fn load(&self, flags: &str) -> Report {
        let line = format!("windlass-bench --endpoints {} {flags}", self.address);
        let flags = Flags::try_parse_from(line.split_whitespace()).expect("the flags are valid");
        windlass_bench::run(&flags.plan().expect("the flags fit together")).expect("runs")
    }

    fn keys(&self) -> BTreeMap<Vec<u8>, u64> {
        let mut keys = BTreeMap::new();
        for (path, message) in &self.seen.lock().expect("not poisoned").requests {
            assert_eq!(path, "/etcdserverpb.KV/Put");
            let put = PutRequest::decode(&message[..]).expect("is a put");
            *keys.entry(put.key.to_vec()).or_default() += 1;
        }
        keys
    }
}

fn serve(mut socket: TcpStream, seen: &Mutex<Seen>, stall: Duration, answer: impl Fn(usize) -> Answer) {
    let mut session = ServerSession::new(&Settings::default(), Instant::now()).expect("has memory");
    let (mut input, mut output, mut bodies) = (vec![0; 65_536], Vec::new(), HashMap::new());
    let mut count = 0;
    while let Ok(len @ 1..) = socket.read(&mut input) {
        session.recv(&input[..len], Instant::now()).expect("the client speaks HTTP/2");
        for (stream, path, body) in whole_requests(&mut session, &mut bodies) {
            let mut seen = seen.lock().expect("not poisoned");
            seen.open_max = seen.open_max.max(session.stream_count());
            assert_eq!((body[0], body[1..5].to_vec()), (0, (body.len() as u32 - 5).to_be_bytes().to_vec()));
            seen.requests.push((path, body[5..].to_vec()));
            drop(seen);
            if count == 0 {
                thread::sleep(stall);
            }
            match answer(count) {
                Answer::Ok => session.respond_unary(stream, HEAD, Trailers::Constant(OK), |out| {
                    out.extend_from_slice(EMPTY_MESSAGE);
                }),
                Answer::Refused => session.respond_only(stream, REFUSED),
                Answer::Empty => session.respond_unary(stream, HEAD, Trailers::Constant(OK), |_| {}),
                Answer::Close => return,
            }
            count += 1;
        }
        output.clear();
        session.send(&mut output, usize::MAX).expect("goes on");
        if socket.write_all(&output).is_err() {
            return;
        }
    }
}

/// Requests that have come to their end.
fn whole_requests(
    session: &mut ServerSession,
    bodies: &mut HashMap<StreamRef, Vec<u8>>,
) -> Vec<(StreamRef, String, Vec<u8>)> {
    let mut whole = Vec::new();
    while let Some(ready) = session.next_ready() {
        let body = bodies.entry(ready.stream).or_default();
        let received = session.body(ready.stream).expect("the stream is there").to_vec();
        session.consume_body(ready.stream, received.len());
        body.extend(received);
        if ready.end && ready.closed.is_none() {
            let path = session.head(ready.stream).and_then(|head| head.get(":path")).expect("has a path");
            whole.push((ready.stream, String::from_utf8_lossy(path).into_owned(), std::mem::take(body)));
        }
        if ready.closed.is_some() {
            bodies.remove(&ready.stream);
        }
    }
    whole
}

fn always_ok(_: usize) -> Answer {
    Answer::Ok
}

#[test]
fn the_puts_that_were_asked_for_arrive() {
    let server = Server::start(Duration::ZERO, always_ok);
    let report = server.load(
        "put --conns 3 --clients 20 --total 1000 --key-size 9 --val-size 70 --key-space-size 500 --sequential-keys",
    );
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.requests(), 1_000);
    assert_eq!(server.keys(), (0..500).map(|n| (format!("{n:09}").into_bytes(), 2)).collect());
    let seen = server.seen.lock().expect("not poisoned");
    assert_eq!(seen.connections, 3);
    assert!((1..=7).contains(&seen.open_max), "{} streams on a connection", seen.open_max);
    let put = PutRequest::decode(&seen.requests[0].1[..]).expect("is a put");
    assert_eq!(put.value.len(), 70);
}

#[test]
fn threads_share_the_work_and_the_seed_decides_the_keys() {
    let run = |flags: &str| {
        let server = Server::start(Duration::ZERO, always_ok);
        let report = server.load(&format!("put --total 900 --key-space-size 1000 {flags}"));
        assert_eq!((report.requests(), report.is_clean()), (900, true), "{report}");
        server.keys()
    };
    let one = run("--keys zipf --seed 5");
    assert_eq!(one, run("--keys zipf --seed 5 --conns 4 --clients 9 --threads 3"));
    assert_ne!(one, run("--keys zipf --seed 6"));
}

#[test]
fn values_larger_than_the_window_go_out() {
    let server = Server::start(Duration::ZERO, always_ok);
    let report = server.load("put --total 20 --clients 4 --val-size 3000000");
    assert_eq!((report.requests(), report.is_clean()), (20, true), "{report}");
}

#[test]
fn ranges_arrive_as_asked_for() {
    let server = Server::start(Duration::ZERO, always_ok);
    let report = server.load("range a z --consistency s --total 10 --clients 2");
    assert_eq!((report.requests(), report.is_clean()), (10, true), "{report}");
    for (path, message) in &server.seen.lock().expect("not poisoned").requests {
        let range = RangeRequest::decode(&message[..]).expect("is a range");
        assert_eq!((path.as_str(), range.serializable), ("/etcdserverpb.KV/Range", true));
        assert_eq!((&*range.key, &*range.range_end), (&b"a"[..], &b"z"[..]));
    }
}

#[test]
fn refusals_are_counted_by_their_text() {
    let server = Server::start(Duration::ZERO, |n| match n % 10 {
        3 => Answer::Refused,
        7 => Answer::Empty,
        _ => Answer::Ok,
    });
    let report = server.load("put --clients 5 --total 100");
    assert_eq!((report.requests(), report.is_clean()), (80, false), "{report}");
    let want = [("etcdserver: too many requests", 10), ("the answer has no message", 10)];
    assert_eq!(report.errors, want.map(|(why, count)| (why.to_owned(), count)).into());
}

#[test]
fn a_lost_connection_fails_what_was_under_way_and_the_others_go_on() {
    let server = Server::start(Duration::ZERO, |n| if n == 10 { Answer::Close } else { Answer::Ok });
    for flags in ["", "--rate 100000"] {
        let report = server.load(&format!("put --conns 2 --clients 8 --total 100 {flags}"));
        let failed: u64 = report.errors.values().sum();
        assert_eq!(report.requests() + failed, 100, "{report}");
        assert!(report.requests() <= 20 && report.errors.keys().any(|why| why.contains("lost")), "{report}");
        assert!(report.errors.keys().any(|why| why.starts_with("not sent")), "{report}");
    }
}

#[test]
fn a_fixed_rate_is_kept() {
    let server = Server::start(Duration::ZERO, always_ok);
    let report = server.load("put --rate 2000 --total 400 --conns 3 --clients 30");
    assert_eq!((report.requests(), report.is_clean()), (400, true), "{report}");
    // The last one is due 199.5 ms after the first.
    assert!(report.total_s >= 0.199, "{report}");
    let keys = server.keys();
    assert_eq!(keys.values().sum::<u64>(), 400);
}

#[test]
fn a_stall_is_paid_by_every_request_that_was_due_meanwhile() {
    const STALL: Duration = Duration::from_millis(300);
    let server = Server::start(STALL, always_ok);
    // One stream: only one request is under way while the server stalls, but 300 are due.
    let report = server.load("put --rate 1000 --total 300");
    let median = report.sections[0].latency_ns.percentiles[2].1;
    assert!(median >= 140_000_000, "the median of 0 to 300 ms is half of that: {report}");
    // A closed loop shows the stall once.
    let report = server.load("put --total 300");
    assert!(report.sections[0].latency_ns.percentiles[2].1 < 140_000_000, "{report}");
    assert!(report.sections[0].latency_ns.slowest >= STALL.as_nanos() as u64, "{report}");
}

#[test]
fn warm_up_is_not_counted_and_repeats_are() {
    let server = Server::start(Duration::ZERO, always_ok);
    let report = server.load("put --total 100 --warm-up 50 --repeats 3 --clients 4");
    assert_eq!((report.requests(), report.repeats.len()), (100, 3), "{report}");
    assert_eq!(server.seen.lock().expect("not poisoned").requests.len(), 350);
}

/// The program itself, with what it prints going there.
fn program(flags: &str, out: Stdio) -> (Option<i32>, String) {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_windlass-bench"));
    tool.args(flags.split_whitespace()).stdout(out).stderr(Stdio::piped());
    let output = tool.spawn().expect("runs").wait_with_output().expect("ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_report_that_nobody_reads_is_no_failure_and_one_that_does_not_fit_is() {
    for format in ["", "--json"] {
        let server = Server::start(Duration::ZERO, always_ok);
        let load = format!("--endpoints {} put --total 100 {format}", server.address);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(program(&load, writer.into()), (Some(0), String::new()));
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("there is one");
        let (code, error) = program(&load, full.into());
        assert!(code == Some(1) && error.contains("cannot print the report"), "{error}");
    }
}

#[test]
fn what_cannot_be_written_is_said_before_anything_is_sent() {
    let server = Server::start(Duration::ZERO, always_ok);
    for flag in ["--html /nowhere/file", "--svg /dev/null/file"] {
        let load = format!("--endpoints {} put --total 100 {flag}", server.address);
        let (code, error) = program(&load, Stdio::null());
        assert!(code == Some(1) && error.lines().count() == 1 && error.contains("/file"), "{error}");
    }
    assert!(server.seen.lock().expect("not poisoned").requests.is_empty());
    let compare = "compare --etcd /bin/false --windlass /bin/false --markdown /nowhere/file";
    let (code, error) = program(compare, Stdio::null());
    assert!(code == Some(1) && error.contains("/nowhere/file"), "{error}");
}
