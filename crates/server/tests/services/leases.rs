//! Random requests about leases, and writes that attach keys to them and take them off.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{self as pb, RequestOp};
use windlass_api::method::{kv, lease};
use windlass_client::{Call, Connection};
use windlass_replica::oracle::generate::Random;

use crate::ask::{Server, ask, both, differ, plain, plan};
use crate::process::{Launch, REQUEST_TIMEOUT, Scratch};

const STEPS: usize = 3000;
/// Ids that clients choose. All but one are allowed: etcd takes what is below zero, too.
const IDS: [i64; 8] = [1, 2, 3, 4, 5, -9, i64::MAX, 0x7fff_0000_1234];
const KEYS: [&str; 6] = ["a", "b", "ba", "c", "d", "da"];
/// None of them ends by itself during a run.
const TTLS_S: [i64; 6] = [3600, 3601, 7200, 36_000, 100_000, 9_000_000_000];
/// Those that are refused or raised to the least there is.
const ODD_TTLS_S: [i64; 6] = [0, 1, -1, i64::MIN, 9_000_000_001, i64::MAX];
/// What the ids that servers chose are shown as, less the number of the grant.
const CHOSEN: i64 = -1_000_000;

/// A lease, by its own id or as the result of an earlier grant.
#[derive(Clone, Copy, Debug)]
enum Lease {
    Id(i64),
    Chosen(usize),
}

#[derive(Clone, Debug)]
enum Step {
    Grant(i64, i64),
    /// Granted and ended at once, as its time would be over soon.
    GrantShort(i64),
    Revoke(Lease),
    /// Sent at once on one stream.
    KeepAlive(Vec<Lease>),
    TimeToLive(Lease, bool),
    List,
    Put(Put),
    Txn(Vec<Put>, bool),
    Delete(&'static str, &'static str),
    Range,
}

#[derive(Clone, Debug)]
struct Put {
    key: &'static str,
    lease: Lease,
    ignore_lease: bool,
    prev_kv: bool,
}

/// One of the servers.
struct Side {
    connection: Connection,
    renewals: Option<Call>,
    chosen: Vec<i64>,
}

impl Side {
    fn new(server: &Server) -> Self {
        Self { connection: server.member.connect(), renewals: None, chosen: Vec::new() }
    }

    fn id(&self, lease: Lease) -> i64 {
        match lease {
            Lease::Id(id) => id,
            Lease::Chosen(number) => self.chosen[number],
        }
    }

    /// An id as it is shown.
    fn shown(&self, id: i64) -> i64 {
        let chosen = self.chosen.iter().position(|chosen| *chosen == id);
        chosen.map_or(id, |number| CHOSEN - number as i64)
    }

    fn put(&self, put: &Put) -> pb::PutRequest {
        pb::PutRequest {
            key: put.key.into(),
            value: "v".into(),
            lease: self.id(put.lease),
            ignore_lease: put.ignore_lease,
            prev_kv: put.prev_kv,
            ..Default::default()
        }
    }

