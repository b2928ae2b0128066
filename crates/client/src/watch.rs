//! One watch that outlives its connections: when one is lost it goes on after the last revision that it has seen.

use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::watch_request::RequestUnion;
use windlass_api::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use windlass_api::method;
use windlass_types::Code;

use crate::{Call, Client, Config, Connection, Error};

/// How long one look for a response takes, at most; then follows another.
const LOOK: Duration = Duration::from_secs(60);

/// How long to wait before a lost watch is begun again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A watch.
pub struct Watch {
    client: Client,
    /// What is asked for when a connection is lost: it starts behind what was seen.
    request: WatchCreateRequest,
    /// Whether a member without a leader is to end the watch.
    requires_leader: bool,
    stream: Option<(Connection, Call)>,
}

impl Watch {
    /// Asks for a watch.
    ///
    /// # Errors
    /// As all requests: no server answers in time, or the endpoints cannot be read.
    pub fn new(config: &Config, request: WatchCreateRequest) -> Result<Self, Error> {
        Self::over(Client::new(config)?, request)
    }

    /// Asks for a watch as `client` asks, on connections of its own.
    ///
    /// # Errors
    /// As all requests.
    pub fn over(client: Client, request: WatchCreateRequest) -> Result<Self, Error> {
        let mut watch = Self { client, request, requires_leader: false, stream: None };
        watch.begin()?;
        Ok(watch)
    }

    /// As [`Self::over`], but the watch ends with `etcdserver: no leader` where its member has none for some election
    /// timeouts, rather than wait for events that cannot come. Source: etcd `clientv3.WithRequireLeader`.
    ///
    /// # Errors
    /// As all requests.
    pub fn while_led(client: Client, request: WatchCreateRequest) -> Result<Self, Error> {
        let mut watch = Self { client, request, requires_leader: true, stream: None };
        watch.begin()?;
        Ok(watch)
    }

    /// The next response of any kind; waits for it as long as it takes.
    ///
    /// # Errors
    /// The server's refusal. A lost connection is none.
    pub fn next_response(&mut self) -> Result<WatchResponse, Error> {
        loop {
            if let Some(response) = self.next_response_within(LOOK)? {
                return Ok(response);
            }
        }
    }

    /// The next response of any kind, if there is one within `wait`.
    ///
    /// # Errors
    /// As [`Self::next_response`].
    pub fn next_response_within(&mut self, wait: Duration) -> Result<Option<WatchResponse>, Error> {
        if self.stream.is_none() {
            self.begin()?;
        }
        let (connection, call) = self.stream.as_mut().expect("just begun");
        match connection.next::<WatchResponse>(call, Instant::now() + wait) {
            Ok(Some(response)) => {
                self.note(&response);
                return Ok(Some(response));
            }
            Err(Error::DeadlineExceeded { .. }) => {}
            Err(error) if self.is_final(&error) => return Err(error),
            // The server ended it, or is gone.
            Ok(None) | Err(_) => {
                self.stream = None;
                std::thread::sleep(RETRY_PAUSE);
            }
        }
        Ok(None)
    }

    /// Asks up to which revision everything was sent; the answer is a response without events, or nothing where the
    /// server still has to send.
    ///
    /// # Errors
    /// As all requests.
    pub fn request_progress(&mut self) -> Result<(), Error> {
        if self.stream.is_none() {
            self.begin()?;
        }
        let (connection, call) = self.stream.as_mut().expect("just begun");
        let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
        let request = WatchRequest { request_union: Some(request) };
        // On a lost connection nobody answers; who reads next begins anew.
        if connection.push(call, &request, Instant::now() + LOOK).is_err() {
            self.stream = None;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Error> {
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(self.request.clone())) };
        let metadata: &[_] = if self.requires_leader { &[("hasleader", "true")] } else { &[] };
        self.stream = Some(self.client.open_stream(metadata, method::watch::WATCH, &request)?);
        Ok(())
    }

    /// Whether a refusal would come again.
    fn is_final(&self, error: &Error) -> bool {
        match error {
            error if error.is_no_leader() => self.requires_leader,
            Error::Status { code, .. } => !matches!(code, Code::Unavailable | Code::Internal),
            _ => false,
        }
    }

    /// Where to go on: behind the last event, or where a response says that everything was sent.
    fn note(&mut self, response: &WatchResponse) {
        let told = response.header.as_ref().map_or(0, |header| header.revision);
        let last = response.events.iter().rev().find_map(|event| Some(event.kv.as_ref()?.mod_revision));
        let seen = match last {
            Some(revision) => Some(revision).filter(|_| !response.fragment),
            // A watch from now on begins behind the revision at which it was made.
            None if response.created => Some(told).filter(|_| self.request.start_revision == 0),
            None if response.canceled => None,
            None => Some(told),
        };
        let next = seen.map_or(0, |revision| revision + 1);
        self.request.start_revision = self.request.start_revision.max(next);
    }
}
