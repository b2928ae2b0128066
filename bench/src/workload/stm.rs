//! Software transactions as etcd's `concurrency` package makes them: read keys, then commit a transaction that holds only
//! if they have not changed, and try again if they have.

use prost::Message;
use windlass_api::etcdserverpb::request_op::Request as Op;
use windlass_api::etcdserverpb::response_op::Response;
use windlass_api::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use windlass_api::method;

use super::locker::{Lock, Locker};
use super::{CHOICE_SEED, Next, PREFIX_BYTES, Request, Shape, frame, mod_revision_is, op, put, range};
use crate::keys;
use crate::random::Random;

/// Tries of one transaction; a further conflict fails it.
const TRIES_MAX: u64 = 1_000;

/// What a transaction may see of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Isolation {
    /// Read committed: nothing is compared.
    #[value(name = "c")]
    ReadCommitted,
    /// Repeatable reads: what was read has not changed when it commits.
    #[value(name = "r")]
    RepeatableReads,
    /// Serializable: also, all reads are at one revision.
    #[value(name = "s")]
    Serializable,
    /// Serializable snapshot: also, what is written has not changed since that revision.
    #[value(name = "ss")]
    SerializableSnapshot,
}

/// A load of software transactions.
#[derive(Clone, Debug)]
pub struct Stm {
    shape: Shape,
    value: Vec<u8>,
    keys_per_txn: u64,
    /// Share of transactions that write what they have read.
    write_share: f64,
    isolation: Isolation,
    locker: Locker,
    /// Each chain's, which later chains in its place go on with.
    locks: Vec<Lock>,
    /// By number of the chain; those that are free are listed besides.
    chains: Vec<Chain>,
    free: Vec<usize>,
    frame: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct Chain {
    keys: Vec<Vec<u8>>,
    writes: bool,
    /// Mod revisions of the keys that were read so far.
    seen: Vec<i64>,
    /// The revision of the first read.
    revision: i64,
    conflicts: u64,
    /// How the transaction ended, while its lock is still to be given back.
    ended: Option<Result<(), String>>,
}

impl Stm {
    /// Transactions of `keys_per_txn` keys each.
    pub fn new(shape: Shape, keys_per_txn: u64, write_share: f64, isolation: Isolation) -> Self {
        let value = shape.value();
        Self {
            shape,
            value,
            keys_per_txn,
            write_share,
            isolation,
            locker: Locker::Stm,
            locks: Vec::new(),
            chains: Vec::new(),
            free: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// The same, wrapped.
    pub fn locked(self, locker: Locker) -> Self {
        Self { locker, ..self }
    }

    /// A chain for transaction `number`.
    pub fn begin(&mut self, number: u64) -> usize {
        let first = number * self.keys_per_txn;
        let key = |which: u64| {
            let mut key = vec![0; self.shape.key_bytes];
            keys::write(self.shape.keys.key_of(first + which), &mut key);
            key
        };
        let mut keys: Vec<_> = (0..self.keys_per_txn).map(key).collect();
        // A transaction may write a key once.
        keys.sort_unstable();
        keys.dedup();
        let writes = Random::at(self.shape.seed ^ CHOICE_SEED, number).unit() < self.write_share;
        let chain = Chain { keys, writes, ..Chain::default() };
        if let Some(place) = self.free.pop() {
            self.chains[place] = chain;
            return place;
        }
        self.chains.push(chain);
        self.locks.push(Lock::default());
        self.chains.len() - 1
    }

    /// The next request of a chain.
    pub fn step(&mut self, place: usize) -> Request<'_> {
        let chain = &self.chains[place];
        let path = if self.is_about_lock(place) {
            let (path, frame) = self.locks[place].step();
            self.frame = frame;
            path
        } else if let Some(key) = chain.keys.get(chain.seen.len()) {
            self.frame = frame(&self.read(chain, key));
            method::kv::RANGE
        } else {
            self.frame = frame(&self.commit(chain));
            method::kv::TXN
        };
        Request { path, frame: &self.frame, class: 0, chain: Some(place) }
    }

    /// Whether the next step takes the lock, or gives it back.
    fn is_about_lock(&self, place: usize) -> bool {
        let is_over = self.chains[place].ended.is_some();
        self.locker == Locker::LockRpc && (is_over || !self.locks[place].is_held())
    }

    fn reads_at_one_revision(&self) -> bool {
        matches!(self.isolation, Isolation::Serializable | Isolation::SerializableSnapshot)
    }

    fn read(&self, chain: &Chain, key: &[u8]) -> RangeRequest {
        let mut request = range(key, b"", super::Reading::default());
        if self.reads_at_one_revision() && !chain.seen.is_empty() {
            (request.revision, request.serializable) = (chain.revision, true);
        }
        request
    }

    fn commit(&self, chain: &Chain) -> TxnRequest {
        let compares = self.isolation != Isolation::ReadCommitted;
        let read = chain.keys.iter().zip(&chain.seen).filter(|_| compares);
        let writes = chain.keys.iter().filter(|_| chain.writes);
        // What a new try begins with comes in the answer of the one that failed.
        let again = chain.keys.iter().filter(|_| self.reads_at_one_revision());
        // Every key that is written was read: comparing reads compares writes too.
        TxnRequest {
            compare: read.map(|(key, &revision)| mod_revision_is(key, revision)).collect(),
            success: writes.map(|key| op(Op::RequestPut(put(key, &self.value)))).collect(),
            failure: again
                .map(|key| op(Op::RequestRange(range(key, b"", super::Reading::default()))))
                .collect(),
        }
    }

    /// Takes the answer to a chain's step.
    ///
    /// # Errors
    /// The step failed, or there were too many conflicts. The chain is over.
    pub fn follow(&mut self, place: usize, answer: Result<Vec<u8>, String>) -> Result<Next, String> {
        let next = match self.is_about_lock(place) {
            true => self.lock_answered(place, answer),
            false => self.transaction_answered(place, answer),
        };
        if !matches!(next, Ok(Next::Step)) {
            self.free.push(place);
        }
        next
    }

    fn lock_answered(&mut self, place: usize, answer: Result<Vec<u8>, String>) -> Result<Next, String> {
        self.locks[place].follow(answer)?;
        let chain = &mut self.chains[place];
        match chain.ended.take() {
            None => Ok(Next::Step),
            Some(ended) => ended.map(|()| Next::Done { class: 0, conflicts: chain.conflicts }),
        }
    }

    fn transaction_answered(
        &mut self,
        place: usize,
        answer: Result<Vec<u8>, String>,
    ) -> Result<Next, String> {
        let chain = &mut self.chains[place];
        let next = answer.and_then(|frame| chain.take(frame.get(PREFIX_BYTES..).unwrap_or_default()));
        if self.locker == Locker::Stm || matches!(next, Ok(Next::Step)) {
            return next;
        }
        // Also one that failed must let the others go on.
        chain.ended = Some(next.map(|_| ()));
        Ok(Next::Step)
    }
}

impl Chain {
    fn take(&mut self, message: &[u8]) -> Result<Next, String> {
        let odd = |error: prost::DecodeError| format!("the answer is not a message: {error}");
        if self.seen.len() < self.keys.len() {
            self.read(&RangeResponse::decode(message).map_err(odd)?);
            return Ok(Next::Step);
        }
        let response = TxnResponse::decode(message).map_err(odd)?;
        if response.succeeded {
            return Ok(Next::Done { class: 0, conflicts: self.conflicts });
        }
        self.conflicts += 1;
        if self.conflicts >= TRIES_MAX {
            return Err(format!("transaction given up after {TRIES_MAX} conflicts"));
        }
        self.seen.clear();
        for response in response.responses {
            if let Some(Response::ResponseRange(range)) = response.response {
                self.read(&range);
            }
        }
        self.revision = response.header.map_or(0, |header| header.revision);
        Ok(Next::Step)
    }

