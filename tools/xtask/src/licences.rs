//! `cargo xtask licences`: every dependency may be used under a licence that suits an Apache-2.0 program.

use crate::{
    metadata::{Package, all_packages},
    workspace::Workspace,
};
use anyhow::{Result, bail};

/// Licences that ask for no more than attribution, and MPL-2.0, which asks for changes to its own files only.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MPL-2.0",
    "MPL-2.0+",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Checks every package of `Cargo.lock`.
pub fn run(workspace: &Workspace) -> Result<()> {
    let complaints: Vec<String> = all_packages(workspace)?.iter().filter_map(complaint).collect();
    if !complaints.is_empty() {
        bail!(
            "dependencies whose licence tools/xtask/src/licences.rs does not allow:\n  {}",
            complaints.join("\n  ")
        );
    }
    Ok(())
}

fn complaint(package: &Package) -> Option<String> {
    let licence = package.licence.as_deref().unwrap_or("none given");
    (!is_allowed(licence)).then(|| format!("{} {}: {licence}", package.name, package.version))
}

/// Whether the SPDX expression leaves a choice that is allowed: one of its alternatives, with all parts of it. The old
/// spelling `A/B` means `A OR B`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let allowed = alternatives(&mut words);
    allowed && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn alternatives(words: &mut Words<'_>) -> bool {
    let mut allowed = conjunction(words);
    while words.next_if_eq(&"OR").is_some() {
        // Not short-circuited: the words must be consumed.
        allowed |= conjunction(words);
    }
    allowed
}

fn conjunction(words: &mut Words<'_>) -> bool {
    let mut allowed = licence(words);
    while words.next_if_eq(&"AND").is_some() {
        allowed &= licence(words);
    }
    allowed
}

fn licence(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => {
            let allowed = alternatives(words);
            words.next_if_eq(&")").is_some() && allowed
        }
        Some(name) if words.next_if_eq(&"WITH").is_some() => match words.next() {
            Some(exception) => ALLOWED.contains(&format!("{name} WITH {exception}").as_str()),
            None => false,
        },
        Some(name) => ALLOWED.contains(&name),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowed_alternative_is_enough() {
        for expression in [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 / MIT",
            "GPL-3.0 OR MIT",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "GPL-3.0 AND Zlib OR MIT",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(is_allowed(expression), "{expression}");
        }
    }

    #[test]
    fn what_leaves_no_allowed_choice_is_refused() {
        for expression in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR Apache-2.0) AND GPL-3.0",
            "GPL-2.0 WITH Classpath-exception-2.0",
            "MIT WITH",
            "(MIT",
            "MIT MIT",
            "none given",
        ] {
            assert!(!is_allowed(expression), "{expression:?}");
        }
    }

    #[test]
    fn a_complaint_names_the_package() {
        let package = |licence: Option<&str>| Package {
            name: "x".to_owned(),
            version: "1.2.3".to_owned(),
            licence: licence.map(str::to_owned),
            dependencies: Vec::new(),
        };
        assert_eq!(complaint(&package(None)).unwrap(), "x 1.2.3: none given");
        assert_eq!(complaint(&package(Some("GPL-3.0"))).unwrap(), "x 1.2.3: GPL-3.0");
        assert_eq!(complaint(&package(Some("MIT"))), None);
    }
}
