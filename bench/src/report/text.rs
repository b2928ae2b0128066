//! The report for a terminal, in the shape of etcd's benchmark.

use std::fmt::{Display, Formatter, Result};

use windlass_report::units::{bytes, ns, thousands};

use super::{Process, Report, Section};

const NS_PER_S: f64 = 1e9;
/// Length of the longest bar: etcd's benchmark's.
const BAR_LEN: u64 = 40;

/// How figures are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// All digits that there are, not four behind the point.
    pub precise: bool,
    /// Also the requests of each second.
    pub sample: bool,
}

/// A report as text.
pub(super) struct Text<'a> {
    pub report: &'a Report,
    pub figures: Figures,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        Text { report: self, figures: Figures::default() }.fmt(f)
    }
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let report = self.report;
        let many = report.sections.len() > 1;
        report.sections.iter().try_for_each(|section| self.write_section(f, section, many))?;
        report.write_usage(f)?;
        report.write_repeats(f)?;
        if !report.notes.is_empty() {
            writeln!(f, "\nNotes:")?;
            report.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))?;
        }
        if !report.errors.is_empty() {
            writeln!(f, "\nError distribution:")?;
            report.errors.iter().try_for_each(|(why, count)| writeln!(f, "  [{count}]\t{why}"))?;
        }
        if report.is_saturated() {
            let percent = report.own_busy * 100.0;
            writeln!(
                f,
                "\nWarning: the load generator was busy {percent:.0}% of the time: it, not the server, is what limits these figures. Give it more --threads, or a slower load."
            )?;
        }
        Ok(())
    }
}

impl Text<'_> {
    /// A number as etcd's benchmark writes it: four digits behind the point, or six where it is of seconds.
    fn number(&self, value: f64, digits: usize) -> String {
        if self.figures.precise { value.to_string() } else { format!("{value:.digits$}") }
    }

    fn write_section(&self, f: &mut Formatter<'_>, section: &Section, many: bool) -> Result {
        let latency = &section.latency_ns;
        let seconds = |ns: f64| self.number(ns / NS_PER_S, 6);
        match many {
            true => writeln!(f, "\nSummary of {}:", section.name)?,
            false => writeln!(f, "\nSummary:")?,
        }
        writeln!(f, "  Total:\t{} secs.", self.number(self.report.total_s, 4))?;
        writeln!(f, "  Slowest:\t{} secs.", seconds(latency.slowest as f64))?;
        writeln!(f, "  Fastest:\t{} secs.", seconds(latency.fastest as f64))?;
        writeln!(f, "  Average:\t{} secs.", seconds(latency.average))?;
        writeln!(f, "  Stddev:\t{} secs.", seconds(latency.stddev))?;
        writeln!(f, "  Requests/sec:\t{}", self.number(section.requests_per_s, 4))?;
        writeln!(f, "\nResponse time histogram:")?;
        let most = latency.histogram.iter().map(|(_, count)| *count).max().unwrap_or(0);
        for (edge, count) in &latency.histogram {
            let len = (count * BAR_LEN).checked_div(most).unwrap_or(0);
            writeln!(f, "  {} [{count}]\t|{}", seconds(*edge as f64), "∎".repeat(len as usize))?;
        }
        writeln!(f, "\nLatency distribution:")?;
        for (percent, ns) in &latency.percentiles {
            writeln!(f, "  {percent}% in {} secs.", seconds(*ns as f64))?;
        }
        if self.figures.sample { self.write_sample(f, section) } else { Ok(()) }
    }

    /// The requests of each second, in the shape of etcd's benchmark.
    fn write_sample(&self, f: &mut Formatter<'_>, section: &Section) -> Result {
        writeln!(f, "\nSample in one second (unix latency throughput):")?;
        writeln!(f, "UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT")?;
        let ms = |ns: f64| self.number(ns / 1e6, 4);
        for (place, second) in section.seconds.iter() {
            let at_s = self.report.began_unix_s + place as u64;
            let average_ns = second.sum_ns as f64 / second.count as f64;
            let (fastest, slowest) = (ms(second.fastest_ns as f64), ms(second.slowest_ns as f64));
            writeln!(f, "{at_s},{fastest},{},{slowest},{}", ms(average_ns), second.count)?;
        }
        Ok(())
    }
}

