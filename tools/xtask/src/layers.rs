//! `cargo xtask layers`: which crate may depend on which.
//!
//! A new edge is the most carefully reviewed change there is: it is made here, with its reason in the commit.

use crate::{
    metadata::{Package, own_packages},
    workspace::Workspace,
};
use anyhow::{Result, bail};

/// One crate of the workspace and the crates below it that it may use.
struct Layer {
    package: &'static str,
    may_use: &'static [&'static str],
    /// Further ones for tests.
    tests_may_use: &'static [&'static str],
}

const fn layer(package: &'static str, may_use: &'static [&'static str]) -> Layer {
    Layer { package, may_use, tests_may_use: &[] }
}

const LAYERS: &[Layer] = &[
    layer("windlass-types", &[]),
    layer("windlass-api", &["windlass-types"]),
    layer("windlass-records", &["windlass-types"]),
    layer("windlass-gateway", &["windlass-types", "windlass-api"]),
    layer("windlass-bbolt", &[]),
    layer("windlass-linearizability", &[]),
    layer("windlass-raft", &["windlass-types", "windlass-records"]),
    layer("windlass-mvcc", &["windlass-types", "windlass-records"]),
    layer("windlass-io-log", &["windlass-types", "windlass-records"]),
    Layer {
        package: "windlass-io-disk",
        may_use: &["windlass-types", "windlass-io-log"],
        tests_may_use: &["windlass-records"],
    },
    layer(
        "windlass-replica",
        &[
            "windlass-types",
            "windlass-api",
            "windlass-bbolt",
            "windlass-records",
            "windlass-raft",
            "windlass-mvcc",
            "windlass-io-log",
        ],
    ),
    layer(
        "windlass-sim",
        &[
            "windlass-types",
            "windlass-api",
            "windlass-records",
            "windlass-raft",
            "windlass-mvcc",
            "windlass-io-log",
            "windlass-io-disk",
            "windlass-replica",
            // The JSON of what clients asked and were told.
            "windlass-gateway",
        ],
    ),
    layer("windlass-tls", &[]),
    layer("windlass-peer", &["windlass-types", "windlass-records", "windlass-raft", "windlass-tls"]),
    layer("windlass-http2", &[]),
    layer("windlass-rpc", &["windlass-types", "windlass-api", "windlass-tls", "windlass-http2"]),
    layer("windlass-client", &["windlass-types", "windlass-api", "windlass-tls", "windlass-http2"]),
    Layer {
        package: "windlass",
        may_use: &[
            "windlass-types",
            "windlass-api",
            "windlass-bbolt",
            "windlass-records",
            "windlass-raft",
            "windlass-mvcc",
            "windlass-io-log",
            "windlass-io-disk",
            "windlass-replica",
            "windlass-gateway",
            "windlass-tls",
            "windlass-peer",
            "windlass-http2",
            "windlass-rpc",
        ],
        tests_may_use: &["windlass-client"],
    },
    layer(
        "windlassctl",
        &["windlass-types", "windlass-api", "windlass-tls", "windlass-http2", "windlass-client"],
    ),
    layer("windlass-report", &[]),
    layer(
        "windlass-bench",
        &[
            "windlass-types",
            "windlass-api",
            "windlass-client",
            "windlass-http2",
            "windlass-report",
            "windlass-tls",
        ],
    ),
    layer("windlass-disk", &["windlass-io-log", "windlass-client", "windlass-bench", "windlass-report"]),
    layer(
        "windlass-utl",
        &[
            "windlass-types",
            "windlass-api",
            "windlass-bbolt",
            "windlass-records",
            "windlass-replica",
            "windlass",
        ],
    ),
    layer(
        "windlass-torture",
        &[
            "windlass-types",
            "windlass-api",
            "windlass-records",
            "windlass-bbolt",
            "windlass-linearizability",
            "windlass-raft",
            "windlass-io-log",
            "windlass-replica",
            "windlass-gateway",
            "windlass-http2",
            "windlass-client",
            "windlass",
            "windlass-bench",
        ],
    ),
    layer("windlass-xtask", &[]),
];

/// Runtimes and system interfaces, each with the only crates that may name them. What is not listed there is pure.
const SHELLS: &[(&str, &[&str])] = &[
    ("actix", &["windlass"]),
    ("actix-rt", &["windlass"]),
    ("glommio-ng", &["windlass", "windlass-io-disk"]),
    ("io-uring", &["windlass-io-disk"]),
    ("libnghttp2-sys", &["windlass-http2"]),
    ("libc", &["windlass", "windlass-io-disk"]),
    ("rustls", &["windlass-tls"]),
    (
        "rustix",
        &[
            "windlass",
            "windlass-io-disk",
            "windlass-rpc",
            "windlass-client",
            "windlass-bench",
            "windlass-disk",
            "windlass-report",
            "windlass-torture",
            "windlassctl",
        ],
    ),
    ("tokio", &["windlass", "windlass-peer", "windlass-rpc", "windlass-tls"]),
    ("tokio-rustls", &["windlass-tls"]),
];

/// Checks every manifest of the workspace.
pub fn run(workspace: &Workspace) -> Result<()> {
    let complaints = check(&own_packages(workspace)?);
    if !complaints.is_empty() {
        bail!("edges that tools/xtask/src/layers.rs does not allow:\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

fn check(packages: &[Package]) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages {
        let Some(layer) = LAYERS.iter().find(|layer| layer.package == package.name) else {
            complaints.push(format!("{} has no layer", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let is_own = LAYERS.iter().any(|layer| layer.package == name);
            let allowed = layer.may_use.contains(&name)
                || (dependency.is_dev && layer.tests_may_use.contains(&name))
                || (!is_own && !is_reserved(name, layer.package));
            if !allowed {
                complaints.push(format!("{} -> {name}", package.name));
            }
        }
    }
    complaints
}

fn is_reserved(external: &str, package: &str) -> bool {
    SHELLS.iter().any(|(name, users)| *name == external && !users.contains(&package))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn complaints(package: &str, dependency: &str, is_dev: bool) -> Vec<String> {
        let dependency = Dependency { name: dependency.to_owned(), is_dev };
        let (name, version) = (package.to_owned(), String::new());
        check(&[Package { name, version, licence: None, dependencies: vec![dependency] }])
    }

    #[test]
    fn the_workspace_keeps_its_layers() {
        run(&Workspace::find().unwrap()).unwrap();
    }

    #[test]
    fn an_edge_upwards_is_named() {
        assert_eq!(complaints("windlass-types", "windlass-raft", false), ["windlass-types -> windlass-raft"]);
        assert!(complaints("windlass-raft", "windlass-types", false).is_empty());
    }

    #[test]
    fn tests_may_use_more_than_the_crate() {
        assert_eq!(complaints("windlass", "windlass-client", false).len(), 1);
        assert!(complaints("windlass", "windlass-client", true).is_empty());
    }

    #[test]
    fn a_pure_crate_may_not_name_a_runtime() {
        assert_eq!(complaints("windlass-raft", "tokio", false), ["windlass-raft -> tokio"]);
        assert_eq!(complaints("windlass-raft", "tokio", true).len(), 1);
        assert!(complaints("windlass-raft", "bytes", false).is_empty());
    }

    #[test]
    fn a_new_crate_needs_a_layer() {
        assert_eq!(complaints("windlass-new", "bytes", false), ["windlass-new has no layer"]);
    }

    #[test]
    fn the_layers_themselves_only_lead_downwards() {
        for (position, layer) in LAYERS.iter().enumerate() {
            for used in layer.may_use {
                let below = LAYERS[..position].iter().any(|other| other.package == *used);
                assert!(below, "{} -> {used} leads upwards", layer.package);
            }
        }
    }
}
