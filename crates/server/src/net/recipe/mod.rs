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

use std::collections::HashMap;

use prost::Message;
use windlass_api::v3electionpb::LeaderRequest;
use windlass_rpc::{CallId, Code, Meta, Net};
use windlass_types::RequestError;

use self::store::{Failure, Store};
use super::arbiter::Arbiter;
use super::routes::Method;
use super::tasks::Client;

/// What recipes need beside their tasks.
#[derive(Default)]
pub struct Recipes {
    /// Streams whose request has not come, with what is known of their callers.
    opened: HashMap<CallId, Meta>,
}

impl Recipes {
    /// A stream began.
    pub fn opened(&mut self, call: CallId, meta: &Meta) {
        self.opened.insert(call, meta.clone());
    }

    /// Its client is gone.
    pub fn cancelled(&mut self, call: CallId) {
        self.opened.remove(&call);
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
        let begun = self.tasks.start(call, |client| observe::observe(net, call, store, request, client));
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
        let begun = self.tasks.start(call, |mut client| async move {
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
