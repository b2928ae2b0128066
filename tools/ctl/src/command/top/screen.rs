//! What `top` draws, as lines of text: pure, so that it can be tested at any size.

use std::time::Duration;

use super::look::Histogram;
use super::rates::{Endpoint, Stage, State};
use crate::terminal::{Line, Weight};

pub use crate::terminal::Size;

/// The narrowest and the widest column of endpoints.
const ENDPOINT_COLUMNS: (usize, usize) = (12, 28);

/// What the other columns of the wider table need.
const REST_COLUMNS: usize = 61;

/// What is at the top: which program, how often it looks, and how it is ended.
pub fn title(interval: Duration, paused: bool) -> Line {
    let how = if paused { "paused".to_owned() } else { format!("every {interval:?}") };
    Line::new(Weight::Faint, format!("windlassctl top, {how}; p pauses, q quits"))
}

/// All lines for a terminal of that size. What does not fit below is left out from the end, and said so.
pub fn draw(endpoints: &[&Endpoint], size: Size) -> Vec<Line> {
    let mut lines = vec![summary(endpoints)];
    lines.push(Line::blank());
    let width = name_width(endpoints, size);
    lines.extend(loads(endpoints, width));
    lines.push(Line::blank());
    lines.extend(holdings(endpoints, width));
    if let Some((endpoint, state)) = timed(endpoints) {
        lines.push(Line::blank());
        lines.extend(stages(endpoint, state));
    }
    // One line is the title's.
    let room = size.rows.saturating_sub(1);
    if lines.len() > room {
        lines.truncate(room.saturating_sub(1));
        lines.push(Line::new(Weight::Faint, "… the terminal is too low for more"));
    }
    lines.iter_mut().for_each(|line| line.text = cut(&line.text, size.columns));
    lines
}

fn name_width(endpoints: &[&Endpoint], size: Size) -> usize {
    let longest = endpoints.iter().map(|one| name(one).chars().count()).max().unwrap_or(0);
    let (least, most) = ENDPOINT_COLUMNS;
    longest.clamp(least, most.min(size.columns.saturating_sub(REST_COLUMNS).max(least)))
}

/// The member's name beside its address, where both are short.
fn name(endpoint: &Endpoint) -> String {
    let address = endpoint.endpoint.split_once("://").map_or(&*endpoint.endpoint, |(_, address)| address);
    let (_, most) = ENDPOINT_COLUMNS;
    match &endpoint.state {
        Ok(state) if !state.now.name.is_empty() && address.len() + state.now.name.len() < most => {
            format!("{address} {}", state.now.name)
        }
        _ => address.to_owned(),
    }
}

fn summary(endpoints: &[&Endpoint]) -> Line {
    let answering: Vec<&State> = endpoints.iter().filter_map(|one| one.state.as_ref().ok()).collect();
    let mut parts = vec![format!("{} of {} answer", answering.len(), endpoints.len())];
    if let Some(cluster) = answering.iter().map(|state| &state.now.cluster).find(|id| !id.is_empty()) {
        parts.push(format!("cluster {cluster}"));
    }
    if let Some(term) = answering.iter().filter_map(|state| state.now.term).max() {
        parts.push(format!("term {term}"));
    }
    if let Some(revision) = answering.iter().map(|state| state.now.revision).max() {
        parts.push(format!("revision {revision}"));
    }
    let rate: f64 =
        answering.iter().filter_map(|state| Some(state.rates.as_ref()?.puts_per_s)).fold(0.0, f64::max);
    parts.push(format!("{} puts/s", short(rate)));
    Line::new(Weight::Plain, parts.join(", "))
}

