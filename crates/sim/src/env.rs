//! What surrounds the processes: time, the members' machines, the network, randomness and the judge. It outlives every
//! process.

use windlass_api::etcdserverpb::WatchResponse;
use windlass_io_log::op::Op;
use windlass_io_log::stream::RETRY_NS;
use windlass_raft::TraceEvent;
use windlass_records::batch::{CommandKind, Origin};
use windlass_types::{MemberId, RequestId};

use crate::agenda::Agenda;
use crate::audience::{Audience, StreamId, WatchAsk};
use crate::bug::Bug;
use crate::check::Violation;
use crate::checker::Checker;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::disks::{DiskId, Disks};
use crate::network::{Network, Packet};
use crate::profile::{Kind, Profile};
use crate::random::{Concern, Random, stream};
use crate::record::{Operation, OperationId, Record};
use crate::report::{Count, Story, Totals, Wanted};
use crate::transfer::Arrived;

/// Time in which everyone notices that there is room again, in nanoseconds: twice what passes between two looks.
const ROOM_NOTICED_NS: u64 = 2 * RETRY_NS;

/// How many times longer everything takes on a machine that is slow for a while.
const SLOWNESS: u64 = 30;

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

/// What can go wrong with one member's machine.
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
    /// Everything takes longer.
    Slow,
    /// It does not any more.
    Fast,
    /// The network is cut somewhere.
    Partition,
    /// It is whole again.
    Heal,
    /// Something happens to the machine's clock.
    Clock,
    /// All its disks are lost.
    Wipe,
}

/// Everything that happens at some time. What belongs to a process names its life, and is void in the next one.
#[derive(Clone, Debug)]
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
    /// The client of a write has waited long enough.
    WriteTimeout(u32, RequestId),
    /// So have the clients of these reads.
    ReadTimeout(u32, u64),
    /// The process tries to connect to this member.
    Connect(u32, usize),
    /// The process notices that its connection of this number to this member is lost.
    Disconnect(u32, usize, u64),
    /// Something arrives over the network.
    Arrive(Packet),
    /// A process whose member must be repaired asks for a snapshot.
    Ask(u32),
    /// A transfer of a snapshot is given up if it is still under way.
    Patience(u32, u64),
    /// A client that watches has a turn.
    View(usize),
    /// Something that it asks arrives at its member.
    WatchAsked(u32, StreamId, WatchAsk),
    /// A response on that stream arrives at it.
    Told(usize, StreamId, Box<WatchResponse>),
    /// An operator does something.
    Operate,
    /// An operator replaces the member here, which lost its disks.
    Replace,
    /// Something goes wrong.
    Fault(Fault),
}

/// Why a process goes no further.
#[derive(Debug)]
pub enum Stop {
    /// It ended itself.
    Died(String),
    /// It begins anew to install a snapshot.
    Anew,
    /// It was removed from the cluster.
    Removed,
    /// A promise is broken.
    Violated(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violated(violation)
    }
}

/// One member's machine, with what survives its process, and its clients.
pub struct Site {
    /// The disks.
    pub disks: Disks,
    /// A snapshot that waits on a disk to be installed.
    pub arrived: Option<Arrived>,
    /// Who asks.
    pub clients: Clients,
    /// Number of the process's present life, from 0.
    pub life: u32,
    /// Whether a process lives.
    pub up: bool,
    /// Whether it lets clients in.
    pub serves: bool,
    /// By which time is measured here.
    pub clock: Clock,
    /// Whether everything takes longer.
    pub slow: bool,
    /// Whether the member is told that it founds the cluster.
    pub founds: bool,
    /// Whether it was told to join.
    pub joins: bool,
    /// Whether it was removed, and is not started any more.
    pub gone: bool,
    /// Whether something on its disks rotted since it was started last.
    pub rotten: bool,
    /// Whether the member has never said who it is with the data that it has.
    pub unpublished: bool,
    /// The first life after all its disks were lost.
    pub wiped: Option<u32>,
    /// Whether they were, and nothing is on them yet.
    pub is_empty: bool,
    /// Whether it was told so, and is not started any more.
    pub lost: bool,
    /// When there was room again for the last time, in nanoseconds.
    room_since_ns: Option<u64>,
}

