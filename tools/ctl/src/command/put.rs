//! `put`.

use std::io::Read;

use clap::ArgMatches;
use windlass_api::etcdserverpb::PutRequest;

use super::{Outcome, Session};
use crate::exit::Failure;
use crate::output::Reply;
use crate::{flags, go};

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("put")
        .about("Puts a key; the value comes from the command line or standard input")
        .long_about("Puts a key.\n\nA value that begins with '-' goes after '--'. Without a value, it is read from standard input.")
        .args([
            flags::text("lease", "0", "lease to attach, in hexadecimal"),
            flags::switch("prev-kv", "show the pair as it was before"),
            flags::switch("ignore-value", "keep the value, change the lease"),
            flags::switch("ignore-lease", "keep the lease, change the value"),
            flags::positional("the key and the value"),
        ])
}

/// Runs it.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let request = request(matches, &mut session.input)?;
    Ok(Reply::Put(session.client()?.put(&request)?).into())
}

/// The request; `input` is read if there is no value.
pub fn request(matches: &ArgMatches, input: &mut dyn Read) -> Result<PutRequest, Failure> {
    let no_value = || Failure::bad_args("put command needs 1 argument and input from stdin or 2 arguments");
    let mut args = flags::arguments(matches).into_iter();
    let key = args.next().ok_or_else(no_value)?;
    let ignore_value = flags::is_set(matches, "ignore-value");
    let value = match args.next() {
        Some(_) if ignore_value => {
            return Err(Failure::bad_args("put command needs only 1 argument when 'ignore-value' is set"));
        }
        Some(value) => value,
        None if ignore_value => Vec::new(),
        None => read_value(input).ok_or_else(no_value)?,
    };
    let lease = go::parse_int(flags::string(matches, "lease"), 16)
        .map_err(|fault| Failure::bad_args(format!("bad lease ID ({fault}), expecting ID in Hex")))?;
    Ok(PutRequest {
        key: key.into(),
        value: value.into(),
        lease,
        prev_kv: flags::is_set(matches, "prev-kv"),
        ignore_value,
        ignore_lease: flags::is_set(matches, "ignore-lease"),
    })
}

/// An empty standard input is no value, as in etcdctl: an empty value is written as `''`.
fn read_value(input: &mut dyn Read) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    input.read_to_end(&mut value).ok().filter(|&len| len > 0)?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Code;

    fn parse(args: &[&str], input: &str) -> Result<PutRequest, Failure> {
        let matches = command().get_matches_from([&["put"], args].concat());
        request(&matches, &mut input.as_bytes())
    }

    #[test]
    fn value_from_argument_or_input() {
        assert_eq!(parse(&["k", "v", "--lease", "ff"], "ignored").expect("valid").lease, 255);
        assert_eq!(parse(&["k"], "from stdin\n").expect("valid").value, "from stdin\n");
        assert_eq!(parse(&["--ignore-value", "k"], "not read").expect("valid").value, "");
        assert_eq!(parse(&["k", "--", "-v"], "").expect("valid").value, "-v");
    }

    #[test]
    fn wrong_arguments() {
        for args in [&[][..], &["k"], &["k", "v", "--ignore-value"], &["k", "v", "--lease=zz"]] {
            assert_eq!(parse(args, "").expect_err("is wrong").code, Code::BadArgs, "{args:?}");
        }
    }
}
