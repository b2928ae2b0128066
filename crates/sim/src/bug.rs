//! Known bugs that the simulator can build into its own glue, each to show that a check works. The code under test is
//! never touched.

use crate::check::Check;
use crate::profile::Kind;

/// A known bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A write to the log is reported durable when it is only submitted.
    EarlyAcknowledgement,
    /// A write to the log is reported durable and never made.
    LostFrame,
    /// A shard is loaded beyond the stable cut.
    LoadedBeyondStable,
    /// A stream claims to be durable up to what is only in memory.
    EagerDurable,
    /// A read does not say what it must see.
    ForgottenReadIndex,
    /// A read gets the place in history that an earlier one got.
    ReusedSnapshot,
    /// A client is answered with the revision of another one's write.
    RepeatedRevision,
    /// A client is told that there is no room, and its write goes on.
    RefusedAndWritten,
    /// A shard gets no puts of one entry.
    SkippedPuts,
    /// A shard's answer to the sequencer is lost.
    LostAnswer,
    /// A client is answered twice.
    AnsweredTwice,
    /// A write is in the log before its client asks for it.
    AskedLate,
    /// The mailbox of a shard is not first in, first out.
    Overtaking,
    /// Nobody hears that streams are durable.
    SilentStreams,
    /// A shard that has room is said to have none.
    ImaginedFull,
    /// A disk without room is taken for a broken one.
    FullTakenForBroken,
    /// A snapshot is installed without the share of a shard.
    InstalledInPart,
    /// A vote is not written down.
    ForgottenVote,
    /// A leader counts a follower that has not answered.
    CountedUnheard,
    /// A leader counts who has an entry of an earlier term, and calls that committed.
    CommittedFromOldTerm,
    /// A follower's read gets the answer to an earlier one.
    ReusedReadContext,
    /// A leader proposes twice what a follower sent once.
    ForwardedTwice,
    /// A member whose shards are repaired forgets its log behind the snapshot, and its vote.
    RepairedInPart,
    /// A watch that catches up is not told of the first revision of a piece of history.
    SkippedAtJoin,
    /// Events that a shard sends to those who follow it are lost.
    LostEvents,
    /// A response with several events of one revision is sent in two.
    DividedRevision,
    /// A response of a watch is sent twice.
    RepeatedEvents,
    /// A shard says that it has sent what it has not.
    EagerProgress,
    /// Who watches is not told of compactions.
    HiddenCompaction,
    /// What events replaced is not asked for.
    ForgottenPrevious,
    /// That a client has read what was queued is not noticed.
    StreamLeftFull,
    /// A start takes the last frame of the log for a torn one.
    TruncatedFrame,
    /// What a transaction compares with is read after its own writes.
    CompareAfterWrite,
    /// A leader ends leases by the time of the one before, who does not know of renewals.
    RevokedByDeposed,
    /// A start forgets the alarms.
    ForgottenAlarms,
    /// A command goes through the log in another user's name.
    AnothersName,
    /// Reads are not asked for permission.
    ReadsForAll,
    /// What permitted a read is not looked at again when it was read.
    PermittedOnce,
    /// A leader ends leases by the clock on the wall.
    LeaseByWallClock,
    /// A member that lost its disks takes part under its old identity.
    WipedTakesPart,
}

impl Bug {
    /// Every one.
    pub const ALL: [Self; 40] = [
        Self::EarlyAcknowledgement,
        Self::LostFrame,
        Self::LoadedBeyondStable,
        Self::EagerDurable,
        Self::ForgottenReadIndex,
        Self::ReusedSnapshot,
        Self::RepeatedRevision,
        Self::RefusedAndWritten,
        Self::SkippedPuts,
        Self::LostAnswer,
        Self::AnsweredTwice,
        Self::AskedLate,
        Self::Overtaking,
        Self::SilentStreams,
        Self::ImaginedFull,
        Self::FullTakenForBroken,
        Self::InstalledInPart,
        Self::ForgottenVote,
        Self::CountedUnheard,
        Self::CommittedFromOldTerm,
        Self::ReusedReadContext,
        Self::ForwardedTwice,
        Self::RepairedInPart,
        Self::SkippedAtJoin,
        Self::LostEvents,
        Self::DividedRevision,
        Self::RepeatedEvents,
        Self::EagerProgress,
        Self::HiddenCompaction,
        Self::ForgottenPrevious,
        Self::StreamLeftFull,
        Self::TruncatedFrame,
        Self::CompareAfterWrite,
        Self::RevokedByDeposed,
        Self::ForgottenAlarms,
        Self::AnothersName,
        Self::ReadsForAll,
        Self::PermittedOnce,
        Self::LeaseByWallClock,
        Self::WipedTakesPart,
    ];

