//! Members, their disks and the network between them; one event at a time, chosen by the seed.

use std::collections::BTreeMap;

use bytes::Bytes;
use windlass_raft::{
    Action, Change, ConfChange, Config, Input, Membership, Message, Raft, ReadId, Role, SnapshotMeta,
    Transition,
};
use windlass_records::log::EntryKind;
use windlass_types::{LogIndex, MemberId};

use crate::checker::Checker;
use crate::disk::Disk;
use crate::random::Random;

/// Most messages under way; more are lost.
const MESSAGES_MAX: usize = 300;
/// Rounds of one tick each in which a cluster without faults must come to rest.
const REST_ROUNDS_MAX: usize = 400;

/// What kind of cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub members: u64,
    /// Of them, those who begin; zero is all.
    pub founders: u64,
    /// Whether the membership changes.
    pub changes: bool,
    /// Whether a crash may lose what was durable.
    pub lying_disks: bool,
}

struct Member {
    raft: Raft,
    disk: Disk,
    /// An older state of the disk, for one that lies.
    old_disk: Disk,
    incarnation: u64,
    is_up: bool,
    /// The state machine in memory has applied up to here.
    handed: LogIndex,
    /// Changes of membership above what the disk's state machine has.
    memberships: BTreeMap<LogIndex, Membership>,
    /// Followers whose snapshot is to be taken or is on its way.
    snapshots: Vec<(MemberId, bool)>,
}

/// What happened, to see that a run is worth something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub elections: u64,
    pub commits: u64,
    pub reads: u64,
    pub snapshots: u64,
    pub crashes: u64,
    pub changes: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.elections += other.elections;
        self.commits += other.commits;
        self.reads += other.reads;
        self.snapshots += other.snapshots;
        self.crashes += other.crashes;
        self.changes += other.changes;
    }
}

/// See the module.
pub struct World {
    options: Options,
    random: Random,
    config: Config,
    members: BTreeMap<MemberId, Member>,
    messages: Vec<Message>,
    /// Members that only hear each other.
    island: Vec<MemberId>,
    checker: Checker,
    next_read: u64,
    next_data: u64,
    calm: bool,
    tally: Tally,
}

impl World {
    pub fn new(options: Options, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let founders = if options.founders == 0 { options.members } else { options.founders };
        let membership = Membership::of_voters((1..=founders).map(MemberId));
        let base = Config::new(MemberId(1), 0, 0);
        let config = Config {
            pre_vote: options.changes || random.percent(60),
            check_quorum: options.changes || random.percent(60),
            append_bytes_max: 1 + random.below(40),
            inflight_appends_max: 1 + random.below(4),
            uncommitted_bytes_max: 200 + random.below(4000),
            // Little enough that followers which were away need snapshots.
            retained_bytes_max: 300 + random.below(3000),
            ..base
        };
        let mut world = Self {
            options,
            random,
            config,
            members: BTreeMap::new(),
            messages: Vec::new(),
            island: Vec::new(),
            checker: Checker::new(),
            next_read: 0,
            next_data: 0,
            calm: false,
            tally: Tally::default(),
        };
        for id in (1..=options.members).map(MemberId) {
            let known = if membership.contains(id) { membership.clone() } else { Membership::default() };
            let disk = Disk::new(known);
            let raft = world.raft(id, 1, &disk);
            let handed = disk.applied();
            let member = Member {
                raft,
                old_disk: disk.clone(),
                disk,
                incarnation: 1,
                is_up: true,
                handed,
                memberships: BTreeMap::new(),
                snapshots: Vec::new(),
            };
            world.members.insert(id, member);
        }
        world
    }

    fn raft(&mut self, id: MemberId, incarnation: u64, disk: &Disk) -> Raft {
        let seed = self.random.0.bits();
        Raft::new(Config { id, incarnation, seed, ..self.config.clone() }, disk.restored())
    }

    pub fn run(&mut self, events: usize) {
        for _ in 0..events {
            self.event();
        }
    }

    pub fn tally(&self) -> Tally {
        Tally { commits: self.checker.commit().0, reads: self.checker.reads_done, ..self.tally }
    }

