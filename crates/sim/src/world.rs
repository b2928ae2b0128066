//! One run: members, their clients and their faults, from the seed to the verdict.

mod clocks;
mod wipes;

use crate::agenda::{MILLISECOND_NS, SECOND_NS};
use crate::bug::Bug;
use crate::check::{Check, Violation, ensure};
use crate::env::{Env, Event, Fault, Site, Stop, member_of};
use crate::member::Member;
use crate::network::{Content, Packet};
use crate::operator;
use crate::profile::{Kind, SHARDS_MAX};
use crate::random::{Concern, Random, between, stream};
use crate::record::Operation;
use crate::repair::Repair;
use crate::report::{Count, Totals, Wanted};
use crate::start;

/// Virtual time in which, once faults stop, everything must be answered and durable; in nanoseconds.
const SETTLE_NS: u64 = 30 * SECOND_NS;

/// Virtual time after which clients ask no more, in nanoseconds.
const BUSY_NS_MAX: u64 = 120 * SECOND_NS;

/// Events of one run at most, for each member; more is a livelock.
const EVENTS_MAX: u64 = 1_000_000;

/// Longest time without room, in nanoseconds.
const FULL_NS_MAX: u64 = 3 * SECOND_NS;

/// Longest time that a machine is slow, or the network cut, in nanoseconds.
const TROUBLE_NS_MAX: u64 = 8 * SECOND_NS;

/// Operations until one fails, at most.
const FAIL_AFTER_MAX: u64 = 40;

/// Deaths of processes in a cluster for each bit that rots, about.
const ROT_ONE_IN: u64 = 3;

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was counted.
    pub totals: Totals,
    /// The broken promise, if there is one.
    pub violation: Option<Violation>,
    /// What is told, if it was asked for.
    pub lines: Vec<String>,
    /// What clients did, if that was asked for.
    pub operations: Vec<Operation>,
    /// What the Raft cores did, a line of JSON for each event, if that was asked for.
    pub trace: Vec<String>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Clients ask, things go wrong.
    Busy,
    /// Nothing goes wrong any more; everything must settle until then.
    Settling(u64),
    /// One power failure and a start later; everything must be there.
    Last(u64),
    /// Over.
    Over,
}

/// See the module.
pub struct World {
    seed: u64,
    env: Env,
    members: Vec<Option<Member>>,
    /// Processes that have no member yet because it must be repaired.
    repairs: Vec<Option<Repair>>,
    /// Number of shards of each member at its next start.
    shards: Vec<u16>,
    faults: Random,
    rot: Random,
    time: Random,
    wiping: Random,
    clocks_left: u64,
    wipes_left: u64,
    faults_left: u64,
    operations_left: u64,
    phase: Phase,
}

impl World {
    /// The run of `seed`, with a known bug in the glue or none.
    #[must_use]
    pub fn new(seed: u64, kind: Kind, bug: Option<Bug>, wanted: Wanted) -> Self {
        let mut env = Env::new(seed, kind, bug, wanted);
        let mut faults = stream(seed, Concern::Faults);
        let (faults_left, operations_left) = (env.profile.faults_max, env.profile.operations);
        let profile = format!("{:?}", env.profile);
        env.story.tell(0, || profile);
        for site in 0..env.profile.founders {
            env.agenda.after(0, (site, Event::Start));
        }
        for viewer in 0..env.audience.len() {
            env.agenda.after(0, (0, Event::View(viewer)));
        }
        let mut world = Self {
            seed,
            members: env.sites.iter().map(|_| None).collect(),
            repairs: env.sites.iter().map(|_| None).collect(),
            rot: stream(seed, Concern::Rot),
            time: stream(seed, Concern::Time),
            wiping: stream(seed, Concern::Wipes),
            clocks_left: env.profile.clocks_max,
            wipes_left: env.profile.wipes_max,
            shards: env.profile.shards.clone(),
            env,
            faults: Random::new(faults.number()),
            faults_left,
            operations_left,
            phase: Phase::Busy,
        };
        world.plan_fault();
        world.plan_operation();
        world.plan_clock();
        world.plan_wipe();
        world
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let violation = self.events().err();
        let Self { seed, mut env, .. } = self;
        if let Some(violation) = &violation {
            env.tell(|| format!("BROKEN {violation}"));
        }
        env.totals.simulated_ns = env.agenda.now_ns();
        let (lines, operations) = (env.story.lines(), env.record.operations());
        let trace = env.trace.unwrap_or_default();
        Outcome { seed, totals: env.totals, violation, lines, operations, trace }
    }

