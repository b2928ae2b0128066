//! A whole run: connects, starts the threads, and makes the report of what they counted.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use windlass_client::Endpoint;

use crate::Report;
use crate::connection::{Clock, Connection};
use crate::flags::Plan;
use crate::process::Usage;
use crate::schedule::{Schedule, Share};
use crate::tally::Tally;
use crate::worker::Worker;

/// Bound of one attempt to connect.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that says nothing at all for so long while it owes answers has lost them.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A connected socket, where it leads, and how many requests may be under way on it.
struct Socket<'a> {
    socket: TcpStream,
    endpoint: &'a Endpoint,
    in_flight_max: usize,
}

/// Does what `plan` says. Every request of it is counted in the report, as answered or as an error.
///
/// # Errors
/// A connection cannot be made, a watched process cannot be read before the run, or the kernel refuses an epoll.
pub fn run(plan: &Plan) -> Result<Report> {
    let sockets = connect(plan)?;
    let before = plan.pids.iter().map(|&pid| Usage::of(pid)).collect::<Result<Vec<_>>>()?;
    let own_before = Usage::of(std::process::id())?;
    let clock = Clock { began: Instant::now() };
    let tally = run_threads(plan, sockets, clock)?;
    let took = clock.began.elapsed();
    let own_after = Usage::of(std::process::id())?;
    let mut report = Report::new(tally, took, own_after.cpu_us.saturating_sub(own_before.cpu_us));
    for (&pid, before) in plan.pids.iter().zip(&before) {
        report.add_process(pid, before, Usage::of(pid).ok());
    }
    Ok(report)
}

/// Opens every connection and deals the clients to them.
fn connect(plan: &Plan) -> Result<Vec<Socket<'_>>> {
    let open = |index: usize| {
        let endpoint = &plan.endpoints[index % plan.endpoints.len()];
        let in_flight_max = plan.clients / plan.conns + usize::from(index < plan.clients % plan.conns);
        let socket = dial(endpoint).with_context(|| format!("cannot connect to {}", endpoint.authority()))?;
        Ok(Socket { socket, endpoint, in_flight_max })
    };
    (0..plan.conns).map(open).collect()
}

/// Connects to the first address of the endpoint that answers.
fn dial(endpoint: &Endpoint) -> Result<TcpStream> {
    let mut last = anyhow!("the host has no address");
    for address in endpoint.authority().to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, DIAL_TIMEOUT) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

fn run_threads(plan: &Plan, sockets: Vec<Socket<'_>>, clock: Clock) -> Result<Tally> {
    let mut shares: Vec<Vec<Socket<'_>>> = (0..plan.threads).map(|_| Vec::new()).collect();
    for (index, socket) in sockets.into_iter().enumerate() {
        shares[index % plan.threads].push(socket);
    }
    let mut all = Tally::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .enumerate()
            .map(|(worker, share)| scope.spawn(move || run_worker(plan, worker, share, clock)))
            .collect();
        for thread in threads {
            all.merge(&thread.join().expect("a worker's panic is a bug")?);
        }
        Ok(all)
    })
}

/// One thread. Sessions are made here, because they never leave their thread.
fn run_worker(plan: &Plan, worker: usize, share: Vec<Socket<'_>>, clock: Clock) -> Result<Tally> {
    let open = |Socket { socket, endpoint, in_flight_max }: Socket<'_>| {
        Connection::new(socket, endpoint.authority(), plan.workload.path(), in_flight_max, clock)
    };
    let connections = share.into_iter().map(open).collect::<std::io::Result<Vec<_>>>()?;
    let (worker, workers) = (worker as u64, plan.threads as u64);
    let schedule = Schedule::new(Share { worker, workers, total: plan.total }, plan.rate);
    let worker = Worker::new(connections, schedule, plan.workload.clone(), clock, SILENCE_MAX)?;
    Ok(worker.run()?)
}
