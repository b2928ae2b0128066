//! `/console`: the web console, which this member serves to browsers. Read-only: pages that never change and one text of
//! figures, `/console/state`. What needs a key goes through the JSON gateway, with its rules.
//!
//! The console must never be a way around authentication: `state` tells what `/metrics` tells to anybody, and more only to
//! callers who may ask for it over gRPC.

mod state;

use bytes::Bytes;
use windlass_replica::auth::Need;
use windlass_rpc::{Protected, Request, Response, StatusCode, header};

use super::super::gateway;
use super::{Http, Query, page, text};

/// What the console is made of: its path behind `/console/`, kind and text.
const FILES: &[(&str, &str, &str)] = &[
    ("console.css", CSS, include_str!("../../../console/console.css")),
    ("icon.svg", "image/svg+xml", include_str!("../../../console/icon.svg")),
    ("main.js", JS, include_str!("../../../console/main.js")),
    ("dom.js", JS, include_str!("../../../console/dom.js")),
    ("format.js", JS, include_str!("../../../console/format.js")),
    ("live.js", JS, include_str!("../../../console/live.js")),
    ("draw.js", JS, include_str!("../../../console/draw.js")),
    ("overview.js", JS, include_str!("../../../console/overview.js")),
    ("gateway.js", JS, include_str!("../../../console/gateway.js")),
    ("keys.js", JS, include_str!("../../../console/keys.js")),
    ("history.js", JS, include_str!("../../../console/history.js")),
    ("diff.js", JS, include_str!("../../../console/diff.js")),
    ("leases.js", JS, include_str!("../../../console/leases.js")),
    ("rows.js", JS, include_str!("../../../console/rows.js")),
];

const INDEX: &str = include_str!("../../../console/index.html");

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// What a browser is told that it may do with the console: run and show what this member serves, and nothing that comes
/// as data. Scripts cannot make markup of text at all.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// Whether a path is the console's.
pub(super) fn is_path(path: &str) -> bool {
    path == "/console"
        || path.strip_prefix("/console/").is_some_and(|name| name == "state" || file(name).is_some())
}

fn file(name: &str) -> Option<(&'static str, &'static str)> {
    // What people type who expect a folder.
    if name.is_empty() {
        return Some((HTML, ""));
    }
    FILES.iter().find(|(known, ..)| *known == name).map(|&(_, kind, text)| (kind, text))
}

impl Http {
    /// Answers for a path of the console.
    pub(super) fn console(&self, request: &Request<()>, query: &Query) -> Response<Bytes> {
        let mut response = match request.uri().path().strip_prefix("/console/") {
            None => page(HTML, INDEX.to_owned()),
            Some("") => moved(),
            Some("state") => self.console_state(request, query),
            Some(name) => match file(name) {
                Some((kind, text)) => page(kind, text.to_owned()),
                None => text(StatusCode::NOT_FOUND, "404 page not found\n"),
            },
        };
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
            // A member that was updated has other pages.
            (header::CACHE_CONTROL, "no-store"),
        ] {
            headers.insert(name, header::HeaderValue::from_static(value));
        }
        response
    }

    fn console_state(&self, request: &Request<()>, query: &Query) -> Response<Bytes> {
        let mut arbiter = self.arbiter.borrow_mut();
        arbiter.tell_counters();
        let meta = gateway::meta(request.headers());
        let caller = arbiter.authority.caller(&meta, || request.extensions().get::<Protected>().cloned());
        let view = state::View {
            published: &self.published,
            metrics: &self.metrics,
            quota_bytes: arbiter.limits.quota_bytes,
            gateway: self.rules.as_ref().is_some_and(|rules| rules.gateway),
            shows_members: arbiter.permit(&caller, Need::User).is_ok(),
            trouble: self.alarm(|_| true),
            since: query.value("since").and_then(|since| since.parse().ok()).unwrap_or(0),
        };
        page("application/json", view.to_json().to_string())
    }
}

/// To where relative addresses of the page hold.
fn moved() -> Response<Bytes> {
    let mut response = text(StatusCode::PERMANENT_REDIRECT, "");
    response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static("../console"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_only_what_there_is() {
        let names = |text: &'static str, before: &'static str| {
            text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
        };
        for (name, _, text) in FILES {
            for import in names(text, "from \"./") {
                assert!(file(import).is_some(), "{name} imports {import}");
            }
        }
        for path in names(INDEX, "\"console/") {
            assert!(is_path(&format!("/console/{path}")), "{path}");
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_makes_markup_of_text() {
        for (name, _, text) in FILES.iter().chain([&("index.html", HTML, INDEX)]) {
            for word in ["http://", "https://", "innerHTML", "outerHTML", "document.write", "eval("] {
                // The namespace of SVG is a name, not an address.
                let text = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
        let is_handler = |word: &str| word.starts_with("on") && word.contains('=');
        assert!(!INDEX.split_whitespace().any(is_handler), "the policy forbids it");
        assert!(!INDEX.contains("<style") && !INDEX.contains(" style="), "the policy forbids it");
        assert_eq!(INDEX.matches("<script").count(), INDEX.matches("<script type=\"module\" src=").count());
    }

    #[test]
    fn paths_are_known() {
        for path in ["/console", "/console/", "/console/state", "/console/main.js"] {
            assert!(is_path(path), "{path}");
        }
        for path in ["/consoles", "/console/nothing", "/console/../metrics"] {
            assert!(!is_path(path), "{path}");
        }
    }
}
