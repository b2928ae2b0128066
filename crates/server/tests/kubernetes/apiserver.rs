//! One API server: what it asks, and what it must be told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use prost::Message;
use windlass_api::etcdserverpb::compare::{CompareTarget, TargetUnion};
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::response_op::Response;
use windlass_api::etcdserverpb::{self as pb, RequestOp};
use windlass_api::method::{kv, lease, maintenance};
use windlass_client::{Call, Connection, Error};

use crate::RESOURCES;
use crate::process::{Member, REQUEST_TIMEOUT};
use crate::watches::Watches;

/// Requests of the filling that are under way at a time.
const IN_FLIGHT: usize = 128;
/// Of an object, in bytes.
const VALUE_BYTES: usize = 512;
/// One in so many objects is updated and deleted; some of each resource.
const ONE_IN: usize = 51;
/// Of the objects with a lease.
const LEASE_TTL_S: i64 = 2;
/// The key by which API servers agree who compacts.
const COMPACT_KEY: &str = "compact_rev_key";

/// Where the objects of a resource are.
pub fn prefix(resource: &str) -> String {
    format!("/registry/{resource}/")
}

/// The key of an object.
pub fn key(number: usize) -> String {
    let resource = RESOURCES[number % RESOURCES.len()];
    format!("{}ns-{}/object-{number:07}", prefix(resource), number % 10)
}

/// Behind the last key with a prefix, which ends with a slash.
pub fn prefix_end(prefix: &str) -> String {
    format!("{}0", prefix.strip_suffix('/').expect("a prefix ends with a slash"))
}

/// One API server.
pub struct ApiServer {
    connection: Connection,
    /// Revisions of objects that were updated, by their number.
    updated: Vec<(usize, i64)>,
}

impl ApiServer {
    /// On a connection of its own.
    pub fn new(member: &Member) -> Self {
        Self { connection: member.connect(), updated: Vec::new() }
    }

