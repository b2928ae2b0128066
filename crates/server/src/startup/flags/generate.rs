//! Texts made of the table of flags: the reference page, the man page, and what makes shells complete flags.

use super::help::ETCD_VERSION;
use super::table::{self, Flag, GROUPS, Group, Status};
use super::value::Kind;
use std::fmt::Write;

/// What can be made.
pub(super) const KINDS: [&str; 5] = ["man", "complete-bash", "complete-zsh", "complete-fish", "markdown"];

/// One of [`KINDS`].
pub(super) fn generate(kind: &str) -> Option<String> {
    Some(match kind {
        "man" => man(),
        "complete-bash" => bash(),
        "complete-zsh" => zsh(),
        "complete-fish" => fish(),
        "markdown" => markdown(),
        _ => return None,
    })
}

/// What a flag does, in one line.
fn effect(flag: &Flag) -> String {
    match flag.status {
        Status::Used => flag.help.to_owned(),
        Status::NoMeaning(reason) => format!("Accepted without effect: {reason}."),
        Status::Refused(reason) => format!("Anything but the default is refused: {reason}."),
    }
}

/// What a value looks like.
fn shape(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Bool => "true, false".to_owned(),
        Kind::Number { .. } | Kind::Integer => "number".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::DurationOr(word) => format!("duration, {word}"),
        Kind::Urls => "URLs".to_owned(),
        Kind::Choice(words) | Kind::AnyCase(words) => listed(words, ", "),
        Kind::Gates => "gates".to_owned(),
    }
}

/// The words of a choice, of which one may be nothing.
fn listed(words: &[&str], separator: &str) -> String {
    let told: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
    told.join(separator)
}

fn markdown() -> String {
    let mut page = format!(
        "# Flags of windlass\n\nMade of the table of flags by `UPDATE_EXPECT=1 cargo test -p windlass \
         the_reference_page_is_current`.\n\nEvery flag of etcd {ETCD_VERSION} is here: it has its effect, is accepted \
         because its absence changes nothing here, or is\nrefused with the reason. Each is also an environment variable, \
         `--name` as `ETCD_NAME`, those of the last group as\n`WINDLASS_NAME`; the same option in both places ends the \
         start. Where a row says so, etcd's older spelling\n`--experimental-...` means the same.\n\n`--config-file` (or \
         `ETCD_CONFIG_FILE`) names a YAML or JSON file with the same names, and etcd's sections\n\
         `client-transport-security`, `peer-transport-security` and `socket-options`. All other flags and variables are \
         ignored\nthen. Durations are nanoseconds there, as in etcd, or texts as on the command line. A field that is \
         not known is told of in\nthe log.\n\n`--generate` prints `man`, `complete-bash`, `complete-zsh`, \
         `complete-fish` or this page.\n"
    );
    for group in GROUPS {
        let _ =
            write!(page, "\n## {}\n\n| flag | value | default | what |\n|---|---|---|---|\n", group.title);
        for flag in group.flags {
            let alias = if flag.experimental_alias { " Also `--experimental-`." } else { "" };
            let default = if flag.default.is_empty() { String::new() } else { format!("`{}`", flag.default) };
            let what = effect(flag).replace('|', "\\|");
            let _ =
                writeln!(page, "| `--{}` | {} | {default} | {what}{alias} |", flag.name, shape(flag.kind));
        }
    }
    page
}

/// Without what roff takes for its own.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

fn man() -> String {
    let mut page = format!(
        ".TH WINDLASS 1 \"\" \"windlass {}\" \"User Commands\"\n.SH NAME\nwindlass \\- a replicated key\\-value store \
         with the API of etcd\n.SH SYNOPSIS\n.B windlass\n[\\fIflags\\fR]\n.br\n.B windlass local\\-cluster\n.SH \
         DESCRIPTION\nStarts one member. Each flag is also an environment variable, \\-\\-name as ETCD_NAME.\n",
        env!("CARGO_PKG_VERSION")
    );
    for Group { title, flags, .. } in GROUPS {
        let _ = writeln!(page, ".SH {}", title.to_uppercase());
        for flag in *flags {
            let (name, default) = (roff(flag.name), roff(flag.default));
            let _ = writeln!(page, ".TP\n.B \\-\\-{name}\n{}", roff(&effect(flag)));
            if !default.is_empty() {
                let _ = writeln!(page, "Default: {default}");
            }
        }
    }
    page.push_str(".SH SEE ALSO\nwindlassctl(1)\n");
    page
}