/// See the module.
pub struct Env {
    /// What happens when, and at which site.
    pub agenda: Agenda<(usize, Event)>,
    /// The machines.
    pub sites: Vec<Site>,
    /// The site at which something happens now.
    pub at: usize,
    /// What is between them.
    pub network: Network,
    /// Who watches.
    pub audience: Audience,
    /// Who judges.
    pub checker: Checker,
    /// What was counted.
    pub totals: Totals,
    /// What is told.
    pub story: Story,
    /// What clients did.
    pub record: Record,
    /// What the Raft cores did, a line of JSON for each event, if somebody wants it.
    pub trace: Option<Vec<String>>,
    /// Whether faults have stopped.
    pub calm: bool,
    /// When somebody last wanted the members changed, in nanoseconds.
    pub changed_ns: Option<u64>,
    /// Properties of the run.
    pub profile: Profile,
    /// Which thread runs when.
    pub scheduling: Random,
    latency: Random,
    bug: Option<Bug>,
    sabotage: Random,
}

impl Env {
    /// The surroundings of the run of `seed`, with a known bug in the glue or none.
    #[must_use]
    pub fn new(seed: u64, kind: Kind, bug: Option<Bug>, wanted: Wanted) -> Self {
        let mut profile = Profile::of(seed, kind);
        if bug == Some(Bug::CommittedFromOldTerm) {
            // One entry at a time, so that a leader's old ones reach a majority before its own.
            profile.raft.append_bytes_max = 1;
        }
        let mut disks = stream(seed, Concern::Disks);
        let mut clocks = stream(seed, Concern::Clocks);
        let site = |at: usize| Site {
            disks: Disks::new(profile.shards[at], &mut disks),
            arrived: None,
            clients: Clients::new(seed, at, &profile),
            life: 0,
            up: false,
            serves: false,
            clock: clock_of(&profile, &mut clocks),
            slow: false,
            founds: at < profile.founders,
            joins: false,
            gone: false,
            rotten: false,
            unpublished: true,
            wiped: None,
            is_empty: false,
            lost: false,
            room_since_ns: None,
        };
        let sites: Vec<Site> = (0..profile.members).map(site).collect();
        Self {
            agenda: Agenda::default(),
            network: Network::new(seed, &profile),
            audience: Audience::new(seed, &profile),
            checker: Checker::new(sites.len(), profile.founders),
            sites,
            at: 0,
            totals: Totals::default(),
            story: if wanted.story { Story::told() } else { Story::default() },
            record: Record::new(wanted.record),
            trace: wanted.trace.then(Vec::new),
            calm: false,
            changed_ns: None,
            profile,
            scheduling: stream(seed, Concern::Scheduling),
            latency: stream(seed, Concern::Latency),
            bug,
            sabotage: Random::new(seed),
        }
    }

