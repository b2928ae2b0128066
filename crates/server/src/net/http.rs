//! HTTP/1.1: health, version and metrics, and the way to the JSON gateway. Source: etcd `server/etcdserver/api/etcdhttp`.

mod clean;
mod console;
mod settings;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::oneshot;
use windlass_replica::alarm::kind_name;
use windlass_rpc::{
    HttpHandler, Net, Protected, Request, RequestBody, Response, ResponseBody, StatusCode, header,
};
use windlass_types::RequestError;

use super::access::{self, Verdict};
use super::arbiter::Arbiter;
use super::gateway;
use super::info::{ETCD_VERSION, STORAGE_VERSION};
use super::vars;
use crate::metrics::Metrics;
use crate::published::Published;
use crate::stages::commits;
use crate::startup::HttpRules;

/// The checks behind `/livez`.
const LIVEZ: &[Check] = &[Check::SerializableRead];

/// The checks behind `/readyz`.
const READYZ: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

/// What a scraper accepts that reads OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// One check of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }
}

/// Answers HTTP/1.1 requests of one arbiter. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    net: Net,
    arbiter: Rc<RefCell<Arbiter>>,
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    /// Who may ask what; `None` on addresses for metrics, where only probes and metrics are served, to anyone.
    rules: Option<Rc<HttpRules>>,
}

impl Http {
    /// A handler beside `arbiter`, whose reads its checks are.
    #[must_use]
    pub fn new(
        net: Net,
        arbiter: Rc<RefCell<Arbiter>>,
        published: Arc<Published>,
        metrics: Arc<Metrics>,
        rules: Option<Rc<HttpRules>>,
    ) -> Self {
        Self { net, arbiter, published, metrics, rules }
    }

    /// The same for addresses for metrics.
    #[must_use]
    pub fn for_metrics(&self) -> Self {
        Self { rules: None, ..self.clone() }
    }

    async fn answer(self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let Some(rules) = self.rules.clone() else {
            if settings::is_path(request.uri().path()) {
                return self.settings(request).await.map(ResponseBody::from);
            }
            return self.page(request.map(|_| ())).await.map(ResponseBody::from);
        };
        let authority = request.uri().authority().map(|authority| authority.as_str());
        let is_protected = request.extensions().get::<Protected>().is_some();
        let verdict =
            access::judge(&rules, request.method().as_str(), authority, request.headers(), is_protected);
        if let Verdict::Refuse(status, sentence) = verdict {
            return text(status, &sentence).map(ResponseBody::from);
        }
        let origin = access::allowed_origin(&rules, request.headers());
        let mut response = match verdict {
            Verdict::Preflight => Response::new(Bytes::new().into()),
            _ => self.admitted(&rules, request).await,
        };
        if let Some(origin) = origin {
            access::add_cors(response.headers_mut(), origin);
        }
        response
    }

    async fn admitted(&self, rules: &HttpRules, request: Request<RequestBody>) -> Response<ResponseBody> {
        let path = request.uri().path();
        // Clients of etcd 3.3 and earlier.
        let path = match path.strip_prefix("/v3beta/") {
            Some(rest) => format!("/v3/{rest}"),
            None => path.to_owned(),
        };
        let below = (rules.gateway && path == "/v3").then(|| "/v3/".to_owned());
        if let Some(plain) = clean::cleaned(&path).or(below) {
            return moved(&request, plain).map(ResponseBody::from);
        }
        if rules.gateway && gateway::is_path(&path) {
            if self.names_a_user(&request) {
                // In etcd's words. The gateway has tokens alone.
                let sentence = "CommonName of client sending a request against gateway will be ignored and not used \
                                as expected\n";
                return text(StatusCode::BAD_REQUEST, sentence).map(ResponseBody::from);
            }
            return gateway::admit(&self.net, &path, request).await;
        }
        if settings::is_path(&path) {
            return self.settings(request).await.map(ResponseBody::from);
        }
        self.page(request.map(|_| ())).await.map(ResponseBody::from)
    }

    /// Whether the certificate of a request's connection would name its user elsewhere.
    fn names_a_user(&self, request: &Request<RequestBody>) -> bool {
        let named = request.extensions().get::<Protected>().and_then(|Protected(identity)| identity.as_ref());
        self.published.is_auth_enabled()
            && self.arbiter.borrow().authority.names_in_certificates()
            && named
                .is_some_and(|identity| identity.common_name.as_ref().is_some_and(|name| !name.is_empty()))
    }

