//! Threads and actors of a running member: made, wired, and ended in order.

use std::io::{self, IsTerminal as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use actix_rt::Arbiter;
use tokio::sync::oneshot;
use windlass_api::etcdserverpb::Member;
use windlass_io_disk::interrupt::Interrupter;
use windlass_io_disk::uring::SyncMode;
use windlass_records::batch::Origin;
use windlass_replica::lease::ttl_s_min;
use windlass_replica::shard::View;
use windlass_rpc::{Limits, PingPolicy};
use windlass_tls::Tls;
use windlass_types::ClusterId;

use super::assemble::election_ticks;
use super::open::Opened;
use super::signals::{self, Signal};
use crate::auth::Authority;
use crate::consensus::{self, Arbiters, ConsensusActor, FromArbiter, Links, LogSettings, StepDown};
use crate::metrics::{Constants, Metrics};
use crate::net::{
    ArbiterId, Drain, ETCD_VERSION, Listen, Listeners, MemberInfo, NetActor, REQUEST_TIMEOUT_BASE,
    RequestLimits, Ticket, WatchOptions,
};
use crate::published::Published;
use crate::shard::{self, Inbox, OpenedShards, Senders, ShardThread};
use crate::sink::ShardSink;
use crate::startup::data_folder::{self, DataFolder};
use crate::startup::flags::Scheme;
use crate::startup::{Config, Reason, fatal};

/// How long calls in flight may take to end after a signal.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// How long a start waits for a leader before it serves clients without one. Source: etcd's
/// `DefaultWaitClusterReadyTimeout`.
const READY_PATIENCE: Duration = Duration::from_secs(5);

/// Handles to what runs.
struct Running {
    consensus: Addr<ConsensusActor>,
    arbiters: Vec<Addr<NetActor>>,
    senders: Senders<Ticket>,
    shards: Vec<ShardThread>,
}

/// Runs a member on this thread, which becomes its first arbiter, until a signal; returns once everything has ended.
pub async fn serve(config: &Config, opened: Opened) -> Signal {
    let Opened { folder, listeners, peer_sockets, tls, authority, core, us, .. } = opened;
    let Opened { told, disk, shards, shards_mode, .. } = opened;
    let identity = folder.identity();
    let count = u16::try_from(shards.shards.len()).expect("made from a u16");
    let published = Arc::new(Published::new(identity.cluster, us, count, shards.state));
    // Before anybody can be let in who must say who they are.
    published.set_auth(Arc::clone(core.auth()));
    let quota_bytes = config.limits.quota_bytes;
    let metrics = Metrics::new(&Constants {
        version: ETCD_VERSION,
        member: identity.member,
        sync_mode: disk.mode(),
        quota_bytes: quota_bytes.unwrap_or(0),
        extensive: config.observation.extensive_metrics,
    });
    let (senders, inboxes) = shard::mailboxes(count);
    let views = shards.shards.iter().map(|shard| shard.core.view()).collect();
    let (ready, is_ready) = oneshot::channel();
    let authority = Arc::new(authority);
    let consensus = ConsensusActor::new(consensus::Wiring {
        core,
        disk,
        shards: senders.clone(),
        published: Arc::clone(&published),
        metrics: Arc::clone(&metrics),
        heartbeat: config.raft.heartbeat_interval,
        retention: config.retention,
        quota_bytes: config.limits.quota_bytes,
        settings: LogSettings::of(&config.storage),
        hold_cpus: config.waiting.hold_cpus,
        authority: Arc::clone(&authority),
        backup_folder: folder.path().join(crate::backup::FOLDER_NAME),
        cluster: cluster_setup(config, identity.cluster, us, told, &folder, (peer_sockets, tls.peers)),
        ready,
    })
    .start();
    let watched = Arc::clone(&published);
    let wiring = Wiring {
        config,
        consensus: &consensus,
        senders: &senders,
        views,
        published,
        metrics,
        authority,
        shards_mode,
    };
    let arbiters = wiring.start_arbiters(listeners, identity.member).await;
    consensus.do_send(Arbiters(arbiters.clone()));
    // In this order: no request may reach the consensus actor before that.
    arbiters.iter().for_each(|arbiter| arbiter.do_send(Listen::Metrics));
    let shards = wiring.start_shards(shards, inboxes, &arbiters);
    let interrupter = Interrupter::install().unwrap_or_else(|error| fatal(Reason::Failure, error));
    actix_rt::spawn(shard::watch(shards.iter().map(ShardThread::watched).collect(), interrupter));
    let signal = serve_clients(config, &arbiters, is_ready, &watched).await;
    let signal = signal.unwrap_or_else(|error| fatal(Reason::Failure, error));
    stop(Running { consensus, arbiters, senders, shards }, signal).await;
    signal
}

/// Lets clients in when the member has caught up, or when it has waited in vain for a leader: what needs none is served
/// then all the same, so that the survivor of a majority still shows what it has. One that joins has nothing to show.
/// Returns when a signal comes.
async fn serve_clients(
    config: &Config,
    arbiters: &[Addr<NetActor>],
    mut is_ready: oneshot::Receiver<()>,
    published: &Published,
) -> io::Result<Signal> {
    let let_in = || arbiters.iter().for_each(|arbiter| arbiter.do_send(Listen::Clients));
    let is_member = || published.members().get(published.member).is_some();
    let ready = loop {
        match tokio::time::timeout(READY_PATIENCE, &mut is_ready).await {
            Err(_) if !is_member() => {}
            outcome => break outcome.is_ok(),
        }
    };
    let_in();
    if !ready {
        tracing::warn!("there is no leader yet: clients are served what needs none");
        tokio::select! {
            _ = is_ready => {}
            signal = signals::wait() => return signal,
        }
    }
    announce(config);
    signals::wait().await
}

struct Wiring<'a> {
    config: &'a Config,
    consensus: &'a Addr<ConsensusActor>,
    senders: &'a Senders<Ticket>,
    views: Vec<View>,
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    authority: Arc<Authority>,
    /// How the shards make their writes durable.
    shards_mode: SyncMode,
}

