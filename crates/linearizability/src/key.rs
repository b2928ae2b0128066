//! One key of a store with etcd's semantics: its value and lease, and the revisions that an answer tells of it.

use crate::Model;

/// A version of the key as an answer tells it. A value is named by a number, the same for equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// Its value.
    pub value: u64,
    /// Its lease, zero for none.
    pub lease: i64,
    /// The revision that wrote it.
    pub revision: i64,
    /// The revision that made the key.
    pub created: i64,
    /// Writes since it was made.
    pub version: i64,
}

/// A version of the key as far as it is known: nobody tells the revision of a write without an answer until it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    value: u64,
    lease: i64,
    revision: Option<i64>,
    created: Option<i64>,
    version: i64,
}

impl Version {
    fn is(&self, found: &Found) -> bool {
        (self.value, self.lease, self.version) == (found.value, found.lease, found.version)
            && self.revision.is_none_or(|revision| revision == found.revision)
            && self.created.is_none_or(|created| created == found.created)
    }
}

/// What a write makes of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A value under a lease, zero for none.
    Put {
        /// The value.
        value: u64,
        /// The lease.
        lease: i64,
    },
    /// Nothing.
    Delete,
    /// Nothing, if it is under this lease.
    Expire(i64),
}

/// A call, and what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It read this.
    Read(Option<Found>),
    /// It changed the key.
    Write {
        /// Where the key must have been written last, zero if it must not be there, for this to happen.
        compared: Option<i64>,
        /// What was there before, if that was told.
        before: Option<Option<Found>>,
        /// What it made of it; nothing if only the comparison is about this key.
        change: Option<Change>,
        /// Its revision, if that was told.
        revision: Option<i64>,
    },
}

/// See the module. The state is nothing where the key is not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Key;

impl Model for Key {
    type Operation = Operation;
    type State = Option<Version>;

    fn step(&self, state: &Self::State, operation: &Operation) -> Option<Self::State> {
        let is = |found: &Option<Found>| match (state, found) {
            (None, None) => true,
            (Some(version), Some(found)) => version.is(found),
            _ => false,
        };
        match operation {
            // Whoever reads a version knows its revision from then on.
            Operation::Read(found) => is(found).then(|| found.map(told)),
            Operation::Write { compared, before, change, revision } => {
                let told_right = before.as_ref().is_none_or(is);
                let holds = compared.is_none_or(|at| match state {
                    None => at == 0,
                    Some(version) => version.revision.map_or(at != 0, |revision| revision == at),
                });
                let newer = match (state.and_then(|version| version.revision), revision) {
                    (Some(before), Some(after)) => before < *after,
                    _ => true,
                };
                (told_right && holds && newer).then(|| after(*state, *change, *revision)).flatten()
            }
        }
    }
}

fn told(found: Found) -> Version {
    let Found { value, lease, revision, created, version } = found;
    Version { value, lease, revision: Some(revision), created: Some(created), version }
}

/// The state after a change; nothing if it cannot happen.
fn after(state: Option<Version>, change: Option<Change>, revision: Option<i64>) -> Option<Option<Version>> {
    match change {
        None => Some(state),
        Some(Change::Delete) => Some(None),
        Some(Change::Expire(lease)) => state.filter(|version| version.lease == lease).map(|_| None),
        Some(Change::Put { value, lease }) => {
            let (created, version) = state.map_or((revision, 1), |old| (old.created, old.version + 1));
            Some(Some(Version { value, lease, revision, created, version }))
        }
    }
}
