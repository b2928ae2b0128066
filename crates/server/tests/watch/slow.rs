//! Clients that do not read: they cost the server neither memory nor writes, and miss nothing.

use windlass_api::etcdserverpb::WatchCreateRequest;

use crate::process::{Launch, Scratch};
use crate::store::{fill, put};
use crate::stream::{WatchStream, keys, of_prefix};

/// Keys of one round; each has [`VALUE_BYTES`].
const KEYS: usize = 20_000;
const ROUNDS: usize = 4;
const VALUE_BYTES: usize = 1000;

/// Streams that do not read.
const STREAMS: usize = 30;

/// What the streams may cost together. Were everything kept for each of them, it would be 30 times 80 MB.
const STREAMS_KIB_MAX: u64 = 80 << 10;

#[test]
fn who_does_not_read_costs_no_memory_and_misses_nothing() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--shards=2").member();
    let open = || {
        let mut stream = WatchStream::open(member.endpoint(), &[]);
        stream.create(WatchCreateRequest { prev_kv: true, ..of_prefix(b'k') });
        stream
    };
    let write = || (0..ROUNDS).for_each(|_| fill(&member, "k", KEYS, VALUE_BYTES));
    write();
    let resident_kib = || member.metric("process_resident_memory_bytes") as u64 >> 10;
    let before = resident_kib();
    let mut streams: Vec<_> = (0..STREAMS).map(|_| open()).collect();
    write();
    // What is stored in the second half is as much as in the first; the rest of the growth is the streams'.
    let stored = (ROUNDS * KEYS * VALUE_BYTES / 1024) as u64;
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < stored * 3 / 2 + STREAMS_KIB_MAX, "grown by {grown} KiB for {stored} KiB stored");
    assert!(member.metric("etcd_debugging_mvcc_slow_watcher_total") >= 1.0, "they are behind");
    let per_revision = 128;
    for stream in &mut streams[..2] {
        let (mut seen, mut last) = (0, 0);
        while seen < ROUNDS * KEYS {
            let response = stream.next();
            let revisions: Vec<i64> = keys(&response).iter().map(|(_, revision)| *revision).collect();
            assert!(revisions.is_sorted() && revisions[0] > last, "a revision is not divided");
            assert!(revisions.len() >= per_revision || revisions.len() == KEYS % per_revision);
            assert!(response.events.iter().all(|event| event.prev_kv.is_some()));
            last = *revisions.last().expect("events");
            seen += revisions.len();
        }
        assert_eq!(seen, ROUNDS * KEYS, "each event once");
    }
    drop(streams);
    let mut stream = open();
    member.client().put(&put("k", "last")).unwrap();
    assert_eq!(keys(&stream.next()).len(), 1, "and others go on");
}
