//! `check perf` and `check datascale`: load on a cluster, of the sizes that etcdctl has, and a verdict.

mod load;

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use clap::ArgMatches;
use windlass_api::etcdserverpb::{CompactionRequest, DefragmentRequest, DeleteRangeRequest, RangeRequest};
use windlass_client::{Client, Security, fetch};

use self::load::{Load, Report};
use super::{Outcome, Ran, Session, prefix_end};
use crate::exit::{Code, Failure};
use crate::flags;
use crate::output::Reply;

/// How long `check perf` writes.
const PERF_TIME: Duration = Duration::from_secs(60);
/// Bound of removing what was written.
const CLEANING_TIME_MAX: Duration = Duration::from_secs(30);
/// What `check perf` allows the slowest write and the deviation of all.
const SLOWEST_S_MAX: f64 = 0.5;
const DEVIATION_S_MAX: f64 = 0.1;

/// Name, writes a second, clients, and how many pairs `check datascale` writes.
const SIZES: [(&str, &str, u64, usize, u64); 4] = [
    ("s", "small", 150, 50, 10_000),
    ("m", "medium", 1000, 200, 100_000),
    ("l", "large", 8000, 500, 1_000_000),
    ("xl", "xLarge", 15_000, 1000, 3_000_000),
];

/// The command line.
pub fn command() -> clap::Command {
    let sub = |name: &'static str, about: &'static str, prefix: &'static str| {
        clap::Command::new(name).about(about).args([
            flags::text("load", "s", "s(mall), m(edium), l(arge) or xl(arge)"),
            flags::text("prefix", prefix, "what the keys start with"),
            flags::switch("auto-compact", "forget the history afterwards"),
            flags::switch("auto-defrag", "give the space back afterwards"),
            flags::positional("nothing").hide(true),
        ])
    };
    clap::Command::new("check").about("Whether a cluster can take a load").subcommands([
        sub("perf", "Writes at a steady rate for a minute", "/etcdctl-check-perf/"),
        sub("datascale", "Writes many keys and shows the memory that they take", "/etcdctl-check-datascale/"),
    ])
}

/// Runs the subcommand, if there is one.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Ran {
    let (name, matches) = matches.subcommand()?;
    Some(match name {
        "perf" => perf(matches, session),
        _ => data_scale(matches, session),
    })
}

fn perf(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let (rate, clients, _) = size(matches)?;
    let prefix = flags::string(matches, "prefix");
    refuse_keys(&mut session.client()?, prefix, "'")?;
    let load = Load {
        prefix,
        key_bytes: 256,
        value_bytes: 1024,
        rate: Some(rate),
        end: load::End::After(PERF_TIME),
    };
    let clients = connect(session, clients)?;
    let report = load.run(clients, progress(PERF_TIME.as_secs(), "s"));
    clean(matches, session, prefix)?;
    let (lines, is_passed) = verdict(&report, rate);
    let failure = (!is_passed).then(|| Failure::told(Code::Error));
    Ok(Outcome { failure, ..Reply::Text(lines.join("\n")).into() })
}

/// What etcdctl says of a report, and whether the cluster is fast enough.
fn verdict(report: &Report, rate: u64) -> (Vec<String>, bool) {
    let mut lines = failures(report);
    let mut is_passed = lines.is_empty();
    let mut judge = |is_good: bool, good: String, bad: String| {
        is_passed &= is_good;
        lines.push(if is_good { good } else { bad });
    };
    let (per_second, slowest, deviation) = (report.per_second(), report.slowest_s(), report.deviation_s());
    let shown = per_second as u64 + 1;
    judge(
        per_second / rate as f64 > 0.9,
        format!("PASS: Throughput is {shown} writes/s"),
        format!("FAIL: Throughput too low: {shown} writes/s"),
    );
    judge(
        slowest <= SLOWEST_S_MAX,
        format!("PASS: Slowest request took {slowest:.6}s"),
        format!("Slowest request took too long: {slowest:.6}s"),
    );
    judge(
        deviation <= DEVIATION_S_MAX,
        format!("PASS: Stddev is {deviation:.6}s"),
        format!("Stddev too high: {deviation:.6}s"),
    );
    lines.push(if is_passed { "PASS" } else { "FAIL" }.to_owned());
    (lines, is_passed)
}

fn failures(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.errors.is_empty() {
        lines.push("FAIL: too many errors".to_owned());
        lines.extend(report.errors.iter().map(|(error, times)| format!("FAIL: ERROR({error}) -> {times}")));
    }
    lines
}

fn data_scale(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let (_, clients, pairs) = size(matches)?;
    let prefix = flags::string(matches, "prefix");
    refuse_keys(&mut session.client()?, prefix, "")?;
    let before = memory_bytes(session, "before")?;
    writeln!(
        std::io::stdout(),
        "Start data scale check for work load [{pairs} key-value pairs, 1024 bytes per key-value, {clients} \
         concurrent clients]."
    )?;
    let load =
        Load { prefix, key_bytes: 512, value_bytes: 512, rate: None, end: load::End::AfterWrites(pairs) };
    let clients = connect(session, clients)?;
    let report = load.run(clients, progress(pairs, ""));
    let after = memory_bytes(session, "after")?;
    clean(matches, session, prefix)?;
    let lines = failures(&report);
    if !lines.is_empty() {
        let failure = Some(Failure::told(Code::Error));
        return Ok(Outcome { failure, ..Reply::Text(lines.join("\n")).into() });
    }
    let used = (after - before) / (1024.0 * 1024.0);
    Ok(Reply::Text(format!("PASS: Approximate system memory used : {used:.2} MB.")).into())
}

