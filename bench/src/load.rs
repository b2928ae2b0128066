//! Drives one load: connects, starts the threads, and adds up what they counted.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::Result;
use windlass_client::Endpoint;

use crate::access::Access;
use crate::connection::{Clock, Connection};
use crate::link::Link;
use crate::schedule::{Schedule, Share};
use crate::tally::Tally;
use crate::worker::{Signals, Worker};
use crate::workload::Workload;

/// A server that says nothing at all for so long while it owes answers has lost them.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Requests, how many and over what.
#[derive(Clone, Debug)]
pub struct Load {
    /// Connections are dealt to them in turn.
    pub endpoints: Vec<Endpoint>,
    /// Connections.
    pub conns: usize,
    /// Requests under way, over all connections.
    pub clients: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Requests.
    pub total: u64,
    /// Requests per second; `None` for as many as are answered.
    pub rate: Option<NonZeroU64>,
    /// What they are.
    pub workload: Workload,
    /// Whom to trust and as whom to ask.
    pub access: Access,
}

/// A connected link, and how many requests may be under way on it.
struct Dialled {
    link: Link,
    in_flight_max: usize,
}

/// Does all of it. Every request is counted, as answered or as an error.
///
/// # Errors
/// A connection cannot be made, or the kernel refuses an epoll.
pub fn drive(load: &Load, signals: &Signals) -> Result<(Tally, Duration)> {
    let links = connect(load)?;
    let clock = Clock { began: Instant::now() };
    let tally = run_threads(load, links, clock, signals)?;
    Ok((tally, clock.began.elapsed()))
}

/// As [`drive`], by a clock that began before.
///
/// # Errors
/// As there.
pub fn drive_by(load: &Load, clock: Clock, signals: &Signals) -> Result<Tally> {
    run_threads(load, connect(load)?, clock, signals)
}

/// Opens every connection and deals the clients to them.
fn connect(load: &Load) -> Result<Vec<Dialled>> {
    let open = |index: usize| {
        let endpoint = &load.endpoints[index % load.endpoints.len()];
        let in_flight_max = load.clients / load.conns + usize::from(index < load.clients % load.conns);
        Ok(Dialled { link: Link::dial(endpoint, &load.access)?, in_flight_max })
    };
    (0..load.conns).map(open).collect()
}

fn run_threads(load: &Load, links: Vec<Dialled>, clock: Clock, signals: &Signals) -> Result<Tally> {
    let mut shares: Vec<Vec<Connection>> = (0..load.threads).map(|_| Vec::new()).collect();
    for (index, Dialled { link, in_flight_max }) in links.into_iter().enumerate() {
        shares[index % load.threads].push(Connection::new(link, in_flight_max, clock));
    }
    let mut all = Tally::new(load.workload.classes().len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .enumerate()
            .map(|(worker, share)| scope.spawn(move || run_worker(load, worker, share, clock, signals)))
            .collect();
        for thread in threads {
            all.merge(&thread.join().expect("a worker's panic is a bug")?);
        }
        Ok(all)
    })
}

fn run_worker(
    load: &Load,
    worker: usize,
    connections: Vec<Connection>,
    clock: Clock,
    signals: &Signals,
) -> Result<Tally> {
    let (worker, workers) = (worker as u64, load.threads as u64);
    let schedule = Schedule::new(Share { worker, workers, total: load.total }, load.rate);
    let worker = Worker::new(connections, schedule, load.workload.clone(), clock, SILENCE_MAX, signals)?;
    Ok(worker.run()?)
}
