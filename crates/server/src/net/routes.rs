//! The methods that this version serves.

use windlass_api::method::{auth, cluster, election, health, kv, lease, lock, maintenance, watch};
use windlass_rpc::{Kind, Route};

use super::auth::AuthMethod;

/// A method of the table, as the arbiter dispatches on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `KV.Range`
    Range,
    /// `KV.RangeStream`
    RangeStream,
    /// `KV.Put`
    Put,
    /// `KV.DeleteRange`
    DeleteRange,
    /// `KV.Txn`
    Txn,
    /// `KV.Compact`
    Compact,
    /// `Lease.LeaseGrant`
    LeaseGrant,
    /// `Lease.LeaseRevoke`
    LeaseRevoke,
    /// `Lease.LeaseKeepAlive`
    LeaseKeepAlive,
    /// `Lease.LeaseTimeToLive`
    LeaseTimeToLive,
    /// `Lease.LeaseLeases`
    LeaseLeases,
    /// `Cluster.MemberList`
    MemberList,
    /// `Cluster.MemberAdd`
    MemberAdd,
    /// `Cluster.MemberRemove`
    MemberRemove,
    /// `Cluster.MemberUpdate`
    MemberUpdate,
    /// `Cluster.MemberPromote`
    MemberPromote,
    /// `Maintenance.MoveLeader`
    MoveLeader,
    /// `Maintenance.Defragment`
    Defragment,
    /// `Maintenance.Hash`
    Hash,
    /// `Maintenance.HashKV`
    HashKv,
    /// `Maintenance.Status`
    Status,
    /// `Maintenance.Downgrade`
    Downgrade,
    /// `Maintenance.Snapshot`
    Snapshot,
    /// `Maintenance.Alarm`
    Alarm,
    /// A method of `Auth`
    Auth(AuthMethod),
    /// `Health.Check`
    HealthCheck,
    /// `Health.List`
    HealthList,
    /// `Health.Watch`
    HealthWatch,
    /// `Watch.Watch`
    Watch,
    /// `Lock.Lock`
    Lock,
    /// `Lock.Unlock`
    Unlock,
    /// `Election.Campaign`
    Campaign,
    /// `Election.Proclaim`
    Proclaim,
    /// `Election.Leader`
    Leader,
    /// `Election.Observe`
    Observe,
    /// `Election.Resign`
    Resign,
}

const TABLE: [(Method, Route); 52] = [
    (Method::Range, unary(kv::RANGE)),
    (Method::RangeStream, Route { path: kv::RANGE_STREAM, kind: Kind::ServerStream }),
    (Method::Put, unary(kv::PUT)),
    (Method::DeleteRange, unary(kv::DELETE_RANGE)),
    (Method::Txn, unary(kv::TXN)),
    (Method::Compact, unary(kv::COMPACT)),
    (Method::LeaseGrant, unary(lease::LEASE_GRANT)),
    (Method::LeaseRevoke, unary(lease::LEASE_REVOKE)),
    (Method::LeaseKeepAlive, Route { path: lease::LEASE_KEEP_ALIVE, kind: Kind::BidiStream }),
    (Method::LeaseTimeToLive, unary(lease::LEASE_TIME_TO_LIVE)),
    (Method::LeaseLeases, unary(lease::LEASE_LEASES)),
    (Method::MemberList, unary(cluster::MEMBER_LIST)),
    (Method::MemberAdd, unary(cluster::MEMBER_ADD)),
    (Method::MemberRemove, unary(cluster::MEMBER_REMOVE)),
    (Method::MemberUpdate, unary(cluster::MEMBER_UPDATE)),
    (Method::MemberPromote, unary(cluster::MEMBER_PROMOTE)),
    (Method::MoveLeader, unary(maintenance::MOVE_LEADER)),
    (Method::Defragment, unary(maintenance::DEFRAGMENT)),
    (Method::Hash, unary(maintenance::HASH)),
    (Method::HashKv, unary(maintenance::HASH_KV)),
    (Method::Status, unary(maintenance::STATUS)),
    (Method::Downgrade, unary(maintenance::DOWNGRADE)),
    (Method::Snapshot, Route { path: maintenance::SNAPSHOT, kind: Kind::ServerStream }),
    (Method::Alarm, unary(maintenance::ALARM)),
    (Method::Auth(AuthMethod::Enable), unary(auth::AUTH_ENABLE)),
    (Method::Auth(AuthMethod::Disable), unary(auth::AUTH_DISABLE)),
    (Method::Auth(AuthMethod::Status), unary(auth::AUTH_STATUS)),
    (Method::Auth(AuthMethod::Authenticate), unary(auth::AUTHENTICATE)),
    (Method::Auth(AuthMethod::UserAdd), unary(auth::USER_ADD)),
    (Method::Auth(AuthMethod::UserGet), unary(auth::USER_GET)),
    (Method::Auth(AuthMethod::UserList), unary(auth::USER_LIST)),
    (Method::Auth(AuthMethod::UserDelete), unary(auth::USER_DELETE)),
    (Method::Auth(AuthMethod::UserChangePassword), unary(auth::USER_CHANGE_PASSWORD)),
    (Method::Auth(AuthMethod::UserGrantRole), unary(auth::USER_GRANT_ROLE)),
    (Method::Auth(AuthMethod::UserRevokeRole), unary(auth::USER_REVOKE_ROLE)),
    (Method::Auth(AuthMethod::RoleAdd), unary(auth::ROLE_ADD)),
    (Method::Auth(AuthMethod::RoleGet), unary(auth::ROLE_GET)),
    (Method::Auth(AuthMethod::RoleList), unary(auth::ROLE_LIST)),
    (Method::Auth(AuthMethod::RoleDelete), unary(auth::ROLE_DELETE)),
    (Method::Auth(AuthMethod::RoleGrantPermission), unary(auth::ROLE_GRANT_PERMISSION)),
    (Method::Auth(AuthMethod::RoleRevokePermission), unary(auth::ROLE_REVOKE_PERMISSION)),
    (Method::HealthCheck, unary(health::CHECK)),
    (Method::HealthList, unary(health::LIST)),
    (Method::HealthWatch, Route { path: health::WATCH, kind: Kind::ServerStream }),
    (Method::Watch, Route { path: watch::WATCH, kind: Kind::BidiStream }),
    (Method::Lock, unary(lock::LOCK)),
    (Method::Unlock, unary(lock::UNLOCK)),
    (Method::Campaign, unary(election::CAMPAIGN)),
    (Method::Proclaim, unary(election::PROCLAIM)),
    (Method::Leader, unary(election::LEADER)),
    (Method::Observe, Route { path: election::OBSERVE, kind: Kind::ServerStream }),
    (Method::Resign, unary(election::RESIGN)),
];

