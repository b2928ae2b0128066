//! What a member without data asks the others before it begins: who the cluster is that it joins, or whether the
//! cluster that it would found exists already.
//!
//! A member that lost its disk has forgotten whom it voted for and what it acknowledged. Under its old identity it would
//! break what the others rely on, so it is refused and must be added anew: see `windlass_replica::amnesia`, which also says
//! what happens where nobody answers. Source: etcd `bootstrap.go`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::task::{LocalSet, spawn_local};
use windlass_api::etcdserverpb::{Member, MemberListResponse};
use windlass_replica::amnesia::has_served;
use windlass_tls::Tls;
use windlass_types::{ClusterId, MemberId};

use crate::net::ETCD_VERSION;
use crate::startup::flags::Url;
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
    /// They differ in where one of the members is.
    #[error(
        "error validating peerURLs: unmatched member while checking PeerURLs: --initial-cluster has {named}, the cluster \
         has {has}"
    )]
    Unmatched {
        /// URLs that the flag has and the cluster has not.
        named: String,
        /// Those of the cluster's members that the flag does not have.
        has: String,
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
            Self::NoAnswer(_) | Self::NotAdded { .. } | Self::Unequal { .. } | Self::Unmatched { .. } => {
                Reason::Failure
            }
        }
    }
}

/// Asks who this member is in the cluster that it joins.
///
/// # Errors
/// See [`Error`].
pub fn identify(config: &Config, tls: Option<&Tls>) -> Result<(MemberId, Told), Error> {
    let mut all = ask_all(config, tls, JOIN_TIMEOUT).map_err(Error::NoAnswer)?;
    let served = |id: u64| all.iter().any(|told| told.says_served(MemberId(id)));
    let told = &all[0];
    let (named, has) = (config.bootstrap.members.len(), told.members.len());
    if named != has {
        return Err(Error::Unequal { named, has });
    }
    let own = texts(&config.urls.advertise_peer);
    let mut rest: Vec<&Member> = told.members.iter().collect();
    let Some(member) = take_at(&mut rest, &own) else {
        return Err(Error::NotAdded { urls: own.join(",") });
    };
    // Then it had data. etcd asks this of founding members alone.
    if served(member.id) {
        return Err(Error::AlreadyBootstrapped(member.id));
    }
    let id = MemberId(member.id);
    let others = config.bootstrap.members.iter().filter(|(name, _)| **name != config.name);
    // Names are not compared, as in etcd.
    let strangers: Vec<String> = others
        .map(|(_, urls)| texts(urls))
        .filter(|urls| take_at(&mut rest, urls).is_none())
        .flatten()
        .collect();
    if !strangers.is_empty() {
        let has: Vec<&str> = rest.iter().flat_map(|member| &member.peer_ur_ls).map(String::as_str).collect();
        return Err(Error::Unmatched { named: strangers.join(","), has: has.join(",") });
    }
    Ok((id, all.swap_remove(0)))
}

fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

/// Takes the member out that is at these URLs.
fn take_at<'a>(members: &mut Vec<&'a Member>, urls: &[String]) -> Option<&'a Member> {
    let is_named = |member: &&Member| sorted(member.peer_ur_ls.clone()) == sorted(urls.to_vec());
    let is_there = |member: &&Member| {
        let places = places(urls);
        places.is_some() && places == self::places(&member.peer_ur_ls)
    };
    // Names of hosts need not be looked up where the texts say it.
    let at = members.iter().position(is_named).or_else(|| members.iter().position(is_there))?;
    Some(members.swap_remove(at))
}

/// Where the URLs lead to, for two texts may lead to one place; `None` if that is not known. Source: etcd
/// `netutil.URLStringsEqual`.
fn places(urls: &[String]) -> Option<Vec<(bool, SocketAddr)>> {
    let place = |text: &String| {
        let url: windlass_peer::Url = text.parse().ok()?;
        let address = (url.host.as_str(), url.port).to_socket_addrs().ok()?.next()?;
        Some((url.tls, address))
    };
    urls.iter().map(place).collect::<Option<Vec<_>>>().map(sorted)
}

/// Refuses a founding member without data whose cluster knows that it had some. Silence is no reason: the others may be
/// about to start as well.
///
/// # Errors
/// See [`Error`].
pub fn check_founder(config: &Config, id: MemberId, tls: Option<&Tls>) -> Result<(), Error> {
    let Ok(all) = ask_all(config, tls, FOUND_TIMEOUT) else { return Ok(()) };
    let is_ours = |told: &&Told| told.cluster == config.bootstrap.cluster_id;
    if all.iter().filter(is_ours).any(|told| told.says_served(id)) {
        return Err(Error::AlreadyBootstrapped(id.0));
    }
    Ok(())
}

impl Told {
    fn says_served(&self, id: MemberId) -> bool {
        self.members.iter().any(|member| member.id == id.0 && has_served(member))
    }
}

/// The answers of all the other members, of which there is one at least, in the order of the flag: one may know what another
/// has yet to hear of.
fn ask_all(config: &Config, tls: Option<&Tls>, time_max: Duration) -> Result<Vec<Told>, String> {
    let urls = config.bootstrap.peers_of(&config.name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let questions = async {
        // All at once, or those that are silent would hold up the others.
        let asked: Vec<_> =
            urls.into_iter().map(|url| spawn_local(ask(url, tls.cloned(), time_max))).collect();
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await.map_err(|error| error.to_string()).flatten());
        }
        answers
    };
    let answers = LocalSet::new().block_on(&runtime, questions);
    let (told, silent): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    if told.is_empty() {
        let why: Vec<String> = silent.into_iter().filter_map(Result::err).collect();
        return Err(if why.is_empty() {
            "nobody to ask: no peer URLs are given".to_owned()
        } else {
            why.join("; ")
        });
    }
    Ok(told.into_iter().filter_map(Result::ok).collect())
}

async fn ask(url: String, tls: Option<Tls>, time_max: Duration) -> Result<Told, String> {
    let inquiry = windlass_peer::inquire(&[url], Bytes::new(), ETCD_VERSION, tls.as_ref(), time_max).await;
    let answer = inquiry.map_err(|error| error.to_string())?;
    let response = MemberListResponse::decode(answer).map_err(|error| error.to_string())?;
    let cluster = response.header.map_or(ClusterId::ZERO, |header| ClusterId(header.cluster_id));
    Ok(Told { cluster, members: response.members })
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}
