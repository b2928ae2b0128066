//! The same random requests to a real etcd and to Windlass: every answer must be equal, field by field.
//!
//! Needs a real etcd 3.5: `WINDLASS_ETCD_DIR` names the folder of its binary. Without it the tests say so and pass.
//! `WINDLASS_DIFFERENTIAL_REQUESTS` is the length of the run and `WINDLASS_DIFFERENTIAL_SEED` its seed; a mismatch
//! prints both as the command that repeats it.

mod compare;
mod generate;
mod known;
mod random;
mod request;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use windlass_client::Connection;

use crate::compare::comparable;
use crate::generate::Generator;
use crate::known::{DIFFERENCES, Difference};
use crate::request::{Answer, Request};
use crate::server::Server;

/// Requests of a run where nothing else is asked for.
const REQUESTS: usize = 5000;
/// Requests of the runs that test this test.
const REQUESTS_OF_SELF_TEST: usize = 600;
/// How much of a line of a mismatch is shown, in characters.
const LINE_CHARS_MAX: usize = 160;
/// The seed where none is asked for.
const SEED: u64 = 1;
/// Refusals that a run of [`REQUESTS`] or more must have met, or it does not test what it should.
const EXPECTED_REFUSALS: &[&str] = &[
    "etcdserver: key is not provided",
    "etcdserver: key not found",
    "etcdserver: value is provided",
    "etcdserver: lease is provided",
    "etcdserver: requested lease not found",
    "etcdserver: too many operations in txn request",
    "etcdserver: duplicate key given in txn request",
    "etcdserver: invalid sort option",
    "etcdserver: mvcc: required revision has been compacted",
    "etcdserver: mvcc: required revision is a future revision",
    "etcdserver: request is too large",
    "grpc: received message larger than max (2097164 vs. 2097152)",
];

/// One side of the comparison.
struct Side<'a> {
    server: &'a Server,
    connection: Connection,
    is_windlass: bool,
}

impl<'a> Side<'a> {
    fn new(server: &'a Server, is_windlass: bool) -> Self {
        Self { server, connection: server.connect(), is_windlass }
    }

    /// Sends all requests, then waits for all answers.
    fn ask(&mut self, requests: &[Request]) -> Vec<request::Pending> {
        requests.iter().map(|request| request.send(&mut self.connection, self.is_windlass)).collect()
    }

    fn answers(&mut self, pending: Vec<request::Pending>) -> Vec<Answer> {
        let answer = |pending: request::Pending| {
            pending
                .answer(&mut self.connection)
                .unwrap_or_else(|error| panic!("no answer: {error}\nserver's log: {}", self.server.log()))
        };
        pending.into_iter().map(answer).collect()
    }
}

/// How long a run is, and which one.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    requests: usize,
    /// Sends this request (counted from 0) to the second server only: the canary.
    extra_at: Option<usize>,
}

/// What a run has met: how often each refusal came, under `""` how many requests were served.
type Met = BTreeMap<String, usize>;

/// Asks both sides the same until the plan is through or an answer differs, which is described.
fn run(plan: Plan, mut expected: Side<'_>, mut tested: Side<'_>) -> Result<Met, String> {
    let mut generator = Generator::new(plan.seed);
    let (mut number, mut met) = (0, Met::new());
    while number < plan.requests {
        let mut batch = generator.batch();
        let drawn = batch.len();
        for (request, difference) in take_differences(&mut batch) {
            if let Some(wanted) = difference.answer().filter(|_| tested.is_windlass) {
                let pending = tested.ask(std::slice::from_ref(&request));
                check(number, &request, &wanted, &tested.answers(pending)[0])?;
                *met.entry(refusal(&wanted).to_owned()).or_default() += 1;
            }
        }
        compare_batch(&batch, number, &mut expected, &mut tested, |request, answer| {
            generator.observe(request, answer);
            *met.entry(refusal(answer).to_owned()).or_default() += 1;
        })?;
        if plan.extra_at.is_some_and(|at| (number..number + drawn).contains(&at)) {
            let put = Request::Put(windlass_api::etcdserverpb::PutRequest {
                key: "m".into(),
                ..Default::default()
            });
            let pending = tested.ask(&[put]);
            tested.answers(pending);
        }
        number += drawn;
    }
    compare_batch(&generator.last_batch(), number, &mut expected, &mut tested, |_, _| ())?;
    Ok(met)
}

