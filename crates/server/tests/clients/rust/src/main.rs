//! The main paths of Rust's stock etcd client, `etcd-client`, against a running member.
//!
//!     windlass-rust-clients HOST:PORT
//!
//! Exit status 0 if everything gave what a real etcd gives. A part is a line that begins with `ok` or `FAILED`.

mod parts;

use std::fmt::Debug;
use std::process::ExitCode;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};

/// What ends a part: whatever the client says, or what was found instead of what a real etcd gives.
type Failure = Box<dyn std::error::Error>;

/// How one part ended.
type Outcome = Result<(), Failure>;

/// Longer than any of them takes; a part that hangs is one that failed.
const PART_TIME_MAX: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(endpoint) = std::env::args().nth(1) else {
        eprintln!("usage: windlass-rust-clients HOST:PORT");
        return ExitCode::from(2);
    };
    let mut failed = 0;
    macro_rules! part {
        ($name:literal, $run:path) => {
            match tokio::time::timeout(PART_TIME_MAX, $run(&endpoint)).await {
                Ok(Ok(())) => println!("ok      rust etcd-client: {}", $name),
                Ok(Err(error)) => {
                    failed += 1;
                    println!("FAILED  rust etcd-client: {}: {error}", $name);
                }
                Err(_) => {
                    failed += 1;
                    println!("FAILED  rust etcd-client: {}: not done in {PART_TIME_MAX:?}", $name);
                }
            }
        };
    }
    part!("put, get, ranges, deletes, namespaces", parts::keys);
    part!("transactions", parts::transactions);
    part!("leases, keepalive", parts::leases);
    part!("watches", parts::watches);
    part!("locks", parts::locks);
    part!("elections", parts::elections);
    part!("status, alarms, hashes, snapshot, compaction", parts::maintenance);
    part!("members", parts::members);
    part!("users and roles", parts::auth);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A client of its own for each part, as programs have one each.
async fn connect(endpoint: &str) -> Result<Client, Failure> {
    connect_as(endpoint, ConnectOptions::new()).await
}

async fn connect_as(endpoint: &str, options: ConnectOptions) -> Result<Client, Failure> {
    let options = options.with_connect_timeout(Duration::from_secs(10));
    Ok(Client::connect([endpoint], Some(options)).await?)
}

#[track_caller]
fn equal<T: PartialEq + Debug>(got: T, wanted: T) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    let line = std::panic::Location::caller().line();
    Err(format!("line {line}: {got:?} instead of {wanted:?}").into())
}

/// What a call that must fail says: the code and the text, or whatever the client makes of it.
#[track_caller]
fn refused<T: Debug>(answer: Result<T, etcd_client::Error>, wanted: &str) -> Outcome {
    let line = std::panic::Location::caller().line();
    match answer {
        Err(error) if error.to_string().contains(wanted) => Ok(()),
        other => Err(format!("line {line}: {other:?} instead of {wanted:?}").into()),
    }
}
