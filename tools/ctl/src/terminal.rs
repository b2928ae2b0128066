//! The terminal, where a password is typed.

use std::io;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Runs `read` while the terminal at standard input does not show what is typed. What is no terminal is read as it is.
pub fn without_echo<T>(read: impl FnOnce() -> T) -> T {
    let stdin = io::stdin();
    let Ok(before) = tcgetattr(&stdin) else { return read() };
    let mut hidden: Termios = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    // A terminal that cannot be told keeps showing: better than not to ask.
    let _ = tcsetattr(&stdin, OptionalActions::Flush, &hidden);
    let line = read();
    let _ = tcsetattr(&stdin, OptionalActions::Flush, &before);
    line
}
