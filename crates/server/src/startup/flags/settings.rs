//! The settings file that `windlass-disk` writes: lines of `name = value`, whose names are those of flags. Pure.

/// The flags that it may set: what depends on the disk and the CPUs alone.
pub const NAMES: &[&str] =
    &["sync-mode", "flush-depth", "batch-bytes", "batch-linger", "net-threads", "shards"];

/// Name of the file in a data folder.
pub const FILE_NAME: &str = "windlass.settings";

/// Names and values, in order. Empty lines and what follows a `#` at the beginning of a line are skipped.
///
/// # Errors
/// The line that is none, or whose name is unknown or came before.
pub fn parse(text: &str) -> Result<Vec<(&'static str, &str)>, String> {
    let mut settings: Vec<(&'static str, &str)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refuse = |why: String| Err(format!("line {}: {why}", number + 1));
        let Some((name, value)) = line.split_once('=') else {
            return refuse(format!("{line:?} is not of the form name = value"));
        };
        let (name, value) = (name.trim(), value.trim());
        let Some(known) = NAMES.iter().find(|known| **known == name) else {
            return refuse(format!("{name:?} is no setting; settings are {}", NAMES.join(", ")));
        };
        if settings.iter().any(|(before, _)| before == known) {
            return refuse(format!("{name} is set twice"));
        }
        settings.push((known, value));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::startup::flags::{Command, parse as parse_flags, table};

    #[test]
    fn every_setting_is_a_flag() {
        assert!(NAMES.iter().all(|name| table::find(name).is_some()));
    }

    #[test]
    fn lines_are_names_and_values() {
        let text = "# by windlass-disk\n\nsync-mode = fdatasync\n  flush-depth=4  \n";
        assert_eq!(parse(text), Ok(vec![("sync-mode", "fdatasync"), ("flush-depth", "4")]));
        for (text, why) in [
            ("flush-depth 4", "line 1"),
            ("#\ndata-dir = /x", "line 2: \"data-dir\" is no setting"),
            ("shards = 1\nshards = 2", "twice"),
        ] {
            let refusal = parse(text).expect_err(text);
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
    }

    #[test]
    fn flags_and_variables_win() {
        let arguments = ["--flush-depth=8".to_owned()];
        let environment = [("WINDLASS_SHARDS".to_owned(), "3".to_owned())];
        let Ok(Command::Start(mut values)) = parse_flags(&arguments, &environment) else { panic!("starts") };
        values.take_settings("flush-depth = 1\nshards = 1\nbatch-linger = 50us").expect("is valid");
        let texts = ["flush-depth", "shards", "batch-linger"].map(|name| values.text(name));
        assert_eq!(texts, ["8", "3", "50us"]);
        let refusal = values.take_settings("sync-mode = never").expect_err("no such mode");
        assert!(refusal.contains("sync-mode"), "{refusal}");
    }
}
