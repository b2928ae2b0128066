//! Users and roles in log order, and what they allow: whoever sent a command, it is carried out only if they may have it
//! done at its place in the log.

use std::sync::Arc;

use prost::Message;
use windlass_api::etcdserverpb::AuthenticateResponse;
use windlass_records::batch::{Command, CommandKind};
use windlass_types::RequestError;

use super::entry::Entry;
use super::{News, Output, Response, Sequencer};
use crate::auth::{Asker, Auth, Authenticated, Need};
use crate::lease::INTERNAL;
use crate::txn::{Transaction, header};

/// Whether the command is about users and roles.
pub(super) fn is_about_users(kind: CommandKind) -> bool {
    matches!(
        kind,
        CommandKind::AuthEnable
            | CommandKind::AuthDisable
            | CommandKind::Authenticate
            | CommandKind::UserAdd
            | CommandKind::UserDelete
            | CommandKind::UserChangePassword
            | CommandKind::UserGrantRole
            | CommandKind::UserRevokeRole
            | CommandKind::RoleAdd
            | CommandKind::RoleDelete
            | CommandKind::RoleGrantPermission
            | CommandKind::RoleRevokePermission
    )
}

/// Whether whoever sent the command may have what it needs.
pub(super) fn permit(
    auth: &Auth,
    entry: &Entry,
    command: &Command,
    need: Need<'_>,
) -> Result<(), RequestError> {
    if !auth.is_enabled() || is_of_member(command) {
        return Ok(());
    }
    auth.check(Asker::decode(entry.credential(command)), need).map(|_| ())
}

/// As [`permit`], for all that a transaction needs.
pub(super) fn admit(
    auth: &Auth,
    entry: &Entry,
    command: &Command,
    transaction: &mut Transaction,
) -> Result<(), RequestError> {
    if !auth.is_enabled() {
        return Ok(());
    }
    auth.admit(Asker::decode(entry.credential(command)), transaction)
}

/// Whether a member itself wants it, and no client. No arbiter gives a client's request such an id.
fn is_of_member(command: &Command) -> bool {
    command.id >= INTERNAL
}

impl Sequencer {
    /// Carries out the next command of the entry under way, which is about users and roles.
    pub(super) fn auth_change(&mut self, out: &mut Vec<Output>) {
        let mut entry = self.current.take().expect("an entry is under way");
        let command = entry.rest.pop().expect("its next command is about users");
        let token = match command.kind {
            CommandKind::Authenticate => self.authenticate(&entry, &command, out),
            _ => self.change_users(&mut entry, &command).map(|()| String::new()),
        };
        if entry.is_ours {
            let response = |token| AuthenticateResponse { header: header(self.revision), token };
            let result = token.map(|token| Box::new(Response::Auth(response(token))));
            entry.replies.push(Output::Reply { id: command.id, result });
        }
        entry.takes_runs = self.takes_runs();
        self.current = Some(entry);
    }

    fn authenticate(
        &mut self,
        entry: &Entry,
        command: &Command,
        out: &mut Vec<Output>,
    ) -> Result<String, RequestError> {
        let login = Authenticated::decode(entry.payload(command)).map_err(|_| RequestError::Corrupt)?;
        self.auth.authenticate(&login)?;
        let Authenticated { name: user, prefix, .. } = login;
        // As etcd's: chance makes it a secret, the index makes it one of a kind, and tells a member that lags behind.
        let token = format!("{prefix}.{}", entry.index());
        out.push(Output::News(News::Token { token: token.clone(), user }));
        Ok(token)
    }

    fn change_users(&mut self, entry: &mut Entry, command: &Command) -> Result<(), RequestError> {
        permit(&self.auth, entry, command, Need::Root)?;
        let before = Arc::clone(&self.auth);
        let payload = entry.payload(command);
        let invalid = Arc::make_mut(&mut self.auth).change(command.kind, &payload, &mut self.system)?;
        if before != self.auth {
            // With the entry's state and no sooner: a read in between would look at what was before, and be permitted by
            // what is after.
            entry.replies.push(Output::News(News::Auth { auth: Arc::clone(&self.auth), invalid }));
        }
        Ok(())
    }
}
