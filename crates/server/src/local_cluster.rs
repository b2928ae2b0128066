//! `windlass local-cluster`: several members on this machine for people who want to see a failover. Each is a process of
//! its own, so that it can be killed; this one starts them, says which is which, starts them again when asked, and ends
//! them with itself. It must never be what serves: all it does is to run this same program.

use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// First port for clients and for the other members; those of the next member are `PORT_STEP` above.
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
const PORT_STEP: u16 = 10_000;

/// Most members: beyond it there are no ports.
const MEMBERS_MAX: u16 = 7;

/// Between two looks at the members and at what was typed.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

const USAGE: &str = "\
usage: windlass local-cluster [--members=3] [--data-dir=local-cluster] [--host=127.0.0.1] [flags for every member]

Starts members on ports 2379, 12379, ... of this machine and ends them on ctrl-c. Type a member's name and Enter to start
it again after it ended.";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    members: u16,
    folder: PathBuf,
    /// Where all of them listen. A second cluster has room on another address of this machine.
    host: IpAddr,
    flags: Vec<String>,
}

/// One member, whether it runs or not.
struct Seat {
    name: String,
    client_url: String,
    peer_url: String,
    process: Option<Child>,
}

/// Whether the arguments of this process ask for it.
#[must_use]
pub fn is_asked_for(arguments: &[String]) -> bool {
    arguments.first().is_some_and(|word| word == "local-cluster")
}

/// Runs members until a signal comes.
///
/// # Errors
/// Wrong arguments, or a member that cannot be started.
pub fn run(arguments: &[String]) -> Result<()> {
    let Some(options) = parse(&arguments[1..])? else {
        return say(USAGE);
    };
    fs::create_dir_all(&options.folder)
        .with_context(|| format!("cannot make {}", options.folder.display()))?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("signals cannot be caught")?;
    }
    let mut seats: Vec<Seat> = (0..options.members).map(|number| Seat::new(number, options.host)).collect();
    let named: Vec<String> = seats.iter().map(|seat| format!("{}={}", seat.name, seat.peer_url)).collect();
    let named = named.join(",");
    let outcome = start_and_watch(&mut seats, &options, &named, &stop);
    // Whatever went wrong: no member outlives this process.
    end(&mut seats);
    outcome
}

fn start_and_watch(seats: &mut [Seat], options: &Options, named: &str, stop: &AtomicBool) -> Result<()> {
    for seat in seats.iter_mut() {
        seat.start(options, named)?;
    }
    introduce(seats, options)?;
    watch(seats, options, named, stop)
}

fn parse(arguments: &[String]) -> Result<Option<Options>> {
    let mut options = Options {
        members: 3,
        folder: "local-cluster".into(),
        host: Ipv4Addr::LOCALHOST.into(),
        flags: Vec::new(),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (name, given) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        let mut value = || given.or_else(|| arguments.next().map(String::as_str));
        match name {
            "--members" => {
                options.members =
                    value().and_then(|text| text.parse().ok()).context("--members takes a number")?;
            }
            "--data-dir" => options.folder = value().context("--data-dir takes a folder")?.into(),
            "--host" => {
                options.host =
                    value().and_then(|text| text.parse().ok()).context("--host takes an IP address")?;
            }
            "-h" | "--help" => return Ok(None),
            _ => options.flags.push(argument.clone()),
        }
    }
    if !(1..=MEMBERS_MAX).contains(&options.members) {
        bail!("--members must be from 1 to {MEMBERS_MAX}");
    }
    Ok(Some(options))
}

impl Seat {
    fn new(number: u16, host: IpAddr) -> Self {
        let url = |port: u16| format!("http://{}", SocketAddr::new(host, port + number * PORT_STEP));
        let name = format!("m{}", number + 1);
        Self { name, client_url: url(CLIENT_PORT), peer_url: url(PEER_PORT), process: None }
    }

