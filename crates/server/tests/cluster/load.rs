//! Clients of every member that write and read, and note what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use windlass_api::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, request_op, response_op,
};
use windlass_client::{Client, Config, Error};
use windlass_replica::oracle::generate::Random;

use crate::cluster::{Cluster, ELECTION_TIMEOUT, until, until_soon};
use crate::history::{History, Kind, Operation, Outcome, Version};
use crate::stalls::Stalls;

/// Keys that all clients share, so that they meet.
const KEYS: u64 = 12;

/// Time between two calls of a client: the members share two cores, and what is tested is not their speed.
const PACE: Duration = Duration::from_millis(4);

/// How long a client waits for an answer; longer than a member waits for a leader.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it takes to find out that a member is gone.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);

/// Running clients.
pub struct Load {
    stop: Arc<AtomicBool>,
    /// Writes that were acknowledged, for each client.
    acknowledged: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<Vec<Operation>>>,
    stalls: Stalls,
    begun: Instant,
}

impl Load {
    /// Two clients of each member.
    pub fn start(cluster: &Cluster) -> Self {
        let all: Vec<usize> = (0..cluster.len()).collect();
        Self::of(cluster, &all, 2, PACE)
    }

    /// So many clients of each of these members, each at this pace.
    pub fn of(cluster: &Cluster, members: &[usize], clients: usize, pace: Duration) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let (stop, begun) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let stalls = Stalls::watch(cluster.folder(), begun);
        let mut load = Self { stop, acknowledged: Vec::new(), threads: Vec::new(), stalls, begun };
        for (id, member) in members.iter().flat_map(|member| vec![member; clients]).enumerate() {
            let acknowledged = Arc::new(AtomicU64::new(0));
            let worker = Worker {
                id,
                run,
                client: client_of(&cluster.endpoint(*member)),
                random: Random::new(run << 32 | u64::from(std::process::id()) << 8 | id as u64),
                known: vec![0; KEYS as usize],
                begun,
                pace,
                acknowledged: Arc::clone(&acknowledged),
            };
            let stop = Arc::clone(&load.stop);
            load.acknowledged.push(acknowledged);
            load.threads.push(std::thread::spawn(move || worker.run(&stop)));
        }
        load
    }

    /// Time since the clients began, as in their histories.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Writes that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Waits until so many more writes were acknowledged.
    pub fn wait_for_writes(&self, count: u64) {
        let target = self.acknowledged() + count;
        until("acknowledged writes", || (self.acknowledged() >= target).then_some(()));
    }

    /// Stops the clients.
    pub fn finish(self) -> History {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.threads.into_iter().map(|thread| thread.join().expect("a client does not panic"));
        History { operations: done.flatten().collect(), stalls: self.stalls.finish() }
    }
}

/// A client of one member that finds out soon when that is gone.
pub fn client_of(endpoint: &str) -> Client {
    let endpoints = vec![endpoint.to_owned()];
    let config = Config { endpoints, dial_timeout: DIAL_TIMEOUT, command_timeout: CALL_TIMEOUT };
    Client::new(&config).expect("a valid endpoint")
}

/// How long it may take until a leader counts a member as dead that it does not hear of, and a while more; until then it keeps
/// its log for it.
const GIVEN_UP_WITHIN: Duration = ELECTION_TIMEOUT.saturating_mul(3);

/// Values that are written in that time: as many on any machine, for all of them are kept.
const FILL_VALUES: u32 = 300;

/// Keys of these values.
const FILL_KEYS: u32 = 100;

/// Puts values all along until a leader that keeps little log has given up whoever is away, and has cut what that one misses.
pub fn fill(cluster: &Cluster, via: usize, prefix: &str, value_bytes: usize) {
    let mut client = client_of(&cluster.endpoint(via));
    let begun = Instant::now();
    for number in 0..FILL_VALUES {
        let due = GIVEN_UP_WITHIN * number / FILL_VALUES;
        until_soon("the next value to be due", || (begun.elapsed() >= due).then_some(()));
        let value = vec![b'a' + (number % 26) as u8; value_bytes].into();
        let key = format!("{prefix}/{:02}", number % FILL_KEYS).into();
        let put = PutRequest { key, value, ..PutRequest::default() };
        until("a large value to be written", || client.put(&put).ok());
    }
}

