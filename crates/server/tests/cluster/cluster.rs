//! Whole clusters of real processes on loopback: each member has an address of its own, so that no other test and no
//! outgoing connection can take its ports while it is away. `windlass-torture` runs on this, too.

#![allow(dead_code, reason = "the tests and the tool that share this file use their parts of it")]

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use windlass_api::etcdserverpb::{RangeRequest, StatusRequest, StatusResponse};
use windlass_client::Client;

use crate::process::{Launch, Member, Scratch};

/// How long anything that a test waits for may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Time without a leader until an election. etcd's default, and that of every member here.
pub const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// Ports of every member on its own address, below those that the system gives to outgoing connections.
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// How long a member may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// A cluster and its folders.
pub struct Cluster {
    scratch: Scratch,
    seats: Vec<Seat>,
    flags: Vec<String>,
}

/// A member's place in the cluster, whether it runs or not.
pub struct Seat {
    pub name: String,
    /// Where clients reach it.
    pub client_host: String,
    /// Where the other members reach it.
    pub peer_host: String,
    /// What it is started through.
    pub through: Vec<String>,
    flags: Vec<String>,
    member: Option<Member>,
}

impl Seat {
    /// On an address of its own.
    pub fn on_loopback(name: &str) -> Self {
        let host = free_host();
        Self::at(name, &host, &host)
    }

    /// On given addresses.
    pub fn at(name: &str, client_host: &str, peer_host: &str) -> Self {
        Self {
            name: name.to_owned(),
            client_host: client_host.to_owned(),
            peer_host: peer_host.to_owned(),
            through: Vec::new(),
            flags: Vec::new(),
            member: None,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("{}:{CLIENT_PORT}", self.client_host)
    }

    pub fn peer_url(&self) -> String {
        format!("http://{}:{PEER_PORT}", self.peer_host)
    }
}

impl Cluster {
    /// Starts `count` members and waits until all of them answer.
    pub fn start(count: usize, flags: &[&str]) -> Self {
        let names = (1..=count).map(|i| format!("m{i}"));
        let mut cluster = Self::of(names.map(|name| Seat::on_loopback(&name)).collect(), flags);
        cluster.found();
        cluster
    }

    /// A cluster that is to be started on these seats.
    pub fn of(seats: Vec<Seat>, flags: &[&str]) -> Self {
        Self::in_folder(Scratch::new(), seats, flags)
    }

    /// The same, with all that members keep and log in this folder.
    pub fn in_folder(scratch: Scratch, seats: Vec<Seat>, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self { scratch, seats, flags }
    }

    /// Starts everyone for the first time and waits until all of them answer.
    pub fn found(&mut self) {
        let all: Vec<usize> = (0..self.seats.len()).collect();
        let named = self.initial_cluster(&all);
        self.seats.iter_mut().for_each(|seat| seat.flags.push(format!("--initial-cluster={named}")));
        all.iter().for_each(|&i| self.spawn(i));
        all.iter().for_each(|&i| self.wait_until_ready(i));
    }

    /// A further seat, whose member is not started yet.
    pub fn add_seat(&mut self, name: &str) -> usize {
        self.seats.push(Seat::on_loopback(name));
        self.seats.len() - 1
    }

    /// Flags of one member beside those of all; a later one wins.
    pub fn set_flags(&mut self, i: usize, flags: &[&str]) {
        self.seats[i].flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    }

    /// Further flags of one member.
    pub fn add_flags(&mut self, i: usize, flags: &[&str]) {
        self.seats[i].flags.extend(flags.iter().map(|&flag| flag.to_owned()));
    }

    /// The flags of a member that joins the members `others`.
    pub fn set_joining(&mut self, i: usize, others: &[usize]) {
        let all: Vec<usize> = others.iter().copied().chain([i]).collect();
        let named = format!("--initial-cluster={}", self.initial_cluster(&all));
        self.set_flags(i, &[&named, "--initial-cluster-state=existing"]);
    }

    /// The value of `--initial-cluster` for these members.
    pub fn initial_cluster(&self, members: &[usize]) -> String {
        let pair = |&i: &usize| format!("{}={}", self.seats[i].name, self.seats[i].peer_url());
        members.iter().map(pair).collect::<Vec<_>>().join(",")
    }

    /// How a member is started.
    pub fn launch(&self, i: usize) -> Launch {
        let seat = &self.seats[i];
        let folder = self.scratch.path().join(&seat.name);
        std::fs::create_dir_all(&folder).expect("a folder for the member");
        let words: Vec<&str> = seat.through.iter().map(String::as_str).collect();
        Launch::bare(&folder)
            .flag(format!("--name={}", seat.name))
            .flag(format!("--data-dir={}", folder.join("data").display()))
            .flag(format!("--listen-client-urls=http://{}", seat.endpoint()))
            .flag(format!("--advertise-client-urls=http://{}", seat.endpoint()))
            .flag(format!("--listen-peer-urls={}", seat.peer_url()))
            .flag(format!("--initial-advertise-peer-urls={}", seat.peer_url()))
            // As many threads as two cores can bear in seven members; small segments, which are made faster.
            .flags(&["--net-threads=1", "--shards=1", "--wal-segment-bytes=8388608"].map(str::to_owned))
            .flags(&self.flags)
            .flags(&seat.flags)
            .through(&words)
            .at(seat.endpoint())
    }

