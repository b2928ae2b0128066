//! `txn`: compares, then the operations for success, then those for failure, each block ended by an empty line.

mod syntax;

pub use syntax::words;

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::OsStringExt;

use clap::ArgMatches;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{Compare, RequestOp, TxnRequest};

use super::{Outcome, Session, del, get, put};
use crate::exit::{Code, Failure};
use crate::flags;
use crate::output::Reply;

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("txn")
        .about("Runs requests from standard input as one transaction")
        .long_about(
            "Reads three blocks of lines, each ended by an empty line, and runs them as one transaction:\n\
             compares, requests for when all of them hold, requests for when one does not.\n\n\
             mod(\"key1\") > \"0\"\n\nput key1 \"overwritten\"\n\nput key1 \"created\"\nget key2\n\n\
             A compare names version (ver), create (c), mod (m), value (val) or lease, a key, one of = != < >,\n\
             and a value. Requests are get, put and del with their options.",
        )
        .args([flags::switch("interactive", "prompt for each block").short('i'), flags::positional("nothing").hide(true)])
}

/// Runs it.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    if !flags::arguments(matches).is_empty() {
        return Err(Failure::bad_args("txn command does not accept argument"));
    }
    let is_interactive = flags::is_set(matches, "interactive");
    let prompt =
        |text: &str, prompt: &mut dyn Write| if is_interactive { writeln!(prompt, "{text}") } else { Ok(()) };
    prompt("compares:", &mut session.prompt)?;
    let compare = read_block(&mut session.input, compare)?;
    prompt("success requests (get, put, del):", &mut session.prompt)?;
    let success = read_block(&mut session.input, operation)?;
    prompt("failure requests (get, put, del):", &mut session.prompt)?;
    let failure = read_block(&mut session.input, operation)?;
    let response = session.client()?.txn(&TxnRequest { compare, success, failure })?;
    Ok(Reply::Txn(response).into())
}

/// Parses lines up to an empty one.
fn read_block<T>(
    input: &mut Box<dyn BufRead>,
    parse: impl Fn(&[u8]) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut block = Vec::new();
    loop {
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(invalid("EOF".into()));
        }
        match line.trim_ascii() {
            [] => return Ok(block),
            line => block.push(parse(line)?),
        }
    }
}

fn compare(line: &[u8]) -> Result<Compare, Failure> {
    syntax::compare(line).map_err(invalid)
}

fn operation(line: &[u8]) -> Result<RequestOp, Failure> {
    let text = String::from_utf8_lossy(line);
    let words = words(line).ok_or_else(|| invalid(format!("invalid txn request: {text}")))?;
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {text}")));
    }
    let matches = clap::Command::new("txn")
        .no_binary_name(true)
        .subcommands([put::command(), get::command(), del::command()])
        .try_get_matches_from(words.into_iter().map(OsString::from_vec))
        .map_err(|_| invalid(format!("invalid txn request: {text}")))?;
    let request = match matches.subcommand() {
        // The lines to come are not the value.
        Some(("put", matches)) => Request::RequestPut(put::request(matches, &mut io::empty())?),
        Some(("get", matches)) => Request::RequestRange(get::request(matches)?),
        Some(("del", matches)) => Request::RequestDeleteRange(del::request(matches)?),
        _ => return Err(invalid(format!("invalid txn request: {text}"))),
    };
    Ok(RequestOp { request: Some(request) })
}

fn invalid(text: String) -> Failure {
    Failure::new(Code::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation_of(line: &str) -> Result<Request, Failure> {
        operation(line.as_bytes()).map(|operation| operation.request.expect("has a request"))
    }

    #[test]
    fn operations_take_their_commands_options() {
        let Ok(Request::RequestPut(put)) = operation_of("put k 'a b' --prev-kv --lease 1f") else {
            panic!("a put")
        };
        assert_eq!((put.key, put.value, put.prev_kv, put.lease), ("k".into(), "a b".into(), true, 31));
        let Ok(Request::RequestRange(range)) = operation_of("get a --prefix --limit 3") else {
            panic!("a get")
        };
        assert_eq!((range.range_end, range.limit), ("b".into(), 3));
        let Ok(Request::RequestDeleteRange(del)) = operation_of("del a c") else { panic!("a del") };
        assert_eq!((del.key, del.range_end), ("a".into(), "c".into()));
    }

    #[test]
    fn wrong_operations_are_named() {
        let fault = |line| operation_of(line).expect_err("is wrong").to_string();
        assert_eq!(fault("foo a"), "invalid txn request: foo a");
        assert_eq!(fault("put"), "invalid txn compare request: put");
        assert_eq!(fault("get a -w json"), "invalid txn request: get a -w json");
        assert_eq!(operation_of("put a").expect_err("no value").code, Code::BadArgs);
    }

    #[test]
    fn blocks_end_with_an_empty_line() {
        let block = |text: &'static str| {
            read_block(&mut (Box::new(text.as_bytes()) as Box<dyn BufRead>), |line| Ok(line.len()))
        };
        assert_eq!(block("a\n bc \n\nrest"), Ok(vec![1, 2]));
        assert_eq!(block("\n"), Ok(vec![]));
        assert_eq!(block("a\n"), Err(Failure::new(Code::InvalidInput, "EOF")));
        assert_eq!(block("a"), Err(Failure::new(Code::InvalidInput, "EOF")));
    }
}
