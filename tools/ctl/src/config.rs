//! The options that every command has, from the command line and the environment.
//!
//! An option given on the command line wins, then `WINDLASSCTL_<NAME>`, then `ETCDCTL_<NAME>`, then the default.
//! `ETCDCTL_API` and other variables that name no option are ignored.

use std::time::Duration;

use clap::{Arg, ArgMatches};

use crate::access::Access;
use crate::dns::Service;
use crate::exit::{Code, Failure};
use crate::output::Format;
use crate::{flags, go};

/// What every command needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// As [`windlass_client::Endpoint::parse`] reads them.
    pub endpoints: Vec<String>,
    /// Bound of one attempt to connect.
    pub dial_timeout: Duration,
    /// Bound of one request with all its attempts to connect.
    pub command_timeout: Duration,
    /// How to print.
    pub format: Format,
    /// Print keys and values as `\xNN`, ids in hexadecimal.
    pub hex: bool,
    /// How the cluster is reached, and as whom.
    pub access: Access,
    /// Where to ask for endpoints, if at all.
    pub discovery: Option<Discovery>,
    /// Say on standard error what the options are.
    pub debug: bool,
}

/// Endpoints from SRV records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    domain: String,
    /// Appended to the services' names.
    service_name: String,
    /// Take endpoints without TLS, too.
    is_insecure: bool,
}

/// The options, for the root command.
pub fn args() -> Vec<Arg> {
    vec![
        flags::global("endpoints", "gRPC endpoints, separated by commas [default: 127.0.0.1:2379]"),
        flags::global("dial-timeout", "bound of one attempt to connect [default: 2s]"),
        flags::global("command-timeout", "bound of one request [default: 5s]"),
        flags::global("write-out", "output format: fields, json, protobuf, simple, table [default: simple]")
            .short('w'),
        flags::global_switch("hex", "print byte strings as hexadecimal escapes"),
        flags::global(
            "user",
            "name[:password] of the user to ask as; the password is prompted for if missing",
        ),
        flags::global("password", "the user's password; then --user is the name alone"),
        flags::global(
            "cacert",
            "file of the authorities that servers are trusted for [default: the system's]",
        ),
        flags::global("cert", "file of the certificate to show to servers"),
        flags::global("key", "file of its key"),
        flags::global_switch("insecure-transport", "no TLS where nothing asks for it [default: true]"),
        flags::global_switch("insecure-skip-tls-verify", "accept any certificate of servers"),
        flags::global("discovery-srv", "domain whose SRV records name the endpoints").short('d'),
        flags::global("discovery-srv-name", "suffix of the services' names in these records"),
        flags::global_switch("insecure-discovery", "accept endpoints without TLS from them [default: true]"),
        flags::global("keepalive-time", "accepted as etcdctl's; a lost connection is found by its requests")
            .hide(true),
        flags::global(
            "keepalive-timeout",
            "accepted as etcdctl's; a lost connection is found by its requests",
        )
        .hide(true),
        flags::global_switch("debug", "show the options on standard error"),
    ]
}

impl Config {
    /// Reads the options; `env` looks a variable of the environment up.
    ///
    /// # Errors
    /// A value that cannot be read.
    pub fn new(matches: &ArgMatches, env: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let given = |name: &str| matches.get_one::<String>(name).cloned();
        let value = |name: &str| given(name).or_else(|| from_env(name, &env));
        let text = |name: &str| value(name).unwrap_or_default();
        let switch = |name: &str, default| match flags::given(matches, name) {
            Some(given) => Ok(given),
            None => from_env(name, &env).map_or(Ok(default), |text| parsed(name, &text, go::parse_bool)),
        };
        for name in ["cert", "key", "cacert"] {
            if given(name).is_some_and(|text| text.is_empty()) {
                return Err(Failure::bad_args(format!("empty string is passed to --{name} option")));
            }
        }
        duration("keepalive-time", value("keepalive-time"), 2)?;
        duration("keepalive-timeout", value("keepalive-timeout"), 6)?;
        let (domain, is_insecure) = (text("discovery-srv"), switch("insecure-discovery", true)?);
        let access = Access {
            cacert: text("cacert"),
            cert: text("cert"),
            key: text("key"),
            is_protected: !switch("insecure-transport", true)?,
            skip_verify: switch("insecure-skip-tls-verify", false)?,
            server_name: if is_insecure { String::new() } else { domain.clone() },
            user: text("user"),
            password: text("password"),
        };
        let service_name = text("discovery-srv-name");
        let discovery = (!domain.is_empty()).then_some(Discovery { domain, service_name, is_insecure });
        let endpoints = value("endpoints").unwrap_or_else(|| "127.0.0.1:2379".to_owned());
        Ok(Self {
            endpoints: endpoints.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            dial_timeout: duration("dial-timeout", value("dial-timeout"), 2)?,
            command_timeout: duration("command-timeout", value("command-timeout"), 5)?,
            format: value("write-out").as_deref().unwrap_or("simple").parse()?,
            hex: switch("hex", false)?,
            debug: switch("debug", false)?,
            access,
            discovery,
        })
    }