    fn member(&mut self, id: MemberId) -> &mut Member {
        self.members.get_mut(&id).expect("a member")
    }

    fn event(&mut self) {
        let id = MemberId(1 + self.random.below(self.members.len()) as u64);
        if !self.members[&id].is_up {
            if self.random.percent(5) {
                self.restart(id);
            }
            return;
        }
        match self.random.below(1000) {
            0..500 => self.deliver_any(),
            500..630 => self.step(id, Input::Tick),
            630..760 => {
                let count = 1 + self.random.below(3);
                self.complete_writes(id, count);
            }
            760..850 => self.propose(id),
            850..900 => self.read(id),
            900..960 => self.applied(id),
            960..982 => self.save_and_compact(id),
            982..984 => self.crash(id),
            984..988 => self.separate(),
            988..992 => self.disturb(id),
            _ => {
                self.go_on_with_snapshots(id);
                self.change_membership(id);
            }
        }
    }

    /// Feeds one input, carries out what follows, and checks it.
    fn step(&mut self, id: MemberId, input: Input) {
        let mut actions = Vec::new();
        let member = self.member(id);
        let (old_commit, old_role) = (member.raft.commit(), (member.raft.role(), member.raft.term()));
        let old_membership = member.raft.membership().clone();
        member.raft.step(input, &mut actions);
        let member = &self.members[&id];
        let was_committed = self.checker.commit();
        self.checker.commits(&member.raft, old_commit);
        if member.raft.role() == Role::Leader && (Role::Leader, member.raft.term()) != old_role {
            self.tally.elections += 1;
            self.checker.leads(&member.raft);
        }
        for index in (was_committed.0 + 1..=self.checker.commit().0).map(LogIndex) {
            self.check_durable(id, index, &old_membership);
        }
        actions.into_iter().for_each(|action| self.carry_out(id, action));
    }

    /// The one that learns of a commit first is the leader. The membership that counted is its own before the step, or
    /// after it if a change took effect meanwhile.
    fn check_durable(&self, id: MemberId, index: LogIndex, before: &Membership) {
        let raft = &self.members[&id].raft;
        let term = raft.term_at(index);
        let holders: Vec<MemberId> =
            self.members.iter().filter(|(_, m)| m.disk.holds(index, term)).map(|(&id, _)| id).collect();
        if !self.options.lying_disks {
            self.checker.is_durable(index, &holders, [before, raft.membership()]);
        }
    }

    fn carry_out(&mut self, id: MemberId, action: Action) {
        let member = self.members.get_mut(&id).expect("a member");
        match action {
            Action::Persist(persist) => {
                for entry in &persist.entries {
                    self.checker.written(entry, member.raft.term_at(LogIndex(entry.index.0 - 1)));
                }
                member.disk.submit(persist);
            }
            Action::Send(message) => {
                self.checker.promises(&message, &member.disk);
                self.messages.push(message);
            }
            Action::Apply(entries) => {
                for entry in &entries {
                    assert_eq!(entry.index, member.handed.next(), "entries are applied in order");
                    assert!(member.disk.holds(entry.index, Some(entry.term)), "what is applied is durable");
                    self.checker.applies(entry);
                    member.handed = entry.index;
                }
            }
            Action::ReadReady { id: read, index } => self.checker.read_ready(id, read, index),
            Action::ReadDropped { id: read } => self.checker.read_dropped(id, read),
            Action::MembershipChanged { index, membership } => {
                self.tally.changes += 1;
                member.memberships.insert(index, membership);
            }
            Action::SnapshotNeeded { to } => member.snapshots.push((to, false)),
            Action::MessageRejected { from, fault } => {
                let excused = self.options.lying_disks || self.options.changes;
                assert!(excused, "member {id} rejects a true message of {from}: {fault:?}");
            }
            Action::ProposalDropped { .. } | Action::RoleChanged { .. } => {}
        }
    }

    fn complete_writes(&mut self, id: MemberId, count: usize) {
        let member = self.members.get_mut(&id).expect("a member");
        let (done, snapshot) = member.disk.complete(count);
        if let Some(meta) = snapshot {
            self.tally.snapshots += 1;
            self.checker.installs(meta.index, meta.term);
            member.handed = meta.index;
            member.memberships = member.memberships.split_off(&meta.index.next());
        }
        if let Some(done) = done {
            self.step(id, Input::Persisted(done));
        }
    }

