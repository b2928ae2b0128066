//! One run: a member, its clients and its faults, from the seed to the verdict.

use crate::agenda::{MILLISECOND_NS, SECOND_NS};
use crate::bug::Bug;
use crate::check::{Check, Violation, ensure};
use crate::env::{Env, Event, Fault, Stop};
use crate::member::Member;
use crate::profile::SHARDS_MAX;
use crate::random::{Concern, Random, between, stream};
use crate::report::{Count, Story, Totals};
use crate::start;

/// Virtual time in which, once faults stop, everything must be answered and durable; in nanoseconds.
const SETTLE_NS: u64 = 30 * SECOND_NS;

/// Virtual time after which clients ask no more, in nanoseconds.
const BUSY_NS_MAX: u64 = 120 * SECOND_NS;

/// Events of one run at most; more is a livelock.
const EVENTS_MAX: u64 = 1_000_000;

/// Longest time that a process is down, in nanoseconds.
const DOWN_NS_MAX: u64 = 50 * MILLISECOND_NS;

/// Longest time without room, in nanoseconds.
const FULL_NS_MAX: u64 = 3 * SECOND_NS;

/// Operations until one fails, at most.
const FAIL_AFTER_MAX: u64 = 40;

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
    member: Option<Member>,
    faults: Random,
    faults_left: u64,
    shards: u16,
    phase: Phase,
}

impl World {
    /// The run of `seed`, with a known bug in the glue or none.
    #[must_use]
    pub fn new(seed: u64, bug: Option<Bug>, story: Story) -> Self {
        let mut env = Env::new(seed, bug, story);
        let mut faults = stream(seed, Concern::Faults);
        env.agenda.after(0, Event::Start);
        let faults_left = env.profile.faults_max;
        let shards = env.profile.shards;
        let profile = format!("{:?}", env.profile);
        env.tell(|| profile);
        let mut world = Self {
            seed,
            env,
            member: None,
            faults: Random::new(faults.number()),
            faults_left,
            shards,
            phase: Phase::Busy,
        };
        world.plan_fault();
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
        Outcome { seed, totals: env.totals, violation, lines: env.story.lines() }
    }

