//! `cargo xtask gen`: writes the committed code that is generated from protobuf and flatbuffers schemas.
//!
//! Building Windlass must never need a schema compiler: what this module writes is committed, and `--check` (and
//! this crate's tests) say when it no longer matches its schema.

mod flat;
mod proto;

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What to do with generated text that differs from the committed file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Replace the file.
    Write,
    /// Fail and name it.
    Check,
}

/// A file as its generator would write it.
struct Output {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Generates everything. In `Mode::Check` nothing is written, and a machine without flatc gets the flatbuffers part
/// checked by the committed hashes only, with a line that says so.
pub fn run(workspace: &Workspace, mode: Mode) -> Result<()> {
    settle(&workspace.proto_generated(), &proto::generate(workspace)?, mode)?;
    match (flat::Flatc::find(), mode) {
        (Ok(flatc), _) => {
            settle(&workspace.flat_generated(), &flat::generate(workspace, &flatc)?, mode)?;
            if mode == Mode::Write {
                flat::write_lock(workspace)?;
            }
        }
        (Err(why), Mode::Check) => eprintln!("flatbuffers: only the committed hashes are checked: {why:#}"),
        (Err(why), Mode::Write) => return Err(why),
    }
    flat::check_lock(workspace)
}

/// Brings `folder` to hold exactly `outputs`, or says which file differs.
fn settle(folder: &Path, outputs: &[Output], mode: Mode) -> Result<()> {
    let stale = |path: &Path| format!("{} is stale: run `cargo xtask gen`", path.display());
    for Output { path, bytes } in outputs {
        let same = fs::read(path).is_ok_and(|committed| committed == *bytes);
        match mode {
            _ if same => {}
            Mode::Check => bail!(stale(path)),
            Mode::Write => {
                fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
                fs::write(path, bytes).with_context(|| format!("write {}", path.display()))?;
                eprintln!("wrote {}", path.display());
            }
        }
    }
    for path in crate::workspace::files_with_extension(folder, "rs")? {
        if !outputs.iter().any(|output| output.path == path) {
            match mode {
                Mode::Check => bail!(stale(&path)),
                Mode::Write => fs::remove_file(&path)?,
            }
        }
    }
    Ok(())
}

/// Formats generated code as the workspace's own, so that `cargo fmt --check` has one rule for all files.
fn rustfmt(workspace: &Workspace, code: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(&workspace.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt does not start: `rustup component add rustfmt`")?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let code = code.to_owned();
    // A thread of its own: rustfmt may fill its output pipe before it has read all of its input.
    let writer = std::thread::spawn(move || stdin.write_all(code.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().expect("the writer does not panic").context("feed rustfmt")?;
    if !output.status.success() {
        bail!("rustfmt refused generated code: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_protobuf_code_matches_its_protos() {
        let workspace = Workspace::find().unwrap();
        settle(&workspace.proto_generated(), &proto::generate(&workspace).unwrap(), Mode::Check).unwrap();
    }

    #[test]
    fn the_committed_flatbuffers_code_matches_its_schemas() {
        flat::check_lock(&Workspace::find().unwrap()).unwrap();
    }

    #[test]
    fn a_changed_a_missing_and_a_left_over_file_are_stale() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output { path: folder.path().join("a.rs"), bytes: b"new".to_vec() };
        let outputs = [output];
        let check = || settle(folder.path(), &outputs, Mode::Check).map_err(|error| error.to_string());

        assert!(check().unwrap_err().contains("a.rs is stale"));
        settle(folder.path(), &outputs, Mode::Write).unwrap();
        check().unwrap();
        fs::write(&outputs[0].path, "old").unwrap();
        assert!(check().unwrap_err().contains("a.rs is stale"));
        settle(folder.path(), &outputs, Mode::Write).unwrap();
        fs::write(folder.path().join("b.rs"), "left over").unwrap();
        assert!(check().unwrap_err().contains("b.rs is stale"));
        settle(folder.path(), &outputs, Mode::Write).unwrap();
        check().unwrap();
    }
}
