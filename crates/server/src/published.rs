//! What every thread sees without asking another.
//!
//! Single values behind atomics, each written by one thread: the consensus actor's, or for a shard's figures that
//! shard's. Nothing here may take part in a decision that
//! must be linearizable: such a reader asks the actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::net::ArbiterId;
use crate::stages::clock_ns;
use parking_lot::RwLock;
use windlass_mvcc::Totals;
use windlass_records::batch::Origin;
use windlass_records::state::State;
use windlass_replica::alarm::Alarms;
use windlass_replica::auth::Auth;
use windlass_replica::membership::Members;
use windlass_types::{ClusterId, LogIndex, MemberId, RequestError, Revision, Term};

/// Arbiters that an [`ArbiterId`] can name.
const ARBITERS_MAX: usize = 1 << u8::BITS;

/// Shared by all threads of the member.
pub struct Published {
    /// This cluster; never changes.
    pub cluster: ClusterId,
    /// This member; never changes.
    pub member: MemberId,
    /// This run of it; never changes.
    pub incarnation: u64,
    applied: AtomicU64,
    committed: AtomicU64,
    revision: AtomicI64,
    compact_revision: AtomicI64,
    handed: AtomicU64,
    term: AtomicU64,
    leader: AtomicU64,
    last_index: AtomicU64,
    members: RwLock<Arc<Members>>,
    alarms: RwLock<Arc<Alarms>>,
    auth: RwLock<Arc<Auth>>,
    auth_enabled: AtomicBool,
    auth_revision: AtomicU64,
    /// Which kinds of alarms are raised, so that nobody needs the lock to see that none is.
    growth_refused: AtomicBool,
    write_refused: AtomicBool,
    /// Whether this member's state differs from that of the others.
    damaged: AtomicBool,
    learner: AtomicBool,
    removed: AtomicBool,
    serving: AtomicBool,
    full: AtomicBool,
    /// Arbiters that follow the shards, one bit each.
    following: [AtomicU64; ARBITERS_MAX / 64],
    /// Logical bytes of keys, values and system records, one figure for each shard.
    shard_bytes: Box<[AtomicU64]>,
    /// Keys that live at the newest revision, one figure for each shard.
    shard_keys: Box<[AtomicU64]>,
    /// What was done to each shard.
    shard_totals: Box<[ShardTotals]>,
    /// Up to where each shard holds every effect.
    shard_complete: Box<[AtomicU64]>,
    /// Since when, by [`clock_ns`].
    shard_complete_ns: Box<[AtomicU64]>,
}

/// [`Totals`] that one thread writes and others read.
#[derive(Default)]
struct ShardTotals {
    puts: AtomicU64,
    put_bytes: AtomicU64,
    deletes: AtomicU64,
    compacted: AtomicU64,
}

/// What is known of one shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardFigures {
    /// Logical bytes of keys and values.
    pub bytes: u64,
    /// Keys that live at the newest revision.
    pub keys: u64,
    /// Keys written in this run.
    pub puts: u64,
    /// Keys deleted in this run.
    pub deletes: u64,
    /// Up to where it holds every effect.
    pub complete: LogIndex,
}

