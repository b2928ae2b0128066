//! The client against servers that refuse, keep silent, hang up or answer: which of them it tries again, and what it
//! says in the end.

#[path = "../../../bench/src/ports.rs"]
mod ports;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::{PutRequest, PutResponse, RangeRequest, RangeResponse, RangeStreamResponse};
use windlass_client::{Client, Code, Config, Connection, Error};
use windlass_http2::{Field, ServerSession, Settings, Trailers};

use prost::Message;

/// Far beyond what a test takes.
const LONG: Duration = Duration::from_secs(20);
/// For what must time out.
const SHORT: Duration = Duration::from_millis(100);

/// What a server does with each connection.
#[derive(Clone)]
enum Behaviour {
    /// Accepts and never says anything.
    Silent,
    /// Reads the request and closes the connection.
    HangsUp,
    /// Answers every request with these messages and this status.
    Answers { messages: Vec<Vec<u8>>, trailers: &'static [Field<'static>] },
}

const OK: &[Field<'static>] = &[Field::constant("grpc-status", "0")];
const UNAVAILABLE: &[Field<'static>] =
    &[Field::constant("grpc-status", "14"), Field::constant("grpc-message", "etcdserver: no%20leader")];
const EMPTY_KEY: &[Field<'static>] = &[
    Field::constant("grpc-status", "3"),
    Field::constant("grpc-message", "etcdserver: key is not provided"),
];

/// A server; its threads end with the test's process.
struct Server {
    endpoint: String,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = listener.local_addr().expect("an address").to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let behaviour = behaviour.clone();
                thread::spawn(move || serve(socket, &behaviour));
            }
        });
        Self { endpoint, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(mut socket: TcpStream, behaviour: &Behaviour) {
    let mut session = ServerSession::new(&Settings::default(), Instant::now()).expect("a session");
    let (mut input, mut output) = ([0; 4096], Vec::new());
    while let Ok(len @ 1..) = socket.read(&mut input) {
        session.recv(&input[..len], Instant::now()).expect("the client speaks HTTP/2");
        while let Some(ready) = session.next_ready() {
            match behaviour {
                Behaviour::Answers { messages, trailers } if ready.end => {
                    session.respond(ready.stream, &[Field::constant(":status", "200")]);
                    for message in messages {
                        let len = u32::try_from(message.len()).expect("small").to_be_bytes();
                        session.push(ready.stream, &[&[0], &len[..], message].concat());
                    }
                    session.finish(ready.stream, Trailers::Constant(trailers));
                }
                Behaviour::HangsUp if ready.end => return,
                _ => {}
            }
        }
        if matches!(behaviour, Behaviour::Silent) {
            continue;
        }
        output.clear();
        session.send(&mut output, usize::MAX).expect("the session is well");
        if socket.write_all(&output).is_err() {
            return;
        }
    }
}

fn client(endpoints: &[&str], command_timeout: Duration) -> Client {
    let endpoints = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
    Client::new(&Config { endpoints, dial_timeout: LONG, command_timeout }).expect("valid endpoints")
}

fn range_answer() -> Behaviour {
    let messages = vec![RangeResponse { count: 7, ..Default::default() }.encode_to_vec()];
    Behaviour::Answers { messages, trailers: OK }
}

fn put() -> PutRequest {
    PutRequest { key: "k".into(), ..Default::default() }
}

/// An endpoint where nobody listens.
fn nobody() -> String {
    format!("127.0.0.1:{}", ports::Port::free().expect("a port").keep())
}

#[test]
fn a_refused_connection_is_the_cause_of_the_deadline() {
    let endpoint = nobody();
    let error = client(&[&endpoint], SHORT).put(&put()).expect_err("nobody is there");
    assert_eq!(error.to_string(), "context deadline exceeded");
    let Error::DeadlineExceeded { cause: Some(cause) } = error else { panic!("no cause: {error:?}") };
    assert!(cause.starts_with(&endpoint) && cause.contains("refused"), "{cause}");
}

#[test]
fn a_silent_server_runs_into_the_deadline() {
    let server = Server::start(Behaviour::Silent);
    let error = client(&[&server.endpoint], SHORT).range(&RangeRequest::default()).expect_err("it is silent");
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error:?}");
}

#[test]
fn the_next_endpoint_is_tried_when_one_refuses() {
    let server = Server::start(range_answer());
    let mut client = client(&[&nobody(), &server.endpoint], LONG);
    for _ in 0..3 {
        assert_eq!(client.range(&RangeRequest::default()).expect("the second answers").count, 7);
    }
    assert_eq!(server.connections(), 1, "the connection is kept");
}

#[test]
fn only_what_changes_nothing_is_sent_again() {
    for broken in [Behaviour::HangsUp, Behaviour::Answers { messages: vec![], trailers: UNAVAILABLE }] {
        let (first, second) = (Server::start(broken), Server::start(range_answer()));
        let endpoints = [first.endpoint.as_str(), second.endpoint.as_str()];
        let error = client(&endpoints, LONG).put(&put()).expect_err("a put may have taken effect");
        assert!(
            matches!(error, Error::Disconnected { .. }) || error.code() == Some(Code::Unavailable),
            "{error:?}"
        );
        assert_eq!(second.connections(), 0);
        assert_eq!(
            client(&endpoints, LONG).range(&RangeRequest::default()).expect("the second answers").count,
            7
        );
    }
}

#[test]
fn a_refusal_carries_code_and_text_and_keeps_the_connection() {
    let server = Server::start(Behaviour::Answers { messages: vec![], trailers: EMPTY_KEY });
    let mut client = client(&[&server.endpoint], LONG);
    for _ in 0..2 {
        let error = client.put(&put()).expect_err("it is refused");
        assert_eq!(error.code(), Some(Code::InvalidArgument));
        assert_eq!(error.to_string(), "etcdserver: key is not provided");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_status_after_the_message_counts() {
    let messages = vec![PutResponse::default().encode_to_vec()];
    let server = Server::start(Behaviour::Answers { messages, trailers: EMPTY_KEY });
    let error = client(&[&server.endpoint], LONG).put(&put()).expect_err("the status is an error");
    assert_eq!(error.code(), Some(Code::InvalidArgument));
}

#[test]
fn a_stream_hands_over_each_chunk() {
    let chunk = |count| {
        let range_response = Some(RangeResponse { count, ..Default::default() });
        RangeStreamResponse { range_response }.encode_to_vec()
    };
    let server = Server::start(Behaviour::Answers { messages: (1..=3).map(chunk).collect(), trailers: OK });
    let mut counts = Vec::new();
    let mut client = client(&[&server.endpoint], LONG);
    client.range_stream(&RangeRequest::default(), |chunk| counts.push(chunk.count)).expect("it answers");
    assert_eq!(counts, [1, 2, 3]);
}

#[test]
fn calls_of_one_connection_may_be_picked_up_in_any_order() {
    let server = Server::start(range_answer());
    let endpoint = server.endpoint.parse().expect("valid");
    let mut connection = Connection::open(&endpoint, LONG).expect("it listens");
    let request = RangeRequest::default();
    let begin =
        |connection: &mut Connection| connection.begin(windlass_api::method::kv::RANGE, &request, LONG);
    let calls = [(); 5].map(|()| begin(&mut connection).expect("it is sent"));
    for call in calls.into_iter().rev() {
        let answer: RangeResponse = connection.finish(call, Instant::now() + LONG).expect("it answers");
        assert_eq!(answer.count, 7);
    }
}
