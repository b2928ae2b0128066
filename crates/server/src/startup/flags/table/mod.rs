//! The one declarative list of command line flags.
//!
//! The parser, `--help` and the configuration are made from it, and nothing else may know a flag's name, default or
//! standing. Every flag of etcd 3.6 is in it: one that Windlass cannot honour is there with the reason, so that an
//! operator is told instead of being ignored.

mod clustering;
mod member;
mod operation;
mod security;
mod windlass;

use super::value::Kind;

/// One command line flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Name without dashes in front.
    pub name: &'static str,
    /// What a value must look like.
    pub kind: Kind,
    /// The value when nobody sets one, in the form that the command line takes.
    pub default: &'static str,
    /// One or two sentences for `--help`.
    pub help: &'static str,
    /// What happens when somebody sets it.
    pub status: Status,
    /// Whether `experimental-<name>`, etcd's older spelling, means the same.
    pub experimental_alias: bool,
}

/// What Windlass does with a flag that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It takes effect.
    Used,
    /// It is accepted with a warning that gives this reason for which it means nothing here.
    NoMeaning(&'static str),
    /// Anything but the default (or the empty value) stops the start with this reason: going on without it would
    /// give less security or safety than was asked for.
    Refused(&'static str),
}

/// Flags that belong together in `--help`.
#[derive(Debug)]
pub struct Group {
    /// Heading.
    pub title: &'static str,
    /// Prefix of the environment variables of these flags.
    pub variable_prefix: &'static str,
    /// The flags, in `--help`'s order.
    pub flags: &'static [Flag],
}

/// Every flag that takes part in the configuration. `--help` and `--version` are not in it: they end the program.
pub static GROUPS: &[Group] = &[
    Group { title: "Member", variable_prefix: ETCD, flags: member::FLAGS },
    Group { title: "Clustering", variable_prefix: ETCD, flags: clustering::FLAGS },
    Group { title: "Security", variable_prefix: ETCD, flags: security::TLS },
    Group { title: "Auth", variable_prefix: ETCD, flags: security::AUTH },
    Group { title: "Profiling and Monitoring", variable_prefix: ETCD, flags: operation::MONITORING },
    Group { title: "Logging", variable_prefix: ETCD, flags: operation::LOGGING },
    Group { title: "Distributed tracing", variable_prefix: ETCD, flags: operation::TRACING },
    Group { title: "Features", variable_prefix: ETCD, flags: operation::FEATURES },
    Group { title: "Unsafe", variable_prefix: ETCD, flags: operation::UNSAFE },
    Group { title: "Windlass", variable_prefix: "WINDLASS_", flags: windlass::FLAGS },
];

const ETCD: &str = "ETCD_";
const EXPERIMENTAL: &str = "experimental-";

impl Flag {
    const fn used(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Self { name, kind, default, help, status: Status::Used, experimental_alias: false }
    }

    const fn no_meaning(name: &'static str, kind: Kind, default: &'static str, reason: &'static str) -> Self {
        let help = "Accepted for compatibility.";
        Self { name, kind, default, help, status: Status::NoMeaning(reason), experimental_alias: false }
    }

    const fn refused(name: &'static str, kind: Kind, default: &'static str, reason: &'static str) -> Self {
        let help = "Not supported in this version: anything but the default is refused.";
        Self { name, kind, default, help, status: Status::Refused(reason), experimental_alias: false }
    }

    const fn or_experimental(mut self) -> Self {
        self.experimental_alias = true;
        self
    }
}

/// Every flag with its group.
pub fn all() -> impl Iterator<Item = (&'static Group, &'static Flag)> {
    GROUPS.iter().flat_map(|group| group.flags.iter().map(move |flag| (group, flag)))
}

/// The flag that the command line calls `name`, by its own name or its experimental alias.
pub fn find(name: &str) -> Option<&'static Flag> {
    let is = |flag: &Flag, name: &str| flag.name == name;
    let own = all().find(|(_, flag)| is(flag, name));
    own.or_else(|| {
        let plain = name.strip_prefix(EXPERIMENTAL)?;
        all().find(|(_, flag)| flag.experimental_alias && is(flag, plain))
    })
    .map(|(_, flag)| flag)
}

/// Whether etcd does not have `flag`.
pub fn is_own(flag: &Flag) -> bool {
    windlass::FLAGS.iter().any(|own| own.name == flag.name)
}

