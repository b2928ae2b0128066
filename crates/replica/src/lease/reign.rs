//! One leader's leases on its own clock, from the moment at which it is known to lead.

use std::collections::BTreeMap;

use windlass_types::{LeaseId, LogIndex, Term};

use super::ask::Asker;
use super::proposal::{Checkpoints, Expired, LeaseLeft, LeaseRef};
use super::table::{Lease, Leases};
use super::wheel::{Granted, Wheel};

const SECOND_NS: u64 = 1_000_000_000;

/// Least time without a renewal after which what is left of a lease is written down: what a change of leaders could add
/// to a shorter one is not worth a write.
const CHECKPOINT_NS_MIN: u64 = 5 * SECOND_NS;

/// Longest such time: a lease gains at most so much, and the pause of a change of leaders, from each such change. etcd's
/// interval.
const CHECKPOINT_NS_MAX: u64 = 300 * SECOND_NS;

/// How long after its expiry was proposed a lease that is still there is proposed again: the entry may have been lost.
const EXPIRE_RETRY_NS: u64 = 2 * SECOND_NS;

/// Leases that one turn takes over from the table when a reign begins, so that a million do not stop the member. Those
/// that were not taken over yet are found when somebody asks for them.
const TAKE_OVER_MAX: usize = 10_000;

/// Leases that one turn looks at because they are due. The rest is looked at in the next one.
const LOOK_MAX: usize = 4_000;

/// A lease that was looked at is looked at again no sooner than after this.
const LOOK_AGAIN_NS: u64 = 50_000_000;

/// Leases in one command, so that it stays small beside the largest request.
const COMMAND_LEASES_MAX: usize = 1_000;

/// One lease.
struct Timer {
    granted: LogIndex,
    ttl_s: i64,
    deadline_ns: u64,
    /// When to write down what is left.
    checkpoint_ns: u64,
    /// Whether the log holds, or may soon hold, that less than its whole time is left. A renewal must be in the log
    /// before it is acknowledged then, or another leader would not know of it.
    is_marked: bool,
    /// The last proposal of this reign that says so. What was proposed before it may not be taken for the last word.
    marked_by: u64,
    /// Its expiry was proposed at this time; it is not renewed any more.
    expired_ns: Option<u64>,
    /// Who waits until a renewal is in the log. Meanwhile no less than its whole time is written down: that would come
    /// behind the renewal in the log and undo it.
    renewing: Vec<Asker>,
}

impl Timer {
    fn lease(&self, id: LeaseId) -> LeaseRef {
        LeaseRef { id: id.0, granted: self.granted.0 }
    }

    fn ttl_ns(&self) -> u64 {
        self.ttl_s.unsigned_abs().saturating_mul(SECOND_NS)
    }

    fn renew(&mut self, now_ns: u64) {
        self.deadline_ns = now_ns.saturating_add(self.ttl_ns());
        self.checkpoint_ns = now_ns.saturating_add(checkpoint_interval_ns(self.ttl_ns()));
        self.is_marked = false;
    }

    /// Whether its time is over. A renewal on its way to the log came in time, but may have been lost.
    fn is_over(&self, now_ns: u64) -> bool {
        let grace_ns = if self.renewing.is_empty() { 0 } else { EXPIRE_RETRY_NS };
        self.deadline_ns.saturating_add(grace_ns) <= now_ns
    }

    /// When to look at it next.
    fn next_ns(&self) -> u64 {
        match self.expired_ns {
            Some(at_ns) => at_ns + EXPIRE_RETRY_NS,
            None => self.deadline_ns.min(self.checkpoint_ns),
        }
    }
}

fn checkpoint_interval_ns(ttl_ns: u64) -> u64 {
    (ttl_ns / 2).clamp(CHECKPOINT_NS_MIN, CHECKPOINT_NS_MAX)
}

/// What became of a renewal.
pub(super) enum Renewal {
    /// The lease has so many seconds again.
    Done(i64),
    /// It waits for the log.
    Waits,
    /// There is no such lease, or no more.
    Missing,
}

