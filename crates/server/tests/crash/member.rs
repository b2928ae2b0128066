//! A member process over a folder that outlives it.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::RangeRequest;
use windlass_client::{Client, Config};

/// How long a start, recovery included, may take.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a graceful stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A running member.
pub struct Member {
    process: Child,
    endpoint: String,
    log: PathBuf,
}

impl Member {
    /// Starts a member on the folder and waits until it answers.
    pub fn start(folder: &Path, flags: &[String]) -> Self {
        let (client, peer) = (free_address(), free_address());
        let log = folder.join("log.txt");
        let output = OpenOptions::new().create(true).append(true).open(&log).expect("a log file");
        let process = Command::new(env!("CARGO_BIN_EXE_windlass"))
            .arg("--data-dir")
            .arg(folder.join("data"))
            .args(["--listen-client-urls", &format!("http://{client}")])
            .args(["--advertise-client-urls", &format!("http://{client}")])
            .args(["--listen-peer-urls", &format!("http://{peer}")])
            .args(["--log-level", "warn"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the member's binary starts");
        let mut member = Self { process, endpoint: client, log };
        member.wait_until_ready();
        member
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let request = RangeRequest { key: "k".into(), ..RangeRequest::default() };
            let Err(error) = self.client_within(Duration::from_millis(500)).range(&request) else { return };
            if let Some(status) = self.process.try_wait().expect("the process can be waited for") {
                panic!("the member ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "the member does not answer: {error}\n{}", self.log());
        }
    }

    /// A client of this member.
    pub fn client(&self) -> Client {
        self.client_within(Duration::from_secs(10))
    }

    fn client_within(&self, timeout: Duration) -> Client {
        let endpoints = vec![self.endpoint.clone()];
        let config = Config { endpoints, dial_timeout: timeout, command_timeout: timeout };
        Client::new(&config).expect("a valid endpoint")
    }

    /// Ends the process at once, as a crash does.
    pub fn kill(mut self) {
        self.process.kill().expect("the process can be killed");
        self.process.wait().expect("the process can be waited for");
    }

    /// Asks the process to end, and waits for it.
    pub fn stop_gracefully(mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("the process can be signalled");
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.process.try_wait().expect("the process can be waited for").is_none() {
            assert!(Instant::now() < deadline, "the member does not stop:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    fn log(&self) -> String {
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

/// An address whose port was free a moment ago.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address").to_string()
}