    /// Replaces the endpoints by those that SRV records name, if that is asked for; `look_up` asks for a service of a
    /// domain. Returns warnings.
    ///
    /// # Errors
    /// There are no such records.
    pub fn discover(
        &mut self,
        look_up: impl Fn(&str, &str) -> std::io::Result<Vec<Service>>,
    ) -> Result<Vec<String>, Failure> {
        let Some(Discovery { domain, service_name, is_insecure }) = &self.discovery else {
            return Ok(Vec::new());
        };
        let suffix = if service_name.is_empty() { String::new() } else { format!("-{service_name}") };
        let (mut found, mut errors, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for (service, scheme) in [("etcd-client-ssl", "https"), ("etcd-client", "http")] {
            match look_up(&format!("{service}{suffix}"), domain) {
                Ok(services) => found.extend(
                    services.iter().map(|service| format!("{scheme}://{}:{}", service.host, service.port)),
                ),
                Err(error) => errors.push(error.to_string()),
            }
        }
        if found.is_empty() {
            let text = format!("dns lookup errors: {}", errors.join(" and "));
            return Err(Failure::new(Code::Error, text));
        }
        if !is_insecure {
            let (kept, left_out): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|endpoint| endpoint.starts_with("https://"));
            let warning = |endpoint: &String| format!("ignoring discovered insecure endpoint {endpoint:?}");
            warnings.extend(left_out.iter().map(warning));
            found = kept;
        }
        self.endpoints = found;
        Ok(warnings)
    }

    /// What a client of `endpoints` needs to know.
    pub fn connect(&self, endpoints: &[String]) -> windlass_client::Config {
        let Self { dial_timeout, command_timeout, .. } = *self;
        windlass_client::Config { endpoints: endpoints.to_vec(), dial_timeout, command_timeout }
    }
}

/// The variable for option `name`, if it is set.
fn from_env(name: &str, env: impl Fn(&str) -> Option<String>) -> Option<String> {
    let name = name.to_uppercase().replace('-', "_");
    env(&format!("WINDLASSCTL_{name}"))
        .or_else(|| env(&format!("ETCDCTL_{name}")))
        .filter(|text| !text.is_empty())
}

fn duration(name: &str, text: Option<String>, default_secs: u64) -> Result<Duration, Failure> {
    text.map_or(Ok(Duration::from_secs(default_secs)), |text| parsed(name, &text, go::parse_duration))
}

fn parsed<T>(name: &str, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
    parse(text).map_err(|cause| {
        let value = go::quote(text.as_bytes());
        Failure::new(Code::Error, format!("invalid argument {value} for \"--{name}\" flag: {cause}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str], env: &[(&str, &str)]) -> Result<Config, Failure> {
        let matches = clap::Command::new("t").args(super::args()).get_matches_from([&["t"], args].concat());
        Config::new(&matches, |name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_are_etcdctls() {
        let config = config(&[], &[]).expect("valid");
        assert_eq!(config.endpoints, ["127.0.0.1:2379"]);
        assert_eq!(
            (config.dial_timeout, config.command_timeout),
            (Duration::from_secs(2), Duration::from_secs(5))
        );
        assert_eq!((config.format, config.hex), (Format::Simple, false));
    }

    #[test]
    fn command_line_then_own_variable_then_etcdctls() {
        let env =
            [("ETCDCTL_ENDPOINTS", "c:1"), ("WINDLASSCTL_ENDPOINTS", "b:1"), ("ETCDCTL_WRITE_OUT", "json")];
        let parsed = config(&["--endpoints", "a:1,a:2"], &env).expect("valid");
        assert_eq!((parsed.endpoints, parsed.format), (vec!["a:1".into(), "a:2".into()], Format::Json));
        assert_eq!(config(&[], &env).expect("valid").endpoints, ["b:1"]);
        assert_eq!(config(&[], &env[..1]).expect("valid").endpoints, ["c:1"]);
    }

    #[test]
    fn access_is_read() {
        let env =
            [("ETCDCTL_CACERT", "ca"), ("ETCDCTL_INSECURE_TRANSPORT", "false"), ("ETCDCTL_USER", "u:p")];
        let access = config(&["--insecure-skip-tls-verify"], &env).expect("valid").access;
        let expected = Access {
            cacert: "ca".into(),
            is_protected: true,
            skip_verify: true,
            user: "u:p".into(),
            ..Access::default()
        };
        assert_eq!(access, expected);
        let empty = config(&["--cert", ""], &[]).expect_err("is empty");
        assert_eq!(empty, Failure::bad_args("empty string is passed to --cert option"));
    }

    #[test]
    fn endpoints_are_discovered() {
        let look_up = |service: &str, _: &str| match service {
            "etcd-client-ssl-x" => Ok(vec![Service::new("a", 1)]),
            "etcd-client-x" => Ok(vec![Service::new("b", 2)]),
            other => Err(std::io::Error::other(format!("no {other}"))),
        };
        let discover = |args: &[&str]| {
            let mut config = config(args, &[]).expect("valid");
            config.discover(look_up).map(|warnings| (config.endpoints, warnings.len()))
        };
        let both = (vec!["https://a:1".to_owned(), "http://b:2".to_owned()], 0);
        assert_eq!(discover(&["-d", "o.org", "--discovery-srv-name=x"]), Ok(both));
        let safe = (vec!["https://a:1".to_owned()], 1);
        let args = ["-d", "o.org", "--discovery-srv-name=x", "--insecure-discovery=false"];
        assert_eq!(discover(&args), Ok(safe));
        let failure = discover(&["-d", "o.org"]).expect_err("there are none");
        assert_eq!(failure.to_string(), "dns lookup errors: no etcd-client-ssl and no etcd-client");
        assert_eq!(discover(&[]), Ok((vec!["127.0.0.1:2379".to_owned()], 0)));
    }

    #[test]
    fn wrong_values_are_named() {
        let fault = |args: &[&str]| config(args, &[]).expect_err("is wrong");
        assert_eq!(
            fault(&["--command-timeout=5"]).to_string(),
            "invalid argument \"5\" for \"--command-timeout\" flag: time: missing unit in duration \"5\""
        );
        assert_eq!(fault(&["-w", "foo"]), Failure::new(Code::BadFeature, "unsupported output format"));
    }
}
