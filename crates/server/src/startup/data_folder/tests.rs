//! Folders of every kind, and what a start makes of them.

use super::*;
use tempfile::{TempDir, tempdir};
use windlass_types::{ClusterId, MemberId};

fn expected() -> Expected {
    Expected {
        identity: Identity {
            cluster: ClusterId(1),
            member: MemberId(2),
            name: "default".to_owned(),
            token: "etcd-cluster".to_owned(),
            salt: 1,
        },
        must_match: true,
    }
}

fn begun() -> TempDir {
    let root = tempdir().unwrap();
    examine(root.path(), &expected()).unwrap().prepare().unwrap();
    root
}

/// Every path below `root` with its content, to see that nothing was written.
fn contents(root: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
            all.push((path, None));
        } else {
            all.push((path.clone(), Some(fs::read(path).unwrap())));
        }
    }
    all.sort();
    all
}

/// Examines `path` within `root`, which must be refused without a change.
fn refused(root: &Path, path: &Path, expected: &Expected) -> Error {
    let before = contents(root);
    let error = examine(path, expected).unwrap_err();
    assert_eq!(contents(root), before, "a refusal changed the folder");
    error
}

#[test]
fn a_new_folder_is_made_private_and_found_again() {
    let root = tempdir().unwrap();
    let path = root.path().join("a/b.etcd");
    let examined = examine(&path, &expected()).unwrap();
    assert_eq!(examined.probe_path(), root.path());
    assert!(!root.path().join("a").exists(), "examining writes nothing");

    let folder = examined.prepare().unwrap();
    assert!(folder.is_new());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
    drop(folder);
    let folder = examine(&path, &expected()).unwrap().prepare().unwrap();
    assert!(!folder.is_new());
    assert_eq!((folder.identity(), folder.path()), (&expected().identity, path.as_path()));
}

#[test]
fn leftovers_of_a_crash_while_beginning_are_as_good_as_empty() {
    let root = tempdir().unwrap();
    fs::create_dir(root.path().join(LOST_AND_FOUND)).unwrap();
    fs::write(root.path().join(IDENTITY_FILE_NEW), "windl").unwrap();
    assert!(examine(root.path(), &expected()).unwrap().prepare().unwrap().is_new());
}

#[test]
fn a_second_user_of_the_folder_is_told_the_first_ones_process() {
    let root = tempdir().unwrap();
    let first = examine(root.path(), &expected()).unwrap().prepare().unwrap();
    let error = refused(root.path(), root.path(), &expected());
    assert_eq!(error.reason(), Reason::FolderLocked);
    assert!(error.to_string().contains(&format!("in use by process {}:", std::process::id())), "{error}");
    drop(first);
    examine(root.path(), &expected()).unwrap();
}

#[test]
fn two_that_begin_the_same_folder_at_once_do_not_both_get_it() {
    let root = tempdir().unwrap();
    let path = root.path().join("d");
    let (one, other) = (examine(&path, &expected()).unwrap(), examine(&path, &expected()).unwrap());
    let first = one.prepare().unwrap();
    assert_eq!(other.prepare().unwrap_err().reason(), Reason::FolderLocked);
    drop(first);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let root = tempdir().unwrap();
    let etcd = root.path().join("etcd");
    fs::create_dir_all(etcd.join("member/wal")).unwrap();
    assert!(matches!(refused(root.path(), &etcd, &expected()), Error::Etcd { .. }));

    let foreign = root.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("photo"), "x").unwrap();
    let error = refused(root.path(), &foreign, &expected());
    assert!(error.to_string().contains("holds `photo`"), "{error}");

    for path in [foreign.join("photo"), foreign.join("photo/below")] {
        let error = refused(root.path(), &path, &expected());
        assert!(matches!(error, Error::NotAFolder { .. }), "{error}");
        assert_eq!(error.reason(), Reason::FolderForeign);
    }
}

#[test]
fn a_damaged_or_newer_identity_is_refused() {
    let root = begun();
    let file = root.path().join(IDENTITY_FILE);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("default", "defaulT")).unwrap();
    assert_eq!(refused(root.path(), root.path(), &expected()).reason(), Reason::Damaged);
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert_eq!(refused(root.path(), root.path(), &expected()).reason(), Reason::Damaged);
    fs::write(&file, text.replace("format 1", "format 9")).unwrap();
    assert_eq!(refused(root.path(), root.path(), &expected()).reason(), Reason::FolderVersion);
    fs::write(&file, text).unwrap();
    examine(root.path(), &expected()).unwrap();
}

#[test]
fn another_members_folder_is_refused_only_when_the_flags_name_a_member() {
    let root = begun();
    let mut other = expected();
    other.identity.token = "other".to_owned();
    other.identity.cluster = ClusterId(7);
    let error = refused(root.path(), root.path(), &other);
    assert_eq!(error.reason(), Reason::FolderIdentity);
    let text = error.to_string();
    assert!(text.contains("of cluster 1 (token `etcd-cluster`)") && text.contains("of cluster 7"), "{text}");

    other.must_match = false;
    assert_eq!(examine(root.path(), &other).unwrap().identity(), &expected().identity);
}

#[test]
fn a_full_disk_has_its_own_reason() {
    let error = Error::access("write", Path::new("/x"))(io::ErrorKind::StorageFull.into());
    assert_eq!(error.reason(), Reason::DiskFull);
    let error = Error::access("write", Path::new("/x"))(io::ErrorKind::PermissionDenied.into());
    assert_eq!(error.reason(), Reason::FolderAccess);
}
