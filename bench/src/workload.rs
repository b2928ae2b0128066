//! What is sent: request number n of a load, as a whole gRPC frame. Pure; built once, then only keys are written.

mod frames;
mod locker;
mod stm;

use std::ops::Range;

use prost::Message;
use windlass_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use windlass_api::etcdserverpb::request_op::Request as Op;
use windlass_api::etcdserverpb::{
    Compare, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    RequestOp, TxnRequest,
};
use windlass_api::method;

use crate::keys::Keys;
use crate::random::Random;
use frames::Template;

pub use frames::{PREFIX_BYTES, STAMP_BYTES, frame};
pub use locker::Locker;
pub use stm::{Isolation, Stm};

/// The position of [`Random`] from which values come; no request has this number.
const VALUE_POSITION: u64 = u64::MAX;
/// What is drawn to choose between reads and writes must not be what is drawn to choose keys.
const CHOICE_SEED: u64 = 0x6368_6f69_6365;

/// A request.
pub struct Request<'a> {
    /// The method's path.
    pub path: &'static str,
    /// A whole gRPC frame.
    pub frame: &'a [u8],
    /// Which of the workload's classes it belongs to.
    pub class: usize,
    /// The chain of which it is a step; its answer goes to [`Workload::follow`].
    pub chain: Option<usize>,
}

/// What comes after a step of a chain.
pub enum Next {
    /// A further step, from [`Workload::step`].
    Step,
    /// The chain is complete, in this class, after so many tries beyond the first.
    Done {
        /// See [`Request::class`].
        class: usize,
        /// Tries that met a conflict.
        conflicts: u64,
    },
}

/// Requests of one load.
#[derive(Clone, Debug)]
pub struct Workload {
    classes: Vec<&'static str>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Single(Template),
    /// The first so often as `read_share` says, else the second.
    Mixed {
        templates: [Template; 2],
        read_share: f64,
        seed: u64,
    },
    /// One after the other.
    Rotating {
        path: &'static str,
        frames: Vec<Vec<u8>>,
    },
    Stm(Box<Stm>),
}

/// How keys and values look.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Which key a request is about.
    pub keys: Keys,
    /// Length of each key.
    pub key_bytes: usize,
    /// Length of each value.
    pub value_bytes: usize,
    /// Of the value.
    pub seed: u64,
}

/// What a read asks for besides the key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Not linearizable.
    pub serializable: bool,
    /// Keys at most; 0 for all.
    pub limit: i64,
    /// Only how many there are.
    pub count_only: bool,
}

/// A fixed range, or the keys of a [`Shape`].
#[derive(Clone, Debug)]
pub enum Target {
    /// From a key to below another, or the key alone if that is empty.
    Range(String, String),
    /// Single keys as puts write them.
    Keys(Keys, usize),
}

/// What guards a transaction's puts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    None,
    /// Its keys must not exist; if one does they are read instead. So Kubernetes creates objects.
    Absent,
}

impl Workload {
    /// Puts.
    pub fn put(shape: Shape) -> Self {
        let value = shape.value();
        Self::single("put", Template::new(method::kv::PUT, &shape, 1, |keys| put(&keys[0], &value)))
    }

    /// Puts of keys that all begin with `prefix`, which `shape` does not count.
    pub fn put_below(prefix: &str, shape: Shape) -> Self {
        let value = shape.value();
        let build = |keys: &[Vec<u8>]| put(&[prefix.as_bytes(), &keys[0]].concat(), &value);
        Self::single("put", Template::new(method::kv::PUT, &shape, 1, build))
    }

    /// Puts whose values begin with the time at which they were due.
    pub fn stamped_put(shape: Shape) -> Self {
        let value = shape.value();
        let template = Template::new(method::kv::PUT, &shape, 1, |keys| put(&keys[0], &value));
        Self::single("put", template.stamped(&value))
    }

    /// Ranges.
    pub fn range(target: Target, reading: Reading) -> Self {
        Self::single("range", range_template(target, |key, end| range(key, end, reading), method::kv::RANGE))
    }

