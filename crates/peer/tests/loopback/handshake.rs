//! Who may connect, and what the others are told.

use std::time::Duration;

use bytes::Bytes;
use windlass_peer::{Admission, Config, Event, inquire};
use windlass_types::ClusterId;

use super::world::*;

/// Waits until `a` tried to reach a peer at least twice and failed.
async fn until_refused(a: &Member) {
    a.notes.until("refusals", |_| a.peers.stats()[0].dial_failures >= 2).await;
    assert!(!a.peers.stats()[0].heard && a.peers.stats()[0].connected_since.is_none());
}

#[test]
fn another_cluster_is_refused() {
    run(async {
        let (socket, _) = listener();
        let (a, b) = (start_with(Config { cluster: ClusterId(7), ..config(1, socket) }), start(2));
        introduce(&[&a, &b]);
        until_refused(&a).await;
        until_refused(&b).await;
    });
}

#[test]
fn an_unknown_member_is_refused_until_it_is_named() {
    run(async {
        let (a, b) = (start(1), start(2));
        a.peers.set_members(&[(b.id, vec![b.url.clone()])]).unwrap();
        until_refused(&a).await;
        b.notes.admissions.borrow_mut().insert(a.id, Admission::Unknown);
        b.peers.set_members(&[(a.id, vec![a.url.clone()])]).unwrap();
        b.notes.until_connected(a.id).await;
        assert!(!a.peers.is_connected(b.id));
        b.notes.admissions.borrow_mut().clear();
        a.notes.until_connected(b.id).await;
    });
}

#[test]
fn a_removed_member_learns_of_it() {
    run(async {
        let (a, b) = (start(1), start(2));
        connect(&[&a, &b]).await;
        b.notes.admissions.borrow_mut().insert(a.id, Admission::Removed);
        // What is queued before it is still delivered: the entry that removes the member may be among it.
        b.peers.send(a.id, append(2, 1, 1, 3_000_000)).unwrap();
        b.peers.set_members(&[]).unwrap();
        assert!(b.peers.stats().is_empty());
        a.notes.until("the last append", |notes| notes.frames.borrow().len() == 1).await;
        a.notes.until_event(|e| matches!(e, Event::Removed { by } if *by == id(2))).await;
        a.notes.until_event(|e| matches!(e, Event::Unheard { peer } if *peer == id(2))).await;
    });
}

#[test]
fn a_member_that_lost_its_data_learns_of_it() {
    run(async {
        let (socket, _) = listener();
        let (a, b) = (start_with(Config { unpublished: true, ..config(1, socket) }), start(2));
        connect(&[&a, &b]).await;
        assert_eq!(a.notes.count(|e| matches!(e, Event::Forgotten { .. })), 0, "nobody knows it yet");
        let b = start(3);
        b.notes.knows_all.set(true);
        introduce(&[&a, &b]);
        a.notes.until_event(|e| matches!(e, Event::Forgotten { by } if *by == b.id)).await;
        assert!(!b.peers.stats()[0].heard, "nothing of it is heard");
        // One that says who it is with the data that it has is taken again.
        a.peers.set_published();
        a.notes.until_connected(b.id).await;
    });
}

#[test]
fn a_member_with_the_id_of_the_other_is_refused() {
    run(async {
        let (socket, _) = listener();
        let (a, b) = (start(2), start_with(Config { incarnation: 1, ..config(2, socket) }));
        a.peers.set_members(&[(id(3), vec![b.url.clone()])]).unwrap();
        until_refused(&a).await;
    });
}

#[test]
fn a_member_at_the_address_of_another_is_refused() {
    run(async {
        let (a, b) = (start(1), start(2));
        a.peers.set_members(&[(id(3), vec![b.url.clone()])]).unwrap();
        b.peers.set_members(&[(a.id, vec![a.url.clone()])]).unwrap();
        until_refused(&a).await;
    });
}

#[test]
fn a_url_that_cannot_be_read_keeps_nobody_else_away() {
    run(async {
        let (a, b) = (start(1), start(2));
        let unreadable = (id(3), vec!["unix://node:1".to_owned()]);
        let all = [(a.id, vec![a.url.clone()]), unreadable, (b.id, vec!["node:1".to_owned(), b.url.clone()])];
        for member in [&a, &b] {
            let bad = member.peers.set_members(&all).unwrap_err().to_string();
            assert!(bad.starts_with("\"unix://node:1\""), "{bad}");
        }
        a.notes.until_connected(b.id).await;
        b.notes.until_connected(a.id).await;
        assert_eq!(a.peers.stats().len(), 2);
    });
}

#[test]
fn a_process_without_identity_gets_an_answer() {
    run(async {
        let b = start(2);
        let (dead, dead_url) = listener();
        drop(dead);
        let urls = [dead_url.clone(), b.url.clone()];
        let ask = |question: &'static str, urls: &[String]| {
            let urls = urls.to_vec();
            async move { inquire(&urls, Bytes::from(question), "v", None, Duration::from_secs(20)).await }
        };
        assert_eq!(ask("who?", &urls).await.unwrap(), "members");
        let error = ask("what?", &urls).await.unwrap_err().to_string();
        assert!(error.contains(&dead_url) && error.ends_with("refused: not that"), "{error}");
        assert_eq!(ask("who?", &[]).await.unwrap_err().to_string(), "nobody to ask: no peer URLs are given");
    });
}
