//! `snapshot restore`: a data folder for one member of a new cluster, from a snapshot.

use std::io;
use std::path::{Path, PathBuf};

use windlass::restore::{Restored, restore as restore_member};
use windlass::startup::Config;
use windlass::startup::flags;
use windlass_replica::backup::Backend;

use crate::exit::{BAD_ARGS, ERROR, Failure};
use crate::source::SnapshotFile;

/// What the command line says.
pub struct Options {
    /// The snapshot.
    pub file: PathBuf,
    /// The member's flags, as its start will have them.
    pub flags: Vec<String>,
    /// Whether its hash does not matter.
    pub skip_hash_check: bool,
    /// By how much the newest revision is to be raised.
    pub bump_revision: u64,
    /// Whether what is older than that is to be gone.
    pub mark_compacted: bool,
}

/// Restores.
///
/// # Errors
/// If the file is damaged, the folder is not empty, or the flags do not describe a member.
pub fn restore(options: &Options) -> Result<String, Failure> {
    if (options.bump_revision > 0) != options.mark_compacted {
        let text = "--mark-compacted is required if --bump-revision > 0, and disallowed otherwise";
        return Err(Failure::new(BAD_ARGS, text));
    }
    let config = member_config(&options.flags)?;
    check_empty("data-dir", &config.data_dir)?;
    config.wal_dir.iter().try_for_each(|path| check_empty("wal-dir", path))?;
    let file = SnapshotFile::open(&options.file)?;
    if !options.skip_hash_check {
        file.check_hash()?;
    }
    let failed = |error: &dyn std::error::Error| Failure::of(file.path(), error);
    let backend = Backend::open(&file).map_err(|error| failed(&error))?;
    let bump = options.mark_compacted.then_some(options.bump_revision);
    let restored = restore_member(&config, &backend, bump).map_err(|error| failed(&error))?;
    let Restored { identity, versions, revision, .. } = restored;
    Ok(format!(
        "restored {}: {versions} versions up to revision {revision}, as member {:x} (`{}`) of cluster {:x} in {}\n",
        options.file.display(),
        identity.member.0,
        identity.name,
        identity.cluster.0,
        config.data_dir.display(),
    ))
}

/// The flags are the member's own, so they mean what they will mean when it starts.
fn member_config(flags: &[String]) -> Result<Config, Failure> {
    let parsed = match flags::parse(flags, &[]) {
        Ok(flags::Command::Start(values)) => Config::from_values(&values, 1),
        Ok(_) => unreachable!("only the member's flags are handed on"),
        Err(error) => Err(error),
    };
    parsed.map_err(|error| match error {
        flags::Error::Usage(text) | flags::Error::Configuration(text) => Failure::new(ERROR, text),
    })
}

fn check_empty(flag: &str, path: &Path) -> Result<(), Failure> {
    let is_empty = match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_empty {
        return Ok(());
    }
    let path = path.display().to_string();
    Err(Failure::new(ERROR, format!("{flag} {path:?} not empty or could not be read")))
}
