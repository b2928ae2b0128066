//! Two checkouts may be tested on one machine at a time: their networks are apart, and none is left behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};

use crate::cluster::until;
use crate::network::Network;

/// Set for the process that only holds a network.
const HOLD: &str = "WINDLASS_HOLD_NETWORK";

/// What the holder says before the names of its network.
const HELD: &str = "held:";

/// More members than any other test has, so that the last one's namespace is nobody's but these tests'.
const MEMBERS: usize = 9;

/// The names that a network takes: where clients reach the members, and the members' namespaces.
fn names(network: &Network) -> Vec<String> {
    let seats = network.seats();
    let hosts = seats.iter().map(|seat| seat.client_host.clone());
    hosts.chain(seats.iter().map(|seat| seat.through[3].clone())).collect()
}

/// The namespaces that there are.
fn namespaces() -> Vec<String> {
    let list = Command::new("ip").args(["netns", "list"]).output().expect("runs").stdout;
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    String::from_utf8_lossy(&list).lines().filter_map(first).collect()
}

/// Makes a network, says its names, and keeps it for as long as somebody listens.
fn hold() {
    let network = Network::make(MEMBERS).expect("the one who asks could make one");
    let held = writeln!(std::io::stdout(), "{HELD}{}", names(&network).join(","));
    held.expect("somebody listens");
    let _ = std::io::stdin().read(&mut [0]);
}

/// Another process with a network, and its names.
fn holder() -> (Child, Vec<String>) {
    let test = "networks::of_two_processes_are_apart_and_those_of_a_killed_one_go";
    let mut child = Command::new(std::env::current_exe().expect("a process knows its program"))
        .args([test, "--exact", "--nocapture"])
        .env(HOLD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can be started");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    // The test's own name may stand before it on the line.
    let names = |line: String| Some(line.split_once(HELD)?.1.split(',').map(str::to_owned).collect());
    let names = output.lines().map_while(Result::ok).find_map(names).expect("it says its names");
    (child, names)
}

#[test]
fn of_two_processes_are_apart_and_those_of_a_killed_one_go() {
    if std::env::var_os(HOLD).is_some() {
        return hold();
    }
    let Some(own) = Network::make(MEMBERS) else { return };
    let (mut other, others) = holder();
    assert!(names(&own).iter().all(|name| !others.contains(name)), "{others:?} and {:?}", names(&own));
    other.kill().expect("can be killed");
    other.wait().expect("can be waited for");
    // Whoever takes its number next removes it; that may be another test.
    let last = others.last().expect("it had some");
    assert!(namespaces().contains(last), "nobody could remove it yet");
    until("what was left behind to be gone", || {
        drop(Network::make(1).expect("there was one before"));
        (!namespaces().contains(last)).then_some(())
    });
}

#[test]
fn nothing_is_left_of_a_test_that_panics() {
    let mut namespace = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let Some(network) = Network::make(MEMBERS) else { return };
        let last = names(&network).pop().expect("it has some");
        assert!(namespaces().contains(&last));
        namespace = Some(last);
        panic!("as a test that fails");
    }));
    let Some(namespace) = namespace else { return };
    assert!(panicked.is_err() && !namespaces().contains(&namespace));
}
