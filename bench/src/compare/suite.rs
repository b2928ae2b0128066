//! The loads of a comparison, as command lines: anyone can run one of them alone.

/// A load.
#[derive(Debug)]
pub struct Entry {
    /// For `--only` and the table.
    pub name: &'static str,
    /// For people.
    pub what: &'static str,
    /// The command line; `{amount}` is the number of requests.
    pub flags: &'static str,
    /// Requests.
    pub amount: u64,
    /// Classes of requests that the table shows.
    pub classes: &'static [&'static str],
}

/// Goes before all others, uncounted: the keys that gets and lists ask for.
pub const SEED: Entry = Entry {
    name: "seed",
    what: "every key once",
    flags: "put --conns 10 --clients 100 --total {amount} --key-size 32 --val-size 256 --key-space-size 100000 --sequential-keys",
    amount: 100_000,
    classes: &["put"],
};

/// All loads.
pub const SUITE: &[Entry] = &[
    Entry {
        name: "put-1x1",
        what: "puts, one at a time",
        flags: "put --total {amount} --key-size 32 --val-size 256 --key-space-size 100000",
        amount: 10_000,
        classes: &["put"],
    },
    Entry {
        name: "put-10x10",
        what: "puts, 10 connections with 10 each",
        flags: "put --conns 10 --clients 100 --total {amount} --key-size 32 --val-size 256 --key-space-size 100000",
        amount: 60_000,
        classes: &["put"],
    },
    Entry {
        name: "put-100x10",
        what: "puts, 100 connections with 10 each",
        flags: "put --conns 100 --clients 1000 --total {amount} --key-size 32 --val-size 256 --key-space-size 100000",
        amount: 150_000,
        classes: &["put"],
    },
    Entry {
        name: "get-1x1",
        what: "linearizable gets, one at a time",
        flags: "range --total {amount} --key-size 32 --key-space-size 100000",
        amount: 20_000,
        classes: &["range"],
    },
    Entry {
        name: "get-10x10",
        what: "linearizable gets, 10 connections with 10 each",
        flags: "range --conns 10 --clients 100 --total {amount} --key-size 32 --key-space-size 100000",
        amount: 100_000,
        classes: &["range"],
    },
    Entry {
        name: "get-serializable",
        what: "serializable gets, 10 connections with 10 each",
        flags: "range --conns 10 --clients 100 --total {amount} --key-size 32 --key-space-size 100000 --consistency s",
        amount: 100_000,
        classes: &["range"],
    },
    Entry {
        name: "list-500",
        what: "lists of 500 keys with their values",
        flags: "range 0 1 --limit 500 --conns 4 --clients 4 --total {amount}",
        amount: 2_000,
        classes: &["range"],
    },
    Entry {
        name: "list-all",
        what: "lists of all 100,000 keys with their values, one at a time",
        flags: "range 0 1 --total {amount}",
        amount: 20,
        classes: &["range"],
    },
    Entry {
        name: "txn-create",
        what: "creations as Kubernetes sends them: put if absent, else get",
        flags: "txn-put --if-absent --conns 10 --clients 100 --total {amount} --key-size 24 --val-size 1024 --key-space-size 1000000",
        amount: 40_000,
        classes: &["txn"],
    },
    Entry {
        name: "txn-update",
        what: "updates as Kubernetes does them: get, then put if unchanged",
        flags: "stm --conns 10 --clients 100 --total {amount} --keys 50000 --txn-wr-percent 100 --val-size 1024",
        amount: 30_000,
        classes: &["transaction"],
    },
    Entry {
        name: "mixed",
        what: "four gets for each put",
        flags: "mixed --conns 10 --clients 100 --total {amount} --rw-ratio 4 --key-size 32 --val-size 256 --key-space-size 100000 --keys zipf",
        amount: 100_000,
        classes: &["read", "write"],
    },
    Entry {
        name: "watch-fanout",
        what: "1,000 watches of one key; events",
        flags: "watch --conns 8 --clients 8 --streams 8 --watch-per-stream 125 --put-total {amount}",
        amount: 1_000,
        classes: &["watch event"],
    },
    Entry {
        name: "watch-1000",
        what: "200 puts a second, 1,000 watches; how late events are",
        flags: "watch-latency --conns 8 --clients 8 --streams 40 --watchers-per-stream 25 --put-rate 200 --total {amount}",
        amount: 2_000,
        classes: &["watch event"],
    },
    Entry {
        name: "watch-10000",
        what: "20 puts a second, 10,000 watches; how late events are",
        flags: "watch-latency --conns 8 --clients 8 --streams 400 --watchers-per-stream 25 --put-rate 20 --total {amount}",
        amount: 200,
        classes: &["watch event"],
    },
    Entry {
        name: "fanout-10000",
        what: "10,000 watches of one key; events",
        flags: "watch --conns 8 --clients 8 --streams 400 --watch-per-stream 25 --put-total {amount}",
        amount: 200,
        classes: &["watch event"],
    },
    Entry {
        name: "watch-latency",
        what: "500 puts a second, 10 watches; how late events are",
        flags: "watch-latency --streams 10 --watchers-per-stream 1 --put-rate 500 --total {amount}",
        amount: 2_000,
        classes: &["watch event"],
    },
    Entry {
        name: "lease-keepalive",
        what: "keepalives, 10 connections with 10 each",
        flags: "lease-keepalive --conns 10 --clients 100 --leases 100 --total {amount}",
        amount: 40_000,
        classes: &["keepalive"],
    },
    Entry {
        name: "leases-100000",
        what: "100,000 leases, each kept alive three times; 10 connections with 10 each",
        flags: "lease-keepalive --conns 10 --clients 100 --leases 100000 --total {amount}",
        amount: 300_000,
        classes: &["keepalive"],
    },
    Entry {
        // Last: lists and gets of the others are to find small values.
        name: "put-large",
        what: "puts of 100 kB",
        flags: "put --conns 10 --clients 10 --total {amount} --key-size 32 --val-size 100000 --key-space-size 200",
        amount: 1_500,
        classes: &["put"],
    },
];

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::flags::Flags;

    #[test]
    fn every_line_is_a_load() {
        for entry in SUITE.iter().chain([&SEED]) {
            let line = format!("windlass-bench {}", entry.flags.replace("{amount}", "10"));
            let plan = Flags::try_parse_from(line.split_whitespace()).expect(entry.name).plan();
            assert!(plan.is_ok() && entry.flags.contains("{amount}"), "{}: {:?}", entry.name, plan.err());
        }
    }
}
