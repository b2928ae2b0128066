//! The ring and the folder on a real filesystem: the one that holds the build.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FallocateFlags, Mode, OFlags};
use windlass_io_disk::files::DiskFolder;
use windlass_io_disk::probe::probe;
use windlass_io_disk::uring::{SyncMode, Uring};
use windlass_io_disk::{preflight, probe};
use windlass_io_log::Error;
use windlass_io_log::buffer::{BLOCK_BYTES, Buffer};
use windlass_io_log::error::Repair;
use windlass_io_log::ids::Identity;
use windlass_io_log::op::{Completion, Failure, FileSlot, Op, Ticket};
use windlass_io_log::raft_log::{Options, RaftLog};
use windlass_records::log::{Entry, EntryKind, HardState};
use windlass_types::{ByteOffset, LogIndex, MemberId, Term};

const IDENTITY: Identity = Identity(7);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn options() -> Options {
    Options {
        segment_bytes: 64 * BLOCK_BYTES,
        flush_depth: 3,
        frame_bytes_max: 8 * BLOCK_BYTES,
        reserve_bytes: 4 * BLOCK_BYTES,
        repair: Repair::FromBackup,
    }
}

fn wait(uring: &mut Uring) -> Vec<Completion> {
    let mut out = Vec::new();
    uring.flush().expect("flush");
    loop {
        uring.reap(&mut out);
        if !out.is_empty() {
            return out;
        }
        let eventfd = uring.eventfd();
        let fd = eventfd.as_fd();
        let timeout = Timespec { tv_sec: 30, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).expect("poll");
        assert_eq!(ready, 1, "no completion within 30 s");
        rustix::io::read(fd, &mut [0; 8]).expect("the eventfd is readable");
    }
}