/// What each endpoint does.
fn loads(endpoints: &[&Endpoint], width: usize) -> Vec<Line> {
    let head = format!(
        "{:width$} {:8} {:>7} {:>7} {:>6}  {:>8} {:>8}  {:>8}",
        "ENDPOINT", "ROLE", "PUTS/s", "FLUSH/s", "BATCH", "COMMIT50", "99", "FLUSH99"
    );
    let row = |one: &&Endpoint| {
        let name = fit(&name(one), width);
        let state = match &one.state {
            Err(why) => return Line::new(Weight::Alarm, format!("{name} {why}")),
            Ok(state) => state,
        };
        let rates = state.rates.as_ref();
        let figure = |of: &dyn Fn(&super::rates::Rates) -> Option<String>| {
            rates.and_then(of).unwrap_or_else(|| "-".into())
        };
        let time = |times: Option<&Histogram>, share| {
            times.and_then(|times| times.percentile_ns(share)).map(duration)
        };
        let text = format!(
            "{name} {:8} {:>7} {:>7} {:>6}  {:>8} {:>8}  {:>8}",
            state.now.role,
            figure(&|rates| Some(short(rates.puts_per_s))),
            figure(&|rates| Some(short(rates.flushes_per_s))),
            figure(&|rates| rates.commands_per_flush.filter(|_| state.now.role == "leader").map(short)),
            figure(&|rates| time(rates.commits.as_ref(), 0.5)),
            figure(&|rates| time(rates.commits.as_ref(), 0.99)),
            figure(&|rates| time(Some(&rates.writes), 0.99)),
        );
        let weight = if state.now.trouble.is_some() { Weight::Alarm } else { Weight::Plain };
        let trouble = state.now.trouble.as_ref().map(|trouble| format!("  {trouble}")).unwrap_or_default();
        Line::new(weight, text + &trouble)
    };
    std::iter::once(Line::new(Weight::Head, head)).chain(endpoints.iter().map(row)).collect()
}

/// What each endpoint holds, and what that takes.
fn holdings(endpoints: &[&Endpoint], width: usize) -> Vec<Line> {
    let head = format!(
        "{:width$} {:>8} {:>9} {:>7} {:>6} {:>7} {:>9} {:>5}",
        "ENDPOINT", "KEYS", "DB", "WATCH", "SLOW", "LEASES", "MEMORY", "CPU"
    );
    let row = |one: &&Endpoint| {
        let state = one.state.as_ref().ok()?;
        let now = &state.now;
        let leases = now.leases.map_or_else(|| "-".to_owned(), |leases| short(leases as f64));
        let cpu =
            state.rates.as_ref().map_or_else(|| "-".to_owned(), |rates| format!("{:.0}%", 100.0 * rates.cpu));
        let text = format!(
            "{} {:>8} {:>9} {:>7} {:>6} {leases:>7} {:>9} {cpu:>5}",
            fit(&name(one), width),
            short(now.keys as f64),
            bytes(now.bytes),
            short(now.watchers as f64),
            short(now.slow_watchers as f64),
            bytes(now.memory_bytes),
        );
        Some(Line::new(Weight::Plain, text))
    };
    std::iter::once(Line::new(Weight::Head, head)).chain(endpoints.iter().filter_map(row)).collect()
}

/// Where commits are timed: the leader, if it tells.
fn timed<'a>(endpoints: &[&'a Endpoint]) -> Option<(&'a Endpoint, &'a State)> {
    let states = endpoints.iter().filter_map(|one| Some((*one, one.state.as_ref().ok()?)));
    states.filter(|(_, state)| !state.now.stages.is_empty()).find(|(_, state)| state.now.role == "leader")
}

fn stages(endpoint: &Endpoint, state: &State) -> Vec<Line> {
    const BAR: usize = 24;
    let what = format!("STAGES of {}", cut(&name(endpoint), 28));
    let head = format!("{what:38} {:>5} {:>9} {:>9} {:>9}", "SHARE", "P50", "P99", "MAX");
    let row = |stage: &Stage| {
        let (bar, share) = match stage.share {
            Some(share) => {
                ("█".repeat((share * BAR as f64).round() as usize), format!("{:.0}%", 100.0 * share))
            }
            None => (String::new(), String::new()),
        };
        let time = |at| stage.times.percentile_ns(at).map_or_else(|| "-".to_owned(), duration);
        let (p50, p99, max) = (time(0.5), time(0.99), time(1.0));
        let name = stage.name.replace('_', " ");
        Line::new(Weight::Plain, format!("{name:13} {bar:BAR$} {share:>5} {p50:>9} {p99:>9} {max:>9}"))
    };
    let stages = state.rates.iter().flat_map(|rates| &rates.stages);
    std::iter::once(Line::new(Weight::Head, head)).chain(stages.map(row)).collect()
}

/// A text in exactly so many columns.
fn fit(text: &str, columns: usize) -> String {
    format!("{:columns$}", cut(text, columns))
}

/// A text in at most so many columns.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// A count with three digits: `12.3k`.
fn short(mut n: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let mut unit = 0;
    while n >= 999.5 && unit + 1 < UNITS.len() {
        (n, unit) = (n / 1000.0, unit + 1);
    }
    let digits = if n >= 99.95 || n.fract() == 0.0 || (unit == 0 && n >= 10.0) { 0 } else { 1 };
    format!("{n:.digits$}{}", UNITS[unit])
}

fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut n, mut unit) = (n as f64, 0);
    while n >= 1023.5 && unit + 1 < UNITS.len() {
        (n, unit) = (n / 1024.0, unit + 1);
    }
    let digits = usize::from(unit > 0 && n < 99.95);
    format!("{n:.digits$} {}", UNITS[unit])
}

fn duration(ns: f64) -> String {
    let (value, unit) = match ns {
        ..999.5 => (ns, "ns"),
        ..999_500.0 => (ns / 1e3, "us"),
        ..999_500_000.0 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let digits = if value >= 99.95 { 0 } else { 1 };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::top::look::Look;

    /// A leader that commits, a follower of it, and one that is gone.
    fn cluster() -> Vec<Endpoint> {
        let look = |member: &str, n: u64| {
            let state = serde_json::json!({
                "raft": { "cluster": "c1", "member": member, "leader": "a", "term": 3, "revision": 1000 + n, "applied": 9, "committed": 9 },
                "members": [{ "us": true, "name": format!("m-{member}") }],
                "store": { "puts": 1000 * n, "keys": 123_456, "bytes": 5 << 20 },
                "watches": { "watchers": 12 }, "leases": { "count": 3 },
                "process": { "resident_bytes": 300 << 20, "cpu_s": n as f64, "started_s": 5.0 },
                "commits": {
                    "bucket_starts_ns": [256, 1000, 2000, 4_000_000],
                    "flushes": 100 * n, "commands": 800 * n, "bytes": 1,
                    "answered": { "sum_ns": 9000 * n, "counts": if member == "a" { vec![[1, 98 * n], [2, 2 * n]] } else { vec![] } },
                    "stages": [
                        { "stage": "queue", "sum_ns": 1000 * n, "counts": [[0, 100 * n]] },
                        { "stage": "device_write", "sum_ns": 3000 * n, "counts": [[1, 100 * n]] },
                        { "stage": "shard_install", "sum_ns": 9000 * n, "counts": [[2, 100 * n]] },
                    ],
                },
            });
            Look::of_windlass(&state)
        };
        let between = |endpoint: &str, member: &str| {
            let (mut before, now) = (look(member, 1), look(member, 3));
            before.at = now.at - Duration::from_secs(2);
            Endpoint::between(endpoint, Some(&before), &now)
        };
        vec![
            between("http://10.0.0.1:2379", "a"),
            between("10.0.0.2:2379", "b"),
            Endpoint::silent("etcd-3.a-long-name.example.org:2379", "connection refused"),
        ]
    }

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| format!("{}\n", line.text.trim_end())).collect()
    }

    #[test]
    fn a_cluster_fits_eighty_columns() {
        let endpoints = cluster();
        let shown: Vec<&Endpoint> = endpoints.iter().collect();
        let lines = draw(&shown, Size { columns: 80, rows: 24 });
        assert!(lines.iter().all(|line| line.text.chars().count() <= 80), "{}", text(&lines));
        let expected = "\
2 of 3 answer, cluster c1, term 3, revision 1003, 1k puts/s

ENDPOINT            ROLE      PUTS/s FLUSH/s  BATCH  COMMIT50       99   FLUSH99
10.0.0.1:2379 m-a   leader        1k     100      8    1.5 us   2.0 ms    2.0 us
";
        let first: String = text(&lines).lines().take(4).map(|line| format!("{line}\n")).collect();
        assert_eq!(first, expected, "{}", text(&lines));
        assert_eq!(lines[5].weight, Weight::Alarm);
        assert!(text(&lines).contains("device write  ██████████████████"), "{}", text(&lines));
    }

    #[test]
    fn what_does_not_fit_is_said_to_be_left_out() {
        let endpoints = cluster();
        let shown: Vec<&Endpoint> = endpoints.iter().collect();
        let lines = draw(&shown, Size { columns: 40, rows: 8 });
        assert_eq!(lines.len(), 7);
        assert!(lines.iter().all(|line| line.text.chars().count() <= 40));
        assert!(lines[6].text.contains("too low"));
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.0, 7.25, 12.3, 999.0, 1234.0, 250_000.0].map(short),
            ["0", "7.2", "12", "999", "1.2k", "250k"]
        );
        assert_eq!([5, 2048, 5 << 20, 300 << 20].map(bytes), ["5 B", "2.0 KiB", "5.0 MiB", "300 MiB"]);
        assert_eq!([12.0, 12_345.0, 2.5e6, 3e9].map(duration), ["12.0 ns", "12.3 us", "2.5 ms", "3.0 s"]);
    }
}