    fn events(&mut self) -> Result<(), Violation> {
        while self.phase != Phase::Over {
            let (site, event) = self.env.agenda.advance().expect("a process that runs has timers");
            self.env.totals.count(Count::Events);
            self.env.at = site;
            let outcome = self.happen(event);
            self.survive(outcome)?;
            self.look()?;
        }
        Ok(())
    }

    fn survive(&mut self, outcome: Result<(), Stop>) -> Result<(), Violation> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Stop::Violated(violation)) => Err(violation),
            Err(Stop::Died(why)) => self.ended(&why),
            Err(Stop::Removed) => {
                self.env.tell(|| "was removed, and ends".into());
                self.members[self.env.at] = None;
                self.env.ended(false);
                self.env.site_mut().gone = true;
                Ok(())
            }
            Err(Stop::Anew) => {
                self.members[self.env.at] = None;
                self.repairs[self.env.at] = None;
                self.env.ended(false);
                self.env.after(MILLISECOND_NS, Event::Start);
                Ok(())
            }
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Stop> {
        match event {
            Event::Start => return self.start(),
            Event::Fault(fault) => {
                self.strike(fault);
                return Ok(());
            }
            Event::Operate => {
                self.operate();
                return Ok(());
            }
            Event::Replace => {
                self.replace();
                return Ok(());
            }
            Event::View(viewer) => return Ok(self.env.view(viewer)?),
            Event::Told(viewer, stream, response) => {
                self.env.told(viewer, stream, *response);
                return Ok(());
            }
            _ => {}
        }
        let Self { env, members, repairs, .. } = self;
        if let Some(repair) = &mut repairs[env.at] {
            return if repair.happen(event, env, members) { Err(Stop::Anew) } else { Ok(()) };
        }
        let Some(member) = &mut members[env.at] else { return Ok(()) };
        let now = env.life();
        match event {
            Event::Wake(life, thread) | Event::Timer(life, thread) if life == now => {
                return member.wake(thread, env);
            }
            Event::Disk(life, disk) if life == now => member.disk(disk, env),
            Event::Tick(life) if life == now => return member.tick(env),
            Event::Retry(life) if life == now => member.retry(env),
            Event::Turn(life) if life == now => return member.clients_turn(env),
            Event::WriteTimeout(life, id) if life == now => member.write_times_out(id, env),
            Event::ReadTimeout(life, id) if life == now => member.reads_time_out(id, env),
            Event::Patience(life, id) if life == now => member.patience_ends(id, env),
            Event::WatchAsked(life, stream, ask) if life == now => member.watch_asked(stream, ask, env),
            Event::Connect(life, peer) if life == now => return self.connect(peer),
            Event::Disconnect(life, peer, epoch) if life == now && env.disconnect(peer, epoch) => {
                member.disconnected(peer, env);
            }
            Event::Arrive(packet) if env.reaches(&packet) => {
                comes_from_memory(&packet, env)?;
                return member.arrive(packet, env);
            }
            _ => {}
        }
        Ok(())
    }

    /// The process here tries to connect with another one, which may know that its member was removed or lost its data, and
    /// says so.
    fn connect(&mut self, peer: usize) -> Result<(), Stop> {
        if !self.env.connect(peer) {
            return Ok(());
        }
        let is_forgotten = self.is_forgotten_by(peer)?;
        let Self { env, members, .. } = self;
        let other = members[peer].as_ref();
        let refused = other.is_some_and(|other| other.core().members().is_removed(env.member()));
        let Some(member) = &mut members[env.at] else { return Ok(()) };
        if refused {
            env.connection_refused(peer);
            member.said_removed(peer);
        } else if is_forgotten {
            env.connection_refused(peer);
            self.has_forgotten();
        } else {
            member.connected(peer, env);
        }
        Ok(())
    }

    /// Some member that lives is asked for something.
    fn operate(&mut self) {
        let Self { env, members, faults, .. } = self;
        let at = env.at;
        if let Some(member) = &mut members[at] {
            operator::operate(member, faults, env);
        }
        self.plan_operation();
    }

    fn plan_operation(&mut self) {
        if self.operations_left == 0 {
            return;
        }
        self.operations_left -= 1;
        let site = self.faults.below(self.members.len() as u64) as usize;
        let delay = 1 + self.faults.below(operator::OPERATION_NS_MAX);
        self.env.agenda.after(delay, (site, Event::Operate));
    }

    fn start(&mut self) -> Result<(), Stop> {
        let at = self.env.at;
        if self.env.site().gone || self.env.site().lost {
            return Ok(());
        }
        if self.env.site().is_empty && !self.may_begin() {
            return Ok(());
        }
        let now_ns = self.env.agenda.now_ns();
        self.env.site_mut().clock.begin(now_ns);
        assert!(self.members[at].is_none(), "one process at a time");
        if self.phase == Phase::Busy && self.faults.one_in(4) {
            self.shards[at] = between(&mut self.faults, 1, SHARDS_MAX) as u16;
        }
        let Self { env, .. } = self;
        match start::start(self.shards[at], env) {
            Ok(started) => {
                env.totals.count(Count::Starts);
                env.site_mut().up = true;
                env.site_mut().rotten = false;
                env.site_mut().is_empty = false;
                self.members[at] = Some(Member::run(started, env)?);
                Ok(())
            }
            Err(error) => {
                let disks = &env.site().disks;
                // An operator whose new layout does not fit goes back to the old one.
                self.shards[at] = disks.layout.count();
                let explained = error.is_explained(disks.full, disks.failing);
                env.totals.count(Count::StartsFailed);
                match error {
                    start::Error::Violated(violation) => Err(Stop::Violated(violation)),
                    error if env.site().rotten && error.is_damage() => {
                        env.tell(|| format!("must be repaired: {error}"));
                        let log_start = env.checker.log_start(at);
                        self.repairs[at] = Some(Repair::begin(log_start, env));
                        Ok(())
                    }
                    error if explained => {
                        self.fall(&error.to_string());
                        Ok(())
                    }
                    error => Err(Violation::new(Check::CannotStart, error.to_string()).into()),
                }
            }
        }
    }

    /// The process ended itself.
    fn ended(&mut self, why: &str) -> Result<(), Violation> {
        ensure(self.env.site().disks.failing, Check::EndedWithoutReason, || why.to_owned())?;
        self.fall(why);
        Ok(())
    }

    fn fall(&mut self, why: &str) {
        self.env.tell(|| format!("the process ends: {why}"));
        let power = self.faults.one_in(4);
        self.die(power);
    }

    fn die(&mut self, power: bool) {
        let at = self.env.at;
        let site = self.env.site();
        if site.gone || site.lost || !(site.founds || site.joins) {
            return;
        }
        let lived = self.members[at].take().is_some() | self.repairs[at].take().is_some();
        if !lived {
            self.env.agenda.retain(|(site, event)| *site != at || !matches!(event, Event::Start));
        }
        self.env.died(power);
        self.rot();
        let delay = 1 + self.faults.below(self.env.profile.down_ns_max);
        self.env.after(delay, Event::Start);
    }

    /// Something on a disk may rot meanwhile, of one member at a time: who repairs it must be a majority.
    fn rot(&mut self) {
        let Self { env, rot, .. } = self;
        let is_unsound = |site: &Site| site.rotten || (site.wiped.is_some() && !site.gone);
        let others_are_sound = env.checker.voters() > 2 && !env.sites.iter().any(is_unsound);
        if !env.calm && others_are_sound && rot.one_in(ROT_ONE_IN) && env.site_mut().disks.rot(rot) {
            env.totals.count(Count::Rotted);
            env.tell(|| "a bit of the shards rots".into());
            env.site_mut().rotten = true;
            env.checker.rotted(env.at);
        }
    }

    fn plan_fault(&mut self) {
        if self.faults_left == 0 {
            return;
        }
        self.faults_left -= 1;
        let kinds = match (self.env.profile.processes_end, self.members.len()) {
            (false, _) => 12..20,
            (true, 1) => 0..12,
            (true, _) => 0..20,
        };
        let fault = match kinds.start + self.faults.below(kinds.end - kinds.start) {
            0..5 => Fault::PowerFailure,
            5..8 => Fault::Kill,
            8..10 => Fault::FailOperation,
            10..12 => Fault::Full,
            12..14 => Fault::Slow,
            _ => Fault::Partition,
        };
        let site = self.faults.below(self.members.len() as u64) as usize;
        let delay = 1 + self.faults.below(self.env.profile.fault_ns_max);
        self.env.agenda.after(delay, (site, Event::Fault(fault)));
    }

    fn strike(&mut self, fault: Fault) {
        self.env.tell(|| format!("fault: {fault:?}"));
        match fault {
            Fault::PowerFailure => self.die(true),
            Fault::Kill => self.die(false),
            Fault::FailOperation => {
                let operations = between(&mut self.faults, 1, FAIL_AFTER_MAX);
                self.env.site_mut().disks.fail_after(operations, &mut self.faults);
            }
            Fault::Full => {
                self.env.totals.count(Count::FullEpisodes);
                self.env.set_full(true);
                let length = self.faults.below(FULL_NS_MAX);
                self.env.after(length, Event::Fault(Fault::Room));
            }
            Fault::Slow => {
                self.env.site_mut().slow = true;
                let length = self.faults.below(TROUBLE_NS_MAX);
                self.env.after(length, Event::Fault(Fault::Fast));
            }
            Fault::Partition => {
                self.env.totals.count(Count::Partitions);
                self.env.partition(&mut self.faults);
                let length = self.faults.below(TROUBLE_NS_MAX);
                self.env.after(length, Event::Fault(Fault::Heal));
            }
            Fault::Room => return self.env.set_full(false),
            Fault::Fast => return self.env.site_mut().slow = false,
            Fault::Heal => return self.env.heal(),
            Fault::Clock => return self.change_clock(),
            Fault::Wipe => return self.wipe(),
        }
        self.plan_fault();
    }

    /// Goes on to the next phase if this one is over.
    fn look(&mut self) -> Result<(), Violation> {
        let now_ns = self.env.agenda.now_ns();
        match self.phase {
            Phase::Busy => {
                if now_ns > BUSY_NS_MAX {
                    self.env.sites.iter_mut().for_each(|site| site.clients.stop());
                }
                let Env { sites, checker, .. } = &self.env;
                let asks = |(at, site): (usize, &Site)| checker.is_member(at) && !site.clients.are_done();
                if !sites.iter().enumerate().any(asks) {
                    self.stop_faults();
                    self.phase = Phase::Settling(now_ns + SETTLE_NS);
                }
            }
            Phase::Settling(by_ns) => {
                if self.have_settled(by_ns)? {
                    self.at_rest(now_ns);
                }
            }
            Phase::Last(by_ns) => {
                if self.have_settled(by_ns)? {
                    self.phase = Phase::Over;
                }
            }
            Phase::Over => {}
        }
        let events = self.env.totals.of(Count::Events);
        let most = EVENTS_MAX * self.members.len() as u64;
        ensure(events < most, Check::Unanswered, || format!("{events} events and no end"))
    }

    fn at_rest(&mut self, now_ns: u64) {
        if !self.env.profile.processes_end {
            self.phase = Phase::Over;
            return;
        }
        self.env.story.tell(now_ns, || "at rest; a last power failure".into());
        for site in 0..self.members.len() {
            self.env.at = site;
            self.die(true);
        }
        self.phase = Phase::Last(now_ns + SETTLE_NS);
    }

    fn stop_faults(&mut self) {
        let env = &mut self.env;
        env.story.tell(env.agenda.now_ns(), || "clients are done; faults stop".into());
        env.agenda.retain(|(_, event)| !matches!(event, Event::Fault(_) | Event::Operate));
        env.calm = true;
        env.heal();
        env.network.calm();
        for site in 0..env.sites.len() {
            env.at = site;
            env.set_full(false);
            env.site_mut().disks.heal();
            env.site_mut().slow = false;
        }
    }

    fn have_settled(&mut self, by_ns: u64) -> Result<bool, Violation> {
        for site in 0..self.members.len() {
            self.env.at = site;
            if self.env.checker.is_member(site) && !self.has_settled(by_ns)? {
                return Ok(false);
            }
        }
        let Env { audience, checker, agenda, .. } = &self.env;
        let Some(what) = audience.waits_for(checker.history()) else { return Ok(true) };
        ensure(agenda.now_ns() <= by_ns, Check::WatchSilent, || what)?;
        Ok(false)
    }

    /// Whether everything is answered here and durable in the shards, and as the model has it.
    fn has_settled(&mut self, by_ns: u64) -> Result<bool, Violation> {
        let late = self.env.agenda.now_ns() > by_ns;
        if !self.is_idle()? {
            ensure(!late, Check::Unanswered, || self.what_is_open())?;
            return Ok(false);
        }
        let Self { env, members, .. } = self;
        let member = members[env.at].as_ref().expect("it is idle");
        let at_rest = member.hash().filter(|_| env.checker.is_cut(env.at));
        let at_rest = at_rest.filter(|(state, _)| state.index == env.checker.applied());
        let Some((state, hash)) = at_rest else {
            ensure(!late, Check::NotReclaimed, || {
                format!("the log of member {} is not cut though nothing happens any more", env.member())
            })?;
            return Ok(false);
        };
        env.checker.at_rest(env.at, &state, hash)?;
        Ok(true)
    }

    /// Whether nobody waits for anything here, and a last write was acknowledged.
    fn is_idle(&mut self) -> Result<bool, Violation> {
        let Self { env, members, .. } = self;
        let Some(member) = &mut members[env.at] else { return Ok(false) };
        match member.serves(env) {
            Ok(serves) => Ok(serves && member.is_idle(env)),
            Err(Stop::Violated(violation)) => Err(violation),
            Err(_) => Ok(false),
        }
    }

    fn what_is_open(&self) -> String {
        let (env, open) = (&self.env, self.env.checker.open(self.env.at));
        let seconds = SETTLE_NS / SECOND_NS;
        match &self.members[env.at] {
            None => format!("member {} is down {seconds} s after the last fault", env.member()),
            Some(member) => format!(
                "{open} writes of member {} are unanswered {seconds} s after the last fault; it is {}",
                env.member(),
                member.core().raft().role(),
            ),
        }
    }
}

/// Nobody hears a member that lost its disks since: it has forgotten what it promised.
fn comes_from_memory(packet: &Packet, env: &Env) -> Result<(), Violation> {
    let lost_before = env.sites[packet.from].wiped.is_some_and(|life| packet.from_life >= life);
    let matters = matches!(packet.content, Content::Raft(_)) && env.checker.is_member(env.at);
    ensure(!(lost_before && matters), Check::Amnesia, || {
        let (here, from) = (env.member(), member_of(packet.from));
        format!(
            "{here} hears {from}, which lost its disks and has forgotten whom it voted for and what it acknowledged"
        )
    })
}
