//! Prometheus's text format 0.0.4, for scrapers that do not ask for OpenMetrics. Pure.

/// What etcd calls these, though OpenMetrics has another kind for such a name: there a counter's ends with `_total`, and
/// nothing else's does.
const KINDS_OF_ETCD: [(&str, &str); 9] = [
    ("etcd_debugging_store_expires_total", "counter"),
    ("etcd_disk_wal_write_bytes_total", "gauge"),
    ("etcd_grpc_proxy_cache_hits_total", "gauge"),
    ("etcd_grpc_proxy_cache_misses_total", "gauge"),
    ("etcd_grpc_proxy_events_coalescing_total", "counter"),
    ("etcd_server_health_failures", "counter"),
    ("etcd_server_health_success", "counter"),
    ("etcd_server_learner_promote_successes", "counter"),
    ("process_cpu_seconds_total", "counter"),
];

/// Rewrites an OpenMetrics text. They differ in what this process has: there a counter's family is named without
/// `_total`, units are told, and an end is marked.
pub fn from_open_metrics(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            // Which name it is under is only known with the type.
            (Some("#"), Some("HELP"), Some(_), said) => help = said,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let end = if kind == "counter" { "_total" } else { "" };
                if let Some(help) = help.take() {
                    text.extend(["# HELP ", name, end, " ", help, "\n"]);
                }
                let of_etcd = KINDS_OF_ETCD.iter().find(|(known, _)| known.strip_suffix(end) == Some(name));
                let kind = of_etcd.map_or(kind, |(_, kind)| kind);
                text.extend(["# TYPE ", name, end, " ", kind, "\n"]);
            }
            (Some("#"), ..) => {}
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_whole() {
        let open = "# HELP a Some words.\n# TYPE a counter\na_total{b=\"c d\"} 1\n# HELP g G.\n# TYPE g gauge\n\
                    # UNIT g bytes\ng 2\n# EOF\n";
        let text = "# HELP a_total Some words.\n# TYPE a_total counter\na_total{b=\"c d\"} 1\n# HELP g G.\n\
                    # TYPE g gauge\ng 2\n";
        assert_eq!(from_open_metrics(open), text);
    }

    #[test]
    fn kinds_are_those_of_etcd() {
        let open = "# TYPE process_cpu_seconds_total gauge\n# TYPE etcd_disk_wal_write_bytes counter\n# TYPE x gauge\n";
        let text = "# TYPE process_cpu_seconds_total counter\n# TYPE etcd_disk_wal_write_bytes_total gauge\n\
                    # TYPE x gauge\n";
        assert_eq!(from_open_metrics(open), text);
    }
}