const fn unary(path: &'static str) -> Route {
    Route { path, kind: Kind::Unary }
}

/// The table as `windlass-rpc` takes it; the index of a route is that of its [`Method`].
pub static ROUTES: [Route; TABLE.len()] = {
    let mut routes = [TABLE[0].1; TABLE.len()];
    let mut i = 0;
    while i < TABLE.len() {
        routes[i] = TABLE[i].1;
        i += 1;
    }
    routes
};

impl Method {
    /// The method of a route of [`ROUTES`].
    #[must_use]
    pub fn of_route(route: usize) -> Self {
        TABLE[route].0
    }

    /// Whether it is about the members and their condition, and not about what they store.
    #[must_use]
    pub fn is_about_members(self) -> bool {
        use Method::{Alarm, Defragment, Downgrade, Hash, HashKv, HealthCheck, HealthList, HealthWatch};
        use Method::{MemberAdd, MemberList, MemberPromote, MemberRemove, MemberUpdate, MoveLeader, Status};
        let is_of_members =
            matches!(self, MemberAdd | MemberList | MemberPromote | MemberRemove | MemberUpdate | MoveLeader);
        let is_of_one = matches!(self, Alarm | Defragment | Downgrade | Hash | HashKv | Status);
        is_of_members || is_of_one || matches!(self, HealthCheck | HealthList | HealthWatch)
    }

    /// Whether it is unary and made of calls of other methods.
    #[must_use]
    pub fn is_recipe(self) -> bool {
        use Method::{Campaign, Leader, Lock, Proclaim, Resign, Unlock};
        matches!(self, Lock | Unlock | Campaign | Proclaim | Leader | Resign)
    }
}

#[cfg(test)]
mod tests {
    use windlass_api::method;

    use super::*;

    /// The page on compatibility says of each method whether it is served.
    #[test]
    fn the_page_on_compatibility_knows_every_method() {
        let page = include_str!("../../../../docs/reference/compatibility.md");
        let all = [
            &method::kv::ALL[..],
            &method::watch::ALL,
            &method::lease::ALL,
            &method::cluster::ALL,
            &method::maintenance::ALL,
            &method::auth::ALL,
            &method::lock::ALL,
            &method::election::ALL,
            &method::health::ALL,
        ];
        for path in all.into_iter().flatten() {
            let name = path.rsplit(['.', ' ']).next().expect("a path").replace('/', ".");
            let row = page.lines().find_map(|line| line.strip_prefix(&format!("| `{name}` | ")));
            let row = row.unwrap_or_else(|| panic!("{name} is not on the page"));
            let is_served = ROUTES.iter().any(|route| route.path == *path);
            assert_eq!(!row.starts_with("not there"), is_served, "{name}: {row}");
        }
    }
}
