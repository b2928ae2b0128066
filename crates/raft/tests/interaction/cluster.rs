//! A cluster that does what a script says, and says what it did.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use windlass_raft::{
    Action, Body, Change, ConfChange, Config, EntryId, Input, Membership, Message, Raft, ReadId,
    SnapshotMeta, Transition,
};
use windlass_records::log::{Entry, EntryKind};
use windlass_types::{LogIndex, MemberId, Term};

use crate::disk::Disk;
use crate::trace;

struct Member {
    raft: Raft,
    disk: Disk,
    incarnation: u64,
}

/// See the module.
#[derive(Default)]
pub struct Cluster {
    members: BTreeMap<u64, Member>,
    options: BTreeMap<String, String>,
    messages: Vec<Message>,
    cut_off: Vec<u64>,
    out: String,
}

/// The words of a command: plain ones and `name=value`.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        let (named, plain): (Vec<&str>, Vec<&str>) = line.split_whitespace().partition(|w| w.contains('='));
        Self { plain, named: named.into_iter().filter_map(|w| w.split_once('=')).collect() }
    }

    fn id(&self, at: usize) -> u64 {
        self.plain[at].parse().expect("a number")
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.named.get(name).map_or(default, |w| w.parse().expect("a number"))
    }

    fn entry_id(&self, name: &str) -> EntryId {
        let (index, term) = if self.named.contains_key(name) { self.pair(name) } else { (0, 0) };
        EntryId { index: LogIndex(index), term: Term(term) }
    }

    fn pair(&self, name: &str) -> (u64, u64) {
        let (index, term) = self.named[name].split_once('/').expect("index/term");
        (index.parse().expect("a number"), term.parse().expect("a number"))
    }
}

fn ids(text: &str) -> impl Iterator<Item = MemberId> + '_ {
    text.split(',').filter(|w| !w.is_empty()).map(|w| MemberId(w.parse().expect("a number")))
}

impl Cluster {
    /// Carries out one command and returns its trace; none for a command that begins with `quiet`.
    pub fn run(&mut self, line: &str) -> String {
        self.out.clear();
        if let Some(line) = line.strip_prefix("quiet ") {
            self.run(line);
            return String::new();
        }
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = Words::new(rest);
        match command {
            // cluster members=1,2,3 voters=1,2 learners=3 [disk=manual] [apply=manual] [a Config field=value]
            "cluster" => self.build(&words),
            "campaign" => self.step(words.id(0), Input::Campaign),
            // tick MEMBER [count=N]
            "tick" => (0..words.number("count", 1)).for_each(|_| self.step(words.id(0), Input::Tick)),
            "propose" => self.propose(&words),
            // change MEMBER v4 l5 r1 [transition=implicit|explicit]; without changes it leaves a joint membership
            "change" => self.change(&words),
            // persist MEMBER [count=N]
            "persist" => self.persist(words.id(0), words.number("count", u64::MAX)),
            // lead MEMBER: campaign and settle with all writes done
            "lead" => {
                self.step(words.id(0), Input::Campaign);
                self.settle_all();
            }
            // applied MEMBER INDEX
            "applied" => self.step(words.id(0), Input::Applied(LogIndex(words.id(1)))),
            // deliver [from=N] [to=N]: what is under way now; settle: until nothing is
            "deliver" => self.deliver(&words),
            "settle" => self.settle(),
            // finish: like settle, with all writes done
            "finish" => self.settle_all(),
            // drop [from=N] [to=N]
            "drop" => self.take(&words).iter().for_each(|m| self.say("lost", &trace::message(m))),
            // cut MEMBER.. loses everything to and from them until: heal
            "cut" => self.cut_off = (0..words.plain.len()).map(|i| words.id(i)).collect(),
            "heal" => self.cut_off.clear(),
            "read" => self.step(words.id(0), Input::ReadIndex(ReadId(words.id(1)))),
            "transfer" => self.step(words.id(0), Input::TransferLeader(MemberId(words.id(1)))),
            "unreachable" => self.step(words.id(0), Input::ReportUnreachable(MemberId(words.id(1)))),
            // compact MEMBER INDEX
            "compact" => self.compact(words.id(0), LogIndex(words.id(1))),
            // snapshot MEMBER to=N: takes it; snapshot-sent MEMBER to=N [failed]
            "snapshot" => self.snapshot(words.id(0), MemberId(words.number("to", 0))),
            "snapshot-sent" => {
                let to = MemberId(words.number("to", 0));
                let delivered = !words.plain.contains(&"failed");
                self.step(words.id(0), Input::SnapshotSent { to, delivered });
            }
            "restart" => self.restart(words.id(0)),
            "status" => self.status(),
            // forge FROM TO KIND term=N ..: a message that nobody sent
            "forge" => self.forge(&words),
            other => panic!("no such command: {other}"),
        }
        std::mem::take(&mut self.out)
    }

