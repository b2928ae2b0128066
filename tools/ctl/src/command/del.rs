//! `del`.

use clap::ArgMatches;
use windlass_api::etcdserverpb::DeleteRangeRequest;

use super::{Outcome, Session, key_range};
use crate::exit::Failure;
use crate::flags;
use crate::output::Reply;

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("del").about("Removes a key or a range of keys").args([
        flags::switch("prefix", "all keys that start with the key"),
        flags::switch("from-key", "all keys from the key on, in the order of bytes"),
        flags::switch("prev-kv", "show the pairs that were there"),
        flags::switch("range", "accepted as etcdctl's, which waits without it").hide(true),
        flags::positional("the key, and where the range ends"),
    ])
}

/// Runs it.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let request = request(matches)?;
    Ok(Reply::Delete(session.client()?.delete_range(&request)?).into())
}

/// The request.
pub fn request(matches: &ArgMatches) -> Result<DeleteRangeRequest, Failure> {
    let args = flags::arguments(matches);
    if !(1..=2).contains(&args.len()) {
        return Err(Failure::bad_args(
            "del command needs one argument as key and an optional argument as range_end",
        ));
    }
    let (key, range_end) =
        key_range(&args, flags::is_set(matches, "prefix"), flags::is_set(matches, "from-key"))?;
    let prev_kv = flags::is_set(matches, "prev-kv");
    Ok(DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv })
}
