//! Random histories of leaders that come and go, over one log: no lease may end before the time that a renewal promised,
//! and each must end.

use std::collections::{BTreeMap, VecDeque};

use prost::Message;
use windlass_raft::ReadId;
use windlass_records::batch::CommandKind;
use windlass_types::{LeaseId, LogIndex, RequestId, Term};

use super::*;
use crate::oracle::generate::Random;
use crate::system::System;

const SEEDS: u64 = 400;
const STEPS: usize = 1500;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
const EXTENSION: u64 = SECOND;

/// An entry: the term it was proposed in, and one command; none for a leader's first.
type Entry = (Term, Option<(CommandKind, Vec<u8>)>);

struct Member {
    leases: Leases,
    system: System,
    lessor: Lessor,
    applied: usize,
    /// The clocks of members have nothing to do with each other.
    clock_offset: u64,
    questions: VecDeque<(ReadId, Term)>,
}

struct World {
    random: Random,
    now: u64,
    log: Vec<Entry>,
    /// What the leader proposed and did not replicate yet; lost with its leadership.
    proposed: VecDeque<Entry>,
    members: Vec<Member>,
    leader: usize,
    term: Term,
    /// Until when each lease was promised to live, and when it was last renewed or granted.
    promised: BTreeMap<LeaseId, u64>,
    asks: BTreeMap<u64, LeaseId>,
    next_ask: u64,
    next_lease: i64,
    renewed: u64,
    ended: u64,
    marked: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let member = |random: &mut Random| Member {
            leases: Leases::default(),
            system: System::default(),
            lessor: Lessor::new(Options { extension_ns: EXTENSION }),
            applied: 0,
            clock_offset: random.below(1000) * SECOND,
            questions: VecDeque::new(),
        };
        let members = (0..3).map(|_| member(&mut random)).collect();
        let mut world = Self {
            random,
            now: 0,
            log: Vec::new(),
            proposed: VecDeque::new(),
            members,
            leader: 0,
            term: Term(0),
            promised: BTreeMap::new(),
            asks: BTreeMap::new(),
            next_ask: 0,
            next_lease: 0,
            renewed: 0,
            ended: 0,
            marked: 0,
        };
        world.elect();
        world
    }

    /// Another member leads, or the same again. The old one may learn of it much later.
    fn elect(&mut self) {
        self.term = self.term.next();
        self.leader = self.random.below(3) as usize;
        self.proposed.clear();
        let member = &mut self.members[self.leader];
        let mut actions = Vec::new();
        member.lessor.end(&mut actions);
        self.log.push((self.term, None));
        self.take_actions(self.leader, actions);
    }

    fn step(&mut self) {
        match self.random.below(60) {
            0 => self.elect(),
            1..3 => self.grant(),
            3..15 => self.ask(),
            15..25 => self.replicate(),
            25..40 => self.apply(),
            40..52 => {
                let at = self.random.below(3) as usize;
                self.turn(at);
            }
            52 if self.random.one_in(4) => self.now += self.random.below(20) * SECOND,
            53 => self.learn(),
            _ => self.now += self.random.below(600) * MS,
        }
    }

    /// A member learns that it does not lead any more.
    fn learn(&mut self) {
        let at = self.random.below(3) as usize;
        if at != self.leader {
            let mut actions = Vec::new();
            self.members[at].lessor.end(&mut actions);
            self.take_actions(at, actions);
        }
    }

    fn grant(&mut self) {
        let ids = 4;
        let id = self.next_lease % ids + 1;
        self.next_lease += 1;
        let ttl = 2 + self.random.below(40) as i64;
        let request = windlass_api::etcdserverpb::LeaseGrantRequest { id, ttl };
        self.proposed.push_back((self.term, Some((CommandKind::LeaseGrant, request.encode_to_vec()))));
    }

    /// Any member that takes itself for the leader may be asked.
    fn ask(&mut self) {
        let at = self.random.below(3) as usize;
        let id = LeaseId(1 + self.random.below(4) as i64);
        self.next_ask += 1;
        self.asks.insert(self.next_ask, id);
        let mut actions = Vec::new();
        let asker = Asker::Local(RequestId(self.next_ask));
        let lessor = &mut self.members[at].lessor;
        let leads = lessor.term().is_some();
        lessor.ask(asker, LeaseAsk::KeepAlive(id), leads, &mut actions);
        self.take_actions(at, actions);
    }

    fn replicate(&mut self) {
        if let Some(entry) = self.proposed.pop_front() {
            self.log.push(entry);
        }
    }

    fn apply(&mut self) {
        let at = self.random.below(3) as usize;
        let member = &mut self.members[at];
        let Some((term, command)) = self.log.get(member.applied).cloned() else { return };
        member.applied += 1;
        let index = LogIndex(member.applied as u64);
        let mut events = Vec::new();
        match command {
            None => {}
            Some((CommandKind::LeaseGrant, payload)) => {
                let request = windlass_api::etcdserverpb::LeaseGrantRequest::decode(&payload[..]).unwrap();
                events.extend(member.leases.grant(
                    LeaseId(request.id),
                    request.ttl,
                    index,
                    &mut member.system,
                ));
            }
            Some((CommandKind::LeaseExpire, payload)) => {
                let expired = Expired::decode(&payload[..]).unwrap();
                for lease in expired.leases {
                    if expired.term == term.0 && member.leases.is(&lease) {
                        events.extend(member.leases.revoke(LeaseId(lease.id), &mut member.system));
                    }
                }
            }
            Some((_, payload)) => {
                let checkpoints = Checkpoints::decode(&payload[..]).unwrap();
                for left in checkpoints.leases {
                    if checkpoints.term == term.0 {
                        let event = member.leases.checkpoint(&left, checkpoints.proposal, &mut member.system);
                        self.marked += u64::from(left.left_ms.is_some() && event.is_some());
                        events.extend(event);
                    }
                }
            }
        }
        for event in events {
            self.members[at].lessor.event(event);
            self.judge(at, event);
        }
        let member = &mut self.members[at];
        if at == self.leader && term == self.term {
            member.lessor.begin(term);
        }
    }

    /// The first member that applies it tells the model.
    fn judge(&mut self, at: usize, event: LeaseEvent) {
        let applied = self.members[at].applied;
        if self.members.iter().enumerate().any(|(other, m)| other != at && m.applied >= applied) {
            return;
        }
        match event {
            LeaseEvent::Granted(id, lease) => {
                let promise = self.now + lease.ttl_s as u64 * SECOND;
                self.promised.insert(id, promise);
            }
            LeaseEvent::Revoked(id) => {
                let promise = self.promised.remove(&id).expect("it lived");
                assert!(promise <= self.now, "lease {id} ended {} ms early", (promise - self.now) / MS);
                self.ended += 1;
            }
            LeaseEvent::Checkpointed(..) => {}
        }
    }

    fn turn(&mut self, at: usize) {
        let is_leader = at == self.leader;
        let (term, applied_all) = (self.term, self.members[at].applied == self.log.len());
        let member = &mut self.members[at];
        let mut actions = Vec::new();
        if let Some(id) = member.lessor.take_question() {
            let believed = member.lessor.term().expect("only a leader asks");
            member.questions.push_back((id, believed));
        }
        // Raft answers a leader whom a quorum confirms, and once it has applied what was committed.
        if applied_all && let Some((id, believed)) = member.questions.pop_front() {
            if is_leader && believed == term {
                member.lessor.confirm(id);
            } else {
                member.lessor.drop_question(id, &mut actions);
            }
        }
        let now = self.now + member.clock_offset;
        member.lessor.turn(&member.leases, now, true, &mut actions);
        self.take_actions(at, actions);
    }

    fn take_actions(&mut self, at: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                // What a deposed leader proposes is lost.
                Action::Propose(kind, payload) => {
                    if at == self.leader && !self.random.one_in(10) {
                        self.proposed.push_back((self.term, Some((kind, payload))));
                    }
                }
                Action::Answer(Asker::Local(RequestId(ask)), answer) => {
                    let id = self.asks.remove(&ask).expect("each is answered once");
                    if let LeaseAnswer::Renewed { ttl_s } = answer {
                        self.renewed += 1;
                        let promise = self.promised.get_mut(&id).expect("a lease that lives was renewed");
                        *promise = (*promise).max(self.now + ttl_s as u64 * SECOND);
                    }
                }
                Action::Answer(asker, _) => panic!("{asker:?} did not ask"),
            }
        }
    }

    /// Nobody renews any more, and one leader stays: every lease ends, and not much later than it must.
    fn finish(&mut self) {
        self.elect();
        let latest = self.now + 60 * SECOND;
        while self.now < latest {
            self.now += 100 * MS;
            for at in 0..3 {
                self.turn(at);
                for _ in 0..60 {
                    self.replicate();
                    self.apply();
                }
            }
        }
        assert!(self.promised.is_empty(), "every lease ends: {:?}", self.promised);
    }
}

