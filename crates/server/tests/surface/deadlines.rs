//! Deadlines that clients set.

use std::time::{Duration, Instant};

use prost::Message;
use windlass_api::health::HealthCheckRequest;
use windlass_api::method::{health, kv, watch};

use crate::process::{Launch, Member, REQUEST_TIMEOUT, Scratch, etcd_folder};
use crate::raw::{Answer, Raw, frame, messages};
use crate::store::{prefix, put};

/// A server may answer in time or say that it is late; the connection goes on either way.
#[test]
fn deadlines_are_the_clients_and_harm_nobody() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut raw = Raw::connect(member.endpoint());
    let message = frame(&prefix(b'a').encode_to_vec());
    for timeout in ["1n", "1u", "1m", "20S", "1M", "99999999H"] {
        let stream = raw.request(kv::RANGE, &[("grpc-timeout", timeout)], &message, false);
        let answer = raw.answer(stream);
        match answer.code {
            Some(0) => {}
            Some(4) => assert!(timeout.ends_with(['n', 'u', 'm']), "{timeout} cannot be over"),
            _ => panic!("{answer:?} for {timeout}"),
        }
    }
}

/// A stream that would stay open, with a deadline.
fn open(member: &Member, path: &str) -> (Answer, Duration) {
    let mut raw = Raw::connect(member.endpoint());
    let begun = Instant::now();
    let message = frame(&HealthCheckRequest::default().encode_to_vec());
    let stream = raw.request(path, &[("grpc-timeout", "100m")], &message, false);
    (raw.answer(stream), begun.elapsed())
}

#[test]
fn an_open_call_ends_at_its_deadline_as_etcds_does() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let (answer, took) = open(&member, health::WATCH);
    assert_eq!((answer.code, answer.text.as_str()), (Some(4), "context deadline exceeded"));
    assert!(took >= Duration::from_millis(100) && took < REQUEST_TIMEOUT, "{took:?}");

    let Some(etcd) = etcd_folder() else { return };
    let theirs = Scratch::new();
    let etcd = Launch::new(theirs.path()).program(&etcd.join("etcd")).member();
    // Its health service has an end of its own; an empty message is as good for its watches.
    let theirs = open(&etcd, watch::WATCH).0;
    // The gRPC of etcd 3.5.1 still gave a stream's deadline the code Unknown (2); that of 3.6 gives it its own.
    assert_eq!((theirs.code, theirs.text), (Some(2), answer.text));
}

/// What is written within its deadline is written; what is refused for it, mostly not. Either way the answers and the
/// store agree: never more writes than were asked for, never fewer than were acknowledged.
#[test]
fn writes_past_their_deadline_are_dropped_or_whole() {
    const WRITES: usize = 300;
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut raw = Raw::connect(member.endpoint());
    let body = frame(&put("k", vec![b'v'; 100]).encode_to_vec());
    let timeouts = ["0n", "1u", "1m", "20S"];
    let streams: Vec<_> = (0..WRITES)
        .map(|i| raw.request(kv::PUT, &[("grpc-timeout", timeouts[i % timeouts.len()])], &body, false))
        .collect();
    let answers: Vec<Answer> = streams.into_iter().map(|stream| raw.answer(stream)).collect();
    let done = answers.iter().filter(|answer| answer.code == Some(0)).count();
    for (i, answer) in answers.iter().enumerate() {
        match i % timeouts.len() {
            0 => assert_eq!(answer.code, Some(4), "a deadline that had passed when it came"),
            3 => assert_eq!(answer.code, Some(0), "{answer:?}"),
            _ => assert!(matches!(answer.code, Some(0 | 4)), "{answer:?}"),
        }
    }
    let stream = raw.call(kv::RANGE, &prefix(b'k'));
    let ranges: Vec<windlass_api::etcdserverpb::RangeResponse> = messages(&raw.answer(stream).body);
    let written = usize::try_from(ranges[0].kvs[0].version).expect("positive");
    assert!(written >= done && written <= WRITES - WRITES / timeouts.len(), "{written} of {done}");
}
