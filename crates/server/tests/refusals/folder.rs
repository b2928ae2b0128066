//! Data folders that cannot be used.

use std::fs;

use crate::process::{Launch, Scratch, free_address};
use crate::{refused, used};

#[test]
fn a_second_process_on_the_folder_is_refused() {
    let scratch = Scratch::new();
    let member = Launch::new(scratch.path()).member();
    let pid = format!("process {}:", member.pid().as_raw_nonzero());
    let second = Launch::new(scratch.path());
    // The first one writes to its logs all the time, so only what the second says and how it ends can be compared.
    let ended = second.ended(10);
    for part in ["in use by", pid.as_str(), "--data-dir"] {
        assert!(ended.output.contains(part), "`{part}` is missing: {}", ended.output);
    }
    member.stop_gracefully();
}

#[test]
fn folders_of_others_are_refused() {
    let scratch = Scratch::new();
    let data = scratch.path().join("data");
    fs::create_dir_all(data.join("member/wal")).expect("a folder");
    refused(&scratch, Launch::new(scratch.path()), 11, &["data folder of etcd", "--data-dir"]);

    fs::remove_dir_all(&data).expect("it is removed");
    fs::create_dir(&data).expect("a folder");
    fs::write(data.join("photo"), "x").expect("a file");
    refused(&scratch, Launch::new(scratch.path()), 11, &["holds `photo`", "--data-dir"]);

    fs::remove_dir_all(&data).expect("it is removed");
    fs::write(&data, "x").expect("a file");
    refused(&scratch, Launch::new(scratch.path()), 11, &["is not a folder", "--data-dir"]);
}

#[test]
fn a_folder_that_does_not_fit_the_flags_is_refused() {
    let (scratch, _) = used(1);
    let launch = || Launch::new(scratch.path());
    let other = format!("http://{}", free_address());
    refused(
        &scratch,
        launch().flag("--initial-cluster-token=other"),
        13,
        &["belongs to member", "--data-dir"],
    );
    refused(&scratch, launch().flag("--name=other"), 13, &["belongs to member", "`other`"]);
    let peer = launch().flag(format!("--initial-advertise-peer-urls={other}"));
    refused(&scratch, peer, 13, &["belongs to member", "--initial-cluster-state=existing"]);
    drop(launch().flag("--initial-cluster-state=existing").flag("--name=other").member());

    let empty = Scratch::new();
    let joining = Launch::new(empty.path()).flag("--initial-cluster-state=existing");
    refused(&empty, joining, 1, &["cannot fetch cluster info", "--initial-cluster"]);
}

#[test]
fn a_damaged_or_newer_identity_is_refused() {
    let (scratch, _) = used(1);
    let identity = scratch.path().join("data/identity");
    let text = fs::read_to_string(&identity).expect("an identity");
    fs::write(&identity, text.replace("name default", "name defaulT")).expect("written");
    refused(&scratch, Launch::new(scratch.path()), 15, &["identity is damaged", "checksum"]);
    fs::write(&identity, text.replace("format 1", "format 7")).expect("written");
    refused(&scratch, Launch::new(scratch.path()), 12, &["has format 7", "start the version"]);
    fs::write(&identity, text).expect("written");
    drop(Launch::new(scratch.path()).member());
}
