//! Machines that lack something: addresses, io_uring, memory that may be locked, a filesystem for direct I/O.

use std::net::TcpListener;
use std::path::Path;

use windlass_api::etcdserverpb::{PutRequest, RangeRequest};

use crate::process::{Launch, Scratch, can_run};
use crate::refused;

#[test]
fn addresses_that_cannot_be_had_are_refused() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = format!("http://{}", taken.local_addr().expect("an address"));
    let launch = || Launch::new(scratch.path());
    for flag in ["--listen-client-urls", "--listen-metrics-urls"] {
        refused(&scratch, launch().flag(format!("{flag}={taken}")), 40, &["another process listens", &taken]);
    }
    // An address for documentation, of no machine (RFC 5737).
    let elsewhere = launch().flag("--listen-client-urls=http://192.0.2.1:2379");
    refused(&scratch, elsewhere, 41, &["no address of this machine", "192.0.2.1"]);
}

#[test]
fn a_folder_in_memory_is_refused() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        eprintln!("skipped: there is no /dev/shm here for a data folder in memory");
        return;
    }
    let folder = tempfile::tempdir_in(shm).expect("a folder in memory");
    let scratch = Scratch::new();
    let data = format!("{}", folder.path().join("data").display());
    for flag in ["--data-dir", "--wal-dir"] {
        let launch = Launch::new(scratch.path()).flag(format!("{flag}={data}"));
        refused(&scratch, launch, 22, &["in memory (tmpfs)", "on a disk"]);
        assert!(!Path::new(&data).exists(), "{flag}");
    }
}

#[test]
fn too_little_locked_memory_is_refused() {
    if !can_run("setpriv", "which takes away the right to raise limits")
        || !can_run("prlimit", "which sets a limit")
    {
        return;
    }
    let scratch = Scratch::new();
    // The limit is set while that is allowed, then the right to raise it is dropped.
    let bound =
        ["prlimit", "--memlock=65536", "setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"];
    let mut words = bound.to_vec();
    if !rustix::process::geteuid().is_root() {
        words.truncate(2);
    }
    let launch = Launch::new(scratch.path()).through(&words);
    refused(
        &scratch,
        launch,
        21,
        &["64 KiB", "LimitMEMLOCK=infinity", "ulimit -l unlimited", "--flush-depth", "windlass.settings"],
    );
}

/// Members of one user share what may be locked. The first takes most of it, and the second must serve without.
#[test]
fn members_share_what_may_be_locked() {
    if !can_run("setpriv", "which takes away the right to lock more")
        || !can_run("prlimit", "which sets a limit")
    {
        return;
    }
    let rights = "-sys_resource,-ipc_lock";
    let (bounding, inheritable) = (format!("--bounding-set={rights}"), format!("--inh-caps={rights}"));
    let mut words = vec!["prlimit", "--memlock=8388608", "setpriv", &bounding, &inheritable];
    if !rustix::process::geteuid().is_root() {
        words.truncate(2);
    }
    let scratches = [Scratch::new(), Scratch::new()];
    let start = |scratch: &Scratch| Launch::new(scratch.path()).flag("--shards=1").through(&words).member();
    let members = scratches.each_ref().map(start);
    let put = PutRequest { key: "k".into(), value: vec![b'v'; 100_000].into(), ..PutRequest::default() };
    for member in &members {
        member.client().put(&put).expect("it serves");
    }
    assert!(members[1].log().contains("too little memory may be locked"), "{}", members[1].log());
    for (member, scratch) in members.into_iter().zip(&scratches) {
        member.kill();
        let range = RangeRequest { key: "k".into(), ..RangeRequest::default() };
        assert_eq!(start(scratch).client().range(&range).expect("it serves").kvs[0].value, put.value);
    }
}

#[test]
fn a_kernel_without_io_uring_is_refused() {
    if !can_run("strace", "which makes a system call fail") {
        return;
    }
    let scratch = Scratch::new();
    let cases = [
        ("io_uring_setup", "EPERM", 20, "seccomp=unconfined"),
        ("io_uring_setup", "ENOSYS", 20, "Linux 5.19"),
        ("io_uring_register", "ENOMEM", 21, "LimitMEMLOCK=infinity"),
    ];
    for (call, error, code, remedy) in cases {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}"));
        let log = scratch.path().join("strace.txt");
        let log = log.to_str().expect("a plain path");
        let strace = ["strace", "-f", "-o", log, "-e", &trace, "-e", &inject];
        refused(&scratch, Launch::new(scratch.path()).through(&strace), code, &[remedy]);
        assert!(!scratch.path().join("data").exists());
    }
}
