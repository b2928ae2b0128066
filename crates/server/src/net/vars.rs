//! `/debug/vars`: what Go programs publish as `expvar`. Source: etcd `server/etcdserver/api/etcdhttp/debug.go`.

use bytes::Bytes;
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use windlass_rpc::Response;

use super::http::page;
use crate::metrics::Process;
use crate::published::Published;

/// The page. What it says of Raft is what this member knows of itself.
pub fn vars(published: &Published) -> Response<Bytes> {
    let command: Vec<_> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let vars = [
        ("cmdline", json!(command)),
        ("file_descriptor_limit", json!(getrlimit(Resource::Nofile).current)),
        // No Go runtime: of its figures only the memory that the kernel gave has a meaning.
        ("memstats", json!({ "Sys": Process::read().map_or(0, |process| process.resident_bytes) })),
        ("raft.status", raft_status(published)),
    ];
    let lines: Vec<String> = vars.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    page("application/json; charset=utf-8", format!("{{\n{}\n}}\n", lines.join(",\n")))
}

fn raft_status(published: &Published) -> Value {
    let (id, leader) = (published.member, published.leader());
    let state = match leader {
        _ if leader == id => "StateLeader",
        _ if leader.0 == 0 => "StateCandidate",
        _ => "StateFollower",
    };
    json!({
        "id": format!("{:x}", id.0),
        "term": published.term().0,
        "commit": published.applied().0,
        "lead": format!("{:x}", leader.0),
        "raftState": state,
        "applied": published.applied().0,
    })
}
