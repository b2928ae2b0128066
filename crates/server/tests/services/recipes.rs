//! Random locks and elections: who gets what at once, who waits and for how long, and what all of them are told.

use std::time::Instant;

use windlass_api::etcdserverpb as pb;
use windlass_api::method::{election, kv, lease, lock};
use windlass_api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use windlass_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use windlass_client::{Call, Connection};
use windlass_replica::oracle::generate::Random;

use crate::ask::{Server, ask, both, differ, plain, plan, refusal};
use crate::process::REQUEST_TIMEOUT;

const STEPS: usize = 1500;
/// No name is the beginning of another: locks and elections share the keys.
const NAMES: [&str; 4] = ["lock/a", "lock/b", "vote/a", "vote/b"];
/// The last one is never granted.
const LEASES: [i64; 6] = [0x11, 0x12, 0x13, 0x14, 0x15, 0x99];
/// None of them ends by itself during a run.
const TTL_S: i64 = 3600;

#[derive(Clone, Debug)]
enum Step {
    Grant(i64),
    Revoke(i64),
    Acquire {
        name: usize,
        lease: i64,
        value: &'static str,
    },
    Release {
        name: usize,
    },
    Proclaim {
        name: usize,
        lease: i64,
        value: &'static str,
    },
    Leader {
        name: usize,
    },
    /// Of a key that nobody holds.
    ReleaseStranger {
        name: usize,
        lease: i64,
    },
    Keys,
}

/// Who holds and who waits, in their order.
#[derive(Default)]
struct Line {
    leases: Vec<i64>,
}

/// One of the servers.
struct Side {
    connection: Connection,
    /// What is asked for and not answered yet.
    waiting: Vec<(usize, i64, Call)>,
    /// The key of each leader, as the server said.
    leaders: Vec<(usize, i64, LeaderKey)>,
}

fn is_lock(name: usize) -> bool {
    NAMES[name].starts_with("lock")
}

fn key_of(name: usize, lease: i64) -> Vec<u8> {
    format!("{}/{lease:x}", NAMES[name]).into_bytes()
}

impl Side {
    fn new(server: &Server) -> Self {
        Self { connection: server.member.connect(), waiting: Vec::new(), leaders: Vec::new() }
    }

    fn begin(&mut self, name: usize, lease: i64, value: &str) -> Call {
        let bytes = || NAMES[name].as_bytes().to_vec().into();
        let begun = if is_lock(name) {
            self.connection.begin(lock::LOCK, &LockRequest { name: bytes(), lease }, REQUEST_TIMEOUT)
        } else {
            let request = CampaignRequest { name: bytes(), lease, value: value.as_bytes().to_vec().into() };
            self.connection.begin(election::CAMPAIGN, &request, REQUEST_TIMEOUT)
        };
        begun.expect("the server takes it")
    }

    fn finish(&mut self, name: usize, lease: i64, call: Call) -> String {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        if is_lock(name) {
            let answer = self.connection.finish::<LockResponse>(call, deadline);
            return format!("{:?}", answer.map(plain).map_err(refusal));
        }
        let answer = self.connection.finish::<CampaignResponse>(call, deadline).map(plain).map_err(refusal);
        if let Ok(CampaignResponse { leader: Some(leader), .. }) = &answer {
            self.leaders.retain(|(at, of, _)| (*at, *of) != (name, lease));
            self.leaders.push((name, lease, leader.clone()));
        }
        format!("{answer:?}")
    }

    /// As the server said, or made up.
    fn leader_key(&self, name: usize, lease: i64) -> LeaderKey {
        let known = self.leaders.iter().find(|(at, of, _)| (*at, *of) == (name, lease));
        known.map_or_else(
            || LeaderKey {
                name: NAMES[name].as_bytes().to_vec().into(),
                key: key_of(name, lease).into(),
                rev: 5,
                lease,
            },
            |(_, _, leader)| leader.clone(),
        )
    }

    fn release(&mut self, name: usize, lease: i64) -> String {
        if is_lock(name) {
            let request = UnlockRequest { key: key_of(name, lease).into() };
            return format!("{:?}", ask::<UnlockResponse>(&mut self.connection, lock::UNLOCK, &request));
        }
        let request = ResignRequest { leader: Some(self.leader_key(name, lease)) };
        format!("{:?}", ask::<ResignResponse>(&mut self.connection, election::RESIGN, &request))
    }

    fn keys(&mut self, prefix: &str) -> Result<pb::RangeResponse, String> {
        let end = format!("{prefix}~");
        let key = prefix.as_bytes().to_vec().into();
        let request = pb::RangeRequest { key, range_end: end.into_bytes().into(), ..Default::default() };
        ask(&mut self.connection, kv::RANGE, &request)
    }

    /// Until somebody's key is in the line, so that nobody overtakes.
    fn wait_for(&mut self, name: usize, lease: i64) {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let key = key_of(name, lease);
        while !self.keys(NAMES[name]).expect("a range").kvs.iter().any(|kv| kv.key == key) {
            assert!(Instant::now() < deadline, "{} does not stand in line", key.escape_ascii());
        }
    }

