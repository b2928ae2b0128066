//! `KV.RangeStream`.

use std::sync::atomic::{AtomicBool, Ordering};

use windlass_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use windlass_api::etcdserverpb::{CompactionRequest, RangeRequest, RangeResponse, RangeStreamResponse};
use windlass_api::method::kv;
use windlass_client::{Client, Code, Error};

use crate::process::{Launch, Member, Scratch};
use crate::raw::{Raw, messages};
use crate::store::{fill, prefix, put};

/// The chunks of a stream.
fn stream(client: &mut Client, request: &RangeRequest) -> Result<Vec<RangeResponse>, Error> {
    let mut chunks = Vec::new();
    client.range_stream(request, |chunk| chunks.push(chunk)).map(|()| chunks)
}

/// One answer of the chunks, after a look at what only the last may have.
fn merge(chunks: Vec<RangeResponse>) -> RangeResponse {
    let (last, others) = chunks.split_last().expect("there is at least one chunk");
    for chunk in others {
        assert!(chunk.header.is_none() && !chunk.more && chunk.count == 0, "{:?}", chunk.header);
        assert!(!chunk.kvs.is_empty());
    }
    assert!(last.header.is_some());
    let kvs = chunks.iter().flat_map(|chunk| chunk.kvs.iter().cloned()).collect();
    RangeResponse { kvs, ..last.clone() }
}

fn revision(answer: &RangeResponse) -> i64 {
    answer.header.as_ref().map_or(0, |header| header.revision)
}

/// Lets a writer end with the test, however that ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_stream_is_a_range_of_one_revision_while_others_write() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--shards=2").member();
    fill(&member, "k", 5000, 100);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = member.client();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let key = format!("k{:07}", number * 37 % 6000);
                client.put(&put(key, "changed")).expect("written");
            }
        });
        let _stop = Stop(&stop);
        let mut client = member.client();
        for _ in 0..20 {
            let streamed = stream(&mut client, &prefix(b'k')).expect("streamed");
            assert!(streamed.len() > 1, "one chunk proves nothing");
            let streamed = merge(streamed);
            assert!(streamed.kvs.is_sorted_by(|a, b| a.key < b.key));
            // Who lists and then watches from this revision on must have missed nothing.
            let request = RangeRequest { revision: revision(&streamed), ..prefix(b'k') };
            let whole = client.range(&request).expect("read");
            assert_eq!(streamed.count, whole.count);
            assert!(!streamed.more && streamed.kvs == whole.kvs, "not what revision {} is", request.revision);
        }
    });
}

#[test]
fn options_mean_what_they_mean_in_a_range() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--shards=2").member();
    fill(&member, "k", 1000, 100);
    let mut client = member.client();
    client.put(&put("k0000500", "changed")).expect("written");
    let all = prefix(b'k');
    let options = [
        all.clone(),
        RangeRequest { limit: 1, ..all.clone() },
        RangeRequest { limit: 10, ..all.clone() },
        RangeRequest { limit: 333, ..all.clone() },
        RangeRequest { limit: 1000, ..all.clone() },
        RangeRequest { limit: -1, ..all.clone() },
        RangeRequest { count_only: true, ..all.clone() },
        RangeRequest { count_only: true, limit: 7, ..all.clone() },
        RangeRequest { keys_only: true, ..all.clone() },
        RangeRequest { serializable: true, ..all.clone() },
        RangeRequest { revision: 5, ..all.clone() },
        RangeRequest { sort_order: SortOrder::Ascend.into(), ..all.clone() },
        RangeRequest { range_end: "".into(), key: "k0000001".into(), ..all.clone() },
        RangeRequest { range_end: "\0".into(), key: "k0000900".into(), ..all.clone() },
        RangeRequest { range_end: "\0".into(), key: "\0".into(), ..all.clone() },
        RangeRequest { range_end: "a".into(), ..all.clone() },
        prefix(b'z'),
    ];
    for request in options {
        let chunks = stream(&mut client, &request).expect("streamed");
        assert!(!request.count_only || chunks.len() == 1);
        assert_eq!(merge(chunks), client.range(&request).expect("read"), "{request:?}");
    }
}

