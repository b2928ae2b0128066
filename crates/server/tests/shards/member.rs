//! The storage plane of a member without the rest: tasks in, answers out, on this thread.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use windlass::shard::{
    self, Holdings, OpenOptions, OpenedShards, Senders, ShardThread, Sink, Stopped, mailboxes,
};
use windlass::stages::Work;
use windlass_api::etcdserverpb::RangeRequest;
use windlass_io_disk::uring::SyncMode;
use windlass_io_log::stream::Stable;
use windlass_records::state::State;
use windlass_replica::answer::RangeAnswer;
use windlass_replica::shard::{Chunk, FollowerId};
use windlass_replica::task::{PutOp, PutRun, Query, ReadAnswer, ReadTask, ShardAnswer, ShardTask, Span};
use windlass_replica::watch::FollowNews;
use windlass_types::{LogIndex, Revision, ShardId, Term, key::shard_of};

/// Nothing here takes long; a test that waits longer than this has found a bug.
const PATIENCE: Duration = Duration::from_secs(20);

/// What shards said.
enum Said {
    Read(u64, ReadAnswer),
    Durable(usize, LogIndex),
    Failed(String),
}

struct ToTest(mpsc::Sender<Said>);

impl ToTest {
    fn say(&self, said: Said) {
        // A test that is over does not listen.
        let _ = self.0.send(said);
    }
}

impl Sink for ToTest {
    type Ticket = u64;

    fn answer(&mut self, shard: ShardId, answer: ShardAnswer) {
        panic!("shard {shard} was not asked: {answer:?}");
    }

    fn read(&mut self, _: ShardId, ticket: u64, answer: ReadAnswer) {
        self.say(Said::Read(ticket, answer));
    }

    fn chunk(&mut self, shard: ShardId, chunk: Chunk) {
        panic!("shard {shard} was asked for no snapshot: {chunk:?}");
    }

    fn follow(&mut self, shard: ShardId, _: FollowerId, news: FollowNews) {
        panic!("nobody follows shard {shard}: {news:?}");
    }

    fn applied(&mut self, _: std::time::Duration) {}

    fn compacted(&mut self, _: std::time::Duration, _: Option<std::time::Duration>) {}

    fn durable(&mut self, stream: usize, index: LogIndex) {
        self.say(Said::Durable(stream, index));
    }

    fn full(&mut self, _: ShardId, _: bool) {}

    fn complete(&mut self, _: ShardId, _: LogIndex) {}

    fn holds(&mut self, _: ShardId, _: Holdings) {}

    fn works(&mut self, _: ShardId, _: Work, _: bool) {}

    fn flushed(&mut self, _: Duration) {}

    fn flush(&mut self) {}

    fn failed(&mut self, error: &shard::Error) {
        self.say(Said::Failed(error.to_string()));
    }
}

/// The effects of one entry: keys and values, all new.
pub struct Entry {
    index: LogIndex,
    pairs: Vec<(String, String)>,
}

/// The entry at `index` of a log whose entries put `keys` keys each.
pub fn entry(index: u64, keys: u64) -> Entry {
    let pair = |i| (format!("key-{index}-{i}"), format!("value {i} of {index}"));
    Entry { index: LogIndex(index), pairs: (0..keys).map(pair).collect() }
}

pub struct Member {
    senders: Senders<u64>,
    threads: Vec<ShardThread>,
    said: mpsc::Receiver<Said>,
    state: State,
    stable: Stable,
    next_ticket: u64,
    answers: Vec<(u64, ReadAnswer)>,
}

fn options(folder: &Path, shards: u16) -> OpenOptions {
    OpenOptions {
        folder: folder.join("shards"),
        identity: 77,
        shards,
        flush_bytes: 1 << 20,
        flush_age_ns: 20_000_000,
        version_bytes_max: 2 << 20,
        has_peers: false,
    }
}

