//! Users and roles through stock etcdctls: everything is compared with what they show against a real etcd.
//!
//! Left out is what etcd has changed since 3.5.1. Its server took more without a token: leases, the list of members, alarms
//! and compactions need a user now, or root. A watch without a token was refused with another text, and the role root was
//! listed without its permission.

use std::path::{Path, PathBuf};

use crate::process::{self, Launch, Scratch};
use crate::run::{Outcome, run};
use crate::script::Command;
use crate::{ADVERTISED, everything, windlass};

const ROOT: [&str; 2] = ["--user", "root:rootpw"];
const ALICE: [&str; 2] = ["--user", "alice:alicepw"];

/// Before authentication is in force.
const BEFORE: &[Command] = &[
    (&["auth", "enable"], ""),
    (&["user", "list"], ""),
    (&["user", "add", "root:rootpw"], ""),
    (&["user", "add", "root:rootpw"], ""),
    (&["auth", "enable"], ""),
    (&["user", "add", "alice:alicepw", "-w", "json"], ""),
    (&["user", "add", "eve", "--new-user-password", "evepw"], ""),
    (&["user", "add", "cert", "--no-password"], ""),
    (&["user", "add", "typed", "--interactive=false"], "typedpw\n"),
    (&["user", "add", ":pw"], ""),
    (&["user", "list"], ""),
    (&["user", "list", "-w", "json"], ""),
    (&["user", "get", "alice"], ""),
    (&["user", "get", "nobody"], ""),
    (&["role", "add", "r"], ""),
    (&["role", "add", "r"], ""),
    (&["role", "add", "s", "-w", "json"], ""),
    (&["role", "list"], ""),
    (&["role", "get", "r"], ""),
    (&["role", "get", "none"], ""),
    (&["role", "grant-permission", "r", "readwrite", "foo"], ""),
    (&["role", "grant-permission", "r", "read", "a", "c"], ""),
    (&["role", "grant-permission", "r", "write", "b", "d"], ""),
    (&["role", "grant-permission", "r", "readwrite", "dir/", "--prefix"], ""),
    (&["role", "grant-permission", "s", "read", "x", "--from-key"], ""),
    (&["role", "grant-permission", "s", "write", "foo"], ""),
    (&["role", "grant-permission", "none", "read", "x"], ""),
    (&["role", "grant-permission", "r", "bogus", "x"], ""),
    (&["role", "get", "r"], ""),
    (&["role", "get", "r", "-w", "json"], ""),
    (&["role", "get", "s"], ""),
    (&["user", "grant-role", "alice", "r"], ""),
    (&["user", "grant-role", "alice", "r"], ""),
    (&["user", "grant-role", "alice", "none"], ""),
    (&["user", "grant-role", "nobody", "r"], ""),
    (&["user", "grant-role", "eve", "s", "-w", "json"], ""),
    (&["user", "get", "alice"], ""),
    (&["user", "get", "alice", "--detail"], ""),
    (&["user", "revoke-role", "alice", "s"], ""),
    (&["role", "revoke-permission", "r", "none"], ""),
    (&["put", "foo", "before"], ""),
    (&["put", "secret", "before"], ""),
    (&["--user", "root:rootpw", "get", "foo"], ""),
    (&["auth", "disable"], ""),
    (&["auth", "enable"], ""),
    (&["user", "grant-role", "root", "root"], ""),
    (&["auth", "enable"], ""),
];

/// While it is: as root, as alice and as others.
const IN_FORCE: &[Command] = &[
    (&["get", "foo"], ""),
    (&["put", "foo", "x"], ""),
    (&["del", "foo"], ""),
    (&["txn"], "\nput foo 1\n\n\n"),
    (&["user", "list"], ""),
    (&["auth", "disable"], ""),
    (&["--user", "alice:wrong", "get", "foo"], ""),
    (&["--user", "nobody:pw", "get", "foo"], ""),
    (&["--user", "typed:typedpw", "get", "foo"], ""),
    (&["--user", "typed", "--password", "typedpw", "user", "get", "typed"], ""),
];

/// As root and as alice, with `--user` in front.
const AS_BOTH: &[Command] = &[
    (&["get", "foo"], ""),
    (&["get", "foo", "-w", "json"], ""),
    (&["put", "foo", "1"], ""),
    (&["put", "foo", "2", "--prev-kv"], ""),
    (&["put", "a", "1"], ""),
    (&["put", "b", "1"], ""),
    (&["put", "b", "2", "--prev-kv"], ""),
    (&["put", "c", "1"], ""),
    (&["put", "c", "2", "--prev-kv"], ""),
    (&["put", "d", "1"], ""),
    (&["put", "dir/x", "1"], ""),
    (&["put", "dir", "1"], ""),
    (&["get", "a"], ""),
    (&["get", "c"], ""),
    (&["get", "a", "c"], ""),
    (&["get", "a", "d"], ""),
    (&["get", "foo", "--from-key"], ""),
    (&["get", "dir/", "--prefix"], ""),
    (&["get", "dir", "--prefix"], ""),
    (&["get", "", "--prefix", "--keys-only"], ""),
    (&["get", "foo", "--consistency=s"], ""),
    (&["get", "secret", "--consistency=s"], ""),
    (&["del", "b", "d"], ""),
    (&["del", "b", "c", "--prev-kv"], ""),
    (&["del", "c", "--prev-kv"], ""),
    (&["del", "a", "c"], ""),
    (&["del", "secretx"], ""),
    (&["txn"], "value(\"foo\") = \"2\"\n\nget foo\nput foo 3\n\nget a\n\n"),
    (&["txn"], "value(\"secret\") = \"2\"\n\nget foo\n\n\n"),
    (&["txn"], "\nput foo 3\n\nput secret 1\n\n"),
    (&["txn"], "\nget secret\n\n\n"),
    (&["txn"], "\nget foo\n\nget secret\n\n"),
    (&["user", "get", "alice"], ""),
    (&["user", "get", "root"], ""),
    (&["user", "get", "nobody"], ""),
    (&["user", "list"], ""),
    (&["role", "get", "r"], ""),
    (&["role", "get", "s"], ""),
    (&["role", "list"], ""),
    (&["user", "add", "new:pw"], ""),
    (&["user", "delete", "new"], ""),
    (&["role", "add", "new"], ""),
    (&["role", "grant-permission", "new", "read", "x"], ""),
    (&["role", "delete", "new"], ""),
    (&["user", "delete", "root"], ""),
    (&["role", "delete", "root"], ""),
    (&["user", "revoke-role", "root", "root"], ""),
    (&["defrag", "-w", "json"], ""),
    (&["member", "remove", "zz"], ""),
];

