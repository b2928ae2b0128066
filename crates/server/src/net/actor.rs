//! The actix shell of an arbiter: it feeds it what other actors and threads say.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture};
use windlass_rpc::{Event, HttpHandler, Limits, Listener, Net, Service};
use windlass_types::RequestError;

use super::ToArbiter;
use super::arbiter::{Arbiter, Wiring};
use super::http::Http;
use crate::startup::{HttpRules, Reason, fatal};

/// How often overdue calls are looked for. A timeout is late by at most this.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// What several messages to an arbiter travel in.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Told(pub Vec<ToArbiter>);

/// Lets an arbiter accept connections; before, they wait in the kernel. What comes over them goes to the consensus
/// actor, which must know all arbiters by then.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub enum Listen {
    /// Those for metrics and health, which may say that the member is not ready.
    Metrics,
    /// Those of clients, who should not meet a member without a leader that is only just starting.
    Clients,
}

/// Asks an arbiter to finish: no new connections, calls in flight are answered, the rest is closed after this time.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Drain(pub Duration);

/// One net thread.
pub struct NetActor {
    net: Net,
    arbiter: Rc<RefCell<Arbiter>>,
    http: Http,
    /// Serves HTTP/1.1 alone, on addresses for that.
    http_net: Net,
    /// Serves HTTP/1.1 alone, on addresses for metrics.
    metrics_net: Net,
    listeners: Listeners,
}

/// The listening sockets of one arbiter.
#[derive(Default)]
pub struct Listeners {
    /// For clients: gRPC, and HTTP unless that has sockets of its own.
    pub clients: Vec<Listener>,
    /// For HTTP alone.
    pub http: Vec<Listener>,
    /// For metrics and health alone.
    pub metrics: Vec<Listener>,
}

/// The service of a network without methods.
struct NoMethods;

impl Service for NoMethods {
    fn event(&mut self, _: Event<'_>) {}
}

/// The service as the network sees it.
struct Shell(Rc<RefCell<Arbiter>>);

impl Service for Shell {
    fn event(&mut self, event: Event<'_>) {
        self.0.borrow_mut().event(event);
    }
}

impl NetActor {
    /// An arbiter that serves on `listeners` once it is told to [`Listen`]. To be called on the arbiter's own thread.
    #[must_use]
    pub fn new(wiring: Wiring, rules: HttpRules, listeners: Listeners) -> Self {
        let (published, metrics) = (Arc::clone(&wiring.published), Arc::clone(&wiring.metrics));
        let net = wiring.net.clone();
        let arbiter = Rc::new(RefCell::new(Arbiter::new(wiring)));
        let http = Http::new(net.clone(), Rc::clone(&arbiter), published, metrics, Some(Rc::new(rules)));
        let http_limits =
            Limits { http_body_bytes_max: net.limits().http_body_bytes_max, ..Limits::default() };
        let (http_net, metrics_net) = (Net::new(&[], http_limits), Net::new(&[], Limits::default()));
        Self { net, arbiter, http, http_net, metrics_net, listeners }
    }

    /// The network of an arbiter with these limits.
    #[must_use]
    pub fn network(limits: Limits) -> Net {
        Net::new(&super::routes::ROUTES, limits)
    }
}

impl Actor for NetActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // The consensus actor bounds what it sends by what it was asked, so its batches are never refused here.
        context.set_mailbox_capacity(1 << 16);
        self.arbiter.borrow_mut().own = Some(context.address());
        let http: Rc<dyn HttpHandler> = Rc::new(self.http.clone());
        // As in etcd: where HTTP has addresses of its own, those of clients serve gRPC alone.
        let beside_grpc = self.listeners.http.is_empty().then(|| Rc::clone(&http));
        self.net.start(Box::new(Shell(Rc::clone(&self.arbiter))), beside_grpc);
        self.http_net.start(Box::new(NoMethods), Some(http));
        self.metrics_net.start(Box::new(NoMethods), Some(Rc::new(self.http.for_metrics())));
        actix_rt::spawn(catch_up(Rc::downgrade(&self.arbiter)));
        self.arbiter.borrow().awake.spawn();
        context.run_interval(SWEEP_INTERVAL, |actor, _| actor.arbiter.borrow_mut().sweep(Instant::now()));
    }
}

/// Lets watchers that are behind go on, between the turns of others, for as long as the arbiter lives.
async fn catch_up(arbiter: Weak<RefCell<Arbiter>>) {
    let Some(waker) = arbiter.upgrade().map(|arbiter| arbiter.borrow().watch_waker()) else { return };
    loop {
        waker.notified().await;
        // What is ready besides goes first.
        tokio::task::yield_now().await;
        let Some(arbiter) = arbiter.upgrade() else { return };
        arbiter.borrow_mut().watch_work();
    }
}

impl Handler<Listen> for NetActor {
    type Result = ();

    fn handle(&mut self, whom: Listen, _: &mut Self::Context) {
        let listeners = &mut self.listeners;
        let begun = match whom {
            Listen::Metrics => vec![(&self.metrics_net, &mut listeners.metrics)],
            Listen::Clients => {
                vec![(&self.net, &mut listeners.clients), (&self.http_net, &mut listeners.http)]
            }
        };
        for (net, listeners) in begun {
            for listener in listeners.drain(..) {
                if let Err(error) = net.listen(listener) {
                    fatal(Reason::Address, error);
                }
            }
        }
    }
}

impl Handler<Told> for NetActor {
    type Result = ();

    fn handle(&mut self, Told(messages): Told, _: &mut Self::Context) {
        let mut arbiter = self.arbiter.borrow_mut();
        messages.into_iter().for_each(|message| arbiter.told(message));
        arbiter.turn_done();
    }
}

impl Handler<Drain> for NetActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Drain(grace): Drain, _: &mut Self::Context) -> Self::Result {
        self.arbiter.borrow_mut().watch_stop(RequestError::Stopped);
        let nets = [self.net.clone(), self.http_net.clone(), self.metrics_net.clone()];
        Box::pin(async move {
            for net in nets {
                net.shutdown(grace).await;
            }
        })
    }
}
