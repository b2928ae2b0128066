//! A random log and what the model makes of each entry.

use bytes::Bytes;
use windlass_records::batch::{BatchBuilder, Origin};
use windlass_replica::oracle::Oracle;
use windlass_replica::oracle::generate::Generator;
use windlass_types::{LogIndex, MemberId, RequestId};

/// The member whose log it is.
pub const US: Origin = Origin { member: MemberId(7), incarnation: 1 };

pub struct Log {
    generator: Generator,
    /// From index 1.
    entries: Vec<Bytes>,
    /// Before the first entry, and after each.
    oracles: Vec<Oracle>,
    last_id: u64,
}

impl Log {
    pub fn new(seed: u64) -> Self {
        Self {
            generator: Generator::new(seed),
            entries: Vec::new(),
            oracles: vec![Oracle::default()],
            last_id: 0,
        }
    }

    /// The entry at `index`, which is at most one beyond the last.
    pub fn entry(&mut self, index: LogIndex) -> Bytes {
        if index.0 > self.entries.len() as u64 {
            self.invent();
        }
        self.entries[index.0 as usize - 1].clone()
    }

    /// The store after the entry at `index`.
    pub fn oracle(&self, index: LogIndex) -> &Oracle {
        &self.oracles[index.0 as usize]
    }

    fn invent(&mut self) {
        let mut oracle = self.oracles.last().expect("never empty").clone();
        let mut batch = BatchBuilder::default();
        for _ in 0..self.generator.random().below(8) {
            let plain = self.generator.random().one_in(2);
            let command = if plain { self.generator.plain_put() } else { self.generator.command() };
            // What clients are answered is the business of other tests.
            let _ = command.apply_to(&mut oracle);
            self.generator.revision = oracle.revision();
            self.last_id += 1;
            batch.push(RequestId(self.last_id), command.kind(), &command.payload());
        }
        self.entries.push(if batch.is_empty() { Bytes::new() } else { batch.finish(US) });
        self.oracles.push(oracle);
    }
}