fn size(matches: &ArgMatches) -> Result<(u64, usize, u64), Failure> {
    let name = flags::string(matches, "load");
    let known = SIZES.iter().find(|(short, long, ..)| [*short, *long].contains(&name));
    let unknown = || Failure::new(Code::BadFeature, format!("unknown load option {name}"));
    known.map(|&(_, _, rate, clients, pairs)| (rate, clients, pairs)).ok_or_else(unknown)
}

fn connect(session: &mut Session, clients: usize) -> Result<Vec<Client>, Failure> {
    (0..clients).map(|_| session.client()).collect()
}

/// Keys that are there would be removed with those that are written. etcdctl quotes the remedy for one of the checks only.
fn refuse_keys(client: &mut Client, prefix: &str, quote: &str) -> Result<(), Failure> {
    let (key, range_end) = (prefix.to_owned().into(), prefix_end(prefix.as_bytes()).into());
    let found = client.range(&RangeRequest { key, range_end, limit: 1, ..Default::default() })?;
    if found.kvs.is_empty() {
        return Ok(());
    }
    let text = format!(
        "prefix {} has keys. Delete with {quote}etcdctl del --prefix {prefix}{quote} first",
        crate::go::quote(prefix.as_bytes())
    );
    Err(Failure::new(Code::InvalidInput, text))
}

fn clean(matches: &ArgMatches, session: &mut Session, prefix: &str) -> Result<(), Failure> {
    let timeout = session.config.command_timeout;
    session.config.command_timeout = timeout.max(CLEANING_TIME_MAX);
    let mut client = session.client()?;
    let (key, range_end) = (prefix.to_owned().into(), prefix_end(prefix.as_bytes()).into());
    let deleted = client.delete_range(&DeleteRangeRequest { key, range_end, prev_kv: false })?;
    let revision = deleted.header.unwrap_or_default().revision;
    let mut out = std::io::stdout();
    if flags::is_set(matches, "auto-compact") {
        writeln!(out, "Compacting with revision {revision}")?;
        client.compact(&CompactionRequest { revision, physical: true })?;
        writeln!(out, "Compacted with revision {revision}")?;
    }
    if flags::is_set(matches, "auto-defrag") {
        for endpoint in session.config.endpoints.clone() {
            writeln!(out, "Defragmenting \"{endpoint}\"")?;
            session.client_of(std::slice::from_ref(&endpoint))?.defragment(&DefragmentRequest {})?;
            writeln!(out, "Defragmented \"{endpoint}\"")?;
        }
    }
    session.config.command_timeout = timeout;
    Ok(())
}

/// What the first endpoint's process has in memory.
fn memory_bytes(session: &mut Session, when: &str) -> Result<f64, Failure> {
    let endpoint = session.config.endpoints.first().cloned().unwrap_or_default();
    let security =
        Security { tls: session.config.access.tls(vec![b"http/1.1".to_vec()])?, ..session.security()? };
    let text = fetch(&endpoint, &security, "/metrics", session.config.command_timeout);
    let bytes = text.ok().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")?.trim().parse().ok())
    });
    bytes.ok_or_else(|| {
        let text = format!("FAIL: Could not read process_resident_memory_bytes {when} the put operations.");
        Failure::new(Code::Error, text)
    })
}

/// Shows how far it is, where a person looks.
fn progress(whole: u64, unit: &'static str) -> impl Fn(u64) {
    let is_shown = std::io::stderr().is_terminal();
    let start = Instant::now();
    move |done| {
        if is_shown {
            let elapsed = start.elapsed().as_secs();
            // A progress bar that cannot be drawn is no reason to stop.
            let _ = write!(std::io::stderr(), "\r{done} of {whole}{unit}, {elapsed} s ");
            if done >= whole {
                let _ = writeln!(std::io::stderr());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_etcdctls() {
        let report = |latency_s: f64, writes: usize, errors: &[&str]| Report {
            latencies_s: vec![latency_s; writes],
            errors: errors.iter().map(|error| ((*error).to_owned(), 1)).collect(),
            took: Duration::from_secs(1),
        };
        let (lines, is_passed) = verdict(&report(0.001, 150, &[]), 150);
        let expected = [
            "PASS: Throughput is 151 writes/s",
            "PASS: Slowest request took 0.001000s",
            "PASS: Stddev is 0.000000s",
            "PASS",
        ];
        assert_eq!((lines, is_passed), (expected.map(str::to_owned).to_vec(), true));
        let (lines, is_passed) = verdict(&report(0.6, 100, &["no"]), 150);
        let expected = [
            "FAIL: too many errors",
            "FAIL: ERROR(no) -> 1",
            "FAIL: Throughput too low: 101 writes/s",
            "Slowest request took too long: 0.600000s",
            "PASS: Stddev is 0.000000s",
            "FAIL",
        ];
        assert_eq!((lines, is_passed), (expected.map(str::to_owned).to_vec(), false));
    }
}