impl Wiring<'_> {
    /// One actor for each net thread: the first on this thread, the others on threads of their own.
    async fn start_arbiters(
        &self,
        listeners: Vec<Listeners>,
        member: windlass_types::MemberId,
    ) -> Vec<Addr<NetActor>> {
        let mut actors = Vec::new();
        for (i, sockets) in listeners.into_iter().enumerate() {
            let id = ArbiterId(u8::try_from(i).expect("checked with the flags"));
            let make = self.arbiter(id, member);
            if i == 0 {
                actors.push(make(sockets).start());
                continue;
            }
            let (tell, address) = oneshot::channel();
            let spawned = Arbiter::new().spawn_fn(move || {
                // The other side waits for it.
                let _ = tell.send(make(sockets).start());
            });
            assert!(spawned, "a new arbiter takes work");
            actors.push(address.await.expect("the arbiter starts its actor"));
        }
        actors
    }

    /// What makes an arbiter's actor, on its own thread.
    fn arbiter(
        &self,
        id: ArbiterId,
        member: windlass_types::MemberId,
    ) -> impl FnOnce(Listeners) -> NetActor + Send + 'static {
        let limits = rpc_limits(self.config);
        let (consensus, shards) = (self.consensus.clone(), self.senders.clone());
        let views = self.views.clone();
        let (published, metrics) = (Arc::clone(&self.published), Arc::clone(&self.metrics));
        let authority = Arc::clone(&self.authority);
        let info = Arc::new(member_info(self.config, member));
        let request_limits = request_limits(self.config);
        let watch = WatchOptions {
            progress_interval: self.config.watch_progress_interval,
            election_timeout: self.config.raft.election_timeout,
        };
        let http_rules = self.config.http.clone();
        let waiting = self.config.waiting;
        let lease_seed = data_folder::random();
        move |sockets| {
            let net = NetActor::network(limits);
            let limits = request_limits;
            let wiring = crate::net::Wiring {
                id,
                net,
                consensus,
                shards,
                views,
                published,
                metrics,
                authority,
                info,
                limits,
                watch,
                waiting,
                lease_seed,
            };
            NetActor::new(wiring, http_rules, sockets)
        }
    }

    fn start_shards(
        &self,
        opened: OpenedShards<Ticket>,
        inboxes: Vec<Inbox<Ticket>>,
        arbiters: &[Addr<NetActor>],
    ) -> Vec<ShardThread> {
        let count = self.senders.count();
        let sink = || {
            let (published, metrics) = (Arc::clone(&self.published), Arc::clone(&self.metrics));
            let warning = self.config.observation.warning_apply_duration;
            ShardSink::new(self.consensus.clone(), arbiters.to_vec(), published, metrics, warning)
        };
        let cpus = shard::place(count, self.config.storage.net_threads);
        let mut state = Some((opened.state_stream, opened.state_folder));
        let shards = opened.shards.into_iter().zip(inboxes).zip(cpus);
        let spawn = |(number, ((shard, inbox), cpu)): (u16, ((shard::OpenedShard<Ticket>, _), _))| {
            let options = shard::Options {
                core: shard.core,
                id: windlass_types::ShardId(number),
                shards: count,
                folder: shard.folder,
                state: state.take(),
                inbox,
                // With O_DSYNC what follows a write is left to the kernel's workers, and none of the ring's is woken.
                mode: self.shards_mode,
                cpu,
            };
            ShardThread::spawn(options, sink()).unwrap_or_else(|error| fatal(Reason::of_shard(&error), error))
        };
        (0..count).zip(shards).map(spawn).collect()
    }
}