    /// One unary call.
    pub fn ask<R: Message + Default>(&mut self, method: &str, request: &impl Message) -> R {
        self.try_ask(method, request).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_ask<R: Message + Default>(&mut self, method: &str, request: &impl Message) -> Result<R, Error> {
        let call = self.connection.begin(method, request, REQUEST_TIMEOUT)?;
        self.connection.finish(call, Instant::now() + REQUEST_TIMEOUT)
    }

    /// The store's revision.
    pub fn revision(&mut self) -> i64 {
        self.get(COMPACT_KEY, 0).header.expect("a header").revision
    }

    /// The objects that were updated.
    pub fn updated(&self) -> &[(usize, i64)] {
        &self.updated
    }

    fn get(&mut self, key: &str, revision: i64) -> pb::RangeResponse {
        let key = key.to_owned().into();
        self.ask(kv::RANGE, &pb::RangeRequest { key, limit: 1, revision, ..Default::default() })
    }

    /// Creates all objects, many at a time.
    pub fn create_all(&mut self, objects: usize) {
        let mut calls: VecDeque<Call> = VecDeque::new();
        for number in 0..objects {
            if calls.len() == IN_FLIGHT {
                self.created(calls.pop_front().expect("just counted"));
            }
            let txn = create(&key(number), value(number), 0);
            calls.push_back(self.connection.begin(kv::TXN, &txn, REQUEST_TIMEOUT).expect("it is taken"));
        }
        calls.into_iter().for_each(|call| self.created(call));
    }

    fn created(&mut self, call: Call) {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let answer: pb::TxnResponse = self.connection.finish(call, deadline).expect("created");
        assert!(answer.succeeded && answer.responses.len() == 1, "{answer:?}");
    }

    /// What is there is not created, and the answer says no more than that.
    pub fn create_again(&mut self) {
        let answer: pb::TxnResponse = self.ask(kv::TXN, &create(&key(1), value(0), 0));
        assert!(!answer.succeeded && answer.responses.is_empty(), "{answer:?}");
        let found = self.get(&key(1), 0);
        assert_eq!(found.kvs[0].value, value(1));
        let none = self.get("/registry/pods/none", 0);
        assert!(none.kvs.is_empty() && none.count == 0, "{none:?}");
    }

    /// Updates some objects; another API server that does the same from what was before is told what is now.
    pub fn update_and_lose(&mut self, objects: usize) {
        for number in (0..objects).step_by(ONE_IN) {
            let before = self.get(&key(number), 0).kvs[0].mod_revision;
            let answer: pb::TxnResponse = self.ask(kv::TXN, &update(&key(number), before, "updated"));
            let revision = answer.header.expect("a header").revision;
            assert!(answer.succeeded && revision > before, "{answer:?}");
            self.updated.push((number, revision));
            let late: pb::TxnResponse = self.ask(kv::TXN, &update(&key(number), before, "late"));
            assert!(!late.succeeded, "{late:?}");
            let Some(Response::ResponseRange(found)) = &late.responses[0].response else {
                panic!("{late:?}");
            };
            assert_eq!((found.kvs[0].mod_revision, &found.kvs[0].value[..]), (revision, &b"updated"[..]));
            // As of then it is as it was.
            assert_eq!(self.get(&key(number), before).kvs[0].value, value(number));
        }
    }

    /// Lists each resource in pages, while objects come and go between them: every page is as of the first one's revision.
    /// Returns the revision of the last list.
    pub fn list_while_it_changes(&mut self, objects: usize, page: i64) -> i64 {
        let mut listed_at = 0;
        for (index, resource) in RESOURCES.iter().enumerate() {
            let expected: Vec<String> =
                (0..objects).filter(|number| number % RESOURCES.len() == index).map(key).collect();
            let mut expected: VecDeque<String> = sorted(expected).into();
            let (mut from, mut revision) = (prefix(resource), 0);
            loop {
                let answer = self.page(&from, resource, page, revision);
                let header = answer.header.expect("a header").revision;
                if revision == 0 {
                    revision = header;
                }
                assert!(header >= revision, "a page is told with the newest revision");
                assert_eq!(answer.count, expected.len() as i64, "what remains is told exactly");
                for kv in &answer.kvs {
                    assert_eq!(Some(&kv.key[..]), expected.pop_front().as_ref().map(String::as_bytes));
                    assert!(kv.mod_revision <= revision, "{kv:?} is younger than {revision}");
                }
                assert_eq!(answer.more, !expected.is_empty());
                if !answer.more {
                    break;
                }
                from = format!("{}\0", String::from_utf8_lossy(&answer.kvs.last().expect("a page").key));
                self.disturb(resource);
            }
            listed_at = revision;
        }
        listed_at
    }

    fn page(&mut self, from: &str, resource: &str, limit: i64, revision: i64) -> pb::RangeResponse {
        let range = pb::RangeRequest {
            key: from.to_owned().into(),
            range_end: prefix_end(&prefix(resource)).into(),
            limit,
            revision,
            ..Default::default()
        };
        self.ask(kv::RANGE, &range)
    }

    /// An object that comes and goes behind all others of its resource.
    fn disturb(&mut self, resource: &str) {
        let key = format!("{}zzz/visitor", prefix(resource));
        let created: pb::TxnResponse = self.ask(kv::TXN, &create(&key, "visits".into(), 0));
        let revision = created.header.expect("a header").revision;
        assert!(created.succeeded);
        let deleted: pb::TxnResponse = self.ask(kv::TXN, &delete(&key, revision));
        assert!(deleted.succeeded);
    }

    /// Lists each resource whole, as API servers do that know of `RangeStream`.
    pub fn list_as_stream(&mut self, objects: usize) {
        for (index, resource) in RESOURCES.iter().enumerate() {
            let expected = (0..objects).filter(|number| number % RESOURCES.len() == index).count();
            let range = pb::RangeRequest {
                key: prefix(resource).into(),
                range_end: prefix_end(&prefix(resource)).into(),
                ..Default::default()
            };
            let deadline = Instant::now() + REQUEST_TIMEOUT;
            let call = self.connection.begin(kv::RANGE_STREAM, &range, REQUEST_TIMEOUT).expect("it is taken");
            let (mut listed, mut last) = (0, pb::RangeResponse::default());
            while let Some(chunk) =
                self.connection.next::<pb::RangeStreamResponse>(&call, deadline).expect("goes on")
            {
                assert!(last.header.is_none(), "only the last chunk has a header");
                last = chunk.range_response.expect("a chunk");
                listed += last.kvs.len();
            }
            self.connection.end(call);
            assert_eq!((listed, last.count as usize), (expected, expected));
            assert!(last.header.is_some_and(|header| header.revision > 1) && !last.more);
        }
    }

    /// Counts, and keys without values, by which the sizes of resources are known.
    pub fn counts(&mut self, objects: usize) {
        for (index, resource) in RESOURCES.iter().enumerate() {
            let expected = (0..objects).filter(|number| number % RESOURCES.len() == index).count();
            let range = pb::RangeRequest {
                key: prefix(resource).into(),
                range_end: prefix_end(&prefix(resource)).into(),
                ..Default::default()
            };
            let counted: pb::RangeResponse =
                self.ask(kv::RANGE, &pb::RangeRequest { count_only: true, ..range.clone() });
            assert_eq!((counted.count as usize, counted.kvs.len()), (expected, 0));
            let keys: pb::RangeResponse = self.ask(kv::RANGE, &pb::RangeRequest { keys_only: true, ..range });
            assert_eq!(keys.kvs.len(), expected);
            assert!(keys.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > 0));
        }
    }