    /// Transactions of `ops` puts each.
    pub fn txn_put(shape: Shape, ops: usize, guard: Guard) -> Self {
        let value = shape.value();
        let build = |keys: &[Vec<u8>]| TxnRequest {
            compare: keys.iter().filter(|_| guard == Guard::Absent).map(|key| absent(key)).collect(),
            success: keys.iter().map(|key| op(Op::RequestPut(put(key, &value)))).collect(),
            failure: keys
                .iter()
                .filter(|_| guard == Guard::Absent)
                .map(|key| op(Op::RequestRange(range(key, b"", Reading::default()))))
                .collect(),
        };
        Self::single("txn", Template::new(method::kv::TXN, &shape, ops, build))
    }

    /// Transactions that read or write; `rw_ratio` reads for each write.
    pub fn txn_mixed(shape: Shape, target: Target, reading: Reading, rw_ratio: f64) -> Self {
        let (value, seed) = (shape.value(), shape.seed);
        let one = |request| TxnRequest { success: vec![op(request)], ..Default::default() };
        let read = |key: &[u8], end: &[u8]| one(Op::RequestRange(range(key, end, reading)));
        let reads = range_template(target, read, method::kv::TXN);
        let write = |keys: &[Vec<u8>]| one(Op::RequestPut(put(&keys[0], &value)));
        let writes = Template::new(method::kv::TXN, &shape, 1, write);
        Self::mixed(reads, writes, rw_ratio, seed)
    }

    /// Plain ranges and puts; `rw_ratio` reads for each write.
    pub fn mixed_plain(shape: Shape, reading: Reading, rw_ratio: f64) -> Self {
        let (value, seed) = (shape.value(), shape.seed);
        let target = Target::Keys(shape.keys.clone(), shape.key_bytes);
        let reads = range_template(target, |key, end| range(key, end, reading), method::kv::RANGE);
        Self::mixed(
            reads,
            Template::new(method::kv::PUT, &shape, 1, |keys| put(&keys[0], &value)),
            rw_ratio,
            seed,
        )
    }

    /// Software transactions: reads, and then a transaction that holds only if nothing of them has changed.
    pub fn stm(stm: Stm) -> Self {
        Self { classes: vec!["transaction"], kind: Kind::Stm(Box::new(stm)) }
    }

    /// Keepalives of leases, each on a stream of its own, as `KeepAliveOnce` of etcd's client sends it.
    pub fn keep_alive(leases: Range<i64>) -> Self {
        Self::rotating("keepalive", method::lease::LEASE_KEEP_ALIVE, leases, |id| {
            frame(&LeaseKeepAliveRequest { id })
        })
    }

    /// Grants of leases with these ids.
    pub fn lease_grants(ids: Range<i64>, ttl: i64) -> Self {
        Self::rotating("grant", method::lease::LEASE_GRANT, ids, |id| frame(&LeaseGrantRequest { ttl, id }))
    }

    /// Revocations of leases.
    pub fn lease_revokes(leases: Range<i64>) -> Self {
        Self::rotating("revocation", method::lease::LEASE_REVOKE, leases, |id| {
            frame(&LeaseRevokeRequest { id })
        })
    }

    fn rotating(
        class: &'static str,
        path: &'static str,
        leases: Range<i64>,
        frame: impl Fn(i64) -> Vec<u8>,
    ) -> Self {
        assert!(!leases.is_empty(), "there are leases");
        Self { classes: vec![class], kind: Kind::Rotating { path, frames: leases.map(frame).collect() } }
    }

    fn single(class: &'static str, template: Template) -> Self {
        Self { classes: vec![class], kind: Kind::Single(template) }
    }

    fn mixed(reads: Template, writes: Template, rw_ratio: f64, seed: u64) -> Self {
        let kind = Kind::Mixed { templates: [reads, writes], read_share: rw_ratio / (1.0 + rw_ratio), seed };
        Self { classes: vec!["read", "write"], kind }
    }

