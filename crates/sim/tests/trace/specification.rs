//! What the TLA+ specification of Raft allows, as far as a trace alone shows it: for each event the state that it must
//! find and the one that it leaves, in the words of the specification's actions; and its invariants over all members.
//!
//! Where this knows less than TLC would, that is said: after a crash nobody knows which of the entries are on the disk
//! that a leader had replaced, so such entries are of no known term, and whatever depends on them passes.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Action, Change, Event, Kind, Line, Message, Name, Role, State};

/// The term of an entry, if it is known.
type Entry = Option<u64>;

/// One member as its events have told it.
#[derive(Clone, Debug)]
struct Member {
    state: State,
    role: Role,
    log: Vec<Entry>,
    conf: Option<[BTreeSet<String>; 2]>,
    /// The lowest index that a leader replaced in this life.
    replaced_from: Option<u64>,
    /// The message that it received last.
    received: Option<Message>,
}

impl Member {
    fn last(&self) -> u64 {
        self.log.len() as u64
    }

    /// Nothing if there is no such entry, or nobody knows its term.
    fn term_at(&self, index: u64) -> Entry {
        self.log.get(usize::try_from(index.checked_sub(1)?).ok()?).copied().flatten()
    }

    /// Whether the log may hold an entry of this term here; before the first one everything agrees.
    fn may_hold(&self, index: u64, term: u64) -> bool {
        index == 0 || (index <= self.last() && self.term_at(index).is_none_or(|known| known == term))
    }
}

/// What happened so far.
#[derive(Default)]
pub struct Specification {
    members: BTreeMap<String, Member>,
    sent: BTreeSet<Message>,
    /// Who granted its vote to whom in which term, as candidates have heard.
    votes: BTreeMap<(String, u64), String>,
    leaders: BTreeMap<u64, String>,
    /// What the leader of each term has in its log, which it never replaces.
    leader_logs: BTreeMap<u64, Vec<Entry>>,
    /// What the leader of each term knows that others have.
    matched: BTreeMap<(u64, String), u64>,
    committed: Vec<Entry>,
}

impl Specification {
    /// Follows a trace; what it may not hold.
    pub fn follow(lines: &[String]) -> Result<Self, String> {
        let mut this = Self::default();
        let mut before = String::new();
        for line in lines {
            let parsed: Line = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
            if parsed.tag != "trace" || parsed.ts <= before {
                return Err(format!("not in order: {line}"));
            }
            before = parsed.ts;
            this.event(parsed.event).map_err(|why| format!("{why}: {line}"))?;
        }
        Ok(this)
    }

    /// How many terms had a leader, and how many entries are committed.
    pub fn sizes(&self) -> (usize, usize) {
        (self.leaders.len(), self.committed.len())
    }

    fn event(&mut self, event: Event) -> Result<(), String> {
        if event.name == Name::InitState {
            return self.starts(&event);
        }
        let Some(mut member) = self.members.remove(&event.nid) else {
            return Err("a member that never started".into());
        };
        let checked = self.transition(&mut member, &event);
        // The event of a change shows the membership before it.
        let same_conf = event.name == Name::ApplyConfChange
            || *member.conf.get_or_insert_with(|| event.conf.clone()) == event.conf;
        self.members.insert(event.nid.clone(), member);
        checked?;
        ensure(same_conf, || "the membership is another one".into())
    }

    fn starts(&mut self, event: &Event) -> Result<(), String> {
        let Event { nid, state, role, log, conf, .. } = event;
        ensure(*role == Role::Follower && state.commit <= *log, || "no state to start with".into())?;
        let found = match self.members.remove(nid) {
            // A founder begins with one entry of the first term, a member that joins with nothing.
            None => vec![Some(1); usize::try_from(*log).expect("short")],
            Some(member) => {
                let known = match member.replaced_from {
                    // It installed a snapshot in place of what was not committed.
                    _ if state.commit > member.state.commit => member.state.commit,
                    Some(from) => from - 1,
                    None => member.last(),
                };
                let entry = |index: u64| if index <= known { member.term_at(index) } else { None };
                (1..=*log).map(entry).collect()
            }
        };
        let member = Member {
            state: state.clone(),
            role: *role,
            log: found,
            conf: Some(conf.clone()),
            replaced_from: None,
            received: None,
        };
        self.members.insert(nid.clone(), member);
        Ok(())
    }