fn wait_one(uring: &mut Uring) -> Completion {
    let mut completions = wait(uring);
    assert_eq!(completions.len(), 1);
    completions.remove(0)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("readable");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("readable").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn entry(index: u64) -> Entry {
    let data = bytes::Bytes::from(vec![index as u8; (index as usize * 97) % 9000]);
    Entry { term: Term(1), index: LogIndex(index), kind: EntryKind::Normal, data }
}

#[test]
fn a_log_on_real_files_comes_back() {
    for mode in [SyncMode::Dsync, SyncMode::WriteThenSync] {
        let home = folder();
        let mut disk = DiskFolder::open(home.path()).expect("a folder");
        let (mut log, fresh) = RaftLog::recover(&mut disk, options(), IDENTITY).expect("an empty folder");
        assert_eq!(fresh.entries, []);
        let mut uring = Uring::open(home.path(), mode, log.buffers()).expect("io_uring works here");
        let (mut ops, mut durable) = (Vec::new(), Vec::new());
        let mut index = 0;
        while durable.len() < 120 {
            while log.can_flush() && index < 120 {
                index += 1;
                let hard_state = HardState { term: Term(1), vote: MemberId(index), commit: LogIndex(0) };
                log.append(index, Some(hard_state), &[entry(index)], &mut ops).expect("room");
                if index == 60 {
                    log.cut(LogIndex(40), Term(1), &mut ops);
                }
            }
            let mut done = Vec::new();
            for op in ops.drain(..) {
                match op {
                    // Some writes without the ring, while others may be in it.
                    Op::WriteDurable { .. } if durable.len() % 5 == 4 => done.push(uring.write_now(op)),
                    op => uring.submit([op]),
                }
            }
            if done.is_empty() {
                done = wait(&mut uring);
            }
            for completion in done {
                log.complete(completion, &mut ops, &mut durable).expect("no failure");
            }
        }
        assert!(durable.is_sorted());
        drop((uring, log));
        let (_, found) = RaftLog::recover(&mut disk, options(), IDENTITY).expect("a sound log");
        assert_eq!((found.start_index, found.start_term), (LogIndex(40), Term(1)));
        assert_eq!(found.entries, (41..=120).map(entry).collect::<Vec<_>>());
        assert_eq!(found.hard_state.vote, MemberId(120));
    }
}

#[test]
fn files_are_prepared_in_the_background_and_removed() {
    let home = folder();
    let mut uring = Uring::open(home.path(), SyncMode::Dsync, &[]).expect("io_uring works here");
    let size = ByteOffset(3 << 20);
    uring.submit([Op::Prepare { ticket: Ticket(1), slot: FileSlot(3), size }]);
    assert_eq!(wait_one(&mut uring).result, Ok(()));
    assert_eq!(std::fs::metadata(home.path().join("000003.seg")).expect("a file").len(), size.0);

    let mut buffer = Buffer::zeroed(2 * BLOCK_BYTES, None);
    buffer.memory().fill(9);
    buffer.set_len(2 * BLOCK_BYTES);
    let offset = ByteOffset(BLOCK_BYTES as u64);
    uring.submit([Op::WriteDurable { ticket: Ticket(2), slot: FileSlot(3), offset, buffer }]);
    let done = wait_one(&mut uring);
    assert_eq!((done.ticket, done.result), (Ticket(2), Ok(())));
    assert_eq!(done.buffer.expect("comes back").bytes(), &[9; 2 * BLOCK_BYTES]);
    let bytes = std::fs::read(home.path().join("000003.seg")).expect("a file");
    assert!(bytes[BLOCK_BYTES..3 * BLOCK_BYTES].iter().all(|&b| b == 9));
    assert_eq!(bytes.iter().filter(|&&b| b != 0).count(), 2 * BLOCK_BYTES);

    uring.submit([Op::Remove { ticket: Ticket(3), slot: FileSlot(3) }]);
    assert_eq!(wait_one(&mut uring).result, Ok(()));
    assert_eq!(names(home.path()), Vec::<String>::new());
}

#[test]
fn the_probe_of_a_logs_folder_leaves_the_log_as_it_was() {
    let home = folder();
    let mut disk = DiskFolder::open(home.path()).expect("a folder");
    RaftLog::recover(&mut disk, options(), IDENTITY).expect("an empty log");
    let slot = home.path().join("000000.seg");
    let before = std::fs::read(&slot).expect("readable");
    // A probe that a crash cut short.
    std::fs::write(home.path().join("000000.seg.new"), b"half").expect("writable");
    probe(home.path()).expect("a result");
    assert_eq!(names(home.path()), ["000000.seg"]);
    assert_eq!(std::fs::read(&slot).expect("readable"), before);
}

#[test]
fn a_file_without_room_leaves_nothing() {
    let home = folder();
    let unnamed = rustix::fs::open(home.path(), OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR | Mode::WUSR);
    let claims_room = |file| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, 4096).is_ok();
    if !unnamed.is_ok_and(claims_room) {
        return; // this filesystem would write eight terabytes instead
    }
    let mut uring = Uring::open(home.path(), SyncMode::Dsync, &[]).expect("io_uring works here");
    uring.submit([Op::Prepare { ticket: Ticket(1), slot: FileSlot(0), size: ByteOffset(8 << 40) }]);
    assert_eq!(wait_one(&mut uring).result, Err(Failure::NoSpace));
    assert_eq!(names(home.path()), Vec::<String>::new());
}

#[test]
fn what_an_interrupted_start_left_is_removed_and_strangers_are_named() {
    let home = folder();
    std::fs::write(home.path().join("000000.seg.new"), b"half").expect("writable");
    let mut disk = DiskFolder::open(home.path()).expect("a folder");
    RaftLog::recover(&mut disk, options(), IDENTITY).expect("an empty log");
    assert_eq!(names(home.path()), ["000000.seg"]);
    std::fs::write(home.path().join("0000000000000000-0.wal"), b"etcd's").expect("writable");
    match RaftLog::recover(&mut disk, options(), IDENTITY) {
        Err(Error::Stranger { name }) => assert_eq!(name, "0000000000000000-0.wal"),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn the_probe_measures_both_ways_and_leaves_nothing() {
    let home = folder();
    preflight::check(home.path()).expect("this machine can run a log");
    let probe::Probe { mode, dsync_median, write_then_sync_median } = probe(home.path()).expect("a result");
    assert!(!dsync_median.is_zero() && !write_then_sync_median.is_zero());
    assert!(mode == SyncMode::Dsync || write_then_sync_median < dsync_median, "a slower way was chosen");
    assert_eq!(names(home.path()), Vec::<String>::new());
}

#[test]
fn a_filesystem_in_memory_is_refused() {
    let shm = Path::new("/dev/shm");
    let kind = rustix::fs::statfs(shm).map(|s| s.f_type as u64);
    if kind == Ok(0x0102_1994) {
        assert!(matches!(preflight::check(shm), Err(preflight::Error::InMemory(_))));
    }
}
