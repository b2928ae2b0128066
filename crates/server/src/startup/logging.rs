//! Log lines in etcd's shape.
//!
//! One event is one line and one write call per output, so that lines of different threads never mix. A line that
//! cannot be written is dropped: a full disk or a closed pipe must not stop the store.

use super::flags::Notice;
use super::rotation::{RotatingFile, Rotation};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    info,
    level_filters::LevelFilter,
    warn,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
};

/// Events with this target end the process; they are logged with etcd's level "fatal".
pub(super) const FATAL_TARGET: &str = "fatal";
/// Events with this target report a bug; they are logged with etcd's level "panic".
pub(super) const PANIC_TARGET: &str = "panic";

/// etcd's levels, the least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug,
    /// What a running member does.
    Info,
    /// What may become trouble.
    Warn,
    /// A person must look.
    Error,
    /// A bug ends the process.
    Panic,
    /// The environment ends the process.
    Fatal,
}

/// Shape of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Columns for people.
    Console,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file that is appended to.
    File(PathBuf),
}

/// What to log, how, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Least severe level that is logged.
    pub level: Level,
    /// Shape of a line.
    pub format: Format,
    /// Where lines go; at least one.
    pub outputs: Vec<Target>,
    /// How the file among them is kept small, if it is.
    pub rotation: Option<Rotation>,
}

impl Level {
    const NAMES: [(&'static str, Self); 6] = [
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warn", Self::Warn),
        ("error", Self::Error),
        ("panic", Self::Panic),
        ("fatal", Self::Fatal),
    ];

    /// The level with etcd's name `text`.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_lowercase();
        let text = match &*lower {
            "" => "info",
            // zap's panic of development.
            "dpanic" => "panic",
            text => text,
        };
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, level)| *level)
    }

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, level)| *level == self).expect("every level has a name").0
    }

    fn of(metadata: &Metadata<'_>) -> Self {
        match *metadata.level() {
            _ if metadata.target() == FATAL_TARGET => Self::Fatal,
            _ if metadata.target() == PANIC_TARGET => Self::Panic,
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Self::Debug,
        }
    }

    /// What tracing need not even ask about.
    fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error | Self::Panic | Self::Fatal => LevelFilter::ERROR,
        }
    }
}

/// Reads `--log-outputs`; the error is one sentence.
pub fn parse_outputs(text: &str) -> Result<Vec<Target>, String> {
    let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if words.len() > 1 && words.contains(&"default") {
        return Err("multi logoutput for \"default\" is not supported yet".to_owned());
    }
    if words.is_empty() {
        return Err("--log-outputs must name at least one output".to_owned());
    }
    let target = |word: &&str| match *word {
        "default" | "stderr" => Ok(Target::Stderr),
        "stdout" => Ok(Target::Stdout),
        // systemd sends it to the journal.
        "systemd/journal" => Ok(Target::Stderr),
        path => Ok(Target::File(path.into())),
    };
    words.iter().map(target).collect()
}

/// Makes `settings` the process's logging. Log files are opened here (created with mode 0600), so this comes after
/// every check that may refuse the start. To be called once.
pub fn install(settings: &Settings) -> io::Result<()> {
    let open = |target| Output::open(target, settings.rotation.as_ref());
    let outputs = settings.outputs.iter().map(open).collect::<io::Result<Vec<_>>>()?;
    let lines = Lines { level: settings.level, format: settings.format, outputs };
    let subscriber = Registry::default().with(lines.with_filter(settings.level.filter()));
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)
}

