//! File work that takes long: each piece on a thread of its own that ends with it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use windlass_io_log::op::{Failure, FileSlot, Ticket};
use windlass_types::ByteOffset;

use super::open_direct;
use crate::files::{Extents, failure, prepare, remove};

/// What to do.
pub(super) enum Work {
    Prepare { ticket: Ticket, slot: FileSlot, size: ByteOffset },
    Remove { ticket: Ticket, slot: FileSlot },
}

/// What was done.
pub(super) struct Done {
    pub(super) ticket: Ticket,
    pub(super) slot: FileSlot,
    /// The prepared file, opened.
    pub(super) result: Result<Option<OwnedFd>, Failure>,
}

pub(super) struct Background {
    done: Arc<Mutex<Vec<Done>>>,
    eventfd: Arc<OwnedFd>,
}

impl Work {
    pub(super) fn ticket(&self) -> Ticket {
        match *self {
            Self::Prepare { ticket, .. } | Self::Remove { ticket, .. } => ticket,
        }
    }

    fn run(self, folder: &OwnedFd) -> Done {
        match self {
            Self::Prepare { ticket, slot, size } => {
                let file = prepare(folder, slot, size, Extents::Written);
                let file = file.and_then(|()| open_direct(folder, slot).map_err(|e| failure(&e.into())));
                Done { ticket, slot, result: file.map(Some) }
            }
            Self::Remove { ticket, slot } => {
                Done { ticket, slot, result: remove(folder, slot).map(|()| None) }
            }
        }
    }
}

impl Background {
    pub(super) fn new(eventfd: Arc<OwnedFd>) -> Self {
        Self { done: Arc::default(), eventfd }
    }

    pub(super) fn start(&self, folder: Arc<OwnedFd>, work: Work) -> io::Result<()> {
        let (done, eventfd) = (self.done.clone(), self.eventfd.clone());
        let run = move || {
            let ended = work.run(&folder);
            done.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
            signal(&eventfd);
        };
        std::thread::Builder::new().name("log-files".into()).spawn(run).map(drop)
    }

    pub(super) fn take(&self) -> Vec<Done> {
        std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) fn signal(eventfd: &OwnedFd) {
    // Fails only when the counter is about to overflow, and then it is readable anyway.
    let _ = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
}
