//! `get`.

use clap::ArgMatches;
use windlass_api::etcdserverpb::RangeRequest;
use windlass_api::etcdserverpb::range_request::{SortOrder, SortTarget};

use super::{Outcome, Session, key_range};
use crate::exit::{Code, Failure};
use crate::flags;
use crate::output::{Format, Reply};

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("get").about("Gets a key or a range of keys").args([
        flags::text("consistency", "l", "l: linearizable, s: serializable, what this member has"),
        flags::text("order", "", "order of the results, ASCEND or DESCEND"),
        flags::text("sort-by", "", "what to sort by: CREATE, KEY, MODIFY, VALUE or VERSION"),
        flags::integer("limit", "at most so many results, 0 for all"),
        flags::switch("prefix", "all keys that start with the key"),
        flags::switch("from-key", "all keys from the key on, in the order of bytes"),
        flags::integer("rev", "the revision to read, 0 for the newest"),
        flags::switch("keys-only", "leave the values out"),
        flags::switch("count-only", "only count, with --write-out=fields"),
        flags::switch("print-value-only", "leave the keys out, with --write-out=simple"),
        flags::positional("the key, and where the range ends"),
    ])
}

/// Runs it.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let request = request(matches)?;
    let value_only = flags::is_set(matches, "print-value-only");
    let range = session.client()?.range(&request)?;
    if request.count_only && session.config.format != Format::Fields {
        return Err(Failure::bad_args("--count-only is only for `--write-out=fields`"));
    }
    if value_only && session.config.format != Format::Simple {
        return Err(Failure::bad_args("print-value-only is only for `--write-out=simple`"));
    }
    let mut outcome = Outcome::from(Reply::Range(range));
    outcome.style.value_only = value_only;
    Ok(outcome)
}

/// The request.
pub fn request(matches: &ArgMatches) -> Result<RangeRequest, Failure> {
    let args = flags::arguments(matches);
    if args.is_empty() {
        return Err(Failure::bad_args(
            "get command needs one argument as key and an optional argument as range_end",
        ));
    }
    let (keys_only, count_only) = (flags::is_set(matches, "keys-only"), flags::is_set(matches, "count-only"));
    if keys_only && count_only {
        return Err(Failure::bad_args(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
        ));
    }
    let serializable = is_serializable(matches)?;
    let (key, range_end) =
        key_range(&args, flags::is_set(matches, "prefix"), flags::is_set(matches, "from-key"))?;
    let target = sort_target(flags::string(matches, "sort-by"))?;
    let order = match sort_order(flags::string(matches, "order"))? {
        // The order of keys is the natural one: unsorted, the server may stop at the limit.
        SortOrder::Ascend if target == SortTarget::Key => SortOrder::None,
        order => order,
    };
    Ok(RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: flags::number(matches, "limit"),
        revision: flags::number(matches, "rev").max(0),
        sort_order: order.into(),
        sort_target: target.into(),
        serializable,
        keys_only,
        count_only,
        ..Default::default()
    })
}

/// Reads `--consistency`.
pub fn is_serializable(matches: &ArgMatches) -> Result<bool, Failure> {
    match flags::string(matches, "consistency") {
        "s" => Ok(true),
        "l" => Ok(false),
        other => {
            let other = crate::go::quote(other.as_bytes());
            Err(Failure::new(Code::BadFeature, format!("unknown consistency flag {other}")))
        }
    }
}

fn sort_order(name: &str) -> Result<SortOrder, Failure> {
    match name.to_uppercase().as_str() {
        "" => Ok(SortOrder::None),
        "ASCEND" => Ok(SortOrder::Ascend),
        "DESCEND" => Ok(SortOrder::Descend),
        _ => Err(Failure::new(Code::BadFeature, format!("bad sort order {name}"))),
    }
}

fn sort_target(name: &str) -> Result<SortTarget, Failure> {
    match name.to_uppercase().as_str() {
        "" | "KEY" => Ok(SortTarget::Key),
        "CREATE" => Ok(SortTarget::Create),
        "MODIFY" => Ok(SortTarget::Mod),
        "VALUE" => Ok(SortTarget::Value),
        "VERSION" => Ok(SortTarget::Version),
        _ => Err(Failure::new(Code::BadFeature, format!("bad sort target {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<RangeRequest, Failure> {
        request(&command().get_matches_from([&["get"], args].concat()))
    }

    #[test]
    fn ranges() {
        let ends = |args: &[&str]| {
            let request = parse(args).expect("valid");
            (request.key.to_vec(), request.range_end.to_vec())
        };
        assert_eq!(ends(&["a"]), (b"a".to_vec(), b"".to_vec()));
        assert_eq!(ends(&["a", "c"]), (b"a".to_vec(), b"c".to_vec()));
        assert_eq!(ends(&["a", "--prefix"]), (b"a".to_vec(), b"b".to_vec()));
        assert_eq!(ends(&["", "--prefix"]), (b"\0".to_vec(), b"\0".to_vec()));
        assert_eq!(ends(&["a", "--from-key"]), (b"a".to_vec(), b"\0".to_vec()));
    }

    #[test]
    fn sorting() {
        let sort = |args: &[&str]| {
            let request = parse(args).expect("valid");
            (request.sort_target(), request.sort_order())
        };
        assert_eq!(sort(&["a", "--order", "ascend"]), (SortTarget::Key, SortOrder::None));
        assert_eq!(sort(&["a", "--order=DESCEND"]), (SortTarget::Key, SortOrder::Descend));
        assert_eq!(sort(&["a", "--sort-by=modify", "--order=ASCEND"]), (SortTarget::Mod, SortOrder::Ascend));
    }

    #[test]
    fn wrong_arguments() {
        let code = |args: &[&str]| parse(args).expect_err("is wrong").code;
        assert_eq!(code(&[]), Code::BadArgs);
        assert_eq!(code(&["a", "--prefix", "--from-key"]), Code::BadArgs);
        assert_eq!(code(&["a", "b", "--prefix"]), Code::BadArgs);
        assert_eq!(code(&["a", "--keys-only", "--count-only"]), Code::BadArgs);
        assert_eq!(code(&["a", "--consistency=x"]), Code::BadFeature);
        assert_eq!(code(&["a", "--order=x"]), Code::BadFeature);
        assert_eq!(code(&["a", "--sort-by=x"]), Code::BadFeature);
    }
}
