//! The Auth service: users, roles, and passwords for tokens.
//!
//! What changes users goes through the log, with hashes for passwords. What asks about them is a linearizable read. Who gives
//! a password is answered after a read, for it must not be an old one, and after a thread of its own compared it.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use windlass_api::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest,
    AuthRoleGetResponse, AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthRoleListResponse,
    AuthRoleRevokePermissionRequest, AuthStatusRequest, AuthStatusResponse, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest, AuthUserGetResponse,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserListResponse, AuthUserRevokeRoleRequest,
    AuthenticateRequest, AuthenticateResponse, RangeRequest,
};
use windlass_records::batch::CommandKind;
use windlass_replica::auth::{Authenticated, Need};
use windlass_replica::reading::ReadRequest;
use windlass_rpc::CallId;
use windlass_types::{RequestError, RequestId};

use super::ToArbiter;
use super::actor::Told;
use super::arbiter::Arbiter;
use super::reads::Reader;
use crate::auth::{Caller, Done, Work};

/// How often a login is begun anew because users or roles changed while its password was compared.
const LOGIN_TRIES_MAX: u8 = 5;

/// A method of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the service's own
pub enum AuthMethod {
    Enable,
    Disable,
    Status,
    Authenticate,
    UserAdd,
    UserGet,
    UserList,
    UserDelete,
    UserChangePassword,
    UserGrantRole,
    UserRevokeRole,
    RoleAdd,
    RoleGet,
    RoleList,
    RoleDelete,
    RoleGrantPermission,
    RoleRevokePermission,
}

/// What is to be found out of users and roles as of a place in the log.
#[derive(Debug)]
pub enum Ask {
    /// Whether authentication is in force.
    Status,
    /// One user.
    User(String),
    /// All users.
    Users,
    /// One role.
    Role(String),
    /// All roles.
    Roles,
    /// A token.
    Token(Login),
    /// Whether a user may be given a password.
    Password(NewPassword),
}

/// Somebody who gives a password.
#[derive(Clone)]
pub struct Login {
    name: String,
    password: String,
    tries: u8,
}

/// A password that is to be set; the change is proposed with its hash.
#[derive(Clone)]
pub enum NewPassword {
    /// Of a new user.
    Add(AuthUserAddRequest),
    /// Of a known one.
    Change(AuthUserChangePasswordRequest),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword")
    }
}

impl NewPassword {
    /// What is to be hashed, if anything is.
    fn password(&self) -> Option<&str> {
        match self {
            Self::Add(add) => {
                let has_none = add.options.is_some_and(|options| options.no_password);
                (!has_none).then_some(&add.password)
            }
            // Without one, what the client hashed itself counts.
            Self::Change(change) => (!change.password.is_empty()).then_some(&change.password),
        }
    }

    fn set_hash(&mut self, hash: &str) {
        let field = match self {
            Self::Add(add) => &mut add.hashed_password,
            Self::Change(change) => &mut change.hashed_password,
        };
        *field = STANDARD.encode(hash);
    }

    /// As a command: the log never has a password.
    fn into_command(self) -> (CommandKind, Vec<u8>) {
        match self {
            Self::Add(add) => {
                let add = AuthUserAddRequest { password: String::new(), ..add };
                (CommandKind::UserAdd, add.encode_to_vec())
            }
            Self::Change(change) => {
                let change = AuthUserChangePasswordRequest { password: String::new(), ..change };
                (CommandKind::UserChangePassword, change.encode_to_vec())
            }
        }
    }
}

/// The calls about passwords that wait, of one arbiter; bounded by its calls.
#[derive(Default)]
pub struct Passwords {
    /// For a thread.
    comparing: HashMap<RequestId, (Login, u64)>,
    hashing: HashMap<RequestId, (NewPassword, Caller)>,
    /// For a token that the log assigns.
    assigning: HashMap<RequestId, Login>,
}

impl Passwords {
    /// Forgets a call that is over.
    pub fn forget(&mut self, id: RequestId) {
        self.comparing.remove(&id);
        self.hashing.remove(&id);
        self.assigning.remove(&id);
    }

    /// Forgets calls whose clients are gone.
    pub fn withdrawn(&mut self, ids: &HashSet<RequestId>) {
        self.comparing.retain(|id, _| !ids.contains(id));
        self.hashing.retain(|id, _| !ids.contains(id));
        self.assigning.retain(|id, _| !ids.contains(id));
    }
}

