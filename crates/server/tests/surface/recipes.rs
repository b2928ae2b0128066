//! The Lock and Election services, beside a real etcd's where there is one.

use std::time::{Duration, Instant};

use prost::Message;
use windlass_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest,
    LeaseRevokeResponse, RangeRequest, RangeResponse, ResponseHeader,
};
use windlass_api::method::{election, kv, lease, lock};
use windlass_api::mvccpb::KeyValue;
use windlass_api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use windlass_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use windlass_client::{Call, Connection, Error};

use crate::gateway::{comparable, pair, post};
use crate::process::{Launch, Member, REQUEST_TIMEOUT, Scratch};

/// A client of either server.
struct Client(Connection);

/// A call that is not answered yet, with the connection that it keeps.
struct Waiting(Client, Call);

impl Client {
    fn of(member: &Member) -> Self {
        Self(member.connect())
    }

    fn ask<A: Message + Default>(&mut self, method: &str, request: &impl Message) -> Result<A, String> {
        let call = self.0.begin(method, request, REQUEST_TIMEOUT).expect("the server takes it");
        self.0.finish(call, Instant::now() + REQUEST_TIMEOUT).map_err(refusal)
    }

    fn begin(mut self, method: &str, request: &impl Message, timeout: Duration) -> Waiting {
        let call = self.0.begin(method, request, timeout).expect("the server takes it");
        Waiting(self, call)
    }

    fn grant(&mut self, id: i64) {
        let granted: LeaseGrantResponse =
            self.ask(lease::LEASE_GRANT, &LeaseGrantRequest { ttl: 600, id }).expect("a lease");
        assert_eq!(granted.id, id);
    }

    /// The keys with a prefix, oldest first.
    fn keys(&mut self, prefix: &str) -> Vec<String> {
        let end = format!("{}0", prefix.trim_end_matches('/'));
        let range = RangeRequest {
            key: prefix.as_bytes().to_vec().into(),
            range_end: end.into_bytes().into(),
            sort_target: 2,
            ..RangeRequest::default()
        };
        let found: RangeResponse = self.ask(kv::RANGE, &range).expect("a range");
        found.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
    }

    fn wait_for_keys(&mut self, prefix: &str, wanted: &[&str]) {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            let keys = self.keys(prefix);
            if keys == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{keys:?} instead of {wanted:?}");
        }
    }
}

impl Waiting {
    fn answer<A: Message + Default>(self) -> Result<(Client, A), String> {
        let Self(mut client, call) = self;
        let answer = client.0.finish(call, Instant::now() + REQUEST_TIMEOUT).map_err(refusal)?;
        Ok((client, answer))
    }
}

fn refusal(error: Error) -> String {
    match error {
        Error::Status { code, message } => format!("{code:?}: {message}"),
        other => format!("{other:?}"),
    }
}

fn revision(header: Option<ResponseHeader>) -> i64 {
    header.expect("a header").revision
}

fn lock_of(name: &str, lease: i64) -> LockRequest {
    LockRequest { name: name.as_bytes().to_vec().into(), lease }
}

fn candidate(name: &str, lease: i64, value: &str) -> CampaignRequest {
    CampaignRequest { name: name.as_bytes().to_vec().into(), lease, value: value.as_bytes().to_vec().into() }
}

