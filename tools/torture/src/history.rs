//! What clients did and were told: calls, answers, events of watches, renewals of leases. Kept in memory while the
//! cluster is tortured, judged at the end, and written as JSON for whoever wants to judge it again.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

/// A moment in microseconds since one that everyone shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// So long after the first one.
    pub fn after(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_micros()).expect("a run is shorter than 584,000 years"))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + Self::after(time).0)
    }
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    pub key: String,
    pub value: String,
    pub lease: i64,
    /// The revision that wrote it.
    pub revision: i64,
    /// The revision that made the key.
    pub created: i64,
    /// Writes since it was made.
    pub version: i64,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Change {
    /// `lease` is zero for none.
    Put {
        key: String,
        value: String,
        lease: i64,
    },
    Delete {
        key: String,
    },
}

impl Change {
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    fn value(&self) -> Option<&str> {
        match self {
            Self::Put { value, .. } => Some(value),
            Self::Delete { .. } => None,
        }
    }
}

/// What was asked.
#[derive(Clone, Debug, Serialize)]
pub enum Call {
    /// A put; the old version is asked for, too.
    Put { key: String, value: String, lease: i64 },
    /// Deletes one key, and asks for what is deleted.
    Delete { key: String },
    /// Where each of these keys was last written at this revision (zero: is not there), these changes; else these keys are
    /// read. The first change is a put, so one that succeeds has a revision of its own.
    Txn { compares: Vec<(String, i64)>, then: Vec<Change>, otherwise: Vec<String> },
    /// Reads one key, or all that begin with it; as of a revision, if it is not zero.
    Read { key: String, prefix: bool, serializable: bool, at: i64 },
}

/// What was answered.
#[derive(Clone, Debug, Serialize)]
pub enum Outcome {
    /// `revision` is that of the answer's header. `succeeded` is about a transaction. `found` is what was read, replaced or
    /// deleted.
    Done { revision: i64, succeeded: bool, found: Vec<Found> },
    /// An error which says that nothing happened, and nothing will.
    Refused(String),
    /// An error after which a write may have happened, or may still happen.
    Unknown(String),
}

/// One call of one client; a client does one thing at a time.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    pub client: usize,
    /// The member that it asked.
    pub member: usize,
    pub call: Call,
    /// When it was sent.
    pub begun: Moment,
    /// When it was answered.
    pub ended: Moment,
    pub outcome: Outcome,
}

impl Operation {
    /// The values that it writes if it has an effect. No two operations have one in common.
    pub fn values(&self) -> Vec<&str> {
        match &self.call {
            Call::Put { value, .. } => vec![value],
            Call::Txn { then, .. } => then.iter().filter_map(Change::value).collect(),
            Call::Delete { .. } | Call::Read { .. } => Vec::new(),
        }
    }
}

/// What a watch was told of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// What the key is from now on; none if it was deleted.
    pub now: Option<Found>,
    pub key: String,
    /// What it was before.
    pub before: Option<Found>,
}

/// What one watch over all keys was told, over all its connections.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stream {
    /// The member that was asked.
    pub member: usize,
    /// All changes of each revision.
    pub revisions: BTreeMap<i64, Vec<Event>>,
    /// When each revision arrived.
    pub arrived: BTreeMap<i64, Moment>,
    /// Connections.
    pub connections: u64,
    /// Responses which only said up to where everything was sent.
    pub bookmarks: u64,
    /// Guarantees that were broken, in words.
    pub broken: Vec<String>,
}

/// The life of a lease as its owner saw it.
#[derive(Clone, Debug, Serialize)]
pub struct Lease {
    pub id: i64,
    /// The one key that is attached to it.
    pub key: String,
    pub ttl_s: u64,
    /// When each renewal that was acknowledged was sent; the grant is the first.
    pub renewed: Vec<Moment>,
    /// When it was asked to be revoked, if it was.
    pub revoked: Option<Moment>,
    /// When an answer said that it is gone.
    pub gone: Option<Moment>,
}

/// Everything.
#[derive(Debug, Default, Serialize)]
pub struct History {
    pub operations: Vec<Operation>,
    pub streams: Vec<Stream>,
    pub leases: Vec<Lease>,
}

impl History {
    /// Takes what another one has.
    pub fn append(&mut self, mut other: Self) {
        self.operations.append(&mut other.operations);
        self.streams.append(&mut other.streams);
        self.leases.append(&mut other.leases);
    }

    /// Writes one line of JSON for each operation, watch and lease.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, into: &mut impl Write) -> io::Result<()> {
        self.operations.iter().try_for_each(|operation| line(into, "operation", operation))?;
        self.streams.iter().try_for_each(|stream| line(into, "watch", stream))?;
        self.leases.iter().try_for_each(|lease| line(into, "lease", lease))
    }

    /// How many calls failed, by what they were told.
    pub fn failures(&self) -> BTreeMap<&str, usize> {
        let mut failures = BTreeMap::new();
        for operation in &self.operations {
            if let Outcome::Refused(text) | Outcome::Unknown(text) = &operation.outcome {
                *failures.entry(text.as_str()).or_default() += 1;
            }
        }
        failures
    }
}

fn line(into: &mut impl Write, kind: &str, what: &impl Serialize) -> io::Result<()> {
    write!(into, "{{\"{kind}\":")?;
    serde_json::to_writer(&mut *into, what)?;
    writeln!(into, "}}")
}
