//! A sequential model of etcd's key-value semantics, for tests: what every answer must equal.
//!
//! Written as plainly as possible and after etcd's own code, one request at a time over one map. It must share no
//! logic with what it judges: only message types, the error catalogue and the hash of one record.

pub mod generate;

use std::collections::BTreeMap;

use windlass_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use windlass_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::response_op::Response as OpResponse;
use windlass_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, Compare, DeleteRangeRequest, DeleteRangeResponse,
    LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};
use windlass_api::mvccpb::event::EventType;
use windlass_api::mvccpb::{Event, KeyValue};
use windlass_mvcc::{HashSum, Usage, VERSION_BYTES};
use windlass_records::wal;
use windlass_types::{LeaseId, LogIndex, RequestError, Revision};

/// The model: an etcd store. Its leases know no time: tests say when one expires, as the log does.
#[derive(Clone, Debug)]
pub struct Oracle {
    revision: i64,
    compact_revision: i64,
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
    /// Seconds by id.
    leases: BTreeMap<i64, i64>,
}

#[derive(Clone, Debug)]
struct Version {
    revision: i64,
    sub: u32,
    /// `None`: deleted.
    kv: Option<KeyValue>,
}

/// A transaction under way.
struct Writer<'a> {
    store: &'a mut Oracle,
    /// The store's revision before it.
    begin: i64,
    changed: bool,
    ordinal: u32,
}

impl Default for Oracle {
    fn default() -> Self {
        Self { revision: 1, compact_revision: -1, keys: BTreeMap::new(), leases: BTreeMap::new() }
    }
}

impl Oracle {
    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The revision compacted last; -1 before the first compaction.
    #[must_use]
    pub fn compact_revision(&self) -> Revision {
        Revision(self.compact_revision)
    }

    /// A put by itself.
    pub fn put(&mut self, request: &PutRequest) -> Result<PutResponse, RequestError> {
        if self.lacks_lease(request) {
            return Err(RequestError::LeaseNotFound);
        }
        if (request.ignore_value || request.ignore_lease) && self.get(&request.key, self.revision).is_none() {
            return Err(RequestError::KeyNotFound);
        }
        Ok(self.write(|writer| writer.put(request)))
    }

    /// A delete by itself.
    pub fn delete(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        self.write(|writer| writer.delete(request))
    }

    /// A transaction, read-only or not.
    pub fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, RequestError> {
        let mut path = Vec::new();
        self.choose(request, &mut path);
        self.check(request, &mut path.iter().copied())?;
        let mut response = self.write(|writer| writer.txn(request, &mut path.iter().copied()));
        response.header = header(self.revision);
        Ok(response)
    }

    /// A compaction.
    pub fn compact(&mut self, request: &CompactionRequest) -> Result<CompactionResponse, RequestError> {
        if request.revision <= self.compact_revision {
            return Err(RequestError::Compacted);
        }
        if request.revision > self.revision {
            return Err(RequestError::FutureRevision);
        }
        self.compact_revision = request.revision;
        for versions in self.keys.values_mut() {
            let at = request.revision;
            let newest = versions.iter().rposition(|v| v.revision <= at);
            let mut position = 0;
            versions.retain(|v| {
                position += 1;
                let is_newest = newest == Some(position - 1);
                v.revision >= at || (is_newest && v.kv.is_some())
            });
        }
        self.keys.retain(|_, versions| !versions.is_empty());
        Ok(CompactionResponse { header: header(self.revision) })
    }

    /// The grant of a lease with an id.
    pub fn lease_grant(&mut self, request: &LeaseGrantRequest) -> Result<LeaseGrantResponse, RequestError> {
        if self.leases.contains_key(&request.id) {
            return Err(RequestError::LeaseExist);
        }
        self.leases.insert(request.id, request.ttl);
        let LeaseGrantRequest { id, ttl } = *request;
        Ok(LeaseGrantResponse { header: header(self.revision), id, ttl, error: String::new() })
    }

    /// The end of a lease, whoever asked for it.
    pub fn lease_revoke(
        &mut self,
        request: &LeaseRevokeRequest,
    ) -> Result<LeaseRevokeResponse, RequestError> {
        if self.leases.remove(&request.id).is_none() {
            return Err(RequestError::LeaseNotFound);
        }
        let keys = self.lease_keys(request.id);
        self.write(|writer| keys.iter().for_each(|key| writer.push(key, None)));
        Ok(LeaseRevokeResponse { header: header(self.revision) })
    }

    /// The ids of the leases that there are, with their seconds.
    #[must_use]
    pub fn leases(&self) -> &BTreeMap<i64, i64> {
        &self.leases
    }

    /// The keys attached to a lease.
    #[must_use]
    pub fn lease_keys(&self, lease: i64) -> Vec<Vec<u8>> {
        let is_attached = |key: &&Vec<u8>| self.get(key, self.revision).is_some_and(|kv| kv.lease == lease);
        self.keys.keys().filter(is_attached).cloned().collect()
    }

    fn lacks_lease(&self, put: &PutRequest) -> bool {
        put.lease != 0 && !self.leases.contains_key(&put.lease)
    }

