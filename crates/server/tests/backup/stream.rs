//! The stream itself.

use std::time::Instant;

use sha2::{Digest, Sha256};
use windlass_api::etcdserverpb::{SnapshotRequest, SnapshotResponse};
use windlass_api::method::maintenance;
use windlass_bbolt::Reader;

use crate::process::{Launch, Member, REQUEST_TIMEOUT, Scratch};
use crate::store::{fill, put};

/// All messages.
pub fn taken(member: &Member) -> Vec<SnapshotResponse> {
    let mut connection = member.connect();
    let deadline = Instant::now() + REQUEST_TIMEOUT * 3;
    let call =
        connection.begin(maintenance::SNAPSHOT, &SnapshotRequest {}, REQUEST_TIMEOUT * 3).expect("taken");
    let mut messages = Vec::new();
    while let Some(message) = connection.next(&call, deadline).expect("a whole stream") {
        messages.push(message);
    }
    messages
}

#[test]
fn blobs_a_countdown_and_a_hash() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--shards=2").member();
    for is_full in [false, true] {
        if is_full {
            fill(&member);
        }
        let mut messages = taken(&member);
        let hash = messages.pop().expect("a hash");
        let file: Vec<u8> = messages.iter().flat_map(|message| message.blob.to_vec()).collect();
        assert_eq!((hash.remaining_bytes, &hash.blob[..]), (0, &Sha256::digest(&file)[..]));
        assert_eq!(file.len() % 512, 0);
        let mut left = file.len() as u64;
        for (at, message) in messages.iter().enumerate() {
            left -= message.blob.len() as u64;
            assert_eq!((message.remaining_bytes, message.version.as_str()), (left, "3.6.0"));
            assert!(message.blob.len() == 32 << 10 || at + 1 == messages.len());
        }
        let names = Reader::open(&file[..]).expect("a bbolt file").buckets().expect("sound");
        assert_eq!(names.len(), 10, "{names:?}");
    }
    let left = std::fs::read_dir(folder.path().join("data/backup")).expect("the folder").count();
    assert_eq!(left, 0, "files are left");
}

/// A client that stops reading costs nobody anything; the number of snapshots at once is bounded, and one that is given up
/// makes room.
#[test]
fn clients_that_do_not_read_are_bounded() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--shards=2").member();
    for n in 0..40 {
        put(&member, &format!("large/{n}"), &vec![n; 1 << 20], 0);
    }
    let slow: Vec<_> = (0..2)
        .map(|_| {
            let mut connection = member.connect();
            let timeout = REQUEST_TIMEOUT * 3;
            let call = connection.begin(maintenance::SNAPSHOT, &SnapshotRequest {}, timeout).expect("taken");
            let first: SnapshotResponse =
                connection.next(&call, Instant::now() + timeout).expect("a stream").expect("a message");
            assert!(first.remaining_bytes > 30 << 20);
            (connection, call)
        })
        .collect();
    let refused = |member: &Member| {
        let mut connection = member.connect();
        let call =
            connection.begin(maintenance::SNAPSHOT, &SnapshotRequest {}, REQUEST_TIMEOUT).expect("sent");
        connection.next::<SnapshotResponse>(&call, Instant::now() + REQUEST_TIMEOUT).err()
    };
    let error = refused(&member).expect("two are under way");
    assert_eq!(error.to_string(), "etcdserver: too many requests");
    put(&member, "after", b"", 0);
    drop(slow);
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while let Some(error) = refused(&member) {
        assert!(Instant::now() < deadline, "{error}");
    }
}