impl Report {
    fn write_usage(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "\nProcesses:")?;
        for Process { pid, usage } in &self.processes {
            let Some(used) = usage else {
                writeln!(f, "  {pid}\tended during the run")?;
                continue;
            };
            writeln!(
                f,
                "  {pid} ({})\t{:.2} us CPU and {:.0} bytes written per request, {} resident, {} at most",
                used.name,
                used.cpu_us_per_request,
                used.written_bytes_per_request,
                bytes(used.resident_bytes),
                bytes(used.peak_bytes),
            )?;
        }
        let (cpu_us, percent) = (self.own_cpu_us_per_request, self.own_busy * 100.0);
        writeln!(f, "  load generator\t{cpu_us:.2} us CPU per request, busy {percent:.0}% of the time")
    }

    fn write_repeats(&self, f: &mut Formatter<'_>) -> Result {
        if self.repeats.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nRuns (the one with the median rate is above):")?;
        for repeat in &self.repeats {
            writeln!(
                f,
                "  {} requests/sec, p50 {}, p99 {}, {:.2} us server CPU per request",
                thousands(repeat.requests_per_s),
                ns(repeat.p50_ns),
                ns(repeat.p99_ns),
                repeat.cpu_us_per_request,
            )?;
        }
        let mut rates: Vec<_> = self.repeats.iter().map(|repeat| repeat.requests_per_s).collect();
        rates.sort_by(f64::total_cmp);
        let (low, median, high) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
        writeln!(
            f,
            "  median {}, from {} to {}: spread {:.1}%",
            thousands(median),
            thousands(low),
            thousands(high),
            (high - low) / median * 100.0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::Figures;

    #[test]
    fn figures_are_precise_and_by_the_second_where_that_is_asked_for() {
        let mut report = report();
        report.began_unix_s = 1_000;
        let text = report.with(Figures { precise: true, sample: true }).to_string();
        assert!(text.contains("  Total:\t0.5 secs.\n"), "{text}");
        let header = "UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT";
        assert!(text.contains(&format!("(unix latency throughput):\n{header}\n1000,0.001,")), "{text}");
        assert!(!report.to_string().contains("UNIX-SECOND"));
    }

    #[test]
    fn text_has_the_shape_of_etcds_benchmark() {
        let text = report().to_string();
        let lines: Vec<_> = text.lines().collect();
        let want = "
Summary:
  Total:\t0.5000 secs.
  Slowest:\t0.001000 secs.
  Fastest:\t0.000001 secs.
  Average:\t0.000501 secs.
  Stddev:\t0.000289 secs.
  Requests/sec:\t2000.0000

Response time histogram:
  0.000001 [1]\t|
  0.000101 [99]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎";
        assert_eq!(lines[..want.lines().count()], want.lines().collect::<Vec<_>>());
        let want = "
Latency distribution:
  10% in 0.000100 secs.
  25% in 0.000250 secs.
  50% in 0.000500 secs.
  75% in 0.000750 secs.
  90% in 0.000900 secs.
  95% in 0.000950 secs.
  99% in 0.000990 secs.
  99.9% in 0.001000 secs.
  99.99% in 0.001000 secs.

Processes:
  7 (server)\t20.00 us CPU and 512 bytes written per request, 3 MiB resident, 4 MiB at most
  load generator\t3.00 us CPU per request, busy 1% of the time

Error distribution:
  [2]\tetcdserver: too many requests\n";
        assert!(text.ends_with(want), "{text}");
    }
}