/// Locks: alone, again, contended, in order, given up.
fn locks(member: &Member) -> Vec<String> {
    let mut said = Vec::new();
    let mut first = Client::of(member);
    (0x11..=0x14).for_each(|id| first.grant(id));
    for _ in 0..2 {
        let held: LockResponse = first.ask(lock::LOCK, &lock_of("l", 0x11)).expect("nobody else wants it");
        said.push(format!("held {:?} at {}", held.key, revision(held.header)));
    }
    let mut waiting = Vec::new();
    let mut keys = vec!["l/11"];
    for (id, key) in [(0x12, "l/12"), (0x13, "l/13"), (0x14, "l/14")] {
        let client = Client::of(member);
        waiting.push(client.begin(lock::LOCK, &lock_of("l", id), REQUEST_TIMEOUT));
        keys.push(key);
        first.wait_for_keys("l/", &keys);
    }
    // One that gives up leaves no key, and those behind it go on waiting.
    drop(waiting.remove(1));
    first.wait_for_keys("l/", &["l/11", "l/12", "l/14"]);
    let unlock = UnlockRequest { key: "l/11".into() };
    let unlocked: UnlockResponse = first.ask(lock::UNLOCK, &unlock).expect("unlocked");
    said.push(format!("unlocked at {}", revision(unlocked.header)));
    let (mut second, held): (_, LockResponse) = waiting.remove(0).answer().expect("its turn");
    said.push(format!("held {:?} at {}", held.key, revision(held.header)));
    first.wait_for_keys("l/", &["l/12", "l/14"]);
    // A lease that ends gives up what is held with it.
    let revoke = LeaseRevokeRequest { id: 0x12 };
    second.ask::<LeaseRevokeResponse>(lease::LEASE_REVOKE, &revoke).expect("revoked");
    let (_, held): (_, LockResponse) = waiting.remove(0).answer().expect("its turn");
    said.push(format!("held {:?} at {}", held.key, revision(held.header)));
    // One whose lease ends while it waits finds out when its turn comes.
    let client = Client::of(member);
    let late = client.begin(lock::LOCK, &lock_of("l", 0x13), REQUEST_TIMEOUT);
    first.wait_for_keys("l/", &["l/14", "l/13"]);
    first.ask::<LeaseRevokeResponse>(lease::LEASE_REVOKE, &LeaseRevokeRequest { id: 0x13 }).expect("revoked");
    let unlock = UnlockRequest { key: "l/14".into() };
    first.ask::<UnlockResponse>(lock::UNLOCK, &unlock).expect("unlocked");
    said.push(format!("{:?}", late.answer::<LockResponse>().map(|(_, held)| held)));
    for lease in [0x99, -1] {
        said.push(format!("{:?}", first.ask::<LockResponse>(lock::LOCK, &lock_of("x", lease))));
    }
    said.push(format!("{:?}", first.ask::<UnlockResponse>(lock::UNLOCK, &UnlockRequest::default())));
    said.push(format!("{:?}", first.keys("l/")));
    said
}

fn told(leader: &LeaderResponse) -> String {
    let KeyValue { key, value, create_revision, mod_revision, version, lease } =
        leader.kv.clone().expect("a leader");
    let at = revision(leader.header);
    format!("{key:?}={value:?} {create_revision} {mod_revision} {version} {lease} at {at}")
}

/// An election with two candidates and an observer.
fn elections(member: &Member) -> Vec<String> {
    let mut said = Vec::new();
    let mut client = Client::of(member);
    (0x21..=0x22).for_each(|id| client.grant(id));
    let leader = || LeaderRequest { name: "e".into() };
    said.push(format!("{:?}", client.ask::<LeaderResponse>(election::LEADER, &leader())));
    let mut observer = member.connect();
    let deadline = Instant::now() + REQUEST_TIMEOUT * 3;
    let stream = observer.begin_stream(election::OBSERVE, &leader(), deadline).expect("a stream");
    let mut observed = || observer.next::<LeaderResponse>(&stream, deadline).expect("goes on").expect("one");

    let won: CampaignResponse =
        client.ask(election::CAMPAIGN, &candidate("e", 0x21, "a")).expect("nobody else stands");
    said.push(format!("{:?} at {}", won.leader, revision(won.header)));
    said.push(told(&observed()));
    let key = won.leader.expect("a key");
    let proclaim = ProclaimRequest { leader: Some(key.clone()), value: "b".into() };
    let proclaimed: ProclaimResponse = client.ask(election::PROCLAIM, &proclaim).expect("proclaimed");
    said.push(format!("proclaimed at {}", revision(proclaimed.header)));
    said.push(told(&observed()));
    said.push(told(&client.ask(election::LEADER, &leader()).expect("a leader")));
    // Standing again with another value proclaims it.
    let again: CampaignResponse = client.ask(election::CAMPAIGN, &candidate("e", 0x21, "c")).expect("leads");
    said.push(format!("{:?} at {}", again.leader, revision(again.header)));
    said.push(told(&observed()));

    let waiting = Client::of(member).begin(election::CAMPAIGN, &candidate("e", 0x22, "z"), REQUEST_TIMEOUT);
    client.wait_for_keys("e/", &["e/21", "e/22"]);
    let stranger = LeaderKey { rev: key.rev + 1, ..key.clone() };
    let wrong = ProclaimRequest { leader: Some(stranger.clone()), value: "d".into() };
    said.push(format!("{:?}", client.ask::<ProclaimResponse>(election::PROCLAIM, &wrong)));
    let resigned = client.ask::<ResignResponse>(election::RESIGN, &ResignRequest { leader: Some(stranger) });
    said.push(format!("resigned at {}", revision(resigned.expect("no error").header)));
    let resigned = client.ask::<ResignResponse>(election::RESIGN, &ResignRequest { leader: Some(key) });
    said.push(format!("resigned at {}", revision(resigned.expect("no error").header)));
    let (_, won): (_, CampaignResponse) = waiting.answer().expect("its turn");
    said.push(format!("{:?}", won.leader));
    said.push(told(&observed()));
    said.push(format!("{:?}", client.ask::<ResignResponse>(election::RESIGN, &ResignRequest::default())));
    said.push(format!(
        "{:?}",
        client.ask::<ProclaimResponse>(election::PROCLAIM, &ProclaimRequest::default())
    ));
    said.push(format!("{:?}", client.ask::<CampaignResponse>(election::CAMPAIGN, &candidate("e", 5, ""))));
    said
}

