//! The rules of users and roles, and permissions against a naive model: raw lists of permissions, of which each key that
//! could make a difference is looked up.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use windlass_api::authpb::permission::Type;
use windlass_api::authpb::{Permission, UserAddOptions};
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGrantPermissionRequest,
    AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
    AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, Compare, DeleteRangeRequest,
    PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
};
use windlass_records::batch::CommandKind as Kind;
use windlass_types::key::KeyRange;
use windlass_types::{LeaseId, RequestError};

use super::*;
use crate::oracle::generate::Generator;
use crate::system::System;
use crate::txn::Transaction;

/// Users and roles, and the records that they are kept as.
#[derive(Default)]
struct World {
    auth: Auth,
    system: System,
}

impl World {
    fn change(&mut self, kind: Kind, request: &impl Message) -> Result<Invalid, RequestError> {
        let before = self.auth.clone();
        let outcome = self.auth.change(kind, &request.encode_to_vec(), &mut self.system);
        assert!(outcome.is_ok() || self.auth == before, "what is refused changes nothing");
        assert_eq!(Auth::load(&self.system), self.auth, "a start finds the same");
        outcome
    }

    fn user(&mut self, name: &str) -> Result<Invalid, RequestError> {
        self.change(Kind::UserAdd, &AuthUserAddRequest { name: name.into(), ..Default::default() })
    }

    fn role(&mut self, name: &str) -> Result<Invalid, RequestError> {
        self.change(Kind::RoleAdd, &AuthRoleAddRequest { name: name.into() })
    }

    fn grant(&mut self, role: &str, kind: Type, key: &[u8], end: &[u8]) -> Result<Invalid, RequestError> {
        let copy = Bytes::copy_from_slice;
        let perm = Permission { perm_type: kind as i32, key: copy(key), range_end: copy(end) };
        let request = AuthRoleGrantPermissionRequest { name: role.into(), perm: Some(perm) };
        self.change(Kind::RoleGrantPermission, &request)
    }

    fn give(&mut self, user: &str, role: &str) -> Result<Invalid, RequestError> {
        let request = AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
        self.change(Kind::UserGrantRole, &request)
    }

    /// `root`, and `alice` who has the role `r`; in force.
    fn in_force() -> Self {
        let mut world = Self::default();
        for user in ["root", "alice"] {
            world.user(user).expect("it is new");
        }
        world.role("r").expect("it is new");
        world.give("alice", "r").expect("both are there");
        world.give("root", "root").expect("the role root need not be there");
        world.change(Kind::AuthEnable, &()).expect("root has the role root");
        world
    }

    fn asks<'a>(&self, user: &'a str) -> Asker<'a> {
        Asker { user, revision: self.auth.revision() }
    }

    fn may(&self, user: &str, need: Need<'_>) -> bool {
        self.auth.check(self.asks(user), need).is_ok()
    }

    /// Whether a transaction is carried out; and if the keys of leases decide, which they may be.
    fn admit(&self, user: &str, request: TxnRequest) -> Result<Option<Keys>, RequestError> {
        let mut transaction = Transaction::from_txn(request).expect("it can be carried out");
        self.auth.admit(self.asks(user), &mut transaction)?;
        Ok(transaction.guarded().cloned())
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn success(request: Request) -> TxnRequest {
    TxnRequest { success: vec![op(request)], ..TxnRequest::default() }
}

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), ..PutRequest::default() }
}

