//! What `top` draws, as lines of text: pure, so that it can be tested at any size.

use std::time::Duration;

use super::look::Histogram;
use super::rates::{Endpoint, Stage, State};
use crate::terminal::{Line, Weight};

pub use crate::terminal::Size;

/// The narrowest and the widest column of endpoints.
const ENDPOINT_COLUMNS: (usize, usize) = (12, 28);

/// The columns of stages: their names, and bars beside them.
const STAGE_COLUMNS: usize = 13;
const BAR_COLUMNS: usize = 24;

/// A column of a table, right of its first.
struct Column {
    head: &'static str,
    /// What it is called where others are left out.
    alone: &'static str,
    /// With the gap before it.
    width: usize,
    /// Where not all fit, those with the least stay.
    rank: usize,
    side: Side,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

const fn column(head: &'static str, width: usize, rank: usize) -> Column {
    Column { head, alone: head, width, rank, side: Side::Right }
}

const LOADS: &[Column] = &[
    Column { side: Side::Left, ..column("ROLE", 9, 3) },
    column("PUTS/s", 8, 0),
    column("FLUSH/s", 8, 4),
    column("BATCH", 7, 6),
    column("COMMIT50", 10, 5),
    Column { alone: "COMMIT99", ..column("99", 9, 1) },
    column("FLUSH99", 10, 2),
];
const HOLDINGS: &[Column] = &[
    column("KEYS", 9, 1),
    column("DB", 10, 0),
    column("WATCH", 8, 5),
    column("SLOW", 7, 6),
    column("LEASES", 8, 4),
    column("MEMORY", 10, 2),
    column("CPU", 6, 3),
];
const STAGES: &[Column] =
    &[column("SHARE", 6, 0), column("P50", 10, 2), column("P99", 10, 1), column("MAX", 10, 3)];

/// Which columns of a table are shown, and how.
struct Table {
    columns: &'static [Column],
    shown: Vec<bool>,
    /// Of the first column.
    width: usize,
    /// Columns that are left beside it.
    room: usize,
}

impl Table {
    /// With as many columns as there is room for.
    fn new(columns: &'static [Column], width: usize, size: Size) -> Self {
        let mut by_rank: Vec<usize> = (0..columns.len()).collect();
        by_rank.sort_by_key(|&place| columns[place].rank);
        let mut room = size.columns.saturating_sub(width);
        let mut shown = vec![false; columns.len()];
        for place in by_rank {
            let Some(left) = room.checked_sub(columns[place].width) else { continue };
            (room, shown[place]) = (left, true);
        }
        Self { columns, shown, width, room }
    }

    fn head(&self, first: &str) -> Line {
        let is_whole = self.shown.iter().all(|shown| *shown);
        let heads = self.columns.iter().map(|one| if is_whole { one.head } else { one.alone });
        Line::new(Weight::Head, self.line(first, heads.map(str::to_owned)))
    }