    fn transition(&mut self, member: &mut Member, event: &Event) -> Result<(), String> {
        let before = member.state.clone();
        match event.name {
            Name::InitState => unreachable!("handled before"),
            Name::Ready => Ok(()),
            Name::BecomeFollower => {
                if event.state.term > before.term {
                    member.state = State { term: event.state.term, vote: "0".into(), ..before };
                }
                member.role = Role::Follower;
                Ok(())
            }
            Name::BecomeCandidate => candidate(member, event),
            Name::BecomeLeader => self.leads(member, event),
            Name::Replicate | Name::ChangeConf => return self.appends(member, event),
            Name::Commit => self.commits(member, event),
            Name::ApplyConfChange => changes_conf(member, event),
            Name::SendAppendEntriesRequest | Name::SendRequestVoteRequest => self.asks(member, event),
            Name::SendAppendEntriesResponse | Name::SendRequestVoteResponse => self.answers(member, event),
            Name::ReceiveAppendEntriesRequest
            | Name::ReceiveAppendEntriesResponse
            | Name::ReceiveRequestVoteRequest
            | Name::ReceiveRequestVoteResponse => return self.receives(member, event),
        }?;
        same(member, event)
    }

    /// "BecomeLeader", "MoreThanOneLeaderInv" and "LeaderCompletenessInv".
    fn leads(&mut self, member: &mut Member, event: &Event) -> Result<(), String> {
        let term = event.state.term;
        ensure(member.role == Role::Candidate, || "only a candidate becomes leader".into())?;
        let granted = |voter: &String| self.votes.get(&(voter.clone(), term)) == Some(&event.nid);
        ensure(event.conf.iter().all(|voters| is_quorum(voters, granted)), || "no quorum voted".into())?;
        let known = self.leaders.entry(term).or_insert_with(|| event.nid.clone());
        ensure(*known == event.nid, || format!("{known} leads this term"))?;
        for (index, entry) in (1..).zip(&self.committed) {
            let has = entry.is_none_or(|term| member.may_hold(index, term));
            ensure(has, || format!("entry {index} is committed, and the new leader lacks it"))?;
        }
        self.leader_logs.insert(term, member.log.clone());
        member.role = Role::Leader;
        Ok(())
    }

    /// "Replicate": the event shows the log before it.
    fn appends(&mut self, member: &mut Member, event: &Event) -> Result<(), String> {
        ensure(event.role == Role::Leader, || "only a leader appends by itself".into())?;
        same(member, event)?;
        member.log.push(Some(event.state.term));
        self.leader_logs.entry(event.state.term).or_default().push(Some(event.state.term));
        let Some(properties) = &event.prop else { return Ok(()) };
        let allowed =
            |change: &Change| change.action == Action::RemoveServer || !event.conf[0].contains(&change.nid);
        let mut changes = properties.cc.changes.iter().flatten();
        ensure(changes.all(allowed), || "a voter is to become one".into())
    }

    /// "AdvanceCommitIndex"; or a voter learns it from a candidate, which the specification does not know.
    fn commits(&mut self, member: &mut Member, event: &Event) -> Result<(), String> {
        let State { term, commit, .. } = event.state;
        ensure(commit > member.state.commit && commit <= member.last(), || "no entries to commit".into())?;
        if event.role == Role::Leader {
            ensure(member.term_at(commit) == Some(term), || "committed from an earlier term".into())?;
            let has = |voter: &String| {
                self.matched.get(&(term, voter.clone())).is_some_and(|matched| *matched >= commit)
            };
            ensure(event.conf.iter().all(|voters| is_quorum(voters, has)), || "no quorum has it".into())?;
        }
        self.commit_to(member, commit)
    }

