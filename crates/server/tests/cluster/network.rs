//! Network namespaces for members: one network that joins all of them with each other and can be cut, and one over which
//! the test's clients reach them, whatever happens to the first. Made and removed by the test itself.

#![allow(dead_code, reason = "the tests and the tool that share this file use their parts of it")]

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use crate::cluster::{Cluster, Seat};

/// The networks, of which the third number says whose they are.
const PEER_NET: &str = "10.231";
const CLIENT_NET: &str = "10.232";

/// The third numbers there are; where all are taken no network can be made.
const NUMBERS: std::ops::RangeInclusive<u8> = 1..=254;

/// A hardware address that nobody has: what is sent to it arrives nowhere.
const NOBODY: &str = "02:00:00:00:fe:fe";

/// The networks of one test. They go with the value, also when the test panics.
pub struct Network {
    names: Names,
    count: usize,
    /// Goes after them.
    _claim: UnixListener,
}

/// What everything of one test is called. Names of links and namespaces are the whole machine's: whoever tests another
/// checkout of this repository must have other ones.
#[derive(Clone, Copy)]
struct Names {
    number: u8,
}

impl Network {
    /// For so many members; `None`, after saying why, where networks cannot be made.
    pub fn make(count: usize) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make network namespaces");
            return None;
        }
        let Some((names, claim)) = NUMBERS.map(|number| Names { number }).find_map(Names::claim) else {
            eprintln!(
                "skipped: none of the networks {CLIENT_NET}.{}.0/24 to {} is free",
                NUMBERS.start(),
                NUMBERS.end()
            );
            return None;
        };
        let network = Self { names, count, _claim: claim };
        if !run("ip", &["netns", "add", &names.namespace(0)]) {
            eprintln!("skipped: `ip netns` cannot make network namespaces here");
            return None;
        }
        network.bridge("p", None);
        network.bridge("c", Some(format!("{CLIENT_NET}.{}.254/24", names.number)));
        for i in 0..count {
            network.join(i);
        }
        Some(network)
    }

    /// What removes these networks, for whoever cannot wait for the end of this value.
    pub fn remover(&self) -> impl FnOnce() + Send + 'static + use<> {
        let names = self.names;
        move || names.remove()
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
            let host = |net: &str| format!("{net}.{}.{}", self.names.number, i + 1);
            let mut seat = Seat::at(&format!("m{}", i + 1), &host(CLIENT_NET), &host(PEER_NET));
            seat.through = ["ip", "netns", "exec"].map(str::to_owned).to_vec();
            seat.through.push(self.names.namespace(i));
            seat
        };
        (0..self.count).map(seat).collect()
    }

    /// Cuts a member off from all others, in both directions.
    pub fn isolate(&self, i: usize) {
        must("ip", &["link", "set", &self.names.link("p", i), "down"]);
    }

    /// Undoes [`isolate`](Self::isolate).
    pub fn join_again(&self, i: usize) {
        must("ip", &["link", "set", &self.names.link("p", i), "up"]);
    }

    /// Lets nothing through from one member to another; the other direction stays as it is.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        let host = format!("{PEER_NET}.{}.{}", self.names.number, to + 1);
        let neighbour = ["neigh", "replace", &host, "lladdr", NOBODY, "nud", "permanent", "dev", "peers"];
        must("ip", &[&["-n", &self.names.namespace(from)][..], &neighbour].concat());
    }

    /// Undoes [`cut_one_way`](Self::cut_one_way).
    pub fn mend_one_way(&self, from: usize, to: usize) {
        let host = format!("{PEER_NET}.{}.{}", self.names.number, to + 1);
        must("ip", &["-n", &self.names.namespace(from), "neigh", "del", &host, "dev", "peers"]);
    }

    fn bridge(&self, net: &str, address: Option<String>) {
        let name = self.names.bridge_name(net);
        must("ip", &["link", "add", &name, "type", "bridge"]);
        if let Some(address) = address {
            must("ip", &["addr", "add", &address, "dev", &name]);
        }
        must("ip", &["link", "set", &name, "up"]);
    }

    /// Gives a member its namespace and its two cables.
    fn join(&self, i: usize) {
        let namespace = self.names.namespace(i);
        if i > 0 {
            must("ip", &["netns", "add", &namespace]);
        }
        must("ip", &["-n", &namespace, "link", "set", "lo", "up"]);
        for (net, subnet, device) in [("p", PEER_NET, "peers"), ("c", CLIENT_NET, "clients")] {
            let (link, bridge) = (self.names.link(net, i), self.names.bridge_name(net));
            let address = format!("{subnet}.{}.{}/24", self.names.number, i + 1);
            let pair = ["link", "add", &link, "type", "veth", "peer", "name", device, "netns", &namespace];
            must("ip", &pair);
            must("ip", &["link", "set", &link, "master", &bridge, "up"]);
            must("ip", &["-n", &namespace, "addr", "add", &address, "dev", device]);
            must("ip", &["-n", &namespace, "link", "set", device, "up"]);
        }
    }
}

