//! Metrics of the links to other members, under etcd's names.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use windlass_peer::PeerStats;
use windlass_types::MemberId;

/// A label and its value, such as `To` and the peer's id in base 16.
type Label = Vec<(&'static str, String)>;

/// What is known of the links to other members.
pub struct Peers {
    /// How much of the links' counts is told already.
    told: Mutex<BTreeMap<MemberId, PeerStats>>,
    known: Family<Label, Gauge>,
    active: Family<Label, Gauge>,
    disconnected: Family<Label, Counter>,
    sent_bytes: Family<Label, Counter>,
    received_bytes: Family<Label, Counter>,
    send_failures: Family<Label, Counter>,
    round_trip: Family<Label, Histogram>,
    queued_bytes: Family<Label, Gauge<u64, AtomicU64>>,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            told: Mutex::default(),
            known: Family::default(),
            active: Family::default(),
            disconnected: Family::default(),
            sent_bytes: Family::default(),
            received_bytes: Family::default(),
            send_failures: Family::default(),
            // etcd's begin at 0.1 ms; ours where a loopback or a rack is.
            round_trip: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(1.0 / 64_000.0, 2.0, 20))
            }),
            queued_bytes: Family::default(),
        }
    }
}

impl Peers {
    pub(super) fn register(&self, r: &mut Registry) {
        r.register("etcd_network_known_peers", "Members that this one knows", self.known.clone());
        r.register("etcd_network_active_peers", "Members that this one is connected to", self.active.clone());
        r.register("etcd_network_disconnected_peers", "Links that ended", self.disconnected.clone());
        r.register("etcd_network_peer_sent_bytes", "Bytes sent to a member", self.sent_bytes.clone());
        let help = "Bytes received from a member";
        r.register("etcd_network_peer_received_bytes", help, self.received_bytes.clone());
        let help = "Messages to a member that were dropped";
        r.register("etcd_network_peer_sent_failures", help, self.send_failures.clone());
        let help = "Seconds to a member and back, the newest measured of each second";
        r.register("etcd_network_peer_round_trip_time_seconds", help, self.round_trip.clone());
        let help = "Bytes that wait to be sent to a member";
        r.register("windlass_peer_queued_bytes", help, self.queued_bytes.clone());
    }

    /// Adds what the links counted since the last time; to be called about once a second.
    pub fn tell(&self, us: MemberId, links: Vec<PeerStats>) {
        let mut told = self.told.lock();
        // A member that left has no link; what was counted stays, what is there now does not.
        told.retain(|peer, _| {
            let stays = links.iter().any(|link| link.peer == *peer);
            if !stays {
                self.forget(us, *peer);
            }
            stays
        });
        for link in links {
            let before = told.get(&link.peer).cloned().unwrap_or_default();
            self.tell_one(us, &link, &before);
            told.insert(link.peer, link);
        }
    }

    /// What was told of each link last, a second ago at most.
    #[must_use]
    pub fn links(&self) -> BTreeMap<MemberId, PeerStats> {
        self.told.lock().clone()
    }

    fn tell_one(&self, us: MemberId, now: &PeerStats, before: &PeerStats) {
        let (pair, to, from) = (pair(us, now.peer), label("To", now.peer), label("From", now.peer));
        self.known.get_or_create(&pair).set(1);
        self.active.get_or_create(&pair).set(i64::from(now.connected_since.is_some()));
        // A new link of the same member begins at 0.
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        self.disconnected.get_or_create(&pair).inc_by(since(now.disconnects, before.disconnects));
        self.sent_bytes.get_or_create(&to).inc_by(since(now.sent_bytes, before.sent_bytes));
        self.received_bytes.get_or_create(&from).inc_by(since(now.received_bytes, before.received_bytes));
        self.send_failures.get_or_create(&to).inc_by(since(now.send_failures, before.send_failures));
        self.queued_bytes.get_or_create(&to).set(now.queued_bytes as u64);
        if let Some(round_trip) = now.round_trip.filter(|_| now.connected_since.is_some()) {
            self.round_trip.get_or_create(&to).observe(round_trip.as_secs_f64());
        }
    }

    fn forget(&self, us: MemberId, peer: MemberId) {
        self.known.remove(&pair(us, peer));
        self.active.remove(&pair(us, peer));
        self.queued_bytes.remove(&label("To", peer));
    }
}

fn pair(us: MemberId, peer: MemberId) -> Label {
    vec![("Local", format!("{:x}", us.0)), ("Remote", format!("{:x}", peer.0))]
}

fn label(name: &'static str, peer: MemberId) -> Label {
    vec![(name, format!("{:x}", peer.0))]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn shown(peers: &Peers) -> String {
        let mut registry = Registry::default();
        peers.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("strings take any text");
        text
    }

    #[test]
    fn links_are_counted_on_and_forgotten_when_a_member_leaves() {
        let peers = Peers::default();
        let link = PeerStats {
            peer: MemberId(0xb),
            connected_since: Some(Instant::now()),
            sent_bytes: 100,
            received_bytes: 50,
            round_trip: Some(Duration::from_micros(100)),
            ..PeerStats::default()
        };
        peers.tell(MemberId(0xa), vec![link.clone()]);
        peers.tell(MemberId(0xa), vec![PeerStats { sent_bytes: 300, ..link.clone() }]);
        let text = shown(&peers);
        for line in [
            "etcd_network_peer_sent_bytes_total{To=\"b\"} 300",
            "etcd_network_peer_received_bytes_total{From=\"b\"} 50",
            "etcd_network_active_peers{Local=\"a\",Remote=\"b\"} 1",
            "etcd_network_peer_round_trip_time_seconds_count{To=\"b\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
        }
        peers.tell(MemberId(0xa), Vec::new());
        assert!(!shown(&peers).contains("known_peers{"), "it has left");
        // Back again, with a link that begins anew.
        peers.tell(MemberId(0xa), vec![PeerStats { sent_bytes: 7, ..link }]);
        assert!(shown(&peers).contains("etcd_network_peer_sent_bytes_total{To=\"b\"} 307"));
    }
}
