//! What alarms, users and roles forbid, as the committed log has them: a model of its own, as plain as can be. Source: etcd
//! `server/auth/store.go`, `etcdserver/apply/auth.go`, `etcdserver/api/v3alarm`.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use windlass_api::authpb::Permission;
use windlass_api::authpb::permission::Type;
use windlass_api::etcdserverpb::alarm_request::AlarmAction;
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{
    AlarmMember, AlarmResponse, AlarmType, AuthRoleAddRequest, AuthRoleDeleteRequest,
    AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
    AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, AuthenticateResponse,
    DeleteRangeRequest, LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest,
};
use windlass_records::batch::CommandKind;
use windlass_replica::alarm::AlarmCommand;
use windlass_replica::oracle::Oracle;
use windlass_replica::sequencer::Response;
use windlass_types::{RequestError, Revision};

use super::Answer;
use super::log::ENCODED;

/// The name of the user, and of the role, that may do everything.
const ROOT: &str = "root";

/// Who asks, and at which revision of users and roles that was found out. Nobody has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: String,
    /// The revision.
    pub revision: u64,
}

impl Identity {
    /// Reads what a command says of who asked: eight bytes of revision, and the name.
    #[must_use]
    pub fn decode(credential: &[u8]) -> Self {
        let Some((revision, name)) = credential.split_first_chunk::<8>() else { return Self::default() };
        let user = String::from_utf8_lossy(name).into_owned();
        Self { user, revision: u64::from_le_bytes(*revision) }
    }
}

/// Something that must be allowed.
enum Need<'a> {
    Read(&'a [u8], &'a [u8]),
    Write(&'a [u8], &'a [u8]),
    WriteAttached(i64),
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    alarms: BTreeSet<(i32, u64)>,
    enabled: bool,
    revision: u64,
    users: BTreeMap<String, BTreeSet<String>>,
    roles: BTreeMap<String, Vec<Permission>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            alarms: BTreeSet::new(),
            enabled: false,
            revision: 1,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
        }
    }
}

impl Rules {
    /// Whether the store may not grow.
    #[must_use]
    pub fn stop_growth(&self) -> bool {
        !self.alarms.is_empty()
    }

    /// Whether leases end by themselves.
    #[must_use]
    pub fn let_leases_end(&self) -> bool {
        !self.has(AlarmType::Corrupt)
    }

    fn has(&self, kind: AlarmType) -> bool {
        self.alarms.iter().any(|(raised, _)| *raised == kind as i32)
    }

    /// What a command about keys or leases is refused with before it is looked at.
    pub fn refuse(
        &self,
        who: &Identity,
        kind: CommandKind,
        payload: &[u8],
        oracle: &Oracle,
    ) -> Option<RequestError> {
        self.alarmed(kind, payload)
            .or_else(|| if self.enabled { self.forbidden(who, kind, payload, oracle).err() } else { None })
    }

    fn alarmed(&self, kind: CommandKind, payload: &[u8]) -> Option<RequestError> {
        if self.has(AlarmType::Corrupt) {
            return Some(RequestError::Corrupt);
        }
        let grows = match kind {
            CommandKind::Put | CommandKind::LeaseGrant => true,
            CommandKind::Txn => puts(&TxnRequest::decode(payload).expect(ENCODED)),
            _ => false,
        };
        (grows && self.has(AlarmType::Nospace)).then_some(RequestError::NoSpace)
    }

    fn forbidden(
        &self,
        who: &Identity,
        kind: CommandKind,
        payload: &[u8],
        oracle: &Oracle,
    ) -> Result<(), RequestError> {
        match kind {
            CommandKind::Put => {
                let put = PutRequest::decode(payload).expect(ENCODED);
                self.permit_all(who, &needs_of_put(&put), oracle)
            }
            CommandKind::DeleteRange => {
                let delete = DeleteRangeRequest::decode(payload).expect(ENCODED);
                self.permit_all(who, &needs_of_delete(&delete), oracle)
            }
            CommandKind::Txn => {
                let txn = TxnRequest::decode(payload).expect(ENCODED);
                self.permit_all(who, &needs_of_txn(&txn), oracle)
            }
            CommandKind::LeaseGrant => self.be_somebody(who),
            CommandKind::LeaseRevoke => {
                let LeaseRevokeRequest { id } = LeaseRevokeRequest::decode(payload).expect(ENCODED);
                self.be_somebody(who)?;
                if self.is_root(&who.user) {
                    return Ok(());
                }
                self.be_current(who)?;
                if oracle.leases().contains_key(&id) {
                    self.permit_all(who, &[Need::WriteAttached(id)], oracle)
                } else {
                    Ok(())
                }
            }
            CommandKind::Compaction => self.be_root(who),
            _ => Ok(()),
        }
    }

