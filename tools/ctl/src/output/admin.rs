//! What the commands that administer a cluster print: members, alarms, users, roles, the leader.

use std::fmt::Write as _;

use prost::Message;
use windlass_api::authpb::Permission;
use windlass_api::authpb::permission::Type;
use windlass_api::etcdserverpb::{
    AlarmMember, AlarmResponse, AlarmType, AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse,
    AuthUserGetResponse, AuthUserListResponse, DowngradeResponse, Member, MemberAddResponse,
    MoveLeaderResponse, ResponseHeader,
};

use super::json::value::Value;
use super::json::{header, member};
use super::{Forms, Reply};
use crate::go;

/// A response that holds nothing but its header, told of by `text`.
pub fn done(header: Option<ResponseHeader>, response: &impl Message, text: String) -> Reply {
    let json = Value::object([("header", self::header(header))]);
    forms(header, text, json, Some(String::new()), response)
}

/// A response with a list of members, told of by `text`.
pub fn members_changed(
    header: Option<ResponseHeader>,
    members: &[Member],
    response: &impl Message,
    text: String,
) -> Reply {
    let json = Value::object([("header", self::header(header)), ("members", Value::array(members, member))]);
    forms(header, text, json, None, response)
}

/// Of `member add`, for a member that is called `name` and listens to peers at `peer_urls`.
pub fn member_added(response: &MemberAddResponse, name: &str, peer_urls: &str) -> Reply {
    let added = response.member.clone().unwrap_or_default();
    let cluster_id = response.header.unwrap_or_default().cluster_id;
    let mut text = format!("Member {:16x} added to cluster {cluster_id:16x}\n\n", added.id);
    let urls = response.members.iter().flat_map(|member| {
        let name = if member.id == added.id { name } else { &member.name };
        member.peer_ur_ls.iter().map(move |url| format!("{name}={url}"))
    });
    let cluster = urls.collect::<Vec<_>>().join(",");
    for (variable, value) in [
        ("ETCD_NAME", name),
        ("ETCD_INITIAL_CLUSTER", &cluster),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", peer_urls),
        ("ETCD_INITIAL_CLUSTER_STATE", "existing"),
    ] {
        writeln!(text, "{variable}={}", go::quote(value.as_bytes())).expect(STRING);
    }
    let json = Value::object([
        ("header", header(response.header)),
        ("member", response.member.as_ref().map_or(Value::Absent, member)),
        ("members", Value::array(&response.members, member)),
    ]);
    forms(response.header, text, json, None, response)
}

/// Of `move-leader`, from one member to another.
pub fn leader_moved(response: &MoveLeaderResponse, from: u64, to: u64) -> Reply {
    let json = Value::object([("header", header(response.header))]);
    let text = format!("Leadership transferred from {from:x} to {to:x}\n");
    forms(response.header, text, json, None, response)
}

/// Of `alarm`.
pub fn alarms(response: &AlarmResponse) -> Reply {
    let (mut text, mut fields) = (String::new(), String::new());
    for alarm in &response.alarms {
        let kind = alarm_name(alarm);
        // Go prints what is not zero.
        if alarm.member_id != 0 {
            write!(text, "memberID:{} ", alarm.member_id).expect(STRING);
        }
        writeln!(text, "alarm:{kind} ").expect(STRING);
        writeln!(fields, "\"MemberID\" : {}\n\"AlarmType\" : {kind}\n", alarm.member_id).expect(STRING);
    }
    let alarm = |alarm: &AlarmMember| {
        let kind = Value::signed(alarm.alarm.into());
        Value::object([("memberID", Value::unsigned(alarm.member_id)), ("alarm", kind)])
    };
    let alarms = Value::array(&response.alarms, alarm);
    let json = Value::object([("header", header(response.header)), ("alarms", alarms)]);
    forms(response.header, text, json, Some(fields), response)
}

fn alarm_name(alarm: &AlarmMember) -> String {
    let known = AlarmType::try_from(alarm.alarm).map(|kind| kind.as_str_name().to_owned());
    known.unwrap_or_else(|_| alarm.alarm.to_string())
}

/// Of `auth status`.
pub fn auth_status(response: &AuthStatusResponse) -> Reply {
    let AuthStatusResponse { header, enabled, auth_revision } = response;
    let json = Value::object([
        ("header", self::header(*header)),
        ("enabled", Value::Bool(*enabled)),
        ("authRevision", Value::unsigned(*auth_revision)),
    ]);
    let text = format!("Authentication Status: {enabled}\nAuthRevision: {auth_revision}\n");
    forms(*header, text, json, None, response)
}

