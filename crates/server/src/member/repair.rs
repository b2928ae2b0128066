//! A member whose shards are damaged, while its Raft log is sound: it gets a snapshot from the leader, and begins anew.
//!
//! Until then it takes no part: it neither votes nor acknowledges nor serves, as if it were down. Nothing that it promised is
//! lost, for that is in the log, which stays as it is. See docs/adr/0011-self-repair.md.

use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::Notify;
use windlass_api::etcdserverpb::MemberListResponse;
use windlass_peer::{Admission, Ask, BulkOffer, Event, Frame, Handler, Peers, Reply};
use windlass_tls::Tls;
use windlass_types::{Code, LogIndex, MemberId};

use super::assemble::run_of;
use super::open::OpenError;
use super::serve::transport;
use crate::consensus::ASK_SNAPSHOT;
use crate::net::ETCD_VERSION;
use crate::snapshot::{self, Receiving};
use crate::startup::data_folder::DataFolder;
use crate::startup::{Config, Reason, fatal};

/// Time between two rounds of questions, while no snapshot arrives.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// How long each of the others has to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// What a member is that must be repaired.
pub struct Repair {
    /// Its folder, locked.
    pub folder: DataFolder,
    /// Sockets for the other members, bound.
    pub peer_sockets: Vec<TcpListener>,
    /// What connections of members are protected with.
    pub tls: Option<Tls>,
    /// What is damaged.
    pub error: OpenError,
    /// The snapshot must reach up to here.
    pub log_start: LogIndex,
}

/// Asks the others until a snapshot is there, then begins the process anew.
pub async fn run(config: &Config, damaged: Repair) -> ! {
    let Repair { folder, peer_sockets, tls, error, log_start } = damaged;
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "the shards of this member are damaged, its log is sound: it takes no part until the others have repaired it"
    );
    let identity = folder.identity();
    let (us, urls) = (run_of(identity.member), config.bootstrap.peers_of(&config.name));
    let ears = Rc::new(Ears {
        log_start,
        receiving: Receiving::new(folder.path().join(snapshot::FOLDER_NAME)),
        arrived: Rc::default(),
    });
    let transport = transport(config, identity.cluster, us, (peer_sockets, tls.clone()));
    let peers = Peers::start(transport, Rc::<Ears>::clone(&ears));
    let peers = peers.unwrap_or_else(|error| fatal(Reason::Address, error));
    loop {
        if !ears.receiving.is_busy() {
            ask(&peers, &urls, tls.as_ref(), us.member).await;
        }
        if tokio::time::timeout(ASK_INTERVAL, ears.arrived.notified()).await.is_ok() {
            peers.stop();
            snapshot::restart_to_install();
        }
    }
}

/// Asks every other member, of whom the leader answers with a snapshot.
async fn ask(peers: &Peers, urls: &[String], tls: Option<&Tls>, us: MemberId) {
    let told = windlass_peer::inquire(urls, Bytes::new(), ETCD_VERSION, tls, ASK_TIMEOUT).await;
    let told = told.map_err(|error| error.to_string());
    let members = told.and_then(|answer| MemberListResponse::decode(answer).map_err(|e| e.to_string()));
    let members = match members {
        Ok(response) => response.members,
        Err(error) => return tracing::warn!(%error, "no other member can be asked for a snapshot"),
    };
    let others: Vec<_> = members.into_iter().filter(|member| member.id != us.0).collect();
    let links: Vec<_> = others.iter().map(|m| (MemberId(m.id), m.peer_ur_ls.clone())).collect();
    if let Err(error) = peers.set_members(&links) {
        tracing::warn!(%error, "a member cannot be asked for a snapshot");
    }
    for (id, _) in links {
        match peers.ask(id, ASK_SNAPSHOT, Bytes::new(), ASK_TIMEOUT).await {
            Ok(_) => return tracing::info!(leader = %id, "a snapshot is on its way"),
            Err(error) => tracing::debug!(peer = %id, %error, "no snapshot from this member"),
        }
    }
}

/// Hears snapshots, and nothing else.
struct Ears {
    log_start: LogIndex,
    receiving: Receiving,
    /// Told when one is there.
    arrived: Rc<Notify>,
}

impl Handler for Ears {
    /// Whoever has the cluster's id: nothing is taken from anybody but a snapshot, which the others check as members.
    fn admit(&self, _: MemberId, _: bool) -> Admission {
        Admission::Member
    }

    fn received(&self, _: MemberId, _: &mut Vec<Frame>) {}

    fn asked(&self, _: MemberId, _: Ask, reply: Reply) {
        reply.fail(Code::Unavailable as u32, "this member is being repaired");
    }

    fn event(&self, event: Event) {
        if let Event::Removed { by } = event {
            tracing::error!(%by, "a member says that this one has been permanently removed from the cluster");
        }
    }

    fn inquired(&self, _: Bytes) -> Result<Bytes, String> {
        Err("this member is being repaired".to_owned())
    }

    fn bulk(&self, from: MemberId, offer: BulkOffer) {
        let (log_start, arrived) = (self.log_start, Rc::clone(&self.arrived));
        self.receiving.offered(
            from,
            offer,
            |state| if state.index >= log_start { Ok(()) } else { Err("this member's log begins behind it") },
            move || arrived.notify_one(),
        );
    }
}
