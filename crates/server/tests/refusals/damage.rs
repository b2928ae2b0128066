//! Logs and shards that are damaged or missing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{Launch, Scratch};
use crate::{refused, used};

/// Puts enough for several segments of the Raft log.
const SEVERAL_SEGMENTS: usize = 2 * 42;

/// What stands behind a damaged file, or a missing one.
const ADVICE: &str = "restore it from a snapshot";

/// The segments that hold something, with all that they hold. Some are not needed any more, others are.
fn segments(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let all = files.map(|path| (path.clone(), fs::read(path).expect("a segment")));
    all.filter(|(_, bytes)| bytes[..FIRST_FRAME_AT].iter().any(|byte| *byte != 0)).collect()
}

/// Where a segment's first frame begins, in bytes.
const FIRST_FRAME_AT: usize = 4096;

/// Within the shortest body of a frame: behind its header, before the padding that no checksum covers. In bytes.
const IN_THE_BODY: usize = 64 + 16;

/// Changes one byte of the first frame's body in each segment of a folder, checks that the start is refused, and changes
/// it back.
fn with_damage(scratch: &Scratch, folder: &str, parts: &[&str]) {
    let sound = segments(&scratch.path().join("data").join(folder));
    for (path, bytes) in &sound {
        let mut bytes = bytes.clone();
        bytes[FIRST_FRAME_AT + IN_THE_BODY] ^= 1;
        fs::write(path, bytes).expect("written");
    }
    refused(scratch, Launch::new(scratch.path()), 15, parts);
    for (path, bytes) in &sound {
        fs::write(path, bytes).expect("written");
    }
}

/// Moves a file or folder away, checks that the start is refused, and puts it back.
fn without(scratch: &Scratch, path: &str, code: i32, parts: &[&str]) {
    let (path, aside) = (scratch.path().join("data").join(path), scratch.path().join("aside"));
    fs::rename(&path, &aside).expect("it is there");
    refused(scratch, Launch::new(scratch.path()), code, parts);
    fs::rename(&aside, &path).expect("it is put back");
}

#[test]
fn what_is_damaged_or_missing_is_refused_and_left_alone() {
    let (scratch, keys) = used(SEVERAL_SEGMENTS);
    let data = scratch.path().join("data");
    without(&scratch, "shards", 15, &["put the missing files back"]);
    without(&scratch, "log", 15, &["put the missing files back"]);
    without(&scratch, "shards/MANIFEST", 15, &["manifest", "put the file back"]);
    without(&scratch, "shards/1/0", 15, &["put the missing files back"]);
    without(&scratch, "shards/1/state", 15, &["put the missing files back"]);

    with_damage(&scratch, "log", &[".seg at byte 4096", ADVICE]);
    with_damage(&scratch, "shards/1/0", &["shards/1/0", ".seg at byte 4096", ADVICE]);
    with_damage(&scratch, "shards/1/state", &["shards/1/state", ".seg at byte 4096", ADVICE]);

    fs::write(data.join("log/photo"), "x").expect("a file");
    refused(&scratch, Launch::new(scratch.path()), 11, &["photo", "not a log segment"]);
    fs::remove_file(data.join("log/photo")).expect("removed");

    // After all that the member starts, and has everything.
    let member = Launch::new(scratch.path()).member();
    let all = windlass_api::etcdserverpb::RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        count_only: true,
        ..Default::default()
    };
    assert_eq!(member.client().range(&all).expect("it answers").count, keys);
}
