//! What machine figures come from: without it they mean nothing.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// A machine, as far as it decides what a store on it can do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// Model of the first CPU.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// How the kernel chooses the CPU's frequency; empty where it does not say, as in most virtual machines.
    pub governor: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Device, filesystem and mount options under the folder that is measured; empty where they are not known.
    pub filesystem: String,
    /// Processes that wanted a CPU over the last minute, on average, when this was read: what else was going on.
    pub load: f64,
}

impl Machine {
    /// This machine, and the filesystem under `folder`.
    #[must_use]
    pub fn here(folder: &Path) -> Self {
        Self::with(Mount::under(folder).as_ref())
    }

    /// This machine, of which what lies on this mount is measured.
    #[must_use]
    pub fn with(mount: Option<&Mount>) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").trim().to_owned(),
            memory_bytes: kib * 1024,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            filesystem: mount.map(Mount::to_string).unwrap_or_default(),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }

    /// Names and values, for people.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("CPU", format!("{} x {}", self.cpus, self.cpu)),
            ("memory", crate::units::bytes(self.memory_bytes)),
            ("kernel", self.kernel.clone()),
            ("load average at the start", format!("{:.2}", self.load)),
        ];
        if !self.filesystem.is_empty() {
            facts.insert(3, ("filesystem", self.filesystem.clone()));
        }
        if !self.governor.is_empty() {
            facts.insert(1, ("frequency governor", self.governor.clone()));
        }
        facts
    }
}

/// Where a folder lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Major and minor number of the device, as `253:0`.
    pub device: String,
    /// The mounted thing, such as `/dev/vda`.
    pub source: String,
    /// Such as `ext4`.
    pub kind: String,
    /// Options of the mount and of the filesystem.
    pub options: String,
    /// Where it is mounted.
    pub point: String,
}

impl Mount {
    /// The mount under `folder`; `None` if the kernel does not say.
    #[must_use]
    pub fn under(folder: &Path) -> Option<Self> {
        let folder = fs::canonicalize(folder).ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::find(&mounts, &folder)
    }

    /// The mount under `folder`, a path without links as process `pid` sees it; `None` if the kernel does not say.
    #[must_use]
    pub fn seen_by(pid: u32, folder: &Path) -> Option<Self> {
        Self::find(&fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?, folder)
    }

    /// The last mount among the lines of proc_pid_mountinfo(5) whose point is the longest above `folder`.
    fn find(mounts: &str, folder: &Path) -> Option<Self> {
        let all = mounts.lines().filter_map(Self::parse);
        all.filter(|mount| folder.starts_with(&mount.point)).max_by_key(|mount| mount.point.len())
    }

    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let (device, _root, point, options) =
            (before.next()?, before.next()?, before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, source, more) = (after.next()?, after.next()?, after.next().unwrap_or_default());
        // mountinfo writes blanks in octal.
        let plain = |text: &str| text.replace("\\040", " ");
        Some(Self {
            device: device.to_owned(),
            source: plain(source),
            kind: kind.to_owned(),
            options: format!("{options},{more}"),
            point: plain(point),
        })
    }
}

impl std::fmt::Display for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {} at {} ({})", self.kind, self.source, self.point, self.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
25 22 0:21 / /sys rw,nosuid - sysfs sysfs rw
30 22 259:1 / /data\\040disk rw,noatime shared:5 master:3 - xfs /dev/nvme0n1 rw,attr2";

    #[test]
    fn the_nearest_mount_is_found() {
        let find = |folder: &str| Mount::find(MOUNTS, Path::new(folder)).expect("is mounted");
        assert_eq!(find("/var/lib").to_string(), "ext4 on /dev/vda at / (rw,relatime,rw,discard)");
        let data = find("/data disk/x");
        assert_eq!((data.kind.as_str(), data.device.as_str()), ("xfs", "259:1"));
        assert_eq!(find("/sysadmin").kind, "ext4");
    }

    #[test]
    fn this_machine_has_cpus_and_memory() {
        let machine = Machine::here(Path::new("/"));
        assert!(machine.cpus > 0 && machine.memory_bytes > 0 && !machine.kernel.is_empty());
        let names = |machine: &Machine| machine.facts().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert!(names(&machine).contains(&"filesystem"));
        assert!(!names(&Machine::with(None)).contains(&"filesystem"), "what is not known is not shown");
    }
}
