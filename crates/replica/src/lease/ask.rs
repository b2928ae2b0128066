//! What a member asks the leader about leases. Between members it travels as bytes; here is how.

use prost::Message;
use windlass_types::{LeaseId, MemberId, RequestError, RequestId};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client of this member.
    Local(RequestId),
    /// Another member, which calls its question so.
    Peer {
        /// Which.
        member: MemberId,
        /// Its number for the question.
        id: u64,
    },
}

/// A question to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAsk {
    /// Renew it.
    KeepAlive(LeaseId),
    /// How long has it got?
    TimeToLive(LeaseId),
}

/// The leader's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It was renewed and has so many seconds.
    Renewed {
        /// Its whole time to live.
        ttl_s: i64,
    },
    /// It has so many seconds left.
    Left {
        /// Whole seconds left.
        left_s: i64,
        /// Its whole time to live.
        ttl_s: i64,
    },
    /// There is no such lease, or no more.
    Missing,
    /// Whoever was asked does not lead. Nothing was done.
    NotLeader,
}

impl LeaseAnswer {
    /// What a client is told whose member cannot find a leader that answers.
    pub const NO_LEADER: RequestError = RequestError::NoLeader;
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Wire {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(int64, tag = "2")]
    first: i64,
    #[prost(int64, tag = "3")]
    second: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Wires {
    #[prost(message, repeated, tag = "1")]
    all: Vec<Wire>,
}

const KEEP_ALIVE: u32 = 1;
const TIME_TO_LIVE: u32 = 2;
const RENEWED: u32 = 3;
const LEFT: u32 = 4;
const MISSING: u32 = 5;
const NOT_LEADER: u32 = 6;

impl LeaseAsk {
    /// The bytes of several.
    #[must_use]
    pub fn encode_all(asks: &[Self]) -> Vec<u8> {
        Wires { all: asks.iter().map(|ask| ask.wire()).collect() }.encode_to_vec()
    }

    /// From their bytes; `None` if they are none of this version.
    #[must_use]
    pub fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        Wires::decode(bytes).ok()?.all.iter().map(Self::of_wire).collect()
    }

    fn wire(self) -> Wire {
        let (kind, LeaseId(first)) = match self {
            Self::KeepAlive(id) => (KEEP_ALIVE, id),
            Self::TimeToLive(id) => (TIME_TO_LIVE, id),
        };
        Wire { kind, first, second: 0 }
    }

    fn of_wire(&Wire { kind, first, .. }: &Wire) -> Option<Self> {
        match kind {
            KEEP_ALIVE => Some(Self::KeepAlive(LeaseId(first))),
            TIME_TO_LIVE => Some(Self::TimeToLive(LeaseId(first))),
            _ => None,
        }
    }
}

impl LeaseAnswer {
    /// The bytes of several.
    #[must_use]
    pub fn encode_all(answers: &[Self]) -> Vec<u8> {
        Wires { all: answers.iter().map(|answer| answer.wire()).collect() }.encode_to_vec()
    }

    /// From their bytes; `None` if they are none of this version.
    #[must_use]
    pub fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        Wires::decode(bytes).ok()?.all.iter().map(Self::of_wire).collect()
    }

    fn wire(self) -> Wire {
        let (kind, first, second) = match self {
            Self::Renewed { ttl_s } => (RENEWED, ttl_s, 0),
            Self::Left { left_s, ttl_s } => (LEFT, left_s, ttl_s),
            Self::Missing => (MISSING, 0, 0),
            Self::NotLeader => (NOT_LEADER, 0, 0),
        };
        Wire { kind, first, second }
    }

    fn of_wire(&Wire { kind, first, second }: &Wire) -> Option<Self> {
        match kind {
            RENEWED => Some(Self::Renewed { ttl_s: first }),
            LEFT => Some(Self::Left { left_s: first, ttl_s: second }),
            MISSING => Some(Self::Missing),
            NOT_LEADER => Some(Self::NotLeader),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(id: i64, left_s: i64, ttl_s: i64, noise: Vec<u8>) {
            let asks = vec![LeaseAsk::KeepAlive(LeaseId(id)), LeaseAsk::TimeToLive(LeaseId(id))];
            prop_assert_eq!(LeaseAsk::decode_all(&LeaseAsk::encode_all(&asks)), Some(asks));
            let (renewed, left) = (LeaseAnswer::Renewed { ttl_s }, LeaseAnswer::Left { left_s, ttl_s });
            let answers = vec![renewed, left, LeaseAnswer::Missing, LeaseAnswer::NotLeader];
            prop_assert_eq!(LeaseAnswer::decode_all(&LeaseAnswer::encode_all(&answers)), Some(answers));
            let _ = (LeaseAsk::decode_all(&noise), LeaseAnswer::decode_all(&noise));
        }
    }
}
