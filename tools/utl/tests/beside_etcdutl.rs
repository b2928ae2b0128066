//! The commands, on files that a real etcd made and beside etcdutl where `WINDLASS_ETCD_DIR` has them.

#[path = "../../../bench/src/ports.rs"]
mod ports;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use windlass_bbolt::Writer;

const WAIT: Duration = Duration::from_secs(30);

fn utl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_windlass-utl")).args(arguments).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn etcd_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("WINDLASS_ETCD_DIR").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: WINDLASS_ETCD_DIR does not name a folder with etcd, etcdctl and etcdutl 3.5");
    }
    folder
}

/// A real etcd that ends with the test.
struct Etcd {
    process: Child,
    endpoint: String,
    tools: PathBuf,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Etcd {
    fn start(tools: &Path, folder: &Path) -> Self {
        let url = || format!("http://127.0.0.1:{}", ports::Port::free().expect("a free port").keep());
        let (endpoint, peer) = (url(), url());
        let process = Command::new(tools.join("etcd"))
            .arg("--data-dir")
            .arg(folder.join("etcd"))
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--log-level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        let etcd = Self { process, endpoint, tools: tools.to_owned() };
        let deadline = Instant::now() + WAIT;
        while !etcd.ctl(&["get", "x"]).status.success() {
            assert!(Instant::now() < deadline, "etcd does not answer");
        }
        etcd
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.tools.join("etcdctl"));
        command
            .arg(format!("--endpoints={}", self.endpoint))
            .args(arguments)
            .output()
            .expect("etcdctl starts")
    }
}

#[test]
fn a_snapshot_is_described_as_etcdutl_does() {
    let Some(tools) = etcd_folder() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let etcd = Etcd::start(&tools, folder.path());
    for n in 0..300 {
        assert!(etcd.ctl(&["put", &format!("key/{}", n % 70), &"v".repeat(n)]).status.success());
    }
    let hash = text(&etcd.ctl(&["endpoint", "hashkv", "-w", "json"]).stdout);
    let hash: serde_json::Value = serde_json::from_str(&hash).expect("JSON");
    let file = folder.path().join("saved.db");
    let file = file.to_str().expect("a plain path");
    assert!(etcd.ctl(&["snapshot", "save", file]).status.success());
    for format in ["simple", "json", "table", "fields"] {
        let arguments = ["snapshot", "status", file, "-w", format];
        let wanted = Command::new(tools.join("etcdutl")).args(arguments).output().expect("etcdutl starts");
        let got = utl(&arguments);
        assert_eq!(text(&got.stdout), text(&wanted.stdout), "{format}");
        assert!(got.status.success() && got.stderr.is_empty(), "{}", text(&got.stderr));
    }
    let got = text(&utl(&["hashkv", file, "-w", "json"]).stdout);
    let got: serde_json::Value = serde_json::from_str(&got).expect("JSON");
    assert_eq!(got["hash"], hash[0]["HashKV"]["hash"]);
}

/// A file without a hash, as it lies in etcd's data folder.
fn small_file(folder: &Path) -> PathBuf {
    let (mut writer, mut body) = (Writer::new(), Vec::new());
    writer.begin_bucket(b"key");
    writer.end_bucket(&mut body);
    let head = writer.finish(&mut body);
    let path = folder.join("db");
    std::fs::write(&path, [head.bytes(), &body].concat()).expect("written");
    path
}

#[test]
fn what_cannot_be_restored_is_refused_in_etcdutls_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = small_file(folder.path());
    let file = file.to_str().expect("a plain path");
    let data = folder.path().join("data");
    let data_flag = format!("--data-dir={}", data.display());
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let output = utl(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.starts_with("Error: ") && said.contains(words), "{arguments:?}: {said}");
        assert!(!data.exists(), "{arguments:?} left a folder");
    };
    let restore = ["snapshot", "restore"];
    let with =
        |more: &[&str]| -> Vec<String> { restore.iter().chain(more).map(|&word| word.to_owned()).collect() };
    for (arguments, code, words) in [
        (with(&[&data_flag]), 128, "snapshot restore requires exactly one argument"),
        (with(&[file, "other", &data_flag]), 128, "snapshot restore requires exactly one argument"),
        (with(&[file, &data_flag]), 1, "snapshot missing hash but --skip-hash-check=false"),
        (with(&["/nosuch", &data_flag]), 1, "open /nosuch: no such file or directory"),
        (
            with(&[file, &data_flag, "--name=x", "--initial-cluster=y=http://h:1"]),
            1,
            "couldn't find local name \"x\"",
        ),
        (with(&[file, &data_flag, "--bump-revision=5"]), 128, "--mark-compacted is required"),
        (
            with(&[file, "--skip-hash-check", &format!("--data-dir={}", folder.path().display())]),
            1,
            "not empty",
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        refused(&arguments, code, words);
    }
    refused(&["snapshot", "status", file, "-w", "bogus"], 4, "unsupported output format");
    refused(&["snapshot", "status"], 128, "snapshot status requires exactly one argument");
    refused(&["bogus"], 1, "bogus");

    let mut damaged = std::fs::read(file).expect("written");
    damaged.resize(damaged.len() + 32, 0);
    std::fs::write(folder.path().join("damaged"), damaged).expect("written");
    let damaged = folder.path().join("damaged");
    refused(
        &["snapshot", "restore", damaged.to_str().expect("a plain path"), &data_flag],
        1,
        "expected sha256 [0 0 0 0",
    );
}

#[test]
fn a_restored_folder_is_a_members() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = small_file(folder.path());
    let data = folder.path().join("data");
    let data_flag = format!("--data-dir={}", data.display());
    let file = file.to_str().expect("a plain path");
    let output = utl(&["snapshot", "restore", file, "--skip-hash-check", &data_flag]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(said.contains("member 8e9e05c52164694d (`default`) of cluster cdf818194e3a8c32"), "{said}");
    assert!(data.join("identity").is_file() && data.join("snapshot/ready").is_file());
    let again = utl(&["snapshot", "restore", file, "--skip-hash-check", &data_flag]);
    assert_eq!(again.status.code(), Some(1), "a folder with data is not written over");
    assert!(utl(&["defrag", &data_flag]).status.success());
}

#[test]
fn help_version_and_completion_are_there() {
    for (arguments, words) in [
        (&["--help"][..], "snapshot"),
        (&[][..], "snapshot"),
        (&["snapshot"][..], "restore"),
        (&["version"][..], "windlass-utl version: "),
        (&["completion", "bash"][..], "windlass-utl"),
    ] {
        let output = utl(arguments);
        assert!(output.status.success() && text(&output.stdout).contains(words), "{arguments:?}");
    }
}
