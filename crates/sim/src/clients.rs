//! What clients ask for, and when. They know nothing of the process but how many of their requests are in flight.

use bytes::Bytes;
use windlass_api::etcdserverpb::{AlarmMember, LeaseGrantRequest, PutRequest, RangeRequest, TxnRequest};
use windlass_records::batch::CommandKind;
use windlass_replica::auth::ROOT;
use windlass_replica::lease::LeaseAsk;
use windlass_replica::oracle::generate::{Command, Generator};
use windlass_types::{LeaseId, Revision};

use crate::administration;
use crate::profile::{Profile, VALUE_BYTES_MAX};
use crate::random::{Concern, Random, between, stream};

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
    /// Something about alarms or users.
    Rule(CommandKind, Vec<u8>),
    /// A question about a lease.
    Lease(LeaseAsk),
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
    /// Whether they do everything that they can.
    full: bool,
    administration: Random,
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
            full: profile.kind.is_full(),
            administration: stream(seed, Concern::Administration),
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

    /// Who asks next: mostly who may do everything.
    pub fn user(&mut self) -> &'static str {
        match if self.full { self.administration.below(10) } else { 9 } {
            0..6 => ROOT,
            6 | 7 => "alice",
            8 => "bob",
            _ => "",
        }
    }

    /// The next request; the store is about at this revision, and these alarms are raised.
    pub fn request(&mut self, revision: Revision, alarms: &[AlarmMember]) -> Request {
        self.generator.revision = revision;
        if self.full {
            let random = &mut self.administration;
            match random.below(40) {
                0 | 1 => return administration::rule(random, &mut self.generator),
                2 | 3 => {
                    let id = LeaseId(between(random, 1, 3) as i64);
                    let ask = [LeaseAsk::KeepAlive(id), LeaseAsk::TimeToLive(id)];
                    return Request::Lease(ask[random.below(2) as usize]);
                }
                4..8 if !alarms.is_empty() => {
                    return administration::lift(alarms[random.below(alarms.len() as u64) as usize]);
                }
                _ => {}
            }
        }
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