    fn say(&mut self, who: impl std::fmt::Display, what: &str) {
        writeln!(self.out, "  {who}: {what}").expect("a string takes all");
    }

    fn build(&mut self, words: &Words<'_>) {
        *self = Self {
            options: words.named.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..Self::default()
        };
        let membership = Membership {
            learners: ids(words.named.get("learners").unwrap_or(&"")).collect(),
            ..Membership::of_voters(ids(words.named["voters"]))
        };
        let members = words.named.get("members").map_or(membership.members(), |w| ids(w).collect());
        for id in members {
            let known = if membership.contains(id) { membership.clone() } else { Membership::default() };
            let disk = Disk::new(known);
            let raft = Raft::new(self.config(id, 1), disk.restored());
            self.members.insert(id.0, Member { raft, disk, incarnation: 1 });
        }
    }

    fn config(&self, id: MemberId, incarnation: u64) -> Config {
        let number = |name: &str, default: usize| {
            self.options.get(name).map_or(default, |v| v.parse().expect("a number"))
        };
        let config = Config::new(id, incarnation, id.0);
        Config {
            pre_vote: number("pre_vote", 1) == 1,
            check_quorum: number("check_quorum", 1) == 1,
            append_bytes_max: number("append_bytes_max", config.append_bytes_max),
            inflight_appends_max: number("inflight_appends_max", config.inflight_appends_max),
            uncommitted_bytes_max: number("uncommitted_bytes_max", config.uncommitted_bytes_max),
            retained_bytes_max: number("retained_bytes_max", config.retained_bytes_max),
            ..config
        }
    }

    fn step(&mut self, id: u64, input: Input) {
        let mut actions = Vec::new();
        let member = self.members.get_mut(&id).expect("a member");
        member.raft.step(input, &mut actions);
        let (mut applied, mut membership) = (None, None);
        for action in actions {
            self.say(id, &trace::action(&action));
            let member = self.members.get_mut(&id).expect("a member");
            match action {
                Action::Persist(persist) => member.disk.submit(persist),
                Action::Send(message) => self.messages.push(message),
                Action::Apply(entries) => applied = entries.last().map(|e| e.index),
                Action::MembershipChanged { membership: changed, .. } => membership = Some(changed),
                _ => {}
            }
        }
        if let Some(index) = applied {
            let disk = &mut self.members.get_mut(&id).expect("a member").disk;
            let membership = membership.unwrap_or_else(|| disk.membership().clone());
            disk.apply(index, membership);
            if self.options.get("apply").is_none_or(|a| a != "manual") {
                self.step(id, Input::Applied(index));
            }
        }
        if self.options.get("disk").is_none_or(|d| d != "manual") {
            self.persist(id, u64::MAX);
        }
    }

    fn persist(&mut self, id: u64, count: u64) {
        let disk = &mut self.members.get_mut(&id).expect("a member").disk;
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(disk.under_way());
        if let (Some(done), _) = disk.complete(count) {
            self.step(id, Input::Persisted(done));
        }
    }

    fn propose(&mut self, words: &Words<'_>) {
        for data in &words.plain[1..] {
            let data = Bytes::copy_from_slice(data.as_bytes());
            self.step(words.id(0), Input::Propose { kind: EntryKind::Normal, data });
        }
    }

    fn change(&mut self, words: &Words<'_>) {
        let change = |word: &&str| {
            let (kind, id) = word.split_at(1);
            let id = MemberId(id.parse().expect("a number"));
            match kind {
                "v" => Change::AddVoter(id),
                "l" => Change::AddLearner(id),
                "r" => Change::Remove(id),
                _ => panic!("no such change: {word}"),
            }
        };
        let transition = match words.named.get("transition") {
            Some(&"implicit") => Transition::JointImplicit,
            Some(&"explicit") => Transition::JointExplicit,
            _ => Transition::Auto,
        };
        let changes = words.plain[1..].iter().map(change).collect();
        let data = ConfChange { transition, changes, context: Bytes::new() }.encode();
        self.step(words.id(0), Input::Propose { kind: EntryKind::ConfChange, data });
    }

    /// Takes the messages that a command names out of those under way.
    fn take(&mut self, words: &Words<'_>) -> Vec<Message> {
        let (from, to) = (words.number("from", 0), words.number("to", 0));
        let named = |m: &Message| (from == 0 || m.from.0 == from) && (to == 0 || m.to.0 == to);
        let (taken, left) = std::mem::take(&mut self.messages).into_iter().partition(named);
        self.messages = left;
        taken
    }

