//! A disk without room: writes are refused in etcd's words, reads go on, and writing resumes by itself.

use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::{DeleteRangeRequest, RangeRequest};
use windlass_client::{Client, Error};

use crate::ledger::{Ledger, check_no_space};
use crate::process::Member;
use crate::small_disk::SmallDisk;

/// Room for the segments that a member begins with and some tens of MiB of data.
const DISK_BYTES: u64 = 160 << 20;

/// Size of the values, in bytes.
const VALUE_BYTES: usize = 50_000;

/// How soon writing must resume when there is room: a member looks once a second.
const RESUME_TIME_MAX: Duration = Duration::from_secs(10);

fn start(disk: &SmallDisk) -> Member {
    disk.launch().flag("--wal-segment-bytes=4194304").flag("--shards=1").member()
}

/// Puts until it is taken, which must be soon.
fn resume(ledger: &mut Ledger, client: &mut Client) {
    let deadline = Instant::now() + RESUME_TIME_MAX;
    while let Err(error) = ledger.put(client) {
        check_no_space(&error);
        assert!(Instant::now() < deadline, "there is room, and writes are still refused");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many keys there are, by a linearizable and by a serializable read.
fn count(client: &mut Client) -> [Result<i64, Error>; 2] {
    [false, true].map(|serializable| {
        let (key, range_end) = (vec![0].into(), vec![0].into());
        let all = RangeRequest { key, range_end, count_only: true, serializable, ..RangeRequest::default() };
        client.range(&all).map(|response| response.count)
    })
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let Some(disk) = SmallDisk::make(DISK_BYTES) else { return };
    let member = start(&disk);
    let mut ledger = Ledger::new(0, VALUE_BYTES);
    let mut client = member.client();
    for _ in 0..20 {
        ledger.put(&mut client).expect("there is room");
    }
    // Suddenly the disk is full. What was prepared takes some more puts.
    let foreign = disk.fill();
    ledger.put_until_full(&mut client);
    for _ in 0..10 {
        check_no_space(&ledger.put(&mut client).expect_err("the disk is full"));
    }
    // A delete makes no room on the disk before it is in the log, and for that there is no room.
    let delete = DeleteRangeRequest { key: "writer0/000001".into(), ..DeleteRangeRequest::default() };
    check_no_space(&client.delete_range(&delete).expect_err("the disk is full"));
    let keys = ledger.len() as i64;
    assert_eq!(count(&mut client).map(|count| count.expect("reads go on")), [keys, keys]);
    ledger.check(&mut client);

    // A crash and a graceful stop while it is full: the member starts again, and has everything.
    member.kill();
    let member = start(&disk);
    let mut client = member.client();
    ledger.check(&mut client);
    ledger.put_until_full(&mut client);
    drop(client);
    assert_eq!(member.stop_gracefully().code(), 143);
    let member = start(&disk);
    let mut client = member.client();
    ledger.put_until_full(&mut client);
    ledger.check(&mut client);

    foreign.remove();
    resume(&mut ledger, &mut client);
    for _ in 0..100 {
        ledger.put(&mut client).expect("there is room again");
    }
    member.kill();
    let member = start(&disk);
    ledger.check(&mut member.client());
}

#[test]
fn a_store_that_outgrows_its_disk_is_whole() {
    let Some(disk) = SmallDisk::make(DISK_BYTES) else { return };
    let member = start(&disk);
    let mut ledger = Ledger::new(0, 4 * VALUE_BYTES);
    let mut client = member.client();
    ledger.put_until_full(&mut client);
    ledger.check(&mut client);
    member.kill();
    let member = start(&disk);
    ledger.check(&mut member.client());
}

#[test]
fn a_new_member_on_a_full_disk_says_so() {
    let Some(disk) = SmallDisk::make(8 << 20) else { return };
    let _foreign = disk.fill();
    let ended = disk.launch().ended(31);
    assert!(ended.output.contains("No space left"), "{}", ended.output);
}
