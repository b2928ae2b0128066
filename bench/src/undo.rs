//! What outlives a process is undone also when a signal ends it: folders, control groups, traces, settings on trial, and the
//! servers that were started.
//!
//! A tool calls [`on_signals`] once, at its start. Whoever makes such a thing keeps an [`Undo`] beside it for as long as the
//! thing is there. What undoes it may run beside the thing's own end, so it takes no offence at what is gone already.
//! A signal for the whole process group ends servers before this program: it must not start the next one, so whoever starts one
//! or makes something in such a folder does it with [`make`].

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{emulate_default_handler, pipe};

/// How long killed children may take to end; one that a disk holds up may take longer, and is left to it.
const END_MAX: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

type Work = Box<dyn FnOnce() + Send>;

/// Whether a signal has come.
static ENDING: AtomicBool = AtomicBool::new(false);

/// What is there, in the order in which it was made. Whoever makes something holds it meanwhile, and a signal holds it to the
/// end: nothing is made any more then, and no thread gets past the end of a thing that is being undone.
static MADE: Mutex<Made> = Mutex::new(Made { next: 0, works: Vec::new() });

struct Made {
    next: u64,
    works: Vec<(u64, Work)>,
}

/// Something that a signal undoes, until this is dropped.
#[derive(Debug)]
#[must_use = "without it nothing is undone"]
pub struct Undo(u64);

impl Undo {
    /// Makes something, and remembers what undoes it.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn of<T, W: FnOnce() + Send + 'static, E>(
        make: impl FnOnce() -> Result<(T, W), E>,
    ) -> Result<(T, Self), E> {
        let mut made = made();
        let (thing, work) = make()?;
        made.next += 1;
        let number = made.next;
        made.works.push((number, Box::new(work)));
        Ok((thing, Self(number)))
    }

    /// Remembers what undoes something that is there.
    pub fn with(work: impl FnOnce() + Send + 'static) -> Self {
        let made: Result<_, io::Error> = Self::of(|| Ok(((), work)));
        made.expect("nothing was made").1
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        made().works.retain(|(number, _)| *number != self.0);
    }
}

/// Makes something that goes with what is undone: a child, or a file in a folder that an [`Undo`] removes. Once a signal ends the
/// process nothing is made any more, and this does not return.
pub fn make<T>(make: impl FnOnce() -> T) -> T {
    let _held = made();
    make()
}

fn made() -> MutexGuard<'static, Made> {
    // Whoever panicked while it made something has left the list as it was.
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGHUP, SIGINT and SIGTERM undo what there is, last made first, before they end the process.
///
/// # Errors
/// The system does not let signals be caught.
pub fn on_signals() -> io::Result<()> {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let (mut wait, wake) = UnixStream::pair()?;
        pipe::register(signal, wake)?;
        let end = move || {
            // The other end lives as long as the process.
            let _ = wait.read(&mut [0]);
            undo_all();
            // If that does not end the process, the exit code that a shell would show for it says the same.
            let _ = emulate_default_handler(signal);
            std::process::exit(128 + signal)
        };
        std::thread::Builder::new().name("undo".to_owned()).spawn(end)?;
    }
    Ok(())
}

/// Whether a signal is ending this process: loads begin nothing more then.
#[must_use]
pub fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

fn undo_all() {
    ENDING.store(true, Ordering::Relaxed);
    let mut made = made();
    // Servers first: what they write to cannot be removed before.
    end_children();
    while let Some((_, work)) = made.works.pop() {
        work();
    }
    std::mem::forget(made);
}

/// Kills what this process has started, and waits until it has ended.
fn end_children() {
    let deadline = Instant::now() + END_MAX;
    loop {
        let children: Vec<Pid> = children().collect();
        if children.is_empty() || Instant::now() > deadline {
            return;
        }
        children.into_iter().for_each(kill);
        std::thread::sleep(LOOK);
    }
}

fn kill(child: Pid) {
    let Ok(process) = pidfd_open(child, PidfdFlags::empty()) else { return };
    // The number may have become another process's until it was opened; what is open now stays the same.
    if is_running_child(child) {
        // It may have ended just now.
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
}

fn children() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).filter(|pid| is_running_child(*pid))
}

/// Whether a process was started by this one, and has not ended. Source of the fields: proc(5).
fn is_running_child(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The name may hold blanks and brackets: the last `)` ends it.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let (state, parent) = (fields.next(), fields.next());
    let is_ours = parent.and_then(|parent| parent.parse().ok()) == Some(std::process::id());
    is_ours && !matches!(state, Some("Z" | "X"))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_has_ended_is_not_undone() {
        let undo = Undo::with(|| {});
        let number = undo.0;
        let is_known = || made().works.iter().any(|(known, _)| *known == number);
        assert!(is_known());
        drop(undo);
        assert!(!is_known());
    }

    #[test]
    fn what_could_not_be_made_is_not_remembered() {
        let failed: Result<((), Undo), &str> = Undo::of(|| if true { Err("no") } else { Ok(((), || {})) });
        assert_eq!(failed.map(drop), Err("no"));
    }

    #[test]
    fn a_child_is_known_until_it_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("starts");
        let pid = Pid::from_child(&child);
        assert!(children().any(|known| known == pid) && !is_running_child(Pid::INIT));
        kill(pid);
        let deadline = Instant::now() + END_MAX;
        while is_running_child(pid) {
            assert!(Instant::now() < deadline, "it goes on");
            std::thread::sleep(LOOK);
        }
        child.wait().expect("is there");
        assert!(!children().any(|known| known == pid));
    }
}
