//! What two servers must send to the watches of several streams, known without asking anyone: a plain list of all events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use windlass_api::etcdserverpb::{WatchCreateRequest, WatchResponse};
use windlass_api::mvccpb;
use windlass_types::key::KeyRange;

use crate::stream::revision;

/// Values longer than this are shown by their length and their first byte, in bytes.
const SHOWN_BYTES_MAX: usize = 64;

/// A key and its new value; `None` deletes.
pub type Write = (&'static str, Option<String>);

/// Responses to one stream that are still to come, by the id of their watch.
pub type Wanted = BTreeMap<i64, VecDeque<String>>;

/// The store and the streams that watch it.
pub struct List {
    /// Of the newest write.
    pub revision: i64,
    /// What is older is gone.
    pub compacted: i64,
    live: BTreeMap<&'static str, mvccpb::KeyValue>,
    events: Vec<mvccpb::Event>,
    /// The streams that are open.
    pub streams: Vec<Stream>,
}

/// One stream and its watches.
#[derive(Default)]
pub struct Stream {
    next_id: i64,
    /// Watches by id that were not ended, and from which revision on.
    open: BTreeMap<i64, (WatchCreateRequest, i64)>,
    /// Ids of watches that a compaction ended: they are taken until they are cancelled.
    spent: BTreeSet<i64>,
    /// The revision of the last progress response.
    told: i64,
    /// What it must be sent.
    pub wanted: Wanted,
}

impl List {
    /// A store without keys and `streams` streams without watches.
    pub fn new(streams: usize) -> Self {
        Self {
            revision: 1,
            compacted: 0,
            live: BTreeMap::new(),
            events: Vec::new(),
            streams: (0..streams).map(|_| Stream::default()).collect(),
        }
    }

    /// One transaction.
    pub fn write(&mut self, ops: &[Write], lease: i64) {
        let revision = self.revision + 1;
        let mut made = Vec::new();
        for (key, value) in ops {
            let old = self.live.get(key).cloned();
            let kv = match value {
                None if old.is_none() => continue,
                None => {
                    self.live.remove(key);
                    mvccpb::KeyValue { key: (*key).into(), mod_revision: revision, ..Default::default() }
                }
                Some(value) => {
                    let kv = mvccpb::KeyValue {
                        key: (*key).into(),
                        value: value.clone().into(),
                        mod_revision: revision,
                        create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
                        version: old.as_ref().map_or(1, |old| old.version + 1),
                        lease,
                    };
                    self.live.insert(key, kv.clone());
                    kv
                }
            };
            made.push(mvccpb::Event { r#type: i32::from(value.is_none()), kv: Some(kv), prev_kv: old });
        }
        self.revision += i64::from(!made.is_empty());
        for stream in &mut self.streams {
            for (id, (request, from)) in &stream.open {
                let events = made.iter().filter(|event| wants(request, *from, event));
                let shown = events.map(|event| show(request, event, self.compacted));
                stream.wanted.entry(*id).or_default().extend(shown);
            }
        }
        self.events.extend(made);
    }

    /// The end of a lease: its keys go in one transaction, in their order.
    pub fn revoke(&mut self, lease: i64) {
        let attached = self.live.values().filter(|kv| kv.lease == lease).map(|kv| kv.key.clone());
        let keys: BTreeSet<_> = attached.collect();
        let ops: Vec<Write> =
            self.live.keys().filter(|key| keys.contains(key.as_bytes())).map(|key| (*key, None)).collect();
        self.write(&ops, 0);
    }

    /// A new watch on a stream.
    pub fn create(&mut self, stream: usize, request: &WatchCreateRequest) {
        let range = KeyRange::new(&request.key, &request.range_end);
        let is_empty = matches!(range, KeyRange::Bounded(start, end) if start >= end);
        let (now, compacted, events) = (self.revision, self.compacted, &self.events);
        let stream = &mut self.streams[stream];
        if is_empty || (request.watch_id != 0 && stream.has_id(request.watch_id)) {
            let reason = if is_empty {
                "mvcc: watcher range is empty"
            } else {
                "mvcc: duplicate watch ID provided on the WatchStream"
            };
            return stream.want(-1, format!("created canceled {now} {reason}"));
        }
        let id = if request.watch_id == 0 { stream.take_id() } else { request.watch_id };
        stream.want(id, format!("created {now}"));
        let from = if request.start_revision == 0 { now + 1 } else { request.start_revision };
        if from < compacted {
            stream.want(id, format!("canceled 0 compacted {compacted}"));
            stream.spent.insert(id);
            return;
        }
        let events = events.iter().filter(|event| wants(request, from, event));
        let shown: Vec<_> = events.map(|event| show(request, event, compacted)).collect();
        stream.wanted.entry(id).or_default().extend(shown);
        stream.open.insert(id, (request.clone(), from));
    }

    /// The end of a watch that the client asked for.
    pub fn cancel(&mut self, stream: usize, id: i64) {
        let (now, stream) = (self.revision, &mut self.streams[stream]);
        if stream.open.remove(&id).is_some() || stream.spent.remove(&id) {
            stream.want(id, format!("canceled {now}"));
        }
    }

    /// Whether a request for progress on this stream is answered, and with news.
    pub fn tells_progress(&self, stream: usize) -> bool {
        let Stream { open, told, .. } = &self.streams[stream];
        !open.is_empty()
            && *told < self.revision
            && open.values().all(|(request, _)| request.start_revision <= self.revision)
    }

    /// A request for progress on a stream that answers it.
    pub fn progress(&mut self, stream: usize) {
        let (now, stream) = (self.revision, &mut self.streams[stream]);
        stream.told = now;
        stream.want(-1, format!("progress {now}"));
    }
}

impl Stream {
    fn has_id(&self, id: i64) -> bool {
        self.open.contains_key(&id) || self.spent.contains(&id)
    }

    fn take_id(&mut self) -> i64 {
        while self.has_id(self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn want(&mut self, id: i64, response: String) {
        self.wanted.entry(id).or_default().push_back(response);
    }
}

fn wants(request: &WatchCreateRequest, from: i64, event: &mvccpb::Event) -> bool {
    let kv = event.kv.as_ref().expect("every event has a pair");
    let range = KeyRange::new(&request.key, &request.range_end);
    kv.mod_revision >= from && range.contains(&kv.key) && !request.filters.contains(&event.r#type)
}

/// What the watch is sent of an event, if what is below the compaction revision is gone.
fn show(request: &WatchCreateRequest, event: &mvccpb::Event, compacted: i64) -> String {
    let is_gone = event.kv.as_ref().is_some_and(|kv| kv.mod_revision - 1 < compacted);
    let mut event = event.clone();
    if !request.prev_kv || is_gone {
        event.prev_kv = None;
    }
    brief(&event)
}

fn brief(event: &mvccpb::Event) -> String {
    let mut event = event.clone();
    for kv in [&mut event.kv, &mut event.prev_kv].into_iter().flatten() {
        if kv.value.len() > SHOWN_BYTES_MAX {
            kv.value = format!("{} bytes of {:?}", kv.value.len(), kv.value[0]).into();
        }
    }
    format!("{event:?}")
}

/// A response in words: one for each event.
pub fn shown(response: &WatchResponse) -> Vec<String> {
    let header = revision(response);
    let mut words = Vec::new();
    if response.created {
        words.push("created".to_owned());
    }
    if response.canceled {
        words.push("canceled".to_owned());
    }
    if words.is_empty() && response.events.is_empty() {
        words.push("progress".to_owned());
    }
    if !words.is_empty() {
        words.push(header.to_string());
    }
    if response.compact_revision != 0 {
        words.push(format!("compacted {}", response.compact_revision));
    }
    if !response.cancel_reason.is_empty() {
        words.push(response.cancel_reason.clone());
    }
    let control = (!words.is_empty()).then(|| words.join(" "));
    control.into_iter().chain(response.events.iter().map(brief)).collect()
}
