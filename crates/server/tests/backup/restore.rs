//! In from etcd, and from another Windlass: a restored folder is a member that goes on with everything.

use std::path::Path;
use std::process::Command;

use windlass::restore::restore;
use windlass::startup::{Config, flags};
use windlass_api::etcdserverpb::{MemberListRequest, MemberListResponse};
use windlass_api::method::cluster;
use windlass_replica::backup::Backend;

use crate::process::{Launch, Member, Scratch, etcd_folder, free_address};
use crate::store::{Seen, ask, fill, look, put};
use crate::stream::taken;

/// The file of a snapshot.
fn saved(member: &Member) -> Vec<u8> {
    let mut messages = taken(member);
    messages.pop();
    messages.iter().flat_map(|message| message.blob.to_vec()).collect()
}

fn restored(folder: &Path, identity: &[String], file: &[u8], bump: Option<u64>) {
    let mut arguments = identity.to_vec();
    arguments.push(format!("--data-dir={}", folder.join("data").display()));
    let Ok(flags::Command::Start(values)) = flags::parse(&arguments, &[]) else { panic!("{arguments:?}") };
    let config = Config::from_values(&values, 1).expect("a member's flags");
    let backend = Backend::open(file).expect("a bbolt file");
    restore(&config, &backend, bump).expect("restored");
}

fn assert_same(found: &Seen, wanted: &Seen) {
    assert_eq!(found.leases, wanted.leases);
    assert_eq!((found.revision, &found.before), (wanted.revision, &wanted.before));
    assert_eq!(found.kvs.len(), wanted.kvs.len());
    for (found, wanted) in found.kvs.iter().zip(&wanted.kvs) {
        assert!(found == wanted, "revision {}", found.0);
    }
}

#[test]
fn an_etcd_moves_in() {
    let Some(tools) = etcd_folder() else { return };
    let (theirs, ours) = (Scratch::new(), Scratch::new());
    let etcd = Launch::new(theirs.path())
        .program(&tools.join("etcd"))
        .flag("--initial-advertise-peer-urls=http://localhost:2380")
        .member();
    fill(&etcd);
    let file = theirs.path().join("snapshot.db");
    let endpoint = format!("--endpoints=http://{}", etcd.endpoint());
    let save = Command::new(tools.join("etcdctl")).args([&endpoint, "snapshot", "save"]).arg(&file).output();
    assert!(save.expect("etcdctl starts").status.success());
    let file = std::fs::read(file).expect("it was saved");
    let seen = look(&etcd);
    restored(ours.path(), &[], &file, None);
    let member = Launch::new(ours.path()).member();
    assert_same(&look(&member), &seen);
    assert_eq!(put(&member, "next", b"", 0), seen.revision + 1);
    // What it holds then is its own: it outlives a crash.
    let seen = look(&member);
    member.kill();
    assert_same(&look(&Launch::new(ours.path()).member()), &seen);
}