    /// Whether a range may be read.
    ///
    /// # Errors
    /// What its client is told if not.
    pub fn permit_range(
        &self,
        who: &Identity,
        range: &RangeRequest,
        oracle: &Oracle,
    ) -> Result<(), RequestError> {
        self.permit_all(who, &[Need::Read(&range.key, &range.range_end)], oracle)
    }

    /// Whether a transaction that only reads may be.
    ///
    /// # Errors
    /// What its client is told if not.
    pub fn permit_txn(&self, who: &Identity, txn: &TxnRequest, oracle: &Oracle) -> Result<(), RequestError> {
        self.permit_all(who, &needs_of_txn(txn), oracle)
    }

    fn permit_all(&self, who: &Identity, needs: &[Need<'_>], oracle: &Oracle) -> Result<(), RequestError> {
        if !self.enabled {
            return Ok(());
        }
        // What the keys of leases decide is asked last, by the shards.
        let (attached, named): (Vec<_>, Vec<_>) =
            needs.iter().partition(|need| matches!(need, Need::WriteAttached(_)));
        if !named.is_empty() {
            self.be_current(who)?;
        }
        let root = self.is_root(&who.user);
        let allowed = |need: &Need<'_>| match *need {
            Need::Read(key, end) => self.covers(who, Type::Read, key, end),
            Need::Write(key, end) => self.covers(who, Type::Write, key, end),
            Need::WriteAttached(lease) => {
                oracle.lease_keys(lease).iter().all(|key| self.covers(who, Type::Write, key, &[]))
            }
        };
        let all = root || named.into_iter().chain(attached).all(allowed);
        if all { Ok(()) } else { Err(RequestError::PermissionDenied) }
    }

    fn be_current(&self, who: &Identity) -> Result<(), RequestError> {
        if who.user.is_empty() {
            return Err(RequestError::UserEmpty);
        }
        if who.revision < self.revision { Err(RequestError::AuthOldRevision) } else { Ok(()) }
    }

    fn be_somebody(&self, who: &Identity) -> Result<(), RequestError> {
        if who.user.is_empty() {
            return Err(RequestError::UserEmpty);
        }
        if self.users.contains_key(&who.user) { Ok(()) } else { Err(RequestError::PermissionDenied) }
    }

    fn be_root(&self, who: &Identity) -> Result<(), RequestError> {
        if !self.enabled {
            return Ok(());
        }
        if who.user.is_empty() {
            return Err(RequestError::UserEmpty);
        }
        if !self.users.contains_key(&who.user) {
            return Err(RequestError::UserNotFound);
        }
        if self.is_root(&who.user) { Ok(()) } else { Err(RequestError::PermissionDenied) }
    }

