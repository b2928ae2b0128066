//! One writer and many watchers of one key: how many events a server sends in a second, and how late they are.
//!
//! `cargo run --release -p windlass-bench --example watch_fanout -- 127.0.0.1:2379 [watchers] [puts]`
//!
//! A put follows when every watcher has the one before. The watchers are spread over streams, each on a connection with
//! a thread of its own, which looks at no more of an event than the time that its value carries.
#![allow(clippy::print_stdout)] // it is a program

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use prost::Message;
use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest};
use windlass_api::method::watch;
use windlass_client::{Client, Config};
use windlass_http2::{ClientSession, Field, Settings, StreamRef};

const CONNECTIONS: usize = 8;
const KEY: &str = "bench/watched";

/// Digits of a time in nanoseconds, the end of each value.
const DIGITS: usize = 16;

/// Bytes of a value.
const VALUE_BYTES: usize = 64;

/// What a watcher may take to have an event.
const PATIENCE: Duration = Duration::from_secs(60);

struct Watching {
    socket: TcpStream,
    session: ClientSession,
    stream: StreamRef,
    body: Vec<u8>,
}

impl Watching {
    fn open(address: &str) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let window = 16 << 20;
        let settings = Settings {
            stream_window_bytes: window,
            connection_window_bytes: window,
            body_bytes_max: usize::MAX >> 1,
            buffered_bytes_max: usize::MAX >> 1,
            ..Settings::default()
        };
        let mut session = ClientSession::new(&settings, Instant::now())?;
        let head = [
            Field::constant(":method", "POST"),
            Field::constant(":scheme", "http"),
            Field::new(b":authority", address.as_bytes())?,
            Field::constant(":path", watch::WATCH),
            Field::constant("content-type", "application/grpc"),
            Field::constant("te", "trailers"),
        ];
        let stream = session.request(&head, true)?;
        flush(&mut session, &mut socket)?;
        Ok(Self { socket, session, stream, body: Vec::new() })
    }

    fn create(&mut self) -> anyhow::Result<()> {
        let create = WatchCreateRequest { key: KEY.into(), ..WatchCreateRequest::default() };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let message = request.encode_to_vec();
        let len = u32::try_from(message.len())?.to_be_bytes();
        self.session.push(self.stream, &[&[0], &len[..], &message].concat());
        flush(&mut self.session, &mut self.socket)?;
        Ok(())
    }

    /// Reads once; calls `seen` with each message.
    fn read(&mut self, seen: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut input = [0; 64 << 10];
        let len = self.socket.read(&mut input)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.session.recv(&input[..len], Instant::now()).map_err(io::Error::other)?;
        while let Some(ready) = self.session.next_ready() {
            if let Some(body) = self.session.body(ready.stream) {
                self.body.extend_from_slice(body);
                let len = body.len();
                self.session.consume_body(ready.stream, len);
            }
        }
        flush(&mut self.session, &mut self.socket)?;
        let mut rest = self.body.as_slice();
        while let Some((prefix, after)) = rest.split_first_chunk::<5>() {
            let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
            let Some(message) = after.get(..len) else { break };
            seen(message);
            rest = &after[len..];
        }
        let taken = self.body.len() - rest.len();
        self.body.drain(..taken);
        Ok(())
    }
}

fn flush(session: &mut ClientSession, socket: &mut TcpStream) -> io::Result<()> {
    while session.wants_send() {
        let mut output = Vec::new();
        session.send(&mut output, 64 << 10).map_err(io::Error::other)?;
        if output.is_empty() {
            break;
        }
        socket.write_all(&output)?;
    }
    Ok(())
}

/// Receives until `events` have come; how late each was, in nanoseconds.
fn receive(
    mut watching: Watching,
    events: u64,
    clock: Instant,
    received: &AtomicU64,
) -> anyhow::Result<Histogram<u64>> {
    let mut delays = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    while delays.len() < events {
        let mut count = 0;
        watching.read(&mut |message| {
            let digits =
                message.len().checked_sub(DIGITS).and_then(|at| std::str::from_utf8(&message[at..]).ok());
            if let Some(sent_ns) = digits.and_then(|digits| digits.parse::<u64>().ok()) {
                let now_ns = clock.elapsed().as_nanos() as u64;
                delays.saturating_record(now_ns.saturating_sub(sent_ns));
                count += 1;
            }
        })?;
        received.fetch_add(count, Ordering::Release);
    }
    Ok(delays)
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    let watchers: usize = args.next().map_or(Ok(1000), |text| text.parse())?;
    let puts: u64 = args.next().map_or(Ok(200), |text| text.parse())?;
    let per_stream = watchers / CONNECTIONS;
    let clock = Instant::now();
    let received = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut watching = Watching::open(&address)?;
        let mut created = 0;
        for _ in 0..per_stream {
            watching.create()?;
        }
        while created < per_stream {
            watching.read(&mut |_| created += 1)?;
        }
        let received = Arc::clone(&received);
        let events = per_stream as u64 * puts;
        threads.push(std::thread::spawn(move || receive(watching, events, clock, &received)));
    }
    let mut client =
        Client::new(&Config { endpoints: vec![address], dial_timeout: PATIENCE, command_timeout: PATIENCE })?;
    let (mut rounds, began) = (Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?, Instant::now());
    let mut acknowledged = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    for round in 1..=puts {
        let start = Instant::now();
        let time = format!("{:0DIGITS$}", clock.elapsed().as_nanos());
        let value = format!("{}{time}", "x".repeat(VALUE_BYTES - DIGITS));
        client.put(&PutRequest { key: KEY.into(), value: value.into(), ..PutRequest::default() })?;
        acknowledged.saturating_record(start.elapsed().as_nanos() as u64);
        while received.load(Ordering::Acquire) < round * (per_stream * CONNECTIONS) as u64 {
            anyhow::ensure!(start.elapsed() < PATIENCE, "events are missing in round {round}");
            std::thread::sleep(Duration::from_micros(50));
        }
        rounds.saturating_record(start.elapsed().as_nanos() as u64);
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut delays = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    for thread in threads {
        delays.add(thread.join().expect("no panic")?)?;
    }
    let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    println!(
        "{} watchers, {puts} puts: {:.0} events/s; delay ms p50 {:.2} p99 {:.2} max {:.2}; all have it p50 {:.2}; put p50 {:.3}",
        per_stream * CONNECTIONS,
        delays.len() as f64 / seconds,
        ms(&delays, 0.5),
        ms(&delays, 0.99),
        ms(&delays, 1.0),
        ms(&rounds, 0.5),
        ms(&acknowledged, 0.5),
    );
    Ok(())
}
