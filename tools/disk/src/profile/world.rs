//! What the machine does beside the member: who writes to disks, how busy the member's disk is, and how long tasks
//! wait for disks and CPUs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use windlass_report::machine::Mount;

const SECTOR_BYTES: u64 = 512;

/// Who moved how many bytes, by name.
pub type Movers = Vec<(String, u64)>;

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
    pub others: Movers,
    /// Bytes that others read from disks, in the same way.
    pub readers: Movers,
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
    /// Bytes that all of `movers`, the others or the readers, moved per second.
    pub fn per_s(&self, movers: &Movers) -> f64 {
        self.rate(movers.iter().map(|(_, bytes)| bytes).sum())
    }

    /// The same of one of them.
    pub fn per_s_of(&self, name: &str, movers: &Movers) -> f64 {
        self.rate(movers.iter().find(|(known, _)| known == name).map_or(0, |(_, bytes)| *bytes))
    }

    fn rate(&self, bytes: u64) -> f64 {
        bytes as f64 / (self.ended_ns.saturating_sub(self.began_ns).max(1) as f64 / 1e9)
    }
}

/// Counts of the kernel, as they were at a look.
#[derive(Default)]
struct Counts {
    at_ns: u64,
    /// By process.
    moved: HashMap<u32, Moved>,
    disk_bytes: u64,
    disk_busy_ms: u64,
    io_stall_us: u64,
    cpu_stall_us: u64,
}

/// What a process sent to disks and read from them since it began, children that it waited for included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Moved {
    /// By direction.
    bytes: [u64; 2],
    parent: u32,
    /// When it began, in ticks: numbers of processes are used again.
    began: u64,
    /// What it is called now: another name than before where it became another program.
    name: String,
}

/// The directions of [`Moved`], as `/proc/PID/io` names them.
const DIRECTIONS: [&str; 2] = ["write_bytes: ", "read_bytes: "];

/// A process, however often its name changes.
type Process = (u32, u64);
/// Who moved how much, by direction.
type Unnamed = [Vec<(Process, u64)>; 2];

/// Looks, and remembers.
#[derive(Default)]
pub struct World {
    pid: u32,
    /// Name of the member's disk or partition in `/proc/diskstats`.
    disk: Option<String>,
    last: Option<Counts>,
    /// What was seen between two looks; names come at the end.
    moments: Vec<(Moment, Unnamed)>,
    /// The newest names of all that moved something.
    names: HashMap<Process, String>,
}

/// Others that one moment names.
const OTHERS_MAX: usize = 3;

/// What the log of the member that is process `pid` lies on: the mount with the folder of most of its open regular files.
/// That may be another one than at this path here, where the member is in a container.
pub fn log_mount(pid: u32) -> Option<Mount> {
    let mut folders: HashMap<PathBuf, usize> = HashMap::new();
    for link in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        // Through the link itself, as what it says need not be there for this process.
        let is_file = fs::metadata(link.path()).is_ok_and(|file| file.is_file());
        if let (true, Ok(file)) = (is_file, fs::read_link(link.path()))
            && let Some(folder) = file.parent()
        {
            *folders.entry(folder.to_owned()).or_default() += 1;
        }
    }
    let (folder, _) = folders.into_iter().max_by_key(|(_, count)| *count)?;
    Mount::seen_by(pid, &folder)
}

impl World {
    /// Around the member that is process `pid`.
    pub fn new(pid: u32) -> Self {
        let mut world = Self { pid, ..Self::default() };
        world.disk = log_mount(pid).and_then(|mount| disk_of(&mount.device));
        world
    }

    /// Looks at the member's time `clock_ns`.
    pub fn look(&mut self, clock_ns: u64) {
        let now = self.count(clock_ns);
        self.compare(now);
    }

    fn compare(&mut self, now: Counts) {
        if let Some(last) = &self.last {
            let between = self.between(last, &now);
            self.moments.push(between);
        }
        for (pid, moved) in &now.moved {
            // Most moved nothing, and need no name.
            let process = (*pid, moved.began);
            let is_mover =
                |(_, movers): &(Moment, Unnamed)| movers.iter().flatten().any(|one| one.0 == process);
            if self.names.contains_key(&process) || self.moments.last().is_some_and(is_mover) {
                self.names.insert(process, named(&moved.name, *pid));
            }
        }
        self.last = Some(now);
    }

