//! One snapshot on its way to the disk. Blocking.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use windlass_bbolt::Head;
use windlass_records::state::State;
use windlass_records::wal::{Frame, Record};
use windlass_replica::backup::Export;
use windlass_replica::system::System;

use super::sort::Sorter;
use crate::startup::data_folder::{self, random};

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// Disk space that a snapshot takes at most for each byte of the store: once for the sorted runs, and up to twice for the
/// file, where values do not fill its pages.
const SPACE_PER_BYTE: u64 = 3;

/// Disk space that a snapshot leaves to the logs.
const RESERVE_BYTES: u64 = 256 << 20;

/// Gathers what the shards hand out.
pub struct Spool {
    file: File,
    sorter: Sorter,
    system: Vec<(Bytes, Bytes)>,
}

/// A snapshot that is whole, in a file without a name.
#[derive(Debug)]
pub struct Spooled {
    /// The file.
    pub file: File,
    /// Its size.
    pub bytes: u64,
    /// Held while the file takes up space.
    pub permit: OwnedSemaphorePermit,
}

impl Spool {
    /// Begins one of a store of about `store_bytes` in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// If there is no room for it, or the folder cannot be used.
    pub fn begin(folder: &Path, store_bytes: u64) -> io::Result<Self> {
        data_folder::make_private(folder).map_err(io::Error::other)?;
        check_room(folder, store_bytes)?;
        Ok(Self { file: nameless(folder)?, sorter: Sorter::new(nameless(folder)?), system: Vec::new() })
    }

    /// Takes a chunk of a shard's share.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn push(&mut self, frame: Bytes) -> io::Result<()> {
        let frame = Frame::parse(frame).map_err(io::Error::other)?;
        for record in frame.records() {
            match record {
                Record::Version(version) => self.sorter.push(&version)?,
                Record::System(record) => {
                    let copy = Bytes::copy_from_slice;
                    self.system.extend(record.value.map(|value| (copy(record.name), copy(value))));
                }
            }
        }
        Ok(())
    }

    /// Writes the file as of `state`; it, and its size.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self, state: &State) -> io::Result<(File, u64)> {
        let Self { mut file, sorter, system } = self;
        file.seek(SeekFrom::Start(Head::BYTES as u64))?;
        let mut out = Vec::with_capacity(WRITE_BYTES * 2);
        let mut export = Export::begin(state, &System::new(system), &mut out);
        sorter.merge(|version| {
            export.push(version, &mut out);
            if out.len() >= WRITE_BYTES {
                file.write_all(&out)?;
                out.clear();
            }
            Ok(())
        })?;
        let head = export.finish(&mut out);
        file.write_all(&out)?;
        file.write_all_at(head.bytes(), 0)?;
        let bytes = file.stream_position()?;
        Ok((file, bytes))
    }
}

fn check_room(folder: &Path, store_bytes: u64) -> io::Result<()> {
    let disk = rustix::fs::statvfs(folder)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = store_bytes.saturating_mul(SPACE_PER_BYTE).saturating_add(RESERVE_BYTES);
    if free >= needed {
        return Ok(());
    }
    let text = format!(
        "a snapshot needs up to {needed} bytes in the data folder for a while, of which {free} are free: take it from \
         another member, or make room"
    );
    Err(io::Error::new(io::ErrorKind::StorageFull, text))
}

/// A file that is gone when it is closed.
fn nameless(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!("{:016x}", random()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
