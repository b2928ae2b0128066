//! `snapshot save`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::{Outcome, Ran, Session, only_argument};
use crate::exit::{Code, Failure};
use crate::flags;
use crate::output::Reply;

/// A snapshot ends with a checksum of so many bytes behind whole sectors.
const SECTOR_BYTES: u64 = 512;
const CHECKSUM_BYTES: u64 = 32;

/// The command line.
pub fn command() -> clap::Command {
    let save = clap::Command::new("save")
        .about("Writes all that one member holds to a file")
        .arg(flags::positional("the file"));
    clap::Command::new("snapshot").about("Snapshots of members").subcommand(save)
}

/// Runs the subcommand, if there is one.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Ran {
    let (_, matches) = matches.subcommand()?;
    Some(save(matches, session))
}

fn save(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let path = only_argument(matches, "snapshot save expects one argument")?;
    let endpoints = &session.config.endpoints;
    if endpoints.len() != 1 {
        let text = format!(
            "snapshot must be requested to one selected node, not multiple [{}]",
            endpoints.join(" ")
        );
        return Err(Failure::new(Code::Interrupted, text));
    }
    // Under another name until it is whole: what has the name can be used.
    let part = PathBuf::from(format!("{path}.part"));
    let mut file = create(&part)?;
    let received = receive(session, &mut file).and_then(|()| {
        fs::rename(&part, &path)
            .map_err(|error| interrupted(format!("could not rename {} to {path} ({error})", part.display())))
    });
    if received.is_err() {
        // What is left of it is of no use; if it cannot be removed, the failure says enough.
        let _ = fs::remove_file(&part);
    }
    received?;
    Ok(Reply::Text(format!("Snapshot saved at {path}")).into())
}

fn create(path: &Path) -> Result<File, Failure> {
    // It holds every key: for its owner alone.
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(|error| {
        let (path, error) = (path.display(), reason(&error));
        interrupted(format!("could not open {path} (open {path}: {error})"))
    })
}

fn receive(session: &mut Session, file: &mut File) -> Result<(), Failure> {
    let mut bytes = 0;
    session.client()?.snapshot::<Failure>(|piece| {
        bytes += piece.blob.len() as u64;
        file.write_all(&piece.blob).map_err(|error| interrupted(error.to_string()))
    })?;
    if bytes % SECTOR_BYTES != CHECKSUM_BYTES {
        return Err(interrupted(format!("sha256 checksum not found [bytes: {bytes}]")));
    }
    file.sync_all().map_err(|error| interrupted(format!("could not fsync ({error})")))
}

/// Go's words for the usual reasons.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn interrupted(text: String) -> Failure {
    Failure::new(Code::Interrupted, text)
}
