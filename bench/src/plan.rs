//! What a run is to do: what the flags ask for, and what a suite of loads is made of.

use std::num::NonZeroU64;
use std::time::Duration;

use windlass_client::Endpoint;

use crate::access::Access;
use crate::load::Load;
use crate::watching::Watches;
use crate::workload::Workload;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The load's name.
    pub name: &'static str,
    /// Where to and over what.
    pub reach: Reach,
    /// What to do.
    pub job: Job,
    /// What happens beside and after it.
    pub after: After,
    /// Requests that go ahead and are not counted.
    pub warm_up: u64,
    /// Runs.
    pub repeats: u64,
    /// Processes whose use of the machine is reported.
    pub pids: Vec<u32>,
}

/// Where requests go, and over how much of everything.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Connections are dealt to them in turn.
    pub endpoints: Vec<Endpoint>,
    /// Only the one that leads is used.
    pub target_leader: bool,
    /// Connections.
    pub conns: usize,
    /// Requests under way, over all connections.
    pub clients: usize,
    /// Threads of the generator.
    pub threads: usize,
    /// Whom to trust and as whom to ask.
    pub access: Access,
}

/// One kind of load or another.
#[derive(Clone, Debug)]
pub enum Job {
    /// Requests and answers.
    Load(Box<Load>),
    /// Keepalives of leases that are granted before.
    KeepAlive {
        /// Keepalives.
        total: u64,
        /// Of them, per second.
        rate: Option<NonZeroU64>,
        /// Leases.
        leases: u64,
    },
    /// Watches and puts.
    Watch(Box<WatchPuts>),
    /// Gets beside watches that catch up.
    WatchGet(WatchGet),
}

/// Watches, and puts of what they watch.
#[derive(Clone, Debug)]
pub struct WatchPuts {
    /// The watches.
    pub watches: Watches,
    /// Puts, over the watched keys in turn, with the time in their values.
    pub puts: Load,
}

/// Watches that begin some events back.
#[derive(Clone, Debug)]
pub struct WatchGet {
    /// The watches, of one key.
    pub watches: Watches,
    /// Events that each has to catch up with.
    pub events: u64,
}

/// What happens beside and after a load.
#[derive(Clone, Copy, Debug, Default)]
pub struct After {
    /// Compactions while it runs.
    pub compaction: Option<Compaction>,
    /// Compare the stores of all endpoints at the end.
    pub check_hash: bool,
}

/// Compactions.
#[derive(Clone, Copy, Debug)]
pub struct Compaction {
    /// Between two of them.
    pub interval: Duration,
    /// Revisions that are left.
    pub keep: i64,
}

impl Reach {
    /// One connection with one request at a time.
    #[must_use]
    pub fn narrow(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, target_leader: false, conns: 1, clients: 1, threads: 1, access: Access::default() }
    }

    /// A load over it.
    #[must_use]
    pub fn load(&self, total: u64, rate: Option<NonZeroU64>, workload: Workload) -> Load {
        Load {
            endpoints: self.endpoints.clone(),
            conns: self.conns,
            clients: self.clients,
            threads: self.threads,
            total,
            rate,
            workload,
            access: self.access.clone(),
        }
    }

    /// Watches over it.
    #[must_use]
    pub fn watches(&self, streams: usize, per_stream: usize, keys: Vec<Vec<u8>>) -> Watches {
        Watches {
            endpoints: self.endpoints.clone(),
            conns: self.conns.min(streams),
            streams,
            per_stream,
            keys,
            start_revision: 0,
            prev_kv: false,
            access: self.access.clone(),
        }
    }
}
