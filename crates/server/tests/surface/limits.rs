//! Requests as large as they may be, and larger.

use windlass_api::etcdserverpb::{PutResponse, RangeRequest};
use windlass_api::method;

use crate::process::{Launch, Member, Scratch, etcd_folder};
use crate::raw::{Answer, Raw, messages};
use crate::store::{fill, prefix, put};

const MIB: usize = 1 << 20;

/// Sizes of values, far enough from the bounds for what each server counts besides.
const VALUES: [(usize, Option<u8>); 5] = [
    (MIB, Some(0)),
    (MIB * 3 / 2 - 512, Some(0)),
    (MIB * 3 / 2, Some(3)),
    (2 * MIB - 512, Some(3)),
    (2 * MIB, Some(8)),
];

fn put_of(member: &Member, value_bytes: usize) -> Answer {
    let mut raw = Raw::connect(member.endpoint());
    let stream = raw.call(method::kv::PUT, &put("large", vec![b'v'; value_bytes]));
    raw.answer(stream)
}

#[test]
fn large_puts_are_taken_or_refused_as_etcd_does() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let answers = VALUES.map(|(bytes, _)| put_of(&member, bytes));
    for (answer, (bytes, code)) in answers.iter().zip(VALUES) {
        assert_eq!(answer.code, code, "{bytes} bytes: {}", answer.text);
    }
    assert_eq!(messages::<PutResponse>(&answers[0].body).len(), 1);
    assert_eq!(answers[2].text, "etcdserver: request is too large");
    assert_eq!(answers[4].text, "grpc: received message larger than max (2097164 vs. 2097152)");
    let kept = member.client().range(&RangeRequest { key: "large".into(), ..RangeRequest::default() });
    assert_eq!(kept.expect("read").kvs[0].value.len(), MIB * 3 / 2 - 512);

    let Some(etcd) = etcd_folder() else { return };
    let folder = Scratch::new();
    let etcd = Launch::new(folder.path()).program(&etcd.join("etcd")).member();
    for ((bytes, _), answer) in VALUES.iter().zip(&answers) {
        let theirs = put_of(&etcd, *bytes);
        assert_eq!((answer.code, &answer.text), (theirs.code, &theirs.text), "{bytes} bytes");
    }
}

#[test]
fn limits_can_be_set() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--max-request-bytes=1000").flag("--max-txn-ops=2").member();
    let (small, large) = (put_of(&member, 900), put_of(&member, 1000));
    assert_eq!((small.code, large.code), (Some(0), Some(3)));
    assert_eq!(large.text, "etcdserver: request is too large");
}

#[test]
fn a_hundred_thousand_keys_come_in_one_answer() {
    const KEYS: usize = 100_000;
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    fill(&member, "k", KEYS, 10);
    let answer = member.client().range(&prefix(b'k')).expect("read");
    assert_eq!((answer.count, answer.kvs.len(), answer.more), (KEYS as i64, KEYS, false));
    assert!(answer.kvs.is_sorted_by(|a, b| a.key < b.key));
    assert_eq!(answer.kvs[KEYS - 1].key, "k0099999");
}
