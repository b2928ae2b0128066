//! Requests that administer a cluster: members, alarms, users and roles, maintenance. One row each.

use std::time::{Duration, Instant};

use windlass_api::etcdserverpb as pb;
use windlass_api::method;

use crate::client::Repeat;
use crate::{Client, Error};

/// Bound of a whole snapshot; who sends it works as long as it takes.
const SNAPSHOT_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

macro_rules! requests {
    ($($what:literal $name:ident($request:ident) -> $response:ident, $method:path, $repeat:ident;)*) => {
        impl Client {
            $(
                #[doc = $what]
                ///
                /// # Errors
                /// As [`Self::range`].
                pub fn $name(&mut self, request: &pb::$request) -> Result<pb::$response, Error> {
                    self.call($method, request, Repeat::$repeat)
                }
            )*
        }
    };
}

requests! {
    "Adds a member." member_add(MemberAddRequest) -> MemberAddResponse, method::cluster::MEMBER_ADD, Never;
    "Removes a member." member_remove(MemberRemoveRequest) -> MemberRemoveResponse, method::cluster::MEMBER_REMOVE, Never;
    "Changes where a member listens." member_update(MemberUpdateRequest) -> MemberUpdateResponse, method::cluster::MEMBER_UPDATE, Never;
    "Makes a learner a voter." member_promote(MemberPromoteRequest) -> MemberPromoteResponse, method::cluster::MEMBER_PROMOTE, Never;
    "Lists, raises or ends alarms." alarm(AlarmRequest) -> AlarmResponse, method::maintenance::ALARM, Never;
    "Gives unused space of one member back." defragment(DefragmentRequest) -> DefragmentResponse, method::maintenance::DEFRAGMENT, Never;
    "Makes another member the leader; asked of the leader." move_leader(MoveLeaderRequest) -> MoveLeaderResponse, method::maintenance::MOVE_LEADER, Never;
    "Checks, begins or ends a downgrade." downgrade(DowngradeRequest) -> DowngradeResponse, method::maintenance::DOWNGRADE, Never;
    "Gives a user a token." authenticate(AuthenticateRequest) -> AuthenticateResponse, method::auth::AUTHENTICATE, Safe;
    "Asks users for who they are from now on." auth_enable(AuthEnableRequest) -> AuthEnableResponse, method::auth::AUTH_ENABLE, Never;
    "Asks nobody any more." auth_disable(AuthDisableRequest) -> AuthDisableResponse, method::auth::AUTH_DISABLE, Never;
    "Whether users are asked." auth_status(AuthStatusRequest) -> AuthStatusResponse, method::auth::AUTH_STATUS, Safe;
    "Adds a user." user_add(AuthUserAddRequest) -> AuthUserAddResponse, method::auth::USER_ADD, Never;
    "Shows a user." user_get(AuthUserGetRequest) -> AuthUserGetResponse, method::auth::USER_GET, Safe;
    "Lists all users." user_list(AuthUserListRequest) -> AuthUserListResponse, method::auth::USER_LIST, Safe;
    "Removes a user." user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse, method::auth::USER_DELETE, Never;
    "Sets a user's password." user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse, method::auth::USER_CHANGE_PASSWORD, Never;
    "Gives a user a role." user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse, method::auth::USER_GRANT_ROLE, Never;
    "Takes a role from a user." user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse, method::auth::USER_REVOKE_ROLE, Never;
    "Adds a role." role_add(AuthRoleAddRequest) -> AuthRoleAddResponse, method::auth::ROLE_ADD, Never;
    "Shows a role." role_get(AuthRoleGetRequest) -> AuthRoleGetResponse, method::auth::ROLE_GET, Safe;
    "Lists all roles." role_list(AuthRoleListRequest) -> AuthRoleListResponse, method::auth::ROLE_LIST, Safe;
    "Removes a role." role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse, method::auth::ROLE_DELETE, Never;
    "Lets a role have keys." role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse, method::auth::ROLE_GRANT_PERMISSION, Never;
    "Takes keys from a role." role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse, method::auth::ROLE_REVOKE_PERMISSION, Never;
}

impl Client {
    /// Has one member send all that it holds, in pieces, each handed to `on_piece` as it arrives.
    ///
    /// # Errors
    /// As [`Self::range`], and what `on_piece` fails with; the pieces before it are then incomplete.
    pub fn snapshot<E: From<Error>>(
        &mut self,
        mut on_piece: impl FnMut(pb::SnapshotResponse) -> Result<(), E>,
    ) -> Result<(), E> {
        let deadline = Instant::now() + SNAPSHOT_TIME_MAX;
        let (connection, call) =
            self.begin(method::maintenance::SNAPSHOT, &pb::SnapshotRequest {}, deadline)?;
        let end = loop {
            match connection.next(&call, deadline) {
                Ok(Some(piece)) => {
                    if let Err(error) = on_piece(piece) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => {
                    self.forget_lost(&error);
                    return Err(error.into());
                }
            }
        };
        connection.end(call);
        end
    }
}
