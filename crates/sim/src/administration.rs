//! What administrators of a store ask for: alarms raised and lifted, users and roles changed while others read and write.

use prost::Message;
use windlass_api::authpb::{Permission, UserAddOptions};
use windlass_api::etcdserverpb::alarm_request::AlarmAction;
use windlass_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, AuthRoleAddRequest, AuthRoleDeleteRequest,
    AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
    AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, RangeRequest,
};
use windlass_records::batch::CommandKind;
use windlass_replica::alarm::AlarmCommand;
use windlass_replica::auth::ROOT;
use windlass_replica::oracle::generate::Generator;

use crate::clients::Request;
use crate::random::Random;

const USERS: [&str; 3] = [ROOT, "alice", "bob"];
const ROLES: [&str; 3] = ["r", "s", ROOT];

/// Members that alarms are about; they need not be members.
const MEMBERS: u64 = 2;

/// Lifts an alarm.
pub fn lift(alarm: AlarmMember) -> Request {
    of_alarm(AlarmAction::Deactivate, alarm.alarm, alarm.member_id)
}

/// Some change of alarms, users or roles.
pub fn rule(random: &mut Random, generator: &mut Generator) -> Request {
    let mut pick = |names: &[&str]| names[random.below(names.len() as u64) as usize].to_owned();
    let (name, role) = (pick(&USERS), pick(&ROLES));
    let RangeRequest { key, range_end, .. } = generator.range();
    match random.below(28) {
        0 => of_alarm(AlarmAction::Activate, AlarmType::Nospace as i32, random.below(MEMBERS)),
        1 => of_alarm(AlarmAction::Activate, AlarmType::Corrupt as i32, random.below(MEMBERS)),
        2..6 => {
            let options = Some(UserAddOptions { no_password: true });
            encoded(CommandKind::UserAdd, &AuthUserAddRequest { name, options, ..Default::default() })
        }
        // The one without whom nothing may be required.
        6..9 => {
            let root = || ROOT.to_owned();
            let request = AuthUserGrantRoleRequest { user: root(), role: root() };
            encoded(CommandKind::UserGrantRole, &request)
        }
        9..12 => encoded(CommandKind::UserGrantRole, &AuthUserGrantRoleRequest { user: name, role }),
        12..14 => encoded(CommandKind::RoleAdd, &AuthRoleAddRequest { name: role }),
        14..19 => {
            let perm = Some(Permission { perm_type: random.below(3) as i32, key, range_end });
            let request = AuthRoleGrantPermissionRequest { name: role, perm };
            encoded(CommandKind::RoleGrantPermission, &request)
        }
        19 => {
            let request = AuthRoleRevokePermissionRequest { role, key, range_end };
            encoded(CommandKind::RoleRevokePermission, &request)
        }
        20 => encoded(CommandKind::UserRevokeRole, &AuthUserRevokeRoleRequest { name, role }),
        21 => encoded(CommandKind::RoleDelete, &AuthRoleDeleteRequest { role }),
        22 => encoded(CommandKind::UserDelete, &AuthUserDeleteRequest { name }),
        23 => Request::Rule(CommandKind::AuthDisable, Vec::new()),
        _ => Request::Rule(CommandKind::AuthEnable, Vec::new()),
    }
}

fn of_alarm(action: AlarmAction, alarm: i32, member_id: u64) -> Request {
    let request = AlarmRequest { action: action as i32, member_id, alarm };
    encoded(CommandKind::Alarm, &AlarmCommand { request, by_itself: false })
}

fn encoded(kind: CommandKind, request: &impl Message) -> Request {
    Request::Rule(kind, request.encode_to_vec())
}
