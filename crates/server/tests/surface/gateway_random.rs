//! The same random JSON requests to a real etcd's gateway and to ours, in all the spellings that JSON has for them.

use windlass_types::splitmix::SplitMix64;

use crate::gateway::{comparable, post};
use crate::process::{Launch, Member, Scratch, etcd_folder};

/// Requests of a run.
const REQUESTS: usize = 1500;

/// Few keys, so that requests meet each other's traces: `a` to `h`, and two of more bytes.
const KEYS: &[&str] = &["YQ==", "Yg==", "Yw==", "ZA==", "ZQ==", "Zg==", "Zw==", "aA==", "YS8x", "/w=="];

/// Equal seeds give equal runs.
struct Random(SplitMix64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        (self.0.bits() % bound as u64) as usize
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn key(&mut self) -> &'static str {
        self.pick(KEYS)
    }

    /// A number, as JSON has it.
    fn number(&mut self, below: usize) -> String {
        let number = self.below(below);
        if self.below(2) == 0 { format!("\"{number}\"") } else { number.to_string() }
    }

    /// An object of some of these fields, and now and then of one that nobody knows.
    fn object(&mut self, always: &[String], sometimes: &[String]) -> String {
        let mut fields = always.to_vec();
        fields.extend(sometimes.iter().filter(|_| self.below(3) == 0).cloned());
        if self.below(10) == 0 {
            fields.push(r#""nobody_knows":{"a":[1,null,"x"]}"#.to_owned());
        }
        format!("{{{}}}", fields.join(","))
    }

    fn range(&mut self) -> String {
        let always = [format!(r#""key":"{}""#, self.key())];
        let sometimes = [
            format!(
                r#""{}":"{}""#,
                self.pick(&["range_end", "rangeEnd"]),
                self.pick(&["aA==", "AA==", "Yw=="])
            ),
            format!(r#""limit":{}"#, self.number(4)),
            format!(r#""revision":{}"#, self.number(30)),
            format!(
                r#""{}":{}"#,
                self.pick(&["sort_order", "sortOrder"]),
                self.pick(&["1", "2", "\"DESCEND\"", "0"])
            ),
            format!(r#""sort_target":{}"#, self.pick(&["0", "\"KEY\"", "null"])),
            format!(r#""serializable":{}"#, self.pick(&["true", "false"])),
            format!(r#""{}":true"#, self.pick(&["keys_only", "keysOnly", "count_only", "countOnly"])),
        ];
        self.object(&always, &sometimes)
    }

    fn put(&mut self) -> String {
        let always = [format!(r#""key":"{}""#, self.key()), format!(r#""value":"{}""#, self.key())];
        let sometimes = [format!(r#""{}":true"#, self.pick(&["prev_kv", "prevKv", "ignore_lease"]))];
        self.object(&always, &sometimes)
    }

    fn delete(&mut self) -> String {
        let always = [format!(r#""key":"{}""#, self.key())];
        let sometimes = [r#""range_end":"Yw==""#.to_owned(), r#""prev_kv":true"#.to_owned()];
        self.object(&always, &sometimes)
    }

    fn compare(&mut self) -> String {
        let (target, value) = match self.below(4) {
            0 => (r#""VALUE""#, format!(r#""value":"{}""#, self.key())),
            1 => (r#""VERSION""#, format!(r#""version":{}"#, self.number(3))),
            2 => ("1", format!(r#""create_revision":{}"#, self.number(20))),
            _ => (r#""MOD""#, format!(r#""modRevision":{}"#, self.number(20))),
        };
        let result = self.pick(&["0", "\"EQUAL\"", "\"GREATER\"", "\"LESS\"", "3"]);
        let key = self.key();
        self.object(&[format!(r#""key":"{key}","target":{target},"result":{result}"#), value], &[])
    }

    fn operations(&mut self, depth: usize) -> String {
        let operations: Vec<String> = (0..self.below(3))
            .map(|_| match self.below(if depth == 0 { 3 } else { 4 }) {
                0 => format!(r#"{{"{}":{}}}"#, self.pick(&["request_range", "requestRange"]), self.range()),
                1 => format!(r#"{{"request_put":{}}}"#, self.put()),
                2 => format!(r#"{{"requestDeleteRange":{}}}"#, self.delete()),
                _ => format!(r#"{{"request_txn":{}}}"#, self.txn(depth - 1)),
            })
            .collect();
        format!("[{}]", operations.join(","))
    }

    fn txn(&mut self, depth: usize) -> String {
        let compares: Vec<String> = (0..self.below(2)).map(|_| self.compare()).collect();
        let fields = [
            format!(r#""compare":[{}]"#, compares.join(",")),
            format!(r#""success":{}"#, self.operations(depth)),
            format!(r#""failure":{}"#, self.operations(depth)),
        ];
        self.object(&fields, &[])
    }

    fn request(&mut self) -> (&'static str, String) {
        match self.below(100) {
            0..35 => ("/v3/kv/range", self.range()),
            35..60 => ("/v3/kv/put", self.put()),
            60..70 => ("/v3/kv/deleterange", self.delete()),
            70..98 => ("/v3/kv/txn", self.txn(1)),
            _ => ("/v3/kv/compaction", format!(r#"{{"revision":{}}}"#, self.number(40))),
        }
    }
}

#[test]
fn random_requests_are_answered_as_a_real_etcd_answers_them() {
    let Some(etcd) = etcd_folder() else { return };
    let (ours, theirs) = (Scratch::new(), Scratch::new());
    let windlass = Launch::new(ours.path()).member();
    let etcd = Launch::new(theirs.path()).program(&etcd.join("etcd")).member();
    let mut random = Random(SplitMix64::new(1));
    let mut answered = 0;
    for i in 0..REQUESTS {
        let (path, body) = random.request();
        let asked = |member: &Member| comparable(&post(member.endpoint(), path, &body));
        let (got, wanted) = (asked(&windlass), asked(&etcd));
        answered += usize::from(wanted.0 == 200);
        assert_eq!(got, wanted, "request {i}: {path} {body}");
    }
    assert!(answered > REQUESTS / 2 && answered < REQUESTS, "{answered} of {REQUESTS} were right");
}
