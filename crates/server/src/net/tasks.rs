//! Calls that are served by a task each: those that wait for minutes, or send files, and whose number is small. All others
//! are rows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};
use windlass_rpc::CallId;

/// Tasks of one arbiter. At the bound new calls get etcd's `too many requests`.
const TASKS_MAX: usize = 1 << 14;

/// The tasks of one arbiter.
#[derive(Default)]
pub struct Tasks(Rc<RefCell<HashMap<CallId, Handle>>>);

/// How a task is told things.
struct Handle {
    /// Dropped when the client is gone.
    _here: oneshot::Sender<()>,
    /// Told when the client has taken what was queued.
    writable: Rc<Notify>,
}

/// The client of a call, as its task sees it.
pub struct Client {
    gone: oneshot::Receiver<()>,
    /// Wakes when it has taken what was queued, after that was more than the network holds.
    pub writable: Rc<Notify>,
}

impl Client {
    /// Whether it waits no longer.
    pub fn is_gone(&mut self) -> bool {
        !matches!(self.gone.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    /// What `work` comes to; none if the client goes before, and `work` is dropped.
    pub async fn unless_gone<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            // Nothing is ever sent, so this ends when the handle is dropped.
            _ = &mut self.gone => None,
        }
    }
}

impl Tasks {
    /// Starts a task for a call; `None` at the bound.
    pub fn start<F: Future<Output = ()> + 'static>(
        &self,
        call: CallId,
        run: impl FnOnce(Client) -> F,
    ) -> Option<()> {
        if self.0.borrow().len() >= TASKS_MAX {
            return None;
        }
        let ((here, gone), writable) = (oneshot::channel(), Rc::<Notify>::default());
        let client = Client { gone, writable: Rc::clone(&writable) };
        self.0.borrow_mut().insert(call, Handle { _here: here, writable });
        let (work, tasks) = (run(client), Rc::clone(&self.0));
        actix_rt::spawn(async move {
            work.await;
            tasks.borrow_mut().remove(&call);
        });
        Some(())
    }

    /// A client has taken what was queued.
    pub fn writable(&self, call: CallId) {
        if let Some(handle) = self.0.borrow().get(&call) {
            handle.writable.notify_one();
        }
    }

    /// A client is gone.
    pub fn cancelled(&self, call: CallId) {
        self.0.borrow_mut().remove(&call);
    }
}
