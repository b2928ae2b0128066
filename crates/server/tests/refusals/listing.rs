//! Everything below a folder, to see that nothing was written.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One file or folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    path: PathBuf,
    inode: u64,
    mode: u32,
    bytes: u64,
    modified: Option<SystemTime>,
    content: Option<u64>,
}

/// Every entry below `root`, with when it was modified and a hash of what is in it.
pub fn listing(root: &Path) -> Vec<Entry> {
    let mut all = Vec::new();
    add(root, &mut all);
    all.sort();
    all
}

fn add(path: &Path, all: &mut Vec<Entry>) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let content = metadata.is_file().then(|| hash(&fs::read(path).expect("a readable file")));
    all.push(Entry {
        path: path.to_owned(),
        inode: metadata.ino(),
        mode: metadata.mode(),
        bytes: metadata.len(),
        modified: metadata.modified().ok(),
        content,
    });
    if metadata.is_dir() {
        for entry in fs::read_dir(path).expect("a readable folder") {
            add(&entry.expect("an entry").path(), all);
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
