//! Latencies over the time of a run, for plots: counts on a grid whose size is bounded however long the run is.

use windlass_report::heat::Grid;

/// Four rows for each power of two, from about a microsecond to about 70 seconds; what is beyond counts in the outermost.
const ROWS: usize = 104;
const FIRST_POWER: u32 = 10;
/// Columns; when there are more, pairs become one and the step doubles.
const COLUMNS_MAX: usize = 512;
const FIRST_STEP_NS: u64 = 10_000_000;
const NS_PER_S: f64 = 1e9;

/// Counts by time and latency.
#[derive(Clone, Debug)]
pub struct Timeline {
    step_ns: u64,
    columns: Vec<[u32; ROWS]>,
}

/// A column in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Its middle, in seconds of the run.
    pub at_s: f64,
    /// Answers per second in it.
    pub rate: f64,
    /// Latencies in nanoseconds, to a fifth.
    pub p50_ns: f64,
    /// See `p50_ns`.
    pub p99_ns: f64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { step_ns: FIRST_STEP_NS, columns: Vec::new() }
    }
}

impl Timeline {
    /// Counts an answer.
    pub fn record(&mut self, now_ns: u64, latency_ns: u64) {
        let mut column = (now_ns / self.step_ns) as usize;
        while column >= COLUMNS_MAX {
            self.halve();
            column = (now_ns / self.step_ns) as usize;
        }
        if column >= self.columns.len() {
            self.columns.resize(column + 1, [0; ROWS]);
        }
        let cell = &mut self.columns[column][row_of(latency_ns)];
        *cell = cell.saturating_add(1);
    }

    fn halve(&mut self) {
        let pairs = self.columns.chunks(2).map(|pair| {
            let mut sum = pair[0];
            let second = pair.get(1).copied().unwrap_or([0; ROWS]);
            sum.iter_mut().zip(second).for_each(|(cell, more)| *cell = cell.saturating_add(more));
            sum
        });
        self.columns = pairs.collect();
        self.step_ns *= 2;
    }

    /// Takes in another thread's.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.step_ns < other.step_ns {
            self.halve();
        }
        while other.step_ns < self.step_ns {
            other.halve();
        }
        if self.columns.len() < other.columns.len() {
            self.columns.resize(other.columns.len(), [0; ROWS]);
        }
        for (column, more) in self.columns.iter_mut().zip(&other.columns) {
            column.iter_mut().zip(more).for_each(|(cell, more)| *cell = cell.saturating_add(*more));
        }
    }

    /// The same in at most `count` columns.
    #[must_use]
    pub fn coarse(&self, count: usize) -> Self {
        let mut coarse = self.clone();
        while coarse.columns.len() > count.max(1) {
            coarse.halve();
        }
        coarse
    }

    /// As a grid of seconds and nanoseconds.
    #[must_use]
    pub fn grid(&self) -> Grid {
        let step_s = self.step_ns as f64 / NS_PER_S;
        Grid {
            columns: (0..=self.columns.len()).map(|column| column as f64 * step_s).collect(),
            rows: (0..=ROWS).map(edge_of).collect(),
            cells: self.columns.iter().map(|column| column.iter().map(|&n| u64::from(n)).collect()).collect(),
        }
        .trimmed()
    }

    /// Its columns in numbers. The last one, which the end of the run mostly cut short, is left out where there are others.
    #[must_use]
    pub fn moments(&self) -> Vec<Moment> {
        let step_s = self.step_ns as f64 / NS_PER_S;
        let whole = self.columns.len().saturating_sub(1).max(self.columns.len().min(1));
        let moment = |(place, column): (usize, &[u32; ROWS])| {
            let count: u64 = column.iter().map(|&n| u64::from(n)).sum();
            let at_s = (place as f64 + 0.5) * step_s;
            let (p50_ns, p99_ns) = (quantile(column, count, 0.5), quantile(column, count, 0.99));
            Moment { at_s, rate: count as f64 / step_s, p50_ns, p99_ns }
        };
        self.columns[..whole].iter().enumerate().map(moment).collect()
    }
}

fn row_of(latency_ns: u64) -> usize {
    let value = latency_ns.max(1 << FIRST_POWER);
    let power = value.ilog2();
    let quarter = (value >> (power - 2)) & 3;
    ((power - FIRST_POWER) as usize * 4 + quarter as usize).min(ROWS - 1)
}

/// The lower edge of a row.
fn edge_of(row: usize) -> f64 {
    let power = f64::from(FIRST_POWER) + (row / 4) as f64;
    power.exp2() * (1.0 + (row % 4) as f64 / 4.0)
}

fn quantile(column: &[u32; ROWS], count: u64, quantile: f64) -> f64 {
    let rank = ((count as f64 * quantile).ceil() as u64).max(1);
    let mut seen = 0;
    let row = column.iter().position(|&cell| {
        seen += u64::from(cell);
        seen >= rank
    });
    row.map_or(0.0, |row| f64::midpoint(edge_of(row), edge_of(row + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_what_lies_between_their_edges() {
        for latency_ns in [1_024, 1_279, 1_280, 5_000, 1_000_000, 999_999_999] {
            let row = row_of(latency_ns);
            let value = latency_ns as f64;
            assert!(edge_of(row) <= value && value < edge_of(row + 1), "{latency_ns}");
        }
        assert_eq!((row_of(0), row_of(u64::MAX)), (0, ROWS - 1));
    }

    #[test]
    fn long_runs_and_other_threads_lose_nothing() {
        let (mut long, mut short) = (Timeline::default(), Timeline::default());
        (0..1_000).for_each(|n| long.record(n * 100_000_000, 5_000));
        (0..10).for_each(|n| short.record(n, 9_000_000));
        short.merge(&long);
        assert!(short.columns.len() <= COLUMNS_MAX);
        let sum: u64 = short.grid().cells.iter().flatten().sum();
        assert_eq!(sum, 1_010);
        assert!(short.coarse(7).columns.len() <= 7);
    }

    #[test]
    fn moments_have_rates_and_quantiles() {
        let mut timeline = Timeline::default();
        (0..100).for_each(|n| timeline.record(5, if n < 98 { 10_000 } else { 1_000_000 }));
        timeline.record(25_000_000, 1);
        let moments = timeline.moments();
        assert_eq!((moments.len(), moments[0].rate, moments[1].rate), (2, 10_000.0, 0.0));
        assert!((8_000.0..13_000.0).contains(&moments[0].p50_ns), "{moments:?}");
        assert!((900_000.0..1_200_000.0).contains(&moments[0].p99_ns), "{moments:?}");
    }
}
