//! Starts that must be refused, with the real binary: the documented exit code, one sentence that names the cause and
//! the remedy, and nothing written.

mod damage;
mod flags;
mod folder;
mod listing;
mod machine;
#[path = "../process/mod.rs"]
mod process;

use std::path::Path;

use windlass_api::etcdserverpb::PutRequest;

use crate::listing::listing;
use crate::process::{Launch, Scratch};

/// Longer output than this is not one sentence, in bytes.
const SENTENCE_BYTES_MAX: usize = 600;

/// Runs what must be refused with `code`, saying each of `parts`, and leaving everything below `scratch` as it was.
fn refused(scratch: &Scratch, launch: Launch, code: i32, parts: &[&str]) {
    // The output of the process is below the folder too.
    let of_data = |root: &Path| listing(&root.join("data"));
    let before = of_data(scratch.path());
    let ended = launch.ended(code);
    let sentences: Vec<&str> = ended.output.lines().filter(|line| line.contains(parts[0])).collect();
    let [sentence] = sentences[..] else { panic!("not one sentence with {:?}:\n{}", parts[0], ended.output) };
    for part in parts {
        assert!(sentence.contains(part), "`{part}` is missing: {sentence}");
    }
    assert!(sentence.len() <= SENTENCE_BYTES_MAX, "{} bytes: {sentence}", sentence.len());
    assert_eq!(of_data(scratch.path()), before, "the refusal changed something");
}

/// A folder with the data of a member that took `puts` puts of 100 kB, and the number of keys in it. The shards have what
/// was put, so the Raft log does not go back to its beginning.
fn used(puts: usize) -> (Scratch, i64) {
    let scratch = Scratch::new();
    let member = Launch::new(scratch.path()).flag("--wal-segment-bytes=4194304").flag("--shards=1").member();
    let mut client = member.client();
    let mut keys = 0;
    // What is put last tells the log that what was put first is not needed any more.
    while keys <= puts || member.metric("windlass_stable_index") <= puts as f64 {
        let size = if keys < puts { 100_000 } else { 1 };
        let key = format!("key{keys}").into();
        let put = PutRequest { key, value: vec![b'v'; size].into(), ..PutRequest::default() };
        client.put(&put).expect("the member takes it");
        keys += 1;
    }
    // A client that is idle and does not look would be waited for.
    drop(client);
    assert_eq!(member.stop_gracefully().code(), 143);
    (scratch, i64::try_from(keys).expect("few"))
}