    /// All that was seen. Whoever became another program meanwhile has the name that it had last, for all that it moved.
    pub fn into_moments(self) -> Vec<Moment> {
        let name = |(process, bytes): (Process, u64)| (self.names[&process].clone(), bytes);
        let with_names = |(moment, movers): (Moment, Unnamed)| {
            let [others, readers] = movers.map(|some| some.into_iter().map(name).collect());
            Moment { others, readers, ..moment }
        };
        self.moments.into_iter().map(with_names).collect()
    }

    fn count(&self, at_ns: u64) -> Counts {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (disk_bytes, disk_busy_ms) = match &self.disk {
            Some(disk) => disk_stats(&read("/proc/diskstats"), disk).unwrap_or_default(),
            None => (0, 0),
        };
        let moved = processes().filter_map(|pid| Some((pid, moved_by(pid)?))).collect();
        let (io_stall_us, cpu_stall_us) =
            (stalled(&read("/proc/pressure/io")), stalled(&read("/proc/pressure/cpu")));
        Counts { at_ns, moved, disk_bytes, disk_busy_ms, io_stall_us, cpu_stall_us }
    }

    fn between(&self, last: &Counts, now: &Counts) -> (Moment, Unnamed) {
        let took_ns = now.at_ns.saturating_sub(last.at_ns).max(1) as f64;
        let inherited = inherited(last, now);
        let by = |pid: &u32, direction: usize| {
            // A process that is new moved all it has since the last look; what a child moved before it ended is not new.
            let moved = now.moved.get(pid)?;
            let before = last.moved.get(pid).filter(|before| before.began == moved.began);
            let before = before.map_or(0, |before| before.bytes[direction])
                + inherited.get(pid).map_or(0, |bytes| bytes[direction]);
            Some(((*pid, moved.began), moved.bytes[direction].saturating_sub(before)))
        };
        let movers = [0, 1].map(|direction| {
            let others = now.moved.keys().filter(|pid| **pid != self.pid && **pid != std::process::id());
            let others = others.filter_map(|pid| by(pid, direction));
            let mut others: Vec<_> = others.filter(|(_, bytes)| *bytes > 0).collect();
            others.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
            others.truncate(OTHERS_MAX);
            others
        });
        let share =
            |now_us: u64, last_us: u64| (now_us.saturating_sub(last_us) as f64 * 1e3 / took_ns).min(1.0);
        let moment = Moment {
            began_ns: last.at_ns,
            ended_ns: now.at_ns,
            own_bytes: by(&self.pid, 0).map_or(0, |(_, bytes)| bytes),
            others: Vec::new(),
            readers: Vec::new(),
            disk_bytes: now.disk_bytes.saturating_sub(last.disk_bytes),
            disk_busy: share(now.disk_busy_ms * 1_000, last.disk_busy_ms * 1_000),
            io_pressure: share(now.io_stall_us, last.io_stall_us),
            cpu_pressure: share(now.cpu_stall_us, last.cpu_stall_us),
        };
        (moment, movers)
    }
}

/// What processes were credited with because one below them ended: the kernel adds its count to that of whoever waited for
/// it. A shell that ends with its child hands on the child's as well.
fn inherited(last: &Counts, now: &Counts) -> HashMap<u32, [u64; 2]> {
    let has_ended =
        |pid: &u32, before: &Moved| now.moved.get(pid).is_none_or(|now| now.began != before.began);
    let mut inherited: HashMap<u32, [u64; 2]> = HashMap::new();
    for (_, ended) in last.moved.iter().filter(|(pid, before)| has_ended(pid, before)) {
        let mut heir = ended.parent;
        // No chain has more links than there are processes, but numbers that are used again could close it to a ring.
        for _ in 0..last.moved.len() {
            match last.moved.get(&heir).filter(|above| has_ended(&heir, above)) {
                Some(above) => heir = above.parent,
                None => break,
            }
        }
        let bytes = inherited.entry(heir).or_default();
        bytes.iter_mut().zip(ended.bytes).for_each(|(sum, bytes)| *sum += bytes);
    }
    inherited
}