impl Names {
    /// Takes these names, if nobody has them; they are had for as long as the listener is kept.
    fn claim(self) -> Option<(Self, UnixListener)> {
        // An abstract address belongs to one process on the machine, as the links do, and ends with it, however that ends.
        let address = SocketAddr::from_abstract_name(format!("windlass-test-network-{}", self.number));
        let claim = UnixListener::bind_addr(&address.expect("a short name")).ok()?;
        if self.are_lived_in() {
            return None;
        }
        // What somebody left behind who was killed.
        self.remove();
        self.subnet_is_free().then_some((self, claim))
    }

    /// Whether members run there still, of somebody who was killed: without their cables they would be no better off.
    fn are_lived_in(self) -> bool {
        self.left_namespaces().iter().any(|namespace| {
            said("ip", &["netns", "pids", namespace]).is_some_and(|pids| !pids.trim().is_empty())
        })
    }

    /// Whether this machine reaches nothing else there.
    fn subnet_is_free(self) -> bool {
        let subnet = format!("{CLIENT_NET}.{}.0/24", self.number);
        said("ip", &["-4", "route", "show", "root", &subnet]).is_none_or(|routes| routes.is_empty())
    }

    fn namespace(self, i: usize) -> String {
        format!("wlt{}m{}", self.number, i + 1)
    }

    /// A bridge, or the end of a member's cable at it.
    fn link(self, net: &str, i: usize) -> String {
        format!("wlt{}{net}{}", self.number, i + 1)
    }

    fn bridge_name(self, net: &str) -> String {
        format!("wlt{}{net}br", self.number)
    }

    /// The namespaces and links with such names that there are.
    fn left_namespaces(self) -> Vec<String> {
        // The name comes first; an id may follow it.
        self.own(said("ip", &["netns", "list"]).iter().flat_map(|list| list.lines()))
    }

    fn left_links(self) -> Vec<String> {
        let list = said("ip", &["-brief", "link", "show"]);
        // The end of a cable is shown with the other end after an `@`.
        self.own(list.iter().flat_map(|list| list.lines()).filter_map(|line| line.split('@').next()))
    }

    fn own<'a>(self, lines: impl Iterator<Item = &'a str>) -> Vec<String> {
        let prefix = format!("wlt{}", self.number);
        let is_own = |name: &&str| {
            name.strip_prefix(&prefix)
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        };
        lines.filter_map(|line| line.split_whitespace().next()).filter(is_own).map(str::to_owned).collect()
    }

    /// Removes all that has these names.
    fn remove(self) {
        // Cables go with their namespaces, too, but only once no process is in them.
        for link in self.left_links() {
            // The other end of one that went before goes with it.
            let _ = quiet("ip", &["link", "del", &link]);
        }
        for namespace in self.left_namespaces() {
            let _ = quiet("ip", &["netns", "del", &namespace]);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.names.remove();
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

/// What a program says, if it succeeds.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
