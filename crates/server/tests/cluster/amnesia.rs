//! A member whose disk was lost, and that is started under its old identity while nobody can tell it so.

use std::fs;

use rustix::process::Signal;
use windlass_api::etcdserverpb::PutRequest;

use crate::cluster::{Cluster, until};
use crate::membership::FOLDER_IDENTITY;
use crate::state::check_equal;

const VICTIM: usize = 2;

/// Nobody answers it at its start, so it begins: as one of a new cluster it would have to. Whoever knows it takes nothing
/// from it, says so, and it ends.
#[test]
fn a_member_that_lost_its_disk_while_nobody_ran_is_found_out() {
    let mut cluster = Cluster::start(3, &[]);
    let put = PutRequest { key: "kept".into(), value: "yes".into(), ..PutRequest::default() };
    cluster.member(0).client().put(&put).expect("all members run");
    for i in 0..3 {
        // Not killed: it is what the shards hold that tells a start who was there.
        cluster.signal(i, Signal::TERM);
        cluster.take(i).ended();
    }
    fs::remove_dir_all(cluster.data_folder(VICTIM)).expect("its disk is lost");
    cluster.spawn(VICTIM);
    until("silence to be no reason to end", || cluster.status(VICTIM));
    cluster.kill(VICTIM);
    // It has a log by now, of a cluster that never began.
    cluster.spawn(VICTIM);
    until("a log to be no reason to forget that it is new", || cluster.status(VICTIM));
    cluster.spawn(0);
    let ended = cluster.take(VICTIM).ended();
    assert_eq!(ended.code(), FOLDER_IDENTITY, "{}", ended.output);
    assert!(ended.output.contains("has already been bootstrapped"), "{}", ended.output);
    assert!(cluster.leader().is_none(), "its vote does not count");
    cluster.restart(1);
    cluster.wait_until_ready(0);
    check_equal(&cluster);
}
