//! What a watch must be told: each event that it wants once, in order, whole revisions at a time, and nothing untrue
//! about how far it is. Source: etcd's guarantees of watches (ordered, unique, reliable, atomic, resumable, bookmarkable).

use windlass_api::etcdserverpb::watch_create_request::FilterType;
use windlass_api::etcdserverpb::{WatchCreateRequest, WatchResponse};
use windlass_api::mvccpb::event::EventType;
use windlass_api::mvccpb::{Event, KeyValue};
use windlass_replica::oracle::Oracle;
use windlass_types::Revision;
use windlass_types::key::KeyRange;

use crate::check::{Check, Violation, ensure};

/// The first revision that has events.
const FIRST: Revision = Revision(2);

/// All events that there ever were, as the model has them.
#[derive(Default)]
pub struct History {
    revisions: Vec<Vec<Event>>,
}

impl History {
    /// Adds what a command did to the model, before a compaction takes it away.
    pub fn follow(&mut self, oracle: &Oracle) {
        while self.through() < oracle.revision() {
            let next = self.through().next();
            self.revisions.push(oracle.events(next));
        }
    }

    /// The newest revision.
    #[must_use]
    pub fn through(&self) -> Revision {
        Revision(FIRST.0 - 1 + self.revisions.len() as i64)
    }

    fn between(&self, from: Revision, through: Revision) -> impl Iterator<Item = &Event> {
        assert!(through <= self.through(), "what is judged was applied");
        let [from, through] = [from.0 - FIRST.0, through.0 - FIRST.0].map(|n| n.max(-1));
        let range = from.max(0) as usize..(through + 1) as usize;
        self.revisions.get(range).unwrap_or_default().iter().flatten()
    }
}

/// One watch, as its client knows it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What was asked for.
    pub request: WatchCreateRequest,
    /// It was told everything below this; zero is not known yet.
    pub next: Revision,
    /// How far it was told to be, by itself, while nothing happened.
    pub notified: Revision,
    /// Parts of a response that is not whole.
    parts: Vec<Event>,
}

impl Watched {
    /// One that is asked for.
    #[must_use]
    pub fn new(request: WatchCreateRequest) -> Self {
        Self { next: Revision(request.start_revision), request, notified: Revision::ZERO, parts: Vec::new() }
    }

    /// The same, asked for where it was left.
    #[must_use]
    pub fn resumed(self) -> Self {
        let next = self.next;
        self.resumed_at(next)
    }

    /// The same, asked for from here on.
    #[must_use]
    pub fn resumed_at(self, revision: Revision) -> Self {
        Self::new(WatchCreateRequest { start_revision: revision.0, ..self.request })
    }

    /// It was made at this revision.
    pub fn created(&mut self, at: Revision) {
        if self.next == Revision::ZERO {
            self.next = at.next();
        }
    }

    /// Whether the revision from which it wants events is yet to come.
    #[must_use]
    pub fn is_ahead(&self, history: &History) -> bool {
        Revision(self.request.start_revision) > history.through()
    }

