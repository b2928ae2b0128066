//! `--enable-live-settings`: how the log is flushed, changed while the member runs. Each change is for good, until the next one or
//! a restart, or it is a trial that ends by itself: whoever tries out settings may be killed before putting them back.
//!
//! What may be changed so decides when commands are flushed, and with how many others; never what is promised.

use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler, Message, MessageResult, SpawnHandle};
use windlass_io_log::raft_log::FLUSH_DEPTH_MAX;

use super::{ConsensusActor, Lingering};
use crate::startup::config::{BatchLinger, Storage};
use crate::startup::flags::{parse_duration, settings, table};

/// Longest linger that can be set at run time: a slip must not make every write wait for minutes. A restart takes any.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// Longest trial; it must end soon after whoever began it is gone.
pub const TRIAL_MAX: Duration = Duration::from_secs(600);

/// The settings that may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Most flushes in flight.
    pub flush_depth: usize,
    /// Most bytes of commands in one entry,
    pub batch_bytes_max: usize,
    /// What commands wait for before a flush.
    pub linger: BatchLinger,
    /// and the most that this may be set to: half of a segment. Does not change.
    pub batch_bytes_limit: usize,
}

/// What is to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    flush_depth: Option<usize>,
    batch_bytes_max: Option<usize>,
    linger: Option<BatchLinger>,
}

/// Something about settings.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Shown, String>")]
pub enum AskSettings {
    /// What are they?
    Show,
    /// Change them for good, and end a trial.
    Keep(Change),
    /// Change them for so long.
    Try(Change, Duration),
    /// End a trial.
    EndTrial,
}

/// The settings, as they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// In force.
    pub now: LogSettings,
    /// In force when no trial is.
    pub kept: LogSettings,
    /// Of the start.
    pub started: LogSettings,
    /// Until the end of the trial under way.
    pub trial_left: Option<Duration>,
}

/// Which settings are in force.
pub(super) struct Live {
    started: LogSettings,
    kept: LogSettings,
    trial: Option<Trial>,
}

struct Trial {
    settings: LogSettings,
    ends_at: Instant,
    /// What will end it.
    timer: SpawnHandle,
}

impl LogSettings {
    /// As the flags have them.
    #[must_use]
    pub fn of(storage: &Storage) -> Self {
        Self {
            flush_depth: storage.flush_depth,
            batch_bytes_max: storage.batch_bytes_max,
            linger: storage.batch_linger,
            batch_bytes_limit: usize::try_from(storage.wal_segment_bytes / 2).unwrap_or(usize::MAX),
        }
    }

    /// What decides about lingers with them.
    pub(super) fn lingering(&self) -> Lingering {
        Lingering::new(self.linger)
    }

    /// With a change.
    ///
    /// # Errors
    /// It is beyond what they may be; says so.
    pub fn with(self, change: Change) -> Result<Self, String> {
        let Change { flush_depth, batch_bytes_max, linger } = change;
        let limit = self.batch_bytes_limit;
        match batch_bytes_max {
            Some(bytes) if bytes > limit => Err(format!(
                "batch-bytes must be at most {limit}, half of --wal-segment-bytes (set to {bytes})"
            )),
            _ => Ok(Self {
                flush_depth: flush_depth.unwrap_or(self.flush_depth),
                batch_bytes_max: batch_bytes_max.unwrap_or(self.batch_bytes_max),
                linger: linger.unwrap_or(self.linger),
                batch_bytes_limit: limit,
            }),
        }
    }