impl Published {
    /// Before anything is known but `state`, the recovered one.
    #[must_use]
    pub fn new(cluster: ClusterId, us: Origin, shards: u16, state: State) -> Self {
        Self {
            cluster,
            member: us.member,
            incarnation: us.incarnation,
            applied: AtomicU64::new(state.index.0),
            committed: AtomicU64::new(state.index.0),
            revision: AtomicI64::new(state.revision.0),
            compact_revision: AtomicI64::new(state.compact_revision.0),
            handed: AtomicU64::new(state.index.0),
            term: AtomicU64::new(state.term.0),
            leader: AtomicU64::new(0),
            last_index: AtomicU64::new(state.index.0),
            members: RwLock::default(),
            alarms: RwLock::default(),
            auth: RwLock::default(),
            auth_enabled: AtomicBool::new(false),
            auth_revision: AtomicU64::new(0),
            growth_refused: AtomicBool::new(false),
            write_refused: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            learner: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            serving: AtomicBool::new(false),
            full: AtomicBool::new(false),
            following: Default::default(),
            shard_bytes: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            shard_keys: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            shard_totals: (0..shards).map(|_| ShardTotals::default()).collect(),
            shard_complete: (0..shards).map(|_| AtomicU64::new(state.index.0)).collect(),
            shard_complete_ns: (0..shards).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Makes a newer state visible. The index is stored first, so that whoever sees the revision sees an index at
    /// which the shards hold it.
    pub fn set_state(&self, state: State) {
        self.applied.store(state.index.0, Ordering::Release);
        self.compact_revision.store(state.compact_revision.0, Ordering::Release);
        self.revision.store(state.revision.0, Ordering::Release);
    }

    /// The newest numbered revision, and a log index at which a shard holds all of it.
    #[must_use]
    pub fn revision_and_index(&self) -> (Revision, LogIndex) {
        let revision = Revision(self.revision.load(Ordering::Acquire));
        (revision, LogIndex(self.applied.load(Ordering::Acquire)))
    }

    /// The newest numbered revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }

    /// The revision compacted last; -1 before the first compaction.
    #[must_use]
    pub fn compact_revision(&self) -> Revision {
        Revision(self.compact_revision.load(Ordering::Acquire))
    }

    /// Says up to which log index the shards were handed their tasks.
    pub fn set_handed(&self, index: LogIndex) {
        self.handed.store(index.0, Ordering::Release);
    }

    /// Up to which log index the shards were handed their tasks; behind [`applied`](Self::applied) for a moment.
    #[must_use]
    pub fn handed(&self) -> LogIndex {
        LogIndex(self.handed.load(Ordering::Acquire))
    }

    /// The last applied log index.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    /// Makes the commit index visible.
    pub fn set_committed(&self, index: LogIndex) {
        self.committed.store(index.0, Ordering::Relaxed);
    }

    /// The last log index that is known to be committed; never below [`applied`](Self::applied).
    #[must_use]
    pub fn committed(&self) -> LogIndex {
        LogIndex(self.committed.load(Ordering::Relaxed)).max(self.applied())
    }

    /// Makes the role visible.
    pub fn set_leader(&self, term: Term, leader: MemberId) {
        self.term.store(term.0, Ordering::Release);
        self.leader.store(leader.0, Ordering::Release);
    }

    /// The current term.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.term.load(Ordering::Acquire))
    }

    /// The current leader; zero is nobody.
    #[must_use]
    pub fn leader(&self) -> MemberId {
        MemberId(self.leader.load(Ordering::Acquire))
    }

    /// Makes the members visible.
    pub fn set_members(&self, members: Arc<Members>) {
        let learns = members.get(self.member).is_some_and(|member| member.is_learner);
        let removed = members.is_removed(self.member);
        *self.members.write() = members;
        self.learner.store(learns, Ordering::Release);
        self.removed.store(removed, Ordering::Release);
    }

    /// The members as of the last applied entry.
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        Arc::clone(&self.members.read())
    }

    /// Makes the alarms visible.
    pub fn set_alarms(&self, alarms: Arc<Alarms>) {
        self.growth_refused.store(alarms.check_growth().is_err(), Ordering::Release);
        self.write_refused.store(alarms.check_write().is_err(), Ordering::Release);
        self.damaged.store(alarms.is_damaged(self.member), Ordering::Release);
        *self.alarms.write() = alarms;
    }

    /// The alarms as of the last applied entry.
    #[must_use]
    pub fn alarms(&self) -> Arc<Alarms> {
        Arc::clone(&self.alarms.read())
    }

    /// Makes users and roles visible.
    pub fn set_auth(&self, auth: Arc<Auth>) {
        let (enabled, revision) = (auth.is_enabled(), auth.revision());
        *self.auth.write() = auth;
        self.auth_revision.store(revision, Ordering::Release);
        self.auth_enabled.store(enabled, Ordering::Release);
    }

    /// Users and roles as of the last applied entry.
    #[must_use]
    pub fn auth(&self) -> Arc<Auth> {
        Arc::clone(&self.auth.read())
    }

    /// Whether anybody must say who they are.
    #[must_use]
    pub fn is_auth_enabled(&self) -> bool {
        self.auth_enabled.load(Ordering::Acquire)
    }

    /// The revision of users and roles.
    #[must_use]
    pub fn auth_revision(&self) -> u64 {
        self.auth_revision.load(Ordering::Acquire)
    }

    /// Differs from any other time's if users, roles, or whether they are asked were others. Never zero.
    #[must_use]
    pub fn auth_stamp(&self) -> u64 {
        // Putting them in force does not change the revision.
        (self.auth_revision() + 1) << 1 | u64::from(self.is_auth_enabled())
    }

    /// What an alarm says to something that makes the store larger. The log decides; this spares it what it would refuse.
    ///
    /// # Errors
    /// etcd's.
    pub fn check_growth(&self) -> Result<(), RequestError> {
        if self.write_refused.load(Ordering::Acquire) {
            return Err(RequestError::Corrupt);
        }
        if self.growth_refused.load(Ordering::Acquire) { Err(RequestError::NoSpace) } else { Ok(()) }
    }

    /// Whether this member must not serve, because its state differs from that of the others.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Whether this member only learns.
    #[must_use]
    pub fn is_learner(&self) -> bool {
        self.learner.load(Ordering::Acquire)
    }

