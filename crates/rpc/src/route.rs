//! Which methods there are, and what grpc-go says of those there are not.

use std::collections::{HashMap, HashSet};

/// How a method's messages flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One message in, one out.
    Unary,
    /// One message in, many out.
    ServerStream,
    /// Many in, many out.
    BidiStream,
}

/// One method.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// How its messages flow.
    pub kind: Kind,
}

/// The methods by path.
pub(crate) struct Routes {
    list: &'static [Route],
    by_path: HashMap<&'static [u8], usize>,
    services: HashSet<&'static str>,
}

impl Routes {
    pub fn new(list: &'static [Route]) -> Self {
        let by_path = list.iter().enumerate().map(|(i, route)| (route.path.as_bytes(), i)).collect();
        let services =
            list.iter().filter_map(|route| split(route.path)).map(|(service, _)| service).collect();
        Self { list, by_path, services }
    }

    pub fn kind(&self, route: usize) -> Kind {
        self.list[route].kind
    }

    /// The route of `path`, or grpc-go's text for UNIMPLEMENTED (`server.go`, `handleStream`).
    pub fn find(&self, path: &[u8]) -> Result<usize, String> {
        if let Some(route) = self.by_path.get(path) {
            return Ok(*route);
        }
        let path = String::from_utf8_lossy(path);
        Err(match split(&path) {
            None => format!("malformed method name: {path:?}"),
            Some((service, method)) if self.services.contains(service) => {
                format!("unknown method {method} for service {service}")
            }
            Some((service, _)) => format!("unknown service {service}"),
        })
    }
}

/// Service and method of a path.
fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/').unwrap_or(path).rsplit_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_paths_get_grpc_gos_words() {
        let routes = Routes::new(&[
            Route { path: "/etcdserverpb.KV/Range", kind: Kind::Unary },
            Route { path: "/etcdserverpb.KV/Put", kind: Kind::Unary },
        ]);
        assert_eq!(routes.find(b"/etcdserverpb.KV/Put"), Ok(1));
        for (path, text) in [
            ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
            ("/a.B/C", "unknown service a.B"),
            ("/etcdserverpb.KV/", "unknown method  for service etcdserverpb.KV"),
            ("/x", "malformed method name: \"/x\""),
            ("", "malformed method name: \"\""),
        ] {
            assert_eq!(routes.find(path.as_bytes()), Err(text.to_owned()));
        }
    }
}
