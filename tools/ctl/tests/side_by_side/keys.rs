//! Keys, transactions, members and endpoints.

use std::path::Path;

use crate::Programs;
use crate::compare::Compare::{self, All, Failure, NoDurations, NotZero};
use crate::compare::comparable;
use crate::etcd::Etcd;

/// Arguments, standard input, what to compare. The commands run in this order, so that later ones see earlier writes.
const COMMANDS: &[(&[&str], &str, Compare)] = &[
    (&["put", "a", "1"], "", All),
    (&["put", "a", "2", "--prev-kv"], "", All),
    (&["put", "a", "3", "--prev-kv", "-w", "json"], "", All),
    (&["put", "b", "x\"<>&\u{1}\u{2028}ü"], "", All),
    (&["put", "c", "3", "-w", "fields"], "", All),
    (&["put", "from-stdin"], "line one\nline two\n", All),
    (&["put", "empty", ""], "", All),
    (&["put", "dash", "--", "-v"], "", All),
    (&["put", "--", "-k", "-v"], "", All),
    (&["put", "a", "--ignore-value", "--prev-kv", "-w", "fields"], "", All),
    (&["put", "a", "b", "c"], "", All),
    (&["put", "nokey", "--ignore-value"], "", All),
    (&["put", "nokey", "v", "--ignore-lease"], "", All),
    (&["put", "a", "v", "--lease", "7b"], "", All),
    (&["put", "a", "v", "--lease", "zz"], "", All),
    (&["put", "a", "v", "-w", "table"], "", All),
    (&["put", "a", "x", "--ignore-value"], "", All),
    (&["put", "a"], "", All),
    (&["put"], "", All),
    (&["put", "", "v"], "", All),
    (&["get", "a"], "", All),
    (&["get", "a", "--hex"], "", All),
    (&["get", "b", "-w", "json"], "", All),
    (&["get", "b", "-w", "fields"], "", All),
    (&["get", "b", "-w", "protobuf"], "", All),
    (&["get", "b", "--hex", "-w=json"], "", All),
    (&["get", "b", "--hex", "-w", "fields"], "", All),
    (&["get", "a", "-w", "table"], "", All),
    (&["get", "a", "-w", "yaml"], "", All),
    (&["get", "none"], "", All),
    (&["get", "none", "-w", "json"], "", All),
    (&["get", "", "--prefix", "-w", "json"], "", All),
    (&["get", "", "--from-key"], "", All),
    (&["get", "", "--from-key", "--limit", "2", "-w", "json"], "", All),
    (&["get", "a", "c"], "", All),
    (&["get", "a", "c", "extra"], "", All),
    (&["get", "d", "--prefix"], "", All),
    (&["get", "a", "z", "--order", "DESCEND", "--keys-only"], "", All),
    (&["get", "a", "z", "--sort-by=MODIFY", "--order=descend", "--limit=2"], "", All),
    (&["get", "a", "z", "--sort-by", "version", "--limit", "3"], "", All),
    (&["get", "a", "z", "--sort-by", "VALUE", "--order", "ASCEND"], "", All),
    (&["get", "a", "--rev", "2"], "", All),
    (&["get", "a", "--rev", "0x3"], "", All),
    (&["get", "a", "--rev", "-1"], "", All),
    (&["get", "a", "--rev", "1000"], "", All),
    (&["get", "a", "--consistency", "s"], "", All),
    (&["get", "a", "--print-value-only"], "", All),
    (&["get", "a", "--keys-only", "--print-value-only"], "", All),
    (&["get", "a", "z", "--count-only", "-w", "fields"], "", All),
    (&["get", "a", "--count-only"], "", All),
    (&["get", "a", "--print-value-only", "-w", "json"], "", All),
    (&["get", "a", "--prefix=false"], "", All),
    (&["get", "a", "--prefix", "b"], "", All),
    (&["get", "a", "--prefix", "--from-key"], "", All),
    (&["get", "a", "--order", "x"], "", All),
    (&["get", "a", "--sort-by", "x"], "", All),
    (&["get", "a", "--consistency", "x"], "", All),
    (&["get", ""], "", All),
    (&["get"], "", All),
    (&["get", "a", "--foo"], "", Failure),
    (&["get", "a", "--rev=abc"], "", Failure),
    (&["get", "a", "--prefix=maybe"], "", Failure),
    (&["get", "a", "--command-timeout=5"], "", Failure),
    (&["get", "a", "--command-timeout"], "", Failure),
    (
        &["txn"],
        "mod(\"a\") > \"0\"\n\nput a \"new val\"\nget a\ndel zz\nget a --prefix --limit 1\n\nput b x\n\n",
        All,
    ),
    (&["txn", "-i"], "mod(\"a\") < \"0\"\n\nput a b\n\nput b x\n\n", All),
    (
        &["txn", "-w", "json"],
        "val(\"a\") = \"new val\"\n\nget a --prefix\nput x y --prev-kv\ndel b --prev-kv\n\n\n",
        All,
    ),
    (&["txn", "-w", "fields"], "c(\"a\") != \"0\"\n\nget a\nput x y --prev-kv\ndel x --prev-kv\n\n\n", All),
    (&["txn"], "\nget a --count-only\nget a --keys-only\nget a --print-value-only\n\n\n", All),
    (&["txn"], "\nput quoted \"double \\\\\" q\\\"\"\nget quoted\n\n\n", All),
    (&["txn"], "\nput k 1\nput k 2\n\n\n", All),
    (&["txn"], "ver(\"a\") = \"1\" and more\n\nget a\n\nget b\n\n", All),
    (&["txn"], "\n\n\n", All),
    (&["txn"], "\nget a\n", All),
    (&["txn"], "foo\n\n\n\n", All),
    (&["txn"], "mod(a) = \"1\"\n\n\n\n", All),
    (&["txn"], "mod(\"a\") = 1\n\n\n\n", All),
    (&["txn"], "foo(\"a\") = \"1\"\n\n\n\n", All),
    (&["txn"], "mod(\"a\") ~ \"1\"\n\n\n\n", NotZero),
    (&["txn"], "\nput a\n\n\n", All),
    (&["txn"], "\nput\n\n\n", All),
    (&["txn"], "\nfoo a\n\n\n", All),
    (&["txn"], "\nget a -w json\n\n\n", Failure),
    (&["txn"], "\ndel a b c\n\n\n", All),
    (&["txn", "x"], "\n\n\n", All),
    (&["del", "none"], "", All),
    (&["del", "none", "-w", "json"], "", All),
    (&["del", "a", "--prev-kv", "-w", "json"], "", All),
    (&["del", "b", "-w", "fields"], "", All),
    (&["del", "c", "e", "--prev-kv"], "", All),
    (&["del", "a", "b", "c"], "", All),
    (&["del", "a", "b", "--from-key"], "", All),
    (&["del", "-k", "x"], "", Failure),
    (&["del"], "", All),
    (&["compaction", "3"], "", All),
    (&["compaction", "3"], "", All),
    (&["compaction", "1000"], "", All),
    (&["compaction", "--physical", "5"], "", All),
    (&["compaction", "x"], "", All),
    (&["compaction"], "", All),
    (&["compaction", "1", "2"], "", All),
    (&["get", "a", "--rev", "2"], "", All),
    (&["del", "", "--from-key"], "", All),
    (&["member", "list"], "", All),
    (&["member", "list", "-w", "json"], "", All),
    (&["member", "list", "-w", "fields"], "", All),
    (&["member", "list", "-w", "table"], "", All),
    (&["member", "list", "-w", "protobuf"], "", All),
    (&["endpoint", "status"], "", All),
    (&["endpoint", "status", "-w", "json"], "", All),
    (&["endpoint", "status", "-w", "fields"], "", All),
    (&["endpoint", "status", "-w", "table"], "", All),
    (&["endpoint", "status", "-w", "protobuf"], "", All),
    (&["endpoint", "status", "--cluster"], "", All),
    (&["endpoint", "health"], "", NoDurations),
    (&["endpoint", "health", "-w", "json"], "", NoDurations),
    (&["endpoint", "health", "-w", "fields"], "", NoDurations),
    (&["endpoint", "hashkv"], "", All),
    (&["endpoint", "hashkv", "--rev", "8", "-w", "json"], "", All),
    (&["endpoint", "hashkv", "-w", "fields"], "", All),
    (&["endpoint", "hashkv", "-w", "table"], "", All),
    (&["endpoint", "hashkv", "--rev", "1"], "", Failure),
    (&["nonsense"], "", NotZero),
    (&["get", "a", "--endpoints", ""], "", All),
    (&["get", "a", "--endpoints", "127.0.0.1:1", "--command-timeout", "100ms"], "", All),
    (&["endpoint", "health", "--endpoints", "127.0.0.1:1", "--command-timeout", "100ms"], "", All),
    (&["endpoint", "status", "--endpoints", "127.0.0.1:1", "--command-timeout", "100ms"], "", All),
];

