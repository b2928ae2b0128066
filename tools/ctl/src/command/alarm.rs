//! `alarm list` and `alarm disarm`.

use clap::ArgMatches;
use windlass_api::etcdserverpb::alarm_request::AlarmAction;
use windlass_api::etcdserverpb::{AlarmRequest, AlarmResponse};

use super::{Outcome, Ran, Session, no_arguments};
use crate::exit::Failure;
use crate::flags;
use crate::output::admin;

/// The command line.
pub fn command() -> clap::Command {
    let sub = |name: &'static str, about: &'static str| {
        clap::Command::new(name).about(about).arg(flags::positional("nothing").hide(true))
    };
    clap::Command::new("alarm")
        .about("What keeps members from working as they should")
        .subcommands([sub("list", "Lists all alarms"), sub("disarm", "Ends all alarms")])
}

/// Runs the subcommand, if there is one.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Ran {
    let (name, matches) = matches.subcommand()?;
    let refused = format!("alarm {name} command accepts no arguments");
    Some(no_arguments(matches, &refused).and_then(|()| match name {
        "list" => list(session),
        _ => disarm(session),
    }))
}

fn list(session: &mut Session) -> Result<Outcome, Failure> {
    let request = AlarmRequest { action: AlarmAction::Get.into(), ..AlarmRequest::default() };
    Ok(admin::alarms(&session.client()?.alarm(&request)?).into())
}

fn disarm(session: &mut Session) -> Result<Outcome, Failure> {
    let mut client = session.client()?;
    let raised =
        client.alarm(&AlarmRequest { action: AlarmAction::Get.into(), ..AlarmRequest::default() })?;
    let mut ended = AlarmResponse::default();
    for alarm in raised.alarms {
        let action = AlarmAction::Deactivate.into();
        let request = AlarmRequest { action, member_id: alarm.member_id, alarm: alarm.alarm };
        ended.alarms.extend(client.alarm(&request)?.alarms);
    }
    Ok(admin::alarms(&ended).into())
}
