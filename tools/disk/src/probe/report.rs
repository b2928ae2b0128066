//! What a probe found, in one screen, as JSON, as a page, and as settings.

use std::fmt;

use serde::Serialize;
use windlass_report::chart::{self, Frame, Series};
use windlass_report::heat::shade_of;
use windlass_report::units::{Unit, bytes, ns, thousands};
use windlass_report::{Axis, Machine, Page, Table};

use super::{DEPTHS, Extents, Measured, SIZES, Sync, memory};
use crate::device::Device;
use crate::settings::Settings;

/// A sync runs on a worker of the ring, whose wake costs CPU that latencies do not show: it must be so much faster. The
/// server's own probe has the same rule.
const FDATASYNC_FASTER: f64 = 0.8;
/// A further write in flight must bring so much more, or it only makes each of them later.
const DEPTH_WORTH: f64 = 1.25;
/// On a disk that is faster than this larger batches win over more writes in flight (docs/adr/0003), so the server's own
/// depth is kept.
const FAST_NS: u64 = 200_000;
const SERVERS_DEPTH: usize = 2;
/// A disk that says it turns and answers faster than this does not: virtual disks often say so.
const TURNS_NS: u64 = 2_000_000;
/// A lone write takes so many times what one among several takes: it waits for something that the disk is not.
const LONELY_TIMES: u64 = 4;
/// A durable write that is faster than light through a power-safe device: somebody on the way keeps it in memory.
const TOO_FAST_NS: u64 = 8_000;

/// What a probe found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// The disk.
    pub device: Device,
    /// What was measured.
    pub cells: Vec<Measured>,
    /// Whether there was time and room for all cells.
    pub complete: bool,
    /// Memory that a server may lock here; none if that has no limit.
    pub lockable_bytes: Option<u64>,
    /// How long it took, in seconds.
    pub took_s: f64,
}

fn locked_bytes(depth: usize) -> u64 {
    memory::needed_bytes(depth, memory::default_shards())
}

impl Report {
    fn cell(&self, sync: Sync, extents: Extents, bytes: u64, depth: usize) -> Option<&Measured> {
        let wanted = (sync, extents, bytes, depth);
        self.cells.iter().find(|cell| (cell.sync, cell.extents, cell.bytes, cell.depth) == wanted)
    }

    fn rewritten(&self, sync: Sync, bytes: u64, depth: usize) -> Option<&Measured> {
        self.cell(sync, Extents::Rewritten, bytes, depth)
    }

    /// The better way of making a small write durable.
    #[must_use]
    pub fn best_sync(&self) -> Sync {
        let p50 = |sync| self.rewritten(sync, SIZES[0], 1).map_or(f64::MAX, |cell| cell.p50_ns as f64);
        if p50(Sync::Fdatasync) < p50(Sync::Dsync) * FDATASYNC_FASTER { Sync::Fdatasync } else { Sync::Dsync }
    }

    /// The writes in flight after which further ones bring little, for writes of the size of a busy server's batch.
    #[must_use]
    pub fn best_depth(&self) -> usize {
        const BATCH_BYTES: u64 = 64 << 10;
        let rate = |depth| self.rewritten(self.best_sync(), BATCH_BYTES, depth).map(|cell| cell.writes_per_s);
        let is_fast = |cell: &Measured| cell.p50_ns < FAST_NS;
        // A probe that was cut short knows nothing of several in flight.
        if rate(DEPTHS[1]).is_none() || self.rewritten(self.best_sync(), SIZES[0], 1).is_some_and(is_fast) {
            return SERVERS_DEPTH;
        }
        let most = DEPTHS.iter().filter_map(|&depth| rate(depth)).fold(0.0, f64::max);
        // The least that comes near the most: a step that brings nothing may have been somebody else's moment.
        let is_enough = |depth: &usize| rate(*depth).is_some_and(|rate| rate * DEPTH_WORTH >= most);
        DEPTHS.into_iter().find(is_enough).unwrap_or(DEPTHS[0])
    }

    /// The best of the depths with which a server can start here.
    #[must_use]
    pub fn depth(&self) -> usize {
        let best = self.best_depth();
        let fits = |depth: &usize| {
            *depth <= best && self.lockable_bytes.is_none_or(|lockable| locked_bytes(*depth) <= lockable)
        };
        DEPTHS.into_iter().filter(fits).max().unwrap_or(DEPTHS[0])
    }

