//! What the client is asked to do, one function a part.

use etcd_client::{
    AlarmAction, AlarmType, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, EventType, GetOptions,
    KvClientPrefix, LeaseTimeToLiveOptions, LockOptions, MemberAddOptions, Permission, ProclaimOptions,
    PutOptions, ResignOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, WatchOptions, WatchResponse,
    WatchStream,
};

use crate::{Failure, Outcome, connect, connect_as, equal, refused};

pub async fn keys(endpoint: &str) -> Outcome {
    let mut client = connect(endpoint).await?;
    for i in 0..3 {
        client.put(format!("rs/{i}"), format!("v{i}"), None).await?;
    }
    equal(client.get("rs/1", None).await?.kvs()[0].value(), b"v1")?;
    equal(client.get("rs/none", None).await?.count(), 0)?;
    let sorted = GetOptions::new().with_prefix().with_sort(SortTarget::Key, SortOrder::Descend).with_limit(2);
    let page = client.get("rs/", Some(sorted)).await?;
    equal(page.kvs().iter().map(etcd_client::KeyValue::key).collect(), vec![&b"rs/2"[..], b"rs/1"])?;
    equal((page.count(), page.more()), (3, true))?;
    let from = GetOptions::new().with_range("rs/2").with_keys_only();
    equal(client.get("rs/0", Some(from)).await?.kvs()[1].value(), b"")?;

    let before = client.get("rs/1", None).await?.header().ok_or("no header")?.revision();
    let old = client.put("rs/1", "new", Some(PutOptions::new().with_prev_key())).await?;
    equal(old.prev_key().ok_or("no old pair")?.value(), b"v1")?;
    let then = GetOptions::new().with_revision(before);
    equal(client.get("rs/1", Some(then)).await?.kvs()[0].value(), b"v1")?;
    let gone = client.delete("rs/", Some(DeleteOptions::new().with_prefix().with_prev_key())).await?;
    equal((gone.deleted(), gone.prev_kvs().len()), (3, 3))?;

    let mut spaced = KvClientPrefix::new(client.kv_client(), "space/".into());
    spaced.put("a", "1", None).await?;
    equal(client.get("space/a", None).await?.kvs()[0].value(), b"1")?;
    refused(client.get("", None).await, "key is not provided")
}

pub async fn transactions(endpoint: &str) -> Outcome {
    let mut client = connect(endpoint).await?;
    client.put("txn", "1", None).await?;
    let swap = |from: &str, to: &str| {
        Txn::new()
            .when([
                Compare::value("txn", CompareOp::Equal, from),
                Compare::version("txn/none", CompareOp::Equal, 0),
            ])
            .and_then([
                TxnOp::put("txn", to, Some(PutOptions::new().with_prev_key())),
                TxnOp::get("txn", None),
            ])
            .or_else([TxnOp::get("txn", None)])
    };
    let won = client.txn(swap("1", "2")).await?;
    equal(won.succeeded(), true)?;
    match &won.op_responses()[..] {
        [TxnOpResponse::Put(put), TxnOpResponse::Get(get)] => {
            equal(put.prev_key().ok_or("no old pair")?.value(), b"1")?;
            equal(get.kvs()[0].value(), b"2")?;
        }
        other => return Err(format!("{other:?}").into()),
    }
    let lost = client.txn(swap("1", "3")).await?;
    equal(lost.succeeded(), false)?;
    match &lost.op_responses()[..] {
        [TxnOpResponse::Get(get)] => equal(get.kvs()[0].value(), b"2")?,
        other => return Err(format!("{other:?}").into()),
    }
    let nested = Txn::new().and_then([TxnOp::txn(Txn::new().and_then([TxnOp::delete("txn", None)]))]);
    equal(client.txn(nested).await?.succeeded(), true)?;
    equal(client.get("txn", None).await?.count(), 0)?;
    let twice = Txn::new().and_then([TxnOp::put("a", "1", None), TxnOp::put("a", "2", None)]);
    refused(client.txn(twice).await, "duplicate key given in txn request")
}

pub async fn leases(endpoint: &str) -> Outcome {
    let mut client = connect(endpoint).await?;
    let granted = client.lease_grant(30, None).await?;
    equal(granted.ttl(), 30)?;
    let id = granted.id();
    client.put("leased", "x", Some(PutOptions::new().with_lease(id))).await?;
    let left = client.lease_time_to_live(id, Some(LeaseTimeToLiveOptions::new().with_keys())).await?;
    equal((left.granted_ttl(), left.keys()), (30, &[b"leased".to_vec()][..]))?;
    equal((1..=30).contains(&left.ttl()), true)?;
    equal(client.leases().await?.leases().iter().any(|lease| lease.id() == id), true)?;
    let (mut keeper, mut answers) = client.lease_keep_alive(id).await?;
    for _ in 0..3 {
        keeper.keep_alive().await?;
        let answer = answers.message().await?.ok_or("the stream ended")?;
        equal((answer.id(), answer.ttl()), (id, 30))?;
    }
    client.lease_revoke(id).await?;
    equal(client.get("leased", None).await?.count(), 0)?;
    keeper.keep_alive().await?;
    equal(answers.message().await?.ok_or("the stream ended")?.ttl(), 0)?;
    equal(client.lease_time_to_live(id, None).await?.ttl(), -1)?;
    refused(client.lease_revoke(id).await, "requested lease not found")?;
    refused(
        client.put("leased", "x", Some(PutOptions::new().with_lease(id))).await,
        "requested lease not found",
    )
}

