//! `Maintenance.Downgrade`: etcd's checks. There is nothing to enable here: the data has no form that an older version would
//! need (`docs/operating/backup.md`).

use prost::Message;
use windlass_api::etcdserverpb::downgrade_request::DowngradeAction;
use windlass_api::etcdserverpb::{DowngradeRequest, DowngradeResponse};
use windlass_rpc::{CallId, Code};
use windlass_types::RequestError;

use super::arbiter::Arbiter;

/// The version that all members of a cluster agree on, as clients are told it.
const CLUSTER_VERSION: &str = "3.6.0";

/// The only one that a cluster could be downgraded to: one minor version below.
const TARGET: (u64, u64) = (3, 5);

impl Arbiter {
    /// `Maintenance.Downgrade`
    pub(super) fn downgrade(&self, call: CallId, message: &[u8]) {
        let request = match DowngradeRequest::decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse_message(call, &error),
        };
        let checked = match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => check_target(&request.version),
            Ok(DowngradeAction::Enable) => check_target(&request.version).and(Err(RequestError::NotCapable)),
            Ok(DowngradeAction::Cancel) => Err(RequestError::NoInflightDowngrade),
            Err(_) => return self.net.fail(call, Code::Unknown, "etcdserver: unknown method"),
        };
        match checked {
            Ok(()) => {
                let header = Some(self.headers.now());
                self.reply(call, &DowngradeResponse { header, version: CLUSTER_VERSION.to_owned() });
            }
            Err(error) => self.refuse(call, error),
        }
    }
}

/// Source: etcd `v3_server.go` `downgradeValidate`.
fn check_target(version: &str) -> Result<(), RequestError> {
    let target = minor_version(version).or_else(|| minor_version(&format!("{version}.0")));
    match target {
        None => Err(RequestError::WrongDowngradeVersionFormat),
        Some(TARGET) => Ok(()),
        Some(_) => Err(RequestError::InvalidDowngradeTargetVersion),
    }
}

/// Major and minor of a semantic version. Source: coreos `go-semver`.
fn minor_version(version: &str) -> Option<(u64, u64)> {
    let plain = version.split_once('+').map_or(version, |(plain, _)| plain);
    let plain = plain.split_once('-').map_or(plain, |(plain, _)| plain);
    let mut parts = plain.splitn(3, '.').map(|part| part.parse::<u64>().ok());
    let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()?);
    patch.map(|_| (major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_checked_as_in_etcd() {
        use RequestError::{InvalidDowngradeTargetVersion as Invalid, WrongDowngradeVersionFormat as Wrong};
        for (version, wanted) in [
            ("3.5", Ok(())),
            ("3.5.0", Ok(())),
            ("3.5.9-rc.1+b", Ok(())),
            ("3.4", Err(Invalid)),
            ("3.6.0", Err(Invalid)),
            ("4.5.0", Err(Invalid)),
            ("", Err(Wrong)),
            ("3", Err(Wrong)),
            ("v3.5", Err(Wrong)),
            ("3.5.0.1", Err(Wrong)),
            ("3.x.0", Err(Wrong)),
        ] {
            assert_eq!(check_target(version), wanted, "{version:?}");
        }
    }
}
