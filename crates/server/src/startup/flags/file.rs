//! The configuration file, `--config-file`: flags by their names in YAML or JSON, with etcd's sections for certificates
//! and sockets. Where there is a file, nothing else counts.
//!
//! Pure: it is given the text. Beyond etcd's file, every flag of the table may be in it; Windlass's own may have durations
//! as on the command line. What etcd ignores without a word is told of.

use super::parse::{Error, Notice, Values, check};
use super::table::{self, Flag};
use super::value::Kind;
use serde_json::{Map, Value};
use std::time::Duration;

/// Sections whose keys are flags under other names: section, key, flag.
const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "client-transport-security",
        &[
            ("cert-file", "cert-file"),
            ("key-file", "key-file"),
            ("client-cert-file", "client-cert-file"),
            ("client-key-file", "client-key-file"),
            ("client-cert-auth", "client-cert-auth"),
            ("trusted-ca-file", "trusted-ca-file"),
            ("auto-tls", "auto-tls"),
            ("crl-file", "client-crl-file"),
            ("allowed-cn", "client-cert-allowed-cn"),
            ("allowed-hostname", "client-cert-allowed-hostname"),
        ],
    ),
    (
        "peer-transport-security",
        &[
            ("cert-file", "peer-cert-file"),
            ("key-file", "peer-key-file"),
            ("client-cert-file", "peer-client-cert-file"),
            ("client-key-file", "peer-client-key-file"),
            ("client-cert-auth", "peer-client-cert-auth"),
            ("trusted-ca-file", "peer-trusted-ca-file"),
            ("auto-tls", "peer-auto-tls"),
            ("crl-file", "peer-crl-file"),
            ("allowed-cn", "peer-cert-allowed-cn"),
            ("allowed-hostname", "peer-cert-allowed-hostname"),
            ("skip-client-san-verification", "peer-skip-client-san-verification"),
        ],
    ),
    ("socket-options", &[("reuse-port", "socket-reuse-port"), ("reuse-address", "socket-reuse-address")]),
];

/// etcd's section of what a discovery service needs.
const DISCOVERY_SECTION: &str = "discovery-config";
/// Flags whose values are lists in the file.
const LISTS: [&str; 6] = [
    "cipher-suites",
    "log-outputs",
    "client-cert-allowed-cn",
    "client-cert-allowed-hostname",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
];

/// Reads the text of the file at `path`.
///
/// # Errors
/// It cannot be read, or asks for what cannot be; in etcd's words where etcd has some.
pub fn parse_file(path: &str, text: &str) -> Result<Values, Error> {
    let mut values = Values::from_file(path);
    for (key, value) in fields(text)? {
        match SECTIONS.iter().find(|(section, _)| *section == key) {
            Some((section, keys)) => take_section(&mut values, section, keys, value)?,
            None if key == DISCOVERY_SECTION => refuse_discovery(&value)?,
            None => match table::find(&key).filter(|flag| flag.name != "config-file") {
                Some(flag) => take(&mut values, flag, &key, &value)?,
                None => values.note(Notice::UnknownField { field: key }),
            },
        }
    }
    values.judge()?;
    Ok(values)
}

fn fields(text: &str) -> Result<Map<String, Value>, Error> {
    let parsed = serde_saphyr::from_str::<Value>(text);
    match parsed.map_err(|error| configuration(format!("error converting YAML to JSON: yaml: {error}")))? {
        Value::Object(fields) => Ok(fields),
        // Nothing but comments.
        Value::Null => Ok(Map::new()),
        other => Err(wrong_type(&other, "value", "embed.configYAML")),
    }
}

fn take_section(
    values: &mut Values,
    section: &str,
    keys: &[(&str, &str)],
    value: Value,
) -> Result<(), Error> {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => return Ok(()),
        _ => return Err(configuration(format!("invalid {section}"))),
    };
    for (key, value) in fields {
        let path = format!("{section}.{key}");
        match keys.iter().find(|(known, _)| *known == key) {
            Some((_, name)) => {
                take(values, table::find(name).expect("a flag of the table"), &path, &value)?;
            }
            None => values.note(Notice::UnknownField { field: path }),
        }
    }
    Ok(())
}

