//! Real processes for the tests of this folder and for `windlass-torture`: members over folders that outlive them, and
//! starts that must fail.
//!
//! Nothing here waits for a fixed time: every wait is for a condition, with a deadline.

#![allow(dead_code, reason = "each test that shares this file uses its part of it")]

#[path = "../../../../bench/src/ports.rs"]
mod ports;

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use windlass_api::etcdserverpb::RangeRequest;
use windlass_client::{Client, Config, Connection};

/// How long a start, recovery included, may take.
pub const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a process may take to end, once it has a reason.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks at something that a test waits for.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The exit code for too little locked memory. A user's processes share the limit, and tests run at the same time: such
/// a start is tried again.
const NO_LOCKED_MEMORY: i32 = 21;

/// What is to be started.
pub struct Launch {
    /// The program and its arguments so far.
    words: Vec<String>,
    environment: Vec<(String, String)>,
    endpoint: String,
    log: PathBuf,
}

impl Launch {
    /// A member with its data in `folder/data` and its output in `folder/log.txt`, on ports of its own.
    pub fn new(folder: &Path) -> Self {
        let (client, peer) = (free_address(), free_address());
        Self::bare(folder)
            .flag(format!("--data-dir={}", folder.join("data").display()))
            .flag(format!("--listen-client-urls=http://{client}"))
            .flag(format!("--advertise-client-urls=http://{client}"))
            .flag(format!("--listen-peer-urls=http://{peer}"))
            .flag("--log-level=warn")
            .at(client)
    }

    /// A member with no flags at all.
    pub fn bare(folder: &Path) -> Self {
        Self {
            words: vec![program()],
            environment: Vec::new(),
            endpoint: String::new(),
            log: folder.join("log.txt"),
        }
    }

    /// With the address, `host:port`, at which it will listen for clients.
    pub fn at(self, endpoint: String) -> Self {
        Self { endpoint, ..self }
    }

    /// Another server that takes the same flags.
    pub fn program(mut self, program: &Path) -> Self {
        program.to_str().expect("a plain path").clone_into(&mut self.words[0]);
        self
    }

