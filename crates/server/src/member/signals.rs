//! The signals that stop a member.

use std::io;

use rustix::process::getpid;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::emulate_default_handler;
use tokio::signal::unix::{SignalKind, signal};

/// What stops a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
}

/// Waits for a signal.
///
/// # Errors
/// If signals cannot be caught.
pub async fn wait() -> io::Result<Signal> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => Signal::Interrupt,
        _ = terminate.recv() => Signal::Terminate,
    })
}

/// Ends the process as etcd does: by the signal itself, so that whoever sent it sees that it worked; the first
/// process of a container, which cannot be killed by its own signal, exits with 0.
pub fn end_by(signal: Signal) -> ! {
    if getpid().is_init() {
        std::process::exit(0);
    }
    let number = match signal {
        Signal::Interrupt => SIGINT,
        Signal::Terminate => SIGTERM,
    };
    // If that does not end the process, the exit code that a shell would show for it says the same.
    let _ = emulate_default_handler(number);
    std::process::exit(128 + number)
}
