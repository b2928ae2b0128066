//! Leases.

use std::path::Path;

use crate::Programs;
use crate::compare::Compare::{self, All};
use crate::compare::comparable;
use crate::etcd::Etcd;
use crate::keys::ATTEMPTS_MAX;

/// On a lease of a known id, which etcdctl cannot choose; in this order.
const LEASE_COMMANDS: &[(&[&str], Compare)] = &[
    (&["put", "k", "v", "--lease", "4d2"], All),
    (&["put", "\"", "v", "--lease", "4d2"], All),
    (&["lease", "timetolive", "4d2"], All),
    (&["lease", "timetolive", "4d2", "--keys"], All),
    (&["lease", "timetolive", "4d2", "-w", "json"], All),
    (&["lease", "timetolive", "4d2", "-w", "fields"], All),
    (&["lease", "timetolive", "4d2", "-w", "table"], All),
    (&["lease", "list"], All),
    (&["lease", "list", "-w", "json"], All),
    (&["lease", "list", "-w", "fields"], All),
    (&["lease", "list", "extra"], All),
    (&["lease", "keep-alive", "4d2", "--once"], All),
    (&["lease", "keep-alive", "4d2", "--once", "-w", "json"], All),
    (&["lease", "keep-alive", "4d2", "--once", "-w", "fields"], All),
    (&["lease", "keep-alive", "1", "--once"], All),
    (&["lease", "keep-alive", "1"], All),
    (&["lease", "keep-alive", "zz"], All),
    (&["lease", "keep-alive"], All),
    (&["lease", "timetolive", "1"], All),
    (&["lease", "timetolive", "1", "--keys", "-w", "json"], All),
    (&["lease", "timetolive", "1", "--keys", "-w", "fields"], All),
    (&["lease", "timetolive", "zz"], All),
    (&["lease", "timetolive"], All),
    (&["lease", "revoke", "4d2"], All),
    (&["lease", "revoke", "4d2"], All),
    (&["lease", "revoke", "1", "2"], All),
    (&["lease", "revoke", "zz"], All),
    (&["get", "k"], All),
    (&["lease", "list", "-w", "json"], All),
    (&["lease", "grant", "9000000001"], All),
    (&["lease", "grant", "x"], All),
    (&["lease", "grant", "0x10"], All),
    (&["lease", "grant"], All),
    (&["lease", "grant", "1", "2"], All),
];

#[test]
fn windlassctl_prints_of_leases_what_etcdctl_prints() {
    let Some(programs) = Programs::find() else { return };
    let (theirs, ours) = (Etcd::start(&programs.etcd), Etcd::start(&programs.etcd));
    let (etcdctl, windlassctl) = (programs.etcdctl.as_path(), programs.windlassctl);
    for etcd in [&theirs, &ours] {
        let request = windlass_api::etcdserverpb::LeaseGrantRequest { ttl: 1000, id: 0x4d2 };
        etcd.client().lease_grant(&request).expect("a lease");
    }
    let mut differences = Vec::new();
    for (args, compare) in LEASE_COMMANDS {
        let run =
            |etcd: &Etcd, program: &Path| comparable(&etcd.run(program, args, ""), &etcd.endpoint, *compare);
        let (mut expected, mut got) = (run(&theirs, etcdctl), run(&ours, windlassctl));
        // What is left differs where a second ends between the two.
        for _ in 0..if args.contains(&"timetolive") { ATTEMPTS_MAX } else { 0 } {
            if expected == got {
                break;
            }
            (expected, got) = (run(&theirs, etcdctl), run(&theirs, windlassctl));
        }
        if expected != got {
            differences.push(format!("{args:?}\netcdctl: {expected}\nwindlassctl: {got}"));
        }
    }
    let granted = |program: &Path| ours.run(program, &["lease", "grant", "100"], "").stdout;
    let [expected, got] = [granted(etcdctl), granted(windlassctl)];
    assert_eq!(expected[22..], got[22..], "all behind the id");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n\n"));
}
