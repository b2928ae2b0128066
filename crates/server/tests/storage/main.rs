//! The storage plane without threads: sequencer, shard cores and streams over simulated disks, fed with random logs
//! and judged by the sequential model of etcd.
//!
//! Whatever happens (power failures, checkpoints at any moment, full disks, other numbers of shards), the shards must
//! hold after a start what the model held at the stable index, and in the end what it holds at the end. Replay one
//! history with `WINDLASS_SEED=<seed> cargo test -p windlass --test storage`.

mod log;
mod plane;

use plane::{Plane, Totals};
use windlass_replica::shard::Input;
use windlass_replica::task::{Compact, ShardTask};
use windlass_types::{LogIndex, Revision};

const SEEDS: u64 = 500;
const STEPS: usize = 600;

#[test]
fn shards_hold_what_the_model_holds() {
    let seeds = match std::env::var("WINDLASS_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("WINDLASS_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    let mut totals = Totals::default();
    for seed in seeds.clone() {
        let ended = std::panic::catch_unwind(|| {
            let mut plane = Plane::new(seed);
            (0..STEPS).for_each(|_| plane.step());
            plane.finish()
        });
        totals += ended.unwrap_or_else(|panic| {
            eprintln!("replay with WINDLASS_SEED={seed}");
            std::panic::resume_unwind(panic)
        });
    }
    if seeds.count() > 1 {
        totals.assert_all_happened();
    }
}

/// Found by seed 54: a compaction is gone through before its entry is complete on the shard, and a checkpoint begun in
/// between stood for the entry before it while it lacked what that entry still had.
#[test]
fn a_checkpoint_waits_until_the_entry_of_a_compaction_is_complete() {
    let mut core = plane::empty_core();
    let mut out = Vec::new();
    core.step(Input::Tick(0), &mut out).unwrap();
    let compact = Compact { index: LogIndex(1), revision: Revision(1), answer: false };
    core.step(Input::Task(ShardTask::Compact(compact)), &mut out).unwrap();
    core.hasten_checkpoint();
    assert!(!core.is_checkpointing());
    core.step(Input::Task(ShardTask::Advance { index: LogIndex(1), revision: Revision(1) }), &mut out)
        .unwrap();
    core.hasten_checkpoint();
    assert!(core.is_checkpointing());
}

/// The checkpoint's walk is spread over slices. A record that is overwritten meanwhile, by an entry that the other
/// streams do not reach before the power fails, must be there as it was when the checkpoint began.
#[test]
fn a_checkpoint_holds_the_system_records_of_its_beginning() {
    plane::overwrite_during_checkpoint();
}
