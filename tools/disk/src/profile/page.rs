//! A profile as a page: stages over time, a heat map of latencies, and flushes by size.

use windlass_report::chart::{self, Frame, Series};
use windlass_report::heat::{Grid, heat_map};
use windlass_report::units::Unit;
use windlass_report::{Axis, Page, Table};

use super::block;
use super::commits::{BEFORE_ANSWER, Flush, STAGES};
use super::report::Report;

/// Columns of plots over time.
const COLUMNS: usize = 120;
/// Rows of the heat map: four for each power of two from a microsecond on.
const ROWS: usize = 100;
/// Points of the scatter plot; more would make the page large and no clearer.
const POINTS_MAX: usize = 3_000;

impl Report {
    /// As a page.
    #[must_use]
    pub fn to_page(&self) -> Page {
        let mut page = Page::new("windlass-disk profile");
        self.analysis.words.iter().for_each(|sentence| page.lead(sentence));
        page.lead(&self.disk_words);
        if let Some(lost) = &self.lost {
            page.lead(&lost.words());
        }
        page.table(&self.stage_table());
        page.plot(&self.stacked());
        page.plot(&self.heat());
        page.plot(&self.scatter());
        if let Some(table) = block::table(&self.disk) {
            page.table(&table);
            page.plot(&self.disk_heat());
        }
        page.plot(&self.writers());
        page.table(&self.slowest_table(20));
        let mut facts = Table::new(&["device", ""]);
        self.device.facts().into_iter().for_each(|(name, value)| facts.row([name.to_owned(), value]));
        page.table(&facts);
        page
    }

    /// The time of the run, in `COLUMNS` steps: each one's flushes.
    fn columns(&self) -> (f64, Vec<Vec<&Flush>>) {
        let flushes = &self.timeline.flushes;
        let first_ns = self.first_ns();
        let last_ns = flushes.iter().map(|flush| flush.began_ns).max().unwrap_or(0);
        let step_ns = (last_ns - first_ns) / COLUMNS as u64 + 1;
        let mut columns = vec![Vec::new(); COLUMNS];
        for flush in flushes {
            columns[((flush.began_ns - first_ns) / step_ns) as usize].push(flush);
        }
        (step_ns as f64 / 1e9, columns)
    }

    fn stacked(&self) -> String {
        let (step_s, columns) = self.columns();
        let layers = (0..BEFORE_ANSWER).map(|stage| {
            let mean = |(place, column): (usize, &Vec<&Flush>)| {
                let sum: u64 = column.iter().map(|flush| flush.stages_ns[stage]).sum();
                (place as f64 * step_s, sum as f64 / column.len().max(1) as f64)
            };
            Series::new(STAGES[stage], columns.iter().enumerate().map(mean).collect())
        });
        let frame = Frame {
            title: "Where commits spend their time (mean of each stage)",
            x: Axis::linear("time of the profile", Unit::Seconds),
            y: Axis::linear("until the answer", Unit::Ns),
        };
        chart::stacked(&frame, &layers.collect::<Vec<_>>())
    }

    fn heat(&self) -> String {
        let (step_s, columns) = self.columns();
        let count = |column: &Vec<&Flush>| {
            let mut rows = vec![0; ROWS];
            column.iter().for_each(|flush| rows[row_of(flush.answered_ns())] += 1);
            rows
        };
        let grid = Grid {
            columns: (0..=COLUMNS).map(|place| place as f64 * step_s).collect(),
            rows: (0..=ROWS).map(edge_of).collect(),
            cells: columns.iter().map(count).collect(),
        };
        let frame = Frame {
            title: "Time until the answer of each flush (darker: more flushes)",
            x: Axis::linear("time of the profile", Unit::Seconds),
            y: Axis::log("until the answer", Unit::Ns),
        };
        heat_map(&frame, &grid.trimmed())
    }

    /// What the disk took for each request, over the same time.
    fn disk_heat(&self) -> String {
        let (step_s, _) = self.columns();
        let first_ns = self.first_ns();
        let mut cells = vec![vec![0; ROWS]; COLUMNS];
        for request in self.blocks.requests() {
            let at_s = request.issued_ns.saturating_sub(first_ns) as f64 / 1e9;
            if let Some(column) = cells.get_mut((at_s / step_s) as usize) {
                column[row_of(request.took_ns)] += 1;
            }
        }
        let grid = Grid {
            columns: (0..=COLUMNS).map(|place| place as f64 * step_s).collect(),
            rows: (0..=ROWS).map(edge_of).collect(),
            cells,
        };
        let frame = Frame {
            title: "Time of each request of the disk beneath (darker: more requests)",
            x: Axis::linear("time of the profile", Unit::Seconds),
            y: Axis::log("from issue to completion", Unit::Ns),
        };
        heat_map(&frame, &grid.trimmed())
    }

    fn scatter(&self) -> String {
        let flushes = &self.timeline.flushes;
        let each = flushes.len().div_ceil(POINTS_MAX).max(1);
        let point = |flush: &Flush| (flush.bytes.max(1) as f64, flush.stages_ns[3] as f64);
        let (slow, usual): (Vec<_>, Vec<_>) =
            flushes.iter().partition(|flush| flush.answered_ns() >= self.analysis.slow_ns);
        let some = usual.into_iter().step_by(each).map(point).collect();
        let slow = slow.into_iter().take(POINTS_MAX).map(point).collect();
        let frame = Frame {
            title: "Device writes by size",
            x: Axis::log("bytes of a flush", Unit::Bytes),
            y: Axis::log("device_write", Unit::Ns),
        };
        chart::scatter(&frame, &[Series::new("flushes", some), Series::new("slow ones", slow)])
    }

    /// Who wrote when.
    fn writers(&self) -> String {
        let first_ns = self.first_ns();
        let at = |ns: u64| ns.saturating_sub(first_ns) as f64 / 1e9;
        let per_s = |moment: &super::world::Moment, bytes: u64| {
            bytes as f64 / (moment.ended_ns.saturating_sub(moment.began_ns).max(1) as f64 / 1e9)
        };
        let own = self.moments.iter().map(|one| (at(one.began_ns), per_s(one, one.own_bytes)));
        let others = self.moments.iter().map(|one| (at(one.began_ns), one.per_s(&one.others)));
        let readers = self.moments.iter().map(|one| (at(one.began_ns), one.per_s(&one.readers)));
        let frame = Frame {
            title: "Bytes sent to disks, and read by others",
            x: Axis::linear("time of the profile", Unit::Seconds),
            y: Axis::linear("per second", Unit::Bytes),
        };
        let series = [
            Series::new("the member", own.collect()),
            Series::new("other processes", others.collect()),
            Series::new("read by other processes", readers.collect()),
        ];
        chart::lines(&frame, &series)
    }
}

/// The lower edge of a row, in nanoseconds.
fn edge_of(row: usize) -> f64 {
    1_000.0 * (row as f64 / 4.0).exp2()
}

fn row_of(ns: u64) -> usize {
    (((ns.max(1_000) as f64 / 1_000.0).log2() * 4.0) as usize).min(ROWS - 1)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;

    #[test]
    fn a_page_has_its_plots() {
        let html = report().to_page().to_html(&report().machine);
        assert_eq!(html.matches("<svg").count(), 4);
        for part in ["Where commits spend", "device_write", "Device writes by size", "Bytes sent to disks"] {
            assert!(html.contains(part), "{part}");
        }
    }
}
