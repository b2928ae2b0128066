//! The file that says whose data folder this is.
//!
//! Seven lines of text that people can read, and their checksum. The first line never changes, the second always holds
//! the format's number: so any version can tell a newer folder from a damaged one. `docs/formats/data-folder.md`.

use super::Error;
use sha1::{Digest, Sha1};
use std::path::Path;
use windlass_types::{ClusterId, MemberId};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// Larger files are not ours: names and tokens come from a command line.
pub const BYTES_MAX: u64 = 1 << 20;

const MAGIC: &str = "windlass data folder";

/// Whose data a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member.
    pub member: MemberId,
    /// The member's name when the folder was made; without control characters.
    pub name: String,
    /// The cluster's token; without control characters.
    pub token: String,
    /// A random number made with the folder. The logs' frames are told apart by it, so that no client who knows the
    /// ids can write a value that looks like one (`docs/formats/log.md`).
    pub salt: u64,
}

impl Identity {
    /// Whether both name the same member of the same cluster; folders of one member differ in their salt.
    #[must_use]
    pub fn is_same_member(&self, other: &Self) -> bool {
        let named = |i: &Self| (i.cluster, i.member, i.name.clone(), i.token.clone());
        named(self) == named(other)
    }

    /// The file's text.
    pub(super) fn encode(&self) -> String {
        for text in [&self.name, &self.token] {
            assert!(!text.chars().any(char::is_control), "the configuration refuses control characters");
        }
        let body = format!(
            "{MAGIC}\nformat {FORMAT}\ncluster {:016x}\nmember {:016x}\nname {}\ntoken {}\nsalt {:016x}\n",
            self.cluster.0, self.member.0, self.name, self.token, self.salt
        );
        let checksum = checksum(&body);
        body + &checksum
    }

    /// Reads the file's text; `path` is for the error.
    pub(super) fn decode(text: &str, path: &Path) -> Result<Self, Error> {
        let damaged = |what: &str| Error::Damaged { path: path.to_owned(), what: what.to_owned() };
        let mut lines = text.lines();
        if lines.next() != Some(MAGIC) {
            return Err(damaged("its first line is not Windlass's"));
        }
        let format = lines.next().and_then(|line| line.strip_prefix("format ")?.parse::<u32>().ok());
        let format = format.ok_or_else(|| damaged("it has no format number"))?;
        if format > FORMAT {
            return Err(Error::Newer { path: path.to_owned(), format });
        }
        let body_end = text.rfind("sha1 ").ok_or_else(|| damaged("it has no checksum"))?;
        let (body, end) = text.split_at(body_end);
        if end != checksum(body) {
            return Err(damaged("its checksum does not match"));
        }
        let mut field = |key: &str| lines.next().and_then(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let fields = (field("cluster"), field("member"), field("name"), field("token"), field("salt"));
        let (Some(cluster), Some(member), Some(name), Some(token), Some(salt)) = fields else {
            return Err(damaged("a line is missing"));
        };
        let id =
            |text: &str| u64::from_str_radix(text, 16).map_err(|_| damaged("a number is not hexadecimal"));
        Ok(Self {
            cluster: ClusterId(id(cluster)?),
            member: MemberId(id(member)?),
            name: name.to_owned(),
            token: token.to_owned(),
            salt: id(salt)?,
        })
    }
}

/// The last line: the checksum of all lines before it.
fn checksum(body: &str) -> String {
    let digest = Sha1::digest(body);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha1 {hex}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster: ClusterId(0xcdf8_1819_4e3a_8c32),
            member: MemberId(0x0e9e_05c5_2164_694d),
            name: "a sha1 name".to_owned(),
            token: String::new(),
            salt: 7,
        }
    }

    /// A folder of format 1 must stay readable for ever, so its text is written out here.
    const FORMAT_1: &str = "windlass data folder\nformat 1\ncluster cdf818194e3a8c32\nmember 0e9e05c52164694d\n\
                            name a sha1 name\ntoken \nsalt 0000000000000007\nsha1 ";

    #[test]
    fn what_is_written_is_read_back() {
        let text = identity().encode();
        assert!(text.starts_with(FORMAT_1), "{text}");
        assert_eq!(Identity::decode(&text, Path::new("x")).unwrap(), identity());
    }

    #[test]
    fn the_format_page_shows_what_is_written() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formats/data-folder.md"));
        let lone = Identity {
            cluster: ClusterId(0xcdf8_1819_4e3a_8c32),
            member: MemberId(0x8e9e_05c5_2164_694d),
            name: "default".to_owned(),
            token: "etcd-cluster".to_owned(),
            salt: 0x5a17_0000_c0ff_ee11,
        };
        assert!(page.contains(&format!("```text\n{}```\n", lone.encode())));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let text = identity().encode();
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Identity::decode(&changed, Path::new("x")).is_err(), "byte {position}");
            assert!(Identity::decode(&text[..position], Path::new("x")).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let text = "windlass data folder\nformat 2\nwhatever comes then";
        let error = Identity::decode(text, Path::new("/d/identity")).unwrap_err();
        assert!(matches!(error, Error::Newer { format: 2, .. }), "{error}");
    }
}
