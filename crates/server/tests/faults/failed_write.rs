//! A write that fails: the process ends with its code, and what it acknowledged is there at the next start.
//!
//! The kernel is made to refuse writes beyond a position in any file (`RLIMIT_FSIZE`, set while the member runs), which
//! is a write error like any other: what the log meets is a failed completion of its ring.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use windlass_client::Error;

use crate::ledger::Ledger;
use crate::process::{Launch, Scratch};

/// The signal that goes with such an error would end the process before it sees the error.
const WITHOUT_SIGNAL: [&str; 3] = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];

/// A member with these flags, whose writes beyond `limit_bytes` fail, ends with 30, says `what` failed, and starts again
/// with everything.
fn fails(flags: &[&str], limit_bytes: u64, what: &str) {
    let scratch = Scratch::new();
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let launch = || Launch::new(scratch.path()).flag("--shards=1").flags(&flags);
    let member = launch().through(&WITHOUT_SIGNAL).member();
    let mut ledger = Ledger::new(0, 50_000);
    let mut client = member.client_within(Duration::from_secs(2));
    for _ in 0..5 {
        ledger.put(&mut client).expect("nothing is wrong yet");
    }
    let limit = Rlimit { current: Some(limit_bytes), maximum: getrlimit(Resource::Fsize).maximum };
    prlimit(Some(member.pid()), Resource::Fsize, limit).expect("the limit of a child can be set");
    let error = ledger.put_until_error(&mut client);
    assert!(!matches!(error, Error::Status { .. }), "the process ends, it does not answer: {error}");
    let ended = member.ended();
    assert_eq!(ended.code(), 30, "{}", ended.output);
    let fatal = ended.output.lines().rfind(|line| line.contains(r#""level":"fatal""#));
    assert!(fatal.is_some_and(|line| line.contains(what)), "no reason:\n{}", ended.output);

    let member = launch().member();
    let mut client = member.client();
    ledger.check(&mut client);
    ledger.put(&mut client).expect("the disk is sound again");
}

#[test]
fn a_failed_write_of_the_raft_log_ends_the_process() {
    // The shard writes nothing in the time of this test.
    fails(
        &["--shard-flush-interval=1h", "--shard-flush-bytes=16777216"],
        1 << 20,
        "a write to the raft log failed",
    );
}

#[test]
fn a_failed_write_of_a_shard_ends_the_process() {
    // Segments of the Raft log end before the limit, those of the shard behind it.
    fails(&["--wal-segment-bytes=4194304"], 5 << 20, "shard 0");
}
