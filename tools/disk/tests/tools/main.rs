//! The tools used for real, for seconds: a probe of the disk under the temporary files, and a started server that is
//! profiled under load and tuned.

#[path = "../../../../bench/tests/built/mod.rs"]
mod built;
mod elsewhere;
mod live;
mod signals;

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use windlass_bench::keys::{Keys, Spread};
use windlass_bench::plan::{After, Job, Plan, Reach};
use windlass_bench::workload::{Shape, Workload};
use windlass_disk::probe::memory;
use windlass_disk::settings::Settings;
use windlass_disk::tune::VARIED;

use built::windlass;

fn disk(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_windlass-disk")).args(arguments).output().expect("runs")
}

fn json(arguments: &[&str]) -> Value {
    let output = disk(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).expect("is JSON")
}

#[test]
fn a_probe_measures_leaves_nothing_and_writes_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("is UTF-8");
    let page = folder.path().join("page.html");
    let report = json(&[
        "probe",
        path,
        "--seconds",
        "3",
        "--json",
        "--html",
        page.to_str().expect("is UTF-8"),
        "--write-settings",
        path,
    ]);
    let cells = report["cells"].as_array().expect("has cells");
    assert!(cells.iter().any(|cell| cell["sync"] == "dsync" && cell["extents"] == "rewritten"), "{report}");
    assert!(cells.iter().all(|cell| cell["writes"].as_u64() > Some(0)), "{report}");
    let mut left: Vec<_> = std::fs::read_dir(path)
        .expect("is there")
        .map(|entry| entry.expect("is there").file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["page.html", "windlass.settings"]);
    let settings = std::fs::read_to_string(folder.path().join("windlass.settings")).expect("was written");
    assert!(settings.contains("\nsync-mode = ") && settings.contains("\nflush-depth = "), "{settings}");
}

