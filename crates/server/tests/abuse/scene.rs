//! A server, an attack on it, and a client that wants to be served meanwhile.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use windlass_api::etcdserverpb::RangeRequest;

use crate::process::{Launch, Member, Scratch};
use crate::raw;
use crate::store::put;

/// What one frame, or one byte of a sender of single bytes, may cost the server at most, in microseconds: of a build
/// for tests on a busy machine, whatever it is that the frame asks for. On a slower machine it is more, see
/// [`Scene::slowness`].
const FRAME_US_MAX: u64 = 500;

/// The kernel counts CPU time in these, in microseconds (`USER_HZ` is 100 on every architecture that there is).
const TICK_US: u64 = 10_000;

/// What a round of the client beside may cost, in microseconds: a connection, a put and a get.
const ROUND_US_MAX: u64 = 5_000;

/// What such a round costs where the other bounds are generous, in microseconds.
const ROUND_US_USUAL: u64 = 1_000;

/// Rounds by which a scene finds out how slow its machine is: so many that ticks do not matter.
const ROUNDS_MEASURED: u64 = 100;

/// What the server's own upkeep may use besides, in microseconds.
const SLACK_US: u64 = 2_000_000;

/// Rounds of the client beside that an attack must leave time for.
const ROUNDS_MIN: u64 = 3;

/// A server with one net thread, which all connections share.
pub struct Scene {
    pub member: Member,
    /// By how much CPU time is to be had for less here than where the bounds were set; 1 at least.
    slowness: u64,
    _folder: Scratch,
}

/// What an attack may cost.
pub struct Bounds {
    /// Frames, or what else the attack is made of.
    frames: u64,
    grown_kib_max: u64,
    frame_us_max: u64,
}

impl Bounds {
    pub fn new(frames: u64, grown_kib_max: u64) -> Self {
        Self { frames, grown_kib_max, frame_us_max: FRAME_US_MAX }
    }

    /// For frames that ask for real work.
    pub fn frame_us_max(self, frame_us_max: u64) -> Self {
        Self { frame_us_max, ..self }
    }
}

impl Scene {
    pub fn new() -> Self {
        let folder = Scratch::new();
        let member = Launch::new(folder.path()).flag("--net-threads=1").flag("--shards=2").member();
        let mut scene = Self { member, slowness: 1, _folder: folder };
        // What the first requests allocate is not the attack's.
        scene.rounds(100);
        let before = scene.cpu_us();
        scene.rounds(ROUNDS_MEASURED);
        scene.slowness = ((scene.cpu_us() - before) / (ROUNDS_MEASURED * ROUND_US_USUAL)).max(1);
        scene
    }

    /// Runs `attack` beside a client, and holds its cost against the bounds.
    pub fn attack<T>(&self, name: &str, bounds: &Bounds, attack: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        let (resident_before, cpu_before) = (self.resident_kib(), self.cpu_us());
        let (result, rounds, grown_kib) = std::thread::scope(|scope| {
            let beside = scope.spawn(|| self.serve_until(&over));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attack));
            let grown_kib = self.resident_kib().saturating_sub(resident_before);
            over.store(true, Ordering::Relaxed);
            (result, beside.join().expect("the client beside is served"), grown_kib)
        });
        let cpu_us = self.cpu_us() - cpu_before;
        let per_frame_us = cpu_us as f64 / bounds.frames as f64;
        eprintln!(
            "{name}: {} frames, {per_frame_us:.2} us CPU each, {grown_kib} KiB more resident, {rounds} rounds beside",
            bounds.frames
        );
        let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(grown_kib <= bounds.grown_kib_max, "{name}: grown by {grown_kib} KiB");
        let cpu_us_max = bounds.frames * bounds.frame_us_max + rounds * ROUND_US_MAX + SLACK_US;
        assert!(cpu_us <= cpu_us_max * self.slowness, "{name}: {cpu_us} us of CPU");
        result
    }

    /// Writes and reads on a connection of its own until told to stop, and a few times at least.
    fn serve_until(&self, over: &AtomicBool) -> u64 {
        let mut rounds = 0;
        while !over.load(Ordering::Relaxed) || rounds < ROUNDS_MIN {
            self.round("beside", rounds);
            rounds += 1;
        }
        rounds
    }

    /// The attacker's own rounds, by which it sees that the server has dealt with what was sent before.
    pub fn rounds(&self, count: u64) {
        (0..count).for_each(|round| self.round("attacker", round));
    }

    /// Writes and reads, on a new connection.
    fn round(&self, key: &str, round: u64) {
        let value = round.to_string();
        let mut client = self.member.client();
        client.put(&put(key, value.as_str())).expect("a put is served");
        let request = RangeRequest { key: key.as_bytes().to_vec().into(), ..RangeRequest::default() };
        let read = client.range(&request).expect("a range is served");
        assert_eq!(read.kvs[0].value, value.as_bytes());
    }

    /// Ranges that were answered or refused, less those of rounds: each of them ends with one, after one put.
    pub fn ranges_beside_rounds(&self) -> i64 {
        let page = raw::http(self.member.endpoint(), "GET", "/metrics", "").body;
        let handled = |method: &str| -> i64 {
            let method = format!("grpc_method=\"{method}\",grpc_service=\"etcdserverpb.KV\"");
            let samples =
                page.lines().filter(|l| l.starts_with("grpc_server_handled_total") && l.contains(&method));
            samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as i64
        };
        handled("Range") - handled("Put")
    }

    /// Resident memory of the server.
    pub fn resident_kib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// CPU time that the server has used.
    fn cpu_us(&self) -> u64 {
        let stat = self.proc("stat");
        // The name, in parentheses, may have spaces; user and system time are the 12th and 13th fields after it.
        let fields = stat.rsplit(')').next().expect("fields").split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().expect("a number")).sum::<u64>() * TICK_US
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.member.pid().as_raw_nonzero());
        fs::read_to_string(path).expect("the server runs")
    }
}