impl Arbiter {
    /// A call of the service.
    pub(super) fn auth(&mut self, call: CallId, method: AuthMethod, message: &[u8]) {
        use AuthMethod as Of;
        use CommandKind as Kind;
        match method {
            Of::Enable => self.change_users::<AuthEnableRequest>(call, Kind::AuthEnable, message),
            Of::Disable => self.change_users::<AuthDisableRequest>(call, Kind::AuthDisable, message),
            Of::UserDelete => self.change_users::<AuthUserDeleteRequest>(call, Kind::UserDelete, message),
            Of::UserGrantRole => {
                self.change_users::<AuthUserGrantRoleRequest>(call, Kind::UserGrantRole, message);
            }
            Of::UserRevokeRole => {
                self.change_users::<AuthUserRevokeRoleRequest>(call, Kind::UserRevokeRole, message);
            }
            Of::RoleAdd => self.change_users::<AuthRoleAddRequest>(call, Kind::RoleAdd, message),
            Of::RoleDelete => self.change_users::<AuthRoleDeleteRequest>(call, Kind::RoleDelete, message),
            Of::RoleGrantPermission => {
                self.change_users::<AuthRoleGrantPermissionRequest>(call, Kind::RoleGrantPermission, message);
            }
            Of::RoleRevokePermission => {
                let kind = Kind::RoleRevokePermission;
                self.change_users::<AuthRoleRevokePermissionRequest>(call, kind, message);
            }
            Of::Status => self.ask(call, message, |_: AuthStatusRequest| Ask::Status),
            Of::UserGet => self.ask(call, message, |get: AuthUserGetRequest| Ask::User(get.name)),
            Of::UserList => self.ask(call, message, |_: AuthUserListRequest| Ask::Users),
            Of::RoleGet => self.ask(call, message, |get: AuthRoleGetRequest| Ask::Role(get.role)),
            Of::RoleList => self.ask(call, message, |_: AuthRoleListRequest| Ask::Roles),
            Of::Authenticate => self.ask(call, message, |login: AuthenticateRequest| {
                let AuthenticateRequest { name, password } = login;
                Ask::Token(Login { name, password, tries: 0 })
            }),
            Of::UserAdd => {
                self.ask(call, message, |add: AuthUserAddRequest| Ask::Password(NewPassword::Add(add)));
            }
            Of::UserChangePassword => self.ask(call, message, |change: AuthUserChangePasswordRequest| {
                Ask::Password(NewPassword::Change(change))
            }),
        }
    }

    fn change_users<M: Message + Default>(&mut self, call: CallId, kind: CommandKind, message: &[u8]) {
        match M::decode(message) {
            Ok(_) => self.propose(call, kind, message),
            Err(error) => self.refuse_message(call, &error),
        }
    }

    fn ask<M: Message + Default>(&mut self, call: CallId, message: &[u8], ask: impl FnOnce(M) -> Ask) {
        match M::decode(message) {
            Ok(request) => self.ask_users(call, ask(request)),
            Err(error) => self.refuse_message(call, &error),
        }
    }

    fn ask_users(&mut self, call: CallId, ask: Ask) {
        let range = RangeRequest { key: "\0".into(), count_only: true, ..RangeRequest::default() };
        self.read(Reader::Auth(call, Box::new(ask)), ReadRequest::Range(range.into()), false);
    }

    /// Answers as of what this member has applied, which is what was acknowledged before the call came.
    pub(super) fn answer_about_users(&mut self, call: CallId, caller: Caller, ask: Ask) {
        let auth = self.published.auth();
        let header = Some(self.headers.now());
        let need = match &ask {
            Ask::Status | Ask::Token(_) => None,
            Ask::User(name) => Some(Need::Be(name)),
            Ask::Role(name) => Some(Need::Have(name)),
            Ask::Users | Ask::Roles | Ask::Password(_) => Some(Need::Root),
        };
        if let Err(error) = need.map_or(Ok(None), |need| self.permit(&caller, need)) {
            return self.refuse(call, error);
        }
        let names = |names: &mut dyn Iterator<Item = &str>| names.map(str::to_owned).collect();
        match ask {
            Ask::Status => {
                let (enabled, auth_revision) = (auth.is_enabled(), auth.revision());
                self.reply(call, &AuthStatusResponse { header, enabled, auth_revision });
            }
            Ask::User(name) => match auth.user(&name) {
                Some(user) => self.reply(call, &AuthUserGetResponse { header, roles: user.roles.clone() }),
                None => self.refuse(call, RequestError::UserNotFound),
            },
            Ask::Users => self.reply(call, &AuthUserListResponse { header, users: names(&mut auth.users()) }),
            Ask::Role(name) => match auth.permissions(&name) {
                Some(perm) => self.reply(call, &AuthRoleGetResponse { header, perm }),
                None => self.refuse(call, RequestError::RoleNotFound),
            },
            Ask::Roles => self.reply(call, &AuthRoleListResponse { header, roles: names(&mut auth.roles()) }),
            Ask::Token(login) => self.compare_password(call, login),
            Ask::Password(new) => self.hash_password(call, caller, new),
        }
    }

