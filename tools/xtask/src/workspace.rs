//! Where things are in the repository.

use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The repository's checkout.
pub struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
}

impl Workspace {
    /// The checkout that this program was built from.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("tools/xtask stands two levels below the root")?;
        Ok(Self { root: root.to_owned() })
    }

    /// The etcd protobuf definitions.
    pub fn proto_schemas(&self) -> PathBuf {
        self.root.join("crates/api/proto")
    }

    /// Code made from them.
    pub fn proto_generated(&self) -> PathBuf {
        self.root.join("crates/api/src/generated")
    }

    /// The flatbuffers schemas of everything on disk and between peers.
    pub fn flat_schemas(&self) -> PathBuf {
        self.root.join("crates/records/schema")
    }

    /// Code made from them.
    pub fn flat_generated(&self) -> PathBuf {
        self.root.join("crates/records/src/generated")
    }
}

/// The files directly in `folder` with that extension, sorted by name; none when the folder does not exist.
pub fn files_with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