    /// "LogInv": what is committed at one member is so at all.
    fn commit_to(&mut self, member: &mut Member, commit: u64) -> Result<(), String> {
        for index in member.state.commit + 1..=commit {
            let entry = member.term_at(index);
            match self.committed.get_mut(index as usize - 1) {
                None => {
                    self.committed.resize(index as usize, None);
                    self.committed[index as usize - 1] = entry;
                }
                Some(known) => {
                    let differs = known.is_some_and(|known| entry.is_some_and(|term| term != known));
                    ensure(!differs, || format!("entry {index} of term {known:?} is committed elsewhere"))?;
                    *known = known.or(entry);
                }
            }
        }
        member.state.commit = member.state.commit.max(commit);
        Ok(())
    }

    /// "AppendEntries", "Heartbeat", "SendSnapshot", "RequestVote".
    fn asks(&mut self, member: &mut Member, event: &Event) -> Result<(), String> {
        let message = self.sends(event)?;
        ensure(message.to != event.nid && message.term == event.state.term, || "to itself".into())?;
        let (last, commit) = (member.last(), member.state.commit);
        let as_known = self.matched.get(&(message.term, message.to.clone())).copied().unwrap_or(0);
        let allowed = match message.kind {
            Kind::Append => {
                event.role == Role::Leader
                    && message.index + message.entries <= last
                    && message.commit <= commit
                    && member.may_hold(message.index, message.log_term)
            }
            Kind::Heartbeat => event.role == Role::Leader && message.commit == commit.min(as_known),
            Kind::Snapshot => event.role == Role::Leader && message.entries <= commit,
            Kind::Vote => {
                event.role == Role::Candidate
                    && message.index == last
                    && member.may_hold(last, message.log_term)
            }
            _ => false,
        };
        ensure(allowed, || {
            format!("nobody may ask that whose log ends at {last}, with {as_known} acknowledged")
        })
    }

    fn sends(&mut self, event: &Event) -> Result<Message, String> {
        let message = event.msg.clone().ok_or("no message")?;
        ensure(message.from == event.nid && message.vote == "0", || "from somebody else".into())?;
        self.sent.insert(message.clone());
        Ok(message)
    }

    /// "HandleAppendEntriesRequest", "HandleRequestVoteRequest", or what a member says to itself.
    fn answers(&mut self, member: &mut Member, event: &Event) -> Result<(), String> {
        let message = self.sends(event)?;
        if message.to == event.nid {
            let asked = match message.kind {
                Kind::VoteResponse => event.role == Role::Candidate && event.state.vote == event.nid,
                _ => event.role == Role::Leader && message.index == member.last(),
            };
            return ensure(asked && !message.reject, || "what a member says to itself".into());
        }
        let Some(asked) = member.received.take().filter(|asked| asked.from == message.to) else {
            return Err("nobody asked".into());
        };
        ensure(message.reject || asked.term == message.term, || "an answer to an earlier term".into())?;
        match message.kind {
            Kind::VoteResponse if message.reject => Ok(()),
            Kind::VoteResponse => grants(member, &asked),
            Kind::HeartbeatResponse => self.commit_to(member, asked.commit),
            Kind::AppendResponse if message.reject => {
                let differs = asked.index > member.last()
                    || member.term_at(asked.index).is_none_or(|term| term != asked.log_term);
                ensure(asked.term < event.state.term || differs, || "nothing differs".into())
            }
            Kind::AppendResponse => self.accepts(member, &asked, message.index),
            _ => Err("no answer".into()),
        }
    }