#[test]
fn locks_and_elections_go_as_with_a_real_etcd() {
    let Some([(_ours, windlass), (_theirs, etcd)]) = pair(&[]) else { return };
    assert_eq!(locks(&windlass), locks(&etcd));
    assert_eq!(elections(&windlass), elections(&etcd));
}

#[test]
fn json_answers_are_those_of_a_real_etcd() {
    let Some([(_ours, windlass), (_theirs, etcd)]) = pair(&[]) else { return };
    let leader = r#""leader":{"name":"ZQ==","key":"ZS83Yg==","rev":"4","lease":"123"}"#;
    for (path, body) in [
        ("/v3/lease/grant", r#"{"ID":"123","TTL":"600"}"#),
        ("/v3/lock/lock", r#"{"name":"bA==","lease":"123"}"#),
        ("/v3/lock/unlock", r#"{"key":"bC83Yg=="}"#),
        ("/v3/lock/unlock", "{}"),
        ("/v3/lock/lock", r#"{"name":"bA==","lease":"7"}"#),
        ("/v3/election/leader", r#"{"name":"ZQ=="}"#),
        ("/v3/election/campaign", r#"{"name":"ZQ==","value":"YQ==","lease":"123"}"#),
        ("/v3/election/leader", r#"{"name":"ZQ=="}"#),
        ("/v3/election/proclaim", &format!(r#"{{{leader},"value":"Yg=="}}"#)),
        ("/v3/election/proclaim", "{}"),
        ("/v3/election/resign", &format!("{{{leader}}}")),
        ("/v3/election/resign", &format!("{{{leader}}}")),
        ("/v3/election/resign", "{}"),
        ("/v3/election/proclaim", &format!(r#"{{{leader},"value":"Yg=="}}"#)),
    ] {
        let [got, wanted] = [&windlass, &etcd].map(|m| comparable(&post(m.endpoint(), path, body)));
        assert_eq!(got, wanted, "{path} {body}");
    }
}

#[test]
fn a_lease_that_the_server_granted_goes_with_a_client_that_waits_no_longer() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut client = Client::of(&member);
    client.grant(7);
    client.ask::<LockResponse>(lock::LOCK, &lock_of("l", 7)).expect("held");
    let leases = |client: &mut Client| {
        let listed: LeaseLeasesResponse =
            client.ask(lease::LEASE_LEASES, &LeaseLeasesRequest {}).expect("a list");
        listed.leases.len()
    };
    // Once by a deadline, once by a connection that ends.
    let waiting = Client::of(&member).begin(lock::LOCK, &lock_of("l", 0), Duration::from_millis(300));
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while client.keys("l/").len() < 2 {
        assert!(Instant::now() < deadline, "it does not wait");
    }
    let refused = waiting.answer::<LockResponse>().map(|_| ()).expect_err("the lock is held");
    assert!(refused.contains("deadline") || refused.contains("Deadline"), "{refused}");
    client.wait_for_keys("l/", &["l/7"]);
    let waiting = Client::of(&member).begin(lock::LOCK, &lock_of("l", 0), REQUEST_TIMEOUT);
    while client.keys("l/").len() < 2 {
        assert!(Instant::now() < deadline, "it does not wait");
    }
    drop(waiting);
    client.wait_for_keys("l/", &["l/7"]);
    while leases(&mut client) > 1 {
        assert!(Instant::now() < deadline, "a lease is left");
    }
}