    /// With one more flag; a later one wins over an earlier one of the same name.
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.words.push(flag.into());
        self
    }

    /// With more flags.
    pub fn flags(mut self, flags: &[String]) -> Self {
        self.words.extend_from_slice(flags);
        self
    }

    /// With a variable in its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Started by another program, whose arguments end with the member's command line.
    pub fn through(mut self, program: &[&str]) -> Self {
        self.words.splice(0..0, program.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Where it will listen for clients, `host:port`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Starts it and does not wait.
    pub fn spawn(&self) -> Member {
        let output = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log file");
        let process = Command::new(&self.words[0])
            .args(&self.words[1..])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", self.words));
        Member { process, endpoint: self.endpoint.clone(), log: self.log.clone() }
    }

    /// Starts it and waits until it answers.
    pub fn member(self) -> Member {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let mut member = self.spawn();
            let Some(status) = member.wait_until_ready() else { return member };
            let again = status.code() == Some(NO_LOCKED_MEMORY) && Instant::now() < deadline;
            assert!(again, "the member ended with {status}:\n{}", member.log());
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Starts it and waits until `is_ready`, for a member that does not answer without TLS.
    pub fn member_when(self, is_ready: impl Fn() -> bool) -> Member {
        let deadline = Instant::now() + START_TIMEOUT;
        let mut member = self.spawn();
        while !is_ready() {
            let status = member.process.try_wait().expect("the process can be waited for");
            if status.is_some_and(|status| status.code() == Some(NO_LOCKED_MEMORY)) {
                member = self.spawn();
            } else if let Some(status) = status {
                panic!("the member ended with {status}:\n{}", member.log());
            }
            assert!(Instant::now() < deadline, "the member is not ready:\n{}", member.log());
            std::thread::sleep(LOOK_INTERVAL);
        }
        member
    }

    /// Starts what must end by itself, with `code`, and waits for that.
    pub fn ended(self, code: i32) -> Ended {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            // Only what this start says.
            let _ = std::fs::remove_file(&self.log);
            let ended = self.spawn().ended();
            if code == NO_LOCKED_MEMORY || ended.code() != NO_LOCKED_MEMORY || Instant::now() > deadline {
                assert_eq!(ended.code(), code, "{}", ended.output);
                return ended;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// By itself or by a signal.
    pub status: ExitStatus,
    /// All that was printed or logged.
    pub output: String,
}

impl Ended {
    /// The exit code, as a shell shows it.
    pub fn code(&self) -> i32 {
        let by_signal = || self.status.signal().map(|signal| 128 + signal);
        self.status.code().or_else(by_signal).expect("a code or a signal")
    }
}

/// A running member.
pub struct Member {
    process: Child,
    endpoint: String,
    log: PathBuf,
}

impl Member {
    /// Starts a member on the folder and waits until it answers.
    pub fn start(folder: &Path, flags: &[String]) -> Self {
        Launch::new(folder).flags(flags).member()
    }

    /// Waits until it answers; or until it has ended, and says how.
    pub fn wait_until_ready(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let request = RangeRequest { key: "k".into(), ..RangeRequest::default() };
            let Err(error) = self.client_within(Duration::from_millis(500)).range(&request) else {
                return None;
            };
            let status = self.process.try_wait().expect("the process can be waited for");
            if status.is_some() {
                return status;
            }
            assert!(Instant::now() < deadline, "the member does not answer: {error}\n{}", self.log());
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Where it listens for clients, `host:port`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A new connection to this member.
    pub fn connect(&self) -> Connection {
        let endpoint = self.endpoint.parse().expect("an address is an endpoint");
        Connection::open(&endpoint, REQUEST_TIMEOUT).expect("the member accepts")
    }

    /// A client of this member.
    pub fn client(&self) -> Client {
        self.client_within(REQUEST_TIMEOUT)
    }

    /// A client of this member that waits no longer than `timeout`, also for a member that is gone.
    pub fn client_within(&self, timeout: Duration) -> Client {
        let endpoints = vec![self.endpoint.clone()];
        let config = Config { endpoints, dial_timeout: timeout, command_timeout: timeout };
        Client::new(&config).expect("a valid endpoint")
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(&self.endpoint).expect("the member accepts");
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.endpoint);
        stream.write_all(request.as_bytes()).expect("the member takes the request");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("the member answers and closes");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|text| text.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in:\n{page}"))
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("the process can be waited for")
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Ends the process at once, as a crash does.
    pub fn kill(mut self) {
        self.process.kill().expect("the process can be killed");
        self.process.wait().expect("the process can be waited for");
    }

    /// Asks the process to end.
    pub fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the process can be signalled");
    }

    /// Asks the process to end, and waits for it.
    pub fn stop_gracefully(self) -> Ended {
        self.terminate();
        self.ended()
    }

    /// Waits until the process has ended.
    pub fn ended(mut self) -> Ended {
        let deadline = Instant::now() + END_TIMEOUT;
        loop {
            if let Some(status) = self.process.try_wait().expect("the process can be waited for") {
                return Ended { status, output: self.log() };
            }
            assert!(Instant::now() < deadline, "the process does not end:\n{}", self.log());
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// All that was printed or logged on this folder.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after the wait.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder on a disk. One that a test makes goes with it, unless the test fails.
pub struct Scratch {
    path: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Scratch {
    /// An empty folder.
    pub fn new() -> Self {
        let parent = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::tempdir_in(parent).expect("a temporary folder");
        Self { path: folder.path().to_owned(), temporary: Some(folder) }
    }

    /// A folder that is there, and stays.
    pub fn kept(path: &Path) -> Self {
        Self { path: path.to_owned(), temporary: None }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &mut self.temporary
            && std::thread::panicking()
        {
            folder.disable_cleanup(true);
            eprintln!("the member's folder is kept: {}", self.path.display());
        }
    }
}

/// The program of a member: for a test the one that cargo built for it, for a tool the one that it was told of, or else
/// that beside its own.
pub fn program() -> String {
    let beside = || {
        let own = std::env::current_exe().expect("a process knows its program");
        own.with_file_name("windlass").to_str().expect("a plain path").to_owned()
    };
    let told = std::env::var("WINDLASS_PROGRAM").ok();
    option_env!("CARGO_BIN_EXE_windlass").map(str::to_owned).or(told).unwrap_or_else(beside)
}

/// The folder with a real etcd 3.5.1 and its etcdctl; `None` after saying what is missing.
pub fn etcd_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("WINDLASS_ETCD_DIR").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: WINDLASS_ETCD_DIR does not name a folder with etcd and etcdctl 3.5");
    }
    folder
}

/// Whether a program can be run here; says so where it cannot, and what is skipped for it.
pub fn can_run(program: &str, what_for: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        eprintln!("skipped: there is no `{program}` here, {what_for}");
    }
    found.is_ok()
}

/// Lets this process, and what it starts, have as many descriptors open as it may. How many.
pub fn raise_descriptors() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("a process may take what it may");
    maximum.unwrap_or(u64::MAX)
}

/// An address that nobody listens on, and that nobody takes meanwhile.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", ports::Port::free().expect("a free port").keep())
}
