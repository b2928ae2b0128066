//! A log file that is kept small: when it is full it gets another name, and old ones are removed.
//!
//! With the meaning of etcd's `--log-rotation-config-json` (lumberjack's): names, sizes and ages. A file that cannot be
//! renamed goes on growing: a line too many is better than one that is lost.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::logging::timestamp;

/// When to begin a new file, and which old ones to keep. Zero is no bound, but for the size, where it is 100 MB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rotation {
    /// MB of a file.
    maxsize: u64,
    /// Days after which an old file is removed.
    maxage: u64,
    /// Old files that are kept.
    maxbackups: usize,
    /// Accepted; the names of old files are in UTC.
    localtime: bool,
    /// Whether old files are compressed.
    compress: bool,
}

/// lumberjack's size where none is given.
const SIZE_MB_DEFAULT: u64 = 100;

impl Rotation {
    /// Reads `--log-rotation-config-json`; the error is one sentence.
    ///
    /// # Errors
    /// It is no such JSON, or asks for what is not built.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rotation: Self =
            serde_json::from_str(text).map_err(|error| format!("invalid log rotation config: {error}"))?;
        if rotation.compress {
            return Err("--log-rotation-config-json with \"compress\": true is not supported: old log files are kept as \
                        they are; a file system that compresses, or logrotate, does it beside the member"
                .to_owned());
        }
        Ok(rotation)
    }

    fn bytes_max(&self) -> u64 {
        (if self.maxsize == 0 { SIZE_MB_DEFAULT } else { self.maxsize }) << 20
    }
}

/// A file that is appended to and replaced when it is full.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotation: Rotation,
}

impl RotatingFile {
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = append(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, rotation })
    }

    pub(super) fn write(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let len = line.len() as u64;
        if self.bytes > 0 && self.bytes + len > self.rotation.bytes_max() {
            // See the module's first words.
            let _ = self.rotate(now);
        }
        self.bytes += len;
        self.file.write_all(line)
    }

    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        fs::rename(&self.path, self.path.with_file_name(self.backup_name(since_epoch)))?;
        self.file = append(&self.path)?;
        self.bytes = 0;
        self.remove_old(now)
    }

    /// `etcd-2026-11-27T04-05-06.789.log` of `etcd.log`.
    fn backup_name(&self, since_epoch: Duration) -> OsString {
        let stamp = timestamp(since_epoch).replace(':', "-");
        // To the millisecond, and without the zone, as lumberjack.
        let stamp = &stamp[..stamp.find('.').map_or(stamp.len(), |dot| (dot + 4).min(stamp.len()))];
        let (stem, extension) = self.parts();
        OsString::from(format!("{stem}-{stamp}{extension}"))
    }

    /// The name before its last dot, and the rest.
    fn parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let extension = text(self.path.extension());
        let extension = if extension.is_empty() { extension } else { format!(".{extension}") };
        (text(self.path.file_stem()), extension)
    }

    fn remove_old(&self, now: SystemTime) -> io::Result<()> {
        let (stem, extension) = self.parts();
        let prefix = format!("{stem}-");
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut old: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let stamp = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(&extension));
            // Nothing else that happens to begin and end so.
            if stamp.is_some_and(|stamp| {
                stamp.len() == "2026-11-27T04-05-06.789".len() && stamp.starts_with("20")
            }) {
                old.push(path);
            }
        }
        // The stamps sort as their times do.
        old.sort_unstable_by(|a, b| b.cmp(a));
        let is_aged = |path: &PathBuf| {
            let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
            let age =
                modified.ok().and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
            self.rotation.maxage > 0 && age > Duration::from_secs(self.rotation.maxage.saturating_mul(86_400))
        };
        let kept = if self.rotation.maxbackups == 0 { old.len() } else { self.rotation.maxbackups };
        let surplus = old.iter().enumerate().filter(|(at, path)| *at >= kept || is_aged(path));
        surplus.map(|(_, path)| path).try_for_each(fs::remove_file)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_json_is_lumberjacks() {
        let rotation = Rotation::parse(r#"{"maxsize": 1, "maxbackups": 2}"#).unwrap();
        assert_eq!((rotation.bytes_max(), rotation.maxbackups, rotation.maxage), (1 << 20, 2, 0));
        assert_eq!(Rotation::parse("{}").unwrap().bytes_max(), 100 << 20);
        assert!(Rotation::parse("x").unwrap_err().starts_with("invalid log rotation config: "));
        assert!(Rotation::parse(r#"{"maxsize": true}"#).is_err());
        assert!(Rotation::parse(r#"{"compress": true}"#).unwrap_err().contains("not supported"));
    }

    #[test]
    fn full_files_are_renamed_and_old_ones_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.log");
        fs::write(folder.path().join("w-other.log"), "not ours").unwrap();
        let rotation = Rotation::parse(r#"{"maxsize": 1, "maxbackups": 2}"#).unwrap();
        let mut file = RotatingFile::open(&path, rotation).unwrap();
        let line = vec![b'x'; 600 << 10];
        for second in 0..6 {
            file.write(&line, UNIX_EPOCH + Duration::from_secs(1_800_000_000 + second)).unwrap();
        }
        assert_eq!(
            names(folder.path()),
            ["w-2027-01-15T08-00-04.000.log", "w-2027-01-15T08-00-05.000.log", "w-other.log", "w.log"]
        );
        assert_eq!(fs::metadata(&path).unwrap().len(), 600 << 10);
        // What is there is counted.
        let rotation = Rotation::parse(r#"{"maxsize": 1}"#).unwrap();
        let mut again = RotatingFile::open(&path, rotation).unwrap();
        again.write(&line, UNIX_EPOCH + Duration::from_secs(1_800_000_010)).unwrap();
        assert_eq!(names(folder.path()).len(), 5);
    }

    #[test]
    fn aged_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation::parse(r#"{"maxsize": 1, "maxage": 1}"#).unwrap();
        let mut file = RotatingFile::open(&folder.path().join("w"), rotation).unwrap();
        let line = vec![b'x'; 1 << 20];
        let now = SystemTime::now();
        file.write(&line, now).unwrap();
        file.write(&line, now).unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        file.write(&line, now + Duration::from_secs(2 * 86_400)).unwrap();
        assert_eq!(names(folder.path()), ["w"], "both old ones were written two days before");
    }
}
