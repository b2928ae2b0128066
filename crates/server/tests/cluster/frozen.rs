//! The leader's disk stands still: its filesystem is frozen, so that writes to its Raft log neither end nor fail. It still
//! sends heartbeats, so nobody else would depose it.

use std::path::PathBuf;
use std::process::Command;

use crate::cluster::{Cluster, Seat, until};
use crate::faults::{BACK_WITHIN, report, report_all};
use crate::load::Load;
use crate::state::check;

/// Size of a member's filesystem, with room for its log.
const DISK: &str = "192M";

/// Filesystems of their own for the Raft logs of some members; removed when dropped.
struct Disks {
    mounts: Vec<PathBuf>,
}

impl Disks {
    /// One for each member; `None`, after saying so, where they cannot be made.
    fn make(cluster: &mut Cluster) -> Option<Self> {
        let mut disks = Self { mounts: Vec::new() };
        for i in 0..cluster.len() {
            let (image, mount) =
                (cluster.folder().join(format!("disk{i}")), cluster.folder().join(format!("mount{i}")));
            std::fs::create_dir_all(&mount).expect("a folder");
            let [image, at] = [&image, &mount].map(|path| path.to_str().expect("a plain path").to_owned());
            let made = run("truncate", &["-s", DISK, &image])
                && run("mkfs.ext4", &["-q", &image])
                && run("mount", &["-o", "loop", &image, &at]);
            if !made {
                eprintln!("skipped: filesystems cannot be made and mounted here");
                return None;
            }
            cluster.add_flags(i, &[&format!("--wal-dir={at}/log")]);
            disks.mounts.push(mount);
        }
        Some(disks)
    }

    fn freeze(&self, i: usize, freezes: bool) {
        let path = self.mounts[i].to_str().expect("a plain path");
        assert!(run("fsfreeze", &[if freezes { "-f" } else { "-u" }, path]), "fsfreeze failed");
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for mount in &self.mounts {
            let path = mount.to_str().expect("a plain path");
            // It is frozen only if the test failed. The processes in it may take a moment to end.
            let _ = run("fsfreeze", &["-u", path]);
            let _ = run("umount", &["-l", path]);
        }
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_leader_whose_disk_stands_still_hands_over() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can freeze filesystems");
    }
    let mut cluster = Cluster::of((1..=3).map(|i| Seat::on_loopback(&format!("m{i}"))).collect(), &[]);
    let Some(disks) = Disks::make(&mut cluster) else { return };
    cluster.found();
    let load = Load::start(&cluster);
    load.wait_for_writes(60);
    let leader = cluster.wait_for_leader();
    disks.freeze(leader, true);
    let at = load.now();
    let other = until("another leader", || cluster.leader().filter(|&other| other != leader));
    load.wait_for_writes(60);
    disks.freeze(leader, false);
    cluster.wait_until_caught_up(leader, other);
    let history = load.finish();
    report_all("disk of the leader stands still", &history);
    report("disk of the leader stands still", &history, &[at], BACK_WITHIN);
    check(&cluster, &history);
}
