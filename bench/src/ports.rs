//! Ports on loopback for servers that are started in a moment.
//!
//! A port that the system gave a socket, and that is free again, is given to the next outgoing connection as well: a server
//! that is to listen there may find it taken. So these are none that the system gives, and no other process that asks here
//! gets them. Tests of other crates share this file.

#![allow(dead_code, reason = "the tests that share this file use their parts of it")]

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::{Range, RangeInclusive};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports to choose from: few programs that people run listen there. Where all are taken there is none.
const PORTS: Range<u16> = 10_000..30_000;

/// Ports that Linux gives to outgoing connections unless it is told otherwise.
const GIVEN_BY_DEFAULT: RangeInclusive<u16> = 32_768..=60_999;

/// How many ports this process looked for: each search begins behind the one before, so that a port rests before it is
/// somebody's again.
static SEARCHES: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 that nobody listened on when it was chosen. While the value is there nobody who asks here gets it.
#[derive(Debug)]
pub struct Port {
    number: u16,
    claim: UnixListener,
}

impl Port {
    /// Chooses one.
    ///
    /// # Errors
    /// There is none.
    pub fn free() -> io::Result<Self> {
        let given = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
        let given = given.as_deref().and_then(parse_given).unwrap_or(GIVEN_BY_DEFAULT);
        let is_silent = |port: &Self| TcpListener::bind((Ipv4Addr::LOCALHOST, port.number)).is_ok();
        // Each process begins elsewhere, for those that run at the same time.
        let first =
            std::process::id().wrapping_mul(97).wrapping_add(SEARCHES.fetch_add(1, Ordering::Relaxed));
        candidates(first, &given).filter_map(Self::claim).find(is_silent).ok_or_else(|| {
            let why = format!("no port from {} to {} is free", PORTS.start, PORTS.end - 1);
            io::Error::new(io::ErrorKind::AddrInUse, why)
        })
    }

    /// An abstract address has one owner among the processes that share a network, and goes with it however it ends.
    pub(super) fn claim(number: u16) -> Option<Self> {
        let address = SocketAddr::from_abstract_name(format!("windlass-port-{number}")).ok()?;
        UnixListener::bind_addr(&address).ok().map(|claim| Self { number, claim })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its number, for a server that may come and go on it for as long as this process lives.
    #[must_use]
    pub fn keep(self) -> u16 {
        std::mem::forget(self.claim);
        self.number
    }
}

/// The first and the last port, as the kernel writes them.
pub(super) fn parse_given(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = text.split_whitespace().map(str::parse);
    Some(ends.next()?.ok()?..=ends.next()?.ok()?)
}

/// All ports to choose from, beginning at the `first` of them; those that the system gives come last.
pub(super) fn candidates(first: u32, given: &RangeInclusive<u16>) -> impl Iterator<Item = u16> {
    let first = PORTS.start + (first % u32::from(PORTS.end - PORTS.start)) as u16;
    let all = move || (first..PORTS.end).chain(PORTS.start..first);
    let is_given = |port: &u16| given.contains(port);
    all().filter(move |port| !is_given(port)).chain(all().filter(is_given))
}
