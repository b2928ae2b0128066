//! Who may ask over HTTP: the names by which this member is called, and the pages whose scripts may call it. Source: etcd
//! `server/embed/serve.go`. Pure.

use windlass_rpc::{StatusCode, header};

use crate::startup::HttpRules;

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Refuse it with this status and text.
    Refuse(StatusCode, String),
    /// Answer it at once, with nothing: a browser asks what it may ask.
    Preflight,
    /// Answer it.
    Admit,
}

/// Judges a request by its method and headers. `authority` is the host of an absolute request target, if it has one.
#[must_use]
pub fn judge(
    rules: &HttpRules,
    method: &str,
    authority: Option<&str>,
    headers: &header::HeaderMap,
    is_protected: bool,
) -> Verdict {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = hostname(authority.or(host).unwrap_or_default());
    // Of a protected connection the client has checked whom it reached.
    if !is_protected && !allows(&rules.host_whitelist, host) {
        return Verdict::Refuse(StatusCode::MISDIRECTED_REQUEST, unknown_host(host));
    }
    if method == "OPTIONS" { Verdict::Preflight } else { Verdict::Admit }
}

/// The origin that an answer names as allowed to read it; `None` if the request's is not.
#[must_use]
pub fn allowed_origin(rules: &HttpRules, headers: &header::HeaderMap) -> Option<header::HeaderValue> {
    if allows(&rules.cors, "*") {
        return Some(header::HeaderValue::from_static("*"));
    }
    let origin = headers.get(header::ORIGIN)?;
    origin.to_str().is_ok_and(|origin| allows(&rules.cors, origin)).then(|| origin.clone())
}

/// Says in an answer which origin may read it.
pub fn add_cors(headers: &mut header::HeaderMap, origin: header::HeaderValue) {
    let text = header::HeaderValue::from_static;
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, text("POST, GET, OPTIONS, PUT, DELETE"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, text("accept, content-type, authorization"));
}

fn allows(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|allowed| allowed == "*" || allowed == name)
}

/// The host of `host:port`, without the brackets of an IPv6 address; the text itself where it has no port.
fn hostname(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _)) if name.starts_with('[') && name.ends_with(']') => &name[1..name.len() - 1],
        Some((name, _)) if !name.contains([':', '[', ']']) => name,
        _ => host,
    }
}

fn unknown_host(host: &str) -> String {
    format!(
        "\netcd received your request, but the Host header was unrecognized.\n\nTo fix this, choose one of the \
         following options:\n- Enable TLS, then any HTTPS request will be allowed.\n- Add the hostname you want to use \
         to the whitelist in settings.\n  - e.g. etcd --host-whitelist {host:?}\n\nThis requirement has been added to \
         help prevent \"DNS Rebinding\" attacks (CVE-2018-5702).\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(cors: &[&str], hosts: &[&str]) -> HttpRules {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        HttpRules { gateway: true, cors: owned(cors), host_whitelist: owned(hosts) }
    }

    fn headers(name: header::HeaderName, value: &'static str) -> header::HeaderMap {
        [(name, header::HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn hosts_are_known_with_and_without_port() {
        let some = rules(&["*"], &["a.example", "::1"]);
        for (host, admitted) in [
            ("a.example", true),
            ("a.example:2379", true),
            ("[::1]:2379", true),
            ("b.example", false),
            ("a.example.b", false),
            ("", false),
        ] {
            let verdict = judge(&some, "GET", None, &headers(header::HOST, host), false);
            assert_eq!(verdict == Verdict::Admit, admitted, "{host}");
            assert_eq!(
                judge(&rules(&[], &[]), "GET", None, &headers(header::HOST, host), false),
                Verdict::Admit
            );
        }
        assert!(matches!(judge(&some, "OPTIONS", Some("b:1"), &headers(header::HOST, "a.example"), false),
            Verdict::Refuse(StatusCode::MISDIRECTED_REQUEST, text) if text.contains("--host-whitelist \"b\"")));
    }

    #[test]
    fn origins_are_named_where_they_are_allowed() {
        let some = rules(&["http://a:1", "http://b:1"], &["*"]);
        let of = |rules: &HttpRules, origin| allowed_origin(rules, &headers(header::ORIGIN, origin));
        assert_eq!(of(&some, "http://b:1").expect("allowed"), "http://b:1");
        assert_eq!(of(&some, "http://c:1"), None);
        assert_eq!(allowed_origin(&some, &header::HeaderMap::new()), None);
        assert_eq!(of(&rules(&["*"], &["*"]), "http://c:1").expect("allowed"), "*");
    }
}