/// Logs what the operator should know about the flags, in etcd's words where it has some.
pub fn report(notices: &[Notice]) {
    for notice in notices {
        match notice {
            Notice::UsedSetting { flag, value } => {
                info!(setting = *flag, value = value.as_str(), "set by the settings file")
            }
            Notice::UsedVariable { variable, value } => info!(
                "variable-name" = %variable, "variable-value" = %value,
                "recognized and used environment variable"
            ),
            Notice::UnknownVariable { variable } => {
                warn!("environment-variable" = %variable, "unrecognized environment variable");
            }
            Notice::File { path } => info!(
                %path,
                "loaded server configuration, other configuration command line flags and environment variables will be \
                 ignored if provided"
            ),
            Notice::UnknownField { field } => {
                warn!(%field, "unknown field in the configuration file is ignored")
            }
            Notice::Gate { gate, reason } => {
                warn!(gate, reason, "feature gate is accepted but has no effect")
            }
            Notice::Ignored { what } => warn!("{what}"),
            Notice::NoMeaning { flag, reason } => warn!(flag, reason, "flag is accepted but has no effect"),
        }
    }
}

#[derive(Debug)]
enum Output {
    Stderr,
    Stdout,
    File(File),
    Rotating(Mutex<RotatingFile>),
}

impl Output {
    fn open(target: &Target, rotation: Option<&Rotation>) -> io::Result<Self> {
        Ok(match target {
            Target::Stderr => Self::Stderr,
            Target::Stdout => Self::Stdout,
            Target::File(path) => {
                let failed = |error: io::Error| {
                    io::Error::new(error.kind(), format!("cannot open log file {}: {error}", path.display()))
                };
                match rotation {
                    Some(rotation) => {
                        let file = RotatingFile::open(path, rotation.clone()).map_err(failed)?;
                        Self::Rotating(Mutex::new(file))
                    }
                    None => {
                        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
                        Self::File(opened.map_err(failed)?)
                    }
                }
            }
        })
    }

    fn write(&self, line: &[u8]) {
        let _ = match self {
            Self::Stderr => io::stderr().lock().write_all(line),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line).and_then(|()| stdout.flush())
            }
            Self::File(file) => { file }.write_all(line),
            Self::Rotating(file) => file.lock().write(line, SystemTime::now()),
        };
    }
}

/// The subscriber's layer that makes lines of events.
struct Lines {
    level: Level,
    format: Format,
    outputs: Vec<Output>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = Level::of(event.metadata());
        if level < self.level {
            return;
        }
        let line = Line::new(level, SystemTime::now(), event).render(self.format);
        for output in &self.outputs {
            output.write(line.as_bytes());
        }
    }
}

/// What one line says.
struct Line {
    level: Level,
    timestamp: String,
    caller: String,
    fields: Fields,
}

impl Line {
    fn new(level: Level, now: SystemTime, event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            level,
            timestamp: timestamp(since_epoch),
            caller: caller(metadata.file(), metadata.line()),
            fields,
        }
    }

    fn render(self, format: Format) -> String {
        let Self { level, timestamp, caller, fields: Fields { message, map } } = self;
        let level = level.name();
        match format {
            Format::Json => {
                // Written by hand, not as one map, because the order of the first four is part of etcd's shape.
                let message = Value::from(message);
                let mut line = format!(
                    r#"{{"level":"{level}","ts":"{timestamp}","caller":{},"msg":{message}"#,
                    Value::from(caller)
                );
                for (key, value) in map {
                    line += &format!(",{}:{value}", Value::from(key));
                }
                line += "}\n";
                line
            }
            // Escaped as JSON where fields are; a message's own newlines would otherwise make lines of their own.
            Format::Console => {
                let message = message.replace('\n', "\\n");
                let fields = if map.is_empty() { String::new() } else { format!("\t{}", Value::Object(map)) };
                format!("{timestamp}\t{level}\t{caller}\t{message}{fields}\n")
            }
        }
    }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    map: Map<String, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.map.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.set(field, format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.set(field, value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }
}

/// The last two parts of the file's path and the line, as in `startup/logging.rs:12`.
fn caller(file: Option<&str>, line: Option<u32>) -> String {
    let (Some(file), Some(line)) = (file, line) else { return "unknown:0".to_owned() };
    let start = file.rmatch_indices('/').nth(1).map_or(0, |(position, _)| position + 1);
    format!("{}:{line}", &file[start..])
}

