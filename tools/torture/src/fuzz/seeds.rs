//! What is sound, to begin with: a changed sound input gets further than noise.

use flatbuffers::FlatBufferBuilder;
use prost::Message;
use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
    WatchRequest, request_op,
};
use windlass_bbolt::Writer;
use windlass_gateway::PATHS;
use windlass_http2::{CLIENT_PREFACE, ClientSession, Field, ServerSession, Settings, Trailers};
use windlass_io_log::buffer::BLOCK_BYTES;
use windlass_io_log::frame::{Stamp, seal};
use windlass_io_log::ids::{Epoch, Identity, Nonce, SegmentNumber, Sequence};
use windlass_io_log::segment::SegmentHeader;
use windlass_records::batch::{BatchBuilder, CommandKind, Origin};
use windlass_records::log::{Entry, EntryKind, Frame, HardState};
use windlass_records::peer::{Answer, EntryId, Failure, Hello, Purpose, Raft, RaftKind, ReadContext, Record};
use windlass_records::state::State;
use windlass_records::wal::{FrameBuilder, Live, SystemRecord, Version};
use windlass_replica::lease::LeaseAsk;
use windlass_types::{ClusterId, LeaseId, LogIndex, MemberId, RequestId, Revision, Term};

/// The head of a request.
pub const REQUEST: &[Field<'static>] = &[
    Field::constant(":method", "POST"),
    Field::constant(":scheme", "http"),
    Field::constant(":path", "/etcdserverpb.KV/Put"),
    Field::constant("te", "trailers"),
];

const STATUS: &[Field<'static>] = &[Field::constant("grpc-status", "0")];

/// Sound inputs of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "batch" => vec![batch()],
        "bbolt" => vec![bbolt()],
        "conf-change" => vec![vec![1, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0]],
        "config-file" => texts(&[
            "name: m1\ndata-dir: /data\nlisten-client-urls: http://127.0.0.1:2379\nheartbeat-interval: 100\n",
            "{\"name\": \"m1\", \"quota-backend-bytes\": 0, \"client-transport-security\": {\"auto-tls\": true}}",
            "initial-cluster: m1=http://a:1,m2=http://b:1\nlog-outputs: [stderr]\nfeature-gates: A=true\n",
        ]),
        "frame-header" => vec![frame()],
        "segment-header" => vec![segment()],
        "flags" => texts(&[
            "--name=m1\n--data-dir\n/data\n--initial-cluster=m1=http://a:2380\nETCD_NAME=x",
            "--listen-client-urls=http://[::1]:2379,unix:///a\n--auto-compaction-retention=5m\n--help",
        ]),
        "http2-server" => vec![conversation().0],
        "http2-client" => vec![conversation().1],
        "json" => json(),
        "json-stream" => {
            texts(&["{\"create_request\":{\"key\":\"YQ==\"}} {\"a\":\"\\\"}\"}[1,2]\n", "1 \"x\" null"])
        }
        "lease-asks" => vec![LeaseAsk::encode_all(&[
            LeaseAsk::KeepAlive(LeaseId(7)),
            LeaseAsk::TimeToLive(LeaseId(i64::MAX)),
        ])],
        "log-frame" => vec![log_frame()],
        "manifest" => texts(&["windlass shards 1\ngeneration 7\nshards 3\ncrc32 42c47a4b\n"]),
        "peer-records" => peer_records(),
        "protobuf" => protobuf(),
        "settings" => texts(&["# by windlass-disk\nflush-depth = 2\nbatch-linger=1ms\n", "flush-depth=1"]),
        "state" => vec![state()],
        "wal-frame" => vec![wal_frame()],
        _ => vec![vec![0; 64]],
    }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn peer_records() -> Vec<Vec<u8>> {
    let hello = Hello {
        version: 1,
        version_min: 1,
        purpose: Purpose::Messages,
        cluster: ClusterId(1),
        from: MemberId(2),
        to: MemberId(3),
        incarnation: 4,
        server_version: "3.6.0".to_owned(),
        unpublished: true,
    };
    let mut append = Raft::new(MemberId(2), MemberId(3), Term(4), RaftKind::Append);
    append.entry = Some(EntryId { index: LogIndex(5), term: Term(3) });
    append.read = Some(ReadContext { term: Term(4), incarnation: 6, sequence: 7 });
    let failure = Some(Failure { code: 14, text: "no".to_owned() });
    let answer = Answer { id: 1, incarnation: 2, failure };
    vec![numbered(0, &hello), numbered(2, &append), numbered(5, &answer)]
}

/// Behind the byte that says which it is.
fn numbered(which: u8, record: &impl Record) -> Vec<u8> {
    let mut fbb = FlatBufferBuilder::new();
    record.encode(&mut fbb);
    [&[which], fbb.finished_data()].concat()
}

fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
    builder.push(RequestId(1), CommandKind::Put, &put.encode_to_vec());
    builder.push(RequestId(2), CommandKind::DeleteRange, &[]);
    builder.finish(Origin { member: MemberId(7), incarnation: 9 }).to_vec()
}

fn bbolt() -> Vec<u8> {
    let (mut writer, mut body) = (Writer::new(), Vec::new());
    for name in ["key", "lease", "members", "meta"] {
        writer.begin_bucket(name.as_bytes());
        for number in 0..if name == "key" { 60_u8 } else { 2 } {
            let key = [&[0; 7][..], &[number], b"_", &[0; 8]].concat();
            writer.put(&key, &[number; 90], &mut body);
        }
        writer.end_bucket(&mut body);
    }
    let head = writer.finish(&mut body);
    [head.bytes(), &body].concat()
}

