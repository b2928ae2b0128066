//! Authentication with the real binary: what each method needs, leases, tokens, and what outlives a restart.

#[path = "../process/mod.rs"]
mod process;
mod session;

use std::time::{Duration, Instant};

use prost::Message;
use windlass_api::authpb::Permission;
use windlass_api::authpb::permission::Type;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{self as pb, RequestOp};
use windlass_api::method::{auth, cluster, kv, lease, maintenance, watch};
use windlass_client::Code;

use process::{Launch, Scratch};
use session::{Refusal, Session, World};

/// What somebody must be for a request to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Nobody.
    Public,
    /// Some user.
    User,
    /// One with the permission, or root.
    Permitted,
}

const NO_TOKEN: &str = "etcdserver: user name is empty";
const BAD_TOKEN: &str = "etcdserver: invalid auth token";
const DENIED: &str = "etcdserver: permission denied";

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), value: "v".into(), ..Default::default() }
}

fn range(key: &str, end: &[u8]) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_owned().into(), range_end: end.to_vec().into(), ..Default::default() }
}

fn delete(key: &str, end: &[u8]) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key.to_owned().into(), range_end: end.to_vec().into(), prev_kv: false }
}

fn success(request: Request) -> pb::TxnRequest {
    pb::TxnRequest { success: vec![RequestOp { request: Some(request) }], ..Default::default() }
}