#[test]
fn what_a_stream_cannot_do_is_refused() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut client = member.client();
    client.put(&put("k", "v")).expect("written");
    let all = prefix(b'k');
    for request in [
        RangeRequest { sort_order: SortOrder::Descend.into(), ..all.clone() },
        RangeRequest { sort_target: SortTarget::Version.into(), ..all.clone() },
        RangeRequest { min_mod_revision: 1, ..all.clone() },
        RangeRequest { max_mod_revision: 1, ..all.clone() },
        RangeRequest { min_create_revision: 1, ..all.clone() },
        RangeRequest { max_create_revision: 1, ..all.clone() },
    ] {
        let error = stream(&mut client, &request).expect_err("refused");
        assert_eq!(error.code(), Some(Code::Unimplemented), "{request:?}");
    }
    for (request, code) in [
        (RangeRequest { key: "".into(), ..all.clone() }, Code::InvalidArgument),
        (RangeRequest { sort_order: 9, ..all.clone() }, Code::InvalidArgument),
        (RangeRequest { revision: 1000, ..all.clone() }, Code::OutOfRange),
    ] {
        let error = stream(&mut client, &request).expect_err("refused");
        assert_eq!(error.code(), Some(code), "{request:?}");
    }
}

/// Resident memory of the member, in bytes.
fn resident_bytes(member: &Member) -> u64 {
    let path = format!("/proc/{}/statm", member.pid().as_raw_nonzero());
    let statm = std::fs::read_to_string(path).expect("a process");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * rustix::param::page_size() as u64
}

/// Enough requests of another client that a stream which could go on has gone on.
fn let_time_pass(member: &Member) {
    let mut client = member.client();
    for _ in 0..200 {
        client.range(&RangeRequest { key: "a".into(), ..RangeRequest::default() }).expect("read");
    }
}

const LARGE_KEYS: usize = 1536;
const LARGE_VALUE_BYTES: usize = 10_000;

#[test]
fn slow_readers_cost_no_memory_and_lose_nothing() {
    const READERS: usize = 8;
    /// What is queued on a stream before it waits, a chunk of 1.5 MiB on top, and as much again for everything else.
    const READER_BYTES_MAX: u64 = 5 << 20;
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    fill(&member, "k", LARGE_KEYS, LARGE_VALUE_BYTES);
    let_time_pass(&member);
    let before = resident_bytes(&member);
    // Each would get 15 MB. The first bytes are read and no more: windows and the buffers of sockets fill.
    let mut readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut raw = Raw::connect(member.endpoint());
            let call = raw.call(kv::RANGE_STREAM, &prefix(b'k'));
            raw.first_bytes(call);
            (raw, call)
        })
        .collect();
    let_time_pass(&member);
    let grown = resident_bytes(&member).saturating_sub(before);
    assert!(grown < READERS as u64 * READER_BYTES_MAX, "{grown} bytes more for {READERS} slow readers");
    for (raw, call) in &mut readers {
        let answer = raw.answer(*call);
        let chunks = messages::<RangeStreamResponse>(&answer.body);
        let keys: usize = chunks.iter().flat_map(|chunk| &chunk.range_response).map(|r| r.kvs.len()).sum();
        assert_eq!((answer.code, keys), (Some(0), LARGE_KEYS));
    }
}

#[test]
fn a_compaction_ends_a_stream_that_is_behind_it() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    fill(&member, "k", LARGE_KEYS, LARGE_VALUE_BYTES);
    let mut raw = Raw::connect(member.endpoint());
    let call = raw.call(kv::RANGE_STREAM, &prefix(b'k'));
    raw.first_bytes(call);
    let mut client = member.client();
    let put = client.put(&put("k0000001", "changed")).expect("written");
    let revision = put.header.expect("a header").revision;
    client.compact(&CompactionRequest { revision, physical: true }).expect("compacted");
    let answer = raw.answer(call);
    let text = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!((answer.code, answer.text.as_str()), (Some(11), text));
}
