//! Tokens at members that do not lead: good ones of any member are taken by all, forged, ended and expired ones by none.

use std::time::{Duration, Instant};

use prost::Message;
use windlass_api::etcdserverpb as pb;
use windlass_api::method::{auth, kv};
use windlass_client::{Code, Connection, Error};

use crate::cluster::{Cluster, until};
use crate::process::{REQUEST_TIMEOUT, Scratch};

const BAD_TOKEN: (Code, &str) = (Code::Unauthenticated, "etcdserver: invalid auth token");
const OLD_REVISION: (Code, &str) = (Code::InvalidArgument, "etcdserver: revision of auth store is old");

type Refusal = (Code, String);

fn ask<M: Message + Default>(
    connection: &mut Connection,
    method: &str,
    request: &impl Message,
) -> Result<M, Refusal> {
    let call = connection.begin(method, request, REQUEST_TIMEOUT).expect("it is sent");
    connection.finish(call, Instant::now() + REQUEST_TIMEOUT).map_err(|error| match error {
        Error::Status { code, message } => (code, message),
        error => panic!("no answer: {error}"),
    })
}

/// Users root and alice, and authentication in force, all told to a member that does not lead. Afterwards nobody without a token
/// is told who leads.
fn protect(cluster: &Cluster, follower: usize) {
    let mut connection = cluster.member(follower).connect();
    for name in ["root", "alice"] {
        let password = format!("{name}pw");
        let add = pb::AuthUserAddRequest { name: name.into(), password, ..Default::default() };
        ask::<pb::AuthUserAddResponse>(&mut connection, auth::USER_ADD, &add).expect("a user");
        let role = pb::AuthRoleAddRequest { name: name.into() };
        ask::<pb::AuthRoleAddResponse>(&mut connection, auth::ROLE_ADD, &role).expect("a role");
        let grant = pb::AuthUserGrantRoleRequest { user: name.into(), role: name.into() };
        ask::<pb::AuthUserGrantRoleResponse>(&mut connection, auth::USER_GRANT_ROLE, &grant)
            .expect("granted");
    }
    let perm = Some(windlass_api::authpb::Permission { perm_type: 2, key: "k".into(), ..Default::default() });
    let grant = pb::AuthRoleGrantPermissionRequest { name: "alice".into(), perm };
    ask::<pb::AuthRoleGrantPermissionResponse>(&mut connection, auth::ROLE_GRANT_PERMISSION, &grant)
        .expect("granted");
    ask::<pb::AuthEnableResponse>(&mut connection, auth::AUTH_ENABLE, &pb::AuthEnableRequest {})
        .expect("in force");
}

fn log_in(cluster: &Cluster, i: usize, name: &str, password: &str) -> String {
    let login = pb::AuthenticateRequest { name: name.into(), password: password.into() };
    let mut connection = cluster.member(i).connect();
    ask::<pb::AuthenticateResponse>(&mut connection, auth::AUTHENTICATE, &login).expect("it is known").token
}

/// What a member says to a write, a read through the log and a read of its own with this token.
fn tried(cluster: &Cluster, i: usize, token: &str) -> [Result<(), Refusal>; 3] {
    let mut connection = cluster.member(i).connect();
    connection.set_token(token);
    let put = pb::PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
    let range = |serializable| pb::RangeRequest { key: "k".into(), serializable, ..Default::default() };
    [
        ask::<pb::PutResponse>(&mut connection, kv::PUT, &put).map(drop),
        ask::<pb::RangeResponse>(&mut connection, kv::RANGE, &range(false)).map(drop),
        ask::<pb::RangeResponse>(&mut connection, kv::RANGE, &range(true)).map(drop),
    ]
}

/// All members take it for everything, at the latest when they have heard of it.
fn is_taken(cluster: &Cluster, token: &str) {
    for i in 0..cluster.len() {
        until("the token is known", || tried(cluster, i, token).iter().all(Result::is_ok).then_some(()));
    }
}

/// No member takes it for anything, at the latest when they have heard of it.
fn is_refused(cluster: &Cluster, token: &str, (code, text): (Code, &str)) {
    for i in 0..cluster.len() {
        until("the token is refused", || {
            let refused = |outcome: &Result<(), Refusal>| *outcome == Err((code, text.to_owned()));
            tried(cluster, i, token).iter().all(refused).then_some(())
        });
    }
}