/// Every method, with requests that alice must not be answered; of those that need a user alone, ones that she is.
fn requests(denied_lease: i64) -> Vec<(&'static str, Vec<u8>, Level)> {
    use Level::{Permitted, Public, User};
    let compare = pb::Compare { key: "denied".into(), ..Default::default() };
    let open = pb::Compare { key: "allowed".into(), range_end: vec![0].into(), ..Default::default() };
    let on_lease = pb::PutRequest { lease: denied_lease, ..put("allowed") };
    let old = pb::PutRequest { prev_kv: true, ..put("writeonly") };
    let mut rows = vec![
        (kv::RANGE, range("denied", b"").encode_to_vec(), Permitted),
        (
            kv::RANGE,
            pb::RangeRequest { serializable: true, ..range("denied", b"") }.encode_to_vec(),
            Permitted,
        ),
        (kv::RANGE, range("allowed", &[0]).encode_to_vec(), Permitted),
        (kv::PUT, put("denied").encode_to_vec(), Permitted),
        (kv::PUT, old.encode_to_vec(), Permitted),
        (kv::PUT, on_lease.encode_to_vec(), Permitted),
        (kv::DELETE_RANGE, delete("denied", b"").encode_to_vec(), Permitted),
        (kv::DELETE_RANGE, delete("allowed", &[0]).encode_to_vec(), Permitted),
        (kv::COMPACT, pb::CompactionRequest { revision: 1, physical: false }.encode_to_vec(), Permitted),
        (lease::LEASE_GRANT, pb::LeaseGrantRequest { ttl: 60, id: 0 }.encode_to_vec(), User),
        (lease::LEASE_REVOKE, pb::LeaseRevokeRequest { id: denied_lease }.encode_to_vec(), Permitted),
        (
            lease::LEASE_TIME_TO_LIVE,
            pb::LeaseTimeToLiveRequest { id: denied_lease, keys: false }.encode_to_vec(),
            User,
        ),
        (
            lease::LEASE_TIME_TO_LIVE,
            pb::LeaseTimeToLiveRequest { id: denied_lease, keys: true }.encode_to_vec(),
            Permitted,
        ),
        (lease::LEASE_LEASES, pb::LeaseLeasesRequest {}.encode_to_vec(), Permitted),
        (cluster::MEMBER_LIST, pb::MemberListRequest { linearizable: true }.encode_to_vec(), User),
        (cluster::MEMBER_LIST, pb::MemberListRequest { linearizable: false }.encode_to_vec(), User),
        (
            cluster::MEMBER_ADD,
            pb::MemberAddRequest { peer_ur_ls: vec!["http://127.0.0.1:1".into()], is_learner: true }
                .encode_to_vec(),
            Permitted,
        ),
        (cluster::MEMBER_REMOVE, pb::MemberRemoveRequest { id: 1 }.encode_to_vec(), Permitted),
        (
            cluster::MEMBER_UPDATE,
            pb::MemberUpdateRequest { id: 1, peer_ur_ls: vec!["http://127.0.0.1:1".into()] }.encode_to_vec(),
            Permitted,
        ),
        (cluster::MEMBER_PROMOTE, pb::MemberPromoteRequest { id: 1 }.encode_to_vec(), Permitted),
        (maintenance::ALARM, pb::AlarmRequest::default().encode_to_vec(), User),
        (
            maintenance::ALARM,
            pb::AlarmRequest { action: 1, member_id: 1, alarm: 1 }.encode_to_vec(),
            Permitted,
        ),
        (maintenance::STATUS, pb::StatusRequest {}.encode_to_vec(), User),
        (maintenance::DEFRAGMENT, pb::DefragmentRequest {}.encode_to_vec(), Permitted),
        (maintenance::HASH, pb::HashRequest {}.encode_to_vec(), Permitted),
        (maintenance::HASH_KV, pb::HashKvRequest { revision: 0 }.encode_to_vec(), Permitted),
        (maintenance::MOVE_LEADER, pb::MoveLeaderRequest { target_id: 1 }.encode_to_vec(), Permitted),
        (
            maintenance::DOWNGRADE,
            pb::DowngradeRequest { action: 0, version: "3.5".into() }.encode_to_vec(),
            Permitted,
        ),
        (auth::AUTH_STATUS, Vec::new(), Public),
        (auth::AUTH_ENABLE, Vec::new(), Permitted),
        (auth::AUTH_DISABLE, Vec::new(), Permitted),
        (
            auth::USER_ADD,
            pb::AuthUserAddRequest { name: "x".into(), password: "p".into(), ..Default::default() }
                .encode_to_vec(),
            Permitted,
        ),
        (auth::USER_DELETE, pb::AuthUserDeleteRequest { name: "root".into() }.encode_to_vec(), Permitted),
        (
            auth::USER_CHANGE_PASSWORD,
            pb::AuthUserChangePasswordRequest {
                name: "root".into(),
                password: "p".into(),
                ..Default::default()
            }
            .encode_to_vec(),
            Permitted,
        ),
        (
            auth::USER_GRANT_ROLE,
            pb::AuthUserGrantRoleRequest { user: "alice".into(), role: "root".into() }.encode_to_vec(),
            Permitted,
        ),
        (
            auth::USER_REVOKE_ROLE,
            pb::AuthUserRevokeRoleRequest { name: "root".into(), role: "root".into() }.encode_to_vec(),
            Permitted,
        ),
        (auth::USER_LIST, Vec::new(), Permitted),
        (auth::USER_GET, pb::AuthUserGetRequest { name: "alice".into() }.encode_to_vec(), User),
        (auth::USER_GET, pb::AuthUserGetRequest { name: "root".into() }.encode_to_vec(), Permitted),
        (auth::ROLE_ADD, pb::AuthRoleAddRequest { name: "x".into() }.encode_to_vec(), Permitted),
        (auth::ROLE_DELETE, pb::AuthRoleDeleteRequest { role: "r".into() }.encode_to_vec(), Permitted),
        (auth::ROLE_LIST, Vec::new(), Permitted),
        (auth::ROLE_GET, pb::AuthRoleGetRequest { role: "r".into() }.encode_to_vec(), User),
        (auth::ROLE_GET, pb::AuthRoleGetRequest { role: "root".into() }.encode_to_vec(), Permitted),
        (
            auth::ROLE_GRANT_PERMISSION,
            pb::AuthRoleGrantPermissionRequest {
                name: "r".into(),
                perm: Some(Permission { perm_type: 2, key: vec![0].into(), range_end: vec![0].into() }),
            }
            .encode_to_vec(),
            Permitted,
        ),
        (
            auth::ROLE_REVOKE_PERMISSION,
            pb::AuthRoleRevokePermissionRequest {
                role: "r".into(),
                key: "allowed".into(),
                range_end: Default::default(),
            }
            .encode_to_vec(),
            Permitted,
        ),
    ];
    let denied = [
        pb::TxnRequest { compare: vec![compare], ..Default::default() },
        pb::TxnRequest { compare: vec![open], ..Default::default() },
        success(Request::RequestPut(put("denied"))),
        success(Request::RequestPut(old)),
        success(Request::RequestPut(on_lease)),
        success(Request::RequestRange(range("denied", b""))),
        success(Request::RequestRange(range("allowed", &[0]))),
        success(Request::RequestDeleteRange(delete("denied", b""))),
        success(Request::RequestTxn(success(Request::RequestRange(range("denied", b""))))),
        success(Request::RequestTxn(success(Request::RequestTxn(success(Request::RequestPut(put(
            "denied",
        ))))))),
    ];
    for txn in denied {
        let other = pb::TxnRequest { failure: txn.success.clone(), ..Default::default() };
        rows.push((kv::TXN, txn.encode_to_vec(), Permitted));
        if !other.failure.is_empty() {
            rows.push((kv::TXN, other.encode_to_vec(), Permitted));
        }
    }
    rows
}