    /// Deletes the objects that were updated, first as one who knows their former revision.
    pub fn delete_some(&mut self, watches: &mut Watches) {
        let mut deleted = Vec::new();
        for (number, revision) in std::mem::take(&mut self.updated) {
            let late: pb::TxnResponse = self.ask(kv::TXN, &delete(&key(number), revision - 1));
            assert!(!late.succeeded && late.responses.len() == 1, "{late:?}");
            let answer: pb::TxnResponse = self.ask(kv::TXN, &delete(&key(number), revision));
            let Some(Response::ResponseDeleteRange(gone)) = &answer.responses[0].response else {
                panic!("{answer:?}");
            };
            assert!(answer.succeeded && gone.deleted == 1, "{answer:?}");
            deleted.push((number, answer.header.expect("a header").revision));
        }
        watches.expect_deletions(&deleted);
    }

    /// Objects with a lease go when its time is over, and not before.
    pub fn leased_events_go(&mut self, watches: &mut Watches) {
        let granted_at = Instant::now();
        let grant = pb::LeaseGrantRequest { ttl: LEASE_TTL_S, id: 0 };
        let granted: pb::LeaseGrantResponse = self.ask(lease::LEASE_GRANT, &grant);
        let keys: Vec<String> = (0..10).map(|i| format!("{}ns-0/leased-{i}", prefix("events"))).collect();
        for key in &keys {
            let created: pb::TxnResponse = self.ask(kv::TXN, &create(key, "leased".into(), granted.id));
            assert!(created.succeeded);
        }
        watches.expect_expiry(&keys, granted_at + Duration::from_secs(granted.ttl.unsigned_abs()));
    }

