//! Requests that a client compressed with gzip, as etcd takes them.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use prost::Message;
use windlass_api::method::kv;

use crate::process::{Launch, Member, Scratch, etcd_folder};
use crate::raw::{Answer, Raw, frame};
use crate::store::put;

fn compressed(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message).expect("a vector takes any bytes");
    let mut body = frame(&encoder.finish().expect("a vector takes any bytes"));
    body[0] = 1;
    body
}

/// Puts a value of `bytes` in a compressed request.
fn ask(member: &Member, bytes: usize) -> Answer {
    let mut raw = Raw::connect(member.endpoint());
    let body = compressed(&put("k", vec![b'v'; bytes]).encode_to_vec());
    let stream = raw.request(kv::PUT, &[("grpc-encoding", "gzip")], &body, false);
    Answer { body: Vec::new(), ..raw.answer(stream) }
}

#[test]
fn compressed_requests_are_as_good_as_others() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let real = etcd_folder().map(|etcd| {
        let theirs = Scratch::new();
        let member = Launch::new(theirs.path()).program(&etcd.join("etcd")).member();
        (theirs, member)
    });
    // The largest message, and one byte more: prefix, key and lengths are 11 bytes.
    let max = (1536 << 10) + (512 << 10);
    for (bytes, code, text) in [
        (10, 0, ""),
        (1 << 20, 0, ""),
        (max - 11, 3, "etcdserver: request is too large"),
        (8 << 20, 8, "grpc: received message after decompression larger than max (2097153 vs. 2097152)"),
    ] {
        let answer = ask(&member, bytes);
        assert_eq!((answer.code, answer.text.as_str()), (Some(code), text), "{bytes}");
        if let Some((_, real)) = &real {
            assert_eq!(ask(real, bytes).code, answer.code, "{bytes}");
        }
    }
    let stored = member
        .client()
        .range(&windlass_api::etcdserverpb::RangeRequest { key: "k".into(), ..Default::default() });
    assert_eq!(stored.expect("read").kvs[0].value.len(), 1 << 20);
}
