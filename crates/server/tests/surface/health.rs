//! `grpc.health.v1.Health`.

use std::time::Instant;

use windlass_api::health::health_check_response::ServingStatus;
use windlass_api::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use windlass_api::method::health;
use windlass_client::{Code, Connection, Error};

use crate::process::{Launch, REQUEST_TIMEOUT, Scratch};

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

fn check(connection: &mut Connection, service: &str) -> Result<ServingStatus, Error> {
    let call = connection.begin(health::CHECK, &request(service), REQUEST_TIMEOUT)?;
    let answer: HealthCheckResponse = connection.finish(call, Instant::now() + REQUEST_TIMEOUT)?;
    Ok(answer.status())
}

#[test]
fn health_is_told_and_watched() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut connection = member.connect();
    // A start that takes long lets clients in before the member serves.
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while check(&mut connection, "").expect("known") != ServingStatus::Serving {
        assert!(Instant::now() < deadline, "the member never serves");
    }
    let refused = check(&mut connection, "etcdserverpb.KV").expect_err("unknown");
    assert_eq!(refused.code(), Some(Code::NotFound));
    assert!(refused.to_string().ends_with("unknown service"), "{refused}");

    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let call = connection.begin(health::LIST, &HealthListRequest {}, REQUEST_TIMEOUT).expect("sent");
    let list: HealthListResponse = connection.finish(call, deadline).expect("listed");
    assert_eq!(list.statuses.len(), 1);
    assert_eq!(list.statuses[""].status(), ServingStatus::Serving);

    for (service, status) in [("", ServingStatus::Serving), ("x", ServingStatus::ServiceUnknown)] {
        let call = connection.begin(health::WATCH, &request(service), REQUEST_TIMEOUT).expect("sent");
        let first: Option<HealthCheckResponse> = connection.next(&call, deadline).expect("told");
        assert_eq!(first.expect("the stream goes on").status(), status);
        connection.end(call);
    }
}
