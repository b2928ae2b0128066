//! A running member that is tuned while it serves others: its settings are tried one after the other, under puts of keys that
//! begin like no other's, and both are gone at the end, however that comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use windlass_bench::access::Access;
use windlass_bench::control::{self, Server};
use windlass_bench::undo::Undo;
use windlass_client::{Ask, Endpoint, Security, ask};
use windlass_report::machine::Mount;
use windlass_report::units::{bytes, thousands};

use super::trial::Target;
use crate::flags::{Goal, TuneFlags};
use crate::profile::commits::Reader;
use crate::profile::world;

/// What the member lets be changed while it runs; `consensus::live` of the server knows the same.
pub const CHANGEABLE: &[&str] = &["flush-depth", "batch-linger", "batch-bytes"];
/// Different keys, at most: what is written over them is history that a compaction removes.
const KEY_SPACE: u64 = 10_000;
/// Bound of a question.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A trial of settings ends by itself after so many times what its load should take, between these bounds: whoever
/// kills this program with a signal that cannot be caught leaves the member with them no longer.
const HOLD_TIMES: u64 = 10;
const HOLD_S_MIN: u64 = 30;
const HOLD_S_MAX: u64 = 600;
const PATH: &str = "/debug/settings";

/// A member, from the first to the last trial.
pub struct Live {
    member: Member,
    /// Names and values of its own settings.
    own: Vec<(String, String)>,
    /// How long a trial of settings may take.
    hold_s: u64,
    /// Its process, if it runs on this machine.
    pid: Option<u32>,
    /// Goes after everything else.
    _undo: Undo,
}

/// How to reach it, and what to leave as it was.
#[derive(Clone)]
struct Member {
    server: Server,
    access: Access,
    settings: Settings,
    prefix: String,
    left: Arc<AtomicBool>,
}

/// Its page of settings.
#[derive(Clone)]
struct Settings {
    endpoint: String,
    security: Security,
    token: String,
}

impl Live {
    /// Comes to the member at `endpoint` for so many trials, and says what that means for it.
    ///
    /// # Errors
    /// It cannot be reached, does not lead, does not let settings be changed, or is being tuned.
    pub fn visit(endpoint: &str, flags: &TuneFlags, trials: usize) -> Result<Self> {
        let member = Member::new(endpoint, flags).with_context(|| format!("cannot tune {endpoint}"))?;
        let page = member.settings.ask("GET", "", "").with_context(|| format!("cannot tune {endpoint}"))?;
        if let Some(left_s) = page["trial_left_s"].as_f64() {
            bail!("somebody else tries settings of {endpoint}, for {left_s:.0} s more");
        }
        let own = page["kept"].as_object().context("it tells no settings")?.iter();
        let own = own.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        let own = own.collect();
        eprintln!("{}", announcement(endpoint, flags, trials, &member.prefix));
        let pid = member.local_pid();
        let to_leave = member.clone();
        let hold_s = (flags.seconds * HOLD_TIMES).clamp(HOLD_S_MIN, HOLD_S_MAX);
        Ok(Self { own, hold_s, pid, _undo: Undo::with(move || to_leave.leave()), member })
    }

    /// Whether the member still tells its settings.
    pub fn answers(&self) -> bool {
        self.member.settings.ask("GET", "", "").is_ok()
    }

