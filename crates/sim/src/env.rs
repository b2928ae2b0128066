//! What surrounds the process: time, disks, clients, randomness and the judge. It outlives the process.

use windlass_io_log::op::Op;
use windlass_io_log::stream::RETRY_NS;

use crate::agenda::Agenda;
use crate::bug::Bug;
use crate::check::Violation;
use crate::checker::Checker;
use crate::clients::Clients;
use crate::disks::{DiskId, Disks};
use crate::profile::Profile;
use crate::random::{Concern, Random, stream};
use crate::report::{Count, Story, Totals};

/// Time in which everyone notices that there is room again, in nanoseconds: twice what passes between two looks.
const ROOM_NOTICED_NS: u64 = 2 * RETRY_NS;

/// A thread of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// That of connections.
    Net,
    /// Consensus.
    Consensus,
    /// A shard's; the first one keeps the sequencer's stream too.
    Shard(u16),
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine loses its power.
    PowerFailure,
    /// The process is killed.
    Kill,
    /// An operation of some disk will fail.
    FailOperation,
    /// No disk has room for a further file.
    Full,
    /// There is room again.
    Room,
}

/// Everything that happens at some time. What belongs to a process names its life, and is void in the next one.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The machine starts the process.
    Start,
    /// A thread looks into its mailbox.
    Wake(u32, Thread),
    /// A timer of a thread, for what its core does by time.
    Timer(u32, Thread),
    /// Some operation of a disk ends.
    Disk(u32, DiskId),
    /// One tick of the election clock.
    Tick(u32),
    /// A log without room looks for some.
    Retry(u32),
    /// Clients have a turn.
    Turn(u32),
    /// Something goes wrong.
    Fault(Fault),
}

/// Why a process goes no further.
#[derive(Debug)]
pub enum Stop {
    /// It ended itself.
    Died(String),
    /// A promise is broken.
    Violated(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violated(violation)
    }
}

/// See the module.
pub struct Env {
    /// What happens when.
    pub agenda: Agenda<Event>,
    /// The disks.
    pub disks: Disks,
    /// Who asks.
    pub clients: Clients,
    /// Who judges.
    pub checker: Checker,
    /// What was counted.
    pub totals: Totals,
    /// What is told.
    pub story: Story,
    /// Properties of the run.
    pub profile: Profile,
    /// Number of the process's present life, from 0.
    pub life: u32,
    /// Which thread runs when.
    pub scheduling: Random,
    latency: Random,
    /// When there was room again for the last time, in nanoseconds.
    room_since_ns: Option<u64>,
    bug: Option<Bug>,
    sabotage: Random,
}

impl Env {
    /// The surroundings of the run of `seed`, with a known bug in the glue or none.
    #[must_use]
    pub fn new(seed: u64, bug: Option<Bug>, story: Story) -> Self {
        let profile = Profile::of(seed);
        Self {
            agenda: Agenda::default(),
            disks: Disks::new(profile.shards, &mut stream(seed, Concern::Disks)),
            clients: Clients::new(seed, &profile),
            checker: Checker::default(),
            totals: Totals::default(),
            story,
            profile,
            life: 0,
            scheduling: stream(seed, Concern::Scheduling),
            latency: stream(seed, Concern::Latency),
            room_since_ns: None,
            bug,
            sabotage: Random::new(seed),
        }
    }

    /// Adds a line to the story.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        self.story.tell(self.agenda.now_ns(), line);
    }

    /// Whether the known bug `bug` strikes now; it does once in `one_in` times if it is built in.
    pub fn strikes(&mut self, bug: Bug, one_in: u64) -> bool {
        let strikes = self.bug == Some(bug) && self.sabotage.one_in(one_in);
        if strikes {
            self.tell(|| format!("the built-in bug strikes: {bug:?}"));
        }
        strikes
    }

    /// Lets a thread look into its mailbox soon.
    pub fn wake(&mut self, thread: Thread) {
        let delay = 1 + self.scheduling.below(self.profile.wake_ns_max);
        self.agenda.after(delay, Event::Wake(self.life, thread));
    }

    /// Number of messages that a thread takes in its next turn.
    pub fn turn_messages(&mut self) -> u64 {
        1 + self.scheduling.below(self.profile.turn_messages_max)
    }

    /// Starts a disk operation; it ends after a while.
    pub fn submit(&mut self, disk: DiskId, op: Op) {
        self.disks.submit(disk, op, &mut self.totals);
        self.expect_end(disk);
    }

    /// Some operation of the disk will end after a while.
    pub fn expect_end(&mut self, disk: DiskId) {
        let mut delay = 1 + self.latency.below(self.profile.disk_ns_max);
        if self.latency.one_in(20) {
            delay *= 10;
        }
        self.agenda.after(delay, Event::Disk(self.life, disk));
    }

    /// There is no room any more, or there is again.
    pub fn set_full(&mut self, full: bool) {
        if self.disks.full && !full {
            self.room_since_ns = Some(self.agenda.now_ns());
        }
        self.disks.set_full(full);
    }

    /// Whether there is no room, or was none a short while ago.
    #[must_use]
    pub fn lacked_room(&self) -> bool {
        let recent = |since: u64| self.agenda.now_ns() - since < ROOM_NOTICED_NS;
        self.disks.full || self.room_since_ns.is_some_and(recent)
    }

    /// The process is gone.
    pub fn died(&mut self, power: bool) {
        self.totals.count(if power { Count::PowerFailures } else { Count::Kills });
        self.disks.die(power);
        self.checker.died(&mut self.totals);
        self.life += 1;
    }
}
