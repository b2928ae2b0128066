//! Random changes of users, roles and permissions, and requests of those users: what is granted, refused and told.
//!
//! Left out is what etcd has changed since 3.5.1: what its server took without a token, the permission of the role `root`,
//! and what it did not check of transactions (nested ones, former values, keys of leases).

use std::collections::{BTreeMap, VecDeque};

use prost::Message;
use windlass_api::authpb::{Permission, UserAddOptions};
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{self as pb, RequestOp};
use windlass_api::method::{auth, kv};
use windlass_client::Connection;
use windlass_replica::oracle::generate::Random;

use crate::ask::{Reply, Server, ask, both, differ, plan};

const STEPS: usize = 2500;
/// Steps before one with a difference that are shown with it.
const SHOWN_BEFORE: usize = 12;
const USERS: [&str; 6] = ["ann", "bob", "cy", "root", "", "nobody"];
const ROLES: [&str; 5] = ["r", "s", "root", "", "none"];
const PASSWORDS: [&str; 3] = ["one", "two", ""];
const KEYS: [&str; 6] = ["a", "b", "ba", "c", "d", ""];

/// Keys and ends of ranges that may be granted.
const PERMITTED: [(&str, &str); 5] = [("a", "c"), ("b", ""), ("ba", "\0"), ("c", "d"), ("d", "")];

