//! What is exported is imported again, and no bytes make an import panic.

use proptest::prelude::*;
use prost::Message;
use windlass_api::authpb::{Role, User};
use windlass_api::etcdserverpb::Member;
use windlass_bbolt::{PAGE_BYTES, Writer};
use windlass_records::state::State;
use windlass_records::wal::{Live, Version};
use windlass_replica::auth::Auth;
use windlass_replica::backup::{Backend, Export};
use windlass_replica::lease::Leases;
use windlass_replica::system::System;
use windlass_types::{LeaseId, LogIndex, Revision, Term};

fn system() -> System {
    let mut system = System::default();
    let mut leases = Leases::default();
    for id in [1, 5, i64::MAX] {
        leases.grant(LeaseId(id), 100 + id % 7, LogIndex(3), &mut system).expect("a new lease");
    }
    system
}

/// Revision, ordinal, key and value.
type Found = (i64, u32, Vec<u8>, Option<Vec<u8>>);

/// Versions of two keys a revision, every fifth a tombstone.
fn versions(count: i64) -> Vec<Found> {
    let one = |n: i64| {
        let key = format!("key/{:04}", n % 37).into_bytes();
        let value = (n % 5 != 0).then(|| vec![b'v'; (n % 300) as usize]);
        (2 + n / 2, u32::from(n % 2 == 1), key, value)
    };
    (0..count).map(one).collect()
}

fn exported(count: i64, compact_revision: i64) -> Vec<u8> {
    let state = State {
        index: LogIndex(9),
        term: Term(2),
        revision: Revision(2 + count / 2),
        compact_revision: Revision(compact_revision),
    };
    let mut body = Vec::new();
    let mut export = Export::begin(&state, &system(), &mut body);
    for (revision, sub, key, value) in versions(count) {
        let live = value.as_deref().map(|value| Live {
            create_revision: Revision(1),
            version: revision,
            lease: LeaseId(5),
            value,
        });
        let revision = Revision(revision);
        export.push(&Version { index: LogIndex(1), revision, sub, key: &key, live }, &mut body);
    }
    let head = export.finish(&mut body);
    [head.bytes(), &body].concat()
}

#[test]
fn everything_comes_back() {
    let file = exported(1000, 7);
    let backend = Backend::open(&file[..]).expect("a backend");
    let mut found = Vec::new();
    let newest = backend.versions(&mut |v| {
        assert!(v.live.is_none_or(|live| live.lease == LeaseId(5) && live.version == v.revision.0));
        found.push((v.revision.0, v.sub, v.key.to_vec(), v.live.map(|live| live.value.to_vec())));
        Ok(())
    });
    assert_eq!(newest.expect("sound"), Revision(501));
    assert!(found == versions(1000));
    assert_eq!(backend.compact_revision().expect("sound"), Revision(7));
    let member = Member { id: 77, ..Member::default() };
    let imported = Leases::load(&backend.system(vec![member]).expect("sound"));
    let ids: Vec<(i64, i64)> = imported.iter_from(None).map(|(id, lease)| (id.0, lease.ttl_s)).collect();
    assert_eq!(ids, [(1, 101), (5, 105), (i64::MAX, 100)]);
}

/// Of a bucket.
type Pairs<'a> = Vec<(&'a [u8], Vec<u8>)>;

/// A backend with users, as etcd writes it.
fn with_users(name: &[u8]) -> Vec<u8> {
    let user =
        User { name: "root".into(), password: "hash".into(), roles: vec!["root".into()], options: None };
    let role = Role { name: "root".into(), key_permission: Vec::new() };
    let buckets: [(&[u8], Pairs<'_>); 4] = [
        (b"auth", vec![(b"authEnabled", vec![1]), (b"authRevision", 9_u64.to_be_bytes().to_vec())]),
        (b"authRoles", vec![(b"root", role.encode_to_vec())]),
        (b"authUsers", vec![(name, user.encode_to_vec())]),
        (b"key", Vec::new()),
    ];
    let (mut writer, mut body) = (Writer::new(), Vec::new());
    for (name, pairs) in buckets {
        writer.begin_bucket(name);
        pairs.iter().for_each(|(key, value)| writer.put(key, value, &mut body));
        writer.end_bucket(&mut body);
    }
    let head = writer.finish(&mut body);
    [head.bytes(), &body].concat()
}

#[test]
fn users_and_roles_come_along() {
    let file = with_users(b"root");
    let system = Backend::open(&file[..]).expect("a backend").system(Vec::new()).expect("sound");
    let auth = Auth::load(&system);
    assert_eq!((auth.is_enabled(), auth.revision()), (true, 9));
    assert!(auth.is_root("root") && auth.roles().eq(["root"]));
    let mut body = Vec::new();
    let export = Export::begin(&State::EMPTY, &system, &mut body);
    let head = export.finish(&mut body);
    let again = [head.bytes(), &body].concat();
    let again = Backend::open(&again[..]).expect("a backend").system(Vec::new()).expect("sound");
    assert!(again.with_prefix(b"").eq(system.with_prefix(b"")));
    let file = with_users(b"other");
    assert!(Backend::open(&file[..]).expect("a backend").system(Vec::new()).is_err(), "another's name");
}

#[test]
fn nothing_compacted_is_no_compaction() {
    let file = exported(0, -1);
    let backend = Backend::open(&file[..]).expect("a backend");
    assert_eq!(backend.versions(&mut |_| Ok(())).expect("sound"), Revision(1));
    assert_eq!(backend.compact_revision().expect("sound"), Revision(-1));
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut file = exported(200, 3);
        for (at, byte) in changes {
            // The meta pages are checked by their sums.
            let at = 2 * PAGE_BYTES + at.index(file.len() - 2 * PAGE_BYTES);
            file[at] = byte;
        }
        let backend = Backend::open(&file[..]).expect("its meta pages are sound");
        let _ = backend.versions(&mut |_| Ok(()));
        let _ = backend.compact_revision();
        let _ = backend.system(Vec::new());
    }
}
