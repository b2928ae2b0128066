//! Comparisons that a signal ends: neither system goes on, and nothing that was made is left.

mod built;

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};
use windlass_api::etcdserverpb::StatusRequest;
use windlass_client::{Client, Config};

use built::windlass;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);
const ASK: Duration = Duration::from_secs(2);

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(LOOK);
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// A comparison that runs in a folder and a process group of its own. Windlass plays both parts: what is ended is whatever was started.
struct Comparison {
    tool: Child,
    folder: tempfile::TempDir,
    group: Option<PathBuf>,
}

impl Comparison {
    fn start(program: &Path, nodes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-bench"));
        command.args(["compare", "--nodes", &nodes.to_string(), "--folder"]).arg(folder.path());
        command.arg("--windlass").arg(program).arg("--etcd").arg(program);
        // A group is made by root alone, where there are control groups for disks.
        let groups = ["/sys/fs/cgroup/blkio", "/sys/fs/cgroup"].map(Path::new);
        let groups = groups.into_iter().find(|groups| groups.is_dir()).filter(|_| geteuid().is_root());
        if groups.is_some() {
            command.args(["--write-iops", "100000"]);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let tool = command.spawn().expect("runs");
        let group = groups.map(|groups| groups.join(format!("windlass-bench-{}-0", tool.id())));
        Self { tool, folder, group }
    }

    /// Command lines of the servers that run.
    fn servers(&self) -> Vec<Vec<String>> {
        let lines = entries(Path::new("/proc")).into_iter().filter_map(|path| {
            let line = fs::read(path.join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).split('\0').map(str::to_owned).collect::<Vec<_>>())
        });
        let data = self.folder.path().to_str().expect("is UTF-8");
        let is_one = |line: &Vec<String>| {
            line.iter()
                .skip_while(|word| *word != "--data-dir")
                .nth(1)
                .is_some_and(|path| path.starts_with(data))
        };
        lines.filter(is_one).collect()
    }

    /// Whether a server has taken more puts than anything but a load makes.
    fn is_loaded(&self) -> bool {
        let client =
            |line: Vec<String>| line.into_iter().skip_while(|word| word != "--listen-client-urls").nth(1);
        self.servers().into_iter().filter_map(client).any(|url| {
            let config = Config { endpoints: vec![url], dial_timeout: ASK, command_timeout: ASK };
            let status = Client::new(&config).and_then(|mut client| client.status(&StatusRequest::default()));
            status.is_ok_and(|status| status.header.is_some_and(|header| header.revision > 100))
        })
    }

    /// Sends the signal and waits until it has ended the comparison; what it printed.
    fn end(&mut self, signal: Signal) -> Output {
        kill_process(Pid::from_child(&self.tool), signal).expect("it runs");
        self.await_end()
    }

    /// The same for its servers too, as a terminal's Ctrl-C does it.
    fn end_group(&mut self, signal: Signal) -> Output {
        kill_process_group(Pid::from_child(&self.tool), signal).expect("it runs");
        self.await_end()
    }

    fn await_end(&mut self) -> Output {
        let mut status = None;
        wait("the end of the comparison", || {
            status = self.tool.try_wait().expect("is a child");
            status.is_some()
        });
        let mut output =
            Output { status: status.expect("has ended"), stdout: Vec::new(), stderr: Vec::new() };
        use std::io::Read as _;
        self.tool.stdout.take().expect("piped").read_to_end(&mut output.stdout).expect("reads");
        self.tool.stderr.take().expect("piped").read_to_end(&mut output.stderr).expect("reads");
        output
    }

    /// That the signal is what a shell sees, and nothing else is seen of it.
    fn assert_gone(&self, signal: Signal, output: &Output) {
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(signal.as_raw()), "{error}");
        assert!(output.stdout.is_empty() && !error.contains("FAILED"), "{error}");
        assert_eq!(self.servers(), Vec::<Vec<String>>::new(), "servers go on");
        assert_eq!(entries(self.folder.path()), Vec::<PathBuf>::new());
        assert!(self.group.as_ref().is_none_or(|group| !group.exists()), "its control group is left");
    }
}

impl Drop for Comparison {
    fn drop(&mut self) {
        // A test that fails ends what it started too.
        if self.tool.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill_process(Pid::from_child(&self.tool), Signal::TERM);
            let _ = self.tool.wait();
        }
    }
}

#[test]
fn a_signal_under_load_leaves_no_server_no_folder_and_no_group() {
    let Some(program) = windlass() else { return };
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut comparison = Comparison::start(&program, 1);
        wait("both systems", || comparison.servers().len() == 2);
        if let Some(group) = &comparison.group {
            assert!(group.is_dir(), "{} is not there", group.display());
        }
        wait("a load", || comparison.is_loaded());
        let output = comparison.end(signal);
        comparison.assert_gone(signal, &output);
    }
}

#[test]
fn a_signal_while_members_start_ends_those_that_did() {
    let Some(program) = windlass() else { return };
    let mut comparison = Comparison::start(&program, 3);
    wait("the first member", || !comparison.servers().is_empty());
    let output = comparison.end(Signal::TERM);
    comparison.assert_gone(Signal::TERM, &output);
}

#[test]
fn a_signal_for_the_whole_group_leaves_nothing_either() {
    let Some(program) = windlass() else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let mut comparison = Comparison::start(&program, 3);
        wait("the first member", || !comparison.servers().is_empty());
        let output = comparison.end_group(signal);
        comparison.assert_gone(signal, &output);
    }
}
