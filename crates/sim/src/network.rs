//! The network between members: one-way connections that come and go, and what travels on them.
//!
//! As over TCP, what is sent on one connection arrives in order, or the connection ends. Messages of Raft may be lost,
//! doubled and reordered besides, which its protocol allows; forwarded commands may only be lost, with everything behind
//! them. Nothing sent to one life of a process reaches its next one.

use bytes::Bytes;
use windlass_raft::Message;
use windlass_records::batch::Origin;
use windlass_replica::lease::{LeaseAnswer, LeaseAsk};
use windlass_types::{RequestError, RequestId, Term};

use crate::agenda::{MILLISECOND_NS, SECOND_NS};
use crate::env::{Env, Event, member_of};
use crate::profile::Profile;
use crate::random::{Concern, Random, between, stream};
use crate::report::Count;
use crate::transfer::Parcel;

/// Longest time until a process tries to connect again, in nanoseconds.
const CONNECT_NS_MAX: u64 = 200 * MILLISECOND_NS;

/// Time without a sign of life after which a connection is taken for dead, in nanoseconds.
const DEAD_AFTER_NS: u64 = SECOND_NS;

/// What travels.
#[derive(Clone, Debug)]
pub enum Content {
    /// Between the Raft cores.
    Raft(Message),
    /// Commands for the leader of a term.
    Forward(Term, Bytes),
    /// They are in no log.
    Refused(Origin, Vec<RequestId>, RequestError),
    /// A question about a lease, under the asker's number.
    LeaseAsked(u64, LeaseAsk),
    /// Its answer.
    LeaseAnswered(u64, LeaseAnswer),
    /// A part of the transfer of a snapshot, on a connection of its own.
    Bulk(Parcel),
}

/// Something on its way.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Who sent it.
    pub from: usize,
    /// That process's life.
    pub from_life: u32,
    /// For which life of the receiver.
    pub to_life: u32,
    /// What it is.
    pub content: Content,
}

/// One direction between two members.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// Whether nothing gets through.
    cut: bool,
    /// The receiver's life, while there is a connection.
    connected: Option<u32>,
    /// Number of the newest connection.
    epoch: u64,
    /// When the last thing that was sent arrives.
    last_ns: u64,
}

/// All of it.
pub struct Network {
    links: Vec<Vec<Link>>,
    random: Random,
    delay_ns_max: u64,
    /// One message in so many is lost, or doubled, or delayed beyond its order; 0 is none.
    mischief_one_in: u64,
}

impl Network {
    /// The network of the run of `seed`.
    #[must_use]
    pub fn new(seed: u64, profile: &Profile) -> Self {
        Self {
            links: vec![vec![Link::default(); profile.members]; profile.members],
            random: stream(seed, Concern::Network),
            delay_ns_max: profile.delay_ns_max,
            mischief_one_in: profile.mischief_one_in,
        }
    }

    /// Nothing is lost, doubled or reordered any more.
    pub fn calm(&mut self) {
        self.mischief_one_in = 0;
    }

    fn mischief(&mut self) -> bool {
        self.mischief_one_in > 0 && self.random.one_in(self.mischief_one_in)
    }

    /// When something sent now arrives: in order, unless it may overtake.
    fn arrival(&mut self, from: usize, to: usize, now_ns: u64, overtakes: bool) -> u64 {
        let at_ns = now_ns + 1 + self.random.below(self.delay_ns_max);
        let link = &mut self.links[from][to];
        if overtakes {
            return at_ns;
        }
        link.last_ns = link.last_ns.max(at_ns);
        link.last_ns
    }
}

impl Env {
    /// The process here begins to connect with all others.
    pub fn begin_to_connect(&mut self) {
        let here = self.at;
        for peer in (0..self.sites.len()).filter(|&peer| peer != here) {
            self.connect_later(peer);
        }
    }

    fn connect_later(&mut self, peer: usize) {
        let delay = 1 + self.network.random.below(CONNECT_NS_MAX);
        self.after(delay, Event::Connect(self.life(), peer));
    }

    /// Tries to connect; whether that succeeded.
    pub fn connect(&mut self, peer: usize) -> bool {
        if self.network.links[self.at][peer].connected.is_some() {
            return false;
        }
        let open = self.sites[peer].up && !self.network.links[self.at][peer].cut;
        if !open {
            self.connect_later(peer);
            return false;
        }
        let life = self.sites[peer].life;
        let now_ns = self.agenda.now_ns();
        let link = &mut self.network.links[self.at][peer];
        link.connected = Some(life);
        link.epoch += 1;
        link.last_ns = now_ns;
        true
    }

    /// Whether what is sent from here to this member arrives.
    #[must_use]
    pub fn is_connected(&self, peer: usize) -> bool {
        let link = &self.network.links[self.at][peer];
        link.connected == Some(self.sites[peer].life) && !link.cut
    }

