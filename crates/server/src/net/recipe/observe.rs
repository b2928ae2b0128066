//! `Election.Observe`: a stream of who leads, from now on. Source: etcd `concurrency/election.go` `observe`.

use prost::Message;
use windlass_api::etcdserverpb::range_request::SortOrder;
use windlass_api::etcdserverpb::{ResponseHeader, WatchCreateRequest};
use windlass_api::mvccpb::KeyValue;
use windlass_api::mvccpb::event::EventType;
use windlass_api::v3electionpb::{LeaderRequest, LeaderResponse};
use windlass_rpc::{CallId, Code, Net};

use super::Client;
use super::election::prefix;
use super::store::{Failure, Store, created, prefix_end, unless_gone};

/// What a client is told when the store cannot be followed any more.
const DISCONNECTED: &str = "election observer disconnected";

/// Unsent bytes of one stream above which nothing more is read for it until its client has taken some. Above the
/// network's own mark, below which a stream is reported writable again.
const QUEUED_BYTES_MAX: usize = 512 << 10;

/// Serves one stream until its client goes, or the store cannot be followed.
pub async fn observe(net: Net, call: CallId, store: Store, request: LeaderRequest, mut client: Client) {
    let writable = std::rc::Rc::clone(&client.writable);
    let outlet = Outlet { net: &net, call, writable: &writable };
    let prefix = prefix(&request.name);
    let ended = unless_gone(&mut client, async {
        loop {
            let leader = next_leader(&store, &prefix).await?;
            outlet.send(&leader).await?;
            follow(&store, leader, &outlet).await?;
        }
    });
    let Err::<std::convert::Infallible, _>(failure) = ended.await;
    if !matches!(failure, Failure::Gone) {
        net.stream_end(call, Code::Unknown, DISCONNECTED);
    }
}

/// Where the stream's messages go.
struct Outlet<'a> {
    net: &'a Net,
    call: CallId,
    writable: &'a tokio::sync::Notify,
}

impl Outlet<'_> {
    /// Sends one, and waits for a client that is slow.
    async fn send(&self, leader: &LeaderResponse) -> Result<(), Failure> {
        let encode = |out: &mut Vec<u8>| leader.encode(out).expect("a vector takes any length");
        let queued = self.net.stream_send_with(self.call, encode).ok_or(Failure::Gone)?;
        if queued > QUEUED_BYTES_MAX {
            self.writable.notified().await;
        }
        Ok(())
    }
}

/// Who leads, as soon as somebody does.
async fn next_leader(store: &Store, prefix: &[u8]) -> Result<LeaderResponse, Failure> {
    loop {
        let found = store.range(&created(prefix, SortOrder::Ascend, 0)).await?;
        if let Some(kv) = found.kvs.into_iter().next() {
            return Ok(LeaderResponse { header: found.header, kv: Some(kv) });
        }
        let mut watching = store.watch(WatchCreateRequest {
            key: prefix.to_vec().into(),
            range_end: prefix_end(prefix).into(),
            start_revision: found.header.map_or(0, |header| header.revision),
            ..WatchCreateRequest::default()
        });
        while let Some(response) = watching.next().await? {
            let put = response.events.into_iter().find(|event| event.r#type() == EventType::Put);
            if let Some(kv) = put.and_then(|event| event.kv) {
                return Ok(told_at(response.header, kv));
            }
        }
    }
}

/// A leader as of the revision of its key, though more may have happened since.
fn told_at(header: Option<ResponseHeader>, kv: KeyValue) -> LeaderResponse {
    let header = header.map(|header| ResponseHeader { revision: kv.mod_revision, ..header });
    LeaderResponse { header, kv: Some(kv) }
}

/// Sends what a leader proclaims until it leads no more.
async fn follow(store: &Store, leader: LeaderResponse, outlet: &Outlet<'_>) -> Result<(), Failure> {
    let key = leader.kv.map(|kv| kv.key).unwrap_or_default();
    let mut watching = store.watch(WatchCreateRequest {
        key,
        start_revision: leader.header.map_or(0, |header| header.revision) + 1,
        ..WatchCreateRequest::default()
    });
    // After a compaction the leader is looked for anew.
    while let Some(response) = watching.next().await? {
        for event in response.events {
            if event.r#type() == EventType::Delete {
                return Ok(());
            }
            outlet.send(&LeaderResponse { header: response.header, kv: event.kv }).await?;
        }
    }
    Ok(())
}
