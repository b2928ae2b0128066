//! Small records of the message stream.

use flatbuffers::FlatBufferBuilder;
use windlass_types::RequestId;

use super::{Record, finish, root, wire};
use crate::Error;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The caller's: a gRPC code, say.
    pub code: u32,
    /// For people, or the exact text of an etcd error.
    pub text: String,
}

/// Proposals that were not taken; none of them is in any log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardRefused {
    /// At the member that forwarded them,
    pub requests: Vec<RequestId>,
    /// and in which run of it: its next one names other requests by the same ids.
    pub incarnation: u64,
    /// Why.
    pub failure: Failure,
}

/// A small request; its payload follows the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Chosen by the asker, not reused in one run.
    pub id: u64,
    /// What is asked: the caller's.
    pub kind: u32,
}

/// Answers an [`Ask`]; the payload follows the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// As in the request.
    pub id: u64,
    /// Of the asker: answers to an earlier run are not for this one.
    pub incarnation: u64,
    /// Set if there is no answer but this.
    pub failure: Option<Failure>,
}

/// Sign of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ping {
    /// A reply repeats the newest one that its sender has seen.
    pub sequence: u64,
    /// In a reply: bytes taken from this connection so far.
    pub received: u64,
}

impl Record for ForwardRefused {
    fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        fbb.reset();
        let requests = fbb.create_vector_from_iter(self.requests.iter().map(|id| id.0));
        let text = fbb.create_string(&self.failure.text);
        let args = wire::ForwardRefusedArgs {
            requests: Some(requests),
            code: self.failure.code,
            text: Some(text),
            incarnation: self.incarnation,
        };
        let table = wire::ForwardRefused::create(fbb, &args);
        finish(fbb, table);
    }

    fn parse(data: &[u8]) -> Result<Self, Error> {
        let refused = root::<wire::ForwardRefused<'_>>(data)?;
        Ok(Self {
            requests: refused.requests().into_iter().flatten().map(RequestId).collect(),
            incarnation: refused.incarnation(),
            failure: Failure { code: refused.code(), text: refused.text().unwrap_or_default().to_owned() },
        })
    }
}

impl Record for Ask {
    fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        fbb.reset();
        let table = wire::Ask::create(fbb, &wire::AskArgs { id: self.id, kind: self.kind });
        finish(fbb, table);
    }

    fn parse(data: &[u8]) -> Result<Self, Error> {
        let ask = root::<wire::Ask<'_>>(data)?;
        Ok(Self { id: ask.id(), kind: ask.kind() })
    }
}

impl Record for Answer {
    fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        fbb.reset();
        let text = self.failure.as_ref().map(|failure| fbb.create_string(&failure.text));
        let args = wire::AnswerArgs {
            id: self.id,
            incarnation: self.incarnation,
            failed: self.failure.is_some(),
            code: self.failure.as_ref().map_or(0, |failure| failure.code),
            text,
        };
        let table = wire::Answer::create(fbb, &args);
        finish(fbb, table);
    }

    fn parse(data: &[u8]) -> Result<Self, Error> {
        let answer = root::<wire::Answer<'_>>(data)?;
        let failure = answer
            .failed()
            .then(|| Failure { code: answer.code(), text: answer.text().unwrap_or_default().to_owned() });
        Ok(Self { id: answer.id(), incarnation: answer.incarnation(), failure })
    }
}

impl Record for Ping {
    fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        fbb.reset();
        let args = wire::PingArgs { sequence: self.sequence, received: self.received };
        let table = wire::Ping::create(fbb, &args);
        finish(fbb, table);
    }

    fn parse(data: &[u8]) -> Result<Self, Error> {
        let ping = root::<wire::Ping<'_>>(data)?;
        Ok(Self { sequence: ping.sequence(), received: ping.received() })
    }
}
