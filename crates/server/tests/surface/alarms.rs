//! Alarms: `Maintenance.Alarm`, what an alarm refuses, what it shows, and how etcdctl lists and disarms it. A real etcd 3.5
//! is the measure.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use prost::Message;
use windlass_api::etcdserverpb::alarm_request::AlarmAction;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, CompactionRequest, CompactionResponse, DeleteRangeRequest,
    DeleteRangeResponse, LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse,
    PutResponse, RangeResponse, RequestOp, StatusRequest, StatusResponse, TxnRequest, TxnResponse,
};
use windlass_api::method::{kv, lease, maintenance};
use windlass_client::{Connection, Error};

use crate::process::{Launch, Member, REQUEST_TIMEOUT, Scratch, etcd_folder};
use crate::raw::http;
use crate::store::{prefix, put};

/// How soon an alarm that a quota raised must go when there is room again.
const LIFT_TIME_MAX: Duration = Duration::from_secs(10);

/// Both servers are told to be reached here: their ids come from it and are the same.
const ADVERTISED: [&str; 3] = [
    "--advertise-client-urls=http://127.0.0.1:1",
    "--initial-advertise-peer-urls=http://127.0.0.1:2",
    "--initial-cluster=default=http://127.0.0.1:2",
];

fn call<M: Message + Default>(
    connection: &mut Connection,
    method: &str,
    request: &impl Message,
) -> Result<M, Error> {
    let call = connection.begin(method, request, REQUEST_TIMEOUT)?;
    connection.finish(call, Instant::now() + REQUEST_TIMEOUT)
}

/// A call's outcome without what differs from one election to the next.
fn outcome<M: Message + Default>(
    connection: &mut Connection,
    method: &str,
    request: &impl Message,
    shown: impl FnOnce(M) -> String,
) -> String {
    let result = call(connection, method, request);
    let what = method.rsplit('/').next().unwrap_or_default();
    match result {
        Ok(message) => format!("{what}: {}", shown(message)),
        Err(error) => format!("{what}: {:?} {error}", error.code()),
    }
}

fn alarm(connection: &mut Connection, action: AlarmAction, member_id: u64, alarm: AlarmType) -> String {
    let request = AlarmRequest { action: action as i32, member_id, alarm: alarm as i32 };
    outcome(connection, maintenance::ALARM, &request, |response: AlarmResponse| {
        let revision = response.header.expect("every response has a header").revision;
        let mut alarms: Vec<_> = response.alarms.iter().map(|a| (a.alarm, a.member_id)).collect();
        // etcd lists them in the order of a Go map, which is none.
        alarms.sort_unstable();
        format!("{alarms:?} at {revision}")
    })
}

/// What each kind of request is answered.
fn requests(connection: &mut Connection) -> Vec<String> {
    let op =
        |request| TxnRequest { success: vec![RequestOp { request: Some(request) }], ..TxnRequest::default() };
    let key = || "k".into();
    let delete = || DeleteRangeRequest { key: key(), ..DeleteRangeRequest::default() };
    let txn = |response: TxnResponse| format!("{} responses", response.responses.len());
    let mut nested = op(Request::RequestDeleteRange(delete()));
    nested
        .success
        .push(RequestOp { request: Some(Request::RequestTxn(op(Request::RequestDeleteRange(delete())))) });
    vec![
        outcome(connection, kv::PUT, &put("k", "v"), |_: PutResponse| "done".into()),
        outcome(connection, kv::TXN, &op(Request::RequestPut(put("k", "v"))), txn),
        outcome(connection, kv::TXN, &op(Request::RequestDeleteRange(delete())), txn),
        outcome(connection, kv::TXN, &op(Request::RequestRange(prefix(b'k'))), txn),
        outcome(connection, kv::TXN, &nested, txn),
        outcome(connection, kv::DELETE_RANGE, &delete(), |r: DeleteRangeResponse| r.deleted.to_string()),
        outcome(connection, kv::RANGE, &prefix(b'k'), |r: RangeResponse| r.count.to_string()),
        outcome(
            connection,
            lease::LEASE_GRANT,
            &LeaseGrantRequest { id: 7, ttl: 60 },
            |r: LeaseGrantResponse| format!("{} {}", r.id, r.ttl),
        ),
        outcome(connection, lease::LEASE_REVOKE, &LeaseRevokeRequest { id: 7 }, |_: LeaseRevokeResponse| {
            "done".into()
        }),
        outcome(
            connection,
            kv::COMPACT,
            &CompactionRequest { revision: 1, physical: false },
            |_: CompactionResponse| "done".into(),
        ),
    ]
}

fn health(member: &Member, query: &str) -> String {
    let page = http(member.endpoint(), "GET", &format!("/health{query}"), "");
    format!("/health{query}: {} {}", page.status, page.body.trim_end())
}

fn etcdctl(program: &Path, member: &Member, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .env_clear()
        .env("ETCDCTL_API", "3")
        .env("ETCDCTL_ENDPOINTS", member.endpoint())
        .output()
        .expect("etcdctl can be run");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    format!("{args:?}: {:?} {stdout}", output.status.code())
}

