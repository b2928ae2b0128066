//! A naive model of users, roles and what they may do.

use bytes::Bytes;
use prost::Message;
use windlass_api::authpb::Permission;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
    Compare, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest,
};
use windlass_records::batch::{BatchBuilder, CommandKind};
use windlass_replica::auth::Asker;
use windlass_replica::oracle::Oracle;
use windlass_replica::oracle::generate::{Command, Random};
use windlass_types::{RequestError, RequestId};

use super::OTHER;

/// Users of the model, in force. Each but root may read and write keys that lie between two of the generator's.
pub struct ModelUsers {
    /// For each user, what it may read and what it may write: from a key to before another, or to the last one.
    may: Vec<(String, [Span; 2])>,
    revision: u64,
}

type Span = (&'static [u8], Option<&'static [u8]>);

/// No key of the generator.
const NOTHING: Span = (b"\xff\xff", Some(b"\xff\xff"));

/// Who sends a command.
pub struct Caller {
    user: String,
    revision: u64,
}

impl Caller {
    pub fn encode(&self) -> Vec<u8> {
        let mut credential = Vec::new();
        Asker { user: &self.user, revision: self.revision }.encode(&mut credential);
        credential
    }
}

fn spans(span: Span, keys: &[u8], end: &[u8]) -> bool {
    let point = [keys, &[0]].concat();
    let is_empty = end != [0] && !end.is_empty() && end <= keys;
    let wanted = match end {
        [] => Some(&point[..]),
        [0] => None,
        _ if is_empty => Some(&point[..]),
        _ => Some(end),
    };
    span.0 <= keys
        && match (span.1, wanted) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(wanted)) => wanted <= own,
        }
}