/// UTC in RFC 3339 with microseconds.
pub(super) fn timestamp(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    let second_of_day = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
        since_epoch.subsec_micros()
    )
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01. Years are counted from March, so that a
/// leap day is the last day of its year and months have a regular rhythm of 153 days in five.
fn civil_date(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_0000_03_01: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let shifted = days + DAYS_FROM_0000_03_01;
    let (era, day_of_era) = (shifted / DAYS_IN_400_YEARS, shifted % DAYS_IN_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_utc_with_microseconds() {
        for (seconds, micros, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000001Z"),
            (1_767_323_045, 678_901, "2026-01-02T03:04:05.678901Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(timestamp(Duration::new(seconds, micros * 1000)), text);
        }
    }

    /// Runs `log` with logging to a file and gives what it wrote.
    fn captured(level: Level, format: Format, log: impl FnOnce()) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let output = Output::open(&Target::File(path.clone()), None).unwrap();
        let lines = Lines { level, format, outputs: vec![output] };
        let subscriber = Registry::default().with(lines.with_filter(level.filter()));
        tracing::subscriber::with_default(subscriber, log);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_json_line_has_etcds_keys_in_etcds_order() {
        let text = captured(Level::Info, Format::Json, || {
            info!("local-member-id" = "8e9e", took = 3u64, ok = true, error = %"a \"b\"\nc", "served {}", 1);
        });
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "one event is one line");
        assert!(line.starts_with("{\"level\":\"info\",\"ts\":\"2"), "{line}");
        let parsed: Value = serde_json::from_str(line).unwrap();
        assert_eq!(parsed["msg"], "served 1");
        assert_eq!(parsed["local-member-id"], "8e9e");
        assert_eq!(parsed["took"], 3);
        assert_eq!(parsed["ok"], true);
        assert_eq!(parsed["error"], "a \"b\"\nc");
        assert!(parsed["caller"].as_str().unwrap().starts_with("startup/logging.rs:"));
    }

    #[test]
    fn a_console_line_has_columns() {
        let text = captured(Level::Debug, Format::Console, || warn!(count = 2, "slow\ndisk"));
        let columns: Vec<&str> = text.trim_end().split('\t').collect();
        assert_eq!((columns[1], columns[3], columns[4]), ("warn", "slow\\ndisk", "{\"count\":2}"));
    }

    #[test]
    fn each_level_keeps_what_is_at_least_as_severe() {
        let all = || {
            tracing::debug!("m");
            info!("m");
            warn!("m");
            tracing::error!("m");
            tracing::error!(target: PANIC_TARGET, "m");
            tracing::error!(target: FATAL_TARGET, "m");
        };
        for (severity, (_, level)) in Level::NAMES.into_iter().enumerate() {
            let text = captured(level, Format::Json, all);
            let levels: Vec<String> = text
                .lines()
                .map(|line| {
                    serde_json::from_str::<Value>(line).unwrap()["level"].as_str().unwrap().to_owned()
                })
                .collect();
            let want: Vec<&str> = Level::NAMES[severity..].iter().map(|(name, _)| *name).collect();
            assert_eq!(levels, want);
        }
    }

    #[test]
    fn outputs_are_read_as_etcd_reads_them() {
        assert_eq!(parse_outputs("default"), Ok(vec![Target::Stderr]));
        assert_eq!(parse_outputs("stdout, /x"), Ok(vec![Target::Stdout, Target::File("/x".into())]));
        assert!(parse_outputs("").is_err() && parse_outputs("stderr,default").is_err());
        assert_eq!(parse_outputs("systemd/journal"), Ok(vec![Target::Stderr]));
        assert_eq!([Level::parse(""), Level::parse("WARN")], [Some(Level::Info), Some(Level::Warn)]);
    }

    #[test]
    fn the_caller_is_shortened_to_two_parts() {
        assert_eq!(caller(Some("crates/server/src/a.rs"), Some(7)), "src/a.rs:7");
        assert_eq!(caller(Some("a.rs"), Some(7)), "a.rs:7");
        assert_eq!(caller(None, Some(7)), "unknown:0");
    }
}