/// Not what anybody was given: a letter of the secret part, and of what is said of the user, is another.
fn forgeries(token: &str) -> Vec<String> {
    let swap = |at: usize| {
        let mut bytes = token.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("ASCII")
    };
    vec![swap(0), swap(5), swap(token.len() / 2), format!("{token}A"), "A".to_owned(), String::from("..")]
}

/// Alice's tokens, one of each member: every member takes each of them, and no forgery of it.
fn good_tokens(cluster: &Cluster) -> Vec<String> {
    let given: Vec<_> = (0..cluster.len()).map(|i| log_in(cluster, i, "alice", "alicepw")).collect();
    for token in &given {
        is_taken(cluster, token);
        for forged in forgeries(token) {
            is_refused(cluster, &forged, BAD_TOKEN);
        }
    }
    given
}

#[test]
fn simple_tokens_are_good_and_bad_on_every_member_alike() {
    let cluster = Cluster::start(3, &["--bcrypt-cost=4"]);
    let follower = cluster.follower();
    protect(&cluster, follower);
    let given = good_tokens(&cluster);
    // A new password, told to a member that does not lead, ends them everywhere.
    let mut root = cluster.member(follower).connect();
    root.set_token(&log_in(&cluster, follower, "root", "rootpw"));
    let change = pb::AuthUserChangePasswordRequest {
        name: "alice".into(),
        password: "new".into(),
        ..Default::default()
    };
    ask::<pb::AuthUserChangePasswordResponse>(&mut root, auth::USER_CHANGE_PASSWORD, &change)
        .expect("root may");
    for token in &given {
        is_refused(&cluster, token, BAD_TOKEN);
    }
    is_taken(&cluster, &log_in(&cluster, follower, "alice", "new"));
}

#[test]
fn simple_tokens_end_on_every_member_by_its_own_clock() {
    let cluster = Cluster::start(3, &["--bcrypt-cost=4", "--auth-token-ttl=1"]);
    let follower = cluster.follower();
    protect(&cluster, follower);
    let token = log_in(&cluster, follower, "alice", "alicepw");
    // Its use prolongs it, so each is asked once only, after longer pauses.
    let mut pause = Duration::from_millis(1500);
    for i in 0..cluster.len() {
        until("it ends", || {
            std::thread::sleep(pause);
            pause += Duration::from_millis(500);
            let mut connection = cluster.member(i).connect();
            connection.set_token(&token);
            let range = pb::RangeRequest { key: "k".into(), ..Default::default() };
            let refused = ask::<pb::RangeResponse>(&mut connection, kv::RANGE, &range).err()?;
            assert_eq!((refused.0, refused.1.as_str()), BAD_TOKEN);
            Some(())
        });
    }
}

#[test]
fn signed_tokens_are_good_and_bad_on_every_member_alike() {
    let folder = Scratch::new();
    let key = folder.path().join("key.pem");
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a pair of keys");
    std::fs::write(&key, pair.serialize_pem()).expect("a file");
    let signed =
        |ttl: &str| format!("--auth-token=jwt,priv-key={},sign-method=ES256,ttl={ttl}", key.display());

    let cluster = Cluster::start(3, &["--bcrypt-cost=4", &signed("1h")]);
    let follower = cluster.follower();
    protect(&cluster, follower);
    let given = good_tokens(&cluster);
    let mut root = cluster.member(follower).connect();
    root.set_token(&log_in(&cluster, follower, "root", "rootpw"));
    let role = pb::AuthRoleAddRequest { name: "new".into() };
    ask::<pb::AuthRoleAddResponse>(&mut root, auth::ROLE_ADD, &role).expect("root may");
    given.iter().for_each(|token| is_refused(&cluster, token, OLD_REVISION));
    drop(cluster);

    let cluster = Cluster::start(3, &["--bcrypt-cost=4", &signed("1s")]);
    let follower = cluster.follower();
    protect(&cluster, follower);
    is_refused(&cluster, &log_in(&cluster, follower, "alice", "alicepw"), BAD_TOKEN);
}
