//! The Lock service. Source: etcd `concurrency/mutex.go`.

use windlass_api::etcdserverpb::range_request::SortOrder;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::response_op::Response;
use windlass_api::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use windlass_api::method::kv;
use windlass_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

use super::session::Session;
use super::store::{Failure, Store, created, created_at, get, op, unless_gone};
use super::{Client, wait};

/// A waiting call's key was gone when its turn came: its lease had ended.
const SESSION_EXPIRED: &str = "mutex: session is expired";

/// `Lock.Lock`
pub async fn lock(store: &Store, request: LockRequest, client: &mut Client) -> Result<LockResponse, Failure> {
    let session = Session::of(store, request.lease).await?;
    let prefix = [&request.name[..], b"/"].concat();
    let key = session.key(&prefix);
    let place = match enter(store, session, &prefix, &key).await {
        Ok(place) => place,
        Err(failure) => {
            session.abandon(store).await;
            return Err(failure);
        }
    };
    let held = session.during(store, hold(store, &prefix, &key, &place, client)).await;
    if held.is_err() {
        session.leave(store, &key, place.revision).await;
    }
    held.map(|header| LockResponse { header, key: key.into() })
}

/// `Lock.Unlock`
pub async fn unlock(
    store: &Store,
    request: UnlockRequest,
    _: &mut Client,
) -> Result<UnlockResponse, Failure> {
    let delete = DeleteRangeRequest { key: request.key, ..DeleteRangeRequest::default() };
    let deleted: DeleteRangeResponse = store.call(kv::DELETE_RANGE, &delete).await?;
    Ok(UnlockResponse { header: deleted.header })
}

/// A place in the queue of those who want a lock.
struct Place {
    /// Create revision of the key.
    revision: i64,
    /// Nobody was before, as of this header.
    first: Option<ResponseHeader>,
}

/// Puts the key, unless this lease has it there already, and looks who was first.
async fn enter(store: &Store, session: Session, prefix: &[u8], key: &[u8]) -> Result<Place, Failure> {
    let owner = || op(Request::RequestRange(created(prefix, SortOrder::Ascend, 0)));
    let entered = store
        .txn(TxnRequest {
            compare: vec![created_at(key, 0)],
            success: vec![op(Request::RequestPut(session.put(key, b""))), owner()],
            failure: vec![op(Request::RequestRange(get(key))), owner()],
        })
        .await?;
    let revision = match entered.succeeded {
        true => entered.header.map_or(0, |header| header.revision),
        false => create_revision(&entered, 0).expect("the transaction found it there"),
    };
    let is_first = create_revision(&entered, 1).is_none_or(|owner| owner == revision);
    Ok(Place { revision, first: if is_first { entered.header } else { None } })
}

/// Create revision of what the range at a place of a transaction found.
fn create_revision(answer: &TxnResponse, at: usize) -> Option<i64> {
    match &answer.responses.get(at)?.response {
        Some(Response::ResponseRange(RangeResponse { kvs, .. })) => kvs.first().map(|kv| kv.create_revision),
        _ => None,
    }
}

/// Waits until the key is the oldest of its lock.
async fn hold(
    store: &Store,
    prefix: &[u8],
    key: &[u8],
    place: &Place,
    client: &mut Client,
) -> Result<Option<ResponseHeader>, Failure> {
    let header = match place.first {
        Some(header) => Some(header),
        None => {
            unless_gone(client, async {
                wait::deletes(store, prefix, place.revision - 1).await?;
                let own = store.range(&get(key)).await?;
                match own.kvs.is_empty() {
                    true => Err(Failure::says(SESSION_EXPIRED)),
                    false => Ok(own.header),
                }
            })
            .await?
        }
    };
    // A lock that nobody was told of would be held until its lease ends.
    if client.is_gone() { Err(Failure::Gone) } else { Ok(header) }
}
