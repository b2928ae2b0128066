//! What an arbiter's network counted, added to the metrics of the process.

use windlass_rpc::{Code, Counters, Kind, Net, Route, RouteCounters};

use super::routes::ROUTES;
use crate::metrics::{GrpcLabels, Metrics};

/// How much of the network's counters is in the metrics already.
#[derive(Default)]
pub struct Tally {
    told: Counters,
}

impl Tally {
    /// Adds what was counted since the last time.
    pub fn add(&mut self, net: &Net, metrics: &Metrics) {
        let now = net.counters();
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
    // A method that nobody called yet is shown too, as 0: rates can be taken from its first call on.
    metrics.grpc_started.get_or_create(&labels).inc_by(now.started - told.started);
    metrics.grpc_received.get_or_create(&labels).inc_by(now.received - told.received);
    metrics.grpc_sent.get_or_create(&labels).inc_by(now.sent - told.sent);
    for (number, (now, told)) in (0..).zip(now.handled.iter().zip(&told.handled)) {
        if now > told {
            let labels = GrpcLabels { grpc_code: name(Code::from_number(number)), ..labels.clone() };
            metrics.grpc_handled.get_or_create(&labels).inc_by(now - told);
        }
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
    fn every_route_has_labels() {
        for route in &ROUTES {
            let labels = labels(route);
            assert_eq!(route.path, format!("/{}/{}", labels.grpc_service, labels.grpc_method));
        }
    }
}
