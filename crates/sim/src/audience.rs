//! Clients that watch. Each has one stream at a time, at any member, and outlives it: when the stream ends, by a crash or
//! because the client leaves, it goes on at some member from where it was. Everything that it is told is judged.
//!
//! They know nothing of a member but what it sends. What they have not read yet counts as queued there, so one that reads
//! slowly makes its stream full.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use prost::Message;
use windlass_api::etcdserverpb::watch_create_request::FilterType;
use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{
    RangeRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use windlass_replica::oracle::generate::Generator;
use windlass_replica::watch::NO_WATCH;
use windlass_types::Revision;
use windlass_types::key::KeyRange;

use crate::check::{Check, Violation, ensure};
use crate::checker::{History, Watched, revision_of};
use crate::env::{Env, Event, member_of};
use crate::profile::Profile;
use crate::random::{Concern, Random, between, stream};
use crate::record::{Operation, WATCH};
use crate::report::Count;

/// Watches of one client at most.
const WATCHES_MAX: usize = 3;

/// Responses that a client reads in one turn at most.
const READ_MAX: u64 = 6;

/// Ids that clients choose begin here, above those that a member gives.
const CHOSEN_IDS: i64 = 1000;

/// Names a stream among all of a run.
pub type StreamId = u64;

/// What a member hears from a client that watches.
#[derive(Clone, Debug)]
pub enum WatchAsk {
    /// A stream begins.
    Open {
        /// How often its watches are told their progress, in nanoseconds.
        interval_ns: u64,
    },
    /// A message on it.
    Request(WatchRequest),
    /// Its client has read what was queued.
    Writable,
    /// It is gone.
    Close,
}

/// All of them.
pub struct Audience {
    viewers: Vec<Viewer>,
    random: Random,
    generator: Generator,
    streams: StreamId,
    pause_ns_max: u64,
    interval_ns_max: u64,
    delay_ns_max: u64,
    queued_bytes_max: usize,
}

/// One client.
#[derive(Default)]
struct Viewer {
    stream: Option<Stream>,
    /// Watches that are to be asked for.
    wanted: Vec<Watched>,
    chosen: i64,
}

/// The stream of a client.
struct Stream {
    id: StreamId,
    site: usize,
    life: u32,
    /// The member is gone: what has arrived is all that there is.
    ended: bool,
    /// Watches that are asked for, in order.
    asked: VecDeque<Watched>,
    watches: BTreeMap<i64, Watched>,
    /// Ids of watches that the client wants ended.
    leaving: BTreeSet<i64>,
    /// Questions about progress that may be answered.
    questions: u64,
    inbox: VecDeque<WatchResponse>,
    queued_bytes: usize,
    is_full: bool,
    /// When what was sent last arrives, there and here.
    last_there_ns: u64,
    last_here_ns: u64,
}

impl Audience {
    /// The clients of the run of `seed`.
    #[must_use]
    pub fn new(seed: u64, profile: &Profile) -> Self {
        let mut random = stream(seed, Concern::Watching);
        Self {
            viewers: (0..profile.viewers).map(|_| Viewer::default()).collect(),
            generator: Generator::new(random.number()),
            streams: 0,
            pause_ns_max: profile.pause_ns_max * 4,
            interval_ns_max: profile.progress_ns_max,
            delay_ns_max: profile.delay_ns_max,
            queued_bytes_max: 1 << between(&mut random, 7, 13),
            random,
        }
    }

    /// Their number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.viewers.len()
    }

    /// The process of a site is gone, and with it the streams there.
    pub fn site_ended(&mut self, site: usize) {
        for stream in self.viewers.iter_mut().filter_map(|viewer| viewer.stream.as_mut()) {
            stream.ended |= stream.site == site;
        }
    }

    /// What some client still waits for, now that nothing happens any more.
    #[must_use]
    pub fn waits_for(&self, history: &History) -> Option<String> {
        (0..).zip(&self.viewers).find_map(|(at, viewer)| {
            let what = viewer.waits_for(history)?;
            Some(format!("viewer {at} waits for {what}"))
        })
    }

    fn watch(&mut self, newest: Revision) -> Watched {
        let random = &mut self.random;
        let RangeRequest { key, range_end, .. } = loop {
            let range = self.generator.range();
            let keys = KeyRange::new(&range.key, &range.range_end);
            if !matches!(keys, KeyRange::Bounded(start, end) if start >= end) {
                break range;
            }
        };
        let start_revision = match random.below(4) {
            0 | 1 => 0,
            2 => between(random, 1, newest.0 as u64 + 3) as i64,
            _ => (newest.0 - random.below(12) as i64).max(1),
        };
        let filters = match random.below(8) {
            0 => vec![FilterType::Noput as i32],
            1 => vec![FilterType::Nodelete as i32],
            _ => Vec::new(),
        };
        Watched::new(WatchCreateRequest {
            key,
            range_end,
            start_revision,
            filters,
            prev_kv: random.one_in(2),
            fragment: random.one_in(2),
            progress_notify: random.one_in(3),
            watch_id: 0,
        })
    }
}