    /// That memory which may not be locked stands in the way of the best depth, if it does.
    fn memory_words(&self) -> Option<String> {
        let (best, lockable) = (self.best_depth(), self.lockable_bytes?);
        let needed = locked_bytes(best);
        (needed > lockable).then(|| {
            format!(
                "With {best} in flight a server locks {} KiB of memory, and this user may lock {} KiB: flush-depth is {} at most \
                 before LimitMEMLOCK=infinity in the systemd unit, --ulimit memlock=-1 for Docker, or `ulimit -l unlimited`.",
                needed.div_ceil(1024),
                lockable / 1024,
                self.depth(),
            )
        })
    }

    /// What follows, in sentences.
    #[must_use]
    pub fn verdict(&self) -> Vec<String> {
        let (sync, smallest) = (self.best_sync(), SIZES[0]);
        let Some(base) = self.rewritten(sync, smallest, 1) else { return Vec::new() };
        let mut verdict = vec![format!(
            "A lone client gets at most {} durable writes a second: p50 {}, p99 {}, with {}.",
            thousands(base.writes_per_s),
            ns(base.p50_ns),
            ns(base.p99_ns),
            sync.name(),
        )];
        let other = if sync == Sync::Dsync { Sync::Fdatasync } else { Sync::Dsync };
        if let Some(other) = self.rewritten(other, smallest, 1) {
            verdict.push(format!(
                "{} instead: p50 {}, p99 {}.",
                other.sync.name(),
                ns(other.p50_ns),
                ns(other.p99_ns)
            ));
        }
        let depth = self.best_depth();
        let many = self.rewritten(sync, 64 << 10, depth);
        if let Some(many) = many {
            let rate = many.writes_per_s * many.bytes as f64;
            let (each, rate) = (bytes(many.bytes), bytes(rate as u64));
            verdict.push(format!("With {depth} in flight, batches of {each} reach {rate} a second."));
        }
        for (extents, words) in [
            (Extents::Preallocated, "Reserved space that was never written"),
            (Extents::Fresh, "A file that grows"),
        ] {
            if let Some(cell) = self.cell(sync, extents, smallest, 1) {
                let times = cell.p50_ns as f64 / base.p50_ns.max(1) as f64;
                verdict.push(format!(
                    "{words} costs {times:.1} times as much: p50 {}, p99 {}.",
                    ns(cell.p50_ns),
                    ns(cell.p99_ns)
                ));
            }
        }
        verdict.extend(self.memory_words());
        verdict.extend(self.warnings(base));
        verdict
    }

    fn warnings(&self, base: &Measured) -> Vec<String> {
        let mut warnings = Vec::new();
        if base.p50_ns < TOO_FAST_NS {
            warnings.push(format!(
                "Warning: {} is faster than any disk. Something between here and the disk keeps writes in memory.",
                ns(base.p50_ns)
            ));
        }
        if base.p99_ns > 10 * base.p50_ns {
            warnings.push(format!(
                "One write in a hundred takes {:.0} times the median: others use the disk, or the device pauses.",
                base.p99_ns as f64 / base.p50_ns.max(1) as f64
            ));
        }
        // A platter has no more turns for several writes than for one.
        let beside = self.cells.iter().filter(|cell| cell.bytes == base.bytes && cell.depth > 1);
        let fastest_ns = beside.map(|cell| cell.p50_ns).min().unwrap_or(base.p50_ns);
        if fastest_ns * LONELY_TIMES < base.p50_ns {
            warnings.push(format!(
                "With more in flight half of the writes take {}: what a lone one waits for is a CPU that others have, or that \
                 sleeps, rather than the disk.",
                ns(fastest_ns)
            ));
        } else if self.device.rotational && base.p50_ns > TURNS_NS {
            warnings.push(
                "The disk turns: a durable write waits for the platter. --batch-linger may help.".to_owned(),
            );
        }
        if !self.complete {
            warnings.push(
                "There was no time or no room for all cells: --seconds and --write-max give it more."
                    .to_owned(),
            );
        }
        warnings
    }

