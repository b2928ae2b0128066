//! The first frames of a connection.

use flatbuffers::FlatBufferBuilder;
use windlass_types::{ClusterId, MemberId};

use super::{Record, finish, root, wire};
use crate::Error;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The ordered stream of messages from the dialler.
    Messages,
    /// One bulk stream from the dialler.
    Bulk,
    /// One question of a process that has no identity yet.
    Inquiry,
}

/// The first frame of a connection, by the dialler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The newest protocol version of the sender.
    pub version: u32,
    /// The oldest that it still speaks.
    pub version_min: u32,
    /// What the connection is for.
    pub purpose: Purpose,
    /// Zero in an inquiry.
    pub cluster: ClusterId,
    /// Zero in an inquiry.
    pub from: MemberId,
    /// Whom the dialler wants to reach; zero in an inquiry.
    pub to: MemberId,
    /// Of the dialler's process.
    pub incarnation: u64,
    /// For people and metrics.
    pub server_version: String,
    /// Whether the dialler has never said who it is with the data that it has: it is new, or lost its data.
    pub unpublished: bool,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No protocol version in common.
    Version,
    /// Another cluster.
    Cluster,
    /// Not a member, as far as the refusing one knows.
    NotMember,
    /// Was a member.
    Removed,
    /// The dialler claims the id of the one it dialled.
    OwnId,
    /// The dialler wants another member than the one at this address.
    WrongMember,
    /// The question cannot be answered.
    Inquiry,
    /// The log says who the dialler is, and the dialler has no data of having said it: it lost its disk.
    Forgotten,
}

/// Answers a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloReply {
    /// Set if the connection will be closed.
    pub refusal: Option<Refusal>,
    /// Of a refusal, for people.
    pub text: String,
    /// The version chosen; of a refusal the newest of the sender.
    pub version: u32,
    /// Of the sender, as are the following.
    pub cluster: ClusterId,
    /// The member at this address.
    pub member: MemberId,
    /// Of its process.
    pub incarnation: u64,
    /// For people and metrics.
    pub server_version: String,
}

impl Record for Hello {
    fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        fbb.reset();
        let server_version = fbb.create_string(&self.server_version);
        let args = wire::HelloArgs {
            version: self.version,
            version_min: self.version_min,
            purpose: match self.purpose {
                Purpose::Messages => wire::Purpose::Messages,
                Purpose::Bulk => wire::Purpose::Bulk,
                Purpose::Inquiry => wire::Purpose::Inquiry,
            },
            cluster: self.cluster.0,
            from: self.from.0,
            to: self.to.0,
            incarnation: self.incarnation,
            server_version: Some(server_version),
            unpublished: self.unpublished,
        };
        let table = wire::Hello::create(fbb, &args);
        finish(fbb, table);
    }

    fn parse(data: &[u8]) -> Result<Self, Error> {
        let hello = root::<wire::Hello<'_>>(data)?;
        Ok(Self {
            version: hello.version(),
            version_min: hello.version_min(),
            purpose: match hello.purpose() {
                wire::Purpose::Messages => Purpose::Messages,
                wire::Purpose::Bulk => Purpose::Bulk,
                wire::Purpose::Inquiry => Purpose::Inquiry,
                _ => return Err(Error::Invalid("unknown purpose of a connection")),
            },
            cluster: ClusterId(hello.cluster()),
            from: MemberId(hello.from()),
            to: MemberId(hello.to()),
            incarnation: hello.incarnation(),
            server_version: hello.server_version().unwrap_or_default().to_owned(),
            unpublished: hello.unpublished(),
        })
    }
}

impl Record for HelloReply {
    fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        fbb.reset();
        let text = fbb.create_string(&self.text);
        let server_version = fbb.create_string(&self.server_version);
        let args = wire::HelloReplyArgs {
            refusal: refusal_to_wire(self.refusal),
            text: Some(text),
            version: self.version,
            cluster: self.cluster.0,
            member: self.member.0,
            incarnation: self.incarnation,
            server_version: Some(server_version),
        };
        let table = wire::HelloReply::create(fbb, &args);
        finish(fbb, table);
    }

    fn parse(data: &[u8]) -> Result<Self, Error> {
        let reply = root::<wire::HelloReply<'_>>(data)?;
        Ok(Self {
            refusal: refusal_from_wire(reply.refusal())?,
            text: reply.text().unwrap_or_default().to_owned(),
            version: reply.version(),
            cluster: ClusterId(reply.cluster()),
            member: MemberId(reply.member()),
            incarnation: reply.incarnation(),
            server_version: reply.server_version().unwrap_or_default().to_owned(),
        })
    }
}

fn refusal_to_wire(refusal: Option<Refusal>) -> wire::Refusal {
    match refusal {
        None => wire::Refusal::None,
        Some(Refusal::Version) => wire::Refusal::Version,
        Some(Refusal::Cluster) => wire::Refusal::Cluster,
        Some(Refusal::NotMember) => wire::Refusal::NotMember,
        Some(Refusal::Removed) => wire::Refusal::Removed,
        Some(Refusal::OwnId) => wire::Refusal::OwnId,
        Some(Refusal::WrongMember) => wire::Refusal::WrongMember,
        Some(Refusal::Inquiry) => wire::Refusal::Inquiry,
        Some(Refusal::Forgotten) => wire::Refusal::Forgotten,
    }
}

fn refusal_from_wire(refusal: wire::Refusal) -> Result<Option<Refusal>, Error> {
    Ok(match refusal {
        wire::Refusal::None => None,
        wire::Refusal::Version => Some(Refusal::Version),
        wire::Refusal::Cluster => Some(Refusal::Cluster),
        wire::Refusal::NotMember => Some(Refusal::NotMember),
        wire::Refusal::Removed => Some(Refusal::Removed),
        wire::Refusal::OwnId => Some(Refusal::OwnId),
        wire::Refusal::WrongMember => Some(Refusal::WrongMember),
        wire::Refusal::Inquiry => Some(Refusal::Inquiry),
        wire::Refusal::Forgotten => Some(Refusal::Forgotten),
        _ => return Err(Error::Invalid("unknown reason of a refusal")),
    })
}
