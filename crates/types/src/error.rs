//! etcd's error catalogue: what a request can be answered with, code and text exactly as etcd sends them.
//!
//! Go clients map errors by their text, others by their code, so both must match. Source: etcd
//! `api/v3rpc/rpctypes/error.go`.

use std::fmt;

/// A gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the names are gRPC's own
pub enum Code {
    Ok = 0,
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    /// The code of `number` as it stands in `grpc-status`; gRPC takes one that it does not know for `Unknown`.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Canceled,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            _ => Self::Unknown,
        }
    }
}

macro_rules! catalogue {
    ($($(#[$doc:meta])* $name:ident = $code:ident, $text:literal;)*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RequestError {
            $($(#[$doc])* #[doc = concat!("`", $text, "`")] $name,)*
        }

        impl RequestError {
            /// Every error, in catalogue order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The gRPC code that reaches the client.
            #[must_use]
            pub const fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)* }
            }

            /// The gRPC message that reaches the client.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

catalogue! {
    EmptyKey = InvalidArgument, "etcdserver: key is not provided";
    KeyNotFound = InvalidArgument, "etcdserver: key not found";
    ValueProvided = InvalidArgument, "etcdserver: value is provided";
    LeaseProvided = InvalidArgument, "etcdserver: lease is provided";
    TooManyOps = InvalidArgument, "etcdserver: too many operations in txn request";
    DuplicateKey = InvalidArgument, "etcdserver: duplicate key given in txn request";
    InvalidClientApiVersion = InvalidArgument, "etcdserver: invalid client api version";
    InvalidSortOption = InvalidArgument, "etcdserver: invalid sort option";
    Compacted = OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    FutureRevision = OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    NoSpace = ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    LeaseNotFound = NotFound, "etcdserver: requested lease not found";
    LeaseExist = FailedPrecondition, "etcdserver: lease already exists";
    LeaseTtlTooLarge = OutOfRange, "etcdserver: too large lease TTL";
    MemberExist = FailedPrecondition, "etcdserver: member ID already exist";
    PeerUrlExist = FailedPrecondition, "etcdserver: Peer URLs already exists";
    /// etcd's mapping loses the code of this error, so `Unknown` is what its clients see.
    MemberNotEnoughStarted = Unknown, "etcdserver: re-configuration failed due to not enough started members";
    MemberBadUrls = InvalidArgument, "etcdserver: given member URLs are invalid";
    MemberNotFound = NotFound, "etcdserver: member not found";
    MemberNotLearner = FailedPrecondition, "etcdserver: can only promote a learner member";
    LearnerNotReady = FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader";
    TooManyLearners = FailedPrecondition, "etcdserver: too many learner members in cluster";
    ClusterIdMismatch = FailedPrecondition, "etcdserver: cluster ID mismatch";
    RequestTooLarge = InvalidArgument, "etcdserver: request is too large";
    /// etcd's mapping loses the code of this error, so `Unknown` is what its clients see.
    TooManyRequests = Unknown, "etcdserver: too many requests";
    RootUserNotExist = FailedPrecondition, "etcdserver: root user does not exist";
    RootRoleNotExist = FailedPrecondition, "etcdserver: root user does not have root role";
    UserAlreadyExist = FailedPrecondition, "etcdserver: user name already exists";
    UserEmpty = InvalidArgument, "etcdserver: user name is empty";
    UserNotFound = FailedPrecondition, "etcdserver: user name not found";
    RoleAlreadyExist = FailedPrecondition, "etcdserver: role name already exists";
    RoleNotFound = FailedPrecondition, "etcdserver: role name not found";
    RoleEmpty = InvalidArgument, "etcdserver: role name is empty";
    AuthFailed = InvalidArgument, "etcdserver: authentication failed, invalid user ID or password";
    /// Unknown to etcd's mapping, which sends its own text with `Unknown`.
    NoPasswordUser = Unknown, "auth: authentication failed, password was given for no password user";
    PermissionNotGiven = InvalidArgument, "etcdserver: permission not given";
    PermissionDenied = PermissionDenied, "etcdserver: permission denied";
    RoleNotGranted = FailedPrecondition, "etcdserver: role is not granted to the user";
    PermissionNotGranted = FailedPrecondition, "etcdserver: permission is not granted to the role";
    AuthNotEnabled = FailedPrecondition, "etcdserver: authentication is not enabled";
    InvalidAuthToken = Unauthenticated, "etcdserver: invalid auth token";
    InvalidAuthManagement = InvalidArgument, "etcdserver: invalid auth management";
    AuthOldRevision = InvalidArgument, "etcdserver: revision of auth store is old";
    NoLeader = Unavailable, "etcdserver: no leader";
    NotLeader = FailedPrecondition, "etcdserver: not leader";
    LeaderChanged = Unavailable, "etcdserver: leader changed";
    NotCapable = FailedPrecondition, "etcdserver: not capable";
    Stopped = Unavailable, "etcdserver: server stopped";
    Timeout = Unavailable, "etcdserver: request timed out";
    TimeoutLeaderFail = Unavailable, "etcdserver: request timed out, possibly due to previous leader failure";
    TimeoutConnectionLost = Unavailable, "etcdserver: request timed out, possibly due to connection lost";
    TimeoutWaitAppliedIndex = Unavailable, "etcdserver: request timed out, waiting for the applied index took too long";
    TimeoutLeaderTransfer = Unavailable, "etcdserver: request timed out, leader transfer took too long";
    Unhealthy = Unavailable, "etcdserver: unhealthy cluster";
    Corrupt = DataLoss, "etcdserver: corrupt cluster";
    NotSupportedForLearner = FailedPrecondition, "etcdserver: rpc not supported for learner";
    BadLeaderTransferee = FailedPrecondition, "etcdserver: bad leader transferee";
    WrongDowngradeVersionFormat = InvalidArgument, "etcdserver: wrong downgrade target version format";
    InvalidDowngradeTargetVersion = InvalidArgument, "etcdserver: invalid downgrade target version";
    NoInflightDowngrade = FailedPrecondition, "etcdserver: no inflight downgrade job";
    WatchCanceled = Canceled, "etcdserver: watch canceled";
    RequestCanceled = Canceled, "etcdserver: request canceled";
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unique_and_prefixed() {
        let mut texts: Vec<_> = RequestError::ALL.iter().map(|e| e.text()).collect();
        let foreign = RequestError::NoPasswordUser.text();
        assert!(texts.iter().all(|t| t.starts_with("etcdserver: ") || *t == foreign));
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), RequestError::ALL.len());
    }
}