#[test]
fn changes_follow_etcds_rules() {
    use RequestError as E;
    let mut w = World::default();
    assert_eq!(w.auth.revision(), 1);
    assert_eq!(w.change(Kind::AuthEnable, &()), Err(E::RootUserNotExist));
    assert_eq!(w.user(""), Err(E::UserEmpty));
    w.user("root").expect("new");
    assert_eq!(w.user("root"), Err(E::UserAlreadyExist));
    assert_eq!(w.change(Kind::AuthEnable, &()), Err(E::RootRoleNotExist));
    assert_eq!(w.role(""), Err(E::RoleEmpty));
    w.role("r").expect("new");
    assert_eq!(w.role("r"), Err(E::RoleAlreadyExist));
    assert_eq!(w.give("nobody", "r"), Err(E::UserNotFound));
    assert_eq!(w.give("root", "none"), Err(E::RoleNotFound));
    w.give("root", "root").expect("the role root need not be there");
    let revision = w.auth.revision();
    w.give("root", "root").expect("again");
    assert_eq!(w.auth.revision(), revision, "what changes nothing is no change");
    w.change(Kind::AuthEnable, &()).expect("now it may");
    w.change(Kind::AuthEnable, &()).expect("again");
    assert_eq!(w.auth.revision(), revision, "putting it in force is no change of users");
    let delete_root = AuthUserDeleteRequest { name: "root".into() };
    assert_eq!(w.change(Kind::UserDelete, &delete_root), Err(E::InvalidAuthManagement));
    let revoke = |name: &str, role: &str| AuthUserRevokeRoleRequest { name: name.into(), role: role.into() };
    assert_eq!(w.change(Kind::UserRevokeRole, &revoke("root", "root")), Err(E::InvalidAuthManagement));
    assert_eq!(w.change(Kind::UserRevokeRole, &revoke("root", "r")), Err(E::RoleNotGranted));
    assert_eq!(w.change(Kind::UserRevokeRole, &revoke("nobody", "r")), Err(E::UserNotFound));
    let delete_role = AuthRoleDeleteRequest { role: "root".into() };
    assert_eq!(w.change(Kind::RoleDelete, &delete_role), Err(E::InvalidAuthManagement));
    let none = AuthRoleGrantPermissionRequest { name: "r".into(), perm: None };
    assert_eq!(w.change(Kind::RoleGrantPermission, &none), Err(E::PermissionNotGiven));
    for (key, end) in [("", ""), ("", "\0"), ("b", "a"), ("b", "b")] {
        let granted = w.grant("r", Type::Read, key.as_bytes(), end.as_bytes());
        assert_eq!(granted, Err(E::InvalidAuthManagement), "{key:?} {end:?}");
    }
    assert_eq!(w.grant("none", Type::Read, b"a", b""), Err(E::RoleNotFound));
    w.grant("r", Type::Read, b"b", b"").expect("granted");
    w.grant("r", Type::Read, b"a", b"\0").expect("granted");
    w.grant("r", Type::Write, b"b", b"").expect("granted instead");
    let listed = w.auth.permissions("r").expect("a role");
    let listed: Vec<_> = listed.iter().map(|p| (&p.key[..], &p.range_end[..], p.perm_type)).collect();
    assert_eq!(listed, [(&b"a"[..], &b"\0"[..], 0), (b"b", b"", 1)]);
    let take = |key: &'static str| AuthRoleRevokePermissionRequest {
        role: "r".into(),
        key: key.into(),
        range_end: Bytes::new(),
    };
    assert_eq!(w.change(Kind::RoleRevokePermission, &take("a")), Err(E::PermissionNotGranted));
    w.change(Kind::RoleRevokePermission, &take("b")).expect("taken");
    w.change(Kind::AuthDisable, &()).expect("it was in force");
    assert_eq!(w.change(Kind::UserDelete, &delete_root), Ok(Invalid::Of("root".into())));
    assert_eq!(w.change(Kind::UserDelete, &delete_root), Err(E::UserNotFound));
}

#[test]
fn passwords_are_hashes_and_invalidate_tokens() {
    let mut w = World::in_force();
    let set = |name: &str, hashed: &str| AuthUserChangePasswordRequest {
        name: name.into(),
        password: String::new(),
        hashed_password: hashed.into(),
    };
    let changed = w.change(Kind::UserChangePassword, &set("alice", "aGFzaA=="));
    assert_eq!(changed, Ok(Invalid::Of("alice".into())));
    assert_eq!(&w.auth.user("alice").expect("a user").password[..], b"hash");
    let changed = w.change(Kind::UserChangePassword, &set("alice", "%"));
    assert_eq!(changed, Err(RequestError::NoPasswordUser));
    let login = |revision| Authenticated { name: "alice".into(), prefix: "x".into(), revision };
    let revision = w.auth.revision();
    assert_eq!(w.auth.authenticate(&login(revision)), Ok(()));
    assert_eq!(w.auth.authenticate(&login(revision - 1)), Err(RequestError::AuthOldRevision));
    let options = Some(UserAddOptions { no_password: true });
    let add = AuthUserAddRequest { name: "cert".into(), options, ..Default::default() };
    w.change(Kind::UserAdd, &add).expect("new");
    let nobody = |name: &str| Authenticated { name: name.into(), prefix: "x".into(), revision };
    assert_eq!(w.auth.authenticate(&nobody("cert")), Err(RequestError::AuthFailed));
    assert_eq!(w.auth.authenticate(&nobody("nobody")), Err(RequestError::AuthFailed));
    assert_eq!(w.change(Kind::AuthDisable, &()), Ok(Invalid::All));
    assert_eq!(w.auth.authenticate(&login(revision)), Err(RequestError::AuthNotEnabled));
}

