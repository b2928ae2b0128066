//! Which of the snapshots that are offered to this member arrives: the newest, one at a time.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use actix_rt::task::JoinHandle;
use tokio::sync::Notify;
use windlass_peer::BulkOffer;
use windlass_records::state::State;
use windlass_types::MemberId;

use super::receive;

/// Takes snapshots into a folder.
///
/// Who offers one knows of no other that is on its way here: the leader that sent the one before has given that up, as it does
/// when this process or its own began anew, or it leads no more. So the one before is given up here, too. Were the new one
/// refused instead, this member would wait until the transport has given up a sender that never comes back.
pub struct Receiving {
    folder: PathBuf,
    newest: RefCell<Option<Transfer>>,
}

/// A snapshot that arrives.
struct Transfer {
    superseded: Rc<Notify>,
    task: JoinHandle<()>,
}

impl Receiving {
    /// Nothing arrives yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, newest: RefCell::new(None) }
    }

    /// Whether one is arriving.
    pub fn is_busy(&self) -> bool {
        self.newest.borrow().as_ref().is_some_and(|transfer| !transfer.task.is_finished())
    }

    /// A member offers a snapshot. It is taken unless `check` says why it is of no use here, and `arrived` is called when it is
    /// whole and durable.
    pub fn offered(
        &self,
        from: MemberId,
        offer: BulkOffer,
        check: impl FnOnce(&State) -> Result<(), &'static str>,
        arrived: impl FnOnce() + 'static,
    ) {
        let state = match State::parse(offer.meta()) {
            Ok(state) => state,
            Err(error) => return offer.refuse(&format!("its place cannot be read: {error}")),
        };
        if let Err(why) = check(&state) {
            return offer.refuse(why);
        }
        tracing::info!(%from, index = %state.index, revision = %state.revision, "receiving a snapshot");
        let (before, folder) = (self.newest.take(), self.folder.clone());
        let superseded = Rc::new(Notify::new());
        let by_newer = Rc::clone(&superseded);
        let task = actix_rt::spawn(async move {
            if let Some(before) = before {
                // Both would write to one file.
                before.superseded.notify_one();
                let _ = before.task.await;
            }
            match receive(offer, folder, &by_newer).await {
                Ok(bytes) => {
                    tracing::info!(%from, bytes, "a snapshot has arrived");
                    arrived();
                }
                Err(error) => tracing::warn!(%from, %error, "a snapshot did not arrive"),
            }
        });
        self.newest.replace(Some(Transfer { superseded, task }));
    }
}
