//! A real etcd of one member.

#[path = "../../../../bench/src/ports.rs"]
mod ports;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use windlass_api::etcdserverpb::StatusRequest;
use windlass_client::{Client, Config};

/// An etcd that ends with this value.
pub struct Etcd {
    process: Child,
    /// As etcdctl takes it.
    pub endpoint: String,
    _folder: tempfile::TempDir,
}

impl Etcd {
    /// All are one member of equal ids, which come from the advertised URLs.
    pub fn start(program: &Path) -> Self {
        let etcd = Self::start_with(program, &[], "http");
        etcd.wait_until_ready();
        etcd
    }

    /// With further options; whoever starts it waits until it is ready.
    pub fn start_with(program: &Path, options: &[&str], scheme: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = || format!("http://127.0.0.1:{}", ports::Port::free().expect("a free port").keep());
        let (client, peer, advertised) = (url().replace("http", scheme), url(), "http://127.0.0.1:1");
        let process = Command::new(program)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", advertised])
            .args(["--initial-cluster", &format!("default={advertised}"), "--log-level", "error"])
            .args(options)
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        Self { process, endpoint: client.trim_start_matches("http://").to_owned(), _folder: folder }
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        let config = Config {
            endpoints: vec![self.endpoint.clone()],
            dial_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(20),
        };
        Client::new(&config).expect("a valid endpoint")
    }

    fn wait_until_ready(&self) {
        let mut client = self.client();
        // A linearizable read waits for a leader; the first member list follows the cluster's version.
        let ready =
            client.range(&windlass_api::etcdserverpb::RangeRequest { key: "k".into(), ..Default::default() });
        ready.expect("etcd answers");
        client.status(&StatusRequest {}).expect("etcd answers");
    }

    /// Runs a program against it.
    pub fn run(&self, program: &Path, args: &[&str], input: &str) -> Output {
        let mut process = self.spawn(program, args);
        // A program that fails early does not read its input.
        let _ = process.stdin.take().expect("piped").write_all(input.as_bytes());
        process.wait_with_output().expect("the program ends")
    }

    /// Starts a program against it.
    pub fn spawn(&self, program: &Path, args: &[&str]) -> Child {
        // Not by a variable, which some of etcdctl's commands trip over.
        let endpoints = ["--endpoints", &self.endpoint];
        Command::new(program)
            .args(if args.contains(&"--endpoints") { &[] } else { &endpoints[..] })
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after the wait.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
