//! The shapes of responses, and the rules that etcd's table of watches has.

use std::time::Duration;

use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::watch_create_request::FilterType;
use windlass_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchResponse,
};

use crate::process::{Launch, Member, Scratch};
use crate::store::put;
use crate::stream::{WatchStream, keys, of_key, of_prefix, revision};

const PUTS_BIG: usize = 40;

fn member(folder: &Scratch) -> Member {
    Launch::new(folder.path()).flag("--shards=3").flag("--watch-progress-notify-interval=100ms").member()
}

fn delete(key: &'static str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() }
}

fn is_refused(response: &WatchResponse, reason: &str) -> bool {
    response.created && response.canceled && response.watch_id == -1 && response.cancel_reason == reason
}

#[test]
fn ids_are_assigned_chosen_and_used_again() {
    let folder = Scratch::new();
    let member = member(&folder);
    let mut stream = WatchStream::open(member.endpoint(), &[]);
    let with_id = |watch_id| WatchCreateRequest { watch_id, ..of_key("k") };
    for (wanted, got) in [(0, 0), (1, 1), (0, 2), (7, 7)] {
        let created = stream.create(with_id(wanted));
        assert!(created.created && !created.canceled && revision(&created) == 1, "{created:?}");
        assert_eq!(created.watch_id, got);
    }
    let duplicate = stream.create(with_id(7));
    assert!(is_refused(&duplicate, "mvcc: duplicate watch ID provided on the WatchStream"), "{duplicate:?}");
    let empty = stream.create(WatchCreateRequest { range_end: "a".into(), ..of_key("b") });
    assert!(is_refused(&empty, "mvcc: watcher range is empty"), "{empty:?}");
    let negative = stream.create(WatchCreateRequest { start_revision: -1, ..of_key("b") });
    let text = "etcdserver: mvcc: required revision has been compacted";
    assert!(is_refused(&negative, text) && negative.compact_revision == 0, "{negative:?}");
    stream.cancel(99);
    stream.cancel(7);
    let canceled = stream.next();
    assert!(
        canceled.canceled && !canceled.created && canceled.watch_id == 7 && canceled.cancel_reason.is_empty()
    );
    assert_eq!(stream.create(with_id(7)).watch_id, 7);
}

