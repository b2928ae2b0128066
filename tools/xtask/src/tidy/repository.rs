//! Rules for the repository as a whole and for every text file.

use super::{File, Tree};

/// What may stand in the root folder, so that a newcomer sees at once what there is.
const TOP_LEVEL: [&str; 18] = [
    ".cargo",
    ".ci",
    ".dockerignore",
    ".editorconfig",
    ".git",
    ".gitattributes",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "bench",
    "crates",
    "docs",
    "io",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tools",
];
/// What a build or a member leaves there; git ignores it.
const IGNORED: &str = "target";
const IGNORED_ENDINGS: [&str; 2] = [".etcd", ".windlass"];

const MANIFEST: &str = "Cargo.toml";
const REASONS: &str = "docs/DEPENDENCIES.md";
/// The workspace's own crates need no reason.
const OWN_PREFIX: &str = "windlass-";
/// The one without the prefix: the server, whose parts offline tools use.
const OWN_SERVER: &str = "windlass";

/// Only known entries stand in the root folder.
pub fn top_level_entries(tree: &Tree) -> Vec<String> {
    let known = |name: &str| {
        TOP_LEVEL.contains(&name)
            || name == IGNORED
            || IGNORED_ENDINGS.iter().any(|ending| name.ends_with(ending))
    };
    let strangers = tree.top_level.iter().filter(|name| !known(name));
    strangers.map(|name| format!("{name}: not one of the entries that the root folder may have")).collect()
}

/// Every external dependency has exactly one row with a reason, and every row its dependency.
pub fn dependency_reasons(tree: &Tree) -> Vec<String> {
    let Some(manifest) = tree.file(MANIFEST) else { return Vec::new() };
    let dependencies = workspace_dependencies(&manifest.text);
    let reasons = tree.file(REASONS).map(|file| file.text.as_str()).unwrap_or_default();
    let rows: Vec<(&str, &str)> = reasons.lines().filter_map(row).collect();
    let mut complaints = Vec::new();
    for name in &dependencies {
        let mut own = rows.iter().filter(|(row, _)| row == name);
        match (own.next(), own.next()) {
            (Some((_, reason)), None) if !reason.is_empty() => {}
            (Some(_), None) => complaints.push(format!("{REASONS}: the row of {name} gives no reason")),
            (None, _) => complaints.push(format!("{REASONS}: no row for {name}")),
            (Some(_), Some(_)) => complaints.push(format!("{REASONS}: several rows for {name}")),
        }
    }
    for (name, _) in rows.iter().filter(|(name, _)| !dependencies.contains(name)) {
        complaints.push(format!("{REASONS}: {name} is no dependency of the workspace"));
    }
    for name in dependencies.iter().filter(|name| !is_used(tree, name)) {
        complaints.push(format!("{MANIFEST}: no crate uses {name}"));
    }
    complaints
}

/// Whether some crate's manifest has a line for the dependency.
fn is_used(tree: &Tree, name: &str) -> bool {
    let manifests = tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    let mut lines = manifests.flat_map(|manifest| manifest.text.lines());
    lines.any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' '])))
}

/// The names under `[workspace.dependencies]` that are not the workspace's own.
fn workspace_dependencies(manifest: &str) -> Vec<&str> {
    let section = manifest.lines().skip_while(|line| line.trim() != "[workspace.dependencies]").skip(1);
    let lines = section.take_while(|line| !line.starts_with('['));
    let names = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    names
        .map(|(name, _)| name.trim())
        .filter(|&name| name != OWN_SERVER && !name.starts_with(OWN_PREFIX))
        .collect()
}