    fn is_root(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|roles| roles.contains(ROOT))
    }

    /// Whether every key of a range is in the ranges of some role: goes from range to range, as far as they reach.
    fn covers(&self, who: &Identity, kind: Type, key: &[u8], end: &[u8]) -> bool {
        let Some(roles) = self.users.get(&who.user) else { return false };
        let permissions = roles.iter().filter_map(|role| self.roles.get(role)).flatten();
        let fitting: Vec<(&[u8], Vec<u8>)> = permissions
            .filter(|p| p.perm_type == kind as i32 || p.perm_type == Type::Readwrite as i32)
            .map(|p| (&p.key[..], end_of(&p.key, &p.range_end)))
            .collect();
        let (mut at, end) = (key.to_vec(), end_of(key, end));
        // A range without keys is one of its first.
        let end = if end > at { end } else { end_of(key, &[]) };
        while at < end {
            let reach =
                fitting.iter().filter(|(start, to)| *start <= &at[..] && *to > at).map(|(_, to)| to).max();
            let Some(reach) = reach else { return false };
            at.clone_from(reach);
        }
        true
    }

    /// Whether a command is about alarms or users.
    #[must_use]
    pub fn are_changed_by(kind: CommandKind) -> bool {
        matches!(
            kind,
            CommandKind::Alarm
                | CommandKind::AuthEnable
                | CommandKind::AuthDisable
                | CommandKind::UserAdd
                | CommandKind::UserDelete
                | CommandKind::UserGrantRole
                | CommandKind::UserRevokeRole
                | CommandKind::RoleAdd
                | CommandKind::RoleDelete
                | CommandKind::RoleGrantPermission
                | CommandKind::RoleRevokePermission
        )
    }

    /// The answer to a command about alarms or users.
    pub fn change(
        &mut self,
        who: &Identity,
        kind: CommandKind,
        payload: &[u8],
        revision: Revision,
    ) -> Answer {
        self.be_root(who)?;
        let header = Some(ResponseHeader { revision: revision.0, ..ResponseHeader::default() });
        if kind == CommandKind::Alarm {
            let command: AlarmCommand = read(payload);
            let response = AlarmResponse { header, alarms: self.alarm(&command) };
            return Ok(Response::Alarm { response, by_quota: false });
        }
        self.change_users(kind, payload)?;
        Ok(Response::Auth(AuthenticateResponse { header, token: String::new() }))
    }

    fn change_users(&mut self, kind: CommandKind, payload: &[u8]) -> Result<(), RequestError> {
        match kind {
            CommandKind::AuthEnable => self.enable(),
            CommandKind::AuthDisable => {
                self.revision += u64::from(std::mem::take(&mut self.enabled));
                Ok(())
            }
            CommandKind::UserAdd => self.user_add(read(payload)),
            CommandKind::UserDelete => self.user_delete(&read(payload)),
            CommandKind::UserGrantRole => self.user_grant(read(payload)),
            CommandKind::UserRevokeRole => self.user_revoke(&read(payload)),
            CommandKind::RoleAdd => self.role_add(read(payload)),
            CommandKind::RoleDelete => self.role_delete(&read(payload)),
            CommandKind::RoleGrantPermission => self.role_grant(read(payload)),
            CommandKind::RoleRevokePermission => self.role_revoke(&read(payload)),
            kind => unreachable!("{kind:?} is not about users"),
        }
    }

    fn alarm(&mut self, command: &AlarmCommand) -> Vec<AlarmMember> {
        let name = (command.request.alarm, command.request.member_id);
        let listed = vec![AlarmMember { alarm: name.0, member_id: name.1 }];
        match command.request.action() {
            AlarmAction::Activate => {
                self.alarms.insert(name);
                listed
            }
            AlarmAction::Deactivate if self.alarms.remove(&name) => listed,
            _ => Vec::new(),
        }
    }

    fn enable(&mut self) -> Result<(), RequestError> {
        if !self.enabled {
            let root = self.users.get(ROOT).ok_or(RequestError::RootUserNotExist)?;
            if !root.contains(ROOT) {
                return Err(RequestError::RootRoleNotExist);
            }
            self.enabled = true;
        }
        Ok(())
    }

    fn user_add(&mut self, request: AuthUserAddRequest) -> Result<(), RequestError> {
        if self.users.contains_key(&request.name) {
            return Err(RequestError::UserAlreadyExist);
        }
        self.users.insert(request.name, BTreeSet::new());
        self.revision += 1;
        Ok(())
    }

    fn user_delete(&mut self, request: &AuthUserDeleteRequest) -> Result<(), RequestError> {
        if self.enabled && request.name == ROOT {
            return Err(RequestError::InvalidAuthManagement);
        }
        self.users.remove(&request.name).ok_or(RequestError::UserNotFound)?;
        self.revision += 1;
        Ok(())
    }

    fn user_grant(&mut self, request: AuthUserGrantRoleRequest) -> Result<(), RequestError> {
        let known = request.role == ROOT || self.roles.contains_key(&request.role);
        let user = self.users.get_mut(&request.user).ok_or(RequestError::UserNotFound)?;
        if !known {
            return Err(RequestError::RoleNotFound);
        }
        self.revision += u64::from(user.insert(request.role));
        Ok(())
    }

    fn user_revoke(&mut self, request: &AuthUserRevokeRoleRequest) -> Result<(), RequestError> {
        if self.enabled && request.name == ROOT && request.role == ROOT {
            return Err(RequestError::InvalidAuthManagement);
        }
        let user = self.users.get_mut(&request.name).ok_or(RequestError::UserNotFound)?;
        if !user.remove(&request.role) {
            return Err(RequestError::RoleNotGranted);
        }
        self.revision += 1;
        Ok(())
    }

    fn role_add(&mut self, request: AuthRoleAddRequest) -> Result<(), RequestError> {
        if self.roles.contains_key(&request.name) {
            return Err(RequestError::RoleAlreadyExist);
        }
        self.roles.insert(request.name, Vec::new());
        self.revision += 1;
        Ok(())
    }

    fn role_delete(&mut self, request: &AuthRoleDeleteRequest) -> Result<(), RequestError> {
        if self.enabled && request.role == ROOT {
            return Err(RequestError::InvalidAuthManagement);
        }
        self.roles.remove(&request.role).ok_or(RequestError::RoleNotFound)?;
        for roles in self.users.values_mut() {
            roles.remove(&request.role);
        }
        self.revision += 1;
        Ok(())
    }

    fn role_grant(&mut self, request: AuthRoleGrantPermissionRequest) -> Result<(), RequestError> {
        let given = request.perm.ok_or(RequestError::PermissionNotGiven)?;
        if end_of(&given.key, &given.range_end) <= given.key.to_vec() {
            return Err(RequestError::InvalidAuthManagement);
        }
        let role = self.roles.get_mut(&request.name).ok_or(RequestError::RoleNotFound)?;
        role.retain(|p| (&p.key, &p.range_end) != (&given.key, &given.range_end));
        role.push(given);
        self.revision += 1;
        Ok(())
    }

    fn role_revoke(&mut self, request: &AuthRoleRevokePermissionRequest) -> Result<(), RequestError> {
        let role = self.roles.get_mut(&request.role).ok_or(RequestError::RoleNotFound)?;
        let before = role.len();
        role.retain(|p| (&p.key, &p.range_end) != (&request.key, &request.range_end));
        if role.len() == before {
            return Err(RequestError::PermissionNotGranted);
        }
        self.revision += 1;
        Ok(())
    }
}