/// What etcdctl prints as this user, or its complaint.
fn ctl(tools: &Path, endpoint: &str, arguments: &[&str]) -> Result<String, String> {
    let command = Command::new(tools.join("etcdctl"))
        .arg(format!("--endpoints=http://{endpoint}"))
        .args(arguments)
        .output()
        .expect("etcdctl starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if command.status.success() { Ok(text(&command.stdout)) } else { Err(text(&command.stderr)) }
}

/// Users come in from etcd and go out to it again, and nobody else is let in on the way.
#[test]
fn users_move_in_and_out() {
    let Some(tools) = etcd_folder() else { return };
    let folders = [Scratch::new(), Scratch::new(), Scratch::new()];
    let etcd_at = |folder: &Scratch| {
        let launch = Launch::new(folder.path()).program(&tools.join("etcd"));
        launch.flag("--initial-advertise-peer-urls=http://localhost:2380")
    };
    let etcd = etcd_at(&folders[0]).member();
    for words in ["put a 1", "user add root:pw", "user grant-role root root", "auth enable"] {
        let words: Vec<&str> = words.split(' ').collect();
        ctl(&tools, etcd.endpoint(), &words).expect("done");
    }
    let as_root =
        |endpoint: &str, words: &[&str]| ctl(&tools, endpoint, &[&["--user=root:pw"], words].concat());
    let file = folders[0].path().join("snapshot.db");
    let file = file.to_str().expect("a plain path");
    as_root(etcd.endpoint(), &["snapshot", "save", file]).expect("saved");
    restored(folders[1].path(), &[], &std::fs::read(file).expect("it was saved"), None);
    let launch = Launch::new(folders[1].path());
    let endpoint = launch.endpoint().to_owned();
    let member = launch.member_when(|| as_root(&endpoint, &["get", "a"]).is_ok());
    let refused = |endpoint: &str| {
        assert!(ctl(&tools, endpoint, &["get", "a"]).expect_err("no user").contains("user name is empty"));
        assert!(ctl(&tools, endpoint, &["--user=root:no", "get", "a"]).is_err());
    };
    refused(member.endpoint());
    as_root(member.endpoint(), &["put", "b", "2"]).expect("root may");
    let file = folders[2].path().join("snapshot.db");
    let file = file.to_str().expect("a plain path");
    assert!(ctl(&tools, member.endpoint(), &["snapshot", "save", file]).is_err(), "only root may");
    as_root(member.endpoint(), &["snapshot", "save", file]).expect("saved");
    let data = folders[2].path().join("data");
    let restore = Command::new(tools.join("etcdutl"))
        .args(["snapshot", "restore", file, "--data-dir", data.to_str().expect("a plain path")])
        .output();
    assert!(restore.expect("etcdutl starts").status.success());
    let launch = etcd_at(&folders[2]);
    let endpoint = launch.endpoint().to_owned();
    let etcd = launch.member_when(|| as_root(&endpoint, &["get", "a"]).is_ok());
    refused(etcd.endpoint());
    assert_eq!(as_root(etcd.endpoint(), &["get", "b"]).expect("root may"), "b\n2\n");
}

#[test]
fn three_members_begin_with_one_snapshot() {
    let folder = Scratch::new();
    let first = Launch::new(folder.path()).flag("--shards=2").member();
    fill(&first);
    let (seen, file) = (look(&first), saved(&first));
    let peers: Vec<String> = (0..3).map(|_| free_address()).collect();
    let cluster: Vec<String> =
        peers.iter().enumerate().map(|(n, peer)| format!("m{n}=http://{peer}")).collect();
    let folders: Vec<Scratch> = (0..3).map(|_| Scratch::new()).collect();
    let launches: Vec<Launch> = (0..3)
        .map(|n| {
            let identity = [
                format!("--name=m{n}"),
                format!("--initial-cluster={}", cluster.join(",")),
                format!("--initial-advertise-peer-urls=http://{}", peers[n]),
                "--initial-cluster-token=restored".to_owned(),
            ];
            restored(folders[n].path(), &identity, &file, None);
            Launch::new(folders[n].path())
                .flags(&identity)
                .flag(format!("--listen-peer-urls=http://{}", peers[n]))
                .flag(format!("--shards={}", n + 1))
        })
        .collect();
    let mut members: Vec<Member> = launches.iter().map(Launch::spawn).collect();
    for member in &mut members {
        let ended = member.wait_until_ready();
        assert!(ended.is_none(), "{ended:?}: {}", member.log());
    }
    for member in &members {
        assert_same(&look(member), &seen);
    }
    assert_eq!(put(&members[2], "next", b"", 0), seen.revision + 1);
    let list: MemberListResponse =
        ask(&members[0], cluster::MEMBER_LIST, &MemberListRequest { linearizable: true }).expect("a list");
    assert_eq!(list.members.len(), 3);
    assert_eq!(look(&members[0]).revision, seen.revision + 1);
}

#[test]
fn a_raised_revision_compacts_what_is_before() {
    let (folder, raised) = (Scratch::new(), Scratch::new());
    let member = Launch::new(folder.path()).member();
    fill(&member);
    let (seen, file) = (look(&member), saved(&member));
    restored(raised.path(), &[], &file, Some(1_000_000));
    let member = Launch::new(raised.path()).member();
    let found = look(&member);
    assert_eq!(found.revision, seen.revision + 1_000_000);
    assert_eq!((found.kvs.len(), &found.kvs[0].1), (1, &seen.kvs[0].1));
    assert_eq!(found.before, "etcdserver: mvcc: required revision has been compacted");
    assert_eq!(put(&member, "next", b"", 0), found.revision + 1);
}