    fn show_kvs<'a>(&self, kvs: impl IntoIterator<Item = &'a mut windlass_api::mvccpb::KeyValue>) {
        kvs.into_iter().for_each(|kv| kv.lease = self.shown(kv.lease));
    }

    /// Carries a step out and says what came of it; what is left of a lease's time is given beside.
    fn take(&mut self, step: &Step) -> (String, i64) {
        let text = match step {
            Step::Grant(id, ttl) => self.grant(*id, *ttl),
            Step::GrantShort(ttl) => {
                let granted = self.grant(0x5407, *ttl);
                let revoke = pb::LeaseRevokeRequest { id: 0x5407 };
                let revoked =
                    ask::<pb::LeaseRevokeResponse>(&mut self.connection, lease::LEASE_REVOKE, &revoke);
                format!("{granted} {revoked:?}")
            }
            Step::Revoke(lease) => {
                let revoke = pb::LeaseRevokeRequest { id: self.id(*lease) };
                format!(
                    "{:?}",
                    ask::<pb::LeaseRevokeResponse>(&mut self.connection, lease::LEASE_REVOKE, &revoke)
                )
            }
            Step::KeepAlive(leases) => self.keep_alive(leases),
            Step::TimeToLive(lease, keys) => return self.time_to_live(*lease, *keys),
            Step::List => self.list(),
            Step::Put(put) => {
                let request = self.put(put);
                let answer = ask::<pb::PutResponse>(&mut self.connection, kv::PUT, &request);
                format!(
                    "{:?}",
                    answer.map(|mut put| {
                        self.show_kvs(&mut put.prev_kv);
                        put
                    })
                )
            }
            Step::Txn(puts, holds) => self.txn(puts, *holds),
            Step::Delete(key, end) => {
                let delete =
                    pb::DeleteRangeRequest { key: (*key).into(), range_end: (*end).into(), prev_kv: true };
                let answer = ask::<pb::DeleteRangeResponse>(&mut self.connection, kv::DELETE_RANGE, &delete);
                format!(
                    "{:?}",
                    answer.map(|mut deleted| {
                        self.show_kvs(&mut deleted.prev_kvs);
                        deleted
                    })
                )
            }
            Step::Range => {
                let range = pb::RangeRequest { key: "a".into(), range_end: "z".into(), ..Default::default() };
                let answer = ask::<pb::RangeResponse>(&mut self.connection, kv::RANGE, &range);
                format!(
                    "{:?}",
                    answer.map(|mut range| {
                        self.show_kvs(&mut range.kvs);
                        range
                    })
                )
            }
        };
        (text, 0)
    }

    fn grant(&mut self, id: i64, ttl: i64) -> String {
        let grant = pb::LeaseGrantRequest { id, ttl };
        let answer = ask::<pb::LeaseGrantResponse>(&mut self.connection, lease::LEASE_GRANT, &grant);
        format!(
            "{:?}",
            answer.map(|mut granted| {
                if id == 0 {
                    assert!(granted.id > 0, "a server chooses ids above zero");
                    self.chosen.push(granted.id);
                    granted.id = self.shown(granted.id);
                }
                granted
            })
        )
    }

    fn keep_alive(&mut self, leases: &[Lease]) -> String {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        for lease in leases {
            let request = pb::LeaseKeepAliveRequest { id: self.id(*lease) };
            match &self.renewals {
                Some(call) => self.connection.push(call, &request, deadline).expect("the server takes it"),
                None => {
                    let call = self.connection.begin_stream(lease::LEASE_KEEP_ALIVE, &request, deadline);
                    self.renewals = Some(call.expect("a stream"));
                }
            }
        }
        let call = self.renewals.take().expect("a stream");
        let mut said = Vec::new();
        for _ in leases {
            let answer = self.connection.next::<pb::LeaseKeepAliveResponse>(&call, deadline);
            let mut answer = plain(answer.expect("an answer").expect("the stream goes on"));
            answer.id = self.shown(answer.id);
            said.push(format!("{answer:?}"));
        }
        self.renewals = Some(call);
        said.join("\n")
    }

    fn time_to_live(&mut self, lease: Lease, keys: bool) -> (String, i64) {
        let request = pb::LeaseTimeToLiveRequest { id: self.id(lease), keys };
        let answer =
            ask::<pb::LeaseTimeToLiveResponse>(&mut self.connection, lease::LEASE_TIME_TO_LIVE, &request);
        let mut left = 0;
        let answer = answer.map(|mut answer| {
            answer.id = self.shown(answer.id);
            // etcd lists them in the order of a Go map, which is none.
            answer.keys.sort_unstable();
            if answer.ttl > 0 {
                assert!(answer.ttl <= answer.granted_ttl, "{answer:?}");
                left = answer.ttl;
                answer.ttl = 1;
            }
            answer
        });
        (format!("{answer:?}"), left)
    }

    fn list(&mut self) -> String {
        let request = pb::LeaseLeasesRequest {};
        let answer = ask::<pb::LeaseLeasesResponse>(&mut self.connection, lease::LEASE_LEASES, &request);
        let answer = answer.map(|mut list| {
            list.leases.iter_mut().for_each(|lease| lease.id = self.shown(lease.id));
            // Those that expire first come first; what was renewed at the same time may come in any order.
            list.leases.sort_unstable_by_key(|lease| lease.id);
            list
        });
        format!("{answer:?}")
    }

    fn txn(&mut self, puts: &[Put], holds: bool) -> String {
        let ops = puts.iter().map(|put| RequestOp { request: Some(Request::RequestPut(self.put(put))) });
        // Two keys: one that may have the lease, one that is never there.
        let compare = |key: &'static str, lease: Lease| pb::Compare {
            key: key.into(),
            target: pb::compare::CompareTarget::Lease.into(),
            result: pb::compare::CompareResult::Equal.into(),
            target_union: Some(pb::compare::TargetUnion::Lease(self.id(lease))),
            ..Default::default()
        };
        let compare = if holds { compare("none", Lease::Id(0)) } else { compare(puts[0].key, puts[0].lease) };
        let range = pb::RangeRequest { key: "a".into(), range_end: "z".into(), ..Default::default() };
        let ops: Vec<_> = ops.chain([RequestOp { request: Some(Request::RequestRange(range)) }]).collect();
        let txn = pb::TxnRequest { compare: vec![compare], success: ops, failure: Vec::new() };
        let answer = ask::<pb::TxnResponse>(&mut self.connection, kv::TXN, &txn);
        let answer = answer.map(|mut txn| {
            use pb::response_op::Response;
            for response in &mut txn.responses {
                match &mut response.response {
                    Some(Response::ResponsePut(put)) => self.show_kvs(&mut put.prev_kv),
                    Some(Response::ResponseRange(range)) => self.show_kvs(&mut range.kvs),
                    _ => {}
                }
            }
            txn
        });
        format!("{answer:?}")
    }
}

