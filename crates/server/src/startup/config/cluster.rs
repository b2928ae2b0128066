//! What the flags say about the cluster: its members, its token and, from these, the ids of a new member.

use super::{Error, refuse, require_tcp};
use crate::startup::{
    flags::{Url, Values, parse_urls},
    identity::{cluster_id, member_id},
};
use std::collections::{BTreeMap, BTreeSet};
use windlass_peer::Url as PeerUrl;
use windlass_types::{ClusterId, MemberId};

/// Whether a member without data begins a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// It begins a new cluster.
    New,
    /// It belongs to one that exists; what is in its data folder is right.
    Existing,
}

/// The cluster that the flags describe. Only a member without data follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Whether to begin a new cluster.
    pub state: ClusterState,
    /// Keeps clusters with equal URLs apart.
    pub token: String,
    /// All members by name, with their peer URLs.
    pub members: BTreeMap<String, Vec<Url>>,
    /// Whether the data is to become that of a cluster of this member alone.
    pub force_new: bool,
    /// Id of this member, if the cluster is new.
    pub member_id: MemberId,
    /// Id of the cluster, if it is new.
    pub cluster_id: ClusterId,
    /// Whether the operator named any of this. Only then does a data folder that says otherwise mean a mix-up.
    pub explicit: bool,
}

impl Bootstrap {
    pub(super) fn from_values(values: &Values, name: &str, advertise_peer: &[Url]) -> Result<Self, Error> {
        let token = values.text("initial-cluster-token").to_owned();
        for (flag, text) in [("name", name), ("initial-cluster-token", &token)] {
            if text.chars().any(char::is_control) {
                return refuse(format!("--{flag} must not hold control characters"));
            }
        }
        let members = match values.text("initial-cluster") {
            // Said to be empty, it has no members.
            "" if !values.is_set("initial-cluster") => {
                BTreeMap::from([(name.to_owned(), advertise_peer.to_vec())])
            }
            given => parse_members(given)?,
        };
        check_members(&members, name, advertise_peer)?;
        check_reachable(&members)?;
        let ids: Vec<MemberId> = members.values().map(|urls| id_of(urls, &token)).collect();
        let named = ["name", "initial-cluster", "initial-cluster-token", "initial-advertise-peer-urls"];
        Ok(Self {
            state: match values.text("initial-cluster-state") {
                "existing" => ClusterState::Existing,
                _ => ClusterState::New,
            },
            member_id: id_of(advertise_peer, &token),
            cluster_id: cluster_id(&ids),
            explicit: named.iter().any(|flag| values.is_set(flag)),
            token,
            members,
            force_new: values.boolean("force-new-cluster"),
        })
    }
}

impl Bootstrap {
    /// The members of a new cluster with the ids that they all compute, by ascending id.
    #[must_use]
    pub fn founders(&self) -> BTreeMap<MemberId, Vec<String>> {
        let texts = |urls: &[Url]| urls.iter().map(ToString::to_string).collect();
        self.members.values().map(|urls| (id_of(urls, &self.token), texts(urls))).collect()
    }

    /// Where the members other than `name` are reached.
    #[must_use]
    pub fn peers_of(&self, name: &str) -> Vec<String> {
        let others = self.members.iter().filter(|(other, _)| *other != name);
        others.flat_map(|(_, urls)| urls).map(ToString::to_string).collect()
    }
}

fn id_of(urls: &[Url], token: &str) -> MemberId {
    let texts: Vec<&str> = urls.iter().map(Url::as_str).collect();
    member_id(&texts, token)
}

/// `name=url` pairs separated by commas; a name may come several times, once for each of its URLs.
fn parse_members(text: &str) -> Result<BTreeMap<String, Vec<Url>>, Error> {
    let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
        if url.is_empty() {
            return refuse(format!("--initial-cluster: empty URL given for \"{name}\""));
        }
        let mut urls =
            parse_urls(url).map_err(|why| Error::Configuration(format!("--initial-cluster: {why}")))?;
        members.entry(name.to_owned()).or_default().append(&mut urls);
    }
    for urls in members.values_mut() {
        urls.sort();
    }
    Ok(members)
}

/// This member must be among the members, with the URLs that it advertises.
fn check_members(
    members: &BTreeMap<String, Vec<Url>>,
    name: &str,
    advertise_peer: &[Url],
) -> Result<(), Error> {
    for url in members.values().flatten() {
        require_tcp(url)?;
    }
    let Some(own) = members.get(name) else {
        return refuse(format!("couldn't find local name \"{name}\" in the initial cluster configuration"));
    };
    if own != advertise_peer {
        let texts = |urls: &[Url]| urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",");
        return refuse(format!(
            "--initial-cluster has {name}={} but --initial-advertise-peer-urls={}",
            texts(own),
            texts(advertise_peer)
        ));
    }
    Ok(())
}

/// Every member has URLs of its own, at which the others can reach it.
fn check_reachable(members: &BTreeMap<String, Vec<Url>>) -> Result<(), Error> {
    let urls = || members.values().flatten();
    if urls().collect::<BTreeSet<_>>().len() < urls().count() {
        let pairs =
            members.iter().flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")));
        let pairs = pairs.collect::<Vec<_>>().join(",");
        return refuse(format!("initial cluster {pairs} has duplicate url"));
    }
    // One that is alone need not be reached.
    if members.len() > 1
        && let Some(Err(bad)) = urls().map(|url| url.as_str().parse::<PeerUrl>()).find(Result::is_err)
    {
        return refuse(format!("--initial-cluster: {bad}"));
    }
    Ok(())
}