    pub fn len(&self) -> usize {
        self.seats.len()
    }

    pub fn data_folder(&self, i: usize) -> PathBuf {
        self.folder().join(&self.seats[i].name).join("data")
    }

    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    pub fn seat(&self, i: usize) -> &Seat {
        &self.seats[i]
    }

    pub fn endpoint(&self, i: usize) -> String {
        self.seats[i].endpoint()
    }

    /// A member that runs.
    pub fn member(&self, i: usize) -> &Member {
        self.seats[i].member.as_ref().unwrap_or_else(|| panic!("{} does not run", self.seats[i].name))
    }

    /// How a member ended by itself, if it has.
    pub fn has_ended(&mut self, i: usize) -> Option<std::process::ExitStatus> {
        self.seats[i].member.as_mut()?.has_ended()
    }

    pub fn is_running(&self, i: usize) -> bool {
        self.seats[i].member.is_some()
    }

    /// The members that run.
    pub fn running(&self) -> Vec<usize> {
        (0..self.len()).filter(|&i| self.is_running(i)).collect()
    }

    /// Takes a running member's process out, to be waited for.
    pub fn take(&mut self, i: usize) -> Member {
        self.seats[i].member.take().expect("the member runs")
    }

    /// Puts a process that was started in another way in a member's place.
    pub fn put(&mut self, i: usize, member: Member) {
        assert!(!self.is_running(i), "{} runs already", self.seats[i].name);
        self.seats[i].member = Some(member);
    }

    /// Starts a member and does not wait for it.
    pub fn spawn(&mut self, i: usize) {
        assert!(!self.is_running(i), "{} runs already", self.seats[i].name);
        self.seats[i].member = Some(self.launch(i).spawn());
    }

    /// Waits until a member answers linearizable reads.
    pub fn wait_until_ready(&mut self, i: usize) {
        let member = self.seats[i].member.as_mut().expect("the member was started");
        if let Some(status) = member.wait_until_ready() {
            panic!("a member ended with {status}:\n{}", member.log());
        }
    }

    /// Starts a member and waits until it answers.
    pub fn restart(&mut self, i: usize) {
        self.spawn(i);
        self.wait_until_ready(i);
    }

    /// Ends a member as a crash does.
    pub fn kill(&mut self, i: usize) {
        self.take(i).kill();
    }

    pub fn signal(&self, i: usize, signal: Signal) {
        kill_process(self.member(i).pid(), signal).expect("the process can be signalled");
    }

    /// What a member says of itself, if it answers.
    pub fn status(&self, i: usize) -> Option<StatusResponse> {
        let member = self.seats[i].member.as_ref()?;
        member.client_within(STATUS_TIMEOUT).status(&StatusRequest {}).ok()
    }

    /// The member that says of itself that it leads, in the newest term.
    pub fn leader(&self) -> Option<usize> {
        let statuses = (0..self.len()).filter_map(|i| Some((i, self.status(i)?)));
        let leads = statuses.filter(|(_, s)| s.header.is_some_and(|h| h.member_id == s.leader));
        leads.max_by_key(|(_, s)| s.raft_term).map(|(i, _)| i)
    }

    pub fn wait_for_leader(&self) -> usize {
        until("a leader", || self.leader())
    }

    /// Some member that runs and does not lead.
    pub fn follower(&self) -> usize {
        let leader = self.wait_for_leader();
        self.running().into_iter().find(|&i| i != leader).expect("more than one member")
    }

    pub fn id(&self, i: usize) -> u64 {
        until("a member to answer", || self.status(i)).header.expect("every response has a header").member_id
    }

    /// Waits until a member has applied what a linearizable read at `via` sees.
    pub fn wait_until_caught_up(&self, i: usize, via: usize) {
        let revision = current_revision(&mut self.member(via).client());
        until("a member to catch up", || {
            let header = self.status(i)?.header?;
            (header.revision >= revision).then_some(())
        });
    }

    /// All that was logged by everyone, for a test that failed.
    pub fn logs(&self) -> String {
        let read = |seat: &Seat| {
            let log = std::fs::read_to_string(self.folder().join(&seat.name).join("log.txt"));
            format!("--- {}\n{}", seat.name, log.unwrap_or_default())
        };
        self.seats.iter().map(read).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::env::var_os("WINDLASS_CLUSTER_LOGS").is_some() {
            eprintln!("{}", self.logs());
        }
    }
}

/// The store's revision as a linearizable read sees it.
pub fn current_revision(client: &mut Client) -> i64 {
    let request = RangeRequest { key: "none".into(), ..RangeRequest::default() };
    let response = client.range(&request).expect("the member answers");
    response.header.expect("every response has a header").revision
}

/// Looks until there is something to see.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    look_every(Duration::from_millis(10), what, look)
}

/// The same for what passes by quickly.
pub fn until_soon<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    look_every(Duration::from_micros(100), what, look)
}

fn look_every<T>(interval: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(interval);
    }
}

/// An address of this machine whose ports nobody uses: the whole of 127.0.0.0/8 is its own.
pub fn free_host() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + (std::process::id() << 8);
        let [_, a, b, c] = number.to_be_bytes();
        let host = Ipv4Addr::new(127, a | 1, b, c);
        if (1..255).contains(&c)
            && [CLIENT_PORT, PEER_PORT].iter().all(|&port| TcpListener::bind((host, port)).is_ok())
        {
            return host.to_string();
        }
    }
}