#[test]
fn whoever_is_nobody_or_old_is_told_so() {
    let mut w = World::in_force();
    w.grant("r", Type::Readwrite, b"a", b"").expect("granted");
    let read = Need::Read(KeyRange::Point(b"a"));
    let old = Asker { revision: w.auth.revision() - 1, ..w.asks("alice") };
    assert_eq!(w.auth.check(Asker::NOBODY, read), Err(RequestError::UserEmpty));
    assert_eq!(w.auth.check(old, read), Err(RequestError::AuthOldRevision));
    assert_eq!(w.auth.check(w.asks("alice"), read), Ok(None));
    assert_eq!(w.auth.check(w.asks("ghost"), read), Err(RequestError::PermissionDenied));
    assert_eq!(w.auth.check(Asker::NOBODY, Need::Root), Err(RequestError::UserEmpty));
    assert_eq!(w.auth.check(w.asks("ghost"), Need::Root), Err(RequestError::UserNotFound));
    assert_eq!(w.auth.check(w.asks("alice"), Need::Root), Err(RequestError::PermissionDenied));
    assert_eq!(w.auth.check(Asker { revision: 1, user: "root" }, Need::Root), Ok(None));
    for (user, need, may) in [
        ("alice", Need::Be("alice"), true),
        ("alice", Need::Be("root"), false),
        ("root", Need::Be("alice"), true),
        ("alice", Need::Have("r"), true),
        ("alice", Need::Have("root"), false),
        ("root", Need::Have("r"), true),
        ("alice", Need::User, true),
        ("", Need::User, false),
        ("", Need::Be(""), false),
    ] {
        assert_eq!(w.may(user, need), may, "{user:?} {need:?}");
    }
    // Whose credential cannot be read is nobody.
    for broken in [&b""[..], b"1234567", b"12345678\xff"] {
        assert_eq!(Asker::decode(broken), Asker::NOBODY);
    }
}

/// CVE-2026-33413: calls that were carried out without any token.
#[test]
fn advisory_33413_no_token_is_nobody() {
    let w = World::in_force();
    for need in [Need::User, Need::Root, Need::WriteAttached(LeaseId(1)), Need::Be("x"), Need::Have("x")] {
        assert_eq!(w.auth.check(Asker::NOBODY, need), Err(RequestError::UserEmpty), "{need:?}");
    }
}

/// CVE-2026-33343: what was nested in a transaction was not looked at.
#[test]
fn advisory_33343_nested_transactions_are_looked_at() {
    let mut w = World::in_force();
    w.grant("r", Type::Readwrite, b"a", b"").expect("granted");
    let forbidden = [
        success(Request::RequestPut(put("b"))),
        success(Request::RequestRange(RangeRequest { key: "b".into(), ..Default::default() })),
        success(Request::RequestDeleteRange(DeleteRangeRequest { key: "b".into(), ..Default::default() })),
        TxnRequest { compare: vec![Compare { key: "b".into(), ..Default::default() }], ..Default::default() },
    ];
    for inner in forbidden {
        let mut nested = inner;
        for in_success in [true, false, true] {
            let ops = vec![op(Request::RequestPut(put("a"))), op(Request::RequestTxn(nested))];
            nested = match in_success {
                true => TxnRequest { success: ops, ..Default::default() },
                false => TxnRequest { failure: ops, ..Default::default() },
            };
            assert_eq!(w.admit("alice", nested.clone()), Err(RequestError::PermissionDenied));
            assert_eq!(w.admit("root", nested.clone()), Ok(None));
        }
    }
}