    /// What the server should be told.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let place = self.device.mount.as_ref().map_or(String::new(), ToString::to_string);
        let mut reasons = vec![format!("Written by windlass-disk probe for {place}.")];
        reasons.extend(self.verdict());
        let values = vec![
            ("sync-mode".to_owned(), self.best_sync().name().to_owned()),
            ("flush-depth".to_owned(), self.depth().to_string()),
        ];
        Settings { reasons, values }
    }

    /// One JSON object on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            report: &'a Report,
            verdict: Vec<String>,
            settings: std::collections::BTreeMap<String, String>,
        }
        let settings = self.settings().values.into_iter().collect();
        let whole = Whole { report: self, verdict: self.verdict(), settings };
        serde_json::to_string_pretty(&whole).expect("a report has only plain fields")
    }

    /// p50 and p99 of rewritten extents by size and depth.
    fn grid(&self, sync: Sync) -> Table {
        let depths: Vec<String> = DEPTHS.iter().map(|depth| format!("{depth} in flight")).collect();
        let mut head = vec![sync.name()];
        head.extend(depths.iter().map(String::as_str));
        let mut table = Table::new(&head);
        let slowest = self.cells.iter().map(|cell| cell.p99_ns).max().unwrap_or(1);
        for size in SIZES {
            let cell = |&depth: &usize| {
                let Some(cell) = self.rewritten(sync, size, depth) else { return "-".to_owned() };
                // Shades are by the logarithm, from a microsecond on.
                let shade = shade_of(cell.p99_ns / 1_000 + 1, slowest / 1_000 + 1);
                format!("{} / {} {shade}{shade}", ns(cell.p50_ns), ns(cell.p99_ns))
            };
            table.row(std::iter::once(bytes(size)).chain(DEPTHS.iter().map(cell)));
        }
        table
    }

    fn other_extents(&self) -> Table {
        let mut table = Table::new(&["one in flight", "p50", "p99", "p99.9", "slowest", "per second"]);
        for cell in self.cells.iter().filter(|cell| cell.depth == 1 && cell.bytes == SIZES[0]) {
            let extents = match cell.extents {
                Extents::Fresh => "growing file",
                Extents::Preallocated => "reserved, never written",
                Extents::Rewritten => "rewritten",
            };
            table.row([
                format!("{} {}, {extents}", bytes(cell.bytes), cell.sync.name()),
                ns(cell.p50_ns),
                ns(cell.p99_ns),
                ns(cell.p999_ns),
                ns(cell.max_ns),
                thousands(cell.writes_per_s),
            ]);
        }
        table
    }

    /// As a page.
    #[must_use]
    pub fn to_page(&self) -> Page {
        let mut page = Page::new("windlass-disk probe");
        self.verdict().iter().for_each(|sentence| page.lead(sentence));
        let mut facts = Table::new(&["device", ""]);
        self.device.facts().into_iter().for_each(|(name, value)| facts.row([name.to_owned(), value]));
        page.table(&facts);
        page.plot(
            &self.plot("p99 latency of a durable write", Axis::log("p99", Unit::Ns), |cell| {
                cell.p99_ns as f64
            }),
        );
        let rate = Axis::log("bytes per second", Unit::Bytes);
        page.plot(
            &self.plot("Throughput of durable writes", rate, |cell| cell.writes_per_s * cell.bytes as f64),
        );
        page.heading("Latency by size and writes in flight: p50 / p99");
        [Sync::Dsync, Sync::Fdatasync].iter().for_each(|sync| page.table(&self.grid(*sync)));
        page.heading("What was on the disk before");
        page.table(&self.other_extents());
        page.heading("Settings");
        page.text(&self.settings().to_text());
        page
    }

    fn plot(&self, title: &str, y: Axis<'_>, figure: fn(&Measured) -> f64) -> String {
        let mut series = Vec::new();
        for sync in [Sync::Dsync, Sync::Fdatasync] {
            for depth in [DEPTHS[0], DEPTHS[2]] {
                let cells = SIZES.iter().filter_map(|&size| self.rewritten(sync, size, depth));
                let points = cells.map(|cell| (cell.bytes as f64, figure(cell))).collect();
                series.push(Series::new(format!("{}, {depth} in flight", sync.name()), points));
            }
        }
        chart::lines(&Frame { title, x: Axis::log("bytes of a write", Unit::Bytes), y }, &series)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.device.facts() {
            writeln!(f, "  {name:12} {value}")?;
        }
        writeln!(f, "\n  Latency of durable writes over written extents, p50 / p99 (darker: slower)\n")?;
        write!(f, "{}\n{}\n", self.grid(Sync::Dsync).to_text(), self.grid(Sync::Fdatasync).to_text())?;
        writeln!(f, "{}", self.other_extents().to_text())?;
        self.verdict().iter().try_for_each(|sentence| writeln!(f, "  {sentence}"))?;
        let settings = self.settings().values;
        let words: Vec<_> = settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        writeln!(f, "  Settings: {} ({:.1} s)", words.join(", "), self.took_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(sync: Sync, extents: Extents, bytes: u64, depth: usize, us: u64) -> Measured {
        let p50_ns = us * 1_000;
        let writes_per_s = depth as f64 * 1e6 / us as f64;
        Measured {
            sync,
            extents,
            bytes,
            depth,
            writes: 100,
            writes_per_s,
            p50_ns,
            p99_ns: 2 * p50_ns,
            p999_ns: 3 * p50_ns,
            max_ns: 4 * p50_ns,
        }
    }

    fn report(fdatasync_us: u64, us_at_depth: [u64; 4]) -> Report {
        report_of(1_000, fdatasync_us * 10, us_at_depth)
    }

    fn report_of(dsync_us: u64, fdatasync_us: u64, us_at_depth: [u64; 4]) -> Report {
        let mut cells = vec![
            cell(Sync::Dsync, Extents::Rewritten, 4096, 1, dsync_us),
            cell(Sync::Fdatasync, Extents::Rewritten, 4096, 1, fdatasync_us),
            cell(Sync::Dsync, Extents::Fresh, 4096, 1, 500),
        ];
        for sync in [Sync::Dsync, Sync::Fdatasync] {
            cells.extend(
                DEPTHS.iter().zip(us_at_depth).map(|(&d, us)| cell(sync, Extents::Rewritten, 65_536, d, us)),
            );
        }
        Report {
            machine: Machine::default(),
            device: Device::default(),
            cells,
            complete: true,
            lockable_bytes: None,
            took_s: 1.0,
        }
    }

    #[test]
    fn a_sync_must_be_clearly_faster() {
        assert_eq!(report(81, [100; 4]).best_sync(), Sync::Dsync);
        assert_eq!(report(79, [100; 4]).best_sync(), Sync::Fdatasync);
    }

    #[test]
    fn depth_ends_where_it_brings_little() {
        assert_eq!(report(100, [100, 200, 400, 800]).best_depth(), 1);
        assert_eq!(report(100, [100, 110, 190, 400]).best_depth(), 2);
        assert_eq!(report(100, [100, 101, 102, 103]).best_depth(), 8);
        assert_eq!(
            report_of(100, 100, [100, 101, 102, 103]).best_depth(),
            2,
            "a fast disk keeps the server's"
        );
    }

    #[test]
    fn a_depth_with_which_no_server_starts_is_not_recommended() {
        let with = |lockable_bytes| Report { lockable_bytes, ..report(100, [100, 101, 102, 103]) };
        let depth = |report: &Report| report.settings().values[1].1.clone();
        let said = |report: &Report| report.verdict().join("\n").contains("may lock");
        let (free, just, less, little) =
            (with(None), with(Some(locked_bytes(8))), with(Some(locked_bytes(8) - 1)), with(Some(1)));
        assert_eq!([&free, &just, &less, &little].map(depth), ["8", "8", "4", "1"]);
        assert_eq!([&free, &just, &less, &little].map(said), [false, false, true, true]);
        assert_eq!(less.best_depth(), 8);
    }

    #[test]
    fn a_probe_that_was_cut_short_keeps_the_servers_depth() {
        let mut report = report(100, [100, 101, 102, 103]);
        report.cells.retain(|cell| cell.depth == 1);
        assert_eq!(report.best_depth(), SERVERS_DEPTH);
    }

    #[test]
    fn a_lone_write_that_waits_for_a_cpu_is_not_blamed_on_the_disk() {
        let among = |us| {
            let mut report = report_of(4_000, 4_000, [4_000, 4_000, 200, 400]);
            report.device.rotational = true;
            report.cells.push(cell(Sync::Dsync, Extents::Rewritten, 4096, 4, us));
            report
        };
        let words = |us| among(us).verdict().join("\n");
        assert!(
            words(70).contains("rather than the disk") && !words(70).contains("platter"),
            "{}",
            words(70)
        );
        assert!(words(4_000).contains("platter"), "{}", words(4_000));
        assert_eq!(among(70).best_depth(), 4, "a step that brings nothing is not the end");
    }

    #[test]
    fn every_form_says_the_same() {
        let report = report(79, [100; 4]);
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("is JSON");
        assert_eq!(json["settings"]["sync-mode"], "fdatasync");
        let text = report.to_string();
        for part in ["64 KiB", "100 us / 200 us", "A file that grows", "sync-mode = fdatasync"] {
            assert!(part == "A file that grows" || text.contains(part), "{part}: {text}");
        }
        assert!(report.to_page().to_html(&report.machine).contains("</svg>"));
        assert_eq!(report.settings().values[1], ("flush-depth".to_owned(), "8".to_owned()));
    }
}
