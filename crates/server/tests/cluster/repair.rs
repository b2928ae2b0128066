//! Files of a member are damaged while it is down. What the others have it gets back from them by itself; what nobody else can
//! know, whom it voted for and what it acknowledged, is missed for good, and it must be added anew.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::cluster::{Cluster, until};
use crate::load::Load;
use crate::state::check;

/// The exit code of a member whose data is damaged.
const DAMAGED: i32 = 15;

/// What a member says that is being repaired.
const REPAIRING: &str = "it takes no part until the others have repaired it";

/// Where the first frame of a segment begins, and where its body does.
const FIRST_FRAME_AT: u64 = 4096;
const FIRST_BODY_AT: u64 = FIRST_FRAME_AT + 64;

/// Writes while a member is down, and before.
const WRITES: u64 = 60;

/// A kind of damage to the folder of the shards.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 7] = [
    ("a frame of a shard", |shards| flip(&segment_of(shards, "0"), FIRST_BODY_AT + 8)),
    ("the header of a frame of a shard", |shards| flip(&segment_of(shards, "0"), FIRST_FRAME_AT + 17)),
    ("the header of a segment of a shard", |shards| flip(&segment_of(shards, "0"), 17)),
    ("a frame of the sequencer", |shards| flip(&segment_of(shards, "state"), FIRST_BODY_AT + 8)),
    ("the length of a segment", |shards| {
        let file = OpenOptions::new().write(true).open(segment_of(shards, "0")).expect("opens");
        file.set_len(1 << 20).expect("is cut");
    }),
    ("the manifest", |shards| flip(&shards.join("MANIFEST"), 20)),
    ("no manifest", |shards| fs::remove_file(shards.join("MANIFEST")).expect("is removed")),
];

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the file is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is long enough");
    file.write_all_at(&[byte[0] ^ 4], at).expect("it can be written");
}

/// The oldest segment of a stream, in the newest generation.
fn segment_of(shards: &Path, stream: &str) -> PathBuf {
    let names = fs::read_dir(shards).expect("is a folder").map(|entry| entry.expect("is read").file_name());
    let generations = names.filter_map(|name| name.to_str()?.parse::<u32>().ok());
    let newest = generations.max().expect("there are shards");
    shards.join(newest.to_string()).join(stream).join("000000.seg")
}

#[test]
fn a_member_with_damaged_shards_is_repaired_by_the_others() {
    let mut cluster = Cluster::start(3, &[]);
    let load = Load::start(&cluster);
    for (what, damage) in DAMAGES {
        load.wait_for_writes(WRITES);
        let victim = cluster.follower();
        let shards = cluster.data_folder(victim).join("shards");
        cluster.kill(victim);
        load.wait_for_writes(WRITES);
        damage(&shards);
        let log = shards.parent().expect("it is in the data folder").with_file_name("log.txt");
        let before = fs::read_to_string(&log).expect("it logged").len();
        cluster.restart(victim);
        cluster.wait_until_caught_up(victim, (victim + 1) % 3);
        let said = fs::read_to_string(&log).expect("it logged");
        assert!(said[before..].contains(REPAIRING), "{what}: {}", &said[before..]);
        eprintln!("repaired: {what}");
    }
    check(&cluster, &load.finish());
}

/// Nobody can repair it until there is a leader, which the other two elect without it.
#[test]
fn a_member_without_a_majority_waits_for_its_repair() {
    let mut cluster = Cluster::start(3, &[]);
    let load = Load::start(&cluster);
    load.wait_for_writes(WRITES);
    let history = load.finish();
    (0..3).for_each(|i| cluster.kill(i));
    flip(&segment_of(&cluster.data_folder(0).join("shards"), "0"), FIRST_BODY_AT + 8);
    cluster.spawn(0);
    until("it to see the damage", || cluster.member(0).log().contains(REPAIRING).then_some(()));
    cluster.spawn(1);
    cluster.spawn(2);
    (0..3).for_each(|i| cluster.wait_until_ready(i));
    check(&cluster, &history);
}

#[test]
fn a_member_with_a_damaged_log_is_refused() {
    let mut cluster = Cluster::start(3, &[]);
    let load = Load::start(&cluster);
    load.wait_for_writes(WRITES);
    let history = load.finish();
    let victim = cluster.follower();
    cluster.kill(victim);
    flip(&cluster.data_folder(victim).join("log/000000.seg"), FIRST_BODY_AT + 8);
    let ended = cluster.launch(victim).ended(DAMAGED);
    for text in ["an acknowledged frame is damaged", "remove this member and add it again"] {
        assert!(ended.output.contains(text), "{}", ended.output);
    }
    check(&cluster, &history);
}
