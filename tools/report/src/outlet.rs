//! Where reports go: standard output, and files. Whether a file can be written is asked before anything is measured: an
//! hour's figures are not lost to a mistyped folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Prints a report. Whoever reads it may stop before its end, as `head` does: that is no failure.
///
/// # Errors
/// It cannot be written, such as to a file on a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Checks that a file can be written, and leaves what is there as it is.
///
/// # Errors
/// It cannot; says which one and why.
pub fn check_file(path: &Path) -> Result<(), String> {
    let explain = |error: io::Error| format!("cannot write {}: {error}", path.display());
    match fs::metadata(path) {
        // Opening a pipe would wait for a reader, and closing it again be its end.
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop).map_err(explain),
        Err(_) => {
            OpenOptions::new().append(true).create(true).open(path).map_err(explain)?;
            fs::remove_file(path).map_err(explain)
        }
    }
}

/// Checks that a folder can be made, or is there and takes files. A folder that is made stays.
///
/// # Errors
/// It cannot; says which one and why.
pub fn check_folder(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    check_file(&beneath(path))
}

/// A name in a folder that nobody else uses.
fn beneath(folder: &Path) -> PathBuf {
    folder.join(format!(".windlass-report-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_what_is_not_is_not_left() {
        let folder = beneath(&std::env::temp_dir());
        check_folder(&folder).expect("can be made");
        let [old, new] = ["old", "new"].map(|name| folder.join(name));
        fs::write(&old, "kept").expect("writes");
        check_file(&old).expect("can be written");
        check_file(&new).expect("can be written");
        assert_eq!(fs::read_to_string(&old).expect("is there"), "kept");
        assert!(!new.exists());
        let cases = [folder.join("none/x"), old.join("x"), folder.clone()];
        let refused = cases.each_ref().map(|path| check_file(path).expect_err("cannot"));
        assert!(
            refused.iter().zip(&cases).all(|(why, path)| why.contains(&path.display().to_string())),
            "{refused:?}"
        );
        assert!(check_folder(&old).is_err());
        check_file(Path::new("/dev/null")).expect("takes anything");
        fs::remove_dir_all(&folder).expect("is there");
    }
}