/// CVE-2026-44283: within a transaction, the old pair was read and a lease attached without permission.
#[test]
fn advisory_44283_prev_kv_and_leases_are_looked_at_in_transactions() {
    let mut w = World::in_force();
    w.grant("r", Type::Write, b"a", b"").expect("granted");
    assert_eq!(w.admit("alice", success(Request::RequestPut(put("a")))), Ok(None));
    let reads = PutRequest { prev_kv: true, ..put("a") };
    assert_eq!(w.admit("alice", success(Request::RequestPut(reads))), Err(RequestError::PermissionDenied));
    let delete = DeleteRangeRequest { key: "a".into(), prev_kv: true, ..Default::default() };
    assert_eq!(
        w.admit("alice", success(Request::RequestDeleteRange(delete))),
        Err(RequestError::PermissionDenied)
    );
    let attaches = PutRequest { lease: 7, ..put("a") };
    let guard = w.admit("alice", success(Request::RequestPut(attaches))).expect("the shards decide");
    let guard = guard.expect("the shards decide");
    assert!(guard.contains(b"a") && !guard.contains(b"b"));
}

/// GHSA-xg4h-6gfc-h4m8: a watch of all keys from one on was taken for one of that key.
#[test]
fn advisory_xg4h_a_watch_without_end_is_no_watch_of_one_key() {
    let mut w = World::in_force();
    w.grant("r", Type::Read, b"a", b"").expect("granted");
    let watch = |key: &'static [u8], range_end: &'static [u8]| WatchCreateRequest {
        key: Bytes::from_static(key),
        range_end: Bytes::from_static(range_end),
        ..Default::default()
    };
    assert!(w.may("alice", Need::of_watch(&watch(b"a", b""))));
    for (key, end) in [(&b"a"[..], &b"\0"[..]), (b"", b""), (b"", b"\0"), (b"a", b"b"), (b"a", b"a\0\0")] {
        assert!(!w.may("alice", Need::of_watch(&watch(key, end))), "{key:?} {end:?}");
    }
    // The same for everything else that has a range.
    let range = RangeRequest { key: "a".into(), range_end: vec![0].into(), ..Default::default() };
    assert!(!w.may("alice", Need::of_range(&range)));
    let compare = Compare { key: "a".into(), range_end: vec![0].into(), ..Default::default() };
    let compares = TxnRequest { compare: vec![compare], ..Default::default() };
    assert_eq!(w.admit("alice", compares), Err(RequestError::PermissionDenied));
}

/// Keys that collide, touch and nest.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0, b'a', b'b', 0xff]), 1..3)
}

fn end() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), Just(vec![0]), key()]
}

fn ranges() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    prop::collection::vec((key(), end()), 0..6)
}

fn range((key, end): &(Vec<u8>, Vec<u8>)) -> KeyRange<'_> {
    KeyRange::new(key, end)
}

/// Whether each key of a range is in one of the others: looked up at every key where that could change.
fn covers(all: &[KeyRange<'_>], wanted: KeyRange<'_>) -> bool {
    let mut keys = vec![vec![0xff; 9]];
    for range in all.iter().chain([&wanted]) {
        let ends = match *range {
            KeyRange::Point(key) | KeyRange::From(key) => vec![key],
            KeyRange::Bounded(start, end) => vec![start, end],
        };
        keys.extend(ends.into_iter().flat_map(|key| [key.to_vec(), [key, &[0]].concat()]));
    }
    let is_in = |key: &[u8]| all.iter().any(|range| range.contains(key));
    let has_keys = |key: &&Vec<u8>| wanted.contains(key);
    if keys.iter().any(|key| wanted.contains(key)) {
        keys.iter().filter(has_keys).all(|key| is_in(key))
    } else {
        is_in(wanted.start())
    }
}

proptest! {
    #[test]
    fn merged_keys_are_those_of_the_ranges(raw in ranges(), wanted in (key(), end()), probe in key()) {
        // As permissions are: a range without keys is none.
        let all: Vec<_> = raw.iter().map(range).filter(|r| !matches!(r, KeyRange::Bounded(a, b) if a >= b)).collect();
        let keys = Keys::of(all.iter().copied());
        prop_assert_eq!(keys.covers(range(&wanted)), covers(&all, range(&wanted)));
        prop_assert_eq!(keys.contains(&probe), all.iter().any(|range| range.contains(&probe)));
        prop_assert_eq!(keys.is_everything(), covers(&all, KeyRange::From(&[0])));
    }

    /// Any users, roles and permissions, and any transaction: what is admitted is what a walk over the request, which knows
    /// nothing of how transactions are carried out, permits by raw lists.
    #[test]
    fn transactions_are_admitted_as_a_naive_model_permits(
        granted in prop::collection::vec((0_usize..3, 0_i32..3, key_of_generator(), end_of_generator()), 0..8),
        held in prop::collection::vec(any::<bool>(), 3),
        seed: u64,
    ) {
        let mut w = World::in_force();
        let mut read: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut write = Vec::new();
        for (role, &is_held) in held.iter().enumerate() {
            w.role(&format!("role{role}")).expect("new");
            if is_held {
                w.give("alice", &format!("role{role}")).expect("both are there");
            }
        }
        // The last word about a range of a role counts.
        let mut last = std::collections::BTreeMap::new();
        for (role, kind, key, end) in granted {
            let kind = Type::try_from(kind).expect("there are three");
            if w.grant(&format!("role{role}"), kind, &key, &end).is_ok() {
                last.insert((role, key, end), kind);
            }
        }
        for ((role, key, end), kind) in last {
            if !held[role] {
                continue;
            }
            if kind != Type::Write {
                read.push((key.clone(), end.clone()));
            }
            if kind != Type::Read {
                write.push((key, end));
            }
        }
        let (read, write): (Vec<_>, Vec<_>) = (read.iter().map(range).collect(), write.iter().map(range).collect());
        let mut generator = Generator::new(seed);
        for _ in 0..20 {
            let txn = generator.write_txn();
            let mut walk = Walk { read: &read, write: &write, permitted: true, attaches: false };
            walk.txn(&txn);
            let everything = covers(&write, KeyRange::From(&[0]));
            let wanted = match walk.permitted {
                true => Ok(walk.attaches && !everything),
                false => Err(RequestError::PermissionDenied),
            };
            prop_assert_eq!(w.admit("alice", txn.clone()).map(|guard| guard.is_some()), wanted);
            prop_assert_eq!(w.admit("root", txn), Ok(None));
        }
    }
}

/// Mostly the keys that the generator of requests uses.
fn key_of_generator() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![b"\0".to_vec(), b"a".to_vec(), b"b".to_vec(), b"bb".to_vec(), b"/".to_vec()])
}

