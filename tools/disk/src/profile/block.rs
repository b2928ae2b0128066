//! What the disk does beneath the filesystem: each request from its issue to its completion, by the kernel's tracepoints.
//!
//! Where tracefs may be used, an instance of its own is made there, so that nobody else's tracing is touched, and removed
//! at the end. Where not, a sentence says why.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use windlass_bench::undo::Undo;
use windlass_report::Table;
use windlass_report::units::{bytes, ns, thousands};

/// Where tracefs is mounted: on its own, or below debugfs.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// The place of `device_write` among the stages.
pub const STAGE: usize = 3;
const EVENTS: [&str; 2] = ["block_rq_issue", "block_rq_complete"];
/// Requests that are kept; those beyond are left out.
const REQUESTS_MAX: usize = 1_000_000;
/// Requests under way that are remembered. Beyond, all are forgotten: their completions were lost.
const OPEN_MAX: usize = 65_536;
/// Bytes of the trace that are taken at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that are taken in one look; the kernel's buffer holds what is beyond until the next, or loses it.
const PIECES_MAX: usize = 256;
/// The stage takes more than so many times what the disk does: something above the disk takes the time.
const ABOVE_TIMES: f64 = 3.0;

/// What a request asks of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Write data.
    Write,
    /// Write data past the disk's cache.
    WriteThrough,
    /// Empty the disk's cache.
    Flush,
    /// Read data.
    Read,
}

/// A request that was completed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// What.
    pub kind: Kind,
    /// When the disk got it, by the member's clock.
    pub issued_ns: u64,
    /// Until it was done.
    pub took_ns: u64,
    /// Its data.
    pub bytes: u64,
}

/// What was seen of the disk.
#[derive(Clone, Debug)]
pub enum Blocks {
    /// Its requests.
    Seen(Vec<Request>),
    /// Nothing, and why.
    Absent(String),
}

/// Follows a disk's requests, or knows why it cannot.
pub enum Tracer {
    /// It follows.
    On(Box<Trace>),
    /// It does not.
    Off(String),
}

/// A trace that is under way. It ends with the value, or when a signal ends the program.
pub struct Trace {
    instance: Instance,
    /// The end of what was read, if it is no whole line.
    rest: Vec<u8>,
    pairs: Pairs,
    /// What the member's clock is behind the kernel's monotonic one.
    behind_ns: u64,
    /// Goes after the instance.
    _undo: Undo,
}

/// An instance of tracefs.
#[derive(Clone)]
struct Instance {
    path: PathBuf,
    reading: Arc<Mutex<Reading>>,
}

/// How far the reading of a trace is. Whoever begins or ends it holds this.
#[derive(Default)]
enum Reading {
    #[default]
    NotBegun,
    /// Until the trace ends: it cannot be removed while somebody reads it.
    From(File),
    Ended,
}

/// Joins issues and completions. Pure.
#[derive(Default)]
struct Pairs {
    open: HashMap<(u64, bool), (u64, u64)>,
    done: Vec<Request>,
}

impl Tracer {
    /// Of the disk on which the device `major:minor` is.
    pub fn of(device: Option<&str>) -> Self {
        let Some(disk) = device.and_then(whole_disk) else {
            return Self::Off("it is not known which disk the log is on: look as root, on the member's machine, at a folder on a disk".to_owned());
        };
        match Trace::start(&disk) {
            Ok(trace) => Self::On(Box::new(trace)),
            Err(why) => Self::Off(why),
        }
    }

    /// Takes what came, at the member's time `clock_ns`.
    pub fn look(&mut self, clock_ns: u64) {
        if let Self::On(trace) = self {
            trace.look(clock_ns);
        }
    }

    /// All that was seen.
    pub fn finish(self) -> Blocks {
        match self {
            Self::Off(why) => Blocks::Absent(why),
            Self::On(mut trace) => {
                let behind_ns = trace.behind_ns;
                let mut requests = std::mem::take(&mut trace.pairs.done);
                requests.iter_mut().for_each(|one| one.issued_ns = one.issued_ns.saturating_sub(behind_ns));
                Blocks::Seen(requests)
            }
        }
    }
}

