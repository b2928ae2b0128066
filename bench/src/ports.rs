//! Ports on loopback for servers that are started in a moment.
//!
//! A port that the system gave a socket, and that is free again, is given to the next outgoing connection as well: a server
//! that is to listen there may find it taken. So these are none that the system gives, and no other process that asks here
//! gets them. Tests of other crates share this file.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::{Range, RangeInclusive};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// Ports to choose from: few programs that people run listen there. Where all are taken there is none.
const PORTS: Range<u16> = 10_000..30_000;

/// Ports that Linux gives to outgoing connections unless it is told otherwise.
const GIVEN_BY_DEFAULT: RangeInclusive<u16> = 32_768..=60_999;

/// Ports that this process has, each with what keeps others that ask here from it. They are kept until the process ends: a
/// server may be started on its port anew.
static CLAIMED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port of 127.0.0.1 that nobody listens on, and that is this process's from now on.
///
/// # Errors
/// There is none.
pub fn free() -> io::Result<u16> {
    let given = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let given = given.as_deref().and_then(parse_given).unwrap_or(GIVEN_BY_DEFAULT);
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    for port in candidates(std::process::id(), &given) {
        let Some(claim) = claim(port) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            claimed.push(claim);
            return Ok(port);
        }
    }
    let why = format!("no port from {} to {} is free", PORTS.start, PORTS.end - 1);
    Err(io::Error::new(io::ErrorKind::AddrInUse, why))
}

/// An abstract address has one owner among the processes that share a network, and goes with it however it ends.
pub(super) fn claim(port: u16) -> Option<UnixListener> {
    let address = SocketAddr::from_abstract_name(format!("windlass-port-{port}")).ok()?;
    UnixListener::bind_addr(&address).ok()
}

/// The first and the last port, as the kernel writes them.
pub(super) fn parse_given(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = text.split_whitespace().map(str::parse);
    Some(ends.next()?.ok()?..=ends.next()?.ok()?)
}

/// All ports to choose from, beginning elsewhere for each process; those that the system gives come last.
pub(super) fn candidates(pid: u32, given: &RangeInclusive<u16>) -> impl Iterator<Item = u16> {
    let first = (pid.wrapping_mul(97) % u32::from(PORTS.end - PORTS.start)) as u16;
    let all = move || (PORTS.start + first..PORTS.end).chain(PORTS.start..PORTS.start + first);
    let is_given = |port: &u16| given.contains(port);
    all().filter(move |port| !is_given(port)).chain(all().filter(is_given))
}
