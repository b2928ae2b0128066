//! Reads a text file that a person named, whatever it turns out to be.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The text of a file of at most so many bytes. A device that never ends is too large, too.
///
/// # Errors
/// What is too large or not UTF-8 is `InvalidData`.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if read as u64 > bytes_max {
        let why = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_refused_also_if_it_never_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("text");
        std::fs::write(&path, "four").expect("writes");
        assert_eq!(read(&path, 4).expect("fits"), "four");
        for (path, bytes_max) in [(path.as_path(), 3), (Path::new("/dev/zero"), 1000)] {
            let refusal = read(path, bytes_max).expect_err("is too large").to_string();
            assert_eq!(refusal, format!("it has more than {bytes_max} bytes"));
        }
        assert_eq!(read(Path::new("/nowhere"), 1).expect_err("is not there").kind(), io::ErrorKind::NotFound);
    }
}
