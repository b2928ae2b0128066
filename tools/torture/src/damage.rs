//! Changes a byte of a member's files.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use windlass_replica::oracle::generate::Random;

/// Looks for a byte that is not zero before any byte is taken: most of a segment was never written.
const LOOKS_MAX: usize = 4096;

/// Frames begin at blocks of this size.
const BLOCK_BYTES: u64 = 4096;

/// How much counts as what was written last: some frames.
const END_BYTES: u64 = 4 * BLOCK_BYTES;

/// What a file of a data folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Identity,
    Log,
    Manifest,
    Shard,
    Sequencer,
    Snapshot,
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::Log => "Raft log",
            Self::Manifest => "manifest of the shards",
            Self::Shard => "stream of a shard",
            Self::Sequencer => "stream of the sequencer",
            Self::Snapshot => "snapshot to be installed",
            Self::Other => "other file",
        })
    }
}

impl Kind {
    fn of(path: &Path) -> Self {
        let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        match parts[..] {
            ["identity"] => Self::Identity,
            ["log", _] => Self::Log,
            ["shards", "MANIFEST"] => Self::Manifest,
            ["shards", _, "state", _] => Self::Sequencer,
            ["shards", _, _, _] => Self::Shard,
            ["snapshot", "ready"] => Self::Snapshot,
            _ => Self::Other,
        }
    }
}

/// A file of a data folder.
#[derive(Clone, Debug)]
pub struct File {
    /// Within the data folder.
    pub path: PathBuf,
    pub kind: Kind,
}

/// All files of a data folder that hold something.
///
/// # Errors
/// If it cannot be read.
pub fn files(data: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let (path, what) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            if what.is_dir() {
                folders.push(path);
            } else if what.len() > 0 {
                let path = path.strip_prefix(data).expect("it is within").to_owned();
                files.push(File { kind: Kind::of(&path), path });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// A byte that was changed.
#[derive(Clone, Debug)]
pub struct Damage {
    pub file: File,
    data: PathBuf,
    offset: u64,
    was: u8,
    is: u8,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, was, is, .. } = self;
        write!(f, "{} ({}), byte {offset}: {was:#04x} becomes {is:#04x}", file.kind, file.path.display())
    }
}

impl Damage {
    /// Changes a byte of some file. Every kind of file is as likely, every file of a kind, and then every byte; but three
    /// times of four one that is not zero, and once in four times one of the last that were written: only there can damage
    /// look like a crash.
    ///
    /// # Errors
    /// If the files cannot be read and written.
    pub fn make(data: &Path, random: &mut Random) -> io::Result<Self> {
        let files = files(data)?;
        let mut kinds: Vec<Kind> = files.iter().map(|file| file.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let kind = kinds[random.below(kinds.len() as u64) as usize];
        let files: Vec<&File> = files.iter().filter(|file| file.kind == kind).collect();
        let file = files[random.below(files.len() as u64) as usize].clone();
        let open = OpenOptions::new().read(true).write(true).open(data.join(&file.path))?;
        let length = open.metadata()?.len();
        let read = |offset| {
            let mut byte = [0];
            open.read_exact_at(&mut byte, offset).map(|()| byte[0])
        };
        let (mut from, mut to) = (0, length);
        if random.one_in(4) {
            to = end_of_written(&open, length)?;
            from = to.saturating_sub(END_BYTES);
        }
        let mut offset = from + random.below(to - from);
        if !random.one_in(4) {
            let mut looks = 0;
            while read(offset)? == 0 && looks < LOOKS_MAX {
                offset = from + random.below(to - from);
                looks += 1;
            }
        }
        let was = read(offset)?;
        let is = was ^ (1 + random.below(255) as u8);
        open.write_all_at(&[is], offset)?;
        open.sync_all()?;
        Ok(Self { file, data: data.to_owned(), offset, was, is })
    }

    /// Puts the byte back.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn undo(&self) -> io::Result<()> {
        let open = OpenOptions::new().write(true).open(self.data.join(&self.file.path))?;
        open.write_all_at(&[self.was], self.offset)?;
        open.sync_all()
    }
}

/// Where the last block ends that is not all zeroes; at least one block, or the whole of a shorter file.
fn end_of_written(file: &fs::File, length: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_BYTES as usize];
    let mut end = length;
    while end > BLOCK_BYTES {
        let from = (end - 1) / BLOCK_BYTES * BLOCK_BYTES;
        let block = &mut block[..(end - from) as usize];
        file.read_exact_at(block, from)?;
        if block.iter().any(|byte| *byte != 0) {
            break;
        }
        end = from;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_and_every_change_undone() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["identity", "log/0.seg", "shards/MANIFEST", "shards/1/0/0.seg", "shards/1/state/0.seg"];
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("in the folder")).expect("made");
            fs::write(path, [0, 7, 0, 9]).expect("written");
        }
        let mut kinds = std::collections::BTreeSet::new();
        let mut random = Random::new(1);
        for _ in 0..100 {
            let damage = Damage::make(folder.path(), &mut random).expect("changed");
            kinds.insert(damage.file.kind);
            let path = folder.path().join(&damage.file.path);
            assert_ne!(fs::read(&path).expect("read"), [0, 7, 0, 9]);
            damage.undo().expect("undone");
            assert_eq!(fs::read(&path).expect("read"), [0, 7, 0, 9]);
        }
        assert_eq!(kinds.len(), names.len());
    }
}
