//! The same random requests to a real etcd and to Windlass: every answer must be equal, field by field.
//!
//! Needs a real etcd 3.5: `WINDLASS_ETCD_DIR` names the folder of its binary. Without it the tests say so and pass.
//! `WINDLASS_DIFFERENTIAL_REQUESTS` is the length of the run and `WINDLASS_DIFFERENTIAL_SEED` its seed; a mismatch
//! prints both as the command that repeats it.

mod compare;
mod generate;
mod known;
mod model;
mod random;
mod request;
mod server;
mod side;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use windlass_api::etcdserverpb::PutRequest;

use crate::compare::comparable;
use crate::generate::Generator;
use crate::model::Model;
use crate::request::{Answer, Request};
use crate::server::Server;
use crate::side::{Side, shorten};

/// Requests of a run where nothing else is asked for.
const REQUESTS: usize = 5000;
/// Requests of the runs that test this test.
const REQUESTS_OF_SELF_TEST: usize = 600;
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

/// How long a run is, and which one.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    requests: usize,
    /// After this request (counted from 0) the second side gets a put that the first does not: the canary.
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
        for (request, wanted) in take_not_sent(&mut batch) {
            if let Some(wanted) = wanted.filter(|_| tested.is_newer()) {
                let alone = std::slice::from_ref(&request);
                let asked = tested.ask(alone);
                check(number, &request, &wanted, &tested.answers(alone, asked)[0])?;
                *met.entry(refusal(&wanted).to_owned()).or_default() += 1;
            }
        }
        compare_batch(&batch, number, &mut expected, &mut tested, |request, answer| {
            generator.observe(request, answer);
            *met.entry(refusal(answer).to_owned()).or_default() += 1;
        })?;
        if plan.extra_at.is_some_and(|at| (number..number + drawn).contains(&at)) {
            let put = [Request::Put(PutRequest { key: "m".into(), ..Default::default() })];
            let asked = tested.ask(&put);
            tested.answers(&put, asked);
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
    let asked = (expected.ask(batch), tested.ask(batch));
    let (wanted, got) = (expected.answers(batch, asked.0), tested.answers(batch, asked.1));
    for (index, ((request, wanted), got)) in batch.iter().zip(&wanted).zip(&got).enumerate() {
        check(first_number + index, request, wanted, got)?;
        on_equal(request, wanted);
    }
    Ok(())
}

fn check(number: usize, request: &Request, wanted: &Answer, got: &Answer) -> Result<(), String> {
    let (comparable_wanted, comparable_got) = (comparable(request, wanted), comparable(request, got));
    if comparable_wanted == comparable_got || known::is_excused(request, wanted, got) {
        return Ok(());
    }
    let (left, right) = (format!("{comparable_wanted:#?}"), format!("{comparable_got:#?}"));
    let first = left.lines().zip(right.lines()).position(|(left, right)| left != right);
    let text = format!(
        "request {number}: {request:#?}\netcd: {wanted:#?}\ntested: {got:#?}\n\
         request {number}, first difference in line {first:?} of\n{left}\nand\n{right}"
    );
    Err(shorten(&text))
}

/// Removes the requests that etcd must not see, with 3.6's answer where it is known.
fn take_not_sent(batch: &mut Vec<Request>) -> Vec<(Request, Option<Answer>)> {
    let taken =
        batch.iter().filter_map(|request| Some((request.clone(), known::not_sent(request)?))).collect();
    batch.retain(|request| known::not_sent(request).is_none());
    taken
}

/// The text of a refusal, empty for an answer.
fn refusal(answer: &Answer) -> &str {
    if let Answer::Refused(_, text) = answer { text } else { "" }
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

/// Runs what the environment asks for, or `requests` of the default seed.
fn run_as_asked(requests: usize, expected: Side<'_>, tested: Side<'_>) {
    let seed = number_from_env("WINDLASS_DIFFERENTIAL_SEED").unwrap_or(SEED);
    let requests = number_from_env("WINDLASS_DIFFERENTIAL_REQUESTS").map_or(requests, |n| n as usize);
    let met = run(Plan { seed, requests, extra_at: None }, expected, tested).unwrap_or_else(|mismatch| {
        panic!(
            "{mismatch}\nrepeat it with: WINDLASS_DIFFERENTIAL_SEED={seed} \
             WINDLASS_DIFFERENTIAL_REQUESTS={requests} cargo test -p windlass --test differential"
        )
    });
    eprintln!("seed {seed}, equal answers: {met:#?}\nbut for what differs between etcd 3.5.1 and 3.6:");
    known::DIFFERENCES.iter().for_each(|difference| eprintln!("- {}", difference.reason));
    if requests >= REQUESTS {
        let missing: Vec<_> = EXPECTED_REFUSALS.iter().filter(|text| !met.contains_key(**text)).collect();
        assert!(missing.is_empty(), "the run never met {missing:?}");
    }
}

#[test]
fn windlass_answers_as_etcd_does() {
    let Some(etcd) = etcd() else { return };
    let (etcd, windlass) = (Server::start(&etcd), Server::start(Path::new(env!("CARGO_BIN_EXE_windlass"))));
    run_as_asked(REQUESTS, Side::etcd(&etcd), Side::windlass(&windlass));
}

/// Most answers are then put together of several shares, and a limit cuts what more than one shard gave.
#[test]
fn windlass_with_several_shards_answers_as_etcd_does() {
    let Some(etcd) = etcd() else { return };
    let windlass = Path::new(env!("CARGO_BIN_EXE_windlass"));
    let (etcd, windlass) = (Server::start(&etcd), Server::start_with(windlass, &["--shards=3"]));
    run_as_asked(REQUESTS, Side::etcd(&etcd), Side::windlass(&windlass));
}

#[test]
fn the_model_answers_as_etcd_does() {
    let Some(etcd) = etcd() else { return };
    let etcd = Server::start(&etcd);
    run_as_asked(REQUESTS, Side::etcd(&etcd), Side::Model(Model::default()));
}

#[test]
fn etcd_answers_as_itself() {
    let Some(etcd) = etcd() else { return };
    let (one, other) = (Server::start(&etcd), Server::start(&etcd));
    let plan = Plan { seed: SEED, requests: REQUESTS_OF_SELF_TEST, extra_at: None };
    let outcome = run(plan, Side::etcd(&one), Side::etcd(&other));
    assert!(outcome.is_ok(), "{}", outcome.expect_err("checked"));
}

/// The canary: one write that only one side sees must be found.
#[test]
fn a_write_that_one_side_misses_is_found() {
    let Some(etcd) = etcd() else { return };
    let (one, other) = (Server::start(&etcd), Server::start(&etcd));
    let plan =
        Plan { seed: SEED, requests: REQUESTS_OF_SELF_TEST, extra_at: Some(REQUESTS_OF_SELF_TEST / 2) };
    let outcome = run(plan, Side::etcd(&one), Side::etcd(&other));
    assert!(outcome.is_err_and(|mismatch| mismatch.starts_with("request ")), "the extra write was not found");
}
