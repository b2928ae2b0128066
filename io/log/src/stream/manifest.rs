//! The manifest: which generation of streams is the valid one. A few lines of text with a checksum.
//!
//! It is replaced as a whole by a rename, so that a crash leaves the old one or the new one.

use std::fmt;

/// File name of the manifest.
pub const MANIFEST_NAME: &str = "MANIFEST";

const VERSION: u32 = 1;

/// Number of a layout, from 1. Each change of the number of shards makes a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u32);

impl Generation {
    /// The generation that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("generations are rare"))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The valid layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its folder is named after it.
    pub generation: Generation,
    /// Number of shards, at least 1.
    pub shards: u16,
}

/// Why a manifest cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Written by another version of this software.
    #[error(
        "the shards' manifest has format {0}, this version reads {VERSION}; start the version that wrote it"
    )]
    Version(u32),
    /// Not what was written.
    #[error("the shards' manifest is damaged: {0}")]
    Damaged(&'static str),
}

impl Manifest {
    /// The file's content.
    #[must_use]
    pub fn encode(&self) -> String {
        let text =
            format!("windlass shards {VERSION}\ngeneration {}\nshards {}\n", self.generation, self.shards);
        let checksum = crc32fast::hash(text.as_bytes());
        format!("{text}crc32 {checksum:08x}\n")
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn decode(content: &[u8]) -> Result<Self, Error> {
        let content = std::str::from_utf8(content).map_err(|_| Error::Damaged("not text"))?;
        let mut lines = content.lines();
        match lines.next().and_then(|line| number(line, "windlass shards ")) {
            Some(VERSION) => {}
            Some(other) => return Err(Error::Version(other)),
            None => return Err(Error::Damaged("not a manifest")),
        }
        let generation = lines.next().and_then(|line| number(line, "generation "));
        let shards = lines.next().and_then(|line| number(line, "shards "));
        let (Some(generation @ 1..), Some(shards)) = (generation, shards) else {
            return Err(Error::Damaged("a line is missing"));
        };
        let shards =
            u16::try_from(shards).ok().filter(|&n| (1..=windlass_types::key::SHARDS_MAX).contains(&n));
        let manifest = Self {
            generation: Generation(generation),
            shards: shards.ok_or(Error::Damaged("impossible number of shards"))?,
        };
        // Encoding again checks the checksum and that nothing else stands there.
        if manifest.encode() == content { Ok(manifest) } else { Err(Error::Damaged("wrong checksum")) }
    }
}

fn number(line: &str, before: &str) -> Option<u32> {
    line.strip_prefix(before)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Manifest = Manifest { generation: Generation(7), shards: 3 };

    #[test]
    fn the_text_is_as_documented() {
        let text = SAMPLE.encode();
        let document = include_str!("../../../../docs/formats/shard-wal.md");
        assert!(document.contains(&text), "{text}");
        assert_eq!(Manifest::decode(text.as_bytes()), Ok(SAMPLE));
    }

    #[test]
    fn every_changed_byte_is_seen() {
        let text = SAMPLE.encode().into_bytes();
        for at in 0..text.len() {
            for with in [b'0', b'1', b' ', b'\n', 0xff] {
                let mut bad = text.clone();
                bad[at] = with;
                assert!(bad == text || Manifest::decode(&bad).is_err(), "{}", String::from_utf8_lossy(&bad));
            }
            assert!(Manifest::decode(&text[..at]).is_err());
        }
    }

    #[test]
    fn another_version_is_named() {
        let text = SAMPLE.encode().replace("shards 1", "shards 2");
        assert_eq!(Manifest::decode(text.as_bytes()), Err(Error::Version(2)));
    }
}