    /// In which kind of run it shows.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::InstalledInPart
            | Self::ForgottenVote
            | Self::CountedUnheard
            | Self::CommittedFromOldTerm
            | Self::ReusedReadContext
            | Self::ForwardedTwice
            | Self::RepairedInPart => Kind::Cluster,
            Self::SkippedAtJoin
            | Self::LostEvents
            | Self::DividedRevision
            | Self::RepeatedEvents
            | Self::EagerProgress
            | Self::HiddenCompaction
            | Self::ForgottenPrevious
            | Self::StreamLeftFull
            | Self::RevokedByDeposed
            | Self::ForgottenAlarms
            | Self::AnothersName
            | Self::ReadsForAll
            | Self::PermittedOnce
            | Self::LeaseByWallClock => Kind::Full,
            Self::WipedTakesPart => Kind::FullCluster,
            _ => Kind::Single,
        }
    }

    /// The checks that must catch it, any of them; a seed in which another one complains shows nothing.
    #[must_use]
    pub fn caught_by(self) -> &'static [Check] {
        match self {
            Self::EarlyAcknowledgement => &[Check::Missing, Check::NoQuorum],
            Self::LostFrame => &[Check::Missing, Check::CannotStart, Check::NoQuorum],
            Self::LoadedBeyondStable => &[Check::State],
            Self::EagerDurable => &[Check::CannotStart],
            Self::ForgottenReadIndex => &[Check::Answer],
            Self::ReusedSnapshot => &[Check::Stale],
            Self::RepeatedRevision => &[Check::RevisionReused],
            Self::RefusedAndWritten => &[Check::RefusedHadEffect],
            Self::SkippedPuts => &[Check::State],
            Self::LostAnswer => &[Check::Unanswered],
            Self::AnsweredTwice => &[Check::Unasked],
            Self::AskedLate => &[Check::Order],
            Self::Overtaking => &[Check::Panic],
            Self::SilentStreams => &[Check::NotReclaimed],
            Self::ImaginedFull => &[Check::RefusedWithoutReason],
            Self::FullTakenForBroken => &[Check::EndedWithoutReason],
            Self::InstalledInPart => &[Check::State],
            Self::ForgottenVote => &[Check::VoteForgotten],
            Self::CountedUnheard | Self::CommittedFromOldTerm => &[Check::NoQuorum],
            Self::ReusedReadContext => &[Check::Stale],
            Self::ForwardedTwice => &[Check::Repeated],
            Self::RepairedInPart => &[Check::Missing, Check::VoteForgotten],
            Self::SkippedAtJoin | Self::LostEvents => &[Check::EventMissing, Check::ProgressUntrue],
            Self::DividedRevision => &[Check::RevisionDivided],
            Self::RepeatedEvents => &[Check::EventRepeated],
            Self::EagerProgress => &[Check::ProgressUntrue, Check::EventMissing, Check::RevisionDivided],
            Self::HiddenCompaction => &[Check::EventMissing, Check::ProgressUntrue],
            Self::ForgottenPrevious => &[Check::EventWrong],
            Self::StreamLeftFull => &[Check::WatchSilent],
            Self::TruncatedFrame => &[Check::Missing],
            Self::CompareAfterWrite => &[Check::Answer, Check::State],
            Self::RevokedByDeposed | Self::LeaseByWallClock => &[Check::LeaseEndedEarly],
            Self::WipedTakesPart => &[Check::Amnesia],
            Self::ForgottenAlarms => &[Check::Answer, Check::State],
            Self::AnothersName | Self::ReadsForAll | Self::PermittedOnce => &[Check::Permission],
        }
    }
}
