//! Starts members of etcd or Windlass on this machine, waits until they serve, and ends them.
//!
//! It ends only what it has started itself, by process number.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use windlass_api::etcdserverpb::{RangeRequest, StatusRequest};
use windlass_client::{Client, Config, Endpoint};

use crate::ports::Port;
use crate::throttle::Throttle;
use crate::undo;

/// A cluster that does not serve within this time has failed.
const READY_MAX: Duration = Duration::from_secs(60);
/// A member that does not end within this time after it was told to is killed.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Bound of each question whether a member serves.
const ASK: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes of a member's log that an error shows.
const LOG_SHOWN_BYTES: usize = 2_000;
const EMPTY_LOG: &str = "its log is empty";

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// For people and for names of files.
    pub label: &'a str,
    /// The program; it takes etcd's flags.
    pub program: &'a Path,
    /// Members.
    pub nodes: usize,
    /// Further flags.
    pub flags: &'a [String],
    /// Where data folders and logs are made; it exists.
    pub folder: &'a Path,
    /// Limits what the members write.
    pub throttle: Option<&'a Throttle>,
}

/// Members that run. Dropping it kills them.
pub struct Cluster {
    label: String,
    members: Vec<Member>,
    /// Nobody else's until the members have ended.
    _ports: Vec<Port>,
}

struct Member {
    child: Child,
    endpoint: Endpoint,
    log: PathBuf,
}

impl Cluster {
    /// Starts the members and waits until one leads and answers a linearizable read.
    ///
    /// # Errors
    /// A program cannot be started, ends, or does not serve in time.
    pub fn start(launch: &Launch<'_>) -> Result<Self> {
        let ports = (0..2 * launch.nodes).map(|_| Port::free()).collect::<io::Result<Vec<_>>>()?;
        let numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        let (clients, peers) = numbers.split_at(launch.nodes);
        let named = peers.iter().enumerate().map(|(place, port)| format!("n{place}=http://127.0.0.1:{port}"));
        let all = named.collect::<Vec<_>>().join(",");
        let mut cluster = Self { label: launch.label.to_owned(), members: Vec::new(), _ports: ports };
        for (place, (client, peer)) in clients.iter().zip(peers).enumerate() {
            cluster.members.push(Member::start(launch, place, (*client, *peer), &all)?);
        }
        cluster.await_leader()?;
        Ok(cluster)
    }

    /// Its name.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The processes.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.child.id()).collect()
    }

    /// Where clients connect to.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.members.iter().map(|member| member.endpoint.clone()).collect()
    }

    /// The endpoint of the member that leads.
    ///
    /// # Errors
    /// None does in time, or one has ended.
    pub fn leader(&mut self) -> Result<Endpoint> {
        self.await_leader()
    }

    fn await_leader(&mut self) -> Result<Endpoint> {
        let deadline = Instant::now() + READY_MAX;
        while Instant::now() < deadline {
            for member in &mut self.members {
                if let Some(status) = member.child.try_wait()? {
                    bail!("{} ended ({status}); {}", self.label, said(&member.log));
                }
                if leads(&member.endpoint) {
                    return Ok(member.endpoint.clone());
                }
            }
            std::thread::sleep(PAUSE);
        }
        let log = self.members.first().map(|member| said(&member.log)).unwrap_or_default();
        bail!("{} does not serve after {READY_MAX:?}; {log}", self.label)
    }

    /// That a member has ended, if one has: a sentence with its exit status and the last line of its log.
    ///
    /// # Errors
    /// The kernel refuses to look.
    pub fn ended(&mut self) -> io::Result<Option<String>> {
        for member in &mut self.members {
            if let Some(status) = member.child.try_wait()? {
                let log = end_of(&member.log);
                let last = log.lines().rev().find(|line| !line.trim().is_empty());
                let last =
                    last.map_or(EMPTY_LOG.to_owned(), |line| format!("the last line of its log: {line}"));
                return Ok(Some(format!("{} ended under the load ({status}); {last}", self.label)));
            }
        }
        Ok(None)
    }

    /// Tells the members to end and waits for it.
    ///
    /// # Errors
    /// The kernel refuses to signal or to wait.
    pub fn stop(mut self) -> Result<()> {
        for member in &self.members {
            let pid = i32::try_from(member.child.id()).ok().and_then(Pid::from_raw);
            // One that has ended by itself is waited for below.
            let _ = kill_process(pid.context("a process has a number")?, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_MAX;
        for member in &mut self.members {
            while member.child.try_wait()?.is_none() && Instant::now() < deadline {
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            // Both fail only for one that has ended.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

impl Member {
    fn start(launch: &Launch<'_>, place: usize, (client, peer): (u16, u16), all: &str) -> Result<Self> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let path = |suffix: &str| launch.folder.join(format!("{}{place}{suffix}", launch.label));
        let log = path(".log");
        let mut command = Command::new(launch.program);
        command
            .args(["--name", &format!("n{place}"), "--initial-cluster", all, "--log-level", "error"])
            .args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)])
            .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
            .arg("--data-dir")
            .arg(path(".data"))
            .args(launch.flags)
            .stdin(Stdio::null());
        let child = undo::make(|| {
            let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
            let child = command.stdout(out.try_clone()?).stderr(out).spawn();
            child.with_context(|| format!("cannot start {}", launch.program.display()))
        })?;
        let endpoint = format!("127.0.0.1:{client}").parse()?;
        let member = Self { child, endpoint, log };
        if let Some(throttle) = launch.throttle {
            throttle.add(member.child.id())?;
        }
        Ok(member)
    }
}

fn leads(endpoint: &Endpoint) -> bool {
    let endpoints = vec![endpoint.authority().to_owned()];
    let config = Config { endpoints, dial_timeout: ASK, command_timeout: ASK };
    let Ok(mut client) = Client::new(&config) else { return false };
    let Ok(status) = client.status(&StatusRequest::default()) else { return false };
    let leads = status.header.is_some_and(|header| header.member_id == status.leader);
    leads && client.range(&RangeRequest { key: vec![0].into(), ..Default::default() }).is_ok()
}

/// What a member has to say, after a semicolon.
fn said(log: &Path) -> String {
    let text = end_of(log);
    if text.trim().is_empty() { EMPTY_LOG.to_owned() } else { format!("its log says:\n{text}") }
}

fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let from = text.len().saturating_sub(LOG_SHOWN_BYTES);
    String::from_utf8_lossy(&text[from..]).into_owned()
}
