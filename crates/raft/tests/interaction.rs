//! Interaction tests: `data/*.txt` hold commands, each followed by all that the members did because of it.
//!
//! `UPDATE_EXPECT=1 cargo test -p windlass-raft --test interaction` writes the traces anew; then read the diff. The
//! commands are listed in `Cluster::run`. With `disk=manual` writes wait for `persist`, with
//! `apply=manual` what is applied is reported by `applied`; both are done at once otherwise. Messages wait for `deliver` or `settle`.

#[path = "interaction/cluster.rs"]
mod cluster;
mod disk;
#[path = "interaction/trace.rs"]
mod trace;

use std::path::Path;

fn replay(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let script = std::fs::read_to_string(&path).expect("the script is readable");
    let mut cluster = cluster::Cluster::default();
    let mut out = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out += &format!("> {command}\n");
            out += &cluster.run(command);
        } else if line.starts_with('#') || line.is_empty() {
            out += line;
            out.push('\n');
        }
    }
    expect_test::expect_file![path].assert_eq(&out);
}

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(concat!(stringify!($name), ".txt"));
        })*

        #[test]
        fn every_script_is_replayed() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
            for file in std::fs::read_dir(folder).expect("the folder is readable") {
                let name = file.expect("readable").file_name().into_string().expect("plain names");
                assert!([$(concat!(stringify!($name), ".txt")),*].contains(&name.as_str()), "{name} is not listed");
            }
        }
    };
}

scripts! {
    sole_voter
    election
    pre_vote
    replication
    async_writes
    commit
    conflict
    check_quorum
    read_index
    transfer
    learner
    joint
    snapshot
    hostile
    bounds
}