    /// The first event up to `through` that it was not told of.
    #[must_use]
    pub fn missing<'a>(&self, history: &'a History, through: Revision) -> Option<&'a Event> {
        history.between(self.next, through).find(|event| self.wants(event))
    }

    /// It is told something. `history` holds everything up to the response's revision; up to `compacted`, what an event
    /// replaced may be gone.
    ///
    /// # Errors
    /// If that is not what it must be told.
    pub fn told(
        &mut self,
        response: WatchResponse,
        history: &History,
        compacted: Revision,
    ) -> Result<(), Violation> {
        let through = revision_of(&response);
        if response.events.is_empty() {
            self.notified = through;
            return self.is_through(through, history);
        }
        self.parts.extend(response.events);
        if response.fragment {
            return Ok(());
        }
        let got = std::mem::take(&mut self.parts);
        let last = got.last().map(mod_revision).expect("there are some");
        self.check_order(&got)?;
        let want: Vec<&Event> = history.between(self.next, last).filter(|event| self.wants(event)).collect();
        self.check_events(&got, &want, compacted)?;
        self.next = last.next();
        self.is_through(through, history)
    }

    /// It is told that there is nothing more up to here.
    ///
    /// # Errors
    /// If there is, or if it was told of more before.
    pub fn is_through(&mut self, through: Revision, history: &History) -> Result<(), Violation> {
        ensure(self.parts.is_empty(), Check::RevisionDivided, || {
            format!("{} is told {through} within a response", self.name())
        })?;
        if let Some(event) = self.missing(history, through) {
            let text = format!("{} is told to be at {through} without {event:?}", self.name());
            return Err(Violation::new(Check::ProgressUntrue, text));
        }
        ensure(through.next() >= self.next, Check::ProgressUntrue, || {
            format!("{} is told to be at {through}, and was at {} before", self.name(), self.next.0 - 1)
        })?;
        self.next = through.next();
        Ok(())
    }

    /// What it wants is said to be compacted up to here.
    ///
    /// # Errors
    /// If it wants nothing that is.
    pub fn compacted(&self, at: Revision) -> Result<(), Violation> {
        ensure(self.next < at, Check::CompactedWithoutReason, || {
            format!("{} wants {} and later, and is ended by the compaction of {at}", self.name(), self.next)
        })
    }

    fn wants(&self, event: &Event) -> bool {
        let WatchCreateRequest { key, range_end, .. } = &self.request;
        let filtered = match event.r#type() {
            EventType::Put => FilterType::Noput,
            EventType::Delete => FilterType::Nodelete,
        };
        KeyRange::new(key, range_end).contains(&pair(event).key)
            && !self.request.filters().any(|filter| filter == filtered)
    }

    fn check_order(&self, got: &[Event]) -> Result<(), Violation> {
        let mut before = self.next;
        for event in got {
            let revision = mod_revision(event);
            ensure(revision >= before, Check::EventRepeated, || {
                format!("{} is told of {revision} where {before} or later is next", self.name())
            })?;
            before = revision;
        }
        Ok(())
    }

    fn check_events(&self, got: &[Event], want: &[&Event], compacted: Revision) -> Result<(), Violation> {
        for (got, want) in got.iter().zip(want) {
            let is_it = got.r#type == want.r#type
                && pair(got).key == pair(want).key
                && mod_revision(got) == mod_revision(want);
            if !is_it {
                let missing = mod_revision(want) <= mod_revision(got);
                let check = if missing { Check::EventMissing } else { Check::EventWrong };
                return Err(Violation::new(
                    check,
                    format!("{} is told {got:?}\n  instead of {want:?}", self.name()),
                ));
            }
            ensure(self.is_right(got, want, compacted), Check::EventWrong, || {
                format!("{} is told {got:?}\n  instead of {want:?}", self.name())
            })?;
        }
        ensure(got.len() <= want.len(), Check::EventWrong, || {
            format!("{} is told {:?}, which never happened", self.name(), &got[want.len()..])
        })?;
        ensure(got.len() == want.len(), Check::RevisionDivided, || {
            format!("{} is told a part of a revision, without {:?}", self.name(), &want[got.len()..])
        })
    }

    fn is_right(&self, got: &Event, want: &Event, compacted: Revision) -> bool {
        let may_lack = !self.request.prev_kv || mod_revision(want) <= compacted;
        let previous = self.request.prev_kv.then_some(want.prev_kv.as_ref()).flatten();
        got.kv == want.kv && (got.prev_kv.as_ref() == previous || (may_lack && got.prev_kv.is_none()))
    }

    fn name(&self) -> String {
        let WatchCreateRequest { key, range_end, .. } = &self.request;
        format!("the watch of {key:?}..{range_end:?}")
    }
}

/// The revision in a response's header.
#[must_use]
pub fn revision_of(response: &WatchResponse) -> Revision {
    Revision(response.header.as_ref().map_or(0, |header| header.revision))
}

fn pair(event: &Event) -> &KeyValue {
    event.kv.as_ref().expect("every event has a pair")
}

fn mod_revision(event: &Event) -> Revision {
    Revision(event.kv.as_ref().map_or(0, |kv| kv.mod_revision))
}