    /// The member's own value of a setting.
    pub fn value(&self, name: &str) -> &str {
        self.own.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// What its log lies on, if it runs on this machine.
    pub fn log_mount(&self) -> Option<Mount> {
        world::log_mount(self.pid?)
    }

    /// Loads it with these settings in force, and its own ones for the others.
    ///
    /// # Errors
    /// It refuses them, has not kept them until the end of the load, or does not lead any more; or those of `load`.
    pub fn with_settings<T>(
        &self,
        settings: &[(String, String)],
        load: impl FnOnce(Target<'_>) -> Result<T>,
    ) -> Result<T> {
        let Member { server, access, settings: page, prefix, left } = &self.member;
        ensure!(!left.load(Ordering::SeqCst), "a signal has ended the tuning");
        ensure!(control::leads(server)?, "the member does not lead its cluster any more");
        if settings.is_empty() {
            page.ask("DELETE", "", "")?;
        } else {
            let lines: String = settings.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
            page.ask("PUT", &format!("?for={}s", self.hold_s), &lines)?;
        }
        let outcome = load(Target {
            endpoints: vec![server.endpoint.clone()],
            access: access.clone(),
            prefix,
            key_space: KEY_SPACE,
            pids: self.pid.into_iter().collect(),
        })?;
        let now = page.ask("GET", "", "")?["now"].clone();
        let is_kept = settings.iter().all(|(name, value)| now[name] == **value);
        ensure!(
            is_kept,
            "somebody else changed the settings, or the load took longer than {} s",
            self.hold_s
        );
        Ok(outcome)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.member.leave();
    }
}

impl Member {
    fn new(endpoint: &str, flags: &TuneFlags) -> Result<Self> {
        let mut access = flags.trust.grpc(flags.user.clone())?;
        let server = Server { endpoint: Endpoint::parse(endpoint)?, security: access.security.clone() };
        access.token = control::log_in(&server)?;
        if !control::leads(&server)? {
            bail!("it does not lead its cluster: writes are batched and flushed as the leader is set");
        }
        let settings = Settings {
            endpoint: flags.settings_endpoint.clone().unwrap_or_else(|| endpoint.to_owned()),
            security: flags.trust.http()?,
            token: access.token.clone(),
        };
        let prefix = format!("windlass-disk-tune-{}/", std::process::id());
        Ok(Self { server, access, settings, prefix, left: Arc::default() })
    }

    /// Its process, if it runs on this machine.
    fn local_pid(&self) -> Option<u32> {
        let mut reader = Reader::new(&self.settings.endpoint, self.settings.security.clone());
        reader.skip().ok().and_then(|()| reader.whereabouts().pid())
    }

    /// Leaves everything as it was. The second time nothing is left to do.
    fn leave(&self) {
        if self.left.swap(true, Ordering::SeqCst) {
            return;
        }
        match self.settings.ask("DELETE", "", "") {
            Ok(_) => eprintln!("the member has its own settings again"),
            Err(error) => {
                eprintln!("the member's settings cannot be put back, and come back by themselves: {error:#}");
            }
        }
        match self.remove_keys() {
            Ok(count) => eprintln!("{count} keys of the load are removed"),
            Err(error) => eprintln!("keys below {} are still there: {error:#}", self.prefix),
        }
    }

    /// Until there are none: after a signal the load's last puts may still come.
    fn remove_keys(&self) -> Result<i64> {
        let deadline = Instant::now() + TIMEOUT;
        let mut count = 0;
        loop {
            match control::delete_prefix(&self.server, &self.prefix)? {
                0 => return Ok(count),
                more => count += more,
            }
            ensure!(Instant::now() < deadline, "there are always more");
        }
    }
}

impl Settings {
    fn ask(&self, method: &str, query: &str, body: &str) -> Result<Value> {
        let path = format!("{PATH}{query}");
        let request = Ask { method, path: &path, token: &self.token, body };
        let (status, answer) = ask(&self.endpoint, &self.security, request, TIMEOUT)?;
        match status {
            200 => serde_json::from_str(&answer).context("it answers with something else than settings"),
            404 => bail!(
                "{} does not let settings be changed while it runs: start it with --enable-live-settings",
                self.endpoint
            ),
            _ => bail!("{} answers with status {status}: {}", self.endpoint, answer.trim()),
        }
    }
}

/// What is going to happen to the member.
fn announcement(endpoint: &str, flags: &TuneFlags, trials: usize, prefix: &str) -> String {
    let rate = match flags.goal() {
        Goal::Latency => format!("{} a second", thousands(flags.rate() as f64)),
        Goal::Throughput => format!("as many as it answers to {} clients", flags.clients),
    };
    // Itself first, and it and the winner again at the end.
    let trials = trials as u64 + 3;
    format!(
        "{endpoint} gets puts of {} each, {rate}, to at most {} keys below {prefix}, for up to {} s, and serves others \
         meanwhile. Its own settings are put back and the keys removed at the end, or by Ctrl-C; what was written over the \
         keys goes with the next compaction.",
        bytes(flags.val_size),
        thousands(KEY_SPACE as f64),
        trials * flags.seconds * 11 / 10,
    )
}