/// How often an endpoint that is still changing is asked again.
pub const ATTEMPTS_MAX: usize = 20;

#[test]
fn windlassctl_prints_what_etcdctl_prints() {
    let Some(programs) = Programs::find() else { return };
    let (theirs, ours) = (Etcd::start(&programs.etcd), Etcd::start(&programs.etcd));
    let (etcdctl, windlassctl) = (programs.etcdctl.as_path(), programs.windlassctl);
    let mut differences = Vec::new();
    for (args, input, compare) in COMMANDS {
        let run = |etcd: &Etcd, program: &Path| {
            comparable(&etcd.run(program, args, input), &etcd.endpoint, *compare)
        };
        let mut expected = run(&theirs, etcdctl);
        let mut got = run(&ours, windlassctl);
        // What an endpoint says of itself, such as its size on disk, depends on when its last batch was written. So
        // one and the same is asked, until it says the same before and after.
        for _ in 0..if args[0] == "endpoint" { ATTEMPTS_MAX } else { 0 } {
            got = run(&theirs, windlassctl);
            let before = std::mem::replace(&mut expected, run(&theirs, etcdctl));
            if before == expected {
                break;
            }
        }
        if expected != got {
            differences
                .push(format!("{args:?} with input {input:?}\netcdctl: {expected}\nwindlassctl: {got}"));
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n\n"));
}
