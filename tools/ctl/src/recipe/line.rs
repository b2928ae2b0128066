//! Who comes first: keys under a prefix, in the order of their creation, each on the lease of who waits.

use windlass_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use windlass_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::response_op::Response;
use windlass_api::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, WatchCreateRequest,
};
use windlass_api::mvccpb::event::EventType;
use windlass_client::{Client, Watch};

use super::{Keeper, LOOK, Stop};
use crate::command::prefix_end;
use crate::exit::{Code, Failure};

/// A line that many may wait in.
pub struct Line {
    prefix: String,
}

/// A place in a [`Line`].
#[derive(Debug)]
pub struct Place {
    /// The key that holds it.
    pub key: String,
    /// The revision at which it was taken; who has a smaller one comes first.
    revision: i64,
}

impl Line {
    /// The line called `name`.
    pub fn new(name: &str) -> Self {
        Self { prefix: format!("{name}/") }
    }

    /// Takes a place at the end, for as long as the lease lasts, and leaves `value` there. Who has one keeps it.
    ///
    /// # Errors
    /// As all requests.
    pub fn enter(&self, client: &mut Client, keeper: &Keeper, value: &str) -> Result<Place, Failure> {
        let lease = keeper.lease();
        let key = format!("{}{lease:x}", self.prefix);
        let put = PutRequest {
            key: key.clone().into(),
            value: value.to_owned().into(),
            lease,
            ..Default::default()
        };
        let request = TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![op(Request::RequestPut(put))],
            failure: vec![op(Request::RequestRange(RangeRequest {
                key: key.clone().into(),
                ..Default::default()
            }))],
        };
        let response = client.txn(&request)?;
        let at_once = response.header.unwrap_or_default().revision;
        let before = response.responses.first().and_then(|response| match &response.response {
            Some(Response::ResponseRange(range)) => range.kvs.first().map(|kv| kv.create_revision),
            _ => None,
        });
        Ok(Place { key, revision: before.unwrap_or(at_once) })
    }

    /// Waits until nobody is before `place`. Returns the newest revision at which that was so.
    ///
    /// # Errors
    /// A signal, a lost lease, and as all requests; `watcher` makes clients for watches.
    pub fn wait(
        &self,
        place: &Place,
        client: &mut Client,
        watcher: &mut impl FnMut() -> Result<Client, Failure>,
        stop: &Stop,
        keeper: &Keeper,
    ) -> Result<i64, Failure> {
        loop {
            let before = client.range(&RangeRequest {
                key: self.prefix.clone().into(),
                range_end: prefix_end(self.prefix.as_bytes()).into(),
                limit: 1,
                sort_order: SortOrder::Descend.into(),
                sort_target: SortTarget::Create.into(),
                max_create_revision: place.revision - 1,
                ..RangeRequest::default()
            })?;
            let revision = before.header.unwrap_or_default().revision;
            let Some(kv) = before.kvs.first() else { return Ok(revision) };
            let request = WatchCreateRequest {
                key: kv.key.clone(),
                start_revision: revision + 1,
                ..Default::default()
            };
            let mut watch = Watch::over(watcher()?, request)?;
            while !is_deleted(&mut watch)? {
                if stop.is_asked() {
                    return Err(Failure::new(Code::Error, "context canceled"));
                }
                if keeper.is_lost() {
                    return Err(Failure::new(Code::Error, "session expired"));
                }
            }
        }
    }

    /// The key that comes first, if there is one.
    ///
    /// # Errors
    /// As all requests.
    pub fn first(&self, client: &mut Client) -> Result<RangeResponse, Failure> {
        Ok(client.range(&RangeRequest {
            key: self.prefix.clone().into(),
            range_end: prefix_end(self.prefix.as_bytes()).into(),
            limit: 1,
            sort_order: SortOrder::Ascend.into(),
            sort_target: SortTarget::Create.into(),
            ..RangeRequest::default()
        })?)
    }

    /// A watch of everything that happens in the line from `revision` on.
    ///
    /// # Errors
    /// As all requests.
    pub fn watch(&self, client: Client, revision: i64) -> Result<Watch, Failure> {
        let (key, end) = (self.prefix.clone(), prefix_end(self.prefix.as_bytes()));
        let request = WatchCreateRequest {
            key: key.into(),
            range_end: end.into(),
            start_revision: revision,
            ..WatchCreateRequest::default()
        };
        Ok(Watch::over(client, request)?)
    }
}

/// Whether the watched key is gone, as far as one look shows.
fn is_deleted(watch: &mut Watch) -> Result<bool, Failure> {
    let Some(response) = watch.next_response_within(LOOK)? else { return Ok(false) };
    if response.canceled {
        return Err(Failure::new(Code::Error, format!("watch was canceled ({})", response.cancel_reason)));
    }
    Ok(response.events.iter().any(|event| event.r#type() == EventType::Delete))
}

fn created_at(key: &str, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.to_owned().into(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Compare::default()
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}
