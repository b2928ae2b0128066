//! Errors as JSON. Source: grpc-gateway 1.16, `runtime/errors.go` and `runtime/handler.go`.

use serde_json::json;
use windlass_types::Code;

/// The HTTP status that a gRPC code becomes.
#[must_use]
pub fn http_status(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::Canceled => 408,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::Unauthenticated => 401,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}

/// The body of an answer that is an error.
#[must_use]
pub fn error_body(code: Code, text: &str) -> String {
    let text = json!(text);
    // In etcd's order of fields.
    format!(r#"{{"error":{text},"code":{},"message":{text}}}"#, code as u8)
}

/// The last line of a stream that ends with an error after it began.
#[must_use]
pub fn stream_error(code: Code, text: &str) -> String {
    let (status, text) = (http_status(code), json!(text));
    let words = status_text(status);
    format!(
        "{{\"error\":{{\"grpc_code\":{},\"http_code\":{status},\"message\":{text},\"http_status\":\"{words}\"}}}}\n",
        code as u8
    )
}

/// HTTP's own words for the statuses of [`http_status`].
fn status_text(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        409 => "Conflict",
        429 => "Too Many Requests",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_etcds() {
        assert_eq!(
            error_body(Code::InvalidArgument, "etcdserver: key is not provided"),
            r#"{"error":"etcdserver: key is not provided","code":3,"message":"etcdserver: key is not provided"}"#
        );
        assert_eq!(
            stream_error(Code::Unavailable, "etcdserver: no leader"),
            "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\",\
             \"http_status\":\"Service Unavailable\"}}\n"
        );
    }
}
