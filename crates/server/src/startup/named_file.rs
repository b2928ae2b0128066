//! Reads a file that a person named, whatever it turns out to be.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What is in a file of at most so many bytes. A device that never ends is too large, too.
///
/// # Errors
/// What is too large is `InvalidData`.
pub fn bytes(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    at_most(bytes_max, read).map(|()| bytes)
}

/// The same of text.
///
/// # Errors
/// What is too large or not UTF-8 is `InvalidData`.
pub fn text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    at_most(bytes_max, read).map(|()| text)
}

fn at_most(bytes_max: u64, read: usize) -> io::Result<()> {
    if read as u64 > bytes_max {
        let why = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_refused_also_if_it_never_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("text");
        std::fs::write(&path, "four").expect("writes");
        assert_eq!(text(&path, 4).expect("fits"), "four");
        assert_eq!(bytes(&path, 4).expect("fits"), b"four");
        for (path, bytes_max) in [(path.as_path(), 3), (Path::new("/dev/zero"), 1000)] {
            for refusal in [text(path, bytes_max).err(), bytes(path, bytes_max).err()] {
                let refusal = refusal.expect("is too large").to_string();
                assert_eq!(refusal, format!("it has more than {bytes_max} bytes"));
            }
        }
        assert_eq!(text(Path::new("/nowhere"), 1).expect_err("is not there").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn bytes_need_not_be_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bytes");
        std::fs::write(&path, [0xff]).expect("writes");
        assert_eq!(bytes(&path, 1).expect("fits"), [0xff]);
        assert_eq!(text(&path, 1).expect_err("is no text").kind(), io::ErrorKind::InvalidData);
    }
}
