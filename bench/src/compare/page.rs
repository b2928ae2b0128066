//! A comparison as a page with plots.

use windlass_report::units::Unit;
use windlass_report::{Axis, Page, chart};

use super::{Comparison, Figures, LABELS};

/// Groups of bars in one plot: more would be too narrow for their names.
const GROUPS_MAX: usize = 8;

impl Comparison {
    /// Plots by name.
    #[must_use]
    pub fn plots(&self) -> Vec<(String, String)> {
        let mut plots = Vec::new();
        for (part, rows) in self.rows.chunks(GROUPS_MAX).enumerate() {
            let names: Vec<_> = rows.iter().map(|row| row.name.clone()).collect();
            let mut plot = |name: &str, title: &str, axis: Axis<'_>, figure: fn(&Figures) -> f64| {
                let series = [0, 1].map(|place| {
                    // A load that failed, or that took less than the kernel counts, has nothing: no bar.
                    let values = rows.iter().map(|row| figure(&row.systems[place]));
                    (LABELS[place].to_owned(), values.collect::<Vec<_>>())
                });
                plots.push((
                    format!("compare-{name}-{}", part + 1),
                    chart::bars(title, axis, &names, &series),
                ));
            };
            let count = Axis::log("per second", Unit::Count);
            plot("rate", "Answers per second (higher is better)", count, |figures| figures.per_s);
            let cpu = Axis::log("CPU time for each", Unit::Ns);
            plot("cpu", "Server CPU for each (lower is better)", cpu, |figures| figures.cpu_us * 1e3);
            let p99 = Axis::log("latency", Unit::Ns);
            plot("p99", "p99 latency (lower is better)", p99, |figures| figures.p99_ns);
        }
        plots
    }

    /// As a page.
    #[must_use]
    pub fn to_page(&self) -> Page {
        let mut page = Page::new("Windlass and etcd side by side");
        page.lead(&self.headline());
        self.failures.iter().for_each(|failure| page.paragraph(&format!("FAILED: {failure}")));
        page.table(&self.table());
        self.plots().iter().for_each(|(_, svg)| page.plot(svg));
        page.heading("What it took");
        page.table(&self.resources());
        page.heading("The loads");
        self.rows.iter().for_each(|row| page.paragraph(&format!("{}: {}", row.name, row.what)));
        page
    }
}
