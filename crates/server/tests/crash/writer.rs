//! A client that writes until its member is gone, and remembers what it was told.

use std::sync::atomic::{AtomicBool, Ordering};

use windlass_api::etcdserverpb::{DeleteRangeRequest, PutRequest};
use windlass_client::{Client, Error};
use windlass_replica::oracle::generate::Random;

use crate::history::History;

/// Keys of one writer. Few, so that they are written again and again.
const KEYS: u64 = 40;

/// One change to one key; `value` is none for a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key; no other writer has it.
    pub key: String,
    /// Unlike any other value.
    pub value: Option<String>,
}

/// What a writer did.
#[derive(Debug, Default)]
pub struct Report {
    /// Changes that were acknowledged, with their revision, in order.
    pub acknowledged: Vec<(i64, Change)>,
    /// The change that was under way at the end, whose fate nobody knows.
    pub unknown: Option<Change>,
}

/// One client.
pub struct Writer {
    id: usize,
    round: u64,
    /// Which of its keys exist, as far as it knows.
    present: Vec<bool>,
    client: Client,
}

impl Writer {
    /// A client that goes on from what `history` says.
    pub fn new(id: usize, round: u64, history: &History, client: Client) -> Self {
        let present = (0..KEYS).map(|i| history.is_present(&key(id, i))).collect();
        Self { id, round, present, client }
    }

    /// Writes until it is stopped or its member is gone.
    pub fn run(mut self, stop: &AtomicBool, mut random: Random) -> Report {
        let mut report = Report::default();
        let mut count = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            let at = random.below(KEYS);
            let delete = self.present[at as usize] && random.below(8) == 0;
            let padding = "x".repeat(random.below(2000) as usize);
            let value = (!delete).then(|| format!("{}-{}-{count}-{padding}", self.round, self.id));
            let change = Change { key: key(self.id, at), value };
            match self.apply(&change) {
                Ok(revision) => {
                    self.present[at as usize] = !delete;
                    report.acknowledged.push((revision, change));
                }
                Err(Error::Status { code, message }) => panic!("refused with {code:?}: {message}"),
                Err(_) => {
                    report.unknown = Some(change);
                    break;
                }
            }
        }
        report
    }

    fn apply(&mut self, change: &Change) -> Result<i64, Error> {
        let key = change.key.clone().into_bytes().into();
        let header = match &change.value {
            Some(value) => {
                let value = value.clone().into_bytes().into();
                self.client.put(&PutRequest { key, value, ..PutRequest::default() })?.header
            }
            None => {
                let response =
                    self.client.delete_range(&DeleteRangeRequest { key, ..DeleteRangeRequest::default() })?;
                assert_eq!(response.deleted, 1, "the writer alone deletes {}", change.key);
                response.header
            }
        };
        Ok(header.expect("every response has a header").revision)
    }
}

fn key(writer: usize, at: u64) -> String {
    format!("w{writer}/{at:03}")
}