impl Trace {
    fn start(disk: &str) -> Result<Self, String> {
        let place = PLACES.iter().map(Path::new).find(|place| place.join("instances").is_dir());
        let place = place.ok_or("tracefs is not mounted, or only root may look into it")?;
        let path = place.join(format!("instances/windlass-disk-{}", std::process::id()));
        let (instance, undo) = Undo::of(|| {
            fs::create_dir(&path)
                .map_err(|error| format!("no trace can be made in {}: {error}", place.display()))?;
            let instance = Instance { path, reading: Arc::default() };
            let to_undo = instance.clone();
            Ok::<_, String>((instance, move || to_undo.end()))
        })?;
        let trace = Self { instance, rest: Vec::new(), pairs: Pairs::default(), behind_ns: 0, _undo: undo };
        trace.instance.begin(disk).map(|()| trace)
    }

    fn look(&mut self, clock_ns: u64) {
        let now = clock_gettime(ClockId::Monotonic);
        let now_ns = now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned();
        self.behind_ns = now_ns.saturating_sub(clock_ns);
        let mut piece = vec![0; PIECE_BYTES];
        for _ in 0..PIECES_MAX {
            let Some(length) = self.instance.read(&mut piece) else { break };
            self.rest.extend_from_slice(&piece[..length]);
        }
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        String::from_utf8_lossy(&lines).lines().for_each(|line| self.pairs.line(line));
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.instance.end();
    }
}

impl Instance {
    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Traces requests of the disk from now on.
    fn begin(&self, disk: &str) -> Result<(), String> {
        let mut reading = self.reading();
        if matches!(*reading, Reading::Ended) {
            return Err("a signal has ended it".to_owned());
        }
        let write = |file: &str, text: &str| {
            fs::write(self.path.join(file), text).map_err(|error| format!("{file} of a trace: {error}"))
        };
        // The clock of `Instant`, by which the member tells its times.
        write("trace_clock", "mono")?;
        for event in EVENTS {
            write(&format!("events/block/{event}/filter"), &format!("dev == {disk}"))?;
            write(&format!("events/block/{event}/enable"), "1")?;
        }
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let pipe = OpenOptions::new().read(true).custom_flags(flags).open(self.path.join("trace_pipe"));
        *reading = Reading::From(pipe.map_err(|error| format!("trace_pipe: {error}"))?);
        Ok(())
    }

    /// Some of what was traced and not read; `None` if there is nothing more for now.
    fn read(&self, piece: &mut [u8]) -> Option<usize> {
        let Reading::From(pipe) = &mut *self.reading() else { return None };
        // That there is nothing is an error of its kind, too.
        pipe.read(piece).ok().filter(|length| *length > 0)
    }

    fn end(&self) {
        let mut reading = self.reading();
        *reading = Reading::Ended;
        // What cannot be removed is left; its name says whose it was.
        let _ = EVENTS
            .iter()
            .try_for_each(|event| fs::write(self.path.join(format!("events/block/{event}/enable")), "0"));
        let _ = fs::remove_dir(&self.path);
    }
}

/// The kernel's number of the disk of which `major:minor` is a part, or that it is.
fn whole_disk(device: &str) -> Option<String> {
    let mut folder = fs::canonicalize(Path::new("/sys/dev/block").join(device)).ok()?;
    if folder.join("partition").exists() {
        folder.pop();
    }
    let numbers = fs::read_to_string(folder.join("dev")).ok()?;
    let (major, minor) = numbers.trim().split_once(':')?;
    Some(((major.parse::<u64>().ok()? << 20) | minor.parse::<u64>().ok()?).to_string())
}

impl Pairs {
    /// A line of a trace. Source of the fields: the events' formats in tracefs.
    fn line(&mut self, line: &str) {
        let Some((head, fields)) = EVENTS.iter().find_map(|event| line.split_once(&format!(": {event}: ")))
        else {
            return;
        };
        let Some(at_ns) = head.split_whitespace().last().and_then(nanoseconds) else { return };
        let mut words = fields.split_whitespace();
        let (Some(_disk), Some(what)) = (words.next(), words.next()) else { return };
        let Some(kind) = kind_of(what) else { return };
        // `(command)` and, where the data's size is told, before it that.
        let mut rest = words.skip_while(|word| !word.starts_with('('));
        let sector = rest.nth(1).and_then(|sector| sector.parse().ok()).unwrap_or(0);
        let sectors: u64 = rest.nth(1).and_then(|count| count.parse().ok()).unwrap_or(0);
        // One flush is under way at a time, and names no place.
        let key = if kind == Kind::Flush { (0, true) } else { (sector, false) };
        if line.contains(EVENTS[0]) {
            if self.open.len() >= OPEN_MAX {
                self.open.clear();
            }
            self.open.insert(key, (at_ns, sectors * 512));
        } else if let Some((issued_ns, bytes)) = self.open.remove(&key)
            && self.done.len() < REQUESTS_MAX
        {
            self.done.push(Request { kind, issued_ns, took_ns: at_ns.saturating_sub(issued_ns), bytes });
        }
    }
}