impl Viewer {
    fn waits_for(&self, history: &History) -> Option<String> {
        let Some(stream) = self.stream.as_ref().filter(|stream| !stream.ended) else {
            return Some("a member that lets it in".into());
        };
        if !self.wanted.is_empty() || !stream.asked.is_empty() {
            return Some(format!("watches to begin at {}", member_of(stream.site)));
        }
        if !stream.leaving.is_empty() {
            return Some(format!("the end of watches {:?} at {}", stream.leaving, member_of(stream.site)));
        }
        let through = history.through();
        let some_is_ahead = stream.watches.values().any(|watch| watch.is_ahead(history));
        let of_watch = stream.watches.values().filter(|watch| !watch.is_ahead(history)).find_map(|watch| {
            let is_told = some_is_ahead || watch.next > through;
            let is_notified = !watch.request.progress_notify || watch.notified == through;
            let missing = watch.missing(history, through);
            (missing.is_some() || !is_told || !is_notified).then(|| {
                let (next, notified) = (watch.next, watch.notified);
                format!(
                    "{missing:?} or to hear of {through} at {}, next is {next}, told {notified}: {:?}",
                    member_of(stream.site),
                    watch.request
                )
            })
        });
        of_watch.or_else(|| {
            let first = stream.inbox.front()?;
            Some(format!("entries to be applied, to judge {first:?}"))
        })
    }
}

impl Env {
    /// A client has a turn.
    ///
    /// # Errors
    /// If it was told what it must not be told.
    pub fn view(&mut self, at: usize) -> Result<(), Violation> {
        let pause_ns = 1 + self.audience.random.below(self.audience.pause_ns_max);
        self.agenda.after(pause_ns, (0, Event::View(at)));
        let most = if self.calm { u64::MAX } else { self.audience.random.below(READ_MAX + 1) };
        for _ in 0..most {
            if !self.read_one(at)? {
                break;
            }
        }
        self.say_writable(at);
        let Some(stream) = &self.audience.viewers[at].stream else {
            self.join(at);
            return Ok(());
        };
        if stream.ended && (stream.inbox.is_empty() || self.audience.random.one_in(4)) {
            self.leave(at, "its stream has ended");
            return Ok(());
        }
        self.act(at);
        Ok(())
    }

    /// Opens a stream at some member that lets clients in.
    fn join(&mut self, at: usize) {
        let lets_in =
            |site: &usize| self.sites[*site].serves && (!self.calm || self.checker.is_member(*site));
        let sites: Vec<usize> = (0..self.sites.len()).filter(lets_in).collect();
        if sites.is_empty() {
            return;
        }
        let site = sites[self.audience.random.below(sites.len() as u64) as usize];
        self.totals.count(Count::WatchStreams);
        self.audience.streams += 1;
        let id = self.audience.streams;
        let interval_ns = 1 + self.audience.random.below(self.audience.interval_ns_max);
        self.tell_of(at, || format!("opens stream {id} at {}", member_of(site)));
        let now_ns = self.agenda.now_ns();
        self.audience.viewers[at].stream = Some(Stream {
            id,
            site,
            life: self.sites[site].life,
            ended: false,
            asked: VecDeque::new(),
            watches: BTreeMap::new(),
            leaving: BTreeSet::new(),
            questions: 0,
            inbox: VecDeque::new(),
            queued_bytes: 0,
            is_full: false,
            last_there_ns: now_ns,
            last_here_ns: now_ns,
        });
        self.ask_member(at, WatchAsk::Open { interval_ns });
        for watched in std::mem::take(&mut self.audience.viewers[at].wanted) {
            self.create(at, watched);
        }
    }

    /// Gives the stream up; its watches go on from where they are, somewhere else.
    fn leave(&mut self, at: usize, why: &str) {
        self.tell_of(at, || format!("leaves: {why}"));
        self.ask_member(at, WatchAsk::Close);
        let viewer = &mut self.audience.viewers[at];
        let Some(stream) = viewer.stream.take() else { return };
        let Stream { asked, watches, leaving, .. } = stream;
        let stay = watches.into_iter().filter(|(id, _)| !leaving.contains(id)).map(|(_, watch)| watch);
        viewer.wanted.extend(stay.chain(asked).map(Watched::resumed));
        self.totals.add(Count::WatchesResumed, self.audience.viewers[at].wanted.len() as u64);
    }