fn compare_batch(
    batch: &[Request],
    first_number: usize,
    expected: &mut Side<'_>,
    tested: &mut Side<'_>,
    mut on_equal: impl FnMut(&Request, &Answer),
) -> Result<(), String> {
    let pending = (expected.ask(batch), tested.ask(batch));
    let (wanted, got) = (expected.answers(pending.0), tested.answers(pending.1));
    for (index, ((request, wanted), got)) in batch.iter().zip(&wanted).zip(&got).enumerate() {
        check(first_number + index, request, wanted, got)?;
        on_equal(request, wanted);
    }
    Ok(())
}

fn check(number: usize, request: &Request, wanted: &Answer, got: &Answer) -> Result<(), String> {
    if comparable(request, wanted) == comparable(request, got) {
        return Ok(());
    }
    let text = format!("request {number}: {request:#?}\netcd: {wanted:#?}\nwindlass: {got:#?}");
    Err(shorten(&text))
}

/// Removes the requests that cannot be compared.
fn take_differences(batch: &mut Vec<Request>) -> Vec<(Request, &'static Difference)> {
    let difference = |request: &Request| DIFFERENCES.iter().find(|difference| (difference.concerns)(request));
    let taken = batch.iter().filter_map(|request| Some((request.clone(), difference(request)?))).collect();
    batch.retain(|request| difference(request).is_none());
    taken
}

/// The text of a refusal, empty for an answer.
fn refusal(answer: &Answer) -> &str {
    if let Answer::Refused(_, text) = answer { text } else { "" }
}

/// Cuts long lines, which are values, to what a person can read.
fn shorten(text: &str) -> String {
    let line = |line: &str| match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}... ({} bytes)\n", &line[..end], line.len()),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The real etcd, or `None` after saying why there is none.
fn etcd() -> Option<PathBuf> {
    let folder = std::env::var_os("WINDLASS_ETCD_DIR");
    if folder.is_none() {
        eprintln!("skipped: WINDLASS_ETCD_DIR does not name a folder with an etcd 3.5");
    }
    folder.map(|folder| Path::new(&folder).join("etcd"))
}

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn windlass_answers_as_etcd_does() {
    let Some(etcd) = etcd() else { return };
    let seed = number_from_env("WINDLASS_DIFFERENTIAL_SEED").unwrap_or(SEED);
    let requests = number_from_env("WINDLASS_DIFFERENTIAL_REQUESTS").map_or(REQUESTS, |n| n as usize);
    let (etcd, windlass) = (Server::start(&etcd), Server::start(Path::new(env!("CARGO_BIN_EXE_windlass"))));
    let plan = Plan { seed, requests, extra_at: None };
    let met = run(plan, Side::new(&etcd, false), Side::new(&windlass, true)).unwrap_or_else(|mismatch| {
        panic!(
            "{mismatch}\nserver's log: {}\nrepeat it with: WINDLASS_DIFFERENTIAL_SEED={seed} \
             WINDLASS_DIFFERENTIAL_REQUESTS={requests} cargo test -p windlass --test differential",
            windlass.log()
        )
    });
    eprintln!("seed {seed}, equal answers: {met:#?}\nnot compared with etcd 3.5.1:");
    DIFFERENCES.iter().for_each(|difference| eprintln!("- {}", difference.reason));
    if requests >= REQUESTS {
        let missing: Vec<_> = EXPECTED_REFUSALS.iter().filter(|text| !met.contains_key(**text)).collect();
        assert!(missing.is_empty(), "the run never met {missing:?}");
    }
}

#[test]
fn etcd_answers_as_itself() {
    let Some(etcd) = etcd() else { return };
    let (one, other) = (Server::start(&etcd), Server::start(&etcd));
    let plan = Plan { seed: SEED, requests: REQUESTS_OF_SELF_TEST, extra_at: None };
    let outcome = run(plan, Side::new(&one, false), Side::new(&other, false));
    assert!(outcome.is_ok(), "{}", outcome.expect_err("checked"));
}

/// The canary: one write that only one side sees must be found.
#[test]
fn a_write_that_one_side_misses_is_found() {
    let Some(etcd) = etcd() else { return };
    let (one, other) = (Server::start(&etcd), Server::start(&etcd));
    let plan =
        Plan { seed: SEED, requests: REQUESTS_OF_SELF_TEST, extra_at: Some(REQUESTS_OF_SELF_TEST / 2) };
    let outcome = run(plan, Side::new(&one, false), Side::new(&other, false));
    assert!(outcome.is_err_and(|mismatch| mismatch.starts_with("request ")), "the extra write was not found");
}
