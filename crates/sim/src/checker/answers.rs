//! What clients ask to be written, and what they are told of it.

use windlass_records::batch::CommandKind;
use windlass_replica::sequencer::Response;
use windlass_types::{LogIndex, RequestError, RequestId, Revision};

use super::Checker;
use super::site::Site;
use crate::check::{Check, Violation, ensure};

/// An answer to a write.
pub type Answer = Result<Response, RequestError>;

/// A request that a member makes for itself, under one id again and again.
pub const OWN_REQUEST: RequestId = RequestId(u64::MAX);

/// Names a request among all that are ever made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Where it was made.
    pub site: usize,
    /// In which life of that member's process.
    pub life: u32,
    /// Its id there.
    pub id: RequestId,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The write is in no log.
    Refused,
    /// It is this entry.
    Seen(LogIndex),
}

/// What the model says to a write of a life that goes on.
pub(super) struct Expected {
    pub(super) index: LogIndex,
    pub(super) kind: CommandKind,
    pub(super) answer: Answer,
}

impl Checker {
    /// A client that is this user asks for a write.
    pub fn begin_as(&mut self, site: usize, id: RequestId, user: &str) {
        self.askers.insert(self.asked(site, id), user.to_owned());
        self.begin(site, id);
    }

    /// A client asks for a write.
    pub fn begin(&mut self, site: usize, id: RequestId) {
        let twice = self.open.insert(self.asked(site, id), self.seen);
        assert!(twice.is_none(), "ids of requests differ");
    }

    /// A client waits no more; whether it did until now.
    pub fn give_up(&mut self, site: usize, id: RequestId) -> bool {
        let asked = self.asked(site, id);
        let began = self.open.remove(&asked);
        self.given_up.extend(began.map(|began| (asked, began)));
        began.is_some()
    }

    /// Names a request of the present life of a member.
    fn asked(&self, site: usize, id: RequestId) -> Asked {
        Asked { site, life: self.sites[site].life, id }
    }

    /// A client of this life is answered: what that says, and whether the client still waits for it.
    ///
    /// # Errors
    /// If the answer is wrong.
    pub fn answered(
        &mut self,
        site: usize,
        id: RequestId,
        answer: &Answer,
    ) -> Result<(Heard, bool), Violation> {
        let asked = self.asked(site, id);
        let waits = self.open.contains_key(&asked);
        let began = self.open.remove(&asked).or_else(|| self.given_up.remove(&asked));
        let Some(began) = began else {
            return Err(Violation::new(
                Check::Unasked,
                format!("request {id} is answered, but nobody waits: {answer:?}"),
            ));
        };
        if let Err(error) = answer
            && self.is_in_no_log(asked, *error)
        {
            return self.note_refusal(asked, *error).map(|()| (Heard::Refused, waits));
        }
        let Some(expected) = self.expected.remove(&asked) else {
            let text = format!("request {id} is answered before its entry is applied: {answer:?}");
            return Err(Violation::new(Check::Answer, text));
        };
        if let (CommandKind::Put, Ok(Response::Put(put))) = (expected.kind, answer) {
            let revision = Revision(put.header.as_ref().map_or(0, |header| header.revision));
            ensure(self.revisions.insert(revision), Check::RevisionReused, || {
                format!("request {id} is told revision {revision}, like another one before")
            })?;
        }
        let Expected { index, answer: want, .. } = expected;
        ensure(*answer == want, Check::Answer, || {
            format!("request {id} in entry {index}\n  is told {answer:?}\n  instead of {want:?}")
        })?;
        ensure(index > began, Check::Order, || {
            format!("request {id} is in entry {index}, though entry {began} was seen before it began")
        })?;
        ensure(index <= self.sites[site].applied, Check::Answer, || {
            format!("request {id} is answered before this member applies its entry {index}")
        })?;
        Ok((Heard::Seen(index), waits))
    }

    /// Whether an answer says that the request is in no log. The same error may be what the log says of it.
    fn is_in_no_log(&self, asked: Asked, error: RequestError) -> bool {
        match self.expected.get(&asked) {
            Some(expected) => is_refusal(error) && expected.answer != Err(error),
            None => is_refusal(error) || is_refused_change(error),
        }
    }

    fn note_refusal(&mut self, asked: Asked, error: RequestError) -> Result<(), Violation> {
        if error == RequestError::LeaderChanged {
            let done = self.done.get(&asked);
            ensure(done.is_none(), Check::RefusedHadEffect, || {
                format!("{asked:?} is refused ({error}), but is in entry {done:?}")
            })?;
            self.void.insert(asked);
            return Ok(());
        }
        let in_log =
            |site: &Site| site.log.from(site.applied.next()).any(|e| e.requests().any(|r| r == asked));
        let in_log = self.done.contains_key(&asked) || self.sites.iter().any(in_log);
        ensure(!in_log, Check::RefusedHadEffect, || {
            format!("{asked:?} is refused ({error}), but is in the log")
        })?;
        if asked.id != OWN_REQUEST {
            self.refused.insert(asked);
        }
        Ok(())
    }
}

/// Whether a leader may say this of a change of the members before it is in any log, as it may be said of one in the log.
fn is_refused_change(error: RequestError) -> bool {
    matches!(
        error,
        RequestError::MemberNotEnoughStarted
            | RequestError::MemberExist
            | RequestError::PeerUrlExist
            | RequestError::TooManyLearners
            | RequestError::MemberNotLearner
            | RequestError::MemberNotFound
            | RequestError::LearnerNotReady
    )
}

/// Whether the error says that the write is in no log.
#[must_use]
pub fn is_refusal(error: RequestError) -> bool {
    matches!(
        error,
        RequestError::NoSpace
            | RequestError::NoLeader
            | RequestError::LeaderChanged
            | RequestError::TooManyRequests
            | RequestError::Unhealthy
            | RequestError::TimeoutLeaderFail
            | RequestError::TimeoutConnectionLost
    )
}
