//! What the commands about leases print, in every format that etcdctl has for them.

use std::fmt::Write as _;

use windlass_api::etcdserverpb::{
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
    LeaseTimeToLiveResponse, ResponseHeader,
};

use super::Reply;
use super::json::value::Value;
use crate::go;

/// The lines of the `simple` format; none if the reply is not about leases.
pub fn simple(reply: &Reply) -> Option<String> {
    Some(match reply {
        Reply::LeaseGrant(LeaseGrantResponse { id, ttl, .. }) => {
            format!("lease {id:016x} granted with TTL({ttl}s)\n")
        }
        Reply::LeaseRevoke(id, _) => format!("lease {id:016x} revoked\n"),
        Reply::LeaseKeepAlive(LeaseKeepAliveResponse { id, ttl, .. }) => {
            format!("lease {id:016x} keepalived with TTL({ttl})\n")
        }
        Reply::LeaseTimeToLive(response, with_keys) => time_to_live(response, *with_keys),
        Reply::Leases(response) => {
            let mut out = format!("found {} leases\n", response.leases.len());
            response.leases.iter().for_each(|lease| out.push_str(&format!("{:016x}\n", lease.id)));
            out
        }
        _ => return None,
    })
}

fn time_to_live(response: &LeaseTimeToLiveResponse, with_keys: bool) -> String {
    let LeaseTimeToLiveResponse { id, ttl, granted_ttl, keys, .. } = response;
    if *granted_ttl == 0 && *ttl == -1 {
        return format!("lease {id:016x} already expired\n");
    }
    let mut line = format!("lease {id:016x} granted with TTL({granted_ttl}s), remaining({ttl}s)");
    if with_keys {
        let keys: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
        write!(line, ", attached keys([{}])", keys.join(" ")).expect("writing to a String cannot fail");
    }
    line + "\n"
}

/// The `json` format: of Go's client, whose structs put the header's fields beside their own.
pub fn json(reply: &Reply) -> Option<Value> {
    Some(match reply {
        Reply::LeaseGrant(LeaseGrantResponse { header, id, ttl, error }) => beside(*header, |fields| {
            fields.push(("ID", Value::signed(*id)));
            fields.push(("TTL", Value::signed(*ttl)));
            fields.push(("Error", Value::string(error)));
        }),
        Reply::LeaseRevoke(_, LeaseRevokeResponse { header }) => {
            Value::object([("header", beside(*header, |_| {}))])
        }
        Reply::LeaseKeepAlive(LeaseKeepAliveResponse { header, id, ttl }) => beside(*header, |fields| {
            fields.push(("ID", Value::signed(*id)));
            fields.push(("TTL", Value::signed(*ttl)));
        }),
        Reply::LeaseTimeToLive(response, _) => beside(response.header, |fields| {
            let keys = &response.keys;
            fields.push(("id", Value::signed(response.id)));
            fields.push(("ttl", Value::signed(response.ttl)));
            fields.push(("granted-ttl", Value::signed(response.granted_ttl)));
            let keys =
                if keys.is_empty() { Value::Null } else { Value::array(keys, |key| Value::bytes(key)) };
            fields.push(("keys", keys));
        }),
        Reply::Leases(LeaseLeasesResponse { header, leases }) => beside(*header, |fields| {
            let lease = |id| Value::whole_object([("id", Value::signed(id))]);
            fields.push(("leases", Value::array(leases, |status| lease(status.id))));
        }),
        _ => return None,
    })
}

fn beside(header: Option<ResponseHeader>, add: impl FnOnce(&mut Vec<(&'static str, Value)>)) -> Value {
    let ResponseHeader { cluster_id, member_id, revision, raft_term } = header.unwrap_or_default();
    let Value::Object(mut fields) = Value::object([
        ("cluster_id", Value::unsigned(cluster_id)),
        ("member_id", Value::unsigned(member_id)),
        ("revision", Value::signed(revision)),
        ("raft_term", Value::unsigned(raft_term)),
    ]) else {
        unreachable!("an object is one")
    };
    add(&mut fields);
    Value::Object(fields)
}

/// Names and values, in order.
type Fields = Vec<(&'static str, String)>;

/// The header of a reply about leases, and its lines of the `fields` format.
pub fn fields(reply: &Reply) -> Option<(Option<ResponseHeader>, Fields)> {
    let number = |name, value: i64| (name, value.to_string());
    Some(match reply {
        Reply::LeaseGrant(response) => {
            (response.header, vec![number("ID", response.id), number("TTL", response.ttl)])
        }
        Reply::LeaseRevoke(_, response) => (response.header, Vec::new()),
        Reply::LeaseKeepAlive(response) => {
            (response.header, vec![number("ID", response.id), number("TTL", response.ttl)])
        }
        Reply::LeaseTimeToLive(response, _) => {
            let mut lines = vec![
                number("ID", response.id),
                number("TTL", response.ttl),
                number("GrantedTTL", response.granted_ttl),
            ];
            lines.extend(response.keys.iter().map(|key| ("Key", go::quote(key))));
            (response.header, lines)
        }
        Reply::Leases(response) => {
            (response.header, response.leases.iter().map(|lease| number("ID", lease.id)).collect())
        }
        _ => return None,
    })
}