/// Raises and lifts each alarm, and tells everything that can be seen meanwhile.
fn story(server: &Path, etcdctl_program: &Path) -> Vec<String> {
    let folder = Scratch::new();
    let launch = ADVERTISED.iter().fold(Launch::new(folder.path()).program(server), |l, flag| l.flag(*flag));
    let member = launch.member();
    let mut connection = member.connect();
    let list = |lines: &mut Vec<String>| {
        lines.push(etcdctl(etcdctl_program, &member, &["alarm", "list"]));
        lines.push(health(&member, ""));
        lines.push(health(&member, "?exclude=NOSPACE"));
        lines.push(health(&member, "?exclude=CORRUPT&exclude=NOSPACE"));
    };
    let id = call::<StatusResponse>(&mut connection, maintenance::STATUS, &StatusRequest {})
        .expect("it has a status")
        .header
        .expect("every response has a header")
        .member_id;
    let mut lines = vec![format!("{id:x}")];
    for kind in [AlarmType::Nospace, AlarmType::Corrupt, AlarmType::None] {
        for member in [id, 0, 5] {
            lines.push(alarm(&mut connection, AlarmAction::Activate, member, kind));
            lines.push(alarm(&mut connection, AlarmAction::Activate, member, kind));
        }
        lines.extend(requests(&mut connection));
        lines.push(outcome(&mut connection, maintenance::STATUS, &StatusRequest {}, |r: StatusResponse| {
            let mut errors = r.errors;
            errors.sort();
            format!("{errors:?}")
        }));
        for kind in [AlarmType::None, AlarmType::Nospace, AlarmType::Corrupt] {
            lines.push(alarm(&mut connection, AlarmAction::Get, 0, kind));
        }
        lines.push(alarm(&mut connection, AlarmAction::Deactivate, 5, kind));
        lines.push(alarm(&mut connection, AlarmAction::Deactivate, 0, kind));
        lines.push(alarm(&mut connection, AlarmAction::Deactivate, 0, kind));
        list(&mut lines);
        lines.push(etcdctl(etcdctl_program, &member, &["alarm", "disarm"]));
        list(&mut lines);
        lines.extend(requests(&mut connection));
    }
    lines
}

#[test]
fn alarms_are_those_of_a_real_etcd() {
    let Some(folder) = etcd_folder() else { return };
    let windlass = Path::new(env!("CARGO_BIN_EXE_windlass"));
    let (etcd, etcdctl) = (folder.join("etcd"), folder.join("etcdctl"));
    let (wanted, told) = std::thread::scope(|scope| {
        let wanted = scope.spawn(|| story(&etcd, &etcdctl));
        let told = story(windlass, &etcdctl);
        (wanted.join().expect("no panic"), told)
    });
    let differ: Vec<_> = wanted.iter().zip(&told).filter(|(wanted, told)| wanted != told).collect();
    assert!(differ.is_empty() && wanted.len() == told.len(), "{differ:#?}");
}

#[test]
fn an_alarm_outlives_a_restart_and_is_told_to_probes() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let raised = alarm(&mut member.connect(), AlarmAction::Activate, 5, AlarmType::Corrupt);
    assert_eq!(raised, "Alarm: [(2, 5)] at 1");
    drop(member.stop_gracefully());
    let member = Launch::new(folder.path()).member();
    let page = http(member.endpoint(), "GET", "/readyz", "");
    assert_eq!(page.status, 503);
    assert!(page.body.starts_with("[-]data_corruption failed: alarm activated: CORRUPT\n"), "{}", page.body);
    assert_eq!(http(member.endpoint(), "GET", "/readyz?exclude=data_corruption", "").status, 200);
    assert_eq!(http(member.endpoint(), "GET", "/livez", "").status, 200);
    let refused = member.client().put(&put("k", "v")).expect_err("it is refused");
    assert_eq!(refused.to_string(), "etcdserver: corrupt cluster");
    let lifted = alarm(&mut member.connect(), AlarmAction::Deactivate, 5, AlarmType::Corrupt);
    assert_eq!(lifted, "Alarm: [(2, 5)] at 1");
    assert_eq!(http(member.endpoint(), "GET", "/readyz", "").status, 200);
    member.client().put(&put("k", "v")).expect("it is taken");
}

/// A quota raises its alarm with the first write that it refuses, and the alarm goes when there is room again.
#[test]
fn the_alarm_of_a_quota_comes_and_goes_by_itself() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--quota-backend-bytes=1000000").member();
    let mut connection = member.connect();
    let mut client = member.client();
    let value = vec![b'v'; 100_000];
    let refused = loop {
        if let Err(error) = client.put(&put("k", value.clone())) {
            break error;
        }
    };
    assert_eq!(refused.to_string(), "etcdserver: mvcc: database space exceeded");
    let mut listed = || alarm(&mut connection, AlarmAction::Get, 0, AlarmType::None);
    assert!(listed().starts_with("Alarm: [(1, "), "who was refused finds the alarm: {}", listed());
    assert!(health(&member, "").contains("ALARM NOSPACE"));
    // A put that would fit is refused too, until the alarm goes.
    let small = client.put(&put("k", "v")).expect_err("it is refused");
    assert_eq!(small.to_string(), "etcdserver: mvcc: database space exceeded");
    let deleted =
        client.delete_range(&DeleteRangeRequest { key: "k".into(), ..DeleteRangeRequest::default() });
    let revision = deleted.expect("a delete goes on").header.expect("every response has a header").revision;
    client.compact(&CompactionRequest { revision, physical: true }).expect("a compaction goes on");
    let deadline = Instant::now() + LIFT_TIME_MAX;
    while listed() != format!("Alarm: [] at {revision}") {
        assert!(Instant::now() < deadline, "the alarm stays: {}", listed());
        std::thread::sleep(Duration::from_millis(20));
    }
    client.put(&put("k", value)).expect("it is taken");
}