/// The server says itself how much it would have locked.
#[test]
fn the_probe_knows_how_much_a_server_locks() {
    let Some(program) = windlass() else { return };
    let can_run = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let is_root = rustix::process::geteuid().is_root();
    if !can_run("prlimit") || (is_root && !can_run("setpriv")) {
        assert!(std::env::var_os("CI").is_none(), "util-linux is not there");
        eprintln!("skipped: util-linux, which sets limits, is not there");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("prlimit");
    command.arg("--memlock=65536");
    if is_root {
        command.args(["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"]);
    }
    command
        .arg(program)
        .args(["--flush-depth=8", "--shards=3", "--data-dir"])
        .arg(folder.path().join("data"));
    let output = command.output().expect("runs");
    let error = String::from_utf8_lossy(&output.stderr);
    let needed = format!("{} KiB of memory must be locked", memory::needed_bytes(8, 3).div_ceil(1024));
    assert!(output.status.code() == Some(21) && error.contains(&needed), "{needed}: {error}");
}

#[test]
fn a_probe_of_nowhere_is_refused_in_a_sentence() {
    let output = disk(&["probe", "/nowhere"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
}

#[test]
fn what_cannot_be_written_is_said_before_anything_is_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("is UTF-8");
    for flag in ["--html", "--write-settings"] {
        let output = disk(&["probe", path, "--seconds", "1", flag, "/nowhere/file"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
        assert!(error.contains("/nowhere/file") && output.stdout.is_empty(), "{error}");
    }
}

#[test]
fn a_report_that_nobody_reads_is_no_failure_and_one_that_does_not_fit_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let probe = |out: Stdio| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_windlass-disk"));
        tool.arg("probe").arg(folder.path()).args(["--seconds", "1", "--write-max", "128"]);
        tool.stdout(out).stderr(Stdio::piped());
        let output = tool.spawn().expect("runs").wait_with_output().expect("ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(probe(writer.into()), (Some(0), String::new()));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("there is one");
    let (code, error) = probe(full.into());
    assert!(
        code == Some(1) && error.contains("cannot print the report") && error.lines().count() == 1,
        "{error}"
    );
}

/// Puts at a rate for three seconds, so that there is load for as long as a profile takes.
fn loader(endpoint: &str) -> std::thread::JoinHandle<windlass_bench::Report> {
    let endpoint = endpoint.parse().expect("is one");
    let reach = Reach { conns: 2, clients: 20, ..Reach::narrow(vec![endpoint]) };
    let keys = Keys::new(100, Spread::Uniform, 1);
    let workload = Workload::put(Shape { keys, key_bytes: 8, value_bytes: 100, seed: 1 });
    let load = reach.load(6_000, std::num::NonZeroU64::new(2_000), workload);
    let plan = Plan {
        name: "put",
        job: Job::Load(Box::new(load)),
        reach,
        after: After::default(),
        warm_up: 0,
        repeats: 1,
        pids: Vec::new(),
    };
    std::thread::spawn(move || windlass_bench::run(&plan).expect("runs"))
}

#[test]
fn a_member_that_is_lost_is_profiled_until_then() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.html");
    let (cluster, endpoint) = live::member(&program, folder.path(), &[]);
    let loader = loader(&endpoint);
    let seconds = ["--seconds", "600", "--json", "--html", page.to_str().expect("is UTF-8")];
    let mut tool = Command::new(env!("CARGO_BIN_EXE_windlass-disk"));
    tool.args(["profile", "--endpoint", &endpoint]).args(seconds).stdout(Stdio::piped());
    let tool = tool.spawn().expect("runs");
    // Two thousand flushes are there once it has looked for some time; the member ends while it goes on looking.
    let end_of_load = loader.join().expect("no panic");
    assert!(end_of_load.is_clean());
    drop(cluster);
    let output = tool.wait_with_output().expect("ends");
    let report: Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    assert_eq!(output.status.code(), Some(1));
    assert!(report["lost"]["after_s"].as_f64() > Some(0.0), "{report}");
    assert!(report["stages"][3]["p50_ns"].as_u64() > Some(0), "{report}");
    assert!(std::fs::read_to_string(page).expect("was written").contains("The member was lost after"));
}

#[test]
fn a_member_is_profiled_under_load() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("windlass0.data")).expect("makes");
    std::fs::write(folder.path().join("windlass0.data/windlass.settings"), "flush-depth = 4\n")
        .expect("writes");
    let (_cluster, endpoint) = live::member(&program, folder.path(), &[]);
    let loader = loader(&endpoint);
    let report = json(&["profile", "--endpoint", &endpoint, "--seconds", "2", "--json"]);
    assert!(loader.join().expect("no panic").is_clean());
    let stages = report["stages"].as_array().expect("has stages");
    assert_eq!(stages.len(), 8);
    assert!(stages[3]["p50_ns"].as_u64() > Some(0), "a device takes time: {report}");
    assert!(
        report["analysis"]["words"][0].as_str().is_some_and(|words| words.contains("flushes")),
        "{report}"
    );
}

#[test]
fn settings_are_tuned_on_a_server_of_its_own() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("is UTF-8");
    let program = program.to_str().expect("is UTF-8");
    let report = json(&[
        "tune",
        "--windlass",
        program,
        "--folder",
        path,
        "--seconds",
        "1",
        "--clients",
        "20",
        "--conns",
        "2",
        "--only",
        "sync-mode",
        "--p99",
        "500",
        "--json",
    ]);
    assert_eq!(report["steps"].as_array().map(Vec::len), Some(1), "{report}");
    // The first one, each value, both settings once more, and both again if a value looked better at first.
    let again = report["steps"][0]["again"].as_array().map_or(0, Vec::len);
    assert!([0, 2].contains(&again), "{report}");
    assert_eq!(report["trials"].as_array().map(Vec::len), Some(5 + again), "{report}");
    assert_eq!(std::fs::read_dir(path).expect("is there").count(), 0, "its folder is removed");
}

/// What takes more locked memory than every machine allows.
const HUGE: [(&str, &str); 4] =
    [("flush-depth", "8"), ("batch-bytes", "4194304"), ("net-threads", "4"), ("shards", "4")];

#[test]
fn whatever_is_written_a_server_takes() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("found.settings");
    let flags = ["--disk-settings", file.to_str().expect("is UTF-8"), "--enable-live-settings"];
    let each = |(name, values): &(&'static str, &'static [&'static str])| {
        let name = *name;
        values.iter().map(move |&value| (name, value))
    };
    let mut known = 0;
    for setting in VARIED.iter().flat_map(each).filter(|setting| !HUGE.contains(setting)) {
        let (name, value) = setting;
        let reasons = vec!["two lines,\nof which neither = a setting".to_owned()];
        Settings { reasons, values: vec![(name.to_owned(), value.to_owned())] }.write(&file).expect("writes");
        let place = folder.path().join(format!("{name}-{value}"));
        std::fs::create_dir(&place).expect("makes");
        let (_cluster, endpoint) = live::member(&program, &place, &flags);
        let now = &live::settings(&endpoint)["now"];
        if !now[name].is_null() {
            assert_eq!(now[name], value, "{now}");
            known += 1;
        }
    }
    assert_eq!(known, 11, "its page has the depth, the linger and the bytes");
}