    async fn page(&self, request: Request<()>) -> Response<Bytes> {
        let path = request.uri().path();
        let query = Query(request.uri().query().unwrap_or_default().to_owned());
        if let Some(plain) = clean::cleaned(path) {
            return moved(&request, plain);
        }
        if !is_known(path) || (self.rules.is_none() && !is_for_metrics(path)) {
            return text(StatusCode::NOT_FOUND, "404 page not found\n");
        }
        if path == "/metrics" {
            // As Prometheus's own handler, whatever the method.
            return self.scrape(&request);
        }
        if request.method() != "GET" {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
            refusal.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET"));
            return refusal;
        }
        if console::is_path(path) {
            return self.console(&request, &query);
        }
        match path {
            "/debug/vars" => vars::vars(&self.published),
            "/debug/commits" => match since(&query) {
                Ok(since) => page("application/json", commits(&self.metrics.stages, since)),
                Err(why) => text(StatusCode::BAD_REQUEST, &format!("{why}\n")),
            },
            "/health" => self.health(&query).await,
            "/livez" => self.probe(LIVEZ, &query).await,
            "/readyz" => self.probe(READYZ, &query).await,
            "/version" => version(),
            _ => match single_check(path) {
                Some(check) => self.probe(&[check], &query).await,
                None => text(StatusCode::NOT_FOUND, "404 page not found\n"),
            },
        }
    }

    async fn health(&self, query: &Query) -> Response<Bytes> {
        let serializable = query.value("serializable") == Some("true");
        let excluded: Vec<&str> = query.values("exclude").collect();
        let alarm = self.alarm(|kind| !excluded.contains(&kind));
        let reason = if alarm.is_some() {
            alarm
        } else if !serializable && self.published.leader().0 == 0 {
            Some("RAFT NO LEADER".to_owned())
        } else {
            self.read(serializable).await.err().map(|error| format!("RANGE ERROR:{error}"))
        };
        self.count(reason.is_none());
        let body = |healthy, reason| json!({ "health": healthy, "reason": reason }).to_string();
        match reason {
            None => page("text/plain; charset=utf-8", body("true", String::new())),
            // Ended with a line feed, as Go's `http.Error` does.
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &(body("false", reason) + "\n")),
        }
    }

    /// Why an alarm that is wanted makes the member unhealthy.
    fn alarm(&self, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
        let (alarms, me) = (self.published.alarms(), self.published.member);
        let own = alarms.iter().filter(|alarm| alarms.concerns(alarm, me));
        let mut kinds = own.map(|alarm| kind_name(alarm.alarm));
        let kind = kinds.find(|kind| is_wanted(kind))?;
        let known = matches!(kind.as_str(), "NOSPACE" | "CORRUPT");
        Some(format!("ALARM {}", if known { &kind } else { "UNKNOWN" }))
    }

    async fn probe(&self, checks: &[Check], query: &Query) -> Response<Bytes> {
        let (mut report, mut failed) = (String::new(), false);
        let excluded: Vec<&str> = query.values("exclude").collect();
        for check in checks {
            let name = check.name();
            let outcome = if excluded.contains(&name) {
                Ok("excluded: ok")
            } else {
                self.run(*check).await.map(|()| "ok")
            };
            let line = match outcome {
                Ok(how) => writeln!(report, "[+]{name} {how}"),
                Err(error) => {
                    failed = true;
                    writeln!(report, "[-]{name} failed: {error}")
                }
            };
            line.expect("strings take any text");
        }
        self.count(!failed);
        if failed {
            // The reason is always told when something is wrong.
            return text(StatusCode::SERVICE_UNAVAILABLE, &format!("{report}\n"));
        }
        let verbose = query.has("verbose");
        text(StatusCode::OK, &format!("{}ok\n", if verbose { report } else { String::new() }))
    }

    async fn run(&self, check: Check) -> Result<(), String> {
        let outcome = match check {
            Check::DataCorruption => {
                return match self.alarm(|kind| kind == "CORRUPT") {
                    Some(_) => Err("alarm activated: CORRUPT".to_owned()),
                    None => Ok(()),
                };
            }
            Check::NonLearner if self.published.is_learner() => Err(RequestError::NotSupportedForLearner),
            Check::NonLearner => Ok(()),
            Check::SerializableRead => self.read(true).await,
            Check::LinearizableRead => self.read(false).await,
        };
        outcome.map_err(|error| error.to_string())
    }

    async fn read(&self, serializable: bool) -> Result<(), RequestError> {
        let (done, result) = oneshot::channel();
        let timeout = {
            let mut arbiter = self.arbiter.borrow_mut();
            arbiter.check(serializable, done);
            arbiter.limits.timeout
        };
        match tokio::time::timeout(timeout, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(RequestError::Stopped),
            Err(_) => Err(RequestError::Timeout),
        }
    }

    fn count(&self, healthy: bool) {
        let gauge = if healthy { &self.metrics.health_success } else { &self.metrics.health_failures };
        gauge.inc();
    }

    fn scrape(&self, request: &Request<()>) -> Response<Bytes> {
        self.arbiter.borrow_mut().tell_counters();
        self.metrics.scrapes.inc();
        let accepted = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let (kind, body) = if accepted.is_some_and(|accepted| accepted.contains(OPEN_METRICS)) {
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                self.metrics.encode(&self.published),
            )
        } else {
            ("text/plain; version=0.0.4; charset=utf-8", self.metrics.encode_text(&self.published))
        };
        page(kind, body)
    }
}