pub fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn moved_by(pid: u32) -> Option<Moved> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let count = |name: &str| io.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok();
    let bytes = [count(DIRECTIONS[0])?, count(DIRECTIONS[1])?];
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let (name, parent, began) = of_stat(&String::from_utf8_lossy(&stat))?;
    Some(Moved { bytes, parent, began, name })
}

/// Name, parent and beginning of a process. Source of the fields: proc(5).
pub fn of_stat(stat: &str) -> Option<(String, u32, u64)> {
    // The name may hold blanks and brackets: the last `)` ends it. After it come the state and the parent.
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let mut fields = after.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    Some((name.to_owned(), parent, fields.nth(17)?.parse().ok()?))
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

    /// Of processes with their parents, the bytes that they wrote, of which they read ten times as many, and names.
    fn counts(at_ns: u64, written: &[(u32, u32, u64, &str)]) -> Counts {
        let moved = written.iter().map(|&(pid, parent, bytes, name)| {
            (pid, Moved { bytes: [bytes, 10 * bytes], parent, began: 1, name: name.to_owned() })
        });
        Counts { at_ns, moved: moved.collect(), ..Default::default() }
    }

    /// The moments between such looks, half a second from each other.
    fn moments(looks: &[&[(u32, u32, u64, &str)]]) -> Vec<Moment> {
        let mut world = World { pid: 7, ..World::default() };
        for (look, written) in looks.iter().enumerate() {
            world.compare(counts(look as u64 * 500_000_000, written));
        }
        world.into_moments()
    }

    #[test]
    fn a_moment_knows_who_wrote() {
        let moments = moments(&[
            &[(7, 1, 10, "windlass"), (8, 1, 5, "dd")],
            &[(7, 1, 30, "windlass"), (8, 1, 1_005, "dd")],
        ]);
        let [moment] = &moments[..] else { panic!("{moments:?}") };
        assert_eq!((moment.own_bytes, moment.per_s(&moment.others)), (20, 2_000.0));
        assert_eq!(moment.others, [("dd (process 8)".to_owned(), 1_000)]);
        assert_eq!(moment.readers, [("dd (process 8)".to_owned(), 10_000)]);
    }

    #[test]
    fn a_parent_did_not_write_what_its_child_had() {
        let moments = moments(&[&[(8, 1, 100, "sh"), (9, 8, 5_000, "dd")], &[(8, 1, 5_150, "sh")]]);
        assert_eq!(
            moments[0].others,
            [("sh (process 8)".to_owned(), 50)],
            "dd's 5,000 were counted before it ended"
        );
    }

    #[test]
    fn nor_what_a_child_had_from_its_own_when_both_end_at_once() {
        let moments = moments(&[
            &[(8, 1, 100, "bash"), (9, 8, 30, "bash"), (10, 9, 5_000, "dd")],
            &[(8, 1, 5_170, "bash")],
        ]);
        assert_eq!(moments[0].others, [("bash (process 8)".to_owned(), 40)]);
    }

    #[test]
    fn whoever_becomes_another_program_has_its_last_name_everywhere() {
        let moments = moments(&[
            &[(9, 8, 0, "bash")],
            &[(9, 8, 10, "bash")],
            &[(9, 8, 30, "dd")],
            &[(9, 8, 60, "dd")],
            &[],
        ]);
        let others: Vec<_> = moments.iter().flat_map(|moment| moment.others.clone()).collect();
        assert_eq!(others, [10, 20, 30].map(|bytes| ("dd (process 9)".to_owned(), bytes)));
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let mut world = World { pid: 7, ..World::default() };
        world.compare(counts(0, &[(9, 8, 500, "cp")]));
        let mut now = counts(1, &[(9, 8, 20, "dd")]);
        now.moved.get_mut(&9).expect("is there").began = 2;
        world.compare(now);
        assert_eq!(world.into_moments()[0].others, [("dd (process 9)".to_owned(), 20)]);
    }

    #[test]
    fn names_may_hold_anything() {
        let rest = "S 8 9 9 0 -1 4194304 1 0 0 0 1 2 3 4 20 0 1 0 777 8192 5";
        assert_eq!(of_stat(&format!("9 (a) (b) {rest}")), Some(("a) (b".to_owned(), 8, 777)));
        assert_eq!(of_stat("9 (cut"), None);
    }
}
