//! The leases of a run: granted before it and revoked after it, many at a time, over the connections of the run.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

use crate::load::drive;
use crate::plan::Reach;
use crate::worker::Signals;
use crate::workload::Workload;

/// More would take hundreds of megabytes for their requests.
pub const COUNT_MAX: u64 = 1_000_000;
/// Time to live in seconds: etcd's benchmark's.
pub const TTL_S: i64 = 100;

/// Leases that are there until they are revoked. The generator chooses their ids, so that a grant is a request like others.
pub struct Leases {
    ids: Range<i64>,
    took: Duration,
}

impl Leases {
    /// Grants them.
    ///
    /// # Errors
    /// A connection cannot be made, or the server refuses one.
    pub fn grant(reach: &Reach, count: u64) -> Result<Self> {
        // Nobody else has these: they are not what an earlier run may have left.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first = i64::try_from(since_1970.as_nanos()).unwrap_or(1);
        let ids = first..first + i64::try_from(count)?;
        let took = all(reach, "granted", count, Workload::lease_grants(ids.clone(), TTL_S))?;
        Ok(Self { ids, took })
    }

    /// Their ids.
    pub fn ids(&self) -> Range<i64> {
        self.ids.clone()
    }

    /// How fast they were granted.
    pub fn note(&self) -> String {
        let (count, seconds) = (self.ids.end - self.ids.start, self.took.as_secs_f64());
        format!("{count} leases granted in {seconds:.3} secs., {:.0} per second", count as f64 / seconds)
    }

    /// Revokes them.
    ///
    /// # Errors
    /// A connection cannot be made, or the server refuses one.
    pub fn revoke(self, reach: &Reach) -> Result<()> {
        let count = u64::try_from(self.ids.end - self.ids.start)?;
        all(reach, "revoked", count, Workload::lease_revokes(self.ids)).map(|_| ())
    }
}

/// Sends `count` requests, none of which may fail.
fn all(reach: &Reach, done: &str, count: u64, workload: Workload) -> Result<Duration> {
    let (tally, took) = drive(&reach.load(count, None, workload), &Signals::default())?;
    match tally.errors.iter().next() {
        Some((why, failed)) => bail!("{failed} of {count} leases cannot be {done}: {why}"),
        None => Ok(took),
    }
}