fn end_of_generator() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), Just(vec![0]), Just(b"c".to_vec()), Just(b"zz".to_vec())]
}

/// The naive model: every operation of every branch, as the request has it.
struct Walk<'a> {
    read: &'a [KeyRange<'a>],
    write: &'a [KeyRange<'a>],
    permitted: bool,
    attaches: bool,
}

impl Walk<'_> {
    fn txn(&mut self, txn: &TxnRequest) {
        for compare in &txn.compare {
            self.permitted &= covers(self.read, KeyRange::new(&compare.key, &compare.range_end));
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op.request.as_ref().expect("the generator leaves none out") {
                Request::RequestRange(r) => {
                    self.permitted &= covers(self.read, KeyRange::new(&r.key, &r.range_end))
                }
                Request::RequestPut(put) => {
                    self.permitted &= covers(self.write, KeyRange::Point(&put.key));
                    self.permitted &= !put.prev_kv || covers(self.read, KeyRange::Point(&put.key));
                    self.attaches |= put.lease != 0;
                }
                Request::RequestDeleteRange(d) => {
                    let range = KeyRange::new(&d.key, &d.range_end);
                    self.permitted &= covers(self.write, range) && (!d.prev_kv || covers(self.read, range));
                }
                Request::RequestTxn(nested) => self.txn(nested),
            }
        }
    }
}

#[test]
fn tokens_last_from_use_to_use() {
    let mut tokens = SimpleTokens::new(100);
    tokens.assign("a.1", "alice", 0);
    tokens.assign("b.2", "bob", 0);
    assert_eq!(tokens.use_token("a.1", 100).as_deref(), Some("alice"));
    assert_eq!(tokens.use_token("a.1", 200).as_deref(), Some("alice"), "its time began anew");
    assert_eq!(tokens.use_token("b.2", 101), None);
    assert_eq!(tokens.use_token("c.3", 0), None);
    tokens.assign("b.4", "bob", 200);
    tokens.forget("alice");
    assert_eq!((tokens.use_token("a.1", 200), tokens.len()), (None, 1));
    tokens.sweep(301);
    assert!(tokens.is_empty());
}

#[test]
fn a_token_tells_where_it_was_assigned() {
    assert_eq!(index_of("abc.17"), Some(17));
    for other in ["", "abc", ".7", "abc.", "abc.x", "a.b.7", "abc.-1"] {
        assert_eq!(index_of(other), None, "{other}");
    }
}
