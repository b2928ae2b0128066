//! gRPC over HTTP/2, and HTTP/1.1 on the same port, for one thread.
//!
//! A unary request is a row: connection, stream, method and message bytes are given to the [`Service`] in one
//! [`Event`]; its answer is a message given to [`Net`] with the row's [`CallId`], now or in any later turn. Streams are
//! rows too. What was answered in one turn of the thread's loop goes out with one write per connection. There is no
//! future, channel or allocation per request.
//!
//! [`Net`] runs inside a `tokio` current-thread `LocalSet` (an actix Arbiter is one) and is not shared between threads.
//! This crate must never interpret a message: what a method means is the service's business. Nothing above it knows
//! which HTTP/2 is below.

mod call;
mod counters;
mod durations;
mod frame;
mod gzip;
mod http1;
mod limits;
mod listen;
mod meta;
mod net;
mod route;
mod service;
mod status;

pub use call::CallId;
pub use counters::{Counters, RouteCounters, SlowCall};
pub use durations::{BUCKETS, Durations};
pub use http1::{BodyError, HttpHandler, RequestBody, ResponseBody, Upgraded};
pub use limits::Limits;
pub use listen::{BindError, Listener, bind, bind_unix};
pub use meta::Meta;
pub use net::{Answer, LocalCall, Net, Protected};
pub use route::{Kind, Route};
pub use service::{Event, Service};
pub use windlass_http2::PingPolicy;
pub use windlass_types::Code;

pub use hyper::{Method, Request, Response, StatusCode, header};
