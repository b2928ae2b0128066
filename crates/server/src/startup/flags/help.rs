//! The texts of `--help` and `--version`, made from the table.

use super::table::{self, GROUPS, Group};
use std::fmt::Write;

/// The etcd release whose API and behaviour Windlass offers. Purely numeric, because Patroni and Kubernetes parse it.
pub const ETCD_VERSION: &str = "3.6.14";

/// What follows a command line that cannot be read.
pub const USAGE: &str = "\
Usage:

  windlass [flags]
    Start a windlass server.

  windlass --version
    Show the version of windlass and of etcd that it is compatible with.

  windlass -h | --help
    Show the help information about windlass.
";

/// The text of `--version`. Scripts for etcd read the first line.
pub fn version() -> String {
    format!(
        "etcd Version: {ETCD_VERSION}\n\
         Git SHA: {}\n\
         Go Version: none, this is Windlass, written in Rust\n\
         Go OS/Arch: {}/{}\n\
         Windlass Version: {}\n",
        option_env!("WINDLASS_GIT_SHA").unwrap_or("unknown"),
        std::env::consts::OS,
        go_architecture(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Go's name of the processor architecture that this program was built for.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = USAGE.to_owned();
    text += "\nEach flag can be given as an environment variable instead: --name is ETCD_NAME, and the flags of the\n\
             last group begin with WINDLASS_.\n";
    for group in GROUPS {
        let _ = writeln!(text, "\n{}:", group.title);
        describe(group, &mut text);
    }
    text
}

fn describe(group: &Group, text: &mut String) {
    for flag in group.flags {
        let _ = writeln!(text, "  --{} '{}'\n    {}", flag.name, flag.default, flag.help);
        match flag.status {
            table::Status::Used => {}
            table::Status::NoMeaning(reason) => {
                let _ = writeln!(text, "    No effect: {reason}.");
            }
            table::Status::Refused(reason) => {
                let _ = writeln!(text, "    Why: {reason}.");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_flag_with_its_default() {
        let help = help();
        for (_, flag) in table::all() {
            assert!(help.contains(&format!("--{} '{}'\n", flag.name, flag.default)), "{}", flag.name);
        }
    }

    #[test]
    fn the_version_begins_with_the_line_that_scripts_read() {
        let version = version();
        let number = version.lines().next().unwrap().strip_prefix("etcd Version: ").unwrap();
        let parts: Result<Vec<u32>, _> = number.split('.').map(str::parse).collect();
        assert_eq!(parts.unwrap().len(), 3);
        assert!(version.contains("\nWindlass Version: "));
    }
}