impl ModelUsers {
    /// Writes the users into entries of the log.
    pub fn new(random: &mut Random, id: &mut u64, entries: &mut Vec<Bytes>) -> Self {
        let mut batch = BatchBuilder::default();
        let mut push = |kind: CommandKind, payload: Vec<u8>| {
            *id += 1;
            batch.push(RequestId(*id), kind, &payload);
        };
        let edges: [&'static [u8]; 5] = [b"\0", b"a", b"b", b"bb", b"c"];
        let mut may = Vec::new();
        // Of this run nobody waits for these.
        for user in ["alice", "bob", "carol"] {
            push(
                CommandKind::UserAdd,
                AuthUserAddRequest { name: user.into(), ..Default::default() }.encode_to_vec(),
            );
            push(CommandKind::RoleAdd, AuthRoleAddRequest { name: user.into() }.encode_to_vec());
            let grant = AuthUserGrantRoleRequest { user: user.into(), role: user.into() };
            push(CommandKind::UserGrantRole, grant.encode_to_vec());
            let mut span = |kind: i32| {
                let from = random.below(4) as usize;
                let to = from + 1 + random.below(edges.len() as u64 - from as u64) as usize;
                let (key, end) = (edges[from], edges.get(to).copied());
                let range_end = Bytes::from_static(end.unwrap_or(b"\0"));
                let perm = Permission { perm_type: kind, key: key.into(), range_end };
                let grant = AuthRoleGrantPermissionRequest { name: user.into(), perm: Some(perm) };
                (grant.encode_to_vec(), (key, end))
            };
            let ((read, readable), (write, writable)) = (span(0), span(1));
            let same = readable == writable;
            if !same {
                push(CommandKind::RoleGrantPermission, read);
            }
            // The same range twice is one permission, the last.
            push(CommandKind::RoleGrantPermission, write);
            may.push((user.to_owned(), [if same { NOTHING } else { readable }, writable]));
        }
        push(
            CommandKind::UserAdd,
            AuthUserAddRequest { name: "root".into(), ..Default::default() }.encode_to_vec(),
        );
        let grant = AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
        push(CommandKind::UserGrantRole, grant.encode_to_vec());
        push(CommandKind::AuthEnable, Vec::new());
        entries.push(batch.finish(OTHER));
        Self { may, revision: 0 }.counted()
    }

    /// Each change that was made raised the revision, which begins at 1; putting it in force did not.
    fn counted(mut self) -> Self {
        let grants = |(_, [readable, _]): &(String, [Span; 2])| if *readable == NOTHING { 1 } else { 2 };
        let changes: u64 = self.may.iter().map(|user| 3 + grants(user)).sum();
        self.revision = 1 + changes + 2;
        self
    }

    pub fn root(&self) -> Caller {
        Caller { user: "root".into(), revision: self.revision }
    }

    pub fn caller(&self, random: &mut Random) -> Caller {
        let revision = self.revision - u64::from(random.one_in(20));
        let user = match random.below(12) {
            0 => return Caller { user: String::new(), revision: 0 },
            1 => "ghost",
            2..=5 => "root",
            n => &self.may[n as usize % 3].0,
        };
        Caller { user: user.to_owned(), revision }
    }

    pub fn refusal(&self, caller: &Caller, command: &Command, oracle: &Oracle) -> Option<RequestError> {
        let is_user = |name: &str| name == "root" || self.may.iter().any(|(user, _)| user == name);
        if caller.revision == 0 {
            return Some(RequestError::UserEmpty);
        }
        match command {
            Command::Compaction(_) if !is_user(&caller.user) => return Some(RequestError::UserNotFound),
            Command::Compaction(_) if caller.user != "root" => return Some(RequestError::PermissionDenied),
            Command::LeaseGrant(_) if !is_user(&caller.user) => return Some(RequestError::PermissionDenied),
            Command::Compaction(_) | Command::LeaseGrant(_) => return None,
            Command::LeaseRevoke(_) if !is_user(&caller.user) => return Some(RequestError::PermissionDenied),
            // Root ends leases at any revision, as in etcd.
            Command::LeaseRevoke(_) if caller.user == "root" => return None,
            _ if caller.revision < self.revision && touches(command) => {
                return Some(RequestError::AuthOldRevision);
            }
            _ => {}
        }
        if caller.user == "root" || !touches(command) {
            return None;
        }
        let denied = Some(RequestError::PermissionDenied);
        let Some((_, [read, write])) = self.may.iter().find(|(user, _)| *user == caller.user) else {
            return denied;
        };
        let is_free =
            |lease: i64| lease == 0 || oracle.lease_keys(lease).iter().all(|key| spans(*write, key, b""));
        let may_put = |put: &PutRequest| {
            spans(*write, &put.key, b"")
                && (!put.prev_kv || spans(*read, &put.key, b""))
                && is_free(put.lease)
        };
        let may_delete = |delete: &DeleteRangeRequest| {
            spans(*write, &delete.key, &delete.range_end)
                && (!delete.prev_kv || spans(*read, &delete.key, &delete.range_end))
        };
        let may = match command {
            Command::Put(put) => may_put(put),
            Command::Delete(delete) => may_delete(delete),
            Command::Txn(txn) => may_txn(
                txn,
                &|op| match op {
                    Request::RequestRange(range) => spans(*read, &range.key, &range.range_end),
                    Request::RequestPut(put) => may_put(put),
                    Request::RequestDeleteRange(delete) => may_delete(delete),
                    Request::RequestTxn(_) => true,
                },
                &|compare| spans(*read, &compare.key, &compare.range_end),
            ),
            Command::LeaseRevoke(revoke) => is_free(revoke.id),
            Command::Compaction(_) | Command::LeaseGrant(_) => true,
        };
        if may { None } else { denied }
    }
}

/// Whether anything of a command is looked at: a transaction may be empty.
fn touches(command: &Command) -> bool {
    let Command::Txn(txn) = command else { return true };
    let is_nested = |op: &Request| matches!(op, Request::RequestTxn(_));
    !may_txn(txn, &is_nested, &|_| false)
}

fn may_txn(
    txn: &TxnRequest,
    op_may: &dyn Fn(&Request) -> bool,
    compare_may: &dyn Fn(&Compare) -> bool,
) -> bool {
    let nested = |op: &RequestOp| {
        let request = op.request.as_ref().expect("the generator leaves none out");
        op_may(request)
            && match request {
                Request::RequestTxn(nested) => may_txn(nested, op_may, compare_may),
                _ => true,
            }
    };
    txn.compare.iter().all(compare_may) && txn.success.iter().chain(&txn.failure).all(nested)
}