    /// A range by itself, at the newest state.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, RequestError> {
        if request.revision > self.revision {
            return Err(RequestError::FutureRevision);
        }
        if request.revision > 0 && request.revision < self.compact_revision {
            return Err(RequestError::Compacted);
        }
        Ok(self.range_at(request, self.revision))
    }

    /// Hash of the whole store at its revision.
    #[must_use]
    pub fn hash(&self) -> HashSum {
        let mut sum = HashSum::default();
        for (key, versions) in &self.keys {
            for version in versions {
                sum.add(&wal::Version {
                    index: LogIndex(0),
                    revision: Revision(version.revision),
                    sub: version.sub,
                    key,
                    live: version.kv.as_ref().map(|kv| wal::Live {
                        create_revision: Revision(kv.create_revision),
                        version: kv.version,
                        lease: LeaseId(kv.lease),
                        value: &kv.value,
                    }),
                });
            }
        }
        sum
    }

    /// What a watch of every key is told of a revision that is not compacted, each event with the pair of before the
    /// revision unless it creates the key. Source: etcd `v3rpc/watch.go` (`IsCreateEvent`).
    #[must_use]
    pub fn events(&self, revision: Revision) -> Vec<Event> {
        let mut events = Vec::new();
        for (key, versions) in &self.keys {
            for version in versions.iter().filter(|v| v.revision == revision.0) {
                let gone =
                    || KeyValue { key: key.clone().into(), mod_revision: revision.0, ..KeyValue::default() };
                let creates = version.kv.as_ref().is_some_and(|kv| kv.create_revision == revision.0);
                let event = Event {
                    r#type: if version.kv.is_some() { EventType::Put } else { EventType::Delete } as i32,
                    kv: Some(version.kv.clone().unwrap_or_else(gone)),
                    prev_kv: if creates { None } else { self.get(key, revision.0 - 1).cloned() },
                };
                events.push((version.sub, event));
            }
        }
        // Of one operation they come by key, as they were found.
        events.sort_by_key(|(sub, _)| *sub);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// What the shards must hold together once they have compacted.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for (key, versions) in &self.keys {
            for version in versions {
                let value = version.kv.as_ref().map_or(0, |kv| kv.value.len());
                usage.versions += 1;
                usage.bytes += VERSION_BYTES + (key.len() + value) as u64;
            }
        }
        usage
    }

    fn write<T>(&mut self, f: impl FnOnce(&mut Writer<'_>) -> T) -> T {
        let begin = self.revision;
        let mut writer = Writer { store: self, begin, changed: false, ordinal: 0 };
        let result = f(&mut writer);
        if writer.changed {
            self.revision += 1;
        }
        result
    }

    fn get(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let versions = self.keys.get(key)?;
        versions.iter().rev().find(|v| v.revision <= revision)?.kv.as_ref()
    }

    fn matching(&self, key: &[u8], end: &[u8], revision: i64) -> Vec<KeyValue> {
        let within = |k: &[u8]| match end {
            [] => k == key,
            [0] => k >= key,
            _ => k >= key && k < end,
        };
        let keys = self.keys.keys().filter(|k| within(k));
        keys.filter_map(|k| self.get(k, revision)).cloned().collect()
    }

    fn range_at(&self, request: &RangeRequest, current: i64) -> RangeResponse {
        let revision = if request.revision > 0 { request.revision } else { current };
        let mut kvs = self.matching(&request.key, &request.range_end, revision);
        let count = kvs.len() as i64;
        let order = SortOrder::try_from(request.sort_order).expect("checked");
        let target = SortTarget::try_from(request.sort_target).expect("checked");
        let natural = order == SortOrder::None || (target == SortTarget::Key && order == SortOrder::Ascend);
        let r = request;
        let filters = [r.min_mod_revision, r.max_mod_revision, r.min_create_revision, r.max_create_revision];
        if natural && filters == [0; 4] && request.limit > 0 {
            kvs.truncate(request.limit as usize + 1);
        }
        kvs.retain(|kv| filters[0] == 0 || kv.mod_revision >= filters[0]);
        kvs.retain(|kv| filters[1] == 0 || kv.mod_revision <= filters[1]);
        kvs.retain(|kv| filters[2] == 0 || kv.create_revision >= filters[2]);
        kvs.retain(|kv| filters[3] == 0 || kv.create_revision <= filters[3]);
        kvs.sort_by(|a, b| {
            let (a, b) = if order == SortOrder::Descend { (b, a) } else { (a, b) };
            match target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            }
        });
        let mut more = false;
        if request.limit > 0 && kvs.len() > request.limit as usize {
            kvs.truncate(request.limit as usize);
            more = true;
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        if request.count_only {
            (kvs, more) = (Vec::new(), false);
        }
        RangeResponse { header: header(current), kvs, more, count }
    }

    fn choose(&self, request: &TxnRequest, path: &mut Vec<bool>) {
        let holds = request.compare.iter().all(|compare| self.compare(compare));
        path.push(holds);
        for op in branch(request, holds) {
            if let Some(Request::RequestTxn(nested)) = &op.request {
                self.choose(nested, path);
            }
        }
    }

    fn compare(&self, compare: &Compare) -> bool {
        let kvs = self.matching(&compare.key, &compare.range_end, self.revision);
        if kvs.is_empty() {
            return compare.target != CompareTarget::Value as i32
                && compare_kv(compare, &KeyValue::default());
        }
        kvs.iter().all(|kv| compare_kv(compare, kv))
    }

    fn check(&self, request: &TxnRequest, path: &mut impl Iterator<Item = bool>) -> Result<(), RequestError> {
        for op in branch(request, path.next().expect("a choice for each transaction")) {
            match op.request.as_ref().expect("checked") {
                Request::RequestRange(range) => match range.revision {
                    0 => {}
                    r if r > self.revision => return Err(RequestError::FutureRevision),
                    r if r < self.compact_revision => return Err(RequestError::Compacted),
                    _ => {}
                },
                Request::RequestPut(put) => {
                    if (put.ignore_value || put.ignore_lease) && self.get(&put.key, self.revision).is_none() {
                        return Err(RequestError::KeyNotFound);
                    }
                    if self.lacks_lease(put) {
                        return Err(RequestError::LeaseNotFound);
                    }
                }
                Request::RequestDeleteRange(_) => {}
                Request::RequestTxn(nested) => self.check(nested, path)?,
            }
        }
        Ok(())
    }
}