/// What a stream of watches says next.
async fn next(stream: &mut WatchStream) -> Result<WatchResponse, Failure> {
    Ok(stream.message().await?.ok_or("the stream ended")?)
}

pub async fn watches(endpoint: &str) -> Outcome {
    let mut client = connect(endpoint).await?;
    let mut stream =
        client.watch("watched/", Some(WatchOptions::new().with_prefix().with_prev_key())).await?;
    equal(
        (next(&mut stream).await?.created(), client.put("watched/a", "1", None).await.is_ok()),
        (true, true),
    )?;
    client.delete("watched/a", None).await?;
    let put = next(&mut stream).await?;
    equal((put.events()[0].event_type(), put.events()[0].prev_kv().is_none()), (EventType::Put, true))?;
    let gone = next(&mut stream).await?;
    equal(gone.events()[0].event_type(), EventType::Delete)?;
    equal(gone.events()[0].prev_kv().ok_or("no old pair")?.value(), b"1")?;

    // A second one on the same stream, from the past.
    let from = put.header().ok_or("no header")?.revision();
    stream.watch("watched/a", Some(WatchOptions::new().with_start_revision(from).with_watch_id(7))).await?;
    equal(next(&mut stream).await?.created(), true)?;
    // In one response or in two.
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let response = next(&mut stream).await?;
        seen.extend(response.events().iter().map(|event| (response.watch_id(), event.event_type())));
    }
    equal(seen, vec![(7, EventType::Put), (7, EventType::Delete)])?;
    stream.request_progress().await?;
    let progress = next(&mut stream).await?;
    equal((progress.watch_id(), progress.events().len()), (-1, 0))?;
    for id in [7, put.watch_id()] {
        stream.cancel(id).await?;
        let canceled = next(&mut stream).await?;
        equal((canceled.watch_id(), canceled.canceled()), (id, true))?;
    }
    Ok(())
}

pub async fn locks(endpoint: &str) -> Outcome {
    let mut client = connect(endpoint).await?;
    let held = client.lock("lock", None).await?;
    equal(held.key().starts_with(b"lock/"), true)?;
    // Who comes second waits for the first.
    let lease = client.lease_grant(20, None).await?.id();
    let mut other = connect(endpoint).await?;
    let second =
        tokio::spawn(async move { other.lock("lock", Some(LockOptions::new().with_lease(lease))).await });
    while client.get("lock/", Some(GetOptions::new().with_prefix().with_count_only())).await?.count() < 2 {
        tokio::task::yield_now().await;
    }
    equal(second.is_finished(), false)?;
    client.unlock(held.key()).await?;
    let key = second.await??.key().to_vec();
    equal(client.get(key.clone(), None).await?.kvs()[0].lease(), lease)?;
    client.unlock(key).await?;
    equal(client.get("lock/", Some(GetOptions::new().with_prefix())).await?.count(), 0)
}

pub async fn elections(endpoint: &str) -> Outcome {
    let mut client = connect(endpoint).await?;
    refused(client.leader("elected").await, "election: no leader")?;
    let lease = client.lease_grant(20, None).await?.id();
    let first = client.campaign("elected", "first", lease).await?;
    let leader = first.leader().ok_or("no key")?.clone();
    equal((leader.name(), leader.lease()), (&b"elected"[..], lease))?;
    let mut observer = client.observe("elected").await?;
    let seen = observer.message().await?.ok_or("the stream ended")?;
    equal(seen.kv().ok_or("no pair")?.value(), b"first")?;
    client.proclaim("changed", Some(ProclaimOptions::new().with_leader(leader.clone()))).await?;
    let seen = observer.message().await?.ok_or("the stream ended")?;
    equal(seen.kv().ok_or("no pair")?.value(), b"changed")?;
    equal(client.leader("elected").await?.kv().ok_or("no pair")?.key(), leader.key())?;

    let lease = client.lease_grant(20, None).await?.id();
    let mut other = connect(endpoint).await?;
    let second = tokio::spawn(async move { other.campaign("elected", "second", lease).await });
    client.resign(Some(ResignOptions::new().with_leader(leader))).await?;
    let leader = second.await??.leader().ok_or("no key")?.clone();
    let seen = observer.message().await?.ok_or("the stream ended")?;
    equal(seen.kv().ok_or("no pair")?.value(), b"second")?;
    client.resign(Some(ResignOptions::new().with_leader(leader))).await?;
    Ok(())
}