/// Asks everything with every kind of credential.
#[test]
fn each_method_needs_what_it_needs_in_etcd() {
    let world = World::in_force(&[]);
    let mut nobody = world.session();
    let mut forger = world.session();
    forger.use_token("not-a-real-token");
    let mut late = world.session();
    // A token that this member might have to wait for; it waits no longer than for what is in the log.
    late.use_token("abcdefghijklmnop.99999999");
    let mut alice = world.log_in("alice", "alicepw");
    for (method, request, level) in requests(world.denied_lease) {
        let outcome = |session: &mut Session| session.raw(method, &request).map_err(|refusal| refusal.text);
        let refused = |text: &str| Err(text.to_owned());
        let is_public = level == Level::Public;
        assert_eq!(
            outcome(&mut nobody),
            if is_public { Ok(()) } else { refused(NO_TOKEN) },
            "{method} by nobody"
        );
        for session in [&mut forger, &mut late] {
            let told = outcome(session);
            assert_eq!(told, if is_public { Ok(()) } else { refused(BAD_TOKEN) }, "{method} with a token");
        }
        let told = outcome(&mut alice);
        assert_eq!(
            told,
            if level < Level::Permitted { Ok(()) } else { refused(DENIED) },
            "{method} by alice"
        );
    }
    // Of all that was refused nothing was done.
    let mut root = world.log_in("root", "rootpw");
    let found: pb::RangeResponse = root.call(kv::RANGE, &range("denied", b"")).expect("root reads all");
    assert_eq!((found.count, &found.kvs[0].value[..]), (1, &b"before"[..]));
    let users: pb::AuthUserListResponse = root.call(auth::USER_LIST, &()).expect("root lists all");
    assert_eq!(users.users, ["alice", "root"]);
}

/// It needs no permission; but whoever says who they are must be somebody.
#[test]
fn a_transaction_of_nothing_is_for_all_but_those_with_a_bad_token() {
    let world = World::in_force(&[]);
    let nothing = |session: &mut Session| session.raw(kv::TXN, &[]).map_err(|refusal| refusal.text);
    assert_eq!(nothing(&mut world.session()), Ok(()));
    assert_eq!(nothing(&mut world.log_in("alice", "alicepw")), Ok(()));
    let mut forger = world.session();
    forger.use_token("not-a-real-token");
    assert_eq!(nothing(&mut forger), Err(BAD_TOKEN.to_owned()));
}

/// A lease belongs to whoever may write its keys.
#[test]
fn leases_are_for_those_who_may_write_their_keys() {
    let world = World::in_force(&[]);
    let mut alice = world.log_in("alice", "alicepw");
    let granted: pb::LeaseGrantResponse =
        alice.call(lease::LEASE_GRANT, &pb::LeaseGrantRequest { ttl: 600, id: 0 }).expect("a user may");
    let own = granted.id;
    let attach = pb::PutRequest { lease: own, ..put("allowed") };
    for _ in 0..3 {
        let _: pb::PutResponse = alice.call(kv::PUT, &attach).expect("all its keys are alice's");
    }
    let keep = |session: &mut Session, id| {
        session
            .stream::<pb::LeaseKeepAliveResponse>(lease::LEASE_KEEP_ALIVE, &pb::LeaseKeepAliveRequest { id })
    };
    assert_eq!(keep(&mut alice, own).expect("it is hers").ttl, 600);
    let refused = keep(&mut alice, world.denied_lease).expect_err("it is another's");
    assert_eq!((refused.code, refused.text.as_str()), (Code::PermissionDenied, DENIED));
    assert!(keep(&mut world.log_in("root", "rootpw"), world.denied_lease).is_ok());
    assert_eq!(keep(&mut world.session(), own).expect_err("nobody").text, NO_TOKEN);
    let ask = pb::LeaseTimeToLiveRequest { id: own, keys: true };
    let told: pb::LeaseTimeToLiveResponse =
        alice.call(lease::LEASE_TIME_TO_LIVE, &ask).expect("its keys are hers");
    assert_eq!(told.keys, ["allowed"]);
    // Once another's key is on it, it is no longer hers.
    let mut root = world.log_in("root", "rootpw");
    let _: pb::PutResponse =
        root.call(kv::PUT, &pb::PutRequest { lease: own, ..put("denied") }).expect("root writes all");
    let revoke = pb::LeaseRevokeRequest { id: own };
    let refused = alice.call::<pb::LeaseRevokeResponse>(lease::LEASE_REVOKE, &revoke).expect_err("not hers");
    assert_eq!(refused.text, DENIED);
    let refused = alice.call::<pb::PutResponse>(kv::PUT, &attach).expect_err("not hers");
    assert_eq!(refused.text, DENIED);
    let _: pb::DeleteRangeResponse =
        root.call(kv::DELETE_RANGE, &delete("denied", b"")).expect("root deletes all");
    let _: pb::LeaseRevokeResponse = alice.call(lease::LEASE_REVOKE, &revoke).expect("it is hers again");
    let found: pb::RangeResponse = alice.call(kv::RANGE, &range("allowed", b"")).expect("she reads it");
    assert_eq!(found.count, 0);
    let gone = alice.call::<pb::LeaseRevokeResponse>(lease::LEASE_REVOKE, &revoke).expect_err("it is gone");
    assert_eq!(gone.text, "etcdserver: requested lease not found");
    // Root's list has a lease whose keys alice may not read; without it she is told hers.
    let _: pb::LeaseRevokeResponse =
        root.call(lease::LEASE_REVOKE, &pb::LeaseRevokeRequest { id: world.denied_lease }).expect("root may");
    let list: pb::LeaseLeasesResponse = alice.call(lease::LEASE_LEASES, &()).expect("no key is another's");
    assert!(list.leases.is_empty());
}

