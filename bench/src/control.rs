//! The few calls of a run that are not its load: log in, find the leader, compact, compare, clean up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use windlass_api::etcdserverpb::{
    AuthenticateRequest, CompactionRequest, DeleteRangeRequest, HashKvRequest, PutRequest, RangeRequest,
    StatusRequest,
};
use windlass_client::{Client, Config, Endpoint, Scheme, Security};

use crate::plan::Compaction;

/// Bound of connecting and of each call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether the run is over while a compaction is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// A server, and how to reach it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Whom to trust and as whom to ask.
    pub security: Security,
}

/// A client of one server.
fn client(Server { endpoint, security }: &Server) -> Result<Client> {
    let scheme = match endpoint.scheme() {
        Scheme::Http => "http://",
        Scheme::Https => "https://",
        Scheme::Unix | Scheme::Unsaid => "",
    };
    let endpoints = vec![format!("{scheme}{}", endpoint.authority())];
    let config = Config { endpoints, dial_timeout: TIMEOUT, command_timeout: TIMEOUT };
    Ok(Client::secured(&config, security)?)
}

/// The token of the user as whom to ask; empty for nobody.
///
/// # Errors
/// The server does not know user and password.
pub fn log_in(server: &Server) -> Result<String> {
    let Some(user) = &server.security.user else { return Ok(String::new()) };
    let anonymous = Security { user: None, ..server.security.clone() };
    let mut client = client(&Server { security: anonymous, ..server.clone() })?;
    let request = AuthenticateRequest { name: user.name.clone(), password: user.password.clone() };
    let response =
        client.authenticate(&request).with_context(|| format!("cannot log in as {}", user.name))?;
    Ok(response.token)
}

/// The endpoint that says of itself that it leads.
///
/// # Errors
/// None does.
pub fn leader_of(endpoints: &[Endpoint], security: &Security) -> Result<Endpoint> {
    for endpoint in endpoints {
        let server = Server { endpoint: endpoint.clone(), security: security.clone() };
        if leads(&server).unwrap_or(false) {
            return Ok(endpoint.clone());
        }
    }
    bail!("none of the endpoints leads")
}

/// Whether a member says of itself that it leads.
///
/// # Errors
/// It does not answer.
pub fn leads(server: &Server) -> Result<bool> {
    let status = client(server)?.status(&StatusRequest::default())?;
    Ok(status.header.is_some_and(|header| header.member_id == status.leader))
}

/// Deletes all keys that begin with `prefix`, and says how many there were.
///
/// # Errors
/// The server refuses.
pub fn delete_prefix(server: &Server, prefix: &str) -> Result<i64> {
    let mut end = prefix.as_bytes().to_vec();
    // ASCII never ends in a byte that has none after it.
    *end.last_mut().context("a prefix is not empty")? += 1;
    let request = DeleteRangeRequest {
        key: prefix.as_bytes().to_vec().into(),
        range_end: end.into(),
        ..Default::default()
    };
    Ok(client(server)?.delete_range(&request)?.deleted)
}

/// Puts a key so often, and gives the revision of the first put.
///
/// # Errors
/// The server refuses.
pub fn put_events(server: &Server, key: &[u8], count: u64) -> Result<i64> {
    let mut client = client(server)?;
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
pub fn compact(server: &Server, Compaction { interval, keep }: Compaction, over: &AtomicBool) -> Result<u64> {
    let mut client = client(server)?;
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
pub fn compare_hashes(endpoints: &[Endpoint], security: &Security) -> Result<(i64, u32)> {
    let server = |endpoint: &Endpoint| Server { endpoint: endpoint.clone(), security: security.clone() };
    let mut newest = Vec::new();
    for endpoint in endpoints {
        let range = RangeRequest { key: vec![0].into(), count_only: true, ..Default::default() };
        newest.push(
            client(&server(endpoint))?.range(&range)?.header.context("the answer has no header")?.revision,
        );
    }
    let revision = newest.into_iter().min().context("there is an endpoint")?;
    let mut hashes = Vec::new();
    for endpoint in endpoints {
        hashes.push(client(&server(endpoint))?.hash_kv(&HashKvRequest { revision })?.hash);
    }
    if hashes.iter().any(|&hash| hash != hashes[0]) {
        bail!("the stores differ at revision {revision}: hashes {hashes:?}");
    }
    Ok((revision, hashes[0]))
}