    /// Names of the classes of its requests.
    pub fn classes(&self) -> &[&'static str] {
        &self.classes
    }

    /// Request `number`, which was due at `due_ns`; good until the next call.
    pub fn request(&mut self, number: u64, due_ns: u64) -> Request<'_> {
        match &mut self.kind {
            Kind::Single(template) => template.request(number, due_ns, 0),
            Kind::Mixed { templates, read_share, seed } => {
                let class = usize::from(Random::at(*seed ^ CHOICE_SEED, number).unit() >= *read_share);
                templates[class].request(number, due_ns, class)
            }
            Kind::Rotating { path, frames } => {
                let frame = &frames[(number % frames.len() as u64) as usize];
                Request { path, frame, class: 0, chain: None }
            }
            Kind::Stm(stm) => {
                let chain = stm.begin(number);
                stm.step(chain)
            }
        }
    }

    /// Takes the answer to a step of `chain`.
    ///
    /// # Errors
    /// The chain cannot go on; says why.
    pub fn follow(&mut self, chain: usize, answer: Result<Vec<u8>, String>) -> Result<Next, String> {
        match &mut self.kind {
            Kind::Stm(stm) => stm.follow(chain, answer),
            _ => unreachable!("only software transactions have chains"),
        }
    }

    /// The next step of `chain`.
    pub fn step(&mut self, chain: usize) -> Request<'_> {
        match &mut self.kind {
            Kind::Stm(stm) => stm.step(chain),
            _ => unreachable!("only software transactions have chains"),
        }
    }
}

impl Shape {
    fn value(&self) -> Vec<u8> {
        let mut random = Random::at(self.seed, VALUE_POSITION);
        (0..self.value_bytes).map(|_| random.next() as u8).collect()
    }
}

fn range_template<M: Message>(
    target: Target,
    build: impl Fn(&[u8], &[u8]) -> M,
    path: &'static str,
) -> Template {
    match target {
        Target::Range(key, end) => Template::fixed(path, &build(key.as_bytes(), end.as_bytes())),
        Target::Keys(keys, key_bytes) => {
            let shape = Shape { keys, key_bytes, value_bytes: 0, seed: 0 };
            Template::new(path, &shape, 1, |keys| build(&keys[0], b""))
        }
    }
}

fn put(key: &[u8], value: &[u8]) -> PutRequest {
    PutRequest { key: key.to_vec().into(), value: value.to_vec().into(), ..Default::default() }
}

fn range(key: &[u8], end: &[u8], reading: Reading) -> RangeRequest {
    let Reading { serializable, limit, count_only } = reading;
    let (key, range_end) = (key.to_vec().into(), end.to_vec().into());
    RangeRequest { key, range_end, serializable, limit, count_only, ..Default::default() }
}

fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn absent(key: &[u8]) -> Compare {
    mod_revision_is(key, 0)
}

fn mod_revision_is(key: &[u8], revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key: key.to_vec().into(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Default::default()
    }
}

