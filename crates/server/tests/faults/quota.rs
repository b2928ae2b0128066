//! `--quota-backend-bytes`: what may grow the store is refused above it, everything else goes on.

use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use crate::ledger::{Ledger, check_no_space};
use crate::process::{Launch, Scratch};

/// How soon the room that a compaction made must be usable.
const RESUME_TIME_MAX: Duration = Duration::from_secs(10);

fn txn(request: Request) -> TxnRequest {
    TxnRequest { success: vec![RequestOp { request: Some(request) }], ..TxnRequest::default() }
}

#[test]
fn a_store_at_its_quota_takes_no_puts() {
    let scratch = Scratch::new();
    let member = Launch::new(scratch.path()).flag("--quota-backend-bytes=2097152").member();
    let mut client = member.client();
    let mut ledger = Ledger::new(0, 100_000);
    ledger.put_until_full(&mut client);
    // 20 fit. A put is answered before its shard has reported the new size, for which it has some milliseconds: on a quick
    // machine that is many more.
    assert!((10..=400).contains(&ledger.len()), "{} puts of 100 kB in 2 MiB", ledger.len());
    let put = PutRequest { key: "k".into(), value: vec![b'v'; 100_000].into(), ..PutRequest::default() };
    check_no_space(&client.txn(&txn(Request::RequestPut(put))).expect_err("it would grow the store"));
    ledger.check(&mut client);

    // Deletes go on, alone and in transactions; so do reads.
    let delete = |key: &str, range_end: &str| DeleteRangeRequest {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        ..DeleteRangeRequest::default()
    };
    let one = txn(Request::RequestDeleteRange(delete("writer0/000001", "")));
    assert!(client.txn(&one).expect("a delete goes on").succeeded);
    let deleted = client.delete_range(&delete("writer0/", "writer1/")).expect("a delete goes on");
    assert_eq!(deleted.deleted, ledger.len() as i64 - 1);
    let get = RangeRequest { key: "writer0/000002".into(), ..RangeRequest::default() };
    assert_eq!(client.range(&get).expect("reads go on").count, 0);

    // What was deleted is still there for reads of the past, until it is compacted.
    let revision = deleted.header.expect("every response has a header").revision;
    client.compact(&CompactionRequest { revision, physical: true }).expect("a compaction goes on");
    let deadline = Instant::now() + RESUME_TIME_MAX;
    while let Err(error) = ledger.put(&mut client) {
        check_no_space(&error);
        assert!(Instant::now() < deadline, "the store is small again, and puts are still refused");
        std::thread::sleep(Duration::from_millis(20));
    }
}