    fn deliver(&mut self, words: &Words<'_>) {
        for message in self.take(words) {
            let is_cut = self.cut_off.contains(&message.from.0) || self.cut_off.contains(&message.to.0);
            if is_cut || !self.members.contains_key(&message.to.0) {
                self.say("lost", &trace::message(&message));
            } else {
                let line = format!("deliver {}", trace::message(&message));
                writeln!(self.out, " {line}").expect("a string takes all");
                self.step(message.to.0, Input::Receive(message));
            }
        }
    }

    fn settle(&mut self) {
        let mut rounds = 0;
        while !self.messages.is_empty() {
            self.deliver(&Words::new(""));
            rounds += 1;
            assert!(rounds < 100, "the cluster does not come to rest");
        }
    }

    fn settle_all(&mut self) {
        while !self.messages.is_empty() || self.members.values().any(|m| m.disk.under_way() > 0) {
            self.members
                .keys()
                .copied()
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|id| self.persist(id, u64::MAX));
            self.deliver(&Words::new(""));
        }
    }

    fn compact(&mut self, id: u64, index: LogIndex) {
        self.members.get_mut(&id).expect("a member").disk.compact(index);
        self.step(id, Input::Compact(index));
    }

    fn snapshot(&mut self, id: u64, to: MemberId) {
        let member = &self.members[&id];
        let index = member.disk.applied();
        let term = member.raft.term_at(index).expect("what is applied last is known");
        let meta = SnapshotMeta { index, term, membership: member.disk.membership().clone() };
        self.step(id, Input::SnapshotTaken { to, meta });
    }

    fn restart(&mut self, id: u64) {
        let mut member = self.members.remove(&id).expect("a member");
        member.incarnation += 1;
        let config = self.config(MemberId(id), member.incarnation);
        member.disk.crash();
        member.raft = Raft::new(config, member.disk.restored());
        self.members.insert(id, member);
    }

    fn status(&mut self) {
        for (id, Member { raft, .. }) in &self.members {
            let (role, term, leader) = (raft.role(), raft.term(), raft.leader());
            let (durable, commit, last) = (raft.durable(), raft.commit(), raft.last_index());
            writeln!(
                self.out,
                "  {id}: {role} term={term} leader={leader} start={} applied={} commit={commit} durable={durable} last={last}",
                raft.start_index(),
                raft.applied(),
            )
            .expect("a string takes all");
            for peer in raft.peers() {
                let active = if peer.is_active { "" } else { " quiet" };
                writeln!(
                    self.out,
                    "     peer {} matched={} next={} {:?}{active}",
                    peer.id, peer.matched, peer.next, peer.state
                )
                .expect("a string takes all");
            }
        }
    }

    fn forge(&mut self, words: &Words<'_>) {
        let index = LogIndex(words.number("index", 0));
        let commit = LogIndex(words.number("commit", 0));
        let body = match words.plain[2] {
            "heartbeat" => Body::Heartbeat { commit, read: None },
            "accepted" => Body::AppendAccepted { index },
            "rejected" => {
                let (hint_index, hint_term) = words.pair("hint");
                let (hint_index, hint_term) = (LogIndex(hint_index), Term(hint_term));
                Body::AppendRejected { prev_index: index, hint_index, hint_term }
            }
            "append" => {
                let (prev_index, prev_term) = words.pair("prev");
                let entry = |word: &str| {
                    let (index, term) = word.split_once('/').expect("index/term");
                    let (index, term) = (index.parse().expect("a number"), term.parse().expect("a number"));
                    Entry {
                        index: LogIndex(index),
                        term: Term(term),
                        kind: EntryKind::Normal,
                        data: Bytes::new(),
                    }
                };
                let entries = words.plain[3..].iter().map(|w| entry(w)).collect();
                Body::Append { prev_index: LogIndex(prev_index), prev_term: Term(prev_term), commit, entries }
            }
            "snapshot" => {
                let (index, term) = words.pair("at");
                let membership = Membership::of_voters(ids(words.named["voters"]));
                Body::Snapshot(SnapshotMeta { index: LogIndex(index), term: Term(term), membership })
            }
            "vote" => {
                let (last, commit) = (words.entry_id("last"), words.entry_id("committed"));
                Body::Vote { last, commit, transfer: false }
            }
            "vote-reply" => Body::VoteReply { granted: true, commit: words.entry_id("committed") },
            "timeout-now" => Body::TimeoutNow,
            other => panic!("no such message: {other}"),
        };
        let (from, to) = (MemberId(words.id(0)), MemberId(words.id(1)));
        let to_member = words.number("at-member", to.0);
        let message = Message { from, to, term: Term(words.number("term", 1)), body };
        self.step(to_member, Input::Receive(message));
    }
}
