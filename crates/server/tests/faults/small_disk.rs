//! A small ext4 filesystem on a loop device, which can be filled. `windlass-torture` gives one to each member.

#![allow(dead_code, reason = "the tests and the tool that share this file use their parts of it")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate};

use crate::process::{Launch, Scratch};

/// The pieces in which a filesystem is filled, in bytes: the last room is in small ones.
const PIECES_BYTES: [u64; 3] = [16 << 20, 256 << 10, 4 << 10];

/// A mounted filesystem; unmounted and removed when it is dropped.
pub struct SmallDisk {
    image: PathBuf,
    mount_point: PathBuf,
    /// Holds both.
    scratch: Scratch,
}

impl SmallDisk {
    /// Makes and mounts one; `None`, after saying why, where that is not possible.
    pub fn make(bytes: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can mount a small filesystem");
            return None;
        }
        let scratch = Scratch::new();
        let (image, mount_point) = (scratch.path().join("image"), scratch.path().join("disk"));
        File::create(&image).and_then(|file| file.set_len(bytes)).expect("a sparse file");
        fs::create_dir(&mount_point).expect("a folder");
        let (image_text, mount_text) = (text(&image), text(&mount_point));
        // No room that only root may use: the member runs as root here.
        if !run("mkfs.ext4", &["-q", "-F", "-m", "0", image_text])
            || !run("mount", &["-o", "loop", image_text, mount_text])
        {
            return None;
        }
        Some(Self { image, mount_point, scratch })
    }

    /// What unmounts it and removes all of it, for whoever cannot wait for the end of this value.
    pub fn remover(&self) -> impl FnOnce() + Send + 'static + use<> {
        let (image, mount_point) = (self.image.clone(), self.mount_point.clone());
        let folder = self.scratch.path().to_owned();
        move || {
            unmount(&mount_point, &image);
            // With what the filesystem held, once nothing is mounted there.
            let _ = fs::remove_dir(&mount_point).and_then(|()| fs::remove_dir_all(&folder));
        }
    }

    /// A member with its data on it, and its output elsewhere.
    pub fn launch(&self) -> Launch {
        let data = self.data_folder();
        Launch::new(self.scratch.path()).flag(format!("--data-dir={}", text(&data)))
    }

    /// Where a member's data may lie.
    pub fn data_folder(&self) -> PathBuf {
        self.mount_point.join("data")
    }

    /// Takes all the room that is left, at once.
    pub fn fill(&self) -> Foreign {
        let path = self.mount_point.join("foreign");
        let file = File::create(&path).expect("a file");
        let mut bytes = 0;
        for piece in PIECES_BYTES {
            while fallocate(&file, FallocateFlags::empty(), bytes, piece).is_ok() {
                bytes += piece;
            }
        }
        Foreign(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.mount_point, &self.image);
    }
}

fn unmount(mount_point: &Path, image: &Path) {
    let mount_point = text(mount_point);
    if !run("umount", &[mount_point]) {
        // Something still uses it: it goes away with its last user.
        run("umount", &["--lazy", mount_point]);
    }
    // The folder around it is kept after a failure, but not this much.
    let _ = fs::remove_file(image);
}

/// A large file that has nothing to do with the member.
pub struct Foreign(PathBuf);

impl Foreign {
    /// Makes room.
    pub fn remove(self) {
        fs::remove_file(self.0).expect("it is there");
    }
}

/// Runs a program; where that fails, says so.
fn run(program: &str, arguments: &[&str]) -> bool {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            eprintln!("skipped: {program} {arguments:?} failed: {}", why.trim());
            false
        }
        Err(error) => {
            eprintln!("skipped: {program} cannot be run: {error}");
            false
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}
