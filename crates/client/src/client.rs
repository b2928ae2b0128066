//! The client: typed requests to whichever of several servers answers.
//!
//! What may be retried: a request that was not sent, always; one that was sent, only if it changes nothing.

use std::time::{Duration, Instant};

use prost::Message;
use windlass_api::etcdserverpb::{
    AuthenticateRequest, AuthenticateResponse, CompactionRequest, CompactionResponse, DeleteRangeRequest,
    DeleteRangeResponse, HashKvRequest, HashKvResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseLeasesResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
    MemberListRequest, MemberListResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    RangeStreamResponse, StatusRequest, StatusResponse, TxnRequest, TxnResponse,
};
use windlass_api::method;
use windlass_types::Code;

use crate::security::Dialer;
use crate::{Connection, Endpoint, Error, Security, User};

/// What a cluster without users answers to one who names himself.
const NO_USERS: &str = "etcdserver: authentication is not enabled";

/// How long to wait when no server answered before asking them again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How often one request may find its token refused, and get a new one: tokens change when users do, and a cluster whose
/// users change faster than this is told as it is.
const LOGINS_MAX: usize = 3;

/// What a [`Client`] needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers as [`Endpoint::parse`] reads them, in the order in which they are tried.
    pub endpoints: Vec<String>,
    /// Bound of one attempt to connect.
    pub dial_timeout: Duration,
    /// Bound of one request with all attempts to connect.
    pub command_timeout: Duration,
}

/// A client of one cluster.
pub struct Client {
    endpoints: Vec<Endpoint>,
    /// Index of the endpoint to connect to next.
    current: usize,
    connection: Option<Connection>,
    dialer: Dialer,
    user: Option<User>,
    /// Of the user; empty where the cluster wants none, none before it was asked for.
    token: Option<String>,
    dial_timeout: Duration,
    command_timeout: Duration,
}

/// Whether a request may be sent again when its answer is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Safe,
    Never,
}

impl Client {
    /// A client that connects when it is first used, without TLS but to `https://`, and as nobody.
    ///
    /// # Errors
    /// [`Error::NoEndpoints`], [`Error::BadEndpoint`], [`Error::Tls`].
    pub fn new(config: &Config) -> Result<Self, Error> {
        Self::secured(config, &Security::default())
    }

