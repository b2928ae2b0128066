//! `make-mirror`: copies keys to another cluster, and then what happens to them, until it is ended.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::ArgMatches;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
};
use windlass_api::mvccpb::event::EventType;
use windlass_api::mvccpb::{Event, KeyValue};
use windlass_client::{Client, Watch};

use super::{Outcome, Session, only_argument, prefix_end};
use crate::access::Access;
use crate::exit::{Code, Failure};
use crate::flags;

/// Keys that are read at once.
const PAGE_KEYS: i64 = 1000;
/// How often the number of copied keys is told.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("make-mirror")
        .about("Copies keys to another cluster, and keeps the copies current")
        .args([
            flags::text("prefix", "", "only keys that start with this"),
            flags::integer("rev", "copy only what happens after this revision, 0 for all that is there"),
            flags::integer_or("max-txn-ops", "128", "at most so many changes in one transaction"),
            flags::text("dest-prefix", "", "put this where the prefix is"),
            flags::switch("no-dest-prefix", "take the prefix off"),
            flags::text("dest-cert", "", "file of the certificate to show to the destination"),
            flags::text("dest-key", "", "file of its key"),
            flags::text("dest-cacert", "", "file of the authorities that the destination is trusted for"),
            flags::switch_on(
                "dest-insecure-transport",
                "no TLS to the destination where nothing asks for it",
            ),
            flags::text("dest-user", "", "name[:password] of the user at the destination"),
            flags::text("dest-password", "", "the user's password; then --dest-user is the name alone"),
            flags::positional("an endpoint of the destination"),
        ])
}

/// Runs it; it ends with a failure, if it ends.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let destination = only_argument(matches, "make-mirror takes one destination argument")?;
    let text = |name: &str| flags::string(matches, name).to_owned();
    let (prefix, mut dest_prefix) = (text("prefix"), text("dest-prefix"));
    let no_dest_prefix = flags::is_set(matches, "no-dest-prefix");
    if no_dest_prefix && !dest_prefix.is_empty() {
        let why = "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one";
        return Err(Failure::bad_args(why));
    }
    if !no_dest_prefix && dest_prefix.is_empty() {
        dest_prefix.clone_from(&prefix);
    }
    let ops_max = usize::try_from(flags::number(matches, "max-txn-ops")).unwrap_or(0).max(1);
    let access = Access {
        cert: text("dest-cert"),
        key: text("dest-key"),
        cacert: text("dest-cacert"),
        is_protected: !flags::is_set(matches, "dest-insecure-transport"),
        user: text("dest-user"),
        password: text("dest-password"),
        ..Access::default()
    };
    let security = access.security(|| session.ask("Destination Password: "))?;
    let destination = Client::secured(&session.config.connect(&[destination]), &security)?;
    let copied = report();
    let mut mirror = Mirror { destination, prefix, dest_prefix, ops_max, copied, pending: Vec::new() };
    let revision = match flags::number(matches, "rev") {
        0 => mirror.copy_all(&mut session.client()?)?,
        revision => revision,
    };
    let (key, range_end) = mirror.range();
    let request = WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        start_revision: revision + 1,
        ..WatchCreateRequest::default()
    };
    Err(mirror.follow(Watch::over(session.client()?, request)?))
}

/// A number that a thread prints now and then.
fn report() -> Arc<AtomicU64> {
    let copied = Arc::new(AtomicU64::new(0));
    let shown = Arc::clone(&copied);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(REPORT_EVERY);
            if writeln!(std::io::stdout(), "{}", shown.load(Ordering::Relaxed)).is_err() {
                return;
            }
        }
    });
    copied
}

struct Mirror {
    destination: Client,
    prefix: String,
    dest_prefix: String,
    ops_max: usize,
    copied: Arc<AtomicU64>,
    /// Changes of one revision that are not written yet.
    pending: Vec<RequestOp>,
}

impl Mirror {
    /// The keys that are copied.
    fn range(&self) -> (Vec<u8>, Vec<u8>) {
        match self.prefix.as_bytes() {
            b"" => (vec![0], vec![0]),
            prefix => (prefix.to_vec(), prefix_end(prefix)),
        }
    }

    /// The key at the destination.
    fn renamed(&self, key: &[u8]) -> Vec<u8> {
        let rest = key.strip_prefix(self.prefix.as_bytes()).unwrap_or(key);
        [self.dest_prefix.as_bytes(), rest].concat()
    }

    /// Copies what is there; returns the revision that it was read at.
    fn copy_all(&mut self, source: &mut Client) -> Result<i64, Failure> {
        let (mut key, range_end) = self.range();
        let mut revision = 0;
        loop {
            let page = source.range(&RangeRequest {
                key: key.into(),
                range_end: range_end.clone().into(),
                limit: PAGE_KEYS,
                revision,
                ..RangeRequest::default()
            })?;
            if revision == 0 {
                revision = page.header.unwrap_or_default().revision;
            }
            for kv in &page.kvs {
                self.add(self.put(kv))?;
            }
            match page.kvs.last() {
                // The next key after the last one.
                Some(last) if page.more => key = [last.key.as_ref(), &[0]].concat(),
                _ => break,
            }
        }
        self.write()?;
        Ok(revision)
    }

    /// Copies what happens, revision by revision.
    fn follow(&mut self, mut watch: Watch) -> Failure {
        loop {
            let done = watch.next_response().map_err(Failure::from).and_then(|response| {
                if response.compact_revision != 0 {
                    let why = "etcdserver: mvcc: required revision has been compacted";
                    return Err(Failure::new(Code::Error, why));
                }
                if response.canceled {
                    let why = format!("watch was canceled ({})", response.cancel_reason);
                    return Err(Failure::new(Code::Error, why));
                }
                self.copy_events(&response.events)
            });
            if let Err(failure) = done {
                return failure;
            }
        }
    }

    fn copy_events(&mut self, events: &[Event]) -> Result<(), Failure> {
        let mut last = 0;
        for event in events {
            let Some(kv) = &event.kv else { continue };
            // One transaction has a key once: no two revisions share one.
            if kv.mod_revision > last {
                self.write()?;
            }
            last = kv.mod_revision;
            let request = match event.r#type() {
                EventType::Put => self.put(kv),
                EventType::Delete => {
                    let key = self.renamed(&kv.key).into();
                    Request::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() })
                }
            };
            self.add(request)?;
        }
        self.write()
    }

    fn put(&self, kv: &KeyValue) -> Request {
        let (key, value) = (self.renamed(&kv.key).into(), kv.value.clone());
        Request::RequestPut(PutRequest { key, value, ..Default::default() })
    }

    fn add(&mut self, request: Request) -> Result<(), Failure> {
        self.pending.push(RequestOp { request: Some(request) });
        if self.pending.len() >= self.ops_max { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Failure> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let success = std::mem::take(&mut self.pending);
        let changes = success.len() as u64;
        self.destination.txn(&TxnRequest { success, ..TxnRequest::default() })?;
        self.copied.fetch_add(changes, Ordering::Relaxed);
        Ok(())
    }
}