    fn deliver_any(&mut self) {
        while self.messages.len() > MESSAGES_MAX {
            let lost = self.random.below(self.messages.len());
            self.messages.swap_remove(lost);
        }
        if self.messages.is_empty() {
            return;
        }
        // Most are old ones, some overtake.
        let bound = if self.random.percent(70) { self.messages.len().min(4) } else { self.messages.len() };
        let at = self.random.below(bound);
        let message = self.messages.remove(at);
        if self.random.percent(4) {
            self.messages.push(message.clone());
        }
        if !self.random.percent(8) {
            self.deliver(message);
        }
    }

    fn deliver(&mut self, message: Message) {
        let is_cut = self.island.contains(&message.from) != self.island.contains(&message.to);
        if !is_cut && self.members[&message.to].is_up {
            self.step(message.to, Input::Receive(message));
        }
    }

    fn propose(&mut self, id: MemberId) {
        self.next_data += 1;
        let data = Bytes::from(self.next_data.to_string());
        self.step(id, Input::Propose { kind: EntryKind::Normal, data });
    }

    fn read(&mut self, id: MemberId) {
        self.next_read += 1;
        let read = ReadId(self.next_read);
        self.checker.read_asked(id, read);
        self.step(id, Input::ReadIndex(read));
    }

    fn applied(&mut self, id: MemberId) {
        let member = self.member(id);
        let (from, to) = (member.raft.applied().0, member.handed.0);
        if to > from {
            let index = LogIndex(from + 1 + self.random.below((to - from) as usize) as u64);
            self.step(id, Input::Applied(index));
        }
    }

    /// The state machine's durable state catches up, and the log is cut behind it.
    fn save_and_compact(&mut self, id: MemberId) {
        let member = self.members.get_mut(&id).expect("a member");
        let applied = member.raft.applied();
        // A snapshot that counts as applied in the core may still be on its way to the disk.
        if member.disk.under_way() > 0 || applied < member.disk.applied() {
            return;
        }
        let membership = membership_at(member, applied);
        member.disk.apply(applied, membership);
        member.memberships = member.memberships.split_off(&applied.next());
        if self.random.percent(50) && applied > member.disk.start() {
            let start = member.disk.start().0;
            let index = LogIndex(start + 1 + self.random.below((applied.0 - start) as usize) as u64);
            member.disk.compact(index);
            self.step(id, Input::Compact(index));
        }
    }

    fn crash(&mut self, id: MemberId) {
        self.tally.crashes += 1;
        let lies = self.options.lying_disks && self.random.percent(50);
        let member = self.member(id);
        member.is_up = false;
        member.disk.crash();
        if lies {
            member.disk = member.old_disk.clone();
        }
        member.old_disk = member.disk.clone();
        member.memberships.clear();
        member.snapshots.clear();
        if self.random.percent(50) {
            self.restart(id);
        }
    }

    fn restart(&mut self, id: MemberId) {
        let mut member = self.members.remove(&id).expect("a member");
        member.incarnation += 1;
        member.raft = self.raft(id, member.incarnation, &member.disk);
        member.handed = member.disk.applied();
        member.is_up = true;
        self.members.insert(id, member);
    }

    fn separate(&mut self) {
        self.island.clear();
        if self.random.percent(60) {
            for id in self.members.keys() {
                if self.random.percent(40) {
                    self.island.push(*id);
                }
            }
        }
    }

    fn disturb(&mut self, id: MemberId) {
        let other = MemberId(1 + self.random.below(self.members.len()) as u64);
        let input = match self.random.below(3) {
            0 => Input::Campaign,
            1 => Input::TransferLeader(other),
            _ => Input::ReportUnreachable(other),
        };
        self.step(id, input);
    }

