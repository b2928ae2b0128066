//! A whole run: warm-up, repeats, what the servers used, and the report of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use windlass_client::Endpoint;

use crate::Report;
use crate::access::Access;
use crate::connection::Clock;
use crate::control::Server;
use crate::leases::Leases;
use crate::load::{Load, drive, drive_by};
use crate::plan::{Job, Plan, WatchGet, WatchPuts};
use crate::process::Usage;
use crate::schedule::ENDLESS;
use crate::tally::Tally;
use crate::watching::{Classes, Watchers};
use crate::worker::Signals;
use crate::workload::{Reading, Target, Workload};
use crate::{control, process, progress};

/// What one run of a plan has shown.
pub struct Outcome {
    /// What was counted.
    pub tally: Tally,
    /// Names of the tally's classes.
    pub classes: Vec<&'static str>,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// Does what `plan` says. Every request of it is counted in the report, as answered or as an error.
///
/// # Errors
/// A connection cannot be made, a watched process cannot be read before the run, or the kernel refuses an epoll.
pub fn run(plan: &Plan) -> Result<Report> {
    let mut plan = plan.clone();
    let security = plan.reach.access.security.clone();
    if plan.reach.target_leader {
        plan.reach.endpoints = vec![control::leader_of(&plan.reach.endpoints, &security)?];
    }
    let endpoint = plan.reach.endpoints.first().context("there is an endpoint")?.clone();
    let first = Server { endpoint, security };
    plan.reach.access.token = control::log_in(&first)?;
    let leases = prepare(&mut plan, &first)?;
    plan.job.reach(&plan.reach.endpoints, &plan.reach.access);
    if plan.warm_up > 0 {
        warm_up(&plan)?;
    }
    let mut reports = Vec::new();
    for _ in 0..plan.repeats {
        reports.push(run_once(&plan, &first)?);
    }
    let mut report = Report::median(reports);
    if let Some(leases) = leases {
        report.say(leases.note());
        // Those that are left end by themselves; what was measured is told all the same.
        if let Err(error) = leases.revoke(&plan.reach) {
            *report.errors.entry(format!("{error:#}")).or_default() += 1;
        }
    }
    Ok(report)
}

/// What a job needs before it can begin; gives the leases that were granted.
fn prepare(plan: &mut Plan, first: &Server) -> Result<Option<Leases>> {
    match &mut plan.job {
        Job::KeepAlive { total, rate, leases } => {
            let granted = Leases::grant(&plan.reach, *leases)?;
            let load = plan.reach.load(*total, *rate, Workload::keep_alive(granted.ids()));
            plan.job = Job::Load(Box::new(load));
            Ok(Some(granted))
        }
        Job::WatchGet(WatchGet { watches, events }) => {
            watches.start_revision = control::put_events(first, &watches.keys[0], *events)?;
            Ok(None)
        }
        Job::Load(_) | Job::Watch(_) => Ok(None),
    }
}

impl Job {
    /// Says where to and as whom.
    fn reach(&mut self, endpoints: &[Endpoint], access: &Access) {
        let set = |load: &mut Load| (load.endpoints, load.access) = (endpoints.to_vec(), access.clone());
        match self {
            Self::Load(load) => set(load),
            Self::Watch(job) => {
                let WatchPuts { watches, puts } = &mut **job;
                set(puts);
                (watches.endpoints, watches.access) = (endpoints.to_vec(), access.clone());
            }
            Self::WatchGet(WatchGet { watches, .. }) => {
                (watches.endpoints, watches.access) = (endpoints.to_vec(), access.clone());
            }
            Self::KeepAlive { .. } => {}
        }
    }

