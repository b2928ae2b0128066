//! Prometheus's text format 0.0.4, for scrapers that do not ask for OpenMetrics. Pure.

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
}
