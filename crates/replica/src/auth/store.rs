//! Users, roles and permissions, as the log has them, and etcd's rules for changing them. Source: etcd
//! `server/auth/store.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use windlass_api::authpb::permission::Type;
use windlass_api::authpb::{Permission, Role, User as UserRecord, UserAddOptions};
use windlass_api::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGrantPermissionRequest,
    AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
    AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
};
use windlass_records::batch::CommandKind;
use windlass_types::RequestError;
use windlass_types::key::KeyRange;

use super::Keys;
use crate::system::{AUTH, ROLE, System, USER};

/// The user, and the role, that may do everything.
pub const ROOT: &str = "root";

/// The revision of users and roles before the first change of them.
const FIRST_REVISION: u64 = 1;

/// The payload of an `Authenticate` command: a password was right.
#[derive(Clone, PartialEq, Message)]
pub struct Authenticated {
    /// Whose.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What the token begins with, by chance.
    #[prost(string, tag = "2")]
    pub prefix: String,
    /// The revision of users and roles at which it was right.
    #[prost(uint64, tag = "3")]
    pub revision: u64,
}

/// Whose tokens a change makes invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Nobody's.
    None,
    /// This user's.
    Of(String),
    /// Everybody's.
    All,
}

/// The replicated part of authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    enabled: bool,
    revision: u64,
    users: BTreeMap<String, Arc<User>>,
    roles: BTreeMap<String, Arc<Vec<Permission>>>,
}

/// A user, with what follows from its roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// A bcrypt hash; empty for one who has no password.
    pub password: Bytes,
    /// Only a certificate lets this user in.
    pub no_password: bool,
    /// Sorted.
    pub roles: Vec<String>,
    pub(super) access: Access,
}

/// What somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub(super) is_root: bool,
    pub(super) read: Keys,
    pub(super) write: Arc<Keys>,
}

/// The value of the record of authentication as a whole.
#[derive(Clone, PartialEq, Message)]
struct State {
    #[prost(bool, tag = "1")]
    enabled: bool,
    #[prost(uint64, tag = "2")]
    revision: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self { enabled: false, revision: FIRST_REVISION, users: BTreeMap::new(), roles: BTreeMap::new() }
    }
}

impl User {
    /// Whether the user has this role.
    #[must_use]
    pub fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }

    fn record(&self, name: &str) -> UserRecord {
        UserRecord {
            name: name.to_owned().into(),
            password: self.password.clone(),
            roles: self.roles.clone(),
            options: Some(UserAddOptions { no_password: self.no_password }),
        }
    }
}

impl Auth {
    /// From the system records. Panics on one that no version wrote: what is read was verified by its checksum.
    #[must_use]
    pub fn load(system: &System) -> Self {
        const DECODES: &str = "the record decodes";
        let name = |name: Bytes| String::from_utf8(name.to_vec()).expect("a name is text");
        let mut this = Self::default();
        if let Some(state) = system.get(AUTH) {
            let State { enabled, revision } = State::decode(state.clone()).expect(DECODES);
            (this.enabled, this.revision) = (enabled, revision);
        }
        for (_, value) in system.with_prefix(ROLE) {
            let role = Role::decode(value.clone()).expect(DECODES);
            this.roles.insert(name(role.name), Arc::new(role.key_permission));
        }
        for (_, value) in system.with_prefix(USER) {
            let UserRecord { name: user, password, roles, options } =
                UserRecord::decode(value.clone()).expect(DECODES);
            let no_password = options.is_some_and(|options| options.no_password);
            let access = this.access_of(&roles);
            this.users.insert(name(user), Arc::new(User { password, no_password, roles, access }));
        }
        this
    }