/// Of `user get`.
pub fn user(name: &str, response: &AuthUserGetResponse) -> Reply {
    let roles: String = response.roles.iter().map(|role| format!(" {role}")).collect();
    let json = named_list(response.header, "roles", &response.roles);
    forms(response.header, format!("User: {name}\nRoles:{roles}\n"), json, None, response)
}

/// Of `user list`.
pub fn users(response: &AuthUserListResponse) -> Reply {
    let json = named_list(response.header, "users", &response.users);
    forms(response.header, lines(&response.users), json, None, response)
}

/// Of `role list`.
pub fn roles(response: &AuthRoleListResponse) -> Reply {
    let quoted: String =
        response.roles.iter().map(|role| format!(" {}", go::quote(role.as_bytes()))).collect();
    let json = named_list(response.header, "roles", &response.roles);
    forms(response.header, lines(&response.roles), json, Some(format!("\"Roles\" :{quoted}\n")), response)
}

/// Of `role get`.
pub fn role(name: &str, response: &AuthRoleGetResponse) -> Reply {
    let mut simple = format!("Role {name}\n").into_bytes();
    for (title, one) in [("KV Read:", Type::Read), ("KV Write:", Type::Write)] {
        simple.extend_from_slice(title.as_bytes());
        simple.push(b'\n');
        let granted =
            response.perm.iter().filter(|p| p.perm_type() == one || p.perm_type() == Type::Readwrite);
        granted.for_each(|permission| simple.extend(permission_line(permission)));
    }
    let mut fields = String::new();
    for permission in &response.perm {
        let kind = permission.perm_type().as_str_name();
        let (key, end) = (go::quote(&permission.key), go::quote(&permission.range_end));
        writeln!(fields, "\"PermType\" :  {kind}\n\"Key\" : {key}\n\"RangeEnd\" : {end}").expect(STRING);
    }
    let permission = |permission: &Permission| {
        Value::object([
            ("permType", Value::signed(permission.perm_type.into())),
            ("key", Value::bytes(&permission.key)),
            ("range_end", Value::bytes(&permission.range_end)),
        ])
    };
    let perm = Value::array(&response.perm, permission);
    let json = Value::object([("header", header(response.header)), ("perm", perm)]);
    let protobuf = response.encode_to_vec();
    Reply::Forms(Forms { header: response.header, simple, json, fields: Some(fields), protobuf })
}

/// Keys are bytes, and shown as such.
fn permission_line(Permission { key, range_end, .. }: &Permission) -> Vec<u8> {
    let mut line = b"\t".to_vec();
    match range_end.as_ref() {
        b"" => line.extend_from_slice(key),
        b"\0" => {
            line.push(b'[');
            line.extend_from_slice(key);
            line.extend_from_slice(b", <open ended>");
        }
        end => {
            line.push(b'[');
            line.extend_from_slice(key);
            line.extend_from_slice(b", ");
            line.extend_from_slice(end);
            line.push(b')');
        }
    }
    if !range_end.is_empty() && crate::command::prefix_end(key) == range_end.as_ref() {
        line.extend_from_slice(b" (prefix ");
        line.extend_from_slice(key);
        line.push(b')');
    }
    line.push(b'\n');
    line
}

/// Of `downgrade`; `what` was done.
pub fn downgraded(response: &DowngradeResponse, what: &str) -> Reply {
    let DowngradeResponse { header, version } = response;
    let json = Value::object([("header", self::header(*header)), ("version", Value::string(version))]);
    let text = format!("Downgrade {what} success, cluster version {version}\n");
    forms(*header, text, json, None, response)
}

fn named_list(header: Option<ResponseHeader>, name: &'static str, items: &[String]) -> Value {
    let items = Value::array(items, |item| Value::string(item));
    Value::object([("header", self::header(header)), (name, items)])
}

fn lines(items: &[String]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

fn forms(
    header: Option<ResponseHeader>,
    text: String,
    json: Value,
    fields: Option<String>,
    response: &impl Message,
) -> Reply {
    let protobuf = response.encode_to_vec();
    Reply::Forms(Forms { header, simple: text.into_bytes(), json, fields, protobuf })
}

const STRING: &str = "writing to a String cannot fail";