    /// Whether this member is none any more, as its own log says.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Makes the end of the Raft log visible.
    pub fn set_last_index(&self, index: LogIndex) {
        self.last_index.store(index.0, Ordering::Release);
    }

    /// The last index of the Raft log.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        LogIndex(self.last_index.load(Ordering::Acquire))
    }

    /// Declares that the member has caught up with its own log and answers requests.
    pub fn set_serving(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// Whether [`set_serving`](Self::set_serving) was called.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// Says whether writes are refused because the disk has no room.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Release);
    }

    /// Whether writes are refused because the disk has no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Says whether an arbiter has watchers, who wait for what is numbered.
    pub fn set_following(&self, arbiter: ArbiterId, follows: bool) {
        let (word, bit) = (&self.following[usize::from(arbiter.0 / 64)], 1 << (arbiter.0 % 64));
        if follows {
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Whether some arbiter has watchers.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.following.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Says how many bytes of keys, values and system records a shard holds.
    pub fn set_shard_bytes(&self, shard: usize, bytes: u64) {
        self.shard_bytes[shard].store(bytes, Ordering::Relaxed);
    }

    /// Says how many keys live in a shard.
    pub fn set_shard_keys(&self, shard: usize, keys: u64) {
        self.shard_keys[shard].store(keys, Ordering::Relaxed);
    }

    /// Keys that live in the whole store.
    #[must_use]
    pub fn live_keys(&self) -> u64 {
        self.shard_keys.iter().map(|keys| keys.load(Ordering::Relaxed)).sum()
    }

    /// Says what was done to a shard.
    pub fn set_shard_totals(&self, shard: usize, totals: Totals) {
        let shown = &self.shard_totals[shard];
        shown.puts.store(totals.puts, Ordering::Relaxed);
        shown.put_bytes.store(totals.put_bytes, Ordering::Relaxed);
        shown.deletes.store(totals.deletes, Ordering::Relaxed);
        shown.compacted.store(totals.compacted, Ordering::Relaxed);
    }

    /// What was done to the whole store in this run.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum = |figure: fn(&ShardTotals) -> &AtomicU64| {
            self.shard_totals.iter().map(|shard| figure(shard).load(Ordering::Relaxed)).sum()
        };
        Totals {
            puts: sum(|shard| &shard.puts),
            put_bytes: sum(|shard| &shard.put_bytes),
            deletes: sum(|shard| &shard.deletes),
            compacted: sum(|shard| &shard.compacted),
        }
    }

    /// Says up to where a shard holds every effect.
    pub fn set_shard_complete(&self, shard: usize, index: LogIndex) {
        self.shard_complete_ns[shard].store(clock_ns(), Ordering::Relaxed);
        self.shard_complete[shard].store(index.0, Ordering::Release);
    }

    /// Up to where every shard holds every effect, and since when, by [`clock_ns`].
    #[must_use]
    pub fn complete_since(&self) -> (LogIndex, u64) {
        let complete = self.complete();
        let since = self.shard_complete_ns.iter().map(|ns| ns.load(Ordering::Relaxed)).max();
        (complete, since.unwrap_or(0))
    }

    /// Up to where every shard holds every effect.
    #[must_use]
    pub fn complete(&self) -> LogIndex {
        LogIndex(self.shard_complete.iter().map(|i| i.load(Ordering::Acquire)).min().unwrap_or(0))
    }

    /// What is known of each shard.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardFigures> {
        let figures = |shard: usize| {
            let value = |values: &[AtomicU64]| values[shard].load(Ordering::Relaxed);
            let totals = &self.shard_totals[shard];
            ShardFigures {
                bytes: value(&self.shard_bytes),
                keys: value(&self.shard_keys),
                puts: totals.puts.load(Ordering::Relaxed),
                deletes: totals.deletes.load(Ordering::Relaxed),
                complete: LogIndex(value(&self.shard_complete)),
            }
        };
        (0..self.shard_bytes.len()).map(figures).collect()
    }

    /// Bytes of keys, values and system records in the whole store. Never 0 once the cluster is founded: it has members.
    #[must_use]
    pub fn store_bytes(&self) -> u64 {
        self.shard_bytes.iter().map(|b| b.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_followed_until_the_last_arbiter_has_no_watchers() {
        let us = Origin { member: MemberId(1), incarnation: 1 };
        let published = Published::new(ClusterId(1), us, 1, State::EMPTY);
        let [first, last] = [ArbiterId(0), ArbiterId(64)];
        assert!(!published.is_followed());
        published.set_following(first, true);
        published.set_following(last, true);
        published.set_following(last, false);
        assert!(published.is_followed());
        published.set_following(first, false);
        assert!(!published.is_followed());
    }
}
