//! `windlass local-cluster`: one command that starts a cluster, which survives a kill and ends with the command.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use windlass_api::etcdserverpb::PutRequest;
use windlass_client::{Client, Config};

use crate::cluster::{PATIENCE, free_host, until};
use crate::process::{REQUEST_TIMEOUT, Scratch};

#[test]
fn one_command_starts_and_ends_a_cluster() {
    let scratch = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"))
        .arg("local-cluster")
        .arg(format!("--data-dir={}", scratch.path().join("local").display()))
        .arg(format!("--host={}", free_host()))
        .arg("--wal-segment-bytes=8388608")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said =
        BufReader::new(command.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let rows: Vec<String> = said.by_ref().skip(1).take(3).collect();
    let cell = |row: &String, at: usize| row.split_whitespace().nth(at).expect("a cell").to_owned();
    let pids: Vec<Pid> = rows
        .iter()
        .map(|row| Pid::from_raw(cell(row, 1).parse().expect("a number")).expect("a pid"))
        .collect();
    let endpoints = rows.iter().map(|row| cell(row, 2)).collect();
    let config = Config { endpoints, dial_timeout: REQUEST_TIMEOUT, command_timeout: PATIENCE };
    let mut client = Client::new(&config).expect("endpoints");
    let mut put = || {
        let request = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
        until("a write", || client.put(&request).ok());
    };
    put();
    kill_process(pids[0], Signal::KILL).expect("it runs");
    said.by_ref().find(|line| line.starts_with("m1 ended with")).expect("it is told");
    put();
    command.stdin.as_mut().expect("piped").write_all(b"m1\n").expect("it reads");
    said.by_ref().find(|line| line.starts_with("m1 runs again")).expect("it is told");
    kill_process(Pid::from_child(&command), Signal::INT).expect("it runs");
    assert!(command.wait().expect("it ends").success());
    assert!(pids[1..].iter().all(|&pid| test_kill_process(pid).is_err()), "members outlive the command");
}
