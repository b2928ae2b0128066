//! `elect`: stands for election and leads until a signal, or tells who leads.

use std::io::{self, Write as _};

use clap::ArgMatches;
use windlass_api::etcdserverpb::{RangeRequest, RangeResponse};
use windlass_api::mvccpb::event::EventType;

use super::{Outcome, Session};
use crate::exit::{Code, Failure};
use crate::flags;
use crate::output::{Reply, Style, render};
use crate::recipe::{Keeper, Line, Stop};

/// Seconds after which a leader that is gone is replaced, as etcdctl.
const TTL_S: i64 = 60;

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("elect").about("Takes part in an election, or watches one").args([
        flags::switch("listen", "watch only").short('l'),
        flags::positional("the election, and what to say as its leader"),
    ])
}

/// Runs it.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let args = flags::arguments(matches);
    let listens = flags::is_set(matches, "listen");
    match (args.as_slice(), listens) {
        ([name], true) => observe(&Line::new(&String::from_utf8_lossy(name)), session),
        ([name, proposal], false) => {
            let line = Line::new(&String::from_utf8_lossy(name));
            campaign(&line, &String::from_utf8_lossy(proposal), session)
        }
        ([_], false) => Err(Failure::bad_args("no proposal argument but -l not set")),
        ([_, _], true) => Err(Failure::bad_args("proposal given but -l is set")),
        _ => {
            Err(Failure::bad_args("elect takes one election name argument and an optional proposal argument"))
        }
    }
}

fn campaign(line: &Line, proposal: &str, session: &mut Session) -> Result<Outcome, Failure> {
    let mut client = session.client()?;
    let keeper = Keeper::new(session.client()?, TTL_S)?;
    let stop = Stop::on_signals()?;
    let place = line.enter(&mut client, &keeper, proposal)?;
    let elected = line.wait(&place, &mut client, &mut || session.client(), &stop, &keeper);
    let done = elected.and_then(|_| {
        let key = place.key.clone().into();
        show(client.range(&RangeRequest { key, ..Default::default() })?, session)?;
        let is_stopped = keeper.wait(&stop);
        if is_stopped { Ok(()) } else { Err(Failure::new(Code::Error, "elect: session expired")) }
    });
    let ended = keeper.end(&mut client);
    done.and(ended)?;
    Ok(Reply::Nothing.into())
}

/// Shows the leader, and each that comes after it.
fn observe(line: &Line, session: &mut Session) -> Result<Outcome, Failure> {
    let stop = Stop::on_signals()?;
    let first = line.first(&mut session.client()?)?;
    let revision = first.header.unwrap_or_default().revision;
    let mut leader = first.kvs.first().map(|kv| kv.key.clone());
    if leader.is_some() {
        show(first, session)?;
    }
    let mut watch = line.watch(session.client()?, revision + 1)?;
    while !stop.is_asked() {
        let Some(response) = watch.next_response_within(super::LOOK)? else { continue };
        if response.canceled {
            return Err(Failure::new(Code::Error, "elect: observer lost"));
        }
        for event in &response.events {
            let Some(kv) = &event.kv else { continue };
            let is_leader = leader.as_ref() == Some(&kv.key);
            let is_deleted = event.r#type() == EventType::Delete;
            if is_leader && !is_deleted {
                // It says something new.
                let kvs = vec![kv.clone()];
                show(RangeResponse { header: response.header, kvs, ..RangeResponse::default() }, session)?;
            } else if is_leader || (leader.is_none() && !is_deleted) {
                let first = line.first(&mut session.client()?)?;
                leader = first.kvs.first().map(|kv| kv.key.clone());
                if leader.is_some() {
                    show(first, session)?;
                }
            }
        }
    }
    Ok(Reply::Nothing.into())
}

fn show(found: RangeResponse, session: &Session) -> Result<(), Failure> {
    let style = Style { hex: session.config.hex, ..Style::default() };
    let rendered = render(&Reply::Range(found), session.config.format, style)?;
    let mut out = io::stdout();
    out.write_all(&rendered.out)?;
    Ok(out.flush()?)
}
