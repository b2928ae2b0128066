//! Newtypes for every identifier, index and unit that crosses a crate boundary.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The zero value, which in every one of these types means "none" or "before the first".
            pub const ZERO: Self = Self(0);

            /// The value that follows this one. Panics on overflow, which no real history reaches.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("identifier overflow"))
            }
        }

    };
}

macro_rules! shown_as {
    ($format:path: $($name:ident),*) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $format(&self.0, f)
            }
        })*
    };
}

shown_as!(fmt::Display::fmt: Term, LogIndex, Revision, LeaseId, ShardId, ByteOffset, RequestId);
// As etcd logs and prints them.
shown_as!(fmt::LowerHex::fmt: MemberId, ClusterId);

id!(
    /// A Raft term, from 1; 0 is "before any election".
    Term(u64)
);
id!(
    /// Position of an entry in the Raft log, from 1; 0 is "before the first entry".
    LogIndex(u64)
);
id!(
    /// A store revision (etcd's "main" revision). An empty store is at revision 1, the first write makes 2.
    Revision(i64)
);
id!(
    /// A cluster member, etcd's `member_id`; 0 is "nobody".
    MemberId(u64)
);
id!(
    /// A cluster, etcd's `cluster_id`.
    ClusterId(u64)
);
id!(
    /// A lease, etcd's `lease_id`; 0 is "no lease".
    LeaseId(i64)
);
id!(
    /// A storage shard of this member, from 0. Which shard holds a key is a local matter of each member.
    ShardId(u16)
);
id!(
    /// Byte position in a file.
    ByteOffset(u64)
);
id!(
    /// A client request within the member that received it; unique while that process lives.
    RequestId(u64)
);