#[test]
fn no_lease_ends_early_and_each_ends() {
    let (mut renewed, mut ended, mut marked) = (0, 0, 0);
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..STEPS).for_each(|_| world.step());
            world.finish();
            (world.renewed, world.ended, world.marked)
        });
        let (r, e, m) = run.unwrap_or_else(|panic| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic)
        });
        (renewed, ended, marked) = (renewed + r, ended + e, marked + m);
    }
    for n in [renewed, ended, marked] {
        assert!(n > 1000, "{renewed} renewed, {ended} ended, {marked} marked");
    }
}

/// A leader that stays, and one that takes over: a lease that nobody renews gains at most the extension and what passed
/// since the last checkpoint.
#[test]
fn what_is_left_survives_a_change_of_leaders() {
    let (mut leases, mut system) = (Leases::default(), System::default());
    let mut lessor = Lessor::new(Options { extension_ns: EXTENSION });
    lessor.begin(Term(1));
    let mut out = Vec::new();
    lessor.turn(&leases, 0, true, &mut out);
    lessor.event(leases.grant(LeaseId(7), 3600, LogIndex(1), &mut system).unwrap());
    let mut checkpoints = 0;
    for second in 0..3000 {
        lessor.turn(&leases, second * SECOND, true, &mut out);
        for action in out.drain(..) {
            let Action::Propose(CommandKind::LeaseCheckpoint, payload) = action else { panic!("{action:?}") };
            checkpoints += 1;
            let proposed = Checkpoints::decode(&payload[..]).unwrap();
            let event = leases.checkpoint(&proposed.leases[0], proposed.proposal, &mut system);
            lessor.event(event.unwrap());
        }
    }
    assert_eq!(checkpoints, 9, "one each five minutes");
    assert_eq!(Leases::load(&system), leases);
    let mut next = Lessor::new(Options { extension_ns: EXTENSION });
    next.begin(Term(2));
    next.turn(&leases, 5 * SECOND, true, &mut out);
    next.ask(
        Asker::Peer { member: windlass_types::MemberId(2), id: 1 },
        LeaseAsk::TimeToLive(LeaseId(7)),
        true,
        &mut out,
    );
    let question = next.take_question().unwrap();
    next.confirm(question);
    next.turn(&leases, 5 * SECOND, true, &mut out);
    let [Action::Answer(_, LeaseAnswer::Left { left_s, ttl_s: 3600 })] = out[..] else { panic!("{out:?}") };
    assert!((600..=901).contains(&left_s), "{left_s} s left of what should be 600");
}