impl Writer<'_> {
    fn now(&self) -> i64 {
        self.begin + i64::from(self.changed)
    }

    fn put(&mut self, request: &PutRequest) -> PutResponse {
        let revision = self.begin + 1;
        let previous = self.store.get(&request.key, revision).cloned();
        let mut kv = KeyValue {
            key: request.key.clone(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            value: request.value.clone(),
            lease: request.lease,
        };
        let fallback = KeyValue::default();
        let kept = previous.as_ref().unwrap_or(&fallback);
        if request.ignore_value {
            kv.value = kept.value.clone();
        }
        if request.ignore_lease {
            kv.lease = kept.lease;
        }
        if let Some(previous) = &previous {
            kv.create_revision = previous.create_revision;
            kv.version = previous.version + 1;
        }
        self.push(&request.key, Some(kv));
        self.ordinal += 1;
        PutResponse { header: header(revision), prev_kv: previous.filter(|_| request.prev_kv) }
    }

    fn delete(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let kvs = self.store.matching(&request.key, &request.range_end, self.now());
        for kv in &kvs {
            self.push(&kv.key, None);
        }
        self.ordinal += 1;
        DeleteRangeResponse {
            header: header(self.now()),
            deleted: kvs.len() as i64,
            prev_kvs: if request.prev_kv { kvs } else { Vec::new() },
        }
    }

    fn txn(&mut self, request: &TxnRequest, path: &mut impl Iterator<Item = bool>) -> TxnResponse {
        let succeeded = path.next().expect("a choice for each transaction");
        let mut responses = Vec::new();
        for op in branch(request, succeeded) {
            let response = match op.request.as_ref().expect("checked") {
                Request::RequestRange(range) => {
                    self.ordinal += 1;
                    OpResponse::ResponseRange(self.store.range_at(range, self.now()))
                }
                Request::RequestPut(put) => OpResponse::ResponsePut(self.put(put)),
                Request::RequestDeleteRange(delete) => OpResponse::ResponseDeleteRange(self.delete(delete)),
                Request::RequestTxn(nested) => OpResponse::ResponseTxn(self.txn(nested, path)),
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        TxnResponse { header: Some(ResponseHeader::default()), succeeded, responses }
    }

    fn push(&mut self, key: &[u8], kv: Option<KeyValue>) {
        let version = Version { revision: self.begin + 1, sub: self.ordinal, kv };
        self.store.keys.entry(key.to_vec()).or_default().push(version);
        self.changed = true;
    }
}

fn branch(request: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

fn compare_kv(compare: &Compare, kv: &KeyValue) -> bool {
    let number = |mine: i64, target: Option<i64>| mine.cmp(&target.unwrap_or(0));
    let union = compare.target_union.clone();
    let order = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => {
            let target = union.and_then(|u| if let TargetUnion::Value(v) = u { Some(v) } else { None });
            kv.value.cmp(&target.unwrap_or_default())
        }
        Ok(CompareTarget::Create) => number(
            kv.create_revision,
            union.and_then(|u| if let TargetUnion::CreateRevision(r) = u { Some(r) } else { None }),
        ),
        Ok(CompareTarget::Mod) => number(
            kv.mod_revision,
            union.and_then(|u| if let TargetUnion::ModRevision(r) = u { Some(r) } else { None }),
        ),
        Ok(CompareTarget::Version) => number(
            kv.version,
            union.and_then(|u| if let TargetUnion::Version(v) = u { Some(v) } else { None }),
        ),
        Ok(CompareTarget::Lease) => {
            number(kv.lease, union.and_then(|u| if let TargetUnion::Lease(l) = u { Some(l) } else { None }))
        }
        Err(_) => std::cmp::Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Err(_) => true,
    }
}