    /// Whether anybody must say who they are.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The number of changes of users and roles, so that an old word about them is told from a new one.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A user.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(|user| &**user)
    }

    /// The names of all users, sorted.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// The names of all roles, sorted.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// The permissions of a role, as etcd lists them.
    #[must_use]
    pub fn permissions(&self, role: &str) -> Option<Vec<Permission>> {
        let all = || Permission {
            perm_type: Type::Readwrite as i32,
            key: Bytes::new(),
            range_end: Bytes::from_static(&[0]),
        };
        let permissions = self.roles.get(role)?;
        Some(if role == ROOT { vec![all()] } else { permissions.to_vec() })
    }

    /// Whether this user reads and writes every key and may do all else.
    #[must_use]
    pub fn is_root(&self, name: &str) -> bool {
        self.user(name).is_some_and(|user| user.access.is_root)
    }

    /// Whether a password that was checked at a revision still gives its user a token.
    ///
    /// # Errors
    /// etcd's; [`RequestError::AuthOldRevision`] if it must be checked again.
    pub fn authenticate(&self, login: &Authenticated) -> Result<(), RequestError> {
        if !self.enabled {
            return Err(RequestError::AuthNotEnabled);
        }
        match self.user(&login.name) {
            Some(user) if !user.no_password && login.revision == self.revision => Ok(()),
            Some(user) if !user.no_password => Err(RequestError::AuthOldRevision),
            _ => Err(RequestError::AuthFailed),
        }
    }

    /// Makes the change that a command is, and writes it down.
    ///
    /// # Errors
    /// etcd's. Then nothing has changed.
    pub fn change(
        &mut self,
        kind: CommandKind,
        payload: &[u8],
        system: &mut System,
    ) -> Result<Invalid, RequestError> {
        match kind {
            CommandKind::AuthEnable => self.enable(system),
            CommandKind::AuthDisable => Ok(self.disable(system)),
            CommandKind::UserAdd => self.user_add(read(payload)?, system),
            CommandKind::UserDelete => self.user_delete(&read(payload)?, system),
            CommandKind::UserChangePassword => self.user_change_password(&read(payload)?, system),
            CommandKind::UserGrantRole => self.user_grant_role(read(payload)?, system),
            CommandKind::UserRevokeRole => self.user_revoke_role(&read(payload)?, system),
            CommandKind::RoleAdd => self.role_add(read(payload)?, system),
            CommandKind::RoleDelete => self.role_delete(&read(payload)?, system),
            CommandKind::RoleGrantPermission => self.role_grant(read(payload)?, system),
            CommandKind::RoleRevokePermission => self.role_revoke(&read(payload)?, system),
            kind => unreachable!("{kind:?} changes no users"),
        }
    }

    fn enable(&mut self, system: &mut System) -> Result<Invalid, RequestError> {
        if !self.enabled {
            let root = self.user(ROOT).ok_or(RequestError::RootUserNotExist)?;
            if !root.has(ROOT) {
                return Err(RequestError::RootRoleNotExist);
            }
            self.enabled = true;
            self.write_state(system);
        }
        Ok(Invalid::None)
    }

    fn disable(&mut self, system: &mut System) -> Invalid {
        if !self.enabled {
            return Invalid::None;
        }
        self.enabled = false;
        self.changed(system);
        Invalid::All
    }

    fn user_add(
        &mut self,
        request: AuthUserAddRequest,
        system: &mut System,
    ) -> Result<Invalid, RequestError> {
        if request.name.is_empty() {
            return Err(RequestError::UserEmpty);
        }
        if self.users.contains_key(&request.name) {
            return Err(RequestError::UserAlreadyExist);
        }
        let no_password = request.options.is_some_and(|options| options.no_password);
        let password = if no_password { Bytes::new() } else { hash_in(&request.hashed_password)? };
        let user = User { password, no_password, roles: Vec::new(), access: Access::default() };
        self.put_user(&request.name, user, system);
        self.changed(system);
        Ok(Invalid::None)
    }

    fn user_delete(
        &mut self,
        request: &AuthUserDeleteRequest,
        system: &mut System,
    ) -> Result<Invalid, RequestError> {
        if self.enabled && request.name == ROOT {
            return Err(RequestError::InvalidAuthManagement);
        }
        self.users.remove(&request.name).ok_or(RequestError::UserNotFound)?;
        system.delete(&record(USER, &request.name));
        self.changed(system);
        Ok(Invalid::Of(request.name.clone()))
    }

    fn user_change_password(
        &mut self,
        request: &AuthUserChangePasswordRequest,
        system: &mut System,
    ) -> Result<Invalid, RequestError> {
        let mut user = self.user(&request.name).cloned().ok_or(RequestError::UserNotFound)?;
        if user.no_password {
            user.password = Bytes::new();
        } else {
            user.password = hash_in(&request.hashed_password)?;
        }
        self.put_user(&request.name, user, system);
        self.changed(system);
        Ok(Invalid::Of(request.name.clone()))
    }

    fn user_grant_role(
        &mut self,
        request: AuthUserGrantRoleRequest,
        system: &mut System,
    ) -> Result<Invalid, RequestError> {
        let mut user = self.user(&request.user).cloned().ok_or(RequestError::UserNotFound)?;
        if request.role != ROOT && !self.roles.contains_key(&request.role) {
            return Err(RequestError::RoleNotFound);
        }
        if !user.has(&request.role) {
            user.roles.push(request.role);
            user.roles.sort();
            self.put_user(&request.user, user, system);
            self.changed(system);
        }
        Ok(Invalid::None)
    }

    fn user_revoke_role(
        &mut self,
        request: &AuthUserRevokeRoleRequest,
        system: &mut System,
    ) -> Result<Invalid, RequestError> {
        if self.enabled && request.name == ROOT && request.role == ROOT {
            return Err(RequestError::InvalidAuthManagement);
        }
        let mut user = self.user(&request.name).cloned().ok_or(RequestError::UserNotFound)?;
        if !user.has(&request.role) {
            return Err(RequestError::RoleNotGranted);
        }
        user.roles.retain(|role| *role != request.role);
        self.put_user(&request.name, user, system);
        self.changed(system);
        Ok(Invalid::None)
    }

    fn role_add(
        &mut self,
        request: AuthRoleAddRequest,
        system: &mut System,
    ) -> Result<Invalid, RequestError> {
        if request.name.is_empty() {
            return Err(RequestError::RoleEmpty);
        }
        if self.roles.contains_key(&request.name) {
            return Err(RequestError::RoleAlreadyExist);
        }
        self.put_role(&request.name, Vec::new(), system);
        self.changed(system);
        Ok(Invalid::None)
    }

    fn role_delete(
        &mut self,
        request: &AuthRoleDeleteRequest,
        system: &mut System,
    ) -> Result<Invalid, RequestError> {
        if self.enabled && request.role == ROOT {
            return Err(RequestError::InvalidAuthManagement);
        }
        self.roles.remove(&request.role).ok_or(RequestError::RoleNotFound)?;
        system.delete(&record(ROLE, &request.role));
        for (name, mut user) in self.holders(&request.role) {
            user.roles.retain(|role| *role != request.role);
            self.put_user(&name, user, system);
        }
        self.changed(system);
        Ok(Invalid::None)
    }

    fn role_grant(
        &mut self,
        request: AuthRoleGrantPermissionRequest,
        system: &mut System,
    ) -> Result<Invalid, RequestError> {
        let granted = request.perm.ok_or(RequestError::PermissionNotGiven)?;
        if !is_valid(&granted) {
            return Err(RequestError::InvalidAuthManagement);
        }
        let mut permissions =
            self.roles.get(&request.name).map(|p| p.to_vec()).ok_or(RequestError::RoleNotFound)?;
        let same = |p: &&mut Permission| p.key == granted.key && p.range_end == granted.range_end;
        match permissions.iter_mut().find(same) {
            Some(known) => known.perm_type = granted.perm_type,
            None => permissions.push(granted),
        }
        permissions.sort_by(|a, b| a.key.cmp(&b.key));
        self.put_role(&request.name, permissions, system);
        self.changed(system);
        Ok(Invalid::None)
    }

    fn role_revoke(
        &mut self,
        request: &AuthRoleRevokePermissionRequest,
        system: &mut System,
    ) -> Result<Invalid, RequestError> {
        let known = self.roles.get(&request.role).ok_or(RequestError::RoleNotFound)?;
        let mut permissions = known.to_vec();
        permissions.retain(|p| p.key != request.key || p.range_end != request.range_end);
        if permissions.len() == known.len() {
            return Err(RequestError::PermissionNotGranted);
        }
        self.put_role(&request.role, permissions, system);
        self.changed(system);
        Ok(Invalid::None)
    }

    fn holders(&self, role: &str) -> Vec<(String, User)> {
        let holders = self.users.iter().filter(|(_, user)| user.has(role));
        holders.map(|(name, user)| (name.clone(), (**user).clone())).collect()
    }

    fn put_user(&mut self, name: &str, mut user: User, system: &mut System) {
        user.access = self.access_of(&user.roles);
        system.put(record(USER, name), user.record(name).encode_to_vec().into());
        self.users.insert(name.to_owned(), Arc::new(user));
    }

    fn put_role(&mut self, name: &str, permissions: Vec<Permission>, system: &mut System) {
        let role = Role { name: name.to_owned().into(), key_permission: permissions };
        system.put(record(ROLE, name), role.encode_to_vec().into());
        self.roles.insert(name.to_owned(), Arc::new(role.key_permission));
        for (name, mut user) in self.holders(name) {
            user.access = self.access_of(&user.roles);
            self.users.insert(name, Arc::new(user));
        }
    }

    /// What the roles give together.
    fn access_of(&self, roles: &[String]) -> Access {
        let permissions = || roles.iter().filter_map(|role| self.roles.get(role)).flat_map(|p| p.iter());
        let keys = |other: Type| {
            let gives = move |p: &&Permission| Type::try_from(p.perm_type).is_ok_and(|kind| kind != other);
            Keys::of(permissions().filter(gives).map(|p| KeyRange::new(&p.key, &p.range_end)))
        };
        let (read, write) = (keys(Type::Write), Arc::new(keys(Type::Read)));
        Access { is_root: roles.iter().any(|role| role == ROOT), read, write }
    }

    fn changed(&mut self, system: &mut System) {
        self.revision += 1;
        self.write_state(system);
    }

    /// Writes down what a store that is imported said of authentication as a whole. Its users and roles are records of
    /// their own.
    pub(crate) fn import_state(enabled: bool, revision: u64, system: &mut System) {
        Self { enabled, revision: revision.max(FIRST_REVISION), ..Self::default() }.write_state(system);
    }

    fn write_state(&self, system: &mut System) {
        let state = State { enabled: self.enabled, revision: self.revision };
        system.put(Bytes::from_static(AUTH), state.encode_to_vec().into());
    }
}

fn read<M: Message + Default>(payload: &[u8]) -> Result<M, RequestError> {
    M::decode(payload).map_err(|_| RequestError::Corrupt)
}

/// The hash that a request carries, in base64 as etcd's.
fn hash_in(text: &str) -> Result<Bytes, RequestError> {
    STANDARD.decode(text).map(Bytes::from).map_err(|_| RequestError::NoPasswordUser)
}

fn record(prefix: &[u8], name: &str) -> Bytes {
    [prefix, name.as_bytes()].concat().into()
}

/// Source: etcd `range_perm_cache.go` `isValidPermissionRange`.
fn is_valid(permission: &Permission) -> bool {
    let Permission { key, range_end, .. } = permission;
    !key.is_empty() && (range_end.is_empty() || key < range_end || range_end[..] == [0])
}
