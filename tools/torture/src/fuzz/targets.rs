//! Everything that reads bytes from outside and can be called by itself: files, other members, clients, command lines.
//!
//! Bodies say in words what came of the input, and check what they can: that what was read can be written and read again.

use std::time::Instant;

use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;
use prost::Message;
use windlass::startup::flags;
use windlass_api::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest, WatchRequest};
use windlass_bbolt::Reader;
use windlass_gateway::{PATHS, Splitter, Transcoder, method_of};
use windlass_http2::{ClientSession, ServerSession, Settings};
use windlass_io_log::frame::Header;
use windlass_io_log::segment::BlockZero;
use windlass_io_log::stream::manifest::Manifest;
use windlass_raft::ConfChange;
use windlass_records::batch::Batch;
use windlass_records::peer::{self, Record};
use windlass_records::state::State;
use windlass_records::{log, wal};
use windlass_replica::backup::Backend;
use windlass_replica::checks;
use windlass_replica::get::GetView;
use windlass_replica::lease::{LeaseAnswer, LeaseAsk};
use windlass_replica::put_view::PutView;
use windlass_replica::shard::Content;
use windlass_replica::txn::Transaction;
use windlass_replica::update_view::UpdateView;

use super::seeds;

/// Operations that a transaction may have; etcd's default.
const TXN_OPS_MAX: usize = 128;

/// Where the headers of segments and frames have their checksum.
const CHECKSUM_AT: usize = 60;

/// Something that reads.
pub struct Target {
    /// Of its folder in the corpus, too.
    pub name: &'static str,
    /// What comes of an input.
    pub body: fn(&[u8]) -> String,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "batch", body: batch },
    Target { name: "bbolt", body: bbolt },
    Target { name: "conf-change", body: conf_change },
    Target { name: "config-file", body: config_file },
    Target { name: "flags", body: command_line },
    Target { name: "frame-header", body: frame_header },
    Target { name: "http2-client", body: http2_client },
    Target { name: "http2-server", body: http2_server },
    Target { name: "json", body: json },
    Target { name: "json-stream", body: json_stream },
    Target { name: "lease-asks", body: lease_asks },
    Target { name: "log-frame", body: log_frame },
    Target { name: "manifest", body: manifest },
    Target { name: "peer-records", body: peer_records },
    Target { name: "protobuf", body: protobuf },
    Target { name: "segment-header", body: segment_header },
    Target { name: "settings", body: settings },
    Target { name: "state", body: state },
    Target { name: "wal-frame", body: wal_frame },
];

