//! What the machine does beside the member: who writes to disks, how busy the member's disk is, and how long tasks
//! wait for disks and CPUs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use windlass_report::machine::Mount;

const SECTOR_BYTES: u64 = 512;

/// The time between two looks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Moment {
    /// Its ends, by the member's clock.
    pub began_ns: u64,
    /// See `began_ns`.
    pub ended_ns: u64,
    /// Bytes that the member sent to disks.
    pub own_bytes: u64,
    /// Bytes that others did, as far as they can be seen: name and process, largest first.
    pub others: Vec<(String, u64)>,
    /// Bytes written to the member's disk.
    pub disk_bytes: u64,
    /// Share of the time in which the disk had something to do.
    pub disk_busy: f64,
    /// Share of the time in which some task waited for a disk (pressure stall information).
    pub io_pressure: f64,
    /// The same for a CPU.
    pub cpu_pressure: f64,
}

impl Moment {
    /// Bytes that others sent to disks, per second.
    pub fn others_per_s(&self) -> f64 {
        self.per_s(self.others.iter().map(|(_, bytes)| bytes).sum())
    }

    /// The same of one of them.
    pub fn per_s_of(&self, name: &str) -> f64 {
        self.per_s(self.others.iter().find(|(known, _)| known == name).map_or(0, |(_, bytes)| *bytes))
    }

    fn per_s(&self, bytes: u64) -> f64 {
        bytes as f64 / (self.ended_ns.saturating_sub(self.began_ns).max(1) as f64 / 1e9)
    }
}

/// Counts of the kernel, as they were at a look.
#[derive(Default)]
struct Counts {
    at_ns: u64,
    /// By process.
    written: HashMap<u32, Written>,
    disk_bytes: u64,
    disk_busy_ms: u64,
    io_stall_us: u64,
    cpu_stall_us: u64,
}

/// What a process sent to disks since it began, children that it waited for included.
#[derive(Clone, Copy, Default)]
struct Written {
    bytes: u64,
    parent: u32,
}

/// Looks, and remembers.
pub struct World {
    pid: u32,
    /// Name of the member's disk or partition in `/proc/diskstats`.
    disk: Option<String>,
    last: Option<Counts>,
    moments: Vec<Moment>,
}

/// Others that one moment names.
const OTHERS_MAX: usize = 3;

impl World {
    /// Around the member that is process `pid`.
    pub fn new(pid: u32) -> Self {
        let mut world = Self { pid, disk: None, last: None, moments: Vec::new() };
        let mount = world.log_folder().and_then(|folder| Mount::under(&folder));
        world.disk = mount.and_then(|mount| disk_of(&mount.device));
        world
    }

    /// The folder of the member's log: where most of its open regular files are.
    pub fn log_folder(&self) -> Option<PathBuf> {
        let mut folders: HashMap<PathBuf, usize> = HashMap::new();
        for link in fs::read_dir(format!("/proc/{}/fd", self.pid)).ok()?.flatten() {
            let Ok(file) = fs::read_link(link.path()) else { continue };
            if file.is_file()
                && let Some(folder) = file.parent()
            {
                *folders.entry(folder.to_owned()).or_default() += 1;
            }
        }
        folders.into_iter().max_by_key(|(_, count)| *count).map(|(folder, _)| folder)
    }

    /// Looks at the member's time `clock_ns`.
    pub fn look(&mut self, clock_ns: u64) {
        let now = self.count(clock_ns);
        if let Some(last) = &self.last {
            self.moments.push(self.between(last, &now));
        }
        self.last = Some(now);
    }

    /// All that was seen.
    pub fn into_moments(self) -> Vec<Moment> {
        self.moments
    }

    fn count(&self, at_ns: u64) -> Counts {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (disk_bytes, disk_busy_ms) = match &self.disk {
            Some(disk) => disk_stats(&read("/proc/diskstats"), disk).unwrap_or_default(),
            None => (0, 0),
        };
        let written = processes().filter_map(|pid| Some((pid, written_by(pid)?))).collect();
        let (io_stall_us, cpu_stall_us) =
            (stalled(&read("/proc/pressure/io")), stalled(&read("/proc/pressure/cpu")));
        Counts { at_ns, written, disk_bytes, disk_busy_ms, io_stall_us, cpu_stall_us }
    }

    fn between(&self, last: &Counts, now: &Counts) -> Moment {
        let took_ns = now.at_ns.saturating_sub(last.at_ns).max(1) as f64;
        let inherited = inherited(last, now);
        let wrote = |pid: &u32| {
            // A process that is new wrote all it has since the last look; what a child wrote before it ended is not new.
            let before = last.written.get(pid).map_or(0, |written| written.bytes);
            let before = before + inherited.get(pid).copied().unwrap_or(0);
            now.written.get(pid).map_or(0, |written| written.bytes.saturating_sub(before))
        };
        let others = now.written.keys().filter(|pid| **pid != self.pid && **pid != std::process::id());
        let mut others: Vec<_> =
            others.map(|pid| (*pid, wrote(pid))).filter(|(_, bytes)| *bytes > 0).collect();
        others.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        others.truncate(OTHERS_MAX);
        let share =
            |now_us: u64, last_us: u64| (now_us.saturating_sub(last_us) as f64 * 1e3 / took_ns).min(1.0);
        Moment {
            began_ns: last.at_ns,
            ended_ns: now.at_ns,
            own_bytes: wrote(&self.pid),
            others: others.into_iter().map(|(pid, bytes)| (name_of(pid), bytes)).collect(),
            disk_bytes: now.disk_bytes.saturating_sub(last.disk_bytes),
            disk_busy: share(now.disk_busy_ms * 1_000, last.disk_busy_ms * 1_000),
            io_pressure: share(now.io_stall_us, last.io_stall_us),
            cpu_pressure: share(now.cpu_stall_us, last.cpu_stall_us),
        }
    }
}