    fn start(&mut self, options: &Options, named: &str) -> Result<()> {
        let file = |kind: &str| options.folder.join(format!("{}{kind}", self.name));
        let log = File::options().create(true).append(true).open(file(".log")).context("cannot log")?;
        let process = Command::new("/proc/self/exe")
            .arg(format!("--name={}", self.name))
            .arg(format!("--data-dir={}", file("").display()))
            .arg(format!("--listen-client-urls={}", self.client_url))
            .arg(format!("--advertise-client-urls={}", self.client_url))
            .arg(format!("--listen-peer-urls={}", self.peer_url))
            .arg(format!("--initial-advertise-peer-urls={}", self.peer_url))
            .arg(format!("--initial-cluster={named}"))
            // Members share the cores; more threads would only take turns.
            .args(["--net-threads=1", "--shards=1"])
            .args(&options.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot log")?)
            .stderr(log)
            .spawn();
        self.process = Some(process.with_context(|| format!("{} cannot be started", self.name))?);
        Ok(())
    }

    /// How it ended, once.
    fn take_ended(&mut self) -> io::Result<Option<String>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        let ended = process.try_wait()?.map(|status| status.to_string());
        if ended.is_some() {
            self.process = None;
        }
        Ok(ended)
    }
}

fn introduce(seats: &[Seat], options: &Options) -> Result<()> {
    let mut text = String::from("member  pid      clients\n");
    for seat in seats {
        let pid = seat.process.as_ref().map_or(0, Child::id);
        text += &format!("{:<7} {pid:<8} {}\n", seat.name, seat.client_url);
    }
    let urls: Vec<&str> = seats.iter().map(|seat| seat.client_url.as_str()).collect();
    text += &format!(
        "\nexport ETCDCTL_ENDPOINTS={}\n\n\
         Data and logs are in {}. `kill -9 PID` makes a member crash; type its name and Enter to start it again.\n\
         Ctrl-c ends all of them.",
        urls.join(","),
        options.folder.display()
    );
    say(&text)
}

/// Reports members that end, and starts those whose names are typed.
fn watch(seats: &mut [Seat], options: &Options, named: &str, stop: &AtomicBool) -> Result<()> {
    let typed = lines();
    while !stop.load(Ordering::Relaxed) {
        for seat in seats.iter_mut() {
            if let Some(how) = seat.take_ended().context("a member cannot be waited for")? {
                let name = &seat.name;
                let log = options.folder.join(format!("{name}.log"));
                say(&format!(
                    "{name} ended with {how}; see {}; type {name} to start it again",
                    log.display()
                ))?;
            }
        }
        while let Ok(line) = typed.try_recv() {
            match seats.iter_mut().find(|seat| seat.name == line.trim()) {
                Some(seat) if seat.process.is_none() => {
                    seat.start(options, named)?;
                    let pid = seat.process.as_ref().map_or(0, Child::id);
                    say(&format!("{} runs again as pid {pid}", seat.name))?;
                }
                Some(seat) => say(&format!("{} runs", seat.name))?,
                None => {}
            }
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// What is typed, until there is no more. The thread ends with the process.
fn lines() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Asks all members to end, and waits for them.
fn end(seats: &mut [Seat]) {
    for seat in seats.iter() {
        if let Some(process) = &seat.process {
            // It may have ended by itself, or been told by the same ctrl-c.
            let _ = kill_process(Pid::from_child(process), Signal::TERM);
        }
    }
    for process in seats.iter_mut().filter_map(|seat| seat.process.as_mut()) {
        let _ = process.wait();
    }
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn parsed(words: &[&str]) -> Result<Option<Options>> {
        parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn its_own_options_are_taken_and_the_rest_is_passed_on() {
        let options = parsed(&["--members=5", "--log-level=debug", "--data-dir=/x", "--host=::1"])
            .expect("fine")
            .expect("no help");
        let flags = vec!["--log-level=debug".to_owned()];
        let host = Ipv6Addr::LOCALHOST.into();
        assert_eq!(options, Options { members: 5, folder: "/x".into(), host, flags });
        assert_eq!(Seat::new(1, host).client_url, "http://[::1]:12379");
        assert_eq!(parsed(&["--help"]).expect("fine"), None);
        let words = ["--members", "2", "--data-dir", "/x", "--log-level", "debug"];
        let options = parsed(&words).expect("fine").expect("no help");
        assert_eq!((options.members, options.folder.as_path()), (2, "/x".as_ref()));
        assert_eq!(options.flags, ["--log-level", "debug"]);
        for wrong in ["--members=8", "--members=x", "--members", "--data-dir", "--host=localhost"] {
            assert!(parsed(&[wrong]).is_err(), "{wrong}");
        }
    }
}
