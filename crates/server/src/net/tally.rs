//! What an arbiter's network counted, added to the metrics of the process.

use windlass_rpc::{Code, Counters, Kind, Meta, Net, Route, RouteCounters, SlowCall};

use super::routes::ROUTES;
use crate::metrics::{ClientLabels, GrpcLabels, Metrics};

/// How much of the network's counters is in the metrics already.
#[derive(Default)]
pub struct Tally {
    told: Counters,
    /// Reads in progress.
    reads: usize,
    clients: Vec<Clients>,
}

/// API versions that are told apart. Those of further ones are counted as unknown: what a client says must not make this
/// process hold more and more.
const CLIENT_VERSIONS_MAX: usize = 32;

/// What clients say that they speak where they say nothing.
const UNKNOWN_VERSION: &str = "unknown";

/// Requests of the clients that speak one version, since the last time.
struct Clients {
    version: Box<str>,
    unary: u64,
    streams: u64,
}

impl Tally {
    /// Counts a request by what its client speaks.
    pub fn count_request(&mut self, meta: &Meta, is_stream: bool) {
        let version = meta.client_api_version.as_deref().unwrap_or(UNKNOWN_VERSION);
        let clients = self.clients_of(version);
        *(if is_stream { &mut clients.streams } else { &mut clients.unary }) += 1;
    }

    fn clients_of(&mut self, version: &str) -> &mut Clients {
        let find = |clients: &[Clients], version: &str| clients.iter().position(|c| *c.version == *version);
        let is_full = self.clients.len() >= CLIENT_VERSIONS_MAX;
        let version =
            if is_full && find(&self.clients, version).is_none() { UNKNOWN_VERSION } else { version };
        let at = find(&self.clients, version).unwrap_or_else(|| {
            self.clients.push(Clients { version: version.into(), unary: 0, streams: 0 });
            self.clients.len() - 1
        });
        &mut self.clients[at]
    }

    /// Adds what was counted since the last time.
    pub fn add(&mut self, net: &Net, reads: usize, metrics: &Metrics) {
        let now = net.counters();
        metrics.open_reads.inc_by(reads as i64 - std::mem::replace(&mut self.reads, reads) as i64);
        for clients in &mut self.clients {
            for (r#type, count) in [("unary", &mut clients.unary), ("stream", &mut clients.streams)] {
                let client_api_version = clients.version.clone().into_string();
                let labels = ClientLabels { r#type, client_api_version };
                let count = std::mem::take(count);
                if count > 0 {
                    metrics.client_requests.get_or_create(&labels).inc_by(count);
                }
            }
        }
        for SlowCall { route, took, code } in net.take_slow_calls() {
            let method = ROUTES[route].path;
            tracing::warn!("time spent" = ?took, "response type" = method, code = name(code), "request stats");
        }
        metrics.client_received_bytes.inc_by(now.received_bytes - self.told.received_bytes);
        metrics.client_sent_bytes.inc_by(now.sent_bytes - self.told.sent_bytes);
        self.told.routes.resize(now.routes.len(), RouteCounters::default());
        for (route, (now, told)) in ROUTES.iter().zip(now.routes.iter().zip(&self.told.routes)) {
            add_route(route, now, told, metrics);
        }
        self.told = now;
    }
}

fn add_route(route: &Route, now: &RouteCounters, told: &RouteCounters, metrics: &Metrics) {
    let labels = labels(route);
    // A method that nobody called yet, and a code that none ended with, are shown too, as 0: rates can be taken from
    // the first one on, and the rules that divide failed calls by all find both.
    metrics.grpc_started.get_or_create(&labels).inc_by(now.started - told.started);
    metrics.grpc_received.get_or_create(&labels).inc_by(now.received - told.received);
    metrics.grpc_sent.get_or_create(&labels).inc_by(now.sent - told.sent);
    metrics.grpc_handling.get_or_create(&labels).add(&now.handling.since(&told.handling));
    metrics.requests.add(route.path, now, told);
    for (number, (now, told)) in (0..).zip(now.handled.iter().zip(&told.handled)) {
        let labels = GrpcLabels { grpc_code: name(Code::from_number(number)), ..labels.clone() };
        metrics.grpc_handled.get_or_create(&labels).inc_by(now - told);
    }
}

fn labels(route: &Route) -> GrpcLabels {
    let path = route.path.strip_prefix('/').unwrap_or(route.path);
    let (grpc_service, grpc_method) = path.split_once('/').expect("a path is /service/method");
    let grpc_type = match route.kind {
        Kind::Unary => "unary",
        Kind::ServerStream => "server_stream",
        Kind::BidiStream => "bidi_stream",
    };
    GrpcLabels { grpc_type, grpc_service, grpc_method, grpc_code: "" }
}

/// The code as grpc-go names it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Canceled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_make_it_hold_ever_more_versions() {
        let mut tally = Tally::default();
        tally.count_request(&Meta::default(), false);
        for i in 0..100 {
            let version = Some(format!("3.{i}").into());
            tally.count_request(&Meta { client_api_version: version, ..Meta::default() }, true);
        }
        assert_eq!(tally.clients.len(), CLIENT_VERSIONS_MAX);
        let unknown = tally.clients_of(UNKNOWN_VERSION);
        assert_eq!((unknown.unary, unknown.streams), (1, 100 - (CLIENT_VERSIONS_MAX as u64 - 1)));
    }

    #[test]
    fn every_route_has_labels() {
        for route in &ROUTES {
            let labels = labels(route);
            assert_eq!(route.path, format!("/{}/{}", labels.grpc_service, labels.grpc_method));
        }
    }
}
