//! Network namespaces for members: one network that joins all of them with each other and can be cut, and one over which
//! the test's clients reach them, whatever happens to the first. Made and removed by the test itself.

#![allow(dead_code, reason = "the tests and the tool that share this file use their parts of it")]

use std::process::Command;

use crate::cluster::{Cluster, Seat};

/// The networks, of which the third number is the test's own so that several tests can run at a time.
const PEER_NET: &str = "10.231";
const CLIENT_NET: &str = "10.232";

/// A hardware address that nobody has: what is sent to it arrives nowhere.
const NOBODY: &str = "02:00:00:00:fe:fe";

/// The networks of one test.
pub struct Network {
    number: u8,
    count: usize,
}

impl Network {
    /// For so many members; `None`, after saying why, where networks cannot be made. No two tests may have one `number`.
    pub fn make(number: u8, count: usize) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make network namespaces");
            return None;
        }
        let network = Self { number, count };
        network.remove();
        if !run("ip", &["netns", "add", &network.namespace(0)]) {
            eprintln!("skipped: `ip netns` cannot make network namespaces here");
            return None;
        }
        network.bridge("p", None);
        network.bridge("c", Some(format!("{CLIENT_NET}.{number}.254/24")));
        for i in 0..count {
            network.join(i);
        }
        Some(network)
    }

    /// What removes these networks, for whoever cannot wait for the end of this value.
    pub fn remover(&self) -> impl FnOnce() + Send + 'static + use<> {
        let (number, count) = (self.number, self.count);
        move || drop(Self { number, count })
    }

    /// A cluster whose members are in these networks, started.
    pub fn cluster(&self, flags: &[&str]) -> Cluster {
        let mut cluster = Cluster::of(self.seats(), flags);
        cluster.found();
        cluster
    }

    /// Seats in these networks.
    pub fn seats(&self) -> Vec<Seat> {
        let seat = |i: usize| {
            let host = |net: &str| format!("{net}.{}.{}", self.number, i + 1);
            let mut seat = Seat::at(&format!("m{}", i + 1), &host(CLIENT_NET), &host(PEER_NET));
            seat.through = ["ip", "netns", "exec"].map(str::to_owned).to_vec();
            seat.through.push(self.namespace(i));
            seat
        };
        (0..self.count).map(seat).collect()
    }

    /// Cuts a member off from all others, in both directions.
    pub fn isolate(&self, i: usize) {
        must("ip", &["link", "set", &self.link("p", i), "down"]);
    }

    /// Undoes [`isolate`](Self::isolate).
    pub fn join_again(&self, i: usize) {
        must("ip", &["link", "set", &self.link("p", i), "up"]);
    }

    /// Lets nothing through from one member to another; the other direction stays as it is.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        let host = format!("{PEER_NET}.{}.{}", self.number, to + 1);
        let neighbour = ["neigh", "replace", &host, "lladdr", NOBODY, "nud", "permanent", "dev", "peers"];
        must("ip", &[&["-n", &self.namespace(from)][..], &neighbour].concat());
    }

    /// Undoes [`cut_one_way`](Self::cut_one_way).
    pub fn mend_one_way(&self, from: usize, to: usize) {
        let host = format!("{PEER_NET}.{}.{}", self.number, to + 1);
        must("ip", &["-n", &self.namespace(from), "neigh", "del", &host, "dev", "peers"]);
    }

    fn namespace(&self, i: usize) -> String {
        format!("wlt{}m{}", self.number, i + 1)
    }

    /// A bridge, or the end of a member's cable at it.
    fn link(&self, net: &str, i: usize) -> String {
        format!("wlt{}{net}{}", self.number, i + 1)
    }

    fn bridge_name(&self, net: &str) -> String {
        format!("wlt{}{net}br", self.number)
    }

    fn bridge(&self, net: &str, address: Option<String>) {
        let name = self.bridge_name(net);
        must("ip", &["link", "add", &name, "type", "bridge"]);
        if let Some(address) = address {
            must("ip", &["addr", "add", &address, "dev", &name]);
        }
        must("ip", &["link", "set", &name, "up"]);
    }

    /// Gives a member its namespace and its two cables.
    fn join(&self, i: usize) {
        let namespace = self.namespace(i);
        if i > 0 {
            must("ip", &["netns", "add", &namespace]);
        }
        must("ip", &["-n", &namespace, "link", "set", "lo", "up"]);
        for (net, subnet, device) in [("p", PEER_NET, "peers"), ("c", CLIENT_NET, "clients")] {
            let (link, bridge) = (self.link(net, i), self.bridge_name(net));
            let address = format!("{subnet}.{}.{}/24", self.number, i + 1);
            let pair = ["link", "add", &link, "type", "veth", "peer", "name", device, "netns", &namespace];
            must("ip", &pair);
            must("ip", &["link", "set", &link, "master", &bridge, "up"]);
            must("ip", &["-n", &namespace, "addr", "add", &address, "dev", device]);
            must("ip", &["-n", &namespace, "link", "set", device, "up"]);
        }
    }

    /// Removes what this test, or an earlier run of it that was killed, has made.
    fn remove(&self) {
        for i in 0..self.count {
            // Its cables go with it, but only once no process is in it.
            for net in ["p", "c"] {
                let _ = quiet("ip", &["link", "del", &self.link(net, i)]);
            }
            let _ = quiet("ip", &["netns", "del", &self.namespace(i)]);
        }
        for net in ["p", "c"] {
            let _ = quiet("ip", &["link", "del", &self.bridge_name(net)]);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

fn must(program: &str, args: &[&str]) {
    assert!(run(program, args), "{program} {args:?} failed");
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).status().is_ok_and(|status| status.success())
}

fn quiet(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}
