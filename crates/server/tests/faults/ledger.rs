//! What clients were told: the puts that were acknowledged.

use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::{PutRequest, RangeRequest};
use windlass_client::{Client, Code, Error};

/// etcd's text for a store that takes no more.
pub const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// A store that refused for so long is full: ten times what a shard waits at most before it flushes.
const FULL_FOR: Duration = Duration::from_secs(1);

/// Between two looks whether it still refuses.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Acknowledged puts of one writer; the keys of different writers differ.
pub struct Ledger {
    writer: usize,
    value_bytes: usize,
    puts: usize,
    acknowledged: Vec<usize>,
}

impl Ledger {
    /// Nothing was put yet.
    pub fn new(writer: usize, value_bytes: usize) -> Self {
        Self { writer, value_bytes, puts: 0, acknowledged: Vec::new() }
    }

    /// Puts the next key and notes it if that is acknowledged.
    pub fn put(&mut self, client: &mut Client) -> Result<(), Error> {
        self.puts += 1;
        client.put(&self.request(self.puts))?;
        self.acknowledged.push(self.puts);
        Ok(())
    }

    /// Puts until something goes wrong; says what.
    pub fn put_until_error(&mut self, client: &mut Client) -> Error {
        loop {
            if let Err(error) = self.put(client) {
                return error;
            }
        }
    }

    /// Puts until the store takes no more, and not just for the moment: what its shards have made durable may give the log
    /// room once more.
    ///
    /// # Panics
    /// If it refuses for another reason, or in other words than etcd.
    pub fn put_until_full(&mut self, client: &mut Client) {
        let mut refused_since = None;
        while refused_since.is_none_or(|since: Instant| since.elapsed() < FULL_FOR) {
            match self.put(client) {
                Ok(()) => refused_since = None,
                Err(error) => {
                    check_no_space(&error);
                    refused_since.get_or_insert_with(Instant::now);
                    std::thread::sleep(LOOK_INTERVAL);
                }
            }
        }
    }

    /// Number of acknowledged puts.
    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// Reads every acknowledged put back.
    pub fn check(&self, client: &mut Client) {
        for &number in &self.acknowledged {
            let PutRequest { key, value, .. } = self.request(number);
            let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
            let found = client.range(&get).expect("reads go on").kvs;
            assert!(found.len() == 1 && found[0].value == value, "{key:?} was acknowledged and is not there");
        }
    }

    fn request(&self, number: usize) -> PutRequest {
        let mut value = format!("{}-{number}-", self.writer).into_bytes();
        value.resize(self.value_bytes, b'v');
        let key = format!("writer{}/{number:06}", self.writer);
        PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() }
    }
}

/// Checks that an error is etcd's for a store that takes no more.
pub fn check_no_space(error: &Error) {
    match error {
        Error::Status { code: Code::ResourceExhausted, message } => assert_eq!(message, NO_SPACE),
        other => panic!("not refused for want of room: {other}"),
    }
}
