//! The paths of the gRPC methods, as they stand in a request's `:path`.
//!
//! Names only; which of them a server serves is its own table. `tests/golden.rs` keeps this list and the protobuf
//! files equal.

/// Methods of `etcdserverpb.KV`.
pub mod kv {
    /// `Range`
    pub const RANGE: &str = "/etcdserverpb.KV/Range";
    /// `RangeStream`
    pub const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";
    /// `Put`
    pub const PUT: &str = "/etcdserverpb.KV/Put";
    /// `DeleteRange`
    pub const DELETE_RANGE: &str = "/etcdserverpb.KV/DeleteRange";
    /// `Txn`
    pub const TXN: &str = "/etcdserverpb.KV/Txn";
    /// `Compact`
    pub const COMPACT: &str = "/etcdserverpb.KV/Compact";
    /// Every method of the service, in the order of its definition.
    pub const ALL: [&str; 6] = [RANGE, RANGE_STREAM, PUT, DELETE_RANGE, TXN, COMPACT];
}

/// Methods of `etcdserverpb.Watch`.
pub mod watch {
    /// `Watch`
    pub const WATCH: &str = "/etcdserverpb.Watch/Watch";
    /// Every method of the service, in the order of its definition.
    pub const ALL: [&str; 1] = [WATCH];
}

/// Methods of `etcdserverpb.Lease`.
pub mod lease {
    /// `LeaseGrant`
    pub const LEASE_GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
    /// `LeaseRevoke`
    pub const LEASE_REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
    /// `LeaseKeepAlive`
    pub const LEASE_KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
    /// `LeaseTimeToLive`
    pub const LEASE_TIME_TO_LIVE: &str = "/etcdserverpb.Lease/LeaseTimeToLive";
    /// `LeaseLeases`
    pub const LEASE_LEASES: &str = "/etcdserverpb.Lease/LeaseLeases";
    /// Every method of the service, in the order of its definition.
    pub const ALL: [&str; 5] =
        [LEASE_GRANT, LEASE_REVOKE, LEASE_KEEP_ALIVE, LEASE_TIME_TO_LIVE, LEASE_LEASES];
}

/// Methods of `etcdserverpb.Cluster`.
pub mod cluster {
    /// `MemberAdd`
    pub const MEMBER_ADD: &str = "/etcdserverpb.Cluster/MemberAdd";
    /// `MemberRemove`
    pub const MEMBER_REMOVE: &str = "/etcdserverpb.Cluster/MemberRemove";
    /// `MemberUpdate`
    pub const MEMBER_UPDATE: &str = "/etcdserverpb.Cluster/MemberUpdate";
    /// `MemberList`
    pub const MEMBER_LIST: &str = "/etcdserverpb.Cluster/MemberList";
    /// `MemberPromote`
    pub const MEMBER_PROMOTE: &str = "/etcdserverpb.Cluster/MemberPromote";
    /// Every method of the service, in the order of its definition.
    pub const ALL: [&str; 5] = [MEMBER_ADD, MEMBER_REMOVE, MEMBER_UPDATE, MEMBER_LIST, MEMBER_PROMOTE];
}

/// Methods of `etcdserverpb.Maintenance`.
pub mod maintenance {
    /// `Alarm`
    pub const ALARM: &str = "/etcdserverpb.Maintenance/Alarm";
    /// `Status`
    pub const STATUS: &str = "/etcdserverpb.Maintenance/Status";
    /// `Defragment`
    pub const DEFRAGMENT: &str = "/etcdserverpb.Maintenance/Defragment";
    /// `Hash`
    pub const HASH: &str = "/etcdserverpb.Maintenance/Hash";
    /// `HashKV`
    pub const HASH_KV: &str = "/etcdserverpb.Maintenance/HashKV";
    /// `Snapshot`
    pub const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";
    /// `MoveLeader`
    pub const MOVE_LEADER: &str = "/etcdserverpb.Maintenance/MoveLeader";
    /// `Downgrade`
    pub const DOWNGRADE: &str = "/etcdserverpb.Maintenance/Downgrade";
    /// Every method of the service, in the order of its definition.
    pub const ALL: [&str; 8] = [ALARM, STATUS, DEFRAGMENT, HASH, HASH_KV, SNAPSHOT, MOVE_LEADER, DOWNGRADE];
}

