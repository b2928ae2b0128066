//! `top`: what each endpoint does now, once a second, on the whole terminal; or once, for scripts.
//!
//! It reads `/console/state` of members of Windlass and `/metrics` of an etcd, over HTTP, and asks for nothing that needs
//! a user.

mod look;
mod rates;
mod screen;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use clap::ArgMatches;
use windlass_client::Security;

use self::look::Look;
use self::rates::Endpoint;
use super::{LOOK, Outcome, Session, endpoint, no_arguments};
use crate::exit::{Code, Failure};
use crate::output::{Format, Reply};
use crate::recipe::Stop;
use crate::terminal::Screen;
use crate::{flags, go};

/// How long an endpoint may take to answer; the others are shown meanwhile by what was known before.
const PATIENCE_MAX: Duration = Duration::from_secs(2);

/// The shortest time between two looks.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Keys that are no letters.
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const ESCAPE: u8 = 0x1b;

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("top").about("Shows what each endpoint does, until q is pressed").args([
        flags::text("interval", "1s", "time between two looks"),
        flags::switch("once", "look for one interval, print and end"),
        flags::switch("cluster", "use the endpoints of all members of the cluster"),
        flags::positional("nothing").hide(true),
    ])
}

/// Runs it.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    no_arguments(matches, "top takes no arguments")?;
    let format = session.config.format;
    if !matches!(format, Format::Simple | Format::Json) {
        return Err(Failure::new(Code::BadFeature, "top writes simple or json"));
    }
    let text = flags::string(matches, "interval");
    let interval = go::parse_duration(text)
        .map_err(|cause| {
            Failure::new(Code::Error, format!("invalid argument for \"--interval\" flag: {cause}"))
        })?
        .max(INTERVAL_MIN);
    let endpoints = endpoint::endpoints(matches, session)?;
    let tls = session.config.access.tls(vec![b"http/1.1".to_vec()])?;
    let security = Security { tls, ..session.security()? };
    let patience = session.config.command_timeout.min(PATIENCE_MAX);
    let watched = endpoints.into_iter().map(Watched::new).collect();
    let mut top = Top { watched, security, patience, interval, stop: Stop::on_signals()? };
    top.look();
    let once = flags::is_set(matches, "once");
    match format {
        Format::Json => while top.print_json()? && !once {},
        _ if once || !is_terminal() => top.print()?,
        _ => return top.show().map(|()| Reply::Nothing.into()),
    }
    let silent = top.watched.iter().all(|watched| watched.last.is_err());
    let failure = silent.then(|| Failure::new(Code::BadConnection, "no endpoint answers"));
    Ok(Outcome { failure, ..Reply::Nothing.into() })
}

fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// An endpoint, and what was seen of it.
struct Watched {
    endpoint: String,
    /// The newest look; why there is none.
    last: Result<Look, String>,
    /// What came between the last two.
    shown: Endpoint,
}

impl Watched {
    fn new(endpoint: String) -> Self {
        let shown = Endpoint::silent(&endpoint, "not asked yet");
        Self { endpoint, last: Err(String::new()), shown }
    }

    fn look(&mut self, security: &Security, patience: Duration) {
        let now = Look::at(&self.endpoint, security, patience);
        self.shown = match (&self.last, &now) {
            (_, Err(error)) => Endpoint::silent(&self.endpoint, error),
            (Ok(before), Ok(now)) => Endpoint::between(&self.endpoint, Some(before), now),
            (Err(_), Ok(now)) => Endpoint::between(&self.endpoint, None, now),
        };
        self.last = now;
    }
}

/// The command while it runs.
struct Top {
    watched: Vec<Watched>,
    security: Security,
    patience: Duration,
    interval: Duration,
    stop: Stop,
}

impl Top {
    /// Asks all endpoints at once.
    fn look(&mut self) {
        let (security, patience) = (&self.security, self.patience);
        std::thread::scope(|scope| {
            for watched in &mut self.watched {
                scope.spawn(move || watched.look(security, patience));
            }
        });
    }

    fn shown(&self) -> Vec<&Endpoint> {
        self.watched.iter().map(|watched| &watched.shown).collect()
    }

    /// Waits for an interval and looks again; false if somebody asked to end.
    fn look_again(&mut self) -> bool {
        let until = Instant::now() + self.interval;
        while !self.stop.is_asked() && Instant::now() < until {
            std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
        let goes_on = !self.stop.is_asked();
        if goes_on {
            self.look();
        }
        goes_on
    }

    fn print(&mut self) -> Result<(), Failure> {
        if self.look_again() {
            let lines = screen::draw(&self.shown(), screen::Size::UNBOUNDED);
            let text: String = lines.iter().map(|line| format!("{}\n", line.text.trim_end())).collect();
            io::stdout().write_all(text.as_bytes())?;
        }
        Ok(())
    }

    /// A line of JSON of one interval; false if somebody asked to end.
    fn print_json(&mut self) -> Result<bool, Failure> {
        let goes_on = self.look_again();
        if goes_on {
            let all: Vec<_> = self.shown().into_iter().map(Endpoint::to_json).collect();
            writeln!(io::stdout(), "{}", serde_json::Value::Array(all))?;
        }
        Ok(goes_on)
    }

    /// Fills the terminal until somebody asks to end.
    fn show(&mut self) -> Result<(), Failure> {
        let mut terminal = Screen::open()?;
        let mut paused = false;
        while self.show_for_an_interval(&mut terminal, &mut paused)? {
            self.look();
        }
        Ok(())
    }

    /// Draws what is known, and again when something about the drawing changes; false if somebody asked to end.
    fn show_for_an_interval(&self, terminal: &mut Screen, paused: &mut bool) -> io::Result<bool> {
        let until = Instant::now() + self.interval;
        let mut is_drawn = false;
        while *paused || Instant::now() < until {
            if !is_drawn || terminal.was_resized() {
                let title = screen::title(self.interval, *paused, terminal.size());
                let body = screen::draw(&self.shown(), terminal.size());
                terminal.draw(std::iter::once(&title).chain(&body))?;
                is_drawn = true;
            }
            let left = until.saturating_duration_since(Instant::now());
            match terminal.key(if *paused { LOOK } else { left.min(LOOK) })? {
                Some(b'q' | CTRL_C | CTRL_D | ESCAPE) => return Ok(false),
                Some(b'p' | b' ') => (*paused, is_drawn) = (!*paused, false),
                _ if self.stop.is_asked() => return Ok(false),
                _ => {}
            }
        }
        Ok(true)
    }
}
