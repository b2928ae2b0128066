//! A stock etcdctl 3.5.1 against a cluster.

use std::path::PathBuf;
use std::process::Command;

use crate::cluster::{Cluster, until};
use crate::process::etcd_folder;

/// What is said where leadership is on the move; what was asked for has no effect then.
const MOVING: [&str; 2] = ["etcdserver: leader changed", "etcdserver: no leader"];

/// What is said of a change of members so long as those that there are were not all connected for some seconds.
const UNSETTLED: [&str; 2] = ["etcdserver: unhealthy cluster", "not enough started members"];

/// The program, and whom it asks.
pub struct Etcdctl {
    program: PathBuf,
    endpoints: String,
}

impl Etcdctl {
    /// Asks these members; `None`, after saying so, where there is no etcdctl.
    pub fn of(cluster: &Cluster, members: &[usize]) -> Option<Self> {
        let program = etcd_folder()?.join("etcdctl");
        let endpoints: Vec<String> = members.iter().map(|&i| cluster.endpoint(i)).collect();
        Some(Self { program, endpoints: endpoints.join(",") })
    }

    /// What it prints, or its complaint.
    pub fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.program)
            .arg(format!("--endpoints={}", self.endpoints))
            .args(args)
            .env_clear()
            .env("ETCDCTL_API", "3")
            .output()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// What it prints where it must succeed. On a machine that stands still for a while leadership may move meanwhile.
    pub fn ok(&self, args: &[&str]) -> String {
        self.settled(args).unwrap_or_else(|error| panic!("etcdctl {args:?} failed: {error}"))
    }

    /// What it prints of a change of members that must succeed sooner or later.
    pub fn change(&self, args: &[&str]) -> String {
        let outcome = until("a healthy cluster", || match self.settled(args) {
            Err(error) if UNSETTLED.iter().any(|text| error.contains(text)) => None,
            outcome => Some(outcome),
        });
        outcome.unwrap_or_else(|error| panic!("etcdctl {args:?} failed: {error}"))
    }

    /// Checks that it fails with an error in which this text stands.
    pub fn fails(&self, args: &[&str], text: &str) {
        let error = self.settled(args).expect_err(text);
        assert!(error.contains(text), "etcdctl {args:?} must say {text:?}, but says: {error}");
    }

    /// The outcome while there is a leader all along.
    fn settled(&self, args: &[&str]) -> Result<String, String> {
        until("a lasting leader", || match self.run(args) {
            Err(error) if MOVING.iter().any(|text| error.contains(text)) => None,
            outcome => Some(outcome),
        })
    }
}
