//! Locks of the Lock service while leaders change.

use std::time::Instant;

use windlass_api::etcdserverpb::RangeRequest;
use windlass_api::method::lock;
use windlass_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

use crate::cluster::{Cluster, PATIENCE, until};
use crate::process::Member;

fn waiting(member: &Member) -> i64 {
    let range = RangeRequest { key: "l/".into(), range_end: "l0".into(), ..RangeRequest::default() };
    member.client().range(&range).map_or(0, |found| found.count)
}

#[test]
fn who_waits_for_a_lock_gets_it_under_another_leader() {
    let mut cluster = Cluster::start(3, &[]);
    let (leader, follower) = (cluster.wait_for_leader(), cluster.follower());
    let request = LockRequest { name: "l".into(), lease: 0 };
    let deadline = || Instant::now() + PATIENCE;
    let mut holder = cluster.member(follower).connect();
    let call = holder.begin(lock::LOCK, &request, PATIENCE).expect("sent");
    let held: LockResponse = holder.finish(call, deadline()).expect("nobody else wants it");
    let mut waiter = cluster.member(follower).connect();
    let call = waiter.begin(lock::LOCK, &request, PATIENCE * 2).expect("sent");
    until("somebody to wait", || (waiting(cluster.member(follower)) == 2).then_some(()));

    cluster.kill(leader);
    cluster.wait_for_leader();
    let unlock = UnlockRequest { key: held.key.clone() };
    // Refused while nobody leads.
    until("the lock to be given back", || {
        let mut holder = cluster.member(follower).connect();
        let call = holder.begin(lock::UNLOCK, &unlock, PATIENCE).ok()?;
        holder.finish::<UnlockResponse>(call, deadline()).ok()
    });
    let next: LockResponse = waiter.finish(call, deadline()).expect("its turn");
    assert_ne!(next.key, held.key);
    assert_eq!(waiting(cluster.member(follower)), 1);
}