    /// Does something with its stream, or nothing.
    fn act(&mut self, at: usize) {
        let newest = self.checker.history().through();
        let Audience { viewers, random, .. } = &mut self.audience;
        let stream = viewers[at].stream.as_ref().expect("it has one");
        let ids: Vec<i64> =
            stream.watches.keys().filter(|id| !stream.leaving.contains(id)).copied().collect();
        if self.calm {
            let gone = !self.checker.is_member(stream.site);
            // An answer to the first question is not owed.
            let asks = stream.questions == 0 || random.one_in(8);
            if gone {
                self.leave(at, "the member was removed");
            } else if asks && viewers[at].waits_for(self.checker.history()).is_some() {
                self.ask_progress(at);
            }
            return;
        }
        match random.below(40) {
            0 => self.leave(at, "it wants to"),
            1 | 2 if !ids.is_empty() => {
                let id = ids[random.below(ids.len() as u64) as usize];
                self.cancel(at, id);
            }
            3..9 => self.ask_progress(at),
            9..20 if ids.len() + stream.asked.len() < WATCHES_MAX => {
                let watched = self.audience.watch(newest);
                self.create(at, watched);
            }
            _ => {}
        }
    }

    fn create(&mut self, at: usize, mut watched: Watched) {
        let chooses = self.audience.random.one_in(6);
        let viewer = &mut self.audience.viewers[at];
        viewer.chosen += 1;
        watched.request.watch_id = if chooses { CHOSEN_IDS + viewer.chosen } else { 0 };
        let request = watched.request.clone();
        self.tell_of(at, || format!("asks for {request:?}"));
        let stream = self.audience.viewers[at].stream.as_mut().expect("it has one");
        stream.asked.push_back(watched);
        self.request(at, RequestUnion::CreateRequest(request));
    }