/// Name and reason of a table row: "| `name` | reason |".
fn row(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` |")?;
    Some((name, rest.trim_end_matches('|').trim()))
}

/// No spaces at the end of a line, and a newline at the end of the file.
pub fn line_ends(file: &File) -> Vec<String> {
    if file.is_generated() {
        return Vec::new();
    }
    let trailing = file.text.split('\n').enumerate().filter(|(_, line)| line.ends_with([' ', '\t', '\r']));
    let mut complaints: Vec<String> =
        trailing.map(|(index, _)| file.complaint(index + 1, "space at the end of the line")).collect();
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        complaints.push(file.complaint(file.text.lines().count(), "no newline at the end of the file"));
    }
    complaints
}

/// What is left to do stands in the issues, not in the files.
pub fn markers(file: &File) -> Vec<String> {
    // Put together here, so that this file does not hold them.
    let markers = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let stands_alone = |line: &str, marker: &str| {
        line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == marker)
    };
    let lines = file.text.lines().enumerate();
    lines
        .filter(|(_, line)| !file.is_generated() && markers.iter().any(|marker| stands_alone(line, marker)))
        .map(|(index, _)| file.complaint(index + 1, "a note of what is left to do belongs into an issue"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn strangers_in_the_root_folder_are_named() {
        let tree = |names: &[&str]| Tree {
            top_level: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Tree::default()
        };
        assert!(top_level_entries(&tree(&["crates", "target", "default.etcd", ".git"])).is_empty());
        assert_eq!(top_level_entries(&tree(&["crates", "notes.txt"])).len(), 1);
    }

    #[test]
    fn each_dependency_has_exactly_one_reason() {
        let manifest = "[workspace]\n[workspace.dependencies]\nwindlass-a = { path = \"a\" }\n# note = 1\n\
                        bytes = \"1\"\nsha1 = { version = \"1\" }\n\n[workspace.lints.rust]\nx = \"deny\"\n";
        let complaints = |reasons: &str| {
            let user = file(
                "crates/a/Cargo.toml",
                "[dependencies]\nbytes.workspace = true\nsha1 = { workspace = true }\n",
            );
            let files = vec![file(MANIFEST, manifest), file(REASONS, reasons), user];
            dependency_reasons(&Tree { files, ..Tree::default() })
        };
        let (bytes, sha1) = ("| `bytes` | views |\n", "| `sha1` | ids |\n");
        assert!(complaints(&format!("{bytes}{sha1}")).is_empty());
        assert_eq!(complaints(bytes), ["docs/DEPENDENCIES.md: no row for sha1"]);
        assert_eq!(
            complaints(&format!("{bytes}{sha1}{sha1}")),
            ["docs/DEPENDENCIES.md: several rows for sha1"]
        );
        assert_eq!(
            complaints(&format!("{bytes}| `sha1` |  |\n")),
            ["docs/DEPENDENCIES.md: the row of sha1 gives no reason"]
        );
        assert_eq!(
            complaints(&format!("{bytes}{sha1}| `gone` | why |\n")),
            ["docs/DEPENDENCIES.md: gone is no dependency of the workspace"]
        );
    }

    #[test]
    fn a_dependency_that_nobody_uses_is_named() {
        let manifest = file(MANIFEST, "[workspace.dependencies]\nsha1 = \"1\"\n");
        let user = file("crates/a/Cargo.toml", "[dependencies]\nsha1sum.workspace = true\n");
        let files = vec![manifest, file(REASONS, "| `sha1` | ids |\n"), user];
        assert_eq!(
            dependency_reasons(&Tree { files, ..Tree::default() }),
            ["Cargo.toml: no crate uses sha1"]
        );
    }

    #[test]
    fn line_ends_are_clean() {
        assert!(line_ends(&file("a.md", "a\n\nb\n")).is_empty());
        assert_eq!(line_ends(&file("a.md", "a \nb\t\nc")).len(), 3);
        assert!(line_ends(&file("a/generated/b.rs", "a \n")).is_empty());
    }

    #[test]
    fn markers_are_found_as_words() {
        let marker = concat!("FIX", "ME");
        assert_eq!(
            markers(&file("a.rs", format!("a\n// {marker}: b\n"))),
            ["a.rs:2: a note of what is left to do belongs into an issue"]
        );
        assert!(markers(&file("a.rs", format!("PRE{marker} {marker}_X\n"))).is_empty());
    }
}