    /// Carries a step out and says what came of it.
    fn take(&mut self, step: &Step, lines: &[Line]) -> String {
        match step {
            Step::Grant(id) => {
                let request = pb::LeaseGrantRequest { ttl: TTL_S, id: *id };
                format!(
                    "{:?}",
                    ask::<pb::LeaseGrantResponse>(&mut self.connection, lease::LEASE_GRANT, &request)
                )
            }
            Step::Revoke(id) => {
                let request = pb::LeaseRevokeRequest { id: *id };
                format!(
                    "{:?}",
                    ask::<pb::LeaseRevokeResponse>(&mut self.connection, lease::LEASE_REVOKE, &request)
                )
            }
            Step::Acquire { name, lease, value } => {
                let call = self.begin(*name, *lease, value);
                let first = lines[*name].leases.first();
                if *lease == LEASES[LEASES.len() - 1] || first.is_none_or(|first| first == lease) {
                    return self.finish(*name, *lease, call);
                }
                self.wait_for(*name, *lease);
                self.waiting.push((*name, *lease, call));
                "waits".to_owned()
            }
            Step::Release { name } => match lines[*name].leases.first() {
                Some(holder) => self.release(*name, *holder),
                None => "nobody".to_owned(),
            },
            Step::ReleaseStranger { name, lease } => self.release(*name, *lease),
            Step::Proclaim { name, lease, value } => {
                let leader = Some(self.leader_key(*name, *lease));
                let request = ProclaimRequest { leader, value: value.as_bytes().to_vec().into() };
                format!("{:?}", ask::<ProclaimResponse>(&mut self.connection, election::PROCLAIM, &request))
            }
            Step::Leader { name } => {
                let request = LeaderRequest { name: NAMES[*name].as_bytes().to_vec().into() };
                format!("{:?}", ask::<LeaderResponse>(&mut self.connection, election::LEADER, &request))
            }
            Step::Keys => format!("{:?} {:?}", self.keys("lock"), self.keys("vote")),
        }
    }

    /// The answers of those who have come to the front of their lines.
    fn arrived(&mut self, lines: &[Line]) -> String {
        let is_first = |(name, lease, _): &(usize, i64, Call)| lines[*name].leases.first() == Some(lease);
        let (arrived, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(is_first);
        self.waiting = waiting;
        let arrived: Vec<_> = arrived;
        arrived.into_iter().map(|(name, lease, call)| self.finish(name, lease, call)).collect()
    }
}

/// What the lines are after a step; the last of [`LEASES`] never stands in one.
fn follow(lines: &mut [Line], granted: &mut Vec<i64>, step: &Step) {
    match step {
        Step::Grant(id) if !granted.contains(id) => granted.push(*id),
        Step::Revoke(id) => {
            granted.retain(|granted| granted != id);
            lines.iter_mut().for_each(|line| line.leases.retain(|lease| lease != id));
        }
        Step::Acquire { name, lease, .. }
            if granted.contains(lease) && !lines[*name].leases.contains(lease) =>
        {
            lines[*name].leases.push(*lease);
        }
        Step::Release { name } if !lines[*name].leases.is_empty() => {
            lines[*name].leases.remove(0);
        }
        _ => {}
    }
}

/// A step that leaves nobody in doubt. Leases of those who wait are not revoked, and they do not ask twice: what comes of that
/// depends on who is told first.
fn draw(random: &mut Random, lines: &[Line], granted: &[i64]) -> Step {
    let waits = |lease: i64| lines.iter().any(|line| line.leases.iter().skip(1).any(|one| *one == lease));
    loop {
        let name = random.below(NAMES.len() as u64) as usize;
        let lease = LEASES[random.below(LEASES.len() as u64) as usize];
        let stranger = lease == LEASES[LEASES.len() - 1];
        let value = ["x", "y"][random.below(2) as usize];
        let step = match random.below(12) {
            0 | 1 if !stranger => Step::Grant(lease),
            2 if !waits(lease) => Step::Revoke(lease),
            3..=6 if stranger || granted.contains(&lease) => Step::Acquire { name, lease, value },
            7 | 8 => Step::Release { name },
            9 if !is_lock(name) => Step::Proclaim { name, lease, value },
            10 if !is_lock(name) => Step::Leader { name },
            11 if !lines[name].leases.contains(&lease) => Step::ReleaseStranger { name, lease },
            _ => Step::Keys,
        };
        let again =
            matches!(step, Step::Acquire { .. }) && lines[name].leases.iter().skip(1).any(|l| *l == lease);
        if !again {
            return step;
        }
    }
}

#[test]
fn locks_and_elections_are_those_of_a_real_etcd() {
    let Some(servers) = both(&[]) else { return };
    let (seed, steps) = plan(STEPS);
    let mut random = Random::new(seed);
    let mut sides = servers.each_ref().map(Side::new);
    let mut lines: Vec<_> = NAMES.iter().map(|_| Line::default()).collect();
    let mut granted = Vec::new();
    let (mut waited, mut served) = (0, 0);
    for number in 0..steps {
        let step = draw(&mut random, &lines, &granted);
        let taken = sides.each_mut().map(|side| side.take(&step, &lines));
        follow(&mut lines, &mut granted, &step);
        let arrived = sides.each_mut().map(|side| side.arrived(&lines));
        waited += usize::from(taken[0] == "waits");
        served += usize::from(!arrived[0].is_empty());
        let [wanted, got] = [0, 1].map(|side| format!("{}, then {}", taken[side], arrived[side]));
        if wanted != got {
            differ(number, &step, &wanted, &got);
        }
    }
    // The run is worth something only if lines formed and moved.
    assert!(steps < STEPS || (waited > 50 && served > 50), "{waited} waited, {served} were served");
}