    /// Names and values, as flags have them.
    #[must_use]
    pub fn texts(&self) -> [(&'static str, String); 3] {
        let linger = match self.linger {
            BatchLinger::Adaptive => "adaptive".to_owned(),
            BatchLinger::Fixed(time) => duration_text(time),
        };
        [
            ("flush-depth", self.flush_depth.to_string()),
            ("batch-bytes", self.batch_bytes_max.to_string()),
            ("batch-linger", linger),
        ]
    }
}

/// In the largest unit in which it is a whole number.
fn duration_text(time: Duration) -> String {
    const UNITS: [(u128, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    let ns = time.as_nanos();
    let unit = UNITS.iter().find(|(scale, _)| ns.is_multiple_of(*scale));
    unit.map_or_else(|| format!("{ns}ns"), |(scale, name)| format!("{}{name}", ns / scale))
}

impl Change {
    /// From lines of `name = value`, as settings files have them.
    ///
    /// # Errors
    /// A line cannot be understood, or names what cannot be changed while the member runs; says so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut change = Self::default();
        for (name, value) in settings::parse(text)? {
            let flag = table::find(name).expect("every setting is a flag");
            flag.kind.check(value).map_err(|why| format!("invalid value {value:?} for {name}: {why}"))?;
            let number = || match value.parse::<usize>() {
                Ok(0) | Err(_) => Err(format!("{name} must be >0")),
                Ok(number) => Ok(number),
            };
            match name {
                "flush-depth" => change.flush_depth = Some(number()?.min(FLUSH_DEPTH_MAX)),
                "batch-bytes" => change.batch_bytes_max = Some(number()?),
                "batch-linger" => change.linger = Some(linger(value)?),
                _ => return Err(format!("{name} cannot be changed while the member runs")),
            }
        }
        if change == Self::default() { Err("there is no setting in it".to_owned()) } else { Ok(change) }
    }
}

fn linger(value: &str) -> Result<BatchLinger, String> {
    if value == "adaptive" {
        return Ok(BatchLinger::Adaptive);
    }
    match parse_duration(value)? {
        time if time > LINGER_MAX => {
            Err(format!("batch-linger can be at most {} while the member runs", duration_text(LINGER_MAX)))
        }
        time => Ok(BatchLinger::Fixed(time)),
    }
}

impl Live {
    /// Those of the start.
    pub fn new(started: LogSettings) -> Self {
        Self { started, kept: started, trial: None }
    }

    fn now(&self) -> LogSettings {
        self.trial.as_ref().map_or(self.kept, |trial| trial.settings)
    }

    fn shown(&self) -> Shown {
        let Self { started, kept, trial } = self;
        let left = |trial: &Trial| trial.ends_at.saturating_duration_since(Instant::now());
        Shown { now: self.now(), kept: *kept, started: *started, trial_left: trial.as_ref().map(left) }
    }
}

impl Handler<AskSettings> for ConsensusActor {
    type Result = MessageResult<AskSettings>;

    fn handle(&mut self, ask: AskSettings, context: &mut Self::Context) -> Self::Result {
        let before = self.live.now();
        let kept = self.live.kept;
        let next = match ask {
            AskSettings::Show => return MessageResult(Ok(self.live.shown())),
            AskSettings::Keep(change) => kept.with(change).map(|kept| (kept, None)),
            // It is of what is kept: what it does not name is as if no trial had been before.
            AskSettings::Try(change, time) => kept.with(change).map(|tried| (kept, Some((tried, time)))),
            AskSettings::EndTrial => Ok((kept, None)),
        };
        MessageResult(next.map(|(kept, trial)| {
            self.live.kept = kept;
            self.begin_trial(trial, context);
            self.settings_changed(before);
            self.end_step(context);
            self.live.shown()
        }))
    }
}

impl ConsensusActor {
    /// Ends the trial under way, if there is one, and begins this one.
    fn begin_trial(&mut self, trial: Option<(LogSettings, Duration)>, context: &mut Context<Self>) {
        if let Some(before) = self.live.trial.take() {
            context.cancel_future(before.timer);
        }
        self.live.trial = trial.map(|(settings, time)| {
            let timer = context.run_later(time, |actor, context| {
                let before = actor.live.now();
                actor.live.trial = None;
                actor.settings_changed(before);
                actor.end_step(context);
            });
            Trial { settings, ends_at: Instant::now() + time, timer }
        });
    }

    /// Puts in force what holds now.
    fn settings_changed(&mut self, before: LogSettings) {
        let now = self.live.now();
        if now == before {
            return;
        }
        self.core.set_flush_depth(now.flush_depth);
        self.core.set_batch_bytes_max(now.batch_bytes_max);
        if (now.linger, now.flush_depth) != (before.linger, before.flush_depth) {
            self.lingering = now.lingering();
        }
        let [(_, flush_depth), (_, batch_bytes), (_, batch_linger)] = now.texts();
        let on_trial = self.live.trial.is_some();
        tracing::info!(flush_depth, batch_bytes, batch_linger, on_trial, "the log is flushed otherwise now");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> LogSettings {
        LogSettings {
            flush_depth: 2,
            batch_bytes_max: 1 << 20,
            linger: BatchLinger::Adaptive,
            batch_bytes_limit: 32 << 20,
        }
    }

    #[test]
    fn changes_are_lines_of_a_settings_file() {
        let change = Change::parse("# why\nflush-depth = 4\nbatch-linger=50us\n").expect("is understood");
        let changed = settings().with(change).expect("is possible");
        assert_eq!((changed.flush_depth, changed.batch_bytes_max), (4, 1 << 20));
        assert_eq!(
            changed.texts().map(|(_, value)| value),
            ["4".to_owned(), "1048576".to_owned(), "50us".to_owned()]
        );
        let back = Change::parse("batch-linger = adaptive\nflush-depth = 2").expect("is understood");
        assert_eq!(changed.with(back), Ok(settings()));
    }

    #[test]
    fn what_cannot_be_changed_is_refused_in_a_sentence() {
        for (text, why) in [
            ("", "no setting"),
            ("# only a word", "no setting"),
            ("flush-depth 4", "line 1"),
            ("flush-depth = 0", "flush-depth must be >0"),
            ("flush-depth = 33", "invalid value \"33\" for flush-depth: value out of range"),
            ("batch-bytes = many", "parse error"),
            ("batch-linger = 2s", "at most 1s"),
            ("batch-linger = -1ms", "parse error"),
            ("shards = 2", "shards cannot be changed while the member runs"),
            ("data-dir = /x", "is no setting"),
            ("flush-depth = 1\nflush-depth = 2", "twice"),
        ] {
            let refusal = Change::parse(text).expect_err(text);
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
        let large = Change::parse("batch-bytes = 16777216").expect("a flag takes it");
        let small = LogSettings { batch_bytes_limit: 4 << 20, ..settings() };
        assert!(small.with(large).is_err_and(|why| why.contains("half of --wal-segment-bytes")));
    }

    #[test]
    fn durations_are_told_in_whole_units() {
        let texts =
            [0, 1_500, 50_000, 2_000_000, 1_000_000_000, 1].map(Duration::from_nanos).map(duration_text);
        assert_eq!(texts, ["0s", "1500ns", "50us", "2ms", "1s", "1ns"]);
    }
}