    /// "AcceptAppendEntriesRequest": the log up to `equal_to` is the leader's.
    fn accepts(&mut self, member: &mut Member, asked: &Message, equal_to: u64) -> Result<(), String> {
        if asked.kind != Kind::Append || asked.index < member.state.commit {
            return ensure(equal_to == member.state.commit, || "more than what is committed".into());
        }
        ensure(member.may_hold(asked.index, asked.log_term), || "accepted behind a gap".into())?;
        let leads = &self.leader_logs[&asked.term];
        for index in asked.index + 1..=equal_to.min(asked.index + asked.entries) {
            let entry = leads.get(index as usize - 1).copied().ok_or("an entry that the leader lacks")?;
            let at = index as usize - 1;
            match member.log.get(at).copied() {
                Some(known) if known.is_some() && known == entry => {}
                Some(None) => member.log[at] = entry,
                Some(_) => {
                    ensure(index > member.state.commit, || format!("entry {index} is committed"))?;
                    member.log.truncate(at);
                    member.log.push(entry);
                    member.replaced_from = Some(member.replaced_from.map_or(index, |from| from.min(index)));
                }
                None => member.log.push(entry),
            }
        }
        ensure(equal_to <= asked.index + asked.entries, || "more than what was sent".into())?;
        self.commit_to(member, asked.commit.min(equal_to))
    }

    /// "Receive": the event shows the state before it.
    fn receives(&mut self, member: &mut Member, event: &Event) -> Result<(), String> {
        same(member, event)?;
        let message = event.msg.clone().ok_or("no message")?;
        ensure(message.to == event.nid, || "to somebody else".into())?;
        ensure(self.sent.contains(&message), || "nobody sent it".into())?;
        let term = event.state.term;
        match message.kind {
            Kind::VoteResponse if !message.reject => {
                // "votesGranted", and that nobody votes twice in one term.
                let vote = (message.from.clone(), message.term);
                let whom = self.votes.entry(vote).or_insert_with(|| event.nid.clone());
                ensure(*whom == event.nid, || format!("{whom} has that vote"))?;
            }
            Kind::AppendResponse if !message.reject && message.term == term && event.role == Role::Leader => {
                let matched = self.matched.entry((term, message.from.clone())).or_default();
                *matched = (*matched).max(message.index);
            }
            _ => {}
        }
        member.received = Some(message);
        Ok(())
    }
}

/// "Timeout".
fn candidate(member: &mut Member, event: &Event) -> Result<(), String> {
    ensure(member.role != Role::Leader, || "a leader does not stand".into())?;
    let votes = event.conf.iter().any(|voters| voters.contains(&event.nid));
    ensure(votes && event.state.term == member.state.term + 1, || "may not stand".into())?;
    member.state = State { term: event.state.term, vote: event.nid.clone(), ..member.state.clone() };
    member.role = Role::Candidate;
    Ok(())
}

/// "ApplySimpleConfChange": the event shows the membership before it.
fn changes_conf(member: &mut Member, event: &Event) -> Result<(), String> {
    let next = event.prop.as_ref().and_then(|properties| properties.cc.newconf.as_ref());
    let next = next.ok_or("no membership")?;
    let is_plain = event.conf[1].is_empty();
    let differing = event.conf[0].symmetric_difference(next).count();
    ensure(!is_plain || differing <= 1, || "more than one voter comes or goes".into())?;
    // The next event tells whether it is joint.
    member.conf = None;
    Ok(())
}

/// A vote is granted once in a term, to a log that lacks nothing.
fn grants(member: &mut Member, asked: &Message) -> Result<(), String> {
    ensure(asked.kind == Kind::Vote, || "no vote was asked for".into())?;
    let free = member.state.vote == "0" || member.state.vote == asked.from;
    ensure(free, || format!("voted for {}", member.state.vote))?;
    let last = member.last();
    let last_term = member.log.last().copied().unwrap_or(Some(0));
    let up_to_date = last_term.is_none_or(|term| (asked.log_term, asked.index) >= (term, last));
    ensure(up_to_date, || "the candidate's log lacks something".into())?;
    member.state.vote.clone_from(&asked.from);
    Ok(())
}

fn same(member: &Member, event: &Event) -> Result<(), String> {
    let known = (&member.state, member.role, member.last());
    ensure(known == (&event.state, event.role, event.log), || format!("it should be {known:?}"))
}

/// No voters agree to everything.
fn is_quorum(voters: &BTreeSet<String>, agrees: impl Fn(&String) -> bool) -> bool {
    voters.is_empty() || voters.iter().filter(|voter| agrees(voter)).count() > voters.len() / 2
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