    fn line(&self, first: &str, cells: impl IntoIterator<Item = String>) -> String {
        let mut text = fit(first, self.width);
        let cells = self.columns.iter().zip(cells).zip(&self.shown).filter(|(_, shown)| **shown);
        for ((column, cell), _) in cells {
            let width = column.width;
            match column.side {
                Side::Left => text += &format!(" {cell:0$}", width - 1),
                Side::Right => text += &format!("{cell:>width$}"),
            }
        }
        text
    }
}

/// What is at the top: which program, how often it looks, and how it is ended.
pub fn title(interval: Duration, paused: bool, size: Size) -> Line {
    let how = if paused { "paused".to_owned() } else { format!("every {interval:?}") };
    let whole = format!("windlassctl top, {how}; p pauses, q quits");
    let text = if whole.len() <= size.columns { whole } else { format!("q quits, p pauses, {how}") };
    Line::new(Weight::Faint, text)
}

/// All lines for a terminal of that size. What does not fit below is left out from the end, and said so.
pub fn draw(endpoints: &[&Endpoint], size: Size) -> Vec<Line> {
    let mut lines = vec![summary(endpoints, size)];
    lines.push(Line::blank());
    let width = name_width(endpoints, size);
    lines.extend(loads(endpoints, width, size));
    lines.push(Line::blank());
    lines.extend(holdings(endpoints, width, size));
    if let Some((endpoint, state)) = timed(endpoints) {
        lines.push(Line::blank());
        lines.extend(stages(endpoint, state, size));
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
    let (least, most) = ENDPOINT_COLUMNS;
    let longest = endpoints.iter().map(|one| name(one, most).chars().count()).max().unwrap_or(0);
    let spare = Table::new(LOADS, least, size).room;
    longest.clamp(least, most.min(least.saturating_add(spare)))
}

/// The address in at most so many columns, and the member's name beside it where there is room. Of a long address the end
/// tells most.
fn name(endpoint: &Endpoint, columns: usize) -> String {
    let address = endpoint.endpoint.split_once("://").map_or(&*endpoint.endpoint, |(_, address)| address);
    let length = address.chars().count();
    match &endpoint.state {
        Ok(state) if !state.now.name.is_empty() && length + state.now.name.chars().count() < columns => {
            format!("{address} {}", state.now.name)
        }
        _ if length <= columns => address.to_owned(),
        _ => std::iter::once('…').chain(address.chars().skip(length + 1 - columns)).collect(),
    }
}

fn summary(endpoints: &[&Endpoint], size: Size) -> Line {
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
    // What changes least goes first.
    while parts.len() > 2 && parts.join(", ").len() > size.columns {
        parts.remove(1);
    }
    Line::new(Weight::Plain, parts.join(", "))
}

/// What each endpoint does.
fn loads(endpoints: &[&Endpoint], width: usize, size: Size) -> Vec<Line> {
    let table = Table::new(LOADS, width, size);
    let row = |one: &&Endpoint| {
        let name = name(one, width);
        let state = match &one.state {
            Err(why) => return Line::new(Weight::Alarm, silent(&fit(&name, width), why, size)),
            Ok(state) => state,
        };
        let rates = state.rates.as_ref();
        let figure = |of: &dyn Fn(&super::rates::Rates) -> Option<String>| {
            rates.and_then(of).unwrap_or_else(|| "-".into())
        };
        let time = |times: Option<&Histogram>, share| {
            times.and_then(|times| times.percentile_ns(share)).map(duration)
        };
        let cells = [
            state.now.role.to_string(),
            figure(&|rates| Some(short(rates.puts_per_s))),
            figure(&|rates| Some(short(rates.flushes_per_s))),
            figure(&|rates| rates.commands_per_flush.filter(|_| state.now.role == "leader").map(short)),
            figure(&|rates| time(rates.commits.as_ref(), 0.5)),
            figure(&|rates| time(rates.commits.as_ref(), 0.99)),
            figure(&|rates| time(Some(&rates.writes), 0.99)),
        ];
        let weight = if state.now.trouble.is_some() { Weight::Alarm } else { Weight::Plain };
        let trouble = state.now.trouble.as_ref().map(|trouble| format!("  {trouble}")).unwrap_or_default();
        Line::new(weight, table.line(&name, cells) + &trouble)
    };
    std::iter::once(table.head("ENDPOINT")).chain(endpoints.iter().map(row)).collect()
}

/// Why an endpoint says nothing. Where there is no room its address is not named again.
fn silent(name: &str, why: &str, size: Size) -> String {
    let whole = format!("{name} {why}");
    match why.split_once(" lost: ") {
        Some((_, cause)) if whole.chars().count() > size.columns => format!("{name} {cause}"),
        _ => whole,
    }
}

/// What each endpoint holds, and what that takes.
fn holdings(endpoints: &[&Endpoint], width: usize, size: Size) -> Vec<Line> {
    let table = Table::new(HOLDINGS, width, size);
    let row = |one: &&Endpoint| {
        let state = one.state.as_ref().ok()?;
        let now = &state.now;
        let cells = [
            short(now.keys as f64),
            bytes(now.bytes),
            short(now.watchers as f64),
            short(now.slow_watchers as f64),
            now.leases.map_or_else(|| "-".to_owned(), |leases| short(leases as f64)),
            bytes(now.memory_bytes),
            state.rates.as_ref().map_or_else(|| "-".to_owned(), |rates| format!("{:.0}%", 100.0 * rates.cpu)),
        ];
        Some(Line::new(Weight::Plain, table.line(&name(one, width), cells)))
    };
    std::iter::once(table.head("ENDPOINT")).chain(endpoints.iter().filter_map(row)).collect()
}

/// Where commits are timed: the leader, if it tells.
fn timed<'a>(endpoints: &[&'a Endpoint]) -> Option<(&'a Endpoint, &'a State)> {
    let states = endpoints.iter().filter_map(|one| Some((*one, one.state.as_ref().ok()?)));
    states.filter(|(_, state)| !state.now.stages.is_empty()).find(|(_, state)| state.now.role == "leader")
}

