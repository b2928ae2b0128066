//! The report as a page with plots.

use serde::{Serialize, Serializer};
use windlass_report::chart::{self, Frame, Series};
use windlass_report::heat::heat_map;
use windlass_report::units::{Unit, bytes, ns, thousands};
use windlass_report::{Axis, Page, Table};

use super::{Report, Section};
use crate::timeline::Timeline;

/// Columns of plots over time: more would be thinner than a point.
const COLUMNS_MAX: usize = 160;

/// A plot with a name that is good for a file.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Such as `put-latency`.
    pub name: String,
    /// The plot.
    pub svg: String,
}

/// The plots of one report.
#[must_use]
pub fn plots_of(report: &Report) -> Vec<Plot> {
    let named = |name: &str, svg| Plot { name: format!("{}-{name}", report.load), svg };
    let mut plots = vec![named("rate", rate(report)), named("percentiles", percentiles(report))];
    for section in report.sections.iter().filter(|section| section.requests > 0) {
        plots.push(named(&format!("{}-latency", section.name.replace(' ', "-")), latency(section)));
    }
    plots
}

fn rate(report: &Report) -> String {
    let series = report.sections.iter().map(|section| {
        let moments = section.timeline.coarse(COLUMNS_MAX).moments();
        Series::new(section.name.clone(), moments.iter().map(|moment| (moment.at_s, moment.rate)).collect())
    });
    let frame = Frame {
        title: "Answers per second",
        x: Axis::linear("time of the run", Unit::Seconds),
        y: Axis::linear("answers per second", Unit::Count),
    };
    chart::lines(&frame, &series.collect::<Vec<_>>())
}

fn percentiles(report: &Report) -> String {
    let series = report.sections.iter();
    let series = series.map(|section| Series::new(section.name.clone(), section.latency_ns.curve.clone()));
    let frame = Frame {
        title: "Latency of the slowest request in so many",
        x: Axis::log("one request in", Unit::Count),
        y: Axis::log("latency", Unit::Ns),
    };
    chart::lines(&frame, &series.collect::<Vec<_>>())
}

fn latency(section: &Section) -> String {
    let frame = Frame {
        title: &format!("Latency of {} over time (darker: more requests)", section.name),
        x: Axis::linear("time of the run", Unit::Seconds),
        y: Axis::log("latency", Unit::Ns),
    };
    heat_map(&frame, &section.timeline.coarse(COLUMNS_MAX).grid())
}

impl Report {
    /// As a page.
    #[must_use]
    pub fn to_page(&self) -> Page {
        let mut page = Page::new(&format!("windlass-bench {}", self.load));
        page.lead(&format!(
            "{} requests in {:.2} s: {} per second.",
            thousands(self.requests() as f64),
            self.total_s,
            thousands(self.requests_per_s()),
        ));
        page.table(&self.table());
        plots_of(self).iter().for_each(|plot| page.plot(&plot.svg));
        page.heading("In full");
        page.text(&self.to_string());
        page
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["requests", "per second", "p50", "p99", "p99.9", "slowest"]);
        for section in &self.sections {
            let latency = &section.latency_ns;
            table.row([
                section.name.clone(),
                thousands(section.requests_per_s),
                ns(latency.at(50.0)),
                ns(latency.at(99.0)),
                ns(latency.at(99.9)),
                ns(latency.slowest),
            ]);
        }
        for used in self.used() {
            let cpu = format!("{:.2} us CPU", used.cpu_us_per_request);
            let written = format!("{} written", bytes(used.written_bytes_per_request as u64));
            let resident =
                format!("{} resident, {} at most", bytes(used.resident_bytes), bytes(used.peak_bytes));
            table.row([used.name.clone(), cpu, written, resident, String::new(), String::new()]);
        }
        table
    }
}

/// Writes a timeline as its moments.
pub fn moments<S: Serializer>(timeline: &Timeline, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row {
        at_s: f64,
        requests_per_s: f64,
        p50_ns: f64,
        p99_ns: f64,
    }
    let rows = timeline.coarse(COLUMNS_MAX).moments().into_iter().map(|moment| Row {
        at_s: moment.at_s,
        requests_per_s: moment.rate,
        p50_ns: moment.p50_ns,
        p99_ns: moment.p99_ns,
    });
    serializer.collect_seq(rows)
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn a_page_shows_figures_and_plots() {
        let html = report().to_page().to_html(&report().machine);
        for part in [
            "1,000 requests",
            "Answers per second",
            "one request in",
            "Latency of put over time",
            "Error distribution",
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert_eq!(html.matches("<svg").count(), 3);
        let names: Vec<_> = plots_of(&report()).into_iter().map(|plot| plot.name).collect();
        assert_eq!(names, ["put-rate", "put-percentiles", "put-put-latency"]);
    }
}