/// `1234.567890:` of seconds.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.trim_end_matches(':').split_once('.')?;
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
    let fraction = fraction.parse::<u64>().ok()? * 10u64.pow(9 - digits);
    Some(seconds.parse::<u64>().ok()? * 1_000_000_000 + fraction)
}

/// From the letters of `rwbs`: a flush goes before the data, `F` behind it is for what must not stay in the cache.
fn kind_of(rwbs: &str) -> Option<Kind> {
    let letters = rwbs.trim_start_matches('F');
    match letters.chars().next() {
        None if !rwbs.is_empty() => Some(Kind::Flush),
        Some('W') if letters[1..].contains('F') => Some(Kind::WriteThrough),
        Some('W') => Some(Kind::Write),
        Some('R') => Some(Kind::Read),
        _ if rwbs.starts_with('F') => Some(Kind::Flush),
        _ => None,
    }
}

/// Requests of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// What.
    pub kind: Kind,
    /// How many.
    pub requests: u64,
    /// Their data together.
    pub bytes: u64,
    /// In nanoseconds.
    pub p50_ns: u64,
    /// In nanoseconds.
    pub p99_ns: u64,
    /// In nanoseconds.
    pub max_ns: u64,
}

impl Kind {
    const ALL: [Self; 4] = [Self::WriteThrough, Self::Write, Self::Flush, Self::Read];

    fn name(self) -> &'static str {
        match self {
            Self::WriteThrough => "writes past its cache",
            Self::Write => "writes",
            Self::Flush => "flushes of its cache",
            Self::Read => "reads",
        }
    }
}

impl Blocks {
    /// What was seen.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        match self {
            Self::Seen(requests) => requests,
            Self::Absent(_) => &[],
        }
    }

    /// The kinds of requests that there were.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        let requests = self.requests();
        let summary = |kind: Kind| {
            let times = times_of(requests, kind);
            (!times.is_empty()).then(|| Summary {
                kind,
                requests: times.len() as u64,
                bytes: requests.iter().filter(|one| one.kind == kind).map(|one| one.bytes).sum(),
                p50_ns: at(&times, 0.5),
                p99_ns: at(&times, 0.99),
                max_ns: at(&times, 1.0),
            })
        };
        Kind::ALL.into_iter().filter_map(summary).collect()
    }
}

/// What was seen of the disk, as a table; none if nothing was.
#[must_use]
pub fn table(summaries: &[Summary]) -> Option<Table> {
    let mut table = Table::new(&["the disk beneath", "requests", "bytes each", "p50", "p99", "slowest"]);
    for one in summaries {
        table.row([
            one.kind.name().to_owned(),
            thousands(one.requests as f64),
            bytes(one.bytes / one.requests.max(1)),
            ns(one.p50_ns),
            ns(one.p99_ns),
            ns(one.max_ns),
        ]);
    }
    (!summaries.is_empty()).then_some(table)
}

/// Where the time of slow writes goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody looked.
    Unknown,
    /// The disk itself takes it.
    Disk,
    /// Something between the member and the disk does.
    Above,
}

impl Blocks {
    /// Who holds back the stage that writes to the disk, whose p99 is given.
    #[must_use]
    pub fn holder(&self, device_write_p99_ns: u64) -> Holder {
        match self {
            Self::Absent(_) => Holder::Unknown,
            Self::Seen(_) => holder(device_write_p99_ns, disk_ns(&self.summaries())),
        }
    }
}

fn holder(device_write_p99_ns: u64, disk_ns: u64) -> Holder {
    let is_above = device_write_p99_ns as f64 > ABOVE_TIMES * disk_ns as f64;
    if is_above { Holder::Above } else { Holder::Disk }
}