    fn cancel(&mut self, at: usize, id: i64) {
        self.tell_of(at, || format!("cancels watch {id}"));
        let stream = self.audience.viewers[at].stream.as_mut().expect("it has one");
        stream.leaving.insert(id);
        self.request(at, RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id }));
    }

    fn ask_progress(&mut self, at: usize) {
        let stream = self.audience.viewers[at].stream.as_mut().expect("it has one");
        stream.questions += 1;
        self.request(at, RequestUnion::ProgressRequest(WatchProgressRequest {}));
    }

    fn request(&mut self, at: usize, request: RequestUnion) {
        let request = WatchRequest { request_union: Some(request) };
        self.note(at, || (Some(request.encode_to_vec()), None));
        self.ask_member(at, WatchAsk::Request(request));
    }

    /// Records a message of a client's stream.
    fn note(&mut self, at: usize, message: impl FnOnce() -> (Option<Vec<u8>>, Option<Vec<u8>>)) {
        let Some(stream) = self.audience.viewers[at].stream.as_ref() else { return };
        let (now_ns, id, member) = (self.agenda.now_ns(), stream.id, member_of(stream.site));
        self.record.add(|| {
            let (request, response) = message();
            let client = format!("viewer {at}, stream {id} at member {member}");
            let return_ns = response.is_some().then_some(now_ns);
            let response = response.map(Ok);
            Operation { client, method: WATCH, call_ns: now_ns, return_ns, request, response }
        });
    }

    fn ask_member(&mut self, at: usize, ask: WatchAsk) {
        let now_ns = self.agenda.now_ns();
        let Audience { viewers, random, delay_ns_max, .. } = &mut self.audience;
        let Some(stream) = &mut viewers[at].stream else { return };
        let at_ns = now_ns + 1 + random.below(*delay_ns_max);
        stream.last_there_ns = stream.last_there_ns.max(at_ns);
        let event = Event::WatchAsked(stream.life, stream.id, ask);
        self.agenda.at(stream.last_there_ns, (stream.site, event));
    }

    /// A member sends a response; whether the stream takes more.
    pub fn respond(&mut self, stream: StreamId, response: WatchResponse) -> bool {
        let now_ns = self.agenda.now_ns();
        let Audience { viewers, random, delay_ns_max, queued_bytes_max, .. } = &mut self.audience;
        let known = (0..).zip(viewers).find_map(|(at, viewer)| {
            let stream = viewer.stream.as_mut().filter(|s| s.id == stream)?;
            Some((at, stream))
        });
        let Some((at, to)) = known else { return true };
        to.queued_bytes += response.encoded_len();
        to.is_full |= to.queued_bytes > *queued_bytes_max;
        to.last_here_ns = to.last_here_ns.max(now_ns + 1 + random.below(*delay_ns_max));
        let takes_more = to.queued_bytes <= *queued_bytes_max;
        let at_ns = to.last_here_ns;
        self.totals.add(Count::WatchStalls, u64::from(!takes_more));
        self.agenda.at(at_ns, (0, Event::Told(at, stream, Box::new(response))));
        takes_more
    }

    /// A response arrives at its client.
    pub fn told(&mut self, at: usize, id: StreamId, response: WatchResponse) {
        let viewer = &mut self.audience.viewers[at];
        // What was on its way when the process died is lost.
        if let Some(stream) = viewer.stream.as_mut().filter(|stream| stream.id == id && !stream.ended) {
            stream.inbox.push_back(response);
        }
    }

    fn say_writable(&mut self, at: usize) {
        let Some(stream) = &mut self.audience.viewers[at].stream else { return };
        if stream.is_full && stream.queued_bytes <= self.audience.queued_bytes_max / 2 {
            stream.is_full = false;
            self.ask_member(at, WatchAsk::Writable);
        }
    }

    /// A client reads the next response, if it can be judged; whether it did.
    fn read_one(&mut self, at: usize) -> Result<bool, Violation> {
        let Self { checker, audience, .. } = self;
        let Some(stream) = &mut audience.viewers[at].stream else { return Ok(false) };
        let history = checker.history();
        // The judge learns of an entry when it is applied whole, a shard before.
        let known = |response: &WatchResponse| {
            revision_of(response) <= history.through()
                && (response.compact_revision == 0
                    || response.compact_revision <= checker.compact_revision().0)
        };
        if !stream.inbox.front().is_some_and(known) {
            return Ok(false);
        }
        let Some(response) = stream.inbox.pop_front() else { return Ok(false) };
        stream.queued_bytes -= response.encoded_len();
        self.tell_of(at, || format!("is told {}", short(&response)));
        self.note(at, || (None, Some(response.encode_to_vec())));
        self.hear(at, response)?;
        Ok(true)
    }

    fn hear(&mut self, at: usize, response: WatchResponse) -> Result<(), Violation> {
        let Self { checker, audience, totals, .. } = self;
        let history = checker.history();
        let Some(stream) = &mut audience.viewers[at].stream else { return Ok(()) };
        let id = response.watch_id;
        let unasked = |what: &str| Violation::new(Check::Unasked, format!("viewer {at}: {what} {id}"));
        if response.created {
            ensure(!response.canceled, Check::Unasked, || format!("a watch is refused: {response:?}"))?;
            let mut watch = stream.asked.pop_front().ok_or_else(|| unasked("nobody wants watch"))?;
            let wanted = watch.request.watch_id;
            ensure(
                (wanted == 0 || wanted == id) && !stream.watches.contains_key(&id),
                Check::Unasked,
                || format!("viewer {at} gets watch {id}, and wanted {wanted}"),
            )?;
            watch.created(revision_of(&response));
            stream.watches.insert(id, watch);
            return Ok(());
        }
        if id == NO_WATCH {
            stream.questions = stream.questions.checked_sub(1).ok_or_else(|| unasked("told unasked of"))?;
            totals.count(Count::ProgressTold);
            let through = revision_of(&response);
            return stream.watches.values_mut().try_for_each(|watch| watch.is_through(through, history));
        }
        if response.compact_revision > 0 {
            let watch = stream.watches.remove(&id).ok_or_else(|| unasked("it has no watch"))?;
            let revision = Revision(response.compact_revision);
            watch.compacted(revision)?;
            totals.count(Count::WatchesCompacted);
            // As clients do: from what is left on. The id stays taken until it is canceled.
            let again = watch.resumed_at(revision);
            if !stream.leaving.contains(&id) {
                self.cancel(at, id);
                self.create(at, again);
            }
            return Ok(());
        }
        if response.canceled {
            stream.watches.remove(&id);
            return if stream.leaving.remove(&id) { Ok(()) } else { Err(unasked("ended is watch")) };
        }
        let watch = stream.watches.get_mut(&id).ok_or_else(|| unasked("it has no watch"))?;
        let what = if response.events.is_empty() { Count::ProgressTold } else { Count::WatchEvents };
        totals.add(what, response.events.len().max(1) as u64);
        watch.told(response, history, checker.compacted_anywhere())
    }

    fn tell_of(&mut self, at: usize, line: impl FnOnce() -> String) {
        self.story.tell(self.agenda.now_ns(), || format!("viewer {at} {}", line()));
    }
}

/// A response in one line: of events only how many there are.
fn short(response: &WatchResponse) -> String {
    let WatchResponse { watch_id, created, canceled, compact_revision, fragment, events, .. } = response;
    let flag = |holds: bool, name: &str| if holds { format!(", {name}") } else { String::new() };
    format!(
        "of watch {watch_id}: revision {}, {} events{}{}{}{}",
        revision_of(response),
        events.len(),
        flag(*created, "created"),
        flag(*canceled, "ended"),
        flag(*compact_revision > 0, &format!("compacted {compact_revision}")),
        flag(*fragment, "a part"),
    )
}
