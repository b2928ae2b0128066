//! What clients ask for, and when. They know nothing of the process but how many of their requests are in flight.

use bytes::Bytes;
use windlass_api::etcdserverpb::{LeaseGrantRequest, PutRequest, RangeRequest, TxnRequest};
use windlass_replica::oracle::generate::{Command, Generator};
use windlass_types::Revision;

use crate::profile::{Profile, VALUE_BYTES_MAX};
use crate::random::{Concern, Random, stream};

/// Requests of one turn at most.
const TURN_REQUESTS_MAX: u64 = 8;

/// A request of a client.
#[derive(Clone, Debug)]
pub enum Request {
    /// A write.
    Write(Command),
    /// A range.
    Range(RangeRequest),
    /// A transaction that only reads.
    Txn(TxnRequest),
    /// Shards flush now.
    Flush,
}

/// All clients of a run.
pub struct Clients {
    generator: Generator,
    large: Random,
    pace: Random,
    left: u64,
    large_one_in: u64,
    in_flight_max: u64,
    pause_ns_max: u64,
}

impl Clients {
    /// The clients of the member at `site` in the run of `seed`.
    #[must_use]
    pub fn new(seed: u64, site: usize, profile: &Profile) -> Self {
        let seed = seed ^ ((site as u64) << 32);
        let mut requests = stream(seed, Concern::Requests);
        Self {
            generator: Generator::new(requests.number()),
            large: requests,
            pace: stream(seed, Concern::Pace),
            left: profile.requests.div_ceil(profile.members as u64),
            large_one_in: profile.large_one_in,
            in_flight_max: profile.in_flight_max,
            pause_ns_max: profile.pause_ns_max,
        }
    }

    /// Whether they have nothing more to ask.
    #[must_use]
    pub fn are_done(&self) -> bool {
        self.left == 0
    }

    /// They ask no more.
    pub fn stop(&mut self) {
        self.left = 0;
    }

    /// Number of requests that they make now, with so many in flight.
    pub fn turn(&mut self, in_flight: u64) -> u64 {
        let free = self.in_flight_max.saturating_sub(in_flight);
        let count = self.pace.below(TURN_REQUESTS_MAX + 1).min(free).min(self.left);
        self.left -= count;
        count
    }

    /// Time until their next turn, in nanoseconds.
    pub fn pause_ns(&mut self) -> u64 {
        1 + self.pace.below(self.pause_ns_max)
    }

    /// The next request; the store is about at this revision.
    pub fn request(&mut self, revision: Revision) -> Request {
        self.generator.revision = revision;
        match self.generator.random().below(100) {
            0..65 => Request::Write(self.write()),
            65..93 => Request::Range(self.generator.range()),
            93..99 => Request::Txn(self.generator.read_txn()),
            _ => Request::Flush,
        }
    }

    fn write(&mut self) -> Command {
        match self.generator.command() {
            Command::Put(put) if self.large.one_in(self.large_one_in) && !put.ignore_value => {
                let length = self.large.below(VALUE_BYTES_MAX) as usize;
                let value = Bytes::from(vec![self.large.number() as u8; length]);
                Command::Put(PutRequest { value, ..put })
            }
            // Short enough to end while the run lasts.
            Command::LeaseGrant(grant) if self.large.one_in(2) => {
                Command::LeaseGrant(LeaseGrantRequest { ttl: 1, ..grant })
            }
            command => command,
        }
    }
}