/// Where a range ends: behind its key, at its end, or never, which is above every key that clients use.
fn end_of(key: &[u8], end: &[u8]) -> Vec<u8> {
    match end {
        [] => [key, &[0]].concat(),
        [0] => vec![u8::MAX; 64],
        end => end.to_vec(),
    }
}

fn read<T: Message + Default>(payload: &[u8]) -> T {
    T::decode(payload).expect(ENCODED)
}

fn puts(txn: &TxnRequest) -> bool {
    branches(txn).any(|op| match &op.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(nested)) => puts(nested),
        _ => false,
    })
}

fn branches(txn: &TxnRequest) -> impl Iterator<Item = &RequestOp> {
    txn.success.iter().chain(&txn.failure)
}

fn needs_of_put(put: &PutRequest) -> Vec<Need<'_>> {
    let mut needs = vec![Need::Write(&put.key, &[])];
    needs.extend(put.prev_kv.then_some(Need::Read(&put.key, &[])));
    needs.extend((put.lease != 0).then_some(Need::WriteAttached(put.lease)));
    needs
}

fn needs_of_delete(delete: &DeleteRangeRequest) -> Vec<Need<'_>> {
    let mut needs = vec![Need::Write(&delete.key, &delete.range_end)];
    needs.extend(delete.prev_kv.then_some(Need::Read(&delete.key, &delete.range_end)));
    needs
}

fn needs_of_txn(txn: &TxnRequest) -> Vec<Need<'_>> {
    let mut needs: Vec<Need<'_>> = txn.compare.iter().map(|c| Need::Read(&c.key, &c.range_end)).collect();
    for op in branches(txn) {
        match op.request.as_ref().expect("clients send whole requests") {
            Request::RequestRange(range) => needs.push(Need::Read(&range.key, &range.range_end)),
            Request::RequestPut(put) => needs.extend(needs_of_put(put)),
            Request::RequestDeleteRange(delete) => needs.extend(needs_of_delete(delete)),
            Request::RequestTxn(nested) => needs.extend(needs_of_txn(nested)),
        }
    }
    needs
}