/// The environment variables that set `flag`: its own name first, then the experimental alias.
pub fn variables(group: &Group, flag: &Flag) -> Vec<String> {
    let variable = |name: &str| format!("{}{}", group.variable_prefix, name.replace('-', "_").to_uppercase());
    let mut variables = vec![variable(flag.name)];
    if flag.experimental_alias {
        variables.push(variable(&format!("{EXPERIMENTAL}{}", flag.name)));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// etcd 3.6's flags, from `server/etcdmain/help.go` at v3.6.14.
    const ETCD_FLAGS: &str = "name data-dir wal-dir snapshot-count heartbeat-interval election-timeout \
        initial-election-tick-advance listen-peer-urls listen-client-urls listen-client-http-urls max-snapshots \
        max-wals memory-mlock quota-backend-bytes backend-bbolt-freelist-type backend-batch-interval \
        backend-batch-limit max-txn-ops max-request-bytes max-concurrent-streams grpc-keepalive-min-time \
        grpc-keepalive-interval grpc-keepalive-timeout socket-reuse-port socket-reuse-address \
        enable-grpc-gateway raft-read-timeout raft-write-timeout feature-gates initial-advertise-peer-urls \
        initial-cluster initial-cluster-state initial-cluster-token advertise-client-urls discovery \
        discovery-token discovery-endpoints discovery-dial-timeout discovery-request-timeout \
        discovery-keepalive-time discovery-keepalive-timeout discovery-insecure-transport \
        discovery-insecure-skip-tls-verify discovery-cert discovery-key discovery-cacert discovery-user \
        discovery-password discovery-fallback discovery-proxy discovery-srv discovery-srv-name \
        strict-reconfig-check pre-vote auto-compaction-retention auto-compaction-mode v2-deprecation cert-file \
        key-file client-cert-auth client-cert-file client-key-file client-crl-file client-cert-allowed-hostname \
        trusted-ca-file auto-tls peer-cert-file peer-key-file peer-client-cert-auth peer-client-cert-file \
        peer-client-key-file peer-trusted-ca-file peer-cert-allowed-cn peer-cert-allowed-hostname peer-auto-tls \
        peer-crl-file self-signed-cert-validity cipher-suites cors host-whitelist tls-min-version \
        tls-max-version auth-token bcrypt-cost auth-token-ttl enable-pprof metrics listen-metrics-urls logger \
        log-outputs log-level log-format enable-log-rotation log-rotation-config-json \
        warning-unary-request-duration enable-distributed-tracing distributed-tracing-address \
        distributed-tracing-service-name distributed-tracing-instance-id distributed-tracing-sampling-rate \
        corrupt-check-time compact-hash-check-time compaction-batch-limit peer-skip-client-san-verification \
        watch-progress-notify-interval warning-apply-duration bootstrap-defrag-threshold-megabytes max-learners \
        compaction-sleep-interval downgrade-check-time snapshot-catchup-entries force-new-cluster \
        unsafe-no-fsync config-file experimental-initial-corrupt-check experimental-compact-hash-check-enabled \
        experimental-watch-progress-notify-interval experimental-enable-lease-checkpoint";

    #[test]
    fn every_flag_of_etcd_is_known() {
        let missing: Vec<&str> = ETCD_FLAGS.split_whitespace().filter(|name| find(name).is_none()).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn names_and_variables_are_unique_and_every_default_passes_its_own_check() {
        let mut names = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for (group, flag) in all() {
            assert!(names.insert(flag.name), "{} twice", flag.name);
            for variable in variables(group, flag) {
                assert!(seen.insert(variable.clone()), "{variable} twice");
            }
            if !flag.default.is_empty() {
                assert_eq!(flag.kind.check(flag.default), Ok(()), "default of {}", flag.name);
            }
        }
    }

    #[test]
    fn what_protects_data_or_connections_is_never_ignored() {
        for (_, flag) in all() {
            let protects = ["tls", "cert", "key-file", "-crl-", "-ca-", "whitelist", "cipher", "fsync"];
            if protects.iter().any(|word| flag.name.contains(word)) {
                assert!(!matches!(flag.status, Status::NoMeaning(_)), "{} is {:?}", flag.name, flag.status);
            }
        }
    }
}