#[test]
fn watches_are_refused_in_their_stream() {
    let world = World::in_force(&[]);
    let create = |key: &str, end: &[u8]| {
        let create = pb::WatchCreateRequest {
            key: key.to_owned().into(),
            range_end: end.to_vec().into(),
            ..Default::default()
        };
        pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) }
    };
    let watch = |session: &mut Session, key: &str, end: &[u8]| {
        session.stream::<pb::WatchResponse>(watch::WATCH, &create(key, end)).expect("an answer in the stream")
    };
    let mut alice = world.log_in("alice", "alicepw");
    let granted = watch(&mut alice, "allowed", b"");
    assert!(granted.created && !granted.canceled, "{granted:?}");
    for (key, end) in [("denied", &b""[..]), ("allowed", &[0]), ("", b""), ("", &[0]), ("allowed", b"b")] {
        let refused = watch(&mut alice, key, end);
        let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        assert!(refused.created && refused.canceled && refused.watch_id == -1, "{refused:?}");
        assert_eq!(refused.cancel_reason, reason, "{key:?} {end:?}");
    }
    let refused = watch(&mut world.session(), "allowed", b"");
    assert_eq!(
        refused.cancel_reason,
        "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
    );
    let mut forger = world.session();
    forger.use_token("not-a-real-token");
    let refused = watch(&mut forger, "allowed", b"");
    assert_eq!(
        refused.cancel_reason,
        "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
    );
}

#[test]
fn users_outlive_a_restart_and_simple_tokens_do_not_outlive_their_time() {
    let mut world = World::in_force(&["--auth-token-ttl=1"]);
    let mut alice = world.log_in("alice", "alicepw");
    let _: pb::PutResponse = alice.call(kv::PUT, &put("allowed")).expect("hers");
    let revision = world.member().metric("etcd_debugging_auth_revision");
    let deadline = Instant::now() + Duration::from_secs(30);
    // Its use prolongs it; a pause of more than its time ends it.
    let mut pause = Duration::from_millis(100);
    let refused = loop {
        if let Err(refused) = alice.call::<pb::RangeResponse>(kv::RANGE, &range("allowed", b"")) {
            break refused;
        }
        assert!(Instant::now() < deadline, "the token never ends");
        std::thread::sleep(pause);
        pause *= 2;
    };
    assert_eq!((refused.code, refused.text.as_str()), (Code::Unauthenticated, BAD_TOKEN));
    world.restart();
    assert_eq!(
        world.session().call::<pb::PutResponse>(kv::PUT, &put("x")).expect_err("in force").text,
        NO_TOKEN
    );
    assert_eq!(world.member().metric("etcd_debugging_auth_revision"), revision);
    let mut alice = world.log_in("alice", "alicepw");
    let _: pb::PutResponse = alice.call(kv::PUT, &put("allowed")).expect("hers");
    let refused = alice.call::<pb::PutResponse>(kv::PUT, &put("denied")).expect_err("not hers");
    assert_eq!(refused.text, DENIED);
}

