//! What the kernel says of the disk under a folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use windlass_report::machine::Mount;

/// A block device and how the kernel drives it. Fields are empty where the kernel does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Device {
    /// The kernel's name of the whole disk, such as `nvme0n1`.
    pub name: String,
    /// Its maker's.
    pub model: String,
    /// `write back` where the device has a cache that a power failure loses, so that flushes or FUA are needed.
    pub write_cache: String,
    /// Whether single writes can be forced past that cache; else a whole flush follows each.
    pub fua: bool,
    /// The scheduler in use.
    pub scheduler: String,
    /// Whether it turns.
    pub rotational: bool,
    /// Bytes of a block, as the device says: logical, then physical.
    pub block_bytes: (u64, u64),
    /// Requests that may queue in the kernel.
    pub requests_max: u64,
    /// Where it is mounted, and how.
    pub mount: Option<Mount>,
}

impl Device {
    /// Under `folder`.
    #[must_use]
    pub fn under(folder: &Path) -> Self {
        Mount::under(folder).map(Self::of).unwrap_or_default()
    }

    /// What is mounted there.
    #[must_use]
    pub fn of(mount: Mount) -> Self {
        let disk = whole_disk(Path::new("/sys/dev/block"), &mount.device);
        let device = disk.map_or_else(Self::default, |disk| Self::read(&disk));
        Self { mount: Some(mount), ..device }
    }

    fn read(disk: &Path) -> Self {
        let text = |file: &str| fs::read_to_string(disk.join(file)).unwrap_or_default().trim().to_owned();
        let number = |file: &str| text(file).parse().unwrap_or(0);
        Self {
            name: disk.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            model: text("device/model"),
            write_cache: text("queue/write_cache"),
            fua: number("queue/fua") == 1,
            scheduler: in_use(&text("queue/scheduler")).to_owned(),
            rotational: number("queue/rotational") == 1,
            block_bytes: (number("queue/logical_block_size"), number("queue/physical_block_size")),
            requests_max: number("queue/nr_requests"),
            mount: None,
        }
    }

    /// Names and values for people. Of no disk the kernel says nothing more than where it is mounted.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mount = self.mount.as_ref().map(|mount| ("filesystem", mount.to_string()));
        if self.name.is_empty() {
            return [("disk", "unknown".to_owned())].into_iter().chain(mount).collect();
        }
        let or_unknown = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
        let kind = if self.rotational { ", rotating" } else { "" };
        let model = if self.model.is_empty() { String::new() } else { format!(" ({})", self.model) };
        let cache = match (self.write_cache.as_str(), self.fua) {
            ("write back", true) => "write back, with FUA: one write can be forced past it".to_owned(),
            ("write back", false) => {
                "write back, without FUA: each durable write is followed by a flush".to_owned()
            }
            ("write through", _) => "none that a power failure loses (write through)".to_owned(),
            (other, _) => or_unknown(other),
        };
        let facts = [
            ("disk", format!("{}{model}{kind}", self.name)),
            ("write cache", cache),
            (
                "scheduler",
                format!("{}, up to {} requests queued", or_unknown(&self.scheduler), self.requests_max),
            ),
            ("block size", format!("{} B logical, {} B physical", self.block_bytes.0, self.block_bytes.1)),
        ];
        facts.into_iter().chain(mount).collect()
    }
}

/// The folder of the disk that has the partition or is the device `numbers`.
fn whole_disk(block: &Path, numbers: &str) -> Option<PathBuf> {
    let device = fs::canonicalize(block.join(numbers)).ok()?;
    if device.join("partition").exists() { device.parent().map(Path::to_owned) } else { Some(device) }
}

/// `[none] mq-deadline`: the one in brackets; a single name stands alone.
fn in_use(schedulers: &str) -> &str {
    match schedulers.split_once('[') {
        Some((_, rest)) => rest.split(']').next().unwrap_or(rest),
        None => schedulers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_in_use_is_in_brackets() {
        assert_eq!(
            [in_use("[none] mq-deadline kyber"), in_use("mq-deadline [bfq]"), in_use("none")],
            ["none", "bfq", "none"]
        );
    }

    #[test]
    fn a_partition_belongs_to_its_disk() {
        let root = tempfile::tempdir().expect("a folder");
        let disk = root.path().join("devices/sda");
        fs::create_dir_all(disk.join("sda1")).expect("makes");
        fs::create_dir_all(disk.join("queue")).expect("makes");
        fs::write(disk.join("sda1/partition"), "1").expect("writes");
        fs::write(disk.join("queue/write_cache"), "write back\n").expect("writes");
        fs::create_dir_all(root.path().join("block")).expect("makes");
        std::os::unix::fs::symlink(disk.join("sda1"), root.path().join("block/8:1")).expect("links");
        let found = whole_disk(&root.path().join("block"), "8:1").expect("is there");
        let device = Device::read(&found);
        assert_eq!((device.name.as_str(), device.write_cache.as_str()), ("sda", "write back"));
        assert!(device.facts()[1].1.contains("flush"), "{:?}", device.facts());
    }

    #[test]
    fn of_what_is_not_known_nothing_is_made_up() {
        assert_eq!(Device::default().facts(), [("disk", "unknown".to_owned())]);
    }

    #[test]
    fn here_is_something() {
        assert!(Device::under(Path::new("/")).mount.is_some());
    }
}
