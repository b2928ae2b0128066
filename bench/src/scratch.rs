//! A folder for the data of servers that are thrown away.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder that is removed with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it in `parent`, named after the program and this process.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(parent: &Path, program: &str) -> Result<Self> {
        let path = parent.join(format!("{program}-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left; its name says whose it was.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
