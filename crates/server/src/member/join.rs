//! What a member without data asks the others before it begins: who the cluster is that it joins, or whether the
//! cluster that it would found exists already.
//!
//! A member that lost its disk has forgotten whom it voted for and what it acknowledged. Under its old identity it would
//! break what the others rely on, so it is refused and must be added anew. Source: etcd `bootstrap.go`.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::{Member, MemberListResponse};
use windlass_tls::Tls;
use windlass_types::{ClusterId, MemberId};

use crate::net::ETCD_VERSION;
use crate::startup::{Config, Reason};

/// How long each URL has to answer a member that joins.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long each has to answer one that founds a cluster, whose peers may not run yet: that is known at once, and one that
/// runs may be busy.
const FOUND_TIMEOUT: Duration = Duration::from_secs(2);

/// What the others said.
#[derive(Debug)]
pub struct Told {
    /// Their cluster.
    pub cluster: ClusterId,
    /// Its members.
    pub members: Vec<Member>,
}

/// Why a member without data cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody to ask, or nobody answered.
    #[error(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs ({0}); \
         check --initial-cluster and that those members run"
    )]
    NoAnswer(String),
    /// The cluster does not know this member.
    #[error(
        "error validating peerURLs {urls}: the cluster has no member with them; add it first, for example with \
         `etcdctl member add`, or correct --initial-advertise-peer-urls"
    )]
    NotAdded {
        /// Its peer URLs.
        urls: String,
    },
    /// The flags and the cluster differ in who its members are.
    #[error(
        "error validating peerURLs: member count is unequal: --initial-cluster names {named}, the cluster has {has}"
    )]
    Unequal {
        /// Members that the flag names.
        named: usize,
        /// Members that there are.
        has: usize,
    },
    /// The disk of a member was lost.
    #[error(
        "member {0:x} has already been bootstrapped: its data is gone, and with it what it promised to the others; \
         remove it from the cluster, add it again, and start it with --initial-cluster-state=existing"
    )]
    AlreadyBootstrapped(u64),
}

impl Error {
    /// The reason to end the process with.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::AlreadyBootstrapped(_) => Reason::FolderIdentity,
            Self::NoAnswer(_) | Self::NotAdded { .. } | Self::Unequal { .. } => Reason::Failure,
        }
    }
}

/// Asks who this member is in the cluster that it joins.
///
/// # Errors
/// See [`Error`].
pub fn identify(config: &Config, tls: Option<&Tls>) -> Result<(MemberId, Told), Error> {
    let urls = config.bootstrap.peers_of(&config.name);
    let told = ask(&urls, tls, JOIN_TIMEOUT).map_err(Error::NoAnswer)?;
    let (named, has) = (config.bootstrap.members.len(), told.members.len());
    if named != has {
        return Err(Error::Unequal { named, has });
    }
    let own = sorted(config.urls.advertise_peer.iter().map(ToString::to_string));
    let mut members = told.members.iter();
    match members.find(|member| sorted(member.peer_ur_ls.iter().cloned()) == own) {
        // Then it had data. etcd asks this of founding members alone.
        Some(member) if has_served(member) => Err(Error::AlreadyBootstrapped(member.id)),
        Some(member) => Ok((MemberId(member.id), told)),
        None => Err(Error::NotAdded { urls: own.join(",") }),
    }
}

/// Refuses a founding member without data whose cluster knows that it had some. Silence is no reason: the others may be
/// about to start as well.
///
/// # Errors
/// See [`Error`].
pub fn check_founder(config: &Config, id: MemberId, tls: Option<&Tls>) -> Result<(), Error> {
    let urls = config.bootstrap.peers_of(&config.name);
    let Ok(told) = ask(&urls, tls, FOUND_TIMEOUT) else { return Ok(()) };
    let known = told.members.iter().find(|member| member.id == id.0);
    if told.cluster == config.bootstrap.cluster_id && known.is_some_and(has_served) {
        return Err(Error::AlreadyBootstrapped(id.0));
    }
    Ok(())
}

/// A member tells the log where clients reach it before it serves.
fn has_served(member: &Member) -> bool {
    !member.client_ur_ls.is_empty()
}

/// One answer of any of the members at `urls`.
fn ask(urls: &[String], tls: Option<&Tls>, time_max: Duration) -> Result<Told, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let inquiry = windlass_peer::inquire(urls, Bytes::new(), ETCD_VERSION, tls, time_max);
    let answer = runtime.block_on(inquiry).map_err(|error| error.to_string())?;
    let response = MemberListResponse::decode(answer).map_err(|error| error.to_string())?;
    let cluster = response.header.map_or(ClusterId::ZERO, |header| ClusterId(header.cluster_id));
    Ok(Told { cluster, members: response.members })
}

fn sorted(urls: impl Iterator<Item = String>) -> Vec<String> {
    let mut urls: Vec<String> = urls.collect();
    urls.sort();
    urls
}