    fn read(&mut self, response: &RangeResponse) {
        if self.seen.is_empty() {
            self.revision = response.header.as_ref().map_or(0, |header| header.revision);
        }
        self.seen.push(response.kvs.first().map_or(0, |kv| kv.mod_revision));
    }
}

#[cfg(test)]
mod tests {
    use windlass_api::etcdserverpb::{ResponseHeader, ResponseOp};
    use windlass_api::mvccpb::KeyValue;

    use super::*;
    use crate::keys::{Keys, Spread};

    fn stm(isolation: Isolation) -> Stm {
        let keys = Keys::new(10, Spread::Sequential, 0);
        Stm::new(Shape { keys, key_bytes: 2, value_bytes: 3, seed: 1 }, 2, 1.0, isolation)
    }

    fn found(mod_revision: i64) -> RangeResponse {
        RangeResponse {
            header: Some(ResponseHeader { revision: 50, ..Default::default() }),
            kvs: vec![KeyValue { mod_revision, ..Default::default() }],
            ..Default::default()
        }
    }

    fn txn(stm: &mut Stm, chain: usize) -> TxnRequest {
        let request = stm.step(chain);
        assert_eq!(request.path, method::kv::TXN);
        TxnRequest::decode(&request.frame[PREFIX_BYTES..]).expect("is a transaction")
    }

