//! The Election service but for its stream. Source: etcd `concurrency/election.go`.

use windlass_api::etcdserverpb::range_request::SortOrder;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::response_op::Response;
use windlass_api::etcdserverpb::{ResponseHeader, TxnRequest, TxnResponse};
use windlass_api::mvccpb::KeyValue;
use windlass_api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};

use super::session::Session;
use super::store::{Failure, Store, created, created_at, delete_if, get, op, unless_gone};
use super::{Client, wait};

const MISSING_LEADER_KEY: &str = "\"leader\" field must be provided";
const NOT_LEADER: &str = "election: not leader";
const NO_LEADER: &str = "election: no leader";

/// `Election.Campaign`
pub async fn campaign(
    store: &Store,
    request: CampaignRequest,
    client: &mut Client,
) -> Result<CampaignResponse, Failure> {
    let session = Session::of(store, request.lease).await?;
    let prefix = prefix(&request.name);
    let key = session.key(&prefix);
    let (header, rev) = match enter(store, session, &key, &request.value).await {
        Ok(entered) => entered,
        Err(failure) => {
            session.abandon(store).await;
            return Err(failure);
        }
    };
    let waiting = async {
        unless_gone(client, wait::deletes(store, &prefix, rev - 1)).await?;
        // An office that nobody was told of would be held until its lease ends.
        if client.is_gone() { Err(Failure::Gone) } else { Ok(()) }
    };
    if let Err(failure) = session.during(store, waiting).await {
        session.leave(store, &key, rev).await;
        return Err(failure);
    }
    let leader = LeaderKey { name: request.name, key: key.into(), rev, lease: session.lease.0 };
    Ok(CampaignResponse { header, leader: Some(leader) })
}

/// Puts the candidate's key; one that its lease has there already is to have this value. Returns its create revision.
async fn enter(
    store: &Store,
    session: Session,
    key: &[u8],
    value: &[u8],
) -> Result<(Option<ResponseHeader>, i64), Failure> {
    let entered = store
        .txn(TxnRequest {
            compare: vec![created_at(key, 0)],
            success: vec![op(Request::RequestPut(session.put(key, value)))],
            failure: vec![op(Request::RequestRange(get(key)))],
        })
        .await?;
    if entered.succeeded {
        return Ok((entered.header, entered.header.map_or(0, |header| header.revision)));
    }
    let known = found(&entered).expect("the transaction found it there");
    if known.value != value
        && let Err(failure) = replace(store, session, key, known.create_revision, value).await
    {
        session.leave(store, key, known.create_revision).await;
        return Err(failure);
    }
    Ok((entered.header, known.create_revision))
}

fn found(answer: &TxnResponse) -> Option<&KeyValue> {
    match &answer.responses.first()?.response {
        Some(Response::ResponseRange(range)) => range.kvs.first(),
        _ => None,
    }
}

/// `Election.Proclaim`
pub async fn proclaim(
    store: &Store,
    request: ProclaimRequest,
    _: &mut Client,
) -> Result<ProclaimResponse, Failure> {
    let leader = request.leader.ok_or_else(|| Failure::says(MISSING_LEADER_KEY))?;
    let session = Session::of(store, leader.lease).await?;
    let header = replace(store, session, &leader.key, leader.rev, &request.value).await?;
    Ok(ProclaimResponse { header })
}

/// Gives the key of this create revision another value.
async fn replace(
    store: &Store,
    session: Session,
    key: &[u8],
    rev: i64,
    value: &[u8],
) -> Result<Option<ResponseHeader>, Failure> {
    let replaced = store
        .txn(TxnRequest {
            compare: vec![created_at(key, rev)],
            success: vec![op(Request::RequestPut(session.put(key, value)))],
            failure: Vec::new(),
        })
        .await?;
    if replaced.succeeded { Ok(replaced.header) } else { Err(Failure::says(NOT_LEADER)) }
}

/// `Election.Leader`
pub async fn leader(
    store: &Store,
    request: LeaderRequest,
    _: &mut Client,
) -> Result<LeaderResponse, Failure> {
    let found = store.range(&created(&prefix(&request.name), SortOrder::Ascend, 0)).await?;
    match found.kvs.into_iter().next() {
        Some(kv) => Ok(LeaderResponse { header: found.header, kv: Some(kv) }),
        None => Err(Failure::says(NO_LEADER)),
    }
}

/// `Election.Resign`: who does not lead has nothing to give back, and that is no error.
pub async fn resign(
    store: &Store,
    request: ResignRequest,
    _: &mut Client,
) -> Result<ResignResponse, Failure> {
    let leader = request.leader.ok_or_else(|| Failure::says(MISSING_LEADER_KEY))?;
    let resigned = store.txn(delete_if(&leader.key, leader.rev)).await?;
    Ok(ResignResponse { header: resigned.header })
}

/// Under which the keys of an election's candidates lie.
pub fn prefix(name: &[u8]) -> Vec<u8> {
    [name, b"/"].concat()
}