/// Methods of `etcdserverpb.Auth`.
pub mod auth {
    /// `AuthEnable`
    pub const AUTH_ENABLE: &str = "/etcdserverpb.Auth/AuthEnable";
    /// `AuthDisable`
    pub const AUTH_DISABLE: &str = "/etcdserverpb.Auth/AuthDisable";
    /// `AuthStatus`
    pub const AUTH_STATUS: &str = "/etcdserverpb.Auth/AuthStatus";
    /// `Authenticate`
    pub const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
    /// `UserAdd`
    pub const USER_ADD: &str = "/etcdserverpb.Auth/UserAdd";
    /// `UserGet`
    pub const USER_GET: &str = "/etcdserverpb.Auth/UserGet";
    /// `UserList`
    pub const USER_LIST: &str = "/etcdserverpb.Auth/UserList";
    /// `UserDelete`
    pub const USER_DELETE: &str = "/etcdserverpb.Auth/UserDelete";
    /// `UserChangePassword`
    pub const USER_CHANGE_PASSWORD: &str = "/etcdserverpb.Auth/UserChangePassword";
    /// `UserGrantRole`
    pub const USER_GRANT_ROLE: &str = "/etcdserverpb.Auth/UserGrantRole";
    /// `UserRevokeRole`
    pub const USER_REVOKE_ROLE: &str = "/etcdserverpb.Auth/UserRevokeRole";
    /// `RoleAdd`
    pub const ROLE_ADD: &str = "/etcdserverpb.Auth/RoleAdd";
    /// `RoleGet`
    pub const ROLE_GET: &str = "/etcdserverpb.Auth/RoleGet";
    /// `RoleList`
    pub const ROLE_LIST: &str = "/etcdserverpb.Auth/RoleList";
    /// `RoleDelete`
    pub const ROLE_DELETE: &str = "/etcdserverpb.Auth/RoleDelete";
    /// `RoleGrantPermission`
    pub const ROLE_GRANT_PERMISSION: &str = "/etcdserverpb.Auth/RoleGrantPermission";
    /// `RoleRevokePermission`
    pub const ROLE_REVOKE_PERMISSION: &str = "/etcdserverpb.Auth/RoleRevokePermission";
    /// Every method of the service, in the order of its definition.
    pub const ALL: [&str; 17] = [
        AUTH_ENABLE,
        AUTH_DISABLE,
        AUTH_STATUS,
        AUTHENTICATE,
        USER_ADD,
        USER_GET,
        USER_LIST,
        USER_DELETE,
        USER_CHANGE_PASSWORD,
        USER_GRANT_ROLE,
        USER_REVOKE_ROLE,
        ROLE_ADD,
        ROLE_GET,
        ROLE_LIST,
        ROLE_DELETE,
        ROLE_GRANT_PERMISSION,
        ROLE_REVOKE_PERMISSION,
    ];
}

/// Methods of `v3lockpb.Lock`.
pub mod lock {
    /// `Lock`
    pub const LOCK: &str = "/v3lockpb.Lock/Lock";
    /// `Unlock`
    pub const UNLOCK: &str = "/v3lockpb.Lock/Unlock";
    /// Every method of the service, in the order of its definition.
    pub const ALL: [&str; 2] = [LOCK, UNLOCK];
}

/// Methods of `v3electionpb.Election`.
pub mod election {
    /// `Campaign`
    pub const CAMPAIGN: &str = "/v3electionpb.Election/Campaign";
    /// `Proclaim`
    pub const PROCLAIM: &str = "/v3electionpb.Election/Proclaim";
    /// `Leader`
    pub const LEADER: &str = "/v3electionpb.Election/Leader";
    /// `Observe`
    pub const OBSERVE: &str = "/v3electionpb.Election/Observe";
    /// `Resign`
    pub const RESIGN: &str = "/v3electionpb.Election/Resign";
    /// Every method of the service, in the order of its definition.
    pub const ALL: [&str; 5] = [CAMPAIGN, PROCLAIM, LEADER, OBSERVE, RESIGN];
}

/// Methods of `grpc.health.v1.Health`.
pub mod health {
    /// `Check`
    pub const CHECK: &str = "/grpc.health.v1.Health/Check";
    /// `List`
    pub const LIST: &str = "/grpc.health.v1.Health/List";
    /// `Watch`
    pub const WATCH: &str = "/grpc.health.v1.Health/Watch";
    /// Every method of the service, in the order of its definition.
    pub const ALL: [&str; 3] = [CHECK, LIST, WATCH];
}
