//! What cargo knows about the workspace's packages.

use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Command;

/// One package of the dependency graph.
pub struct Package {
    /// Name in its manifest.
    pub name: String,
    /// Version.
    pub version: String,
    /// SPDX expression, as its author wrote it.
    pub licence: Option<String>,
    /// Names of the packages that it names as dependencies, and whether only for its tests.
    pub dependencies: Vec<Dependency>,
}

/// One edge of the dependency graph.
pub struct Dependency {
    /// Name of the package that is depended on.
    pub name: String,
    /// Whether only tests, examples and benches use it.
    pub is_dev: bool,
}

/// The workspace's own packages.
pub fn own_packages(workspace: &Workspace) -> Result<Vec<Package>> {
    read(workspace, &["--no-deps"])
}

/// Every package in `Cargo.lock`, which must be up to date.
pub fn all_packages(workspace: &Workspace) -> Result<Vec<Package>> {
    read(workspace, &["--locked"])
}

fn read(workspace: &Workspace, arguments: &[&str]) -> Result<Vec<Package>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .current_dir(&workspace.root)
        .output()
        .context("start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    metadata["packages"].as_array().context("cargo metadata lists packages")?.iter().map(package).collect()
}

fn package(value: &Value) -> Result<Package> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let dependency = |value: &Value| {
        let name = text(&value["name"]).context("a dependency has a name")?;
        Ok(Dependency { name, is_dev: value["kind"] == "dev" })
    };
    Ok(Package {
        name: text(&value["name"]).context("a package has a name")?,
        version: text(&value["version"]).context("a package has a version")?,
        licence: text(&value["license"]),
        dependencies: value["dependencies"]
            .as_array()
            .context("a package lists its dependencies")?
            .iter()
            .map(dependency)
            .collect::<Result<_>>()?,
    })
}
