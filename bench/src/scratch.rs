//! A folder for the data of servers that are thrown away.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::undo::Undo;

/// A folder that is removed with the value, or when a signal ends the program.
pub struct Scratch {
    path: PathBuf,
    /// Goes after the folder.
    _undo: Undo,
}

impl Scratch {
    /// Makes it in `parent`, named after the program and this process.
    ///
    /// # Errors
    /// It cannot be made: `parent` must be there.
    pub fn new(parent: &Path, program: &str) -> Result<Self> {
        let path = parent.join(format!("{program}-{}", std::process::id()));
        let ((), undo) = Undo::of(|| {
            std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
            let path = path.clone();
            anyhow::Ok(((), move || remove(&path)))
        })?;
        Ok(Self { path, _undo: undo })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    // What cannot be removed is left; its name says whose it was.
    let _ = std::fs::remove_dir_all(path);
}
