//! A cluster of three voters as one value: real cores, their disks, and the messages under way, in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;
use windlass_raft::{Action, Config, Input, Membership, Message, Raft, Role};
use windlass_records::log::EntryKind;
use windlass_types::{LogIndex, MemberId, Term};

use crate::disk::Disk;

const MEMBERS: u64 = 3;

/// How often each thing may happen in one run. Everything else may happen whenever it can.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Members that stand for election.
    pub campaigns: u8,
    /// Entries that leaders are asked for.
    pub proposals: u8,
    /// Processes that end, lose what is under way to their disk, and start again.
    pub crashes: u8,
    /// Messages that arrive twice. Lost ones need no bound: every order is tried, and in some they never arrive.
    pub repeats: u8,
    /// Whether a write is durable when it is asked for, so that a crash loses none.
    pub writes_at_once: bool,
    /// Whether elections begin with a round of pre-votes.
    pub pre_vote: bool,
}

/// Something that is known to be wrong, for the tests of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A crash takes the durable vote along.
    VotesForgotten,
    /// A crash takes the durable entries along.
    EntriesForgotten,
}

/// One thing that can happen next.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A message arrives; its place among those under way.
    Deliver(usize),
    /// A message arrives, and will arrive once more.
    Repeat(usize),
    /// A member's oldest write becomes durable.
    Write(MemberId),
    /// A member stands for election.
    Campaign(MemberId),
    /// A leader is asked for an entry.
    Propose(MemberId),
    /// A member ends and starts again.
    Crash(MemberId),
}

/// The whole cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    members: BTreeMap<MemberId, Member>,
    /// Sorted by fingerprint, so that two orders of sending are one state.
    messages: Vec<(u128, Message)>,
    left: Bounds,
    decided: Decided,
}

#[derive(Clone, Debug)]
struct Member {
    raft: Raft,
    disk: Disk,
    /// Of both, kept because a step changes one member of three.
    fingerprint: u128,
}

/// What was ever decided, which nobody may contradict.
#[derive(Clone, Debug, Default)]
struct Decided {
    leaders: BTreeMap<Term, MemberId>,
    committed: BTreeMap<LogIndex, Term>,
}

impl Cluster {
    /// Nobody leads, nothing is under way.
    pub fn new(bounds: Bounds) -> Self {
        let ids = || (1..=MEMBERS).map(MemberId);
        let member = |id| {
            let disk = Disk::new(Membership::of_voters(ids()));
            let mut member = Member { raft: start(id, bounds, &disk), disk, fingerprint: 0 };
            member.changed();
            (id, member)
        };
        let members = ids().map(member).collect();
        let decided = Decided { committed: BTreeMap::from([(LogIndex(1), Term(1))]), ..Decided::default() };
        Self { members, messages: Vec::new(), left: bounds, decided }
    }