#[test]
fn a_new_password_ends_tokens_and_a_wrong_one_gives_none() {
    let world = World::in_force(&[]);
    let mut alice = world.log_in("alice", "alicepw");
    let mut root = world.log_in("root", "rootpw");
    let change = pb::AuthUserChangePasswordRequest {
        name: "alice".into(),
        password: "anew".into(),
        ..Default::default()
    };
    let _: pb::AuthUserChangePasswordResponse =
        root.call(auth::USER_CHANGE_PASSWORD, &change).expect("root may");
    let refused = alice.call::<pb::PutResponse>(kv::PUT, &put("allowed")).expect_err("the token has ended");
    assert_eq!(refused.text, BAD_TOKEN);
    let _: pb::RangeResponse = root.call(kv::RANGE, &range("x", b"")).expect("root's token has not");
    for (name, password) in [("alice", "alicepw"), ("alice", ""), ("nobody", "x")] {
        let refused = world.try_log_in(name, password).err().expect("wrong");
        let text = "etcdserver: authentication failed, invalid user ID or password";
        assert_eq!((refused.code, refused.text.as_str()), (Code::InvalidArgument, text));
    }
    let _: pb::PutResponse = world.log_in("alice", "anew").call(kv::PUT, &put("allowed")).expect("hers");
}

/// JWTs say as of which revision of users and roles they are; a change makes them old.
#[test]
fn jwts_carry_the_revision() {
    let folder = Scratch::new();
    let key = folder.path().join("key.pem");
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a pair of keys");
    std::fs::write(&key, pair.serialize_pem()).expect("a file");
    let flag = format!("--auth-token=jwt,priv-key={},sign-method=ES256,ttl=1h", key.display());
    let mut world = World::in_force(&[&flag]);
    let mut alice = world.log_in("alice", "alicepw");
    assert_eq!(alice.token().split('.').count(), 3, "{}", alice.token());
    let token = alice.token().to_owned();
    let _: pb::PutResponse = alice.call(kv::PUT, &put("allowed")).expect("hers");
    assert_eq!(alice.call::<pb::PutResponse>(kv::PUT, &put("denied")).expect_err("not hers").text, DENIED);
    // It is no secret of one run.
    world.restart();
    let mut alice = world.session();
    alice.use_token(&token);
    let _: pb::RangeResponse = alice.call(kv::RANGE, &range("allowed", b"")).expect("hers");
    let mut forged = world.session();
    forged.use_token(&format!("{}x", &token[..token.len() - 1]));
    assert_eq!(
        forged.call::<pb::RangeResponse>(kv::RANGE, &range("allowed", b"")).expect_err("forged").text,
        BAD_TOKEN
    );
    let mut root = world.log_in("root", "rootpw");
    let _: pb::AuthRoleAddResponse =
        root.call(auth::ROLE_ADD, &pb::AuthRoleAddRequest { name: "new".into() }).expect("root may");
    let old = |outcome: Result<(), Refusal>| {
        let refused = outcome.expect_err("the token is old");
        let text = "etcdserver: revision of auth store is old";
        assert_eq!((refused.code, refused.text.as_str()), (Code::InvalidArgument, text));
    };
    old(alice.raw(kv::PUT, &put("allowed").encode_to_vec()));
    old(alice.raw(kv::RANGE, &range("allowed", b"").encode_to_vec()));
    let _: pb::PutResponse =
        world.log_in("alice", "alicepw").call(kv::PUT, &put("allowed")).expect("a new one");
}

#[test]
fn a_start_refuses_keys_that_cannot_be_used() {
    let folder = Scratch::new();
    for (flag, why) in [
        ("--auth-token=jwt,sign-method=RS256,priv-key=/nowhere", "/nowhere"),
        ("--auth-token=jwt,sign-method=ES512,priv-key=/nowhere", "/nowhere"),
        ("--auth-token=jwt,sign-method=ES1024,priv-key=/nowhere", "ES1024"),
        ("--auth-token=jwt,sign-method=RS256", "names no key"),
        ("--auth-token=jwt", "sign-method"),
        ("--auth-token=other", "other"),
    ] {
        let ended = Launch::new(folder.path()).flag(flag).ended(1);
        assert!(ended.output.contains(why), "{flag}: {}", ended.output);
    }
    assert!(!folder.path().join("data").exists(), "nothing was written");
}

/// The kinds of permission, as the tests grant them.
fn permissions() -> [Permission; 2] {
    let of = |kind: Type, key: &str| Permission {
        perm_type: kind as i32,
        key: key.to_owned().into(),
        range_end: Default::default(),
    };
    [of(Type::Readwrite, "allowed"), of(Type::Write, "writeonly")]
}