/// The words of a result.
fn said<T, E: std::fmt::Display>(result: &Result<T, E>) -> String {
    match result {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An entry of the Raft log, and what another member forwards.
fn batch(bytes: &[u8]) -> String {
    let parsed = Batch::parse(Bytes::copy_from_slice(bytes));
    if let Ok(batch) = &parsed {
        for command in batch.commands() {
            assert!(batch.data().get(command.payload.clone()).is_some(), "a payload lies within");
        }
    }
    said(&parsed)
}

/// A snapshot file, or etcd's backend.
fn bbolt(bytes: &[u8]) -> String {
    let opened = Reader::open(bytes);
    let Ok(reader) = &opened else { return said(&opened) };
    let mut pairs = 0;
    let buckets = reader.buckets();
    let Ok(names) = &buckets else { return said(&buckets) };
    for name in names {
        let bucket = reader.bucket(name);
        let Ok(Some(mut cursor)) = bucket else { return "no bucket".to_owned() };
        loop {
            let pair = cursor.next_pair();
            match pair {
                Ok(Some(_)) => pairs += 1,
                Ok(None) => break,
                Err(error) => return error.to_string(),
            }
        }
    }
    let backend = Backend::open(bytes).and_then(|backend| backend.versions(&mut |_| Ok(())));
    format!("{} buckets, {}, {}", names.len(), if pairs > 0 { "pairs" } else { "empty" }, said(&backend))
}

/// A change of who votes, in an entry.
fn conf_change(bytes: &[u8]) -> String {
    let decoded = ConfChange::decode(&Bytes::copy_from_slice(bytes));
    if let Ok(change) = &decoded {
        assert_eq!(ConfChange::decode(&change.encode()).as_ref(), Ok(change), "it is read as it is written");
    }
    said(&decoded)
}

/// `--config-file`: YAML or JSON.
fn config_file(bytes: &[u8]) -> String {
    let values = flags::parse_file("windlass.conf", &text(bytes));
    match values.and_then(|values| windlass::startup::Config::from_values(&values, 2)) {
        Ok(_) => "taken".to_owned(),
        Err(flags::Error::Usage(why) | flags::Error::Configuration(why)) => why,
    }
}

/// The command line, a word a line; words that begin with `ETCD_` are the environment.
fn command_line(bytes: &[u8]) -> String {
    let text = text(bytes);
    let (mut arguments, mut environment) = (Vec::new(), Vec::new());
    for line in text.lines() {
        match line.split_once('=').filter(|_| line.starts_with("ETCD_")) {
            Some((name, value)) => environment.push((name.to_owned(), value.to_owned())),
            None => arguments.push(line.to_owned()),
        }
    }
    let values = match flags::parse(&arguments, &environment) {
        Ok(flags::Command::Start(values)) => windlass::startup::Config::from_values(&values, 2).map(drop),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    match values {
        Ok(()) => "taken".to_owned(),
        Err(flags::Error::Usage(why) | flags::Error::Configuration(why)) => why,
    }
}

/// With the checksum that a header has in its last four bytes made right, so that what is behind it is reached, too.
fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some((head, checksum)) = bytes.split_at_mut_checked(CHECKSUM_AT)
        && let Some(checksum) = checksum.first_chunk_mut()
    {
        *checksum = crc32fast::hash(head).to_le_bytes();
    }
    bytes
}

/// The header of a frame of any log.
fn frame_header(bytes: &[u8]) -> String {
    let read = |bytes: &[u8]| match Header::read(bytes) {
        Ok(header) => format!("header, body {}", header.body(bytes).is_some()),
        Err(fault) => format!("{fault:?}"),
    };
    format!("{}, {}", read(bytes), read(&with_checksum(bytes)))
}

/// Whatever a server may send to a client that has some requests open.
fn http2_client(bytes: &[u8]) -> String {
    let now = Instant::now();
    let mut client = ClientSession::new(&Settings::default(), now).expect("a session");
    let mut out = Vec::new();
    for _ in 0..3 {
        client.request_whole(seeds::REQUEST, b"x").expect("it opens");
    }
    client.send(&mut out, usize::MAX).expect("it sends");
    let taken = client.recv(bytes, now);
    let mut told = String::new();
    while let Some(ready) = client.next_ready() {
        let body = client.body(ready.stream).map_or(0, <[u8]>::len);
        told.push_str(&format!("{}{}{} ", ready.head, ready.end, body.min(1)));
    }
    let sent = client.send(&mut out, usize::MAX);
    format!("{} {} {told}", said(&taken), said(&sent))
}

/// Whatever a client may send to a server, behind its greeting.
fn http2_server(bytes: &[u8]) -> String {
    let now = Instant::now();
    let mut server = ServerSession::new(&Settings::default(), now).expect("a session");
    let taken = server.recv(bytes, now);
    let mut heads = String::new();
    while let Some(ready) = server.next_ready() {
        heads.push_str(if ready.end { "end " } else { "head " });
        let _ = (server.head(ready.stream), server.body(ready.stream));
    }
    let mut out = Vec::new();
    let sent = server.send(&mut out, usize::MAX);
    format!("{} {} {heads}", said(&taken), said(&sent))
}

/// A request of the gateway: a path, a newline, a body.
fn json(bytes: &[u8]) -> String {
    thread_local!(static TRANSCODER: Transcoder = Transcoder::new());
    let text = text(bytes);
    let (path, body) = text.split_once('\n').unwrap_or((PATHS[0].0, &text));
    let Some(name) = method_of(path) else { return "no such path".to_owned() };
    TRANSCODER.with(|transcoder| {
        let method = transcoder.method(name).expect("every path has a method");
        let decoded = method.decode(body.as_bytes()).map_err(|error| error.0);
        // What came of the request is, of some methods, a response of the same fields; of others it is refused.
        let encoded = decoded.as_ref().map(|message| method.encode(message, &mut Vec::new()).is_ok());
        format!("{name} {}", encoded.map_or_else(|why| why.clone(), |ok| ok.to_string()))
    })
}

/// What a client sends to a stream of the gateway.
fn json_stream(bytes: &[u8]) -> String {
    let mut splitter = Splitter::default();
    let mut values = 0;
    for part in bytes.chunks(7) {
        splitter.feed(part);
        while splitter.next_value().is_some() {
            values += 1;
        }
    }
    format!("{values} {:?}", splitter.finish().is_ok())
}

/// What a follower asks of its leader, and what it is told.
fn lease_asks(bytes: &[u8]) -> String {
    let (asks, answers) = (LeaseAsk::decode_all(bytes), LeaseAnswer::decode_all(bytes));
    if let Some(asks) = &asks {
        assert_eq!(LeaseAsk::decode_all(&LeaseAsk::encode_all(asks)).as_ref(), Some(asks));
    }
    format!("{:?} {:?}", asks.map(|asks| asks.len()), answers.map(|answers| answers.len()))
}

/// The body of a frame of the Raft log.
fn log_frame(bytes: &[u8]) -> String {
    let parsed = log::Frame::parse(&Bytes::copy_from_slice(bytes));
    parsed.map_or_else(|error| error.to_string(), |frame| format!("{} entries", frame.entries.len().min(3)))
}

fn manifest(bytes: &[u8]) -> String {
    let decoded = Manifest::decode(bytes);
    if let Ok(manifest) = &decoded {
        assert_eq!(Manifest::decode(manifest.encode().as_bytes()).ok().as_ref(), Some(manifest));
    }
    said(&decoded)
}

/// Records of the frames between members: a byte that says which, and the record.
fn peer_records(bytes: &[u8]) -> String {
    let Some((which, record)) = bytes.split_first() else { return String::new() };
    match which % 12 {
        0 => reread::<peer::Hello>(record),
        1 => reread::<peer::HelloReply>(record),
        2 => reread::<peer::Raft>(record),
        3 => reread::<peer::ForwardRefused>(record),
        4 => reread::<peer::Ask>(record),
        5 => reread::<peer::Answer>(record),
        6 => reread::<peer::Ping>(record),
        7 => reread::<peer::BulkOpen>(record),
        8 => reread::<peer::BulkOpened>(record),
        9 => reread::<peer::BulkChunk>(record),
        10 => reread::<peer::BulkCredit>(record),
        _ => reread::<peer::BulkAbort>(record),
    }
}

/// What was read is read again as it is written.
fn reread<R: Record + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> String {
    let parsed = R::parse(bytes);
    if let Ok(record) = &parsed {
        let mut fbb = FlatBufferBuilder::new();
        record.encode(&mut fbb);
        assert_eq!(R::parse(fbb.finished_data()).ok().as_ref(), Some(record));
    }
    said(&parsed)
}

/// Requests of clients: a byte that says which, and the message. They are checked, too, and what is read where it lies must be
/// right.
fn protobuf(bytes: &[u8]) -> String {
    let Some((which, message)) = bytes.split_first() else { return String::new() };
    match which % 5 {
        0 => {
            let checked = PutRequest::decode(message).map(|m| checks::check_put(&m));
            assert!(PutView::scan(message).is_none() || checked == Ok(Ok(())), "{checked:?}");
            checked.map_or_else(|e| e.to_string(), |checked| said(&checked))
        }
        1 => {
            let checked = RangeRequest::decode(message).map(|m| checks::check_range(&m));
            assert!(GetView::scan(message).is_none() || checked == Ok(Ok(())), "{checked:?}");
            checked.map_or_else(|e| e.to_string(), |checked| said(&checked))
        }
        2 => DeleteRangeRequest::decode(message)
            .map_or_else(|e| e.to_string(), |m| said(&checks::check_delete(&m))),
        3 => {
            let decoded = TxnRequest::decode(message);
            let checked = decoded.as_ref().map(|m| checks::check_txn(m, TXN_OPS_MAX));
            assert!(UpdateView::scan(message).is_none() || checked == Ok(Ok(())), "{checked:?}");
            let text = checked.map_or_else(ToString::to_string, |checked| said(&checked));
            let read = Transaction::decode_txn(Bytes::copy_from_slice(message)).ok();
            assert_eq!(
                read,
                decoded.ok().and_then(|m| Transaction::from_txn(m).ok()),
                "it is read as prost reads it"
            );
            text
        }
        _ => said(&WatchRequest::decode(message)),
    }
}

/// Block 0 of a segment.
fn segment_header(bytes: &[u8]) -> String {
    let read = |bytes: &[u8]| match BlockZero::read(bytes) {
        BlockZero::Unused => "unused".to_owned(),
        BlockZero::Header(_) => "header".to_owned(),
        BlockZero::Bad(fault) => format!("{fault:?}"),
    };
    format!("{}, {}", read(bytes), read(&with_checksum(bytes)))
}

/// `windlass.settings`.
fn settings(bytes: &[u8]) -> String {
    let text = text(bytes);
    said(&flags::settings::parse(&text))
}

/// The place of a snapshot, and a frame of the sequencer's stream.
fn state(bytes: &[u8]) -> String {
    said(&State::parse(bytes))
}

/// The body of a frame of a shard's stream, and a piece of a snapshot: loaded as a start does.
fn wal_frame(bytes: &[u8]) -> String {
    let parsed = wal::Frame::parse(Bytes::copy_from_slice(bytes));
    let Ok(frame) = &parsed else { return said(&parsed) };
    let mut content = Content::default();
    frame.records().for_each(|record| content.load(&record));
    "loaded".to_owned()
}