/// Proposals that follow from the time.
#[derive(Default)]
pub(super) struct Due {
    pub expired: Vec<Expired>,
    pub checkpoints: Vec<Checkpoints>,
}

/// The leases of one leader's term.
pub(super) struct Reign {
    pub term: Term,
    /// When it was known to lead, and what all deadlines get on top because of that.
    began_ns: u64,
    extension_ns: u64,
    timers: BTreeMap<LeaseId, Timer>,
    wheel: Wheel,
    /// The last lease that was taken over from the table; `None` once all are.
    taking_over: Option<Option<LeaseId>>,
    /// Leases whose renewal must be written to the log.
    to_clear: Vec<LeaseLeft>,
    /// Number of proposals about what is left of leases.
    proposals: u64,
    scratch: Vec<Granted>,
}

impl Reign {
    pub fn new(term: Term, now_ns: u64, extension_ns: u64) -> Self {
        Self {
            term,
            began_ns: now_ns,
            extension_ns,
            timers: BTreeMap::new(),
            wheel: Wheel::default(),
            taking_over: Some(None),
            to_clear: Vec::new(),
            proposals: 0,
            scratch: Vec::new(),
        }
    }

    /// A lease was granted just now.
    pub fn granted(&mut self, id: LeaseId, lease: Lease, now_ns: u64) {
        self.add(id, lease, now_ns, now_ns);
    }

    /// A lease is no more; who waited for its renewal.
    pub fn revoked(&mut self, id: LeaseId) -> Vec<Asker> {
        self.timers.remove(&id).map(|timer| timer.renewing).unwrap_or_default()
    }

    /// The log holds what is left of a lease, as this reign's `proposal` said. If that is all of it, it is renewed now,
    /// and these waited for it.
    pub fn checkpointed(
        &mut self,
        id: LeaseId,
        lease: Lease,
        proposal: u64,
        now_ns: u64,
    ) -> (Vec<Asker>, i64) {
        match self.timers.get_mut(&id) {
            Some(timer)
                if lease.left_ms.is_none()
                    && timer.marked_by < proposal
                    && !timer.renewing.is_empty()
                    && timer.expired_ns.is_none() =>
            {
                timer.renew(now_ns);
                (std::mem::take(&mut timer.renewing), timer.ttl_s)
            }
            _ => (Vec::new(), 0),
        }
    }

    pub fn renew(&mut self, id: LeaseId, asker: Asker, leases: &Leases, now_ns: u64) -> Renewal {
        let Some(timer) = self.find(id, leases) else { return Renewal::Missing };
        if timer.expired_ns.is_some() || timer.deadline_ns <= now_ns {
            return Renewal::Missing;
        }
        if !timer.is_marked {
            timer.renew(now_ns);
            return Renewal::Done(timer.ttl_s);
        }
        timer.renewing.push(asker);
        let left = LeaseLeft { lease: timer.lease(id), left_ms: None };
        // Even if one is on its way, since that may be lost.
        self.to_clear.push(left);
        Renewal::Waits
    }

    /// Whole seconds left of a lease, and its whole time.
    pub fn left(&mut self, id: LeaseId, leases: &Leases, now_ns: u64) -> Option<(i64, i64)> {
        let timer = self.find(id, leases)?;
        let left_s = timer.deadline_ns.saturating_sub(now_ns) / SECOND_NS;
        Some((i64::try_from(left_s).unwrap_or(i64::MAX), timer.ttl_s))
    }

    /// The deadline of a lease, for an order among them.
    pub fn deadline_ns(&self, id: LeaseId) -> Option<u64> {
        self.timers.get(&id).map(|timer| timer.deadline_ns)
    }

    /// Everyone who waits for a renewal.
    pub fn into_waiting(self) -> impl Iterator<Item = Asker> {
        self.timers.into_values().flat_map(|timer| timer.renewing)
    }

    /// What is to be proposed by now; nothing but renewals if `can_propose` is false.
    pub fn due(&mut self, leases: &Leases, now_ns: u64, can_propose: bool) -> Due {
        self.take_over(leases);
        let mut due = Due::default();
        let cleared = std::mem::take(&mut self.to_clear);
        self.push_checkpoints(cleared, &mut due);
        if can_propose {
            self.look(now_ns, &mut due);
        }
        due
    }

