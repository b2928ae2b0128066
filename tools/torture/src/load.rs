//! Clients of every member that write and read, and note what they were told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use windlass_client::{Client, Config, Error};
use windlass_replica::oracle::generate::Random;
use windlass_types::Code;

use crate::calls::perform;
use crate::history::{Call, Change, History, Moment, Operation, Outcome};
use crate::leases::Holder;
use crate::watching;

/// Keys that all clients share, so that they meet.
const KEYS: u64 = 12;

/// Clients of each member that read and write.
const CLIENTS: usize = 2;

/// Time between two calls of a client: the members share a machine, and what is tested is not their speed.
const PACE: Duration = Duration::from_millis(15);

/// How long a client waits for an answer.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// How long it takes to find out that a member is gone.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes of a large value, of which there is one in so many: they fill segments.
const LARGE_BYTES: usize = 16 << 10;
const LARGE_ONE_IN: u64 = 16;

/// How far behind the newest revision that a client knows it reads the past.
const PAST: u64 = 40;

/// A client of one member that finds out soon when that is gone.
pub fn client_of(endpoint: &str) -> Client {
    Client::new(&config_of(endpoint)).expect("a valid endpoint")
}

/// What such a client is made of.
pub fn config_of(endpoint: &str) -> Config {
    let endpoints = vec![endpoint.to_owned()];
    Config { endpoints, dial_timeout: DIAL_TIMEOUT, command_timeout: CALL_TIMEOUT }
}

/// What all clients of a run share.
pub struct Load {
    begun: Instant,
    stop: AtomicBool,
    /// Acknowledged writes.
    acknowledged: AtomicU64,
    /// Up to where each watch has been told everything.
    pub watched: Vec<AtomicI64>,
    /// Watches end when they have been told everything up to here.
    pub watch_until: AtomicI64,
    /// Watches are not waited for any longer.
    pub watch_no_more: AtomicBool,
}

impl Load {
    fn new(members: usize) -> Self {
        Self {
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            watched: (0..members).map(|_| AtomicI64::new(0)).collect(),
            watch_until: AtomicI64::new(i64::MAX),
            watch_no_more: AtomicBool::new(false),
        }
    }

    /// Whether the run is not over.
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Time since the run began.
    pub fn now(&self) -> Moment {
        Moment::after(self.begun.elapsed())
    }

    /// Acknowledged writes so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The revision up to which every watch has been told everything.
    pub fn watched_by_all(&self) -> i64 {
        self.watched.iter().map(|at| at.load(Ordering::Relaxed)).min().unwrap_or(0)
    }
}

/// Running clients.
pub struct Clients {
    pub load: Arc<Load>,
    writers: Vec<JoinHandle<History>>,
    watchers: Vec<JoinHandle<History>>,
}

impl Clients {
    /// Several of each member, and a watch over everything at each.
    pub fn start(endpoints: &[String], seed: u64) -> Self {
        let load = Arc::new(Load::new(endpoints.len()));
        let (mut writers, mut watchers) = (Vec::new(), Vec::new());
        for (member, endpoint) in endpoints.iter().enumerate() {
            for place in 0..=CLIENTS {
                let client = member * (CLIENTS + 1) + place;
                let worker = Worker { client, member, operations: Vec::new() };
                let seed = seed.wrapping_mul(1000).wrapping_add(client as u64);
                let (load, endpoint) = (Arc::clone(&load), endpoint.clone());
                writers.push(std::thread::spawn(move || {
                    if place == CLIENTS {
                        Holder::new(worker, &endpoint, seed).run(&load)
                    } else {
                        Writer::new(worker, &endpoint, seed).run(&load)
                    }
                }));
            }
            let (load, endpoint) = (Arc::clone(&load), endpoint.clone());
            watchers.push(std::thread::spawn(move || watching::run(member, &endpoint, &load)));
        }
        Self { load, writers, watchers }
    }

    /// Stops those that write and read; watches go on.
    pub fn stop_writing(&mut self) -> History {
        self.load.stop.store(true, Ordering::Relaxed);
        joined(std::mem::take(&mut self.writers))
    }

    /// What watches were told, when they have been told everything.
    pub fn finish(self) -> History {
        joined(self.watchers)
    }
}

fn joined(threads: Vec<JoinHandle<History>>) -> History {
    let mut all = History::default();
    threads.into_iter().for_each(|thread| all.append(thread.join().expect("a client does not panic")));
    all
}

/// Who calls, and what it was told.
pub struct Worker {
    pub client: usize,
    pub member: usize,
    pub operations: Vec<Operation>,
}

impl Worker {
    /// A value that nobody else writes, of at least so many bytes.
    pub fn value(&self, bytes: usize) -> String {
        format!("{}-{}-{bytes}", self.client, self.operations.len())
    }

