//! Stock etcdctls that watch, against Windlass and against a real etcd: they must print the same. windlassctl must print
//! what etcdctl prints.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::{CompactionRequest, DeleteRangeRequest};

use crate::process::{Launch, Member, Scratch, etcd_folder};
use crate::store::put;

/// How long a watch may take to print what it must.
const PATIENCE: Duration = Duration::from_secs(10);

/// Both servers are told to be reached here, where nobody is: their ids come from it and are the same.
const ADVERTISED: &[&str] = &[
    "--advertise-client-urls=http://127.0.0.1:1",
    "--initial-advertise-peer-urls=http://127.0.0.1:2",
    "--initial-cluster=default=http://127.0.0.1:2",
];

/// A watch, and how many lines it prints of the store that [`fill`] makes. One with an end prints them and ends.
struct Case {
    args: &'static [&'static str],
    input: &'static str,
    lines: usize,
}

const fn case(args: &'static [&'static str], lines: usize) -> Case {
    Case { args, input: "", lines }
}

const CASES: &[Case] = &[
    case(&["watch", "a", "--rev", "4"], 6),
    case(&["watch", "a", "--rev", "4", "--prev-kv"], 9),
    case(&["watch", "a", "c", "--rev", "4"], 9),
    case(&["watch", "a", "--prefix", "--rev", "4", "-w", "json"], 1),
    case(&["watch", "b", "--from-key", "--rev", "4"], 6),
    case(&["watch", "a", "--rev", "4", "-w", "fields"], 18),
    case(&["watch", "--rev=4", "a", "--", "echo", "seen"], 8),
    case(&["watch", "a", "--rev", "2"], 0),
    case(&["watch"], 0),
    Case { args: &["watch", "-i"], input: "watch a --rev 4\n", lines: 6 },
];

/// The store that is watched: revisions 2 to 8, compacted at 3.
fn fill(member: &Member) {
    let mut client = member.client();
    for (key, value) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "4")] {
        client.put(&put(key, value)).expect("written");
    }
    client.delete_range(&DeleteRangeRequest { key: "a".into(), ..Default::default() }).expect("deleted");
    client.put(&put("c", "x y")).expect("written");
    client.compact(&CompactionRequest { revision: 3, physical: true }).expect("compacted");
}

/// A running watch, and the lines that it prints.
struct Watching {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Watching {
    fn start(program: &Path, member: &Member, case: &Case) -> Self {
        let mut child = Command::new(program)
            .args(case.args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", member.endpoint())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let mut stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (say, lines) = mpsc::channel();
        let input = case.input;
        std::thread::spawn(move || {
            // One that fails reads nothing.
            let _ = stdin.write_all(input.as_bytes());
            // The input stays open until all is printed: its end would end the watch.
            for line in stdout.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
            drop(stdin);
        });
        Self { child, lines }
    }

    /// What it prints, and its code if it ends by itself.
    fn outcome(mut self, case: &Case) -> (Vec<String>, Option<i32>) {
        let lines = case.lines;
        let deadline = Instant::now() + PATIENCE;
        let mut printed = Vec::new();
        loop {
            if lines > 0 && printed.len() >= lines {
                self.child.kill().expect("it runs");
                self.child.wait().expect("it ends");
                return (printed, None);
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => printed.push(line),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!("{:?} printed no more than {printed:?}", case.args);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return (printed, self.child.wait().expect("it ends").code());
                }
            }
        }
    }
}

fn start(server: &Path, folder: &Scratch) -> Member {
    let server = Launch::new(folder.path()).program(server);
    let member = ADVERTISED.iter().fold(server, |server, flag| server.flag(*flag)).member();
    fill(&member);
    member
}

/// Compares what two programs print, each on a server of its own.
fn compare(wanted: [&Path; 2], tested: [&Path; 2], is_compared: impl Fn(&Case) -> bool) {
    let folders = [Scratch::new(), Scratch::new()];
    let servers = [start(wanted[0], &folders[0]), start(tested[0], &folders[1])];
    for case in CASES.iter().filter(|case| is_compared(case)) {
        let [wanted, tested] =
            [(wanted[1], &servers[0]), (tested[1], &servers[1])].map(|(program, server)| {
                let (lines, code) = Watching::start(program, server, case).outcome(case);
                (lines.iter().map(|line| without_term(line)).collect::<Vec<_>>(), code)
            });
        assert_eq!(tested, wanted, "{:?} with input {:?}", case.args, case.input);
    }
}

/// How many elections there were is a matter of chance.
fn without_term(line: &str) -> String {
    ["\"raft_term\":", "\"RaftTerm\" : "].iter().fold(line.to_owned(), |line, name| {
        match line.split_once(name) {
            Some((before, after)) => {
                format!("{before}{name}N{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
            None => line,
        }
    })
}

fn windlass() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_windlass"))
}

#[test]
fn etcdctl_3_5_prints_the_same() {
    let Some(folder) = etcd_folder() else { return };
    let etcdctl = folder.join("etcdctl");
    compare([&folder.join("etcd"), &etcdctl], [windlass(), &etcdctl], |_| true);
}

#[test]
fn etcdctl_3_4_prints_the_same() {
    let Some(folder) = etcd_folder() else { return };
    let Some(etcdctl) = std::env::var_os("WINDLASS_ETCDCTL34").map(PathBuf::from) else {
        eprintln!("skipped: WINDLASS_ETCDCTL34 does not name an etcdctl 3.4");
        return;
    };
    compare([&folder.join("etcd"), &etcdctl], [windlass(), &etcdctl], |_| true);
}

/// windlassctl is another package's binary: it is there, and as new as this test, if that was built too, as with
/// `--workspace`.
#[test]
fn windlassctl_prints_the_same() {
    let Some(folder) = etcd_folder() else { return };
    let windlassctl = windlass().with_file_name("windlassctl");
    if !windlassctl.is_file() {
        eprintln!("skipped: {} is not built", windlassctl.display());
        return;
    }
    // etcdctl prints its help to standard output where it was called wrongly: its watch knows no --from-key.
    let is_compared = |case: &Case| case.args.len() > 1 && !case.args.contains(&"--from-key");
    compare([windlass(), &folder.join("etcdctl")], [windlass(), &windlassctl], is_compared);
}
