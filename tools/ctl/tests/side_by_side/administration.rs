//! Members, alarms, users, roles, the leader, snapshots.

use std::process::Command;

use crate::Programs;
use crate::compare::Compare::{self, All, Failure, InAnyOrder, NoIds, NotZero};
use crate::compare::comparable;
use crate::etcd::Etcd;
use crate::keys::ATTEMPTS_MAX;

/// Arguments, standard input, what to compare. The commands run in this order.
const COMMANDS: &[(&[&str], &str, Compare)] = &[
    (&["auth", "status"], "", All),
    (&["auth", "status", "-w", "json"], "", All),
    (&["auth", "status", "-w", "fields"], "", All),
    (&["auth", "status", "-w", "protobuf"], "", All),
    (&["auth", "status", "x"], "", All),
    (&["auth", "enable"], "", All),
    (&["auth", "disable"], "", All),
    (&["user", "add", "u:p"], "", All),
    (&["user", "add", "u:p"], "", All),
    (&["user", "add", "v", "--new-user-password", "x", "-w", "json"], "", All),
    (&["user", "add", "w", "--no-password", "-w", "fields"], "", All),
    (&["user", "add", "z", "--interactive=false"], "secret\n", All),
    (&["user", "add", ":x"], "", All),
    (&["user", "add"], "", All),
    (&["user", "add", "y"], "one\ntwo\n", All),
    (&["user", "add", "y"], "one\none\n", All),
    (&["user", "add", "t:x", "-w", "table"], "", All),
    (&["user", "list"], "", All),
    (&["user", "list", "-w", "json"], "", All),
    (&["user", "list", "-w", "fields"], "", All),
    (&["user", "list", "x"], "", All),
    (&["user", "get", "u"], "", All),
    (&["user", "get", "u", "-w", "json"], "", All),
    (&["user", "get", "u", "-w", "fields"], "", All),
    (&["user", "get", "u", "-w", "protobuf"], "", All),
    (&["user", "get", "u", "--detail"], "", All),
    (&["user", "get", "none"], "", All),
    (&["user", "get"], "", All),
    (&["role", "add", "r"], "", All),
    (&["role", "add", "r"], "", All),
    (&["role", "add", "q", "-w", "json"], "", All),
    (&["role", "add"], "", All),
    (&["role", "list"], "", All),
    (&["role", "list", "-w", "json"], "", All),
    (&["role", "list", "-w", "fields"], "", All),
    (&["role", "list", "x"], "", All),
    (&["role", "grant-permission", "r", "read", "a"], "", All),
    (&["role", "grant-permission", "r", "WRITE", "b", "c", "-w", "json"], "", All),
    (&["role", "grant-permission", "r", "readwrite", "p", "--prefix"], "", All),
    (&["role", "grant-permission", "r", "read", "z", "--from-key"], "", All),
    (&["role", "grant-permission", "r", "read", "", "--prefix"], "", All),
    (&["role", "grant-permission", "r", "read", "k", "k", "more"], "", All),
    (&["role", "grant-permission", "r", "foo", "a"], "", All),
    (&["role", "grant-permission", "r", "read"], "", All),
    (&["role", "grant-permission", "r", "read", "a", "b", "--prefix"], "", All),
    (&["role", "grant-permission", "r", "read", "a", "b", "--from-key"], "", All),
    (&["role", "grant-permission", "none", "read", "a"], "", All),
    (&["role", "get", "r"], "", All),
    (&["role", "get", "r", "-w", "json"], "", All),
    (&["role", "get", "r", "-w", "fields"], "", All),
    (&["role", "get", "r", "-w", "protobuf"], "", All),
    (&["role", "get", "none"], "", All),
    (&["role", "get"], "", All),
    (&["user", "grant-role", "u", "r"], "", All),
    (&["user", "grant-role", "u", "none"], "", All),
    (&["user", "grant-role", "u"], "", All),
    (&["user", "get", "u"], "", All),
    (&["user", "get", "u", "--detail"], "", All),
    (&["user", "get", "u", "--detail", "-w", "json"], "", All),
    (&["user", "revoke-role", "u", "r"], "", All),
    (&["user", "revoke-role", "u", "r"], "", All),
    (&["user", "revoke-role"], "", All),
    (&["role", "revoke-permission", "r", "a"], "", All),
    (&["role", "revoke-permission", "r", "b", "c"], "", All),
    (&["role", "revoke-permission", "r", "p", "--prefix"], "", All),
    (&["role", "revoke-permission", "r", "z", "--from-key", "-w", "json"], "", All),
    (&["role", "revoke-permission", "r", "none"], "", All),
    (&["role", "revoke-permission", "r"], "", All),
    (&["role", "delete", "q"], "", All),
    (&["role", "delete", "q"], "", All),
    (&["role", "delete"], "", All),
    (&["user", "passwd", "u", "--interactive=false"], "new\n", All),
    (&["user", "passwd", "u"], "x\n", All),
    (&["user", "passwd"], "", All),
    (&["user", "delete", "v"], "", All),
    (&["user", "delete", "v"], "", All),
    (&["user", "delete"], "", All),
    (&["alarm", "list"], "", All),
    (&["alarm", "list", "-w", "json"], "", All),
    (&["alarm", "list", "-w", "fields"], "", All),
    (&["alarm", "list", "-w", "table"], "", All),
    (&["alarm", "list", "-w", "protobuf"], "", All),
    (&["alarm", "list", "x"], "", All),
    (&["alarm", "disarm"], "", All),
    (&["alarm", "disarm", "-w", "json"], "", All),
    (&["alarm", "disarm", "x"], "", All),
    (&["defrag"], "", All),
    (&["defrag", "-w", "json"], "", All),
    (&["defrag", "--endpoints", "127.0.0.1:1", "--command-timeout", "100ms"], "", All),
    (&["move-leader"], "", All),
    (&["move-leader", "zz"], "", All),
    (&["move-leader", "123"], "", All),
    (&["move-leader", "1", "2"], "", All),
    (&["snapshot", "save"], "", All),
    (&["snapshot", "save", "/none/file"], "", All),
    (&["snapshot", "save", "x", "--endpoints", "127.0.0.1:1,127.0.0.1:2"], "", All),
    (&["member", "add"], "", All),
    (&["member", "add", "x"], "", All),
    (&["member", "add", "x", "http://a:1"], "", All),
    (&["member", "add", "x", "--peer-urls", "bad"], "", All),
    (&["member", "add", "x", "--peer-urls", "http://a:1,http://b"], "", All),
    (&["member", "add", "x", "--peer-urls", "http://a:1/p"], "", All),
    (&["member", "add", "x", "--peer-urls", "http://127.0.0.1:9", "--learner"], "", InAnyOrder),
    // Which error an etcd gives depends on the second in which it is asked, and on whether it is short of CPU.
    (&["member", "add", "y", "--peer-urls", "http://127.0.0.1:9", "--learner"], "", NotZero),
    (&["member", "update"], "", All),
    (&["member", "update", "zz"], "", All),
    (&["member", "update", "12"], "", All),
    (&["member", "update", "12", "--peer-urls", "http://a:1"], "", All),
    (&["member", "remove"], "", All),
    (&["member", "remove", "zz"], "", All),
    (&["member", "remove", "12"], "", All),
    (&["member", "promote"], "", All),
    (&["member", "promote", "zz"], "", All),
    (&["member", "promote", "12"], "", All),
    (&["make-mirror"], "", All),
    (&["make-mirror", "127.0.0.1:1", "--dest-prefix", "a", "--no-dest-prefix"], "", All),
    (&["lock"], "", All),
    (&["lock", "l", "--", "none-such"], "", All),
    (&["lock", "l", "--", "sh", "-c", "exit 3"], "", All),
    (&["lock", "l", "--ttl", "x"], "", Failure),
    (&["elect"], "", All),
    (&["elect", "n"], "", All),
    (&["elect", "-l", "n", "p"], "", All),
    (&["check", "perf", "--load", "x"], "", All),
    (&["check", "datascale", "--load", "x"], "", All),
    (&["put", "/etcdctl-check-perf/x", "1"], "", All),
    (&["check", "perf"], "", All),
    (&["check", "datascale", "--prefix", "/etcdctl-check"], "", All),
    (&["del", "/etcdctl-check-perf/x"], "", All),
    (&["watch"], "", All),
    (&["watch", "a", "--prefix", "b"], "", All),
    (&["get", "a", "--cert", ""], "", All),
    (&["get", "a", "--cert", "x"], "", All),
];