    /// Two API servers that want to compact at the same time: one does, the other learns of it.
    pub fn compact_as_several(&mut self, listed_at: i64) {
        let round = |version: i64, revision: i64| {
            let found = pb::RangeRequest { key: COMPACT_KEY.into(), ..Default::default() };
            let put = pb::PutRequest {
                key: COMPACT_KEY.into(),
                value: revision.to_string().into(),
                ..Default::default()
            };
            pb::TxnRequest {
                compare: vec![pb::Compare {
                    target: CompareTarget::Version.into(),
                    key: COMPACT_KEY.into(),
                    target_union: Some(TargetUnion::Version(version)),
                    ..Default::default()
                }],
                success: vec![RequestOp { request: Some(Request::RequestPut(put)) }],
                failure: vec![RequestOp { request: Some(Request::RequestRange(found)) }],
            }
        };
        let revision = self.revision();
        let first: pb::TxnResponse = self.ask(kv::TXN, &round(0, revision));
        assert!(first.succeeded);
        let other: pb::TxnResponse = self.ask(kv::TXN, &round(0, revision));
        let Some(Response::ResponseRange(found)) = &other.responses[0].response else { panic!("{other:?}") };
        assert!(!other.succeeded, "{other:?}");
        assert_eq!((found.kvs[0].version, &found.kvs[0].value[..]), (1, revision.to_string().as_bytes()));
        let second: pb::TxnResponse = self.ask(kv::TXN, &round(1, revision + 1));
        assert!(second.succeeded);
        let compaction = pb::CompactionRequest { revision, physical: false };
        let _: pb::CompactionResponse = self.ask(kv::COMPACT, &compaction);
        let again = self.try_ask::<pb::CompactionResponse>(kv::COMPACT, &compaction).expect_err("it is done");
        let gone = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(again.to_string(), gone);
        let range = pb::RangeRequest {
            key: prefix("pods").into(),
            range_end: prefix_end(&prefix("pods")).into(),
            limit: 500,
            revision: listed_at,
            ..Default::default()
        };
        let late = self.try_ask::<pb::RangeResponse>(kv::RANGE, &range).expect_err("it is gone");
        assert_eq!(late.to_string(), gone);
        let _: pb::RangeResponse = self.ask(kv::RANGE, &pb::RangeRequest { revision, ..range });
    }

    /// The probe of an API server, and the size that it shows.
    pub fn is_healthy(&mut self) {
        let _ = self.get("/registry/health", 0);
        let status: pb::StatusResponse = self.ask(maintenance::STATUS, &pb::StatusRequest {});
        assert!(status.db_size > 0 && status.db_size >= status.db_size_in_use, "{status:?}");
    }
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

fn value(number: usize) -> Vec<u8> {
    let mut value = format!("object {number} ").into_bytes();
    value.resize(VALUE_BYTES, b'v');
    value
}

fn of_revision(key: &str, revision: i64) -> pb::Compare {
    pb::Compare {
        target: CompareTarget::Mod.into(),
        key: key.to_owned().into(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Default::default()
    }
}

fn op(request: Request) -> Vec<RequestOp> {
    vec![RequestOp { request: Some(request) }]
}

fn found(key: &str) -> Vec<RequestOp> {
    op(Request::RequestRange(pb::RangeRequest { key: key.to_owned().into(), ..Default::default() }))
}

fn create(key: &str, value: Vec<u8>, lease: i64) -> pb::TxnRequest {
    let put = pb::PutRequest { key: key.to_owned().into(), value: value.into(), lease, ..Default::default() };
    pb::TxnRequest {
        compare: vec![of_revision(key, 0)],
        success: op(Request::RequestPut(put)),
        failure: Vec::new(),
    }
}

fn update(key: &str, revision: i64, value: &'static str) -> pb::TxnRequest {
    let put = pb::PutRequest { key: key.to_owned().into(), value: value.into(), ..Default::default() };
    pb::TxnRequest {
        compare: vec![of_revision(key, revision)],
        success: op(Request::RequestPut(put)),
        failure: found(key),
    }
}

fn delete(key: &str, revision: i64) -> pb::TxnRequest {
    let delete = pb::DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() };
    pb::TxnRequest {
        compare: vec![of_revision(key, revision)],
        success: op(Request::RequestDeleteRange(delete)),
        failure: found(key),
    }
}