fn conversation() -> (Vec<u8>, Vec<u8>) {
    let now = std::time::Instant::now();
    let head = [Field::constant(":status", "200"), Field::constant("content-type", "application/grpc")];
    let mut client = ClientSession::new(&Settings::default(), now).expect("a session");
    let mut server = ServerSession::new(&Settings::default(), now).expect("a session");
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let _ = client.request_whole(REQUEST, b"\0\0\0\0\x02\x0a\0");
    }
    client.send(&mut up, usize::MAX).expect("it sends");
    assert!(up.starts_with(CLIENT_PREFACE));
    server.recv(&up, now).expect("it takes it");
    while let Some(ready) = server.next_ready() {
        server.respond_unary(ready.stream, &head, Trailers::Constant(STATUS), |b| b.extend([0; 9]));
    }
    server.send(&mut down, usize::MAX).expect("it sends");
    (up, down)
}

fn frame() -> Vec<u8> {
    let stamp = Stamp {
        nonce: Nonce(7),
        sequence: Sequence(3),
        durable_below: Sequence(2),
        oldest_segment: SegmentNumber(1),
        epoch: Epoch(2),
        boot: false,
    };
    let mut memory = vec![5; 2 * BLOCK_BYTES];
    let length = seal(&mut memory, &stamp, 100);
    memory.truncate(length);
    memory
}

fn segment() -> Vec<u8> {
    let header = SegmentHeader {
        identity: Identity(9),
        number: SegmentNumber(4),
        first: Sequence(3),
        oldest_segment: SegmentNumber(1),
        epoch: Epoch(2),
        blocks: 1024,
    };
    let mut memory = vec![0; BLOCK_BYTES];
    header.seal(&mut memory);
    memory
}

fn json() -> Vec<Vec<u8>> {
    let bodies = [
        r#"{"key":"YQ==","value":"Yg==","lease":"7","prev_kv":true}"#,
        r#"{"compare":[{"key":"YQ==","target":"MOD","mod_revision":"3"}],"success":[{"request_put":{"key":"YQ=="}}]}"#,
        r#"{"ID":"1","TTL":5}"#,
        r#"{"create_request":{"key":"YQ==","filters":["NOPUT"],"start_revision":-1}}"#,
    ];
    let all =
        PATHS.iter().enumerate().map(|(at, (path, _))| format!("{path}\n{}", bodies[at % bodies.len()]));
    all.map(String::into_bytes).collect()
}

fn log_frame() -> Vec<u8> {
    let entry = |index| Entry {
        index: LogIndex(index),
        term: Term(2),
        kind: EntryKind::Normal,
        data: batch().into(),
    };
    let hard_state = HardState { term: Term(2), vote: MemberId(7), commit: LogIndex(3) };
    let frame = Frame { hard_state: Some(hard_state), entries: vec![entry(4), entry(5)], ..Frame::default() };
    let mut fbb = FlatBufferBuilder::new();
    frame.encode(&mut fbb);
    fbb.finished_data().to_vec()
}

fn protobuf() -> Vec<Vec<u8>> {
    let put = PutRequest { key: "k".into(), value: "v".into(), lease: 7, ..PutRequest::default() };
    let range = RangeRequest { key: "a".into(), range_end: "b".into(), limit: 3, ..RangeRequest::default() };
    let delete = DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() };
    let inner = TxnRequest {
        success: vec![RequestOp { request: Some(request_op::Request::RequestPut(put.clone())) }],
        ..TxnRequest::default()
    };
    let txn = TxnRequest {
        compare: vec![Compare { key: "a".into(), ..Compare::default() }],
        success: vec![RequestOp { request: Some(request_op::Request::RequestTxn(inner)) }],
        failure: vec![RequestOp { request: Some(request_op::Request::RequestDeleteRange(delete.clone())) }],
    };
    let create = WatchCreateRequest { key: "a".into(), start_revision: 5, ..WatchCreateRequest::default() };
    let watch = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let messages = [
        put.encode_to_vec(),
        range.encode_to_vec(),
        delete.encode_to_vec(),
        txn.encode_to_vec(),
        watch.encode_to_vec(),
    ];
    (0..).zip(messages).map(|(which, message)| [&[which][..], &message].concat()).collect()
}

fn state() -> Vec<u8> {
    let mut fbb = FlatBufferBuilder::new();
    let state = State { index: LogIndex(9), term: Term(2), revision: Revision(7), ..State::EMPTY };
    state.encode(&mut fbb);
    fbb.finished_data().to_vec()
}

fn wal_frame() -> Vec<u8> {
    let mut builder = FrameBuilder::default();
    let live = Live { create_revision: Revision(2), version: 1, lease: LeaseId(0), value: b"value" };
    for (revision, live) in [(2, Some(live)), (3, None)] {
        let (index, revision) = (LogIndex(4), Revision(revision));
        builder.push(&Version { index, revision, sub: 0, key: b"key", live });
    }
    builder.push_system(&SystemRecord { index: LogIndex(4), name: b"m/1", value: Some(b"x") });
    builder.finish(LogIndex(5)).to_vec()
}
