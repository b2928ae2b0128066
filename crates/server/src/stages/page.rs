//! `/debug/commits`: the newest flushes as JSON, for `windlass-disk profile`. No key and no value is in it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use windlass_types::nanoseconds;

use super::process::OWN;
use super::{Stage, Stages, clock_ns};

/// Activities that ended longer ago than this before the asked flushes are not shown.
const LOOK_BACK_NS: u64 = 60_000_000_000;

/// The flushes from number `since` on. A reader asks again with `next`; `first` tells whether it missed some.
#[must_use]
pub fn commits(stages: &Stages, since: u64) -> String {
    let (first, flushes) = stages.recent.since(since);
    let next = first + flushes.len() as u64;
    let from_ns = flushes.first().map_or_else(clock_ns, |flush| flush.began_ns);
    let rows = flushes.iter().map(|flush| {
        let head = [flush.began_ns, flush.index, flush.commands, flush.bytes];
        head.into_iter().chain(flush.stages_ns).collect::<Vec<u64>>()
    });
    let activities = stages.recent.activities(from_ns.saturating_sub(LOOK_BACK_NS)).into_iter().map(|one| {
        json!({ "work": one.work.name(), "shard": one.shard, "began_ns": one.began_ns, "ended_ns": one.ended_ns })
    });
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "pid": std::process::id(),
        "boot_id": OWN.boot_id,
        "began_ticks": OWN.began_ticks,
        "clock_ns": clock_ns(),
        "unix_ns": nanoseconds(unix),
        "first": first,
        "next": next,
        "columns": columns(),
        "flushes": rows.collect::<Vec<_>>(),
        "activities": activities.collect::<Vec<_>>(),
    })
    .to_string()
}

fn columns() -> Value {
    let stages = Stage::ALL.into_iter().map(|stage| format!("{}_ns", stage.name()));
    let head = ["began_ns", "index", "commands", "bytes"].map(str::to_owned);
    json!(head.into_iter().chain(stages).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::{Flush, Work};
    use super::*;

    #[test]
    fn a_page_has_a_column_for_each_number() {
        let stages = Stages::default();
        stages.installed(Flush { began_ns: 5, index: 7, commands: 2, bytes: 4096, stages_ns: [9; 8] });
        stages.recent.began(Work::Checkpoint, 3);
        let page: Value = serde_json::from_str(&commits(&stages, 0)).expect("is JSON");
        let (columns, flush) = (page["columns"].as_array().unwrap(), page["flushes"][0].as_array().unwrap());
        assert_eq!((columns.len(), flush.len()), (12, 12));
        assert!(page["boot_id"].is_string() && page["began_ticks"].is_u64(), "{page}");
        assert_eq!(
            (&columns[7], &flush[7], &page["next"]),
            (&json!("device_write_ns"), &json!(9), &json!(1))
        );
        assert_eq!(
            (&page["activities"][0]["work"], &page["activities"][0]["shard"]),
            (&json!("checkpoint"), &json!(3))
        );
    }
}