/// The p99 of what a durable write is to the disk.
fn disk_ns(summaries: &[Summary]) -> u64 {
    let p99_ns = |kind| summaries.iter().find(|one| one.kind == kind).map_or(0, |one| one.p99_ns);
    // It is data and, on a disk that cannot write past its cache, a flush of the cache.
    p99_ns(Kind::WriteThrough).max(p99_ns(Kind::Write)) + p99_ns(Kind::Flush)
}

/// What follows for the stage that writes to the disk, whose p99 is given.
#[must_use]
pub fn words(summaries: &[Summary], device_write_p99_ns: u64) -> String {
    let disk_ns = disk_ns(summaries);
    let (whole, disk) = (ns(device_write_p99_ns), ns(disk_ns));
    match holder(device_write_p99_ns, disk_ns) == Holder::Above {
        true => format!(
            "Of device_write's p99 of {whole} the disk itself explains {disk}: what holds writes back is above it, such as a limit of a control group, the queue or the filesystem."
        ),
        false => format!(
            "The disk itself takes the time: p99 {disk} for a write and a flush of its cache, where device_write has {whole}."
        ),
    }
}

fn times_of(requests: &[Request], kind: Kind) -> Vec<u64> {
    let mut times: Vec<u64> = requests.iter().filter(|one| one.kind == kind).map(|one| one.took_ns).collect();
    times.sort_unstable();
    times
}

fn at(times: &[u64], share: f64) -> u64 {
    let place = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
    times.get(place).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
            windlass-77      [001] d..1.  100.000100: block_rq_issue: 253,0 FF 0 () 0 + 0 none,0,0 [kworker/1:1H]
            windlass-77      [001] d..1.  100.000200: block_rq_issue: 253,0 WFS 4096 () 800 + 8 none,0,0 [windlass]
              <idle>-0       [000] d.h1.  100.000250: block_rq_complete: 253,0 FF () 18446744073709551615 + 0 none,0,0 [0]
              <idle>-0       [000] d.h1.  100.000450: block_rq_complete: 253,0 WFS () 800 + 8 none,0,0 [0]
              <idle>-0       [000] d.h1.  100.000460: block_rq_complete: 253,0 W () 16 + 8 none,0,0 [0]
              dd-9           [000] d.h1.  100.001000: block_rq_issue: 253,0 W 1048576 () 16 + 2048 none,0,0 [dd]
              dd-9           [000] d.h1.  100.003000: block_rq_complete: 253,0 W () 16 + 2048 none,0,0 [0]
            CPU:1 [LOST 12 EVENTS]
    ";

    fn traced() -> Vec<Request> {
        let mut pairs = Pairs::default();
        TRACE.lines().for_each(|line| pairs.line(line));
        pairs.done
    }

    #[test]
    fn issues_and_completions_are_joined() {
        let request = |kind, issued_us: u64, took_us: u64, bytes| Request {
            kind,
            issued_ns: 100_000_000_000 + issued_us * 1_000,
            took_ns: took_us * 1_000,
            bytes,
        };
        let expected = [
            request(Kind::Flush, 100, 150, 0),
            request(Kind::WriteThrough, 200, 250, 4096),
            request(Kind::Write, 1_000, 2_000, 1 << 20),
        ];
        assert_eq!(traced(), expected);
    }

    #[test]
    fn letters_say_what_is_asked() {
        let kinds = ["W", "WS", "WSM", "WFS", "FF", "F", "FWS", "FWFS", "R", "RA", "D", ""].map(kind_of);
        let [write, through, flush, read] =
            [Kind::Write, Kind::WriteThrough, Kind::Flush, Kind::Read].map(Some);
        assert_eq!(
            kinds,
            [write, write, write, through, flush, flush, write, through, read, read, None, None]
        );
    }

    #[test]
    fn the_words_tell_the_disk_from_what_is_above_it() {
        let summaries = Blocks::Seen(traced()).summaries();
        assert_eq!(summaries.len(), 3);
        let said = |p99_ns| words(&summaries, p99_ns);
        assert!(said(2_000_000).starts_with("The disk itself"), "{}", said(2_000_000));
        assert!(said(80_000_000).contains("above it"), "{}", said(80_000_000));
        assert!(table(&summaries).expect("there are requests").to_text().contains("flushes of its cache"));
        assert!(table(&Blocks::Absent("no".to_owned()).summaries()).is_none());
    }
}