    /// A client that connects, and says who it is, when it is first used.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn secured(config: &Config, security: &Security) -> Result<Self, Error> {
        let endpoints: Vec<Endpoint> =
            config.endpoints.iter().map(|text| Endpoint::parse(text)).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(Error::NoEndpoints);
        }
        let dialer = Dialer::new(security, &endpoints)?;
        let Config { dial_timeout, command_timeout, .. } = *config;
        let user = security.user.clone();
        Ok(Self {
            endpoints,
            current: 0,
            connection: None,
            dialer,
            user,
            token: None,
            dial_timeout,
            command_timeout,
        })
    }

    /// Reads a range of keys.
    ///
    /// # Errors
    /// As all requests: the server's refusal, a lost connection or the deadline.
    pub fn range(&mut self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        self.call(method::kv::RANGE, request, Repeat::Safe)
    }

    /// Reads a range of keys in chunks, each handed to `on_chunk` as it arrives. Not repeated once it has begun.
    ///
    /// # Errors
    /// As [`Self::range`]; chunks that were handed over before it are then incomplete.
    pub fn range_stream(
        &mut self,
        request: &RangeRequest,
        mut on_chunk: impl FnMut(RangeResponse),
    ) -> Result<(), Error> {
        let deadline = Instant::now() + self.command_timeout;
        let (connection, call) = self.begin(method::kv::RANGE_STREAM, request, deadline)?;
        let end = loop {
            match connection.next::<RangeStreamResponse>(&call, deadline) {
                Ok(Some(chunk)) => on_chunk(chunk.range_response.unwrap_or_default()),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        connection.end(call);
        end.inspect_err(|error| self.forget_lost(error))
    }

    /// Writes a key.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn put(&mut self, request: &PutRequest) -> Result<PutResponse, Error> {
        self.call(method::kv::PUT, request, Repeat::Never)
    }

    /// Deletes a range of keys.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<DeleteRangeResponse, Error> {
        self.call(method::kv::DELETE_RANGE, request, Repeat::Never)
    }

    /// Runs a transaction.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        self.call(method::kv::TXN, request, Repeat::Never)
    }

    /// Forgets what is older than a revision.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn compact(&mut self, request: &CompactionRequest) -> Result<CompactionResponse, Error> {
        self.call(method::kv::COMPACT, request, Repeat::Never)
    }

    /// Grants a lease.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn lease_grant(&mut self, request: &LeaseGrantRequest) -> Result<LeaseGrantResponse, Error> {
        self.call(method::lease::LEASE_GRANT, request, Repeat::Never)
    }

    /// Ends a lease.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn lease_revoke(&mut self, request: &LeaseRevokeRequest) -> Result<LeaseRevokeResponse, Error> {
        self.call(method::lease::LEASE_REVOKE, request, Repeat::Never)
    }

    /// Renews a lease once. One that is not there has a time to live of zero in the answer.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn lease_keep_alive(
        &mut self,
        request: &LeaseKeepAliveRequest,
    ) -> Result<LeaseKeepAliveResponse, Error> {
        let deadline = Instant::now() + self.command_timeout;
        let (connection, call) = self.begin(method::lease::LEASE_KEEP_ALIVE, request, deadline)?;
        let answer = connection.next(&call, deadline);
        connection.end(call);
        let answer = answer.inspect_err(|error| self.forget_lost(error))?;
        answer.ok_or(Error::DeadlineExceeded { cause: None })
    }

    /// Asks what is left of a lease.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn lease_time_to_live(
        &mut self,
        request: &LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse, Error> {
        self.call(method::lease::LEASE_TIME_TO_LIVE, request, Repeat::Safe)
    }

    /// Lists the leases that one member knows.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn lease_leases(&mut self, request: &LeaseLeasesRequest) -> Result<LeaseLeasesResponse, Error> {
        self.call(method::lease::LEASE_LEASES, request, Repeat::Safe)
    }

    /// Lists the members of the cluster.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn member_list(&mut self, request: &MemberListRequest) -> Result<MemberListResponse, Error> {
        self.call(method::cluster::MEMBER_LIST, request, Repeat::Safe)
    }

    /// Asks one member how it is.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn status(&mut self, request: &StatusRequest) -> Result<StatusResponse, Error> {
        self.call(method::maintenance::STATUS, request, Repeat::Safe)
    }

    /// Asks one member for the hash of its history.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn hash_kv(&mut self, request: &HashKvRequest) -> Result<HashKvResponse, Error> {
        self.call(method::maintenance::HASH_KV, request, Repeat::Safe)
    }

    pub(crate) fn call<Q: Message, R: Message + Default>(
        &mut self,
        method: &str,
        request: &Q,
        repeat: Repeat,
    ) -> Result<R, Error> {
        let deadline = Instant::now() + self.command_timeout;
        let (mut cause, mut logins) = (None, 0);
        loop {
            let (connection, call) =
                self.begin(method, request, deadline).map_err(|error| add_cause(error, &cause))?;
            let answer = connection.finish(call, deadline);
            let Err(error) = answer else {
                return answer;
            };
            self.forget_lost(&error);
            if error.is_stale_token() && self.user.is_some() && logins < LOGINS_MAX {
                logins += 1;
                continue;
            }
            let is_transient =
                matches!(error, Error::Disconnected { .. }) || error.code() == Some(Code::Unavailable);
            if !is_transient || repeat == Repeat::Never {
                return Err(add_cause(error, &cause));
            }
            if Instant::now() + RETRY_PAUSE >= deadline {
                return Err(match error {
                    Error::Disconnected { .. } => Error::DeadlineExceeded { cause: Some(error.to_string()) },
                    error => error,
                });
            }
            cause = Some(error.to_string());
            self.next_endpoint();
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// Sends the request to the first server that takes it.
    pub(crate) fn begin<Q: Message>(
        &mut self,
        method: &str,
        request: &Q,
        deadline: Instant,
    ) -> Result<(&mut Connection, crate::Call), Error> {
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.connect(deadline)?,
            };
            self.log_in(&mut connection, deadline)?;
            match connection.begin(method, request, left(deadline)) {
                Ok(call) => return Ok((self.connection.insert(connection), call)),
                // The server is about to leave: a new connection will do.
                Err(Error::NotSent { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins a call on a connection of its own that has no deadline, at the first server that takes it, with `metadata` at
    /// its head.
    pub(crate) fn open_stream(
        &mut self,
        metadata: &[(&'static str, &'static str)],
        method: &str,
        request: &impl Message,
    ) -> Result<(Connection, crate::Call), Error> {
        let deadline = Instant::now() + self.command_timeout;
        loop {
            let mut connection = self.connect(deadline)?;
            self.log_in(&mut connection, deadline)?;
            match connection.begin_stream_with(metadata, method, request, deadline) {
                Ok(call) => return Ok((connection, call)),
                Err(Error::NotSent { .. }) => self.next_endpoint(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects to one of the servers, trying them in turn until the deadline.
    fn connect(&mut self, deadline: Instant) -> Result<Connection, Error> {
        let mut attempts = 0;
        loop {
            let endpoint = &self.endpoints[self.current];
            let left = left(deadline);
            let cause = match self.dialer.dial(endpoint, self.dial_timeout.min(left)) {
                Ok(connection) => return Ok(connection),
                Err(error) => format!("{}: {error}", endpoint.authority()),
            };
            attempts += 1;
            self.next_endpoint();
            let pause = if attempts % self.endpoints.len() == 0 { RETRY_PAUSE } else { Duration::ZERO };
            if Instant::now() + pause >= deadline {
                return Err(Error::DeadlineExceeded { cause: Some(cause) });
            }
            std::thread::sleep(pause);
        }
    }

    /// Makes sure that what is asked on `connection` is asked as the user.
    fn log_in(&mut self, connection: &mut Connection, deadline: Instant) -> Result<(), Error> {
        let Some(User { name, password }) = &self.user else { return Ok(()) };
        let token = match &self.token {
            Some(token) => token,
            None => {
                let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
                let answer = connection
                    .begin(method::auth::AUTHENTICATE, &request, left(deadline))
                    .and_then(|call| connection.finish::<AuthenticateResponse>(call, deadline));
                let token = match answer {
                    Ok(answer) => answer.token,
                    // Then nobody needs one.
                    Err(Error::Status { message, .. }) if message == NO_USERS => String::new(),
                    Err(error) => return Err(Error::Login(Box::new(error))),
                };
                self.token.insert(token)
            }
        };
        connection.set_token(token);
        Ok(())
    }

    /// Drops the connection where `error` says that it, or its server, is of no more use.
    pub(crate) fn forget_lost(&mut self, error: &Error) {
        if error.is_stale_token() {
            self.token = None;
        }
        let is_usable = matches!(error, Error::Status { code, .. } if *code != Code::Unavailable);
        if !is_usable {
            self.connection = None;
        }
    }

    fn next_endpoint(&mut self) {
        self.current = (self.current + 1) % self.endpoints.len();
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A deadline is better understood with what went wrong before it.
fn add_cause(error: Error, cause: &Option<String>) -> Error {
    match error {
        Error::DeadlineExceeded { cause: None } => Error::DeadlineExceeded { cause: cause.clone() },
        error => error,
    }
}