    /// Here.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.sites[self.at]
    }

    /// Here.
    pub fn site_mut(&mut self) -> &mut Site {
        &mut self.sites[self.at]
    }

    /// Number of the present life of the process here.
    #[must_use]
    pub fn life(&self) -> u32 {
        self.site().life
    }

    /// The member here.
    #[must_use]
    pub fn member(&self) -> MemberId {
        member_of(self.at)
    }

    /// The present run of the member here.
    #[must_use]
    pub fn us(&self) -> Origin {
        Origin { member: self.member(), incarnation: u64::from(self.life()) }
    }

    /// Plans an event here after a delay.
    pub fn after(&mut self, delay_ns: u64, event: Event) {
        self.agenda.after(delay_ns, (self.at, event));
    }

    /// What the clock here shows that only goes on, in nanoseconds.
    #[must_use]
    pub fn shows_ns(&self) -> u64 {
        self.site().clock.shows_ns(self.agenda.now_ns())
    }

    /// Plans an event here for when the clock here shows this time.
    pub fn plan_shown(&mut self, shown_ns: u64, event: Event) {
        let at_ns = self.site().clock.true_ns(shown_ns);
        self.plan(at_ns, event);
    }

    /// Plans an event here.
    pub fn plan(&mut self, at_ns: u64, event: Event) {
        self.agenda.at(at_ns, (self.at, event));
    }

    /// Adds a line to the story.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        let (at, alone) = (self.at, self.sites.len() == 1);
        let line = || if alone { line() } else { format!("{} {}", member_of(at), line()) };
        self.story.tell(self.agenda.now_ns(), line);
    }

    /// Keeps what a Raft core did.
    pub fn trace(&mut self, events: Vec<TraceEvent>) {
        let Some(lines) = &mut self.trace else { return };
        for event in events {
            // Whoever sorts the lines before they are read, as etcd's script does by the third field between colons,
            // finds them in order.
            lines.push(format!(r#"{{"tag":"trace","ts":"{:012}","event":{event}}}"#, lines.len()));
        }
    }

    /// Records a request of a client of the process here that is no write.
    pub fn record_read(
        &mut self,
        method: &'static str,
        request: impl FnOnce() -> Vec<u8>,
    ) -> Option<OperationId> {
        let (client, call_ns) = (self.client(), self.agenda.now_ns());
        self.record.add(|| Operation {
            client: client(),
            method,
            call_ns,
            return_ns: None,
            request: Some(request()),
            response: None,
        })
    }

    /// Records a write of a client of the process here.
    pub fn record_write(&mut self, id: RequestId, kind: CommandKind, request: &[u8]) {
        let (client, call_ns, of) = (self.client(), self.agenda.now_ns(), (self.at, self.life(), id));
        self.record.add_write(of, kind, |method| Operation {
            client: client(),
            method,
            call_ns,
            return_ns: None,
            request: Some(request.to_vec()),
            response: None,
        });
    }

    fn client(&self) -> impl FnOnce() -> String + use<> {
        let (member, life) = (self.member(), self.life());
        move || format!("member {member}, life {life}")
    }

    /// Whether this known bug is built in.
    #[must_use]
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether the known bug `bug` strikes now; it does once in `one_in` times if it is built in.
    pub fn strikes(&mut self, bug: Bug, one_in: u64) -> bool {
        let strikes = self.bug == Some(bug) && self.sabotage.one_in(one_in);
        if strikes {
            self.tell(|| format!("the built-in bug strikes: {bug:?}"));
        }
        strikes
    }

    fn drag(&self, delay_ns: u64) -> u64 {
        if self.site().slow { delay_ns * SLOWNESS } else { delay_ns }
    }

    /// Lets a thread look into its mailbox soon.
    pub fn wake(&mut self, thread: Thread) {
        let delay = 1 + self.scheduling.below(self.profile.wake_ns_max);
        self.after(self.drag(delay), Event::Wake(self.life(), thread));
    }

    /// Number of messages that a thread takes in its next turn.
    pub fn turn_messages(&mut self) -> u64 {
        1 + self.scheduling.below(self.profile.turn_messages_max)
    }

    /// Starts a disk operation; it ends after a while.
    pub fn submit(&mut self, disk: DiskId, op: Op) {
        self.sites[self.at].disks.submit(disk, op, &mut self.totals);
        self.expect_end(disk);
    }

    /// Some operation of the disk will end after a while.
    pub fn expect_end(&mut self, disk: DiskId) {
        let mut delay = 1 + self.latency.below(self.profile.disk_ns_max);
        if self.latency.one_in(20) {
            delay *= 10;
        }
        self.after(self.drag(delay), Event::Disk(self.life(), disk));
    }

    /// There is no room any more here, or there is again.
    pub fn set_full(&mut self, full: bool) {
        let now_ns = self.agenda.now_ns();
        let site = self.site_mut();
        if site.disks.full && !full {
            site.room_since_ns = Some(now_ns);
        }
        site.disks.set_full(full);
    }

    /// Whether some member has no room, or had none a short while ago.
    #[must_use]
    pub fn lacked_room(&self) -> bool {
        let recent = |since: u64| self.agenda.now_ns() - since < ROOM_NOTICED_NS;
        self.sites.iter().any(|site| site.disks.full || site.room_since_ns.is_some_and(recent))
    }

    /// The process here is gone.
    pub fn died(&mut self, power: bool) {
        self.totals.count(if power { Count::PowerFailures } else { Count::Kills });
        self.ended(power);
    }

    /// The process here has ended, in whatever way.
    pub fn ended(&mut self, power: bool) {
        self.checker.died(self.at, &mut self.totals);
        let site = self.site_mut();
        site.disks.die(power);
        site.life += 1;
        (site.up, site.serves) = (false, false);
        self.connections_end(power);
        self.audience.site_ended(self.at);
    }
}

/// Only where clients do everything do all timers go by the member's own clock, so that other runs stay as they are.
fn clock_of(profile: &Profile, random: &mut Random) -> Clock {
    let clock = Clock::of_ticks(profile.tick_ns(random));
    if profile.kind.is_full() { clock.skewed(random) } else { clock }
}

/// The member of a site.
#[must_use]
pub fn member_of(site: usize) -> MemberId {
    MemberId(site as u64 + 1)
}

/// The site of a member.
#[must_use]
pub fn site_of(member: MemberId) -> usize {
    usize::try_from(member.0).expect("few members") - 1
}
