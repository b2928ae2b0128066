//! Small requests between members and their answers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use tokio::sync::oneshot;
pub use windlass_records::peer::Failure;
use windlass_types::MemberId;

use crate::api::NotSent;
use crate::peers::Shared;

/// Most requests to one peer, and from one peer, that have no answer yet. At the bound the next one fails with
/// [`NotSent::QueueFull`]; of a peer, with [`BUSY`].
pub(crate) const OPEN_MAX: usize = 1024;
/// [`Failure::code`] when the peer has too many requests open here.
pub const BUSY: u32 = u32::MAX;
/// [`Failure::code`] when a [`Reply`] was dropped.
pub const UNANSWERED: u32 = u32::MAX - 1;

/// A small request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What is asked: the caller's.
    pub kind: u16,
    /// The question.
    pub payload: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskError {
    /// The request did not leave.
    NotSent(NotSent),
    /// A connection ended meanwhile: the peer may or may not have dealt with it.
    Lost,
    /// No answer in time: the peer may or may not have dealt with it.
    TimedOut,
    /// The peer's answer.
    Failed(Failure),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => why.fmt(f),
            Self::Lost => f.write_str("connection to the peer was lost"),
            Self::TimedOut => f.write_str("peer did not answer in time"),
            Self::Failed(failure) => write!(f, "peer answered: {} (code {})", failure.text, failure.code),
        }
    }
}

impl std::error::Error for AskError {}

pub(crate) type Answered = Result<Bytes, AskError>;

/// The requests to one peer that have no answer yet.
#[derive(Debug, Default)]
pub(crate) struct OpenAsks {
    by_id: RefCell<BTreeMap<u64, oneshot::Sender<Answered>>>,
}

impl OpenAsks {
    pub fn is_full(&self) -> bool {
        self.by_id.borrow().len() >= OPEN_MAX
    }

    pub fn open(&self, id: u64) -> oneshot::Receiver<Answered> {
        let (sender, receiver) = oneshot::channel();
        self.by_id.borrow_mut().insert(id, sender);
        receiver
    }

    /// The asker does not wait any more.
    pub fn forget(&self, id: u64) {
        self.by_id.borrow_mut().remove(&id);
    }

    /// Late and invented answers are dropped.
    pub fn answer(&self, id: u64, answered: Answered) {
        let sender = self.by_id.borrow_mut().remove(&id);
        if let Some(sender) = sender {
            // An asker that is gone needs no answer.
            let _ = sender.send(answered);
        }
    }

    /// A connection ended: nothing that is open will be answered.
    pub fn lose_all(&self) {
        let lost = std::mem::take(&mut *self.by_id.borrow_mut());
        for sender in lost.into_values() {
            let _ = sender.send(Err(AskError::Lost));
        }
    }
}

/// Answers one request. Dropped, it tells the asker that there is no answer.
pub struct Reply {
    pub(crate) shared: Weak<Shared>,
    pub(crate) to: MemberId,
    pub(crate) id: u64,
    pub(crate) incarnation: u64,
    /// Requests of this peer that are open here.
    pub(crate) open: Rc<Cell<usize>>,
    pub(crate) done: bool,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("to", &self.to).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Reply {
    /// The answer. It is lost if there is no stream to the asker at present.
    pub fn answer(mut self, payload: Bytes) {
        self.send(Ok(payload));
    }

    /// There is no answer, and why.
    pub fn fail(mut self, code: u32, text: impl Into<String>) {
        self.send(Err(Failure { code, text: text.into() }));
    }

    fn send(&mut self, answer: Result<Bytes, Failure>) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        self.open.set(self.open.get() - 1);
        if let Some(shared) = self.shared.upgrade() {
            shared.send_answer(self.to, self.id, self.incarnation, answer);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.send(Err(Failure { code: UNANSWERED, text: "request was not answered".to_owned() }));
    }
}
