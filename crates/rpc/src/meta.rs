//! What the headers of a call say.

use std::time::Duration;

use windlass_http2::Headers;
use windlass_types::Code;

use crate::route::Routes;
use crate::status::Status;

/// What the headers of a call said, besides its method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// etcd's auth token (`token`).
    pub token: Option<Box<str>>,
    /// The token as the gateway's clients send it (`authorization`), with its scheme if it has one.
    pub authorization: Option<Box<str>>,
    /// The caller wants an error rather than wait while there is no leader (`hasleader: true`).
    pub require_leader: bool,
    /// The API version that the client speaks (`client-api-version`).
    pub client_api_version: Option<Box<str>>,
    /// How long the client will wait for the answer, from the request's arrival (`grpc-timeout`).
    pub timeout: Option<Duration>,
}

/// Why a call is refused before its message is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub http: &'static str,
    pub status: Status,
}

/// What a block of headers comes down to. Equal blocks come down to the same, so it is kept from one request of a
/// connection to the next.
pub(crate) struct Parsed {
    key: Vec<u8>,
    pub meta: Meta,
    /// Compressed messages are gzip's.
    pub gzip: bool,
    pub route: Result<usize, Refusal>,
}

impl Parsed {
    /// Reads the headers of a call, refusing what grpc-go refuses (`internal/transport/http2_server.go`).
    pub fn new(headers: Headers<'_>, routes: &Routes) -> Self {
        let mut draft = Draft::default();
        headers.iter().for_each(|(name, value)| draft.field(name, value));
        let route = draft.route(routes);
        let gzip = draft.encoding == b"gzip";
        Self { key: headers.as_key().to_vec(), meta: draft.meta, gzip, route }
    }

    /// Whether `headers` are those that this was made of.
    pub fn is_of(&self, headers: Headers<'_>) -> bool {
        self.key == headers.as_key()
    }
}

#[derive(Default)]
struct Draft<'a> {
    meta: Meta,
    method: &'a [u8],
    path: &'a [u8],
    content_type: &'a [u8],
    encoding: &'a [u8],
    bad_timeout: Option<&'a [u8]>,
}

impl<'a> Draft<'a> {
    fn field(&mut self, name: &[u8], value: &'a [u8]) {
        let text = || std::str::from_utf8(value).ok().map(Box::from);
        match name {
            b":method" => self.method = value,
            b":path" => self.path = value,
            b"content-type" => self.content_type = value,
            b"grpc-encoding" => self.encoding = value,
            b"grpc-timeout" => match parse_timeout(value) {
                Some(timeout) => self.meta.timeout = Some(timeout),
                None => self.bad_timeout = Some(value),
            },
            b"token" => self.meta.token = text(),
            b"authorization" => self.meta.authorization = text(),
            b"hasleader" => self.meta.require_leader = value == b"true",
            b"client-api-version" => self.meta.client_api_version = text(),
            _ => {}
        }
    }

    fn route(&self, routes: &Routes) -> Result<usize, Refusal> {
        let quoted = |value: &[u8]| format!("{:?}", String::from_utf8_lossy(value));
        let refuse = |http, code, text: String| Err(Refusal { http, status: Status::new(code, text) });
        if self.method != b"POST" {
            let text =
                format!("Received a HEADERS frame with :method {} which should be POST", quoted(self.method));
            return refuse("405", Code::Internal, text);
        }
        if !is_grpc(self.content_type) {
            let text = format!("invalid gRPC request content-type {}", quoted(self.content_type));
            return refuse("415", Code::InvalidArgument, text);
        }
        if let Some(value) = self.bad_timeout {
            return refuse("400", Code::Internal, format!("malformed grpc-timeout: {}", quoted(value)));
        }
        let route = match routes.find(self.path) {
            Ok(route) => route,
            Err(text) => return refuse("200", Code::Unimplemented, text),
        };
        if !matches!(self.encoding, b"" | b"identity" | b"gzip") {
            let text =
                format!("grpc: Decompressor is not installed for grpc-encoding {}", quoted(self.encoding));
            return refuse("200", Code::Unimplemented, text);
        }
        Ok(route)
    }
}

/// `application/grpc`, alone or followed by a sub-type or parameters.
fn is_grpc(content_type: &[u8]) -> bool {
    match content_type.split_first_chunk::<16>() {
        Some((b"application/grpc", rest)) => matches!(rest.first(), None | Some(b'+' | b';')),
        _ => false,
    }
}

impl Meta {
    /// The value of a `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Timeout").
    #[must_use]
    pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
        parse_timeout(value)
    }
}

fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Route};

    const PUT: &[u8] = b"/etcdserverpb.KV/Put";

    fn parse(fields: &[(&str, &'static str)]) -> (Meta, Result<usize, Refusal>) {
        let routes = Routes::new(&[Route { path: "/etcdserverpb.KV/Put", kind: Kind::Unary }]);
        let mut draft =
            Draft { method: b"POST", path: PUT, content_type: b"application/grpc", ..Draft::default() };
        for (name, value) in fields {
            draft.field(name.as_bytes(), value.as_bytes());
        }
        let route = draft.route(&routes);
        (draft.meta, route)
    }

    fn refusal(fields: &[(&str, &'static str)]) -> (&'static str, Code, String) {
        let refusal = parse(fields).1.expect_err("refused");
        (refusal.http, refusal.status.code, refusal.status.text.into_owned())
    }

    #[test]
    fn metadata_is_kept() {
        let (meta, route) = parse(&[
            ("token", "abc.1"),
            ("authorization", "Bearer x"),
            ("hasleader", "true"),
            ("client-api-version", "3.6"),
            ("grpc-timeout", "250m"),
            ("grpc-encoding", "identity"),
            ("user-agent", "x"),
        ]);
        assert_eq!(route, Ok(0));
        assert_eq!(meta.token.as_deref(), Some("abc.1"));
        assert_eq!(meta.authorization.as_deref(), Some("Bearer x"));
        assert!(meta.require_leader);
        assert_eq!(meta.client_api_version.as_deref(), Some("3.6"));
        assert_eq!(meta.timeout, Some(Duration::from_millis(250)));
    }

    #[test]
    fn wrong_calls_are_refused_in_grpc_gos_words() {
        let text = "invalid gRPC request content-type \"text/plain\"";
        assert_eq!(refusal(&[("content-type", "text/plain")]), ("415", Code::InvalidArgument, text.into()));
        let text = "grpc: Decompressor is not installed for grpc-encoding \"snappy\"";
        assert_eq!(refusal(&[("grpc-encoding", "snappy")]), ("200", Code::Unimplemented, text.into()));
        assert_eq!(
            refusal(&[(":path", "/a.B/C")]),
            ("200", Code::Unimplemented, "unknown service a.B".into())
        );
        assert_eq!(refusal(&[("grpc-timeout", "1x")]).0, "400");
        assert_eq!(refusal(&[(":method", "GET")]).0, "405");
    }

    #[test]
    fn content_types_are_told_apart() {
        for yes in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
            assert!(is_grpc(yes.as_bytes()), "{yes}");
        }
        for no in ["", "application/grp", "application/grpc-web", "application/json"] {
            assert!(!is_grpc(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn timeouts_have_at_most_eight_digits_and_a_unit() {
        assert_eq!(parse_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parse_timeout(b"1n"), Some(Duration::from_nanos(1)));
        for bad in ["", "S", "1", "-1S", "999999999S", "1 S", "1s"] {
            assert_eq!(parse_timeout(bad.as_bytes()), None, "{bad}");
        }
    }
}
