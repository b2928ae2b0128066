//! The file that a command reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use windlass_bbolt::Source;

use crate::exit::{ERROR, Failure};

/// Bytes of the SHA-256 that a saved snapshot ends with.
const HASH_BYTES: u64 = 32;

/// Pages are multiples of this, so a size that is not has a hash behind them. Source: etcd `v3_snapshot.go` `hasChecksum`.
const SECTOR_BYTES: u64 = 512;

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;

/// A snapshot, or the backend of an etcd that does not run.
pub struct SnapshotFile {
    file: File,
    path: PathBuf,
    /// Without the hash.
    len: u64,
    has_hash: bool,
}

impl SnapshotFile {
    /// Opens it.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let what = if error.kind() == io::ErrorKind::NotFound {
                "no such file or directory".to_owned()
            } else {
                error.to_string()
            };
            Failure::new(ERROR, format!("open {}: {what}", path.display()))
        };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let has_hash = size % SECTOR_BYTES == HASH_BYTES;
        let len = if has_hash { size - HASH_BYTES } else { size };
        Ok(Self { file, path: path.to_owned(), len, has_hash })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares the hash at its end with what it holds.
    ///
    /// # Errors
    /// If it has none, or another one.
    pub fn check_hash(&self) -> Result<(), Failure> {
        if !self.has_hash {
            return Err(Failure::new(ERROR, "snapshot missing hash but --skip-hash-check=false"));
        }
        let failed = |error: io::Error| Failure::of(&self.path, &error);
        let mut wanted = [0; HASH_BYTES as usize];
        self.file.read_exact_at(&mut wanted, self.len).map_err(failed)?;
        let (mut hash, mut bytes, mut offset) = (Sha256::new(), vec![0; READ_BYTES], 0);
        while offset < self.len {
            let part = usize::try_from(self.len - offset).unwrap_or(READ_BYTES).min(READ_BYTES);
            self.file.read_exact_at(&mut bytes[..part], offset).map_err(failed)?;
            hash.update(&bytes[..part]);
            offset += part as u64;
        }
        let got = hash.finalize();
        if got[..] == wanted {
            return Ok(());
        }
        let numbers = |bytes: &[u8]| bytes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Err(Failure::new(ERROR, format!("expected sha256 [{}], got [{}]", numbers(&wanted), numbers(&got))))
    }
}

impl Source for SnapshotFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }
}
