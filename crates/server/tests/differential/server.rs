//! A server process on ports of its own, in a folder of its own, that ends with its value.

#[path = "../../../../bench/src/ports.rs"]
mod ports;

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use windlass_api::etcdserverpb::RangeRequest;
use windlass_client::{Client, Config, Connection, Endpoint};

/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a server's log a failure shows, in bytes.
const LOG_BYTES_MAX: usize = 4000;

/// A running server.
pub struct Server {
    process: Child,
    endpoint: Endpoint,
    folder: tempfile::TempDir,
    name: String,
}

impl Server {
    /// Starts `program` with etcd's flags and waits until it answers a linearizable read.
    pub fn start(program: &Path) -> Self {
        Self::start_with(program, &[])
    }

    /// As [`start`](Self::start), with `flags` besides.
    pub fn start_with(program: &Path, flags: &[&str]) -> Self {
        // Not where temporary files are: that may be memory, which a member refuses.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let (client, peer) = (free_address(), free_address());
        let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
        let log = File::create(folder.path().join("log")).expect("a log file");
        let process = Command::new(program)
            .args(["--name", "default", "--data-dir"])
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}"), "--log-level", "warn"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let endpoint = client.parse().expect("an address is an endpoint");
        let server = Self { process, endpoint, folder, name: program.display().to_string() };
        server.wait_until_ready(&client);
        server
    }

    fn wait_until_ready(&self, endpoint: &str) {
        let config = Config {
            endpoints: vec![endpoint.to_owned()],
            dial_timeout: Duration::from_secs(1),
            command_timeout: START_TIMEOUT,
        };
        let mut client = Client::new(&config).expect("a valid endpoint");
        let answer = client.range(&RangeRequest { key: "k".into(), ..Default::default() });
        answer.unwrap_or_else(|error| panic!("the server does not answer: {error}\n{}", self.log()));
    }

    /// Where it listens, `host:port`.
    #[allow(dead_code)] // of the tests that share this file, not all use all of it
    pub fn address(&self) -> &str {
        self.endpoint.authority()
    }

    /// A new connection to the server.
    #[allow(dead_code)]
    pub fn connect(&self) -> Connection {
        Connection::open(&self.endpoint, START_TIMEOUT).expect("the server accepts")
    }

    /// The program that runs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the server logged from its panic on, or the end of its log.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let start = log.rfind("panic: ").unwrap_or_else(|| log.len().saturating_sub(LOG_BYTES_MAX));
        log.get(start..).unwrap_or(&log).chars().take(LOG_BYTES_MAX).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after the wait.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> String {
    format!("127.0.0.1:{}", ports::Port::free().expect("a free port").keep())
}
