//! `/debug/settings`: how the log is flushed, shown and changed while the member runs. With `--enable-live-settings` alone, and where
//! authentication is in force for root alone, whichever address is asked.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use windlass_replica::auth::Need;
use windlass_rpc::{Method, Protected, Request, RequestBody, Response, StatusCode, header};
use windlass_types::RequestError;

use super::super::gateway;
use super::{Http, Query, page, text};
use crate::consensus::{AskSettings, Change, LogSettings, Shown, TRIAL_MAX};
use crate::startup::flags::parse_duration;

/// Bytes of a body; a longer one is no settings.
const BODY_BYTES_MAX: usize = 4 << 10;

type Refusal = (StatusCode, String);

/// Whether a path is the settings'.
pub(super) fn is_path(path: &str) -> bool {
    path == "/debug/settings"
}

impl Http {
    /// Answers for [`is_path`].
    pub(super) async fn settings(&self, request: Request<RequestBody>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let head = Request::from_parts(head, ());
        if !self.arbiter.borrow().info.live_settings {
            return text(StatusCode::NOT_FOUND, "404 page not found\n");
        }
        let asked = match self.may_ask(&head) {
            Ok(()) => asked(head.method(), head.uri().query().unwrap_or_default(), body).await,
            Err(refusal) => Err(refusal),
        };
        let ask = match asked {
            Ok(ask) => ask,
            Err((status, why)) => return refused(status, &why),
        };
        let consensus = self.arbiter.borrow().consensus.clone();
        match consensus.send(ask).await {
            Ok(Ok(shown)) => page("application/json", format!("{:#}\n", to_json(&shown))),
            Ok(Err(why)) => refused(StatusCode::BAD_REQUEST, &why),
            Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, RequestError::Stopped.text()),
        }
    }

    fn may_ask(&self, head: &Request<()>) -> Result<(), Refusal> {
        // Browsers name the page whose script asks; no page of the web has a reason to.
        if head.headers().contains_key(header::ORIGIN) {
            return Err((StatusCode::FORBIDDEN, "settings are not for scripts of pages".to_owned()));
        }
        let arbiter = self.arbiter.borrow();
        let certificate = || head.extensions().get::<Protected>().cloned();
        let caller = arbiter.authority.caller(&gateway::meta(head.headers()), certificate);
        arbiter.permit(&caller, Need::Root).map(drop).map_err(|error| {
            let status = match error {
                RequestError::PermissionDenied => StatusCode::FORBIDDEN,
                _ => StatusCode::UNAUTHORIZED,
            };
            (status, error.text().to_owned())
        })
    }
}

/// `GET` shows, `PUT` changes for good or with `?for=30s` on trial, `DELETE` ends a trial.
async fn asked(method: &Method, query: &str, body: RequestBody) -> Result<AskSettings, Refusal> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let query = Query(query.to_owned());
    match *method {
        Method::GET => query.check(&[]).map(|()| AskSettings::Show).map_err(bad),
        Method::DELETE => query.check(&[]).map(|()| AskSettings::EndTrial).map_err(bad),
        Method::PUT => {
            // A trial whose "for" is misspelt would else be a change for good.
            query.check(&["for"]).map_err(bad)?;
            let body = body.whole().await.map_err(|error| bad(error.to_string()))?;
            let lines = str::from_utf8(&body).ok().filter(|body| body.len() <= BODY_BYTES_MAX);
            let lines = lines.ok_or_else(|| bad("it is no text of settings".to_owned()))?;
            let change = Change::parse(lines).map_err(bad)?;
            match query.value("for") {
                None => Ok(AskSettings::Keep(change)),
                Some(time) => Ok(AskSettings::Try(change, trial_time(time).map_err(bad)?)),
            }
        }
        _ => Err((StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed".to_owned())),
    }
}

fn trial_time(time: &str) -> Result<Duration, String> {
    match parse_duration(time) {
        Ok(time) if (Duration::from_millis(1)..=TRIAL_MAX).contains(&time) => Ok(time),
        _ => Err(format!("a trial takes from 1ms to {}s (set to {time:?})", TRIAL_MAX.as_secs())),
    }
}

fn refused(status: StatusCode, why: &str) -> Response<Bytes> {
    let mut refusal = text(status, &format!("{why}\n"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = header::HeaderValue::from_static("GET, PUT, DELETE");
        refusal.headers_mut().insert(header::ALLOW, allowed);
    }
    refusal
}

fn to_json(Shown { now, kept, started, trial_left }: &Shown) -> Value {
    let texts = |settings: &LogSettings| -> Value {
        settings.texts().into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
    };
    json!({
        "now": texts(now),
        "kept": texts(kept),
        "started": texts(started),
        "trial_left_s": trial_left.map(|left| left.as_secs_f64()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused() {
        let check = |query: &str, known: &[&str]| Query(query.to_owned()).check(known);
        assert_eq!(check("for=30s", &["for"]), Ok(()));
        assert_eq!(check("", &["for"]), Ok(()));
        let refused = check("fro=30s", &["for"]).expect_err("is unknown");
        assert!(refused.contains("\"fro\"") && refused.contains("for"), "{refused}");
        assert!(check("for=30s&foo=1", &["for"]).is_err() && check("for=30s", &[]).is_err());
    }

    #[test]
    fn trials_are_bounded() {
        assert_eq!(trial_time("30s"), Ok(Duration::from_secs(30)));
        for time in ["", "0", "0s", "601s", "1h", "-1s", "soon"] {
            assert!(trial_time(time).is_err(), "{time}");
        }
    }
}
