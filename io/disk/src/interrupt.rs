//! Interrupts a thread of this process that sleeps in the kernel.
//!
//! Nothing else: the signal has a handler that does nothing, so all that happens is that the system call returns early.
#![allow(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::thread::Pid;
use signal_hook::consts::SIGURG;

/// Can interrupt threads: as long as one lives, the signal has its handler.
#[derive(Debug)]
pub struct Interrupter(());

impl Interrupter {
    /// Installs the handler, for the life of the process.
    ///
    /// # Errors
    /// If the signal cannot be handled.
    pub fn install() -> io::Result<Self> {
        // The flag is not read: what matters is that a handler is there.
        signal_hook::flag::register(SIGURG, Arc::new(AtomicBool::new(false)))?;
        Ok(Self(()))
    }

    /// Makes a blocking system call of `thread` return; one that is not in such a call, or gone, notices nothing.
    pub fn interrupt(&self, thread: Pid) {
        let process = rustix::process::getpid();
        let (process, thread) = (process.as_raw_pid(), thread.as_raw_pid());
        // SAFETY: the call takes three numbers and touches no memory of this process; the signal has a handler.
        unsafe { libc::syscall(libc::SYS_tgkill, process, thread, SIGURG) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use rustix::io::Errno;
    use rustix::thread::{NanosleepRelativeResult, Timespec, gettid, nanosleep};

    use super::*;

    #[test]
    fn a_sleeping_thread_wakes() {
        let interrupter = Interrupter::install().expect("the signal is free");
        let (tell, told) = mpsc::channel();
        let sleeper = thread::spawn(move || {
            tell.send(gettid()).expect("the test waits");
            matches!(
                nanosleep(&Timespec { tv_sec: 600, tv_nsec: 0 }),
                NanosleepRelativeResult::Interrupted(_) | NanosleepRelativeResult::Err(Errno::INTR)
            )
        });
        let thread = told.recv().expect("the thread says who it is");
        // It may not sleep yet when the first signal comes.
        while !sleeper.is_finished() {
            interrupter.interrupt(thread);
            thread::yield_now();
        }
        assert!(sleeper.join().expect("no panic"), "it slept to the end");
    }
}
