//! A slow disk for every server alike: a control group whose processes may write so often a second.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::undo::Undo;

/// Where systems mount the old and the new hierarchy.
const V1: &str = "/sys/fs/cgroup/blkio";
const V2: &str = "/sys/fs/cgroup";

/// The group. It is removed with the value, once its processes have ended, or when a signal ends the program.
#[derive(Debug)]
pub struct Throttle {
    group: PathBuf,
    /// Goes after the group.
    _undo: Undo,
}

impl Throttle {
    /// Of `write_iops` writes a second to the disk under `folder`.
    ///
    /// # Errors
    /// Control groups cannot be made here: that takes root.
    pub fn new(folder: &Path, write_iops: u64) -> Result<Self> {
        let device = fs::metadata(folder)?.dev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let old = Path::new(V1).is_dir();
        // One process may have several, for several disks.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("windlass-bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let group = Path::new(if old { V1 } else { V2 }).join(name);
        let ((), undo) = Undo::of(|| {
            fs::create_dir_all(&group).with_context(|| {
                format!("a slow disk takes a control group, which takes root: {}", group.display())
            })?;
            let group = group.clone();
            let remove = move || {
                // It is empty but for what this program has not started.
                let _ = empty(&group);
                let _ = fs::remove_dir(&group);
            };
            anyhow::Ok(((), remove))
        })?;
        let throttle = Self { group, _undo: undo };
        if old {
            throttle.write("blkio.throttle.write_iops_device", &format!("{device} {write_iops}"))?;
        } else {
            throttle.write("io.max", &format!("{device} wiops={write_iops}"))?;
        }
        Ok(throttle)
    }

    /// Puts a process under it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add(&self, pid: u32) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Ends it for the processes under it, which go on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lift(self) -> Result<()> {
        Ok(empty(&self.group)?)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.group.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {text:?} to {}", path.display()))
    }
}

/// Puts the processes of a group into the one above it.
fn empty(group: &Path) -> io::Result<()> {
    let above = group.parent().expect("a group is below a mount").join("cgroup.procs");
    for pid in fs::read_to_string(group.join("cgroup.procs"))?.lines() {
        // One that has just ended needs nothing.
        let _ = fs::write(&above, pid);
    }
    Ok(())
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // A group with processes stays; whoever started them sees to it that they end first.
        let _ = fs::remove_dir(&self.group);
    }
}
