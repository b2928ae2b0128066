//! From a snapshot's file to shards. Blocking, before any shard runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use windlass_records::state::State;
use windlass_records::wal::Frame;
use windlass_replica::shard::{Content, Distribution};

use super::{FILE_NAME, FOLDER_NAME, Reader};

/// A snapshot that is whole and waits to be installed.
pub struct Install {
    path: PathBuf,
    /// What it holds.
    pub state: State,
}

/// The snapshot in a data folder, if there is one.
///
/// # Errors
/// If it cannot be read.
pub fn found(data_folder: &Path) -> io::Result<Option<Install>> {
    let path = data_folder.join(FOLDER_NAME).join(FILE_NAME);
    if !path.exists() {
        return Ok(None);
    }
    let mut reader = Reader::open(&path)?;
    let first = reader.read()?.ok_or_else(|| reader.damaged("holds nothing"))?;
    let state = State::parse(&first).map_err(|e| reader.damaged(&format!("holds no place ({e})")))?;
    Ok(Some(Install { path, state }))
}

impl Install {
    /// All of it, laid out for `shards` shards.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn contents(&self, shards: u16) -> io::Result<Vec<Content>> {
        let mut reader = Reader::open(&self.path)?;
        reader.read()?;
        let mut distribution = Distribution::new(shards);
        while let Some(record) = reader.read()? {
            let frame = Frame::parse(record).map_err(|e| reader.damaged(&format!("holds no frame ({e})")))?;
            frame.records().for_each(|record| distribution.load(&record));
        }
        Ok(distribution.finish(&self.state))
    }

    /// It is installed: shards and log stand at its state, durably.
    ///
    /// # Errors
    /// If the file cannot be removed; it would be installed again by the next start.
    pub fn done(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        let folder = self.path.parent().expect("a file is in a folder");
        fs::File::open(folder)?.sync_all()
    }
}