impl HttpHandler for Http {
    fn call(&self, request: Request<RequestBody>) -> Pin<Box<dyn Future<Output = Response<ResponseBody>>>> {
        Box::pin(self.clone().answer(request))
    }
}

fn is_known(path: &str) -> bool {
    matches!(
        path,
        "/health" | "/livez" | "/readyz" | "/version" | "/metrics" | "/debug/vars" | "/debug/commits"
    ) || single_check(path).is_some()
        || console::is_path(path)
}

/// What is served on addresses for metrics too.
fn is_for_metrics(path: &str) -> bool {
    !matches!(path, "/version" | "/debug/vars")
}

fn single_check(path: &str) -> Option<Check> {
    let find = |checks: &[Check], name: &str| checks.iter().copied().find(|check| check.name() == name);
    match path.strip_prefix('/')?.split_once('/')? {
        ("livez", name) => find(LIVEZ, name),
        ("readyz", name) => find(READYZ, name),
        _ => None,
    }
}

fn version() -> Response<Bytes> {
    // In etcd's order of fields.
    let body = format!(
        r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{STORAGE_VERSION}","storage":"{STORAGE_VERSION}"}}"#
    );
    page("application/json", body)
}

/// A page.
pub(super) fn page(kind: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Sends a client to the plain spelling of the path that it asked for, which may change its method: as Go does.
fn moved<B>(request: &Request<B>, mut location: String) -> Response<Bytes> {
    if let Some(query) = request.uri().query() {
        location.extend(["?", query]);
    }
    let is_shown = matches!(request.method().as_str(), "GET" | "HEAD");
    let mut response = Response::new(Bytes::new());
    if is_shown {
        response = page("text/html; charset=utf-8", clean::page(&location));
    }
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = location.parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A page of Go's `http.Error`, and of etcd's probes, which look like it.
fn text(status: StatusCode, body: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::copy_from_slice(body.as_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

/// From which flush on; all that are kept where nothing is said.
fn since(query: &Query) -> Result<u64, String> {
    query.check(&["since"])?;
    let parsed = |since: &str| since.parse().map_err(|_| format!("since is a number (given {since:?})"));
    query.value("since").map_or(Ok(0), parsed)
}

/// The query part of a request. No name or value that matters here needs percent-decoding.
struct Query(String);

impl Query {
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs().filter(move |(n, _)| *n == name).map(|(_, value)| value)
    }

    fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// That it has no other names than these; otherwise a sentence.
    fn check(&self, known: &[&str]) -> Result<(), String> {
        let Some((name, _)) = self.pairs().find(|(name, _)| !name.is_empty() && !known.contains(name)) else {
            return Ok(());
        };
        Err(match known {
            [] => format!("the address takes nothing after \"?\" (given {name:?})"),
            _ => format!("after \"?\" the address takes {} only (given {name:?})", known.join(" and ")),
        })
    }

    fn has(&self, name: &str) -> bool {
        self.pairs().any(|(n, _)| n == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_asked_for_by_a_number() {
        let asked = |query: &str| since(&Query(query.to_owned()));
        assert_eq!((asked(""), asked("since=7")), (Ok(0), Ok(7)));
        for query in ["since=", "since=-1", "since=all", "after=7"] {
            assert!(asked(query).is_err(), "{query}");
        }
    }

    #[test]
    fn single_checks_belong_to_their_probe() {
        assert_eq!(single_check("/readyz/linearizable_read"), Some(Check::LinearizableRead));
        assert_eq!(single_check("/livez/linearizable_read"), None);
        assert_eq!(single_check("/readyz/"), None);
    }

    #[test]
    fn queries_may_repeat_and_lack_values() {
        let query = Query("verbose&exclude=a&exclude=b&serializable=true".into());
        assert!(query.has("verbose") && !query.has("verb"));
        assert_eq!(query.values("exclude").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.value("serializable"), Some("true"));
    }
}
