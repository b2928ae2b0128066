//! Rules for Rust code.

use super::{File, Tree, source::Source};

/// Lines of a file, beyond which nobody keeps it in mind; it is split by meaning before.
const FILE_LINES_MAX: usize = 700;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Names that do not say what is inside, so that anything ends up there.
const EMPTY_NAMES: [&str; 7] = ["utils", "util", "common", "misc", "helpers", "helper", "manager"];
/// Where every `unsafe` is listed.
const UNSAFE_LIST: &str = "docs/UNSAFE.md";

/// Every module says what it is.
pub fn module_doc(file: &File) -> Option<String> {
    let first = file.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    (!first.starts_with("//!"))
        .then(|| file.complaint(1, "every module begins with `//!`: what it is, what it must never do"))
}

/// Names say what is inside.
pub fn module_name(file: &File) -> Vec<String> {
    let name = |part: &str| part.strip_suffix(".rs").unwrap_or(part).to_owned();
    let mut complaints: Vec<String> = file
        .path
        .split('/')
        .map(name)
        .filter(|part| EMPTY_NAMES.contains(&part.as_str()))
        .map(|part| file.complaint(1, &format!("the name says nothing about what is inside: `{part}`")))
        .collect();
    for (line, text) in numbered(&file.text) {
        let declared = text.trim_start().trim_start_matches("pub ").strip_prefix("mod ");
        let declared = declared.and_then(|rest| rest.strip_suffix(" {"));
        if declared.is_some_and(|name| EMPTY_NAMES.contains(&name)) {
            complaints.push(file.complaint(line, "the name says nothing about what is inside"));
        }
    }
    complaints
}

/// Nothing half-built lands.
pub fn unfinished(file: &File) -> Vec<String> {
    let source = Source::new(&file.text);
    let complain = |call: &str| {
        let lines = source.lines_with(call).into_iter();
        lines.map(|line| file.complaint(line, &format!("unfinished: `{call}`"))).collect::<Vec<_>>()
    };
    ["todo!", "unimplemented!"].into_iter().flat_map(complain).collect()
}

/// Files and functions stay short. Tests are exempt: a long scenario reads better whole.
pub fn lengths(file: &File) -> Vec<String> {
    if file.is_test() {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        complaints
            .push(file.complaint(lines, &format!("the file has {lines} lines, at most {FILE_LINES_MAX}")));
    }
    for function in Source::new(&file.text).without_tests().functions() {
        let lines = function.last_line - function.first_line + 1;
        if lines > FUNCTION_LINES_MAX {
            let what = format!("`{}` has {lines} lines, at most {FUNCTION_LINES_MAX}", function.name);
            complaints.push(file.complaint(function.first_line, &what));
        }
    }
    complaints
}

/// `unsafe` stands only where the list says so, and the list names nothing else. An entry that ends in `/` stands
/// for a folder.
pub fn listed_unsafe(tree: &Tree) -> Vec<String> {
    let list = tree.file(UNSAFE_LIST).map(|file| file.text.as_str()).unwrap_or_default();
    let entries: Vec<&str> =
        list.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let covers = |entry: &str, path: &str| path == entry || (entry.ends_with('/') && path.starts_with(entry));
    let mut used = vec![false; entries.len()];
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        let Some(&line) = Source::new(&file.text).lines_with("unsafe").first() else { continue };
        match entries.iter().position(|entry| covers(entry, &file.path)) {
            Some(entry) => used[entry] = true,
            None => complaints
                .push(file.complaint(line, "unsafe code in a file that docs/UNSAFE.md does not list")),
        }
    }
    for (entry, _) in entries.iter().zip(used).filter(|(_, used)| !used) {
        complaints.push(format!("{UNSAFE_LIST}: {entry} is listed but holds no unsafe code"));
    }
    complaints
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_module_without_a_doc_is_named() {
        assert!(module_doc(&file("a.rs", "use x;\n")).unwrap().starts_with("a.rs:1: every module"));
        assert!(module_doc(&file("a.rs", "")).is_some());
        assert_eq!(module_doc(&file("a.rs", "\n//! What it is.\n")), None);
    }

    #[test]
    fn empty_names_are_found_in_paths_and_declarations() {
        assert_eq!(module_name(&file("crates/utils/src/a.rs", "")).len(), 1);
        assert_eq!(module_name(&file("crates/a/src/helpers.rs", "")).len(), 1);
        assert_eq!(module_name(&file("a.rs", "//! x\npub mod misc {\n}\n")).len(), 1);
        assert_eq!(module_name(&file("crates/a/src/utilisation.rs", "mod commons;\n")).len(), 0);
    }

    #[test]
    fn unfinished_code_is_found_but_not_text_about_it() {
        let text =
            "fn a() { todo!() }\nfn b() { unimplemented!(\"x\") }\n// todo!()\nlet todo = \"todo!\";\n";
        assert_eq!(unfinished(&file("a.rs", text)).len(), 2);
    }

    #[test]
    fn long_files_and_functions_are_named() {
        let function = |lines: usize| format!("fn long() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
        assert_eq!(lengths(&file("a.rs", function(FUNCTION_LINES_MAX))).len(), 0);
        let complaints = lengths(&file("a.rs", function(FUNCTION_LINES_MAX + 1)));
        assert_eq!(complaints, ["a.rs:1: `long` has 71 lines, at most 70"]);

        assert_eq!(lengths(&file("a.rs", "\n".repeat(FILE_LINES_MAX))).len(), 0);
        assert_eq!(lengths(&file("a.rs", "\n".repeat(FILE_LINES_MAX + 1))).len(), 1);
        assert_eq!(lengths(&file("a/tests.rs", "\n".repeat(FILE_LINES_MAX + 1))).len(), 0);
        let test = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(FUNCTION_LINES_MAX + 1));
        assert_eq!(lengths(&file("a.rs", test)).len(), 0);
    }

    #[test]
    fn unsafe_code_and_its_list_belong_together() {
        let tree = |list: &str, code: &str| Tree {
            files: vec![file(UNSAFE_LIST, list), file("io/disk/src/a.rs", code)],
            ..Tree::default()
        };
        let code = "fn a() { unsafe { b() } }\n";
        assert_eq!(listed_unsafe(&tree("", code)).len(), 1);
        assert_eq!(listed_unsafe(&tree("| `io/disk/src/b.rs` | why |\n", code)).len(), 2);
        assert_eq!(listed_unsafe(&tree("| `io/disk/src/a.rs` | why |\n", code)).len(), 0);
        assert_eq!(listed_unsafe(&tree("| `io/disk/` | why |\n", code)).len(), 0);
        assert_eq!(listed_unsafe(&tree("| `io/disk/` | why |\n", "fn a() {}\n")).len(), 1);
    }
}
