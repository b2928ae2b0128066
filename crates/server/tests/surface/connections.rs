//! Connections: many, idle, pinging, breaking off; and a server that stops.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::{PutResponse, RangeRequest};
use windlass_api::health::HealthCheckRequest;
use windlass_api::method::{health, kv};

use crate::process::{
    Launch, Member, REQUEST_TIMEOUT, START_TIMEOUT, Scratch, etcd_folder, raise_descriptors,
};
use crate::raw::{Raw, frame};
use crate::store::{fill, prefix, put};

/// HTTP/2's code for a client that overdoes it.
const ENHANCE_YOUR_CALM: u32 = 11;

fn read(member: &Member) {
    member.client().range(&RangeRequest { key: "a".into(), ..RangeRequest::default() }).expect("read");
}

/// Pings `count` times, `interval` apart, beside an open stream. False if the server said goodbye.
fn ping(raw: &mut Raw, count: usize, interval: Duration) -> bool {
    let stream = raw.call(health::WATCH, &HealthCheckRequest::default());
    raw.first_bytes(stream);
    (0..count).all(|_| {
        // The pause is what is tested: a server takes pings that are this far apart.
        std::thread::sleep(interval);
        raw.ping()
    })
}

#[test]
fn pings_are_answered_at_the_agreed_rate_and_refused_above_it() {
    const INTERVAL: Duration = Duration::from_millis(50);
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--grpc-keepalive-min-time=50ms").member();
    assert!(ping(&mut Raw::connect(member.endpoint()), 10, INTERVAL * 6 / 5));

    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut hasty = Raw::connect(member.endpoint());
    assert!(!ping(&mut hasty, 10, Duration::ZERO), "the default is one ping in 5 s");
    assert_eq!(hasty.goodbye(), Some((ENHANCE_YOUR_CALM, "too_many_pings".to_owned())));
    read(&member);

    let Some(etcd) = etcd_folder() else { return };
    let folder = Scratch::new();
    let etcd = Launch::new(folder.path()).program(&etcd.join("etcd")).member();
    let mut theirs = Raw::connect(etcd.endpoint());
    assert!(!ping(&mut theirs, 10, Duration::ZERO));
    assert_eq!(theirs.goodbye(), hasty.goodbye());
}

#[test]
fn streams_beyond_the_bound_wait() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--max-concurrent-streams=3").member();
    let mut raw = Raw::connect(member.endpoint());
    // After its answer the server's settings are known.
    assert!(raw.ping());
    let streams: Vec<_> = (0..5).map(|_| raw.call(health::WATCH, &HealthCheckRequest::default())).collect();
    streams[..3].iter().for_each(|stream| drop(raw.first_bytes(*stream)));
    assert!(streams[3..].iter().all(|stream| raw.so_far(*stream).body.is_empty()));
    raw.reset(streams[0]);
    raw.first_bytes(streams[3]);
    read(&member);
}

#[test]
fn clients_that_break_off_leave_nothing_behind() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    fill(&member, "k", 500, 10_000);
    let request = frame(&prost::Message::encode_to_vec(&put("half", vec![b'v'; 1000])));
    for cut in [0, 3, 5, 10, 500, 1000] {
        let mut raw = Raw::connect(member.endpoint());
        raw.request(kv::PUT, &[], &request[..cut], true);
    }
    for _ in 0..20 {
        let mut raw = Raw::connect(member.endpoint());
        let stream = raw.call(kv::RANGE_STREAM, &prefix(b'k'));
        raw.first_bytes(stream);
        let mut raw = Raw::connect(member.endpoint());
        raw.call(kv::RANGE, &prefix(b'k'));
        let mut raw = Raw::connect(member.endpoint());
        let stream = raw.call(kv::RANGE_STREAM, &prefix(b'k'));
        raw.reset(stream);
        assert!(raw.ping());
    }
    let half = member.client().range(&RangeRequest { key: "half".into(), ..RangeRequest::default() });
    assert_eq!(half.expect("read").count, 0);
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while connections(&member) > 0 {
        assert!(Instant::now() < deadline, "{} connections are left", connections(&member));
        std::thread::yield_now();
    }
}

/// Connections that the member holds, besides listeners: its sockets that have a peer.
fn connections(member: &Member) -> usize {
    let port = member.endpoint().rsplit(':').next().expect("a port").parse::<u16>().expect("a number");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table of connections");
    let local = format!(":{port:04X}");
    // The state 01 is an established connection, 08 one that only the peer has closed.
    let is_open = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let is_ours = fields.next().is_some_and(|field| field.ends_with(&local));
        is_ours && matches!(fields.nth(1), Some("01" | "08"))
    };
    table.lines().filter(is_open).count()
}

/// As with etcd, who connects to a member that is still starting waits, and is then served.
#[test]
fn early_clients_are_served() {
    for round in 0..5 {
        let folder = Scratch::new();
        let launch = Launch::new(folder.path()).flag("--net-threads=2").flag("--shards=2");
        let address = launch.endpoint().to_owned();
        std::thread::scope(|scope| {
            let early = scope.spawn(move || {
                let deadline = Instant::now() + START_TIMEOUT;
                // Each try is a connection to a port on which nobody listens yet.
                while TcpStream::connect(&address).is_err() {
                    assert!(Instant::now() < deadline, "nobody listens");
                    std::thread::yield_now();
                }
                let mut raw = Raw::connect(&address);
                let stream = raw.call(kv::PUT, &put("a", "1"));
                raw.answer(stream)
            });
            let member = launch.member();
            let answer = early.join().expect("no panic");
            assert_eq!((answer.code, answer.text.as_str()), (Some(0), ""), "round {round}");
            read(&member);
        });
    }
}

#[test]
fn a_thousand_idle_connections_are_in_nobodys_way() {
    const IDLE: usize = 1000;
    assert!(raise_descriptors() > 2 * IDLE as u64, "this process may have too few descriptors open");
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let idle: Vec<TcpStream> = (0..IDLE)
        .map(|_| {
            let socket = TcpStream::connect(member.endpoint()).expect("accepted");
            std::io::Write::write_all(&mut &socket, windlass_http2::CLIENT_PREFACE).expect("sent");
            socket
        })
        .collect();
    let mut client = member.client();
    for _ in 0..100 {
        client.put(&put("a", "1")).expect("written");
        read(&member);
    }
    assert!(connections(&member) > IDLE);
    drop(idle);
    read(&member);
}

#[test]
fn a_stopping_server_answers_what_it_was_asked() {
    const PUTS: usize = 500;
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut connection = member.connect();
    // A client that has heard of the server's settings yet sends all at once; before, it keeps what is beyond a hundred.
    let first = connection.begin(kv::PUT, &put("k", ""), REQUEST_TIMEOUT).expect("sent");
    connection.finish::<PutResponse>(first, Instant::now() + REQUEST_TIMEOUT).expect("answered");
    let calls: Vec<_> = (1..PUTS)
        .map(|number| {
            let put = put(format!("k{number}"), vec![b'v'; 1000]);
            connection.begin(kv::PUT, &put, REQUEST_TIMEOUT).expect("sent")
        })
        .collect();
    member.terminate();
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    for call in calls {
        connection.finish::<PutResponse>(call, deadline).expect("answered");
    }
    drop(connection);
    let ended = member.ended();
    assert_eq!(ended.code(), 128 + 15, "{}", ended.output);
    let member = Launch::new(folder.path()).member();
    assert_eq!(member.client().range(&prefix(b'k')).expect("read").count, PUTS as i64);
}