    /// Whether a process that begins here gets an answer of this member, if that is there.
    #[must_use]
    pub fn can_ask(&self, peer: usize) -> bool {
        let (here, links) = (self.at, &self.network.links);
        peer != here && self.sites[peer].up && !links[here][peer].cut && !links[peer][here].cut
    }

    /// A connection is made and refused at once.
    pub fn connection_refused(&mut self, peer: usize) {
        self.network.links[self.at][peer].connected = None;
        self.connect_later(peer);
    }

    /// The connection of this number is noticed to be lost; whether it was the present one.
    pub fn disconnect(&mut self, peer: usize, epoch: u64) -> bool {
        let alive = self.sites[peer].up;
        let life = self.sites[peer].life;
        let link = &mut self.network.links[self.at][peer];
        let works = alive && link.connected == Some(life) && !link.cut;
        if link.epoch != epoch || link.connected.is_none() || works {
            return false;
        }
        link.connected = None;
        self.connect_later(peer);
        true
    }

    /// Sends something from here; false if there is no connection.
    pub fn send(&mut self, to: usize, content: Content) -> bool {
        let Some(to_life) = self.network.links[self.at][to].connected else { return false };
        let packet = Packet { from: self.at, from_life: self.life(), to_life, content };
        let now_ns = self.agenda.now_ns();
        let is_raft = matches!(packet.content, Content::Raft(_));
        if self.network.links[self.at][to].cut || (is_raft && self.network.mischief()) {
            self.totals.count(Count::MessagesLost);
            return true;
        }
        self.totals.count(Count::Messages);
        let overtakes = matches!(packet.content, Content::Bulk(_)) || (is_raft && self.network.mischief());
        if is_raft && self.network.mischief() {
            let again_ns = self.network.arrival(self.at, to, now_ns, true) + self.network.delay_ns_max;
            self.agenda.at(again_ns, (to, Event::Arrive(packet.clone())));
        }
        let at_ns = self.network.arrival(self.at, to, now_ns, overtakes);
        self.agenda.at(at_ns, (to, Event::Arrive(packet)));
        true
    }

    /// Whether something that arrives here reaches the process for which it was sent.
    #[must_use]
    pub fn reaches(&self, packet: &Packet) -> bool {
        let link = &self.network.links[packet.from][self.at];
        self.site().up && self.life() == packet.to_life && !link.cut
    }

    /// The process here has ended: its own connections are gone, and the others notice soon, or late if the machine
    /// lost its power.
    pub fn connections_end(&mut self, power: bool) {
        let (here, now_ns) = (self.at, self.agenda.now_ns());
        let longest = if power { DEAD_AFTER_NS } else { 5 * MILLISECOND_NS };
        for peer in (0..self.sites.len()).filter(|&peer| peer != here) {
            self.network.links[here][peer].connected = None;
            let Link { connected, epoch, .. } = self.network.links[peer][here];
            if connected.is_some() && self.sites[peer].up {
                let at_ns = now_ns + 1 + self.network.random.below(longest);
                self.agenda.at(at_ns, (peer, Event::Disconnect(self.sites[peer].life, here, epoch)));
            }
        }
    }

    /// Cuts some of the network.
    pub fn partition(&mut self, random: &mut Random) {
        let count = self.sites.len();
        let side: Vec<bool> = (0..count).map(|_| random.one_in(2)).collect();
        let shape = random.below(4);
        let victim = random.below(count as u64) as usize;
        for from in 0..count {
            for to in (0..count).filter(|&to| to != from) {
                let cut = match shape {
                    // In two.
                    0 => side[from] != side[to],
                    // One hears nobody, or is heard by nobody.
                    1 => from == victim && side[victim] || to == victim && !side[victim],
                    // One is alone.
                    2 => from == victim || to == victim,
                    // Here and there.
                    _ => random.one_in(3),
                };
                if cut {
                    self.cut(from, to, random);
                }
            }
        }
    }

    /// Cuts this machine off from all others.
    pub fn cut_off(&mut self, random: &mut Random) {
        let here = self.at;
        for peer in (0..self.sites.len()).filter(|&peer| peer != here) {
            self.cut(here, peer, random);
            self.cut(peer, here, random);
        }
    }

    fn cut(&mut self, from: usize, to: usize, random: &mut Random) {
        let link = &mut self.network.links[from][to];
        link.cut = true;
        let epoch = link.epoch;
        self.story.tell(self.agenda.now_ns(), || {
            format!("nothing gets from {} to {} any more", member_of(from), member_of(to))
        });
        let noticed = between(random, DEAD_AFTER_NS / 2, DEAD_AFTER_NS);
        let life = self.sites[from].life;
        self.agenda.after(noticed, (from, Event::Disconnect(life, to, epoch)));
    }

    /// Everything gets through again.
    pub fn heal(&mut self) {
        self.network.links.iter_mut().flatten().for_each(|link| link.cut = false);
    }
}
