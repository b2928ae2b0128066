//! Maintenance and Cluster: every method's answers and refusals.

use prost::Message;
use windlass_api::etcdserverpb as pb;
use windlass_api::method::{cluster, kv, maintenance};
use windlass_client::Connection;

use crate::ask::{Reply, ask, both};

/// How often a change of members may get lost.
const LOST_MAX: usize = 3;

/// What both servers say to a list of requests, in order.
struct Told<'a> {
    connection: &'a mut Connection,
    lines: Vec<String>,
}

impl Told<'_> {
    fn ask<R: Reply>(&mut self, method: &str, request: &impl Message) -> Option<R> {
        self.ask_as(method, request, |answer| answer)
    }

    /// With what may differ taken out of the answer.
    fn ask_as<R: Reply>(
        &mut self,
        method: &str,
        request: &impl Message,
        comparable: impl FnOnce(R) -> R,
    ) -> Option<R> {
        // Behind a write the change before is mostly done.
        ask::<pb::PutResponse>(self.connection, kv::PUT, &put("before")).expect("written");
        let mut answer = ask::<R>(self.connection, method, request);
        // A change of etcd's members that comes before the one before it is wholly done gets lost.
        for _ in 0..LOST_MAX {
            if answer.as_ref().is_err_and(|error| error.contains("timed out")) {
                answer = ask::<R>(self.connection, method, request);
            }
        }
        let answer = answer.map(comparable);
        self.lines.push(format!("{method}: {answer:?}"));
        answer.ok()
    }
}

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), value: "v".into(), ..Default::default() }
}

fn maintenance(told: &mut Told<'_>) {
    let leader = told
        .ask_as(maintenance::STATUS, &pb::StatusRequest {}, |status: pb::StatusResponse| pb::StatusResponse {
            // Each server's own, and what 3.6 added. A store without keys is not empty: it has its members.
            version: String::new(),
            db_size: status.db_size.min(1),
            db_size_in_use: status.db_size_in_use.min(1),
            raft_index: status.raft_index.min(1),
            raft_term: status.raft_term.min(1),
            raft_applied_index: status.raft_applied_index.min(1),
            storage_version: String::new(),
            db_size_quota: 0,
            downgrade_info: None,
            ..status
        })
        .expect("a status")
        .leader;
    for revision in [-1, 0, 1, 2, 100] {
        // Each server hashes its own bytes.
        let own = |answer: pb::HashKvResponse| pb::HashKvResponse { hash: 0, hash_revision: 0, ..answer };
        told.ask_as(maintenance::HASH_KV, &pb::HashKvRequest { revision }, own);
    }
    for (revision, physical) in [(2, false), (2, true), (1, false), (9, false), (-1, false), (3, true)] {
        told.ask::<pb::CompactionResponse>(kv::COMPACT, &pb::CompactionRequest { revision, physical });
        let own = |answer: pb::HashKvResponse| pb::HashKvResponse { hash: 0, hash_revision: 0, ..answer };
        told.ask_as(maintenance::HASH_KV, &pb::HashKvRequest { revision: 0 }, own);
        told.ask_as(maintenance::HASH_KV, &pb::HashKvRequest { revision: 1 }, own);
        if revision != 3 {
            // 3.5.1 takes the revision that was compacted for one that is gone; 3.6 does not.
            told.ask_as(maintenance::HASH_KV, &pb::HashKvRequest { revision: 3 }, own);
        }
    }
    told.ask_as(maintenance::HASH, &pb::HashRequest {}, |answer: pb::HashResponse| pb::HashResponse {
        hash: 0,
        ..answer
    });
    told.ask::<pb::DefragmentResponse>(maintenance::DEFRAGMENT, &pb::DefragmentRequest {});
    for target_id in [leader, 0, 7] {
        told.ask::<pb::MoveLeaderResponse>(maintenance::MOVE_LEADER, &pb::MoveLeaderRequest { target_id });
    }
    for action in [0, 1, 7] {
        for version in ["", "x", "3", "3.9.9.9", "9.9.9", "4.0.0"] {
            let request = pb::DowngradeRequest { action, version: version.into() };
            told.ask::<pb::DowngradeResponse>(maintenance::DOWNGRADE, &request);
        }
    }
    let cancel = pb::DowngradeRequest { action: 2, version: String::new() };
    told.ask::<pb::DowngradeResponse>(maintenance::DOWNGRADE, &cancel);
}

/// The new member's id has the time in it.
fn without_new_ids(answer: pb::MemberAddResponse) -> pb::MemberAddResponse {
    let pb::MemberAddResponse { header, member, members } = answer;
    let hide =
        |member: pb::Member| pb::Member { id: if member.name.is_empty() { 1 } else { member.id }, ..member };
    let members = members.into_iter().map(hide).collect();
    pb::MemberAddResponse { header, member: member.map(hide), members }
}