#[test]
fn windlassctl_administers_as_etcdctl_does() {
    let Some(programs) = Programs::find() else { return };
    let (theirs, ours) = (Etcd::start(&programs.etcd), Etcd::start(&programs.etcd));
    let mut differences = Vec::new();
    for (args, input, compare) in COMMANDS {
        let expected = comparable(&theirs.run(&programs.etcdctl, args, input), &theirs.endpoint, *compare);
        let got = comparable(&ours.run(programs.windlassctl, args, input), &ours.endpoint, *compare);
        if expected != got {
            differences.push(format!("{args:?}\netcdctl: {expected}\nwindlassctl: {got}"));
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n\n"));
}

/// What needs an id that the cluster has.
#[test]
fn windlassctl_changes_members_as_etcdctl_does() {
    let Some(programs) = Programs::find() else { return };
    let both = [
        (Etcd::start(&programs.etcd), programs.etcdctl.as_path()),
        (Etcd::start(&programs.etcd), programs.windlassctl),
    ];
    let mut told = Vec::new();
    for (etcd, program) in &both {
        let run = |args: &[&str]| {
            let mut output = etcd.run(program, args, "");
            // An etcd without CPU may not answer in time; what it is asked here can be asked again.
            for _ in 0..ATTEMPTS_MAX {
                if !String::from_utf8_lossy(&output.stderr).contains("request timed out") {
                    break;
                }
                output = etcd.run(program, args, "");
            }
            (String::from_utf8_lossy(&output.stdout).into_owned(), output)
        };
        let (list, _) = run(&["member", "list"]);
        let id = list.split(',').next().expect("a member").to_owned();
        let mut all = String::new();
        for args in [
            &["member", "update", &id, "--peer-urls", "http://127.0.0.1:5"][..],
            &["member", "update", &id, "--peer-urls", "http://127.0.0.1:5,http://127.0.0.1:6", "-w", "json"],
            &["member", "update", &id, "--peer-urls", "http://127.0.0.1:5", "-w", "fields"],
            &["member", "promote", &id],
            &["move-leader", &id],
            &["move-leader", &id, "-w", "json"],
            &["move-leader", &id, "-w", "fields"],
            &["member", "add", "l", "--learner", "--peer-urls", "http://127.0.0.1:7", "-w", "fields"],
        ] {
            all.push_str(&comparable(&run(args).1, &etcd.endpoint, NoIds));
        }
        let (list, _) = run(&["member", "list"]);
        let learner = list.lines().find(|line| line.contains("unstarted")).expect("the learner");
        let learner = learner.split(',').next().expect("an id");
        for args in [&["member", "promote", learner][..], &["member", "remove", learner], &["member", "list"]]
        {
            all.push_str(&comparable(&run(args).1, &etcd.endpoint, NoIds));
        }
        told.push(all);
    }
    assert_eq!(told[0], told[1]);
}

/// etcdutl has the last word on what was saved.
#[test]
fn a_saved_snapshot_is_etcds() {
    let Some(programs) = Programs::find() else { return };
    let etcd = Etcd::start(&programs.etcd);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    etcd.run(programs.windlassctl, &["put", "k", "v"], "");
    let (theirs, ours) = (path("theirs"), path("ours"));
    let expected = etcd.run(&programs.etcdctl, &["snapshot", "save", &theirs], "");
    let got = etcd.run(programs.windlassctl, &["snapshot", "save", &ours], "");
    assert_eq!(
        String::from_utf8_lossy(&expected.stdout).replace(&theirs, ""),
        String::from_utf8_lossy(&got.stdout).replace(&ours, "")
    );
    let etcdutl = programs.etcd.with_file_name("etcdutl");
    let status = |file: &str| {
        Command::new(&etcdutl).args(["snapshot", "status", file]).output().expect("etcdutl runs")
    };
    assert!(status(&ours).status.success(), "{:?}", status(&ours));
    assert_eq!(status(&ours).stdout, status(&theirs).stdout);
}
