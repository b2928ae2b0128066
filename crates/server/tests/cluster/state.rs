//! Whether all members hold the same, and whether that is what clients were told.

use windlass_api::etcdserverpb::RangeRequest;
use windlass_api::mvccpb::KeyValue;
use windlass_client::Client;

use crate::cluster::{Cluster, current_revision, until};
use crate::history::{History, Version};

/// Most revisions that are read back one by one.
const READ_BACK_MAX: usize = 2000;

/// Checks a history by itself, then against what the members hold at the end. All members that run must answer.
pub fn check(cluster: &Cluster, history: &History) {
    if let Err(why) = history.check() {
        panic!("no linearizable store answers like this: {why}\n{}", cluster.logs());
    }
    let running = cluster.running();
    let mut client = cluster.member(running[0]).client();
    let held = check_equal(cluster);
    for (key, acknowledged) in history.written() {
        let newest = held.iter().find(|kv| kv.key == key.as_bytes());
        let newest = newest.unwrap_or_else(|| panic!("{key} is lost, which was written as {acknowledged:?}"));
        assert!(
            newest.mod_revision >= acknowledged.revision,
            "{key} went back from {acknowledged:?}: {newest:?}"
        );
        if newest.mod_revision == acknowledged.revision {
            assert_eq!(
                newest.value,
                acknowledged.value.as_bytes(),
                "{key} differs from what was acknowledged"
            );
        }
    }
    let count = history.written().count();
    for (key, acknowledged) in history.written().step_by(1 + count / READ_BACK_MAX) {
        let found = read_at(&mut client, key, acknowledged.revision);
        assert_eq!(found.as_ref(), Some(&acknowledged), "{key} as of its revision");
    }
}

/// Waits until all running members are at one revision, and compares every key of theirs. Returns them. A write whose
/// client was told of a timeout may still take effect, so the revision is looked up anew until it is the same for all.
pub fn check_equal(cluster: &Cluster) -> Vec<KeyValue> {
    let running = cluster.running();
    let all = until("all members to be at one revision", || {
        let revision = current_revision(&mut cluster.member(running[0]).client());
        let read = |&i: &usize| read_all(&mut cluster.member(i).client());
        let all: Vec<(i64, Vec<KeyValue>)> = running.iter().map(read).collect();
        all.iter().all(|(at, _)| *at == revision).then_some(all)
    });
    for (i, (_, kvs)) in running.iter().zip(&all) {
        assert!(*kvs == all[0].1, "member {i} differs from member {}\n{}", running[0], cluster.logs());
    }
    all.into_iter().next().expect("a member runs").1
}

/// What a member holds, without asking another.
fn read_all(client: &mut Client) -> (i64, Vec<KeyValue>) {
    let request = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        serializable: true,
        ..RangeRequest::default()
    };
    let response = client.range(&request).expect("the member answers");
    assert_eq!(response.count as usize, response.kvs.len());
    (response.header.expect("every response has a header").revision, response.kvs)
}

fn read_at(client: &mut Client, key: &str, revision: i64) -> Option<Version> {
    let key = key.to_owned().into_bytes().into();
    let request = RangeRequest { key, revision, ..RangeRequest::default() };
    let response = client.range(&request).expect("nothing was compacted");
    let kv = response.kvs.first()?;
    Some(Version { value: String::from_utf8_lossy(&kv.value).into_owned(), revision: kv.mod_revision })
}