fn rpc_limits(config: &Config) -> Limits {
    /// What gRPC's framing and protobuf add to the largest request; etcd's figure.
    const MESSAGE_OVERHEAD_BYTES: usize = 512 << 10;
    let connections = &config.connections;
    let defaults = Limits::default();
    // Zero is "never" in the flags.
    let or_never = |d: Duration| if d.is_zero() { Duration::from_secs(u64::from(u32::MAX)) } else { d };
    Limits {
        message_bytes_max: config.limits.request_bytes_max + MESSAGE_OVERHEAD_BYTES,
        // JSON has bytes in base64, and white space.
        http_body_bytes_max: 2 * (config.limits.request_bytes_max + MESSAGE_OVERHEAD_BYTES),
        // A bound where the flag says "any number"; what a client really needs is far below.
        streams_max: config.limits.concurrent_streams_max.min(defaults.streams_max),
        ping_policy: PingPolicy { min_interval: connections.keepalive_min_time, ..defaults.ping_policy },
        keepalive_interval: or_never(connections.keepalive_interval),
        keepalive_timeout: or_never(connections.keepalive_timeout),
        slow_after: config.observation.warning_request_duration,
        ..defaults
    }
}

fn request_limits(config: &Config) -> RequestLimits {
    RequestLimits {
        request_bytes_max: config.limits.request_bytes_max,
        txn_ops_max: config.limits.txn_ops_max,
        quota_bytes: config.limits.quota_bytes,
        timeout: REQUEST_TIMEOUT_BASE + 2 * config.raft.election_timeout,
        lease_ttl_s_min: ttl_s_min(
            u64::try_from(config.raft.election_timeout.as_millis()).unwrap_or(u64::MAX),
        ),
    }
}

fn member_info(config: &Config, id: windlass_types::MemberId) -> MemberInfo {
    MemberInfo { id, token: config.bootstrap.token.clone(), live_settings: config.storage.live_settings }
}