    fn look(&mut self, now_ns: u64, due: &mut Due) {
        let (mut expired, mut marked) = (Vec::new(), Vec::new());
        let mut leases = std::mem::take(&mut self.scratch);
        self.wheel.take_due(now_ns, LOOK_MAX, &mut leases);
        for (id, granted) in leases.drain(..) {
            // What is no more, or is another lease by now, was left in the wheel.
            let Some(timer) = self.timers.get_mut(&id).filter(|timer| timer.granted == granted) else {
                continue;
            };
            if timer.is_over(now_ns) {
                timer.expired_ns = Some(now_ns);
                expired.push(timer.lease(id));
            } else if timer.next_ns() <= now_ns && timer.renewing.is_empty() {
                timer.is_marked = true;
                timer.checkpoint_ns = now_ns.saturating_add(checkpoint_interval_ns(timer.ttl_ns()));
                let left_ms = Some((timer.deadline_ns - now_ns).div_ceil(1_000_000));
                marked.push(LeaseLeft { lease: timer.lease(id), left_ms });
            }
            let next_ns = timer.next_ns().max(now_ns + LOOK_AGAIN_NS);
            self.wheel.insert((id, granted), next_ns);
        }
        self.scratch = leases;
        self.push_checkpoints(marked, due);
        let term = self.term.0;
        let commands = expired.chunks(COMMAND_LEASES_MAX);
        due.expired.extend(commands.map(|leases| Expired { term, leases: leases.to_vec() }));
    }

    fn push_checkpoints(&mut self, lefts: Vec<LeaseLeft>, due: &mut Due) {
        let term = self.term.0;
        for leases in lefts.chunks(COMMAND_LEASES_MAX) {
            self.proposals += 1;
            for left in leases.iter().filter(|left| left.left_ms.is_some()) {
                if let Some(timer) = self.timers.get_mut(&LeaseId(left.lease.id)) {
                    timer.marked_by = self.proposals;
                }
            }
            due.checkpoints.push(Checkpoints { term, proposal: self.proposals, leases: leases.to_vec() });
        }
    }

    fn take_over(&mut self, leases: &Leases) {
        let Some(after) = self.taking_over else { return };
        let next: Vec<_> = leases.iter_from(after).take(TAKE_OVER_MAX).collect();
        self.taking_over = (next.len() == TAKE_OVER_MAX).then(|| next.last().map(|(id, _)| *id));
        for (id, lease) in next {
            self.take_over_one(id, lease);
        }
    }

    fn take_over_one(&mut self, id: LeaseId, lease: Lease) {
        if !self.timers.contains_key(&id) {
            // The leader before this one may have acknowledged a renewal until this reign began, and some time after
            // it, in the eyes of a client whose answer was on its way.
            self.add(id, lease, self.began_ns, self.began_ns.saturating_add(self.extension_ns));
        }
    }

    fn find(&mut self, id: LeaseId, leases: &Leases) -> Option<&mut Timer> {
        if !self.timers.contains_key(&id) {
            let lease = leases.get(id)?;
            self.take_over_one(id, lease);
        }
        self.timers.get_mut(&id)
    }

    fn add(&mut self, id: LeaseId, lease: Lease, now_ns: u64, from_ns: u64) {
        let ttl_ns = lease.ttl_s.unsigned_abs().saturating_mul(SECOND_NS);
        let left_ns = lease.left_ms.map_or(ttl_ns, |left_ms| left_ms.saturating_mul(1_000_000));
        let timer = Timer {
            granted: lease.granted,
            ttl_s: lease.ttl_s,
            deadline_ns: from_ns.saturating_add(left_ns),
            checkpoint_ns: now_ns.saturating_add(checkpoint_interval_ns(ttl_ns)),
            is_marked: lease.left_ms.is_some(),
            marked_by: 0,
            expired_ns: None,
            renewing: Vec::new(),
        };
        self.wheel.insert((id, lease.granted), timer.next_ns());
        self.timers.insert(id, timer);
    }
}