/// As root: changes that alice notices.
const CHANGES: &[(&[&str], Command)] = &[
    (&ALICE, (&["watch", "secret"], "")),
    (&ALICE, (&["watch", "foo", "--prefix"], "")),
    (&ROOT, (&["user", "passwd", "eve", "--interactive=false"], "evenew\n")),
    (&["--user", "eve:evepw"], (&["get", "x"], "")),
    (&["--user", "eve:evenew"], (&["get", "x"], "")),
    (&["--user", "eve:evenew"], (&["get", "x", "--from-key"], "")),
    (&ROOT, (&["role", "revoke-permission", "r", "foo"], "")),
    (&ALICE, (&["get", "foo"], "")),
    (&ROOT, (&["role", "grant-permission", "r", "read", "foo"], "")),
    (&ALICE, (&["get", "foo"], "")),
    (&ALICE, (&["put", "foo", "1"], "")),
    (&ROOT, (&["user", "grant-role", "alice", "s"], "")),
    (&ALICE, (&["put", "foo", "1"], "")),
    (&ROOT, (&["user", "revoke-role", "alice", "r"], "")),
    (&ALICE, (&["get", "foo"], "")),
    (&ROOT, (&["role", "delete", "s"], "")),
    (&ROOT, (&["user", "get", "alice"], "")),
    (&ALICE, (&["put", "foo", "1"], "")),
    (&ROOT, (&["user", "delete", "alice"], "")),
    (&ALICE, (&["get", "foo"], "")),
    (&ROOT, (&["auth", "enable"], "")),
    (&ROOT, (&["auth", "disable"], "")),
    (&ROOT, (&["get", "foo"], "")),
    (&[], (&["get", "foo"], "")),
    (&[], (&["auth", "disable"], "")),
];

/// All commands, in the order in which they run.
fn commands() -> Vec<(Vec<&'static str>, &'static str)> {
    let plain = |(args, input): &Command| (args.to_vec(), *input);
    let with = |user: &'static [&'static str], (args, input): Command| ([user, args].concat(), input);
    let before = BEFORE.iter().chain(IN_FORCE).map(plain);
    let both = AS_BOTH.iter().flat_map(|&command| [with(&ALICE, command), with(&ROOT, command)]);
    before.chain(both).chain(CHANGES.iter().map(|&(user, command)| with(user, command))).collect()
}

/// What the commands came to, and what the server said meanwhile.
fn outcomes(server: &Path, program: &Path) -> (Vec<Outcome>, String) {
    let folder = Scratch::new();
    let launch = Launch::new(folder.path()).program(server).flag("--bcrypt-cost=4");
    let server = ADVERTISED.iter().fold(launch, |launch, flag| launch.flag(*flag)).member();
    let outcomes = commands().iter().map(|(args, input)| run(program, &server, args, input)).collect();
    (outcomes, server.log())
}

fn users_are_the_same(etcdctl: &Path, etcd: &Path) {
    let ((wanted, _), (tested, log)) = std::thread::scope(|scope| {
        let wanted = scope.spawn(|| outcomes(etcd, etcdctl));
        let tested = outcomes(windlass(), etcdctl);
        (wanted.join().expect("no panic"), tested)
    });
    let mut differences = Vec::new();
    for ((args, input), (wanted, tested)) in commands().iter().zip(wanted.iter().zip(&tested)) {
        let [wanted, tested] = [wanted, tested].map(|outcome| everything(&(&[], ""), outcome));
        if wanted != tested {
            let [wanted, tested] = [wanted, tested].map(Option::unwrap_or_default);
            differences.push(format!("{args:?} with input {input:?}\nwanted: {wanted}\ntested: {tested}"));
        }
    }
    let count = differences.len();
    assert!(differences.is_empty(), "{count} commands differ:\n{}\n{log}", differences.join("\n\n"));
}

#[test]
fn etcdctl_3_5_manages_users_the_same() {
    let Some(folder) = process::etcd_folder() else { return };
    users_are_the_same(&folder.join("etcdctl"), &folder.join("etcd"));
}

#[test]
fn etcdctl_3_4_manages_users_the_same() {
    let Some(folder) = process::etcd_folder() else { return };
    let Some(etcdctl) = std::env::var_os("WINDLASS_ETCDCTL34").map(PathBuf::from) else {
        eprintln!("skipped: WINDLASS_ETCDCTL34 does not name an etcdctl 3.4");
        return;
    };
    users_are_the_same(&etcdctl, &folder.join("etcd"));
}
