//! The paths of the gateway. A method of the API gets a line here, and no other code.

use windlass_api::method::{auth, cluster, election, kv, lease, lock, maintenance, watch};

/// Path and method, as in the annotations of etcd's protobuf files; `RangeStream` has none. All take POST alone.
pub const PATHS: &[(&str, &str)] = &[
    ("/v3/kv/range", kv::RANGE),
    ("/v3/kv/put", kv::PUT),
    ("/v3/kv/deleterange", kv::DELETE_RANGE),
    ("/v3/kv/txn", kv::TXN),
    ("/v3/kv/compaction", kv::COMPACT),
    ("/v3/watch", watch::WATCH),
    ("/v3/lease/grant", lease::LEASE_GRANT),
    ("/v3/lease/revoke", lease::LEASE_REVOKE),
    ("/v3/kv/lease/revoke", lease::LEASE_REVOKE),
    ("/v3/lease/keepalive", lease::LEASE_KEEP_ALIVE),
    ("/v3/lease/timetolive", lease::LEASE_TIME_TO_LIVE),
    ("/v3/kv/lease/timetolive", lease::LEASE_TIME_TO_LIVE),
    ("/v3/lease/leases", lease::LEASE_LEASES),
    ("/v3/kv/lease/leases", lease::LEASE_LEASES),
    ("/v3/cluster/member/add", cluster::MEMBER_ADD),
    ("/v3/cluster/member/remove", cluster::MEMBER_REMOVE),
    ("/v3/cluster/member/update", cluster::MEMBER_UPDATE),
    ("/v3/cluster/member/list", cluster::MEMBER_LIST),
    ("/v3/cluster/member/promote", cluster::MEMBER_PROMOTE),
    ("/v3/maintenance/alarm", maintenance::ALARM),
    ("/v3/maintenance/status", maintenance::STATUS),
    ("/v3/maintenance/defragment", maintenance::DEFRAGMENT),
    ("/v3/maintenance/hash", maintenance::HASH),
    ("/v3/maintenance/hashkv", maintenance::HASH_KV),
    ("/v3/maintenance/snapshot", maintenance::SNAPSHOT),
    ("/v3/maintenance/transfer-leadership", maintenance::MOVE_LEADER),
    ("/v3/maintenance/downgrade", maintenance::DOWNGRADE),
    ("/v3/auth/enable", auth::AUTH_ENABLE),
    ("/v3/auth/disable", auth::AUTH_DISABLE),
    ("/v3/auth/status", auth::AUTH_STATUS),
    ("/v3/auth/authenticate", auth::AUTHENTICATE),
    ("/v3/auth/user/add", auth::USER_ADD),
    ("/v3/auth/user/get", auth::USER_GET),
    ("/v3/auth/user/list", auth::USER_LIST),
    ("/v3/auth/user/delete", auth::USER_DELETE),
    ("/v3/auth/user/changepw", auth::USER_CHANGE_PASSWORD),
    ("/v3/auth/user/grant", auth::USER_GRANT_ROLE),
    ("/v3/auth/user/revoke", auth::USER_REVOKE_ROLE),
    ("/v3/auth/role/add", auth::ROLE_ADD),
    ("/v3/auth/role/get", auth::ROLE_GET),
    ("/v3/auth/role/list", auth::ROLE_LIST),
    ("/v3/auth/role/delete", auth::ROLE_DELETE),
    ("/v3/auth/role/grant", auth::ROLE_GRANT_PERMISSION),
    ("/v3/auth/role/revoke", auth::ROLE_REVOKE_PERMISSION),
    ("/v3/lock/lock", lock::LOCK),
    ("/v3/lock/unlock", lock::UNLOCK),
    ("/v3/election/campaign", election::CAMPAIGN),
    ("/v3/election/proclaim", election::PROCLAIM),
    ("/v3/election/leader", election::LEADER),
    ("/v3/election/observe", election::OBSERVE),
    ("/v3/election/resign", election::RESIGN),
];

/// The method that a path calls, as a gRPC path.
#[must_use]
pub fn method_of(path: &str) -> Option<&'static str> {
    PATHS.iter().find(|(known, _)| *known == path).map(|(_, method)| *method)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Transcoder;

    #[test]
    fn every_path_is_told_once_and_calls_a_method_that_there_is() {
        let transcoder = Transcoder::new();
        let mut seen = HashSet::new();
        for (path, method) in PATHS {
            assert!(seen.insert(path), "{path} twice");
            assert!(transcoder.method(method).is_some(), "{path} calls {method}");
        }
    }

    #[test]
    fn every_method_of_etcd_has_a_path() {
        let called: HashSet<&str> = PATHS.iter().map(|(_, method)| *method).collect();
        let all = [
            &kv::ALL[..],
            &watch::ALL,
            &lease::ALL,
            &cluster::ALL,
            &maintenance::ALL,
            &auth::ALL,
            &lock::ALL,
            &election::ALL,
        ];
        for method in all.concat() {
            assert_eq!(called.contains(method), method != kv::RANGE_STREAM, "{method}");
        }
    }
}
