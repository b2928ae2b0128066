//! Reads a member's `/debug/commits`.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use windlass_client::{Ask, Security, ask};

use super::whereabouts::{Said, Whereabouts};

/// Bound of connecting and of each read and write.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Flushes that are kept; those beyond are counted and left out.
const FLUSHES_MAX: usize = 2_000_000;

/// Stages, in the order of a flush's numbers.
pub const STAGES: [&str; 8] =
    ["queue", "batch", "log_submit", "device_write", "quorum", "numbering", "reply", "shard_install"];
/// Those that a client waits for.
pub const BEFORE_ANSWER: usize = 7;

/// A flush, as the member tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// When its oldest command came, by the member's clock.
    pub began_ns: u64,
    /// Commands; none in a follower's writes.
    pub commands: u64,
    /// Bytes written.
    pub bytes: u64,
    /// By stage.
    pub stages_ns: [u64; 8],
}

impl Flush {
    /// From the oldest command's arrival until the answers left.
    pub fn answered_ns(&self) -> u64 {
        self.stages_ns[..BEFORE_ANSWER].iter().sum()
    }
}

/// A piece of the member's background work.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Activity {
    /// Such as `checkpoint`.
    pub work: String,
    /// Of which shard.
    pub shard: u16,
    /// From when, by the member's clock.
    pub began_ns: u64,
    /// Until when; `None` while it goes on.
    pub ended_ns: Option<u64>,
}

/// All that was read.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// In the order of their ends.
    pub flushes: Vec<Flush>,
    /// Flushes that there were and that could not be read or kept.
    pub missed: u64,
    /// Background work.
    pub activities: Vec<Activity>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(flatten)]
    process: Said,
    clock_ns: u64,
    first: u64,
    next: u64,
    columns: Vec<String>,
    flushes: Vec<Vec<u64>>,
    activities: Vec<Activity>,
}

/// Reads on and on.
pub struct Reader {
    endpoint: String,
    security: Security,
    next: u64,
    process: Said,
}

impl Reader {
    /// Of the member at `endpoint`. The TLS of `security` must not offer HTTP/2.
    pub fn new(endpoint: &str, security: Security) -> Self {
        Self { endpoint: endpoint.to_owned(), security, next: 0, process: Said::default() }
    }

    /// Where the member runs; known once something was read.
    pub fn whereabouts(&self) -> Whereabouts {
        Whereabouts::of(&self.process)
    }

    /// Passes over what has been.
    pub fn skip(&mut self) -> Result<()> {
        // Beyond the last one there is none, and the page says which the next will be.
        let page = self.page(u64::MAX)?;
        (self.next, self.process) = (page.next, page.process);
        Ok(())
    }

    /// Adds what is new; gives the member's clock.
    pub fn read(&mut self, timeline: &mut Timeline) -> Result<u64> {
        let page = self.page(self.next)?;
        if page.next < self.next {
            bail!("the member was started anew meanwhile");
        }
        timeline.missed += page.first - self.next;
        self.next = page.next;
        for row in &page.flushes {
            let flush = flush(row).context("a flush is not what it should be")?;
            if timeline.flushes.len() < FLUSHES_MAX {
                timeline.flushes.push(flush)
            } else {
                timeline.missed += 1
            }
        }
        for activity in page.activities {
            let same = |one: &Activity| {
                (&one.work, one.shard, one.began_ns) == (&activity.work, activity.shard, activity.began_ns)
            };
            match timeline.activities.iter().position(same) {
                Some(place) => timeline.activities[place] = activity,
                None => timeline.activities.push(activity),
            }
        }
        Ok(page.clock_ns)
    }

    fn page(&self, since: u64) -> Result<Page> {
        let path = format!("/debug/commits?since={since}");
        let get = Ask { method: "GET", path: &path, ..Ask::default() };
        let (status, body) = ask(&self.endpoint, &self.security, get, TIMEOUT)?;
        if status != 200 {
            bail!(
                "it answers with status {status}: is it a Windlass of this version, and does it serve HTTP there?"
            );
        }
        let page: Page =
            serde_json::from_str(&body).context("it answers with something else than commits")?;
        let stages = page.columns.iter().skip(4).map(|column| column.trim_end_matches("_ns"));
        if !stages.eq(STAGES) {
            bail!("the member is of another version: its stages are {:?}", page.columns);
        }
        Ok(page)
    }
}

fn flush(row: &[u64]) -> Option<Flush> {
    let [began_ns, _index, commands, bytes, stages @ ..] = row else { return None };
    Some(Flush {
        began_ns: *began_ns,
        commands: *commands,
        bytes: *bytes,
        stages_ns: stages.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_flush() {
        let read = flush(&[5, 7, 3, 4096, 1, 2, 3, 4, 5, 6, 7, 8]).expect("is one");
        assert_eq!((read.began_ns, read.commands, read.bytes, read.answered_ns()), (5, 3, 4096, 28));
        assert_eq!(flush(&[1, 2, 3]), None);
    }
}