    fn read_both(stm: &mut Stm) -> usize {
        let chain = stm.begin(0);
        for revision in [7, 9] {
            assert_eq!(stm.step(chain).path, method::kv::RANGE);
            assert!(matches!(stm.follow(chain, Ok(frame(&found(revision)))), Ok(Next::Step)));
        }
        chain
    }

    #[test]
    fn reads_then_commits_what_it_has_seen() {
        let mut stm = stm(Isolation::RepeatableReads);
        let chain = read_both(&mut stm);
        let commit = txn(&mut stm, chain);
        assert_eq!(commit.compare, [mod_revision_is(b"00", 7), mod_revision_is(b"01", 9)]);
        assert_eq!((commit.success.len(), commit.failure.len()), (2, 0));
        let done = frame(&TxnResponse { succeeded: true, ..Default::default() });
        assert!(matches!(stm.follow(chain, Ok(done)), Ok(Next::Done { conflicts: 0, .. })));
        assert_eq!(stm.begin(1), chain, "a finished chain's place is taken again");
    }

    #[test]
    fn a_conflict_is_tried_again_from_its_answer_where_that_has_the_keys() {
        let mut stm = stm(Isolation::SerializableSnapshot);
        let chain = read_both(&mut stm);
        let range = |revision| ResponseOp { response: Some(Response::ResponseRange(found(revision))) };
        let conflict = TxnResponse { responses: vec![range(17), range(9)], ..Default::default() };
        assert!(matches!(stm.follow(chain, Ok(frame(&conflict))), Ok(Next::Step)));
        assert_eq!(txn(&mut stm, chain).compare[0], mod_revision_is(b"00", 17));
        assert!(stm.follow(chain, Err("gone".to_owned())).is_err());
    }

    #[test]
    fn a_lock_is_taken_before_and_given_back_after_also_a_failure() {
        use windlass_api::etcdserverpb::LeaseGrantResponse;
        use windlass_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
        let mut stm = stm(Isolation::RepeatableReads).locked(Locker::LockRpc);
        let chain = stm.begin(0);
        assert_eq!(stm.step(chain).path, method::lease::LEASE_GRANT);
        let granted = LeaseGrantResponse { id: 77, ..Default::default() };
        assert!(matches!(stm.follow(chain, Ok(frame(&granted))), Ok(Next::Step)));
        for (failed, first) in [(false, 0), (true, 1)] {
            let chain = if first == 0 { chain } else { stm.begin(first) };
            let request = stm.step(chain);
            assert_eq!(request.path, method::lock::LOCK, "a later transaction has the lease already");
            assert_eq!(LockRequest::decode(&request.frame[PREFIX_BYTES..]).expect("a lock").lease, 77);
            let locked = LockResponse { key: "stmlock/4d".into(), ..Default::default() };
            assert!(matches!(stm.follow(chain, Ok(frame(&locked))), Ok(Next::Step)));
            for _ in 0..2 {
                assert_eq!(stm.step(chain).path, method::kv::RANGE);
                assert!(matches!(stm.follow(chain, Ok(frame(&found(5)))), Ok(Next::Step)));
            }
            let done = Ok(frame(&TxnResponse { succeeded: true, ..Default::default() }));
            let ended = stm.follow(chain, if failed { Err("too many requests".to_owned()) } else { done });
            assert!(matches!(ended, Ok(Next::Step)), "the lock is to be given back");
            let request = stm.step(chain);
            assert_eq!(request.path, method::lock::UNLOCK);
            let unlock = UnlockRequest::decode(&request.frame[PREFIX_BYTES..]).expect("an unlock");
            assert_eq!(&*unlock.key, b"stmlock/4d");
            let ended = stm.follow(chain, Ok(frame(&UnlockResponse::default())));
            match failed {
                false => assert!(matches!(ended, Ok(Next::Done { conflicts: 0, .. }))),
                true => assert_eq!(ended.err().as_deref(), Some("too many requests")),
            }
        }
    }

    #[test]
    fn repeatable_reads_read_again_after_a_conflict() {
        let mut stm = stm(Isolation::RepeatableReads);
        let chain = read_both(&mut stm);
        assert!(matches!(stm.follow(chain, Ok(frame(&TxnResponse::default()))), Ok(Next::Step)));
        assert_eq!(stm.step(chain).path, method::kv::RANGE);
    }
}