/// Takes one value; nothing and the empty text leave the default.
fn take(values: &mut Values, flag: &'static Flag, path: &str, value: &Value) -> Result<(), Error> {
    let is_list = LISTS.contains(&flag.name);
    let text = match (value, flag.kind) {
        (Value::Null, _) => return Ok(()),
        (Value::Array(items), _) if is_list => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.ok_or_else(|| wrong_type(value, path, "[]string"))?.join(",")
        }
        (Value::String(text), kind) if !is_list && is_text(kind) => text.clone(),
        (Value::String(text), Kind::Duration | Kind::DurationOr(_)) if table::is_own(flag) => text.clone(),
        (Value::Bool(flag), Kind::Bool) => flag.to_string(),
        (Value::Number(number), Kind::Number { .. } | Kind::Integer) => whole(number),
        // Go's: nanoseconds.
        (Value::Number(number), Kind::Duration | Kind::DurationOr(_)) => match number.as_u64() {
            Some(ns) => format!("{}ns", Duration::from_nanos(ns).as_nanos()),
            None => {
                return Err(configuration(format!(
                    "{path} must be a number of nanoseconds that is not negative"
                )));
            }
        },
        (value, kind) => {
            return Err(wrong_type(value, path, if is_list { "[]string" } else { go_type(kind) }));
        }
    };
    // A cluster that is said to be empty has no members, instead of this one.
    if text.is_empty() && flag.name != "initial-cluster" {
        return Ok(());
    }
    check(flag, &text).map_err(|why| {
        configuration(match flag.kind {
            Kind::Urls => format!("unexpected error setting up {path}: {why}"),
            _ => format!("invalid value \"{text}\" for {path}: {why}"),
        })
    })?;
    values.put(flag, text);
    Ok(())
}

/// A number as flags have it: `8e9` is 8000000000, as in Go.
fn whole(number: &serde_json::Number) -> String {
    /// Up to here each whole number is a float of its own.
    const EXACT_MAX: f64 = (1_u64 << 53) as f64;
    match number.as_f64().filter(|value| number.is_f64() && value.fract() == 0.0 && value.abs() <= EXACT_MAX)
    {
        Some(value) => format!("{value:.0}"),
        None => number.to_string(),
    }
}

fn refuse_discovery(value: &Value) -> Result<(), Error> {
    match value {
        Value::Null => Ok(()),
        Value::Object(fields) if fields.is_empty() => Ok(()),
        _ => Err(configuration(format!(
            "{DISCOVERY_SECTION} is not supported: name the members with initial-cluster instead of a discovery service"
        ))),
    }
}

/// Go's words for a value of another type.
fn wrong_type(value: &Value, path: &str, wanted: &str) -> Error {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    configuration(format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go struct field \
         configYAML.{path} of type {wanted}"
    ))
}

fn go_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Number { .. } => "uint",
        Kind::Integer => "int64",
        Kind::Duration | Kind::DurationOr(_) => "time.Duration",
        Kind::Text | Kind::Urls | Kind::Choice(_) | Kind::AnyCase(_) | Kind::Gates => "string",
    }
}

fn is_text(kind: Kind) -> bool {
    go_type(kind) == "string"
}

