//! Commands that go on until they are ended: locks, elections, watches, mirrors.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::Programs;
use crate::etcd::Etcd;

/// How long a line may take.
const LINE_TIME_MAX: Duration = Duration::from_secs(20);

/// A program whose lines are read as they come.
struct Running {
    process: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(etcd: &Etcd, program: &Path, args: &[&str]) -> Self {
        let mut process = etcd.spawn(program, args);
        let lines = read(process.stdout.take().expect("piped"));
        Self { process, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(LINE_TIME_MAX).expect("a line in time")
    }

    /// The next lines.
    fn lines<const N: usize>(&self) -> [String; N] {
        std::array::from_fn(|_| self.line())
    }

    fn say(&mut self, text: &str) {
        let input = self.process.stdin.as_mut().expect("piped");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("the program reads");
    }

    /// Ends it by a signal, and returns its exit code.
    fn stop(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        self.process.wait().expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(out: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Both programs wait in one line.
#[test]
fn locks_are_shared_with_etcdctl() {
    let Some(programs) = Programs::find() else { return };
    let etcd = Etcd::start(&programs.etcd);
    for [first, second] in
        [[programs.windlassctl, &programs.etcdctl], [&programs.etcdctl, programs.windlassctl]]
    {
        let holder = Running::start(&etcd, first, &["lock", "l"]);
        let [key, value] = holder.lines();
        assert!(key.starts_with("l/") && value.is_empty(), "{key:?} {value:?}");
        let waiter =
            Running::start(&etcd, second, &["lock", "l", "--", "sh", "-c", "echo $ETCD_LOCK_KEY; cat"]);
        // The waiter has its place before it waits.
        while etcd.client().range(&prefix("l/")).expect("etcd answers").count < 2 {}
        assert!(waiter.lines.try_recv().is_err(), "two hold the lock");
        assert_eq!(holder.stop(), Some(0));
        let held = waiter.line();
        assert!(held.starts_with("l/") && held != key, "{held}");
        let mut waiter = waiter;
        assert!(waiter.process.wait().expect("it ends").success());
        while etcd.client().range(&prefix("l/")).expect("etcd answers").count > 0 {}
    }
}

#[test]
fn elections_are_shared_with_etcdctl() {
    let Some(programs) = Programs::find() else { return };
    let etcd = Etcd::start(&programs.etcd);
    let observers = [programs.windlassctl, &programs.etcdctl]
        .map(|program| Running::start(&etcd, program, &["elect", "-l", "n"]));
    let first = Running::start(&etcd, programs.windlassctl, &["elect", "n", "one"]);
    let [first_key, value] = first.lines();
    assert_eq!(value, "one");
    let second = Running::start(&etcd, &programs.etcdctl, &["elect", "n", "two"]);
    while etcd.client().range(&prefix("n/")).expect("etcd answers").count < 2 {}
    assert_eq!(first.stop(), Some(0));
    let [second_key, value] = second.lines();
    assert_eq!(value, "two");
    for observer in &observers {
        let [a, one, b, two] = observer.lines();
        assert_eq!([a, one, b, two], [&first_key, "one", &second_key, "two"].map(str::to_owned));
    }
}

fn prefix(key: &'static str) -> windlass_api::etcdserverpb::RangeRequest {
    let mut end = key.as_bytes().to_vec();
    *end.last_mut().expect("not empty") += 1;
    let count_only = true;
    windlass_api::etcdserverpb::RangeRequest {
        key: key.into(),
        range_end: end.into(),
        count_only,
        ..Default::default()
    }
}

#[test]
fn interactive_watches_print_what_etcdctls_print() {
    let Some(programs) = Programs::find() else { return };
    let told = [programs.windlassctl, &programs.etcdctl].map(|program| {
        let etcd = Etcd::start(&programs.etcd);
        let put =
            |value: &str| assert!(etcd.run(&programs.etcdctl, &["put", "k", value], "").status.success());
        let mut watch = Running::start(&etcd, program, &["watch", "-i"]);
        let mut told = Vec::new();
        watch.say("watch k --rev 1 --prev-kv\n");
        put("1");
        told.extend(watch.lines::<3>());
        put("2");
        told.extend(watch.lines::<5>());
        watch.say("progress\n");
        told.push(watch.line());
        watch.say("watch k --rev 3 -- sh -c \"echo $ETCD_WATCH_KEY $ETCD_WATCH_REVISION\"\nfoo\nwatch\n\n");
        told.extend(watch.lines::<4>());
        drop(watch.process.stdin.take());
        let code = watch.process.wait().expect("it ends").code();
        (told, code)
    });
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].0[8], "progress notify: 3");
}

#[test]
fn mirrors_follow_what_happens() {
    let Some(programs) = Programs::find() else { return };
    let (source, destination) = (Etcd::start(&programs.etcd), Etcd::start(&programs.etcd));
    let run = |etcd: &Etcd, args: &[&str], input: &str| {
        let output = etcd.run(programs.windlassctl, args, input);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // More than one page and one transaction.
    for number in 0..12 {
        let puts: String = (0..100).map(|key| format!("put p/{number:02}{key:02} v\n")).collect();
        run(&source, &["txn"], &format!("\n{puts}\n\n"));
    }
    run(&source, &["put", "other", "x"], "");
    let args = ["make-mirror", &destination.endpoint, "--prefix", "p/", "--dest-prefix", "q/"];
    let mirror = Running::start(&source, programs.windlassctl, &args);
    run(&source, &["put", "p/new", "1"], "");
    run(&source, &["put", "p/new", "2"], "");
    run(&source, &["txn"], "\nput p/pair a\ndel p/0000\n\n\n");
    let copied = || run(&destination, &["get", "q/", "--prefix"], "");
    while !copied().ends_with("q/new\n2\nq/pair\na\n") {}
    let copy = copied();
    assert_eq!(copy.lines().count(), 2 * (1200 - 1 + 2));
    assert!(!copy.contains("q/0000"));
    assert_eq!(run(&destination, &["get", "other"], ""), "");
    drop(mirror);
}
