//! A member that says how many blocks it has allocated.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::ALLOCATOR;
use crate::process::{Launch, Member};

/// Names the socket at which a member answers every connection with its count.
const COUNTS_AT: &str = "WINDLASS_TEST_COUNTS_AT";

/// Whether this process is a member; then it answers who asks for its count from now on.
pub fn serve_counts() -> bool {
    let Some(path) = std::env::var_os(COUNTS_AT) else { return false };
    let listener = UnixListener::bind(path).expect("a socket in the test's folder");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stats = ALLOCATOR.stats();
            let count = (stats.allocations + stats.reallocations) as u64;
            // The test may have ended.
            let _ = stream.and_then(|mut stream| stream.write_all(&count.to_be_bytes()));
        }
    });
    true
}

/// A member with an allocator that counts.
pub struct Counted {
    member: Member,
    socket: PathBuf,
}

impl Counted {
    /// Starts one on a folder and waits until it answers.
    pub fn start(folder: &Path, flags: &[String]) -> Self {
        let mut counted = Self::spawn(folder, flags);
        counted.wait();
        counted
    }

    /// Starts one and does not wait.
    pub fn spawn(folder: &Path, flags: &[String]) -> Self {
        let program = std::env::current_exe().expect("a process knows its program");
        let socket = folder.join("counts");
        let launch = Launch::new(folder)
            .program(&program)
            .variable(COUNTS_AT, socket.to_str().expect("a plain path"))
            .flags(flags)
            .flags(&["--net-threads=1", "--shards=1", "--wal-segment-bytes=8388608"].map(str::to_owned));
        Self { member: launch.spawn(), socket }
    }

    /// Waits until it answers.
    pub fn wait(&mut self) {
        let ended = self.member.wait_until_ready();
        assert!(ended.is_none(), "the member ended with {ended:?}:\n{}", self.member.log());
    }

    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Blocks that it has allocated, or made larger, since it was started.
    pub fn count(&self) -> u64 {
        let mut stream = UnixStream::connect(&self.socket).expect("the member listens");
        let mut count = [0; 8];
        stream.read_exact(&mut count).expect("the member answers");
        u64::from_be_bytes(count)
    }
}
