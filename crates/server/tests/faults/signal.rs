//! SIGTERM and SIGINT under load: a graceful stop within seconds, and everything acknowledged is there.

use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use windlass_client::Client;

use crate::ledger::Ledger;
use crate::process::{Launch, Scratch};

/// How long a stop may take while clients write.
const STOP_TIME_MAX: Duration = Duration::from_secs(8);

/// How long a client waits before it says that its member is gone.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Clients that write.
const WRITERS: usize = 4;

/// Puts of each client before the signal comes.
const PUTS_MIN: usize = 50;

/// A writer that has put [`PUTS_MIN`] keys and goes on until its member is gone.
fn write(id: usize, mut client: Client, warm: std::sync::mpsc::Sender<()>) -> Ledger {
    let mut ledger = Ledger::new(id, 1000);
    for _ in 0..PUTS_MIN {
        ledger.put(&mut client).expect("the member runs");
    }
    warm.send(()).expect("the test waits");
    ledger.put_until_error(&mut client);
    ledger
}

#[test]
fn a_signal_under_load_loses_nothing() {
    let scratch = Scratch::new();
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2)] {
        let member = Launch::new(scratch.path()).member();
        let (warm, is_warm) = std::sync::mpsc::channel();
        let start = |id: usize| {
            let (client, warm) = (member.client_within(CLIENT_TIMEOUT), warm.clone());
            thread::spawn(move || write(id, client, warm))
        };
        let writers: Vec<_> = (0..WRITERS).map(start).collect();
        for _ in 0..WRITERS {
            is_warm.recv().expect("every writer warms up");
        }
        let sent = Instant::now();
        kill_process(member.pid(), signal).expect("the process can be signalled");
        let ended = member.ended();
        assert!(sent.elapsed() < STOP_TIME_MAX, "the stop took {:?}", sent.elapsed());
        assert_eq!(ended.status.signal(), Some(number), "{}", ended.output);
        let member = Launch::new(scratch.path()).member();
        let mut client = member.client();
        for writer in writers {
            writer.join().expect("a writer does not panic").check(&mut client);
        }
    }
}