    /// Everything that can happen next.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = self.members.iter().flat_map(|(&id, m)| self.steps_of(id, m)).collect();
        for at in 0..self.messages.len() {
            // Equal messages are one choice.
            if at > 0 && self.messages[at - 1].0 == self.messages[at].0 {
                continue;
            }
            if self.left.repeats > 0 {
                steps.push(Step::Repeat(at));
            }
            steps.push(Step::Deliver(at));
        }
        steps
    }

    fn steps_of(&self, id: MemberId, member: &Member) -> Vec<Step> {
        let leads = member.raft.role() == Role::Leader;
        // Nothing tells members apart before the first campaign, so it may be the first one's.
        let may_campaign = id == MemberId(1) || self.began();
        let choices = [
            (member.disk.under_way() > 0, Step::Write(id)),
            (self.left.campaigns > 0 && !leads && may_campaign, Step::Campaign(id)),
            (self.left.proposals > 0 && leads, Step::Propose(id)),
            (self.left.crashes > 0, Step::Crash(id)),
        ];
        choices.into_iter().filter_map(|(can, step)| can.then_some(step)).collect()
    }

    fn began(&self) -> bool {
        !self.messages.is_empty()
            || self.members.values().any(|m| m.disk.under_way() > 0 || m.raft.term() > Term(1))
    }

    /// What a person reads in a trace.
    pub fn describe(&self, step: Step) -> String {
        match step {
            Step::Deliver(at) => format!("deliver {:?}", self.messages[at].1),
            Step::Repeat(at) => format!("repeat {:?}", self.messages[at].1),
            other => format!("{other:?}"),
        }
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// Which promise of Raft's it broke.
    pub fn take(&mut self, step: Step, bug: Option<Bug>) -> Result<(), String> {
        match step {
            Step::Deliver(at) => {
                let (_, message) = self.messages.remove(at);
                self.feed(message.to, Input::Receive(message))
            }
            Step::Repeat(at) => {
                self.left.repeats -= 1;
                let message = self.messages[at].1.clone();
                self.feed(message.to, Input::Receive(message))
            }
            Step::Write(id) => {
                let (written, _) = self.member(id).disk.complete(1);
                self.feed(id, Input::Persisted(written.expect("a write was under way")))
            }
            Step::Campaign(id) => {
                self.left.campaigns -= 1;
                self.feed(id, Input::Campaign)
            }
            Step::Propose(id) => {
                self.left.proposals -= 1;
                self.feed(id, Input::Propose { kind: EntryKind::Normal, data: Bytes::from_static(b"e") })
            }
            Step::Crash(id) => {
                self.left.crashes -= 1;
                self.crash(id, bug);
                Ok(())
            }
        }
    }

    fn crash(&mut self, id: MemberId, bug: Option<Bug>) {
        let left = self.left;
        let member = self.member(id);
        member.disk.crash();
        match bug {
            Some(Bug::VotesForgotten) => member.disk.forget_vote(),
            Some(Bug::EntriesForgotten) => member.disk.forget_entries(),
            None => {}
        }
        member.raft = start(id, left, &member.disk);
        member.changed();
    }

    fn member(&mut self, id: MemberId) -> &mut Member {
        self.members.get_mut(&id).expect("messages go to members")
    }

    fn feed(&mut self, id: MemberId, input: Input) -> Result<(), String> {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let before = self.members[&id].raft.commit();
            let mut actions = Vec::new();
            self.member(id).raft.step(input, &mut actions);
            for action in actions {
                inputs.extend(self.act(id, action)?);
            }
            self.check(id, before)?;
        }
        self.member(id).changed();
        Ok(())
    }

    /// Carries out an action; the state machine applies at once.
    fn act(&mut self, id: MemberId, action: Action) -> Result<Option<Input>, String> {
        match action {
            Action::Persist(persist) => {
                let at_once = self.left.writes_at_once;
                let disk = &mut self.member(id).disk;
                disk.submit(persist);
                return Ok(at_once.then(|| disk.complete(1).0).flatten().map(Input::Persisted));
            }
            Action::Send(message) => {
                let fingerprint = fingerprint(&message);
                let at = self.messages.partition_point(|(known, _)| *known <= fingerprint);
                self.messages.insert(at, (fingerprint, message));
            }
            Action::Apply(entries) => {
                let last = entries.last().expect("something is applied").index;
                return Ok(Some(Input::Applied(last)));
            }
            Action::MessageRejected { from, fault } => {
                return Err(format!("a true message of {from} is rejected as {fault:?}"));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Source: Raft thesis figure 3.2.
    fn check(&mut self, id: MemberId, before: LogIndex) -> Result<(), String> {
        let raft = &self.members[&id].raft;
        for index in (before.0 + 1..=raft.commit().0).map(LogIndex) {
            let term = raft.term_at(index).expect("nothing is cut");
            let known = *self.decided.committed.entry(index).or_insert(term);
            if known != term {
                return Err(format!("member {id} commits another entry at {index}"));
            }
            self.is_durable(index, term)?;
        }
        if raft.role() == Role::Leader {
            let first = *self.decided.leaders.entry(raft.term()).or_insert(id);
            if first != id {
                return Err(format!("two leaders in term {}", raft.term()));
            }
            let lacks =
                |(&index, &term): (&LogIndex, &Term)| (raft.term_at(index) != Some(term)).then_some(index);
            // An old leader need not have what a later one committed.
            let own = self.decided.committed.iter().filter(|(_, term)| **term < raft.term());
            if let Some(index) = own.filter_map(lacks).next() {
                return Err(format!("the leader of {} lacks entry {index}", raft.term()));
            }
        }
        Ok(())
    }

    /// What is committed is on the disks of a majority.
    fn is_durable(&self, index: LogIndex, term: Term) -> Result<(), String> {
        let holders: BTreeSet<MemberId> =
            self.members.iter().filter(|(_, m)| m.disk.holds(index, Some(term))).map(|(&id, _)| id).collect();
        if holders.len() as u64 > MEMBERS / 2 {
            return Ok(());
        }
        Err(format!("entry {index} is committed, but on the disks of {holders:?} only"))
    }

    /// Two clusters with one fingerprint are taken to be in one state: 128 bits of what they print.
    pub fn fingerprint(&self) -> u128 {
        let members: Vec<u128> = self.members.values().map(|m| m.fingerprint).collect();
        let messages: Vec<u128> = self.messages.iter().map(|(fingerprint, _)| *fingerprint).collect();
        fingerprint(&(members, messages, self.left, &self.decided))
    }
}

impl Member {
    fn changed(&mut self) {
        self.fingerprint = fingerprint(&(&self.raft, &self.disk));
    }
}

fn fingerprint(state: &impl fmt::Debug) -> u128 {
    let mut print = Fingerprint::default();
    write!(print, "{state:?}").expect("hashing does not fail");
    u128::from(print.0.finish()) << 64 | u128::from(print.1.finish())
}

fn start(id: MemberId, bounds: Bounds, disk: &Disk) -> Raft {
    // No ticks, so nothing depends on time: elections begin when the search says so.
    let config = Config {
        pre_vote: bounds.pre_vote,
        check_quorum: false,
        // One append at a time to a follower: more of them add orders, and nothing that these bounds could tell apart.
        inflight_appends_max: 1,
        ..Config::new(id, 1, id.0)
    };
    Raft::new(config, disk.restored())
}

/// Two independent hashes of a text that is never held whole.
struct Fingerprint(DefaultHasher, DefaultHasher);

impl Default for Fingerprint {
    fn default() -> Self {
        let mut second = DefaultHasher::new();
        second.write_u8(1);
        Self(DefaultHasher::new(), second)
    }
}

impl Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        self.1.write(text.as_bytes());
        Ok(())
    }
}