fn draw(random: &mut Random, chosen: usize) -> Step {
    let key = |random: &mut Random| KEYS[random.below(KEYS.len() as u64) as usize];
    let lease = |random: &mut Random| match random.below(8) {
        0 => Lease::Id(0),
        1 => Lease::Id(random.below(99) as i64),
        2 | 3 if chosen > 0 => Lease::Chosen(chosen - 1 - random.below(chosen.min(6) as u64) as usize),
        _ => Lease::Id(IDS[random.below(IDS.len() as u64) as usize]),
    };
    let put = |random: &mut Random| Put {
        key: key(random),
        lease: if random.one_in(4) { Lease::Id(0) } else { lease(random) },
        ignore_lease: random.one_in(8),
        prev_kv: random.one_in(2),
    };
    match random.below(20) {
        0..=2 => {
            let id = if random.one_in(4) { 0 } else { IDS[random.below(IDS.len() as u64) as usize] };
            Step::Grant(id, TTLS_S[random.below(TTLS_S.len() as u64) as usize])
        }
        3 => Step::GrantShort(ODD_TTLS_S[random.below(ODD_TTLS_S.len() as u64) as usize]),
        4 | 5 => Step::Revoke(lease(random)),
        6 | 7 => Step::KeepAlive((0..1 + random.below(5)).map(|_| lease(random)).collect()),
        8..=10 => Step::TimeToLive(lease(random), !random.one_in(3)),
        11 => Step::List,
        12..=14 => Step::Put(put(random)),
        15 | 16 => {
            // Two puts of one key are refused before anything else is looked at; half of all txns have none.
            let mut puts: BTreeMap<_, _> = BTreeMap::new();
            for _ in 0..1 + random.below(3) {
                let put = put(random);
                puts.insert(put.key, put);
            }
            Step::Txn(puts.into_values().collect(), random.one_in(2))
        }
        17 => Step::Delete(key(random), if random.one_in(2) { "" } else { key(random) }),
        _ => Step::Range,
    }
}

#[test]
fn leases_are_those_of_a_real_etcd() {
    let Some(servers) = both(&[]) else { return };
    let (seed, steps) = plan(STEPS);
    let mut random = Random::new(seed);
    let mut sides = servers.each_ref().map(Side::new);
    // The rest of a lease's time differs, as one server was asked before the other when it was granted, and is now.
    let mut longest = Duration::ZERO;
    for number in 0..steps {
        let step = draw(&mut random, sides[0].chosen.len());
        let begun = Instant::now();
        let [(wanted, wanted_left_s), (got, left_s)] = sides.each_mut().map(|side| side.take(&step));
        longest = longest.max(begun.elapsed());
        let left_s_max = (2 * longest).as_secs() as i64 + 2;
        if wanted != got || (wanted_left_s - left_s).abs() > left_s_max {
            let wanted = format!("{wanted}, {wanted_left_s} s left");
            differ(number, &step, &wanted, &format!("{got}, {left_s} s left"));
        }
    }
}

/// What the leader proposes by itself comes between what clients ask for, also while no flush may begin.
#[test]
fn leases_end_while_the_log_is_busy() {
    const LEASES: i64 = 400;
    /// All values are kept, and a quick machine writes very many until the leases end.
    const VALUE_BYTES: usize = 256;
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut connection = member.connect();
    for id in 1..=LEASES {
        let grant = pb::LeaseGrantRequest { ttl: 1, id };
        ask::<pb::LeaseGrantResponse>(&mut connection, lease::LEASE_GRANT, &grant).expect("granted");
    }
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    loop {
        let put =
            pb::PutRequest { key: "k".into(), value: vec![b'v'; VALUE_BYTES].into(), ..Default::default() };
        let calls: Vec<_> = (0..200)
            .map(|_| connection.begin(kv::PUT, &put, REQUEST_TIMEOUT).expect("it is taken"))
            .collect();
        for call in calls {
            connection.finish::<pb::PutResponse>(call, deadline).expect("written");
        }
        let request = pb::LeaseLeasesRequest {};
        let list = ask::<pb::LeaseLeasesResponse>(&mut connection, lease::LEASE_LEASES, &request);
        if list.expect("a list").leases.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "leases are left");
    }
}
