//! The settings file: lines of `name = value` that the server reads from its data folder or from `--disk-settings`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Name of the file in a data folder; the server's `flags::settings` knows the same.
pub const FILE_NAME: &str = "windlass.settings";

/// Settings, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What to say at the head of the file: how it came to be, and why it says what it says.
    pub reasons: Vec<String>,
    /// Names of flags, and values.
    pub values: Vec<(String, String)>,
}

impl Settings {
    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for reason in &self.reasons {
            // A reason may hold line breaks; none may become a setting.
            reason.lines().for_each(|line| writeln!(text, "# {line}").expect("strings take any text"));
        }
        self.values
            .iter()
            .for_each(|(name, value)| writeln!(text, "{name} = {value}").expect("strings take any text"));
        text
    }

    /// Writes it to `path`, or into the folder `path`; gives the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<PathBuf> {
        let file = file_of(path);
        std::fs::write(&file, self.to_text()).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

/// The file that is meant by `path`, which may be the folder that it is to be in.
#[must_use]
pub fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_reasons_and_values() {
        let values = vec![("sync-mode".to_owned(), "dsync".to_owned())];
        let settings = Settings { reasons: vec!["by\nme".to_owned()], values };
        let folder = tempfile::tempdir().expect("a folder");
        let file = settings.write(folder.path()).expect("writes");
        assert_eq!(file, folder.path().join(FILE_NAME));
        assert_eq!(std::fs::read_to_string(file).expect("reads"), "# by\n# me\nsync-mode = dsync\n");
    }
}