/// Names that a command line may hold.
fn names() -> Vec<String> {
    let mut names: Vec<String> = table::all().map(|(_, flag)| format!("--{}", flag.name)).collect();
    names.extend(["--help", "--version", "--generate"].map(str::to_owned));
    names
}

/// Flags of few values, with these.
fn choices() -> Vec<(&'static str, String)> {
    let words = |flag: &'static Flag| match flag.kind {
        Kind::Choice(words) | Kind::AnyCase(words) => Some((flag.name, listed(words, " "))),
        _ => None,
    };
    table::all().filter_map(|(_, flag)| words(flag)).chain([("generate", KINDS.join(" "))]).collect()
}

fn bash() -> String {
    let mut cases = String::new();
    for (name, words) in choices() {
        let _ = writeln!(cases, "    --{name}) COMPREPLY=($(compgen -W '{words}' -- \"$word\")); return ;;");
    }
    format!(
        "_windlass() {{\n  local word=\"${{COMP_WORDS[COMP_CWORD]}}\" before=\"${{COMP_WORDS[COMP_CWORD-1]}}\"\n  \
         COMPREPLY=()\n  case \"$before\" in\n{cases}    --*-file|--*-dir) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n  \
         esac\n  COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n}}\ncomplete -o default -F _windlass windlass\n",
        names().join(" ")
    )
}

fn zsh() -> String {
    let mut lines = String::new();
    for (_, flag) in table::all() {
        let what = effect(flag).replace('\'', "'\\''").replace(['[', ']'], " ").replace(':', "\\:");
        let value = match flag.kind {
            Kind::Bool => String::new(),
            Kind::Choice(words) | Kind::AnyCase(words) => format!(":value:({})", listed(words, " ")),
            _ if flag.name.ends_with("-file") || flag.name.ends_with("-dir") => ":path:_files".to_owned(),
            _ => ":value:".to_owned(),
        };
        let _ = writeln!(lines, "  '--{}=[{what}]{value}' \\", flag.name);
    }
    format!(
        "#compdef windlass\n_arguments \\\n{lines}  '--help[print the help]' '--version[print the version]'\n"
    )
}

fn fish() -> String {
    let mut lines = String::new();
    for (_, flag) in table::all() {
        let what = effect(flag).replace('\'', "\\'");
        let value = match flag.kind {
            Kind::Bool => String::new(),
            Kind::Choice(words) | Kind::AnyCase(words) => format!(" -x -a '{}'", listed(words, " ")),
            _ => " -r".to_owned(),
        };
        let _ = writeln!(lines, "complete -c windlass -l {}{value} -d '{what}'", flag.name);
    }
    lines.push_str("complete -c windlass -l help\ncomplete -c windlass -l version\n");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_page_is_current() {
        expect_test::expect_file!["../../../../../docs/reference/flags.md"].assert_eq(&markdown());
    }

    /// The page on compatibility has each flag where it belongs.
    #[test]
    fn the_page_on_compatibility_is_current() {
        let page = include_str!("../../../../../docs/reference/compatibility.md");
        let section = |title: &str| {
            let begin = page.split(&format!("\n### {title}\n")).nth(1).unwrap_or_default();
            begin.split("\n### ").next().unwrap_or_default()
        };
        for (group, flag) in table::all() {
            let title = match flag.status {
                _ if group.title == "Windlass" => "Only here",
                Status::Used => "Same",
                Status::NoMeaning(_) => "Accepted without effect",
                Status::Refused(_) => "Refused unless at their default",
            };
            let name = format!("`--{}`", flag.name);
            assert!(section(title).contains(&name), "{name} is not under {title:?}");
        }
    }

    #[test]
    fn every_text_has_every_flag() {
        for kind in KINDS {
            let text = generate(kind).unwrap();
            for (_, flag) in table::all() {
                let name = if kind == "man" { roff(flag.name) } else { flag.name.to_owned() };
                assert!(text.contains(&name), "{kind} lacks {name}");
            }
        }
        assert_eq!(generate("none"), None);
    }
}
