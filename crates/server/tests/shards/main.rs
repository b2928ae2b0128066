//! Shard threads on real files: what is told to them is answered, becomes durable, and is there after a start, also
//! with another number of shards. Skipped, with the reason, where io_uring is not permitted.

mod measure;
mod member;

use member::{Member, entry};
use windlass_types::{LogIndex, Revision};

const ENTRIES: u64 = 60;
const KEYS_PER_ENTRY: u64 = 5;

fn fill(member: &mut Member, entries: std::ops::RangeInclusive<u64>) {
    entries.for_each(|index| member.apply(entry(index, KEYS_PER_ENTRY)));
}

#[test]
fn what_was_applied_is_there_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut member) = Member::start(folder.path(), 2) else { return };
    fill(&mut member, 1..=ENTRIES);
    let before = member.read_all();
    assert_eq!(before.len() as u64, ENTRIES * KEYS_PER_ENTRY);
    let stopped = member.stop();
    assert!(
        stopped.iter().all(|s| s.complete == LogIndex(ENTRIES) && s.durable == s.complete),
        "{stopped:?}"
    );

    let mut member = Member::start(folder.path(), 2).unwrap();
    assert_eq!(member.state().index, LogIndex(ENTRIES));
    assert_eq!(member.state().revision, Revision(1 + (ENTRIES * KEYS_PER_ENTRY) as i64));
    assert_eq!(member.read_all(), before);
    fill(&mut member, ENTRIES + 1..=ENTRIES + 5);
    assert_eq!(member.read_all().len() as u64, (ENTRIES + 5) * KEYS_PER_ENTRY);
    member.stop();
}

#[test]
fn flushes_come_by_age_and_reach_the_stable_index() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut member) = Member::start(folder.path(), 2) else { return };
    fill(&mut member, 1..=10);
    // Nobody stops it or fills its buffers: only time passes.
    member.wait_until_stable(LogIndex(10));
    member.stop();
}

#[test]
fn a_read_waits_for_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut member) = Member::start(folder.path(), 1) else { return };
    let read = member.ask_all(LogIndex(3));
    fill(&mut member, 1..=2);
    assert!(member.answers_so_far(read).is_empty());
    fill(&mut member, 3..=3);
    assert_eq!(member.wait_for_answers(read).len() as u64, 3 * KEYS_PER_ENTRY);
    member.stop();
}

#[test]
fn another_number_of_shards_holds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut member) = Member::start(folder.path(), 1) else { return };
    fill(&mut member, 1..=ENTRIES);
    let before = member.read_all();
    member.stop();
    for shards in [3, 2, 2, 1] {
        let mut member = Member::start(folder.path(), shards).unwrap();
        assert_eq!(member.read_all(), before, "{shards} shards");
        member.stop();
    }
    let generations = std::fs::read_dir(folder.path().join("shards")).unwrap();
    assert_eq!(generations.count(), 2, "one generation and the manifest");
}

#[test]
fn a_start_removes_what_a_crash_left_of_a_new_layout() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut member) = Member::start(folder.path(), 1) else { return };
    fill(&mut member, 1..=5);
    let before = member.read_all();
    member.stop();
    let shards = folder.path().join("shards");
    // As if the process had died while it wrote generation 2, manifest included.
    std::fs::create_dir_all(shards.join("2/0")).unwrap();
    std::fs::write(shards.join("2/0/000000.seg"), b"half a segment").unwrap();
    std::fs::write(shards.join("MANIFEST.new"), b"half a manifest").unwrap();
    let mut member = Member::start(folder.path(), 2).unwrap();
    assert_eq!(member.read_all(), before);
    member.stop();
    // As if it had died between the manifest's switch and the removal of the old generation.
    std::fs::create_dir_all(shards.join("1/0")).unwrap();
    let mut member = Member::start(folder.path(), 2).unwrap();
    assert_eq!(member.read_all(), before);
    member.stop();
    assert!(!shards.join("1").exists());
}

#[test]
fn shards_without_a_manifest_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Some(member) = Member::start(folder.path(), 1) else { return };
    member.stop();
    std::fs::remove_file(folder.path().join("shards/MANIFEST")).unwrap();
    let error = member::open_error(folder.path(), 1);
    assert!(error.contains("no manifest"), "{error}");
    assert!(folder.path().join("shards/1/0").exists());
}

#[test]
fn a_damaged_stream_is_refused_with_file_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut member) = Member::start(folder.path(), 1) else { return };
    for index in 1..=3 {
        fill(&mut member, index..=index);
        member.wait_until_stable(LogIndex(index));
    }
    member.stop();
    let file = folder.path().join("shards/1/0/000000.seg");
    let mut bytes = std::fs::read(&file).unwrap();
    // Block 0 is the segment's header, block 1 the boot frame, block 2 the first flush, with more behind it.
    bytes[2 * 4096 + 200] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = member::open_error(folder.path(), 1);
    assert!(error.contains("000000.seg at byte 8192"), "{error}");
}
