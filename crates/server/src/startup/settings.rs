//! Reads the settings file that `windlass-disk` wrote, if there is one.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::config::data_dir;
use super::flags::settings::FILE_NAME;
use super::flags::{Error, Values};
use super::named_file;

/// Bytes of a settings file; a larger one is something else, and refused.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Adds what `--disk-settings` or the data folder's settings file says. A file that was named must be there.
pub fn add(mut values: Values) -> Result<Values, Error> {
    let named = values.text("disk-settings");
    let path = if named.is_empty() { data_dir(&values).join(FILE_NAME) } else { PathBuf::from(named) };
    let refuse =
        |why: String| Error::Configuration(format!("cannot use the settings in {}: {why}", path.display()));
    match named_file::text(&path, FILE_BYTES_MAX) {
        Ok(text) => values.take_settings(&text).map_err(refuse).map(|()| values),
        // A folder that cannot be looked into is reported by the checks of the data folder.
        Err(error) if named.is_empty() && error.kind() != ErrorKind::InvalidData => Ok(values),
        Err(error) => Err(refuse(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::startup::flags::{Command, parse};

    fn values(arguments: &[String]) -> Result<Values, Error> {
        match parse(arguments, &[]) {
            Ok(Command::Start(values)) => add(values),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_data_folders_file_is_read_and_a_named_one_instead() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = format!("--data-dir={}", folder.path().display());
        assert_eq!(values(std::slice::from_ref(&data)).expect("needs no file").text("flush-depth"), "2");
        fs::write(folder.path().join(FILE_NAME), "flush-depth = 5").expect("writes");
        assert_eq!(values(std::slice::from_ref(&data)).expect("is valid").text("flush-depth"), "5");
        let other = folder.path().join("other");
        let named = format!("--disk-settings={}", other.display());
        assert!(values(&[data.clone(), named.clone()]).is_err(), "it is not there");
        fs::write(&other, "flush-depth = 7").expect("writes");
        assert_eq!(values(&[data.clone(), named.clone()]).expect("is valid").text("flush-depth"), "7");
        fs::write(&other, "nonsense").expect("writes");
        let refusal = values(&[data, named]).expect_err("is refused").to_string();
        assert!(refusal.contains("line 1") && refusal.contains("other"), "{refusal}");
        fs::write(folder.path().join(FILE_NAME), "#".repeat(1 + FILE_BYTES_MAX as usize)).expect("writes");
        let data = format!("--data-dir={}", folder.path().display());
        let refusal = values(&[data]).expect_err("is refused").to_string();
        assert!(refusal.contains("it has more than 65536 bytes"), "{refusal}");
    }
}