/// Why the shards cannot be opened.
pub fn open_error(folder: &Path, shards: u16) -> String {
    let error = shard::read(options(folder, shards)).err().expect("it must be refused");
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

impl Member {
    /// Starts the shards in `folder`; `None`, with a word why, where no executor can be made.
    pub fn start(folder: &Path, shards: u16) -> Option<Self> {
        let OpenedShards { state, shards: opened, state_stream, state_folder } =
            shard::read(options(folder, shards)).unwrap().start().unwrap();
        let (senders, inboxes) = mailboxes(shards);
        let (say, said) = mpsc::channel();
        let mut state_host = Some((state_stream, state_folder));
        let mut threads = Vec::new();
        for ((id, opened), inbox) in (0..).map(ShardId).zip(opened).zip(inboxes) {
            let options = shard::Options {
                core: opened.core,
                id,
                shards,
                folder: opened.folder,
                state: state_host.take(),
                inbox,
                mode: SyncMode::Dsync,
                cpu: None,
            };
            match ShardThread::spawn(options, ToTest(say.clone())) {
                Ok(thread) => threads.push(thread),
                Err(error @ (shard::Error::NoRing(_) | shard::Error::LockedMemory(_))) => {
                    eprintln!("skipped: {error}");
                    return None;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let stable = Stable::new(usize::from(shards) + 1, state.index);
        Some(Self { senders, threads, said, state, stable, next_ticket: 0, answers: Vec::new() })
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Does what the sequencer does for an entry of plain puts.
    pub fn apply(&mut self, entry: Entry) {
        let count = self.senders.count();
        let mut data = Vec::new();
        let mut puts = vec![Vec::new(); usize::from(count)];
        for (key, value) in &entry.pairs {
            self.state.revision = self.state.revision.next();
            let mut span = |bytes: &str| {
                let start = data.len() as u32;
                data.extend_from_slice(bytes.as_bytes());
                Span { start, len: bytes.len() as u32 }
            };
            let put = PutOp { revision: self.state.revision, key: span(key), value: span(value) };
            puts[usize::from(shard_of(key.as_bytes(), count).0)].push(put);
        }
        let data = Bytes::from(data);
        for (shard, puts) in (0..).map(ShardId).zip(puts) {
            let run =
                PutRun { index: entry.index, last: Some(self.state.revision), data: data.clone(), puts };
            self.senders.task(shard, ShardTask::Puts(run));
        }
        self.state = State { index: entry.index, term: Term(1), ..self.state };
        self.senders.state(self.state);
    }

    /// Every pair, in order of keys.
    pub fn read_all(&mut self) -> Vec<(String, String, i64)> {
        let read = self.ask_all(self.state.index);
        self.wait_for_answers(read)
    }

    /// Asks every shard for everything once it is complete up to `index`; names the question.
    pub fn ask_all(&mut self, index: LogIndex) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        for shard in (0..self.senders.count()).map(ShardId) {
            let range = everything();
            let task =
                ReadTask { min_index: index, revision: Revision(1 << 40), query: Query::Range(range.into()) };
            self.senders.read(shard, ticket, task);
        }
        ticket
    }

    /// What was answered, without waiting for more than what the shards have been told before.
    pub fn answers_so_far(&mut self, read: u64) -> Vec<(String, String, i64)> {
        // A question that can be answered at once comes back behind whatever the shard had to say before it.
        let now = self.ask_all(LogIndex(0));
        self.wait_for_answers(now);
        self.pairs(read)
    }

    pub fn wait_for_answers(&mut self, read: u64) -> Vec<(String, String, i64)> {
        let want = usize::from(self.senders.count());
        while self.answers.iter().filter(|(ticket, _)| *ticket == read).count() < want {
            self.listen();
        }
        self.pairs(read)
    }

    pub fn wait_until_stable(&mut self, index: LogIndex) {
        while self.stable.index() < index {
            self.listen();
        }
    }

    /// Stops in order.
    pub fn stop(self) -> Vec<Stopped> {
        self.senders.stop();
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }

    fn listen(&mut self) {
        match self.said.recv_timeout(PATIENCE).expect("shards answer") {
            Said::Read(ticket, answer) => self.answers.push((ticket, answer)),
            Said::Durable(stream, index) => {
                if let Some(stable) = self.stable.advance(stream, index) {
                    self.senders.stable(stable);
                }
            }
            Said::Failed(error) => panic!("{error}"),
        }
    }

    fn pairs(&self, read: u64) -> Vec<(String, String, i64)> {
        let mut pairs = Vec::new();
        for (_, answer) in self.answers.iter().filter(|(ticket, _)| *ticket == read) {
            let ReadAnswer::Range(found) = answer else { panic!("{answer:?}") };
            let answer = RangeAnswer::new(&everything(), vec![found.clone()], Revision::ZERO);
            let kvs = answer.to_response().kvs;
            pairs.extend(kvs.iter().map(|kv| (text(&kv.key), text(&kv.value), kv.mod_revision)));
        }
        pairs.sort();
        pairs
    }
}

fn everything() -> RangeRequest {
    RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