fn members(told: &mut Told<'_>) {
    let add = |urls: &[&str], is_learner| pb::MemberAddRequest {
        peer_ur_ls: urls.iter().map(|&url| url.to_owned()).collect(),
        is_learner,
    };
    for linearizable in [true, false] {
        told.ask::<pb::MemberListResponse>(cluster::MEMBER_LIST, &pb::MemberListRequest { linearizable });
    }
    for urls in [
        &[][..],
        &[""],
        &["x"],
        &["127.0.0.1:1"],
        &["ftp://127.0.0.1:1"],
        &["http://127.0.0.1"],
        &["http://127.0.0.1:1/path"],
        &["http://127.0.0.1:x"],
        &["http://127.0.0.1:2"],
        &["http://127.0.0.1:9", "http://127.0.0.1:2"],
    ] {
        for is_learner in [false, true] {
            told.ask_as(cluster::MEMBER_ADD, &add(urls, is_learner), without_new_ids);
        }
    }
    // Nothing of that was let in: a cluster of two that has one would answer no more.
    told.ask::<pb::MemberListResponse>(cluster::MEMBER_LIST, &pb::MemberListRequest { linearizable: true });
    for id in [0, 7, u64::MAX] {
        told.ask::<pb::MemberRemoveResponse>(cluster::MEMBER_REMOVE, &pb::MemberRemoveRequest { id });
        told.ask::<pb::MemberPromoteResponse>(cluster::MEMBER_PROMOTE, &pb::MemberPromoteRequest { id });
        for url in ["http://127.0.0.1:3", "x", "http://127.0.0.1:2"] {
            let update = pb::MemberUpdateRequest { id, peer_ur_ls: vec![url.into()] };
            told.ask::<pb::MemberUpdateResponse>(cluster::MEMBER_UPDATE, &update);
        }
    }
    let list = pb::MemberListRequest { linearizable: false };
    let own = told.ask::<pb::MemberListResponse>(cluster::MEMBER_LIST, &list).expect("a list").members[0].id;
    // What is no URL etcd takes, too, and the member cannot be reached any more.
    for urls in [&["http://127.0.0.1:2"][..], &["http://127.0.0.1:5", "http://127.0.0.1:4"]] {
        let peer_ur_ls = urls.iter().map(|&url| url.to_owned()).collect();
        told.ask::<pb::MemberUpdateResponse>(
            cluster::MEMBER_UPDATE,
            &pb::MemberUpdateRequest { id: own, peer_ur_ls },
        );
    }
    told.ask::<pb::MemberPromoteResponse>(cluster::MEMBER_PROMOTE, &pb::MemberPromoteRequest { id: own });
    let added = told.ask_as(
        cluster::MEMBER_ADD,
        &add(&["http://127.0.0.1:8", "http://127.0.0.1:7"], true),
        |answer: pb::MemberAddResponse| answer,
    );
    let learner = added.and_then(|added| added.member);
    let learner = learner.unwrap_or_else(|| panic!("no learner: {:#?}", told.lines)).id;
    // The id has the time in it.
    told.lines.pop();
    told.ask_as(cluster::MEMBER_ADD, &add(&["http://127.0.0.1:9"], true), without_new_ids);
    told.ask_as(cluster::MEMBER_ADD, &add(&["http://127.0.0.1:8"], false), without_new_ids);
    let hide = |text: &mut String| *text = text.replace(&learner.to_string(), "LEARNER");
    told.ask::<pb::MemberPromoteResponse>(cluster::MEMBER_PROMOTE, &pb::MemberPromoteRequest { id: learner });
    told.ask::<pb::MoveLeaderResponse>(
        maintenance::MOVE_LEADER,
        &pb::MoveLeaderRequest { target_id: learner },
    );
    // Members come by their ids, of which the learner's is another one each time.
    told.ask_as(cluster::MEMBER_LIST, &list, |mut answer: pb::MemberListResponse| {
        answer.members.sort_by(|a, b| a.name.cmp(&b.name));
        answer
    });
    told.ask::<pb::MemberRemoveResponse>(cluster::MEMBER_REMOVE, &pb::MemberRemoveRequest { id: learner });
    told.ask::<pb::MemberRemoveResponse>(cluster::MEMBER_REMOVE, &pb::MemberRemoveRequest { id: learner });
    told.ask::<pb::MemberPromoteResponse>(cluster::MEMBER_PROMOTE, &pb::MemberPromoteRequest { id: learner });
    told.lines.iter_mut().for_each(hide);
}

fn compare(tell: fn(&mut Told<'_>)) {
    let Some(servers) = both(&[]) else { return };
    let [wanted, got] = servers.each_ref().map(|server| {
        let mut told = Told { connection: &mut server.member.connect(), lines: Vec::new() };
        tell(&mut told);
        told.lines
    });
    // What etcd lost each time says nothing.
    let is_told = |wanted: &str| !wanted.contains("timed out");
    let differ: Vec<_> =
        wanted.iter().zip(&got).filter(|(wanted, got)| wanted != got && is_told(wanted)).collect();
    assert!(differ.is_empty() && wanted.len() == got.len(), "{} differ: {differ:#?}", differ.len());
}

#[test]
fn maintenance_is_answered_as_by_a_real_etcd() {
    compare(maintenance);
}

#[test]
fn changes_of_members_are_answered_as_by_a_real_etcd() {
    compare(members);
}