/// Who asks.
#[derive(Clone, Copy, Debug)]
enum Caller {
    Nobody,
    Root,
    User(&'static str),
}

#[derive(Clone, Debug)]
enum Step {
    LogIn(&'static str, &'static str),
    As(Caller, Ask),
}

#[derive(Clone, Debug)]
enum Ask {
    Enable,
    Disable,
    Status,
    UserAdd(pb::AuthUserAddRequest),
    UserGet(&'static str),
    UserList,
    UserDelete(&'static str),
    ChangePassword(&'static str, &'static str),
    GrantRole(&'static str, &'static str),
    RevokeRole(&'static str, &'static str),
    RoleAdd(&'static str),
    RoleGet(&'static str),
    RoleList,
    RoleDelete(&'static str),
    Grant(&'static str, Option<Permission>),
    Revoke(&'static str, &'static str, &'static str),
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
}

/// One of the servers.
struct Side {
    connection: Connection,
    tokens: BTreeMap<&'static str, String>,
}

impl Side {
    fn new(server: &Server) -> Self {
        Self { connection: server.member.connect(), tokens: BTreeMap::new() }
    }

    fn take(&mut self, step: &Step) -> String {
        match step {
            Step::LogIn(name, password) => self.log_in(name, password),
            Step::As(caller, ask) => {
                let token = match caller {
                    Caller::Nobody => None,
                    Caller::Root => self.tokens.get("root"),
                    Caller::User(name) => self.tokens.get(name),
                };
                self.connection.set_token(token.map_or("", String::as_str));
                self.ask(ask)
            }
        }
    }

    fn log_in(&mut self, name: &'static str, password: &str) -> String {
        self.connection.set_token("");
        let request = pb::AuthenticateRequest { name: name.into(), password: password.into() };
        let answer = ask::<pb::AuthenticateResponse>(&mut self.connection, auth::AUTHENTICATE, &request);
        format!(
            "{:?}",
            answer.map(|mut answer| {
                self.tokens.insert(name, std::mem::take(&mut answer.token));
                answer
            })
        )
    }

    fn say<R: Reply>(&mut self, method: &str, request: &impl Message) -> String {
        format!("{:?}", ask::<R>(&mut self.connection, method, request))
    }

    fn ask(&mut self, ask: &Ask) -> String {
        match ask.clone() {
            Ask::Enable => self.say::<pb::AuthEnableResponse>(auth::AUTH_ENABLE, &pb::AuthEnableRequest {}),
            Ask::Disable => {
                let said =
                    self.say::<pb::AuthDisableResponse>(auth::AUTH_DISABLE, &pb::AuthDisableRequest {});
                if said.starts_with("Ok") {
                    // 3.5.1 refuses old tokens also where none is needed.
                    self.tokens.clear();
                }
                said
            }
            Ask::Status => self.say::<pb::AuthStatusResponse>(auth::AUTH_STATUS, &pb::AuthStatusRequest {}),
            Ask::UserAdd(request) => self.say::<pb::AuthUserAddResponse>(auth::USER_ADD, &request),
            Ask::UserGet(name) => self.say::<pb::AuthUserGetResponse>(
                auth::USER_GET,
                &pb::AuthUserGetRequest { name: name.into() },
            ),
            Ask::UserList => {
                self.say::<pb::AuthUserListResponse>(auth::USER_LIST, &pb::AuthUserListRequest {})
            }
            Ask::UserDelete(name) => {
                let request = pb::AuthUserDeleteRequest { name: name.into() };
                self.say::<pb::AuthUserDeleteResponse>(auth::USER_DELETE, &request)
            }
            Ask::ChangePassword(name, password) => {
                let request = pb::AuthUserChangePasswordRequest {
                    name: name.into(),
                    password: password.into(),
                    hashed_password: String::new(),
                };
                self.say::<pb::AuthUserChangePasswordResponse>(auth::USER_CHANGE_PASSWORD, &request)
            }
            Ask::GrantRole(user, role) => {
                let request = pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
                self.say::<pb::AuthUserGrantRoleResponse>(auth::USER_GRANT_ROLE, &request)
            }
            Ask::RevokeRole(name, role) => {
                let request = pb::AuthUserRevokeRoleRequest { name: name.into(), role: role.into() };
                self.say::<pb::AuthUserRevokeRoleResponse>(auth::USER_REVOKE_ROLE, &request)
            }
            ask => self.ask_of_roles_and_keys(ask),
        }
    }

    fn ask_of_roles_and_keys(&mut self, ask: Ask) -> String {
        match ask {
            Ask::RoleAdd(name) => self.say::<pb::AuthRoleAddResponse>(
                auth::ROLE_ADD,
                &pb::AuthRoleAddRequest { name: name.into() },
            ),
            Ask::RoleGet(role) => self.say::<pb::AuthRoleGetResponse>(
                auth::ROLE_GET,
                &pb::AuthRoleGetRequest { role: role.into() },
            ),
            Ask::RoleList => {
                self.say::<pb::AuthRoleListResponse>(auth::ROLE_LIST, &pb::AuthRoleListRequest {})
            }
            Ask::RoleDelete(role) => {
                let request = pb::AuthRoleDeleteRequest { role: role.into() };
                self.say::<pb::AuthRoleDeleteResponse>(auth::ROLE_DELETE, &request)
            }
            Ask::Grant(name, perm) => {
                let request = pb::AuthRoleGrantPermissionRequest { name: name.into(), perm };
                self.say::<pb::AuthRoleGrantPermissionResponse>(auth::ROLE_GRANT_PERMISSION, &request)
            }
            Ask::Revoke(role, key, end) => {
                let request = pb::AuthRoleRevokePermissionRequest {
                    role: role.into(),
                    key: key.into(),
                    range_end: end.into(),
                };
                self.say::<pb::AuthRoleRevokePermissionResponse>(auth::ROLE_REVOKE_PERMISSION, &request)
            }
            Ask::Range(request) => self.say::<pb::RangeResponse>(kv::RANGE, &request),
            Ask::Put(request) => self.say::<pb::PutResponse>(kv::PUT, &request),
            Ask::Delete(request) => self.say::<pb::DeleteRangeResponse>(kv::DELETE_RANGE, &request),
            Ask::Txn(request) => self.say::<pb::TxnResponse>(kv::TXN, &request),
            ask => unreachable!("{ask:?} is of users"),
        }
    }
}

fn pick<T: Copy>(random: &mut Random, items: &[T]) -> T {
    items[random.below(items.len() as u64) as usize]
}

fn end(random: &mut Random) -> &'static str {
    match random.below(4) {
        0 | 1 => "",
        2 => "\0",
        _ => pick(random, &KEYS),
    }
}

/// A range with keys in it. One without any is permitted here to who may have its first key, in etcd to who may have all that
/// it skips: it gives nothing away in either.
fn keys(random: &mut Random) -> (&'static str, &'static str) {
    let (key, end) = (key(random), end(random));
    (key, if end == "\0" || end > key { end } else { "" })
}

/// A key: the empty one has errors of its own, which are not the matter here.
fn key(random: &mut Random) -> &'static str {
    pick(random, &KEYS[..KEYS.len() - 1])
}

fn range(random: &mut Random) -> pb::RangeRequest {
    let (key, end) = keys(random);
    pb::RangeRequest {
        key: key.into(),
        range_end: end.into(),
        serializable: random.one_in(2),
        ..Default::default()
    }
}

fn put(random: &mut Random) -> pb::PutRequest {
    pb::PutRequest { key: key(random).into(), value: "v".into(), ..Default::default() }
}

fn delete(random: &mut Random) -> pb::DeleteRangeRequest {
    let (key, end) = keys(random);
    pb::DeleteRangeRequest { key: key.into(), range_end: end.into(), prev_kv: random.one_in(2) }
}

fn txn(random: &mut Random) -> pb::TxnRequest {
    let op = |random: &mut Random| RequestOp {
        request: Some(match random.below(3) {
            0 => Request::RequestRange(range(random)),
            1 => Request::RequestPut(put(random)),
            _ => Request::RequestDeleteRange(delete(random)),
        }),
    };
    let compare = |random: &mut Random| {
        let (key, end) = keys(random);
        let version = random.below(2) as i64;
        pb::Compare {
            key: key.into(),
            range_end: end.into(),
            target_union: Some(pb::compare::TargetUnion::Version(version)),
            ..Default::default()
        }
    };
    let compares = random.below(2);
    pb::TxnRequest {
        compare: (0..compares).map(|_| compare(random)).collect(),
        success: vec![op(random)],
        failure: if random.one_in(2) { vec![op(random)] } else { Vec::new() },
    }
}

fn of_users(random: &mut Random) -> Ask {
    let (user, role) = (pick(random, &USERS), pick(random, &ROLES));
    match random.below(9) {
        0 | 1 => Ask::UserAdd(pb::AuthUserAddRequest {
            name: user.into(),
            password: pick(random, &PASSWORDS).into(),
            options: random.one_in(4).then_some(UserAddOptions { no_password: random.one_in(2) }),
            ..Default::default()
        }),
        // etcd takes nobody for the user without a name, who may see himself, if he were there.
        2 if !user.is_empty() => Ask::UserGet(user),
        3 => Ask::UserList,
        4 if random.one_in(3) => Ask::UserDelete(user),
        5 => Ask::ChangePassword(user, pick(random, &PASSWORDS)),
        6 if random.one_in(2) => Ask::RevokeRole(user, role),
        _ => Ask::GrantRole(user, role),
    }
}

fn of_roles(random: &mut Random) -> Ask {
    let role = pick(random, &ROLES);
    match random.below(9) {
        0 | 1 => Ask::RoleAdd(role),
        // 3.6 shows a permission of it that 3.5.1 does not.
        2 if role != "root" => Ask::RoleGet(role),
        3 => Ask::RoleList,
        4 if random.one_in(3) => Ask::RoleDelete(role),
        5 if random.one_in(3) => Ask::Revoke(role, pick(random, &KEYS), end(random)),
        5 => {
            let (key, end) = pick(random, &PERMITTED);
            Ask::Revoke(role, key, end)
        }
        _ => {
            // 3.5.1 takes ranges that are empty, and keeps two permissions where a key with more than one end is granted
            // again.
            let (key, range_end) = pick(random, &PERMITTED);
            let perm_type = random.below(3) as i32;
            let perm = Permission { perm_type, key: key.into(), range_end: range_end.into() };
            Ask::Grant(role, (!random.one_in(20)).then_some(perm))
        }
    }
}

fn draw(random: &mut Random) -> Step {
    let caller = match random.below(8) {
        0 => Caller::Nobody,
        1..=3 => Caller::Root,
        _ => Caller::User(pick(random, &USERS[..3])),
    };
    // Changes are mostly root's, or nothing would change.
    let changer = if random.one_in(8) { caller } else { Caller::Root };
    match random.below(40) {
        0 => Step::As(Caller::Root, Ask::Status),
        1 => Step::As(caller, Ask::Enable),
        2 if random.one_in(3) => Step::As(caller, Ask::Disable),
        3..=6 => Step::LogIn(pick(random, &USERS), pick(random, &PASSWORDS)),
        7 | 8 => Step::LogIn("root", "one"),
        9..=14 => Step::As(changer, of_users(random)),
        15..=20 => Step::As(changer, of_roles(random)),
        21..=26 => Step::As(caller, Ask::Range(range(random))),
        27..=31 => Step::As(caller, Ask::Put(pb::PutRequest { prev_kv: random.one_in(2), ..put(random) })),
        32..=34 => Step::As(caller, Ask::Delete(delete(random))),
        _ => Step::As(caller, Ask::Txn(txn(random))),
    }
}

/// So that there is somebody who may begin.
fn beginning() -> impl Iterator<Item = Step> {
    let add = |name: &str| pb::AuthUserAddRequest {
        name: name.into(),
        password: "one".into(),
        ..Default::default()
    };
    [
        Ask::UserAdd(add("root")),
        Ask::RoleAdd("root"),
        Ask::GrantRole("root", "root"),
        Ask::UserAdd(add("ann")),
        Ask::RoleAdd("r"),
        Ask::GrantRole("ann", "r"),
    ]
    .into_iter()
    .map(|ask| Step::As(Caller::Root, ask))
}

#[test]
fn users_and_roles_are_those_of_a_real_etcd() {
    let Some(servers) = both(&["--bcrypt-cost=4"]) else { return };
    let (seed, steps) = plan(STEPS);
    let mut random = Random::new(seed);
    let mut sides = servers.each_ref().map(Side::new);
    let mut beginning = beginning();
    // What led to a difference is seldom the last step alone.
    let mut before = VecDeque::new();
    for number in 0..steps {
        let step = beginning.next().unwrap_or_else(|| draw(&mut random));
        let [wanted, got] = sides.each_mut().map(|side| side.take(&step));
        // 3.5.1 tells the state of authentication to root alone.
        let is_newer = matches!(step, Step::As(_, Ask::Status)) && wanted.starts_with("Err");
        if wanted != got && !is_newer {
            differ(number, &(before, step), &wanted, &got);
        }
        before.push_back((step, wanted));
        if before.len() > SHOWN_BEFORE {
            before.pop_front();
        }
    }
}
