//! What a start would make of a member's files, without a start: for tools that damage files and look what is noticed.
//!
//! It reads as a start reads, by the same code, and writes nothing, unless a snapshot waits: that would be installed.

use windlass_io_log::raft_log::Recovered;
use windlass_mvcc::{HashScan, HashSum};
use windlass_records::state::State;

use super::open::{OpenError, log_options};
use super::recovery::{Found, Read};
use crate::shard::FoundShards;
use crate::startup::Config;
use crate::startup::data_folder::{self, Expected};

/// What a start would do.
pub enum Examined {
    /// Go on with this.
    Sound(Box<Files>),
    /// Ask the other members for a snapshot, because of this.
    Repaired(OpenError),
}

/// What is in files that are sound, or seem so.
pub struct Files(Box<Found>);

/// What the shards hold at some state: equal for equal contents, whatever the files look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The keys, with all that a reader can see of them.
    pub hash: HashSum,
    /// The system records: name and value.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Examines the files of a member that does not run.
///
/// # Errors
/// A start would be refused with this.
pub fn examine(config: &Config) -> Result<Examined, OpenError> {
    let expected = Expected::from_flags(&config.name, &config.bootstrap);
    let folder = data_folder::examine(&config.data_dir, &expected)?;
    match Found::read(config, folder.path(), folder.identity(), log_options(config))? {
        Read::Sound(found) => Ok(Examined::Sound(Box::new(Files(found)))),
        Read::Damaged { error, .. } => Ok(Examined::Repaired(error)),
    }
}

impl Files {
    fn shards(&self) -> &FoundShards {
        self.0.parts().1
    }

    /// The Raft log.
    #[must_use]
    pub fn log(&self) -> &Recovered {
        self.0.parts().0
    }

    /// Where the shards stand: the log is applied from there.
    #[must_use]
    pub fn state(&self) -> State {
        self.shards().state()
    }

    /// What the shards hold as of `state`, which is not newer than [`state`](Self::state).
    ///
    /// # Errors
    /// If the files cannot be read again.
    pub fn contents(&self, state: &State) -> Result<Contents, OpenError> {
        let (mut hash, mut records) = (HashSum::default(), Vec::new());
        for content in self.shards().load(state)? {
            let scan = HashScan::new(state.revision, state.compact_revision).step(&content.shard, usize::MAX);
            hash = hash.and(scan.expect("in one step"));
            let all = content.records.iter().map(|r| (r.name.to_vec(), r.value.map(<[u8]>::to_vec)));
            records.extend(all.map(|(name, value)| (name, value.unwrap_or_default())));
        }
        records.sort();
        Ok(Contents { hash, records })
    }
}