#[test]
fn events_of_one_revision_come_together_and_in_order() {
    let folder = Scratch::new();
    let member = member(&folder);
    let mut client = member.client();
    let mut stream = WatchStream::open(member.endpoint(), &[]);
    stream.create(WatchCreateRequest { prev_kv: true, ..of_prefix(b'k') });
    client.put(&put("k1", "old")).unwrap();
    assert_eq!(keys(&stream.next()), [("k1".to_owned(), 2)]);
    let op = |request| RequestOp { request: Some(request) };
    let mut success = vec![op(Request::RequestDeleteRange(delete("k1")))];
    success.extend((2..60).map(|n| op(Request::RequestPut(put(format!("k{n}"), "v")))));
    client.txn(&TxnRequest { success, ..TxnRequest::default() }).unwrap();
    let response = stream.next();
    let want: Vec<_> = (1..60).map(|n| (format!("k{n}"), 3)).collect();
    assert_eq!((keys(&response), revision(&response)), (want, 3));
    let deleted = &response.events[0];
    assert_eq!((deleted.r#type, &deleted.prev_kv.as_ref().unwrap().value[..]), (1, &b"old"[..]));
    assert!(response.events[1..].iter().all(|event| event.prev_kv.is_none()), "they were created");
}

#[test]
fn a_watch_begins_in_the_past_now_and_in_the_future() {
    let folder = Scratch::new();
    let member = member(&folder);
    let mut client = member.client();
    for n in 0..5 {
        client.put(&put("k", n.to_string())).unwrap();
    }
    let mut stream = WatchStream::open(member.endpoint(), &[]);
    let from = |start_revision| WatchCreateRequest { start_revision, progress_notify: true, ..of_key("k") };
    stream.create(from(8));
    stream.create(from(3));
    let past = stream.until(|response| keys(response).iter().any(|(_, r)| *r == 6));
    let all: Vec<i64> = past.iter().flat_map(keys).map(|(_, r)| r).collect();
    assert!(past.iter().all(|response| response.watch_id == 1) && all == [3, 4, 5, 6], "{past:?}");
    client.put(&put("k", "not yet for the first")).unwrap();
    assert_eq!(stream.until(|r| !r.events.is_empty()).last().unwrap().watch_id, 1);
    client.put(&put("k", "for both")).unwrap();
    let mut ids: Vec<i64> = Vec::new();
    while ids.len() < 2 {
        let response = stream.next();
        if response.events.is_empty() {
            assert!(response.watch_id == 1 || revision(&response) >= 8, "no progress below the start");
        } else {
            assert_eq!(keys(&response), [("k".to_owned(), 8)]);
            ids.push(response.watch_id);
        }
    }
}

#[test]
fn what_is_compacted_is_said() {
    let folder = Scratch::new();
    let member = member(&folder);
    let mut client = member.client();
    for n in 0..5 {
        client.put(&put("k", n.to_string())).unwrap();
    }
    let mut before = WatchStream::open(member.endpoint(), &[]);
    before.create(of_key("k"));
    client.compact(&CompactionRequest { revision: 5, physical: true }).unwrap();
    let mut stream = WatchStream::open(member.endpoint(), &[]);
    let from = |start_revision| WatchCreateRequest { start_revision, prev_kv: true, ..of_key("k") };
    let created = stream.create(from(4));
    assert!(created.created && !created.canceled && revision(&created) == 6);
    let ended = stream.next();
    assert!(ended.canceled && !ended.created && ended.compact_revision == 5, "{ended:?}");
    assert!(revision(&ended) == 0 && ended.cancel_reason.is_empty() && ended.watch_id == 0);
    stream.create(from(5));
    let events = stream.next().events;
    let previous: Vec<_> = events.iter().map(|e| e.prev_kv.as_ref().map(|kv| kv.mod_revision)).collect();
    assert_eq!(previous, [None, Some(5)], "what was before the compaction is gone");
    client.put(&put("k", "new")).unwrap();
    assert_eq!(keys(&before.next()), [("k".to_owned(), 7)], "who has all is not asked for what is compacted");
}

#[test]
fn filters_leave_out_what_they_name() {
    let folder = Scratch::new();
    let member = member(&folder);
    let mut client = member.client();
    let mut stream = WatchStream::open(member.endpoint(), &[]);
    let without = |filter: FilterType| WatchCreateRequest { filters: vec![filter.into()], ..of_key("k") };
    stream.create(without(FilterType::Noput));
    stream.create(without(FilterType::Nodelete));
    client.put(&put("k", "v")).unwrap();
    client.delete_range(&delete("k")).unwrap();
    client.put(&put("k", "w")).unwrap();
    let mut seen: Vec<(i64, i64)> = Vec::new();
    while seen.len() < 3 {
        let response = stream.next();
        seen.extend(keys(&response).iter().map(|(_, revision)| (response.watch_id, *revision)));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(0, 3), (1, 2), (1, 4)]);
}

#[test]
fn progress_is_told_on_request_and_now_and_then() {
    let folder = Scratch::new();
    let member = member(&folder);
    let mut client = member.client();
    let mut stream = WatchStream::open(member.endpoint(), &[]);
    stream.ask_progress();
    stream.ping();
    assert_eq!(stream.arrived(), 0, "without watches there is no progress");
    stream.create(of_key("k"));
    stream.ask_progress();
    let answer = stream.next();
    assert_eq!((answer.watch_id, revision(&answer), answer.events.len()), (-1, 1, 0));
    for n in 2..50 {
        client.put(&put("k", "v")).unwrap();
        client.put(&put("other", "v")).unwrap();
        stream.ask_progress();
        let responses = stream.until(|response| response.watch_id == -1);
        assert_eq!(keys(&responses[0]), [("k".to_owned(), 2 * n - 2)], "events come before");
        assert_eq!(responses.iter().map(revision).next_back(), Some(2 * n - 1));
    }
    let mut regular = WatchStream::open(member.endpoint(), &[]);
    regular.create(WatchCreateRequest { progress_notify: true, ..of_key("none") });
    for _ in 0..3 {
        let told = regular.next();
        assert_eq!((told.watch_id, revision(&told)), (0, 97));
    }
}

#[test]
fn a_large_revision_is_divided_only_for_those_who_allow_it() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--max-request-bytes=4096000").member();
    let mut client = member.client();
    let mut stream = WatchStream::open(member.endpoint(), &[]);
    stream.create(WatchCreateRequest { fragment: true, prev_kv: true, ..of_prefix(b'k') });
    stream.create(WatchCreateRequest { prev_kv: true, ..of_prefix(b'k') });
    let op = |n: usize| RequestOp {
        request: Some(Request::RequestPut(put(format!("k{n:02}"), vec![b'v'; 99_000]))),
    };
    let txn = TxnRequest { success: (0..PUTS_BIG).map(op).collect(), ..TxnRequest::default() };
    let mut fragments = Vec::new();
    for _ in 0..2 {
        client.txn(&txn).unwrap();
        let mut responses = stream.wait_for(2);
        while responses.iter().filter(|r| !r.fragment).count() < 2 {
            responses.push(stream.next());
        }
        for id in [0, 1] {
            let of = responses.iter().filter(|r| r.watch_id == id);
            assert_eq!(of.clone().map(|r| r.events.len()).sum::<usize>(), PUTS_BIG);
            if id == 0 { fragments.push(of.count()) } else { assert_eq!(of.count(), 1) }
        }
    }
    // The second time with what was replaced, of twice the size.
    assert_eq!(fragments, [1, 2]);
}

#[test]
fn a_stream_ends_with_its_member_and_goes_on_with_the_next() {
    let folder = Scratch::new();
    let launch = || Launch::new(folder.path());
    let member = launch().member();
    let mut client = member.client();
    let mut stream = WatchStream::open(member.endpoint(), &[("hasleader", "true")]);
    stream.create(of_key("k"));
    client.put(&put("k", "1")).unwrap();
    assert_eq!(keys(&stream.next()), [("k".to_owned(), 2)]);
    stream.half_close();
    client.put(&put("k", "2")).unwrap();
    assert_eq!(keys(&stream.next()), [("k".to_owned(), 3)], "a half-closed stream goes on");
    let began = std::time::Instant::now();
    member.terminate();
    let end = stream.end();
    assert_eq!((end.code, end.text.as_str()), (Some(14), "etcdserver: server stopped"));
    // Clients that go when they are told to.
    drop((stream, client));
    drop(member.ended());
    assert!(began.elapsed() < Duration::from_secs(4), "open watches hold nothing up");
    let member = launch().member();
    member.client().put(&put("k", "3")).unwrap();
    let mut stream = WatchStream::open(member.endpoint(), &[]);
    stream.create(WatchCreateRequest { start_revision: 3, prev_kv: true, ..of_key("k") });
    let events = stream.until(|r| keys(r).last().is_some_and(|(_, revision)| *revision == 4));
    let values: Vec<_> = events.iter().flat_map(|r| &r.events).map(|e| e.kv.clone().unwrap().value).collect();
    assert_eq!(values, ["2", "3"]);
}