/// What processes were credited with because a child of theirs ended: the kernel adds its count to the parent's.
fn inherited(last: &Counts, now: &Counts) -> HashMap<u32, u64> {
    let mut inherited = HashMap::new();
    for (_, ended) in last.written.iter().filter(|(pid, _)| !now.written.contains_key(pid)) {
        *inherited.entry(ended.parent).or_default() += ended.bytes;
    }
    inherited
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn written_by(pid: u32) -> Option<Written> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and brackets: the last `)` ends it. After it come the state and the parent.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    Some(Written { bytes, parent })
}

fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_else(|_| "ended".to_owned());
    named(name.trim(), pid)
}

/// The kernel's workers take each other's work: what counts is for whom. `kworker/u8:1+loop5` works for loop5.
fn named(name: &str, pid: u32) -> String {
    match name.strip_prefix("kworker/").map(|worker| worker.split_once(['+', '-'])) {
        Some(Some((_, queue))) => format!("the kernel for {queue}"),
        Some(None) => "the kernel".to_owned(),
        None => format!("{name} (process {pid})"),
    }
}

fn disk_of(device: &str) -> Option<String> {
    let link = fs::canonicalize(Path::new("/sys/dev/block").join(device)).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Bytes written and milliseconds busy of a disk, from the fields of the kernel's iostats documentation.
fn disk_stats(text: &str, disk: &str) -> Option<(u64, u64)> {
    let line = text.lines().find(|line| line.split_whitespace().nth(2) == Some(disk))?;
    let mut fields = line.split_whitespace().skip(3).map(str::parse::<u64>);
    let (sectors, busy_ms) = (fields.nth(6)?.ok()?, fields.nth(2)?.ok()?);
    Some((sectors * SECTOR_BYTES, busy_ms))
}

/// Microseconds in which some task waited.
fn stalled(pressure: &str) -> u64 {
    let some = pressure.lines().find(|line| line.starts_with("some"));
    some.and_then(|line| line.split("total=").nth(1)?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_stats_are_read() {
        let text = " 253       0 vda 100 1 800 50 200 2 1600 70 0 90 120 0 0 0 0 5 6\n 253 1 vda1 1 1 1 1 1 1 2 1 0 3 1";
        assert_eq!(disk_stats(text, "vda"), Some((1600 * 512, 90)));
        assert_eq!(disk_stats(text, "vda1"), Some((1024, 3)));
        assert_eq!(disk_stats(text, "sda"), None);
    }

    #[test]
    fn pressure_is_read() {
        assert_eq!(
            stalled("some avg10=0.20 avg60=0.80 avg300=17.21 total=6679\nfull avg10=0 total=25"),
            6_679
        );
        assert_eq!(stalled(""), 0);
    }

    #[test]
    fn workers_of_the_kernel_are_named_after_their_work() {
        let names = ["kworker/u8:1+loop5", "kworker/u8:14-ext4-rsv-conversion", "kworker/0:0H", "dd"];
        let expected =
            ["the kernel for loop5", "the kernel for ext4-rsv-conversion", "the kernel", "dd (process 7)"];
        assert_eq!(names.map(|name| named(name, 7)), expected);
    }

    fn counts(at_ns: u64, written: &[(u32, u64)]) -> Counts {
        let written = written.iter().map(|&(pid, bytes)| (pid, Written { bytes, parent: 8 }));
        Counts { at_ns, written: written.collect(), ..Default::default() }
    }

    #[test]
    fn a_moment_knows_who_wrote() {
        let world = World { pid: 7, disk: None, last: None, moments: Vec::new() };
        let before = counts(0, &[(7, 10), (u32::MAX, 5)]);
        let moment = world.between(&before, &counts(500_000_000, &[(7, 30), (u32::MAX, 1_005)]));
        assert_eq!((moment.own_bytes, moment.others.len(), moment.others_per_s()), (20, 1, 2_000.0));
    }

    #[test]
    fn a_parent_did_not_write_what_its_child_had() {
        let world = World { pid: 7, disk: None, last: None, moments: Vec::new() };
        let before = counts(0, &[(8, 100), (9, 5_000)]);
        let after = counts(1_000_000_000, &[(8, 5_150)]);
        let wrote: Vec<_> = world.between(&before, &after).others.iter().map(|(_, bytes)| *bytes).collect();
        assert_eq!(wrote, [50], "the child's 5,000 were counted before it ended");
    }
}
