//! `cargo xtask tidy`: the rules of the house that neither rustc nor clippy checks.
//!
//! The rules are pure functions of the files' texts; only [`Tree::read`] touches the disk. Each returns complaints
//! as `path:line: what`, and each has a test that shows it failing.

mod code;
mod repository;
mod source;

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::{fs, path::Path};

/// One text file of the repository.
struct File {
    /// Path from the root, with `/`.
    path: String,
    text: String,
}

/// What the rules look at.
#[derive(Default)]
struct Tree {
    /// Every text file, sorted by path.
    files: Vec<File>,
    /// Names in the root folder.
    top_level: Vec<String>,
}

/// Folders of the root whose files are read.
const FOLDERS: [&str; 7] = [".cargo", ".ci", "bench", "crates", "docs", "io", "tools"];
/// Endings of text files. `.ci/run` has none and is read too.
const TEXT_EXTENSIONS: [&str; 12] =
    ["rs", "toml", "md", "fbs", "proto", "sh", "py", "txt", "lock", "html", "css", "js"];

/// Checks the whole repository.
pub fn run(workspace: &Workspace) -> Result<()> {
    let complaints = check(&Tree::read(&workspace.root)?);
    if !complaints.is_empty() {
        bail!("{} complaints\n  {}", complaints.len(), complaints.join("\n  "));
    }
    Ok(())
}

fn check(tree: &Tree) -> Vec<String> {
    let mut complaints = repository::top_level_entries(tree);
    complaints.extend(repository::dependency_reasons(tree));
    complaints.extend(code::listed_unsafe(tree));
    for file in &tree.files {
        complaints.extend(repository::line_ends(file));
        complaints.extend(repository::markers(file));
        if file.is_rust() && !file.is_generated() {
            complaints.extend(code::module_doc(file));
            complaints.extend(code::module_name(file));
            complaints.extend(code::unfinished(file));
            complaints.extend(code::lengths(file));
        }
    }
    complaints
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_generated(&self) -> bool {
        self.path.contains("/generated/") || self.path.ends_with(".lock")
    }

    /// Whether all of it is test code: `tests/` folders and `tests.rs` modules.
    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    fn complaint(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

impl Tree {
    fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        for (name, path, is_folder) in entries(root)? {
            match is_folder {
                true if FOLDERS.contains(&name.as_str()) => tree.read_folder(&path, &name)?,
                true => {}
                false => tree.read_file(&path, &name)?,
            }
            tree.top_level.push(name);
        }
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, path: &str) -> Result<()> {
        for (name, entry, is_folder) in entries(folder)? {
            let path = format!("{path}/{name}");
            if is_folder && name != "target" {
                self.read_folder(&entry, &path)?;
            } else if !is_folder {
                self.read_file(&entry, &path)?;
            }
        }
        Ok(())
    }

    fn read_file(&mut self, file: &Path, path: &str) -> Result<()> {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if TEXT_EXTENSIONS.contains(&extension) || path.starts_with(".ci/") {
            let text = fs::read_to_string(file).with_context(|| format!("read {path}"))?;
            self.files.push(File { path: path.to_owned(), text });
        }
        Ok(())
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Name, path and kind of what is in a folder, sorted by name.
fn entries(folder: &Path) -> Result<Vec<(String, std::path::PathBuf, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, entry.path(), entry.file_type()?.is_dir()));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
fn file(path: &str, text: impl Into<String>) -> File {
    File { path: path.to_owned(), text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_generated_code_are_told_from_the_rest() {
        assert!(file("crates/a/tests/b.rs", "").is_test());
        assert!(file("crates/a/src/b/tests.rs", "").is_test());
        assert!(!file("crates/a/src/contests.rs", "").is_test());
        assert!(file("crates/a/src/generated/b.rs", "").is_generated());
        assert!(!file("crates/a/src/generate.rs", "").is_generated());
    }

    #[test]
    fn a_file_is_checked_by_every_rule_that_fits_it() {
        let rust = file("crates/a/src/utils.rs", "fn a() { todo!() } \n");
        let complaints = check(&Tree { files: vec![rust], ..Tree::default() });
        for what in ["begins with", "name says nothing", "unfinished", "space at the end"] {
            assert!(complaints.iter().any(|complaint| complaint.contains(what)), "{what}: {complaints:?}");
        }
        let generated = file("crates/a/src/generated/utils.rs", "fn a() {} \n");
        assert_eq!(check(&Tree { files: vec![generated], ..Tree::default() }).len(), 0);
    }
}
