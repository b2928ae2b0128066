//! The few calls of a run that are not its load: log in, find the leader, grant leases, compact, compare.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use windlass_api::etcdserverpb::{
    AuthenticateRequest, AuthenticateResponse, CompactionRequest, HashKvRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, StatusRequest,
};
use windlass_api::method;
use windlass_client::{Client, Config, Connection, Endpoint};

use crate::plan::Compaction;

/// Bound of connecting and of each call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time to live of leases that are kept alive, in seconds: etcd's benchmark's.
const LEASE_TTL_S: i64 = 100;
/// How often it is looked whether the run is over while a compaction is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// A client of one endpoint.
///
/// # Errors
/// The endpoint is none.
pub fn client(endpoint: &Endpoint) -> Result<Client> {
    let endpoints = vec![endpoint.authority().to_owned()];
    Ok(Client::new(&Config { endpoints, dial_timeout: TIMEOUT, command_timeout: TIMEOUT })?)
}

/// The token of a user.
///
/// # Errors
/// The server does not know user and password.
pub fn log_in(endpoint: &Endpoint, (name, password): (&str, &str)) -> Result<String> {
    let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
    let mut connection = Connection::open(endpoint, TIMEOUT)
        .with_context(|| format!("cannot connect to {}", endpoint.authority()))?;
    let call = connection.begin(method::auth::AUTHENTICATE, &request, TIMEOUT)?;
    let response: AuthenticateResponse = connection
        .finish(call, Instant::now() + TIMEOUT)
        .with_context(|| format!("cannot log in as {name}"))?;
    Ok(response.token)
}

/// The endpoint that says of itself that it leads.
///
/// # Errors
/// None does.
pub fn leader_of(endpoints: &[Endpoint]) -> Result<Endpoint> {
    for endpoint in endpoints {
        let Ok(status) = client(endpoint)?.status(&StatusRequest::default()) else { continue };
        if status.header.is_some_and(|header| header.member_id == status.leader) {
            return Ok(endpoint.clone());
        }
    }
    bail!("none of the endpoints leads")
}

/// Grants leases.
///
/// # Errors
/// The server refuses.
pub fn grant(endpoint: &Endpoint, count: u64) -> Result<Vec<i64>> {
    let mut client = client(endpoint)?;
    let request = LeaseGrantRequest { ttl: LEASE_TTL_S, ..Default::default() };
    (0..count).map(|_| Ok(client.lease_grant(&request)?.id)).collect()
}

/// Revokes leases.
///
/// # Errors
/// The server refuses.
pub fn revoke(endpoint: &Endpoint, leases: &[i64]) -> Result<()> {
    let mut client = client(endpoint)?;
    for &id in leases {
        client.lease_revoke(&LeaseRevokeRequest { id })?;
    }
    Ok(())
}

/// Puts a key so often, and gives the revision of the first put.
///
/// # Errors
/// The server refuses.
pub fn put_events(endpoint: &Endpoint, key: &[u8], count: u64) -> Result<i64> {
    let mut client = client(endpoint)?;
    let mut first = None;
    for number in 0..count {
        let value = number.to_string().into_bytes().into();
        let put = PutRequest { key: key.to_vec().into(), value, ..Default::default() };
        let header = client.put(&put)?.header.context("the answer has no header")?;
        first.get_or_insert(header.revision);
    }
    first.context("no event was asked for")
}

/// Compacts at every interval until `over`.
///
/// # Errors
/// The server refuses; not that there is nothing to compact.
pub fn compact(
    endpoint: &Endpoint,
    Compaction { interval, keep }: Compaction,
    over: &AtomicBool,
) -> Result<u64> {
    let mut client = client(endpoint)?;
    let (mut due, mut count, mut last) = (Instant::now() + interval, 0, 0);
    while !over.load(Ordering::Relaxed) {
        if Instant::now() < due {
            std::thread::park_timeout(LOOK);
            continue;
        }
        due += interval;
        let range = RangeRequest { key: vec![0].into(), count_only: true, ..Default::default() };
        let newest = client.range(&range)?.header.context("the answer has no header")?.revision;
        if newest - keep > last {
            last = newest - keep;
            client.compact(&CompactionRequest { revision: last, physical: false })?;
            count += 1;
        }
    }
    Ok(count)
}

/// Asks all endpoints for the hash of the store at the oldest of their newest revisions.
///
/// # Errors
/// One does not answer, or two differ.
pub fn compare_hashes(endpoints: &[Endpoint]) -> Result<(i64, u32)> {
    let mut newest = Vec::new();
    for endpoint in endpoints {
        let range = RangeRequest { key: vec![0].into(), count_only: true, ..Default::default() };
        newest.push(client(endpoint)?.range(&range)?.header.context("the answer has no header")?.revision);
    }
    let revision = newest.into_iter().min().context("there is an endpoint")?;
    let mut hashes = Vec::new();
    for endpoint in endpoints {
        hashes.push(client(endpoint)?.hash_kv(&HashKvRequest { revision })?.hash);
    }
    if hashes.iter().any(|&hash| hash != hashes[0]) {
        bail!("the stores differ at revision {revision}: hashes {hashes:?}");
    }
    Ok((revision, hashes[0]))
}
