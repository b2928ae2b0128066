//! The requests of a Kubernetes API server, in the exact shapes in which it makes them (`k8s.io/apiserver`
//! `pkg/storage/etcd3`): objects, lists in pages at a fixed revision, hundreds of watches with bookmarks, leases and the
//! compaction that several API servers agree on.
//!
//! `WINDLASS_KUBERNETES_OBJECTS` and `WINDLASS_KUBERNETES_WATCHES` set the size: 100000 and 200 are those of a large
//! cluster. The same is asked of a real etcd where `WINDLASS_ETCD_DIR` names one. What each part took, and the server's
//! memory, is printed.

#![allow(clippy::print_stderr, reason = "figures are printed for whoever reads the test's output")]

mod apiserver;
#[path = "../process/mod.rs"]
mod process;
mod watches;

use std::path::Path;
use std::time::Instant;

use windlass_api::etcdserverpb as pb;
use windlass_api::method::maintenance;

use apiserver::ApiServer;
use process::{Launch, Member, Scratch, etcd_folder};
use watches::Watches;

/// Objects where nothing else is asked for.
const OBJECTS: usize = 3000;
/// Watch streams where nothing else is asked for.
const WATCHES: usize = 20;
/// What the objects are: each kind is watched by some streams.
pub const RESOURCES: [&str; 20] = [
    "pods",
    "configmaps",
    "leases",
    "events",
    "secrets",
    "minions",
    "endpointslices",
    "services/specs",
    "services/endpoints",
    "serviceaccounts",
    "namespaces",
    "replicasets",
    "deployments",
    "daemonsets",
    "statefulsets",
    "jobs",
    "cronjobs",
    "persistentvolumes",
    "persistentvolumeclaims",
    "controllerrevisions",
];
/// How many objects a page has: client-go's default.
const PAGE: i64 = 500;

fn size(name: &str, default: usize) -> usize {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
}

/// Says what a part took, and what the server's memory was at most so far.
struct Clock<'a> {
    member: &'a Member,
    since: Instant,
}

impl Clock<'_> {
    fn lap(&mut self, part: &str) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.member.pid().as_raw_pid()));
        let status = status.unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let took = self.since.elapsed().as_secs_f64();
        eprintln!("{part}: {took:.2} s, peak memory {}", peak.unwrap_or("unknown").trim());
        self.since = Instant::now();
    }
}

/// All that an API server does, on one server.
fn story(member: &Member, has_range_stream: bool) {
    let (objects, watches) =
        (size("WINDLASS_KUBERNETES_OBJECTS", OBJECTS), size("WINDLASS_KUBERNETES_WATCHES", WATCHES));
    let mut clock = Clock { member, since: Instant::now() };
    let mut api = ApiServer::new(member);
    let mut watching = Watches::start(member, watches, api.revision() + 1);
    clock.lap("watches begun");

    api.create_all(objects);
    clock.lap("objects created");
    watching.expect_creations(objects);
    clock.lap("creations seen by all watches");
    watching.expect_progress(api.revision());
    clock.lap("progress told to all watches");

    api.create_again();
    api.update_and_lose(objects);
    watching.expect_updates(api.updated());
    clock.lap("updates");
    let listed_at = api.list_while_it_changes(objects, PAGE);
    clock.lap("lists in pages at a fixed revision");
    if has_range_stream {
        api.list_as_stream(objects);
        clock.lap("lists as streams");
    }
    api.counts(objects);
    clock.lap("counts");
    api.delete_some(&mut watching);
    clock.lap("deletions");
    api.leased_events_go(&mut watching);
    clock.lap("leases");
    watching.expect_bookmarks(api.revision());
    clock.lap("bookmarks");
    api.compact_as_several(listed_at);
    Watches::expect_gone(member, listed_at);
    clock.lap("compaction");
    api.is_healthy();
}

#[test]
fn an_api_server_is_served() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--watch-progress-notify-interval=1s").member();
    story(&member, true);
    let status: pb::StatusResponse = ApiServer::new(&member).ask(maintenance::STATUS, &pb::StatusRequest {});
    let version: Vec<u64> = status.version.split('.').map(|part| part.parse().expect("a number")).collect();
    assert!(
        version >= vec![3, 5, 13],
        "consistent lists from the cache need a newer version than {version:?}"
    );
}

/// The story is true of etcd too, so it asks for nothing that etcd does not do.
#[test]
fn an_api_server_is_served_so_by_a_real_etcd() {
    let Some(etcd) = etcd_folder() else { return };
    let folder = Scratch::new();
    let launch = Launch::new(folder.path()).program(Path::new(&etcd.join("etcd")));
    let member = launch.flag("--experimental-watch-progress-notify-interval=1s").member();
    story(&member, false);
}