fn configuration(text: String) -> Error {
    Error::Configuration(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Values, String> {
        parse_file("c.yml", text).map_err(|error| error.to_string())
    }

    /// The shape of etcd's sample, with the nanoseconds that it says durations are.
    const SAMPLE: &str = "
# This is the configuration file for the etcd server.
name: 'm1'
data-dir: /var/lib/m1
wal-dir:
snapshot-count: 10000
heartbeat-interval: 100
election-timeout: 1000
quota-backend-bytes: 0
listen-peer-urls: http://localhost:2380
listen-client-urls: http://localhost:2379,http://127.0.0.1:2381
cors:
strict-reconfig-check: false
enable-pprof: true
grpc-keepalive-min-time: 5000000000
watch-progress-notify-interval: 5000000000
client-transport-security:
  cert-file: c.pem
  key-file: k.pem
  client-cert-auth: true
  allowed-hostname: [a, b]
peer-transport-security:
  auto-tls: true
  allowed-cn:
    - x
socket-options:
  reuse-port: true
cipher-suites: [
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
]
tls-min-version: 'TLS1.2'
log-level: debug
log-outputs: [stderr]
experimental-max-learners: 3
feature-gates: LeaseCheckpoint=true
shards: 2
shard-flush-interval: 2s
";

    #[test]
    fn the_sample_is_read() {
        let values = read(SAMPLE).unwrap();
        for (name, text) in [
            ("name", "m1"),
            ("data-dir", "/var/lib/m1"),
            ("wal-dir", ""),
            ("listen-client-urls", "http://localhost:2379,http://127.0.0.1:2381"),
            ("cert-file", "c.pem"),
            ("client-cert-auth", "true"),
            ("client-cert-allowed-hostname", "a,b"),
            ("peer-auto-tls", "true"),
            ("peer-cert-allowed-cn", "x"),
            ("socket-reuse-port", "true"),
            ("log-outputs", "stderr"),
            ("max-learners", "3"),
            ("shards", "2"),
            ("cors", "*"),
        ] {
            assert_eq!(values.text(name), text, "{name}");
        }
        assert_eq!(values.duration("grpc-keepalive-min-time").as_secs(), 5);
        assert_eq!(values.duration("watch-progress-notify-interval").as_secs(), 5);
        assert_eq!(values.duration("shard-flush-interval").as_secs(), 2);
        assert!(!values.boolean("strict-reconfig-check"));
        assert!(values.text("cipher-suites").ends_with(",TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));
        assert!(matches!(&values.notices()[0], Notice::File { path } if path == "c.yml"));
    }

    #[test]
    fn json_and_nothing_are_files_too() {
        let values =
            read(r#"{"name": "j", "heartbeat-interval": 50, "client-transport-security": {}}"#).unwrap();
        assert_eq!((values.text("name"), values.number("heartbeat-interval")), ("j", 50));
        assert!(read("").is_ok() && read("# nothing\n").is_ok());
    }

    #[test]
    fn whole_numbers_may_be_written_with_an_exponent() {
        let values = read("quota-backend-bytes: 8e9\nmax-txn-ops: 1.28e2\n").unwrap();
        assert_eq!((values.text("quota-backend-bytes"), values.number("max-txn-ops")), ("8000000000", 128));
        assert!(read("max-txn-ops: 1.5").is_err() && read("max-txn-ops: 1e300").is_err());
    }

    #[test]
    fn unknown_fields_are_told_of() {
        let values = read("foo: 1\nclient-transport-security: {cert-fiel: a}\nconfig-file: x\n").unwrap();
        let mut unknown: Vec<&str> = values
            .notices()
            .iter()
            .filter_map(|notice| match notice {
                Notice::UnknownField { field } => Some(field.as_str()),
                _ => None,
            })
            .collect();
        unknown.sort_unstable();
        assert_eq!(unknown, ["client-transport-security.cert-fiel", "config-file", "foo"]);
    }

    #[test]
    fn wrong_files_get_etcds_words() {
        let of = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal";
        let field = "into Go struct field configYAML";
        for (text, expected) in [
            ("name: 3", format!("{of} number {field}.name of type string")),
            ("heartbeat-interval: abc", format!("{of} string {field}.heartbeat-interval of type uint")),
            ("heartbeat-interval: '100'", format!("{of} string {field}.heartbeat-interval of type uint")),
            ("log-outputs: stderr", format!("{of} string {field}.log-outputs of type []string")),
            ("pre-vote: 1", format!("{of} number {field}.pre-vote of type bool")),
            ("auto-compaction-retention: 5", format!("{of} number {field}.auto-compaction-retention of type string")),
            (
                "listen-client-urls: bad",
                "unexpected error setting up listen-client-urls: URL scheme must be http, https, unix, or unixs: bad"
                    .to_owned(),
            ),
            ("peer-transport-security: x", "invalid peer-transport-security".to_owned()),
            (
                "grpc-keepalive-min-time: 5s",
                format!("{of} string {field}.grpc-keepalive-min-time of type time.Duration"),
            ),
            (
                "shard-flush-interval: 5x",
                "invalid value \"5x\" for shard-flush-interval: parse error".to_owned(),
            ),
            (
                "grpc-keepalive-min-time: -1",
                "grpc-keepalive-min-time must be a number of nanoseconds that is not negative".to_owned(),
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
        assert!(read("name: [x").unwrap_err().starts_with("error converting YAML to JSON: yaml: "));
        assert!(
            read("discovery-config: {token: x}")
                .unwrap_err()
                .starts_with("discovery-config is not supported")
        );
        assert!(read("unsafe-no-fsync: true").unwrap_err().contains("not supported"));
        assert!(read("discovery-config: {}").is_ok());
    }
}