/// Where bytes lie in a frame.
type Place = Range<usize>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Spread;

    fn decode<M: Message + Default>(frame: &[u8]) -> M {
        let (prefix, message) = frame.split_first_chunk::<PREFIX_BYTES>().expect("has a prefix");
        assert_eq!(prefix[0], 0);
        assert_eq!(prefix[1..], u32::try_from(message.len()).expect("small").to_be_bytes());
        M::decode(message).expect("is a message")
    }

    fn shape(space: u64, key_bytes: usize, value_bytes: usize) -> Shape {
        Shape { keys: Keys::new(space, Spread::Sequential, 0), key_bytes, value_bytes, seed: 9 }
    }

    #[test]
    fn puts_differ_in_their_keys_alone() {
        // 200 bytes: the length takes two bytes on the wire.
        for key_bytes in [1, 8, 200] {
            let mut workload = Workload::put(shape(3, key_bytes, 300));
            let puts: Vec<PutRequest> = (0..4).map(|n| decode(workload.request(n, 0).frame)).collect();
            for (number, put) in puts.iter().enumerate() {
                assert_eq!(put.key, format!("{:0key_bytes$}", number % 3).as_bytes());
                assert_eq!((put.value.len(), &put.value), (300, &puts[0].value));
            }
        }
    }

    #[test]
    fn ranges_are_as_asked_for() {
        let reading = Reading { serializable: true, limit: 7, count_only: true };
        let target = Target::Range("a".to_owned(), "b".to_owned());
        let range: RangeRequest = decode(Workload::range(target, reading).request(5, 0).frame);
        assert_eq!((&*range.key, &*range.range_end), (&b"a"[..], &b"b"[..]));
        assert!(range.serializable && range.limit == 7 && range.count_only);
        let target = Target::Keys(Keys::new(100, Spread::Sequential, 0), 4);
        let range: RangeRequest = decode(Workload::range(target, Reading::default()).request(42, 0).frame);
        assert_eq!((&*range.key, range.range_end.len(), range.serializable), (&b"0042"[..], 0, false));
    }

    #[test]
    fn a_transaction_has_its_keys_in_all_places() {
        let mut workload = Workload::txn_put(shape(100, 6, 10), 2, Guard::Absent);
        let txn: TxnRequest = decode(workload.request(7, 0).frame);
        let keys: Vec<_> = txn.compare.iter().map(|compare| compare.key.to_vec()).collect();
        assert_eq!(keys, [b"000014", b"000015"]);
        let put_keys = txn.success.iter().map(|op| match op.request.as_ref().expect("an operation") {
            Op::RequestPut(put) => put.key.to_vec(),
            other => panic!("{other:?}"),
        });
        assert_eq!(put_keys.collect::<Vec<_>>(), keys);
        let get_keys = txn.failure.iter().map(|op| match op.request.as_ref().expect("an operation") {
            Op::RequestRange(range) => range.key.to_vec(),
            other => panic!("{other:?}"),
        });
        assert_eq!(get_keys.collect::<Vec<_>>(), keys);
        let plain: TxnRequest =
            decode(Workload::txn_put(shape(100, 6, 10), 3, Guard::None).request(1, 0).frame);
        assert_eq!((plain.compare.len(), plain.success.len(), plain.failure.len()), (0, 3, 0));
    }

    #[test]
    fn a_mix_has_its_ratio() {
        let mut workload = Workload::mixed_plain(shape(10, 3, 8), Reading::default(), 3.0);
        let writes: usize = (0..10_000).map(|n| workload.request(n, 0).class).sum();
        assert!((2_300..2_700).contains(&writes), "{writes}");
    }

    #[test]
    fn keys_may_have_a_prefix() {
        let keys = Keys::new(10, crate::keys::Spread::Sequential, 1);
        let shape = Shape { keys, key_bytes: 4, value_bytes: 3, seed: 1 };
        let mut workload = Workload::put_below("0/11/", shape);
        let put: PutRequest = decode(workload.request(7, 0).frame);
        assert_eq!((&put.key[..], put.value.len()), (&b"0/11/0007"[..], 3));
    }

    #[test]
    fn values_carry_the_time() {
        let mut workload = Workload::stamped_put(shape(10, 3, 32));
        let put: PutRequest = decode(workload.request(1, 123_456).frame);
        assert_eq!((&put.value[..STAMP_BYTES], put.value.len()), (&b"0000000000123456"[..], 32));
    }

    #[test]
    fn leases_take_turns() {
        let mut workload = Workload::keep_alive(7..9);
        let ids = (0..3).map(|n| decode::<LeaseKeepAliveRequest>(workload.request(n, 0).frame).id);
        assert_eq!(ids.collect::<Vec<_>>(), [7, 8, 7]);
        let mut workload = Workload::lease_grants(7..9, 100);
        let grant = decode::<LeaseGrantRequest>(workload.request(1, 0).frame);
        assert_eq!((grant.id, grant.ttl), (8, 100));
    }
}
