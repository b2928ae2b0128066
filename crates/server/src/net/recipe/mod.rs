//! The Lock and Election services: the recipes that clients make of transactions, watches and leases, made here for
//! clients that cannot.
//!
//! A recipe is a task that calls this member's own methods, one after another, as its client could: with its token, under
//! the same checks and bounds. It waits for minutes where other calls take microseconds, so it is written in the order in
//! which it happens, and is no row of the arbiter. It must never reach the store by another way. Source: etcd
//! `client/v3/concurrency`, `etcdserver/api/v3lock`, `etcdserver/api/v3election`.

mod election;
mod lock;
mod observe;
mod session;
mod store;
mod wait;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use prost::Message;
use tokio::sync::{Notify, oneshot};
use windlass_api::v3electionpb::LeaderRequest;
use windlass_rpc::{CallId, Code, Meta, Net};
use windlass_types::RequestError;

use self::store::{Failure, Store};
use super::arbiter::Arbiter;
use super::routes::Method;

/// Recipes of one arbiter under way. At the bound new ones get etcd's `too many requests`.
const RECIPES_MAX: usize = 1 << 14;

/// The recipes of one arbiter.
#[derive(Default)]
pub struct Recipes {
    running: Running,
    /// Streams whose request has not come, with what is known of their callers.
    opened: HashMap<CallId, Meta>,
}

/// How those under way are told things.
type Running = Rc<RefCell<HashMap<CallId, Handle>>>;

struct Handle {
    /// Dropped when the client is gone.
    _here: oneshot::Sender<()>,
    /// Told when the client has taken what was queued.
    writable: Rc<Notify>,
}

/// Whether the client of a recipe still waits for it.
struct Client {
    gone: oneshot::Receiver<()>,
    writable: Rc<Notify>,
}

impl Client {
    /// Returns when it has gone.
    async fn gone(&mut self) {
        // Nothing is ever sent, so this is an error at once, or when the handle is dropped.
        let _ = (&mut self.gone).await;
    }

    fn is_gone(&mut self) -> bool {
        !matches!(self.gone.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    /// What `work` comes to, unless the client goes before. `work` is dropped then.
    async fn wait_for<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.gone() => Err(Failure::Gone),
        }
    }
}

impl Recipes {
    /// A stream began.
    pub fn opened(&mut self, call: CallId, meta: &Meta) {
        self.opened.insert(call, meta.clone());
    }

    /// Its client has taken what was queued.
    pub fn writable(&self, call: CallId) {
        if let Some(handle) = self.running.borrow().get(&call) {
            handle.writable.notify_one();
        }
    }

    /// Its client is gone.
    pub fn cancelled(&mut self, call: CallId) {
        self.opened.remove(&call);
        self.running.borrow_mut().remove(&call);
    }

    /// Starts a task for a call; `None` at the bound. `run` is told of the call's client, and its task ends with the
    /// call.
    fn start<F: Future<Output = ()> + 'static>(
        &self,
        call: CallId,
        run: impl FnOnce(Client) -> F,
    ) -> Option<()> {
        if self.running.borrow().len() >= RECIPES_MAX {
            return None;
        }
        let ((here, gone), writable) = (oneshot::channel(), Rc::<Notify>::default());
        let client = Client { gone, writable: Rc::clone(&writable) };
        self.running.borrow_mut().insert(call, Handle { _here: here, writable });
        let (work, running) = (run(client), Rc::clone(&self.running));
        actix_rt::spawn(async move {
            work.await;
            running.borrow_mut().remove(&call);
        });
        Some(())
    }
}

impl Arbiter {
    /// A unary call of the two services.
    pub(super) fn recipe(&mut self, call: CallId, method: Method, meta: &Meta, message: &[u8]) {
        match method {
            Method::Lock => self.begin_recipe(call, meta, message, lock::lock),
            Method::Unlock => self.begin_recipe(call, meta, message, lock::unlock),
            Method::Campaign => self.begin_recipe(call, meta, message, election::campaign),
            Method::Proclaim => self.begin_recipe(call, meta, message, election::proclaim),
            Method::Leader => self.begin_recipe(call, meta, message, election::leader),
            Method::Resign => self.begin_recipe(call, meta, message, election::resign),
            method => unreachable!("{method:?} is no recipe"),
        }
    }

    /// The request of an `Election.Observe` stream.
    pub(super) fn observe(&mut self, call: CallId, message: &[u8]) {
        // A second request on the stream says nothing that its method knows.
        let Some(meta) = self.recipes.opened.remove(&call) else { return };
        let request = match LeaderRequest::decode(message) {
            Ok(request) => request,
            Err(error) => {
                let text = format!("grpc: error unmarshalling request: {error}");
                return self.net.stream_end(call, Code::Internal, &text);
            }
        };
        let (net, store) = (self.net.clone(), Store::new(self.net.clone(), &meta));
        let begun = self.recipes.start(call, |client| observe::observe(net, call, store, request, client));
        if begun.is_none() {
            let error = RequestError::TooManyRequests;
            self.net.stream_end(call, error.code(), error.text());
        }
    }

    fn begin_recipe<Q: Message + Default + 'static, A: Message + 'static>(
        &self,
        call: CallId,
        meta: &Meta,
        message: &[u8],
        recipe: impl AsyncFnOnce(&Store, Q, &mut Client) -> Result<A, Failure> + 'static,
    ) {
        let request = match Q::decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        let (net, store) = (self.net.clone(), Store::new(self.net.clone(), meta));
        let begun = self.recipes.start(call, |mut client| async move {
            let done = recipe(&store, request, &mut client).await;
            answer(&net, call, done);
        });
        if begun.is_none() {
            self.refuse(call, RequestError::TooManyRequests);
        }
    }
}

fn answer<A: Message>(net: &Net, call: CallId, done: Result<A, Failure>) {
    match done {
        Ok(response) => {
            net.reply_with(call, |out| response.encode(out).expect("a vector takes any length"));
        }
        // As in etcd, whose recipes hand on the text of an error and lose its code.
        Err(Failure::Refused { text, .. }) => net.fail(call, Code::Unknown, &text),
        Err(Failure::Gone) => {}
    }
}
