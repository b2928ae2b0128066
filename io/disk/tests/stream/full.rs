//! A disk without room: the stream goes on in memory, says when that must end, and catches up.

use windlass_io_disk::sim::SimDisk;
use windlass_io_log::ids::Identity;
use windlass_io_log::stream::{BUFFER_BYTES_MAX, Options, RETRY_NS, Request, ShardHistory, ShardStream};
use windlass_records::wal::{Live, Version};
use windlass_types::{LeaseId, LogIndex, Revision};

const SEGMENT_BYTES: usize = 4 << 20;
const VALUE_BYTES: usize = 256 << 10;
const ROOM_BYTES: usize = 1 << 30;

struct Shard {
    disk: SimDisk,
    stream: ShardStream,
    requests: Vec<Request>,
    now_ns: u64,
    index: LogIndex,
}

impl Shard {
    fn append(&mut self, value: &[u8]) {
        self.index = self.index.next();
        let revision = Revision(self.index.0 as i64 + 1);
        let live = Live { create_revision: revision, version: 1, lease: LeaseId(0), value };
        self.stream.append(&Version { index: self.index, revision, sub: 0, key: b"key", live: Some(live) });
        self.stream.advance(self.index);
    }

    /// Time passes, and every operation ends.
    fn pass(&mut self, nanos: u64) {
        self.now_ns += nanos;
        self.stream.tick(self.now_ns, &mut self.requests);
        loop {
            self.disk.submit(self.requests.drain(..).map(|request| request.op));
            let Some(done) = self.disk.complete() else { return };
            self.stream.complete(done, &mut self.requests).unwrap();
        }
    }
}

#[test]
fn a_full_disk_stops_durability_then_writes_and_both_come_back() {
    let options = Options { segment_bytes: SEGMENT_BYTES, ..Options::shard(Identity(1)) };
    let mut disk = SimDisk::new(1, SEGMENT_BYTES);
    let history = ShardHistory::open(options, &mut disk).unwrap();
    let stream = history.start(&mut disk, LogIndex(0)).unwrap();
    let mut shard = Shard { disk, stream, requests: Vec::new(), now_ns: 0, index: LogIndex(0) };
    let value = vec![7; VALUE_BYTES];

    while !shard.stream.is_full() {
        shard.append(&value);
        shard.pass(options.flush_age_ns);
        assert!(shard.index.0 < (2 * (BUFFER_BYTES_MAX + SEGMENT_BYTES) / VALUE_BYTES) as u64, "no bound");
    }
    let durable = shard.stream.durable_index();
    assert!(LogIndex(0) < durable && durable < shard.index, "one segment of room, and no more: {durable}");
    let held = (shard.index.0 - durable.0) as usize * VALUE_BYTES;
    assert!((BUFFER_BYTES_MAX..BUFFER_BYTES_MAX + (2 << 20)).contains(&held), "{held}");
    shard.pass(RETRY_NS);
    assert_eq!((shard.stream.durable_index(), shard.stream.is_full()), (durable, true));

    shard.disk.set_capacity(ROOM_BYTES);
    assert!(
        shard.stream.deadline_ns().is_some_and(|at| at <= shard.now_ns + RETRY_NS),
        "it tries again by itself"
    );
    shard.pass(RETRY_NS);
    shard.pass(options.flush_age_ns);
    assert_eq!((shard.stream.durable_index(), shard.stream.is_full()), (shard.index, false));
}
