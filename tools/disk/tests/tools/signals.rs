//! Tools that a signal ends: nothing that they made is left.

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use windlass_client::{Security, fetch};

use crate::live::{keys_left, member, settings};
use crate::windlass;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(arguments: &[&str]) -> Child {
    let program = env!("CARGO_BIN_EXE_windlass-disk");
    Command::new(program).args(arguments).stdout(Stdio::null()).spawn().expect("runs")
}

/// Sends the signal, and waits until it has ended the tool.
fn end(tool: Child, signal: Signal) {
    kill_process(Pid::from_child(&tool), signal).expect("it runs");
    await_end(tool, signal);
}

fn await_end(mut tool: Child, signal: Signal) {
    let mut status = None;
    wait("the end of the tool", || {
        status = tool.try_wait().expect("is a child");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.signal()), Some(signal.as_raw()));
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Whether a process has this in its command line.
fn is_running(text: &str) -> bool {
    let lines =
        entries(Path::new("/proc")).into_iter().filter_map(|path| fs::read(path.join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(text))
}

#[test]
fn a_probe_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let tool = start(&["probe", folder.path().to_str().expect("is UTF-8")]);
    wait("the probe's file", || !entries(folder.path()).is_empty());
    end(tool, Signal::TERM);
    assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_tuner_leaves_no_server_no_folder_and_no_group() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("is UTF-8");
    let mut arguments = vec!["tune", "--folder", path, "--windlass", program.to_str().expect("is UTF-8")];
    // A group is made by root alone, where there are control groups for disks.
    let groups = ["/sys/fs/cgroup/blkio", "/sys/fs/cgroup"].map(Path::new);
    let groups = groups.into_iter().find(|groups| groups.is_dir());
    let may_limit = rustix::process::geteuid().is_root() && groups.is_some();
    if may_limit {
        arguments.extend(["--write-iops", "100000"]);
    }
    let tool = start(&arguments);
    let group = groups.map(|groups| groups.join(format!("windlass-bench-{}-0", tool.id())));
    let server = format!("--data-dir\0{path}");
    wait("a server", || is_running(&server));
    if let (true, Some(group)) = (may_limit, &group) {
        assert!(group.is_dir(), "{} is not there", group.display());
    }
    end(tool, Signal::TERM);
    assert!(!is_running(&server), "its server goes on");
    assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
    assert!(group.is_none_or(|group| !group.exists()), "its control group is left");
}

/// As a terminal's Ctrl-C does it: the server of the trial gets the signal too, which fails the trial and lets the next begin.
#[test]
fn a_signal_for_the_whole_group_leaves_neither() {
    let Some(program) = windlass() else { return };
    for signal in [Signal::INT, Signal::TERM, Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_str().expect("is UTF-8");
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-disk"));
        command.args(["tune", "--seconds", "1", "--folder", path, "--windlass"]).arg(&program);
        let tool = command.process_group(0).stdout(Stdio::null()).spawn().expect("runs");
        let server = format!("--data-dir\0{path}");
        wait("a server", || is_running(&server));
        kill_process_group(Pid::from_child(&tool), signal).expect("it runs");
        await_end(tool, signal);
        assert!(!is_running(&server), "a server goes on");
        assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_profile_leaves_no_trace() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (_cluster, endpoint) = member(&program, folder.path(), &[]);
    let tool = start(&["profile", "--endpoint", &endpoint, "--seconds", "600"]);
    let traces = ["/sys/kernel/tracing/instances", "/sys/kernel/debug/tracing/instances"].map(Path::new);
    let name = format!("windlass-disk-{}", tool.id());
    let is_traced = || traces.iter().any(|traces| traces.join(&name).exists());
    let disk = format!("/proc/{}/task", tool.id());
    // Where nothing can be traced there is nothing to leave.
    if rustix::process::geteuid().is_root() && traces.iter().any(|traces| traces.is_dir()) {
        wait("a trace", is_traced);
    } else {
        wait("the threads that wait for signals", || entries(Path::new(&disk)).len() > 3);
    }
    end(tool, Signal::INT);
    assert!(!is_traced(), "its trace is left");
}

#[test]
fn a_live_tuner_puts_settings_back_and_removes_its_keys() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (_cluster, endpoint) = member(&program, folder.path(), &["--enable-live-settings"]);
    let own = settings(&endpoint);
    let tool =
        start(&["tune", "--endpoint", &endpoint, "--goal", "throughput", "--clients", "50", "--conns", "5"]);
    wait("settings on trial", || settings(&endpoint)["trial_left_s"] != Value::Null);
    end(tool, Signal::TERM);
    assert_eq!(settings(&endpoint), own);
    assert_eq!(keys_left(&endpoint), 0);
}

/// Number and command line of a process that has this in the latter.
fn process_with(text: &str) -> Option<(Pid, String)> {
    entries(Path::new("/proc")).into_iter().find_map(|path| {
        let line = String::from_utf8_lossy(&fs::read(path.join("cmdline")).ok()?).into_owned();
        let number = path.file_name()?.to_str()?.parse().ok().and_then(Pid::from_raw)?;
        line.contains(text).then_some((number, line))
    })
}

/// The server with this in its command line, once it has flushed more often than before any load.
fn loaded(text: &str) -> Option<Pid> {
    let (server, line) = process_with(text)?;
    let url = line.split('\0').skip_while(|word| *word != "--listen-client-urls").nth(1)?;
    let page = fetch(url, &Security::default(), "/debug/commits", PATIENCE).ok()?;
    let page: Value = serde_json::from_str(&page).ok()?;
    (page["next"].as_u64() > Some(50)).then_some(server)
}

#[test]
fn a_tuner_says_that_its_server_was_killed() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("is UTF-8");
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-disk"));
    command.args(["tune", "--goal", "latency", "--rate", "500", "--seconds", "600", "--folder", path]);
    command.arg("--windlass").arg(program);
    let tool = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("runs");
    let server = format!("--data-dir\0{path}");
    let mut victim = None;
    wait("a server under load", || {
        victim = loaded(&server);
        victim.is_some()
    });
    kill_process(victim.expect("was found"), Signal::KILL).expect("it runs");
    let output = tool.wait_with_output().expect("ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("windlass ended under the load (signal: 9 (SIGKILL)); its log is empty"),
        "{error}"
    );
    assert_eq!((output.status.code(), entries(folder.path())), (Some(1), Vec::new()), "{error}");
}
