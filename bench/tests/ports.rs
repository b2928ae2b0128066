//! Ports for servers: none that the system gives to others, and none that is somebody's already.

#[path = "../src/ports.rs"]
mod ports;

use std::net::{Ipv4Addr, TcpListener};

use ports::Port;

#[test]
fn what_the_system_gives_comes_last_and_nothing_twice() {
    let given = 28_000..=40_000;
    let mut all: Vec<u16> = ports::candidates(12_345, &given).collect();
    assert_eq!(all.iter().take_while(|port| !given.contains(port)).count(), 18_000);
    assert_ne!(
        all.first(),
        ports::candidates(12_346, &given).collect::<Vec<_>>().first(),
        "others begin elsewhere"
    );
    all.sort_unstable();
    assert_eq!(all, (10_000..30_000).collect::<Vec<u16>>());
    assert_eq!(ports::parse_given("32768\t60999\n"), Some(32_768..=60_999));
    assert_eq!(ports::parse_given("32768"), None);
}

#[test]
fn what_somebody_has_is_passed_over() {
    let given = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("Linux says it");
    let given = ports::parse_given(&given).expect("two ports");
    // Of those that would be next half are others' whose servers start later; at the rest somebody listens.
    let first = u32::from(Port::free().expect("a port").keep()) - 10_000;
    let next: Vec<u16> = ports::candidates(first, &given).take(40).collect();
    let _claims: Vec<_> = next[..20].iter().map(|&port| Port::claim(port)).collect();
    let _listeners: Vec<_> =
        next[20..].iter().map(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))).collect();
    let [one, two] = [(); 2].map(|()| Port::free().expect("a port").keep());
    assert!(!next.contains(&one) && !next.contains(&two) && one != two, "{one} and {two} of {next:?}");
    assert!(!given.contains(&one), "an outgoing connection may get {one}");
    let _here = TcpListener::bind((Ipv4Addr::LOCALHOST, one)).expect("it is free still");
}

#[test]
fn a_port_is_its_owners_until_that_is_gone() {
    let port = Port::free().expect("a port");
    let number = port.number();
    assert!(Port::claim(number).is_none());
    drop(port);
    assert!(Port::claim(number).is_some());
    let kept = Port::free().expect("a port").keep();
    assert!(Port::claim(kept).is_none());
}
