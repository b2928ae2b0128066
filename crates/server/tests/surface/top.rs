//! `windlassctl top` against members, an etcd and nobody: as lines for scripts, and on a terminal.
//!
//! windlassctl is another package's binary: it is there, and as new as this test, if that was built too, as with
//! `cargo test --workspace`. The terminal is `script`'s, of util-linux.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Launch, Member, Scratch, can_run, etcd_folder, free_address};
use crate::store::put;

const PATIENCE: Duration = Duration::from_secs(30);

fn windlassctl() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_windlass")).with_file_name("windlassctl");
    if !path.is_file() {
        eprintln!("skipped: {} is not built", path.display());
    }
    path.is_file().then_some(path)
}

/// What `top` prints with these words while somebody puts.
fn top_under_load(ctl: &Path, member: &Member, endpoints: &str, words: &[&str]) -> String {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = member.client();
            while !over.load(Ordering::Relaxed) {
                client.put(&put("k", "v")).expect("written");
            }
        });
        let output = Command::new(ctl).args(["--endpoints", endpoints, "top"]).args(words).output();
        over.store(true, Ordering::Relaxed);
        let output = output.expect("windlassctl runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("is text")
    })
}

#[test]
fn scripts_get_each_endpoint_once() {
    let Some(ctl) = windlassctl() else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--name=first").member();
    let endpoints = format!("{},{}", member.endpoint(), free_address());
    let text = top_under_load(&ctl, &member, &endpoints, &["--once", "--interval=500ms", "-w", "json"]);
    let told: Value = serde_json::from_str(&text).expect("one value");
    let (us, nobody) = (&told[0], &told[1]);
    assert_eq!(
        (&us["kind"], &us["name"], &us["role"]),
        (&"windlass".into(), &"first".into(), &"leader".into())
    );
    assert!(us["puts_per_s"].as_f64() > Some(0.0) && us["commits"]["p99_ns"].as_u64() > Some(0), "{us}");
    let shares = us["stages"].as_array().expect("stages").iter().filter_map(|stage| stage["share"].as_f64());
    assert!((shares.sum::<f64>() - 1.0).abs() < 1e-6, "{us}");
    assert!(nobody["error"].is_string() && nobody["puts_per_s"].is_null(), "{nobody}");
    let text = top_under_load(&ctl, &member, &endpoints, &["--once", "--interval=500ms"]);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    for part in ["1 of 2 answer", "leader", "STAGES of", "device write"] {
        assert!(text.contains(part), "{text}");
    }
    drop(member);
    let output = Command::new(&ctl).args(["--endpoints", &endpoints, "top", "--once"]).output();
    let output = output.expect("windlassctl runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn an_etcd_is_shown_as_far_as_it_tells() {
    let (Some(ctl), Some(etcd)) = (windlassctl(), etcd_folder()) else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).program(&etcd.join("etcd")).member();
    let words = ["--once", "--interval=500ms", "-w", "json"];
    let text = top_under_load(&ctl, &member, member.endpoint(), &words);
    let told: Value = serde_json::from_str(&text).expect("one value");
    let etcd = &told[0];
    assert_eq!((&etcd["kind"], &etcd["role"]), (&"etcd".into(), &"leader".into()));
    assert!(
        etcd["puts_per_s"].as_f64() > Some(0.0) && etcd["flushes"]["p99_ns"].as_u64() > Some(0),
        "{etcd}"
    );
    assert!(etcd["commits"].is_null() && etcd["leases"].is_null(), "{etcd}");
}

#[test]
fn a_terminal_is_left_as_it_was() {
    let Some(ctl) = windlassctl() else { return };
    if !can_run("script", "top is not tested on a terminal") {
        return;
    }
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    for (key, name) in [("q", "q"), ("\x03", "ctrl-c")] {
        let state = |when: &str| folder.path().join(format!("{name}-{when}"));
        let line = format!(
            "stty cols 80 rows 24; stty -a >{}; {} --endpoints {} top --interval 200ms; stty -a >{}",
            state("before").display(),
            ctl.display(),
            member.endpoint(),
            state("after").display()
        );
        let mut script = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script starts");
        let (mut keys, mut screen) =
            (script.stdin.take().expect("piped"), script.stdout.take().expect("piped"));
        let (deadline, mut drawn) = (Instant::now() + PATIENCE, Vec::new());
        while !String::from_utf8_lossy(&drawn).contains("device write") {
            assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&drawn));
            let mut piece = [0; 4096];
            let length = screen.read(&mut piece).expect("the screen can be read");
            assert_ne!(length, 0, "it ended: {}", String::from_utf8_lossy(&drawn));
            drawn.extend_from_slice(&piece[..length]);
        }
        keys.write_all(key.as_bytes()).expect("the key is taken");
        screen.read_to_end(&mut drawn).expect("it ends");
        script.wait().expect("it has ended");
        let drawn = String::from_utf8_lossy(&drawn);
        assert!(drawn.contains("\x1b[?1049h") && drawn.trim_end().ends_with("\x1b[?1049l"), "{drawn:?}");
        let told = |when| std::fs::read_to_string(state(when)).expect("stty ran");
        assert_eq!(told("before"), told("after"), "{name}");
    }
}