    fn go_on_with_snapshots(&mut self, id: MemberId) {
        let Some((to, is_taken)) = self.member(id).snapshots.pop() else { return };
        let delivered = self.random.percent(70);
        if is_taken || !delivered {
            self.step(id, Input::SnapshotSent { to, delivered });
            return;
        }
        let member = self.member(id);
        let index = member.raft.applied();
        let Some(term) = member.raft.term_at(index) else { return };
        if index < member.disk.applied() {
            return;
        }
        let membership = membership_at(member, index);
        member.snapshots.push((to, true));
        self.step(id, Input::SnapshotTaken { to, meta: SnapshotMeta { index, term, membership } });
    }

    fn change_membership(&mut self, id: MemberId) {
        if !self.options.changes || self.calm {
            return;
        }
        let mut changes = Vec::new();
        for _ in 0..self.random.below(4) {
            let id = MemberId(1 + self.random.below(self.members.len()) as u64);
            changes.push(match self.random.below(4) {
                0 => Change::Remove(id),
                1 => Change::AddLearner(id),
                _ => Change::AddVoter(id),
            });
        }
        let transition = match self.random.below(3) {
            0 => Transition::Auto,
            1 => Transition::JointImplicit,
            _ => Transition::JointExplicit,
        };
        let data = ConfChange { transition, changes, context: Bytes::new() }.encode();
        self.step(id, Input::Propose { kind: EntryKind::ConfChange, data });
    }

    /// Faults stop; then everyone must come to have applied something new.
    pub fn come_to_rest(&mut self) {
        self.calm = true;
        self.island.clear();
        let down: Vec<MemberId> = self.members.iter().filter(|(_, m)| !m.is_up).map(|(&id, _)| id).collect();
        down.into_iter().for_each(|id| self.restart(id));
        let mut goal = None;
        for round in 0..REST_ROUNDS_MAX {
            self.calm_round();
            let leader = self.members.iter().find(|(_, m)| m.raft.is_leader_ready()).map(|(&id, _)| id);
            let Some(leader) = leader.filter(|_| round > 30) else { continue };
            let membership = self.members[&leader].raft.membership().clone();
            let lagging = |goal| membership.members().iter().any(|id| self.members[id].handed < goal);
            match goal {
                Some(goal) if !lagging(goal) => return,
                Some(goal) if self.checker.commit() >= goal => {}
                _ => {
                    self.propose(leader);
                    self.read(leader);
                    goal = Some(self.members[&leader].raft.last_index());
                }
            }
        }
        let status: Vec<String> = self.members.values().map(|m| format!("{:?}", Status::of(m))).collect();
        panic!("no progress without faults:\n{}", status.join("\n"));
    }

    fn calm_round(&mut self) {
        let ids: Vec<MemberId> = self.members.keys().copied().collect();
        for &id in &ids {
            self.step(id, Input::Tick);
        }
        for _ in 0..6 {
            for message in std::mem::take(&mut self.messages) {
                self.deliver(message);
            }
            for &id in &ids {
                self.complete_writes(id, usize::MAX);
                let handed = self.members[&id].handed;
                if handed > self.members[&id].raft.applied() {
                    self.step(id, Input::Applied(handed));
                }
                self.go_on_with_snapshots(id);
            }
        }
    }
}

/// The membership at `index`, from what the disk has and what came since.
fn membership_at(member: &Member, index: LogIndex) -> Membership {
    let newest = member.memberships.range(..=index).next_back();
    newest.map_or_else(|| member.disk.membership().clone(), |(_, membership)| membership.clone())
}

/// What a failure shows of a member.
#[derive(Debug)]
#[allow(dead_code)] // shown, not read
struct Status {
    id: MemberId,
    role: Role,
    term: u64,
    leader: MemberId,
    indices: [u64; 5],
    membership: Membership,
    peers: Vec<windlass_raft::PeerProgress>,
    snapshots: Vec<(MemberId, bool)>,
}

impl Status {
    fn of(member: &Member) -> Self {
        let raft = &member.raft;
        let indices = [raft.start_index(), raft.applied(), raft.commit(), raft.durable(), raft.last_index()]
            .map(|i| i.0);
        Self {
            id: raft.id(),
            role: raft.role(),
            term: raft.term().0,
            leader: raft.leader(),
            indices,
            membership: raft.membership().clone(),
            peers: raft.peers().collect(),
            snapshots: member.snapshots.clone(),
        }
    }
}
