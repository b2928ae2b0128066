//! Calls that are wrong before anyone looks at what they ask for.

use windlass_api::method::kv;

use crate::process::{Launch, Scratch, etcd_folder};
use crate::raw::{Answer, Raw};
use crate::store::put;

/// One wrong call.
struct Wrong {
    path: &'static str,
    changed: &'static [(&'static str, &'static str)],
    body: &'static [u8],
    /// HTTP status, gRPC code and text.
    answer: (&'static str, u8, &'static str),
    /// What of it the older gRPC of etcd 3.5.1 has equal.
    equal: Equal,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Equal {
    All,
    Code,
    Nothing,
}

use Equal::{All, Code, Nothing};

/// A message that is a put of `a`.
const PUT: &[u8] = b"\0\0\0\0\x03\x0a\x01a";

const WRONG: &[Wrong] = &[
    Wrong { path: "/a.B/C", changed: &[], body: PUT, answer: ("200", 12, "unknown service a.B"), equal: All },
    Wrong {
        path: "/etcdserverpb.KV/Nothing",
        changed: &[],
        body: PUT,
        answer: ("200", 12, "unknown method Nothing for service etcdserverpb.KV"),
        equal: All,
    },
    Wrong {
        path: "/nothing",
        changed: &[],
        body: PUT,
        answer: ("200", 12, "malformed method name: \"/nothing\""),
        equal: Nothing,
    },
    Wrong {
        path: kv::PUT,
        changed: &[("content-type", "text/plain")],
        body: PUT,
        answer: ("415", 3, "invalid gRPC request content-type \"text/plain\""),
        equal: Nothing,
    },
    Wrong {
        path: kv::PUT,
        changed: &[(":method", "GET")],
        body: PUT,
        answer: ("405", 13, "Received a HEADERS frame with :method \"GET\" which should be POST"),
        equal: Nothing,
    },
    Wrong {
        path: kv::PUT,
        changed: &[("grpc-encoding", "snappy")],
        body: b"\x01\0\0\0\x03\x0a\x01a",
        answer: ("200", 12, "grpc: Decompressor is not installed for grpc-encoding \"snappy\""),
        equal: All,
    },
    Wrong {
        path: kv::PUT,
        changed: &[("grpc-encoding", "gzip")],
        body: b"\x01\0\0\0\x03\x0a\x01a",
        answer: ("200", 13, "grpc: failed to decompress the received message"),
        // The decoders have words of their own.
        equal: Code,
    },
    Wrong {
        path: kv::PUT,
        changed: &[],
        body: b"\x01\0\0\0\x03\x0a\x01a",
        answer: ("200", 13, "grpc: compressed flag set with identity or empty encoding"),
        equal: All,
    },
    Wrong {
        path: kv::PUT,
        changed: &[],
        body: b"\0\0\0\0\x02\xff\xff",
        answer: ("200", 13, "grpc: error unmarshalling request: "),
        equal: Code,
    },
    Wrong {
        path: kv::RANGE_STREAM,
        changed: &[],
        body: b"\0\0\0\0\x02\xff\xff",
        answer: ("200", 13, "grpc: error unmarshalling request: "),
        equal: Nothing,
    },
    Wrong {
        path: kv::PUT,
        changed: &[],
        body: b"\0\0\0\0\x09\x0a\x01a",
        answer: ("200", 2, "unexpected EOF"),
        equal: All,
    },
    Wrong {
        path: kv::PUT,
        changed: &[],
        body: b"\0\x7f\xff\xff\xff\x0a\x01a",
        answer: ("200", 8, "grpc: received message larger than max (2147483647 vs. 2097152)"),
        equal: All,
    },
    Wrong {
        path: kv::PUT,
        changed: &[("grpc-timeout", "soon")],
        body: PUT,
        answer: ("400", 13, "malformed grpc-timeout: \"soon\""),
        equal: Nothing,
    },
    Wrong {
        path: kv::PUT,
        changed: &[],
        body: b"\0\0\0\0\0",
        answer: ("200", 3, "etcdserver: key is not provided"),
        equal: All,
    },
];

fn ask(address: &str, wrong: &Wrong) -> Answer {
    let mut raw = Raw::connect(address);
    let stream = raw.request(wrong.path, wrong.changed, wrong.body, false);
    raw.answer(stream)
}

#[test]
fn wrong_calls_are_refused_in_grpc_gos_words() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    for wrong in WRONG {
        let answer = ask(member.endpoint(), wrong);
        let (http, code, text) = wrong.answer;
        assert_eq!((answer.http.as_str(), answer.code), (http, Some(code)), "{} {answer:?}", wrong.path);
        assert!(answer.text.starts_with(text), "{:?} is not {text:?}", answer.text);
    }
    // The server is none the worse for it, and nothing was written.
    let put = member.client().put(&put("a", "1")).expect("written");
    assert_eq!(put.header.map(|header| header.revision), Some(2));
}

#[test]
fn wrong_calls_are_refused_as_etcd_does() {
    let Some(etcd) = etcd_folder() else { return };
    let (ours, theirs) = (Scratch::new(), Scratch::new());
    let windlass = Launch::new(ours.path()).member();
    let etcd = Launch::new(theirs.path()).program(&etcd.join("etcd")).member();
    for wrong in WRONG.iter().filter(|wrong| wrong.equal != Nothing) {
        let (got, wanted) = (ask(windlass.endpoint(), wrong), ask(etcd.endpoint(), wrong));
        assert_eq!((&got.http, got.code), (&wanted.http, wanted.code), "{}: {wanted:?}", wrong.path);
        assert!(wrong.equal != All || got.text == wanted.text, "{got:?} is not {wanted:?}");
    }
}
