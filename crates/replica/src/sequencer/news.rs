//! What comes of commands beside answers and tasks: the rest of the member is to know it.

use std::sync::Arc;

use windlass_types::LogIndex;

use crate::alarm::Alarms;
use crate::auth::{Auth, Invalid};
use crate::damage::Sums;
use crate::membership::Members;

/// Something that is other than before, or known now. It precedes the reply to the command that brought it about.
#[derive(Clone, Debug)]
pub enum News {
    /// What the shards wrote between two marks, and what they hold at the newer one, adds up to this: to be compared with what
    /// the other members have (see [`damage`](crate::damage)).
    Marked {
        /// The entry of the newer one.
        index: LogIndex,
        /// The sums, the same on every member.
        sums: Sums,
    },
    /// Users, roles or whether they are in force.
    Auth {
        /// They are these now.
        auth: Arc<Auth>,
        /// Whose tokens are no longer good.
        invalid: Invalid,
    },
    /// A user who gave the right password has this token.
    Token {
        /// The token.
        token: String,
        /// The user.
        user: String,
    },
    /// The alarms.
    Alarms(Arc<Alarms>),
    /// The members.
    Members(Arc<Members>),
}