pub async fn maintenance(endpoint: &str) -> Outcome {
    let mut client = connect(endpoint).await?;
    let status = client.status().await?;
    equal((status.version().starts_with("3."), status.is_learner()), (true, false))?;
    equal((status.db_size() > 0, status.leader() > 0, status.raft_applied_index() > 0), (true, true, true))?;
    equal(client.alarm(AlarmAction::Get, AlarmType::None, None).await?.alarms().len(), 0)?;
    equal(client.defragment().await?.header().is_none(), true)?;
    equal(client.hash().await?.hash() != 0, true)?;
    equal(client.hash_kv(0).await?.hash() != 0, true)?;

    let mut stream = client.snapshot().await?;
    let (mut bytes, mut left) = (0_u64, u64::MAX);
    while let Some(piece) = stream.message().await? {
        bytes += piece.blob().len() as u64;
        left = piece.remaining_bytes();
    }
    // A whole bbolt file of pages, and its SHA-256.
    equal((left, bytes > 4096, bytes % 512), (0, true, 32))?;

    client.put("old", "1", None).await?;
    let now = client.put("old", "2", None).await?.header().ok_or("no header")?.revision();
    client.compact(now, None).await?;
    let then = GetOptions::new().with_revision(now - 1);
    refused(client.get("old", Some(then)).await, "required revision has been compacted")?;
    let mut stream = client.watch("old", Some(WatchOptions::new().with_start_revision(1))).await?;
    equal(next(&mut stream).await?.created(), true)?;
    let canceled = next(&mut stream).await?;
    equal((canceled.canceled(), canceled.compact_revision()), (true, now))
}

/// A real etcd drops a change of members, and never answers it, while its log has another one before it that is not through. A
/// write that is answered shows that none is left.
async fn settle(client: &mut Client) -> Outcome {
    client.put("between", "", None).await?;
    Ok(())
}

pub async fn members(endpoint: &str) -> Outcome {
    let mut client = connect(endpoint).await?;
    equal(client.member_list().await?.members().len(), 1)?;
    let learner = MemberAddOptions::new().with_is_learner();
    settle(&mut client).await?;
    let added = client.member_add(["http://127.0.0.1:1"], Some(learner)).await?;
    let member = added.member().ok_or("no member")?;
    equal((member.is_learner(), added.member_list().len()), (true, 2))?;
    refused(
        client.member_promote(member.id()).await,
        "can only promote a learner member which is in sync with leader",
    )?;
    settle(&mut client).await?;
    client.member_update(member.id(), vec!["http://127.0.0.1:2".to_owned()]).await?;
    let listed = client.member_list().await?;
    let urls = listed.members().iter().find(|one| one.id() == member.id()).ok_or("not listed")?.peer_urls();
    equal(urls, &["http://127.0.0.1:2".to_owned()][..])?;
    settle(&mut client).await?;
    equal(client.member_remove(member.id()).await?.members().len(), 1)?;
    settle(&mut client).await?;
    refused(client.member_remove(member.id()).await, "member not found")
}

pub async fn auth(endpoint: &str) -> Outcome {
    let mut client = connect(endpoint).await?;
    refused(client.auth_enable().await, "root user does not exist")?;
    client.user_add("root", "pw", None).await?;
    client.role_add("root").await?;
    client.user_grant_role("root", "root").await?;
    client.role_add("reader").await?;
    let allowed = Permission::read_write("allowed/").with_prefix();
    client.role_grant_permission("reader", allowed.clone()).await?;
    equal(client.role_get("reader").await?.permissions(), vec![allowed])?;
    client.user_add("alice", "alicepw", None).await?;
    client.user_grant_role("alice", "reader").await?;
    equal(client.user_get("alice").await?.roles(), &["reader".to_owned()][..])?;
    client.auth_enable().await?;

    let as_user =
        |name: &str, password: &str| connect_as(endpoint, ConnectOptions::new().with_user(name, password));
    let mut alice = as_user("alice", "alicepw").await?;
    alice.put("allowed/a", "1", None).await?;
    refused(alice.put("denied", "1", None).await, "permission denied")?;
    refused(client.get("allowed/a", None).await, "user name is empty")?;
    let wrong: Result<Client, Failure> = as_user("alice", "wrong").await;
    let why = wrong.err().map_or_else(String::new, |error| error.to_string());
    equal(why.contains("invalid user ID or password"), true)?;

    let mut root = as_user("root", "pw").await?;
    root.auth_disable().await?;
    equal(client.get("allowed/a", None).await?.kvs()[0].value(), b"1")?;
    for user in ["alice", "root"] {
        client.user_delete(user).await?;
    }
    for role in ["reader", "root"] {
        client.role_delete(role).await?;
    }
    equal((client.user_list().await?.users().len(), client.role_list().await?.roles().len()), (0, 0))
}
