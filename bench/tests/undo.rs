//! What a signal undoes is not made anew meanwhile.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use windlass_bench::launch::{Cluster, Launch};
use windlass_bench::undo::{Undo, on_signals};

/// Names the folder, and that this is the process which a signal is to end.
const FOLDER: &str = "WINDLASS_TEST_UNDO_FOLDER";
/// How long what is undone waits for a server that must not be started.
const IN_VAIN: Duration = Duration::from_millis(500);
const TEST: &str = "no_server_is_started_while_a_signal_ends_the_process";

/// Gets a signal, and starts a server once that undoes things. What undoes the only one waits for the server.
fn end_and_start(folder: &Path) -> ! {
    let (begun, begins) = mpsc::channel();
    let (started, starts) = mpsc::channel();
    on_signals().expect("can be caught");
    let _undo = Undo::with(move || {
        begun.send(()).expect("is awaited");
        assert_eq!(starts.recv_timeout(IN_VAIN), Err(mpsc::RecvTimeoutError::Timeout));
    });
    kill_process(getpid(), Signal::TERM).expect("is this one");
    begins.recv().expect("comes");
    let program = Path::new("/bin/true");
    let launch = Launch { label: "late", program, nodes: 1, flags: &[], folder, throttle: None };
    let outcome = Cluster::start(&launch);
    // Nobody waits for it any more after the time.
    let _ = started.send(());
    panic!("it did not wait for the end: {:?}", outcome.map(drop));
}

#[test]
fn no_server_is_started_while_a_signal_ends_the_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        end_and_start(&PathBuf::from(folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut again = Command::new(std::env::current_exe().expect("has a program"));
    again.args(["--exact", TEST, "--nocapture"]).env(FOLDER, folder.path());
    let output = again.stdin(Stdio::null()).output().expect("runs");
    assert_eq!(output.status.signal(), Some(Signal::TERM.as_raw()), "{output:?}");
    let left = std::fs::read_dir(folder.path()).expect("is there").count();
    assert_eq!(left, 0, "the log of a server is there");
}
