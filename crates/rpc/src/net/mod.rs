//! The network of one arbiter: its connections, and the handle by which a service answers.
//!
//! Two kinds of task do the work. Each connection has a [`driver`] task, which reads it and tells the service what came.
//! One [`turn`] task, woken by the first row or answer of a turn, runs after all connections that were ready: it ends
//! the turn with the service and writes each connection that has output once. No borrow of the table is held while the
//! service is called, so the service may answer from within an event.

mod accept;
mod connection;
mod deadline;
mod driver;
mod keepalive;
mod local;
mod socket;
mod table;
mod turn;
mod upkeep;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use windlass_types::Code;

use crate::counters::{Counters, SlowCall};
use crate::limits::Limits;
use crate::route::{Route, Routes};
use crate::{CallId, Event, HttpHandler, Listener, Service};
use table::Table;

pub use local::{Answer, LocalCall};
pub use socket::Protected;
pub(crate) use socket::Socket;

/// What a net is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving.
    Serving,
    /// Accepting nothing new, finishing what is in flight.
    Draining,
    /// Closing every connection now.
    Closing,
}

/// The network of one arbiter. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Net(Rc<Shared>);

struct Shared {
    routes: Routes,
    limits: Rc<Limits>,
    table: RefCell<Table>,
    service: RefCell<Option<Box<dyn Service>>>,
    http: RefCell<Option<Rc<dyn HttpHandler>>>,
    phase: watch::Sender<Phase>,
    /// A connection has ended: for a shutdown that waits for the last one.
    gone: Notify,
    /// A deadline is earlier than all that were known.
    sooner: Notify,
}

impl Net {
    /// A network that serves `routes`. It does nothing until [`Self::start`] and [`Self::listen`].
    #[must_use]
    pub fn new(routes: &'static [Route], limits: Limits) -> Self {
        Self(Rc::new(Shared {
            routes: Routes::new(routes),
            table: RefCell::new(Table::new(routes, &limits)),
            limits: Rc::new(limits),
            service: RefCell::new(None),
            http: RefCell::new(None),
            phase: watch::Sender::new(Phase::Serving),
            gone: Notify::new(),
            sooner: Notify::new(),
        }))
    }

    /// Gives the network its service, and a handler for HTTP/1.1 if that is to be spoken, and starts the tasks that
    /// serve connections.
    ///
    /// # Panics
    /// Outside a `LocalSet`, or if it was started before.
    pub fn start(&self, service: Box<dyn Service>, http: Option<Rc<dyn HttpHandler>>) {
        let before = self.0.service.replace(Some(service));
        assert!(before.is_none(), "a net is started once");
        self.0.http.replace(http);
        tokio::task::spawn_local(turn::run(self.clone()));
        tokio::task::spawn_local(upkeep::run(self.clone()));
        tokio::task::spawn_local(deadline::run(self.clone()));
    }

    /// The bounds that it was made with.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Accepts connections from `listener`, which must be non-blocking. May be called for several.
    ///
    /// # Errors
    /// If the listener cannot be watched by this thread's event loop.
    ///
    /// # Panics
    /// Outside a `LocalSet`.
    pub fn listen(&self, listener: impl Into<Listener>) -> io::Result<()> {
        let listener = accept::Acceptor::new(listener.into())?;
        tokio::task::spawn_local(accept::run(self.clone(), listener));
        Ok(())
    }

    /// Answers a unary call with `message`. Dropped if the call is gone.
    pub fn reply(&self, call: CallId, message: &[u8]) {
        self.reply_with(call, |out| out.extend_from_slice(message));
    }

    /// Answers a unary call with the message that `encode` appends to its argument. Dropped, without a call of
    /// `encode`, if the call is gone.
    pub fn reply_with(&self, call: CallId, encode: impl FnOnce(&mut Vec<u8>)) {
        self.0.table.borrow_mut().reply(call, encode);
    }

    /// Whether a call came over a connection that is protected, and from whom. `None` if it is not, or is gone.
    #[must_use]
    pub fn protected(&self, call: CallId) -> Option<Protected> {
        self.0.table.borrow_mut().protected(call)
    }

    /// Ends a call, unary or streaming, with a code and text. Dropped if the call is gone.
    pub fn fail(&self, call: CallId, code: Code, text: &str) {
        self.0.table.borrow_mut().end(call, code, text);
    }

    /// Sends a message on a streaming call. Returns how many bytes are queued there and not yet given to the
    /// connection; a service should pause a stream that passes its budget until [`Event::Writable`]. `None` if the call
    /// is gone.
    pub fn stream_send(&self, call: CallId, message: &[u8]) -> Option<usize> {
        self.stream_send_with(call, |out| out.extend_from_slice(message))
    }

    /// As [`Self::stream_send`], for a message that `encode` appends.
    pub fn stream_send_with(&self, call: CallId, encode: impl FnOnce(&mut Vec<u8>)) -> Option<usize> {
        self.0.table.borrow_mut().stream_send(call, encode)
    }

    /// Bytes queued on a streaming call; 0 if it is gone.
    #[must_use]
    pub fn queued_bytes(&self, call: CallId) -> usize {
        self.0.table.borrow_mut().queued_bytes(call)
    }

    /// Ends a streaming call after what is queued on it. Dropped if the call is gone.
    pub fn stream_end(&self, call: CallId, code: Code, text: &str) {
        self.0.table.borrow_mut().end(call, code, text);
    }

    /// Whether a call still waits for its answer or its end.
    #[must_use]
    pub fn is_live(&self, call: CallId) -> bool {
        self.0.table.borrow_mut().is_live(call)
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.table.borrow().counters.clone()
    }

    /// Unary calls that took longer than [`Limits::slow_after`] since the last time, as far as there is room for them.
    #[must_use]
    pub fn take_slow_calls(&self) -> Vec<SlowCall> {
        self.0.table.borrow_mut().counters.take_slow()
    }

    /// Stops accepting, tells clients to go, and returns when all connections have ended: those that finish their calls
    /// in time by themselves, the others after `grace`. The service is dropped then.
    pub async fn shutdown(&self, grace: Duration) {
        upkeep::shutdown(self, grace).await;
        self.0.service.replace(None);
        self.0.http.replace(None);
    }

    fn tell(&self, event: Event<'_>) {
        if let Some(service) = self.0.service.borrow_mut().as_mut() {
            service.event(event);
        }
    }

    /// Hands an event to the service as part of this turn.
    fn tell_row(&self, event: Event<'_>) {
        self.0.table.borrow_mut().note_row();
        self.tell(event);
    }
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("phase", &*self.0.phase.borrow()).finish_non_exhaustive()
    }
}