    fn events(&mut self) -> Result<(), Violation> {
        while self.phase != Phase::Over {
            let event = self.env.agenda.advance().expect("a process that runs has timers");
            self.env.totals.count(Count::Events);
            match self.happen(event) {
                Ok(()) => {}
                Err(Stop::Violated(violation)) => return Err(violation),
                Err(Stop::Died(why)) => self.ended(&why)?,
            }
            self.look()?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Stop> {
        match event {
            Event::Start => return self.start(),
            Event::Fault(fault) => {
                self.strike(fault);
                return Ok(());
            }
            _ => {}
        }
        let Self { env, member: Some(member), .. } = self else { return Ok(()) };
        match event {
            Event::Wake(life, thread) | Event::Timer(life, thread) if life == env.life => {
                return member.wake(thread, env);
            }
            Event::Disk(life, disk) if life == env.life => member.disk(disk, env),
            Event::Tick(life) if life == env.life => member.tick(env),
            Event::Retry(life) if life == env.life => member.retry(env),
            Event::Turn(life) if life == env.life => return member.clients_turn(env),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), Stop> {
        assert!(self.member.is_none(), "one process at a time");
        if self.phase == Phase::Busy && self.faults.one_in(4) {
            self.shards = between(&mut self.faults, 1, SHARDS_MAX) as u16;
        }
        let Self { env, .. } = self;
        match start::start(self.shards, env) {
            Ok(started) => {
                env.totals.count(Count::Starts);
                self.member = Some(Member::run(started, env)?);
                Ok(())
            }
            Err(error) => {
                // An operator whose new layout does not fit goes back to the old one.
                self.shards = env.disks.layout.count();
                env.totals.count(Count::StartsFailed);
                let explained = error.is_explained(env.disks.full, env.disks.failing);
                match error {
                    start::Error::Violated(violation) => Err(Stop::Violated(violation)),
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
        ensure(self.env.disks.failing, Check::EndedWithoutReason, || why.to_owned())?;
        self.fall(why);
        Ok(())
    }

    fn fall(&mut self, why: &str) {
        self.env.tell(|| format!("the process ends: {why}"));
        let power = self.faults.one_in(4);
        self.die(power);
    }

    fn die(&mut self, power: bool) {
        if self.member.take().is_none() {
            self.env.agenda.retain(|event| !matches!(event, Event::Start));
        }
        self.env.died(power);
        let delay = 1 + self.faults.below(DOWN_NS_MAX);
        self.env.agenda.after(delay, Event::Start);
    }

    fn plan_fault(&mut self) {
        if self.faults_left == 0 {
            return;
        }
        self.faults_left -= 1;
        let fault = match self.faults.below(12) {
            0..5 => Fault::PowerFailure,
            5..8 => Fault::Kill,
            8..10 => Fault::FailOperation,
            _ => Fault::Full,
        };
        let delay = 1 + self.faults.below(self.env.profile.fault_ns_max);
        self.env.agenda.after(delay, Event::Fault(fault));
    }

    fn strike(&mut self, fault: Fault) {
        self.env.tell(|| format!("fault: {fault:?}"));
        match fault {
            Fault::PowerFailure => self.die(true),
            Fault::Kill => self.die(false),
            Fault::FailOperation => {
                let operations = between(&mut self.faults, 1, FAIL_AFTER_MAX);
                self.env.disks.fail_after(operations, &mut self.faults);
            }
            Fault::Full => {
                self.env.totals.count(Count::FullEpisodes);
                self.env.set_full(true);
                let length = self.faults.below(FULL_NS_MAX);
                self.env.agenda.after(length, Event::Fault(Fault::Room));
            }
            Fault::Room => return self.env.set_full(false),
        }
        self.plan_fault();
    }

    /// Goes on to the next phase if this one is over.
    fn look(&mut self) -> Result<(), Violation> {
        let now_ns = self.env.agenda.now_ns();
        match self.phase {
            Phase::Busy => {
                if now_ns > BUSY_NS_MAX {
                    self.env.clients.stop();
                }
                if self.env.clients.are_done() {
                    self.stop_faults();
                    self.phase = Phase::Settling(now_ns + SETTLE_NS);
                }
            }
            Phase::Settling(by_ns) => {
                if self.has_settled(by_ns)? {
                    self.env.tell(|| "at rest; a last power failure".into());
                    self.die(true);
                    self.phase = Phase::Last(now_ns + SETTLE_NS);
                }
            }
            Phase::Last(by_ns) => {
                if self.has_settled(by_ns)? {
                    self.phase = Phase::Over;
                }
            }
            Phase::Over => {}
        }
        let events = self.env.totals.of(Count::Events);
        ensure(events < EVENTS_MAX, Check::Unanswered, || format!("{events} events and no end"))
    }

    fn stop_faults(&mut self) {
        self.env.tell(|| "clients are done; faults stop".into());
        self.env.agenda.retain(|event| !matches!(event, Event::Fault(_)));
        self.env.set_full(false);
        self.env.disks.heal();
    }

    /// Whether everything is answered and durable in the shards, and as the model has it.
    fn has_settled(&self, by_ns: u64) -> Result<bool, Violation> {
        let Self { env, member, .. } = self;
        let late = env.agenda.now_ns() > by_ns;
        let idle = member.as_ref().filter(|m| m.is_idle(env));
        let Some(member) = idle else {
            ensure(!late, Check::Unanswered, || {
                format!(
                    "{} writes are unanswered {} s after the last fault",
                    env.checker.open(),
                    SETTLE_NS / SECOND_NS
                )
            })?;
            return Ok(false);
        };
        let at_rest = member.hash().filter(|_| env.checker.is_cut());
        let Some((state, hash)) = at_rest else {
            ensure(!late, Check::NotReclaimed, || {
                "the log is not cut though nothing happens any more".into()
            })?;
            return Ok(false);
        };
        env.checker.at_rest(&state, hash)?;
        Ok(true)
    }
}