fn stages(endpoint: &Endpoint, state: &State, size: Size) -> Vec<Line> {
    let figures: usize = STAGES.iter().map(|column| column.width).sum();
    let has_bars = size.columns > STAGE_COLUMNS + BAR_COLUMNS + figures;
    let width = if has_bars { STAGE_COLUMNS + 1 + BAR_COLUMNS } else { STAGE_COLUMNS };
    let table = Table::new(STAGES, width, size);
    let row = |stage: &Stage| {
        let name = stage.name.replace('_', " ");
        let bar = stage.share.map_or(0, |share| (share * BAR_COLUMNS as f64).round() as usize);
        let first = if has_bars { format!("{name:STAGE_COLUMNS$} {}", "█".repeat(bar)) } else { name };
        let share = stage.share.map(|share| format!("{:.0}%", 100.0 * share)).unwrap_or_default();
        let time = |at| stage.times.percentile_ns(at).map_or_else(|| "-".to_owned(), duration);
        Line::new(Weight::Plain, table.line(&first, [share, time(0.5), time(0.99), time(1.0)]))
    };
    let head = if has_bars { format!("STAGES of {}", name(endpoint, 28)) } else { "STAGES".to_owned() };
    let stages = state.rates.iter().flat_map(|rates| &rates.stages);
    std::iter::once(table.head(&head)).chain(stages.map(row)).collect()
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
    fn forty_columns_have_what_matters_most() {
        let endpoints = cluster();
        let shown: Vec<&Endpoint> = endpoints.iter().collect();
        let size = Size { columns: 40, rows: 30 };
        let lines = draw(&shown, size);
        let expected = "\
2 of 3 answer, revision 1003, 1k puts/s

ENDPOINT       PUTS/s COMMIT99   FLUSH99
10.0.0.1:2379      1k   2.0 ms    2.0 us
10.0.0.2:2379      1k        -    2.0 us
…ple.org:2379 connection refused

ENDPOINT          KEYS        DB   CPU
10.0.0.1:2379     123k   5.0 MiB  100%
10.0.0.2:2379     123k   5.0 MiB  100%

STAGES        SHARE       P50       P99
";
        let first: String = text(&lines).lines().take(12).map(|line| format!("{line}\n")).collect();
        assert_eq!(first, expected, "{}", text(&lines));
        assert!(title(Duration::from_secs(1), false, size).text.len() <= 40);
        for columns in 1..100 {
            let lines = draw(&shown, Size { columns, rows: 30 });
            assert!(
                lines.iter().all(|line| line.text.chars().count() <= columns),
                "{columns}: {}",
                text(&lines)
            );
        }
    }

    #[test]
    fn an_endpoint_that_is_lost_says_why_where_there_is_room_for_that_alone() {
        let why = "connection to 10.0.0.1:2379 lost: Connection refused";
        assert!(silent("10.0.0.1:2379", why, Size::UNBOUNDED).ends_with(why));
        let narrow = silent("10.0.0.1:2379", why, Size { columns: 40, rows: 9 });
        assert_eq!(narrow, "10.0.0.1:2379 Connection refused");
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