    /// Makes a call and notes it; whether it was answered.
    pub fn call(&mut self, client: &mut Client, load: &Load, call: Call) -> bool {
        let begun = load.now();
        let outcome = perform(client, &call).unwrap_or_else(|error| failed(&error));
        let done = matches!(outcome, Outcome::Done { .. });
        if done && !matches!(call, Call::Read { .. }) {
            load.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        let (client, member, ended) = (self.client, self.member, load.now());
        self.operations.push(Operation { client, member, call, begun, ended, outcome });
        done
    }
}

/// What an error says about a write. `leader changed` is a promise of Windlass that it is in no log.
fn failed(error: &Error) -> Outcome {
    let text = match error {
        Error::Disconnected { .. } => "connection lost".to_owned(),
        error => error.to_string(),
    };
    let refused = match error {
        Error::NotSent { .. } => true,
        Error::Status { code, message } => {
            let codes = [
                Code::ResourceExhausted,
                Code::InvalidArgument,
                Code::FailedPrecondition,
                Code::OutOfRange,
                Code::NotFound,
            ];
            codes.contains(code) || message == "etcdserver: leader changed"
        }
        _ => false,
    };
    if refused { Outcome::Refused(text) } else { Outcome::Unknown(text) }
}

/// A client that writes and reads keys that all share.
struct Writer {
    client: Client,
    worker: Worker,
    random: Random,
    /// For each key the revision that this client saw last.
    known: HashMap<String, i64>,
    /// The newest revision that this client knows of.
    newest: i64,
}

impl Writer {
    fn new(worker: Worker, endpoint: &str, seed: u64) -> Self {
        let random = Random::new(seed);
        Self { client: client_of(endpoint), worker, random, known: HashMap::new(), newest: 1 }
    }

    fn run(mut self, load: &Load) -> History {
        while load.goes_on() {
            let call = self.next_call();
            self.worker.call(&mut self.client, load, call);
            self.learn();
            // The pace of the load, not a wait for anything.
            std::thread::sleep(PACE);
        }
        History { operations: self.worker.operations, ..History::default() }
    }

    /// Notes what the last answer told.
    fn learn(&mut self) {
        let Some(Operation { call, outcome: Outcome::Done { revision, succeeded, found }, .. }) =
            self.worker.operations.last()
        else {
            return;
        };
        self.newest = self.newest.max(*revision);
        for found in found {
            self.known.insert(found.key.clone(), found.revision);
        }
        match call {
            Call::Put { key, .. } => drop(self.known.insert(key.clone(), *revision)),
            Call::Delete { key } => drop(self.known.remove(key)),
            Call::Txn { then, .. } if *succeeded => {
                for change in then {
                    match change {
                        Change::Put { key, .. } => drop(self.known.insert(key.clone(), *revision)),
                        Change::Delete { key } => drop(self.known.remove(key)),
                    }
                }
            }
            Call::Txn { .. } | Call::Read { .. } => {}
        }
    }

    fn key(&mut self) -> String {
        format!("k/{:02}", self.random.below(KEYS))
    }

    fn value(&mut self) -> String {
        let bytes = if self.random.one_in(LARGE_ONE_IN) { LARGE_BYTES } else { 0 };
        self.worker.value(bytes)
    }

    fn next_call(&mut self) -> Call {
        let key = self.key();
        let read = |prefix: bool, serializable: bool| {
            let key = if prefix { "k/".to_owned() } else { key.clone() };
            Call::Read { key, prefix, serializable, at: 0 }
        };
        match self.random.below(100) {
            0..30 => Call::Put { key, value: self.value(), lease: 0 },
            30..38 => Call::Delete { key },
            38..62 => self.txn(key),
            62..77 => read(false, false),
            77..84 => read(true, false),
            84..92 => read(false, true),
            92..95 => read(true, true),
            _ => {
                let back = self.random.below(PAST).cast_signed();
                let (prefix, at) = (self.random.one_in(2), (self.newest - back).max(2));
                let key = if prefix { "k/".to_owned() } else { key };
                Call::Read { key, prefix, serializable: self.random.one_in(3), at }
            }
        }
    }

    /// Changes one key or two where they are as this client saw them last, else reads them.
    fn txn(&mut self, key: String) -> Call {
        let mut keys = vec![key];
        let second = self.key();
        if self.random.one_in(2) && second != keys[0] {
            keys.push(second);
        }
        let compares = keys.iter().map(|k| (k.clone(), self.known.get(k).copied().unwrap_or(0))).collect();
        let mut then = vec![Change::Put { key: keys[0].clone(), value: self.value(), lease: 0 }];
        if let Some(key) = keys.get(1).cloned() {
            let value = format!("{}-b", self.worker.value(0));
            let put = !self.random.one_in(4);
            then.push(if put { Change::Put { key, value, lease: 0 } } else { Change::Delete { key } });
        }
        Call::Txn { compares, then, otherwise: keys }
    }
}