    /// Has the password of a login compared. Source: etcd `store.go` `CheckPassword`.
    fn compare_password(&mut self, call: CallId, login: Login) {
        let auth = self.published.auth();
        if !auth.is_enabled() {
            return self.refuse(call, RequestError::AuthNotEnabled);
        }
        let user = auth.user(&login.name).ok_or(RequestError::AuthFailed);
        let user =
            user.and_then(|user| if user.no_password { Err(RequestError::NoPasswordUser) } else { Ok(user) });
        let hash = match user {
            Ok(user) => String::from_utf8_lossy(&user.password).into_owned(),
            Err(error) => return self.refuse_login(call, &login, error),
        };
        let revision = auth.revision();
        let sign = self.authority.signer().map(|jws| (jws, login.name.clone(), revision));
        let work = Work::Login { password: login.password.clone(), hash, sign };
        if let Some(id) = self.submit(call, work) {
            self.passwords.comparing.insert(id, (login, revision));
        }
    }

    fn hash_password(&mut self, call: CallId, caller: Caller, new: NewPassword) {
        match new.password().map(str::to_owned) {
            Some(password) => {
                if let Some(id) = self.submit(call, Work::Hash(password)) {
                    self.passwords.hashing.insert(id, (new, caller));
                }
            }
            None => self.propose_password(call, caller, new),
        }
    }

    /// Gives work to the threads for passwords, who tell this arbiter when it is done.
    fn submit(&mut self, call: CallId, work: Work) -> Option<RequestId> {
        let Some(id) = self.calls.insert(call, self.now) else {
            self.refuse(call, RequestError::TooManyRequests);
            return None;
        };
        let own = self.own.clone().expect("the actor has begun");
        let until = self.now + self.limits.timeout;
        self.authority.passwords().submit(work, until, move |done| {
            own.do_send(Told(vec![ToArbiter::Password { id, done }]));
        });
        Some(id)
    }

    /// A thread is done with a password.
    pub(super) fn password_done(&mut self, id: RequestId, done: Done) {
        let (comparing, hashing) = (self.passwords.comparing.remove(&id), self.passwords.hashing.remove(&id));
        let Some(pending) = self.calls.take(id) else { return };
        let call = pending.call;
        match (done, comparing, hashing) {
            (Done::Refused { code, text }, comparing, _) => {
                if let Some((login, _)) = comparing {
                    tracing::warn!(user = login.name, text, "a login was refused");
                }
                self.net.fail(call, code, &text);
            }
            (Done::Hashed(hash), _, Some((mut new, caller))) => {
                new.set_hash(&hash);
                self.propose_password(call, caller, new);
            }
            (Done::Right(Some(token)), Some(_), _) => {
                self.reply(call, &AuthenticateResponse { header: Some(self.headers.now()), token });
            }
            (Done::Right(None), Some((login, revision)), _) => self.propose_token(call, login, revision),
            _ => unreachable!("a thread does what it was asked"),
        }
    }

    fn propose_password(&mut self, call: CallId, caller: Caller, new: NewPassword) {
        let (kind, payload) = new.into_command();
        self.caller = caller;
        self.propose(call, kind, &payload);
        self.caller = Caller::Nobody;
        self.end_turn();
    }

    fn propose_token(&mut self, call: CallId, login: Login, revision: u64) {
        let prefix = self.authority.token_prefix().expect("JWTs are signed by a thread");
        let payload = Authenticated { name: login.name.clone(), prefix, revision }.encode_to_vec();
        match self.calls.insert(call, self.now) {
            Some(id) => {
                self.batch.push(id, CommandKind::Authenticate, &payload);
                self.passwords.assigning.insert(id, login);
            }
            None => self.refuse(call, RequestError::TooManyRequests),
        }
        self.end_turn();
    }

    /// The log has refused a token, or given one. True if the login begins anew, since users or roles have changed.
    pub(super) fn is_login_again(
        &mut self,
        id: RequestId,
        call: CallId,
        error: Option<RequestError>,
    ) -> bool {
        // Nearly always: then not even the id is hashed.
        if self.passwords.assigning.is_empty() {
            return false;
        }
        let Some(login) = self.passwords.assigning.remove(&id) else { return false };
        let again = error == Some(RequestError::AuthOldRevision) && login.tries < LOGIN_TRIES_MAX;
        if again {
            self.ask_users(call, Ask::Token(Login { tries: login.tries + 1, ..login }));
            self.end_turn();
        }
        again
    }

    fn refuse_login(&self, call: CallId, login: &Login, error: RequestError) {
        tracing::warn!(user = login.name, %error, "a login was refused");
        self.refuse(call, error);
    }
}