/// The transport to the other members.
pub(super) fn transport(
    config: &Config,
    cluster: ClusterId,
    us: Origin,
    (sockets, tls): (Vec<TcpListener>, Option<Tls>),
) -> windlass_peer::Config {
    let listened = sockets.into_iter().zip(&config.urls.listen_peer);
    let listen = listened
        .map(|(socket, url)| windlass_peer::Listen { socket, tls: url.scheme() == Scheme::Https })
        .collect();
    windlass_peer::Config {
        server_version: ETCD_VERSION.to_owned(),
        listen,
        tls,
        dead_after: config.raft.election_timeout,
        ..windlass_peer::Config::new(cluster, us.member, us.incarnation, us.incarnation)
    }
}

/// How the member takes part in its cluster.
fn cluster_setup(
    config: &Config,
    cluster: ClusterId,
    us: Origin,
    told: Vec<Member>,
    folder: &DataFolder,
    (sockets, tls): (Vec<TcpListener>, Option<Tls>),
) -> consensus::Setup {
    let texts = |urls: &[crate::startup::flags::Url]| urls.iter().map(ToString::to_string).collect();
    let own = Member {
        id: us.member.0,
        name: config.name.clone(),
        peer_ur_ls: texts(&config.urls.advertise_peer),
        client_ur_ls: texts(&config.urls.advertise_client),
        is_learner: false,
    };
    let unpublished = folder.unpublished();
    let peers = windlass_peer::Config {
        unpublished: unpublished.is_some(),
        ..transport(config, cluster, us, (sockets, tls))
    };
    let links = Links {
        election_ticks: election_ticks(config),
        config: Some(peers),
        snapshot_folder: folder.path().join(crate::snapshot::FOLDER_NAME),
        actor: None,
    };
    consensus::Setup { own, unpublished, force_new_cluster: config.bootstrap.force_new, told, links }
}

/// Says that the member serves: to log readers in etcd's words, to systemd, and to people with what to type next.
fn announce(config: &Config) {
    let urls: Vec<String> = config.urls.advertise_client.iter().map(ToString::to_string).collect();
    let urls = urls.join(",");
    tracing::info!(name = %config.name, client_urls = %urls, "ready to serve client requests");
    // Without systemd there is nobody to notify.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    // For people who try it out; where flags are given and a program reads along, the log line above is enough.
    if std::env::args_os().len() == 1 || std::io::stderr().is_terminal() {
        eprintln!(
            "\nServing on {urls}, data in {}. In another terminal:\n\n  \
             cargo run --release -p windlassctl -- --endpoints {urls} put greeting hello\n  \
             cargo run --release -p windlassctl -- --endpoints {urls} get greeting\n",
            config.data_dir.display()
        );
    }
}

/// Ends everything: clients first, then the shards, which make durable what they hold.
async fn stop(running: Running, signal: Signal) {
    tracing::info!(?signal, "stopping");
    // While clients are still served: they notice nothing but a new leader.
    let _ = running.consensus.send(StepDown).await;
    let drains: Vec<_> = running.arbiters.iter().map(|arbiter| arbiter.send(Drain(DRAIN_GRACE))).collect();
    for drain in drains {
        // An arbiter that is gone has nothing to drain.
        let _ = drain.await;
    }
    // What the actor holds back for the shards goes before the word to stop.
    let _ = running.consensus.send(FromArbiter::HandOver).await;
    running.senders.stop();
    // Joined on a thread of its own: this one must still take what the shards say.
    let joined = tokio::task::spawn_blocking(move || {
        running.shards.into_iter().map(ShardThread::join).collect::<Result<Vec<_>, _>>()
    });
    match joined.await {
        Ok(Ok(stopped)) => {
            for shard in stopped {
                tracing::debug!(shard = %shard.id, complete = %shard.complete, durable = %shard.durable, "shard stopped");
            }
            tracing::info!("stopped");
        }
        Ok(Err(error)) => fatal(Reason::of_shard(&error), error),
        Err(error) => fatal(Reason::Failure, error),
    }
}
