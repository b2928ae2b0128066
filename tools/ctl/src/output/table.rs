//! The `table` format: etcdctl's drawn tables, and the rows that the `simple` format shares with them.

use windlass_api::etcdserverpb::Member;

use super::{EndpointHashKv, EndpointHealth, EndpointStatus, Reply};
use crate::go;

/// Columns and their values, not yet drawn.
pub struct Table {
    /// Names of the columns.
    pub header: Vec<&'static str>,
    /// As many values in each as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// Draws `reply`, if it has a table.
pub fn render(reply: &Reply) -> Option<String> {
    rows(reply).map(|table| draw(&table))
}

/// The columns and rows of `reply`, if it has a table.
pub fn rows(reply: &Reply) -> Option<Table> {
    match reply {
        Reply::Members(response) => Some(Table {
            header: vec!["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"],
            rows: response.members.iter().map(member).collect(),
        }),
        Reply::Status(endpoints) => Some(Table {
            header: vec![
                "endpoint",
                "ID",
                "version",
                "db size",
                "is leader",
                "is learner",
                "raft term",
                "raft index",
                "raft applied index",
                "errors",
            ],
            rows: endpoints.iter().map(status).collect(),
        }),
        Reply::Health(endpoints) => Some(Table {
            header: vec!["endpoint", "health", "took", "error"],
            rows: endpoints.iter().map(health).collect(),
        }),
        Reply::HashKv(endpoints) => {
            Some(Table { header: vec!["endpoint", "hash"], rows: endpoints.iter().map(hash_kv).collect() })
        }
        _ => None,
    }
}

fn member(member: &Member) -> Vec<String> {
    vec![
        format!("{:x}", member.id),
        if member.name.is_empty() { "unstarted" } else { "started" }.to_owned(),
        member.name.clone(),
        member.peer_ur_ls.join(","),
        member.client_ur_ls.join(","),
        member.is_learner.to_string(),
    ]
}

fn status(EndpointStatus { endpoint, status }: &EndpointStatus) -> Vec<String> {
    let member_id = status.header.unwrap_or_default().member_id;
    vec![
        endpoint.clone(),
        format!("{member_id:x}"),
        status.version.clone(),
        human_size(status.db_size.try_into().unwrap_or(0)),
        (status.leader == member_id).to_string(),
        status.is_learner.to_string(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        status.raft_applied_index.to_string(),
        status.errors.join(", "),
    ]
}

fn health(EndpointHealth { endpoint, took, error }: &EndpointHealth) -> Vec<String> {
    let healthy = error.is_none().to_string();
    vec![endpoint.clone(), healthy, go::format_duration(*took), error.clone().unwrap_or_default()]
}

fn hash_kv(EndpointHashKv { endpoint, hash }: &EndpointHashKv) -> Vec<String> {
    vec![endpoint.clone(), hash.hash.to_string()]
}

/// Bytes with a decimal unit, one digit after the point below 10, as Go's `humanize.Bytes`.
fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut scale = 1_u64;
    while bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    let tenths = (bytes as f64 / scale as f64).mul_add(10.0, 0.5).floor() / 10.0;
    let digits = usize::from(tenths < 10.0);
    format!("{tenths:.digits$} {}", UNITS[unit])
}

/// Draws with `+`, `-` and `|`: the header in capitals and centred, the values to the right.
fn draw(table: &Table) -> String {
    let header: Vec<String> = table.header.iter().map(|name| name.to_uppercase()).collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            table.rows.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0)
        })
        .collect();
    let rule: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
    let mut out = format!("{rule}+\n");
    header.iter().zip(&widths).for_each(|(name, width)| out.push_str(&format!("| {name:^width$} ")));
    out.push_str(&format!("|\n{rule}+\n"));
    for row in &table.rows {
        row.iter().zip(&widths).for_each(|(value, width)| out.push_str(&format!("| {value:>width$} ")));
        out.push_str("|\n");
    }
    if !table.rows.is_empty() {
        out.push_str(&format!("{rule}+\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_humanize_prints_them() {
        let cases = [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (20_480, "20 kB"),
            (9_949, "9.9 kB"),
            (9_950, "10 kB"),
            (2_147_483_648, "2.1 GB"),
            (u64::MAX, "18 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human_size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn draws_as_tablewriter_does() {
        let hash = windlass_api::etcdserverpb::HashKvResponse { hash: 2_060_483_604, ..Default::default() };
        let reply = Reply::HashKv(vec![EndpointHashKv { endpoint: "127.0.0.1:57177".into(), hash }]);
        let expected = "\
+-----------------+------------+
|    ENDPOINT     |    HASH    |
+-----------------+------------+
| 127.0.0.1:57177 | 2060483604 |
+-----------------+------------+
";
        assert_eq!(render(&reply).as_deref(), Some(expected));
    }
}