struct Worker {
    id: usize,
    run: u64,
    client: Client,
    random: Random,
    /// For each key the revision that this client saw last.
    known: Vec<i64>,
    begun: Instant,
    pace: Duration,
    acknowledged: Arc<AtomicU64>,
}

impl Worker {
    fn run(mut self, stop: &AtomicBool) -> Vec<Operation> {
        let mut operations = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = operations.len();
            operations.push(self.step(number));
            // The pace of the load, not a wait for anything.
            std::thread::sleep(self.pace);
        }
        operations
    }

    fn step(&mut self, number: usize) -> Operation {
        let at = self.random.below(KEYS);
        let key = format!("r{}/{at:02}", self.run);
        let value = format!("{}-{}-{number}", self.run, self.id);
        let kind = match self.random.below(10) {
            0..4 => Kind::Put(value),
            4..6 => Kind::Swap(value, self.known[at as usize]),
            6..9 => Kind::Read,
            _ => Kind::SerializableRead,
        };
        let begun = self.begun.elapsed();
        let outcome = self.call(&key, &kind).unwrap_or_else(|error| Outcome::Failed(text_of(&error)));
        let ended = self.begun.elapsed();
        match &outcome {
            Outcome::Written(revision) => {
                self.known[at as usize] = *revision;
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Seen { found, .. } => {
                self.known[at as usize] = found.as_ref().map_or(0, |found| found.revision);
            }
            Outcome::Failed(_) => {}
        }
        Operation { client: self.id, key, kind, begun, ended, outcome }
    }

    fn call(&mut self, key: &str, kind: &Kind) -> Result<Outcome, Error> {
        match kind {
            Kind::Put(value) => {
                let header = self.client.put(&put(key, value))?.header;
                Ok(Outcome::Written(header.expect("every response has a header").revision))
            }
            Kind::Swap(value, expected) => self.swap(key, value, *expected),
            Kind::Read | Kind::SerializableRead => {
                let serializable = *kind == Kind::SerializableRead;
                let response = self.client.range(&RangeRequest { serializable, ..range(key) })?;
                let at = response.header.expect("every response has a header").revision;
                Ok(Outcome::Seen { at, found: version(&response) })
            }
        }
    }

    fn swap(&mut self, key: &str, value: &str, expected: i64) -> Result<Outcome, Error> {
        let compare = Compare {
            result: CompareResult::Equal as i32,
            target: CompareTarget::Mod as i32,
            key: key.to_owned().into(),
            target_union: Some(TargetUnion::ModRevision(expected)),
            ..Compare::default()
        };
        let operation = |request| vec![RequestOp { request: Some(request) }];
        let response = self.client.txn(&TxnRequest {
            compare: vec![compare],
            success: operation(request_op::Request::RequestPut(put(key, value))),
            failure: operation(request_op::Request::RequestRange(range(key))),
        })?;
        let at = response.header.expect("every response has a header").revision;
        if response.succeeded {
            return Ok(Outcome::Written(at));
        }
        match response.responses.into_iter().next().and_then(|op| op.response) {
            Some(response_op::Response::ResponseRange(range)) => {
                Ok(Outcome::Seen { at, found: version(&range) })
            }
            other => panic!("a range was asked for, and answered with {other:?}"),
        }
    }
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() }
}

fn range(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() }
}

fn version(response: &RangeResponse) -> Option<Version> {
    let kv = response.kvs.first()?;
    Some(Version { value: String::from_utf8_lossy(&kv.value).into_owned(), revision: kv.mod_revision })
}

/// An error without what differs from call to call.
fn text_of(error: &Error) -> String {
    match error {
        Error::Disconnected { .. } => "connection lost".to_owned(),
        error => error.to_string(),
    }
}
