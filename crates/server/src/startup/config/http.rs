//! The rules of requests over HTTP.

use super::refuse;
use crate::startup::flags::{Error, Url, Values};

/// Who may ask what over HTTP.
#[derive(Clone, Debug)]
pub struct HttpRules {
    /// Serve the JSON gateway.
    pub gateway: bool,
    /// Origins whose scripts may read answers; `*` is any.
    pub cors: Vec<String>,
    /// Names by which this member may be called without TLS; `*` is any.
    pub host_whitelist: Vec<String>,
}

impl HttpRules {
    pub(super) fn from_values(values: &Values) -> Result<Self, Error> {
        let cors = list(values.text("cors"));
        if values.is_set("cors") && cors.is_empty() {
            return refuse(
                "invalid value \"\" for flag -cors: URL scheme must be http, https, unix, or unixs: ",
            );
        }
        for origin in cors.iter().filter(|origin| *origin != "*") {
            if let Err(reason) = Url::parse(origin) {
                return refuse(format!("invalid value {:?} for flag -cors: {reason}", values.text("cors")));
            }
        }
        Ok(Self {
            gateway: values.boolean("enable-grpc-gateway"),
            cors,
            host_whitelist: list(values.text("host-whitelist")),
        })
    }
}

pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