    /// Outcomes that are to come.
    fn amount(&self) -> u64 {
        match self {
            Self::Load(load) => load.total,
            Self::KeepAlive { total, .. } => *total,
            Self::Watch(job) => job.puts.total,
            Self::WatchGet(WatchGet { watches, events }) => watches.count() as u64 * events,
        }
    }
}

/// The same requests, uncounted.
fn warm_up(plan: &Plan) -> Result<()> {
    let load = match &plan.job {
        Job::Load(load) => load,
        Job::Watch(job) => &job.puts,
        _ => return Ok(()),
    };
    let load = Load { total: plan.warm_up, rate: None, ..load.clone() };
    let signals = Signals::default();
    progress::show("warm-up", load.total, &signals, || drive(&load, &signals))?;
    Ok(())
}

fn run_once(plan: &Plan, first: &Server) -> Result<Report> {
    plan.pids.iter().for_each(|&pid| process::forget_peak(pid));
    let before = plan.pids.iter().map(|&pid| Usage::of(pid)).collect::<Result<Vec<_>>>()?;
    let own_before = Usage::of(std::process::id())?;
    let signals = Signals::default();
    let outcome = progress::show(plan.name, plan.job.amount(), &signals, || {
        beside_compaction(plan, first, || perform(plan, &signals))
    })?;
    let own_cpu_us = Usage::of(std::process::id())?.cpu_us.saturating_sub(own_before.cpu_us);
    let mut report = Report::new(plan.name, outcome, own_cpu_us, plan.reach.threads);
    for (&pid, before) in plan.pids.iter().zip(&before) {
        report.add_process(pid, before, Usage::of(pid).ok());
    }
    if plan.after.check_hash {
        let (revision, hash) = control::compare_hashes(&plan.reach.endpoints, &first.security)?;
        report.say(format!("all endpoints have hash {hash} at revision {revision}"));
    }
    Ok(report)
}

/// Performs `work`, with compactions beside it if there are to be any.
fn beside_compaction(
    plan: &Plan,
    server: &Server,
    work: impl FnOnce() -> Result<Outcome>,
) -> Result<Outcome> {
    let Some(compaction) = plan.after.compaction else { return work() };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let compactor = scope.spawn(|| control::compact(server, compaction, &over));
        let outcome = work();
        over.store(true, Ordering::Relaxed);
        let compactions = compactor.join().expect("a compactor's panic is a bug")?;
        let mut outcome = outcome?;
        outcome.tally.note("compactions", compactions);
        Ok(outcome)
    })
}

fn perform(plan: &Plan, signals: &Signals) -> Result<Outcome> {
    match &plan.job {
        Job::Load(load) => {
            let (tally, took) = drive(load, signals)?;
            Ok(Outcome { tally, classes: load.workload.classes().to_vec(), took })
        }
        Job::Watch(job) => watch_puts(job, signals),
        Job::WatchGet(job) => watch_gets(job, signals),
        Job::KeepAlive { .. } => unreachable!("leases were granted"),
    }
}

/// Creates the watches, then puts, and receives meanwhile.
fn watch_puts(job: &WatchPuts, signals: &Signals) -> Result<Outcome> {
    const CLASSES: Classes = Classes { created: 0, events: Some(1) };
    /// Until all puts are answered nobody knows how many events there will be.
    const UNKNOWN: u64 = u64::MAX;
    let clock = Clock { began: Instant::now() };
    let mut tally = Tally::new(2);
    let mut watchers = Watchers::open(&job.watches)?;
    let before = watchers.create(clock, CLASSES, &mut tally)?;
    // The clock of the puts is the one by which events are late: their values carry its time.
    let clock = Clock { began: Instant::now() };
    let answered = AtomicU64::new(UNKNOWN);
    let (puts, took) = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            watchers.receive(clock, CLASSES, &mut tally, before, || match answered.load(Ordering::Acquire) {
                UNKNOWN => None,
                answered => Some(before + job.watches.events_of(answered)),
            })
        });
        let puts = drive_by(&job.puts, clock, signals);
        let count = puts.as_ref().map_or(0, |puts| puts.classes[0].latencies.len());
        answered.store(count, Ordering::Release);
        receiver.join().expect("a receiver's panic is a bug")?;
        puts.map(|puts| (puts, clock.began.elapsed()))
    })?;
    tally.beside(puts);
    Ok(Outcome { tally, classes: vec!["watch creation", "watch event", "put"], took })
}

/// Gets a key while the watches catch up.
fn watch_gets(job: &WatchGet, signals: &Signals) -> Result<Outcome> {
    const CLASSES: Classes = Classes { created: 0, events: None };
    let watches = &job.watches;
    let reading = Reading { serializable: true, ..Reading::default() };
    let target = Target::Range("abc".to_owned(), String::new());
    let gets = Load {
        endpoints: watches.endpoints.clone(),
        conns: 1,
        clients: 1,
        threads: 1,
        total: ENDLESS,
        rate: None,
        workload: Workload::range(target, reading),
        access: watches.access.clone(),
    };
    let clock = Clock { began: Instant::now() };
    let mut tally = Tally::new(1);
    let expected = watches.count() as u64 * job.events;
    let mut watchers = Watchers::open(watches)?;
    std::thread::scope(|scope| {
        let getter = scope.spawn(|| drive_by(&gets, clock, signals));
        let received = watchers
            .create(clock, CLASSES, &mut tally)
            .and_then(|events| watchers.receive(clock, CLASSES, &mut tally, events, || Some(expected)));
        let took = clock.began.elapsed();
        signals.stop.store(true, Ordering::Relaxed);
        let gets = getter.join().expect("a getter's panic is a bug")?;
        tally.note("events received", received?);
        tally.beside(gets);
        Ok(Outcome { tally, classes: vec!["watch creation", "get"], took })
    })
}
